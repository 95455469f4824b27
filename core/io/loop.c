#include "io/loop.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop_parts.h"

static void on_mail(uv_async_t *mail);
static void on_wake(uv_timer_t *wake);
/* An attempt that ends defers its end, which defers the relay's, which defers the exchange's recycling: rounds spare each
 * of them a poll. */
enum { DEFER_ROUNDS = 8 };

static void on_turn(uv_prepare_t *turn);
static void on_busy(uv_idle_t *busy);
static void run_posted(struct mg_loop *loop);
static void run_deferred(struct mg_loop *loop);
static void set_wake(struct mg_loop *loop, uint64_t due_us);
static void wait_for_closing(struct mg_loop *loop);
static void close_own(struct mg_loop *loop);

static void must(int uv_result)
{
    assert(uv_result == 0);
    (void)uv_result;
}

/* A peer that left would otherwise end the process at our next write to it. */
static void ignore_sigpipe(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
}

void mg_loop_init(struct mg_loop *loop)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, ignore_sigpipe);
    memset(loop, 0, sizeof(*loop));
    mg_wheel_init(&loop->wheel, mg_mono_us());
    mg_list_init(&loop->deferred);
    loop->wake_us = UINT64_MAX;
    loop->read_buffer = mg_alloc(MG_LOOP_READ_BYTES);
    must(uv_loop_init(&loop->uv));
    must(uv_async_init(&loop->uv, &loop->mail, on_mail));
    must(uv_timer_init(&loop->uv, &loop->wake));
    must(uv_prepare_init(&loop->uv, &loop->turn));
    must(uv_idle_init(&loop->uv, &loop->busy));
    must(uv_prepare_start(&loop->turn, on_turn));
}

void mg_loop_run(struct mg_loop *loop)
{
    loop->now_us = 0;
    while (!atomic_exchange(&loop->stopping, false))
        uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void mg_loop_stop(struct mg_loop *loop)
{
    atomic_store(&loop->stopping, true);
    must(uv_async_send(&loop->mail));
}

static void nap_over(struct mg_timer *timer)
{
    (void)timer;
}

void mg_loop_turn(struct mg_loop *loop, uint64_t max_wait_ms)
{
    struct mg_timer nap = {0};
    bool wait = max_wait_ms > 0 && mg_list_empty(&loop->deferred);
    loop->now_us = 0;
    if (wait)
        mg_timer_start(loop, &nap, max_wait_ms, nap_over);
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    mg_timer_cancel(loop, &nap);
}

void mg_loop_fini(struct mg_loop *loop)
{
    wait_for_closing(loop);
    mg_resolve_loop_fini(loop);
    mg_stream_loop_fini(loop);
    assert(loop->wheel.armed == 0);
    close_own(loop);
    must(uv_loop_close(&loop->uv));
    mg_free(loop->read_buffer);
}

void mg_loop_wipe_reads(struct mg_loop *loop)
{
    mg_wipe(loop->read_buffer, MG_LOOP_READ_BYTES);
    mg_stream_loop_wipe(loop);
}

uint64_t mg_loop_now_us(struct mg_loop *loop)
{
    if (!loop->now_us)
        loop->now_us = mg_mono_us();
    return loop->now_us;
}

void mg_loop_post(struct mg_loop *loop, struct mg_post *post)
{
    post->next = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&loop->posted, &post->next, post,
                                                  memory_order_release, memory_order_relaxed))
        continue;
    /* Not `post->next`: the loop may have run and freed the message by now. */
    must(uv_async_send(&loop->mail));
}

void mg_loop_defer(struct mg_loop *loop, struct mg_defer *defer,
                   void (*run)(struct mg_defer *defer))
{
    defer->run = run;
    if (defer->link.next && !mg_list_empty(&defer->link))
        return;
    mg_list_push_back(&loop->deferred, &defer->link);
}

void mg_loop_defer_cancel(struct mg_defer *defer)
{
    if (defer->link.next)
        mg_list_remove(&defer->link);
}

void mg_timer_start(struct mg_loop *loop, struct mg_timer *timer, uint64_t delay_ms, mg_timer_cb cb)
{
    uint64_t now_us = mg_loop_now_us(loop);
    mg_wheel_start(&loop->wheel, timer, now_us, now_us + delay_ms * 1000, cb);
    uint64_t due_us = timer->tick * MG_WHEEL_SLOT_US;
    if (due_us < loop->wake_us)
        set_wake(loop, due_us);
}

void mg_timer_cancel(struct mg_loop *loop, struct mg_timer *timer)
{
    mg_wheel_cancel(&loop->wheel, timer);
    if (loop->wheel.armed == 0)
        set_wake(loop, UINT64_MAX);
}

/* libuv counts whole milliseconds from a time it cut down to one, so one more keeps us from waking
 * too early. */
static void set_wake(struct mg_loop *loop, uint64_t due_us)
{
    if (due_us == loop->wake_us)
        return;
    loop->wake_us = due_us;
    if (due_us == UINT64_MAX) {
        uv_timer_stop(&loop->wake);
        return;
    }
    uint64_t now_us = mg_loop_now_us(loop);
    uint64_t delay_ms = due_us > now_us ? (due_us - now_us) / 1000 + 1 : 0;
    must(uv_timer_start(&loop->wake, on_wake, delay_ms, 0));
}

static void on_wake(uv_timer_t *wake)
{
    struct mg_loop *loop = mg_container_of(wake, struct mg_loop, wake);
    loop->wake_us = UINT64_MAX;
    loop->now_us = mg_mono_us();
    mg_wheel_advance(&loop->wheel, loop->now_us);
    set_wake(loop, mg_wheel_next_us(&loop->wheel));
}

static void on_mail(uv_async_t *mail)
{
    struct mg_loop *loop = mg_container_of(mail, struct mg_loop, mail);
    run_posted(loop);
    if (atomic_load(&loop->stopping))
        uv_stop(&loop->uv);
}

static void run_posted(struct mg_loop *loop)
{
    struct mg_post *newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
    struct mg_post *oldest = NULL;
    while (newest) {
        struct mg_post *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct mg_post *post = oldest;
        oldest = post->next;
        post->run(post);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    struct mg_loop *loop = mg_container_of(turn, struct mg_loop, turn);
    for (int round = 0; round < DEFER_ROUNDS && !mg_list_empty(&loop->deferred); round++)
        run_deferred(loop);
    if (!mg_list_empty(&loop->deferred))
        must(uv_idle_start(&loop->busy, on_busy));
    else if (uv_is_active((uv_handle_t *)&loop->busy))
        uv_idle_stop(&loop->busy);
    loop->now_us = 0;
}

/* Being active is all it is for: libuv does not wait for events meanwhile. */
static void on_busy(uv_idle_t *busy)
{
    (void)busy;
}

/* What is deferred by these waits for the next round, and after DEFER_ROUNDS for the next turn, so that nobody can keep
 * the loop from its I/O. */
static void run_deferred(struct mg_loop *loop)
{
    struct mg_list batch;
    mg_list_init(&batch);
    for (struct mg_list *item; (item = mg_list_pop_front(&loop->deferred));)
        mg_list_push_back(&batch, item);
    for (struct mg_list *item; (item = mg_list_pop_front(&batch));) {
        struct mg_defer *defer = mg_container_of(item, struct mg_defer, link);
        defer->run(defer);
    }
}

struct census {
    struct mg_loop *loop;
    int closing; /* handles that are not the loop's own and still close */
};

static void count_foreign(uv_handle_t *handle, void *arg)
{
    struct census *census = arg;
    struct mg_loop *loop = census->loop;
    if (handle == (uv_handle_t *)&loop->mail || handle == (uv_handle_t *)&loop->wake ||
        handle == (uv_handle_t *)&loop->turn || handle == (uv_handle_t *)&loop->busy)
        return;
    if (!uv_is_closing(handle))
        mg_log_error("loop_leaks_handle", "type=%s",
                     uv_handle_type_name(uv_handle_get_type(handle)));
    assert(uv_is_closing(handle));
    census->closing++;
}

/* Closing handles call back, and those callbacks may post, defer and close more. */
static void wait_for_closing(struct mg_loop *loop)
{
    struct census census;
    do {
        run_posted(loop);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
        census = (struct census){.loop = loop};
        uv_walk(&loop->uv, count_foreign, &census);
    } while (census.closing > 0 || !mg_list_empty(&loop->deferred) || atomic_load(&loop->posted));
}

static void close_own(struct mg_loop *loop)
{
    uv_close((uv_handle_t *)&loop->mail, NULL);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->turn, NULL);
    uv_close((uv_handle_t *)&loop->busy, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}
