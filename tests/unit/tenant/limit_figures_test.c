/* What is left of a limit, for people: each kind unused, used, used up and overdrawn; and what rules came to. */
#include "check.h"

#include "tenant/limits.h"

#define S UINT64_C(1000000)
#define MONDAY (UINT64_C(1767571200) * S)        /* 2026-01-05T00:00:00Z */
#define DAY_US (UINT64_C(86400) * S)

static const struct mg_limit_set all = {
    .any = true, .requests_per_minute = 60, .burst = 2, .tokens_per_minute = 600, .concurrency = 1,
    .budget_microusd = {1000, 0, 5000}, .soft_microusd = {500, 0, 0}};

static struct mg_limit_refusal no;
static struct mg_limit_figures figures;

static struct mg_limit_use use_of(const char *project, enum mg_limit_scope scope, const char *value)
{
    struct mg_limit_id id = {mg_view_cstr(project), MG_VIEW_NONE, scope, mg_view_cstr(scope == MG_SCOPE_METADATA ? "user" : ""),
                             mg_view_cstr(value)};
    return (struct mg_limit_use){mg_limit_row_take(&id, 1, MONDAY), &all, true};
}

static bool look(const struct mg_limit_row *row, enum mg_limit_kind kind, enum mg_period period, uint64_t now_us)
{
    return mg_limit_read(row, &all, mg_limit_slot(kind, period), now_us, MONDAY + 3600 * S, &figures);
}

TEST(a_limit_that_nobody_has_used_is_all_there_and_one_that_is_not_set_is_none)
{
    CHECK(look(NULL, MG_LIMIT_REQUESTS, 0, S));
    CHECK_INT(figures.limit, 60);
    CHECK_INT(figures.room, 2);
    CHECK_INT(figures.left, 2);
    CHECK_INT(figures.used, 0);
    CHECK_INT(figures.full_in_us, 0);
    CHECK(look(NULL, MG_LIMIT_TOKENS, 0, S));
    CHECK_INT(figures.left, 600);
    CHECK(look(NULL, MG_LIMIT_CONCURRENCY, 0, S));
    CHECK_INT(figures.left, 1);
    CHECK(look(NULL, MG_LIMIT_BUDGET, MG_PERIOD_DAY, S));
    CHECK_INT(figures.left, 1000);
    CHECK_INT(figures.soft, 500);
    CHECK_INT(figures.full_in_us, DAY_US - 3600 * S);
    CHECK(!look(NULL, MG_LIMIT_BUDGET, MG_PERIOD_WEEK, S));
    struct mg_limit_set none = {.any = false};
    for (int slot = 0; slot < MG_LIMIT_SLOTS; slot++)
        CHECK(!mg_limit_read(NULL, &none, slot, S, MONDAY, &figures));
}

TEST(what_is_used_up_says_when_something_passes_again_and_when_all_is_back)
{
    struct mg_limit_use use = use_of("figures", MG_SCOPE_METADATA, "a");
    struct mg_limit_set two = all;
    two.concurrency = 2;
    use.set = &two;
    for (int i = 0; i < 2; i++)
        CHECK(mg_limits_enter(&use, 1, 10 * S, &no));
    use.set = &all;
    CHECK(look(use.row, MG_LIMIT_REQUESTS, 0, 10 * S));
    CHECK_INT(figures.left, 0);
    CHECK_INT(figures.used, 2);
    CHECK_INT(figures.free_in_us, S);
    CHECK_INT(figures.full_in_us, 2 * S);
    CHECK(look(use.row, MG_LIMIT_REQUESTS, 0, 11 * S));
    CHECK_INT(figures.left, 1);
    CHECK_INT(figures.free_in_us, 0);
    CHECK(look(use.row, MG_LIMIT_CONCURRENCY, 0, 10 * S));
    CHECK_INT(figures.used, 2);        /* a reload made the limit smaller than what runs */
    CHECK_INT(figures.left, 0);
    CHECK(figures.free_in_us == UINT64_MAX);
    mg_limits_leave(&use, 1);
    mg_limits_leave(&use, 1);
    mg_limit_row_drop(use.row);
}

TEST(what_is_only_reserved_is_neither_used_nor_left)
{
    struct mg_limit_hold hold;
    struct mg_limit_use use = use_of("figures", MG_SCOPE_METADATA, "c");
    CHECK(mg_limits_reserve(&use, 1, 10, 600, 10 * S, MONDAY, &hold, &no, NULL, NULL));
    CHECK(look(use.row, MG_LIMIT_BUDGET, MG_PERIOD_DAY, 10 * S));
    CHECK_INT(figures.used, 0);
    CHECK_INT(figures.reserved, 600);
    CHECK_INT(figures.left, 400);
    mg_limits_settle(&use, 1, &hold, 10, 50, 10 * S, NULL, NULL);
    CHECK(look(use.row, MG_LIMIT_BUDGET, MG_PERIOD_DAY, 10 * S));
    CHECK_INT(figures.used, 50);
    CHECK_INT(figures.reserved, 0);
    CHECK_INT(figures.left, 950);
    mg_limit_row_drop(use.row);
}

TEST(what_is_overdrawn_is_shown_as_it_is)
{
    struct mg_limit_hold hold;
    struct mg_limit_use use = use_of("figures", MG_SCOPE_METADATA, "b");
    CHECK(mg_limits_reserve(&use, 1, 10, 100, 10 * S, MONDAY, &hold, &no, NULL, NULL));
    mg_limits_settle(&use, 1, &hold, 1200, 1500, 10 * S, NULL, NULL);
    CHECK(look(use.row, MG_LIMIT_TOKENS, 0, 10 * S));
    CHECK_INT(figures.left, 0);
    CHECK_INT(figures.used, 1200);
    CHECK(figures.free_in_us > 60 * S && figures.free_in_us < 61 * S);
    CHECK_INT(figures.full_in_us, 120 * S);
    CHECK(look(use.row, MG_LIMIT_BUDGET, MG_PERIOD_DAY, 10 * S));
    CHECK_INT(figures.used, 1500);
    CHECK_INT(figures.left, 0);
    CHECK_INT(figures.free_in_us, DAY_US - 3600 * S);
    mg_limit_row_drop(use.row);
}

/* ---- rules ------------------------------------------------------------------------------------ */

struct seen {
    const char *project;
    int count;
    uint64_t refused, soft, stopped;
};

static void see_rule(void *arg, const struct mg_limit_rule *rule)
{
    struct seen *seen = arg;
    if (strcmp(rule->project, seen->project) != 0)
        return;
    seen->count++;
    seen->refused += rule->refused[mg_limit_slot(MG_LIMIT_BUDGET, MG_PERIOD_MONTH)];
    seen->soft += rule->soft[MG_PERIOD_DAY];
    seen->stopped += rule->stopped[MG_PERIOD_DAY];
}

static struct seen rules_of(const char *project)
{
    struct seen seen = {.project = project};
    mg_limit_rules_each(see_rule, &seen);
    return seen;
}

TEST(a_rule_counts_for_all_its_values_and_remembers_when_rows_are_forgotten)
{
    struct mg_limit_use ann = use_of("ruled", MG_SCOPE_METADATA, "ann"), bob = use_of("ruled", MG_SCOPE_METADATA, "bob");
    struct mg_limit_use key = use_of("ruled", MG_SCOPE_KEY, "k");
    CHECK_INT(rules_of("ruled").count, 2);
    CHECK(mg_limit_row_rule(ann.row) == mg_limit_row_rule(bob.row));
    CHECK(mg_limit_row_rule(ann.row) != mg_limit_row_rule(key.row));
    mg_limit_count_refusal(ann.row, MG_LIMIT_BUDGET, MG_PERIOD_MONTH);
    mg_limit_count_refusal(bob.row, MG_LIMIT_BUDGET, MG_PERIOD_MONTH);
    CHECK_INT(rules_of("ruled").refused, 2);
    CHECK(look(ann.row, MG_LIMIT_BUDGET, MG_PERIOD_MONTH, S));
    CHECK_INT(figures.refused, 1);
    CHECK(look(ann.row, MG_LIMIT_BUDGET, MG_PERIOD_DAY, S));
    CHECK_INT(figures.refused, 0);
    mg_limit_row_drop(ann.row);
    mg_limit_row_drop(bob.row);
    mg_limit_row_drop(key.row);
    for (int i = 0; i < 200000; i++) { /* idle ones make room; in the end those two are gone as well */
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        struct mg_limit_use use = use_of("ruled", MG_SCOPE_METADATA, value);
        mg_limit_row_drop(use.row);
    }
    struct mg_limit_id id = {MG_VIEW("ruled"), MG_VIEW_NONE, MG_SCOPE_METADATA, MG_VIEW("user"), MG_VIEW("ann")};
    CHECK(mg_limit_row_peek(&id) == NULL);
    CHECK_INT(rules_of("ruled").count, 2);
    CHECK_INT(rules_of("ruled").refused, 2);
}

TEST(thresholds_are_counted_whether_anybody_listens_or_not)
{
    struct mg_limit_hold hold;
    struct mg_limit_use use = use_of("thresholds", MG_SCOPE_KEY, "k");
    CHECK(mg_limits_reserve(&use, 1, 1, 600, 10 * S, MONDAY, &hold, &no, NULL, NULL));
    mg_limits_settle(&use, 1, &hold, 1, 600, 10 * S, NULL, NULL);
    CHECK(!mg_limits_reserve(&use, 1, 1, 600, 10 * S, MONDAY, &hold, &no, NULL, NULL));
    CHECK(!mg_limits_reserve(&use, 1, 1, 600, 10 * S, MONDAY, &hold, &no, NULL, NULL));
    CHECK_INT(rules_of("thresholds").soft, 1);
    CHECK_INT(rules_of("thresholds").stopped, 1);
    mg_limit_row_drop(use.row);
}

/* ---- all rows --------------------------------------------------------------------------------- */

static void see_row(void *arg, const struct mg_limit_row *row)
{
    struct seen *seen = arg;
    if (strcmp(mg_limit_row_rule(row)->project, seen->project) == 0)
        seen->count++;
}

TEST(rows_of_keys_and_values_are_gone_over_and_one_that_is_not_there_is_not_made)
{
    enum { COUNT = 1000 };
    struct seen seen = {.project = "many"};
    static struct mg_limit_use uses[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        uses[i] = use_of("many", i % 2 ? MG_SCOPE_KEY : MG_SCOPE_METADATA, value);
    }
    struct mg_limit_use whole = use_of("many", MG_SCOPE_PROJECT, "");
    mg_limit_rows_each(see_row, &seen);
    CHECK_INT(seen.count, COUNT);
    uint32_t before = mg_limit_rows();
    struct mg_limit_id id = {MG_VIEW("many"), MG_VIEW_NONE, MG_SCOPE_KEY, MG_VIEW_NONE, MG_VIEW("nobody")};
    CHECK(mg_limit_row_peek(&id) == NULL);
    CHECK_INT(mg_limit_rows(), before);
    id.value = MG_VIEW("1");
    struct mg_limit_row *there = mg_limit_row_peek(&id);
    CHECK(there == uses[1].row);
    mg_limit_row_drop(there);
    for (int i = 0; i < COUNT; i++)
        mg_limit_row_drop(uses[i].row);
    mg_limit_row_drop(whole.row);
}

/* ---- names ------------------------------------------------------------------------------------ */

TEST(a_limit_is_named_by_its_key_in_the_configuration)
{
    char path[MG_LIMIT_PATH_BYTES], huge[1000];
    static const struct { const char *workflow; enum mg_limit_scope scope; const char *field; enum mg_limit_kind kind; const char *path; } rows[] = {
        {NULL, MG_SCOPE_PROJECT, "", MG_LIMIT_BUDGET, "limits.budget"},
        {"", MG_SCOPE_KEY, "", MG_LIMIT_TOKENS, "limits.per_key.tokens_per_minute"},
        {"", MG_SCOPE_METADATA, "tier", MG_LIMIT_CONCURRENCY, "limits.per_metadata.tier.concurrency"},
        {"chat", MG_SCOPE_WORKFLOW, "", MG_LIMIT_REQUESTS, "workflows.chat.limits.requests_per_minute"},
        {"chat", MG_SCOPE_METADATA, "user", MG_LIMIT_REQUESTS, "workflows.chat.limits.per_metadata.user.requests_per_minute"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mg_limit_path(path, rows[i].workflow, rows[i].scope, rows[i].field, rows[i].kind);
        CHECK_STR(path, rows[i].path);
    }
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    mg_limit_path(path, huge, MG_SCOPE_METADATA, huge, MG_LIMIT_REQUESTS);
    CHECK(strlen(path) < MG_LIMIT_PATH_BYTES);
    for (int slot = 0; slot < MG_LIMIT_SLOTS; slot++)
        CHECK_INT(mg_limit_slot(mg_limit_slot_kind(slot), mg_limit_slot_period(slot)), slot);
}

MG_TEST_MAIN()
