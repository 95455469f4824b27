/* co_run.h - the host's side of co.h: starting, cancelling and ending hooks that may wait.
 *
 * Coroutines are pooled per state. A step is one stay in Lua with a budget of its own; the wall clock
 * bounds the sum of all waits. Loop thread only. */
#ifndef MG_SCRIPT_CO_RUN_H
#define MG_SCRIPT_CO_RUN_H

#include "script/co.h"
#include "script/enter.h"

/* The run is over, exactly once. With MG_LUA_ENDED the results are on mg_co_thread(); else
 * lua->trace tells. The receiver ends with mg_co_release(). */
typedef void (*mg_co_cb)(void *arg, struct mg_co *co, enum mg_lua_end end);

struct mg_co_options {
    const struct mg_lua_run *run;      /* copied */
    lua_CFunction prepare;             /* pushes the function and its arguments; finds prepare_arg in body_arg */
    void *prepare_arg;
    uint32_t burst_us;                 /* CPU of one step */
    uint32_t wall_ms;                  /* all together; 0: no limit */
    mg_co_cb cb;
    void *arg;
};

/* Runs the first step; cb may be called before this returns. */
void mg_co_start(struct mg_lua *lua, const struct mg_co_options *options, struct mg_co **out_co);
void mg_co_release(struct mg_co *co, bool reuse);      /* reuse: it ended well, its coroutine goes to the pool */
/* Nobody wants the result: what it waits for is cancelled, no code of it runs any more, cb is not called. */
void mg_co_cancel(struct mg_co *co);

lua_State *mg_co_thread(struct mg_co *co);
uint64_t mg_co_cpu_us(const struct mg_co *co);         /* of all steps so far */
void mg_co_pool_free(struct mg_lua *lua);              /* before the state is closed */

#endif
