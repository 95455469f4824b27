#include "watch/logs.h"

#include "base/clock.h"
#include "base/mem.h"
#include "meter/packer.h"
#include "store_world.h"
#include "watch/search.h"

/* Ten exchanges, a second apart; which ones a filter lets through is written as their digits. */
static void fill(struct world *world)
{
    static struct mg_timeline timeline;
    world_open(world);
    for (unsigned i = 0; i < 10; i++) {
        timeline = world_exchange(i, 100 * i);
        if (i == 1)
            timeline.project = MG_VIEW("globex");
        if (i == 2)
            timeline.workflow = MG_VIEW("deep");
        if (i == 3)
            timeline.key_id = MG_VIEW("key_'\"%");
        if (i == 4)
            timeline.session = MG_VIEW("s-4");
        timeline.stream = i == 5;
        timeline.offline = i == 9;
        if (i == 6) {
            world_attempt(&timeline, "alpha", "big", MG_CLASS_overloaded);
            world_attempt(&timeline, "beta", "small", MG_CLASS_none)->reason = MG_REASON_fallback;
        }
        if (i == 2 || i == 4 || i == 5) {
            world_attempt(&timeline, "gamma", "slow", MG_CLASS_timeout_idle);
            world_attempt(&timeline, "gamma", "slow", MG_CLASS_none)->reason =
                i == 2   ? MG_REASON_retry
                : i == 4 ? MG_REASON_hedge
                         : MG_REASON_rescue;
            timeline.attempts[1].waited_us = 1000;
            timeline.attempts[1].cost_microusd = 20;
        }
        if (i == 7) {
            world_attempt(&timeline, "alpha", "small", MG_CLASS_rate_limited);
            timeline.status = 429;
            timeline.class_ = MG_CLASS_rate_limited;
            timeline.clean = false;
        }
        if (i == 8) {
            timeline.status = 503;
            timeline.clean = false;
        }
        world_record(world, &timeline);
    }
    mg_recorder_flush(world->recorder);
}

static mg_err digit_of(void *arg, const struct mg_logs_row *row)
{
    char *digits = arg;
    size_t len = strlen(digits);
    digits[len] = (char)('0' + row->start_us / 1000000u - BEGAN_S);
    digits[len + 1] = '\0';
    return MG_OK;
}

static const char *select_digits(struct world *world, const char *query)
{
    static char digits[64];
    static struct mg_query asked;
    struct mg_search_cursor next;
    asked = (struct mg_query){0};
    digits[0] = '\0';
    CHECK_OK(mg_query_parse(&asked, mg_view_cstr(query), "", NULL));
    struct mg_search *search = mg_search_new(world->db);
    CHECK_OK(mg_search_refresh(search, NULL));
    CHECK_OK(mg_search_page(search, &asked, digit_of, digits, &next));
    mg_search_free(search);
    return digits;
}

static void append(char *all, size_t size, const char *digits)
{
    size_t len = strlen(all);
    snprintf(all + len, size - len, "%s", digits);
}

TEST(each_filter_selects_what_it_says)
{
    static const struct {
        const char *query, *digits;
    } rows[] = {
        {"", "9876543210"},
        {"limit=3", "987"},
        {"project=globex", "1"},
        {"project=nobody", ""},
        {"workflow=deep", "2"},
        {"key=key_%27%22%25", "3"},
        {"session=s-4", "4"},
        {"stream=true", "5"},
        {"stream=false&limit=4", "9876"},
        {"retried=true", "6542"},
        {"retried=false", "987310"},
        {"repeated=true", "2"},
        {"repeated=false", "987654310"},
        {"fell_over=true", "6"},
        {"fell-over=1", "6"},
        {"hedged=true", "4"},
        {"rescued=true", "5"},
        {"offline=true", "9"},
        {"rescued=false&retried=true", "642"},
        {"provider=alpha", "76"},
        {"provider=beta", "6"},
        {"provider=alph", ""},
        {"model=small", "76"},
        {"model=big", "6"},
        {"status=429", "7"},
        {"status=5xx", "8"},
        {"status=4xx", "7"},
        {"status=error", "87"},
        {"class=rate_limited", "7"},
        {"min_latency=700ms", "987"},
        {"min-latency=800", "98"},
        {"since=2025-11-24T16:00:05Z&until=2025-11-24T16:00:08Z", "765"},
        {"since=2025-11-24T16:00&limit=2", "98"},
        {"until=2025-11-24", ""},
        {"project=acme&status=error&provider=alpha", "7"},
    };
    struct world world;
    fill(&world);
    for (int packed = 0; packed < 3; packed++) { /* all open; four of them in a block; eight in two */
        for (size_t i = 0; i < MG_COUNT(rows); i++)
            CHECK_STR(select_digits(&world, rows[i].query), rows[i].digits);
        uint32_t count;
        CHECK_OK(mg_pack_rows(world.db, world.recorder, 4, 1, &count, NULL));
        CHECK_INT(count, 4 * (packed < 2));
    }
    world_stop(&world);
}

TEST(a_time_ago_counts_from_now)
{
    struct world world;
    fill(&world);
    mg_clock_fake(((uint64_t)BEGAN_S + 11) * 1000000u);

    CHECK_STR(select_digits(&world, "since=3s"), "98");
    CHECK_STR(select_digits(&world, "until=1m"), "");
    CHECK_STR(select_digits(&world, "since=2h"), "9876543210");
    CHECK_STR(select_digits(&world, "since=99999d"), "9876543210");

    mg_clock_fake(0);
    world_stop(&world);
}

TEST(pages_follow_each_other_without_a_gap)
{
    struct world world;
    char all[32] = "", page[64];
    uint64_t before = 0;
    fill(&world);

    for (int i = 0; i < 5; i++) {
        struct mg_json *tree;
        struct mg_buf out;
        struct mg_query query = {.limit = 3, .before = before};
        int64_t next = 0;
        mg_buf_init(&out, MG_LOGS_JSON_BYTES);
        CHECK_OK(mg_logs_store_json(world.db, &query, &out));
        CHECK_OK(mg_json_parse(mg_buf_view(&out), MG_LOGS_JSON_BYTES, &tree, NULL));
        snprintf(page, sizeof page, "limit=3%s%llu", before ? "&before=" : "&x", (unsigned long long)before);
        append(all, sizeof all, select_digits(&world, before ? page : "limit=3"));
        bool more = mg_json_i64(mg_json_get(tree, "next"), &next);
        CHECK(more == (i < 3));
        before = (uint64_t)next;
        mg_json_free(tree);
        mg_buf_fini(&out);
        if (!more)
            break;
    }

    CHECK_STR(all, "9876543210");
    snprintf(page, sizeof page, "after=%llu", (BEGAN_S + 7) * 1000000ull + 700000);
    CHECK_STR(select_digits(&world, page), "89");
    snprintf(page, sizeof page, "after=1&limit=2");
    CHECK_STR(select_digits(&world, page), "01");
    world_stop(&world);
}

TEST(a_follower_is_told_where_to_ask_again_even_when_nothing_came)
{
    struct world world;
    struct mg_buf out;
    struct mg_query query = {.after = 1999999999999999};
    fill(&world);
    mg_buf_init(&out, MG_LOGS_JSON_BYTES);

    CHECK_OK(mg_logs_store_json(world.db, &query, &out));

    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("{\"requests\":[],\"next\":1999999999999999,\"searched\":0,\"damaged\":0}"));
    mg_buf_fini(&out);
    world_stop(&world);
}

TEST(a_row_is_printed_with_stable_names_and_read_back)
{
    static struct mg_timeline timeline;
    struct world world;
    struct mg_buf out;
    struct mg_json *tree;
    struct mg_logs_row row;
    world_open(&world);
    mg_buf_init(&out, MG_LOGS_JSON_BYTES);
    timeline = world_exchange(1, 250);
    timeline.path = MG_VIEW("/v1/\"x\"");
    timeline.upstream_us = 249000;
    timeline.generation = 3;
    struct mg_attempt_record *attempt = world_attempt(&timeline, "alpha", "big", MG_CLASS_none);
    attempt->start_us = 100;
    attempt->mark_us[MG_MARK_first_token] = 9000;
    attempt->usage = (struct mg_usage){10, 20, 5, 0, 0, false};
    attempt->reason = MG_REASON_rescue;
    timeline.offline = true;
    attempt->waited_us = 430000;
    attempt->cost_microusd = 77;
    world_record(&world, &timeline);
    mg_recorder_flush(world.recorder);

    CHECK_OK(mg_logs_store_json(world.db, &(struct mg_query){0}, &out));
    char want[1024];
    snprintf(want, sizeof want,
             "{\"requests\":[{\"id\":\"%s\",\"at_us\":1764000001250000,\"start_us\":"
             "1764000001000000,\"project\":\"acme\","
             "\"workflow\":\"fast\",\"key_id\":\"key_1\",\"path\":\"/v1/"
             "\\\"x\\\"\",\"session\":null,\"provider\":\"alpha\","
             "\"model\":\"big\",\"model_served\":\"big\",\"arm\":null,\"user\":null,\"error_code\":null,\"status\":200,\"class\":\"none\",\"attempts\":1,\"generation\":3,"
             "\"stream\":false,\"clean\":true,"
             "\"interrupted\":false,\"estimated\":true,\"repeated\":false,\"fell_over\":false,"
             "\"hedged\":false,\"rescued\":true,\"offline\":true,\"duration_us\":250000,\"overhead_"
             "us\":1000,"
             "\"ttft_us\":9100,"
             "\"input_tokens\":10,\"output_tokens\":20,\"waited_us\":430000,"
             "\"cost_microusd\":77}],\"next\":null,\"searched\":1,\"damaged\":0}",
             timeline.id);
    CHECK_VIEW(mg_buf_view(&out), mg_view_cstr(want));

    CHECK_OK(mg_json_parse(mg_buf_view(&out), MG_LOGS_JSON_BYTES, &tree, NULL));
    CHECK_OK(mg_logs_row_parse(mg_json_path(tree, "requests[0]"), &row));
    CHECK_VIEW(row.id, mg_view_cstr(timeline.id));
    CHECK_INT(row.at_us, 1764000001250000);
    CHECK_VIEW(row.path, timeline.path);
    CHECK_INT(row.ttft_us, 9100);
    CHECK(row.clean && row.estimated && !row.stream && !row.interrupted);
    CHECK(row.offline && row.rescued && !row.repeated && !row.fell_over && !row.hedged);
    CHECK_INT(row.output_tokens, 20);
    CHECK_INT(row.waited_us, 430000);
    CHECK_INT(row.cost_microusd, 77);
    CHECK_INT(mg_logs_row_parse(tree, &row), MG_E_PROTOCOL);
    mg_json_free(tree);
    mg_buf_fini(&out);
    world_stop(&world);
}

TEST(a_filter_that_cannot_be_read_says_what_was_expected)
{
    static const struct {
        const char *query;
        mg_err err;
        const char *words;
    } rows[] = {
        {"colour=red", MG_E_NOT_FOUND, "there is no filter \"colour\""},
        {"status=6xx", MG_E_BAD_REQUEST, "status: \"6xx\" is not a status"},
        {"status=20", MG_E_BAD_REQUEST, "5xx, 400-499 or error"},
        {"class=bad", MG_E_BAD_REQUEST, "a failure class"},
        {"since=yesterday", MG_E_BAD_REQUEST, "10m, 2h or 3d ago"},
        {"since=10", MG_E_BAD_REQUEST, "10m, 2h or 3d ago"},
        {"since=2025-13-01", MG_E_BAD_REQUEST, "a time"},
        {"since=2025-11-24T10:00:00Zx", MG_E_BAD_REQUEST, "a time"},
        {"until=99999999999999999999d", MG_E_BAD_REQUEST, "a time"},
        {"min_latency=soon", MG_E_BAD_REQUEST, "a duration"},
        {"stream=maybe", MG_E_BAD_REQUEST, "true or false"},
        {"limit=1001", MG_E_BAD_REQUEST, "up to 1000"},
        {"before=-1", MG_E_BAD_REQUEST, "a number"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        static struct mg_query query;
        query = (struct mg_query){0};
        struct mg_diag diag = {0};
        CHECK_INT(mg_query_parse(&query, mg_view_cstr(rows[i].query), "", &diag), rows[i].err);
        CHECK(strstr(diag.text, rows[i].words) != NULL);
    }
}

TEST(odd_query_strings_are_harmless)
{
    static const char *const odd[] = {
        "&&&",       "=",          "=x",          "project",
        "project=%", "project=%4", "project=%zz", "project=a&&limit=5"};
    char text[1200] = "project=";
    for (size_t i = 0; i < MG_COUNT(odd); i++) {
        static struct mg_query query;
        query = (struct mg_query){0};
        CHECK_OK(mg_query_parse(&query, mg_view_cstr(odd[i]), "", NULL));
    }
    memset(text + 8, 'x', sizeof text - 9);
    text[sizeof text - 1] = '\0';
    static struct mg_query query;
    query = (struct mg_query){0};
    CHECK_OK(mg_query_parse(&query, mg_view_cstr(text), "", NULL));
    CHECK_INT(query.conditions[0].patterns.len, 512);
}

MG_TEST_MAIN()
