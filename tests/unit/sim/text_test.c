#include "sim/text.h"

#include "check.h"

static struct mg_arena arena;

static mg_view say(const char *prompt, uint64_t seed, uint32_t tokens)
{
    return mg_sim_text(&arena, mg_view_cstr(prompt), seed, tokens);
}

TEST(a_text_has_exactly_the_tokens_asked_for)
{
    mg_arena_init(&arena, 4096);
    static const uint32_t counts[] = {1, 2, 7, 40, 1000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++)
        CHECK_INT(mg_sim_token_count(say("Why is the sea salty?", 3, counts[i])), counts[i]);
    mg_arena_fini(&arena);
}

TEST(the_same_prompt_and_seed_say_the_same)
{
    mg_arena_init(&arena, 4096);
    CHECK_VIEW(say("harbours at night", 9, 60), say("harbours at night", 9, 60));
    CHECK(!mg_view_eq(say("harbours at night", 9, 60), say("harbours at night", 10, 60)));
    mg_arena_fini(&arena);
}

TEST(a_text_picks_up_a_word_of_the_prompt)
{
    mg_arena_init(&arena, 4096);
    mg_view text = say("Please tell me about lighthouses", 5, 80);
    CHECK(mg_view_search(text, MG_VIEW("lighthouses")) < text.len);
    mg_arena_fini(&arena);
}

TEST(tokens_put_together_are_the_text_again)
{
    mg_arena_init(&arena, 4096);
    mg_view text = say("", 5, 30), rest = text, token;
    size_t total = 0;
    while ((token = mg_sim_token(&rest)).len) {
        CHECK(token.ptr == text.ptr + total);
        total += token.len;
    }
    CHECK_INT(total, text.len);
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
