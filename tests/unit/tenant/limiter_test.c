/* Which rows an exchange is held to. */
#include "check.h"

#include "tenant/limiter.h"

static const struct mg_limit_set one = {.any = true, .concurrency = 1}, two = {.any = true, .concurrency = 2},
                                 rich = {.any = true, .budget_microusd = {0, 0, 100}};
static const struct mg_limit_field fields[] = {{"user", {.any = true, .concurrency = 4}}, {"tier", {.any = true, .concurrency = 5}}};

static struct mg_arena arena;
static struct mg_limit_use uses[MG_MAX_LIMIT_USES];
static const char *too_long;

static int uses_of(const struct mg_limiter *limiter, const struct mg_limit_ask *ask)
{
    too_long = NULL;
    return mg_limiter_uses(limiter, ask, &arena, 1, 1, uses, &too_long);
}

TEST(a_project_without_limits_costs_a_test_and_takes_no_row)
{
    struct mg_config_workflow flows[] = {{.name = "chat"}};
    struct mg_config_project config = {.name = "free", .workflows = flows, .workflow_count = 1};
    struct mg_limiter *limiter = mg_limiter_new(&config, 1, 1);
    struct mg_limit_ask ask = {.workflow = &flows[0], .key_id = MG_VIEW("k")};
    uint32_t before = mg_limit_rows();
    CHECK(mg_limiter_is_idle(limiter, &ask));
    ask.key_set = &one;
    CHECK(!mg_limiter_is_idle(limiter, &ask));
    CHECK_INT(mg_limit_rows(), before);
    mg_limiter_free(limiter);
    mg_limiter_free(NULL);
}

TEST(an_exchange_is_held_to_project_workflow_key_and_values)
{
    struct mg_config_workflow flows[] = {{.name = "chat", .limits = {.own = two, .per_key = one}}, {.name = "plain"}};
    struct mg_config_project config = {.name = "all", .workflows = flows, .workflow_count = 2,
                                       .limits = {.own = one, .per_key = two, .fields = fields, .field_count = 2}};
    struct mg_limiter *limiter = mg_limiter_new(&config, 1, 1);
    struct mg_limit_ask ask = {.workflow = &flows[0], .key_id = MG_VIEW("key_1"),
                               .metadata = MG_VIEW("{\"user\":\"\\u0061nn\",\"tier\":\"gold\"}"),
                               .key_metadata = MG_VIEW("{\"tier\":7}")};
    mg_arena_init(&arena, 1024);
    CHECK_INT(uses_of(limiter, &ask), 6);
    CHECK_INT(mg_limit_row_scope(uses[0].row), MG_SCOPE_PROJECT);
    CHECK_STR(mg_limit_row_value(uses[1].row), "key_1");
    CHECK(uses[1].set == &config.limits.per_key);
    CHECK_STR(mg_limit_row_value(uses[2].row), "ann");       /* decoded, so that no spelling makes another user of her */
    CHECK_STR(mg_limit_row_value(uses[3].row), "7");         /* the key's word goes first */
    CHECK_INT(mg_limit_row_scope(uses[4].row), MG_SCOPE_WORKFLOW);
    CHECK_STR(mg_limit_row_workflow(uses[5].row), "chat");
    CHECK(uses[1].row != uses[5].row);
    mg_limiter_leave(uses, 6);

    ask.workflow = &flows[1];
    CHECK_INT(uses_of(limiter, &ask), 4);
    mg_limiter_leave(uses, 4);
    struct mg_config_workflow direct = {.name = "a/m"};
    ask.workflow = &direct;            /* of a direct call: no route gets around the project's limits */
    CHECK_INT(uses_of(limiter, &ask), 4);
    mg_limiter_leave(uses, 4);
    mg_arena_fini(&arena);
    mg_limiter_free(limiter);
}

TEST(before_workflow_and_metadata_are_known_there_are_project_and_key)
{
    struct mg_config_project config = {.name = "early", .limits = {.own = one, .per_key = two, .fields = fields, .field_count = 2}};
    struct mg_limiter *limiter = mg_limiter_new(&config, 1, 1);
    struct mg_limit_ask ask = {.early = true, .key_id = MG_VIEW("k")};
    mg_arena_init(&arena, 1024);
    CHECK(!mg_limiter_is_idle(limiter, &ask));
    CHECK_INT(uses_of(limiter, &ask), 2);
    CHECK_INT(mg_limit_row_scope(uses[0].row), MG_SCOPE_PROJECT);
    CHECK_INT(mg_limit_row_scope(uses[1].row), MG_SCOPE_KEY);
    mg_limiter_leave(uses, 2);
    mg_arena_fini(&arena);
    mg_limiter_free(limiter);
}

TEST(what_a_key_has_of_its_own_goes_before_what_all_keys_have)
{
    struct mg_config_project config = {.name = "keys", .limits.per_key = {.any = true, .concurrency = 9, .tokens_per_minute = 100}};
    struct mg_config_workflow direct = {.name = "a/m"};
    struct mg_limiter *limiter = mg_limiter_new(&config, 1, 1);
    struct mg_limit_set own = {.any = true, .concurrency = 2, .requests_per_minute = 60, .burst = 3};
    struct mg_limit_ask ask = {.workflow = &direct, .key_id = MG_VIEW("k"), .key_set = &own};
    mg_arena_init(&arena, 1024);
    CHECK_INT(uses_of(limiter, &ask), 1);
    CHECK_INT(uses[0].set->concurrency, 2);
    CHECK_INT(uses[0].set->burst, 3);
    CHECK_INT(uses[0].set->tokens_per_minute, 100);
    mg_limiter_leave(uses, 1);
    mg_arena_fini(&arena);
    mg_limiter_free(limiter);
}

TEST(a_value_that_is_too_long_is_named_and_nothing_is_held)
{
    char metadata[256];
    snprintf(metadata, sizeof metadata, "{\"user\":\"a\",\"tier\":\"%0*d\"}", MG_MAX_LIMIT_VALUE_BYTES + 1, 7);
    struct mg_config_project config = {.name = "long", .limits = {.fields = fields, .field_count = 2}};
    struct mg_config_workflow direct = {.name = "a/m"};
    struct mg_limiter *limiter = mg_limiter_new(&config, 1, 1);
    struct mg_limit_ask ask = {.workflow = &direct, .metadata = mg_view_cstr(metadata)};
    mg_arena_init(&arena, 1024);
    CHECK_INT(uses_of(limiter, &ask), -1);
    CHECK_STR(too_long, "tier");
    mg_arena_fini(&arena);
    mg_limiter_free(limiter);
}

TEST(a_value_is_a_text_decoded_or_whatever_stands_there)
{
    mg_arena_init(&arena, 1024);
    mg_view metadata = MG_VIEW("{\"a\":\"x\\\"y\",\"b\":12,\"c\":null,\"d\":{\"e\":1}}");
    CHECK_VIEW(mg_limiter_value(&arena, metadata, MG_VIEW_NONE, "a"), MG_VIEW("x\"y"));
    CHECK_VIEW(mg_limiter_value(&arena, metadata, MG_VIEW_NONE, "b"), MG_VIEW("12"));
    CHECK_INT(mg_limiter_value(&arena, metadata, MG_VIEW_NONE, "c").len, 0);
    CHECK_VIEW(mg_limiter_value(&arena, metadata, MG_VIEW_NONE, "d"), MG_VIEW("{\"e\":1}"));
    CHECK_INT(mg_limiter_value(&arena, MG_VIEW("[1]"), MG_VIEW("3"), "a").len, 0);
    CHECK_INT(mg_limiter_value(&arena, MG_VIEW_NONE, MG_VIEW_NONE, "a").len, 0);
    mg_arena_fini(&arena);
}

static int told;

static void count_budget(void *arg, const char *workflow, enum mg_limit_scope scope, const char *field,
                         const struct mg_limit_set *set)
{
    const struct mg_config_project *config = arg;
    CHECK(set->budget_microusd[MG_PERIOD_MONTH] == 100);
    told += scope == MG_SCOPE_KEY ? 1 : scope == MG_SCOPE_WORKFLOW && strcmp(workflow, config->workflows[0].name) == 0 ? 10 : 100;
    (void)field;
}

TEST(budgets_are_found_wherever_they_stand)
{
    struct mg_config_workflow flows[] = {{.name = "chat", .limits.own = rich}, {.name = "plain", .limits.own = one}};
    struct mg_config_project config = {.name = "money", .workflows = flows, .workflow_count = 2, .limits.per_key = one};
    CHECK(mg_limiter_has_budget(&config, &flows[0]));
    CHECK(!mg_limiter_has_budget(&config, &flows[1]));
    config.limits.per_key = rich;
    CHECK(mg_limiter_has_budget(&config, &flows[1]));
    mg_limiter_budgets(&config, count_budget, &config);
    CHECK_INT(told, 11);
}

MG_TEST_MAIN()
