/* watchdog.h - ends Lua calls that run longer than they may.
 *
 *   worker   enter ── serial becomes odd ────────── Lua ─────────────── leave ── serial becomes even
 *   watchdog          sees the serial, notes the thread's CPU clock … budget used up: fire = serial,
 *                     SIGUSR1 to that thread
 *   handler                                          still the same serial? stop = 1, hook on
 *
 * The hook raises at every instruction until leave takes it off, so no pcall can swallow it. CPU
 * time is charged, not wall time; a call that does not overrun pays two stores. The thread looks every
 * 8 ms, every 0.5 ms while a call lasts or after one overran: the first runaway of a while is seen at
 * most 8 ms late. It sleeps while nobody is in Lua. */
#ifndef MG_SCRIPT_WATCHDOG_H
#define MG_SCRIPT_WATCHDOG_H

#include "script/state.h"

/* Once per process: handler and thread. MG_E_SYSTEM with diag. */
MG_MUST_USE mg_err mg_watchdog_start(struct mg_diag *diag);
void mg_watchdog_stop(void);                     /* no Lua may run any more */

/* Around every stay in Lua, on the thread that enters. Not reentrant. In trusted states an overrun
 * is only logged. */
void mg_watchdog_enter(struct mg_lua *lua, uint32_t budget_us);
/* True when the deadline passed; hook and stop are cleared. */
bool mg_watchdog_leave(struct mg_lua *lua);

/* Raises the deadline error; lua->stop is set. */
void mg_watchdog_raise(lua_State *L) __attribute__((noreturn));

#endif
