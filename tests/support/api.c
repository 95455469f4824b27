#include "api.h"

#include "base/mem.h"
#include "check.h"
#include "sandbox.h"
#include "script/co_run.h"
#include "script/sandbox.h"
#include "script/views.h"

enum { PLENTY_US = 5000000 };

static const struct mg_header items[] = {
    {{"X-Team", 6}, {"blue", 4}},
    {{"Authorization", 13}, {"Bearer sk-secret", 16}},
    {{"Retry-After", 11}, {"7", 1}},
};
static const struct mg_config_target targets[] = {
    {.id = "openai/gpt-5", .model = "gpt-5", .context_window = 400000, .max_output = 128000, .region = "eu"},
    {.id = "local/qwen", .model = "qwen"},
};
static const char body[] =
    "{\"model\":\"chat\",\"temperature\":0.5,\"stop\":[\"x\"],\"messages\":["
    "{\"role\":\"system\",\"content\":\"Be brief.\"},"
    "{\"role\":\"user\",\"content\":\"use sk-abc1\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"part one\"},{\"type\":\"text\",\"text\":\"part two\"}]}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}";

void api_open(struct api *api)
{
    struct mg_json_error error;
    memset(api, 0, sizeof *api);
    sandbox_open(&api->lua);
    mg_loop_init(&api->loop);
    api->lua.loop = &api->loop;
    mg_arena_init(&api->arena, 4096);
    api->headers = (struct mg_headers){items, MG_COUNT(items)};
    snprintf(api->timeline.id, sizeof api->timeline.id, "req_test");
    api->timeline.status = 200;
    api->timeline.metadata = MG_VIEW("{\"team\":\"blue\"}");
    api->timeline.attempt_count = 1;
    api->timeline.attempts[0] = (struct mg_attempt_record){.target = MG_VIEW("openai/gpt-5"), .status = 200};
    api->timeline.start_mono_us = mg_loop_now_us(&api->loop);
    api->call = (struct mg_call){
        .arena = &api->arena, .loop = &api->loop, .timeline = &api->timeline, .headers = &api->headers,
        .project = MG_VIEW("test"), .workflow = MG_VIEW("chat"), .key_id = MG_VIEW("key_1"),
        .metadata = MG_VIEW("{\"tier\":\"pro\",\"n\":3}"), .dialect = "openai", .surface = "chat",
        .deadline_us = mg_loop_now_us(&api->loop) + 60000000};
    CHECK_OK(mg_request_scan(&api->call.request, &api->arena, mg_view_cstr(body), &error));
    for (int i = 0; i < 2; i++)
        api->candidates[i] = (struct mg_candidate){&targets[i], i ? "local" : "openai", i ? "b" : "a", 1 - i * 0.5,
                                                   (uint32_t)i, 120000, 0.25, "closed"};
    api->facts = (struct mg_attempt_facts){
        .candidate = &api->candidates[0], .model = MG_VIEW("gpt-5"), .number = 2, .try_number = 1, .tries = 2,
        .reason = MG_REASON_fallback, .phase = "headers", .status = 429, .headers = &api->headers,
        .error_type = MG_VIEW("requests"), .error_message = MG_VIEW("slow down"), .body_head = MG_VIEW("{\"error\":1}"),
        .hint = MG_CLASS_rate_limited, .retry_after_ms = 7000, .elapsed_ms = 34};
    api->response = (struct mg_call_response){.status = 200, .target = MG_VIEW("openai/gpt-5"),
                                              .body = MG_VIEW("{\"choices\":[]}"), .text = MG_VIEW("Hello."),
                                              .finish = MG_VIEW("stop"), .attempts = 2,
                                              .usage = {.input_tokens = 5, .output_tokens = 2, .reported = true}};
    api->instance = (struct mg_instance){.name = "unit", .project = "test", .inline_code = true};
}

void api_close(struct api *api)
{
    sandbox_close(&api->lua);
    mg_arena_fini(&api->arena);
    mg_loop_fini(&api->loop);
}

struct job {
    struct api *api;
    const char *code;
    bool over;
};

static int no_file(lua_State *L)
{
    return 0;
}

static void set_views(lua_State *L, struct api *api)
{
    mg_lua_push_request(L, &api->call);
    lua_setfield(L, -2, "req");
    mg_lua_push_candidates(L, api->candidates, 2);
    lua_setfield(L, -2, "candidates");
    mg_lua_push_attempt(L, &api->call, &api->facts);
    lua_setfield(L, -2, "att");
    mg_lua_push_response(L, &api->call, &api->response);
    lua_setfield(L, -2, "res");
    mg_lua_push_record(L, &api->call);
    lua_setfield(L, -2, "rec");
}

/* Pushes the snippet's function. What a snippet leaves in the global table `keep` is there for the next one. */
static int push_snippet(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    mg_sandbox_load(L, mg_view_cstr(job->code), "=snippet");
    mg_sandbox_prelude(L, "environment");
    lua_newtable(L);
    lua_pushcfunction(L, no_file);
    lua_call(L, 2, 1);
    if (mg_lua_of(L)->run->call)
        set_views(L, job->api);
    lua_getfield(L, LUA_REGISTRYINDEX, "keep");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, "keep");
    }
    lua_setfield(L, -2, "keep");
    lua_setfenv(L, -2);
    return 1;
}

static void collect(struct api *api, lua_State *L, int from)
{
    size_t at = 0;
    api->result[0] = '\0';
    const struct mg_hook_outcome *outcome = mg_lua_outcome(L, from);
    api->has_outcome = outcome != NULL;
    if (outcome)
        api->outcome = *outcome;
    for (int i = from; i <= lua_gettop(L) && at < sizeof api->result; i++) {
        const char *text = lua_type(L, i) == LUA_TBOOLEAN ? (lua_toboolean(L, i) ? "true" : "false")
                           : lua_isstring(L, i)           ? lua_tostring(L, i)
                                                          : lua_typename(L, lua_type(L, i));
        at += (size_t)snprintf(api->result + at, sizeof api->result - at, "%s%s", i > from ? "," : "", text);
    }
}

static int run_snippet(lua_State *L)
{
    struct job *job = mg_lua_of(L)->body_arg;
    push_snippet(L);
    int at = lua_gettop(L);
    lua_call(L, 0, LUA_MULTRET);
    collect(job->api, L, at);
    return 0;
}

static void fail(struct api *api)
{
    size_t len = strcspn(api->lua.trace, "\n");
    snprintf(api->result, sizeof api->result, "error: %.*s", (int)len, api->lua.trace);
}

static void on_over(void *arg, struct mg_co *co, enum mg_lua_end end)
{
    struct job *job = arg;
    if (end == MG_LUA_ENDED)
        collect(job->api, mg_co_thread(co), 1);
    else
        fail(job->api);
    job->over = true;
    mg_co_release(co, end == MG_LUA_ENDED);
}

const char *api_run(struct api *api, enum mg_lua_phase phase, const char *code)
{
    bool built = (1u << phase) & MG_LUA_SETUP;
    struct mg_lua_run run = {.call = built ? NULL : &api->call, .instance = &api->instance, .phase = phase,
                             .load_name = "snippet", .response = &api->response};
    struct job job = {api, code, false};
    api->has_outcome = false;
    if ((1u << phase) & MG_LUA_WAITING) {
        struct mg_co_options options = {.run = &run, .prepare = push_snippet, .prepare_arg = &job, .burst_us = api->budget_us ? api->budget_us : PLENTY_US,
                                        .wall_ms = 20000, .cb = on_over, .arg = &job};
        struct mg_co *co;
        mg_co_start(&api->lua, &options, &co);
        while (!job.over)
            mg_loop_turn(&api->loop, 1000);
    } else if (mg_lua_enter(&api->lua, &run, api->budget_us ? api->budget_us : PLENTY_US, run_snippet, &job) != MG_LUA_ENDED) {
        fail(api);
    }
    return api->result;
}

void api_check(struct api *api, enum mg_lua_phase phase, const struct api_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *got = api_run(api, phase, rows[i].code);
        if (strcmp(got, rows[i].want) != 0)
            check_failed(__FILE__, __LINE__, "%s\n  gave %s\n  want %s", rows[i].code, got, rows[i].want);
    }
}
