#include "world.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/limits.h"
#include "sim/faults.h"

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

TEST(a_small_project_gets_every_default)
{
    begin();

    struct mg_config_project *config = load("return { " PROVIDERS "\n workflows = { chat = 'a/m' } }");

    CHECK_STR(config->name, "demo");
    CHECK_INT(config->provider_count, 2);
    CHECK_STR(config->providers[0].name, "a");
    CHECK_STR(config->providers[0].adapter, "openai");
    CHECK_STR(config->providers[0].kind, "http");
    CHECK(config->providers[0].verify);
    CHECK(config->providers[0].credential_count == 0);
    CHECK_INT(config->workflow_count, 1);
    CHECK_STR(config->workflows[0].name, "chat");
    CHECK_INT(config->workflows[0].line, 2);
    CHECK_INT(config->workflows[0].deadline_ms, 600000);
    CHECK_INT(config->workflows[0].max_attempts, 4);
    CHECK_INT(config->target_count, 1);
    CHECK_STR(config->targets[0].id, "a/m");
    CHECK_INT(config->targets[0].timeouts.connect_ms, 2000);
    CHECK_INT(config->targets[0].timeouts.total_ms, 600000);
    CHECK(!config->allow_direct);
    CHECK(!config->has_route);
    CHECK_INT(config->file_count, 1);

    mg_config_project_free(config);
    end();
}

TEST(timers_come_from_the_target_then_the_workflow_then_the_project)
{
    begin();

    struct mg_config_project *config = load("return { " PROVIDERS " timeouts_ms = { connect = 1, idle = 2 }, workflows = { chat = {\n"
                                            "targets = { { 'a/m', timeouts_ms = { connect = 10 } }, 'b/m' }, timeouts_ms = { connect = 5, total = 7 } } } }");

    const struct mg_timeouts *first = &config->targets[0].timeouts, *second = &config->targets[1].timeouts;
    CHECK_INT(first->connect_ms, 10);
    CHECK_INT(first->idle_ms, 2);
    CHECK_INT(first->total_ms, 7);
    CHECK_INT(first->first_token_ms, 30000);
    CHECK_INT(second->connect_ms, 5);

    mg_config_project_free(config);
    end();
}

TEST(tables_keep_the_order_of_the_file)
{
    begin();

    struct mg_config_project *config = load("local p = { zebra = { kind = 'simulated' }, apple = { kind = 'simulated' } }\n"
                                            "return { providers = p, workflows = { z = 'zebra/1', m = 'apple/1', a = 'zebra/2' } }");

    CHECK_STR(config->providers[0].name, "zebra");
    CHECK_STR(config->providers[1].name, "apple");
    CHECK_STR(config->workflows[0].name, "z");
    CHECK_STR(config->workflows[1].name, "m");
    CHECK_STR(config->workflows[2].name, "a");

    mg_config_project_free(config);
    end();
}

TEST(arms_is_another_name_for_targets_and_equal_targets_share_a_row)
{
    begin();

    struct mg_config_project *config = load("return { " PROVIDERS " workflows = { x = { arms = { { 'a/m', weight = 3, name = 'hot' }, 'b/m' } },\n"
                                            "y = { 'b/m', 'a/m', 'a/m' } } }");

    CHECK_INT(config->target_count, 3);
    CHECK_INT(config->workflows[0].arms[0].weight, 3);
    CHECK_STR(config->workflows[0].arms[0].name, "hot");
    CHECK_INT(config->workflows[1].arms[0].target, 1);
    CHECK_INT(config->workflows[1].arms[1].target, 0);
    CHECK_STR(config->targets[2].id, "a/m#3");

    mg_config_project_free(config);
    end();
}

TEST(parameters_and_plugin_settings_become_json)
{
    begin();

    struct mg_config_project *config = load(
        "return { " PROVIDERS " workflows = { x = { { 'a/m', params = { temperature = 0.5, stop = { 'a', \"b\\n\" }, top_k = 3 } } } },\n"
        "plugins = { { use = 'moongate/pii@^1.2', config = { token = secret 'dlp', deep = { { x = true } } }, grant = { 'kv' }, fail = { on_request = 'open' },\n"
        "  when = { stream = true, workflows = 'x' } }, { on_request = function() end, stream = { hold = 12 } } },\n"
        "inline = { grant = { 'net:https://quota.example' } } }");

    CHECK_STR(config->targets[0].params, "{\"temperature\":0.5,\"stop\":[\"a\",\"b\\n\"],\"top_k\":3}");
    CHECK_INT(config->plugin_count, 2);
    CHECK_STR(config->plugins[0].as, "pii");
    CHECK_STR(config->plugins[0].config, "{\"deep\":[{\"x\":true}],\"token\":{\"$secret\":\"dlp\"}}");
    CHECK_STR(config->plugins[0].grant, "[\"kv\"]");
    CHECK_STR(config->plugins[0].fail, "{\"on_request\":\"open\"}");
    CHECK_STR(config->plugins[0].when_workflows, "[\"x\"]");
    CHECK_INT(config->plugins[0].when_stream, 1);
    CHECK_STR(config->plugins[1].as, "inline2");
    CHECK_INT(config->plugins[1].when_stream, -1);
    CHECK_STR(config->plugins[1].stream, "{\"mode\":\"filter\",\"hold\":12,\"max_hold_ms\":400,\"channels\":[\"content\",\"reasoning\"]}");
    CHECK_STR(config->plugins[1].config, "{}");
    CHECK_STR(config->inline_grant, "[\"net:https://quota.example\"]");
    CHECK(config->inline_fail == NULL);

    mg_config_project_free(config);
    end();
}

TEST(simulated_models_carry_their_faults)
{
    begin();

    struct mg_config_project *config = load("return { providers = { sim = { kind = 'simulated', models = { ['fast*'] = { ttft_ms = 120,\n"
                                            "faults = { { 'overloaded', every = 3 }, { fault = 'stall', probability = 0.25, value = 9 } } } } } },\n"
                                            "allow_direct = true }");

    const struct mg_config_sim_model *model = config->providers[0].sim_models;
    CHECK_STR(model->model, "fast*");
    CHECK_INT(model->ttft_ms, 120);
    CHECK_INT(model->fault_count, 2);
    CHECK_STR(model->faults[0].name, "overloaded");
    CHECK_INT(model->faults[0].every, 3);
    CHECK(model->faults[1].probability == 0.25);
    CHECK_INT(model->faults[1].value, 9);

    mg_config_project_free(config);
    end();
}

TEST(allow_direct_needs_no_workflow_and_goes_by_the_projects_timers)
{
    begin();

    struct mg_config_project *config = load("return { " PROVIDERS " allow_direct = true, timeouts_ms = { idle = 77 } }");

    CHECK(config->allow_direct);
    CHECK_INT(config->workflow_count, 0);
    CHECK_INT(config->direct_timeouts.idle_ms, 77);
    CHECK_INT(config->direct_timeouts.connect_ms, 2000);
    CHECK_INT(config->direct_deadline_ms, 600000);
    CHECK_INT(config->direct_max_attempts, 2);

    mg_config_project_free(config);
    end();
}

TEST(a_glob_names_a_workflow_for_many_models_and_the_closest_one_wins)
{
    begin();

    struct mg_config_project *config = load("return { " PROVIDERS " workflows = { ['*'] = 'a/*', ['gpt-*'] = 'b/*', ['gpt-5*'] = 'a/five', chat = 'a/m' } }");

    CHECK_INT(mg_config_match(config, MG_VIEW("llama")), 0);
    CHECK_INT(mg_config_match(config, MG_VIEW("gpt-4")), 1);
    CHECK_INT(mg_config_match(config, MG_VIEW("gpt-5-mini")), 2);
    CHECK_STR(config->targets[config->workflows[1].arms[0].target].model, "*");
    mg_config_project_free(config);

    config = load("return { " PROVIDERS " workflows = { ['gpt-*'] = 'b/*' } }");
    CHECK_INT(mg_config_match(config, MG_VIEW("llama")), -1);
    mg_config_project_free(config);
    end();
}

TEST(references_are_resolved_and_secrets_read_from_private_files)
{
    begin();
    setenv("MG_TEST_KEY", "sk-env", 1);
    setenv("MG_TEST_ATTEMPTS", "7", 1);
    unsetenv("MG_TEST_NONE");
    put("secrets/demo/backup", "sk-file\n");

    struct mg_config_project *config =
        load("return { providers = { a = { api_key = env 'MG_TEST_KEY' }, b = { api_key = secret 'backup', headers = { ['X-Team'] = 'one' } },\n"
             "c = { api_key = env('MG_TEST_NONE', false) } }, workflows = { w = { 'a/m', max_attempts = env 'MG_TEST_ATTEMPTS' } } }");

    check_secret(config->providers[0].credentials[0].secret, "sk-env");
    check_secret(config->providers[1].credentials[0].secret, "sk-file");
    CHECK_STR(config->providers[1].header_names[0], "X-Team");
    CHECK(config->providers[2].credential_count == 0);
    CHECK_INT(config->workflows[0].max_attempts, 7);
    CHECK_INT(config->file_count, 2);                    /* the secret is watched too */
    mg_config_project_free(config);

    char path[256];
    snprintf(path, sizeof path, "%s/secrets/demo/backup", dir);
    chmod(path, 0644);
    CHECK(says("return { providers = { a = { api_key = secret 'backup' } }, allow_direct = true }", "others may read it; chmod 600 it"));
    CHECK(says("return { providers = { a = { api_key = secret '../x' } }, allow_direct = true }", "expected a name of letters"));
    CHECK(says("return { providers = { a = { api_key = env 'MG_TEST_NONE' } }, allow_direct = true }",
               "providers.a.api_key: the environment variable MG_TEST_NONE is not set"));
    end();
}

TEST(functions_may_stand_in_the_file_or_in_another)
{
    begin();
    put("projects/policies/classify.lua", "local limit = 3\nreturn function(att) return nil end");

    struct mg_config_project *config = load("local json, now = require 'moongate.json', os.time\nreturn { " PROVIDERS
                                            " workflows = { w = { 'a/m', route = function(req, c) return json.encode(c) end } },\n"
                                            "classify = file 'policies/classify.lua', on_log = function() end }");

    CHECK(config->has_classify);
    CHECK(config->has_on_log);
    CHECK(!config->has_route);
    CHECK(config->workflows[0].has_route);
    CHECK_INT(config->file_count, 2);
    CHECK(strstr(config->files[1], "/projects/policies/classify.lua") != NULL);
    CHECK(strstr(config->source, "moongate.json") != NULL);
    mg_config_project_free(config);

    put("projects/policies/classify.lua", "return {}");
    CHECK(says("return { " PROVIDERS " allow_direct = true, route = file 'policies/classify.lua' }", "1: expected the file to return a function"));
    put("projects/policies/classify.lua", "\n\nlocal x = = 1");
    CHECK(says("return { " PROVIDERS " allow_direct = true, route = file 'policies/classify.lua' }", "3: unexpected symbol"));
    CHECK(says("return { " PROVIDERS " allow_direct = true, route = file '../../x.lua' }", "stays inside the configuration folder"));
    CHECK(says("return { " PROVIDERS " allow_direct = true, route = file '/etc/passwd' }", "stays inside the configuration folder"));
    CHECK(says("return { " PROVIDERS " allow_direct = true, route = file 'none.lua' }", "file \"none.lua\": No such file"));
    end();
}

TEST(every_fault_of_the_simulator_may_be_configured_and_no_other)
{
    begin();
    for (int i = 1; i < MG_SIM_FAULT_COUNT; i++) {
        char text[256];
        snprintf(text, sizeof text, "return { providers = { s = { kind = 'simulated', models = { m = { faults = { '%s' } } } } }, allow_direct = true }",
                 mg_sim_faults[i].name);
        mg_config_project_free(load(text));
    }
    CHECK(says("return { providers = { s = { kind = 'simulated', models = { m = { faults = { 'overloded' } } } } }, allow_direct = true }",
               "expected the name of a fault, found \"overloded\" (did you mean \"overloaded\"?)"));
    end();
}

TEST(the_hash_of_the_files_changes_when_one_of_them_would_read_otherwise)
{
    begin();
    put("secrets/demo/key", "one\n");
    struct mg_config_project *config = NULL;
    struct mg_config_report report;
    mg_config_report_init(&report);
    const char *text = "return { providers = { a = { api_key = secret 'key' } }, allow_direct = true, route = file 'r.lua' }";
    CHECK_INT(mg_config_check_project(put("projects/demo.lua", text), &config, &report), MG_E_CONFIG);

    CHECK_INT(report.file_count, 3);
    CHECK(report.hash == mg_config_files_hash(report.files, 3));
    put("projects/demo.lua", text);                      /* saved again without a change */
    CHECK(report.hash == mg_config_files_hash(report.files, 3));
    put("projects/r.lua", "return function() end");      /* the missing file appears */
    uint64_t second = mg_config_files_hash(report.files, 3);
    CHECK(second != report.hash);
    put("secrets/demo/key", "two\n");
    uint64_t third = mg_config_files_hash(report.files, 3);
    CHECK(third != second);
    chmod(report.files[1], 0644);
    CHECK(third != mg_config_files_hash(report.files, 3));
    mg_config_report_fini(&report);
    end();
}

TEST(a_file_may_have_a_megabyte_and_not_a_byte_more)
{
    begin();
    for (int over = 0; over <= 1; over++) {
        FILE *file = fopen(put("projects/demo.lua", ""), "w");
        const char *text = "return { " PROVIDERS " allow_direct = true }";
        fprintf(file, "%s%*s", text, MG_MAX_LUA_SOURCE_BYTES - (int)strlen(text) + over, "");
        fclose(file);
        char path[256];
        snprintf(path, sizeof path, "%s/projects/demo.lua", dir);
        struct mg_config_project *config = NULL;
        struct mg_diag diag = {"", 0, ""};
        CHECK_INT(mg_config_load_project(path, &config, &diag), over ? MG_E_CONFIG : MG_OK);
        CHECK_STR(diag.text, over ? "the file is larger than 1 MB" : "");
        mg_config_project_free(over ? NULL : config);
    }
    end();
}

static mg_err load_as(const char *file, struct mg_diag *diag)
{
    struct mg_config_project *config = NULL;
    char name[128];
    snprintf(name, sizeof name, "projects/%s.lua", file);
    mg_err err = mg_config_load_project(put(name, "return { " PROVIDERS " allow_direct = true }"), &config, diag);
    mg_config_project_free(config);
    return err;
}

TEST(a_project_has_a_name_that_is_nobody_elses_and_forges_nothing)
{
    static const char *const good[] = {"demo", "Team-7", "a.b_c", "0"};
    static const char *const bad[] = {"a b", "a\nb", "a\"b", "_a", "-a", "sch\xc3\xb6n", "a\x1b[31m"};
    begin();
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct mg_diag diag = {"", 0, ""};
        CHECK_INT(load_as(good[i], &diag), MG_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mg_diag diag = {"", 0, ""};
        CHECK_INT(load_as(bad[i], &diag), MG_E_CONFIG);
        CHECK(strstr(diag.text, "letters, digits") != NULL);
    }
    struct mg_diag diag = {"", 0, ""};
    CHECK_INT(load_as("gateway", &diag), MG_E_CONFIG);
    CHECK(strstr(diag.text, "no project may be called gateway") != NULL);
    end();
}

TEST(all_mistakes_are_told_at_once_with_line_path_and_suggestion)
{
    begin();

    const char *got = mistakes("return {\n"
                               "  providers = {\n"
                               "    openai = { api_ky = 'x', kind = 'htp' },\n"
                               "  },\n"
                               "  workflows = {\n"
                               "    chat = { targets = { 'openai/m',\n"
                               "      { 'opnai/m', weight = 'heavy' } },\n"
                               "      dedline_ms = 5 },\n"
                               "  },\n"
                               "  on_requst = 3,\n"
                               "}");

    CHECK_STR(got, "3: providers.openai.api_ky: there is no such key here; did you mean \"api_key\"?\n"
                   "3: providers.openai.kind: expected one of \"http\", \"simulated\", found \"htp\" (did you mean \"http\"?)\n"
                   "7: workflows.chat.targets[2].weight: expected a number from 0 to 1000000, found \"heavy\"\n"
                   "7: workflows.chat.targets[2]: there is no provider \"opnai\"; did you mean \"openai\"?\n"
                   "8: workflows.chat.dedline_ms: there is no such key here; did you mean \"deadline_ms\"?\n"
                   "10: on_requst: there is no such key here; did you mean \"on_request\"?\n");
    end();
}

TEST(a_misspelt_key_is_not_missing_as_well)
{
    begin();
    CHECK_STR(mistakes("return {\n  providrs = {},\n}"), "2: providrs: there is no such key here; did you mean \"providers\"?\n");
    end();
}

TEST(mistakes_past_twenty_are_counted)
{
    begin();
    char text[4096] = "return { providers = { a = {";
    for (int i = 0; i < 30; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "bad%d = 1,\n", i);
    strncat(text, "} } }", sizeof text - strlen(text) - 1);

    struct mg_config_project *config = NULL;
    struct mg_config_report report;
    mg_config_report_init(&report);
    CHECK_INT(mg_config_check_project(put("projects/demo.lua", text), &config, &report), MG_E_CONFIG);

    CHECK_INT(report.count, MG_CONFIG_DIAGS);
    CHECK_INT(report.total, 30);
    for (int i = 1; i < report.count; i++)
        CHECK(report.diags[i - 1].line <= report.diags[i].line);
    mg_config_report_fini(&report);
    end();
}

TEST(each_kind_of_mistake_has_its_words)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"retrun {}", "1: unknown name \"retrun\"; did you mean \"return\"?"},
        {"\nreturn 3", "2: expected the file to end in `return { … }`, found a number"},
        {"local x = 1", "found nothing returned"},
        {"\n\nreturn { providers = { a = {} }, workflows = nope.x }", "3: unknown name \"nope\""},
        {"return { providers = { a = { api_key = evn 'X' } } }", "unknown name \"evn\"; did you mean \"env\"?"},
        {"return { providers = { a = { api_key = os.getenv 'X' } } }", "os.getenv is not here; take a variable's value with env \"X\""},
        {"local t = nil\nreturn t.x", "2: attempt to index local 't'"},
        {"error { 1 }", "the file raised a value that is not a text"},
        {"return { providers = { a = { api_key = 'sk' .. env 'HOME' } } }", "is a reference"},
        {"return { workflows = {} }", "1: \"providers\" is missing; expected a table"},
        {"return { providers = {} }", "providers: expected at least 1 entry, found 0"},
        {"return { providers = { a = {} } }", "nothing to serve"},
        {"return { providers = { ['a b'] = {} } }", "this key should be a name of letters"},
        {"return { providers = { {} } }", "providers[1]: expected named entries"},
        {"return { providers = { a = { adapter = 'opnai' } } }", "there is no adapter of that name"},
        {"return { providers = { a = { base_url = 'http://user:pw@host/v1' } } }", "it must not hold a user or password"},
        {"return { providers = { a = { base_url = 'ftp://host' } } }", "expected a URL such as https://host/v1, found \"ftp://host\""},
        {"return { providers = { a = { base_url = 'http://h/v1?x=1' } } }", "have no place here"},
        {"return { providers = { a = { base_url = 'http://h:99999/v1' } } }", "expected a URL"},
        {"return { providers = { a = { headers = { Host = 'x' } } } }", "this key should be the name of a header that the gateway does not set itself"},
        {"return { providers = { a = { headers = { ['x-y'] = 'a\\r\\nb' } } } }", "without control characters, found a text"},
        {"return { providers = { a = { api_key = '' } } }", "expected a secret of printable text, found an empty one"},
        {"return { providers = { a = { kind = 'simulated', base_url = 'http://h' } }, allow_direct = true }", "a simulated provider has no address"},
        {"return { providers = { a = { models = { x = {} } } }, allow_direct = true }", "expected kind = \"simulated\""},
        {"return { providers = { a = { tls = { cert = 'demo.lua' } } }, allow_direct = true }", "give both \"cert\" and \"key\""},
        {"return { providers = { a = { tls = { ca = 'x.pem' } } }, allow_direct = true }",
         "tls.ca: expected the path of a file, found \"x.pem\" (No such file or directory)"},
        {"return { " PROVIDERS " workflows = { w = { targets = {} } } }", "workflows.w.targets: expected at least 1 entry"},
        {"return { " PROVIDERS " workflows = { w = { } } }", "workflows.w: \"targets\" is missing"},
        {"return { " PROVIDERS " workflows = { w = 'model' } }", "expected \"provider/model\", found \"model\""},
        {"return { " PROVIDERS " workflows = { w = 'a/g*' } }", "a model is a name or `*` alone"},
        {"return { " PROVIDERS " workflows = { w = { targets = 'a/x', arms = 'a/x' } } }", "give this or \"arms\", not both"},
        {"return { " PROVIDERS " workflows = { w = { { 'a/x', weight = 0 } } } }", "all weights are 0"},
        {"return { " PROVIDERS " workflows = { w = { { 'a/x', name = 'n' }, { 'b/x', name = 'n' } } } }", "two targets of this workflow are called \"n\""},
        {"return { " PROVIDERS " workflows = { w = { { 'a/x', params = { model = 'y' } } } } }", "params.model: this field is"},
        {"return { " PROVIDERS " workflows = { w = { { 'a/x', params = { f = function() end } } } } }", "params.f: expected plain data, found a function"},
        {"return { " PROVIDERS " workflows = { w = { { 'a/x', params = { f = 0/0 } } } } }", "params.f: expected plain data"},
        {"return { " PROVIDERS " workflows = { w = { 'a/x', max_attempts = 17 } } }", "expected a whole number from 1 to 16, found 17"},
        {"return { " PROVIDERS " workflows = { w = { 'a/x', deadline_ms = 1.5 } } }", "expected a whole number from 1 to 86400000, found 1.5"},
        {"return { " PROVIDERS " workflows = { w = { 'a/x', route = 'file.lua' } } }", "expected a function or file \"…\", found \"file.lua\""},
        {"return { " PROVIDERS " allow_direct = 'yes' }", "allow_direct: expected true or false, found \"yes\""},
        {"return { " PROVIDERS " allow_direct = moongate.x }", "found something of the `moongate` library"},
        {"return { " PROVIDERS " workflows = file 'x.lua' }", "file \"x.lua\" gives a function"},
        {"return { " PROVIDERS " allow_direct = true, plugins = { {} } }", "plugins[1]: expected \"use\" with the name of a plugin"},
        {"return { " PROVIDERS " allow_direct = true, plugins = { { use = 'x', route = function() end } } }", "found both"},
        {"return { " PROVIDERS " allow_direct = true, plugins = { { use = 'a/x' }, { use = 'b/x' } } }", "two plugins are called \"x\""},
        {"return { " PROVIDERS " allow_direct = true, plugins = { { use = 'a/x', fail = { on_rquest = 'open' } } } }", "did you mean \"on_request\"?"},
        {"return { " PROVIDERS " allow_direct = true, inline = { grant = { 'Net' } } }", "expected a permission"},
        {"return { " PROVIDERS " max_deadline_ms = 1LL }", "belongs to the FFI"},
        {"return { " PROVIDERS " workflows = { 'a/x', } }", "expected named entries"},
        {"local t = {} t.t = t return { " PROVIDERS " allow_direct = true, plugins = { { use = 'x', config = t } } }", "nested at most"},
    };
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK(says(rows[i].text, rows[i].says));
    end();
}

TEST(a_secret_never_stands_in_a_message)
{
    begin();
    setenv("MG_TEST_KEY", "topsecret", 1);

    CHECK(strstr(mistakes("return { providers = { a = { kind = env 'MG_TEST_KEY', base_url = env 'MG_TEST_KEY', api_key = 'topsecret\\n' } } }"),
                 "topsecret") == NULL);
    end();
}

TEST(files_that_do_not_end_are_stopped)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"local x = 1\nwhile true do end", "2: reading was stopped after 1 s of work"},
        {"local function f() while true do end end\nwhile true do pcall(f) end", ": reading was stopped"},
        {"local function f() return f() end\nf()", "1: reading was stopped"},
        {"local t = {}\nfor i = 1, 1e9 do t[i] = i end", "more than 32 MB of memory"},
        {"local s = ('x'):rep(1e9)", "more than 32 MB"},
        {"local s = 'x'\nwhile true do s = s .. s end", "more than 32 MB"},
        {"local function f() return (('x'):gsub('x', f)) end f()", "callbacks nest too deeply"},
        {"local t = setmetatable({}, { __tostring = function(t) return string.format('%s', t) end }) local s = tostring(t)", "callbacks nest too deeply"},
        {"local s = ('a'):rep(50000) s:match('.-.-.-b')", "pattern may take too long"},
        {"string.find(('a'):rep(50000), '.-.-.-b')", "pattern may take too long"},
        {"local function f() pcall(f) end f()", ""},
        {"return { " PROVIDERS " allow_direct = true, classify = file 'loop.lua' }", "2: reading was stopped"},
    };
    begin();
    put("projects/loop.lua", "\nrepeat until false");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t before = mg_thread_cpu_us();
        CHECK(says(rows[i].text, rows[i].says));
        CHECK(mg_thread_cpu_us() - before < 8000000);    /* generous: sanitizers are slow */
    }
    end();
}

TEST(nothing_leads_out_of_the_sandbox)
{
    static const char *const snippets[] = {
        "io.open('/etc/passwd')", "os.time() + 1", "os.remove(1)", "debug.getregistry()", "package.loaded.x = 1", "require 'ffi'", "require 'jit'",
        "loadstring('return 1')", "load('return 1')", "dofile('x')", "getfenv(0)", "setfenv(1, {})", "newproxy()", "collectgarbage()",
        "string.dump(function() end)", "math.random()", "string.match(getmetatable('').x, 'y')", "setmetatable('', {})", "print(1)",
        "('x').dump(function() end)", "getmetatable(env 'X').x = 1", "table.foreach({}, 1)", "module 'x'", "coroutine.running() .. ''",
        "_G.io.open('x')", "rawget(_G, 'io').open('x')",
    };
    begin();
    for (size_t i = 0; i < sizeof snippets / sizeof snippets[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "local x = %s\nreturn { " PROVIDERS " allow_direct = true }", snippets[i]);
        if (!*mistakes(text))
            check_failed(__FILE__, __LINE__, "accepted: %s", snippets[i]);
    }
    put("projects/bytecode.lua", "\033LJ\002");
    CHECK(says("return { " PROVIDERS " allow_direct = true, route = file 'bytecode.lua' }", "attempt to load chunk with wrong mode"));
    end();
}

TEST(one_file_cannot_spoil_the_next)
{
    begin();

    struct mg_config_project *config = load("string.format = nil string.gsub = nil table.concat = nil setmetatable = nil\n"
                                            "function string.upper() return 'spoilt' end\n"
                                            "return { " PROVIDERS " allow_direct = true }");

    CHECK_INT(config->provider_count, 2);
    mg_config_project_free(config);
    end();
}

TEST(the_gateway_without_a_file_is_all_defaults)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag;
    unsetenv("MOONGATE_LISTEN");
    unsetenv("MOONGATE_DATA");
    setenv("XDG_STATE_HOME", "/var/lib", 1);
    CHECK_OK(mg_config_load_gateway(NULL, &config, &diag));

    CHECK_INT(config->listen_count, 1);
    CHECK_STR(config->listen[0].host, "127.0.0.1");
    CHECK_INT(config->listen[0].port, 8080);
    CHECK(config->listen[0].tls.cert == NULL);
    CHECK_STR(config->admin.host, "127.0.0.1");
    CHECK_INT(config->admin.port, 8081);
    CHECK(config->admin_token == NULL);
    CHECK(config->workers >= 1);
    CHECK_STR(config->data_dir, "/var/lib/moongate");
    CHECK(config->dir == NULL);
    CHECK_STR(config->log_level, "info");
    CHECK_INT(config->cors_count, 0);
    mg_config_gateway_free(config);
    unsetenv("XDG_STATE_HOME");
}

TEST(where_there_are_projects_the_file_beside_them_may_be_missing)
{
    begin();
    char path[256], data[256];
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    snprintf(path, sizeof path, "%s/gateway.lua", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    CHECK_INT(mg_config_load_gateway(path, &config, &diag), MG_E_CONFIG);

    put("projects/demo.lua", "return {}");
    CHECK_OK(mg_config_load_gateway(path, &config, &diag));

    CHECK(strcmp(config->data_dir, data) == 0);
    CHECK_INT(config->listen[0].port, 8080);
    mg_config_gateway_free(config);
    end();
}

TEST(the_defaults_are_the_rows_of_limits_h)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag;
    CHECK_OK(mg_config_load_gateway(NULL, &config, &diag));

    CHECK_INT(config->limits.body_bytes, MG_MAX_BODY_BYTES);
    CHECK_INT(config->limits.header_bytes, MG_MAX_HEADER_BYTES);
    CHECK_INT(config->limits.connections, MG_MAX_CLIENT_CONNECTIONS);
    CHECK_INT(config->limits.header_ms, MG_MAX_CLIENT_HEADER_MS);
    CHECK_INT(config->limits.body_ms, MG_MAX_CLIENT_BODY_MS);
    CHECK_INT(config->limits.idle_ms, MG_MAX_CLIENT_IDLE_MS);
    CHECK_INT(config->limits.write_ms, MG_MAX_CLIENT_WRITE_MS);
    CHECK_INT(config->journal_bytes, MG_MAX_JOURNAL_BYTES);
    CHECK_INT(config->keep_days, 0);
    mg_config_gateway_free(config);
}

TEST(gateway_keys_are_read_and_paths_are_relative_to_the_file)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    begin();
    setenv("MG_TEST_KEY", "adm", 1);
    char key[256], text[2048];
    put("tls/c.pem", "cert");
    snprintf(key, sizeof key, "%s", put("k.pem", "key"));
    snprintf(text, sizeof text, "return { listen = { ':80', { address = '[::1]:443', cert = 'tls/c.pem', key = '%s' }, 'unix:/run/m' },\n"
                                                           "admin = { '127.0.0.1:0', token = env 'MG_TEST_KEY' }, data_dir = 'state', workers = 3, drain_ms = 5,\n"
                                                           "proxy = 'http://proxy:3128/', log = { level = 'warn' }, journal = { bytes = 2097152 },\n"
                                                           "cors = { origins = 'https://App.example' }, limits = { body_bytes = 2048 } }",
             key);
    mg_err err = mg_config_load_gateway(put("gateway.lua", text), &config, &diag);
    if (err)
        check_failed(__FILE__, __LINE__, "%d: %s", diag.line, diag.text);

    char path[128];
    CHECK_INT(config->listen_count, 3);
    CHECK_STR(config->listen[0].host, "::");
    CHECK_STR(config->listen[1].host, "::1");
    CHECK_INT(config->listen[1].port, 443);
    snprintf(path, sizeof path, "%s/tls/c.pem", dir);
    CHECK_STR(config->listen[1].tls.cert, path);
    CHECK_STR(config->listen[1].tls.key, key);
    CHECK_STR(config->listen[2].host, "unix:/run/m");
    CHECK_STR(config->admin_token, "adm");
    snprintf(path, sizeof path, "%s/state", dir);
    CHECK_STR(config->data_dir, path);
    CHECK_STR(config->dir, dir);
    CHECK_INT(config->workers, 3);
    CHECK_STR(config->proxy, "http://proxy:3128");
    CHECK_STR(config->cors_origins[0], "https://app.example");
    CHECK_INT(config->limits.body_bytes, 2048);
    mg_config_gateway_free(config);

    CHECK_OK(mg_config_load_gateway(put("gateway.lua", "return { admin = false }"), &config, &diag));
    CHECK(config->admin.host == NULL);
    mg_config_gateway_free(config);

    CHECK_INT(mg_config_load_gateway(put("gateway.lua", "return {\n listen = 'nowhere' }"), &config, &diag), MG_E_CONFIG);
    CHECK_INT(diag.line, 2);
    CHECK_STR(diag.text, "listen: expected \"host:port\", \":port\" or \"unix:/path\", found \"nowhere\"");
    CHECK_INT(mg_config_load_gateway("/nowhere/gateway.lua", &config, &diag), MG_E_CONFIG);
    CHECK_STR(diag.text, "No such file or directory");
    end();
}

TEST(listeners_with_half_of_a_certificate_are_refused)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"return { listen = { address = ':1', cert = 'c.pem' } }", "listen: give both \"cert\" and \"key\", or neither"},
        {"return { listen = { { ':1', client_ca = 'c.pem' } } }", "listen[1]: \"client_ca\" needs \"cert\""},
        {"return { admin = { key = 'c.pem' } }", "admin: give both"},
    };
    begin();
    put("c.pem", "cert");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mg_config_gateway *config = NULL;
        struct mg_diag diag;
        CHECK_INT(mg_config_load_gateway(put("gateway.lua", rows[i].text), &config, &diag), MG_E_CONFIG);
        if (!strstr(diag.text, rows[i].says))
            check_failed(__FILE__, __LINE__, "%s", diag.text);
    }
    end();
}

TEST(no_failing_allocation_does_more_than_refuse_the_file)
{
    begin();
    put("secrets/demo/k", "s");
    const char *path = put("projects/demo.lua", "local t = {}\nfor i = 1, 50 do t[i] = 'a/m' .. i end\n"
                                                "return { providers = { a = { api_key = secret 'k' } }, workflows = { w = { targets = t, dedline_ms = 1 } } }");
    mg_err err = MG_E_CONFIG;
    int refused = 0, mistakes_found = 0;
    for (int nth = 1; nth < 200000; nth += 1 + nth / 40) {
        struct mg_config_project *config = NULL;
        struct mg_diag diag = {"", 0, ""};
        mg_fault_arm(MG_FAULT_LUA_ALLOC, nth);
        err = mg_config_load_project(path, &config, &diag);
        mg_fault_arm(MG_FAULT_LUA_ALLOC, 0);
        CHECK(err == MG_E_CONFIG && config == NULL && diag.text[0]);
        refused++;
        mistakes_found += strstr(diag.text, "dedline_ms") != NULL;
    }
    CHECK(refused > 200);
    CHECK(mistakes_found > 0);                           /* past the last allocation nothing fails */
    end();
}

TEST(variables_take_the_place_of_defaults_but_not_of_what_the_file_says)
{
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag;
    begin();
    setenv("MOONGATE_LISTEN", ":9999", 1);
    setenv("MOONGATE_WORKERS", "5", 1);
    CHECK_OK(mg_config_load_gateway(put("gateway.lua", "return { workers = 2 }"), &config, &diag));

    CHECK_INT(config->listen[0].port, 9999);
    CHECK_INT(config->workers, 2);
    mg_config_gateway_free(config);
    setenv("MOONGATE_WORKERS", "many", 1);
    CHECK_INT(mg_config_load_gateway(NULL, &config, &diag), MG_E_CONFIG);
    CHECK_STR(diag.text, "workers: expected a whole number from 1 to 256, found the value of MOONGATE_WORKERS");
    unsetenv("MOONGATE_LISTEN");
    unsetenv("MOONGATE_WORKERS");
    end();
}

TEST(the_environment_makes_a_default_project)
{
    struct mg_config_project *config = NULL;
    struct mg_diag diag;
    static const char *const names[] = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "GROQ_API_KEY",
                                        "MISTRAL_API_KEY", "DEEPSEEK_API_KEY", "XAI_API_KEY", "TOGETHER_API_KEY", "FIREWORKS_API_KEY", "GEMINI_API_KEY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    CHECK_INT(mg_config_project_from_env(&config, &diag), MG_E_NOT_FOUND);

    setenv("OPENAI_API_KEY", "sk-1", 1);
    setenv("OPENAI_BASE_URL", "http://127.0.0.1:1234/v1/", 1);
    setenv("GROQ_API_KEY", "sk-2", 1);
    CHECK_OK(mg_config_project_from_env(&config, &diag));

    CHECK_STR(config->name, "default");
    CHECK_STR(config->path, "");
    CHECK_STR(config->source, "");
    CHECK(config->allow_direct);
    CHECK_INT(config->provider_count, 2);
    const struct mg_config_workflow *any = &config->workflows[0];
    CHECK_STR(any->name, "*");
    const struct mg_config_target *target = &config->targets[any->arms[0].target];
    CHECK_STR(target->id, "openai/*");
    check_secret(config->providers[target->provider].credentials[0].secret, "sk-1");
    CHECK_STR(config->providers[target->provider].base_url, "http://127.0.0.1:1234/v1");
    CHECK_STR(config->providers[target->provider].adapter, "openai");
    const struct mg_config_provider *groq = &config->providers[!target->provider];
    CHECK(strcmp(groq->adapter, "groq") == 0 && strcmp(groq->vendor, "groq") == 0 && !groq->base_url);
    mg_config_project_free(config);

    setenv("OPENAI_BASE_URL", "nonsense", 1);
    CHECK_INT(mg_config_project_from_env(&config, &diag), MG_E_CONFIG);
    unsetenv("OPENAI_API_KEY");
    unsetenv("OPENAI_BASE_URL");
    unsetenv("GROQ_API_KEY");
}

MG_TEST_MAIN()
