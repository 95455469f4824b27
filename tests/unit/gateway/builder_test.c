#include "check.h"
#include "gateway/builder.h"

#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/mem.h"

enum { WORKERS = 2, PROJECTS = 16 };

/* What the builder's ops saw, as lines; and what a worker would hold. */
static struct {
    uv_mutex_t lock;
    uv_cond_t changed;
    char seen[16384];
    struct mg_generation *live[PROJECTS];
    struct mg_generation *kept[16];              /* as streams in flight do */
    int kept_count;
    bool keep;                                   /* what is replaced goes to `kept` */
    int routings;                                /* not freed yet */
} world;

static char dir[64];
static struct mg_config_gateway config;
static struct mg_builder *builder;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t used = strlen(world.seen);
    vsnprintf(world.seen + used, sizeof world.seen - used, fmt, args);
    va_end(args);
    uv_cond_broadcast(&world.changed);
}

/* Blocks until the line was seen; it is forgotten with everything before it. */
static void wait_for(const char *line)
{
    uv_mutex_lock(&world.lock);
    char *at;
    int waited = 0;
    while (!(at = strstr(world.seen, line)) && waited == 0)
        waited = uv_cond_timedwait(&world.changed, &world.lock, 10000000000);
    if (at)
        memmove(world.seen, at + strlen(line), strlen(at + strlen(line)) + 1);
    char seen[16384];
    memcpy(seen, world.seen, sizeof seen);
    uv_mutex_unlock(&world.lock);
    if (!at)
        check_failed(__FILE__, __LINE__, "never: \"%s\"; seen: \"%s\"", line, seen);
}

static bool saw(const char *line)
{
    uv_mutex_lock(&world.lock);
    bool found = strstr(world.seen, line) != NULL;
    uv_mutex_unlock(&world.lock);
    return found;
}

static void free_routing(void *routing)
{
    (void)routing;
    uv_mutex_lock(&world.lock);
    world.routings--;
    note("freed\n");
    uv_mutex_unlock(&world.lock);
}

static mg_err on_route(void *arg, struct mg_generation *generation, struct mg_diag *diag)
{
    (void)arg;
    if (strcmp(generation->config->providers[0].name, "unroutable") == 0)
        return mg_diag_set(diag, MG_E_CONFIG, "", generation->config->providers[0].line, "no route");
    uv_mutex_lock(&world.lock);
    world.routings++;
    uv_mutex_unlock(&world.lock);
    generation->routing = &world;
    generation->free_routing = free_routing;
    return MG_OK;
}

static void on_install(void *arg, struct mg_generation *generation, struct mg_script **scripts)
{
    (void)arg;
    for (int i = 0; i < WORKERS; i++)
        mg_script_free(scripts[i]);
    struct mg_generation *before = world.live[generation->project];
    world.live[generation->project] = generation;
    if (before && world.keep)
        world.kept[world.kept_count++] = before;
    else
        mg_generation_unref(before);
}

static void on_remove(void *arg, uint32_t project)
{
    (void)arg;
    uv_mutex_lock(&world.lock);
    note("removed %u\n", project);
    uv_mutex_unlock(&world.lock);
    mg_generation_unref(world.live[project]);
    world.live[project] = NULL;
}

static void on_report(void *arg, const char *project, uint32_t number, bool ok, const struct mg_diag *diag)
{
    (void)arg;
    uv_mutex_lock(&world.lock);
    if (ok)
        note("live %s %u\n", project, number);
    else
        note("refused %s %u line %d: %s\n", project, number, diag->line, diag->text);
    uv_mutex_unlock(&world.lock);
}

static const struct mg_builder_ops ops = {on_route, on_install, on_remove, on_report};

/* Written aside and renamed, as editors do. */
static void put(const char *name, const char *text)
{
    char path[256], aside[280];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(aside, sizeof aside, "%s~", path);
    FILE *file = fopen(aside, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
    CHECK_INT(rename(aside, path), 0);
}

static void drop(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK_INT(unlink(path), 0);
}

static void begin(void)
{
    char path[256];
    memset(&world, 0, sizeof world);
    uv_mutex_init(&world.lock);
    uv_cond_init(&world.changed);
    mg_log_level(MG_LOG_OFF);
    snprintf(dir, sizeof dir, "/tmp/mg_builder_XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/projects", dir);
    CHECK_INT(mkdir(path, 0700), 0);
    memset(&config, 0, sizeof config);
    config.dir = dir;
    struct mg_diag diag;
    CHECK_OK(mg_script_init(&diag));
}

static mg_err start(struct mg_diag *diag)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/gateway.lua", dir);
    struct mg_builder_options options = {.config = &config, .config_path = path, .workers = WORKERS, .ops = &ops};
    return mg_builder_start(&options, &builder, diag);
}

static void release_live(void)
{
    for (int i = 0; i < PROJECTS; i++)
        mg_generation_unref(world.live[i]);
    for (int i = 0; i < world.kept_count; i++)
        mg_generation_unref(world.kept[i]);
    world.kept_count = 0;
}

static void end(void)
{
    char command[128];
    release_live();
    mg_builder_stop(builder);
    builder = NULL;
    mg_script_fini();
    CHECK_INT(world.routings, 0);
    uv_mutex_destroy(&world.lock);
    uv_cond_destroy(&world.changed);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

#define PROJECT(model) "return { providers = { a = { kind = 'simulated' } }, workflows = { chat = 'a/" model "' } }\n"
#define SIMULATED "return { providers = { a = { kind = 'simulated' } }, allow_direct = true, "
#define BROKEN "return {\n  providers = { a = { kind = 'simulted' } },\n}\n"

TEST(every_project_is_built_before_the_start_returns)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    put("projects/two.lua", PROJECT("m"));
    put("projects/.hidden.lua", PROJECT("m"));
    put("projects/notes.txt", "no project");

    CHECK_OK(start(&diag));

    struct mg_builder_status rows[4];
    CHECK_INT(mg_builder_list(builder, rows, 4), 2);
    CHECK_STR(rows[0].project, "one");
    CHECK_INT(rows[0].number, 1);
    CHECK(rows[0].built_wall_us > 0);
    CHECK_STR(rows[0].error, "");
    CHECK_STR(rows[1].project, "two");
    CHECK(world.live[0] && world.live[1]);
    end();
}

TEST(a_saved_edit_is_live_within_a_second_and_touches_no_other_project)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("before"));
    put("projects/two.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    wait_for("live two 1\n");

    uint64_t before_ns = uv_hrtime();
    put("projects/one.lua", PROJECT("after"));
    wait_for("live one 2\n");

    CHECK(uv_hrtime() - before_ns < 1000000000);
    CHECK_STR(world.live[0]->config->targets[0].model, "after");
    wait_for("freed\n");                                 /* the old one, on the builder's thread */
    CHECK(!saw("two"));
    end();
}

TEST(saves_of_one_moment_are_one_reload)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    wait_for("live one 1\n");

    for (int i = 0; i < 20; i++)
        put("projects/one.lua", i < 19 ? BROKEN : PROJECT("last"));
    wait_for("live one 2\n");

    CHECK_STR(world.live[0]->config->targets[0].model, "last");
    CHECK(!saw("refused"));
    end();
}

TEST(a_broken_edit_keeps_the_old_one_and_says_why_until_it_is_mended)
{
    struct mg_diag diag;
    struct mg_builder_status row;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));

    put("projects/one.lua", BROKEN);
    wait_for("refused one 1 line 2: providers.a.kind: expected one of \"http\", \"simulated\", found \"simulted\"");
    CHECK_INT(mg_builder_list(builder, &row, 1), 1);
    CHECK_INT(row.number, 1);
    CHECK(strstr(row.error, "/projects/one.lua:2: providers.a.kind: expected") != NULL);
    CHECK(row.error_wall_us > 0);
    CHECK_STR(world.live[0]->config->targets[0].model, "m");

    put("projects/one.lua", "return { providers = { unroutable = { kind = 'simulated' } }, allow_direct = true }");
    wait_for("refused one 1 line 1: no route\n");

    put("projects/one.lua", PROJECT("mended"));
    wait_for("live one 2\n");
    CHECK_INT(mg_builder_list(builder, &row, 1), 1);
    CHECK_STR(row.error, "");
    end();
}

TEST(functions_that_do_not_load_refuse_the_generation)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));

    put("projects/one.lua", SIMULATED "\n plugins = { { use = 'moongate/no-such' } } }");
    wait_for("refused one 1 line 2: there is no plugin \"moongate/no-such\"");
    put("projects/one.lua", SIMULATED "route = function(req, candidates) return nil end }");
    wait_for("live one 2\n");
    end();
}

TEST(projects_appear_and_disappear_with_their_files)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));

    put("projects/two.lua", PROJECT("m"));
    wait_for("live two 1\n");
    drop("projects/two.lua");
    wait_for("removed 1\n");
    CHECK_INT(mg_builder_list(builder, NULL, 0), 1);

    put("projects/two.lua", PROJECT("m"));
    wait_for("live two 1\n");
    CHECK(world.live[1] == NULL);                        /* an index is never used again */
    CHECK_INT(world.live[2]->project, 2);
    end();
}

TEST(files_that_a_project_reads_are_watched_even_before_they_exist)
{
    struct mg_diag diag;
    char path[256];
    begin();
    put("projects/one.lua", PROJECT("m"));
    put("projects/two.lua", SIMULATED "classify = file '../policies/deep/c.lua' }");
    CHECK_OK(start(&diag));
    wait_for("refused two 0");

    snprintf(path, sizeof path, "%s/policies", dir);
    CHECK_INT(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/policies/deep", dir);
    CHECK_INT(mkdir(path, 0700), 0);
    put("policies/deep/c.lua", "return function(att) return nil end");
    wait_for("live two 1\n");

    put("policies/deep/c.lua", "return function(att)");
    wait_for("refused two 1 line 1: ");
    put("policies/deep/c.lua", "return function(att) end");
    wait_for("live two 2\n");
    end();
}

TEST(a_save_without_a_change_builds_nothing)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    wait_for("live one 1\n");

    put("projects/one.lua", PROJECT("m"));
    put("projects/two.lua", PROJECT("m"));               /* comes with the same look or a later one */
    wait_for("live two 1\n");

    CHECK(!saw("live one"));
    end();
}

TEST(reload_builds_all_and_rebuild_one)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    put("projects/two.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    wait_for("live two 1\n");

    mg_builder_reload(builder);
    wait_for("live one 2\nlive two 2\n");
    mg_builder_rebuild(builder, 1);
    mg_builder_rebuild(builder, 1);
    wait_for("live two 3\n");
    CHECK(!saw("one"));
    end();
}

TEST(at_most_so_many_generations_of_a_project_are_alive)
{
    struct mg_diag diag;
    char line[64];
    begin();
    world.keep = true;
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    for (unsigned i = 2; i <= MG_MAX_GENERATIONS; i++) {
        mg_builder_reload(builder);
        snprintf(line, sizeof line, "live one %u\n", i);
        wait_for(line);
    }

    mg_builder_reload(builder);
    put("projects/two.lua", PROJECT("m"));               /* built in the same or a later look: the first waits */
    wait_for("live two 1\n");
    CHECK(!saw("live one"));
    mg_generation_unref(world.kept[--world.kept_count]);
    snprintf(line, sizeof line, "live one %d\n", MG_MAX_GENERATIONS + 1);
    wait_for(line);
    end();
}

TEST(many_reloads_leave_nothing_behind)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    char line[64];
    for (unsigned i = 2; i <= 200; i++) {
        mg_builder_reload(builder);
        snprintf(line, sizeof line, "live one %u\n", i);
        wait_for(line);
    }
    wait_for("freed\n");
    end();
}

TEST(nothing_to_serve_is_an_error_at_the_start)
{
    struct mg_diag diag;
    begin();
    CHECK_INT(start(&diag), MG_E_NOT_FOUND);
    CHECK(strstr(diag.text, "there is no project") != NULL);

    put("projects/one.lua", BROKEN);
    CHECK_INT(start(&diag), MG_E_CONFIG);
    CHECK_INT(diag.line, 2);

    put("projects/two.lua", PROJECT("m"));               /* one that works is enough */
    CHECK_OK(start(&diag));
    struct mg_builder_status rows[2];
    CHECK_INT(mg_builder_list(builder, rows, 2), 2);
    CHECK_INT(rows[0].number, 0);
    CHECK(rows[0].error[0] != '\0');
    end();
}

TEST(without_a_folder_the_environment_is_the_project)
{
    struct mg_diag diag;
    begin();
    config.dir = NULL;
    unsetenv("OPENAI_API_KEY");
    unsetenv("OPENAI_BASE_URL");
    CHECK_INT(start(&diag), MG_E_NOT_FOUND);
    CHECK(strstr(diag.text, "export OPENAI_API_KEY") != NULL);

    setenv("OPENAI_API_KEY", "sk-x", 1);
    CHECK_OK(start(&diag));
    CHECK_STR(world.live[0]->config->name, "default");
    unsetenv("OPENAI_API_KEY");
    end();
}

/* As workers do: they stop after the builder. */
static void let_go_of_all(void *arg)
{
    struct mg_generation **late = arg;
    for (int i = 0; i < WORKERS; i++) {
        mg_builder_rebuild(builder, late[i]->project);
        mg_generation_unref(late[i]);
    }
}

TEST(workers_may_ask_and_let_go_while_the_builder_stops)
{
    struct mg_diag diag;
    for (int round = 0; round < 20; round++) {
        begin();
        put("projects/one.lua", PROJECT("m"));
        put("projects/two.lua", PROJECT("m"));
        CHECK_OK(start(&diag));
        struct mg_generation *late[WORKERS] = {world.live[0], world.live[1]};
        world.live[0] = world.live[1] = NULL;

        uv_thread_t worker;
        CHECK_INT(uv_thread_create(&worker, let_go_of_all, late), 0);
        mg_builder_stop(builder);
        uv_thread_join(&worker);
        builder = NULL;
        end();
    }
}

TEST(orders_that_come_after_the_stop_are_forgotten)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    struct mg_generation *late = world.live[0];
    world.live[0] = NULL;

    mg_builder_stop(builder);
    mg_builder_rebuild(builder, 0);              /* it lives as long as one of its generations */
    mg_generation_unref(late);
    builder = NULL;
    end();
}

TEST(a_generation_that_outlives_the_builder_is_freed_all_the_same)
{
    struct mg_diag diag;
    begin();
    put("projects/one.lua", PROJECT("m"));
    CHECK_OK(start(&diag));
    struct mg_generation *late = world.live[0];
    world.live[0] = NULL;

    mg_builder_stop(builder);
    builder = NULL;
    CHECK_INT(world.routings, 1);
    mg_generation_unref(late);

    CHECK_INT(world.routings, 0);
    end();
}

MG_TEST_MAIN()
