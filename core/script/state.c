#include "script/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "script/watchdog.h"

static int call_checked(lua_State *L);
static int refuse_phase(lua_State *L, const struct mg_lua_function *function, enum mg_lua_phase phase);
static bool granted(const struct mg_instance *instance, const char *kind, const char *value);

const char *mg_lua_phase_name(enum mg_lua_phase phase)
{
    static const char *const names[] = {
#define X(name) #name,
        MG_LUA_PHASE_LIST(X)
#undef X
    };
    return names[phase];
}

struct mg_lua *mg_lua_of(lua_State *L)
{
    void *lua;
    lua_getallocf(L, &lua);
    return lua;
}

void mg_lua_poll(lua_State *L)
{
    if (mg_lua_of(L)->stop)
        mg_watchdog_raise(L);
}

void mg_lua_push_function(lua_State *L, const struct mg_lua_function *function)
{
    lua_pushlightuserdata(L, (void *)function);
    lua_pushcclosure(L, call_checked, 1);
}

/* Runs before every function of the API. */
static int call_checked(lua_State *L)
{
    const struct mg_lua_function *function = lua_touserdata(L, lua_upvalueindex(1));
    const struct mg_lua_run *run = mg_lua_of(L)->run;

    if (run && !(function->phases & (1u << run->phase)))
        return refuse_phase(L, function, run->phase);
    if (function->permission)
        mg_lua_need(L, function->name, function->permission, NULL);
    return function->fn(L);
}

static int refuse_phase(lua_State *L, const struct mg_lua_function *function, enum mg_lua_phase phase)
{
    if (function->waits)
        return luaL_error(L, "%s waits, and %s may not wait", function->name, mg_lua_phase_name(phase));
    return luaL_error(L, "%s cannot be called in %s", function->name, mg_lua_phase_name(phase));
}

bool mg_lua_may(const struct mg_lua *lua, const char *kind, const char *value)
{
    const struct mg_instance *instance = lua->run ? lua->run->instance : NULL;
    if (lua->kind == MG_LUA_TRUSTED)
        return true;
    if (!instance)
        return false;
    if (instance->inline_code && strcmp(kind, "net") != 0 && strcmp(kind, "secret") != 0)
        return true;
    return granted(instance, kind, value);
}

static bool granted(const struct mg_instance *instance, const char *kind, const char *value)
{
    size_t len = strlen(kind);
    for (size_t i = 0; instance->grants && instance->grants[i]; i++) {
        const char *grant = instance->grants[i];
        if (strncmp(grant, kind, len) != 0 || (grant[len] != ':' && grant[len] != '\0'))
            continue;
        /* "kv" covers every value; "net:x" covers x, and the question whether there is any. */
        if (!value || grant[len] == '\0' || strcmp(grant + len + 1, value) == 0)
            return true;
    }
    return false;
}

void mg_lua_need(lua_State *L, const char *what, const char *kind, const char *value)
{
    struct mg_lua *lua = mg_lua_of(L);
    if (mg_lua_may(lua, kind, value))
        return;
    const struct mg_instance *instance = lua->run ? lua->run->instance : NULL;
    const char *colon = value ? ":" : "";
    luaL_error(L, "%s needs the permission %s%s%s: add grant = { \"%s%s%s\" } to %s", what, kind, colon,
               value ? value : "", kind, colon, value ? value : "", instance ? instance->name : "the plugin");
}

int mg_lua_fail(lua_State *L, const char *code, bool retryable, const char *fmt, ...)
{
    va_list args;
    char message[512];                 /* Lua's own formatting knows but a few conversions */
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    lua_pushnil(L);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
    lua_pushboolean(L, retryable);
    lua_setfield(L, -2, "retryable");
    return 2;
}

/* The C stack grows down, so a level that is still alive stands above the new one. */
void mg_lua_callback_enter(lua_State *L, void *frame)
{
    struct mg_lua *lua = mg_lua_of(L);
    while (lua->callback_depth > 0 && (char *)lua->callback_frames[lua->callback_depth - 1] <= (char *)frame)
        lua->callback_depth--;
    if (lua->callback_depth >= MG_MAX_LUA_CALLBACK_DEPTH)
        luaL_error(L, "callbacks of gsub, sort and format nest deeper than %d", (int)MG_MAX_LUA_CALLBACK_DEPTH);
    lua->callback_frames[lua->callback_depth++] = frame;
}

void mg_lua_callback_leave(lua_State *L)
{
    mg_lua_of(L)->callback_depth--;
}

/* --- outcomes -------------------------------------------------------------------------------- */

static const char outcome_type[] = "moongate.Outcome";

void mg_lua_push_outcome(lua_State *L, const struct mg_hook_outcome *outcome)
{
    struct mg_hook_outcome *copy = lua_newuserdata(L, sizeof(*copy));
    *copy = *outcome;
    if (luaL_newmetatable(L, outcome_type)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

const struct mg_hook_outcome *mg_lua_outcome(lua_State *L, int index)
{
    void *value = lua_touserdata(L, index);
    if (!value || lua_islightuserdata(L, index) || !lua_getmetatable(L, index))
        return NULL;
    luaL_getmetatable(L, outcome_type);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? value : NULL;
}
