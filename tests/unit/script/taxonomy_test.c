/* The default failure taxonomy: its table says what the core's does, and what two facts together mean. */
#include "script_world.h"

#include <stdio.h>

#include "base/embed.h"
#include "check.h"

static struct mg_verdict verdict;

static void classify(struct mg_attempt_facts facts)
{
    static const struct mg_headers none;
    facts.candidate = &world.candidates[0];
    if (!facts.headers)
        facts.headers = &none;
    if (!facts.model.len)
        facts.model = MG_VIEW("gpt-4o");
    facts.number = facts.tries = 1;
    facts.try_number = MG_MAX(facts.try_number, 1u);
    memset(&verdict, 0, sizeof(verdict));
    CHECK_OK(mg_script_policy.classify(world.script, &world.call, &facts, &verdict));
    if (strstr(world_notes(), "default"))
        check_failed(__FILE__, __LINE__, "%s", world_notes());
}

/* ---- the table */

struct row {
    char blame[16], action[16];
    double weight;
    unsigned delay_ms, status;
};

/* The line `name = { "blame", "action", weight, delay_ms, status }`. */
static bool read_row(const char *source, const char *name, struct row *out)
{
    char begin[64];
    snprintf(begin, sizeof(begin), "\n  %s = ", name);
    const char *at = strstr(source, begin);
    return at && sscanf(at + strlen(begin), " { \"%15[a-z]\", \"%15[a-z_]\", %lf, %u, %u }", out->blame, out->action, &out->weight,
                        &out->delay_ms, &out->status) == 5;
}

TEST(the_table_says_what_the_core_does_by_itself)
{
    static const char *const blames[] = {"nobody", "provider", "account", "client"};
    const struct mg_embedded_file *file = mg_embedded_find("default/taxonomy.lua");
    CHECK(file != NULL);
    for (int i = 0; i < MG_CLASS_COUNT; i++) {
        enum mg_class class_ = (enum mg_class)i;
        struct row row;
        if (!read_row(file->data, mg_class_name(class_), &row))
            check_failed(__FILE__, __LINE__, "there is no row of %s", mg_class_name(class_));
        CHECK_STR(row.blame, blames[mg_class_blame(class_)]);
        CHECK_STR(row.action, mg_action_name(mg_class_action(class_)));
        CHECK(row.weight == mg_class_weight(class_));
        CHECK_INT(row.delay_ms, mg_class_delay_ms(class_));
        CHECK_INT(row.status, mg_class_status(class_));
    }
}

TEST(each_class_gets_the_action_of_its_row)
{
    world_open("", "on_log = function() end");
    for (int i = 1; i < MG_CLASS_COUNT; i++) {
        enum mg_class class_ = (enum mg_class)i;
        classify((struct mg_attempt_facts){.hint = class_, .status = 400, .larger_window_left = true});
        if (verdict.class_ != class_ || verdict.action != mg_class_action(class_) || verdict.delay_ms != mg_class_delay_ms(class_))
            check_failed(__FILE__, __LINE__, "%s → %s %s", mg_class_name(class_), mg_class_name(verdict.class_),
                         mg_action_name(verdict.action));
        CHECK(verdict.client_status == 0 && verdict.penalise.scope == MG_PENALTY_NONE && verdict.repair.len == 0);
    }
    world_close();
}

/* ---- two facts together */

static const struct {
    struct mg_attempt_facts facts;
    const char *header, *value;
    enum mg_class class_;
    enum mg_action action;
} rows[] = {
    /* too long: only where it fits */
    {{.hint = MG_CLASS_context_length, .status = 400}, NULL, NULL, MG_CLASS_context_length, MG_ACTION_fail},
    {{.hint = MG_CLASS_context_length, .status = 400, .larger_window_left = true}, NULL, NULL, MG_CLASS_context_length, MG_ACTION_fallback},
    {{.hint = MG_CLASS_payload_too_large, .status = 413}, NULL, NULL, MG_CLASS_payload_too_large, MG_ACTION_fail},
    {{.hint = MG_CLASS_payload_too_large, .status = 413, .larger_window_left = true}, NULL, NULL, MG_CLASS_payload_too_large, MG_ACTION_fallback},
    {{.hint = MG_CLASS_payload_too_large, .status = 429}, NULL, NULL, MG_CLASS_payload_too_large, MG_ACTION_fallback},

    /* a day's quota that looks like a minute's */
    {{.hint = MG_CLASS_rate_limited, .status = 429, .retry_after_ms = 7200000}, "x-ratelimit-remaining-requests", "0", MG_CLASS_quota_billing, MG_ACTION_next_key},
    {{.hint = MG_CLASS_rate_limited, .status = 429, .retry_after_ms = 7200000}, "x-ratelimit-remaining-requests", "12", MG_CLASS_rate_limited, MG_ACTION_next_key},
    {{.hint = MG_CLASS_rate_limited, .status = 429, .retry_after_ms = 1000}, "x-ratelimit-remaining-requests", "0", MG_CLASS_rate_limited, MG_ACTION_next_key},

    /* the vendor's word */
    {{.hint = MG_CLASS_server_error, .status = 500}, "x-should-retry", "false", MG_CLASS_server_error, MG_ACTION_fallback},
    {{.hint = MG_CLASS_server_error, .status = 500}, "x-should-retry", "true", MG_CLASS_server_error, MG_ACTION_retry},
    {{.hint = MG_CLASS_timeout_total, .status = 504}, "x-should-retry", "true", MG_CLASS_timeout_total, MG_ACTION_retry},
    {{.hint = MG_CLASS_invalid_request, .status = 400}, "x-should-retry", "true", MG_CLASS_invalid_request, MG_ACTION_fail},
    {{.hint = MG_CLASS_overloaded, .status = 503, .retry_after_ms = 600000}, NULL, NULL, MG_CLASS_overloaded, MG_ACTION_fallback},
    {{.hint = MG_CLASS_overloaded, .status = 503, .retry_after_ms = 5000}, NULL, NULL, MG_CLASS_overloaded, MG_ACTION_retry},

    /* once more, not twice */
    {{.hint = MG_CLASS_invalid_json, .status = 200, .try_number = 2}, NULL, NULL, MG_CLASS_invalid_json, MG_ACTION_fallback},
    {{.hint = MG_CLASS_empty_response, .status = 200, .try_number = 2}, NULL, NULL, MG_CLASS_empty_response, MG_ACTION_fallback},
    {{.hint = MG_CLASS_server_error, .status = 500, .try_number = 2}, NULL, NULL, MG_CLASS_server_error, MG_ACTION_retry},

    /* an answer that the policy cut stands; a request that it refused does not */
    {{.hint = MG_CLASS_content_filter, .status = 200}, NULL, NULL, MG_CLASS_content_filter, MG_ACTION_accept},
    {{.hint = MG_CLASS_content_filter, .status = 200, .in_stream = true}, NULL, NULL, MG_CLASS_content_filter, MG_ACTION_fail},
    {{.hint = MG_CLASS_content_filter, .status = 400}, NULL, NULL, MG_CLASS_content_filter, MG_ACTION_fail},
};

TEST(says_what_two_facts_together_mean)
{
    world_open("", "on_log = function() end");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mg_header header = {mg_view_cstr(rows[i].header ? rows[i].header : "x-none"), mg_view_cstr(rows[i].value ? rows[i].value : ""), 0};
        struct mg_headers headers = {&header, 1};
        struct mg_attempt_facts facts = rows[i].facts;
        facts.headers = &headers;
        classify(facts);
        if (verdict.class_ != rows[i].class_ || verdict.action != rows[i].action)
            check_failed(__FILE__, __LINE__, "row %zu → %s %s", i, mg_class_name(verdict.class_), mg_action_name(verdict.action));
    }
    world_close();
}

TEST(a_client_reads_no_status_that_asks_for_another_try_where_none_helps)
{
    world_open("", "on_log = function() end");
    classify((struct mg_attempt_facts){.hint = MG_CLASS_payload_too_large, .status = 429, .error_message = MG_VIEW("too large")});
    CHECK_INT(verdict.client_status, 413);
    CHECK_VIEW(verdict.client_message, MG_VIEW("too large"));
    classify((struct mg_attempt_facts){.hint = MG_CLASS_context_length, .status = 500});
    CHECK_INT(verdict.client_status, 400);
    classify((struct mg_attempt_facts){.hint = MG_CLASS_context_length, .status = 422});
    CHECK_INT(verdict.client_status, 0);
    world_close();
}

TEST(a_repair_that_fits_is_tried)
{
    world_open("", "on_log = function() end");
    classify((struct mg_attempt_facts){.hint = MG_CLASS_invalid_request, .status = 400, .repair = MG_VIEW("drop_field")});
    CHECK(verdict.class_ == MG_CLASS_invalid_request && verdict.action == MG_ACTION_retry);
    CHECK_VIEW(verdict.repair, MG_VIEW("drop_field"));
    world_close();
}

TEST(models_that_think_may_take_their_time)
{
    static const struct {
        const char *model;
        bool thinks;
    } models[] = {{"o3-mini", true},      {"openai/o1", true},        {"gpt-5.2", true},          {"deepseek-reasoner", true},
                  {"DeepSeek-R1", true},  {"kimi-k2-thinking", true}, {"gpt-4o", false},          {"claude-sonnet-5", false},
                  {"o-model", false},     {"mistral-large", false},   {"accounts/x/gpt-5", true}, {"model-0", false}};
    world_open("", "on_log = function() end");
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        classify((struct mg_attempt_facts){.hint = MG_CLASS_timeout_ttft, .timeout = "first_token", .model = mg_view_cstr(models[i].model)});
        bool lenient = verdict.penalise.scope != MG_PENALTY_NONE && verdict.penalise.weight == 0.5;
        if (verdict.action != MG_ACTION_fallback || lenient != models[i].thinks)
            check_failed(__FILE__, __LINE__, "%s", models[i].model);
    }
    world_close();
}

MG_TEST_MAIN()
