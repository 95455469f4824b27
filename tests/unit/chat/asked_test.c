/* How much of an answer a request asks for, in every dialect. */
#include "check.h"

#include "chat/asked.h"

TEST(every_dialect_says_it_in_its_own_field)
{
    static const struct { const char *dialect, *body; uint64_t tokens, answers; } rows[] = {
        {"openai_chat", "{\"max_tokens\":7}", 7, 1},
        {"openai_chat", "{\"max_completion_tokens\":9,\"max_tokens\":7,\"n\":3}", 9, 3},
        {"openai_chat", "{\"max_completion_tokens\":7,\"max_tokens\":9}", 9, 1},      /* who knows which one is obeyed */
        {"openai_chat", "{\"prompt\":\"x\",\"max_tokens\":5,\"n\":1,\"best_of\":4}", 5, 4},
        {"openai_chat", "{\"max_output_tokens\":7}", 0, 1},
        {"anthropic", "{\"max_tokens\":1e3,\"n\":9}", 1000, 1},
        {"openai_responses", "{\"max_output_tokens\":100000,\"max_tokens\":1}", 100000, 1},
        {"gemini", "{\"generationConfig\":{\"maxOutputTokens\":50,\"candidateCount\":2},\"maxOutputTokens\":1}", 50, 2},
        {"gemini", "{\"generation_config\":{\"max_output_tokens\":60},\"generationConfig\":{\"maxOutputTokens\":50}}", 60, 1},
        {"gemini", "{\"generationConfig\":\"no object\"}", 0, 1},
        {"a_new_one", "{\"max_tokens\":7}", 7, 1},
        {"openai_chat", "", 0, 1},
        {"openai_chat", "{\"max_tokens\":null,\"n\":0}", 0, 1},
        {"openai_chat", "{\"max_tokens\":-5,\"n\":-1}", 0, 1},
        {"openai_chat", "{\"max_tokens\":\"7\"}", 0, 1},
        {"openai_chat", "{\"max_tokens\":99999999999999999999}", 0, 1},
        {"openai_chat", "{\"max_tokens\":9000000000000,\"n\":9000000000000}", 1 << 30, 1 << 30},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mg_asked asked = mg_asked_of(rows[i].dialect, mg_view_cstr(rows[i].body));
        CHECK_INT(asked.tokens, rows[i].tokens);
        CHECK_INT(asked.answers, rows[i].answers);
    }
}

MG_TEST_MAIN()
