#include "meter/usage.h"

#include "base/mem.h"
#include "http/json.h"
#include "meter/charge.h"
#include "meter/reprice.h"
#include "store_world.h"

/* What the scripted providers of these tests said: filled by record_one(). */
struct expected {
    uint64_t input, output, cost;
    unsigned attempts;
};

static const char *const projects[] = {"acme", "globex", "initech"};

/* An exchange with one failed and one good attempt; odd ones have one more, unpriced. */
static void record_one(struct world *world, unsigned i, struct expected *expected)
{
    static struct mg_timeline timeline;
    char metadata[64];
    timeline = world_exchange(i * 60, 100);
    timeline.id[30 - 1] = (char)('a' + i % 8);
    timeline.project = mg_view_cstr(projects[i % 3]);
    snprintf(metadata, sizeof metadata, "{\"tier\":\"%s\",\"seat\":%u}", i % 2 ? "gold" : "free", i % 4);
    timeline.metadata = mg_view_cstr(metadata);
    timeline.phase_us[MG_PHASE_commit] = 50;
    for (unsigned n = 0; n < 2 + i % 2; n++) {
        struct mg_attempt_record *attempt =
            world_attempt(&timeline, n == 1 ? "openai" : "flaky", n == 1 ? "gpt-6-sol" : "thing", n == 1 ? MG_CLASS_none : MG_CLASS_server_error);
        attempt->reason = n ? MG_REASON_fallback : MG_REASON_first;
        attempt->usage = (struct mg_usage){.input_tokens = 1000 + i, .output_tokens = 10 * n + i, .cached_read_tokens = 500,
                                           .reported = n == 1};
        attempt->priced = n < 2;
        attempt->own_price = n == 0;
        attempt->cost_picousd = n < 2 ? 1000001u * (i + 1) : 0;
        attempt->cost_microusd = n < 2 ? i + 2 : 0;
        expected->input += attempt->usage.input_tokens;
        expected->output += attempt->usage.output_tokens;
        expected->cost += attempt->cost_picousd;
        expected->attempts++;
        CHECK_OK(mg_record_started(world->journal, &timeline, attempt, 1));
        CHECK_OK(mg_record_settled(world->journal, &timeline, attempt));
    }
    timeline.uncharged = mg_charge_serving(&timeline);
    CHECK_OK(mg_record_exchange(world->journal, &timeline));
}

static struct expected record_many(struct world *world, unsigned count)
{
    struct expected expected = {0};
    world_open(world);
    for (unsigned i = 0; i < count; i++)
        record_one(world, i, &expected);
    mg_recorder_flush(world->recorder);
    return expected;
}

static struct mg_usage_query by(const char *first, const char *second)
{
    struct mg_usage_query query = {.by_count = 0};
    const char *const names[] = {first, second};
    for (int i = 0; i < 2 && names[i]; i++)
        CHECK(mg_usage_by_find(mg_view_cstr(names[i]), &query.by[query.by_count++]));
    return query;
}

static struct mg_usage_report *report_of(struct world *world, const struct mg_usage_query *query)
{
    struct mg_usage_report *report;
    CHECK_OK(mg_usage_report_new(world->db, query, &report));
    return report;
}

TEST(every_dimension_adds_up_to_the_events_to_the_token_and_the_picodollar)
{
    static const char *const dimensions[] = {"project", "key",        "workflow", "arm",   "provider", "model",
                                             "served",  "dialect",    "tier",     "class", "reason",   "credential",
                                             "session", "charged",    "hour",     "day",   "month",    "metadata.tier",
                                             "metadata.seat", "metadata.absent"};
    struct world world;
    struct expected expected = record_many(&world, 100);
    for (size_t d = 0; d < MG_COUNT(dimensions); d++) {
        struct mg_usage_query query = by(dimensions[d], d % 2 ? "project" : NULL);
        struct mg_usage_report *report = report_of(&world, &query);
        struct mg_usage_sums sums = {0};
        mg_view values[MG_USAGE_DIMENSIONS];
        for (size_t row = 0; row < mg_usage_report_rows(report); row++) {
            const struct mg_usage_sums *one = mg_usage_report_row(report, row, values);
            sums.attempts += one->attempts;
            sums.input_tokens += one->input_tokens;
            sums.output_tokens += one->output_tokens;
            sums.cost_picousd += one->cost_picousd;
        }
        const struct mg_usage_sums *total = mg_usage_report_total(report);
        CHECK_INT(sums.attempts, expected.attempts);
        CHECK_INT(sums.input_tokens, expected.input);
        CHECK_INT(sums.output_tokens, expected.output);
        CHECK_INT((uint64_t)sums.cost_picousd, expected.cost);
        CHECK_INT(total->attempts, expected.attempts);
        CHECK_INT(total->requests, 100);
        CHECK_INT((uint64_t)total->cost_picousd, expected.cost);
        mg_usage_report_free(report);
    }
    world_stop(&world);
}

TEST(rows_carry_their_values_in_order)
{
    struct world world;
    record_many(&world, 12);
    struct mg_usage_query query = by("metadata.tier", "project");
    struct mg_usage_report *report = report_of(&world, &query);
    mg_view values[MG_USAGE_DIMENSIONS];

    CHECK_INT(mg_usage_report_rows(report), 6);
    const struct mg_usage_sums *sums = mg_usage_report_row(report, 1, values);
    CHECK_VIEW(values[0], MG_VIEW("free"));
    CHECK_VIEW(values[1], MG_VIEW("globex"));
    CHECK_INT(sums->requests, 2);
    CHECK_INT(sums->attempts, 4);
    CHECK_INT(sums->estimated, 2);
    mg_usage_report_row(report, 5, values);
    CHECK_VIEW(values[0], MG_VIEW("gold"));
    mg_usage_report_free(report);
    world_stop(&world);
}

static mg_err put_json(void *arg, const struct mg_usage_event *event)
{
    return mg_usage_event_json(event, arg);
}

TEST(metadata_of_old_records_that_not_everybody_reads_is_a_text)
{
    struct world world;
    struct mg_buf out;
    struct mg_json *tree;
    uint64_t next;
    struct mg_timeline timeline = world_exchange(1, 1);
    world_open(&world);
    timeline.metadata = MG_VIEW("{\"user\":\"a\\u0000b\"}");
    world_attempt(&timeline, "p", "m", MG_CLASS_none);
    world_record(&world, &timeline);
    mg_recorder_flush(world.recorder);

    mg_buf_init(&out, 1 << 16);
    CHECK_OK(mg_usage_each(world.db, &(struct mg_usage_range){.from_us = 0}, put_json, &out, &next));
    CHECK_OK(mg_json_parse(mg_buf_view(&out), 1 << 16, &tree, NULL));
    CHECK_VIEW(mg_json_string(mg_json_get(tree, "metadata")), timeline.metadata);
    mg_json_free(tree);
    mg_buf_fini(&out);
    world_stop(&world);
}

TEST(a_filter_and_a_period_choose_events)
{
    struct world world;
    record_many(&world, 30);
    struct mg_usage_query query = by("project", NULL);
    query.filter_count = 1;
    CHECK(mg_usage_by_find(MG_VIEW("metadata.seat"), &query.filters[0].by));
    snprintf(query.filters[0].value, sizeof query.filters[0].value, "3");
    query.range.from_us = ((uint64_t)BEGAN_S + 600) * 1000000u;
    query.range.to_us = ((uint64_t)BEGAN_S + 1200) * 1000000u;

    struct mg_usage_report *report = report_of(&world, &query);

    CHECK_INT(mg_usage_report_total(report)->requests, 3);         /* 11, 15, 19 */
    mg_usage_report_free(report);
    world_stop(&world);
}

TEST(serving_charges_only_the_attempt_that_answered)
{
    struct world world;
    record_many(&world, 10);
    struct mg_usage_query query = by("charged", "provider");
    struct mg_usage_report *report = report_of(&world, &query);
    mg_view values[MG_USAGE_DIMENSIONS];

    CHECK_INT(mg_usage_report_rows(report), 2);
    const struct mg_usage_sums *sums = mg_usage_report_row(report, 0, values);
    CHECK_VIEW(values[0], MG_VIEW("false"));
    CHECK_VIEW(values[1], MG_VIEW("flaky"));
    CHECK_INT((uint64_t)sums->charged_picousd, 0);
    sums = mg_usage_report_row(report, 1, values);
    CHECK_VIEW(values[1], MG_VIEW("openai"));
    CHECK_INT((uint64_t)sums->charged_picousd, (uint64_t)sums->cost_picousd);
    mg_usage_report_free(report);
    world_stop(&world);
}

TEST(a_broken_answer_that_was_gone_on_with_served_and_a_lost_hedge_did_not)
{
    static struct mg_timeline timeline;
    timeline = world_exchange(0, 10);
    timeline.phase_us[MG_PHASE_commit] = 5;
    struct mg_attempt_record *broken = world_attempt(&timeline, "a", "m", MG_CLASS_truncated_stream);
    struct mg_attempt_record *hedge = world_attempt(&timeline, "b", "m", MG_CLASS_cancelled);
    struct mg_attempt_record *rescue = world_attempt(&timeline, "c", "m", MG_CLASS_none);
    broken->mark_us[MG_MARK_first_token] = 5;
    hedge->reason = MG_REASON_hedge;
    rescue->reason = MG_REASON_rescue;
    rescue->resumed_bytes = 10;

    CHECK(mg_charge_served(&timeline, broken));
    CHECK(!mg_charge_served(&timeline, hedge));
    CHECK(mg_charge_served(&timeline, rescue));
    CHECK_INT(mg_charge_serving(&timeline), 2);
    timeline.status = 502;
    CHECK_INT(mg_charge_serving(&timeline), 7);
}

static mg_err check_json(void *arg, const struct mg_usage_event *event)
{
    unsigned *count = arg;
    struct mg_buf out;
    struct mg_json *tree;
    int64_t number;
    mg_buf_init(&out, 1 << 20);
    CHECK_OK(mg_usage_event_json(event, &out));
    CHECK_OK(mg_json_parse(mg_buf_view(&out), 1 << 20, &tree, NULL));
    CHECK(mg_json_i64(mg_json_get(tree, "version"), &number) && number == MG_USAGE_VERSION);
    CHECK(mg_json_i64(mg_json_get(tree, "input_tokens"), &number) && number == (int64_t)event->attempt->usage.input_tokens);
    CHECK(mg_json_is(mg_json_get(tree, "cost_picousd"), MG_JSON_NULL) == !event->priced);
    CHECK(mg_json_is(mg_json_path(tree, "metadata.tier"), MG_JSON_STRING));
    mg_json_free(tree);
    mg_buf_fini(&out);
    (*count)++;
    return MG_OK;
}

TEST(each_event_is_a_JSON_object_and_a_reader_goes_on_where_it_stopped)
{
    struct world world;
    struct expected expected = record_many(&world, 25);
    struct mg_usage_range range = {.max_exchanges = 7};
    unsigned count = 0, rounds = 0;
    for (uint64_t next = 1; next != range.from_us; rounds++) {
        range.from_us = next;
        CHECK_OK(mg_usage_each(world.db, &range, check_json, &count, &next));
    }
    CHECK_INT(count, expected.attempts);
    CHECK_INT(rounds, 5);
    world_stop(&world);
}

static struct mg_prices *dearer(void)
{
    static const char json[] =
        "{\"version\":1,\"providers\":[{\"name\":\"openai\",\"models\":[{\"model\":\"gpt-6-sol\",\"prices\":["
        "{\"input\":1000000,\"cached_read\":0,\"output\":2000000}]}]},"
        "{\"name\":\"flaky\",\"project\":\"acme\",\"models\":[{\"model\":\"thing\",\"prices\":[{\"input\":5}]}]}]}";
    struct mg_prices *prices;
    CHECK_OK(mg_prices_parse(mg_view_of(json, sizeof json - 1), "p", &prices, NULL));
    return prices;
}

static struct mg_reprice reprice_all(struct world *world, const struct mg_prices *prices, bool write)
{
    struct mg_usage_range range = {.from_us = 1, .max_exchanges = 7};
    struct mg_reprice sum = {0};
    for (bool done = false; !done;) {
        struct mg_reprice piece;
        CHECK_OK(mg_reprice_read(world->db, prices, &range, &piece));
        if (write)
            CHECK_OK(mg_recorder_write_wait(world->recorder, mg_reprice_write, &piece));
        sum.attempts += piece.attempts;
        sum.changed += piece.changed;
        sum.kept += piece.kept;
        sum.before_picousd += piece.before_picousd;
        sum.after_picousd += piece.after_picousd;
        range.from_us = piece.next_us;
        done = piece.done;
        mg_reprice_fini(&piece);
    }
    return sum;
}

TEST(the_past_is_priced_again_and_the_difference_is_told_before_and_after)
{
    struct world world;
    struct expected expected = record_many(&world, 30);
    struct mg_prices *prices = dearer();
    struct mg_usage_query all = by("provider", NULL);

    struct mg_reprice dry = reprice_all(&world, prices, false);
    struct mg_usage_report *report = report_of(&world, &all);
    CHECK_INT((uint64_t)mg_usage_report_total(report)->cost_picousd, expected.cost);
    mg_usage_report_free(report);

    struct mg_reprice done = reprice_all(&world, prices, true);
    report = report_of(&world, &all);
    CHECK_INT((uint64_t)done.before_picousd, expected.cost);
    CHECK_INT(done.attempts, expected.attempts);
    CHECK_INT(dry.changed, done.changed);
    CHECK(dry.after_picousd == done.after_picousd);
    CHECK(mg_usage_report_total(report)->cost_picousd == done.after_picousd);
    CHECK_INT(done.kept, 20);              /* the first attempts of globex and initech */
    mg_usage_report_free(report);

    CHECK_INT(reprice_all(&world, prices, true).changed, 0);
    mg_prices_free(prices);
    world_stop(&world);
}

TEST(money_is_written_with_all_its_decimals)
{
    char text[MG_USAGE_USD];
    CHECK_STR(mg_usage_usd(text, 0), "0.000000000000");
    CHECK_STR(mg_usage_usd(text, 855000000000u), "0.855000000000");
    CHECK_STR(mg_usage_usd(text, (mg_usage_money)UINT64_MAX * 1000), "18446744073.709551615000");
}

MG_TEST_MAIN()
