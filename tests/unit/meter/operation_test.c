#include "meter/operation.h"

#include "base/mem.h"
#include "check.h"

TEST(a_path_is_an_operation_in_a_word)
{
    static const struct {
        const char *path, *name;
    } rows[] = {
        {"/v1/chat/completions", "chat"}, {"/chat/completions", "chat"}, {"/v1/completions", "completions"}, {"/v1/messages", "messages"},
        {"/v1/messages/count_tokens", "count_tokens"}, {"/v1/responses", "responses"}, {"/v1/responses/input_tokens", "count_tokens"},
        {"/v1beta/models/a/b:streamGenerateContent", "generate"}, {"/v1beta/models/m:countTokens", "count_tokens"}, {"/v1/embeddings", "embeddings"},
        {"/v1beta/models/m:batchEmbedContents", "embeddings"}, {"/v1/images/generations", "images"}, {"/v1/rerank", "rerank"},
        {"/providers/openai/v1/chat/completions", "passthrough"}, {"/providers/openai/v1/files/", "passthrough"}, {"", ""}, {"/", ""},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        CHECK_VIEW(mg_operation_of(mg_view_cstr(rows[i].path)), mg_view_cstr(rows[i].name));
}

MG_TEST_MAIN()
