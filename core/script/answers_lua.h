/* answers_lua.h - what routing policies, taxonomies and on_attempt return: Lua tables to C structs.
 *
 * All three check everything they read and raise one sentence that names the place, so a wrong
 * answer is a fault of the function that gave it. Strings are copied to the call's arena. */
#ifndef MG_SCRIPT_ANSWERS_LUA_H
#define MG_SCRIPT_ANSWERS_LUA_H

#include "script/state.h"

/* The table at `index` as a plan over these candidates; what it leaves out gets the workflow's and
 * the targets' own values. */
void mg_lua_read_plan(lua_State *L, int index, struct mg_call *call, const struct mg_candidate *candidates, int count,
                      struct mg_plan *out_plan);

/* The table at `index` as a verdict; omitted fields keep what *out_verdict holds for the class. */
void mg_lua_read_verdict(lua_State *L, int index, struct mg_call *call, const struct mg_attempt_facts *facts,
                         struct mg_verdict *out_verdict);

/* Adds the patch at `index` to *out_patch. */
void mg_lua_read_patch(lua_State *L, int index, struct mg_call *call, struct mg_attempt_patch *out_patch);

/* The JSON text of the object at `index`, in the call's arena; raises when it is no object. */
mg_view mg_lua_read_object(lua_State *L, int index, struct mg_call *call, const char *what);

#endif
