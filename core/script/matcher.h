/* matcher.h - string.find, match, gmatch and gsub that a deadline can interrupt.
 *
 * The same language and results as the stock functions (fuzzed against them); every 1,024 steps it
 * looks whether the call must stop, and its buffers are Lua memory, so that they count. */
#ifndef MG_SCRIPT_MATCHER_H
#define MG_SCRIPT_MATCHER_H

#include "script/state.h"

int mg_lua_find(lua_State *L);
int mg_lua_match(lua_State *L);
int mg_lua_gmatch(lua_State *L);
int mg_lua_gsub(lua_State *L);

#endif
