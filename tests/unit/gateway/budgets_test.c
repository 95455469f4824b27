/* What was spent before this process began counts too, once, in the periods that still run. */
#include "store_world.h"

#include "gateway/budgets.h"
#include "tenant/limiter.h"

#define S UINT64_C(1000000)
#define NOW (BEGAN_S * S)              /* a Monday in November */

static void spend_in(struct world *world, const char *project, uint64_t wall_us, const char *workflow, const char *key_id,
                     const char *metadata, uint64_t microusd)
{
    static unsigned number;
    struct mg_timeline timeline = world_exchange(0, 5);
    unsigned char random[10] = {(unsigned char)++number};
    timeline.start_wall_us = wall_us;
    mg_exchange_id(timeline.id, wall_us, random);
    timeline.project = mg_view_cstr(project);
    timeline.workflow = mg_view_cstr(workflow);
    timeline.key_id = mg_view_cstr(key_id);
    timeline.metadata = mg_view_cstr(metadata);
    struct mg_attempt_record *attempt = world_attempt(&timeline, "p", "m", MG_CLASS_none);
    attempt->cost_microusd = microusd;
    attempt->cost_picousd = microusd * 1000000;
    CHECK_OK(mg_record_started(world->journal, &timeline, attempt, 1));
    CHECK_OK(mg_record_settled(world->journal, &timeline, attempt));
    CHECK_OK(mg_record_exchange(world->journal, &timeline));
}

static void spend(struct world *world, uint64_t wall_us, const char *workflow, const char *key_id, const char *metadata,
                  uint64_t microusd)
{
    spend_in(world, "acme", wall_us, workflow, key_id, metadata, microusd);
}

static uint64_t spent(const char *project, const char *workflow, enum mg_limit_scope scope, const char *field, const char *value,
                      enum mg_period period)
{
    struct mg_limit_id id = {mg_view_cstr(project), mg_view_cstr(workflow), scope, mg_view_cstr(field), mg_view_cstr(value)};
    struct mg_limit_row *row = mg_limit_row_take(&id, 1, NOW);
    uint64_t microusd = mg_limit_spent(row, period, NOW);
    mg_limit_row_drop(row);
    return microusd;
}

static mg_err restore(struct mg_budgets *budgets, const struct mg_config_project *config)
{
    return mg_budgets_restore(budgets, &config, 1, 1, NOW);
}

static const struct mg_limit_set monthly = {.any = true, .budget_microusd = {1000, 0, 100000}};
static const struct mg_limit_field fields[] = {{"user", {.any = true, .budget_microusd = {0, 5000, 0}}}};

TEST(money_of_the_running_periods_is_restored_for_every_scope_and_only_once)
{
    struct world world;
    struct mg_budgets budgets;
    struct mg_config_workflow flows[] = {{.name = "fast", .limits.own = monthly}};
    struct mg_config_project config = {.name = "acme", .workflows = flows, .workflow_count = 1,
                                       .limits = {.own = monthly, .per_key = monthly, .fields = fields, .field_count = 1}};
    world_open(&world);
    spend(&world, NOW - 40 * 86400 * S, "fast", "key_1", "{\"user\":\"ann\"}", 7);           /* last month */
    spend(&world, NOW - 2 * 86400 * S, "fast", "key_1", "{\"user\":\"ann\"}", 100);          /* last week, this month */
    spend(&world, NOW - 3600 * S, "slow", "key_2", "{\"user\":\"ann\"}", 20);
    spend(&world, NOW - 60 * S, "fast", "key_2", "", 3);

    mg_budgets_init(&budgets, world.data);
    budgets.recorder = world.recorder;
    for (int i = 0; i < 3; i++)        /* a reload restores nothing twice */
        CHECK_OK(restore(&budgets, &config));

    CHECK_INT(spent("acme", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 123);
    CHECK_INT(spent("acme", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_DAY), 23);
    CHECK_INT(spent("acme", "fast", MG_SCOPE_WORKFLOW, NULL, NULL, MG_PERIOD_MONTH), 103);
    CHECK_INT(spent("acme", NULL, MG_SCOPE_KEY, NULL, "key_1", MG_PERIOD_MONTH), 100);
    CHECK_INT(spent("acme", NULL, MG_SCOPE_KEY, NULL, "key_2", MG_PERIOD_MONTH), 23);
    CHECK_INT(spent("acme", NULL, MG_SCOPE_METADATA, "user", "ann", MG_PERIOD_WEEK), 20);
    CHECK_INT(spent("acme", NULL, MG_SCOPE_METADATA, "user", NULL, MG_PERIOD_WEEK), 3);
    CHECK_INT(spent("other", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 0);
    mg_budgets_fini(&budgets);
    world_stop(&world);
}

static mg_err insert_key(void *arg, struct mg_db *db)
{
    (void)arg;
    return mg_db_exec(db, "INSERT INTO keys (id, project, name, hash, created_us, limits) VALUES "
                          "('key_9', 'keyed', '', x'01', 1, '{\"budget\":{\"usd\":5}}')");
}

TEST(a_budget_of_a_key_alone_is_restored_too)
{
    struct world world;
    struct mg_budgets budgets;
    struct mg_config_project config = {.name = "keyed"};
    world_open(&world);
    CHECK_OK(mg_recorder_write_wait(world.recorder, insert_key, NULL));
    spend_in(&world, "keyed", NOW - 60 * S, "fast", "key_9", "", 44);
    mg_budgets_init(&budgets, world.data);
    budgets.recorder = world.recorder;
    CHECK_OK(restore(&budgets, &config));
    CHECK_OK(restore(&budgets, &config));
    CHECK_INT(spent("keyed", NULL, MG_SCOPE_KEY, NULL, "key_9", MG_PERIOD_WEEK), 44);
    mg_budgets_fini(&budgets);
    world_stop(&world);
}

static mg_err insert_rotated(void *arg, struct mg_db *db)
{
    (void)arg;
    return mg_db_exec(db, "INSERT INTO keys (id, project, name, hash, created_us, replaces) VALUES "
                          "('key_a', 'rotated', '', x'a1', 1, NULL), ('key_b', 'rotated', '', x'a2', 2, 'key_a'), "
                          "('key_c', 'rotated', '', x'a3', 3, 'key_b')");
}

TEST(what_a_key_spent_before_it_was_rotated_counts_for_its_successors)
{
    struct world world;
    struct mg_budgets budgets;
    struct mg_config_project config = {.name = "rotated", .limits.per_key = monthly};
    world_open(&world);
    CHECK_OK(mg_recorder_write_wait(world.recorder, insert_rotated, NULL));
    spend_in(&world, "rotated", NOW - 60 * S, "fast", "key_a", "", 1);
    spend_in(&world, "rotated", NOW - 50 * S, "fast", "key_b", "", 20);
    spend_in(&world, "rotated", NOW - 40 * S, "fast", "key_c", "", 300);
    mg_budgets_init(&budgets, world.data);
    budgets.recorder = world.recorder;
    CHECK_OK(restore(&budgets, &config));
    CHECK_INT(spent("rotated", NULL, MG_SCOPE_KEY, NULL, "key_a", MG_PERIOD_MONTH), 321);
    CHECK_INT(spent("rotated", NULL, MG_SCOPE_KEY, NULL, "key_c", MG_PERIOD_MONTH), 0);
    mg_budgets_fini(&budgets);
    world_stop(&world);
}

TEST(a_rule_that_was_away_comes_back_with_what_was_spent_meanwhile)
{
    struct world world;
    struct mg_budgets budgets;
    struct mg_config_project with = {.name = "again", .limits = {.own = monthly, .fields = fields, .field_count = 1}}, without = {.name = "again"};
    world_open(&world);
    mg_budgets_init(&budgets, world.data);
    budgets.recorder = world.recorder;
    spend_in(&world, "again", NOW - 60 * S, "fast", "k", "{\"user\":\"ann\"}", 100);
    CHECK_OK(restore(&budgets, &with));

    struct mg_limit_id id = {.project = MG_VIEW("again")};
    struct mg_limit_use use = {mg_limit_row_take(&id, 1, NOW), &monthly, true};
    struct mg_limit_hold hold;
    struct mg_limit_refusal no;
    CHECK(mg_limits_reserve(&use, 1, 0, 7, 1, NOW, &hold, &no, NULL, NULL));       /* an attempt in flight all the while */
    CHECK_OK(restore(&budgets, &without));
    spend_in(&world, "again", NOW - 50 * S, "fast", "k", "{\"user\":\"ann\"}", 20);
    spend_in(&world, "again", NOW - 50 * S, "fast", "k", "{\"user\":\"bob\"}", 3);
    CHECK_OK(restore(&budgets, &without));
    CHECK_OK(restore(&budgets, &with));
    CHECK_OK(restore(&budgets, &with));
    CHECK_INT(spent("again", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 130);
    CHECK_INT(spent("again", NULL, MG_SCOPE_METADATA, "user", "ann", MG_PERIOD_WEEK), 120);
    CHECK_INT(spent("again", NULL, MG_SCOPE_METADATA, "user", "bob", MG_PERIOD_WEEK), 3);
    mg_limits_settle(&use, 1, &hold, 0, 5, 1, NULL, NULL);
    CHECK_INT(spent("again", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 128);
    mg_limit_row_drop(use.row);
    mg_budgets_fini(&budgets);
    world_stop(&world);
}

/* A store that has had five projects, of which three come back, two of them with rules. */
TEST(many_projects_are_restored_together_and_each_gets_what_was_its_own)
{
    struct world world;
    struct mg_budgets budgets;
    static const struct mg_config_project a = {.name = "a", .limits.own = monthly}, b = {.name = "b"},
                                          c = {.name = "c", .limits = {.fields = fields, .field_count = 1}};
    const struct mg_config_project *all[] = {&a, &b, &c};
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    world_open(&world);
    for (unsigned i = 0; i < 5; i++)
        spend_in(&world, names[i], NOW - 60 * S, "fast", "k", "{\"user\":\"ann\"}", 10 + i);
    mg_budgets_init(&budgets, world.data);
    budgets.recorder = world.recorder;
    for (int i = 0; i < 2; i++)
        CHECK_OK(mg_budgets_restore(&budgets, all, MG_COUNT(all), 1, NOW));

    CHECK_INT(spent("a", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 10);
    CHECK_INT(spent("b", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 0);
    CHECK_INT(spent("c", NULL, MG_SCOPE_METADATA, "user", "ann", MG_PERIOD_WEEK), 12);
    CHECK_INT(spent("c", NULL, MG_SCOPE_PROJECT, NULL, NULL, MG_PERIOD_MONTH), 0);
    mg_budgets_fini(&budgets);
    world_stop(&world);
}

TEST(a_store_that_is_not_there_is_said)
{
    struct mg_budgets budgets;
    struct mg_config_project paid = {.name = "paid", .limits.own = monthly};
    mg_budgets_init(&budgets, "/nonexistent");
    CHECK(restore(&budgets, &paid) != MG_OK);
    mg_budgets_fini(&budgets);
}

MG_TEST_MAIN()
