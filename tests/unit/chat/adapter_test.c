/* The tap is tried with the declaration that ships, as every provider with the OpenAI dialect uses it. */
#include "chat/adapter.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "script/script.h"

static struct mg_arena arena;
static struct mg_adapter *adapter;
static struct mg_tap tap;

static void begin(bool stream)
{
    struct mg_diag diag = {.line = 0};
    static struct mg_adapter_decl decl;
    if (!adapter) {
        mg_arena_init(&arena, 4096);
        CHECK_OK(mg_adapter_load("openai", &arena, &decl, &diag));
        CHECK_OK(mg_adapter_new(&decl, &adapter, &diag));
    }
    mg_tap_init(&tap, adapter, stream);
}

static struct mg_tap_event event(const char *data)
{
    struct mg_tap_event seen;
    mg_tap_event(&tap, MG_VIEW_NONE, mg_view_cstr(data), &seen);
    return seen;
}

TEST(tells_content_from_what_only_looks_like_it)
{
    static const struct {
        const char *data;
        bool content;
    } rows[] = {
        {"{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}", false},
        {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":null}}]}", false},
        {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}", true},
        {"{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}", true},
        {"{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}", true},
        {"{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[]}}]}", false},
        {"{\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"no\"}}]}", true},
        {"{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}", false},
        {"{\"choices\":[],\"prompt_filter_results\":[]}", false},
        {"{\"choices\":[{\"index\":0,\"text\":\"legacy\"}]}", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(true);
        struct mg_tap_event seen = event(rows[i].data);
        if (seen.content != rows[i].content)
            check_failed(__FILE__, __LINE__, "row %zu", i);
    }
}

TEST(numbers_choices_by_what_they_say_and_not_by_their_place)
{
    begin(true);
    struct mg_tap_event seen = event("{\"choices\":[{\"delta\":{\"content\":\"x\"},\"index\":3,\"finish_reason\":\"stop\"},"
                                     "{\"index\":1,\"delta\":{\"reasoning_content\":\"y\"}}]}");
    CHECK_INT(seen.text_count, 2);
    CHECK_INT(seen.texts[0].choice, 3);
    CHECK_INT(seen.texts[1].choice, 1);
    CHECK_INT(seen.finished_count, 1);
    CHECK_INT(seen.finished[0], 3);

    seen = event("{\"choices\":[{\"delta\":{}},{\"delta\":{\"content\":\"z\"},\"finish_reason\":\"length\"}]}");
    CHECK_INT(seen.texts[0].choice, 1);
    CHECK_INT(seen.finished[0], 1);
}

TEST(cuts_usage_from_a_chunk_and_drops_one_that_is_nothing_else)
{
    begin(true);
    const char *data = "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],\"usage\":null,\"obfuscation\":\"q\"}";
    struct mg_tap_event seen = event(data);
    CHECK(!seen.usage_only);
    CHECK_VIEW(mg_view_of(data + seen.cut_offset, seen.cut_len), MG_VIEW(",\"usage\":null"));

    seen = event("{\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":4}}}");
    CHECK(seen.usage_only);
    CHECK_INT(tap.usage.input_tokens, 9);
    CHECK_INT(tap.usage.output_tokens, 7);
    CHECK_INT(tap.usage.cached_read_tokens, 4);
    CHECK(tap.usage.reported);
}

TEST(takes_no_usage_with_nonsense_in_it)
{
    static const char *const nonsense[] = {"-1", "\"9\"", "1.5", "18446744073709551615", "1e300", "[9]", "true"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        char data[128];
        snprintf(data, sizeof data, "{\"choices\":[],\"usage\":{\"prompt_tokens\":%s,\"completion_tokens\":7}}", nonsense[i]);
        begin(true);
        event(data);
        CHECK(!tap.usage.reported);
    }
}

TEST(keeps_a_usage_chunk_whose_choices_are_not_empty)
{
    begin(true);
    struct mg_tap_event seen = event("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");

    CHECK(!seen.usage_only);
    CHECK(seen.finish);
    CHECK_INT(tap.usage.output_tokens, 2);
}

TEST(finds_errors_inside_a_stream)
{
    begin(true);
    struct mg_tap_event seen = event("{\"error\":{\"message\":\"busy\\u0021\",\"type\":\"overloaded_error\",\"code\":503}}");

    CHECK(seen.error);
    CHECK(tap.failed);
    CHECK_STR(tap.error_message, "busy!");
    CHECK_STR(tap.error_code, "503");
    CHECK_INT(tap.error_class, MG_CLASS_overloaded);

    begin(true);
    CHECK(!event("{\"choices\":[],\"error\":null}").error);
}

TEST(malformed_events_are_counted_and_change_nothing)
{
    begin(true);
    struct mg_tap_event seen = event("{\"choices\":[{\"delta\":{\"content\":\"x\"}}");

    CHECK(seen.malformed);
    CHECK(!tap.content);
    CHECK_INT(tap.skipped, 1);
}

TEST(reads_whole_answers_and_replaces_their_text)
{
    begin(false);
    mg_view body = MG_VIEW("{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\\nb\"},"
                           "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}");
    mg_tap_body(&tap, body);

    CHECK(tap.content && tap.finished && !tap.failed);
    CHECK_VIEW(mg_tap_text_of(adapter, &arena, body), MG_VIEW("a\nb"));
    CHECK_VIEW(mg_tap_replace_text(adapter, &arena, body, MG_VIEW("\"new\"")),
               MG_VIEW("{\"id\":\"x\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\\\"new\\\"\"},"
                       "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}"));
}

static enum mg_class hint(int status, const char *type, const char *code, const char *message)
{
    struct mg_tap said;
    mg_tap_init(&said, adapter, false);
    snprintf(said.error_type, sizeof said.error_type, "%s", type);
    snprintf(said.error_code, sizeof said.error_code, "%s", code);
    snprintf(said.error_message, sizeof said.error_message, "%s", message);
    return mg_adapter_hint(adapter, status, &said);
}

TEST(classifies_errors_by_code_before_status_and_text_last)
{
    static const struct {
        int status;
        const char *type, *code, *message;
        enum mg_class expected;
    } rows[] = {
        {429, "requests", "rate_limit_exceeded", "", MG_CLASS_rate_limited},
        {429, "insufficient_quota", "insufficient_quota", "", MG_CLASS_quota_billing},
        {429, "tokens", "rate_limit_exceeded", "Request too large for gpt-x", MG_CLASS_payload_too_large},
        {429, "rate_limit_error", "slow_down", "", MG_CLASS_overloaded},
        {400, "invalid_request_error", "context_length_exceeded", "", MG_CLASS_context_length},
        {400, "invalid_request_error", "", "This model's maximum context length is 8192 tokens", MG_CLASS_context_length},
        {400, "invalid_request_error", "", "the user said: rate limit 429", MG_CLASS_invalid_request},
        {400, "invalid_request_error", "content_policy_violation", "", MG_CLASS_content_filter},
        {401, "", "invalid_api_key", "", MG_CLASS_auth},
        {404, "", "model_not_found", "", MG_CLASS_model_not_found},
        {402, "", "", "", MG_CLASS_quota_billing},
        {529, "", "", "", MG_CLASS_overloaded},
        {520, "", "", "", MG_CLASS_server_error},
        {0, "", "429", "", MG_CLASS_rate_limited},
        {0, "", "", "", MG_CLASS_server_error},
    };
    begin(false);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum mg_class got = hint(rows[i].status, rows[i].type, rows[i].code, rows[i].message);
        if (got != rows[i].expected)
            check_failed(__FILE__, __LINE__, "row %zu is %s, want %s", i, mg_class_name(got), mg_class_name(rows[i].expected));
    }
}

TEST(blank_text_is_no_content_until_something_was_said)
{
    begin(true);
    CHECK(!event("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\n\\n \"}}]}").content);
    CHECK(!event("{\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\" \"}}]}").content);
    CHECK(!event("{\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"\\t\"}}]}").content);
    CHECK(!tap.content && !tap.useful && !tap.refused);

    struct mg_tap_event seen = event("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\" \\\\n\"}}]}");
    CHECK(seen.content && tap.useful);
    seen = event("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\n\"}}]}");
    CHECK(seen.content);
    CHECK_INT(seen.text_count, 1);
}

TEST(reasoning_and_refusals_are_content_but_of_no_use)
{
    begin(true);
    CHECK(event("{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}").content && !tap.useful);
    struct mg_tap_event seen = event("{\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"no\"}}]}");
    CHECK(seen.content && seen.refusal && tap.refused && !tap.useful);
}

TEST(knows_what_a_finish_reason_means)
{
    static const struct {
        const char *reason;
        enum mg_finish end;
    } rows[] = {
        {"stop", MG_FINISH_DONE},          {"tool_calls", MG_FINISH_DONE},
        {"eos", MG_FINISH_DONE},           {"length", MG_FINISH_CUT},
        {"model_length", MG_FINISH_CUT},   {"content_filter", MG_FINISH_FILTERED},
        {"error", MG_FINISH_FAILED},       {"insufficient_system_resource", MG_FINISH_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char data[128];
        snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}]}", rows[i].reason);
        begin(true);
        CHECK(event(data).finish);
        CHECK_STR(tap.finish, rows[i].reason);
        CHECK_INT(tap.end, rows[i].end);
        CHECK(tap.failed == (rows[i].end == MG_FINISH_FAILED));
    }
}

/* ---- tool calls */

static mg_view span_of(const char *data, size_t offset, size_t len)
{
    return mg_view_of(data + offset, len);
}

TEST(tells_the_pieces_of_tool_calls)
{
    begin(true);
    const char *data = "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"arguments\":\"{\",\"name\":\"f\"},\"id\":\"c\",\"index\":2},"
                       "{\"index\":3,\"function\":{\"arguments\":\"x\"}}]},\"index\":1}]}";
    struct mg_tap_event seen = event(data);
    CHECK(seen.content);
    CHECK_INT(seen.tool_count, 2);
    CHECK(!seen.more_tools);
    CHECK(seen.tools[0].choice == 1 && seen.tools[0].index == 2);
    CHECK_VIEW(span_of(data, seen.tools[0].name_offset, seen.tools[0].name_len), MG_VIEW("\"f\""));
    CHECK_VIEW(span_of(data, seen.tools[0].arguments_offset, seen.tools[0].arguments_len), MG_VIEW("\"{\""));
    CHECK(seen.tools[1].index == 3 && seen.tools[1].name_len == 0);
}

TEST(says_when_there_are_calls_that_cannot_be_followed)
{
    begin(true);
    CHECK(event("{\"choices\":[{\"index\":0,\"delta\":{\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}}}]}").more_tools);
    CHECK(event("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":{\"a\":1}}}]}}]}").more_tools);
    char data[1024] = "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}", *end = data + strlen(data);
    for (int i = 1; i <= MG_TAP_TOOLS; i++)
        end += snprintf(end, 64, ",{\"index\":%d,\"function\":{\"name\":\"a\"}}", i);
    snprintf(end, 64, "]}}]}");
    struct mg_tap_event seen = event(data);
    CHECK(seen.more_tools && seen.tool_count == MG_TAP_TOOLS);
}

/* Arguments in pieces, as chunks with one call each; '|' cuts. */
static void stream_call(int index, const char *name, const char *pieces)
{
    for (const char *at = pieces; *at; name = NULL) {
        int len = (int)strcspn(at, "|");
        char data[512], number[32] = "", title[32] = "";
        if (index >= 0)
            snprintf(number, sizeof number, "\"index\":%d,", index);
        if (name)
            snprintf(title, sizeof title, "\"name\":\"%s\",", name);
        snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{%s\"function\":{%s\"arguments\":\"%.*s\"}}]}}]}",
                 number, title, len, at);
        CHECK(!event(data).malformed);
        at += len + (at[len] == '|');
    }
}

static bool finish_is_good(const char *reason)
{
    char data[128];
    snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}]}", reason);
    event(data);
    return !tap.broken_arguments;
}

TEST(arguments_of_a_finished_call_must_be_json_unless_a_limit_cut_them)
{
    static const struct {
        const char *pieces, *reason;
        bool good;
    } rows[] = {
        {"{\\\"ci|ty\\\":\\\"Par|is\\\"}", "tool_calls", true},
        {"{\\\"ci|ty\\\":\\\"Par", "tool_calls", false},
        {"{\\\"ci|ty\\\":\\\"Par", "stop", false},
        {"{\\\"ci|ty\\\":\\\"Par", "length", true},
        {"{\\\"ci|ty\\\":\\\"Par", "content_filter", true},
        {"{}}", "tool_calls", false},
        {"", "tool_calls", true},
        {" ", "tool_calls", true},
        {"{'city':'Paris'}", "tool_calls", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(true);
        stream_call(0, "f", rows[i].pieces);
        if (finish_is_good(rows[i].reason) != rows[i].good)
            check_failed(__FILE__, __LINE__, "row %zu", i);
    }
}

TEST(calls_that_interleave_are_told_apart)
{
    begin(true);
    stream_call(0, "f", "{\\\"a\\\":");
    stream_call(1, "g", "[1,");
    stream_call(0, NULL, "1}");
    stream_call(1, NULL, "2]");
    CHECK(finish_is_good("tool_calls"));

    begin(true);
    stream_call(0, "f", "{}");
    stream_call(1, "g", "[1,");
    CHECK(!finish_is_good("tool_calls"));
}

TEST(whole_calls_without_numbers_follow_each_other)
{
    begin(true);
    stream_call(-1, "f", "{\\\"a\\\":1}");
    stream_call(-1, "g", "{\\\"b\\\":2}");
    CHECK(finish_is_good("tool_calls"));
    CHECK_INT(tap.call_count, 1);
}

TEST(more_calls_than_are_followed_do_no_harm)
{
    begin(true);
    for (int i = 0; i < 3 * MG_TAP_CALLS; i++) {
        char data[256];
        snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":\"%s\"}}]}}]}", i,
                 i < MG_TAP_CALLS ? "{}" : "{");
        event(data);
    }
    CHECK_INT(tap.call_count, MG_TAP_CALLS);
    CHECK(finish_is_good("tool_calls"));
}

TEST(arguments_of_a_whole_answer_are_looked_at_too)
{
    static const struct {
        const char *arguments, *finish;
        bool good;
    } rows[] = {
        {"\"{\\\"a\\\":1}\"", "tool_calls", true}, {"\"{\\\"a\\\":\"", "tool_calls", false}, {"\"{\\\"a\\\":\"", "length", true},
        {"\"\"", "tool_calls", true},              {"{\"a\":1}", "tool_calls", true},      {"null", "tool_calls", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[512];
        snprintf(body, sizeof body,
                 "{\"choices\":[{\"index\":0,\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
                 "{\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":%s}}]},\"finish_reason\":\"%s\"}]}", rows[i].arguments, rows[i].finish);
        begin(false);
        mg_tap_body(&tap, mg_view_cstr(body));
        CHECK(tap.useful && !tap.malformed);
        if (tap.broken_arguments == rows[i].good)
            check_failed(__FILE__, __LINE__, "row %zu", i);
    }
}

TEST(a_path_with_two_meanings_is_refused)
{
    struct mg_adapter *made;
    struct mg_diag diag;
    struct mg_adapter_decl decl = {.name = "x", .chunk = {.content = {"a.b"}, .finish = {"a.b"}}};
    CHECK(mg_adapter_new(&decl, &made, &diag) == MG_E_CONFIG);
    decl = (struct mg_adapter_decl){.name = "x", .chunk = {.content = {"a..b"}}};
    CHECK(mg_adapter_new(&decl, &made, &diag) == MG_E_CONFIG);

    mg_adapter_free(adapter);
    adapter = NULL;
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
