/* Repairs with the declaration that ships: which answers call for one, what is sent then, and what is remembered. */
#include "relay/repair.h"

#include <stdio.h>

#include "check.h"
#include "script/script.h"

static struct mg_arena arena;
static struct mg_adapter *adapter;
static struct mg_request request;
static struct mg_body_change change;

static void begin(const char *body)
{
    static struct mg_adapter_decl decl;
    static struct mg_arena declared;
    struct mg_diag diag = {.line = 0};
    struct mg_json_error error;
    if (!adapter) {
        mg_arena_init(&declared, 4096);
        CHECK_OK(mg_adapter_load("openai", &declared, &decl, &diag));
        CHECK_OK(mg_adapter_new(&decl, &adapter, &diag));
    }
    mg_arena_fini(&arena);
    mg_arena_init(&arena, 4096);
    CHECK_OK(mg_request_scan(&request, &arena, mg_view_cstr(body), &error));
    change = (struct mg_body_change){.usage_field = "stream_options", .usage_member = "include_usage"};
}

static int find(int status, const char *answer)
{
    struct mg_tap tap;
    mg_tap_init(&tap, adapter, false);
    mg_tap_body(&tap, mg_view_cstr(answer));
    return mg_repair_find(adapter, status, &tap, &request, &change);
}

static const char *sent(void)
{
    static char text[1024];
    struct mg_body body;
    size_t at = 0;
    CHECK_OK(mg_request_for_attempt(&request, &arena, &change, &body));
    for (size_t i = 0; i < body.count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%.*s", MG_FMT(body.parts[i]));
    return text;
}

#define ERROR(code, param, message) \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"invalid_request_error\",\"param\":" param ",\"code\":" code "}}"

TEST(finds_the_repair_that_an_answer_calls_for)
{
    static const struct {
        const char *body;
        int status;
        const char *answer, *name, *sent;
    } rows[] = {
        {"{\"model\":\"m\",\"max_tokens\":9}", 400,
         ERROR("\"unsupported_parameter\"", "\"max_tokens\"", "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."),
         "rename_max_tokens", "{\"max_completion_tokens\":9,\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"max_completion_tokens\":9}", 400,
         ERROR("null", "null", "Unrecognized request argument supplied: max_completion_tokens"),
         "rename_max_completion_tokens", "{\"max_tokens\":9,\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"temperature\":0.2,\"top_p\":1}", 400,
         ERROR("\"unsupported_value\"", "\"temperature\"", "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported."),
         "drop_field", "{\"model\":\"m\",\"top_p\":1}"},
        {"{\"model\":\"m\",\"temperature\":0.2,\"top_p\":1}", 400,
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"top_p: Extra inputs are not permitted\"}}",
         "drop_field", "{\"model\":\"m\",\"temperature\":0.2}"},
        {"{\"model\":\"m\",\"presence_penalty\":1}", 400,
         "{\"code\":\"Client specified an invalid argument\",\"error\":\"Argument not supported on this model: presencePenalty\"}",
         "drop_field", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"top_k\":4}", 400, ERROR("null", "null", "`top_k` is not supported with this model"), "drop_field", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"reasoning_effort\":\"xhigh\"}", 400,
         ERROR("\"unsupported_value\"", "\"reasoning_effort\"", "Unsupported value: 'reasoning_effort' does not support 'xhigh' with this model."),
         "drop_value", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"stream\":true}", 422,
         "{\"detail\":[{\"loc\":[\"body\",\"stream_options\"],\"msg\":\"Extra inputs are not permitted\",\"type\":\"extra_forbidden\"}]}",
         "drop_stream_options", "{\"model\":\"m\",\"stream\":true}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", 400,
         ERROR("null", "null", "unknown field: stream_options"), "drop_stream_options", "{\"model\":\"m\",\"stream\":true}"},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\"}}", 400,
         ERROR("null", "null", "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
         "plain_json", "{\"model\":\"m\",\"response_format\":{\"type\":\"json_object\"}}"},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\"}}", 400,
         ERROR("null", "null", "This response_format type is unavailable now"),
         "plain_json", "{\"model\":\"m\",\"response_format\":{\"type\":\"json_object\"}}"},
        {"{\"model\":\"m\",\"max_tokens\":99999}", 400,
         ERROR("\"invalid_value\"", "\"max_tokens\"", "max_tokens is too large: 99999. This model supports at most 16384 completion tokens"),
         "drop_large_limit", "{\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(rows[i].body);
        int row = find(rows[i].status, rows[i].answer);
        if (!mg_view_eq(mg_repair_name(adapter, row), mg_view_cstr(rows[i].name)))
            check_failed(__FILE__, __LINE__, "row %zu finds %.*s, want %s", i, MG_FMT(mg_repair_name(adapter, row)), rows[i].name);
        mg_repair_fill(adapter, mg_repair_bit(row), &change);
        CHECK_STR(sent(), rows[i].sent);
        CHECK_INT(find(rows[i].status, rows[i].answer), -1);           /* once is enough */
    }
}

TEST(finds_none_where_none_helps)
{
    static const struct {
        const char *body;
        int status;
        const char *answer;
    } rows[] = {
        {"{\"model\":\"m\"}", 400, ERROR("\"unsupported_value\"", "\"temperature\"", "not sent at all")},
        {"{\"model\":\"m\",\"tools\":[]}", 400, ERROR("\"unsupported_parameter\"", "\"tools\"", "tools are not supported")},
        {"{\"model\":\"m\",\"logprobs\":true}", 400, ERROR("\"unsupported_parameter\"", "\"logprobs\"", "not supported with this model")},
        {"{\"model\":\"m\",\"stream_options\":{}}", 400, ERROR("null", "\"stream_options\"", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\"}}", 400, ERROR("null", "\"response_format\"", "Invalid schema for response_format 'x': 'allOf' is not permitted.")},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\"}}", 400, ERROR("\"missing_required_parameter\"", "\"response_format.json_schema\"", "Missing required parameter: 'response_format.json_schema'.")},
        {"{\"model\":\"m\",\"n\":2}", 400, ERROR("\"unsupported_value\"", "\"n\"", "")},
        {"{\"model\":\"m\",\"temperature\":9}", 400, ERROR("\"invalid_value\"", "\"temperature\"", "temperature must be at most 2")},
        {"{\"model\":\"m\",\"temperature\":1,\"tools\":[]}", 400, ERROR("\"unsupported_parameter\"", "\"tools\"", "tools and temperature are not supported")},
        {"{\"model\":\"m\",\"max_tokens\":9}", 400, ERROR("null", "null", "unsupported: max_tokens_per_minute")},
        {"{\"model\":\"m\",\"temperature\":1}", 400, "<html>temperature is not supported</html>"},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_object\"}}", 400, ERROR("null", "null", "response_format json_schema")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(rows[i].body);
        int row = find(rows[i].status, rows[i].answer);
        if (row >= 0)
            check_failed(__FILE__, __LINE__, "row %zu finds %.*s", i, MG_FMT(mg_repair_name(adapter, row)));
    }
}

TEST(a_field_of_a_targets_parameters_is_repaired_too)
{
    begin("{\"model\":\"m\"}");
    change.params[0] = MG_VIEW("{\"temperature\":0}");
    int row = find(400, ERROR("\"unsupported_value\"", "\"temperature\"", ""));
    CHECK(row >= 0);
    mg_repair_fill(adapter, mg_repair_bit(row), &change);
    CHECK_STR(sent(), "{\"model\":\"m\"}");
}

static int row_of(const char *field, const char *to)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);
    for (int i = 0; i < decl->repair_count; i++)
        if (strcmp(decl->repairs[i].edit.field, field) == 0 && !decl->repairs[i].once &&
            (!to || (decl->repairs[i].edit.to && strcmp(decl->repairs[i].edit.to, to) == 0)))
            return i;
    check_failed(__FILE__, __LINE__, "no repair of %s", field);
    return -1;
}

TEST(a_target_is_remembered_for_an_hour)
{
    const uint64_t hour_us = UINT64_C(3600000000), start_us = 5000000;
    begin("{\"model\":\"m\"}");
    struct mg_repair_memory *memory = mg_repair_memory(MG_VIEW("p"), MG_VIEW("a/one"));
    int drop = row_of("temperature", NULL);
    CHECK(mg_repair_known(memory, start_us) == 0);

    mg_repair_learn(memory, adapter, drop, start_us);

    CHECK(mg_repair_known(memory, start_us) == mg_repair_bit(drop));
    CHECK(mg_repair_known(memory, start_us + hour_us - 1) == mg_repair_bit(drop));
    CHECK(mg_repair_known(memory, start_us + hour_us) == 0);
    CHECK(mg_repair_memory(MG_VIEW("p"), MG_VIEW("a/one")) == memory);
    CHECK(mg_repair_known(mg_repair_memory(MG_VIEW("p"), MG_VIEW("a/two")), start_us) == 0);
    CHECK(mg_repair_known(mg_repair_memory(MG_VIEW("q"), MG_VIEW("a/one")), start_us) == 0);
}

TEST(of_two_opposite_repairs_the_later_is_remembered)
{
    begin("{\"model\":\"m\"}");
    struct mg_repair_memory *memory = mg_repair_memory(MG_VIEW("p"), MG_VIEW("a/three"));
    int there = row_of("max_tokens", "max_completion_tokens"), back = row_of("max_completion_tokens", "max_tokens");

    mg_repair_learn(memory, adapter, there, 1000);
    mg_repair_learn(memory, adapter, back, 2000);
    CHECK(mg_repair_known(memory, 3000) == mg_repair_bit(back));
    mg_repair_learn(memory, adapter, there, 4000);
    CHECK(mg_repair_known(memory, 5000) == mg_repair_bit(there));
}

TEST(what_depends_on_one_request_is_not_remembered)
{
    begin("{\"model\":\"m\",\"max_tokens\":99999}");
    struct mg_repair_memory *memory = mg_repair_memory(MG_VIEW("p"), MG_VIEW("a/four"));
    int row = find(400, ERROR("null", "null", "max_tokens is too large"));
    CHECK_VIEW(mg_repair_name(adapter, row), MG_VIEW("drop_large_limit"));
    mg_repair_learn(memory, adapter, row, 1000);
    CHECK(mg_repair_known(memory, 1001) == 0);

    mg_repair_learn(NULL, adapter, row_of("temperature", NULL), 1000);
    CHECK(mg_repair_known(NULL, 1001) == 0);
}

TEST(a_change_takes_no_more_edits_than_it_has_room_for)
{
    begin("{\"model\":\"m\"}");
    mg_repair_fill(adapter, UINT64_MAX, &change);
    CHECK_INT(change.edit_count, MG_BODY_EDITS);
    mg_repair_fill(adapter, UINT64_MAX, &change);
    CHECK_INT(change.edit_count, MG_BODY_EDITS);
    CHECK_STR(sent(), "{\"model\":\"m\"}");
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
