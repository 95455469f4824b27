/* pattern_lua.h - what moongate.re and moongate.text share: compiled sets as Lua values. */
#ifndef MG_SCRIPT_PATTERN_LUA_H
#define MG_SCRIPT_PATTERN_LUA_H

#include "script/args.h"
#include "script/patterns.h"

/* A class of userdata that modules hand out: its name in lua/meta and its methods. */
struct mg_lua_class {
    const char *name;                  /* "moongate.Regex" */
    const struct mg_lua_function *methods;       /* ends with name NULL */
    int meta;                          /* its metatable's place in the registry */
};

extern const struct mg_lua_class mg_lua_regex, mg_lua_redactor, mg_lua_matcher;

/* Compiles and pushes a value of the class, whose environment is the table on top of the stack (which it takes).
 * Raises "<what>: pattern 2: …". */
void mg_lua_push_patterns(lua_State *L, const struct mg_lua_class *class_, const char *what,
                          const struct mg_pattern *list, size_t count);

/* Argument 1, a value of that class; argument 2, a text: its regions, in a scratch buffer on top of the stack, which the
 * caller gives back. Returns NULL when the text is too large (and then nil and an error are on top: `return 2`). */
struct mg_buf *mg_lua_scan(lua_State *L, const struct mg_lua_class *class_, const char *what,
                                 enum mg_region_rule rule, size_t from, mg_view *out_text);

/* mg_patterns_pending() for the value at 1 and the text at 2; false: it cannot be told. */
bool mg_lua_pending(lua_State *L, const struct mg_lua_class *class_, const char *what, struct mg_buf *regions,
                    size_t *out_start);

/* The longest match of the value at 1; pushes nil when there is no bound. Returns 1. */
int mg_lua_max_length(lua_State *L, const struct mg_lua_class *class_, const char *what);

#endif
