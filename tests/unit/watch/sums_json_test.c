#include "watch/sums_json.h"

#include "meter/packer.h"
#include "store_world.h"

static const char *answer(struct mg_buf *out, mg_err err)
{
    CHECK_OK(err);
    return mg_buf_cstr(out);
}

static void fill(struct world *world)
{
    static struct mg_timeline timeline;
    uint32_t packed;
    world_open(world);
    for (unsigned i = 0; i < 8; i++) {
        timeline = world_exchange(i, 100);
        timeline.metadata = i % 2 ? MG_VIEW("{\"team\":\"blue\"}") : MG_VIEW("{\"team\":7}");
        timeline.clean = i != 3;
        world_attempt(&timeline, "alpha", i < 6 ? "big" : "small", MG_CLASS_none)->usage.input_tokens = 10;
        world_record(world, &timeline);
    }
    mg_recorder_flush(world->recorder);
    CHECK_OK(mg_pack_rows(world->db, world->recorder, 5, 1, &packed, NULL));
    CHECK_INT(packed, 5);
}

TEST(sums_series_and_groups_are_told)
{
    static struct mg_query query;
    struct world world;
    struct mg_buf out;
    struct mg_diag diag = {0};
    fill(&world);
    mg_buf_init(&out, 1 << 20);
    struct mg_search *search = mg_search_new(world.db);
    CHECK_OK(mg_search_refresh(search, NULL));

    query = (struct mg_query){0};
    CHECK_STR(answer(&out, mg_sums_json(search, &query, &out)),
              "{\"summary\":{\"count\":8,\"errors\":1,\"retried\":0,\"input_tokens\":80,\"output_tokens\":0,\"cached_read_tokens\":0,"
              "\"cost_microusd\":0,\"duration_us\":{\"p50\":99328,\"p90\":99328,\"p95\":99328,\"p99\":99328},\"ttft_us\":null},"
              "\"searched\":8,\"damaged\":0}");

    mg_buf_clear(&out);
    query = (struct mg_query){.since_us = BEGAN_S * UINT64_C(1000000), .until_us = (BEGAN_S + 8) * UINT64_C(1000000)};
    const char *text = answer(&out, mg_series_json(search, &query, 2, &out));
    CHECK(strstr(text, "{\"step_us\":4000000,\"steps\":[{\"since_us\":1764000000000000,\"count\":4,\"errors\":1,"));
    CHECK(strstr(text, "{\"since_us\":1764000004000000,\"count\":4,\"errors\":0,"));

    mg_buf_clear(&out);
    query = (struct mg_query){0};
    text = answer(&out, mg_groups_json(search, &query, MG_VIEW("model"), 1, &out, NULL));
    CHECK(strstr(text, "{\"by\":\"model\",\"groups\":[{\"value\":\"big\",\"count\":6,"));
    CHECK(!strstr(text, "small"));
    mg_buf_clear(&out);
    text = answer(&out, mg_groups_json(search, &query, MG_VIEW("metadata.team"), 20, &out, NULL));
    CHECK(strstr(text, "{\"value\":\"7\",\"count\":4,") && strstr(text, "{\"value\":\"blue\",\"count\":4,"));

    mg_buf_clear(&out);
    CHECK_INT(mg_groups_json(search, &query, MG_VIEW("colour"), 20, &out, &diag), MG_E_BAD_REQUEST);
    CHECK(strstr(diag.text, "by: \"colour\" is not project"));
    mg_search_free(search);
    mg_buf_fini(&out);
    world_stop(&world);
}

MG_TEST_MAIN()
