#include "gateway/budgets.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "meter/archive.h"
#include "meter/ledger.h"
#include "store/db.h"
#include "store/folder.h"
#include "store/recorder.h"
#include "tenant/limiter.h"

enum { KEY_BYTES = 512 };

/* One limit in money that was not restored yet. */
struct rule {
    const char *workflow;              /* NULL: the project's */
    const char *field;
    enum mg_limit_scope scope;
    const struct mg_limit_set *set;
    bool period[MG_PERIOD_COUNT];      /* wanted */
    const struct mg_limit_rule *rule;  /* of its rows */
};

struct project {
    struct restore *restore;           /* whose it is */
    const struct mg_config_project *config;
    struct rule *rules;
    int count;
    bool wants_metadata;
    uintptr_t build;                   /* number of this one of the project */
};

struct restore {
    struct mg_budgets *budgets;
    uint64_t now_us, wall_us;
    struct project *projects;
    size_t count;
    struct mg_map wanting;             /* name → project that has rules to restore */
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
static bool is_new(struct project *p, const struct rule *rule, int period)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%s\n%s\n%d\n%s\n%d", p->config->name, rule->workflow ? rule->workflow : "", (int)rule->scope,
             rule->field ? rule->field : "", period);
    uintptr_t before = (uintptr_t)mg_map_put(&p->restore->budgets->restored, mg_view_cstr(key), (void *)p->build);
    return before != p->build && before + 1 != p->build;
}

/* Of its periods those that are `wanted` and new. */
static void add_new(struct project *p, struct rule rule, const bool *wanted)
{
    bool any = false;
    for (int i = 0; i < MG_PERIOD_COUNT; i++)
        any |= rule.period[i] = wanted[i] && is_new(p, &rule, i);
    if (!any)
        return;
    p->wants_metadata |= rule.scope == MG_SCOPE_METADATA;
    p->rules[p->count++] = rule;
    mg_map_put(&p->restore->wanting, mg_view_cstr(p->config->name), p);
}

static void add_rule(void *arg, const char *workflow, enum mg_limit_scope scope, const char *field,
                     const struct mg_limit_set *set)
{
    bool wanted[MG_PERIOD_COUNT];
    for (int i = 0; i < MG_PERIOD_COUNT; i++)
        wanted[i] = set->budget_microusd[i] > 0;
    add_new(arg, (struct rule){.workflow = workflow, .field = field, .scope = scope, .set = set}, wanted);
}

static void count_rule(void *arg, const char *workflow, enum mg_limit_scope scope, const char *field,
                       const struct mg_limit_set *set)
{
    ++*(size_t *)arg;
}

/* The first build is 2, so that none comes right after "never". */
static uintptr_t count_build(struct mg_budgets *budgets, const struct mg_config_project *config)
{
    uintptr_t before = (uintptr_t)mg_map_get(&budgets->builds, mg_view_cstr(config->name));
    uintptr_t number = before ? before + 1 : 2;
    mg_map_put(&budgets->builds, mg_view_cstr(config->name), (void *)number);
    return number;
}

static void find_rules(struct project *p, struct restore *r, const struct mg_config_project *config)
{
    size_t most = 1;                   /* keys' own */
    mg_limiter_budgets(config, count_rule, &most);
    *p = (struct project){.restore = r, .config = config, .build = count_build(r->budgets, config)};
    p->rules = mg_new_array(struct rule, most);
    mg_limiter_budgets(config, add_rule, p);
}

/* Keys may have budgets of their own, which no configuration tells. */
static mg_err find_rules_of_keys(struct restore *r, struct mg_db *db)
{
    static const struct mg_limit_set own;
    static const bool all[MG_PERIOD_COUNT] = {true, true, true};
    struct mg_map paying;              /* names of projects */
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT DISTINCT project FROM keys WHERE limits LIKE '%\"budget\"%'", &stmt));
    mg_map_init(&paying);
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row)
        mg_map_put(&paying, mg_stmt_text(stmt, 0), r);
    mg_stmt_free(stmt);
    for (size_t i = 0; i < r->count; i++)
        if (mg_map_get(&paying, mg_view_cstr(r->projects[i].config->name)))
            add_new(&r->projects[i], (struct rule){.scope = MG_SCOPE_KEY, .set = &own}, all);
    mg_map_fini(&paying);
    return err;
}

static uint64_t earliest_us(const struct restore *r)
{
    uint64_t first = r->wall_us;
    for (size_t i = 0; i < r->count; i++)
        for (int k = 0; k < r->projects[i].count; k++)
            for (int p = 0; p < MG_PERIOD_COUNT; p++)
                if (r->projects[i].rules[k].period[p])
                    first = MG_MIN(first, mg_period_start_us((enum mg_period)p, r->wall_us));
    return first;
}

/* ---- what was counted in part ----------------------------------------------------------------- */

static struct mg_limit_id id_of(const struct project *p, const struct rule *rule)
{
    return (struct mg_limit_id){.project = mg_view_cstr(p->config->name), .workflow = mg_view_cstr(rule->workflow),
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
    const struct project *p = arg;
    for (int i = 0; i < p->count; i++)
        if (p->rules[i].rule == mg_limit_row_rule(row))
            forget_row(p->restore, &p->rules[i], row);
}

/* A rule that an earlier generation had has rows, which know nothing of what was spent without it. */
static void forget_rows(struct project *p)
{
    for (int i = 0; i < p->count; i++) {
        struct mg_limit_id id = id_of(p, &p->rules[i]);
        struct mg_limit_row *whole = mg_limit_row_peek(&id);
        p->rules[i].rule = mg_limit_rule_of(&id);
        if (id.scope == MG_SCOPE_PROJECT || id.scope == MG_SCOPE_WORKFLOW)
            forget_row(p->restore, &p->rules[i], whole);
        mg_limit_row_drop(whole);
    }
    if (p->count > 0)
        mg_limit_rows_each(forget_one, p);
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
    MG_TRY(mg_db_prepare(db, "SELECT id, replaces FROM keys WHERE replaces IS NOT NULL ORDER BY created_us, id", &stmt));
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

static void add_to(const struct project *owner, const struct rule *rule, const struct spent *spent)
{
    struct restore *r = owner->restore;
    struct mg_limit_id id = id_of(owner, rule);
    if (!value_of(r, rule, spent, &id.value))
        return;
    struct mg_limit_row *row = mg_limit_row_take(&id, r->now_us, r->wall_us);
    for (int p = 0; p < MG_PERIOD_COUNT; p++)
        if (rule->period[p] && spent->start_us >= mg_period_start_us((enum mg_period)p, r->wall_us))
            mg_limit_restore(row, rule->set, (enum mg_period)p, spent->microusd, r->wall_us);
    mg_limit_row_drop(row);
}

static void add_spent(struct restore *r, const struct project *owner, struct spent *spent, mg_view detail)
{
    if (owner->wants_metadata && mg_ledger_decode(detail, r->scratch) == MG_OK)
        spent->metadata = r->scratch->metadata;
    for (int i = 0; i < owner->count; i++)
        add_to(owner, &owner->rules[i], spent);
    mg_arena_reset(&r->arena);
}

static void read_row(struct restore *r, struct mg_stmt *stmt)
{
    const struct project *owner = mg_map_get(&r->wanting, mg_stmt_text(stmt, 6));
    if (!owner)
        return;
    struct spent spent = {
        .start_us = (uint64_t)mg_stmt_int(stmt, 0),
        .microusd = (uint64_t)mg_stmt_int(stmt, 1),
        .workflow = mg_stmt_text(stmt, 2),
        .key_id = mg_stmt_text(stmt, 3),
        .key_metadata = mg_stmt_text(stmt, 4),
    };
    add_spent(r, owner, &spent, mg_stmt_blob(stmt, 5));
}

/* ---- what is packed */

struct packed {
    struct restore *restore;
    struct mg_stmt *key;               /* metadata of a key */
    const struct mg_column *at_us, *start_us, *cost, *workflow, *key_id, *project;
};

static mg_err open_columns(struct packed *packed, struct mg_block *block)
{
    MG_TRY(mg_block_column(block, MG_FIELD_at_us, &packed->at_us));
    MG_TRY(mg_block_column(block, MG_FIELD_start_us, &packed->start_us));
    MG_TRY(mg_block_column(block, MG_FIELD_cost_microusd, &packed->cost));
    MG_TRY(mg_block_column(block, MG_FIELD_workflow, &packed->workflow));
    MG_TRY(mg_block_column(block, MG_FIELD_key, &packed->key_id));
    return mg_block_column(block, MG_FIELD_project, &packed->project);
}

static mg_err read_packed_row(struct packed *packed, struct mg_block *block, uint32_t at)
{
    const struct project *owner = mg_map_get(&packed->restore->wanting, mg_column_view(packed->project, at));
    mg_view detail = MG_VIEW_NONE;
    bool row = false;
    if (!owner)
        return MG_OK;
    struct spent spent = {
        .start_us = (uint64_t)mg_column_number(packed->start_us, at),
        .microusd = (uint64_t)mg_column_number(packed->cost, at),
        .workflow = mg_column_view(packed->workflow, at),
        .key_id = mg_column_view(packed->key_id, at),
    };
    if (owner->wants_metadata) {
        MG_TRY(mg_block_detail(block, at, &detail));
        mg_stmt_reset(packed->key);
        mg_stmt_bind_text(packed->key, 1, spent.key_id);
        MG_TRY(mg_stmt_step(packed->key, &row));
        spent.key_metadata = row ? mg_stmt_text(packed->key, 0) : MG_VIEW_NONE;
    }
    add_spent(packed->restore, owner, &spent, detail);
    return MG_OK;
}

static mg_err read_block(struct packed *packed, struct mg_block *block, uint64_t from_us, uint64_t to_us)
{
    MG_TRY(open_columns(packed, block));
    for (uint32_t i = 0; i < mg_block_rows(block); i++) {
        uint64_t at_us = (uint64_t)mg_column_number(packed->at_us, i);
        if (at_us >= from_us && at_us < to_us && mg_column_number(packed->cost, i) > 0)
            MG_TRY(read_packed_row(packed, block, i));
    }
    mg_block_let_go(block);
    return MG_OK;
}

/* Rows before to_us, which the database has from there on. What is damaged is logged, and its spending forgotten. */
static mg_err read_packed(struct restore *r, struct mg_db *db, uint64_t to_us)
{
    struct packed packed = {.restore = r};
    uint64_t from_us = earliest_us(r);
    MG_TRY(mg_db_prepare(db, "SELECT metadata FROM keys WHERE id = ?", &packed.key));
    struct mg_archive *archive = mg_archive_new(db);
    mg_err err = mg_archive_refresh(archive, NULL);
    for (size_t i = mg_archive_find(archive, from_us); err == MG_OK && i < mg_archive_count(archive); i++) {
        struct mg_block *block = mg_archive_block(archive, i);
        err = block && mg_block_last_us(block) >= from_us ? read_block(&packed, block, from_us, to_us) : MG_OK;
        if (err == MG_E_STORE)
            mg_log_error("budgets.incomplete", "requests of %llu and later are damaged: what they spent counts for no budget",
                         (unsigned long long)mg_archive_first_us(archive, i));
        err = err == MG_E_STORE ? MG_OK : err;
    }
    mg_archive_free(archive);
    mg_stmt_free(packed.key);
    return err;
}

/* ---- all of it */

/* A change to one project does not have to look at what others spent. NULL: there are several. */
static mg_view only_project(const struct restore *r)
{
    size_t at = 0;
    mg_view name = MG_VIEW_NONE;
    void *project;
    return r->wanting.count == 1 && mg_map_next(&r->wanting, &at, &name, &project) ? name : MG_VIEW_NONE;
}

/* All projects in one pass: what takes time is reading, whoever it is for. at_us is when an exchange ended, never before it
 * began: what began in a period ended in it or later. */
static mg_err read_rows(struct restore *r, struct mg_db *db)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db,
                         "SELECT e.start_us, e.cost_microusd, e.workflow, e.key_id, k.metadata, e.detail, e.project, "
                         "(SELECT min(at_us) FROM exchanges) FROM exchanges e LEFT JOIN keys k ON k.id = e.key_id "
                         "WHERE e.at_us >= ? AND e.cost_microusd > 0 AND e.project = COALESCE(?, e.project)",
                         &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)earliest_us(r));
    mg_stmt_bind_text(stmt, 2, only_project(r));
    mg_err err;
    uint64_t open_us = UINT64_MAX; /* none that matters was open: packed ones all count */
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        open_us = (uint64_t)mg_stmt_int(stmt, 7);
        read_row(r, stmt);
    }
    mg_stmt_free(stmt);
    return err == MG_OK ? read_packed(r, db, open_us) : err;
}

static mg_err read_all(struct restore *r, struct mg_db *db)
{
    MG_TRY(find_rules_of_keys(r, db));
    if (r->wanting.count == 0)
        return MG_OK;
    if (r->budgets->recorder)
        mg_recorder_flush(r->budgets->recorder);
    for (size_t i = 0; i < r->count; i++)
        forget_rows(&r->projects[i]);
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

static void restore_init(struct restore *r)
{
    r->projects = mg_new_array(struct project, r->count + 1);
    r->scratch = mg_new(struct mg_timeline);
    mg_arena_init(&r->arena, 4096);
    mg_arena_init(&r->origin_arena, 4096);
    mg_map_init(&r->origins);
    mg_map_init(&r->wanting);
}

static void restore_fini(struct restore *r)
{
    mg_map_fini(&r->wanting);
    mg_map_fini(&r->origins);
    mg_arena_fini(&r->origin_arena);
    mg_arena_fini(&r->arena);
    mg_free(r->scratch);
    for (size_t i = 0; i < r->count; i++)
        mg_free(r->projects[i].rules);
    mg_free(r->projects);
}

mg_err mg_budgets_restore(struct mg_budgets *budgets, const struct mg_config_project *const *configs, size_t count,
                          uint64_t now_us, uint64_t wall_us)
{
    struct restore r = {.budgets = budgets, .count = count, .now_us = now_us, .wall_us = wall_us};
    restore_init(&r);
    for (size_t i = 0; i < count; i++)
        find_rules(&r.projects[i], &r, configs[i]);
    mg_err err = read_store(&r);
    restore_fini(&r);
    return err;
}
