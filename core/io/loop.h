/* loop.h - one libuv loop with what every worker needs around it: a timer wheel, the time of this
 * turn, one read buffer, a mailbox other threads post to, and work put off to the end of the turn.
 *
 * Order within a turn: libuv's callbacks (I/O, mail, timers), then what was deferred, then the wait
 * for events. Except for mg_loop_post() and mg_loop_stop() everything is for the loop's own thread.
 */
#ifndef MG_IO_LOOP_H
#define MG_IO_LOOP_H

#include <stdatomic.h>
#include <uv.h>

#include "base/list.h"
#include "io/wheel.h"

enum { MG_LOOP_READ_BYTES = 65536 };

struct mg_tls_loop;     /* what io/tls.c keeps per loop */
struct mg_resolve_loop; /* what io/resolve.c keeps per loop */

/* A message to a loop, embedded in whatever it carries; the sender gives it away. */
struct mg_post {
    struct mg_post *next; /* the mailbox's */
    void (*run)(struct mg_post *post);
};

/* Work put off to the end of this turn. All zeros is not deferred. */
struct mg_defer {
    struct mg_list link; /* linked while deferred */
    void (*run)(struct mg_defer *defer);
};

struct mg_loop {
    uv_loop_t uv;
    struct mg_wheel wheel;
    uint64_t now_us;         /* time of this turn; 0 until somebody asks */
    uint64_t wake_us;        /* when `wake` fires; UINT64_MAX while it is stopped */
    char *read_buffer;       /* owned; MG_LOOP_READ_BYTES, filled by whichever stream reads now */
    struct mg_list deferred; /* struct mg_defer */
    _Atomic(struct mg_post *) posted; /* newest first */
    atomic_bool stopping;             /* mg_loop_stop() was called */
    uv_async_t mail;
    uv_timer_t wake;                 /* drives the wheel */
    uv_prepare_t turn;               /* runs what was deferred, forgets now_us */
    uv_idle_t busy;                  /* active while deferred work may not wait for an event */
    struct mg_tls_loop *tls;         /* owned; NULL until the first TLS stream */
    struct mg_resolve_loop *resolve; /* owned; NULL until the first lookup */
    void *owner; /* borrowed; the worker this loop belongs to, for its own use */
};

/* The first one makes the process ignore SIGPIPE. */
void mg_loop_init(struct mg_loop *loop);

/* Runs until mg_loop_stop(). May be called again, for instance to let closing streams finish. */
void mg_loop_run(struct mg_loop *loop);
void mg_loop_stop(struct mg_loop *loop); /* any thread; ends the current or the next run */

/* One turn: waits for an event at most max_wait_ms, and not at all when work was deferred. For
 * tests and for draining at the end. */
void mg_loop_turn(struct mg_loop *loop, uint64_t max_wait_ms);

/* Everything opened on the loop must be closed (it may still be closing); posted messages are run.
 * Waits for lookups that run in libuv's pool and asserts uv_loop_close() == 0. */
void mg_loop_fini(struct mg_loop *loop);

/* Monotonic microseconds, read once per turn. */
uint64_t mg_loop_now_us(struct mg_loop *loop);

/* Any thread, lock-free: post->run(post) is called on the loop; messages of one sender keep their
 * order. */
void mg_loop_post(struct mg_loop *loop, struct mg_post *post);

/* Loop thread: run(defer) before the loop waits again. Cancelling what is not deferred is harmless.
 */
void mg_loop_defer(struct mg_loop *loop, struct mg_defer *defer,
                   void (*run)(struct mg_defer *defer));
void mg_loop_defer_cancel(struct mg_defer *defer);

/* Overwrites what streams of this loop received last. Not from inside on_data. */
void mg_loop_wipe_reads(struct mg_loop *loop);

/* Arms or re-arms a timer delay_ms from the time of this turn; costs no system call. */
void mg_timer_start(struct mg_loop *loop, struct mg_timer *timer, uint64_t delay_ms,
                    mg_timer_cb cb);
void mg_timer_cancel(struct mg_loop *loop, struct mg_timer *timer); /* harmless when disarmed */

#endif
