#include "meter/models.h"

#include <string.h>

#include "base/mem.h"
#include "check.h"

#define DAY_US (UINT64_C(86400) * 1000000u)

TEST(what_is_known_of_a_model_is_what_its_vendor_says)
{
    const struct mg_model *opus = mg_model_find(MG_VIEW("claude-opus-5-5"));

    CHECK(opus);
    CHECK_INT(opus->context_window, 1000000);
    CHECK_INT(opus->max_output, 128000);
    CHECK_INT(opus->input, 1u << MG_MODALITY_text | 1u << MG_MODALITY_image | 1u << MG_MODALITY_document);
    CHECK(opus->can[MG_ABILITY_reasoning] == MG_KNOWN_YES && opus->can[MG_ABILITY_prefill] == MG_KNOWN_NO);
    CHECK_STR(opus->refuses, "sampling forced budget off");
    CHECK(!opus->deprecated && !opus->retired && !opus->retires_us);
    CHECK(mg_model_find(MG_VIEW("sonar-pro"))->retired && mg_model_find(MG_VIEW("sonar-pro"))->retires_us);
    CHECK(mg_model_find(MG_VIEW("gemini-2.0-flash"))->retired && !mg_model_find(MG_VIEW("gemini-2.0-flash"))->retires_us);
}

TEST(a_model_is_found_by_the_names_that_vendors_give_it)
{
    static const char *const names[] = {
        "claude-sonnet-4-5", "claude-sonnet-4.5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5@20250929",
        "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5:beta", "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "models/claude-sonnet-4-5", "claude-sonnet-4-5-2025-09-29",
    };
    const struct mg_model *model = mg_model_find(mg_view_cstr(names[0]));

    CHECK(model && model->context_window == 200000);
    for (size_t i = 0; i < MG_COUNT(names); i++)
        if (mg_model_find(mg_view_cstr(names[i])) != model)
            check_failed(__FILE__, __LINE__, "%s is not found", names[i]);
    CHECK(mg_model_find(MG_VIEW("openai/gpt-5.5")) == mg_model_find(MG_VIEW("gpt-5.5")));
}

TEST(a_model_that_is_not_known_is_no_other)
{
    static const char *const names[] = {"", "*", "/", ".", "-", "@", ":", "gpt", "gpt-5.5-mega", "claude", "20250929", "-20250929", "a/", "v1", "-v1"};

    for (size_t i = 0; i < MG_COUNT(names); i++)
        if (mg_model_find(mg_view_cstr(names[i])))
            check_failed(__FILE__, __LINE__, "%s is found", names[i]);
}

TEST(a_model_that_ends_is_told_of_thirty_days_before)
{
    static const struct {
        unsigned in_days;
        bool ends;
    } rows[] = {{31, false}, {30, true}, {1, true}};
    struct mg_model model = {.name = "m", .retired = true};
    unsigned days = 9;

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        model.retires_us = (100 + rows[i].in_days) * DAY_US;
        CHECK(mg_model_ends(&model, 100 * DAY_US, &days) == rows[i].ends);
        CHECK_INT(days, rows[i].in_days);
    }
    CHECK(mg_model_ends(&model, model.retires_us, &days) && days == 0);
    model.retires_us = 0;
    CHECK(mg_model_ends(&model, 100 * DAY_US, &days) && days == 0);
    model.retired = false;
    CHECK(!mg_model_ends(&model, 100 * DAY_US, &days));
}

static void count(void *arg, const struct mg_model *model)
{
    CHECK(*model->name && *model->vendor);
    ++*(size_t *)arg;
}

TEST(the_catalogue_says_where_it_is_from)
{
    size_t seen = 0;

    mg_models_each(count, &seen);
    CHECK(seen > 150 && seen == mg_models_facts().count);
    CHECK(strstr(mg_models_facts().source, "MIT") && *mg_models_facts().collected);
}

TEST(a_mistake_in_a_catalogue_is_told_with_the_model_where_it_is)
{
    static const struct {
        const char *json, *says;
    } rows[] = {
        {"[", "it is no JSON"},
        {"{\"version\":2,\"models\":[]}", "\"version\" must be 1"},
        {"{\"version\":1,\"models\":[{}]}", "model is missing"},
        {"{\"version\":1,\"models\":[{\"model\":\"a\",\"colour\":1}]}", "a: there is no field \"colour\""},
        {"{\"version\":1,\"models\":[{\"model\":\"a\",\"context_window\":0}]}", "a: context_window must be a whole number"},
        {"{\"version\":1,\"models\":[{\"model\":\"a\",\"input\":[\"smell\"]}]}", "a: there is no modality \"smell\""},
        {"{\"version\":1,\"models\":[{\"model\":\"a\",\"retires\":\"2026-02-31\"}]}", "a: retires must be a date"},
        {"{\"version\":1,\"models\":[{\"model\":\"a\"},{\"model\":\"b\",\"also\":[\"a\"]}]}", "b: also: \"a\" is no name, or there twice"},
        {"{\"version\":1,\"models\":[{\"model\":\"a\"},{\"model\":\"a\"}]}", "a: it is there twice"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_diag diag = {.line = 0};
        CHECK(mg_models_check(mg_view_cstr(rows[i].json), "m.json", &diag) == MG_E_CONFIG);
        if (!strstr(diag.text, rows[i].says))
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].json, diag.text);
    }
    CHECK_OK(mg_models_check(MG_VIEW("{\"version\":1,\"models\":[{\"model\":\"a\",\"retires\":\"2026-12-01\"}]}"), "m.json", NULL));
}

MG_TEST_MAIN()
