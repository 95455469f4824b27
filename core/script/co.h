/* co.h - waiting in Lua: one primitive under every function marked `~`.
 *
 * A module's C function copies its arguments into an operation on the C heap, which embeds a
 * `struct mg_wait`, and ends with `return mg_co_wait(L, &op->wait)`. The coroutine yields, the
 * tagged yield travels up through whatever coroutines the plugin has made, and only then is
 * `start` called. When the work is done the operation calls mg_co_done(); `push` puts the results
 * on a stack (protected, it may raise) and the coroutine goes on as if the function had returned.
 *
 *     created ─ mg_co_wait ─▶ waiting ─ start ─▶ running ─ mg_co_done ─▶ push ─▶ free
 *                                │                   └── cancel ───────────────▶ free
 *                                └─ the yield never arrived (raised on the way) ─▶ free
 *
 * From mg_co_wait() on the operation belongs to co.c: `free` is called exactly once, on every path,
 * and is the last touch. Loop thread only. */
#ifndef MG_SCRIPT_CO_H
#define MG_SCRIPT_CO_H

#include "script/state.h"

/* Its address tags the yields of mg_co_wait(); Lua code never sees it. */
extern const char mg_co_tag[];

struct mg_wait {
    void (*start)(struct mg_wait *wait, struct mg_loop *loop);   /* arm; must not call mg_co_done() inline */
    void (*cancel)(struct mg_wait *wait);        /* running → stop; mg_co_done() must not come any more */
    int (*push)(struct mg_wait *wait, lua_State *L);   /* pushes the results, returns their count */
    void (*free)(struct mg_wait *wait);          /* the operation's memory; may outlive it internally */
    struct mg_co *co;                            /* set by mg_co_wait() */
    bool running;                                /* start was called */
};

/* `return mg_co_wait(L, &op->wait);` Raises (after freeing the operation) where waiting is impossible:
 * in a sort or gsub callback, or in a hook that may not wait. */
int mg_co_wait(lua_State *L, struct mg_wait *wait);

/* The operation is over; resumes the coroutine. Never from inside `start`. */
void mg_co_done(struct mg_wait *wait);

/* The run that waits, for bookkeeping in start, push and cancel (http_parallel …). */
struct mg_lua_run *mg_co_run(const struct mg_co *co);

#endif
