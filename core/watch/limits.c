#include "watch/limits.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "watch/json_out.h"
#include "watch/prom_out.h"

enum { LABEL = 160, LABELS = 5 * LABEL };

double mg_limit_item_share(const struct mg_limit_item *item)
{
    const struct mg_limit_figures *figures = &item->figures;
    return figures->room ? (double)figures->used / (double)figures->room : 0;
}

/* ---- JSON */

static const char *unit_of(enum mg_limit_kind kind)
{
    static const char *const names[] = {"requests", "tokens", "requests", "microusd"};
    return names[kind];
}

static void put_path(struct mg_json_out *out, const struct mg_limit_item *item)
{
    char path[MG_LIMIT_PATH_BYTES];
    enum mg_limit_kind kind = mg_limit_slot_kind(item->slot);
    if (item->own)
        snprintf(path, sizeof path, "key.limits.%s", mg_limit_kind_name(kind));
    else
        mg_limit_path(path, item->rule->workflow, item->rule->scope, item->rule->field, kind);
    mg_json_out_text(out, "limit", mg_view_cstr(path));
}

static void put_whose(struct mg_json_out *out, const struct mg_limit_item *item)
{
    mg_json_out_text(out, "project", mg_view_cstr(item->rule->project));
    put_path(out, item);
    mg_json_out_text(out, "scope", mg_view_cstr(mg_limit_scope_name(item->rule->scope)));
    mg_json_out_text(out, "workflow", mg_view_cstr(item->rule->workflow));
    mg_json_out_text(out, "field", mg_view_cstr(item->rule->field));
    mg_json_out_text(out, "value", mg_view_cstr(item->value));
    mg_json_out_text(out, "name", mg_view_cstr(item->name));
    mg_json_out_bool(out, "shared", item->shared);
}

/* 0: it is now; null: nobody knows. */
static void put_moment(struct mg_json_out *out, const char *key, const struct mg_limit_item *item, uint64_t in_us)
{
    if (in_us == UINT64_MAX)
        mg_json_out_null(out, key);
    else
        mg_json_out_number(out, key, in_us ? item->wall_us + in_us : 0);
}

static void put_figures(struct mg_json_out *out, const struct mg_limit_item *item)
{
    const struct mg_limit_figures *figures = &item->figures;
    mg_json_out_number(out, "max", figures->limit);
    mg_json_out_number(out, "room", figures->room);
    mg_json_out_number(out, "used", figures->used);
    mg_json_out_number(out, "left", figures->left);
    if (figures->reserved)
        mg_json_out_number(out, "reserved", figures->reserved);
    if (figures->soft)
        mg_json_out_number(out, "soft", figures->soft);
    put_moment(out, "free_us", item, figures->free_in_us);
    put_moment(out, "full_us", item, figures->full_in_us);
    mg_json_out_number(out, "refused", figures->refused);
}

mg_err mg_limit_item_json(const struct mg_limit_item *item, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    enum mg_limit_kind kind = mg_limit_slot_kind(item->slot);
    mg_json_out_open(&json, NULL, '{');
    put_whose(&json, item);
    mg_json_out_text(&json, "kind", mg_view_cstr(mg_limit_kind_name(kind)));
    mg_json_out_text(&json, "per", mg_view_cstr(kind == MG_LIMIT_BUDGET ? mg_limit_period_name(mg_limit_slot_period(item->slot)) : ""));
    mg_json_out_text(&json, "unit", mg_view_cstr(unit_of(kind)));
    put_figures(&json, item);
    mg_json_out_close(&json, '}');
    return mg_json_out_end(&json);
}

/* ---- Prometheus */

struct mg_limits_group {               /* one limit of a rule, over all whom it counts */
    const struct mg_limit_rule *rule;
    int slot;
    uint64_t limit;                    /* the largest, where keys have their own */
    double share;                      /* of whoever used most */
    uint32_t counted;                  /* keys or values that have used it */
};

void mg_limits_scrape_init(struct mg_limits_scrape *scrape)
{
    *scrape = (struct mg_limits_scrape){.count = 0};
    mg_map_init(&scrape->by_rule);
}

/* The map keeps index + 1: the array moves. NULL: there is no room for another one. */
static struct mg_limits_group *group_of(struct mg_limits_scrape *scrape, const struct mg_limit_item *item)
{
    char key[sizeof item->rule + 1];
    memcpy(key, &item->rule, sizeof item->rule);
    key[sizeof item->rule] = (char)item->slot;
    uintptr_t index = (uintptr_t)mg_map_get(&scrape->by_rule, mg_view_of(key, sizeof key));
    if (index)
        return &scrape->groups[index - 1];
    if (scrape->count == MG_LIMITS_SHOWN) {
        scrape->over++;
        return NULL;
    }
    if (scrape->count == scrape->cap) {
        scrape->cap = scrape->cap * 2 + 64;
        scrape->groups = mg_realloc(scrape->groups, scrape->cap * sizeof *scrape->groups);
    }
    scrape->groups[scrape->count] = (struct mg_limits_group){.rule = item->rule, .slot = item->slot};
    mg_map_put(&scrape->by_rule, mg_view_of(key, sizeof key), (void *)(scrape->count + 1));
    return &scrape->groups[scrape->count++];
}

void mg_limits_scrape_add(void *arg, const struct mg_limit_item *item)
{
    struct mg_limits_group *group = group_of(arg, item);
    if (!group)
        return;
    group->limit = MG_MAX(group->limit, item->figures.limit);
    group->share = MG_MAX(group->share, mg_limit_item_share(item));
    group->counted += item->row != NULL;
}

static const char *slot_name(char room[48], int slot)
{
    bool budget = mg_limit_slot_kind(slot) == MG_LIMIT_BUDGET;
    snprintf(room, 48, "%s%s%s", mg_limit_kind_name(mg_limit_slot_kind(slot)), budget ? "_" : "",
             budget ? mg_limit_period_name(mg_limit_slot_period(slot)) : "");
    return room;
}

/* project="a",workflow="",scope="metadata",field="user" */
static const char *labels(char room[LABELS], const struct mg_limit_rule *rule)
{
    char project[LABEL], workflow[LABEL], field[LABEL];
    snprintf(room, LABELS, "project=\"%s\",workflow=\"%s\",scope=\"%s\",field=\"%s\"",
             mg_prom_escape(project, sizeof project, rule->project), mg_prom_escape(workflow, sizeof workflow, rule->workflow),
             mg_limit_scope_name(rule->scope), mg_prom_escape(field, sizeof field, rule->field));
    return room;
}

static double limit_figure(const struct mg_limits_group *group)
{
    return (double)group->limit;
}

static double share_figure(const struct mg_limits_group *group)
{
    return group->share;
}

static double counted_figure(const struct mg_limits_group *group)
{
    return group->counted;
}

static double refused_figure(const struct mg_limits_group *group)
{
    return (double)atomic_load_explicit(&group->rule->refused[group->slot], memory_order_relaxed);
}

static const struct {
    const char *name, *type, *help;
    double (*figure)(const struct mg_limits_group *group);
} metrics[] = {
    {"limit", "gauge", "A limit as it is configured, budgets in millionths of a dollar", limit_figure},
    {"limit_used_share", "gauge", "Share of it that is used, by whichever key or value has used most", share_figure},
    {"limit_counted", "gauge", "Keys or values that it counts now, each by itself", counted_figure},
    {"limit_refused_total", "counter", "Requests that were answered 429 because of it", refused_figure},
};

static void print_metric(struct mg_prom_out *out, const struct mg_limits_scrape *scrape, size_t m)
{
    char room[LABELS], slot[48];
    mg_prom_head(out, metrics[m].name, metrics[m].type, metrics[m].help);
    for (size_t i = 0; i < scrape->count; i++)
        mg_prom_print(out, "moongate_%s{%s,limit=\"%s\"} %.15g\n", metrics[m].name, labels(room, scrape->groups[i].rule),
                      slot_name(slot, scrape->groups[i].slot), metrics[m].figure(&scrape->groups[i]));
}

static void print_thresholds(struct mg_prom_out *out, const struct mg_limits_scrape *scrape)
{
    char room[LABELS];
    mg_prom_head(out, "budget_thresholds_total", "counter", "Times a budget reached its soft share (soft), or refused for the first time (stop)");
    for (size_t i = 0; i < scrape->count; i++) {
        const struct mg_limits_group *group = &scrape->groups[i];
        enum mg_period period = mg_limit_slot_period(group->slot);
        if (mg_limit_slot_kind(group->slot) != MG_LIMIT_BUDGET)
            continue;
        labels(room, group->rule);
        for (int stop = 0; stop < 2; stop++)
            mg_prom_print(out, "moongate_budget_thresholds_total{%s,period=\"%s\",threshold=\"%s\"} %" PRIu64 "\n", room,
                          mg_limit_period_name(period), stop ? "stop" : "soft",
                          atomic_load_explicit(stop ? &group->rule->stopped[period] : &group->rule->soft[period], memory_order_relaxed));
    }
}

mg_err mg_limits_scrape_end(struct mg_limits_scrape *scrape, struct mg_buf *out)
{
    struct mg_prom_out prom = {out, MG_OK};
    for (size_t m = 0; m < MG_COUNT(metrics); m++)
        print_metric(&prom, scrape, m);
    print_thresholds(&prom, scrape);
    mg_prom_head(&prom, "limit_rows", "gauge", "Projects, workflows, keys and metadata values whose use is counted");
    mg_prom_print(&prom, "moongate_limit_rows %" PRIu32 "\n", mg_limit_rows());
    mg_prom_head(&prom, "limits_not_shown", "gauge", "Figures of limits left out of these metrics");
    mg_prom_print(&prom, "moongate_limits_not_shown %zu\n", scrape->over);
    mg_map_fini(&scrape->by_rule);
    mg_free(scrape->groups);
    return prom.err;
}
