#include "relay/stats.h"

#include <pthread.h>

#include "check.h"

static struct mg_stats_figures figures(struct mg_stats *stats)
{
    struct mg_stats_figures out;
    mg_stats_read(stats, &out);
    return out;
}

TEST(one_row_for_a_project_and_its_target_and_another_for_another_project)
{
    struct mg_stats *a = mg_stats_find(MG_VIEW("p"), MG_VIEW("openai/gpt"));

    CHECK(a != NULL);
    CHECK(mg_stats_find(MG_VIEW("p"), MG_VIEW("openai/gpt")) == a);
    CHECK(mg_stats_find(MG_VIEW("q"), MG_VIEW("openai/gpt")) != a);
    CHECK(mg_stats_find(MG_VIEW("po"), MG_VIEW("penai/gpt")) != a);
    CHECK(mg_stats_peek(MG_VIEW("p"), MG_VIEW("openai/gpt")) == a);
    CHECK(mg_stats_peek(MG_VIEW("p"), MG_VIEW("nobody asked")) == NULL);
}

TEST(counts_what_is_in_flight)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("flight"), MG_VIEW("t"));

    mg_stats_start(stats);
    mg_stats_start(stats);
    CHECK_INT(figures(stats).inflight, 2);
    mg_stats_end(stats, 1000, false);
    CHECK_INT(figures(stats).inflight, 1);
    CHECK_INT(figures(stats).calls, 1);
}

TEST(the_first_latency_is_taken_whole_and_later_ones_move_it)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("latency"), MG_VIEW("t"));

    CHECK_INT(figures(stats).ewma_us, 0);
    CHECK_INT(figures(stats).p50_us, 0);
    mg_stats_start(stats);
    mg_stats_end(stats, 80000, false);
    CHECK_INT(figures(stats).ewma_us, 80000);
    mg_stats_start(stats);
    mg_stats_end(stats, 160000, false);
    CHECK_INT(figures(stats).ewma_us, 90000);
}

TEST(a_call_without_a_first_token_changes_no_latency)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("silent"), MG_VIEW("t"));

    mg_stats_start(stats);
    mg_stats_end(stats, 0, true);

    CHECK_INT(figures(stats).ewma_us, 0);
    CHECK_INT(figures(stats).p95_us, 0);
    CHECK_INT(figures(stats).failures, 1);
}

TEST(quantiles_are_at_most_a_bucket_away)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("quantiles"), MG_VIEW("t"));

    for (uint64_t i = 1; i <= 100; i++) {
        mg_stats_start(stats);
        mg_stats_end(stats, i * 10000, false);
    }
    struct mg_stats_figures got = figures(stats);

    CHECK(got.p50_us >= 500000 && got.p50_us <= 625000);
    CHECK(got.p95_us >= 950000 && got.p95_us <= 1187500);
    CHECK(got.p99_us >= 990000 && got.p99_us <= 1237500);
    CHECK_INT(got.total_p99_us, 0);
}

TEST(whole_answers_have_a_quantile_of_their_own)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("total"), MG_VIEW("t"));

    for (uint64_t i = 1; i <= 100; i++)
        mg_stats_total(stats, i * 100000);
    mg_stats_total(stats, 0);

    CHECK(figures(stats).total_p99_us >= 9900000 && figures(stats).total_p99_us <= 12375000);
    CHECK_INT(figures(stats).p99_us, 0);
    CHECK_INT(figures(stats).calls, 0);
}

TEST(a_dropped_attempt_counts_nowhere)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("drop"), MG_VIEW("t"));

    mg_stats_start(stats);
    mg_stats_drop(stats);

    CHECK_INT(figures(stats).inflight, 0);
    CHECK_INT(figures(stats).calls, 0);
}

static void latencies(struct mg_stats *stats, int count, uint64_t us)
{
    for (int i = 0; i < count; i++) {
        mg_stats_start(stats);
        mg_stats_end(stats, us, false);
    }
}

TEST(the_baseline_needs_a_past_and_is_not_dragged_along_by_a_burst)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("baseline"), MG_VIEW("t"));

    latencies(stats, 15, 800000);
    CHECK_INT(figures(stats).baseline_us, 0);
    latencies(stats, 1, 800000);
    CHECK_INT(figures(stats).baseline_us, 800000);
    latencies(stats, 600, 800000);
    latencies(stats, 50, 6000000);
    CHECK(figures(stats).ewma_us > 5900000);
    CHECK(figures(stats).baseline_us < 900000);
    latencies(stats, 3000, 6000000);
    CHECK(figures(stats).baseline_us > 5500000);
    latencies(stats, 3000, 800000);
    CHECK(figures(stats).baseline_us < 900000);
}

TEST(a_short_past_is_its_mean)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("mean"), MG_VIEW("t"));

    for (uint64_t i = 1; i <= 16; i++)
        latencies(stats, 1, i * 100000);

    CHECK(figures(stats).baseline_us > 840000 && figures(stats).baseline_us < 860000);
}

TEST(the_error_rate_rises_with_failures_and_fades_without)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("errors"), MG_VIEW("t"));

    for (int i = 0; i < 100; i++) {
        mg_stats_start(stats);
        mg_stats_end(stats, 0, true);
    }
    CHECK(figures(stats).error_rate > 0.99 && figures(stats).error_rate <= 1.0);
    for (int i = 0; i < 100; i++) {
        mg_stats_start(stats);
        mg_stats_end(stats, 1000, false);
    }
    CHECK(figures(stats).error_rate < 0.01);
}

TEST(old_latencies_are_forgotten)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("fade"), MG_VIEW("t"));

    for (int i = 0; i < 600; i++)
        mg_stats_end(stats, 1000000, false);
    for (int i = 0; i < 8000; i++)
        mg_stats_end(stats, 1000, false);

    CHECK(figures(stats).p95_us < 2000);
}

TEST(any_latency_has_a_bucket)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("range"), MG_VIEW("t"));

    mg_stats_end(stats, 1, false);
    CHECK(figures(stats).p50_us <= 320);
    for (int bit = 0; bit < 64; bit++)
        mg_stats_end(stats, UINT64_C(1) << bit, false);
    mg_stats_end(stats, UINT64_MAX, false);

    CHECK(figures(stats).p95_us > 0);
}

TEST(knows_the_rate_limit_only_when_a_provider_said_it)
{
    struct mg_stats *stats = mg_stats_find(MG_VIEW("limit"), MG_VIEW("t"));

    CHECK(!figures(stats).rate_limit_known);
    mg_stats_rate_limit(stats, 0);
    CHECK(figures(stats).rate_limit_known);
    CHECK_INT(figures(stats).rate_limit_remaining, 0);
}

static void *hammer(void *arg)
{
    char name[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "t%d", i % 50);
        struct mg_stats *stats = mg_stats_find(MG_VIEW("threads"), mg_view_cstr(name));
        mg_stats_start(stats);
        mg_stats_end(stats, 5000, i % 2 == 0);
    }
    return arg;
}

TEST(threads_agree_on_the_rows_and_lose_no_call)
{
    pthread_t threads[4];
    uint64_t calls = 0;

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        struct mg_stats_figures got = figures(mg_stats_peek(MG_VIEW("threads"), mg_view_cstr(name)));
        calls += got.calls;
        CHECK_INT(got.inflight, 0);
    }

    CHECK_INT(calls, 80000);
}

TEST(a_full_table_answers_null_and_null_is_harmless)
{
    char name[24];
    struct mg_stats *last = NULL;

    for (int i = 0; i <= MG_STATS_ROWS; i++) {
        snprintf(name, sizeof name, "x%d", i);
        last = mg_stats_find(MG_VIEW("full"), mg_view_cstr(name));
    }

    CHECK(last == NULL);
    CHECK(mg_stats_peek(MG_VIEW("full"), mg_view_cstr(name)) == NULL);
    mg_stats_start(last);
    mg_stats_end(last, 1, true);
    mg_stats_rate_limit(last, 1);
    mg_stats_drop(last);
    mg_stats_total(last, 1);
    CHECK_INT(mg_stats_ewma_us(last), 0);
    CHECK_INT(mg_stats_baseline_us(last), 0);
    CHECK_INT(figures(last).calls, 0);
}

MG_TEST_MAIN()
