/* alloc.h - the allocator of Lua states: capped per state and per project.
 *
 * A refusal sets `denied` in the state, because Lua code can catch the error and go on. A state
 * takes its project's bytes in steps of 64 KiB, so the shared counter is touched rarely. */
#ifndef MG_SCRIPT_ALLOC_H
#define MG_SCRIPT_ALLOC_H

#include "script/state.h"

/* The account of a project, made on first use and shared by name. Any thread. */
struct mg_account *mg_account_ref(const char *project);
void mg_account_unref(struct mg_account *account);           /* NULL is a no-op */
size_t mg_account_used(const struct mg_account *account);    /* bytes reserved by all its states */

/* A new empty lua_State on the allocator; NULL when even that is refused. lua->account and cap_bytes
 * are set by the caller before. */
lua_State *mg_lua_new_state(struct mg_lua *lua);
void mg_lua_close_state(struct mg_lua *lua);                 /* harmless when there is none */

#endif
