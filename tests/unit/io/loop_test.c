#include "io/loop.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "check.h"

enum { SENDERS = 4, MESSAGES = 5000 };

struct letter {
    struct mg_post post;
    int sender;
    int number;
};

static struct mg_loop loop;
static int next_of[SENDERS];
static int arrived;

static void on_letter(struct mg_post *post)
{
    struct letter *letter = mg_container_of(post, struct letter, post);
    if (next_of[letter->sender] != letter->number)
        arrived = -1000000;
    next_of[letter->sender]++;
    mg_free(letter);
    if (++arrived == SENDERS * MESSAGES)
        mg_loop_stop(&loop);
}

static void *send_letters(void *arg)
{
    for (int i = 0; i < MESSAGES; i++) {
        struct letter *letter = mg_new(struct letter);
        letter->post.run = on_letter;
        letter->sender = (int)(intptr_t)arg;
        letter->number = i;
        mg_loop_post(&loop, &letter->post);
    }
    return NULL;
}

TEST(messages_of_each_thread_arrive_once_and_in_order)
{
    pthread_t threads[SENDERS];
    mg_loop_init(&loop);
    arrived = 0;
    memset(next_of, 0, sizeof(next_of));
    for (intptr_t i = 0; i < SENDERS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, send_letters, (void *)i), 0);

    mg_loop_run(&loop);

    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(arrived, SENDERS * MESSAGES);
    mg_loop_fini(&loop);
}

static void *stop_it(void *arg)
{
    mg_loop_stop(arg);
    return NULL;
}

TEST(another_thread_can_stop_a_loop_that_waits_for_events)
{
    pthread_t thread;
    mg_loop_init(&loop);
    CHECK_INT(pthread_create(&thread, NULL, stop_it, &loop), 0);

    mg_loop_run(&loop);

    pthread_join(thread, NULL);
    mg_loop_fini(&loop);
}

TEST(posted_messages_are_run_even_when_the_loop_never_ran)
{
    mg_loop_init(&loop);
    arrived = 0;
    memset(next_of, 0, sizeof(next_of));
    struct letter *letter = mg_new(struct letter);
    letter->post.run = on_letter;

    mg_loop_post(&loop, &letter->post);
    mg_loop_fini(&loop);

    CHECK_INT(arrived, 1);
}

struct chain {
    struct mg_defer defer;
    int runs;
    int wanted;
};

static void on_defer(struct mg_defer *defer)
{
    struct chain *chain = mg_container_of(defer, struct chain, defer);
    if (++chain->runs < chain->wanted)
        mg_loop_defer(&loop, defer, on_defer);
}

TEST(deferred_work_that_defers_again_never_waits_for_an_event)
{
    struct chain chain = {.wanted = 100};
    mg_loop_init(&loop);
    mg_loop_defer(&loop, &chain.defer, on_defer);
    mg_loop_defer(&loop, &chain.defer, on_defer);

    for (int turns = 0; chain.runs < 100; turns++) {
        CHECK(turns < 100);
        mg_loop_turn(&loop, 10000);
    }

    CHECK_INT(chain.runs, 100);
    mg_loop_fini(&loop);
}

TEST(cancelled_deferred_work_does_not_run)
{
    struct chain chain = {.wanted = 1};
    mg_loop_init(&loop);
    mg_loop_defer_cancel(&chain.defer);
    mg_loop_defer(&loop, &chain.defer, on_defer);
    mg_loop_defer_cancel(&chain.defer);

    mg_loop_turn(&loop, 0);

    CHECK_INT(chain.runs, 0);
    mg_loop_fini(&loop);
}

struct alarm {
    struct mg_timer timer;
    uint64_t fired_us;
};

static void on_alarm(struct mg_timer *timer)
{
    struct alarm *alarm = mg_container_of(timer, struct alarm, timer);
    alarm->fired_us = mg_loop_now_us(&loop);
}

TEST(a_timer_wakes_the_loop_in_time)
{
    struct alarm alarm = {0};
    mg_loop_init(&loop);
    uint64_t started_us = mg_loop_now_us(&loop);
    mg_timer_start(&loop, &alarm.timer, 20, on_alarm);
    CHECK(uv_is_active((uv_handle_t *)&loop.wake));

    while (!alarm.fired_us)
        mg_loop_turn(&loop, 1000);

    CHECK(alarm.fired_us >= started_us + 20000);
    CHECK(!uv_is_active((uv_handle_t *)&loop.wake));
    mg_loop_fini(&loop);
}

TEST(the_libuv_timer_runs_only_while_something_is_armed)
{
    struct alarm alarm = {0};
    mg_loop_init(&loop);

    CHECK(!uv_is_active((uv_handle_t *)&loop.wake));
    mg_timer_start(&loop, &alarm.timer, 1000, on_alarm);
    CHECK(uv_is_active((uv_handle_t *)&loop.wake));
    mg_timer_cancel(&loop, &alarm.timer);
    CHECK(!uv_is_active((uv_handle_t *)&loop.wake));

    mg_loop_fini(&loop);
}

TEST(timers_follow_the_fake_clock)
{
    struct alarm alarm = {0};
    mg_clock_fake(1000000);
    mg_loop_init(&loop);
    mg_timer_start(&loop, &alarm.timer, 60000, on_alarm);

    mg_wheel_advance(&loop.wheel, 60999999);
    CHECK(!alarm.fired_us);
    mg_wheel_advance(&loop.wheel, 61000000);

    CHECK(alarm.fired_us);
    mg_clock_fake(0);
    mg_loop_fini(&loop);
}

TEST(time_stands_still_within_a_turn_and_moves_between_turns)
{
    mg_clock_fake(5000000);
    mg_loop_init(&loop);

    CHECK_INT(mg_loop_now_us(&loop), 5000000);
    mg_clock_fake(6000000);
    CHECK_INT(mg_loop_now_us(&loop), 5000000);
    mg_loop_turn(&loop, 0);
    CHECK_INT(mg_loop_now_us(&loop), 6000000);

    mg_clock_fake(0);
    mg_loop_fini(&loop);
}

MG_TEST_MAIN()
