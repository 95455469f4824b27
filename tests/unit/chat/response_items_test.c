/* Items of kept responses: requests that go on from them, response objects, pages. */
#include "chat/response_items.h"

#include "check.h"
#include "http/json_scan.h"

static const char *request_of(const char *body, const struct mg_kept *kept, size_t count, size_t *out_count)
{
    static char text[4096];
    struct mg_arena arena;
    struct mg_request request;
    struct mg_json_error error = {0, ""};
    struct mg_buf out;
    mg_arena_init(&arena, 1024);
    mg_buf_init(&out, sizeof text - 1);
    CHECK_OK(mg_request_scan_as(&request, &arena, "openai_responses", mg_view_cstr(body), &error));
    CHECK_OK(mg_items_put_request(&out, &request, kept, count, out_count));
    CHECK_OK(mg_json_check(mg_buf_view(&out), &error));
    snprintf(text, sizeof text, "%.*s", MG_FMT(mg_buf_view(&out)));
    mg_buf_fini(&out);
    mg_arena_fini(&arena);
    return text;
}

static struct mg_kept kept(const char *id, const char *input, const char *response)
{
    return (struct mg_kept){mg_view_cstr(id), mg_view_cstr(input), mg_view_cstr(response), 0};
}

TEST(what_was_said_comes_before_the_new_input_and_the_rest_stays_as_it_was_spelt)
{
    struct mg_kept before[] = {
        kept("resp_1", "[{\"role\":\"user\",\"content\":\"1?\"}]", "{\"output\":[{\"type\":\"message\",\"id\":\"msg_9\",\"content\":[ ]}]}"),
        kept("resp_2", "[]", "{\"output\":[]}"),
    };
    size_t count;
    CHECK_STR(request_of(" {\"model\" : \"m\", \"previous_response_id\":\"resp_2\", \"input\":\"2?\", \"top_p\":1.0 } ", before, 2, &count),
              "{\"model\" : \"m\",\"top_p\":1.0,\"input\":[{\"role\":\"user\",\"content\":\"1?\"},{\"type\":\"message\",\"id\":\"msg_9\","
              "\"content\":[ ]},{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"2?\"}]}]}");
    CHECK_INT(count, 2);
    CHECK_STR(request_of("{\"input\":[{\"a\":1} , {\"b\":2}],\"previous\\u005fresponse_id\":\"resp_2\"}", before + 1, 1, &count),
              "{\"input\":[{\"a\":1},{\"b\":2}]}");
    CHECK_INT(count, 0);
    CHECK_STR(request_of("{\"previous_response_id\":\"resp_2\"}", before + 1, 1, &count), "{\"input\":[]}");
    CHECK_STR(request_of("{\"st\\u006fre\":true,\"input\":[]}", NULL, 0, &count), "{\"store\":true,\"input\":[]}");
}

TEST(reasoning_that_is_only_an_id_is_left_out_and_ids_of_ours_are_told_nobody)
{
    struct mg_kept before = kept("resp_abc", "[]",
        "{\"output\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]},{\"type\":\"reasoning\",\"id\":\"rs_2\",\"encrypted_content\":\"x\"},"
        "{\"type\":\"reasoning\",\"id\":\"rs_3\",\"encrypted_content\":null,\"content\":[]},{\"type\":\"reasoning\",\"id\":\"rs_4\",\"content\":[{}]},"
        "{\"type\":\"message\",\"id\":\"msg_abc_0\",\"a\":1},{\"id\":\"fc_abc_1\",\"type\":\"function_call\"},"
        "{\"type\":\"message\",\"id\":\"msg_abcd\"},{\"type\":\"web_search_call\",\"id\":\"ws_abc_2\"}]}");
    size_t count;
    CHECK_STR(request_of("{\"previous_response_id\":\"resp_abc\"}", &before, 1, &count),
              "{\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_2\",\"encrypted_content\":\"x\"},{\"type\":\"reasoning\",\"id\":\"rs_4\",\"content\":[{}]},"
              "{\"type\":\"message\",\"a\":1},{\"type\":\"function_call\"},{\"type\":\"message\",\"id\":\"msg_abcd\"},"
              "{\"type\":\"web_search_call\",\"id\":\"ws_abc_2\"}]}");
    CHECK_INT(count, 6);
}

TEST(the_last_items_of_an_array_are_found_with_what_is_between_them)
{
    const struct { const char *array; size_t count; const char *want; } rows[] = {
        {"[]", 0, ""}, {"[]", 3, ""}, {"[1]", 0, ""}, {"[1]", 1, "1"}, {"[ 1 , {\"a\":[2]} , \"3\" ]", 2, "{\"a\":[2]} , \"3\""},
        {"[1,2,3]", 3, "1,2,3"}, {"[1,2,3]", 9, "1,2,3"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mg_view tail = mg_items_tail(mg_view_cstr(rows[i].array), rows[i].count);
        CHECK(mg_view_eq(tail, mg_view_cstr(rows[i].want)));
    }
}

static const char *object_of(const char *response, const char *previous)
{
    static char text[512];
    struct mg_buf out;
    mg_buf_init(&out, sizeof text - 1);
    CHECK_OK(mg_response_put(&out, mg_view_cstr(response), mg_view_cstr(previous)));
    snprintf(text, sizeof text, "%.*s", MG_FMT(mg_buf_view(&out)));
    mg_buf_fini(&out);
    return text;
}

TEST(a_response_object_says_what_its_client_asked_for)
{
    CHECK_STR(object_of("{\"id\":\"a\",\"store\":false,\"previous_response_id\":null,\"n\":1.0}", "\"resp_1\""),
              "{\"id\":\"a\",\"store\":true,\"previous_response_id\":\"resp_1\",\"n\":1.0}");
    CHECK_STR(object_of(" {\"id\":\"a\"} ", ""), "{\"id\":\"a\",\"previous_response_id\":null,\"store\":true}");
    CHECK_STR(object_of("{}", ""), "{\"previous_response_id\":null,\"store\":true}");
}

static const char *page_of(const struct mg_kept *before, size_t count, size_t limit, bool ascending, const char *after, mg_err want)
{
    static char text[4096];
    struct mg_arena arena;
    struct mg_buf out;
    struct mg_json_error error;
    struct mg_items_page page = {limit, ascending, mg_view_cstr(after)};
    mg_arena_init(&arena, 1024);
    mg_buf_init(&out, sizeof text - 1);
    CHECK_INT(mg_items_put_page(&out, &arena, before, count, &page), want);
    if (want == MG_OK)
        CHECK_OK(mg_json_check(mg_buf_view(&out), &error));
    snprintf(text, sizeof text, "%.*s", MG_FMT(mg_buf_view(&out)));
    mg_buf_fini(&out);
    mg_arena_fini(&arena);
    return text;
}

TEST(a_page_has_what_came_before_the_answer_with_ids_types_and_parts)
{
    struct mg_kept before[] = {
        kept("resp_1", "[{\"role\":\"user\",\"content\":\"1?\"},{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"x\"}]",
             "{\"output\":[{\"type\":\"message\",\"id\":\"msg_9\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[]}]}"),
        kept("resp_2", "[{\"type\":\"message\",\"id\":\"msg_mine\",\"role\":\"assistant\",\"content\":\"2\"}]", "{\"output\":[{\"id\":\"hidden\"}]}"),
    };
    CHECK_STR(page_of(before, 2, 2, true, "", MG_OK),
              "{\"object\":\"list\",\"data\":[{\"id\":\"msg_1_in0\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"user\",\"content\":[{\"type\":"
              "\"input_text\",\"text\":\"1?\"}]},{\"id\":\"fc_1_in1\",\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"x\"}],"
              "\"first_id\":\"msg_1_in0\",\"last_id\":\"fc_1_in1\",\"has_more\":true}");
    CHECK_STR(page_of(before, 2, 100, true, "msg_9", MG_OK),
              "{\"object\":\"list\",\"data\":[{\"id\":\"msg_mine\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":"
              "\"output_text\",\"text\":\"2\",\"annotations\":[],\"logprobs\":[]}]}],\"first_id\":\"msg_mine\",\"last_id\":\"msg_mine\",\"has_more\":false}");
    CHECK_STR(page_of(before, 2, 1, false, "msg_mine", MG_OK),
              "{\"object\":\"list\",\"data\":[{\"id\":\"msg_9\",\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[]}],"
              "\"first_id\":\"msg_9\",\"last_id\":\"msg_9\",\"has_more\":true}");
    CHECK_STR(page_of(before, 2, 5, true, "msg_mine", MG_OK), "{\"object\":\"list\",\"data\":[],\"first_id\":null,\"last_id\":null,\"has_more\":false}");
    (void)page_of(before, 2, 5, true, "hidden", MG_E_NOT_FOUND);
}

MG_TEST_MAIN()
