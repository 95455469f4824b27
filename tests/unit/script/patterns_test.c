#include "script/patterns.h"

#include <pthread.h>

#include "base/mem.h"
#include "check.h"

static struct mg_patterns *compile(const char *const *texts, size_t count, bool word, bool caseless)
{
    struct mg_pattern list[16];
    struct mg_patterns *patterns = NULL;
    struct mg_diag diag = {0};
    for (size_t i = 0; i < count; i++)
        list[i] = (struct mg_pattern){mg_view_cstr(texts[i]), word, caseless};
    if (mg_patterns_new(list, count, &patterns, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
    return patterns;
}

static struct mg_patterns *one(const char *text)
{
    return compile(&text, 1, false, false);
}

/* "0-3:0 5-7:1" */
static const char *scan(struct mg_patterns *patterns, mg_view text, enum mg_region_rule rule)
{
    static char line[512];
    struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
    struct mg_buf regions;
    size_t at = 0;
    mg_buf_init(&regions, MG_PATTERN_REGIONS * sizeof(struct mg_region));
    CHECK_OK(mg_patterns_scan(patterns, scratch, text, rule, NULL, &regions));
    line[0] = '\0';
    for (size_t i = 0; i < mg_region_count(&regions) && at < sizeof line - 40; i++) {
        const struct mg_region *r = mg_region_at(&regions, i);
        at += (size_t)snprintf(line + at, sizeof line - at, "%s%u-%u:%u", i ? " " : "", r->from, r->to, r->pattern);
    }
    mg_buf_fini(&regions);
    mg_patterns_scratch_free(scratch);
    return line;
}

TEST(the_leftmost_longest_match_wins)
{
    static const struct {
        const char *pattern, *text, *regions;
    } rows[] = {
        {"sk-[a-z0-9]+", "use sk-abc1, not sk-abc2", "4-11:0 17-24:0"},
        {"aa", "aaaaa", "0-2:0 2-4:0"},
        {"a{2,3}", "aaaaaaa", "0-3:0 3-6:0"},
        {"a{2,3}", "aaaaa", "0-3:0"},      /* the other one begins inside it wherever it ends */
        {"a|ab|abc", "xabcab", "1-4:0 4-6:0"},
        {"abcd|b", "abcd abc", "0-4:0 6-7:0"},
        {"\\bcat\\b", "cat concat cat", "0-3:0 11-14:0"},
        {"^x", "x x", "0-1:0"},
        {"x$", "x x", "2-3:0"},
        {".+", "ab\ncd", "0-5:0"},
        {"\\bx.{0,3}\\b|yz$", "x abc yz xx", "0-2:0 9-11:0"},
        {"q", "nothing", ""},
        {"q", "", ""},
    };

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_patterns *patterns = one(rows[i].pattern);
        CHECK_STR(scan(patterns, mg_view_cstr(rows[i].text), MG_REGION_LONGEST), rows[i].regions);
        mg_patterns_unref(patterns);
    }
}

TEST(a_union_leaves_no_matched_byte_outside)
{
    static const char *const texts[] = {"abc", "bcd", "x+"};
    struct mg_patterns *patterns = compile(texts, 3, false, false);

    CHECK_STR(scan(patterns, MG_VIEW("abcd"), MG_REGION_UNION), "0-4:0");
    CHECK_STR(scan(patterns, MG_VIEW("abc bcd xxx"), MG_REGION_UNION), "0-3:0 4-7:1 8-11:2");
    CHECK_STR(scan(patterns, MG_VIEW("abcabc"), MG_REGION_UNION), "0-3:0 3-6:0");
    mg_patterns_unref(patterns);
}

TEST(a_question_of_yes_or_no_stops_at_the_first_match)
{
    struct mg_patterns *patterns = one("a");

    CHECK_STR(scan(patterns, MG_VIEW("bab a a"), MG_REGION_ANY), "1-2:0");
    mg_patterns_unref(patterns);
}

TEST(words_are_literal_and_whole)
{
    static const char *const words[] = {"a.b", "cat", "$5", "\xc3\xa9t\xc3\xa9"};
    struct mg_patterns *patterns = compile(words, 4, true, false);

    CHECK_STR(scan(patterns, MG_VIEW("a.b axb cat cats Cat"), MG_REGION_LONGEST), "0-3:0 8-11:1");
    CHECK_STR(scan(patterns, MG_VIEW("for $5 or $55"), MG_REGION_LONGEST), "4-6:2");
    CHECK_STR(scan(patterns, MG_VIEW("l'\xc3\xa9t\xc3\xa9"), MG_REGION_LONGEST), "2-7:3");
    mg_patterns_unref(patterns);
}

TEST(case_is_folded_on_demand_beyond_ascii_too)
{
    static const char *const words[] = {"caf\xc3\xa9"};
    struct mg_patterns *patterns = compile(words, 1, true, true);

    CHECK_STR(scan(patterns, MG_VIEW("CAF\xc3\x89!"), MG_REGION_LONGEST), "0-5:0");
    mg_patterns_unref(patterns);
}

TEST(a_dot_is_a_character_and_a_class_may_hold_any)
{
    struct mg_patterns *dot = one("a.b"), *class_ = one("[\xc3\xa4\xc3\xb6]+");

    CHECK_STR(scan(dot, MG_VIEW("a\xe2\x82\xac" "b"), MG_REGION_LONGEST), "0-5:0");
    CHECK_STR(scan(class_, MG_VIEW("\xc3\xb6\xc3\xa4\xc3\xa9"), MG_REGION_LONGEST), "0-4:0");
    mg_patterns_unref(dot);
    mg_patterns_unref(class_);
}

TEST(a_text_outside_utf8_is_scanned_with_positions_kept)
{
    struct mg_patterns *patterns = one("sk-[a-z]+");

    CHECK_STR(scan(patterns, MG_VIEW("\xff\xc3 sk-a\x80 sk-b"), MG_REGION_LONGEST), "3-7:0 9-13:0");
    mg_patterns_unref(patterns);
}

TEST(the_same_set_is_compiled_once)
{
    struct mg_patterns *a = one("same[0-9]"), *b = one("same[0-9]"), *c = one("same[0-8]");

    CHECK(a == b);
    CHECK(a != c);
    mg_patterns_unref(a);
    CHECK_STR(scan(b, MG_VIEW("same7"), MG_REGION_LONGEST), "0-5:0");
    mg_patterns_unref(b);
    mg_patterns_unref(c);
}

TEST(tells_how_long_a_match_can_become)
{
    static const char *const texts[] = {"abc", "[0-9]{4,8}"};
    struct mg_patterns *bounded = compile(texts, 2, false, false), *open = one("a+");

    CHECK_INT(mg_patterns_max_width(bounded), 8);
    CHECK_INT(mg_patterns_max_width(open), UINT32_MAX);
    mg_patterns_unref(bounded);
    mg_patterns_unref(open);
}

TEST(refuses_what_cannot_be_compiled_and_says_which)
{
    static const struct {
        const char *pattern, *words;
    } rows[] = {
        {"[", "pattern 2"},          {"(a", "pattern 2"},   {"a*", "pattern 2"},       {"(a)\\1", "pattern 2"},
        {"(?=a)b", "pattern 2"},     {"", "empty"},         {"\xff", "UTF-8"},         {"(a{100}b){100}", "4096"},
        {"((((a{20}){20}){20}){20})", "4096"}, {"a{5000}", "4096"},
    };

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_pattern list[] = {{MG_VIEW("fine"), false, false}, {mg_view_cstr(rows[i].pattern), false, false}};
        struct mg_patterns *patterns = NULL;
        struct mg_diag diag = {0};
        CHECK_INT(mg_patterns_new(list, 2, &patterns, &diag), MG_E_CONFIG);
        CHECK_INT(diag.line, 2);
        if (!strstr(diag.text, rows[i].words))
            check_failed(__FILE__, __LINE__, "%s: %s", rows[i].pattern, diag.text);
    }
}

TEST(braces_and_classes_that_look_like_repetitions_cost_nothing)
{
    static const char *const fine[] = {"a{x}", "[{9999}]", "\\{9999}", "(a{10}){10}", "x{2,}"};

    for (size_t i = 0; i < MG_COUNT(fine); i++)
        mg_patterns_unref(one(fine[i]));
}

TEST(a_large_deny_list_fits)
{
    enum { WORDS = 5000 };
    static char texts[WORDS][16];
    static struct mg_pattern list[WORDS];
    struct mg_patterns *patterns = NULL;
    for (int i = 0; i < WORDS; i++) {
        snprintf(texts[i], sizeof texts[i], "word%d", i * 7919);
        list[i] = (struct mg_pattern){mg_view_cstr(texts[i]), true, true};
    }

    CHECK_OK(mg_patterns_new(list, WORDS, &patterns, NULL));
    CHECK_STR(scan(patterns, MG_VIEW("a WORD7919 word1"), MG_REGION_LONGEST), "2-10:1");
    mg_patterns_unref(patterns);
}

TEST(stops_when_told_to)
{
    static char text[65536];
    atomic_int stop = 1;
    struct mg_patterns *patterns = one(".");
    struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
    struct mg_buf regions;
    memset(text, 'a', sizeof text);
    mg_buf_init(&regions, MG_PATTERN_REGIONS * sizeof(struct mg_region));

    CHECK_INT(mg_patterns_scan(patterns, scratch, mg_view_of(text, sizeof text), MG_REGION_UNION, &stop, &regions),
              MG_E_TIMEOUT);
    mg_buf_fini(&regions);
    mg_patterns_scratch_free(scratch);
    mg_patterns_unref(patterns);
}

/* Where a piece ends, in the middle of everything a match can be in the middle of. */
TEST(a_long_text_is_scanned_in_pieces_and_nobody_sees_it)
{
    static const char needle[] = "\xc3\xa9key-123";
    static const char *const texts[] = {"key-[0-9]{3}", "^a", "z$", "\\bkey"};
    size_t len = 3 * MG_PATTERN_PIECE_BYTES + 100;
    char *text = mg_alloc(len);
    char want[64];
    struct mg_patterns *patterns = compile(texts, 3, false, false), *edge = one(texts[3]);

    for (size_t off = 0; off < 24; off++) {
        memset(text, 'a', len);
        size_t at = MG_PATTERN_PIECE_BYTES - 12 + off;
        memcpy(text + at, needle, sizeof needle - 1);
        snprintf(want, sizeof want, "0-1:1 %zu-%zu:0", at + 2, at + sizeof needle - 1);
        CHECK_STR(scan(patterns, mg_view_of(text, len), MG_REGION_LONGEST), want);
        CHECK_STR(scan(patterns, mg_view_of(text, len), MG_REGION_UNION), want);
        memcpy(text + at, "aaaaa", 2);
        CHECK_STR(scan(edge, mg_view_of(text, len), MG_REGION_ANY), "");
    }
    text[len - 1] = 'z';
    CHECK(strstr(scan(patterns, mg_view_of(text, len), MG_REGION_LONGEST), ":2"));
    mg_free(text);
    mg_patterns_unref(patterns);
    mg_patterns_unref(edge);
}

TEST(too_many_regions_are_refused)
{
    size_t len = 2 * MG_PATTERN_REGIONS + 2;
    char *text = mg_alloc(len);
    struct mg_patterns *patterns = one("a");
    struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
    struct mg_buf regions;
    for (size_t i = 0; i < len; i++)
        text[i] = i % 2 ? 'b' : 'a';
    mg_buf_init(&regions, MG_PATTERN_REGIONS * sizeof(struct mg_region));

    CHECK_INT(mg_patterns_scan(patterns, scratch, mg_view_of(text, len), MG_REGION_UNION, NULL, &regions), MG_E_TOO_LARGE);
    CHECK_OK(mg_patterns_scan(patterns, scratch, mg_view_of(text, len - 2), MG_REGION_UNION, NULL, &regions));
    mg_free(text);
    mg_buf_fini(&regions);
    mg_patterns_scratch_free(scratch);
    mg_patterns_unref(patterns);
}

static size_t pending(struct mg_patterns *patterns, mg_view text)
{
    struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
    struct mg_buf none;
    size_t start = 0;
    mg_buf_init(&none, 1);
    CHECK_OK(mg_patterns_pending(patterns, scratch, text, &none, &start));
    mg_patterns_scratch_free(scratch);
    return text.len - start;
}

TEST(the_end_of_a_text_that_could_become_a_match_is_told)
{
    static const struct {
        const char *pattern, *text;
        size_t len;
    } rows[] = {
        {"sk-[a-z0-9]{4,}", "use", 0},        {"sk-[a-z0-9]{4,}", "use s", 1},      {"sk-[a-z0-9]{4,}", "a sk-ab", 5},
        {"sk-[a-z0-9]{4,}", "a sk-abcd", 7},  {"sk-[a-z0-9]{4,}", "a sk-abcd ", 0}, {"(ab|c)*d", "xababa", 5},
        {"\\b[0-9]{4}\\b", "in 19", 2},       {"\\b[0-9]{4}\\b", "in 19 ", 0},
        {"\\b[0-9]{4}\\b", "-abc0", 4},     {"\\b-x", "a-", 2},    {"a.{0,3}b", "xxa12", 3},
        {"a.{0,3}b", "xxa1234", 0},           {"[\\]a]x|[^a]y", "cb]", 1},           {"e\xcc\x81?f", "e\xcc\x81", 3},
    };

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_patterns *patterns = one(rows[i].pattern);
        size_t got = pending(patterns, mg_view_cstr(rows[i].text));
        if (got != rows[i].len)
            check_failed(__FILE__, __LINE__, "%s on %s: %zu", rows[i].pattern, rows[i].text, got);
        mg_patterns_unref(patterns);
    }
}

TEST(the_end_of_a_text_that_could_become_a_word_is_told)
{
    static const char *const words[] = {"Project Moonshot", "cat", "caf\xc3\xa9"};
    struct mg_patterns *patterns = compile(words, 3, true, true);

    CHECK_INT(pending(patterns, MG_VIEW("the PROJ")), 4);
    CHECK_INT(pending(patterns, MG_VIEW("the proje")), 5);
    CHECK_INT(pending(patterns, MG_VIEW("a cat")), 3);
    CHECK_INT(pending(patterns, MG_VIEW("a cat ")), 0);
    CHECK_INT(pending(patterns, MG_VIEW("a bobcat")), 6);
    CHECK_INT(pending(patterns, MG_VIEW("a CAF\xc3\x89")), 5);
    CHECK_INT(pending(patterns, MG_VIEW("")), 0);
    mg_patterns_unref(patterns);
}

/* Wherever a text is cut, a match across the cut begins in what was told to be pending. */
TEST(no_match_begins_before_what_is_pending)
{
    static const char *const expressions[] = {
        "sk-[a-z0-9]{4,}", "[a-z]+@[a-z.]+[a-z]", "(ab|ba){2,3}c?", "a?b?c", "\\bword\\b|wor[dk]s", "x(?:y|z(a|b)*)+w",
        "[0-9]{2}(-[0-9]{2}){1,2}", "\xc3\xa9+t", "a.b", "\\d\\d:\\w+",
    };
    static const char *const texts[] = {
        "use sk-ab12x, mail bob.a@ex.co now", "abbaabc ababab bac words work", "12-34-56 7-89 12:ab xyzaabzw",
        "\xc3\xa9\xc3\xa9t a\xe2\x82\xac\142 acb sk-sk-abcde", "word sword words wordsk 99:_x",
    };

    for (size_t e = 0; e < MG_COUNT(expressions); e++) {
        struct mg_patterns *patterns = one(expressions[e]);
        struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
        struct mg_buf regions;
        mg_buf_init(&regions, 65536);
        for (size_t t = 0; t < MG_COUNT(texts); t++) {
            mg_view text = mg_view_cstr(texts[t]);
            CHECK_OK(mg_patterns_scan(patterns, scratch, text, MG_REGION_LONGEST, NULL, &regions));
            for (size_t i = 0; i < mg_region_count(&regions); i++) {
                const struct mg_region *r = mg_region_at(&regions, i);
                for (size_t cut = r->from + 1; cut < r->to; cut++)
                    if (mg_view_utf8_floor(mg_view_head(text, cut)) == cut &&
                        cut - pending(patterns, mg_view_head(text, cut)) > r->from)
                        check_failed(__FILE__, __LINE__, "%s on \"%.*s\"", expressions[e], (int)cut, texts[t]);
            }
        }
        mg_buf_fini(&regions);
        mg_patterns_scratch_free(scratch);
        mg_patterns_unref(patterns);
    }
}

TEST(says_when_it_cannot_tell_what_is_pending)
{
    static const char *const expressions[] = {"a(?i)b", "^ab", "\\Aab"};

    for (size_t i = 0; i < MG_COUNT(expressions); i++) {
        struct mg_patterns *patterns = one(expressions[i]);
        struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
        struct mg_buf none;
        size_t start = 0;
        mg_buf_init(&none, 1);
        CHECK_INT(mg_patterns_pending(patterns, scratch, MG_VIEW("a"), &none, &start), MG_E_NOT_FOUND);
        mg_patterns_scratch_free(scratch);
        mg_patterns_unref(patterns);
    }
}

static void *churn(void *arg)
{
    for (int i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof text, "k%d[0-9]+", i % 5);
        struct mg_patterns *patterns = one(text);
        struct mg_patterns_scratch *scratch = mg_patterns_scratch_new();
        struct mg_buf regions;
        mg_buf_init(&regions, 4096);
        CHECK_OK(mg_patterns_scan(patterns, scratch, MG_VIEW("k1 k33 k444"), MG_REGION_LONGEST, NULL, &regions));
        mg_buf_fini(&regions);
        mg_patterns_scratch_free(scratch);
        mg_patterns_unref(patterns);
    }
    return arg;
}

TEST(threads_share_and_drop_sets)
{
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

MG_TEST_MAIN()
