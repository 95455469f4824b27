#include "script_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "folder.h"
#include "base/clock.h"

struct script_world world;
static char root[512];
static struct mg_diag diag;

static const char *const body =
    "{\"model\":\"chat\",\"messages\":[{\"role\":\"system\",\"content\":\"be kind\"},{\"role\":\"user\",\"content\":\"hello\"}],"
    "\"temperature\":0.5,\"stream\":true}";

static void make_root(void)
{
    if (root[0])
        return;
    snprintf(root, sizeof(root), "%s", check_fresh_path("project"));
    CHECK(mkdir(root, 0755) == 0);
}

void world_file(const char *name, const char *text)
{
    char path[1024];
    make_root();
    snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(path, 0755);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

static mg_err load(const char *name)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    memset(&diag, 0, sizeof(diag));
    MG_TRY(mg_config_load_project(path, &world.config, &diag));
    return mg_script_needed(world.config) ? mg_script_build(world.config, &world.script, &diag) : MG_OK;
}

static mg_err build(const char *in_workflow, const char *in_project)
{
    char text[16384];
    int len = snprintf(text, sizeof(text),
                       "return {\n"
                       "  providers = { a = { base_url = 'http://127.0.0.1:1/v1' }, b = { base_url = 'http://127.0.0.1:2/v1' } },\n"
                       "  workflows = { chat = { targets = { 'a/one', 'b/two', 'a/three' },\n%s\n} },\n%s\n}\n",
                       in_workflow, in_project);
    CHECK(len < (int)sizeof(text));
    world_file("projects/test.lua", text);
    return load("projects/test.lua");
}

static void set_candidates(void)
{
    const struct mg_config_workflow *chat = &world.config->workflows[0];
    world.candidate_count = chat->arm_count;
    for (int i = 0; i < chat->arm_count; i++) {
        const struct mg_config_target *target = &world.config->targets[chat->arms[i].target];
        world.candidates[i] = (struct mg_candidate){.target = target,
                                                    .provider = world.config->providers[target->provider].name,
                                                    .arm = target->id,
                                                    .weight = chat->arms[i].weight,
                                                    .state = "closed"};
    }
}

static void begin(void)
{
    memset(&world, 0, sizeof(world));
    CHECK_OK(mg_script_init(&diag));
    mg_loop_init(&world.loop);
    mg_arena_init(&world.arena, 65536);
    CHECK_OK(mg_trusted_new(&world.trusted, &diag));
}

static void attach(mg_err built)
{
    if (built != MG_OK)
        check_failed(__FILE__, __LINE__, "%s:%d: %s", diag.file, diag.line, diag.text);
    if (world.script)
        mg_script_attach(world.script, &world.loop, world.trusted);
    set_candidates();
    world_request(body);
}

void world_open(const char *in_workflow, const char *in_project)
{
    begin();
    attach(build(in_workflow, in_project));
    CHECK(world.script != NULL);
}

bool world_open_file(const char *name)
{
    begin();
    attach(load(name));
    return world.script != NULL;
}

const char *world_refused(const char *in_workflow, const char *in_project)
{
    static char text[1200];
    memset(&world, 0, sizeof(world));
    CHECK_OK(mg_script_init(&diag));
    bool built = build(in_workflow, in_project) == MG_OK;
    mg_script_free(world.script);
    mg_config_project_free(world.config);
    mg_script_fini();
    CHECK(!built);
    mg_diag_print(&diag, text, sizeof(text));
    return text;
}

void world_request(const char *json)
{
    struct mg_json_error error;
    mg_arena_reset(&world.arena);
    memset(&world.timeline, 0, sizeof(world.timeline));
    snprintf(world.timeline.id, sizeof(world.timeline.id), "req_test");
    world.timeline.start_mono_us = mg_mono_us();
    world.header_items[0] = (struct mg_header){MG_VIEW("x-tier"), MG_VIEW("pro")};
    world.headers = (struct mg_headers){world.header_items, 1};
    world.call = (struct mg_call){.arena = &world.arena,
                                  .loop = &world.loop,
                                  .timeline = &world.timeline,
                                  .headers = &world.headers,
                                  .project = MG_VIEW("test"),
                                  .workflow = MG_VIEW("chat"),
                                  .key_id = MG_VIEW("key_1"),
                                  .session = MG_VIEW("s-1"),
                                  .metadata = MG_VIEW("{\"tier\":\"pro\"}"),
                                  .dialect = "openai",
                                  .surface = "chat",
                                  .flow = world.config ? &world.config->workflows[0] : NULL,
                                  .default_deadline_ms = 60000,
                                  .default_max_attempts = 4};
    CHECK_OK(mg_request_scan(&world.call.request, &world.arena, mg_arena_dup(&world.arena, mg_view_cstr(json)), &error));
}

void world_close(void)
{
    mg_arena_fini(&world.arena);       /* closes filters */
    mg_script_free(world.script);
    mg_trusted_free(world.trusted);
    mg_config_project_free(world.config);
    mg_loop_fini(&world.loop);
    mg_script_fini();
}

static void on_outcome(void *arg, const struct mg_hook_outcome *outcome)
{
    (void)arg;
    world.outcome = *outcome;
    world.outcomes++;
    world.run = NULL;
}

void world_on_request(void)
{
    int before = world.outcomes;
    struct mg_hook_run *run = mg_script_on_request(world.script, &world.call, on_outcome, NULL);
    CHECK((run == NULL) == (world.outcomes == before + 1));
    world.run = run;
}

void world_on_response(struct mg_call_response *response)
{
    int before = world.outcomes;
    struct mg_hook_run *run = mg_script_on_response(world.script, &world.call, response, on_outcome, NULL);
    CHECK((run == NULL) == (world.outcomes == before + 1));
    world.run = run;
}

void world_wait(void)
{
    for (int turns = 0; world.run && turns < 1000; turns++)
        mg_loop_turn(&world.loop, 100);
    CHECK(world.run == NULL);
}

const char *world_notes(void)
{
    static char notes[MG_MAX_NOTE_BYTES + 1];
    memcpy(notes, world.timeline.note, world.timeline.note_bytes);
    notes[world.timeline.note_bytes] = '\0';
    return notes;
}
