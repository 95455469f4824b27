/* enter.h - the doors from C into Lua. Every entry is protected, has a budget and leaves a clean state. */
#ifndef MG_SCRIPT_ENTER_H
#define MG_SCRIPT_ENTER_H

#include "script/state.h"

enum mg_lua_end {
    MG_LUA_ENDED,            /* body returned */
    MG_LUA_YIELDED,          /* mg_lua_resume() only */
    MG_LUA_RAISED,           /* an error; lua->trace says which and where */
    MG_LUA_OVERRAN,          /* deadline */
    MG_LUA_STARVED,          /* memory cap */
};

/* Calls body(L) on the main thread with an empty stack of its own; it finds `arg` in
 * mg_lua_of(L)->body_arg and may raise. Not reentrant. */
enum mg_lua_end mg_lua_enter(struct mg_lua *lua, struct mg_lua_run *run, uint32_t budget_us, lua_CFunction body,
                             void *arg);

/* Resumes a coroutine with its `count` topmost values. */
enum mg_lua_end mg_lua_resume(struct mg_lua *lua, struct mg_lua_run *run, uint32_t budget_us, lua_State *thread,
                              int count);

/* Microseconds since `began_us` (mg_mono_us). A stay of more than a moment also brings the loop's own time up to
 * date, so that timelines and timers do not miss it. */
uint64_t mg_lua_took_us(struct mg_lua *lua, uint64_t began_us);

/* Message handler of the main thread stands at this index of its stack; what mg_lua_enter() calls at
 * the next. mg_lua_prepare() makes both, in a protected call; mg_lua_settle() puts them there. */
enum { MG_LUA_HANDLER = 1, MG_LUA_TRAMPOLINE = 2, MG_LUA_FLOOR = 2 };
void mg_lua_prepare(lua_State *L);
bool mg_lua_settle(struct mg_lua *lua);          /* always true */

/* The first line of lua->trace, with the place where a runaway was stopped: for timeline notes. */
void mg_lua_fault_text(const struct mg_lua *lua, enum mg_lua_end end, char *out, size_t size);

/* An error value as text without running Lua code: strings and numbers as they are, a table's raw
 * `message`, else its type. Valid while the value is on the stack. Needs three free slots. */
const char *mg_lua_error_text(lua_State *L, int index);

#endif
