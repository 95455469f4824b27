/* LuaJITs from September 2021 to April 2022 (Debian 12 has one) sometimes cut the pointer that a compiled next() returns
 * to 32 bits: LuaJIT issue 829. The mistake is in the code for the fast function `next` alone, called or in a loop over
 * pairs(), and no option of jit.opt is about it. So trusted states get a `next` and a `pairs` of our own: a C function
 * like any other, which traces leave and come back from. */
#include "script/compiler.h"

#include <luajit.h>

static int own_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (lua_next(L, 1))
        return 2;
    lua_pushnil(L);
    return 1;
}

/* pairs(table): `next`, table, nil */
static int own_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

void mg_lua_compiler_on(lua_State *L)
{
    lua_pushcfunction(L, luaopen_jit);               /* switches it on; its table is not handed out */
    lua_pushliteral(L, LUA_JITLIBNAME);
    lua_call(L, 1, 0);
    lua_pushcfunction(L, own_next);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "next");
    lua_pushcclosure(L, own_pairs, 1);
    lua_setglobal(L, "pairs");
}

void mg_lua_compiler_off(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
}
