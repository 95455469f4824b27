#include "relay/retry_budget.h"

#include <pthread.h>

#include "check.h"

static const struct mg_config_retry_budget rules = {.share = 0.2, .burst = 10};
static const uint64_t start_us = 1000000000;

static struct mg_retry_budget *budget_of(const char *name)
{
    return mg_retry_budget_find(MG_VIEW("test"), mg_view_cstr(name));
}

static int take_all(struct mg_retry_budget *budget, uint64_t now_us)
{
    int taken = 0;
    while (taken < 1000 && mg_retry_budget_take(budget, &rules, now_us))
        taken++;
    return taken;
}

TEST(a_new_bucket_is_full)
{
    struct mg_retry_budget *budget = budget_of("new");

    CHECK(mg_retry_budget_left(budget, &rules) == 10);
    CHECK_INT(take_all(budget, start_us), 10);
    CHECK(mg_retry_budget_left(budget, &rules) == 0);
}

TEST(five_first_calls_pay_for_one_repeat)
{
    struct mg_retry_budget *budget = budget_of("five");
    take_all(budget, start_us);

    for (int i = 0; i < 4; i++)
        mg_retry_budget_earn(budget, &rules);
    CHECK(!mg_retry_budget_take(budget, &rules, start_us));
    mg_retry_budget_earn(budget, &rules);

    CHECK(mg_retry_budget_take(budget, &rules, start_us));
    CHECK(!mg_retry_budget_take(budget, &rules, start_us));
}

TEST(no_more_than_the_burst_is_saved)
{
    struct mg_retry_budget *budget = budget_of("saved");

    for (int i = 0; i < 1000; i++)
        mg_retry_budget_earn(budget, &rules);

    CHECK_INT(take_all(budget, start_us), 10);
}

TEST(a_token_trickles_in_every_ten_seconds)
{
    struct mg_retry_budget *budget = budget_of("trickle");
    take_all(budget, start_us);

    CHECK_INT(take_all(budget, start_us + 9990000), 0);
    CHECK_INT(take_all(budget, start_us + 10000000), 1);
    CHECK_INT(take_all(budget, start_us + 30000000), 2);
    CHECK_INT(take_all(budget, start_us + 3600000000), 10);
}

TEST(asking_often_does_not_dry_the_trickle_up)
{
    struct mg_retry_budget *budget = budget_of("often");
    take_all(budget, start_us);
    int taken = 0;

    for (uint64_t ms = 1; ms <= 100000; ms++)
        taken += mg_retry_budget_take(budget, &rules, start_us + ms * 1000);

    CHECK_INT(taken, 10);
}

TEST(when_every_call_fails_a_target_gets_a_fifth_more_and_the_burst_once)
{
    struct mg_retry_budget *budget = budget_of("outage");
    int upstream = 0;

    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t now_us = start_us + i * 100;
        mg_retry_budget_earn(budget, &rules);
        upstream++;
        for (int tries = 0; tries < 3 && mg_retry_budget_take(budget, &rules, now_us); tries++)
            upstream++;
    }

    CHECK(upstream <= 12000 + 10);
    CHECK(upstream >= 11990);
}

TEST(another_burst_holds_at_once)
{
    struct mg_config_retry_budget larger = {.share = 0.2, .burst = 20}, none = {.share = 0.2, .burst = 0};
    struct mg_retry_budget *budget = budget_of("reload");
    take_all(budget, start_us);

    CHECK(mg_retry_budget_left(budget, &larger) == 10);
    CHECK(mg_retry_budget_take(budget, &larger, start_us));
    CHECK(!mg_retry_budget_take(budget, &none, start_us));
    CHECK(mg_retry_budget_left(budget, &none) == 0);
}

TEST(without_a_row_everything_is_allowed)
{
    mg_retry_budget_earn(NULL, &rules);
    CHECK(mg_retry_budget_take(NULL, &rules, start_us));
    CHECK(mg_retry_budget_left(NULL, &rules) == 10);
}

static struct mg_retry_budget *shared;

static void *hammer(void *arg)
{
    int *taken = arg;
    for (int i = 0; i < 20000; i++) {
        mg_retry_budget_earn(shared, &rules);
        *taken += mg_retry_budget_take(shared, &rules, start_us);
    }
    return arg;
}

TEST(threads_together_never_take_more_than_was_brought)
{
    pthread_t threads[4];
    int taken[4] = {0};
    shared = budget_of("threads");

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, &taken[i]) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    int all = taken[0] + taken[1] + taken[2] + taken[3];
    CHECK(all <= 16000 + 10);
    CHECK(all > 15000);
}

MG_TEST_MAIN()
