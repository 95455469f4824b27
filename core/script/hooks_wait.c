/* on_request and on_response: hooks that may wait. Instance after instance runs in a coroutine of its
 * own, down the list for requests and up for answers, until one decides or all have run. */
#include <assert.h>

#include "base/mem.h"
#include "script/co_run.h"
#include "script/instance.h"
#include "script/views.h"

struct mg_hook_run {
    struct mg_script *script;
    struct mg_call *call;
    struct mg_call_response *response; /* on_response only */
    enum mg_hook hook;
    mg_hook_cb cb;
    void *arg;
    int next;                          /* index of the instance to look at next */
    struct mg_plugged *plugged;        /* the one that runs or waits */
    struct mg_co *co;                  /* its coroutine; NULL: none runs */
    uint64_t cpu_us;                   /* of its steps that are accounted for */
    struct mg_hook_outcome outcome;
    bool looping;                      /* advance() is on the C stack: an end is picked up there */
    bool over;
};

static struct mg_hook_run *start(struct mg_script *script, struct mg_call *call, struct mg_call_response *response,
                                 enum mg_hook hook, mg_hook_cb cb, void *arg);
static void advance(struct mg_hook_run *run);
static bool run_one(struct mg_hook_run *run, struct mg_plugged *plugged);
static int prepare(lua_State *L);
static void on_end(void *arg, struct mg_co *co, enum mg_lua_end end);
static int read_outcome(lua_State *L);
static void decide(struct mg_hook_run *run, const struct mg_hook_outcome *outcome);
static void fail(struct mg_hook_run *run, struct mg_plugged *plugged, const char *why);

struct mg_hook_run *mg_script_on_request(struct mg_script *script, struct mg_call *call, mg_hook_cb cb, void *arg)
{
    return start(script, call, NULL, MG_HOOK_ON_REQUEST, cb, arg);
}

struct mg_hook_run *mg_script_on_response(struct mg_script *script, struct mg_call *call,
                                          struct mg_call_response *response, mg_hook_cb cb, void *arg)
{
    return start(script, call, response, MG_HOOK_ON_RESPONSE, cb, arg);
}

static struct mg_hook_run *start(struct mg_script *script, struct mg_call *call, struct mg_call_response *response,
                                 enum mg_hook hook, mg_hook_cb cb, void *arg)
{
    struct mg_hook_run *run = mg_new(struct mg_hook_run);
    *run = (struct mg_hook_run){.script = script, .call = call, .response = response, .hook = hook, .cb = cb, .arg = arg};
    run->next = hook == MG_HOOK_ON_REQUEST ? 0 : script->count - 1;
    run->outcome.kind = MG_HOOK_GO_ON;
    advance(run);
    if (!run->over)
        return run;
    mg_free(run);
    return NULL;
}

void mg_hook_cancel(struct mg_hook_run *run)
{
    if (run->co)
        mg_co_cancel(run->co);
    mg_free(run);
}

/* Goes on until something waits or nothing is left; then the callback is due. */
static void advance(struct mg_hook_run *run)
{
    int step = run->hook == MG_HOOK_ON_REQUEST ? 1 : -1;
    run->looping = true;
    while (!run->over && run->next >= 0 && run->next < run->script->count) {
        struct mg_plugged *plugged = &run->script->instances[run->next];
        run->next += step;
        enum mg_ready ready = mg_plugged_ready(run->script, plugged, run->hook, run->call);
        if (ready == MG_QUARANTINED || ready == MG_DISABLED)
            fail(run, plugged, mg_plugged_why_not(plugged, ready, run->call->arena));
        else if (ready == MG_READY && !run_one(run, plugged)) {
            run->looping = false;
            return;                    /* it waits; on_end() comes back here */
        }
    }
    run->looping = false;
    run->over = true;
    run->cb(run->arg, &run->outcome);
}

/* True when it is over at once. */
static bool run_one(struct mg_hook_run *run, struct mg_plugged *plugged)
{
    struct mg_lua_run lua_run = {.call = run->call, .instance = &plugged->base, .phase = mg_hook_phases[run->hook],
                                 .response = run->response};
    struct mg_co_options options = {
        .run = &lua_run,
        .prepare = prepare,
        .prepare_arg = run,
        .burst_us = plugged->burst_us[run->hook],
        .wall_ms = MG_HOOK_WALL_MS,
        .cb = on_end,
        .arg = run,
    };
    run->plugged = plugged;
    mg_co_start(&run->script->lua, &options, &run->co);
    return run->co == NULL;
}

static int prepare(lua_State *L)
{
    struct mg_hook_run *run = mg_lua_of(L)->body_arg;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->plugged->function[run->hook]);
    if (run->plugged->self != LUA_NOREF)
        lua_rawgeti(L, LUA_REGISTRYINDEX, run->plugged->self);
    if (run->hook == MG_HOOK_ON_REQUEST)
        mg_lua_push_request(L, run->call);
    else
        mg_lua_push_response(L, run->call, run->response);
    return 0;
}

struct reading {
    struct mg_hook_run *run;
    lua_State *thread;
    struct mg_hook_outcome outcome;
};

static void on_end(void *arg, struct mg_co *co, enum mg_lua_end end)
{
    struct mg_hook_run *run = arg;
    struct mg_script *script = run->script;
    struct mg_plugged *plugged = run->plugged;
    struct reading reading = {.run = run, .outcome = {.kind = MG_HOOK_GO_ON}};

    if (end == MG_LUA_ENDED) {
        reading.thread = mg_co_thread(co);
        end = mg_lua_enter(&script->lua, mg_co_run(co), plugged->burst_us[run->hook], read_outcome, &reading);
    }
    uint64_t cpu_us = mg_co_cpu_us(co);
    if (end == MG_LUA_ENDED)
        mg_hook_done(script, plugged, run->hook, run->call, cpu_us);
    else
        mg_hook_failed(script, plugged, run->hook, run->call, end, cpu_us);
    mg_co_release(co, end == MG_LUA_ENDED);
    run->co = NULL;

    if (end == MG_LUA_ENDED)
        decide(run, &reading.outcome);
    else
        fail(run, plugged, "failed");
    if (!run->looping) {
        advance(run);
        if (run->over)
            mg_free(run);
    }
}

/* nil, or what req:respond and its like return; `nil, err` is a failure. */
static int read_outcome(lua_State *L)
{
    struct reading *reading = mg_lua_of(L)->body_arg;
    lua_settop(L, 0);
    lua_settop(reading->thread, 2);
    lua_xmove(reading->thread, L, 2);
    if (lua_isnil(L, 1)) {
        if (!lua_isnil(L, 2))
            luaL_error(L, "%s", mg_lua_error_text(L, 2));
        return 0;
    }
    const struct mg_hook_outcome *outcome = mg_lua_outcome(L, 1);
    if (!outcome && reading->run->hook == MG_HOOK_ON_REQUEST)
        luaL_error(L, "on_request must return nothing, req:respond{…} or req:deny{…}, got %s", luaL_typename(L, 1));
    if (!outcome)
        luaL_error(L, "on_response must return nothing, res:replace{…}, res:deny{…} or res:retry{…}, got %s",
                   luaL_typename(L, 1));
    reading->outcome = *outcome;
    return 0;
}

/* What one instance decided. A replaced answer is what the next ones see. */
static void decide(struct mg_hook_run *run, const struct mg_hook_outcome *outcome)
{
    if (outcome->kind == MG_HOOK_GO_ON)
        return;
    run->outcome = *outcome;
    if (outcome->kind != MG_HOOK_REPLACE) {
        run->next = run->script->count + 1;      /* nobody else is asked */
        return;
    }
    if (run->response && outcome->body.len)
        run->response->body = outcome->body;
    else if (run->response)
        run->response->text = outcome->text;
}

/* The fail mode: closed ends the request, open goes on without the instance. */
static void fail(struct mg_hook_run *run, struct mg_plugged *plugged, const char *why)
{
    if (run->call->timeline && plugged->off)
        mg_timeline_note(run->call->timeline, mg_script_now_us(run->script), "plugin", "%s %s", plugged->base.name, why);
    if (!plugged->closed[run->hook])
        return;
    struct mg_hook_outcome denied = {
        .kind = MG_HOOK_DENY,
        .status = 503,
        .code = MG_VIEW("plugin_failed"),
        .message = mg_arena_printf(run->call->arena, "The plugin %s %s, and nothing passes without it.",
                                   plugged->base.name, why),
    };
    decide(run, &denied);
}
