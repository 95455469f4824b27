#include "relay/gate.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "check.h"

enum { WAITS = 64 };

static struct mg_loop loop;
static struct mg_gate *gate;
static struct mg_gate_wait waits[WAITS];
static int called[WAITS];              /* when its callback came: 1 is the first; 0: it did not */
static bool entered[WAITS];
static int calls;

static struct mg_gate *gate_of(const char *name)
{
    return mg_gate_find(MG_VIEW("test"), mg_view_cstr(name));
}

static void begin(const char *name)
{
    gate = gate_of(name);
    mg_loop_init(&loop);
    memset(waits, 0, sizeof waits);
    memset(called, 0, sizeof called);
    memset(entered, 0, sizeof entered);
    calls = 0;
}

static void end(void)
{
    mg_loop_fini(&loop);
}

static void on_place(struct mg_gate_wait *wait, bool got)
{
    CHECK(called[wait - waits] == 0);
    called[wait - waits] = ++calls;
    entered[wait - waits] = got;
}

static bool wait_for(int i, const struct mg_config_gate *rules, int share, uint64_t ms)
{
    return mg_gate_wait(gate, rules, share, &loop, &waits[i], mg_loop_now_us(&loop) + ms * 1000, on_place);
}

static void turns_until(int count)
{
    for (int i = 0; i < 1000 && calls < count; i++)
        mg_loop_turn(&loop, 10);
    CHECK_INT(calls, count);
}

static struct mg_gate_view view(const struct mg_config_gate *rules)
{
    struct mg_gate_view out;
    mg_gate_read(gate, rules, &out);
    return out;
}

static void leave(const struct mg_config_gate *rules, int share)
{
    mg_gate_leave(gate, rules, share, 0, true, 0);
}

/* ---- places ------------------------------------------------------------------------------------- */

TEST(no_more_than_max_are_in_at_once)
{
    struct mg_config_gate rules = {.max = 3};
    gate = gate_of("max");

    for (int i = 0; i < 3; i++)
        CHECK(mg_gate_enter(gate, &rules, 0));
    CHECK(!mg_gate_enter(gate, &rules, 0));
    CHECK_INT(view(&rules).inflight, 3);
    CHECK_INT(view(&rules).limit, 3);
    leave(&rules, 0);

    CHECK(mg_gate_enter(gate, &rules, 0));
    CHECK(!mg_gate_enter(gate, &rules, 0));
}

TEST(without_max_or_without_a_row_nothing_is_capped)
{
    struct mg_config_gate rules = {.max = 0};
    gate = gate_of("none");

    for (int i = 0; i < 1000; i++)
        CHECK(mg_gate_enter(gate, &rules, 0));
    CHECK_INT(view(&rules).limit, 0);
    CHECK(mg_gate_enter(NULL, &rules, 0));
    mg_gate_leave(NULL, &rules, 0, 1, true, 1);
    CHECK_INT(mg_gate_share(NULL, MG_VIEW("p"), 1), 0);
    CHECK(!mg_gate_wait(NULL, &rules, 0, &loop, &waits[0], 1, on_place));
    gate = NULL;
    CHECK_INT(view(&rules).inflight, 0);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

static void on_ignored(struct mg_gate_wait *wait, bool got)
{
    (void)wait;
    (void)got;
}

TEST(a_worker_lets_no_more_wait_than_it_has_room_for_whatever_the_queue)
{
    struct mg_config_gate rules = {.max = 1, .queue = 2 * MG_MAX_GATE_WAITERS};
    struct mg_gate_wait *many = mg_new_array(struct mg_gate_wait, MG_MAX_GATE_WAITERS + 1);
    begin("crowd");
    uint64_t until_us = mg_loop_now_us(&loop) + 60000000;
    CHECK(mg_gate_enter(gate, &rules, 0));
    for (int i = 0; i < MG_MAX_GATE_WAITERS; i++)
        CHECK(mg_gate_wait(gate, &rules, 0, &loop, &many[i], until_us, on_ignored));
    CHECK(!mg_gate_wait(gate, &rules, 0, &loop, &many[MG_MAX_GATE_WAITERS], until_us, on_ignored));
    mg_gate_cancel(&many[7]);          /* who leaves makes room */
    CHECK(mg_gate_wait(gate, &rules, 0, &loop, &many[MG_MAX_GATE_WAITERS], until_us, on_ignored));
    CHECK_INT(view(&rules).waiting, MG_MAX_GATE_WAITERS);
    for (int i = 0; i <= MG_MAX_GATE_WAITERS; i++)
        mg_gate_cancel(&many[i]);
    CHECK_INT(view(&rules).waiting, 0);
    leave(&rules, 0);
    end();
    mg_free(many);
}

TEST(places_are_given_in_order_of_arrival_and_never_inline)
{
    struct mg_config_gate rules = {.max = 1, .queue = 10};
    begin("order");
    CHECK(mg_gate_enter(gate, &rules, 0));
    for (int i = 0; i < 3; i++)
        CHECK(wait_for(i, &rules, 0, 60000));
    CHECK_INT(view(&rules).waiting, 3);

    for (int i = 0; i < 3; i++) {
        leave(&rules, 0);
        CHECK_INT(calls, i);
        CHECK_INT(view(&rules).inflight, 1);
        mg_loop_turn(&loop, 0);
        CHECK_INT(called[i], i + 1);
        CHECK(entered[i]);
    }

    leave(&rules, 0);
    CHECK_INT(view(&rules).inflight, 0);
    CHECK_INT(view(&rules).waiting, 0);
    end();
}

TEST(a_place_that_is_free_is_given_but_not_from_inside_the_call)
{
    struct mg_config_gate rules = {.max = 1, .queue = 10};
    begin("free");

    CHECK(wait_for(0, &rules, 0, 60000));
    CHECK_INT(calls, 0);
    mg_loop_turn(&loop, 0);

    CHECK(entered[0]);
    leave(&rules, 0);
    end();
}

TEST(a_newcomer_does_not_pass_those_who_wait)
{
    struct mg_config_gate rules = {.max = 2, .queue = 10};
    begin("newcomer");
    CHECK(mg_gate_enter(gate, &rules, 0) && mg_gate_enter(gate, &rules, 0));
    CHECK(wait_for(0, &rules, 0, 60000));
    CHECK(wait_for(1, &rules, 0, 60000));

    leave(&rules, 0);
    CHECK(!mg_gate_enter(gate, &rules, 0));
    leave(&rules, 0);
    turns_until(2);

    CHECK(entered[0] && entered[1]);
    leave(&rules, 0);
    leave(&rules, 0);
    end();
}

TEST(a_full_queue_turns_away)
{
    struct mg_config_gate rules = {.max = 1, .queue = 2}, none = {.max = 1, .queue = 0};
    begin("queue");
    CHECK(mg_gate_enter(gate, &rules, 0));

    CHECK(wait_for(0, &rules, 0, 60000));
    CHECK(wait_for(1, &rules, 0, 60000));
    CHECK(!wait_for(2, &rules, 0, 60000));
    CHECK(!wait_for(2, &none, 0, 60000));

    mg_gate_cancel(&waits[0]);
    mg_gate_cancel(&waits[1]);
    mg_gate_cancel(&waits[2]);
    CHECK_INT(view(&rules).waiting, 0);
    leave(&rules, 0);
    end();
}

TEST(who_waits_too_long_is_told_so)
{
    struct mg_config_gate rules = {.max = 1, .queue = 10};
    begin("late");
    CHECK(mg_gate_enter(gate, &rules, 0));

    CHECK(wait_for(0, &rules, 0, 15));
    CHECK(wait_for(1, &rules, 0, 0));
    turns_until(2);

    CHECK(called[1] == 1 && !entered[0] && !entered[1]);
    CHECK_INT(view(&rules).waiting, 0);
    CHECK_INT(view(&rules).inflight, 1);
    leave(&rules, 0);
    end();
}

TEST(cancelling_gives_back_a_place_that_was_given)
{
    struct mg_config_gate rules = {.max = 1, .queue = 10};
    begin("cancel");
    CHECK(mg_gate_enter(gate, &rules, 0));
    CHECK(wait_for(0, &rules, 0, 60000));
    CHECK(wait_for(1, &rules, 0, 60000));

    leave(&rules, 0);
    mg_gate_cancel(&waits[0]);
    mg_gate_cancel(&waits[0]);
    turns_until(1);

    CHECK(called[0] == 0 && entered[1]);
    leave(&rules, 0);
    CHECK_INT(view(&rules).inflight, 0);
    end();
}

static const struct mg_config_gate one = {.max = 1, .queue = 10};

static void *leave_elsewhere(void *arg)
{
    mg_gate_leave(arg, &one, 0, 0, true, 0);
    return NULL;
}

TEST(a_place_that_another_thread_freed_is_found)
{
    pthread_t thread;
    begin("elsewhere");
    CHECK(mg_gate_enter(gate, &one, 0));
    CHECK(wait_for(0, &one, 0, 60000));
    mg_loop_turn(&loop, 0);
    uint64_t start_us = mg_mono_us();

    CHECK(pthread_create(&thread, NULL, leave_elsewhere, gate) == 0);
    pthread_join(thread, NULL);
    turns_until(1);

    CHECK(entered[0]);
    CHECK(mg_mono_us() - start_us < 1000000);
    leave(&one, 0);
    end();
}

TEST(who_waits_longest_goes_first_also_on_another_loop)
{
    static struct mg_loop other;
    struct mg_config_gate rules = {.max = 1, .queue = 10};
    begin("elder");
    mg_loop_init(&other);
    CHECK(mg_gate_enter(gate, &rules, 0));
    CHECK(wait_for(0, &rules, 0, 60000));
    CHECK(mg_gate_wait(gate, &rules, 0, &other, &waits[1], mg_loop_now_us(&other) + 60000000, on_place));
    mg_loop_turn(&loop, 5);
    CHECK(wait_for(2, &rules, 0, 60000));
    mg_gate_cancel(&waits[0]);
    for (int i = 0; i < 10; i++) {     /* both lines poll */
        mg_loop_turn(&loop, 3);
        mg_loop_turn(&other, 3);
    }

    leave(&rules, 0);
    mg_loop_turn(&loop, 0);
    CHECK_INT(calls, 0);
    CHECK(!mg_gate_enter(gate, &rules, 0));
    for (int i = 0; i < 100 && calls == 0; i++) {
        mg_loop_turn(&loop, 1);
        mg_loop_turn(&other, 1);
    }
    CHECK(called[1] == 1 && called[2] == 0);
    leave(&rules, 0);
    turns_until(2);

    CHECK(entered[2]);
    leave(&rules, 0);
    mg_loop_fini(&other);
    end();
}

/* ---- shares ------------------------------------------------------------------------------------- */

TEST(projects_have_a_share_each_and_keep_it)
{
    gate = gate_of("shares");

    CHECK_INT(mg_gate_share(gate, MG_VIEW("a"), 1), 0);
    CHECK_INT(mg_gate_share(gate, MG_VIEW("b"), 3), 1);
    CHECK_INT(mg_gate_share(gate, MG_VIEW("a"), 2), 0);
    for (int i = 2; i < MG_MAX_ACCOUNT_PROJECTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        CHECK_INT(mg_gate_share(gate, mg_view_cstr(name), 1), i);
    }
    CHECK_INT(mg_gate_share(gate, MG_VIEW("one too many"), 1), 0);
}

TEST(what_one_project_does_not_use_the_other_may_have)
{
    struct mg_config_gate rules = {.max = 4, .queue = 10};
    gate = gate_of("unused");
    int a = mg_gate_share(gate, MG_VIEW("a"), 1);
    mg_gate_share(gate, MG_VIEW("b"), 1);

    for (int i = 0; i < 4; i++)
        CHECK(mg_gate_enter(gate, &rules, a));
}

TEST(at_a_full_gate_a_project_under_its_share_goes_first)
{
    struct mg_config_gate rules = {.max = 4, .queue = 20};
    begin("first");
    int a = mg_gate_share(gate, MG_VIEW("a"), 1), b = mg_gate_share(gate, MG_VIEW("b"), 1);
    for (int i = 0; i < 4; i++)
        CHECK(mg_gate_enter(gate, &rules, a));
    CHECK(wait_for(0, &rules, a, 60000));
    CHECK(wait_for(1, &rules, b, 60000));
    CHECK(wait_for(2, &rules, a, 60000));
    CHECK(wait_for(3, &rules, b, 60000));
    CHECK(wait_for(4, &rules, b, 60000));

    for (int i = 0; i < 2; i++) {
        leave(&rules, a);
        turns_until(i + 1);
    }
    CHECK(called[1] == 1 && called[3] == 2);
    leave(&rules, b);
    turns_until(3);

    CHECK_INT(called[4], 3);
    leave(&rules, a);
    turns_until(4);
    CHECK_INT(called[0], 4);
    mg_gate_cancel(&waits[2]);
    end();
}

/* Both projects always have more to do than there is room; the gate serves whoever has the right. */
static void compete(const char *name, double weight_a, double weight_b, int *out_a, int *out_b)
{
    struct mg_config_gate rules = {.max = 8, .queue = 60};
    begin(name);
    int shares[2] = {mg_gate_share(gate, MG_VIEW("a"), weight_a), mg_gate_share(gate, MG_VIEW("b"), weight_b)};
    int in[2] = {0, 0}, served[2] = {0, 0}, owner[WAITS];
    for (int i = 0; i < 8; i++) {
        CHECK(mg_gate_enter(gate, &rules, shares[0]));
        in[0]++;
    }
    for (int i = 0; i < 32; i++) {
        owner[i] = i % 2;
        CHECK(wait_for(i, &rules, shares[i % 2], 60000));
    }
    for (int step = 0; step < 400; step++) {
        int who = in[0] * 8 > (step * 5 % 8) * (in[0] + in[1]) && in[0] > 0 ? 0 : in[1] > 0 ? 1 : 0;
        leave(&rules, shares[who]);
        in[who]--;
        mg_loop_turn(&loop, 0);
        for (int i = 0; i < 32; i++) {
            if (!called[i])
                continue;
            CHECK(entered[i]);
            in[owner[i]]++;
            served[owner[i]]++;
            called[i] = 0;
            CHECK(wait_for(i, &rules, shares[owner[i]], 60000));
        }
        CHECK_INT(in[0] + in[1], 8);
    }
    for (int i = 0; i < 32; i++)
        mg_gate_cancel(&waits[i]);
    *out_a = in[0];
    *out_b = in[1];
    end();
}

TEST(two_hungry_projects_hold_the_gate_by_their_shares)
{
    int a, b;

    compete("even", 1, 1, &a, &b);
    CHECK(a == 4 && b == 4);
    compete("uneven", 3, 1, &a, &b);
    CHECK(a == 6 && b == 2);
    compete("other way", 1, 3, &a, &b);
    CHECK(a == 2 && b == 6);
}

TEST(a_project_that_fills_the_queue_leaves_the_other_its_part)
{
    struct mg_config_gate rules = {.max = 1, .queue = 4};
    begin("parts");
    int big = mg_gate_share(gate, MG_VIEW("big"), 1), small = mg_gate_share(gate, MG_VIEW("small"), 1);
    CHECK(mg_gate_enter(gate, &rules, big));
    for (int i = 0; i < 4; i++)
        CHECK(wait_for(i, &rules, big, 60000));

    CHECK(!wait_for(4, &rules, big, 60000));
    CHECK(wait_for(4, &rules, small, 60000) && wait_for(5, &rules, small, 60000));
    CHECK(!wait_for(6, &rules, small, 60000));

    for (int i = 0; i < 6; i++)
        mg_gate_cancel(&waits[i]);
    leave(&rules, big);
    end();
}

TEST(a_project_that_was_turned_away_under_its_share_gets_the_next_place)
{
    struct mg_config_gate rules = {.max = 4};
    gate = gate_of("claim");
    int a = mg_gate_share(gate, MG_VIEW("a"), 1), b = mg_gate_share(gate, MG_VIEW("b"), 1);
    mg_clock_fake(1000000);
    for (int i = 0; i < 4; i++)
        CHECK(mg_gate_enter(gate, &rules, a));
    CHECK(!mg_gate_enter(gate, &rules, b));

    leave(&rules, a);
    CHECK(!mg_gate_enter(gate, &rules, a));
    CHECK(mg_gate_enter(gate, &rules, b));
    leave(&rules, a);
    CHECK(mg_gate_enter(gate, &rules, a));
    CHECK(!mg_gate_enter(gate, &rules, b));
    leave(&rules, a);
    mg_clock_fake(1000000 + 4999999);
    CHECK(!mg_gate_enter(gate, &rules, a));
    mg_clock_fake(1000000 + 5000000);
    CHECK(mg_gate_enter(gate, &rules, a));
    mg_clock_fake(0);
}

TEST(a_newcomer_under_its_share_passes_those_over_theirs_but_not_its_own)
{
    static struct mg_loop other;
    struct mg_config_gate rules = {.max = 4, .queue = 10}, more = {.max = 6, .queue = 10};
    begin("rights");
    mg_loop_init(&other);
    int a = mg_gate_share(gate, MG_VIEW("a"), 1), b = mg_gate_share(gate, MG_VIEW("b"), 1);
    for (int i = 0; i < 4; i++)
        CHECK(mg_gate_enter(gate, &rules, a));
    CHECK(mg_gate_wait(gate, &rules, a, &other, &waits[0], UINT64_MAX / 2, on_place));

    CHECK(!mg_gate_enter(gate, &more, a));
    CHECK(mg_gate_enter(gate, &more, b));
    CHECK(mg_gate_wait(gate, &rules, b, &other, &waits[1], UINT64_MAX / 2, on_place));
    CHECK(!mg_gate_enter(gate, &more, b));

    mg_gate_cancel(&waits[0]);
    mg_gate_cancel(&waits[1]);
    CHECK(mg_gate_enter(gate, &more, b));
    mg_loop_fini(&other);
    end();
}

TEST(with_one_project_flooding_the_other_still_gets_in)
{
    struct mg_config_gate rules = {.max = 8};
    int in_a = 0, got_b = 0, asked_b = 0;
    gate = gate_of("flood");
    int a = mg_gate_share(gate, MG_VIEW("a"), 1), b = mg_gate_share(gate, MG_VIEW("b"), 1);
    for (int ms = 1; ms <= 60000; ms++) {
        mg_clock_fake((uint64_t)ms * 1000 + 1);
        if (ms % 250 == 0 && in_a > 0) {
            leave(&rules, a);
            in_a--;
        }
        in_a += mg_gate_enter(gate, &rules, a);
        if (ms % 1000 == 0) {
            asked_b++;
            if (mg_gate_enter(gate, &rules, b)) {
                got_b++;
                leave(&rules, b);
            }
        }
    }
    mg_clock_fake(0);

    CHECK_INT(asked_b, 60);
    CHECK(got_b >= 30);
    CHECK(in_a >= 7);
}

/* ---- adaptive ----------------------------------------------------------------------------------- */

static const struct mg_config_gate adaptive = {.max = 100, .adaptive = true};

/* Fills the gate and lets everybody out with that latency. */
static void rounds(int count, uint64_t latency_us, bool ok)
{
    for (int i = 0; i < count; i++) {
        int in = 0;
        while (mg_gate_enter(gate, &adaptive, 0))
            in++;
        while (in-- > 0)
            mg_gate_leave(gate, &adaptive, 0, latency_us, ok, 0);
    }
}

TEST(an_adaptive_limit_grows_while_latency_stays_and_stops_at_max)
{
    gate = gate_of("grow");
    uint32_t at_first = view(&adaptive).limit;

    rounds(1, 500000, true);
    CHECK(view(&adaptive).limit > at_first);
    rounds(50, 500000, true);

    CHECK_INT(view(&adaptive).limit, 100);
}

TEST(it_shrinks_when_the_first_token_comes_later_and_grows_back)
{
    gate = gate_of("shrink");
    rounds(50, 500000, true);

    rounds(2, 2500000, true);
    CHECK(view(&adaptive).limit < 50);
    CHECK(view(&adaptive).limit >= 1);
    rounds(50, 500000, true);

    CHECK_INT(view(&adaptive).limit, 100);
}

TEST(failures_shrink_it_to_one_and_no_further)
{
    gate = gate_of("fail");
    rounds(50, 500000, true);

    rounds(20, 0, false);
    CHECK_INT(view(&adaptive).limit, 1);
    CHECK(mg_gate_enter(gate, &adaptive, 0));
    CHECK(!mg_gate_enter(gate, &adaptive, 0));
    mg_gate_leave(gate, &adaptive, 0, 500000, true, 0);
    rounds(100, 500000, true);

    CHECK_INT(view(&adaptive).limit, 100);
}

TEST(it_does_not_grow_while_it_is_not_used)
{
    gate = gate_of("idle");
    uint32_t at_first = view(&adaptive).limit;

    for (int i = 0; i < 1000; i++) {
        CHECK(mg_gate_enter(gate, &adaptive, 0));
        mg_gate_leave(gate, &adaptive, 0, 500000, true, 0);
    }

    CHECK_INT(view(&adaptive).limit, at_first);
}

/* A server of twenty places whose queue makes everybody wait: latency is what Little's law says. */
TEST(it_finds_about_what_the_target_can_do_and_does_not_drift_away_from_it)
{
    uint64_t late = 0;
    gate = gate_of("little");
    rounds(3, 500000, true);
    for (int i = 0; i < 4000; i++) {
        int in = 0;
        while (mg_gate_enter(gate, &adaptive, 0))
            in++;
        late += i >= 3000 ? (uint64_t)in : 0;
        uint64_t latency_us = in <= 20 ? 500000 : 500000u * (uint64_t)in / 20;
        while (in-- > 0)
            mg_gate_leave(gate, &adaptive, 0, latency_us, true, 0);
    }

    CHECK(late / 1000 >= 25 && late / 1000 <= 60);
}

TEST(a_target_that_got_slower_for_good_is_not_throttled_for_ever)
{
    gate = gate_of("slower");
    rounds(50, 500000, true);
    rounds(20, 2000000, true);
    CHECK(view(&adaptive).limit < 10);

    rounds(1000, 2000000, true);

    CHECK_INT(view(&adaptive).limit, 100);
}

/* ---- threads ------------------------------------------------------------------------------------ */

static _Atomic int inside, most_inside;

static void *hammer(void *arg)
{
    static const struct mg_config_gate rules = {.max = 3, .queue = 10};
    int share = (int)(uintptr_t)arg % 2;
    for (int i = 0; i < 50000; i++) {
        if (!mg_gate_enter(gate, &rules, share))
            continue;
        int now = atomic_fetch_add(&inside, 1) + 1;
        if (now > most_inside)
            most_inside = now;
        atomic_fetch_sub(&inside, 1);
        mg_gate_leave(gate, &rules, share, 1000, i % 7 != 0, 0);
    }
    return NULL;
}

TEST(threads_together_never_pass_the_limit)
{
    pthread_t threads[4];
    struct mg_config_gate rules = {.max = 3};
    gate = gate_of("hammer");
    mg_gate_share(gate, MG_VIEW("a"), 1);
    mg_gate_share(gate, MG_VIEW("b"), 1);

    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    CHECK(most_inside >= 1 && most_inside <= 3);
    CHECK_INT(view(&rules).inflight, 0);
}

/* Loops of their own whose waiters take places from each other. */
enum { ROUNDS = 20 };
static const struct mg_config_gate two = {.max = 2, .queue = 100};

struct worker {
    struct mg_loop loop;
    struct mg_gate_wait wait;
    struct mg_timer hold;
    int done;
};

static void next_round(struct worker *worker);

static void on_hold_over(struct mg_timer *timer)
{
    struct worker *worker = mg_container_of(timer, struct worker, hold);
    atomic_fetch_sub(&inside, 1);
    mg_gate_leave(gate, &two, 0, 1000, true, 0);
    next_round(worker);
}

static void on_worker_place(struct mg_gate_wait *wait, bool got)
{
    struct worker *worker = mg_container_of(wait, struct worker, wait);
    CHECK(got);
    int now = atomic_fetch_add(&inside, 1) + 1;
    if (now > most_inside)
        most_inside = now;
    mg_timer_start(&worker->loop, &worker->hold, 0, on_hold_over);
}

static void next_round(struct worker *worker)
{
    if (worker->done++ == ROUNDS)
        mg_loop_stop(&worker->loop);
    else
        CHECK(mg_gate_wait(gate, &two, 0, &worker->loop, &worker->wait, mg_loop_now_us(&worker->loop) + 60000000, on_worker_place));
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    mg_loop_init(&worker->loop);
    next_round(worker);
    mg_loop_run(&worker->loop);
    mg_loop_fini(&worker->loop);
    return NULL;
}

TEST(waiters_of_several_threads_all_get_their_turn)
{
    pthread_t threads[4];
    static struct worker workers[4];
    gate = gate_of("turns");
    inside = most_inside = 0;

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    CHECK(most_inside >= 1 && most_inside <= 2);
    CHECK_INT(view(&two).inflight, 0);
    CHECK_INT(view(&two).waiting, 0);
}

MG_TEST_MAIN()
