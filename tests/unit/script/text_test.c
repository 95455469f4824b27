#include "script/text.h"

#include "base/mem.h"
#include "check.h"

TEST(counts_code_points_and_stray_bytes)
{
    CHECK_INT(mg_text_length(MG_VIEW(""), NULL), 0);
    CHECK_INT(mg_text_length(MG_VIEW("h\xc3\xa9llo"), NULL), 5);
    CHECK_INT(mg_text_length(MG_VIEW("\xe2\x82\xac\xf0\x9f\x98\x80"), NULL), 2);
    CHECK_INT(mg_text_length(MG_VIEW("a\xff\xc3"), NULL), 3);
}

TEST(takes_a_range_as_string_sub_does)
{
    static const struct {
        int64_t i, j;
        const char *want;
    } rows[] = {{1, -1, "h\xc3\xa9llo"}, {2, 2, "\xc3\xa9"}, {-4, -2, "\xc3\xa9ll"}, {0, 1, "h"}, {4, 99, "lo"},
                {6, 9, ""},       {3, 2, ""},        {-99, 2, "h\xc3\xa9"},   {1, 0, ""},  {-1, -1, "o"}};

    for (size_t i = 0; i < MG_COUNT(rows); i++)
        CHECK_VIEW(mg_text_sub(MG_VIEW("h\xc3\xa9llo"), rows[i].i, rows[i].j, NULL), mg_view_cstr(rows[i].want));
}

TEST(never_cuts_inside_a_code_point)
{
    mg_view text = MG_VIEW("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z");
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    for (size_t n = 0; n < MG_COUNT(want); n++)
        CHECK_INT(mg_text_truncate(text, n).len, want[n]);
    CHECK_INT(mg_text_truncate(MG_VIEW("\x80\x80\x80\x80\x80\x80"), 5).len, 5);
    CHECK_INT(mg_text_truncate(MG_VIEW("ab\xc3"), 2).len, 2);
}

TEST(estimates_tokens)
{
    CHECK_INT(mg_text_tokens(MG_VIEW(""), NULL), 0);
    CHECK_INT(mg_text_tokens(MG_VIEW("a"), NULL), 1);
    CHECK_INT(mg_text_tokens(MG_VIEW("eight by"), NULL), 2);
    CHECK_INT(mg_text_tokens(MG_VIEW("\xd0\xb4\xd0\xb0"), NULL), 1);
    CHECK_INT(mg_text_tokens(MG_VIEW("\xe6\x97\xa5\xe6\x9c\xac"), NULL), 2);
}

MG_TEST_MAIN()
