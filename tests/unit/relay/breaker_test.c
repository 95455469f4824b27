#include "relay/breaker.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "check.h"

/* Each test has a breaker of its own and a clock that stands where the last step left it. */
static const struct mg_config_breaker rules = {
    .window_ms = 30000,
    .min_calls = 10,
    .failure_share = 0.5,
    .consecutive = 5,
    .open_ms = 5000,
    .max_open_ms = 60000,
    .probe_ms = 15000,
    .ramp_ms = 10000,
};

static struct mg_breaker *breaker;
static uint64_t now_us;
static uint32_t seed;

static void begin(void)
{
    static int number;
    char name[32];
    snprintf(name, sizeof name, "p/m#k%d", number++);
    breaker = mg_breaker_find(MG_VIEW("test"), mg_view_cstr(name));
    now_us = 1000000000;
    seed = 1;
}

static double draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) / 16777216.0;
}

static void pass_ms(uint64_t ms)
{
    now_us += ms * 1000;
}

static struct mg_breaker_permit admit(void)
{
    return mg_breaker_admit(breaker, &rules, now_us, 0, false);
}

static void report(const struct mg_breaker_permit *permit, double weight)
{
    mg_breaker_report(breaker, &rules, permit, now_us, 0, weight, NULL);
}

static bool call(double weight)
{
    struct mg_breaker_permit permit = admit();
    if (permit.allowed)
        report(&permit, weight);
    return permit.allowed;
}

static void calls(int count, double weight)
{
    for (int i = 0; i < count; i++)
        CHECK(call(weight));
}

static struct mg_breaker_view view(void)
{
    struct mg_breaker_view out;
    mg_breaker_read(breaker, &rules, now_us, &out);
    return out;
}

#define CHECK_STATE(name) CHECK_STR(mg_breaker_state_name(view().state), name)

/* ---- one step at a time ------------------------------------------------------------------------ */

TEST(five_failures_in_a_row_open_it)
{
    begin();
    calls(4, 1);
    CHECK_STATE("closed");

    calls(1, 1);

    CHECK_STATE("open");
    CHECK_STR(view().reason, "5 failures in a row");
    CHECK_INT(view().until_us, now_us + 5000000);
    CHECK_INT(view().opened, 1);
    struct mg_breaker_permit permit = admit();
    CHECK(!permit.allowed);
    CHECK_INT(permit.state, MG_BREAKER_OPEN);
    CHECK_INT(permit.retry_at_us, now_us + 5000000);
}

TEST(the_reason_names_what_went_wrong)
{
    begin();
    for (int i = 0; i < 5; i++) {
        struct mg_breaker_permit permit = admit();
        mg_breaker_report(breaker, &rules, &permit, now_us, 0, 1, "timeout_connect");
    }

    CHECK_STR(view().reason, "5 failures in a row: timeout_connect");
}

TEST(half_a_failure_counts_half)
{
    begin();
    calls(9, 0.5);
    CHECK_STATE("closed");

    calls(1, 0.5);

    CHECK_STATE("open");
}

TEST(a_success_ends_the_run)
{
    begin();
    for (int i = 0; i < 2; i++) {
        calls(4, 1);
        CHECK_INT(view().consecutive, 4);
        calls(12, 0);
        CHECK_INT(view().consecutive, 0);
    }
    CHECK_STATE("closed");
}

TEST(failures_among_successes_open_it_once_there_are_enough_calls_to_tell)
{
    static const struct {
        int cycle, failures, opens_at;
    } rows[] = {
        {5, 4, 10},                    /* 8 of 10 */
        {4, 3, 11},                    /* 8 of 11 */
        {5, 3, 60},                    /* 36 of 60 */
        {2, 1, 0},                     /* half is where it begins, not where it opens */
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin();
        int at = 0;
        for (int n = 1; n <= 2000 && at == 0; n++) {
            calls(1, (n - 1) % rows[i].cycle >= rows[i].cycle - rows[i].failures);
            at = view().state == MG_BREAKER_OPEN ? n : 0;
        }
        CHECK_INT(at, rows[i].opens_at);
    }
}

TEST(calls_older_than_the_window_are_forgotten)
{
    begin();
    for (int i = 0; i < 4; i++) {
        calls(1, 1);
        calls(1, 0);
    }
    CHECK_INT(view().calls, 8);
    pass_ms(30001);

    CHECK_INT(view().calls, 0);
    calls(1, 0);
    calls(1, 1);
    CHECK_STATE("closed");
}

TEST(when_the_pause_is_over_one_probe_goes_and_the_others_wait)
{
    begin();
    calls(5, 1);
    pass_ms(4999);
    CHECK(!admit().allowed);
    pass_ms(1);
    CHECK_STATE("half_open");

    struct mg_breaker_permit probe = admit();

    CHECK(probe.allowed && probe.probe);
    CHECK_INT(probe.state, MG_BREAKER_HALF_OPEN);
    CHECK(!admit().allowed);
    CHECK_INT(admit().retry_at_us, 0);
}

TEST(a_good_probe_begins_the_ramp_and_the_ramp_ends_closed)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    CHECK(call(0));

    CHECK_STATE("ramp");
    CHECK_INT(view().until_us, now_us + 10000000);
    pass_ms(10000);
    CHECK_STATE("closed");
    struct mg_breaker_permit permit = admit();
    CHECK(permit.allowed && !permit.probe);
    CHECK_INT(permit.state, MG_BREAKER_CLOSED);
}

static int admitted_of_10000(void)
{
    int count = 0;
    for (int i = 0; i < 10000; i++)
        count += mg_breaker_admit(breaker, &rules, now_us, draw(), false).allowed;
    return count;
}

TEST(the_ramp_lets_in_a_growing_share)
{
    static const struct {
        uint64_t after_ms;
        int share;
    } steps[] = {{0, 1000}, {2500, 3250}, {2500, 5500}, {2500, 7750}, {2400, 9910}};
    begin();
    calls(5, 1);
    pass_ms(5000);
    CHECK(call(0));

    for (size_t i = 0; i < MG_COUNT(steps); i++) {
        pass_ms(steps[i].after_ms);
        int got = admitted_of_10000();
        CHECK(got > steps[i].share - 150 && got < steps[i].share + 150);
        CHECK(view().ramp > steps[i].share / 10000.0 - 0.001 && view().ramp < steps[i].share / 10000.0 + 0.001);
    }
    pass_ms(100);
    CHECK_INT(admitted_of_10000(), 10000);
}

TEST(failures_in_the_ramp_open_it_again_for_longer)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    CHECK(call(0));
    pass_ms(5000);
    calls(2, 1);
    CHECK_STATE("ramp");

    calls(1, 1);

    CHECK_STATE("open");
    CHECK_INT(view().until_us, now_us + 10000000);
}

TEST(one_failure_among_many_successes_does_not_end_the_ramp)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    CHECK(call(0));

    for (int i = 0; i < 50; i++)
        calls(1, i % 8 == 0);

    CHECK_STATE("ramp");
}

TEST(each_failed_probe_doubles_the_pause_up_to_the_limit)
{
    static const uint64_t pauses_ms[] = {5000, 10000, 20000, 40000, 60000, 60000, 60000};
    begin();
    calls(5, 1);

    for (size_t i = 0; i < MG_COUNT(pauses_ms); i++) {
        CHECK_INT(view().until_us, now_us + pauses_ms[i] * 1000);
        pass_ms(pauses_ms[i]);
        CHECK(call(1));
        CHECK_STATE("open");
    }
    CHECK_STR(view().reason, "probe failed");
    for (int i = 0; i < 100; i++) {
        pass_ms(60000);
        CHECK(call(1));
    }
    CHECK_INT(view().until_us, now_us + 60000000);
}

/* Open, probed badly, probed well, closed for that long, then failing again. */
static uint64_t second_pause_us(uint64_t closed_ms)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    CHECK(call(1));
    pass_ms(10000);
    CHECK(call(0));
    pass_ms(10000);
    CHECK(call(0));
    pass_ms(closed_ms);
    calls(5, 1);
    CHECK_STATE("open");
    return view().until_us - now_us;
}

TEST(a_closed_period_makes_the_pause_short_again_and_flapping_does_not)
{
    CHECK_INT(second_pause_us(30000), 5000000);
    CHECK_INT(second_pause_us(1000), 20000000);
}

TEST(a_probe_nobody_reports_on_expires_and_its_late_word_is_ignored)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    struct mg_breaker_permit lost = admit();
    CHECK(lost.probe);
    pass_ms(14999);
    CHECK(!admit().allowed);
    pass_ms(1);

    struct mg_breaker_permit next = admit();
    CHECK(next.probe);
    report(&lost, 1);
    CHECK_STATE("half_open");
    report(&lost, 0);
    CHECK_STATE("half_open");
    mg_breaker_abandon(breaker, &lost);
    CHECK(!admit().allowed);

    report(&next, 0);
    CHECK_STATE("ramp");
}

TEST(an_abandoned_probe_gives_its_place_to_the_next)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    struct mg_breaker_permit probe = admit();

    mg_breaker_abandon(breaker, &probe);

    CHECK_STATE("half_open");
    CHECK(admit().probe);
    CHECK(!admit().allowed);
}

TEST(what_began_before_it_opened_counts_no_more)
{
    begin();
    struct mg_breaker_permit old[20];
    for (int i = 0; i < 20; i++)
        old[i] = admit();
    calls(5, 1);
    uint64_t until_us = view().until_us;

    for (int i = 0; i < 10; i++)
        report(&old[i], i % 2);
    CHECK_STATE("open");
    CHECK_INT(view().until_us, until_us);
    CHECK_INT(view().calls, 0);
    pass_ms(5000);
    struct mg_breaker_permit probe = admit();
    for (int i = 10; i < 15; i++)
        report(&old[i], i % 2);
    CHECK_STATE("half_open");
    report(&probe, 0);
    for (int i = 15; i < 20; i++)
        report(&old[i], 1);

    CHECK_STATE("ramp");
    CHECK_INT(view().calls, 0);
}

TEST(a_last_chance_lets_one_early_call_a_second_through)
{
    begin();
    calls(5, 1);
    uint64_t until_us = view().until_us;
    int early = 0;
    for (int ms = 0; ms < 4000; ms += 10, pass_ms(10)) {
        struct mg_breaker_permit permit = mg_breaker_admit(breaker, &rules, now_us, 0, true);
        early += permit.allowed;
        if (permit.allowed)
            report(&permit, 1);
    }

    CHECK_INT(early, 4);
    CHECK_STATE("open");
    CHECK_INT(view().until_us, until_us);
    CHECK(!admit().allowed);
}

TEST(an_early_call_that_succeeds_begins_the_ramp)
{
    begin();
    calls(5, 1);
    struct mg_breaker_permit permit = mg_breaker_admit(breaker, &rules, now_us, 0, true);
    CHECK(permit.allowed && !permit.probe);

    report(&permit, 0);

    CHECK_STATE("ramp");
    CHECK(mg_breaker_admit(breaker, &rules, now_us, 0.99, true).allowed);
    CHECK(!mg_breaker_admit(breaker, &rules, now_us, 0.99, false).allowed);
}

TEST(an_early_call_beside_a_probe_decides_nothing_by_failing)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    struct mg_breaker_permit probe = admit(), early = mg_breaker_admit(breaker, &rules, now_us, 0, true);
    CHECK(early.allowed && !early.probe);

    report(&early, 1);
    CHECK_STATE("half_open");
    mg_breaker_abandon(breaker, &early);
    CHECK(!admit().allowed);
    report(&probe, 0);

    CHECK_STATE("ramp");
}

TEST(opened_by_a_penalty_it_stays_open_for_the_longer_time)
{
    begin();
    mg_breaker_open(breaker, now_us, 60000000, "maintenance");
    mg_breaker_open(breaker, now_us, 1000000, "short");

    CHECK_STATE("open");
    CHECK_STR(view().reason, "maintenance");
    CHECK_INT(view().opened, 1);
    pass_ms(59999);
    CHECK(!admit().allowed);
    pass_ms(2);
    CHECK(admit().probe);
}

TEST(reset_by_hand_it_is_closed_and_knows_nothing)
{
    begin();
    calls(5, 1);
    pass_ms(5000);
    CHECK(call(1));

    mg_breaker_reset(breaker, now_us);

    CHECK_STATE("closed");
    CHECK_INT(view().calls, 0);
    calls(4, 1);
    CHECK_STATE("closed");
    calls(1, 1);
    CHECK_INT(view().until_us, now_us + 5000000);
}

TEST(switched_off_it_never_opens_and_lets_through_what_is_open)
{
    struct mg_config_breaker off = rules;
    off.off = true;
    begin();
    for (int i = 0; i < 100; i++) {
        struct mg_breaker_permit permit = mg_breaker_admit(breaker, &off, now_us, 0, false);
        CHECK(permit.allowed);
        mg_breaker_report(breaker, &off, &permit, now_us, 0, 1, NULL);
    }
    CHECK_STATE("closed");

    mg_breaker_open(breaker, now_us, 60000000, "penalty");

    CHECK(mg_breaker_admit(breaker, &off, now_us, 0, false).allowed);
}

TEST(without_a_row_everything_is_allowed)
{
    struct mg_breaker_permit permit = mg_breaker_admit(NULL, &rules, 1, 0, false);
    struct mg_breaker_view out;

    CHECK(permit.allowed && !permit.probe);
    mg_breaker_report(NULL, &rules, &permit, 1, 0, 1, NULL);
    mg_breaker_abandon(NULL, &permit);
    mg_breaker_open(NULL, 1, 1, "x");
    mg_breaker_reset(NULL, 1);
    mg_breaker_read(NULL, &rules, 1, &out);
    CHECK_INT(out.state, MG_BREAKER_CLOSED);
    CHECK(out.ramp == 1);
}

/* ---- long runs --------------------------------------------------------------------------------- */

/* Draws `count` calls at that rate; true when it stayed closed. */
static bool stays_closed(double share, int count, uint64_t every_us)
{
    for (int i = 0; i < count; i++) {
        struct mg_breaker_permit permit = admit();
        if (!permit.allowed)
            return false;
        mg_breaker_report(breaker, &rules, &permit, now_us, (unsigned)i % 4, draw() < share, NULL);
        now_us += every_us;
    }
    return view().state == MG_BREAKER_CLOSED;
}

/* Rarer calls have no past to judge a run by: five failures in a row are then an outage, and once in forty thousand
 * calls they are not. */
TEST(twelve_percent_errors_never_open_it)
{
    static const uint64_t every_us[] = {1000, 10000, 100000};
    for (size_t i = 0; i < MG_COUNT(every_us); i++)
        for (uint32_t run = 0; run < 10; run++) {
            begin();
            seed = run * 7919 + (uint32_t)i;
            CHECK(stays_closed(0.12, 20000, every_us[i]));
        }
}

TEST(one_call_in_eight_failing_never_opens_it_however_rare_they_are)
{
    begin();
    for (int i = 0; i < 10000; i++) {
        calls(1, i % 8 == 7);
        pass_ms((uint64_t)i * 7);
    }
    CHECK_STATE("closed");
    CHECK_INT(view().opened, 0);
}

TEST(a_busy_healthy_target_that_dies_is_left_after_five_calls)
{
    begin();
    CHECK(stays_closed(0, 20000, 1000));

    calls(5, 1);

    CHECK_STATE("open");
}

TEST(a_target_with_errors_that_dies_is_left_soon_after)
{
    begin();
    CHECK(stays_closed(0.12, 20000, 1000));
    int needed = 0;

    while (call(1))
        needed++;

    CHECK(needed >= 5 && needed <= 11);
}

TEST(most_calls_failing_opens_it_whatever_the_order)
{
    begin();
    CHECK(!stays_closed(0.6, 1000, 10000));
}

/* Invariants over random schedules: at most one unexpired lease, nothing but a probe gets into a half-open breaker,
 * nothing at all into an open one before its time, and each state is reached from where it may be. */
TEST(whatever_is_reported_one_probe_has_the_lease_and_states_follow_the_drawing)
{
    static const bool legal[4][4] = {
        /* from closed */ {true, true, false, false},
        /* open        */ {false, true, true, false},
        /* half_open   */ {false, true, true, true},
        /* ramp        */ {true, true, false, true},
    };
    struct mg_breaker_permit held[16] = {{0}};
    begin();
    seed = 42;
    uint64_t lease_us = 0;
    uint32_t probe_epoch = 0;
    enum mg_breaker_state before = view().state;
    for (int i = 0; i < 300000; i++) {
        now_us += (uint64_t)(draw() * 400000);
        int slot = (int)(draw() * 16);
        enum mg_breaker_state now = view().state;
        CHECK(legal[before][now]);
        uint64_t until_us = view().until_us;
        if (!held[slot].allowed) {
            struct mg_breaker_permit permit = mg_breaker_admit(breaker, &rules, now_us, draw(), false);
            held[slot] = permit;
            if (permit.probe) {
                CHECK(now_us / 1000 >= lease_us / 1000);
                lease_us = now_us + rules.probe_ms * 1000u;
                probe_epoch = permit.epoch;
            }
            CHECK(now != MG_BREAKER_OPEN || (!permit.allowed && permit.retry_at_us == until_us));
            CHECK(now != MG_BREAKER_HALF_OPEN || permit.allowed == permit.probe);
        } else {
            bool deciding = held[slot].probe && held[slot].epoch == probe_epoch;
            double weight = draw() < (now_us / 40000000 % 2 ? 0.1 : 0.9) ? 0 : draw() < 0.5 ? 0.5 : 1;
            if (draw() < 0.2)
                mg_breaker_abandon(breaker, &held[slot]);
            else
                mg_breaker_report(breaker, &rules, &held[slot], now_us, (unsigned)slot, weight, NULL);
            held[slot] = (struct mg_breaker_permit){0};
            if (deciding)
                lease_us = 0;
        }
        CHECK(legal[now][view().state]);
        before = view().state;
    }
    CHECK(view().opened > 100);
}

/* ---- many threads ------------------------------------------------------------------------------ */

static _Atomic int probing, most_probing, probes;
static _Atomic uint64_t shared_us;

static void *hammer(void *arg)
{
    unsigned shard = (unsigned)(uintptr_t)arg;
    uint32_t random = shard + 1;
    for (int i = 0; i < 50000; i++) {
        random = random * 1664525u + 1013904223u;
        uint64_t time_us = atomic_fetch_add(&shared_us, 2000);
        struct mg_breaker_permit permit = mg_breaker_admit(breaker, &rules, time_us, (random >> 8) / 16777216.0, false);
        if (!permit.allowed)
            continue;
        if (permit.probe) {
            int now = atomic_fetch_add(&probing, 1) + 1;
            atomic_fetch_add(&probes, 1);
            if (now > most_probing)
                most_probing = now;
            atomic_fetch_sub(&probing, 1);
        }
        bool bad = time_us / 8000000 % 2;
        mg_breaker_report(breaker, &rules, &permit, time_us, shard, bad, bad ? "server_error" : NULL);
        if (i % 1000 == 0) {
            struct mg_breaker_view out;
            mg_breaker_read(breaker, &rules, time_us, &out);
        }
    }
    return arg;
}

TEST(threads_never_probe_two_at_a_time)
{
    pthread_t threads[4];
    begin();
    shared_us = now_us;
    probing = most_probing = probes = 0;

    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, (void *)i) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    CHECK(probes > 0);
    CHECK_INT(most_probing, 1);
}

static void *healthy(void *arg)
{
    for (int i = 0; i < 50000; i++) {
        struct mg_breaker_permit permit = mg_breaker_admit(breaker, &rules, now_us, 0, false);
        mg_breaker_report(breaker, &rules, &permit, now_us, (unsigned)(uintptr_t)arg, i % 10 == 0 ? 1 : 0, NULL);
    }
    return arg;
}

TEST(threads_lose_no_call_of_the_window)
{
    pthread_t threads[4];
    begin();

    for (uintptr_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, healthy, (void *)(i * 4)) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    CHECK_STATE("closed");
    CHECK_INT(view().calls, 200000);
    CHECK_INT((int)view().failures, 20000);
}

MG_TEST_MAIN()
