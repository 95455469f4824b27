#include "relay/gradient.h"

#include "base/mem.h"
#include "check.h"

enum { MAX = 100 };

static struct mg_gradient gradient;

/* A target that answers `capacity` calls at a time within `fast_ms`; more of them wait for each other. */
static uint32_t round_trips(int count, double capacity, double fast_ms)
{
    uint32_t limit = gradient.limit > 0 ? (uint32_t)gradient.limit : mg_gradient_start(MAX);
    for (int i = 0; i < count; i++) {
        uint32_t in = limit;
        double ms = fast_ms * MG_MAX(1.0, in / capacity);
        for (uint32_t left = in; left > 0; left--)
            limit = mg_gradient_note(&gradient, MAX, left, (uint64_t)(ms * 1000), true);
        CHECK(limit >= 1 && limit <= MAX);
    }
    return limit;
}

static double mean_of(int count, double capacity, double fast_ms)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += round_trips(1, capacity, fast_ms);
    return sum / count;
}

TEST(with_room_it_grows_to_the_maximum)
{
    gradient = (struct mg_gradient){0};
    CHECK_INT(round_trips(60, 1000, 500), MAX);
}

TEST(it_stays_near_what_the_target_can_do_however_long_it_runs)
{
    static const double capacities[] = {2, 5, 20, 40};
    for (size_t i = 0; i < MG_COUNT(capacities); i++) {
        gradient = (struct mg_gradient){0};
        round_trips(500, capacities[i], 500);
        double early = mean_of(500, capacities[i], 500);
        round_trips(10000, capacities[i], 500);
        double late = mean_of(500, capacities[i], 500);
        CHECK(early >= capacities[i] && early <= capacities[i] * 2.5 + 6);
        CHECK(late > early * 0.9 && late < early * 1.1);
    }
}

TEST(a_target_that_can_do_less_gets_less_and_more_again_afterwards)
{
    gradient = (struct mg_gradient){0};
    round_trips(100, 50, 500);
    CHECK(round_trips(20, 5, 500) < 25);
    CHECK(round_trips(60, 1000, 500) == MAX);
}

TEST(a_target_that_is_slower_for_good_is_believed_after_a_while)
{
    gradient = (struct mg_gradient){0};
    round_trips(60, 1000, 500);
    CHECK(round_trips(20, 1000, 3000) < 12);
    CHECK_INT(round_trips(2000, 1000, 3000), MAX);
}

TEST(failures_cut_it_and_it_comes_back)
{
    gradient = (struct mg_gradient){0};
    uint32_t limit = round_trips(60, 1000, 500);
    for (int i = 0; i < 10; i++)
        limit = mg_gradient_note(&gradient, MAX, limit, 0, false);
    CHECK(limit < 40);
    for (int i = 0; i < 200; i++)
        limit = mg_gradient_note(&gradient, MAX, 1, 0, false);
    CHECK_INT(limit, 1);
    CHECK_INT(round_trips(60, 1000, 500), MAX);
}

TEST(any_latency_and_any_maximum_leave_it_within_bounds)
{
    static const uint64_t latencies[] = {0, 1, 500000, UINT64_MAX};
    uint32_t seed = 3;
    gradient = (struct mg_gradient){0};
    for (int i = 0; i < 100000; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t max = 1 + (seed >> 8) % 50;
        uint32_t limit = mg_gradient_note(&gradient, max, seed >> 20, latencies[seed >> 16 & 3], seed >> 30 != 0);
        CHECK(limit >= 1 && limit <= max);
    }
}

MG_TEST_MAIN()
