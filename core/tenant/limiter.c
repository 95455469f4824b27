#include "tenant/limiter.h"

#include "base/mem.h"
#include "http/json_members.h"
#include "http/json_scan.h"

struct mg_limiter {
    const struct mg_config_project *config;
    bool any;                          /* of the project's own rules */
    struct mg_limit_row *project;      /* NULL: the whole has no limit */
    struct mg_limit_row **workflows;   /* by index; NULL likewise */
};

static bool has_rules(const struct mg_limit_rules *rules)
{
    return rules->own.any || rules->per_key.any || rules->field_count > 0;
}

static struct mg_limit_row *fixed_row(const struct mg_config_project *config, const char *workflow, uint64_t now_us,
                                      uint64_t wall_us)
{
    struct mg_limit_id id = {
        .project = mg_view_cstr(config->name),
        .workflow = mg_view_cstr(workflow),
        .scope = workflow ? MG_SCOPE_WORKFLOW : MG_SCOPE_PROJECT,
    };
    return mg_limit_row_take(&id, now_us, wall_us);
}

struct mg_limiter *mg_limiter_new(const struct mg_config_project *config, uint64_t now_us, uint64_t wall_us)
{
    struct mg_limiter *limiter = mg_new(struct mg_limiter);
    limiter->config = config;
    limiter->any = has_rules(&config->limits);
    if (config->limits.own.any)
        limiter->project = fixed_row(config, NULL, now_us, wall_us);
    limiter->workflows = mg_new_array(struct mg_limit_row *, (size_t)config->workflow_count + 1);
    for (int i = 0; i < config->workflow_count; i++)
        if (config->workflows[i].limits.own.any)
            limiter->workflows[i] = fixed_row(config, config->workflows[i].name, now_us, wall_us);
    return limiter;
}

void mg_limiter_free(struct mg_limiter *limiter)
{
    if (!limiter)
        return;
    mg_limit_row_drop(limiter->project);
    for (int i = 0; i < limiter->config->workflow_count; i++)
        mg_limit_row_drop(limiter->workflows[i]);
    mg_free(limiter->workflows);
    mg_free(limiter);
}

/* -1: none, or one made for a direct call, which has no rules. */
static int index_of(const struct mg_limiter *limiter, const struct mg_config_workflow *workflow)
{
    const struct mg_config_workflow *all = limiter->config->workflows;
    bool declared = workflow && workflow >= all && workflow < all + limiter->config->workflow_count;
    return declared && has_rules(&workflow->limits) ? (int)(workflow - all) : -1;
}

bool mg_limiter_is_idle(const struct mg_limiter *limiter, const struct mg_limit_ask *ask)
{
    return !limiter->any && (!ask->key_set || !ask->key_set->any) && index_of(limiter, ask->workflow) < 0;
}

/* ---- metadata values -------------------------------------------------------------------------- */

static mg_view decoded(struct mg_arena *arena, mg_view span)
{
    struct mg_buf scratch;
    mg_view text = MG_VIEW_NONE;
    if (mg_json_span_type(span) != MG_JSON_STRING)
        return mg_json_span_type(span) == MG_JSON_NULL ? MG_VIEW_NONE : span;
    mg_buf_init(&scratch, MG_MAX_METADATA_BYTES);
    if (mg_json_span_text(span, &scratch, &text) != MG_OK)
        text = MG_VIEW_NONE;
    text = mg_arena_dup(arena, text);
    mg_buf_fini(&scratch);
    return text;
}

mg_view mg_limiter_value(struct mg_arena *arena, mg_view metadata, mg_view key_metadata, const char *field)
{
    mg_view span = mg_json_member(key_metadata, mg_view_cstr(field));
    if (!span.len)
        span = mg_json_member(metadata, mg_view_cstr(field));
    return span.len ? decoded(arena, span) : MG_VIEW_NONE;
}

/* ---- the rows of an exchange ------------------------------------------------------------------ */

struct gather {
    const struct mg_limiter *limiter;
    const struct mg_limit_ask *ask;
    struct mg_arena *arena;
    uint64_t now_us, wall_us;
    struct mg_limit_use *uses;
    int count;
    const char *too_long;
};

static void add(struct gather *g, struct mg_limit_row *row, const struct mg_limit_set *set, bool owned)
{
    g->uses[g->count++] = (struct mg_limit_use){row, set, owned};
}

static void add_value(struct gather *g, const char *workflow, enum mg_limit_scope scope, const char *field, mg_view value,
                      const struct mg_limit_set *set)
{
    struct mg_limit_id id = {
        .project = mg_view_cstr(g->limiter->config->name),
        .workflow = mg_view_cstr(workflow),
        .scope = scope,
        .field = mg_view_cstr(field),
        .value = value,
    };
    add(g, mg_limit_row_take(&id, g->now_us, g->wall_us), set, true);
}

struct mg_limit_set mg_limiter_key_set(const struct mg_limit_set *all, const struct mg_limit_set *own)
{
    struct mg_limit_set set = *all;
    if (!own || !own->any)
        return set;
    set.any = true;
    if (own->requests_per_minute) {
        set.requests_per_minute = own->requests_per_minute;
        set.burst = own->burst;
    }
    if (own->tokens_per_minute)
        set.tokens_per_minute = own->tokens_per_minute;
    if (own->concurrency)
        set.concurrency = own->concurrency;
    for (int p = 0; p < MG_PERIOD_COUNT; p++)
        if (own->budget_microusd[p]) {
            set.budget_microusd[p] = own->budget_microusd[p];
            set.soft_microusd[p] = own->soft_microusd[p];
        }
    return set;
}

static const struct mg_limit_set *merged(struct gather *g, const struct mg_limit_set *all, const struct mg_limit_set *own)
{
    if (!own || !own->any)
        return all;
    struct mg_limit_set *set = mg_arena_new(g->arena, struct mg_limit_set);
    *set = mg_limiter_key_set(all, own);
    return set;
}

static void add_rules(struct gather *g, const struct mg_limit_rules *rules, const char *workflow, struct mg_limit_row *own,
                      const struct mg_limit_set *key_set)
{
    if (own)
        add(g, own, &rules->own, false);
    const struct mg_limit_set *key = merged(g, &rules->per_key, key_set);
    if (key->any)
        add_value(g, workflow, MG_SCOPE_KEY, NULL, g->ask->key_id, key);
    for (int i = 0; i < rules->field_count && !g->too_long && !g->ask->early; i++) {
        const struct mg_limit_field *field = &rules->fields[i];
        mg_view value = mg_limiter_value(g->arena, g->ask->metadata, g->ask->key_metadata, field->name);
        if (value.len > MG_MAX_LIMIT_VALUE_BYTES)
            g->too_long = field->name;
        else if (field->set.any)
            add_value(g, workflow, MG_SCOPE_METADATA, field->name, value, &field->set);
    }
}

int mg_limiter_uses(const struct mg_limiter *limiter, const struct mg_limit_ask *ask, struct mg_arena *arena, uint64_t now_us,
                    uint64_t wall_us, struct mg_limit_use *out_uses, const char **out_too_long)
{
    struct gather g = {.limiter = limiter, .ask = ask, .arena = arena, .now_us = now_us, .wall_us = wall_us, .uses = out_uses};
    int index = index_of(limiter, ask->workflow);
    add_rules(&g, &limiter->config->limits, NULL, limiter->project, ask->key_set);
    if (index >= 0)
        add_rules(&g, &ask->workflow->limits, ask->workflow->name, limiter->workflows[index], NULL);
    if (!g.too_long)
        return g.count;
    mg_limiter_leave(out_uses, g.count);
    *out_too_long = g.too_long;
    return -1;
}

void mg_limiter_leave(struct mg_limit_use *uses, int count)
{
    for (int i = 0; i < count; i++)
        if (uses[i].owned)
            mg_limit_row_drop(uses[i].row);
}

/* ---- money ------------------------------------------------------------------------------------ */

static bool has_money(const struct mg_limit_set *set)
{
    for (int p = 0; p < MG_PERIOD_COUNT; p++)
        if (set->budget_microusd[p])
            return true;
    return false;
}

static bool tell(const struct mg_limit_rules *rules, const char *workflow, mg_limiter_budget_cb cb, void *arg)
{
    bool any = has_money(&rules->own) || has_money(&rules->per_key);
    if (has_money(&rules->own) && cb)
        cb(arg, workflow, workflow ? MG_SCOPE_WORKFLOW : MG_SCOPE_PROJECT, NULL, &rules->own);
    if (has_money(&rules->per_key) && cb)
        cb(arg, workflow, MG_SCOPE_KEY, NULL, &rules->per_key);
    for (int i = 0; i < rules->field_count; i++) {
        if (!has_money(&rules->fields[i].set))
            continue;
        any = true;
        if (cb)
            cb(arg, workflow, MG_SCOPE_METADATA, rules->fields[i].name, &rules->fields[i].set);
    }
    return any;
}

void mg_limiter_budgets(const struct mg_config_project *config, mg_limiter_budget_cb cb, void *arg)
{
    (void)tell(&config->limits, NULL, cb, arg);
    for (int i = 0; i < config->workflow_count; i++)
        (void)tell(&config->workflows[i].limits, config->workflows[i].name, cb, arg);
}

bool mg_limiter_has_budget(const struct mg_config_project *config, const struct mg_config_workflow *workflow)
{
    return tell(&config->limits, NULL, NULL, NULL) || (workflow && tell(&workflow->limits, workflow->name, NULL, NULL));
}
