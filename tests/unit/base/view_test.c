#include "base/view.h"

#include <ctype.h>

#include "check.h"

TEST(compares_finds_and_cuts)
{
    mg_view list = MG_VIEW("a, b,,c");
    static const char *const parts[] = {"a", " b", "", "c"};
    for (size_t i = 0; i < 4; i++)
        CHECK_VIEW(mg_view_cut(&list, ','), mg_view_cstr(parts[i]));
    CHECK(list.ptr == NULL);

    CHECK(mg_view_ieq(MG_VIEW("Content-Type"), MG_VIEW("content-type")));
    CHECK(!mg_view_eq(MG_VIEW("a"), MG_VIEW("A")));
    CHECK(mg_view_starts(MG_VIEW("abc"), MG_VIEW("ab")) && !mg_view_starts(MG_VIEW("a"), MG_VIEW("ab")));
    CHECK(mg_view_ends(MG_VIEW("abc"), MG_VIEW("bc")) && !mg_view_ends(MG_VIEW("c"), MG_VIEW("bc")));
    CHECK_INT(mg_view_find(MG_VIEW("abc\r"), "\r\n"), 3);
    CHECK_INT(mg_view_search(MG_VIEW("hello"), MG_VIEW("ll")), 2);
    CHECK_INT(mg_view_search(MG_VIEW("hello"), MG_VIEW("x")), 5);
    CHECK_VIEW(mg_view_trim(MG_VIEW(" \tx y\t ")), MG_VIEW("x y"));
    CHECK_VIEW(mg_view_skip(MG_VIEW("ab"), 9), MG_VIEW(""));
    CHECK(mg_view_eq_ct(MG_VIEW("key"), MG_VIEW("key")) && !mg_view_eq_ct(MG_VIEW("key"), MG_VIEW("kez")));
}

static bool same_byte(int a, int b)
{
    bool letters = a < 0x80 && b < 0x80 && isalpha(a) && isalpha(b);
    return letters ? (a | 0x20) == (b | 0x20) : a == b;
}

static void try_pair(size_t len, size_t at, int a, int b)
{
    char one[20] = "abcdefgh-ABCDEFGH-xy", two[20] = "ABCDEFGH-abcdefgh-XY";
    one[at] = (char)a;
    two[at] = (char)b;
    if (mg_view_ieq(mg_view_of(one, len), mg_view_of(two, len)) != same_byte(a, b))
        check_failed(__FILE__, __LINE__, "%02x and %02x at %zu of %zu", (unsigned)a, (unsigned)b, at, len);
}

TEST(folds_ascii_letters_and_nothing_else_at_every_place)
{
    static const size_t lens[] = {1, 3, 8, 13, 20};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        for (size_t at = 0; at < lens[i]; at++)
            for (int pair = 0; pair < 256 * 256; pair++)
                try_pair(lens[i], at, pair / 256, pair % 256);
}

TEST(reads_numbers_strictly)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t value;
    } rows[] = {{"0", true, 0}, {"18446744073709551615", true, UINT64_MAX}, {"18446744073709551616", false, 0},
                {"", false, 0}, {"-1", false, 0}, {"1 ", false, 0}, {"0x1", false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t value = 7;
        CHECK_INT(mg_view_u64(mg_view_cstr(rows[i].text), &value), rows[i].ok);
        CHECK(value == (rows[i].ok ? rows[i].value : 7));
    }
}

TEST(globs_are_linear_and_anchored)
{
    CHECK(mg_view_glob(MG_VIEW("*"), MG_VIEW("")));
    CHECK(mg_view_glob(MG_VIEW("gpt-*-mini"), MG_VIEW("gpt-5-mini")));
    CHECK(!mg_view_glob(MG_VIEW("gpt-*-mini"), MG_VIEW("gpt-5-mini-x")));
    CHECK(!mg_view_glob(MG_VIEW("a"), MG_VIEW("ab")));
    char stars[64], text[20000];
    memset(stars, '*', sizeof stars);
    memset(text, 'a', sizeof text);
    CHECK(mg_view_glob(mg_view_of(stars, sizeof stars), mg_view_of(text, sizeof text)));
}

TEST(utf8_is_judged_as_rfc_3629_does)
{
    static const struct {
        const char *text;
        bool ok;
        size_t bad;
    } rows[] = {
        {"plain", true, 0}, {"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x8c\x99", true, 0},
        {"a\xff", false, 1}, {"\xc0\x80", false, 0}, {"\xed\xa0\x80", false, 0}, {"\xf4\x90\x80\x80", false, 0},
        {"ab\xe2\x82", false, 2}, {"\xe0\x9f\x80", false, 0}, {"\x80", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t bad = 0;
        CHECK_INT(mg_view_utf8(mg_view_cstr(rows[i].text), &bad), rows[i].ok);
        CHECK_INT(bad, rows[i].bad);
    }
}

TEST(a_cut_never_splits_a_character)
{
    mg_view text = MG_VIEW("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x8c\x99z");
    for (size_t cut = 0; cut <= text.len; cut++) {
        size_t floor = mg_view_utf8_floor(mg_view_head(text, cut));
        CHECK(floor <= cut && cut - floor < 4);
        CHECK(mg_view_utf8(mg_view_head(text, floor), NULL));
    }
}

MG_TEST_MAIN()
