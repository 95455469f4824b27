#include "relay/plan.h"

#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "relay/rates.h"

static const struct mg_config_target targets[] = {
    {.id = "p/a", .priced = true, .price_in_microusd = 2e6, .price_out_microusd = 10e6},
    {.id = "p/b", .priced = true, .price_in_microusd = 1e6, .price_out_microusd = 2e6},
    {.id = "p/c"},
};
static struct mg_candidate candidates[] = {{.target = &targets[0]}, {.target = &targets[1]}, {.target = &targets[2]}};

/* How often each was drawn of 1000, with every random number once. */
static void draw_many(const struct mg_plan_entry *entry, uint64_t tried, uint64_t avoid, int hits[3])
{
    memset(hits, 0, 3 * sizeof *hits);
    for (int i = 0; i < 1000; i++) {
        int at = mg_plan_draw(entry, candidates, MG_VIEW_NONE, mg_random_unit(), tried, avoid);
        CHECK(at >= 0 && at < 3);
        hits[at]++;
    }
}

static void forget_figures(void)
{
    for (int i = 0; i < 3; i++)
        candidates[i] = (struct mg_candidate){.target = &targets[i]};
}

static void look_up_rates(void)
{
    static struct mg_timeline timeline;
    struct mg_call call = {.timeline = &timeline};
    double in, out;
    for (int i = 0; i < 3; i++)
        CHECK_INT(mg_candidate_rates(&candidates[i], &call, &in, &out), targets[i].priced);
}

static struct mg_plan_entry group(enum mg_pick pick, double a, double b, double c)
{
    return (struct mg_plan_entry){.choices = {{0, a}, {1, b}, {2, c}}, .choice_count = 3, .pick = pick};
}

TEST(a_weighted_group_spreads_by_weight)
{
    struct mg_plan_entry entry = group(MG_PICK_WEIGHTED, 70, 30, 0);
    int hits[3] = {0};
    for (int i = 0; i < 1000; i++)
        hits[mg_plan_draw(&entry, candidates, MG_VIEW_NONE, i / 1000.0, 0, 0)]++;

    CHECK_INT(hits[0], 700);
    CHECK_INT(hits[1], 300);
}

TEST(what_was_tried_is_drawn_only_when_nothing_else_is_left)
{
    struct mg_plan_entry entry = group(MG_PICK_WEIGHTED, 1, 1, 1);
    for (int i = 0; i < 100; i++)
        CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, i / 100.0, 1 << 0 | 1 << 2, 0), 1);

    int drawn = mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 7, 0);
    CHECK(drawn >= 0 && drawn < 3);
}

TEST(a_sticky_key_stays_with_its_candidate_when_another_one_goes)
{
    struct mg_plan_entry all = group(MG_PICK_HASH, 1, 1, 1), fewer = group(MG_PICK_HASH, 1, 1, 0);
    int moved = 0, seen[3] = {0};
    for (int i = 0; i < 300; i++) {
        char key[24];
        snprintf(key, sizeof key, "user-%d", i);
        int before = mg_plan_draw(&all, candidates, mg_view_cstr(key), 0.1, 0, 0);
        int after = mg_plan_draw(&fewer, candidates, mg_view_cstr(key), 0.9, 0, 0);
        seen[before]++;
        moved += before != 2 && before != after;
    }

    CHECK_INT(moved, 0);
    CHECK(seen[0] > 50 && seen[1] > 50 && seen[2] > 50);
}

TEST(the_least_busy_candidate_is_drawn)
{
    struct mg_plan_entry entry = group(MG_PICK_LEAST_INFLIGHT, 1, 1, 1);
    forget_figures();
    candidates[0].inflight = 5;
    candidates[1].inflight = 2;
    candidates[2].inflight = 9;

    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 0), 1);
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 1 << 1, 0), 0);
}

TEST(what_is_to_be_avoided_is_never_drawn_by_any_rule)
{
    static const enum mg_pick picks[] = {MG_PICK_WEIGHTED, MG_PICK_HASH, MG_PICK_LEAST_INFLIGHT, MG_PICK_P2C,
                                         MG_PICK_CHEAPEST};
    forget_figures();
    for (size_t p = 0; p < MG_COUNT(picks); p++) {
        struct mg_plan_entry entry = group(picks[p], 1, 1, 1);
        for (int i = 0; i < 100; i++) {
            CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW("key"), i / 100.0, 0, 1 << 1 | 1 << 2), 0);
            CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW("key"), i / 100.0, 1 << 0, 1 << 1 | 1 << 2), 0);
            CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW("key"), i / 100.0, 0, 7), -1);
        }
        struct mg_plan_entry one = {.choices = {{2, 1}}, .choice_count = 1, .pick = picks[p]};
        CHECK_INT(mg_plan_draw(&one, candidates, MG_VIEW_NONE, 0.5, 7, 3), 2);
        CHECK_INT(mg_plan_draw(&one, candidates, MG_VIEW_NONE, 0.5, 0, 4), -1);
    }
}

TEST(a_weight_of_zero_is_not_drawn_even_when_the_others_are_avoided)
{
    struct mg_plan_entry entry = group(MG_PICK_WEIGHTED, 1, 1, 0);

    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 3), -1);
}

TEST(of_two_drawn_the_faster_is_taken_so_the_slowest_of_three_gets_nearly_nothing)
{
    struct mg_plan_entry entry = group(MG_PICK_P2C, 1, 1, 1);
    int hits[3];
    forget_figures();
    candidates[0].ewma_us = 200000;
    candidates[1].ewma_us = 300000;
    candidates[2].ewma_us = 900000;

    draw_many(&entry, 0, 0, hits);

    CHECK(hits[0] > 600 && hits[1] > 250 && hits[2] < 60);
    CHECK(hits[2] > 0);                /* one in fifty is asked all the same, or nobody would know when it is fast again */
}

TEST(those_who_wait_and_those_who_fail_make_a_fast_target_slow)
{
    struct mg_plan_entry entry = group(MG_PICK_P2C, 1, 1, 0);
    int hits[3];
    forget_figures();
    candidates[0].ewma_us = 200000;
    candidates[1].ewma_us = 300000;
    draw_many(&entry, 0, 0, hits);
    CHECK(hits[0] > 950);

    candidates[0].inflight = 1;
    draw_many(&entry, 0, 0, hits);
    CHECK(hits[1] > 950);

    candidates[0].inflight = 0;
    candidates[0].error_rate = 0.5;
    draw_many(&entry, 0, 0, hits);
    CHECK(hits[1] > 950);
}

TEST(a_target_that_was_never_called_is_taken_for_as_fast_as_the_other)
{
    struct mg_plan_entry entry = group(MG_PICK_P2C, 1, 1, 0);
    int hits[3];
    forget_figures();
    candidates[0].ewma_us = 900000;

    candidates[1].inflight = 1;
    draw_many(&entry, 0, 0, hits);
    CHECK(hits[0] > 950);

    candidates[0].inflight = 2;
    draw_many(&entry, 0, 0, hits);
    CHECK(hits[1] > 950);
}

TEST(weights_say_how_often_each_is_among_the_two)
{
    struct mg_plan_entry entry = group(MG_PICK_P2C, 98, 1, 1);
    int hits[3];
    forget_figures();
    candidates[0].ewma_us = 100;
    candidates[1].ewma_us = candidates[2].ewma_us = 900000;

    draw_many(&entry, 0, 0, hits);

    CHECK(hits[0] > 950);
}

TEST(the_cheapest_is_drawn_and_one_without_a_price_counts_as_the_dearest)
{
    struct mg_plan_entry entry = group(MG_PICK_CHEAPEST, 1, 1, 1);
    forget_figures();
    look_up_rates();

    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 0), 1);
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 1 << 1), 0);
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 1 << 1 | 1 << 0), 2);
}

TEST(a_latency_bound_puts_cheap_but_slow_targets_last)
{
    struct mg_plan_entry entry = group(MG_PICK_CHEAPEST, 1, 1, 1);
    entry.latency_bound_ms = 1000;
    forget_figures();
    look_up_rates();
    candidates[1].ewma_us = 1000001;
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 0), 0);

    candidates[1].ewma_us = 1000000;
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 0), 1);

    candidates[0].ewma_us = 4000000;
    candidates[1].ewma_us = 3000000;
    candidates[2].ewma_us = 2000000;
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0, 0), 2);
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.01, 0, 0), 1);
}

TEST(only_picks_by_figures_want_fresh_ones)
{
    struct mg_plan plan = {.count = 2};
    CHECK(!mg_plan_wants_figures(&plan));

    plan.entries[1].pick = MG_PICK_HASH;
    CHECK(!mg_plan_wants_figures(&plan));
    static const enum mg_pick picks[] = {MG_PICK_LEAST_INFLIGHT, MG_PICK_P2C, MG_PICK_CHEAPEST};
    for (size_t i = 0; i < MG_COUNT(picks); i++) {
        plan.entries[1].pick = picks[i];
        CHECK(mg_plan_wants_figures(&plan));
    }
}

TEST(backoff_grows_is_capped_and_never_below_what_the_provider_asked)
{
    struct mg_plan_entry entry = {.backoff_base_ms = 500, .backoff_max_ms = 8000, .backoff_jitter = 1};

    CHECK_INT(mg_plan_backoff_ms(&entry, 1, 0, 0), 500);
    CHECK_INT(mg_plan_backoff_ms(&entry, 3, 0, 0), 2000);
    CHECK_INT(mg_plan_backoff_ms(&entry, 30, 0, 0), 8000);
    CHECK(mg_plan_backoff_ms(&entry, 3, 0, 0.75) == 500);
    CHECK_INT(mg_plan_backoff_ms(&entry, 3, 3000, 0.75), 3000);
}

MG_TEST_MAIN()
