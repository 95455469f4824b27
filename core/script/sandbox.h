/* sandbox.h - a Lua state ready for code: libraries, prelude, environments, loading text.
 *
 * Everything here but open and close runs inside a protected call and may raise. */
#ifndef MG_SCRIPT_SANDBOX_H
#define MG_SCRIPT_SANDBOX_H

#include "script/enter.h"

enum { MG_LUA_SETUP_US = 500000 };     /* CPU of a state's own preparation, of `new` and of a file's top level */

/* Fills `lua` (zeroed by the caller but for kind) with a state in which the prelude has run. In a
 * project state the JIT compiler is off and memory is charged to the project's account. */
MG_MUST_USE mg_err mg_sandbox_open(struct mg_lua *lua, const char *project, struct mg_diag *diag);
void mg_sandbox_close(struct mg_lua *lua);

/* Pushes the chunk of a text as a function. Raises "name:line: …" for syntax errors, bytecode and
 * number literals that would load the FFI. `name` begins with '@' or '='. */
void mg_sandbox_load(lua_State *L, mg_view text, const char *name);

/* Pushes a function of the prelude. */
void mg_sandbox_prelude(lua_State *L, const char *function);

/* The line of the first number literal such as 1LL, 2ULL or 3i in a Lua text; 0: there is none. */
int mg_sandbox_foreign_literal(mg_view text);

#endif
