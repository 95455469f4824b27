#include "sim/phases.h"

#include "base/mem.h"
#include "check.h"

static struct mg_sim_phases *phases;
static uint64_t now_us, random_state;
static char why[128];

static void begin(const char *json)
{
    now_us = 1000000;
    random_state = 7;
    phases = mg_sim_phases_new();
    CHECK_OK(mg_sim_phases_post(phases, mg_view_cstr(json), now_us, why));
}

static struct mg_sim_effect call(const char *model, const char *key)
{
    struct mg_sim_effect effect;
    mg_sim_phases_apply(phases, mg_view_cstr(model), mg_view_cstr(key), now_us, &random_state,
                        &effect);
    return effect;
}

static void later(uint64_t ms)
{
    now_us += ms * 1000;
}

TEST(a_phase_without_an_end_stays)
{
    begin("{\"model\":\"a\",\"status\":503}");

    for (int i = 0; i < 5; i++, later(100000)) {
        CHECK_INT(call("a", "k").fault, MG_SIM_FAULT_status);
        CHECK_INT(call("a", "k").value, 503);
        CHECK_INT(call("b", "k").fault, MG_SIM_FAULT_NONE);
    }
    mg_sim_phases_free(phases);
}

TEST(a_share_of_the_calls_fails)
{
    begin("{\"error_share\":0.12}");

    int failed = 0;
    for (int i = 0; i < 10000; i++)
        failed += call("any", "").fault == MG_SIM_FAULT_status;
    CHECK(failed > 1000 && failed < 1400);
    mg_sim_phases_free(phases);
}

TEST(phases_follow_each_other_by_time_and_by_calls)
{
    begin(
        "{\"model\":\"a\",\"phases\":[{\"for_ms\":500,\"ttft_ms\":800},{\"for_calls\":2,\"fault\":"
        "\"auth\"},{\"for_ms\":100,\"tokens_per_s\":9}]}");

    CHECK_INT(call("a", "").ttft_ms, 800);
    later(499);
    CHECK_INT(call("a", "").ttft_ms, 800);
    later(1);
    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_auth);
    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_auth);
    CHECK_INT(call("a", "").tokens_per_s, 9);
    later(100);
    CHECK_INT(call("a", "").tokens_per_s, -1);
    CHECK_INT(call("a", "").ttft_ms, -1);
    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_NONE);
    mg_sim_phases_free(phases);
}

TEST(a_track_that_repeats_keeps_its_beat_however_late_one_looks)
{
    begin("{\"loop\":true,\"phases\":[{\"for_ms\":300,\"status\":500},{\"for_ms\":700}]}");

    const struct {
        uint64_t at_ms;
        bool fails;
    } rows[] = {{0, true},        {299, true},       {300, false},     {999, false},
                {1000, true},     {1299, true},      {1300, false},    {12345000, true},
                {12345299, true}, {12345300, false}, {12345999, false}};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        now_us = 1000000 + rows[i].at_ms * 1000;
        CHECK_INT(call("a", "").fault != MG_SIM_FAULT_NONE, rows[i].fails);
    }
    mg_sim_phases_free(phases);
}

TEST(a_limit_counts_each_key_for_itself_and_says_when_it_is_whole_again)
{
    begin("{\"requests\":2,\"window_ms\":1000}");

    CHECK_INT(call("a", "one").left, 1);
    later(400);
    CHECK_INT(call("a", "one").left, 0);
    struct mg_sim_effect refused = call("a", "one");
    CHECK(refused.refused);
    CHECK_INT(refused.fault, MG_SIM_FAULT_rate_limited);
    CHECK_INT(refused.limit, 2);
    CHECK_INT(refused.reset_ms, 600);
    CHECK_INT(refused.value, 1);
    CHECK(!call("a", "two").refused);
    later(600);
    CHECK(!call("a", "one").refused);
    mg_sim_phases_free(phases);
}

TEST(a_key_can_fail_alone)
{
    begin("{\"key\":\"sk-dead*\",\"fault\":\"auth\"}");
    CHECK_OK(mg_sim_phases_post(
        phases, MG_VIEW("{\"key\":\"sk-poor\",\"fault\":\"quota_billing\"}"), now_us, why));

    CHECK_INT(call("a", "sk-dead-1").fault, MG_SIM_FAULT_auth);
    CHECK_INT(call("a", "sk-poor").fault, MG_SIM_FAULT_quota_billing);
    CHECK_INT(call("a", "sk-good").fault, MG_SIM_FAULT_NONE);
    mg_sim_phases_free(phases);
}

TEST(a_later_track_takes_the_place_of_the_earlier_and_an_empty_one_ends_it)
{
    begin("{\"model\":\"a\",\"status\":500}");

    CHECK_OK(mg_sim_phases_post(phases, MG_VIEW("{\"model\":\"a\",\"status\":503}"), now_us, why));
    CHECK_INT(call("a", "").value, 503);
    CHECK_OK(mg_sim_phases_post(phases, MG_VIEW("{\"model\":\"a\"}"), now_us, why));
    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_NONE);
    mg_sim_phases_free(phases);
}

TEST(configured_phases_and_posted_ones_live_apart)
{
    const struct mg_config_sim_phase list[] = {{.for_calls = 1,
                                                .error_share = 1,
                                                .fault = "overloaded",
                                                .ttft_ms = -1,
                                                .tokens_per_s = -1},
                                               {.for_calls = 1, .ttft_ms = 5, .tokens_per_s = -1}};
    const struct mg_config_sim_model model = {.model = "a", .phases = list, .phase_count = 2};
    begin("{\"model\":\"b\",\"status\":500}");
    mg_sim_phases_configure(phases, &model, 1, now_us);

    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_overloaded);
    CHECK_INT(call("a", "").ttft_ms, 5);
    CHECK_INT(call("a", "").ttft_ms, -1);
    mg_sim_phases_restart(phases, now_us);
    mg_sim_phases_clear(phases);
    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_overloaded);
    CHECK_INT(call("b", "").fault, MG_SIM_FAULT_NONE);
    mg_sim_phases_configure(phases, NULL, 0, now_us);
    CHECK_INT(call("a", "").fault, MG_SIM_FAULT_NONE);
    mg_sim_phases_free(phases);
}

TEST(says_what_is_wrong_with_a_track)
{
    const struct {
        const char *json, *why;
    } rows[] = {
        {"[]", "expected a JSON object"},
        {"{", "expected a JSON object"},
        {"{\"fault\":\"boredom\"}", "there is no fault boredom"},
        {"{\"colour\":1}", "there is no field colour"},
        {"{\"ttft_ms\":\"5\"}", "expected a number from 0 to 86400000 in ttft_ms"},
        {"{\"ttft_ms\":-5}", "expected a number from 0 to 86400000 in ttft_ms"},
        {"{\"phases\":{}}", "expected a list of at most 32 phases"},
        {"{\"phases\":[1]}", "a phase is an object"},
        {"{\"phases\":[{\"model\":\"a\"}]}", "expected a number from 0 to 86400000 in model"},
        {"{\"loop\":true,\"phases\":[{\"status\":500}]}", "only phases that end can repeat"},
    };
    begin("{}");
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        CHECK_INT(mg_sim_phases_post(phases, mg_view_cstr(rows[i].json), now_us, why),
                  MG_E_BAD_REQUEST);
        CHECK_STR(why, rows[i].why);
    }
    mg_sim_phases_free(phases);
}

TEST(there_is_an_end_to_tracks)
{
    char json[64];
    begin("{}");
    for (int i = 0; i < MG_SIM_TRACKS + 3; i++) {
        snprintf(json, sizeof(json), "{\"model\":\"m%d\",\"status\":500}", i);
        mg_err err = mg_sim_phases_post(phases, mg_view_cstr(json), now_us, why);
        CHECK_INT(err, i < MG_SIM_TRACKS ? MG_OK : MG_E_TOO_LARGE);
    }
    mg_sim_phases_free(phases);
}

MG_TEST_MAIN()
