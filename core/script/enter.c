#include "script/enter.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "io/loop.h"
#include "script/watchdog.h"

enum {
    FRAMES = 8,
    MOMENT_US = 100,
    SLOT_HANDLER = 0x6d670800,         /* in the registry, far from luaL_ref's numbers */
    SLOT_TRAMPOLINE = 0x6d670801,
};

static int on_error(lua_State *L);
static int run_body(lua_State *L);
static int describe(lua_State *L);
static void write_trace(struct mg_lua *lua, const char *message, lua_State *L, int level);
static enum mg_lua_end leave(struct mg_lua *lua, int status);

static void begin(struct mg_lua *lua, struct mg_lua_run *run)
{
    size_t room = run->instance ? run->instance->memory_bytes : 0;
    lua->run = run;
    lua->denied = false;
    lua->trace[0] = '\0';
    if (room)
        lua->limit_bytes = MG_MIN(lua->cap_bytes, lua->used_bytes + room);
}

enum mg_lua_end mg_lua_enter(struct mg_lua *lua, struct mg_lua_run *run, uint32_t budget_us, lua_CFunction body,
                             void *arg)
{
    if (lua->denied)                   /* what the last call left behind is in the way */
        lua_gc(lua->L, LUA_GCCOLLECT, 0);
    begin(lua, run);
    lua->body = body;
    lua->body_arg = arg;

    lua_settop(lua->L, MG_LUA_FLOOR);
    lua_pushvalue(lua->L, MG_LUA_TRAMPOLINE);
    mg_watchdog_enter(lua, budget_us);
    int status = lua_pcall(lua->L, 0, 0, MG_LUA_HANDLER);
    enum mg_lua_end end = leave(lua, status);
    lua_settop(lua->L, MG_LUA_FLOOR);
    return end;
}

enum mg_lua_end mg_lua_resume(struct mg_lua *lua, struct mg_lua_run *run, uint32_t budget_us, lua_State *thread,
                              int count)
{
    begin(lua, run);

    mg_watchdog_enter(lua, budget_us);
    int status = lua_resume(thread, count);
    if (status != 0 && status != LUA_YIELD) {
        lua_cpcall(lua->L, describe, thread);
        lua_settop(lua->L, MG_LUA_FLOOR);
    }
    return leave(lua, status);
}

/* The error of a dead coroutine; protected, because looking at a value may need stack. */
static int describe(lua_State *L)
{
    lua_State *thread = lua_touserdata(L, 1);
    luaL_checkstack(thread, 4, NULL);
    write_trace(mg_lua_of(L), mg_lua_error_text(thread, -1), thread, 0);
    return 0;
}

uint64_t mg_lua_took_us(struct mg_lua *lua, uint64_t began_us)
{
    uint64_t now_us = mg_mono_us(), took_us = now_us - began_us;
    if (lua->loop && took_us > MOMENT_US)
        lua->loop->now_us = now_us;
    return took_us;
}

/* What Lua caught does not count: a call that hit its deadline or cap has failed. */
static enum mg_lua_end leave(struct mg_lua *lua, int status)
{
    bool stopped = mg_watchdog_leave(lua);
    lua->run = NULL;
    lua->limit_bytes = lua->cap_bytes;
    lua->callback_depth = 0;
    if (stopped)
        return MG_LUA_OVERRAN;
    if (lua->denied || status == LUA_ERRMEM)
        return MG_LUA_STARVED;
    if (status == LUA_YIELD)
        return MG_LUA_YIELDED;
    if (status == 0)
        return MG_LUA_ENDED;
    if (status == LUA_ERRERR && lua->trace[0] == '\0')
        snprintf(lua->trace, sizeof(lua->trace), "error in error handling");
    return MG_LUA_RAISED;
}

void mg_lua_prepare(lua_State *L)
{
    lua_pushcfunction(L, on_error);
    lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_HANDLER);
    lua_pushcfunction(L, run_body);
    lua_rawseti(L, LUA_REGISTRYINDEX, SLOT_TRAMPOLINE);
}

/* Reading allocates nothing, so this needs no protection. */
bool mg_lua_settle(struct mg_lua *lua)
{
    lua_settop(lua->L, 0);
    lua_rawgeti(lua->L, LUA_REGISTRYINDEX, SLOT_HANDLER);
    lua_rawgeti(lua->L, LUA_REGISTRYINDEX, SLOT_TRAMPOLINE);
    return true;
}

static int run_body(lua_State *L)
{
    return mg_lua_of(L)->body(L);
}

/* Writes to a C buffer: it must not need memory when there is none. */
static int on_error(lua_State *L)
{
    write_trace(mg_lua_of(L), mg_lua_error_text(L, 1), L, 1);
    return 1;
}

static void write_trace(struct mg_lua *lua, const char *message, lua_State *L, int level)
{
    size_t size = sizeof(lua->trace);
    int at = snprintf(lua->trace, size, "%.600s", message);
    lua_Debug ar;

    for (int frames = 0; frames < FRAMES && lua_getstack(L, level, &ar); level++) {
        if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0 || strncmp(ar.short_src, "boot/", 5) == 0)
            continue;
        at += snprintf(lua->trace + at, size - (size_t)at, "\n  at %s:%d", ar.short_src, ar.currentline);
        if ((size_t)at >= size)
            break;
        frames++;
    }
}

const char *mg_lua_error_text(lua_State *L, int index)
{
    int type = lua_type(L, index);
    if (type == LUA_TSTRING)
        return lua_tostring(L, index);
    if (type != LUA_TTABLE)
        return lua_typename(L, type);

    /* A raw walk: lua_getfield would run an __index. No key is pushed, so that nothing allocates. */
    const char *text = "error value is a table";
    int table = index < 0 ? lua_gettop(L) + index + 1 : index;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        bool found = lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "message") == 0 &&
                     lua_type(L, -1) == LUA_TSTRING;
        if (found)
            text = lua_tostring(L, -1);
        lua_pop(L, found ? 2 : 1);
        if (found)
            break;
    }
    return text;
}

void mg_lua_fault_text(const struct mg_lua *lua, enum mg_lua_end end, char *out, size_t size)
{
    if (end == MG_LUA_OVERRAN)
        snprintf(out, size, "ran past its deadline%s%s", lua->where[0] ? " at " : "", lua->where);
    else if (end == MG_LUA_STARVED)
        snprintf(out, size, "ran out of memory");
    else
        snprintf(out, size, "%.*s", (int)strcspn(lua->trace, "\n"), lua->trace);
}
