/* safe_lua.h - replacements for functions of the standard library that are not safe as they are. */
#ifndef MG_SCRIPT_SAFE_LUA_H
#define MG_SCRIPT_SAFE_LUA_H

#include "script/state.h"

/* table.sort(t, less): interruptible, n log n in the worst case, nests at most so deep. */
int mg_lua_sort(lua_State *L);

/* string.format: as stock, but tables, functions and userdata are printed by the function in upvalue
 * 2 (no addresses), and %p is refused. Upvalue 1 is the stock function. */
int mg_lua_format(lua_State *L);

#endif
