#include "script/co_run.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/loop.h"

const char mg_co_tag[] = "waits";

/*  idle (pool) ─ start ─▶ running ─ yield with TAG ─▶ waiting ─ mg_co_done ─▶ running …
 *                            │                           ├─ wall clock ─▶ over
 *                            └─ return, error ─▶ over    └─ cancel ─▶ gone                    */
struct mg_co {
    struct mg_list link;               /* in the state's pool */
    struct mg_lua *lua;                /* borrowed: outlives its coroutines */
    lua_State *thread;                 /* anchored by `ref` */
    int ref;
    struct mg_lua_run run;
    struct mg_wait *pending;           /* owned; the one operation waited for */
    struct mg_timer wall;
    uint32_t burst_us, wall_ms;
    uint64_t cpu_us;
    mg_co_cb cb;
    void *arg;
};

struct prepare {
    struct mg_co *co;
    lua_CFunction push;
    void *arg;
};

static void step(struct mg_co *co, int count);
static int prepare(lua_State *L);
static int deliver(lua_State *L);
static void finish(struct mg_co *co, enum mg_lua_end end);
static void drop_pending(struct mg_co *co);
static void on_wall(struct mg_timer *timer);

static struct mg_co *take(struct mg_lua *lua)
{
    struct mg_list *item = mg_list_pop_front(&lua->co_pool);
    if (item) {
        lua->co_pooled--;
        return mg_container_of(item, struct mg_co, link);
    }
    struct mg_co *co = mg_new(struct mg_co);
    mg_list_init(&co->link);
    co->lua = lua;
    co->ref = LUA_NOREF;
    return co;
}

void mg_co_start(struct mg_lua *lua, const struct mg_co_options *options, struct mg_co **out_co)
{
    struct mg_co *co = take(lua);
    co->run = *options->run;
    co->run.co = co;
    co->burst_us = options->burst_us;
    co->wall_ms = options->wall_ms;
    co->cpu_us = 0;
    co->cb = options->cb;
    co->arg = options->arg;
    *out_co = co;

    struct prepare args = {.co = co, .push = options->prepare, .arg = options->prepare_arg};
    enum mg_lua_end end = mg_lua_enter(lua, &co->run, co->burst_us, prepare, &args);
    if (end != MG_LUA_ENDED) {
        finish(co, end);
        return;
    }
    if (lua->loop && co->wall_ms)
        mg_timer_start(lua->loop, &co->wall, co->wall_ms, on_wall);
    step(co, lua_gettop(co->thread) - 1);
}

static int prepare(lua_State *L)
{
    struct mg_lua *lua = mg_lua_of(L);
    struct prepare *args = lua->body_arg;
    struct mg_co *co = args->co;

    if (!co->thread) {
        co->thread = lua_newthread(L);
        co->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua->body_arg = args->arg;
    lua_settop(L, 0);
    args->push(L);
    luaL_checkstack(co->thread, lua_gettop(L), NULL);
    lua_xmove(L, co->thread, lua_gettop(L));
    return 0;
}

/* One stay in Lua, and what it led to. */
static void step(struct mg_co *co, int count)
{
    struct mg_lua *lua = co->lua;
    uint64_t began_us = mg_mono_us();
    enum mg_lua_end end = mg_lua_resume(lua, &co->run, co->burst_us, co->thread, count);
    co->cpu_us += mg_lua_took_us(lua, began_us);

    struct mg_wait *wait = co->pending;
    if (end == MG_LUA_YIELDED) {
        bool tagged = wait && lua_touserdata(co->thread, 1) == (void *)mg_co_tag &&
                      lua_touserdata(co->thread, 2) == (void *)wait;
        if (tagged && lua->loop) {
            lua_settop(co->thread, 0);
            wait->running = true;
            wait->start(wait, lua->loop);
            return;
        }
        snprintf(lua->trace, sizeof(lua->trace), "yielded outside a coroutine of its own");
        end = MG_LUA_RAISED;
    }
    finish(co, end);
}

static void finish(struct mg_co *co, enum mg_lua_end end)
{
    drop_pending(co);                  /* a wait whose yield was lost on its way */
    if (co->lua->loop)
        mg_timer_cancel(co->lua->loop, &co->wall);
    co->cb(co->arg, co, end);
}

void mg_co_release(struct mg_co *co, bool reuse)
{
    struct mg_lua *lua = co->lua;
    if (reuse && lua->co_pooled < MG_MAX_LUA_COROUTINES) {
        lua_settop(co->thread, 0);
        lua->co_pooled++;
        mg_list_push_back(&lua->co_pool, &co->link);
        return;
    }
    luaL_unref(lua->L, LUA_REGISTRYINDEX, co->ref);
    mg_free(co);
}

void mg_co_cancel(struct mg_co *co)
{
    drop_pending(co);
    if (co->lua->loop)
        mg_timer_cancel(co->lua->loop, &co->wall);
    mg_co_release(co, false);
}

static void drop_pending(struct mg_co *co)
{
    struct mg_wait *wait = co->pending;
    co->pending = NULL;
    if (!wait)
        return;
    if (wait->running)
        wait->cancel(wait);
    wait->free(wait);
}

static void on_wall(struct mg_timer *timer)
{
    struct mg_co *co = mg_container_of(timer, struct mg_co, wall);
    snprintf(co->lua->trace, sizeof(co->lua->trace), "did not finish within %u ms", co->wall_ms);
    finish(co, MG_LUA_RAISED);
}

int mg_co_wait(lua_State *L, struct mg_wait *wait)
{
    struct mg_lua *lua = mg_lua_of(L);
    struct mg_co *co = lua->run ? lua->run->co : NULL;
    bool hook_waits = co && lua->loop;
    if (!hook_waits || !lua_isyieldable(L)) {
        wait->free(wait);
        if (hook_waits)
            return luaL_error(L, "cannot wait inside a callback of gsub, sort or format");
        return luaL_error(L, "cannot wait in %s", lua->run ? mg_lua_phase_name(lua->run->phase) : "this place");
    }
    drop_pending(co);
    wait->co = co;
    wait->running = false;
    co->pending = wait;
    lua_pushlightuserdata(L, (void *)mg_co_tag);
    lua_pushlightuserdata(L, wait);
    return lua_yield(L, 2);
}

void mg_co_done(struct mg_wait *wait)
{
    struct mg_co *co = wait->co;
    assert(co->pending == wait && wait->running);
    co->pending = NULL;

    enum mg_lua_end end = mg_lua_enter(co->lua, &co->run, co->burst_us, deliver, wait);
    wait->free(wait);
    if (end == MG_LUA_ENDED)
        step(co, lua_gettop(co->thread));
    else
        finish(co, end);
}

static int deliver(lua_State *L)
{
    struct mg_wait *wait = mg_lua_of(L)->body_arg;
    lua_settop(L, 0);
    int count = wait->push(wait, L);
    luaL_checkstack(wait->co->thread, count, NULL);
    lua_xmove(L, wait->co->thread, count);
    return 0;
}

struct mg_lua_run *mg_co_run(const struct mg_co *co)
{
    return (struct mg_lua_run *)&co->run;
}

lua_State *mg_co_thread(struct mg_co *co)
{
    return co->thread;
}

uint64_t mg_co_cpu_us(const struct mg_co *co)
{
    return co->cpu_us;
}

void mg_co_pool_free(struct mg_lua *lua)
{
    struct mg_list *item;
    while ((item = mg_list_pop_front(&lua->co_pool)))
        mg_free(mg_container_of(item, struct mg_co, link));
    lua->co_pooled = 0;
}
