#include "gateway/targets.h"

#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "folder.h"
#include "relay/reach.h"

enum { PROJECTS = 8 };

/* A builder over a folder of projects; what a worker would hold is let go at the end. */
static struct mg_generation *live[PROJECTS];
static struct mg_config_gateway gateway;
static struct mg_builder *builder;
static char dir[256];

static mg_err on_route(void *arg, struct mg_generation *generation, struct mg_diag *diag)
{
    return MG_OK;
}

static void on_install(void *arg, struct mg_generation *generation, struct mg_script **scripts)
{
    mg_script_free(scripts[0]);
    mg_generation_unref(live[generation->project]);
    live[generation->project] = generation;
}

static void on_remove(void *arg, uint32_t project)
{
    mg_generation_unref(live[project]);
    live[project] = NULL;
}

static void on_report(void *arg, const char *project, uint32_t number, bool ok,
                      const struct mg_diag *diag)
{
    if (!ok)
        check_failed(__FILE__, __LINE__, "%s: %s", project, diag->text);
}

static const struct mg_builder_ops ops = {on_route, on_install, on_remove, on_report};

static void begin(void)
{
    struct mg_diag diag;
    mg_log_level(MG_LOG_OFF);
    memset(live, 0, sizeof live);
    snprintf(dir, sizeof dir, "%s", check_fresh_path("targets"));
    char path[300];
    snprintf(path, sizeof path, "%s/projects", dir);
    CHECK_INT(mkdir(dir, 0700), 0);
    CHECK_INT(mkdir(path, 0700), 0);
    gateway = (struct mg_config_gateway){.dir = dir};
    CHECK_OK(mg_script_init(&diag));
}

static void put_project(const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/projects/%s.lua", dir, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

static void start(void)
{
    struct mg_diag diag = {.line = 0};
    struct mg_builder_options options = {.config = &gateway, .workers = 1, .ops = &ops};
    if (mg_builder_start(&options, &builder, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
}

static void end(void)
{
    for (int i = 0; i < PROJECTS; i++)
        mg_generation_unref(live[i]);
    mg_builder_stop(builder);
    mg_script_fini();
}

#define KEYS "api_keys = { { name = 'main', key = 'sk-1' }, { name = 'spare', key = 'sk-2' } }"
#define OPENAI                                                                                     \
    "return { providers = { openai = { base_url = 'http://127.0.0.1:1/v1', " KEYS                  \
    ", concurrency = 8 }, house = { kind = 'simulated' } }, "                                      \
    "workflows = { chat = { 'openai/gpt-5', 'house/qwen' }, deep = { 'openai/gpt-5' } } }"

/* "target state why/credential state,…;…" of all rows. */
static char seen[4096];

static void see(void *arg, const struct mg_target_row *row)
{
    struct mg_target_health health;
    size_t len = strlen(seen);
    mg_target_row_health(row, &health);
    len += (size_t)snprintf(seen + len, sizeof seen - len, "%s %s %s %u", row->project, row->target,
                            health.state, row->gate.limit);
    for (int i = 0; i < row->credential_count; i++) {
        mg_target_credential_health(&row->credentials[i], row->now_us, &health);
        len += (size_t)snprintf(seen + len, sizeof seen - len, " [%s %s %s]",
                                row->credentials[i].name, health.state, health.why);
    }
    snprintf(seen + len, sizeof seen - len, "\n");
}

static const char *look(const char *project)
{
    seen[0] = '\0';
    CHECK(mg_targets_each(builder, &gateway, mg_view_cstr(project), see, NULL));
    return seen;
}

static void open_breaker(const char *scope, const char *name)
{
    mg_breaker_open(mg_breaker_find(mg_view_cstr(scope), mg_view_cstr(name)), mg_mono_us(),
                    60000000, "5 failures in a row");
}

static mg_err reset(const char *project, const char *target, const char *credential,
                    unsigned *out_count, struct mg_diag *diag)
{
    const struct mg_targets_reset what = {project, target, credential};
    return mg_targets_reset(builder, &gateway, &what, out_count, diag);
}

TEST(each_target_of_each_project_is_there_once_with_its_credentials)
{
    begin();
    put_project("t1a", OPENAI);
    put_project("t1b",
                "return { providers = { house = { kind = 'simulated' } }, workflows = { chat "
                "= 'house/qwen' } }");
    start();
    open_breaker("t1a", "openai/gpt-5#main");

    CHECK_STR(look(""),
              "t1a openai/gpt-5 closed 8 [main open 5 failures in a row] [spare closed ]\n"
              "t1a house/qwen closed 0 [ closed ]\n"
              "t1b house/qwen closed 0 [ closed ]\n");
    CHECK_STR(look("t1b"), "t1b house/qwen closed 0 [ closed ]\n");
    CHECK(!mg_targets_each(builder, &gateway, MG_VIEW("t1c"), see, NULL));
    end();
}

TEST(a_target_without_a_usable_credential_says_why)
{
    begin();
    put_project("t2", OPENAI);
    start();
    open_breaker("t2", "openai/gpt-5#main");
    mg_credential_bench(mg_credential_find(MG_VIEW("t2"), MG_VIEW("openai#spare")), UINT64_MAX,
                        MG_CLASS_auth);

    CHECK_STR(look(""), "t2 openai/gpt-5 open 8 [main open 5 failures in a row] [spare benched "
                        "auth]\nt2 house/qwen closed 0 [ closed ]\n");
    end();
}

TEST(a_reset_closes_breakers_and_ends_benches)
{
    struct mg_diag diag = {.line = 0};
    unsigned count = 0;
    begin();
    put_project("t3", OPENAI);
    start();
    open_breaker("t3", "openai/gpt-5#main");
    open_breaker("t3", "house/qwen");
    mg_credential_bench(mg_credential_find(MG_VIEW("t3"), MG_VIEW("openai#spare")), UINT64_MAX,
                        MG_CLASS_auth);

    CHECK_OK(reset("t3", "openai/gpt-5", "spare", &count, &diag));
    CHECK_INT(count, 1);
    CHECK_STR(look(""), "t3 openai/gpt-5 closed 8 [main open 5 failures in a row] [spare closed ]\n"
                        "t3 house/qwen open 0 [ open 5 failures in a row]\n");
    CHECK_OK(reset("", "openai", "", &count, &diag));
    CHECK_INT(count, 2);
    CHECK_OK(reset("", "house/qwen", "", &count, &diag));
    CHECK_INT(count, 1);
    CHECK_STR(look(""), "t3 openai/gpt-5 closed 8 [main closed ] [spare closed ]\n"
                        "t3 house/qwen closed 0 [ closed ]\n");
    end();
}

TEST(a_reset_that_can_not_be_meant_says_what_there_is)
{
    struct mg_diag diag = {.line = 0};
    unsigned count = 7;
    begin();
    put_project("t4a", OPENAI);
    put_project("t4b", OPENAI);
    start();
    open_breaker("t4a", "house/qwen");

    CHECK_INT(reset("", "house/qwen", "", &count, &diag), MG_E_BAD_REQUEST);
    CHECK_STR(diag.text, "several projects have a target house/qwen, say which: t4a, t4b");
    CHECK_INT(reset("", "openai/gpt-4", "", &count, &diag), MG_E_NOT_FOUND);
    CHECK_STR(diag.text, "no project has a target openai/gpt-4");
    CHECK_INT(reset("t4a", "openai/gpt-4", "", &count, &diag), MG_E_NOT_FOUND);
    CHECK_STR(diag.text, "project t4a has no target openai/gpt-4");
    CHECK_INT(reset("t4a", "openai/gpt-5", "third", &count, &diag), MG_E_NOT_FOUND);
    CHECK_STR(diag.text, "openai/gpt-5 has no credential third");
    CHECK_INT(reset("t9", "openai/gpt-5", "", &count, &diag), MG_E_NOT_FOUND);
    CHECK_STR(diag.text, "there is no project t9");
    CHECK_INT(count, 7);
    CHECK(strstr(look("t4a"), "house/qwen open") != NULL);
    end();
}

TEST(an_account_that_is_shared_is_shown_and_reset_in_each_project)
{
    static const struct mg_config_credential keys[] = {{"pooled", NULL}};
    static const struct mg_config_grant grants[] = {{"t5a", 2}, {"t5b", 1}};
    static const struct mg_config_account account = {"pool", keys, 1, grants, 2};
    struct mg_diag diag = {.line = 0};
    unsigned count = 0;
    begin();
    gateway.accounts = &account;
    gateway.account_count = 1;
    const char *text = "return { providers = { openai = { base_url = 'http://127.0.0.1:1/v1', "
                       "account = 'pool' } }, workflows = { chat = 'openai/gpt-5' } }";
    put_project("t5a", text);
    put_project("t5b", text);
    start();
    open_breaker("account:pool", "pool/gpt-5#pooled");

    CHECK_STR(look(""), "t5a openai/gpt-5 open 0 [pooled open 5 failures in a row]\n"
                        "t5b openai/gpt-5 open 0 [pooled open 5 failures in a row]\n");
    CHECK_OK(reset("t5b", "openai/gpt-5", "", &count, &diag));
    CHECK_STR(look(""), "t5a openai/gpt-5 closed 0 [pooled closed ]\n"
                        "t5b openai/gpt-5 closed 0 [pooled closed ]\n");
    end();
}

TEST(models_that_only_clients_named_are_there_together_and_when_they_are_ill)
{
    struct mg_diag diag = {.line = 0};
    unsigned count = 0;
    begin();
    put_project("t7", "return { providers = { openai = { base_url = 'http://127.0.0.1:1/v1', " KEYS
                      " } }, workflows = { chat = 'openai/gpt-5' }, allow_direct = true }");
    start();
    CHECK_STR(look(""), "t7 openai/gpt-5 closed 0 [main closed ] [spare closed ]\n");

    mg_stats_find(MG_VIEW("t7"), MG_VIEW("openai/*"));
    mg_breaker_find(MG_VIEW("t7"), MG_VIEW("openai/gpt-well#main"));
    open_breaker("t7", "openai/org/gpt-ill#main");
    open_breaker("t7", "openai/org/gpt-ill#spare");
    open_breaker("t7", "openai/gpt-5#main");
    open_breaker("t7", "house/qwen#main");

    CHECK_STR(look(""), "t7 openai/gpt-5 closed 0 [main open 5 failures in a row] [spare closed ]\n"
                        "t7 openai/* closed 0 [main closed ] [spare closed ]\n"
                        "t7 openai/org/gpt-ill open 0 [main open 5 failures in a row] [spare open "
                        "5 failures in a row]\n");
    CHECK_OK(reset("", "openai/org/gpt-ill", "", &count, &diag));
    CHECK_INT(count, 2);
    CHECK_STR(look(""), "t7 openai/gpt-5 closed 0 [main open 5 failures in a row] [spare closed ]\n"
                        "t7 openai/* closed 0 [main closed ] [spare closed ]\n");
    CHECK(mg_stats_peek(MG_VIEW("t7"), MG_VIEW("openai/org/gpt-ill")) == NULL);
    end();
}

TEST(what_is_known_of_a_target_survives_a_reload)
{
    begin();
    put_project("t6", OPENAI);
    start();
    open_breaker("t6", "openai/gpt-5#main");
    struct mg_generation *before, *after;
    CHECK_INT(mg_builder_live(builder, MG_VIEW("t6"), &before, 1), 1);

    mg_builder_reload(builder);
    while (mg_builder_live(builder, MG_VIEW("t6"), &after, 1) == 1 && after == before)
        mg_generation_unref(after);

    CHECK_INT(after->number, 2);
    CHECK(strstr(look(""), "[main open 5 failures in a row]") != NULL);
    mg_generation_unref(before);
    mg_generation_unref(after);
    end();
}

MG_TEST_MAIN()
