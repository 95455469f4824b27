/* compiler.h - LuaJIT's compiler, for trusted states only. */
#ifndef MG_SCRIPT_COMPILER_H
#define MG_SCRIPT_COMPILER_H

#include "script/state.h"

/* Switches it on in a fresh state whose base library is open, and keeps from it what it compiles wrongly
 * (docs/decisions/0013). May raise. */
void mg_lua_compiler_on(lua_State *L);
void mg_lua_compiler_off(lua_State *L);

#endif
