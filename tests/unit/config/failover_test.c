/* What a project and gateway.lua say about failing targets. */
#include "world.h"

#include "base/limits.h"
#include "meter/failure.h"

static void check_secret(const struct mg_secret *secret, const char *text)
{
    struct mg_sealed *sealed = mg_secret_get(secret);
    CHECK(sealed != NULL);
    struct mg_locked *plain = mg_locked_take();
    CHECK_OK(mg_sealed_open(sealed, plain));
    CHECK(mg_view_eq(mg_view_of(plain->ptr, plain->len), mg_view_cstr(text)));
    mg_locked_give(plain);
    mg_sealed_unref(sealed);
}

static struct mg_config_gateway *load_gateway(const char *text)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    if (mg_config_load_gateway(put("gateway.lua", text), &config, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%d: %s", diag.line, diag.text);
    return config;
}

/* `front`, then `item` so often with its number, then `back`. */
static const char *repeated(const char *front, const char *item, int count, const char *back)
{
    static char text[65536];
    size_t len = (size_t)snprintf(text, sizeof text, "%s", front);
    for (int i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, item, i);
    snprintf(text + len, sizeof text - len, "%s", back);
    return text;
}

TEST(an_account_has_as_many_keys_as_there_is_room_for_and_no_more)
{
    static const char front[] = "return { providers = { a = { base_url = 'http://h/v1', api_keys = {";
    static const char back[] = "} } }, workflows = { chat = 'a/m' } }";
    begin();
    struct mg_config_project *config = load(repeated(front, "'k%d',", MG_MAX_CREDENTIALS, back));
    CHECK_INT(config->providers[0].credential_count, MG_MAX_CREDENTIALS);
    check_secret(config->providers[0].credentials[MG_MAX_CREDENTIALS - 1].secret, "k15");
    mg_config_project_free(config);
    CHECK(strstr(mistakes(repeated(front, "'k%d',", MG_MAX_CREDENTIALS + 1, back)), "at most 16"));
    end();
}

TEST(a_gateway_has_as_many_accounts_as_there_is_room_for_and_no_more)
{
    static const char item[] = "a%d = { api_key = 'k', projects = { p = 1 } },";
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    begin();
    config = load_gateway(repeated("return { accounts = {", item, MG_MAX_ACCOUNTS, "} }"));
    CHECK_INT(config->account_count, MG_MAX_ACCOUNTS);
    CHECK(mg_config_account_find(config, "a255") != NULL);
    mg_config_gateway_free(config);
    CHECK(mg_config_load_gateway(put("gateway.lua", repeated("return { accounts = {", item, MG_MAX_ACCOUNTS + 1, "} }")), &config,
                                 &diag) != MG_OK);
    CHECK(strstr(diag.text, "at most 256"));
    end();
}

TEST(a_project_that_says_nothing_gets_every_default_of_failover)
{
    begin();

    struct mg_config_project *config = load("return { " PROVIDERS " workflows = { chat = 'a/m' } }");

    const struct mg_config_breaker *breaker = &config->providers[0].breaker;
    CHECK(!breaker->off);
    CHECK_INT(breaker->window_ms, 30000);
    CHECK_INT(breaker->min_calls, 10);
    CHECK(breaker->failure_share == 0.5);
    CHECK_INT(breaker->consecutive, 5);
    CHECK_INT(breaker->open_ms, 5000);
    CHECK_INT(breaker->max_open_ms, 60000);
    CHECK_INT(breaker->probe_ms, 15000);
    CHECK_INT(breaker->ramp_ms, 10000);
    CHECK(breaker->slow_factor == 3);
    CHECK_INT(breaker->slow_min_ms, 1000);
    CHECK(config->providers[0].account == NULL && config->providers[0].idempotency_header == NULL);

    const struct mg_config_target *target = &config->targets[0];
    CHECK_INT(target->gate.max, 0);
    CHECK(!target->gate.adaptive && !target->prefill && !target->priced);
    CHECK_INT(target->gate.queue, 64);
    CHECK_INT(target->gate.queue_ms, 500);
    CHECK_INT(config->providers[0].gate.queue, 64);

    const struct mg_config_workflow *flow = &config->workflows[0];
    CHECK_INT(flow->max_cost_microusd, 0);
    CHECK_INT(flow->balance, MG_BALANCE_AUTO);
    CHECK_INT(flow->latency_bound_ms, 0);
    CHECK_INT(flow->rescue, MG_RESCUE_ERROR);
    CHECK_INT(flow->hedge_after_ms, 0);
    CHECK_INT(flow->max_hedges, 1);
    CHECK(flow->first_token_factor == 0 && flow->slow_factor == 0);
    CHECK_INT(flow->first_token_min_ms, 1000);
    CHECK(flow->expect_schema == NULL && !flow->has_accept);
    CHECK_INT(flow->route_around, 0);
    CHECK(flow->retry_budget.share == 0.2);
    CHECK_INT(flow->retry_budget.burst, 10);
    CHECK(flow->offline.text == NULL && flow->offline.last_good_ms == 0 && !flow->offline.has_answer);
    CHECK(config->retry_budget.share == 0.2);

    mg_config_project_free(config);
    end();
}

TEST(a_workflow_says_what_happens_when_targets_fail)
{
    begin();

    struct mg_config_project *config = load(
        "return { " PROVIDERS " retry_budget = { share = 0.1 }, workflows = { x = {\n"
        "{ 'a/m', price_usd = { input = 2.5, output = 10 }, prefill = true, region = 'eu' }, { 'b/m', price_usd = { input = 0 } },\n"
        "balance = 'cheapest', latency_bound_ms = 1500, rescue = 'resume', hedge = { after_ms = 'p95', max = 2 }, max_cost_usd = 0.25,\n"
        "adaptive_first_token = { factor = 4, min_ms = 2000 }, slow_factor = 2.5, expect = { json_schema = { type = 'object' } },\n"
        "accept = function() end, route_around = { 'refusal', 'content_filter' }, retry_budget = { burst = 3 },\n"
        "offline = { text = 'later', last_good_ms = 60000, answer = function() end } },\n"
        "y = { 'a/m', hedge = 400, rescue = 'hold', adaptive_first_token = {}, expect = { json_schema = 'request' }, offline = 'sorry', balance = 'p2c',\n"
        "route_around = 'refusal' } } }");

    const struct mg_config_workflow *x = &config->workflows[0], *y = &config->workflows[1];
    CHECK(config->targets[0].priced && config->targets[0].prefill);
    CHECK(config->targets[0].price_in_microusd == 2500000 && config->targets[0].price_out_microusd == 10000000);
    CHECK(config->targets[1].priced && config->targets[1].price_out_microusd == 0);
    CHECK_INT(x->balance, MG_BALANCE_CHEAPEST);
    CHECK_INT(x->latency_bound_ms, 1500);
    CHECK_INT(x->rescue, MG_RESCUE_RESUME);
    CHECK(x->hedge_after_ms == MG_HEDGE_P95);
    CHECK_INT(x->max_hedges, 2);
    CHECK_INT(x->max_cost_microusd, 250000);
    CHECK(x->first_token_factor == 4 && x->slow_factor == 2.5);
    CHECK_INT(x->first_token_min_ms, 2000);
    CHECK_STR(x->expect_schema, "{\"type\":\"object\"}");
    CHECK(x->has_accept);
    CHECK_INT(x->route_around, 1 << MG_CLASS_refusal | 1 << MG_CLASS_content_filter);
    CHECK(x->retry_budget.share == 0.1);
    CHECK_INT(x->retry_budget.burst, 3);
    CHECK_STR(x->offline.text, "later");
    CHECK_INT(x->offline.last_good_ms, 60000);
    CHECK(x->offline.has_answer);

    CHECK_INT(y->hedge_after_ms, 400);
    CHECK_INT(y->max_hedges, 1);
    CHECK_INT(y->rescue, MG_RESCUE_HOLD);
    CHECK_INT(y->balance, MG_BALANCE_P2C);
    CHECK(y->first_token_factor == 2);
    CHECK_STR(y->expect_schema, "request");
    CHECK_STR(y->offline.text, "sorry");
    CHECK_INT(y->route_around, 1 << MG_CLASS_refusal);
    CHECK_INT(y->retry_budget.burst, 10);

    mg_config_project_free(config);
    end();
}

TEST(every_word_of_balance_and_rescue_is_read)
{
    static const struct {
        const char *text;
        enum mg_config_balance balance;
    } rows[] = {{"auto", MG_BALANCE_AUTO},   {"order", MG_BALANCE_ORDER}, {"weighted", MG_BALANCE_WEIGHTED}, {"least_inflight", MG_BALANCE_LEAST_INFLIGHT},
                {"p2c", MG_BALANCE_P2C}, {"sticky", MG_BALANCE_STICKY}, {"cheapest", MG_BALANCE_CHEAPEST}};
    begin();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "return { " PROVIDERS " workflows = { x = { { 'a/m', price_usd = { input = 1 } }, balance = '%s' } } }", rows[i].text);
        struct mg_config_project *config = load(text);
        CHECK_INT(config->workflows[0].balance, rows[i].balance);
        mg_config_project_free(config);
    }
    end();
}

TEST(caps_come_from_the_target_then_from_its_provider)
{
    begin();

    struct mg_config_project *config = load(
        "return { providers = { a = { kind = 'simulated', concurrency = { max = 20, adaptive = true, queue = 5, queue_ms = 0 } }, b = { kind = 'simulated', concurrency = 7 } },\n"
        "workflows = { x = { 'a/1', { 'a/2', concurrency = 3 }, { 'a/3', concurrency = { adaptive = false } }, { 'a/4', concurrency = false }, 'b/1' } } }");

    const struct mg_config_target *t = config->targets;
    CHECK(t[0].gate.max == 20 && t[0].gate.adaptive && t[0].gate.queue == 5 && t[0].gate.queue_ms == 0);
    CHECK(t[1].gate.max == 3 && t[1].gate.adaptive && t[1].gate.queue == 5);
    CHECK(t[2].gate.max == 20 && !t[2].gate.adaptive);
    CHECK(t[3].gate.max == 0 && !t[3].gate.adaptive && t[3].gate.queue == 64);
    CHECK(t[4].gate.max == 7 && t[4].gate.queue == 64 && t[4].gate.queue_ms == 500);
    CHECK(config->providers[0].gate.max == 20 && config->providers[1].gate.max == 7);

    mg_config_project_free(config);
    end();
}

TEST(targets_that_differ_in_price_cap_or_prefill_are_not_one)
{
    begin();

    struct mg_config_project *config = load(
        "return { " PROVIDERS " workflows = { x = { 'a/m' }, y = { { 'a/m', prefill = true } }, z = { { 'a/m', concurrency = 2 } },\n"
        "w = { { 'a/m', price_usd = { input = 1 } } }, v = { { 'a/m' } } } }");

    CHECK_INT(config->target_count, 4);

    mg_config_project_free(config);
    end();
}

TEST(a_provider_has_several_keys_with_names)
{
    begin();
    setenv("MG_TEST_KEY", "from-env", 1);
    unsetenv("MG_TEST_NO_KEY");

    struct mg_config_project *config = load(
        "return { allow_direct = true, providers = { a = { kind = 'simulated', api_key = 'only' }, b = { kind = 'simulated', idempotency_header = 'idempotency-key', breaker = false,\n"
        "api_keys = { env 'MG_TEST_KEY', { name = 'spare', key = 'two' }, env('MG_TEST_NO_KEY', false), 'four' } },\n"
        "c = { kind = 'simulated', api_keys = 'single', breaker = { open_ms = 100, consecutive = 2 } } } }");

    CHECK_INT(config->providers[0].credential_count, 1);
    CHECK_STR(config->providers[0].credentials[0].name, "api_key");
    const struct mg_config_provider *b = &config->providers[1];
    CHECK_INT(b->credential_count, 3);
    CHECK_STR(b->credentials[0].name, "key1");
    check_secret(b->credentials[0].secret, "from-env");
    CHECK_STR(b->credentials[1].name, "spare");
    check_secret(b->credentials[1].secret, "two");
    CHECK_STR(b->credentials[2].name, "key3");
    CHECK_STR(b->idempotency_header, "idempotency-key");
    CHECK(b->breaker.off);
    check_secret(config->providers[2].credentials[0].secret, "single");
    CHECK_INT(config->providers[2].breaker.open_ms, 100);
    CHECK_INT(config->providers[2].breaker.consecutive, 2);
    CHECK_INT(config->providers[2].breaker.max_open_ms, 60000);

    mg_config_project_free(config);
    end();
}

TEST(what_makes_no_sense_is_refused_with_its_place)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"x = { 'a/m',\n latency_bound_ms = 5 }", "2: workflows.x.latency_bound_ms: this is for balance = \"cheapest\""},
        {"x = { 'a/m',\n balance = 'cheap' }", "2: workflows.x.balance: expected one of \"auto\", "},
        {"x = { 'a/m',\n max_cost_usd = 0 }", "workflows.x.max_cost_usd: expected a number from 0.0001 to 1000000, found 0"},
        {"x = { { 'a/m',\n price_usd = { output = 1 } } }", "2: workflows.x[1].price_usd: \"input\" is missing"},
        {"x = { { 'a/m',\n price_usd = { input = 0.0000001 } } }", "price_usd.input: expected a number of whole millionths from 0 to 1000000, found 1e-07"},
        {"x = { 'a/m',\n hedge = 'p99' }", "2: workflows.x.hedge: expected a whole number from 1 to 86400000 ms or \"p95\", found \"p99\""},
        {"x = { 'a/m',\n hedge = { max = 2 } }", "2: workflows.x.hedge: \"after_ms\" is missing"},
        {"x = { 'a/m',\n rescue = 'restart' }", "2: workflows.x.rescue: expected one of \"error\", \"hold\", \"resume\""},
        {"x = { 'a/m',\n expect = { json_schema = 'object' } }", "2: workflows.x.expect.json_schema: expected a JSON Schema, which is a table, or \"request\""},
        {"x = { 'a/m',\n expect = { json_schema = { 'object' } } }", "2: workflows.x.expect.json_schema: expected a JSON Schema"},
        {"x = { 'a/m',\n expect = { json_schema = { type = 'object', properties = { a = { pattern = 'x' } } } } }",
         "2: workflows.x.expect.json_schema: /properties/a/pattern is a keyword that is not supported here"},
        {"x = { 'a/m',\n expect = { json_schema = { type = 'text' } } }", "2: workflows.x.expect.json_schema: /type must be one of string, number"},
        {"x = { 'a/m',\n expect = { json_schema = { ['$ref'] = '#/$defs/x' } } }", "/$ref must lead to a place in this schema"},
        {"x = { 'a/m',\n accept = true }", "2: workflows.x.accept: expected a function or file"},
        {"x = { 'a/m',\n route_around = { 'refused' } }", "2: workflows.x.route_around[1]: expected one of \"refusal\", \"content_filter\""},
        {"x = { 'a/m',\n retry_budget = { share = -1 } }", "2: workflows.x.retry_budget.share: expected a number from 0 to 10, found -1"},
        {"x = { 'a/m',\n offline = {} }", "2: workflows.x.offline: expected \"text\", \"last_good_ms\" or \"answer\""},
        {"x = { 'a/m',\n offline = { text = ('x'):rep(65537) } }", "2: workflows.x.offline.text: expected a text of at most 65536 bytes"},
        {"x = { { 'a/m',\n concurrency = { adaptive = true } } }", "2: workflows.x[1].concurrency: \"adaptive\" needs \"max\" beside it"},
        {"x = { { 'a/m',\n concurrency = 0 } }", "2: workflows.x[1].concurrency: expected a whole number from 1 to 1000000, found 0"},
        {"x = { 'a/m',\n adaptive_first_token = 0.5 }", "2: workflows.x.adaptive_first_token: expected a number from 1 to 1000, found 0.5"},
    };
    begin();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, "return { " PROVIDERS " workflows = { %s } }", rows[i].text);
        if (!says(text, rows[i].says))
            check_failed(__FILE__, __LINE__, "row %zu", i);
    }
    end();
}

TEST(keys_and_breakers_that_make_no_sense_are_refused)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"api_key = 'a',\n api_keys = { 'b' }", "2: providers.p.api_keys: give \"api_key\" or \"api_keys\", not both"},
        {"api_keys = { { key = 'a', name = 'key2' },\n 'b' }", "2: providers.p.api_keys[2]: two keys are called \"key2\""},
        {"api_keys = { { name = 'x' } }", "1: providers.p.api_keys[1]: \"key\" is missing"},
        {"api_key = 'a',\n account = 'shared'", "2: providers.p.account: the keys are those of the account in gateway.lua"},
        {"idempotency_header = 'host'", "providers.p.idempotency_header: expected the name of a header"},
        {"breaker = { open_ms = 70000 }", "providers.p.breaker.max_open_ms: expected at least open_ms, which is 70000, found 60000"},
        {"breaker = { failure_share = 0 }", "providers.p.breaker.failure_share: expected a number from 0.01 to 1, found 0"},
        {"breaker = true", "providers.p.breaker: expected a table, found true"},
        {"concurrency = { queu = 3 }", "providers.p.concurrency.queu: there is no such key here; did you mean \"queue\"?"},
    };
    begin();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[1024];
        snprintf(text, sizeof text, "return { allow_direct = true, providers = { p = { kind = 'simulated', %s } } }", rows[i].text);
        if (!says(text, rows[i].says))
            check_failed(__FILE__, __LINE__, "row %zu", i);
    }
    char many[256] = "return { allow_direct = true, providers = { p = { kind = 'simulated', api_keys = {";
    for (int i = 0; i < 17; i++)
        strcat(many, "'k',");
    strcat(many, "} } } }");
    CHECK(says(many, "providers.p.api_keys: expected at most 16 entries, found 17"));
    end();
}

TEST(an_account_is_granted_to_projects_in_shares)
{
    begin();
    put("secrets/gateway/openai", "from-secret\n");

    struct mg_config_gateway *config = load_gateway(
        "return { accounts = { openai = { api_keys = { secret 'openai', { name = 'b', key = 'two' } }, projects = { 'demo', search = 3, 'other' } },\n"
        "solo = { api_key = 'x', projects = { demo = 0.5 } } } }");

    CHECK_INT(config->account_count, 2);
    const struct mg_config_account *openai = mg_config_account_find(config, "openai");
    CHECK_INT(openai->credential_count, 2);
    CHECK_STR(openai->credentials[0].name, "key1");
    check_secret(openai->credentials[0].secret, "from-secret");
    CHECK_STR(openai->credentials[1].name, "b");
    CHECK_INT(openai->grant_count, 3);
    double share = 0;
    CHECK(mg_config_account_grants(openai, "demo", &share) && share == 1);
    CHECK(mg_config_account_grants(openai, "search", &share) && share == 3);
    CHECK(mg_config_account_grants(openai, "other", &share) && share == 1);
    CHECK(!mg_config_account_grants(openai, "dem", &share));
    CHECK(mg_config_account_grants(mg_config_account_find(config, "solo"), "demo", &share) && share == 0.5);
    CHECK(mg_config_account_find(config, "open") == NULL);

    mg_config_gateway_free(config);
    end();
}

TEST(an_account_that_says_too_little_or_too_much_is_refused)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"a = { projects = { 'x' } }", "accounts.a: expected \"api_key\" or \"api_keys\""},
        {"a = { api_key = 'k' }", "accounts.a: \"projects\" is missing"},
        {"a = { api_key = 'k', projects = {} }", "accounts.a.projects: expected at least 1 entry, found 0"},
        {"a = { api_key = 'k', projects = 'x' }", "accounts.a.projects: expected a list of names, or names with shares, found \"x\""},
        {"a = { api_key = 'k', projects = { x = 0 } }", "accounts.a.projects.x: expected a share above 0, found 0"},
        {"a = { api_key = 'k', projects = { 'x', x = 2 } }", "\"x\" stands there twice"},
        {"a = { api_key = 'k', projects = { '../x' } }", "accounts.a.projects[1]: expected a name of letters"},
        {"a = { api_key = 'k', projects = { 7 } }", "accounts.a.projects[1]: expected a text, found 7"},
        {"a = { api_key = 'k', api_keys = { 'l' }, projects = { 'x' } }", "accounts.a.api_keys: give \"api_key\" or \"api_keys\", not both"},
    };
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        struct mg_config_gateway *config = NULL;
        struct mg_diag diag = {"", 0, ""};
        snprintf(text, sizeof text, "return { accounts = { %s } }", rows[i].text);
        CHECK_INT(mg_config_load_gateway(put("gateway.lua", text), &config, &diag), MG_E_CONFIG);
        if (!strstr(diag.text, rows[i].says))
            check_failed(__FILE__, __LINE__, "row %zu: %s", i, diag.text);
    }
    end();
}

TEST(a_project_names_only_accounts_it_was_granted)
{
    begin();
    struct mg_config_gateway *gateway = load_gateway("return { accounts = { ours = { api_key = 'k', projects = { 'demo' } }, theirs = { api_key = 'k', projects = { 'x' } } } }");
    struct mg_config_project *config = load("return { allow_direct = true, providers = {\n"
                                            "good = { kind = 'simulated', account = 'ours' },\n"
                                            "bad = { kind = 'simulated',\n account = 'theirs' },\n"
                                            "none = { kind = 'simulated', account = 'nowhere' }, own = { kind = 'simulated', api_key = 'k' } } }");
    struct mg_config_report report;
    mg_config_report_init(&report);

    CHECK_INT(mg_config_check_accounts(gateway, config, "projects/demo.lua", &report), MG_E_CONFIG);

    CHECK_STR(config->providers[0].account, "ours");
    CHECK_INT(report.total, 2);
    CHECK_STR(report.diags[0].file, "projects/demo.lua");
    CHECK_INT(report.diags[0].line, 4);
    CHECK_STR(report.diags[0].text, "providers.bad.account: gateway.lua does not grant the account \"theirs\" to this project; add \"demo\" to its `projects` (read at the start)");
    CHECK_INT(report.diags[1].line, 5);
    CHECK_STR(report.diags[1].text, "providers.none.account: gateway.lua has no account \"nowhere\"; add it to its `accounts`, with \"demo\" in its `projects` (read at the start)");

    mg_config_report_fini(&report);
    mg_config_project_free(config);
    mg_config_gateway_free(gateway);
    end();
}

MG_TEST_MAIN()
