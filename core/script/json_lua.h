/* json_lua.h - JSON text to Lua values and back, for moongate.json and for the runtime's own needs. */
#ifndef MG_SCRIPT_JSON_LUA_H
#define MG_SCRIPT_JSON_LUA_H

#include "base/buf.h"
#include "script/state.h"

/* Pushes the value of a JSON document; raises when it is none. Empty text pushes nil. */
void mg_lua_push_json(lua_State *L, mg_view text);

/* For dialects, whose bytes must survive: a checked document in which the `raw` spans (in order, none inside another) stay
 * JSON text, as do numbers that a double does not hold; members that are null are left out. */
void mg_lua_push_json_exact(lua_State *L, mg_view text, const mg_view *raw, size_t raw_count);

/* A value that is written as this text, which must be JSON; and its text, a view as long as the value lives (empty: it is
 * something else). */
void mg_lua_push_raw_json(lua_State *L, mg_view text);
mg_view mg_lua_raw_json(lua_State *L, int index);

/* Appends the value at `index` as JSON. MG_E_BAD_REQUEST for what JSON cannot hold (functions,
 * cycles, mixed tables; *out_why says it, static text), MG_E_TOO_LARGE when `out` is full. Never
 * runs a metamethod and never raises. */
MG_MUST_USE mg_err mg_lua_put_json(lua_State *L, int index, struct mg_buf *out, const char **out_why);

/* The same into a scratch buffer of args.h; gives it back and raises "<what>: <why>" when it cannot. */
void mg_lua_must_json(lua_State *L, int index, struct mg_buf *scratch, const char *what);

#endif
