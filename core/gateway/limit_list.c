#include "gateway/limit_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tenant/limiter.h"

struct listing {
    mg_limits_cb cb;
    void *arg;
    uint64_t now_us, wall_us;
    const struct mg_keyring *ring;     /* NULL: none */
    struct mg_map projects;            /* name → struct mg_config_project */
    struct mg_map sets;                /* rule of keys of a workflow or of a metadata field → its struct mg_limit_set */
};

/* ---- one set ---------------------------------------------------------------------------------- */

static void tell(const struct listing *listing, const struct mg_limit_item *whose, const struct mg_limit_set *set,
                 const struct mg_limit_set *own)
{
    struct mg_limit_item item = *whose;
    struct mg_limit_figures ignored;
    item.wall_us = listing->wall_us;
    for (item.slot = 0; item.slot < MG_LIMIT_SLOTS; item.slot++) {
        if (!mg_limit_read(item.row, set, item.slot, listing->now_us, listing->wall_us, &item.figures))
            continue;
        item.own = own && mg_limit_read(NULL, own, item.slot, listing->now_us, listing->wall_us, &ignored);
        listing->cb(listing->arg, &item);
    }
}

/* ---- of the configuration ---------------------------------------------------------------------- */

static struct mg_limit_id id_of(const struct mg_config_project *config, const char *workflow, enum mg_limit_scope scope,
                                const char *field)
{
    return (struct mg_limit_id){.project = mg_view_cstr(config->name), .workflow = mg_view_cstr(workflow), .scope = scope,
                                .field = mg_view_cstr(field)};
}

static void tell_whole(const struct listing *listing, const struct mg_limit_id *id, const struct mg_limit_set *set)
{
    struct mg_limit_row *row = mg_limit_row_peek(id);
    struct mg_limit_item item = {.rule = mg_limit_rule_of(id), .row = row, .value = "", .name = ""};
    tell(listing, &item, set, NULL);
    mg_limit_row_drop(row);
}

/* Whom they count, the table of rows tells. */
static void note_set(struct listing *listing, const struct mg_limit_id *id, const struct mg_limit_set *set)
{
    const struct mg_limit_rule *rule = mg_limit_rule_of(id);
    mg_map_put(&listing->sets, mg_view_of((const char *)&rule, sizeof rule), (void *)set);
}

static void go_over_rules(struct listing *listing, const struct mg_config_project *config, const struct mg_limit_rules *rules,
                          const char *workflow)
{
    struct mg_limit_id id = id_of(config, workflow, workflow ? MG_SCOPE_WORKFLOW : MG_SCOPE_PROJECT, NULL);
    if (rules->own.any)
        tell_whole(listing, &id, &rules->own);
    id.scope = MG_SCOPE_KEY;
    if (rules->per_key.any && workflow)
        note_set(listing, &id, &rules->per_key);
    id.scope = MG_SCOPE_METADATA;
    for (int i = 0; i < rules->field_count; i++) {
        id.field = mg_view_cstr(rules->fields[i].name);
        note_set(listing, &id, &rules->fields[i].set);
    }
}

/* ---- of keys ---------------------------------------------------------------------------------- */

/* The newest of its line stands for all of them. */
static bool stands(const struct mg_key *key, uint64_t wall_us)
{
    return !key->revoked_us && !*key->replaced_by && (!key->expires_us || key->expires_us > wall_us);
}

static void tell_key(const struct listing *listing, const struct mg_config_project *config, const struct mg_key *key)
{
    struct mg_limit_set set = mg_limiter_key_set(&config->limits.per_key, key->limit_set);
    if (!set.any)
        return;
    struct mg_limit_id id = id_of(config, NULL, MG_SCOPE_KEY, NULL);
    id.value = mg_view_cstr(key->origin);
    struct mg_limit_row *row = mg_limit_row_peek(&id);
    struct mg_limit_item item = {.rule = mg_limit_rule_of(&id), .row = row, .value = key->id, .name = key->name};
    tell(listing, &item, &set, key->limit_set);
    mg_limit_row_drop(row);
}

static void go_over_keys(const struct listing *listing)
{
    for (size_t i = 0; listing->ring && i < mg_keyring_count(listing->ring); i++) {
        const struct mg_key *key = mg_keyring_at(listing->ring, i);
        const struct mg_config_project *config = mg_map_get(&listing->projects, mg_view_cstr(key->project));
        if (config && stands(key, listing->wall_us))
            tell_key(listing, config, key);
    }
}

/* ---- of rows ---------------------------------------------------------------------------------- */

static void see_row(void *arg, const struct mg_limit_row *row)
{
    const struct listing *listing = arg;
    const struct mg_limit_rule *rule = mg_limit_row_rule(row);
    const struct mg_limit_set *set = mg_map_get(&listing->sets, mg_view_of((const char *)&rule, sizeof rule));
    struct mg_limit_item item = {.rule = rule, .row = row, .value = mg_limit_row_value(row), .name = "",
                                 .shared = mg_limit_row_is_shared(row)};
    if (set)
        tell(listing, &item, set, NULL);
}

/* ---- all -------------------------------------------------------------------------------------- */

void mg_limits_of(const struct mg_config_project *const *configs, size_t count, const struct mg_keyring *ring, mg_limits_cb cb,
                  void *arg)
{
    struct listing listing = {.cb = cb, .arg = arg, .now_us = mg_mono_us(), .wall_us = mg_wall_us(), .ring = ring};
    mg_map_init(&listing.projects);
    mg_map_init(&listing.sets);
    for (size_t i = 0; i < count; i++) {
        const struct mg_config_project *config = configs[i];
        mg_map_put(&listing.projects, mg_view_cstr(config->name), (void *)config);
        go_over_rules(&listing, config, &config->limits, NULL);
        for (int w = 0; w < config->workflow_count; w++)
            go_over_rules(&listing, config, &config->workflows[w].limits, config->workflows[w].name);
    }
    go_over_keys(&listing);
    if (listing.sets.count)
        mg_limit_rows_each(see_row, &listing);
    mg_map_fini(&listing.projects);
    mg_map_fini(&listing.sets);
}

struct live {
    struct mg_generation **generations;
    const struct mg_config_project **configs;
    size_t count;
    struct mg_keyring *ring;
};

static void take_live(struct mg_builder *builder, struct mg_keys *keys, mg_view project, struct live *live)
{
    size_t max = project.len ? 1 : MG_MAX_PROJECTS;
    live->generations = mg_new_array(struct mg_generation *, max);
    live->configs = mg_new_array(const struct mg_config_project *, max);
    live->count = mg_builder_live(builder, project, live->generations, max);
    live->ring = keys ? mg_keys_ring(keys) : NULL;
    for (size_t i = 0; i < live->count; i++)
        live->configs[i] = live->generations[i]->config;
}

static void let_live_go(struct live *live)
{
    for (size_t i = 0; i < live->count; i++)
        mg_generation_unref(live->generations[i]);
    mg_keyring_unref(live->ring);
    mg_free(live->generations);
    mg_free(live->configs);
}

bool mg_limits_each(struct mg_builder *builder, struct mg_keys *keys, mg_view project, mg_limits_cb cb, void *arg)
{
    struct live live;
    take_live(builder, keys, project, &live);
    mg_limits_of(live.configs, live.count, live.ring, cb, arg);
    let_live_go(&live);
    return live.count > 0 || !project.len;
}

/* ---- those that have used most ---------------------------------------------------------------- */

/* A heap: the one that has used least is in front, and the first to go. */
struct ranking {
    struct mg_limit_item *items;       /* owned; each with a reference on its row */
    size_t count, most, left_out;
};

static bool is_less(const struct mg_limit_item *a, const struct mg_limit_item *b)
{
    return mg_limit_item_share(a) < mg_limit_item_share(b);
}

static void swap(struct mg_limit_item *a, struct mg_limit_item *b)
{
    struct mg_limit_item held = *a;
    *a = *b;
    *b = held;
}

static void sift_up(struct mg_limit_item *items, size_t at)
{
    for (; at && is_less(&items[at], &items[(at - 1) / 2]); at = (at - 1) / 2)
        swap(&items[at], &items[(at - 1) / 2]);
}

static void sift_down(struct mg_limit_item *items, size_t count)
{
    for (size_t at = 0, child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && is_less(&items[child + 1], &items[child]);
        if (!is_less(&items[child], &items[at]))
            return;
        swap(&items[at], &items[child]);
    }
}

static void rank(void *arg, const struct mg_limit_item *item)
{
    struct ranking *ranking = arg;
    bool full = ranking->count == ranking->most;
    ranking->left_out += full;
    if (full && (!ranking->most || !is_less(&ranking->items[0], item)))
        return;
    if (full)
        mg_limit_row_drop((struct mg_limit_row *)ranking->items[0].row);
    size_t at = full ? 0 : ranking->count++;
    ranking->items[at] = *item;
    ranking->items[at].row = mg_limit_row_hold(item->row);
    if (full)
        sift_down(ranking->items, ranking->count);
    else
        sift_up(ranking->items, at);
}

/* Whole before workflows, keys and values; then those that used most. */
static int by_rule(const void *left, const void *right)
{
    const struct mg_limit_item *a = left, *b = right;
    int order = strcmp(a->rule->project, b->rule->project);
    if (!order)
        order = (int)a->rule->scope - (int)b->rule->scope;
    if (!order)
        order = strcmp(a->rule->workflow, b->rule->workflow);
    if (!order)
        order = strcmp(a->rule->field, b->rule->field);
    if (!order)
        order = a->slot - b->slot;
    if (!order)
        order = is_less(b, a) ? -1 : is_less(a, b);
    return order ? order : strcmp(a->value, b->value);
}

static mg_err put_ranking(struct ranking *ranking, struct mg_buf *out)
{
    mg_err err = mg_buf_put(out, MG_VIEW("{\"limits\":["));
    qsort(ranking->items, ranking->count, sizeof *ranking->items, by_rule);
    for (size_t i = 0; i < ranking->count && err == MG_OK; i++) {
        if (i)
            err = mg_buf_putc(out, ',');
        if (err == MG_OK)
            err = mg_limit_item_json(&ranking->items[i], out);
    }
    return err == MG_OK ? mg_buf_putf(out, "],\"left_out\":%zu}", ranking->left_out) : err;
}

mg_err mg_limits_put(struct mg_builder *builder, struct mg_keys *keys, mg_view project, size_t most, struct mg_buf *out)
{
    struct ranking ranking = {.most = MG_MIN(most, (size_t)MG_LIMITS_MOST)};
    struct live live;
    ranking.items = mg_new_array(struct mg_limit_item, ranking.most + 1);
    take_live(builder, keys, project, &live);
    mg_limits_of(live.configs, live.count, live.ring, rank, &ranking);
    mg_err err = live.count || !project.len ? put_ranking(&ranking, out) : MG_E_NOT_FOUND;
    for (size_t i = 0; i < ranking.count; i++)
        mg_limit_row_drop((struct mg_limit_row *)ranking.items[i].row);
    mg_free(ranking.items);
    let_live_go(&live);
    return err;
}
