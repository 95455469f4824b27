#include "watch/metrics.h"

#include <pthread.h>

#include "base/mem.h"
#include "store_world.h"

static struct mg_timeline an_exchange(void)
{
    struct mg_timeline timeline = world_exchange(0, 30);
    struct mg_attempt_record *first = world_attempt(&timeline, "alpha", "big", MG_CLASS_overloaded);
    struct mg_attempt_record *second = world_attempt(&timeline, "beta", "small", MG_CLASS_none);
    first->usage.input_tokens = 5;
    second->start_us = 2000;
    second->mark_us[MG_MARK_first_token] = 9000;
    second->reused = true;
    second->usage = (struct mg_usage){10, 20, 4, 0, 0, true};
    timeline.upstream_us = 29960;
    timeline.bytes_in = 100;
    timeline.bytes_out = 200;
    return timeline;
}

static const char *scrape(struct mg_metrics_hub *hub)
{
    static struct mg_buf out;
    mg_buf_fini(&out);
    mg_buf_init(&out, MG_METRICS_BYTES);
    CHECK_OK(mg_metrics_render(hub, &out));
    return mg_buf_cstr(&out);
}

#define CHECK_HAS(text, line) CHECK(strstr((text), "\n" line "\n") != NULL)

TEST(what_settled_on_several_workers_is_summed_by_its_labels)
{
    static struct mg_timeline timeline;
    struct mg_metrics_hub *hub = mg_metrics_hub_new(2, NULL);
    timeline = an_exchange();

    for (unsigned i = 0; i < 3; i++) {
        mg_metrics_begin(mg_metrics_worker(hub, i % 2));
        mg_metrics_settle(mg_metrics_worker(hub, i % 2), &timeline);
    }
    timeline.status = 499;
    timeline.clean = false;
    mg_metrics_begin(mg_metrics_worker(hub, 0));
    mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);
    const char *text = scrape(hub);

    CHECK_HAS(text, "moongate_requests_total{project=\"acme\",workflow=\"fast\",status=\"2xx\"} 3");
    CHECK_HAS(text, "moongate_requests_total{project=\"acme\",workflow=\"fast\",status=\"499\"} 1");
    CHECK_HAS(text, "moongate_retried_requests_total{project=\"acme\",workflow=\"fast\"} 4");
    CHECK_HAS(text, "moongate_unclean_ends_total{project=\"acme\",workflow=\"fast\"} 1");
    CHECK_HAS(text, "moongate_input_tokens_total{project=\"acme\",workflow=\"fast\"} 60");
    CHECK_HAS(text, "moongate_output_tokens_total{project=\"acme\",workflow=\"fast\"} 80");
    CHECK_HAS(text, "moongate_cached_read_tokens_total{project=\"acme\",workflow=\"fast\"} 16");
    CHECK_HAS(text, "moongate_sent_bytes_total{project=\"acme\",workflow=\"fast\"} 800");
    CHECK_HAS(
        text,
        "moongate_attempts_total{project=\"acme\",provider=\"alpha\",class=\"overloaded\"} 4");
    CHECK_HAS(text, "moongate_attempts_total{project=\"acme\",provider=\"beta\",class=\"none\"} 4");
    CHECK_HAS(text,
              "moongate_attempts_on_warm_connections_total{project=\"acme\",provider=\"beta\"} 4");
    CHECK_HAS(text, "moongate_requests_in_flight{worker=\"0\"} 0");
    mg_metrics_hub_free(hub);
}

TEST(why_calls_were_made_is_counted_by_how_they_ended)
{
    static const struct {
        enum mg_reason reason;
        enum mg_class class_;
    } made[] = {{MG_REASON_first, MG_CLASS_none},         {MG_REASON_retry, MG_CLASS_server_error},
                {MG_REASON_fallback, MG_CLASS_none},      {MG_REASON_hedge, MG_CLASS_none},
                {MG_REASON_hedge, MG_CLASS_cancelled},    {MG_REASON_hedge, MG_CLASS_cancelled},
                {MG_REASON_hedge, MG_CLASS_timeout_ttft}, {MG_REASON_rescue, MG_CLASS_none},
                {MG_REASON_rescue, MG_CLASS_cancelled}};
    static struct mg_timeline timeline;
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, NULL);
    timeline = world_exchange(0, 30);
    for (size_t i = 0; i < MG_COUNT(made); i++) {
        struct mg_attempt_record *attempt =
            world_attempt(&timeline, "alpha", "big", made[i].class_);
        attempt->reason = made[i].reason;
        attempt->waited_us = 1000;
        attempt->cost_microusd = 5;
    }

    timeline.offline = true;
    mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);
    const char *text = scrape(hub);

    CHECK_HAS(text, "moongate_offline_answers_total{project=\"acme\",workflow=\"fast\"} 1");
    CHECK_HAS(text, "moongate_retries_total{project=\"acme\",provider=\"alpha\"} 1");
    CHECK_HAS(text, "moongate_fallbacks_total{project=\"acme\",provider=\"alpha\"} 1");
    CHECK_HAS(text, "moongate_hedges_total{project=\"acme\",provider=\"alpha\",outcome=\"won\"} 1");
    CHECK_HAS(text,
              "moongate_hedges_total{project=\"acme\",provider=\"alpha\",outcome=\"lost\"} 2");
    CHECK_HAS(text,
              "moongate_hedges_total{project=\"acme\",provider=\"alpha\",outcome=\"failed\"} 1");
    CHECK_HAS(text,
              "moongate_rescues_total{project=\"acme\",provider=\"alpha\",outcome=\"resumed\"} 1");
    CHECK_HAS(text,
              "moongate_rescues_total{project=\"acme\",provider=\"alpha\",outcome=\"failed\"} 1");
    CHECK_HAS(text, "moongate_waited_microseconds_total{project=\"acme\",workflow=\"fast\"} 9000");
    CHECK_HAS(text, "moongate_cost_microusd_total{project=\"acme\",workflow=\"fast\"} 45");
    mg_metrics_hub_free(hub);
}

TEST(histograms_are_cumulative_and_in_seconds)
{
    static struct mg_timeline timeline;
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, NULL);
    timeline = an_exchange();

    mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);
    timeline.phase_us[MG_PHASE_settle] = 3600000000u;
    mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);
    const char *text = scrape(hub);

    CHECK_HAS(text,
              "moongate_request_seconds_bucket{project=\"acme\",workflow=\"fast\",le=\"0.025\"} 0");
    CHECK_HAS(text,
              "moongate_request_seconds_bucket{project=\"acme\",workflow=\"fast\",le=\"0.05\"} 1");
    CHECK_HAS(text,
              "moongate_request_seconds_bucket{project=\"acme\",workflow=\"fast\",le=\"120\"} 1");
    CHECK_HAS(text,
              "moongate_request_seconds_bucket{project=\"acme\",workflow=\"fast\",le=\"+Inf\"} 2");
    CHECK_HAS(text, "moongate_request_seconds_count{project=\"acme\",workflow=\"fast\"} 2");
    CHECK_HAS(text, "moongate_request_seconds_sum{project=\"acme\",workflow=\"fast\"} 3600.030000");
    CHECK_HAS(text, "moongate_time_to_first_token_seconds_bucket{project=\"acme\",workflow="
                    "\"fast\",le=\"0.01\"} 0");
    CHECK_HAS(text, "moongate_time_to_first_token_seconds_bucket{project=\"acme\",workflow="
                    "\"fast\",le=\"0.025\"} 2");
    CHECK_HAS(text, "moongate_attempt_time_to_first_token_seconds_bucket{project=\"acme\",provider="
                    "\"beta\",le=\"0.01\"} 2");
    CHECK_HAS(
        text,
        "moongate_overhead_seconds_bucket{project=\"acme\",workflow=\"fast\",le=\"2.5e-05\"} 0");
    CHECK_HAS(
        text,
        "moongate_overhead_seconds_bucket{project=\"acme\",workflow=\"fast\",le=\"5e-05\"} 1");
    mg_metrics_hub_free(hub);
}

TEST(what_is_in_flight_is_counted)
{
    static struct mg_timeline timeline;
    struct mg_metrics_hub *hub = mg_metrics_hub_new(2, NULL);
    timeline = an_exchange();

    for (int i = 0; i < 5; i++)
        mg_metrics_begin(mg_metrics_worker(hub, 1));
    mg_metrics_settle(mg_metrics_worker(hub, 1), &timeline);
    mg_metrics_connections(mg_metrics_worker(hub, 1), 3);
    mg_metrics_connections(mg_metrics_worker(hub, 1), -1);
    mg_metrics_shed(mg_metrics_worker(hub, 0));
    const char *text = scrape(hub);

    CHECK_INT(mg_metrics_in_flight(hub), 4);
    CHECK_HAS(text, "moongate_requests_in_flight{worker=\"1\"} 4");
    CHECK_HAS(text, "moongate_client_connections{worker=\"1\"} 2");
    CHECK_HAS(text, "moongate_shed_requests_total{worker=\"0\"} 1");
    mg_metrics_hub_free(hub);
}

TEST(names_cannot_break_out_of_their_quotes)
{
    static struct mg_timeline timeline;
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, NULL);
    char name[200];
    timeline = an_exchange();
    timeline.attempt_count = 0;
    timeline.project = MG_VIEW("a\"b\\c\nd");
    memset(name, '"', sizeof name);
    timeline.workflow = mg_view_of(name, sizeof name);

    mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);

    CHECK(strstr(scrape(hub), "{project=\"a\\\"b\\\\c\\nd\",workflow=\"\\\"\\\"") != NULL);
    mg_metrics_hub_free(hub);
}

TEST(label_sets_are_bounded_and_the_rest_is_counted_under_other)
{
    static struct mg_timeline timeline;
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, NULL);
    char name[32];
    timeline = an_exchange();

    for (int i = 0; i < MG_METRICS_WORKFLOWS + 100; i++) {
        int n = snprintf(name, sizeof name, "w%d", i);
        timeline.workflow = mg_view_of(name, (size_t)n);
        timeline.attempts[0].provider = mg_view_of(name, (size_t)n);
        mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);
    }
    const char *text = scrape(hub);

    CHECK_HAS(text, "moongate_requests_total{project=\"acme\",workflow=\"w510\",status=\"2xx\"} 1");
    CHECK(strstr(text, "workflow=\"w511\"") == NULL);
    CHECK_HAS(text,
              "moongate_requests_total{project=\"other\",workflow=\"other\",status=\"2xx\"} 101");
    CHECK(strstr(text, "project=\"other\",provider=\"other\",class=\"overloaded\"} ") != NULL);
    mg_metrics_hub_free(hub);
}

TEST(generations_and_refused_reloads_are_shown)
{
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, NULL);

    mg_metrics_generation(hub, MG_VIEW("acme"), 1, true);
    mg_metrics_generation(hub, MG_VIEW("globex"), 1, true);
    mg_metrics_generation(hub, MG_VIEW("acme"), 2, true);
    mg_metrics_generation(hub, MG_VIEW("acme"), 3, false);
    const char *text = scrape(hub);

    CHECK_HAS(text, "moongate_generation{project=\"acme\"} 2");
    CHECK_HAS(text, "moongate_generation{project=\"globex\"} 1");
    CHECK_HAS(text, "moongate_reloads_total{project=\"acme\",result=\"ok\"} 2");
    CHECK_HAS(text, "moongate_reloads_total{project=\"acme\",result=\"refused\"} 1");
    mg_metrics_hub_free(hub);
}

TEST(the_journal_and_the_recorder_are_shown)
{
    static struct mg_timeline timeline;
    struct world world;
    world_open(&world);
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, world.recorder);
    timeline = an_exchange();
    world_record(&world, &timeline);
    mg_recorder_flush(world.recorder);
    const char *text = scrape(hub);

    CHECK_HAS(text, "moongate_journal_bytes{worker=\"0\"} 1048576");
    CHECK_HAS(text, "moongate_journal_records_total{worker=\"0\"} 5");
    CHECK_HAS(text, "moongate_recorder_records_total 5");
    CHECK_HAS(text, "moongate_store_degraded 0");
    mg_metrics_hub_free(hub);
    world_stop(&world);
}

/* Every sample belongs to the family whose HELP and TYPE stand before it, and no family comes
 * twice. */
TEST(the_text_is_well_formed)
{
    static struct mg_timeline timeline;
    struct world world;
    char family[128] = "";
    world_open(&world);
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, world.recorder);
    timeline = an_exchange();
    mg_metrics_settle(mg_metrics_worker(hub, 0), &timeline);
    mg_metrics_generation(hub, MG_VIEW("acme"), 1, true);
    const char *whole = scrape(hub);
    mg_view rest = mg_view_cstr(whole);

    while (rest.len > 0) {
        mg_view line = mg_view_cut(&rest, '\n');
        if (mg_view_starts(line, MG_VIEW("# HELP "))) {
            line = mg_view_skip(line, 7);
            mg_view name = mg_view_cut(&line, ' ');
            snprintf(family, sizeof family, "%.*s", MG_FMT(name));
            char again[160];
            snprintf(again, sizeof again, "# HELP %s ", family);
            CHECK(strstr(strstr(whole, again) + 1, again) == NULL);
        } else if (!mg_view_starts(line, MG_VIEW("# TYPE "))) {
            CHECK(mg_view_starts(line, mg_view_cstr(family)));
            CHECK(mg_view_search(line, MG_VIEW(" ")) < line.len);
        }
    }
    mg_metrics_hub_free(hub);
    world_stop(&world);
}

static void *settle_many(void *arg)
{
    static struct mg_timeline timeline;
    char name[32];
    timeline = an_exchange();
    for (int i = 0; i < 20000; i++) {
        int n = snprintf(name, sizeof name, "w%d", i % 700);
        timeline.workflow = mg_view_of(name, (size_t)n);
        mg_metrics_begin(arg);
        mg_metrics_settle(arg, &timeline);
    }
    return NULL;
}

TEST(a_scrape_may_run_while_a_worker_counts)
{
    struct mg_metrics_hub *hub = mg_metrics_hub_new(1, NULL);
    pthread_t worker;

    CHECK_INT(pthread_create(&worker, NULL, settle_many, mg_metrics_worker(hub, 0)), 0);
    for (int i = 0; i < 10; i++)
        scrape(hub);
    pthread_join(worker, NULL);

    CHECK_INT(mg_metrics_in_flight(hub), 0);
    mg_metrics_hub_free(hub);
}

MG_TEST_MAIN()
