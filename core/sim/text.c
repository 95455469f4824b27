#include "sim/text.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"

/* `%` is replaced by a word of the prompt. */
static const char *const openers[] = {
    "Let me take % first, because the rest follows from it.",
    "There are three things worth saying about %.",
    "The short answer about % is that it depends on what you measure.",
    "When people ask about %, they usually mean one of two things.",
    "Think of % as a promise between two parties.",
    "A good way into % is a small example.",
};

static const char *const sentences[] = {
    "In practice you start with the simplest version and change one thing at a time.",
    "That sounds obvious, and yet most of the trouble comes from skipping it.",
    "With % the details matter more than the headline.",
    "If it fails, it should fail early and say why.",
    "The second point is easier: keep what works and write down what does not.",
    "You can check this yourself in a few minutes.",
    "Nothing here depends on luck, only on the order of the steps.",
    "Where % is concerned, a number is worth ten opinions.",
    "It helps to name the cost before the benefit.",
    "A backup that was never tried is a hope, not a plan.",
    "Once that is settled, the remaining choices are small ones.",
    "Most of the time the first idea about % is good enough to begin with.",
    "Ask what would have to be true for this to be wrong.",
    "The moon has no light of its own, and still it shows the way.",
    "Measure twice, and let the second measurement argue with the first.",
    "So the useful question is not whether, but when.",
};

/* Of 1, 2, 3 … tokens: what fills the end, so that no sentence is cut. */
static const char *const closers[] = {
    "Quite.",
    "Try it.",
    "That is all.",
    "The rest is practice.",
    "Begin with the first step.",
    "It is simpler than it sounds.",
};

/* Words that say nothing about a prompt's subject. */
static const char *const dull[] = {
    "about",   "after", "again",  "also",   "answer", "because", "been", "could", "does",
    "explain", "from",  "give",   "have",   "hello",  "into",    "just", "like",  "make",
    "much",    "need",  "please", "should", "some",   "tell",    "that", "their", "them",
    "then",    "there", "these",  "they",   "this",   "using",   "want", "what",  "when",
    "where",   "which", "with",   "would",  "write",  "your",
};

enum { TOPICS = 4, TOPIC_BYTES = 24 };

struct topics {
    char word[TOPICS][TOPIC_BYTES];
    size_t count;
};

static void find_topics(mg_view prompt, struct topics *out);
static bool is_dull(mg_view word);
static bool is_letter(char c);
static uint32_t put_sentence(struct mg_buf *out, const char *sentence, const struct topics *topics,
                             uint64_t *random, uint32_t tokens);

mg_view mg_sim_text(struct mg_arena *arena, mg_view prompt, uint64_t seed, uint32_t tokens)
{
    struct topics topics;
    struct mg_buf text;
    uint64_t random = seed ? seed : 1;
    find_topics(prompt, &topics);
    mg_buf_init(&text, (size_t)tokens * 2 * TOPIC_BYTES + 256);
    const char *sentence = openers[mg_sim_random(&random) % MG_COUNT(openers)];
    size_t last = 0;
    for (uint32_t left = MG_MAX(tokens, 1u); left > 0;) {
        if (mg_sim_token_count(mg_view_cstr(sentence)) > left)
            sentence = closers[MG_MIN(left, (uint32_t)MG_COUNT(closers)) - 1];
        left -= put_sentence(&text, sentence, &topics, &random, left);
        last =
            (last + 1 + mg_sim_random(&random) % (MG_COUNT(sentences) - 1)) % MG_COUNT(sentences);
        sentence = sentences[last]; /* never the same twice in a row */
    }
    mg_view out = mg_arena_dup(arena, mg_buf_view(&text));
    mg_buf_fini(&text);
    return out;
}

mg_view mg_sim_token(mg_view *rest)
{
    mg_view all = *rest;
    size_t at = all.len && all.ptr[0] == ' ' ? 1 : 0;
    while (at < all.len && all.ptr[at] != ' ')
        at++;
    *rest = mg_view_skip(all, at);
    return mg_view_head(all, at);
}

uint32_t mg_sim_token_count(mg_view text)
{
    uint32_t count = 0;
    while (mg_sim_token(&text).len)
        count++;
    return count;
}

/* xorshift64*; the state is never 0. */
uint64_t mg_sim_random(uint64_t *state)
{
    uint64_t x = *state ? *state : 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (x * 0x2545f4914f6cdd1dull) >> 16;
}

/* One sentence, or as much of it as `tokens` allows; the answer is how many tokens were put. */
static uint32_t put_sentence(struct mg_buf *out, const char *sentence, const struct topics *topics,
                             uint64_t *random, uint32_t tokens)
{
    uint32_t put = 0;
    mg_view rest = mg_view_cstr(sentence);
    while (put < tokens && rest.len) {
        mg_view word = mg_view_cut(&rest, ' ');
        size_t hole = mg_view_find(word, "%");
        mg_err err = out->len ? mg_buf_putc(out, ' ') : MG_OK;
        if (err == MG_OK)
            err = mg_buf_put(out, mg_view_head(word, hole));
        if (err == MG_OK && hole < word.len)
            err =
                mg_buf_put(out, mg_view_cstr(topics->word[mg_sim_random(random) % topics->count]));
        if (err == MG_OK)
            err = mg_buf_put(out, mg_view_skip(word, hole + 1));
        if (err != MG_OK)
            return tokens; /* no memory: the text ends here */
        put++;
    }
    return put;
}

/* The last few words of the prompt that are longer than three letters and not dull. */
static void find_topics(mg_view prompt, struct topics *out)
{
    size_t found = 0;
    for (size_t at = 0; at < prompt.len;) {
        size_t from = at;
        while (at < prompt.len && is_letter(prompt.ptr[at]))
            at++;
        mg_view word = mg_view_of(prompt.ptr + from, at - from);
        if (word.len > 3 && word.len < TOPIC_BYTES && !is_dull(word))
            snprintf(out->word[found++ % TOPICS], TOPIC_BYTES, "%.*s", MG_FMT(word));
        if (at == from)
            at++;
    }
    out->count = MG_MIN(found, (size_t)TOPICS);
    if (!found) {
        snprintf(out->word[0], TOPIC_BYTES, "it");
        out->count = 1;
    }
}

static bool is_dull(mg_view word)
{
    for (size_t i = 0; i < MG_COUNT(dull); i++) {
        if (mg_view_ieq(word, mg_view_cstr(dull[i])))
            return true;
    }
    return false;
}

/* ASCII letters only: a word is never cut inside a character. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
