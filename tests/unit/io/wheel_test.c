#include "io/wheel.h"

#include "base/mem.h"
#include "check.h"

struct alarm {
    struct mg_timer timer;
    uint64_t wanted_us;
    uint64_t fired_us;
    int count;
};

static struct mg_wheel wheel;
static uint64_t now_us;

static void on_alarm(struct mg_timer *timer)
{
    struct alarm *alarm = mg_container_of(timer, struct alarm, timer);
    CHECK(!mg_timer_armed(timer));
    alarm->fired_us = now_us;
    alarm->count++;
}

static void start(struct alarm *alarm, uint64_t delay_us)
{
    alarm->wanted_us = now_us + delay_us;
    mg_wheel_start(&wheel, &alarm->timer, now_us, alarm->wanted_us, on_alarm);
}

static void advance_to(uint64_t time_us)
{
    now_us = time_us;
    mg_wheel_advance(&wheel, now_us);
}

static void begin(void)
{
    now_us = 77123456;
    mg_wheel_init(&wheel, now_us);
}

TEST(fires_once_never_early_and_at_most_one_slot_late)
{
    static const uint64_t delays_us[] = {0,       1,       4999,    5000,     5001,    250000,
                                         5115000, 5120000, 5125000, 30000000, 75000000};
    for (size_t i = 0; i < MG_COUNT(delays_us); i++) {
        struct alarm alarm = {0};
        begin();
        start(&alarm, delays_us[i]);

        while (alarm.count == 0)
            advance_to(mg_wheel_next_us(&wheel));

        CHECK(alarm.fired_us >= alarm.wanted_us);
        CHECK(alarm.fired_us <= alarm.wanted_us + MG_WHEEL_SLOT_US);
        CHECK_INT(wheel.armed, 0);
        CHECK(mg_wheel_next_us(&wheel) == UINT64_MAX);
    }
}

TEST(a_time_in_the_past_fires_in_the_next_slot)
{
    static const uint64_t delays_us[] = {0, 1, 1000000};
    for (size_t i = 0; i < MG_COUNT(delays_us); i++) {
        struct alarm alarm = {0};
        begin();
        advance_to(80000000);
        mg_wheel_start(&wheel, &alarm.timer, now_us, now_us - delays_us[i], on_alarm);

        advance_to(now_us + MG_WHEEL_SLOT_US);

        CHECK_INT(alarm.count, 1);
    }
}

TEST(cancelled_timers_stay_silent_and_leave_nothing_to_wake_for)
{
    struct alarm alarm = {0};
    begin();
    start(&alarm, 100000);

    mg_wheel_cancel(&wheel, &alarm.timer);
    mg_wheel_cancel(&wheel, &alarm.timer);
    CHECK(mg_wheel_next_us(&wheel) == UINT64_MAX);
    advance_to(now_us + 1000000);

    CHECK_INT(alarm.count, 0);
}

TEST(a_postponed_timer_keeps_its_place_and_fires_at_the_new_time)
{
    struct alarm alarm = {0};
    begin();
    start(&alarm, 100000);
    uint64_t place = alarm.timer.tick;

    start(&alarm, 900000);
    CHECK(alarm.timer.tick == place);
    advance_to(now_us + 200000);
    CHECK_INT(alarm.count, 0);
    CHECK(alarm.timer.tick > place);
    advance_to(alarm.wanted_us + MG_WHEEL_SLOT_US);

    CHECK_INT(alarm.count, 1);
}

TEST(a_timer_pulled_forward_fires_at_the_earlier_time)
{
    struct alarm alarm = {0};
    begin();
    start(&alarm, 900000);
    start(&alarm, 10000);

    advance_to(alarm.wanted_us + MG_WHEEL_SLOT_US);

    CHECK_INT(alarm.count, 1);
}

TEST(a_wheel_that_stood_still_for_an_hour_does_not_wake_for_nothing)
{
    struct alarm far = {0}, near = {0};
    begin();
    now_us += UINT64_C(3600) * 1000000;

    start(&far, 4000000);
    CHECK(mg_wheel_next_us(&wheel) >= far.wanted_us);
    now_us += 3900000;
    start(&near, 2000000);
    advance_to(far.wanted_us + MG_WHEEL_SLOT_US);
    CHECK_INT(far.count, 1);
    CHECK(mg_wheel_next_us(&wheel) >= near.wanted_us);
    advance_to(near.wanted_us + MG_WHEEL_SLOT_US);

    CHECK_INT(near.count, 1);
}

TEST(a_jump_over_many_turns_of_the_wheel_fires_everything_due)
{
    enum { N = 3000 };
    static struct alarm alarms[N];
    memset(alarms, 0, sizeof(alarms));
    begin();
    for (unsigned i = 0; i < N; i++)
        start(&alarms[i], (uint64_t)i * 10000);

    advance_to(now_us + 15000000);

    for (unsigned i = 0; i < N; i++)
        CHECK_INT(alarms[i].count, alarms[i].wanted_us <= now_us);
    for (unsigned i = 0; i < N; i++)
        mg_wheel_cancel(&wheel, &alarms[i].timer);
    CHECK_INT(wheel.armed, 0);
}

static struct alarm first, second;

static void on_first(struct mg_timer *timer)
{
    on_alarm(timer);
    start(&first, 0);
    mg_wheel_cancel(&wheel, &second.timer);
}

TEST(a_callback_may_start_itself_again_and_cancel_its_neighbour)
{
    memset(&first, 0, sizeof(first));
    memset(&second, 0, sizeof(second));
    begin();
    mg_wheel_start(&wheel, &first.timer, now_us, now_us + 1000, on_first);
    start(&second, 1000);

    advance_to(now_us + 100000);
    CHECK_INT(first.count, 1);
    CHECK_INT(second.count, 0);
    advance_to(now_us + MG_WHEEL_SLOT_US);

    CHECK_INT(first.count, 2);
}

TEST(random_starts_and_cancels_agree_with_a_plain_list)
{
    enum { N = 200 };
    static struct alarm alarms[N];
    memset(alarms, 0, sizeof(alarms));
    begin();
    unsigned seed = 1;
    for (int step = 0; step < 200000; step++) {
        seed = seed * 1103515245u + 12345u;
        struct alarm *alarm = &alarms[(seed >> 16) % N];
        unsigned what = (seed >> 8) % 8;
        if (what < 3) {
            start(alarm, (seed >> 5) % 8000000);
        } else if (what == 3) {
            mg_wheel_cancel(&wheel, &alarm->timer);
        } else {
            for (int i = 0; i < N; i++)
                alarms[i].count = mg_timer_armed(&alarms[i].timer) ? 0 : -1;
            advance_to(now_us + (seed >> 7) % 20000);
            for (int i = 0; i < N; i++) {
                bool must =
                    alarms[i].count >= 0 && alarms[i].wanted_us + MG_WHEEL_SLOT_US <= now_us;
                CHECK(alarms[i].count < 1 || alarms[i].wanted_us <= now_us);
                CHECK(!must || alarms[i].count == 1);
            }
        }
    }
}

MG_TEST_MAIN()
