#include "chat/inner.h"

#include "check.h"

static struct mg_arena arena;

static mg_view without(const char *body, const char *path, const struct mg_request **out)
{
    static struct mg_request request;
    struct mg_json_error error;
    CHECK_OK(mg_request_scan(&request, &arena, mg_view_cstr(body), &error));
    request.stream = true;
    CHECK_OK(mg_inner_without(&request, "openai_chat", &path, 1, &arena, out));
    CHECK_INT(mg_inner_has(&request, path), *out != &request);
    return (*out)->body;
}

TEST(leaves_a_member_out_of_every_element_and_all_else_as_it_was)
{
    static const struct {
        const char *body, *path, *left;
    } rows[] = {
        {"{\"messages\":[{\"role\":\"user\",\"x\":1.0,\"content\":\"a\"}, {\"x\":[{\"x\":2}],\"role\":\"assistant\",\"content\":\"b\" }]}", "messages[*].x",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}, {\"role\":\"assistant\",\"content\":\"b\" }]}"},
        {"{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"x\":{}},{\"x\":0}]}],\"x\":1}", "messages[*].tool_calls[*].x",
         "{\"messages\":[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\"},{}]}],\"x\":1}"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "messages[*].x", "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct mg_request *out;
        mg_arena_init(&arena, 1024);
        mg_view left = without(rows[i].body, rows[i].path, &out);
        CHECK_VIEW(left, mg_view_cstr(rows[i].left));
        CHECK(out->stream);
        mg_arena_fini(&arena);
    }
}

TEST(tells_paths_from_fields)
{
    CHECK(mg_inner_is_path("messages[*].reasoning") && !mg_inner_is_path("reasoning"));
    CHECK_STR(mg_inner_name("messages[*].tool_calls[*].extra_content"), "extra_content");
}

MG_TEST_MAIN()
