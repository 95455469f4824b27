/* What a project says it may use, and what gateway.lua says of too much. */
#include "world.h"

TEST(a_project_that_says_nothing_has_no_limits)
{
    begin();
    struct mg_config_project *config = load("return { " PROVIDERS " workflows = { chat = 'a/m' } }");
    CHECK(!config->limits.own.any && !config->limits.per_key.any);
    CHECK_INT(config->limits.field_count, 0);
    CHECK(!config->workflows[0].limits.own.any);
    mg_config_project_free(config);
    end();
}

TEST(limits_are_read_for_the_project_its_keys_its_values_and_its_workflows)
{
    begin();
    struct mg_config_project *config = load(
        "return { " PROVIDERS " workflows = { chat = { targets = 'a/m', limits = { concurrency = 3 } } }, limits = {\n"
        "  requests_per_minute = 600, burst = 7, tokens_per_minute = 5000, concurrency = 50,\n"
        "  budget = { { per = 'day', usd = 2.5, soft = 0.5 }, { usd = 100 } },\n"
        "  per_key = { requests_per_minute = 60 },\n"
        "  per_metadata = { user = { requests_per_minute = 4 }, tier = { budget = { per = 'week', usd = 7, soft = 0 } } },\n"
        "} }");
    const struct mg_limit_rules *rules = &config->limits;
    CHECK(rules->own.any);
    CHECK_INT(rules->own.requests_per_minute, 600);
    CHECK_INT(rules->own.burst, 7);
    CHECK_INT(rules->own.tokens_per_minute, 5000);
    CHECK_INT(rules->own.concurrency, 50);
    CHECK_INT(rules->own.budget_microusd[MG_PERIOD_DAY], 2500000);
    CHECK_INT(rules->own.soft_microusd[MG_PERIOD_DAY], 1250000);
    CHECK_INT(rules->own.budget_microusd[MG_PERIOD_WEEK], 0);
    CHECK_INT(rules->own.budget_microusd[MG_PERIOD_MONTH], 100000000);
    CHECK_INT(rules->own.soft_microusd[MG_PERIOD_MONTH], 80000000);
    CHECK(rules->per_key.any && rules->per_key.burst == 10);          /* a sixth */
    CHECK_INT(rules->field_count, 2);
    CHECK_STR(rules->fields[0].name, "user");
    CHECK_INT(rules->fields[0].set.burst, 1);                          /* and never none */
    CHECK_STR(rules->fields[1].name, "tier");
    CHECK_INT(rules->fields[1].set.budget_microusd[MG_PERIOD_WEEK], 7000000);
    CHECK_INT(rules->fields[1].set.soft_microusd[MG_PERIOD_WEEK], 0);
    CHECK_INT(config->workflows[0].limits.own.concurrency, 3);
    mg_config_project_free(config);
    end();
}

TEST(limits_that_contradict_themselves_are_refused)
{
    begin();
#define LIMITED(limits) "return { " PROVIDERS " workflows = { chat = 'a/m' }, limits = { " limits " } }"
    CHECK(says(LIMITED("burst = 5"), "limits.burst: \"burst\" needs \"requests_per_minute\" beside it"));
    CHECK(says(LIMITED("requests_per_minute = 5, burst = 6"), "limits.burst: expected at most requests_per_minute, which is 5, found 6"));
    CHECK(says(LIMITED("budget = { { usd = 1 }, { per = 'month', usd = 2 } }"), "limits.budget[2]: there are two budgets per month"));
    CHECK(says(LIMITED("budget = { per = 'year', usd = 1 }"), "limits.budget.per: expected one of \"day\", \"week\", \"month\""));
    CHECK(says(LIMITED("budget = { per = 'day' }"), "limits.budget: \"usd\" is missing"));
    CHECK(says(LIMITED("requests_per_minute = 0"), "limits.requests_per_minute: expected a whole number from 1"));
    CHECK(says(LIMITED("per_key = { per_key = {} }"), "limits.per_key.per_key"));
    CHECK(says(LIMITED("per_metadata = { a={}, b={}, c={}, d={}, e={}, f={}, g={}, h={}, i={} }"),
               "limits.per_metadata: expected at most 8 entries, found 9"));
    end();
}

static struct mg_config_gateway *gateway(const char *text)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    if (mg_config_load_gateway(put("gateway.lua", text), &config, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%d: %s", diag.line, diag.text);
    return config;
}

TEST(overload_has_defaults_and_shares)
{
    begin();
    struct mg_config_gateway *config = gateway("return { }");
    CHECK_INT(config->overload.in_flight, 12288);
    CHECK_INT(config->overload.queue, 1024);
    CHECK_INT(config->overload.queue_ms, 2000);
    CHECK_INT(config->overload.share_count, 0);
    mg_config_gateway_free(config);
    config = gateway("return { overload = { in_flight = 5, queue = 0, shares = { support = 3 } } }");
    CHECK_INT(config->overload.in_flight, 5);
    CHECK_INT(config->overload.queue, 0);
    CHECK_STR(config->overload.shares[0].project, "support");
    CHECK(config->overload.shares[0].share == 3);
    mg_config_gateway_free(config);
    end();
}

MG_TEST_MAIN()
