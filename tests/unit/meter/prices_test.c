#include "meter/prices.h"

#include "base/mem.h"
#include "check.h"

#define USD(n) ((uint64_t)((n)*1000000) * 1000000u)       /* picodollars; n has at most six decimals */

static struct mg_prices *catalogue(const char *json)
{
    struct mg_prices *prices;
    struct mg_diag diag = {.line = 0};
    if (mg_prices_parse(mg_view_cstr(json), "test.json", &prices, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
    return prices;
}

static struct mg_prices *builtin(void)
{
    struct mg_prices *prices;
    CHECK_OK(mg_prices_builtin(&prices, NULL));
    return prices;
}

static uint64_t day(unsigned days_since_2026_11_24)
{
    return (UINT64_C(1795478400) + days_since_2026_11_24 * 86400u) * 1000000u;
}

static uint64_t cost(const struct mg_prices *prices, const char *provider, const char *model, struct mg_usage usage)
{
    struct mg_price_call call = {
        .provider = mg_view_cstr(provider), .model = mg_view_cstr(model), .at_us = day(0)};
    const struct mg_price *price = mg_prices_find(prices, &call);
    CHECK(price);
    return mg_price_cost(price, &usage, MG_VIEW_NONE);
}

TEST(the_wire_references_cross_check_comes_out_to_the_picodollar)
{
    struct mg_prices *prices = builtin();
    struct mg_usage usage = {.input_tokens = 300000, .cached_read_tokens = 100000, .output_tokens = 1000};

    CHECK_INT(cost(prices, "openai", "gpt-6-sol", usage), USD(0.855));
    CHECK_INT(cost(prices, "anthropic", "claude-opus-5-5", usage), USD(0.84));
    CHECK_INT(cost(prices, "xai", "grok-4.6", usage), USD(0.912));
    mg_prices_free(prices);
}

TEST(cached_tokens_are_not_billed_as_input)
{
    struct mg_prices *prices = builtin();

    CHECK_INT(cost(prices, "openai", "gpt-6-sol", (struct mg_usage){.input_tokens = 1000000 / 4}), USD(0.5));
    CHECK_INT(cost(prices, "openai", "gpt-6-sol", (struct mg_usage){.input_tokens = 250000, .cached_read_tokens = 250000}),
              USD(0.05));
    CHECK_INT(cost(prices, "openai", "gpt-6-sol", (struct mg_usage){.input_tokens = 250000, .cached_write_tokens = 250000}),
              USD(0.625));
    mg_prices_free(prices);
}

TEST(reasoning_is_part_of_the_output_and_is_not_billed_again)
{
    struct mg_prices *prices = builtin();

    CHECK_INT(cost(prices, "openai", "gpt-6-sol", (struct mg_usage){.output_tokens = 1000, .reasoning_tokens = 900}), USD(0.01));
    mg_prices_free(prices);
}

TEST(a_provider_that_counts_more_parts_than_there_is_whole_is_charged_no_token_twice)
{
    struct mg_price price = mg_price_simple(1000, 1000);
    struct mg_usage usage = {.input_tokens = 10, .cached_read_tokens = 8, .cached_write_tokens = 8, .input_audio_tokens = 8,
                             .output_tokens = 1, .reasoning_tokens = 5};

    CHECK_INT(mg_price_cost(&price, &usage, MG_VIEW_NONE), 11 * 1000);
}

TEST(a_context_cliff_counts_all_input_and_holds_for_every_token)
{
    struct mg_prices *prices = builtin();

    CHECK_INT(cost(prices, "openai", "gpt-6-sol", (struct mg_usage){.input_tokens = 272000}), USD(0.544));
    CHECK_INT(cost(prices, "openai", "gpt-6-sol", (struct mg_usage){.input_tokens = 272001}), 272001u * UINT64_C(4000000));
    CHECK_INT(cost(prices, "openai", "gpt-6-sol",
                   (struct mg_usage){.input_tokens = 272001, .cached_read_tokens = 272001, .output_tokens = 1}),
              272001u * UINT64_C(400000) + 15000000);
    mg_prices_free(prices);
}

TEST(one_token_of_the_cheapest_kind_is_not_rounded_away)
{
    struct mg_prices *prices = builtin();
    uint64_t one = cost(prices, "openai", "gpt-6-luna", (struct mg_usage){.input_tokens = 1, .cached_read_tokens = 1});

    CHECK_INT(one, 10000);                 /* 0.01 of a microdollar */
    CHECK_INT(mg_microusd(one), 1);
    CHECK_INT(mg_microusd(100 * one), 1);
    CHECK_INT(mg_microusd(100 * one + 1), 2);
    mg_prices_free(prices);
}

static const char lists[] =
    "{\"version\":1,\"collected\":\"2026-11-24\",\"source\":\"us\",\"providers\":["
    "{\"name\":\"acme\",\"also\":[\"acme-eu\"],\"models\":["
    " {\"model\":\"big\",\"match\":[\"big-*\",\"*-big\"],\"prices\":["
    "  {\"input\":100,\"output\":200,\"tiers\":{\"batch\":500,\"odd\":333}},"
    "  {\"from\":\"2026-11-25\",\"input\":300,\"output\":400,\"input_audio\":1000,\"output_audio\":2000,\"reasoning\":500}]},"
    " {\"model\":\"big-small\",\"prices\":[{\"input\":7}]},"
    " {\"model\":\"late\",\"prices\":[{\"from\":\"2026-12-01\",\"input\":9}]}]},"
    "{\"name\":\"acme\",\"project\":\"shop\",\"models\":[{\"model\":\"big\",\"prices\":[{\"input\":1,\"output\":1}]}]}]}";

struct question {
    mg_view project, provider, model, served, tier;
    const struct mg_price *own;
    uint64_t at_us;
    const struct mg_usage *usage;      /* NULL: one token of input */
};

static uint64_t ask(const struct mg_prices *prices, struct question question)
{
    static const struct mg_usage one = {.input_tokens = 1};
    struct mg_price_call call = {.project = question.project,
                                 .provider = question.provider.len ? question.provider : MG_VIEW("acme"),
                                 .model = question.model,
                                 .served = question.served,
                                 .own = question.own,
                                 .at_us = question.at_us ? question.at_us : day(0)};
    const struct mg_price *price = mg_prices_find(prices, &call);
    return price ? mg_price_cost(price, question.usage ? question.usage : &one, question.tier) : UINT64_MAX;
}

TEST(a_model_is_found_by_name_then_without_its_date_then_by_pattern)
{
    struct mg_prices *prices = catalogue(lists);

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big")}), 100);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-small")}), 7);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-small-2026-11-01")}), 7);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-small-20261101")}), 7);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-other")}), 100);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("very-big")}), 100);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .provider = MG_VIEW("acme-eu")}), 100);
    mg_prices_free(prices);
}

TEST(what_nobody_knows_the_price_of_has_none_rather_than_zero)
{
    struct mg_prices *prices = catalogue(lists);

    CHECK(ask(prices, (struct question){.model = MG_VIEW("unheard-of")}) == UINT64_MAX);
    CHECK(ask(prices, (struct question){.model = MG_VIEW("big"), .provider = MG_VIEW("other")}) == UINT64_MAX);
    CHECK(ask(prices, (struct question){.model = MG_VIEW("late")}) == UINT64_MAX);
    CHECK(ask(NULL, (struct question){.model = MG_VIEW("big")}) == UINT64_MAX);
    mg_prices_free(prices);
}

TEST(the_served_model_is_billed_and_the_asked_one_only_when_that_has_no_price)
{
    struct mg_prices *prices = catalogue(lists);

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .served = MG_VIEW("big-small-2026-11-01")}), 7);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-small"), .served = MG_VIEW("unheard-of")}), 7);
    mg_prices_free(prices);
}

TEST(a_price_holds_from_its_date_until_the_next)
{
    struct mg_prices *prices = catalogue(lists);

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .at_us = day(1) - 1}), 100);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .at_us = day(1)}), 300);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("late"), .at_us = day(7)}), 9);
    mg_prices_free(prices);
}

TEST(the_tier_that_the_answer_names_is_what_is_billed)
{
    struct mg_prices *prices = catalogue(lists);
    struct mg_usage three = {.input_tokens = 3};

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .tier = MG_VIEW("batch")}), 50);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .tier = MG_VIEW("default")}), 100);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .tier = MG_VIEW("odd"), .usage = &three}), 100);
    mg_prices_free(prices);
}

TEST(audio_and_reasoning_cost_what_their_own_rates_say)
{
    struct mg_prices *prices = catalogue(lists);
    struct mg_usage usage = {.input_tokens = 10, .input_audio_tokens = 4, .output_tokens = 20, .output_audio_tokens = 5,
                             .reasoning_tokens = 3};

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .at_us = day(1), .usage = &usage}),
              6 * 300 + 4 * 1000 + 5 * 2000 + 3 * 500 + 12 * 400);
    mg_prices_free(prices);
}

TEST(a_projects_own_list_comes_first_and_leaves_the_others_alone)
{
    struct mg_prices *prices = catalogue(lists);

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .project = MG_VIEW("shop")}), 1);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-small"), .project = MG_VIEW("shop")}), 7);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .project = MG_VIEW("blog")}), 100);
    mg_prices_free(prices);
}

TEST(a_targets_own_price_stands_between_a_list_of_its_project_and_everybodys)
{
    struct mg_prices *prices = catalogue(lists);
    struct mg_price own = mg_price_simple(55, 0);

    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .project = MG_VIEW("shop"), .own = &own}), 1);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big-small"), .project = MG_VIEW("shop"), .own = &own}), 55);
    CHECK_INT(ask(prices, (struct question){.model = MG_VIEW("big"), .project = MG_VIEW("blog"), .own = &own}), 55);
    CHECK_INT(ask(NULL, (struct question){.model = MG_VIEW("big"), .own = &own}), 55);
    mg_prices_free(prices);
}

TEST(nonsense_counts_saturate_instead_of_wrapping)
{
    struct mg_price price = mg_price_simple(MG_RATE_MAX, MG_RATE_MAX);
    struct mg_usage usage = {.input_tokens = UINT64_MAX, .output_tokens = UINT64_MAX};

    CHECK(mg_price_cost(&price, &usage, MG_VIEW_NONE) == UINT64_MAX);
}

TEST(a_mistake_in_the_file_is_told_with_its_place)
{
    static const struct {
        const char *json, *words;
    } rows[] = {
        {"{", "no JSON"},
        {"[]", "no price catalogue"},
        {"{\"version\":2,\"providers\":[]}", "\"version\" must be 1"},
        {"{\"version\":1}", "providers is missing"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"input\":1.5}]}]}]}",
         "a/m: input must be a whole number"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"inptu\":1}]}]}]}",
         "a/m: there is no field \"inptu\""},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[]}]}]}", "a list of 1 to 32"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"input\":1,\"from\":\"2026-02-31\"}]}]}]}",
         "from must be a date"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"input\":1,\"tiers\":{\"batch\":500,\"Batch\":400}}]}]}]}",
         "the tier Batch is there twice"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"input\":1,\"from\":\"soon\"}]}]}]}",
         "must be a date"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"input\":1},{\"input\":1}]}]}]}",
         "ordered by from"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[]},{\"name\":\"a\",\"models\":[]}]}", "two lists"},
        {"{\"version\":1,\"providers\":[{\"name\":\"a\",\"models\":[{\"model\":\"m\",\"prices\":[{\"input\":1}]},"
         "{\"model\":\"m\",\"prices\":[{\"input\":1}]}]}]}",
         "there twice"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_prices *prices = NULL;
        struct mg_diag diag = {.line = 0};
        CHECK_INT(mg_prices_parse(mg_view_cstr(rows[i].json), "p.json", &prices, &diag), MG_E_CONFIG);
        if (!strstr(diag.text, rows[i].words))
            check_failed(__FILE__, __LINE__, "%s: \"%s\" is not in \"%s\"", rows[i].json, rows[i].words, diag.text);
        CHECK(!prices);
    }
}

TEST(a_file_that_ends_anywhere_or_has_a_wrong_byte_is_refused_or_harmless)
{
    struct mg_prices *prices;
    struct mg_prices_import import;
    size_t len = sizeof lists - 1;
    char *copy = mg_alloc(len);
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(copy, lists, cut);
        CHECK_INT(mg_prices_parse(mg_view_of(copy, cut), "cut", &prices, NULL), MG_E_CONFIG);
    }
    for (size_t at = 0; at < len; at++) {
        struct mg_buf out;
        memcpy(copy, lists, len);
        copy[at] = at % 2 ? '9' : '[';
        mg_buf_init(&out, MG_PRICES_MAX_BYTES);
        if (mg_prices_convert(mg_view_of(copy, len), "bad", "2026-11-24", &out, &import, NULL) == MG_OK)
            mg_prices_free(catalogue(mg_buf_cstr(&out)));
        mg_buf_fini(&out);
    }
    mg_free(copy);
}

static const char genai[] =
    "[{\"id\":\"openai\",\"name\":\"OpenAI\",\"api_pattern\":\"x\",\"models\":["
    "{\"id\":\"gpt-6-sol\",\"match\":{\"or\":[{\"equals\":\"sol\"},{\"starts_with\":\"gpt-6-sol\"},{\"regex\":\"^a\"}]},\"prices\":{"
    "\"input_mtok\":{\"base\":2,\"tiers\":[{\"start\":272000,\"price\":4}]},\"cache_read_mtok\":{\"base\":0.2,\"tiers\":[{\"start\":272000,"
    "\"price\":0.4}]},\"output_mtok\":{\"base\":10,\"tiers\":[{\"start\":272000,\"price\":15}]},\"web_searches_kcount\":10}},"
    "{\"id\":\"dated\",\"match\":{\"equals\":\"dated\"},\"prices\":[{\"prices\":{\"input_mtok\":1}},{\"constraint\":{\"type\":\"start_date\","
    "\"start_date\":\"2026-11-25\"},\"prices\":{\"input_mtok\":0.0375,\"output_mtok\":3}}]},"
    "{\"id\":\"by-hour\",\"match\":{\"equals\":\"by-hour\"},\"prices\":[{\"prices\":{\"input_mtok\":1}},{\"constraint\":{\"type\":"
    "\"time_of_date\",\"start_time\":\"01:00:00Z\",\"end_time\":\"04:00:00Z\"},\"prices\":{\"input_mtok\":2}}]},"
    "{\"id\":\"pictures\",\"match\":{\"equals\":\"pictures\"},\"prices\":{\"requests_kcount\":40}},"
    "{\"id\":\"too-fine\",\"match\":{\"equals\":\"too-fine\"},\"prices\":{\"input_mtok\":0.00000012}}]},"
    "{\"id\":\"x-ai\",\"models\":[{\"id\":\"grok-4.6\",\"match\":{\"contains\":\"4.6\"},\"prices\":{\"input_mtok\":2,\"output_mtok\":6,\"requests_kcount\":12}}]}]";

TEST(a_genai_prices_document_becomes_a_catalogue)
{
    struct mg_buf out;
    struct mg_prices_import import;
    struct mg_diag diag = {.line = 0};
    struct mg_usage usage = {.input_tokens = 300000, .cached_read_tokens = 100000, .output_tokens = 1000};
    mg_buf_init(&out, MG_PRICES_MAX_BYTES);

    CHECK_OK(mg_prices_convert(mg_view_cstr(genai), "data.json", "2026-11-24", &out, &import, &diag));
    struct mg_prices *prices = catalogue(mg_buf_cstr(&out));

    CHECK_INT(import.providers, 2);
    CHECK_INT(import.models, 3);
    CHECK_INT(import.left_out, 3);
    CHECK_INT(import.partial, 1);
    CHECK_STR(mg_prices_facts(prices).collected, "2026-11-24");
    CHECK_INT(cost(prices, "openai", "gpt-6-sol-mini", usage), USD(0.855));
    CHECK_INT(cost(prices, "openai", "sol", (struct mg_usage){.input_tokens = 100, .output_tokens = 1}), 210000000);
    CHECK_INT(ask(prices, (struct question){.provider = MG_VIEW("openai"), .model = MG_VIEW("dated")}), 1000000);
    CHECK_INT(ask(prices, (struct question){.provider = MG_VIEW("openai"), .model = MG_VIEW("dated"), .at_us = day(1)}), 37500);
    CHECK(ask(prices, (struct question){.provider = MG_VIEW("openai"), .model = MG_VIEW("by-hour")}) == UINT64_MAX);
    CHECK_INT(ask(prices, (struct question){.provider = MG_VIEW("xai"), .model = MG_VIEW("grok-4.6-fast")}), 2000000 + USD(0.012));
    mg_prices_free(prices);
    mg_buf_fini(&out);
}

TEST(a_fee_per_request_is_charged_once_and_only_where_something_came)
{
    struct mg_prices *prices = catalogue("{\"version\":1,\"providers\":[{\"name\":\"acme\",\"models\":[{\"model\":\"sonar\",\"prices\":["
                                         "{\"input\":1000000,\"output\":1000000,\"request\":12000000000,\"tiers\":{\"batch\":500}}]}]}]}");
    struct mg_usage usage = {.input_tokens = 10, .output_tokens = 10}, nothing = {.input_tokens = 0};
    struct question question = {.provider = MG_VIEW("acme"), .model = MG_VIEW("sonar"), .usage = &usage};

    CHECK_INT(ask(prices, question), USD(0.01202));
    question.tier = MG_VIEW("batch");
    CHECK_INT(ask(prices, question), USD(0.01201));
    question.usage = &nothing;
    CHECK_INT(ask(prices, question), 0);
    mg_prices_free(prices);
}

TEST(what_the_binary_carries_knows_the_models_of_each_vendor_with_an_adapter)
{
    static const struct {
        const char *provider, *model;
    } rows[] = {{"openai", "gpt-6.1-sol"}, {"anthropic", "claude-fable-5-2"}, {"anthropic", "claude-haiku-5-5-20261001"},
                {"gemini", "gemini-3.1-pro-preview"}, {"xai", "grok-4.6"}, {"groq", "openai/gpt-oss-120b"}, {"perplexity", "sonar"},
                {"mistral", "mistral-large-latest"}, {"openrouter", "anthropic/claude-opus-5"}};
    struct mg_prices *prices = builtin();

    CHECK(mg_prices_facts(prices).models > 1000);
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct question question = {.provider = mg_view_cstr(rows[i].provider), .model = mg_view_cstr(rows[i].model)};
        if (ask(prices, question) == UINT64_MAX)
            check_failed(__FILE__, __LINE__, "no price of %s/%s", rows[i].provider, rows[i].model);
    }
    mg_prices_free(prices);
}

TEST(a_catalogue_is_imported_as_it_is)
{
    struct mg_buf out;
    struct mg_prices_import import;
    mg_buf_init(&out, MG_PRICES_MAX_BYTES);

    CHECK_OK(mg_prices_convert(mg_view_cstr(lists), "own.json", "2026-11-24", &out, &import, NULL));

    CHECK_STR(mg_buf_cstr(&out), lists);
    CHECK_INT(import.models, 4);
    mg_buf_fini(&out);
}

TEST(a_foreign_document_that_is_damaged_anywhere_is_refused_or_makes_a_catalogue)
{
    struct mg_prices_import import;
    size_t len = sizeof genai - 1;
    char *copy = mg_alloc(len);
    for (size_t at = 0; at < 2 * len; at++) {
        struct mg_buf out;
        memcpy(copy, genai, len);
        copy[at % len] = at < len ? '7' : 'x';
        mg_buf_init(&out, MG_PRICES_MAX_BYTES);
        if (mg_prices_convert(mg_view_of(copy, len), "bad", "2026-11-24", &out, &import, NULL) == MG_OK)
            mg_prices_free(catalogue(mg_buf_cstr(&out)));
        mg_buf_fini(&out);
    }
    mg_free(copy);
}

MG_TEST_MAIN()
