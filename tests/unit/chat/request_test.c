#include "chat/request.h"

#include "base/limits.h"

#include "check.h"

static struct mg_arena arena;
static struct mg_request request;

static mg_err scan(const char *body, struct mg_json_error *error)
{
    mg_arena_fini(&arena);
    mg_arena_init(&arena, 1024);
    return mg_request_scan(&request, &arena, mg_view_cstr(body), error);
}

static void scan_ok(const char *body)
{
    struct mg_json_error error;
    CHECK_OK(scan(body, &error));
}

static mg_view joined(const struct mg_body *body)
{
    mg_view out = mg_view_of(mg_arena_alloc(&arena, body->length + 1), 0);
    for (size_t i = 0; i < body->count; i++) {
        memcpy((char *)out.ptr + out.len, body->parts[i].ptr, body->parts[i].len);
        out.len += body->parts[i].len;
    }
    CHECK_INT(out.len, body->length);
    return out;
}

static mg_view attempt(const struct mg_body_change *change)
{
    static struct mg_body body;
    CHECK_OK(mg_request_for_attempt(&request, &arena, change, &body));
    return joined(&body);
}

TEST(finds_model_stream_and_messages)
{
    scan_ok("{\"model\":\"fast\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},"
            "{\"role\":\"assistant\",\"content\":null}],\"metadata\":{\"team\":\"a\"}}");

    CHECK_VIEW(request.model, MG_VIEW("fast"));
    CHECK(request.stream);
    CHECK_INT(request.message_count, 2);
    CHECK_VIEW(request.messages[0].role, MG_VIEW("user"));
    CHECK_VIEW(mg_request_message_text(&request, 0), MG_VIEW("hi"));
    CHECK_VIEW(request.metadata, MG_VIEW("{\"team\":\"a\"}"));
}

TEST(decodes_names_that_are_escaped)
{
    scan_ok("{\"m\\u006fdel\":\"fa\\u0073t\"}");

    CHECK_VIEW(request.model, MG_VIEW("fast"));
}

TEST(joins_the_text_parts_of_a_message)
{
    scan_ok("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\\n\"},"
            "{\"type\":\"image_url\",\"image_url\":{\"url\":\"x\"}},{\"type\":\"text\",\"text\":\"b\"}]}]}");

    CHECK_VIEW(mg_request_message_text(&request, 0), MG_VIEW("a\nb"));
}

TEST(names_the_byte_that_is_wrong)
{
    static const struct {
        const char *body;
        size_t offset;
    } rows[] = {
        {"{\"model\":\"m\",}", 13},
        {"{\"model\":1}", 9},
        {"{\"model\":\"m\",\"stream\":\"yes\"}", 22},
        {"{\"model\":\"m\",\"messages\":{}}", 24},
        {"{\"model\":\"m\",\"messages\":[1]}", 25},
        {"[1]", 0},
        {"{\"model\":\"m\",\"model\":\"n\"}", 13},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mg_json_error error = {0};
        CHECK(scan(rows[i].body, &error) == MG_E_BAD_REQUEST);
        CHECK_INT(error.offset, rows[i].offset);
        CHECK(error.reason != NULL);
    }
}

TEST(an_untouched_body_is_forwarded_as_it_came)
{
    const char *body = "  { \"x\" : 1.50 , \"model\":\"m\" ,\"seed\":9007199254740993 }\n";
    scan_ok(body);

    CHECK_VIEW(attempt(&(struct mg_body_change){.model = MG_VIEW("m")}), mg_view_cstr(body));
}

TEST(only_the_models_name_changes)
{
    scan_ok("{\"a\":1,\"model\" : \"m\",\"b\":[1, 2]}");

    CHECK_VIEW(attempt(&(struct mg_body_change){.model = MG_VIEW("gpt \"x\"")}),
               MG_VIEW("{\"a\":1,\"model\" : \"gpt \\\"x\\\"\",\"b\":[1, 2]}"));
}

TEST(sets_and_replaces_parameters_of_a_target)
{
    scan_ok("{\"temperature\":1,\"model\":\"m\"}");

    CHECK_VIEW(attempt(&(struct mg_body_change){.params = {MG_VIEW("{\"temperature\":0,\"top_p\":0.5}"),
                                                           MG_VIEW("{\"top_p\":0.25,\"model\":\"evil\"}")}}),
               MG_VIEW("{\"top_p\":0.25,\"temperature\":0,\"model\":\"m\"}"));
}

TEST(leaves_the_model_out_where_the_path_names_it)
{
    struct mg_body_change change = {.drop_model = true, .params = {MG_VIEW("{\"version\":\"v1\"}")}};
    scan_ok("{\"model\":\"m\",\"messages\":[]}");
    CHECK_VIEW(attempt(&change), MG_VIEW("{\"version\":\"v1\",\"messages\":[]}"));
    scan_ok("{\"messages\":[] , \"model\":\"m\" }");
    CHECK_VIEW(attempt(&change), MG_VIEW("{\"version\":\"v1\",\"messages\":[] }"));
    change.params[3] = MG_VIEW("{\"version\":2,\"model\":\"evil\"}");
    scan_ok("{\"a\":1,\"model\":\"m\",\"version\":0}");
    CHECK_VIEW(attempt(&change), MG_VIEW("{\"a\":1,\"version\":2}"));
}

TEST(the_first_member_goes_while_others_come)
{
    static const struct mg_body_edit drop = {.op = MG_EDIT_DROP, .field = "user"};
    struct mg_body_change change = {.edits = {&drop}, .edit_count = 1, .usage_field = "stream_options", .usage_member = "include_usage"};
    scan_ok("{\"user\":\"u\",\"stream\":true,\"model\":\"m\"}");
    CHECK_VIEW(attempt(&change), MG_VIEW("{\"stream_options\":{\"include_usage\":true},\"stream\":true,\"model\":\"m\"}"));
    change.params[0] = MG_VIEW("{\"top_p\":1}");
    CHECK_VIEW(attempt(&change), MG_VIEW("{\"top_p\":1,\"stream_options\":{\"include_usage\":true},\"stream\":true,\"model\":\"m\"}"));
}

TEST(opts_into_usage_whatever_stands_there)
{
    static const char *const rows[][2] = {
        {"{\"model\":\"m\",\"stream\":true}", "{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"x\":1}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":1}}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":false}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":null}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {"{\"model\":\"m\",\"stream\":false}", "{\"model\":\"m\",\"stream\":false}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
         "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scan_ok(rows[i][0]);
        CHECK_VIEW(attempt(&(struct mg_body_change){.usage_field = "stream_options", .usage_member = "include_usage"}),
                   mg_view_cstr(rows[i][1]));
    }
}

static const struct mg_body_edit drop_temperature = {MG_EDIT_DROP, "temperature", NULL},
                                 rename_limit = {MG_EDIT_RENAME, "max_tokens", "max_completion_tokens"},
                                 rename_back = {MG_EDIT_RENAME, "max_completion_tokens", "max_tokens"},
                                 plain_json = {MG_EDIT_SET, "response_format", "{\"type\":\"json_object\"}"},
                                 drop_options = {MG_EDIT_DROP, "stream_options", NULL},
                                 drop_model = {MG_EDIT_DROP, "model", NULL};

TEST(edits_drop_rename_and_set_fields_that_would_be_sent)
{
    static const struct {
        const char *body;
        const struct mg_body_edit *edits[2];
        const char *sent;
    } rows[] = {
        {"{\"temperature\":1,\"model\":\"m\"}", {&drop_temperature}, "{\"model\":\"m\"}"},
        {"{\"model\":\"m\" , \"temperature\" : 1 }", {&drop_temperature}, "{\"model\":\"m\" }"},
        {"{\"model\":\"m\"}", {&drop_temperature}, "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"max_tokens\":9}", {&rename_limit}, "{\"max_completion_tokens\":9,\"model\":\"m\"}"},
        {"{\"max_tokens\":9,\"model\":\"m\",\"max_completion_tokens\":5}", {&rename_limit},
         "{\"model\":\"m\",\"max_completion_tokens\":9}"},
        {"{\"model\":\"m\",\"max_tokens\":9}", {&rename_limit, &rename_back}, "{\"model\":\"m\",\"max_tokens\":9}"},
        {"{\"model\":\"m\",\"response_format\":{\"type\":\"json_schema\"},\"n\":1}", {&plain_json, &drop_temperature},
         "{\"model\":\"m\",\"response_format\":{\"type\":\"json_object\"},\"n\":1}"},
        {"{\"model\":\"m\"}", {&plain_json}, "{\"model\":\"m\"}"},
        {"{\"model\":\"m\"}", {&drop_model}, "{\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scan_ok(rows[i].body);
        struct mg_body_change change = {.edits = {rows[i].edits[0], rows[i].edits[1]}, .edit_count = rows[i].edits[1] ? 2 : 1};
        CHECK_VIEW(attempt(&change), mg_view_cstr(rows[i].sent));
    }
}

TEST(edits_come_after_the_parameters_of_a_target)
{
    scan_ok("{\"model\":\"m\",\"top_p\":1}");
    struct mg_body_change change = {.params = {MG_VIEW("{\"temperature\":0,\"max_tokens\":7}")},
                                    .edits = {&drop_temperature, &rename_limit},
                                    .edit_count = 2};

    CHECK_VIEW(attempt(&change), MG_VIEW("{\"max_completion_tokens\":7,\"model\":\"m\",\"top_p\":1}"));
    CHECK_VIEW(mg_request_sends(&request, &change, MG_VIEW("temperature")), MG_VIEW_NONE);
    CHECK_VIEW(mg_request_sends(&request, &change, MG_VIEW("max_completion_tokens")), MG_VIEW("7"));
    CHECK_VIEW(mg_request_sends(&request, &change, MG_VIEW("top_p")), MG_VIEW("1"));
}

TEST(an_edit_of_the_usage_field_wins_over_asking_for_usage)
{
    static const char *const rows[][2] = {
        {"{\"model\":\"m\",\"stream\":true}", "{\"model\":\"m\",\"stream\":true}"},
        {"{\"model\":\"m\",\"stream\":true,\"stream_options\":{}}", "{\"model\":\"m\",\"stream\":true}"},
        {"{\"stream_options\":{\"include_usage\":true},\"model\":\"m\",\"stream\":true}", "{\"model\":\"m\",\"stream\":true}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scan_ok(rows[i][0]);
        struct mg_body_change change = {.usage_field = "stream_options", .usage_member = "include_usage"};
        CHECK(mg_request_sends(&request, &change, MG_VIEW("stream_options")).len > 0);
        change.edits[change.edit_count++] = &drop_options;
        CHECK_VIEW(attempt(&change), mg_view_cstr(rows[i][1]));
        CHECK(mg_request_sends(&request, &change, MG_VIEW("stream_options")).len == 0);
    }
}

static mg_view rendered(void)
{
    struct mg_json_error error;
    CHECK_OK(mg_request_render(&request, &error));
    return request.body;
}

TEST(an_edited_message_is_one_splice)
{
    scan_ok("{\"model\":\"m\", \"messages\":[ {\"role\":\"user\",\"name\":\"n\",\"content\":\"secret\"} , {\"role\":\"user\"} ]}");

    mg_request_message_set(&request, 0, MG_VIEW("[\"gone\"]"));
    mg_request_message_set(&request, 1, MG_VIEW("x"));

    CHECK_VIEW(rendered(), MG_VIEW("{\"model\":\"m\", \"messages\":[ {\"role\":\"user\",\"name\":\"n\",\"content\":\"[\\\"gone\\\"]\"} "
                                   ", {\"role\":\"user\",\"content\":\"x\"} ]}"));
    CHECK_VIEW(mg_request_message_text(&request, 0), MG_VIEW("[\"gone\"]"));
}

TEST(messages_are_inserted_and_removed)
{
    scan_ok("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"1\"},{\"role\":\"user\",\"content\":\"2\"}]}");

    CHECK_OK(mg_request_message_insert(&request, 0, MG_VIEW("system"), MG_VIEW("be brief")));
    mg_request_message_remove(&request, 1);

    CHECK_VIEW(rendered(), MG_VIEW("{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"
                                   "{\"role\":\"user\",\"content\":\"2\"}]}"));
    CHECK_INT(request.message_count, 2);
}

TEST(parameters_are_removed_with_exactly_one_comma)
{
    static const char *const rows[][2] = {
        {"{\"a\":1,\"model\":\"m\"}", "{\"model\":\"m\"}"},
        {"{\"model\":\"m\",\"a\":1}", "{\"model\":\"m\"}"},
        {"{\"a\":1,\"b\":2,\"model\":\"m\"}", "{\"model\":\"m\"}"},
        {"{\"a\":1,\"model\":\"m\",\"b\":2}", "{\"model\":\"m\"}"},
        {"{ \"x\":0 , \"a\":1 , \"b\":2 , \"model\":\"m\" }", "{ \"x\":0 , \"model\":\"m\" }"},
        {"{\"model\":\"m\"}", "{\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scan_ok(rows[i][0]);
        CHECK(mg_request_set_param(&request, MG_VIEW("a"), MG_VIEW_NONE));
        CHECK(mg_request_set_param(&request, MG_VIEW("b"), MG_VIEW_NONE));
        CHECK_VIEW(rendered(), mg_view_cstr(rows[i][1]));
    }
}

TEST(parameters_that_have_a_door_of_their_own_are_refused)
{
    scan_ok("{\"model\":\"m\"}");

    CHECK(!mg_request_set_param(&request, MG_VIEW("model"), MG_VIEW("\"n\"")));
    CHECK(!mg_request_set_param(&request, MG_VIEW("messages"), MG_VIEW("[]")));
    CHECK(!mg_request_set_param(&request, MG_VIEW("a.b"), MG_VIEW("1")));
    CHECK(!mg_request_set_param(&request, MG_VIEW("a"), MG_VIEW("{")));
    for (int i = 0; i < MG_REQUEST_PARAMS; i++)
        CHECK(mg_request_set_param(&request, mg_arena_printf(&arena, "p%d", i), MG_VIEW("1")));
    CHECK(!mg_request_set_param(&request, MG_VIEW("one_too_many"), MG_VIEW("1")));
}

/* ---- other dialects ---------------------------------------------------------------------------- */

static void scan_as(const char *dialect, const char *body)
{
    struct mg_json_error error;
    mg_arena_fini(&arena);
    mg_arena_init(&arena, 1024);
    CHECK_OK(mg_request_scan_as(&request, &arena, dialect, mg_view_cstr(body), &error));
}

TEST(the_systems_own_field_is_the_first_message_in_every_dialect)
{
    static const struct {
        const char *dialect, *body, *system, *first, *role;
    } rows[] = {
        {"anthropic", "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"system\":\"be kind\"}", "be kind", "hi", "user"},
        {"anthropic", "{\"system\":[{\"type\":\"text\",\"text\":\"be \"},{\"type\":\"text\",\"text\":\"kind\"}],\"messages\":[{\"role\":\"user\","
                      "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":\"text\",\"text\":\"42\"}]}]}]}", "be kind", "42", "user"},
        {"openai_responses", "{\"instructions\":\"be kind\",\"input\":\"hi\"}", "be kind", "hi", "user"},
        {"openai_responses", "{\"instructions\":\"be kind\",\"input\":[{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"42\"}]}",
         "be kind", "42", ""},
        {"gemini", "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"h\"},{\"text\":\"i\"}]}],\"systemInstruction\":{\"parts\":[{\"text\":"
                   "\"be kind\"}]}}", "be kind", "hi", "assistant"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scan_as(rows[i].dialect, rows[i].body);
        CHECK_INT(request.message_count, 2);
        CHECK_VIEW(request.messages[0].role, MG_VIEW("system"));
        CHECK_VIEW(mg_request_message_text(&request, 0), mg_view_cstr(rows[i].system));
        CHECK_VIEW(request.messages[1].role, mg_view_cstr(rows[i].role));
        CHECK_VIEW(mg_request_message_text(&request, 1), mg_view_cstr(rows[i].first));
    }
}

TEST(edits_keep_the_shape_of_the_dialect_and_every_other_byte)
{
    scan_as("anthropic", "{\"system\" : \"s\", \"messages\":[ {\"role\":\"user\",\"content\":\"a\"},{ \"role\":\"user\",\"content\":\"b\"}]}");
    mg_request_message_set(&request, 0, MG_VIEW("S\""));
    mg_request_message_set(&request, 1, MG_VIEW("A"));
    CHECK_VIEW(rendered(), MG_VIEW("{\"system\" : \"S\\\"\", \"messages\":[ {\"role\":\"user\",\"content\":\"A\"},{ \"role\":\"user\",\"content\":\"b\"}]}"));

    scan_as("gemini", "{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}], \"role\":\"x\"},\"contents\":[{\"parts\":[{\"text\":\"a\"}]}]}");
    mg_request_message_set(&request, 0, MG_VIEW("S"));
    mg_request_message_set(&request, 1, MG_VIEW("A"));
    CHECK_VIEW(rendered(), MG_VIEW("{\"systemInstruction\":{\"parts\":[{\"text\":\"S\"}], \"role\":\"x\"},\"contents\":[{\"parts\":[{\"text\":\"A\"}]}]}"));

    scan_as("openai_responses", "{\"input\":\"a\", \"x\":1}");
    mg_request_message_set(&request, 0, MG_VIEW("A"));
    CHECK_VIEW(rendered(), MG_VIEW("{\"input\":\"A\", \"x\":1}"));
}

TEST(what_is_inserted_and_removed_stands_where_the_dialect_wants_it)
{
    scan_as("anthropic", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    CHECK_OK(mg_request_message_insert(&request, 0, MG_VIEW("system"), MG_VIEW("s")));
    CHECK_VIEW(rendered(), MG_VIEW("{\"system\":\"s\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"));
    CHECK_INT(request.message_count, 2);
    mg_request_message_remove(&request, 0);
    CHECK_VIEW(rendered(), MG_VIEW("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"));

    scan_as("gemini", "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]}]}");
    CHECK_OK(mg_request_message_insert(&request, 1, MG_VIEW("assistant"), MG_VIEW("b")));
    CHECK_OK(mg_request_message_insert(&request, 0, MG_VIEW("system"), MG_VIEW("s")));
    CHECK_VIEW(rendered(), MG_VIEW("{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]},"
                                   "{\"role\":\"model\",\"parts\":[{\"text\":\"b\"}]}]}"));

    scan_as("openai_responses", "{\"input\":\"a\"}");
    CHECK_OK(mg_request_message_insert(&request, 1, MG_VIEW("assistant"), MG_VIEW("b")));
    CHECK_VIEW(rendered(), MG_VIEW("{\"input\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}"));
}

TEST(more_messages_than_the_limit_are_refused)
{
    struct mg_buf body;
    struct mg_json_error error;
    mg_buf_init(&body, 1 << 20);
    CHECK_OK(mg_buf_put(&body, MG_VIEW("{\"model\":\"m\",\"messages\":[{}")));
    for (int i = 0; i < MG_MAX_JSON_SPANS; i++)
        CHECK_OK(mg_buf_put(&body, MG_VIEW(",{}")));
    CHECK_OK(mg_buf_put(&body, MG_VIEW("]}")));

    CHECK(scan(mg_buf_cstr(&body), &error) == MG_E_TOO_LARGE);
    mg_buf_fini(&body);
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
