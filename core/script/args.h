/* args.h - what every *_lua.c needs: arguments with good messages, option tables, scratch memory.
 *
 * `what` names function and argument as a plugin's author would: "moongate.kv.set: value". A mistake raises
 * "<file>:<line>: moongate.kv.set: value must be a string, got nil". Tables are read raw: no metamethod runs.
 * Everything here may raise; nothing here waits. */
#ifndef MG_SCRIPT_ARGS_H
#define MG_SCRIPT_ARGS_H

#include "base/buf.h"
#include "script/state.h"

/* Raises "<what> must be <expected>, got <what stands at index>". */
int mg_lua_bad(lua_State *L, int index, const char *what, const char *expected) __attribute__((noreturn));

/* Strings only: a number is not converted, so that the view is what stands in the stack slot. */
mg_view mg_lua_text(lua_State *L, int index, const char *what);
mg_view mg_lua_opt_text(lua_State *L, int index, const char *what, mg_view otherwise);   /* nil and absent */
double mg_lua_number(lua_State *L, int index, const char *what);         /* finite */
int64_t mg_lua_integer(lua_State *L, int index, const char *what, int64_t min, int64_t max);
bool mg_lua_boolean(lua_State *L, int index, const char *what);
void mg_lua_table(lua_State *L, int index, const char *what);

/* Option tables at `index`, a positive stack index. An absent field is nil. */
void mg_lua_field(lua_State *L, int index, const char *name);            /* pushes the field, or nil */
mg_view mg_lua_field_text(lua_State *L, int index, const char *name, const char *what, mg_view otherwise);
int64_t mg_lua_field_integer(lua_State *L, int index, const char *name, const char *what, int64_t min, int64_t max,
                             int64_t otherwise);
double mg_lua_field_number(lua_State *L, int index, const char *name, const char *what, double otherwise);
bool mg_lua_field_boolean(lua_State *L, int index, const char *name, const char *what, bool otherwise);

/* Raises for a key of the table that is not in the NULL-terminated list, and names the list. */
void mg_lua_only(lua_State *L, int index, const char *what, const char *const *names);

/* A buffer on top of the stack that the collector frees: safe to hold while something raises. Its bytes are not charged
 * to the state, so choose max well and give it back with mg_lua_scratch_end() on every way out that is not an error of
 * memory or time: where many stay behind, the next one runs the collector. */
struct mg_buf *mg_lua_scratch(lua_State *L, size_t max);
void mg_lua_scratch_end(struct mg_buf *scratch);

void mg_lua_push_view(lua_State *L, mg_view text);                       /* as a string; NULL is "" */

/* Raises "<what>: <the error's text>" unless err is MG_OK. For errors that are the plugin's own mistake. */
void mg_lua_check(lua_State *L, mg_err err, const char *what);

/* `return mg_lua_fail_err(L, err, "…")`: nil, {code, message, retryable} of an mg_err. */
int mg_lua_fail_err(lua_State *L, mg_err err, const char *what);

#endif
