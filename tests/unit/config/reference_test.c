/* The reference configuration in config/ and the page in docs/reference/ say what the schema says. */
#include <math.h>

#include "check.h"
#include "config/config.h"

#include "base/buf.h"
#include "cli/check.h"

static char text[2][65536];

static const char *source(const char *name)
{
    static char path[1024];
    const char *root = getenv("MOONGATE_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/%s", root ? root : ".", name);
    return path;
}

static const char *read_file(const char *name, char *out, size_t size)
{
    FILE *file = fopen(source(name), "r");
    if (!file)
        check_failed(__FILE__, __LINE__, "%s is missing", name);
    size_t n = fread(out, 1, size - 1, file);
    fclose(file);
    out[n] = '\0';
    return out;
}

static const char *page(struct mg_buf *buf)
{
    mg_buf_init(buf, 262144);
    CHECK_OK(mg_config_reference(buf));
    return mg_buf_cstr(buf);
}

static void forget_variables(void)
{
    static const char *const names[] = {"MOONGATE_LISTEN", "MOONGATE_ADMIN", "MOONGATE_ADMIN_TOKEN", "MOONGATE_DATA", "MOONGATE_WORKERS", "MOONGATE_LOG",
                                        "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_SPARE_KEY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
}

TEST(the_page_in_docs_is_the_generated_one)
{
    struct mg_buf buf;
    const char *want = page(&buf);

    if (strcmp(read_file("docs/reference/configuration.md", text[0], sizeof text[0]), want) != 0)
        check_failed(__FILE__, __LINE__, "docs/reference/configuration.md is out of date: run ./dev docs");
    mg_buf_fini(&buf);
}

/* "key =" with nothing of a name before it. */
static bool sets(const char *file, const char *key)
{
    char wanted[80];
    snprintf(wanted, sizeof wanted, "%s = ", key);
    for (const char *at = file; (at = strstr(at, wanted)); at++)
        if (at == file || !strchr("abcdefghijklmnopqrstuvwxyz_0123456789.", at[-1]))
            return true;
    return false;
}

TEST(the_reference_configuration_names_every_key)
{
    struct mg_buf buf;
    const char *files[] = {read_file("config/gateway.lua", text[0], sizeof text[0]), read_file("config/projects/example.lua", text[1], sizeof text[1])};
    const char *at = page(&buf);
    int file = -1, keys = 0;
    for (; *at; at = strchr(at, '\n') + 1) {
        char key[64];
        if (strncmp(at, "## ", 3) == 0)
            file++;
        if (file < 0 || sscanf(at, "| `%63[a-z_0-9]` |", key) != 1)
            continue;
        keys++;
        if (!sets(files[file], key))
            check_failed(__FILE__, __LINE__, "%s is not in %s", key, file == 0 ? "config/gateway.lua" : "config/projects/example.lua");
    }
    CHECK_INT(file, 1);
    CHECK(keys > 130);
    mg_buf_fini(&buf);
}

TEST(the_reference_gateway_does_what_an_empty_one_does)
{
    struct mg_config_gateway *reference = NULL, *none = NULL;
    struct mg_diag diag = {"", 0, ""};
    forget_variables();
    if (mg_config_load_gateway(source("config/gateway.lua"), &reference, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%d: %s", diag.line, diag.text);
    CHECK_OK(mg_config_load_gateway(NULL, &none, &diag));

    CHECK_INT(reference->listen_count, none->listen_count);
    CHECK_STR(reference->listen[0].host, none->listen[0].host);
    CHECK_INT(reference->listen[0].port, none->listen[0].port);
    CHECK_STR(reference->admin.host, none->admin.host);
    CHECK_INT(reference->admin.port, none->admin.port);
    CHECK(reference->admin_token == NULL);
    CHECK_INT(reference->workers, none->workers);
    CHECK_INT(reference->drain_ms, none->drain_ms);
    CHECK_INT(reference->journal_bytes, none->journal_bytes);
    CHECK(reference->proxy == NULL);
    CHECK_STR(reference->log_level, none->log_level);
    CHECK_INT(reference->cors_count, 0);
    CHECK_INT(reference->account_count, 0);
    CHECK(memcmp(&reference->limits, &none->limits, sizeof none->limits) == 0);
    mg_config_gateway_free(reference);
    mg_config_gateway_free(none);
}

TEST(the_reference_project_loads_and_its_values_are_the_defaults)
{
    struct mg_config_project *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    forget_variables();
    if (mg_config_load_project(source("config/projects/example.lua"), &config, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%d: %s", diag.line, diag.text);

    CHECK_STR(config->name, "example");
    CHECK_INT(config->provider_count, 3);
    CHECK_INT(config->workflow_count, 3);
    const struct mg_timeouts *plain = &config->targets[0].timeouts;
    CHECK_INT(plain->connect_ms, config->direct_timeouts.connect_ms);
    CHECK_INT(config->targets[1].timeouts.first_token_ms, 20000);
    CHECK_STR(config->targets[1].params, "{\"temperature\":0}");
    const struct mg_config_breaker *said = &config->providers[0].breaker, *silent = &config->providers[1].breaker;
    CHECK(said->window_ms == silent->window_ms && said->min_calls == silent->min_calls && said->consecutive == silent->consecutive);
    CHECK(said->open_ms == silent->open_ms && said->max_open_ms == silent->max_open_ms && said->probe_ms == silent->probe_ms);
    CHECK(said->ramp_ms == silent->ramp_ms && said->slow_min_ms == silent->slow_min_ms);
    CHECK(fabs(said->failure_share - silent->failure_share) < 1e-9 && fabs(said->slow_factor - silent->slow_factor) < 1e-9);
    CHECK_INT(config->workflows[0].retry_budget.burst, config->workflows[1].retry_budget.burst);
    CHECK(fabs(config->workflows[0].retry_budget.share - config->workflows[1].retry_budget.share) < 1e-9);
    CHECK_INT(config->workflows[0].first_token_min_ms, config->workflows[1].first_token_min_ms);
    CHECK_INT(config->workflows[0].max_hedges, config->workflows[1].max_hedges);
    CHECK_INT(config->workflows[0].balance, config->workflows[1].balance);
    CHECK_INT(config->workflows[0].rescue, config->workflows[1].rescue);
    CHECK_INT(config->targets[0].gate.queue, config->targets[2].gate.queue);
    CHECK_INT(config->targets[0].gate.queue_ms, config->targets[2].gate.queue_ms);
    CHECK(config->has_route && config->has_classify && config->has_on_log && config->workflows[0].has_route);
    mg_config_project_free(config);
}

/* Each ```lua block of the guide is a whole file whose first line says which. */
TEST(every_lua_example_of_the_guide_loads)
{
    char root[64] = "/tmp/mg_guide_XXXXXX", path[128], command[256];
    int blocks = 0;
    CHECK(mkdtemp(root) != NULL);
    const char *at = read_file("docs/guide/configuration-and-reload.md", text[0], sizeof text[0]);
    while ((at = strstr(at, "```lua\n"))) {
        const char *from = at + 7, *to = strstr(from, "```\n");
        struct mg_config_project *config = NULL;
        struct mg_diag diag = {"", 0, ""};
        CHECK(to != NULL && strncmp(from, "-- projects/support.lua\n", 24) == 0);
        snprintf(path, sizeof path, "%.30s/support.lua", root);
        FILE *file = fopen(path, "w");
        fwrite(from, 1, (size_t)(to - from), file);
        fclose(file);
        if (mg_config_load_project(path, &config, &diag) != MG_OK)
            check_failed(__FILE__, __LINE__, "block %d, line %d: %s", blocks + 1, diag.line, diag.text);
        mg_config_project_free(config);
        blocks++;
        at = to;
    }
    CHECK(blocks >= 4);
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
}

TEST(check_says_what_stands_in_a_folder)
{
    struct mg_check_totals totals;
    forget_variables();

    mg_check(source("config/gateway.lua"), stderr, &totals);

    CHECK_INT(totals.mistakes, 0);
    CHECK_INT(totals.projects, 1);
    CHECK_INT(totals.workflows, 3);
    CHECK_INT(totals.providers, 3);
}

TEST(check_builds_the_functions_of_a_project_too)
{
    char root[64] = "/tmp/mg_check_XXXXXX", path[128], command[256];
    struct mg_check_totals totals;
    CHECK(mkdtemp(root) != NULL);
    snprintf(command, sizeof command, "mkdir %s/projects && echo 'return {}' >%s/gateway.lua", root, root);
    CHECK(system(command) == 0);
    snprintf(path, sizeof path, "%s/projects/p.lua", root);
    FILE *file = fopen(path, "w");
    fputs("return { providers = { a = { kind = 'simulated' } }, allow_direct = true,\n  plugins = { { use = 'moongate/no-such' } } }\n", file);
    fclose(file);
    FILE *out = tmpfile();
    snprintf(path, sizeof path, "%s/gateway.lua", root);

    mg_check(path, out, &totals);

    CHECK_INT(totals.mistakes, 1);
    rewind(out);
    size_t n = fread(text[0], 1, sizeof text[0] - 1, out);
    text[0][n] = '\0';
    fclose(out);
    CHECK(strstr(text[0], "projects/p.lua:2: there is no plugin \"moongate/no-such\"") != NULL);
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
}

TEST(check_knows_the_accounts_that_projects_may_use)
{
    char root[64] = "/tmp/mg_check_XXXXXX", path[128], command[512];
    struct mg_check_totals totals;
    CHECK(mkdtemp(root) != NULL);
    snprintf(command, sizeof command, "mkdir %s/projects && echo 'return { accounts = { a = { api_key = \"k\", projects = { \"x\" } } } }' >%s/gateway.lua", root, root);
    CHECK(system(command) == 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/projects/%s.lua", root, i == 0 ? "x" : "y");
        FILE *file = fopen(path, "w");
        fputs("return {\n  providers = { p = { kind = 'simulated',\n    account = 'a' } }, allow_direct = true }\n", file);
        fclose(file);
    }
    FILE *out = tmpfile();
    snprintf(path, sizeof path, "%s/gateway.lua", root);

    mg_check(path, out, &totals);

    CHECK_INT(totals.mistakes, 1);
    CHECK_INT(totals.projects, 2);
    rewind(out);
    size_t n = fread(text[0], 1, sizeof text[0] - 1, out);
    text[0][n] = '\0';
    fclose(out);
    CHECK(strstr(text[0], "projects/y.lua:3: providers.p.account: gateway.lua does not grant the account \"a\" to this project") != NULL);
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
}

TEST(check_tells_every_mistake_of_every_file)
{
    char root[64] = "/tmp/mg_check_XXXXXX", path[128], command[256];
    struct mg_check_totals totals;
    CHECK(mkdtemp(root) != NULL);
    snprintf(command, sizeof command, "mkdir %s/projects && echo 'return { lisen = 1 }' >%s/gateway.lua", root, root);
    CHECK(system(command) == 0);
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/projects/p%d.lua", root, i);
        FILE *file = fopen(path, "w");
        fputs("return {\n  providers = { a = { kin = 1 } },\n  allow_direct = 2 }\n", file);
        fclose(file);
    }
    FILE *out = tmpfile();
    snprintf(path, sizeof path, "%s/gateway.lua", root);

    mg_check(path, out, &totals);

    CHECK_INT(totals.mistakes, 5);
    CHECK_INT(totals.projects, 0);
    rewind(out);
    size_t n = fread(text[0], 1, sizeof text[0] - 1, out);
    text[0][n] = '\0';
    fclose(out);
    char want[1024];
    snprintf(want, sizeof want,
             "%s/gateway.lua:1: lisen: there is no such key here; did you mean \"listen\"?\n"
             "%s/projects/p1.lua:2: providers.a.kin: there is no such key here; did you mean \"kind\"?\n"
             "%s/projects/p1.lua:3: allow_direct: expected true or false, found 2\n"
             "%s/projects/p2.lua:2: providers.a.kin: there is no such key here; did you mean \"kind\"?\n"
             "%s/projects/p2.lua:3: allow_direct: expected true or false, found 2\n",
             root, root, root, root, root);
    CHECK_STR(text[0], want);
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
}

MG_TEST_MAIN()
