#include "relay/plan.h"

#include "check.h"

static const struct mg_config_target targets[] = {{.id = "p/a"}, {.id = "p/b"}, {.id = "p/c"}};
static struct mg_candidate candidates[] = {{.target = &targets[0]}, {.target = &targets[1]}, {.target = &targets[2]}};

static struct mg_plan_entry group(enum mg_pick pick, double a, double b, double c)
{
    return (struct mg_plan_entry){.choices = {{0, a}, {1, b}, {2, c}}, .choice_count = 3, .pick = pick};
}

TEST(a_weighted_group_spreads_by_weight)
{
    struct mg_plan_entry entry = group(MG_PICK_WEIGHTED, 70, 30, 0);
    int hits[3] = {0};
    for (int i = 0; i < 1000; i++)
        hits[mg_plan_draw(&entry, candidates, MG_VIEW_NONE, i / 1000.0, 0)]++;

    CHECK_INT(hits[0], 700);
    CHECK_INT(hits[1], 300);
}

TEST(what_was_tried_is_drawn_only_when_nothing_else_is_left)
{
    struct mg_plan_entry entry = group(MG_PICK_WEIGHTED, 1, 1, 1);
    for (int i = 0; i < 100; i++)
        CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, i / 100.0, 1 << 0 | 1 << 2), 1);

    int drawn = mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 7);
    CHECK(drawn >= 0 && drawn < 3);
}

TEST(a_sticky_key_stays_with_its_candidate_when_another_one_goes)
{
    struct mg_plan_entry all = group(MG_PICK_HASH, 1, 1, 1), fewer = group(MG_PICK_HASH, 1, 1, 0);
    int moved = 0, seen[3] = {0};
    for (int i = 0; i < 300; i++) {
        char key[24];
        snprintf(key, sizeof key, "user-%d", i);
        int before = mg_plan_draw(&all, candidates, mg_view_cstr(key), 0.1, 0);
        int after = mg_plan_draw(&fewer, candidates, mg_view_cstr(key), 0.9, 0);
        seen[before]++;
        moved += before != 2 && before != after;
    }

    CHECK_INT(moved, 0);
    CHECK(seen[0] > 50 && seen[1] > 50 && seen[2] > 50);
}

TEST(the_least_busy_candidate_is_drawn)
{
    struct mg_plan_entry entry = group(MG_PICK_LEAST_INFLIGHT, 1, 1, 1);
    candidates[0].inflight = 5;
    candidates[1].inflight = 2;
    candidates[2].inflight = 9;

    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 0), 1);
    CHECK_INT(mg_plan_draw(&entry, candidates, MG_VIEW_NONE, 0.5, 1 << 1), 0);
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
