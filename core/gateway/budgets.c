#include "gateway/budgets.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "meter/ledger.h"
#include "store/db.h"
#include "store/folder.h"
#include "store/recorder.h"
#include "tenant/limiter.h"

enum { MAX_RULES = 1024, KEY_BYTES = 512 };

/* One limit in money that was not restored yet. */
struct rule {
    const char *workflow;              /* NULL: the project's */
    const char *field;
    enum mg_limit_scope scope;
    const struct mg_limit_set *set;
    bool period[MG_PERIOD_COUNT];      /* wanted */
    const struct mg_limit_rule *rule;  /* of its rows */
};

struct restore {
    struct mg_budgets *budgets;
    const struct mg_config_project *config;
    uint64_t now_us, wall_us;
    struct rule *rules;
    int count;
    bool wants_metadata;
    uintptr_t build;                   /* number of this one of the project */
    struct mg_timeline *scratch;
    struct mg_arena arena;             /* of one row */
    struct mg_map origins;             /* id of a key that replaces another → what its line of rotations counts by */
    struct mg_arena origin_arena;      /* the texts of the map */
};

/* A row of the store. */
struct spent {
    uint64_t start_us, microusd;
    mg_view workflow, key_id, metadata, key_metadata;
};

void mg_budgets_init(struct mg_budgets *budgets, const char *data_dir)
{
    *budgets = (struct mg_budgets){.data_dir = data_dir};
    mg_map_init(&budgets->restored);
    mg_map_init(&budgets->builds);
}

void mg_budgets_fini(struct mg_budgets *budgets)
{
    mg_map_fini(&budgets->restored);
    mg_map_fini(&budgets->builds);
}

/* ---- which rules ------------------------------------------------------------------------------ */

/* The build before did not have it, nor did it stand in this one already. */
static bool is_new(struct restore *r, const struct rule *rule, int period)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%s\n%s\n%d\n%s\n%d", r->config->name, rule->workflow ? rule->workflow : "", (int)rule->scope,
             rule->field ? rule->field : "", period);
    uintptr_t before = (uintptr_t)mg_map_put(&r->budgets->restored, mg_view_cstr(key), (void *)r->build);
    return before != r->build && before + 1 != r->build;
}

static void add_rule(void *arg, const char *workflow, enum mg_limit_scope scope, const char *field,
                     const struct mg_limit_set *set)
{
    struct restore *r = arg;
    struct rule rule = {.workflow = workflow, .field = field, .scope = scope, .set = set};
    bool any = false;
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        rule.period[p] = set->budget_microusd[p] > 0 && is_new(r, &rule, p);
        any |= rule.period[p];
    }
    if (!any || r->count == MAX_RULES)
        return;
    r->wants_metadata |= scope == MG_SCOPE_METADATA;
    r->rules[r->count++] = rule;
}

static uint64_t earliest_us(const struct restore *r)
{
    uint64_t first = r->wall_us;
    for (int i = 0; i < r->count; i++)
        for (int p = 0; p < MG_PERIOD_COUNT; p++)
            if (r->rules[i].period[p])
                first = MG_MIN(first, mg_period_start_us((enum mg_period)p, r->wall_us));
    return first;
}

/* ---- what was counted in part ----------------------------------------------------------------- */

static struct mg_limit_id id_of(const struct restore *r, const struct rule *rule)
{
    return (struct mg_limit_id){.project = mg_view_cstr(r->config->name), .workflow = mg_view_cstr(rule->workflow),
                                .scope = rule->scope, .field = mg_view_cstr(rule->field)};
}

static void forget_row(const struct restore *r, const struct rule *rule, const struct mg_limit_row *row)
{
    struct mg_limit_row *held = mg_limit_row_hold(row);
    for (int p = 0; p < MG_PERIOD_COUNT && held; p++)
        if (rule->period[p])
            mg_limit_forget_spent(held, (enum mg_period)p, r->wall_us);
    mg_limit_row_drop(held);
}

static void forget_one(void *arg, const struct mg_limit_row *row)
{
    const struct restore *r = arg;
    for (int i = 0; i < r->count; i++)
        if (r->rules[i].rule == mg_limit_row_rule(row))
            forget_row(r, &r->rules[i], row);
}

/* A rule that an earlier generation had has rows, which know nothing of what was spent without it. */
static void forget_rows(struct restore *r)
{
    for (int i = 0; i < r->count; i++) {
        struct mg_limit_id id = id_of(r, &r->rules[i]);
        struct mg_limit_row *whole = mg_limit_row_peek(&id);
        r->rules[i].rule = mg_limit_rule_of(&id);
        if (id.scope == MG_SCOPE_PROJECT || id.scope == MG_SCOPE_WORKFLOW)
            forget_row(r, &r->rules[i], whole);
        mg_limit_row_drop(whole);
    }
    mg_limit_rows_each(forget_one, r);
}

/* ---- keys that were rotated ------------------------------------------------------------------- */

static mg_view origin_of(const struct restore *r, mg_view key_id)
{
    const char *origin = mg_map_get(&r->origins, key_id);
    return origin ? mg_view_cstr(origin) : key_id;
}

/* Oldest first, as keyrings are built: the one before has its origin already. */
static mg_err find_origins(struct restore *r, struct mg_db *db)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT id, replaces FROM keys WHERE project = ? AND replaces IS NOT NULL ORDER BY created_us, id",
                         &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(r->config->name));
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        mg_view origin = origin_of(r, mg_stmt_text(stmt, 1));
        mg_map_put(&r->origins, mg_stmt_text(stmt, 0), (void *)mg_arena_dup(&r->origin_arena, origin).ptr);
    }
    mg_stmt_free(stmt);
    return err;
}

/* ---- adding up -------------------------------------------------------------------------------- */

static bool value_of(struct restore *r, const struct rule *rule, const struct spent *spent, mg_view *out_value)
{
    *out_value = MG_VIEW_NONE;
    if (rule->workflow && !mg_view_eq(spent->workflow, mg_view_cstr(rule->workflow)))
        return false;
    if (rule->scope == MG_SCOPE_KEY)
        *out_value = origin_of(r, spent->key_id);
    else if (rule->scope == MG_SCOPE_METADATA)
        *out_value = mg_limiter_value(&r->arena, spent->metadata, spent->key_metadata, rule->field);
    return out_value->len <= MG_MAX_LIMIT_VALUE_BYTES;
}

static void add_to(struct restore *r, const struct rule *rule, const struct spent *spent)
{
    struct mg_limit_id id = id_of(r, rule);
    if (!value_of(r, rule, spent, &id.value))
        return;
    struct mg_limit_row *row = mg_limit_row_take(&id, r->now_us, r->wall_us);
    for (int p = 0; p < MG_PERIOD_COUNT; p++)
        if (rule->period[p] && spent->start_us >= mg_period_start_us((enum mg_period)p, r->wall_us))
            mg_limit_restore(row, rule->set, (enum mg_period)p, spent->microusd, r->wall_us);
    mg_limit_row_drop(row);
}

static void read_row(struct restore *r, struct mg_stmt *stmt)
{
    struct spent spent = {
        .start_us = (uint64_t)mg_stmt_int(stmt, 0),
        .microusd = (uint64_t)mg_stmt_int(stmt, 1),
        .workflow = mg_stmt_text(stmt, 2),
        .key_id = mg_stmt_text(stmt, 3),
        .key_metadata = mg_stmt_text(stmt, 4),
    };
    if (r->wants_metadata && mg_ledger_decode(mg_stmt_blob(stmt, 5), r->scratch) == MG_OK)
        spent.metadata = r->scratch->metadata;
    for (int i = 0; i < r->count; i++)
        add_to(r, &r->rules[i], &spent);
    mg_arena_reset(&r->arena);
}

/* at_us is when an exchange ended, never before it began: what began in a period ended in it or later. */
static mg_err read_rows(struct restore *r, struct mg_db *db)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db,
                         "SELECT e.start_us, e.cost_microusd, e.workflow, e.key_id, k.metadata, e.detail FROM exchanges e "
                         "LEFT JOIN keys k ON k.id = e.key_id WHERE e.at_us >= ? AND e.project = ? AND e.cost_microusd > 0",
                         &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)earliest_us(r));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(r->config->name));
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row)
        read_row(r, stmt);
    mg_stmt_free(stmt);
    return err;
}

/* Keys may have budgets of their own, which no configuration tells. */
static mg_err add_keys(struct restore *r, struct mg_db *db)
{
    static const struct mg_limit_set own;
    struct rule rule = {.scope = MG_SCOPE_KEY, .set = &own};
    struct mg_stmt *stmt;
    bool row = false, any = false;
    MG_TRY(mg_db_prepare(db, "SELECT 1 FROM keys WHERE project = ? AND limits LIKE '%\"budget\"%' LIMIT 1", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(r->config->name));
    mg_err err = mg_stmt_step(stmt, &row);
    mg_stmt_free(stmt);
    for (int p = 0; p < MG_PERIOD_COUNT && row; p++)
        any |= rule.period[p] = is_new(r, &rule, p);
    if (any && r->count < MAX_RULES)
        r->rules[r->count++] = rule;
    return err;
}

static mg_err read_all(struct restore *r, struct mg_db *db)
{
    MG_TRY(add_keys(r, db));
    if (r->count == 0)
        return MG_OK;
    if (r->budgets->recorder)
        mg_recorder_flush(r->budgets->recorder);
    forget_rows(r);
    MG_TRY(find_origins(r, db));
    return read_rows(r, db);
}

static mg_err read_store(struct restore *r)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_db *db;
    MG_TRY(mg_folder_path(r->budgets->data_dir, "moongate.db", path));
    MG_TRY(mg_db_open(path, MG_DB_READ, &db, NULL));
    mg_err err = read_all(r, db);
    mg_db_close(db);
    return err;
}

/* The first is 2, so that no build comes right after "never". */
static uintptr_t count_build(struct mg_budgets *budgets, const struct mg_config_project *config)
{
    uintptr_t before = (uintptr_t)mg_map_get(&budgets->builds, mg_view_cstr(config->name));
    uintptr_t number = before ? before + 1 : 2;
    mg_map_put(&budgets->builds, mg_view_cstr(config->name), (void *)number);
    return number;
}

mg_err mg_budgets_restore(struct mg_budgets *budgets, const struct mg_config_project *config, uint64_t now_us, uint64_t wall_us)
{
    struct restore r = {.budgets = budgets, .config = config, .now_us = now_us, .wall_us = wall_us};
    r.build = count_build(budgets, config);
    r.rules = mg_new_array(struct rule, MAX_RULES);
    mg_limiter_budgets(config, add_rule, &r);
    r.scratch = mg_new(struct mg_timeline);
    mg_arena_init(&r.arena, 4096);
    mg_arena_init(&r.origin_arena, 4096);
    mg_map_init(&r.origins);
    mg_err err = read_store(&r);
    mg_map_fini(&r.origins);
    mg_arena_fini(&r.origin_arena);
    mg_arena_fini(&r.arena);
    mg_free(r.scratch);
    mg_free(r.rules);
    return err;
}
