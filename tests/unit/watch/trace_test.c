#include "watch/trace.h"

#include "base/mem.h"
#include "store_world.h"

static struct mg_timeline timeline;

static void fill(void)
{
    timeline = world_exchange(1, 250);
    timeline.phase_us[MG_PHASE_accept] = 1;
    timeline.phase_us[MG_PHASE_commit] = 200000;
    timeline.client = MG_VIEW("127.0.0.1");
    timeline.user_agent = MG_VIEW("curl/8");
    timeline.session = MG_VIEW("s-1");
    timeline.metadata = MG_VIEW("{ \"team\" : \"ops\" }");
    timeline.explain = MG_VIEW("weights 3:1");
    timeline.body_hash = 0xabc;
    timeline.upstream_us = 249000;
    timeline.plugin_us = 40;
    timeline.bytes_in = 11;
    timeline.bytes_out = 22;
    timeline.stream = true;
    timeline.generation = 2;
    timeline.offline = true;
    mg_timeline_note(&timeline, timeline.start_mono_us + 30, "plugin", "redact: 3 hits");
    mg_timeline_note(&timeline, timeline.start_mono_us + 40, "skip", "an event nobody could read");

    struct mg_attempt_record *first = world_attempt(&timeline, "alpha", "big", MG_CLASS_overloaded);
    first->target = MG_VIEW("alpha/big");
    first->why = MG_VIEW("first choice");
    first->error = MG_VIEW("Over\"loaded\"");
    first->address = MG_VIEW("10.0.0.1:443");
    first->action = MG_ACTION_fallback;
    first->status = 529;
    first->mark_us[MG_MARK_dns] = 100;
    first->mark_us[MG_MARK_connect] = 300;
    first->bytes_sent = 9;

    struct mg_attempt_record *second = world_attempt(&timeline, "beta", "small", MG_CLASS_none);
    second->target = MG_VIEW("beta/small");
    second->reason = MG_REASON_fallback;
    second->entry = 1;
    second->reused = true;
    second->start_us = 1100;
    second->mark_us[MG_MARK_first_token] = 190000;
    second->usage = (struct mg_usage){10, 20, 3, 2, 1, true};
    second->credential = MG_VIEW("spare");
    second->served = MG_VIEW("small-2026");
    second->tier = MG_VIEW("flex");
    second->arm = MG_VIEW("b");
    second->dialect = MG_VIEW("openai");
    second->priced = true;
    second->waited_us = 90;
    second->resumed_bytes = 812;
    second->cost_microusd = 4200;
}

/* Until the end of the process. */
static struct mg_search *searching(struct world *world)
{
    static struct mg_search *search;
    mg_search_free(search);
    return search = mg_search_new(world->db);
}

TEST(a_trace_is_the_timeline_as_it_was_recorded)
{
    static struct mg_timeline got;
    struct world world;
    struct mg_buf bytes;
    bool interrupted = true;
    world_open(&world);
    fill();
    world_record(&world, &timeline);
    mg_recorder_flush(world.recorder);
    mg_buf_init(&bytes, MG_TRACE_DETAIL_BYTES);

    CHECK_OK(mg_watch_trace(searching(&world), mg_view_cstr(timeline.id), &bytes, &got, &interrupted));

    CHECK(!interrupted);
    CHECK_STR(got.id, timeline.id);
    CHECK_INT(got.attempt_count, 2);
    CHECK_VIEW(got.attempts[0].error, timeline.attempts[0].error);
    mg_buf_fini(&bytes);
    world_stop(&world);
}

TEST(json_and_back_is_the_same_timeline)
{
    static struct mg_timeline got;
    struct mg_buf first, second;
    struct mg_json *tree;
    bool interrupted = false;
    fill();
    timeline.metadata = MG_VIEW_NONE; /* is for machines: the terminal does not read it back */
    timeline.body_hash = 0;
    mg_buf_init(&first, MG_TRACE_JSON_BYTES);
    mg_buf_init(&second, MG_TRACE_JSON_BYTES);

    CHECK_OK(mg_watch_timeline_json(&timeline, true, &first));
    CHECK_OK(mg_json_parse(mg_buf_view(&first), MG_TRACE_JSON_BYTES, &tree, NULL));
    CHECK_OK(mg_watch_timeline_parse(tree, &got, &interrupted));
    CHECK_OK(mg_watch_timeline_json(&got, interrupted, &second));

    CHECK_VIEW(mg_buf_view(&second), mg_buf_view(&first));
    mg_json_free(tree);
    mg_buf_fini(&first);
    mg_buf_fini(&second);
}

TEST(json_has_stable_names)
{
    struct world world;
    struct mg_buf out;
    world_open(&world);
    fill();
    world_record(&world, &timeline);
    mg_recorder_flush(world.recorder);
    mg_buf_init(&out, MG_TRACE_JSON_BYTES);

    CHECK_OK(mg_watch_trace_json(searching(&world), mg_view_cstr(timeline.id), &out));

    char want[4096];
    snprintf(
        want, sizeof want, "{\"id\":\"%s\",\"start_us\":1764000001000000,%s", timeline.id,
        "\"project\":\"acme\",\"workflow\":\"fast\",\"key_id\":\"key_1\",\"path\":\"/v1/chat/"
        "completions\","
        "\"client\":\"127.0.0.1\",\"user_agent\":\"curl/"
        "8\",\"session\":\"s-1\",\"generation\":2,\"status\":200,"
        "\"class\":\"none\",\"error_code\":null,\"stream\":true,\"clean\":true,\"offline\":true,"
        "\"interrupted\":"
        "false,\"duration_us\":250000,"
        "\"upstream_us\":249000,\"overhead_us\":1000,\"plugin_us\":40,\"bytes_in\":11,\"bytes_"
        "out\":22,"
        "\"cost_microusd\":4200,\"explain\":\"weights "
        "3:1\",\"body_hash\":\"0000000000000abc\",\"metadata\":{\"team\":\"ops\"},"
        "\"phases\":{\"accept\":1,\"commit\":200000,\"settle\":250000},\"attempts\":["
        "{\"number\":1,\"entry\":0,\"reason\":\"first\",\"target\":\"alpha/"
        "big\",\"provider\":\"alpha\",\"model\":\"big\",\"model_served\":\"big\",\"tier\":null,\"arm\":null,\"dialect\":null,\"credential\":null,"
        "\"why\":\"first "
        "choice\",\"address\":\"10.0.0.1:443\",\"reused\":false,\"redialed\":false,\"waited_us\":0,"
        "\"start_us\":0,"
        "\"end_us\":1000,\"marks\":{\"dns\":100,\"connect\":300},\"status\":529,\"class\":"
        "\"overloaded\","
        "\"action\":\"fallback\",\"error\":\"Over\\\"loaded\\\"\",\"bytes_sent\":9,\"bytes_"
        "received\":0,\"resumed_bytes\":0,\"cost_microusd\":0,\"priced\":false,\"charged\":true,"
        "\"usage\":{\"input_tokens\":0,\"output_tokens\":0,\"cached_read_tokens\":0,\"cached_write_"
        "tokens\":0,"
        "\"reasoning_tokens\":0,\"reported\":false}},"
        "{\"number\":2,\"entry\":1,\"reason\":\"fallback\",\"target\":\"beta/"
        "small\",\"provider\":\"beta\","
        "\"model\":\"small\",\"model_served\":\"small-2026\",\"tier\":\"flex\",\"arm\":\"b\",\"dialect\":\"openai\",\"credential\":\"spare\",\"why\":null,\"address\":null,\"reused\":"
        "true,\"redialed\":false,"
        "\"waited_us\":90,\"start_us\":1100,"
        "\"end_us\":1000,\"marks\":{\"first_token\":190000},\"status\":200,\"class\":\"none\","
        "\"action\":\"accept\","
        "\"error\":null,\"bytes_sent\":0,\"bytes_received\":0,\"resumed_bytes\":812,"
        "\"cost_microusd\":4200,\"priced\":true,\"charged\":true,\"usage\":{\"input_tokens\":10,"
        "\"output_tokens\":20,"
        "\"cached_read_tokens\":3,\"cached_write_tokens\":2,\"reasoning_tokens\":1,\"reported\":"
        "true}}],"
        "\"notes\":[{\"at_us\":30,\"kind\":\"plugin\",\"text\":\"redact: 3 hits\"},"
        "{\"at_us\":40,\"kind\":\"skip\",\"text\":\"an event nobody could read\"}]}");
    CHECK_VIEW(mg_buf_view(&out), mg_view_cstr(want));
    mg_buf_fini(&out);
    world_stop(&world);
}

TEST(metadata_that_is_no_object_stands_as_a_string)
{
    static const struct {
        const char *metadata, *json;
    } rows[] = {
        {"{\"a\":1}", "\"metadata\":{\"a\":1},"},
        {"[1]", "\"metadata\":\"[1]\","},
        {"{\"a\":", "\"metadata\":\"{\\\"a\\\":\","},
        {"", "\"metadata\":null,"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_buf out;
        fill();
        timeline.metadata = mg_view_cstr(rows[i].metadata);
        mg_buf_init(&out, MG_TRACE_JSON_BYTES);
        CHECK_OK(mg_watch_timeline_json(&timeline, false, &out));
        CHECK(strstr(mg_buf_cstr(&out), rows[i].json) != NULL);
        mg_buf_fini(&out);
    }
}

TEST(a_nul_that_a_provider_sent_does_not_make_the_json_unreadable)
{
    struct mg_buf out;
    struct mg_json *tree;
    fill();
    timeline.attempts[0].error = MG_VIEW("a\0b\0");
    mg_buf_init(&out, MG_TRACE_JSON_BYTES);

    CHECK_OK(mg_watch_timeline_json(&timeline, false, &out));
    CHECK_OK(mg_json_parse(mg_buf_view(&out), MG_TRACE_JSON_BYTES, &tree, NULL));

    CHECK_VIEW(mg_json_string(mg_json_path(tree, "attempts[0].error")), MG_VIEW("a\xef\xbf\xbd"
                                                                                "b\xef\xbf\xbd"));
    mg_json_free(tree);
    mg_buf_fini(&out);
}

TEST(there_is_no_trace_of_what_never_was)
{
    struct world world;
    struct mg_buf out;
    world_open(&world);
    mg_buf_init(&out, MG_TRACE_JSON_BYTES);

    CHECK_INT(mg_watch_trace_json(searching(&world), MG_VIEW("req_01kathz5mv0000000000000000"), &out),
              MG_E_NOT_FOUND);
    CHECK_INT(mg_watch_trace_json(searching(&world), MG_VIEW("' OR 1 --"), &out), MG_E_NOT_FOUND);
    CHECK_INT(mg_watch_trace_json(searching(&world), MG_VIEW(""), &out), MG_E_NOT_FOUND);

    mg_buf_fini(&out);
    world_stop(&world);
}

TEST(an_id_of_somebody_elses_making_is_found_too)
{
    struct world world;
    struct mg_buf out;
    world_open(&world);
    fill();
    snprintf(timeline.id, sizeof timeline.id, "my-own-id");
    world_record(&world, &timeline);
    mg_recorder_flush(world.recorder);
    mg_buf_init(&out, MG_TRACE_JSON_BYTES);

    CHECK_OK(mg_watch_trace_json(searching(&world), MG_VIEW("my-own-id"), &out));

    mg_buf_fini(&out);
    world_stop(&world);
}

MG_TEST_MAIN()
