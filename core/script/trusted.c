#include "script/trusted.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/embed.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "script/accept.h"
#include "script/answers_lua.h"
#include "script/sandbox.h"
#include "script/views.h"

enum { BURST_US = 20000 };             /* the watchdog only reports it */

struct question {
    struct mg_trusted *trusted;
    struct mg_call *call;
    const struct mg_candidate *candidates;
    int count;
    struct mg_plan *plan;
    const struct mg_attempt_facts *facts;
    struct mg_verdict *verdict;
};

static int load_defaults(lua_State *L);
static int ask_route(lua_State *L);
static int ask_classify(lua_State *L);
static mg_err ask(struct question *question, enum mg_lua_phase phase, lua_CFunction body);

mg_err mg_trusted_new(struct mg_trusted **out_trusted, struct mg_diag *diag)
{
    struct mg_trusted *trusted = mg_new(struct mg_trusted);
    trusted->lua.kind = MG_LUA_TRUSTED;
    mg_buf_init(&trusted->written, MG_MAX_BODY_BYTES * 2);
    mg_err err = mg_sandbox_open(&trusted->lua, "moongate", diag);
    if (err == MG_OK) {
        struct mg_lua_run run = {.phase = MG_LUA_PHASE_load, .load_name = "lua/default"};
        if (mg_lua_enter(&trusted->lua, &run, MG_LUA_SETUP_US, load_defaults, trusted) != MG_LUA_ENDED)
            err = mg_diag_set(diag, MG_E_SCRIPT, "lua/default", 0, "%s", trusted->lua.trace);
    }
    if (err != MG_OK) {
        mg_trusted_free(trusted);
        return err;
    }
    *out_trusted = trusted;
    return MG_OK;
}

void mg_trusted_free(struct mg_trusted *trusted)
{
    if (!trusted)
        return;
    mg_trusted_dialects_free(trusted);
    mg_sandbox_close(&trusted->lua);
    mg_free(trusted);
}

/* What require finds for trusted files besides the library: "dialects.anthropic.read" is lua/dialects/anthropic/read.lua. */
static int own_file(lua_State *L)
{
    char path[128];
    int len = snprintf(path, sizeof(path), "%s.lua", luaL_checkstring(L, 1));
    if (len >= (int)sizeof(path) || strncmp(path, "dialects.", 9) != 0)
        return 0;
    for (char *at = path; at < path + len - 4; at++)
        *at = *at == '.' ? '/' : *at;
    const struct mg_embedded_file *file = mg_embedded_find(path);
    if (!file)
        return 0;
    lua_pushlstring(L, file->data, file->size);
    lua_pushfstring(L, "=lua/%s", path);
    return 2;
}

void mg_trusted_run_file(lua_State *L, const char *name)
{
    const struct mg_embedded_file *file = mg_embedded_find(name);
    char chunk[128];
    if (!file)
        luaL_error(L, "lua/%s is missing from this build", name);
    snprintf(chunk, sizeof(chunk), "=lua/%s", name);
    mg_sandbox_load(L, mg_view_of(file->data, file->size), chunk);

    mg_sandbox_prelude(L, "strict");
    mg_sandbox_prelude(L, "environment");
    lua_newtable(L);
    lua_pushcfunction(L, own_file);
    lua_call(L, 2, 1);
    lua_call(L, 1, 1);
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
}

static int load_function(lua_State *L, const char *name)
{
    mg_trusted_run_file(L, name);
    if (lua_type(L, -1) != LUA_TFUNCTION)
        luaL_error(L, "lua/%s must return a function", name);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int load_defaults(lua_State *L)
{
    struct mg_trusted *trusted = mg_lua_of(L)->body_arg;
    trusted->route = load_function(L, "default/routing.lua");
    trusted->classify = load_function(L, "default/taxonomy.lua");
    return 0;
}

/* --- the ops --------------------------------------------------------------------------------- */

static mg_err route(void *policy, struct mg_call *call, const struct mg_candidate *candidates, int count,
                    struct mg_plan *out_plan)
{
    struct question question = {
        .trusted = policy, .call = call, .candidates = candidates, .count = count, .plan = out_plan};
    return ask(&question, MG_LUA_PHASE_route, ask_route);
}

static mg_err classify(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                       struct mg_verdict *out_verdict)
{
    struct question question = {.trusted = policy, .call = call, .facts = facts, .verdict = out_verdict};
    return ask(&question, MG_LUA_PHASE_classify, ask_classify);
}

static mg_err accept_answer(void *policy, struct mg_call *call, const struct mg_call_response *response, mg_view *out_reason)
{
    (void)policy;
    return mg_accept_schema(call, response, out_reason);
}

const struct mg_policy_ops mg_trusted_policy = {
    .route = route, .on_attempt = NULL, .classify = classify, .accept = accept_answer, .offline = NULL};

static mg_err ask(struct question *question, enum mg_lua_phase phase, lua_CFunction body)
{
    struct mg_lua *lua = &question->trusted->lua;
    struct mg_lua_run run = {.call = question->call, .phase = phase};
    lua->loop = question->call->loop;
    enum mg_lua_end end = mg_lua_enter(lua, &run, BURST_US, body, question);
    if (lua->late) {
        lua->late = 0;
        mg_log_warn("lua.slow", "hook=%s project=%.*s", mg_lua_phase_name(phase), MG_FMT(question->call->project));
    }
    if (end == MG_LUA_ENDED)
        return MG_OK;

    char text[256];
    mg_lua_fault_text(lua, end, text, sizeof(text));
    uint64_t now_us = question->call->loop ? mg_loop_now_us(question->call->loop) : mg_mono_us();
    mg_timeline_note(question->call->timeline, now_us, "lua", "default %s: %s", mg_lua_phase_name(phase), text);
    mg_log_error("lua.failed", "hook=%s %s", mg_lua_phase_name(phase), text);
    return MG_E_SCRIPT;
}

static int ask_route(lua_State *L)
{
    struct question *question = mg_lua_of(L)->body_arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, question->trusted->route);
    mg_lua_push_request(L, question->call);
    mg_lua_push_candidates(L, question->candidates, question->count);
    mg_lua_push_flow(L, question->call);
    lua_call(L, 3, 1);
    mg_lua_read_plan(L, lua_gettop(L), question->call, question->candidates, question->count, question->plan);
    return 0;
}

static int ask_classify(lua_State *L)
{
    struct question *question = mg_lua_of(L)->body_arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, question->trusted->classify);
    mg_lua_push_attempt(L, question->call, question->facts);
    lua_call(L, 1, 1);
    mg_lua_read_verdict(L, lua_gettop(L), question->call, question->facts, question->verdict);
    return 0;
}
