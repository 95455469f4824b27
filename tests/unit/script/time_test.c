#include "script/time.h"

#include "base/mem.h"
#include "check.h"

static int64_t ms(const char *text)
{
    int64_t out = 0;
    CHECK_OK(mg_time_parse(mg_view_cstr(text), &out));
    return out;
}

TEST(formats_and_parses_back)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00Z"},
        {951782400000, "2000-02-29T00:00:00Z"},
        {1795507200123, "2026-11-24T08:00:00.123Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-62167219200000, "0000-01-01T00:00:00Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
    };
    char text[MG_TIME_BYTES];

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        CHECK_OK(mg_time_format(rows[i].ms, text));
        CHECK_STR(text, rows[i].text);
        CHECK_INT(ms(rows[i].text), rows[i].ms);
    }
    CHECK_INT(mg_time_format(253402300800000, text), MG_E_BAD_REQUEST);
    CHECK_INT(mg_time_format(-62167219200001, text), MG_E_BAD_REQUEST);
}

TEST(parses_offsets_fractions_and_leap_seconds)
{
    CHECK_INT(ms("2026-11-24T10:00:00+02:00"), ms("2026-11-24T08:00:00Z"));
    CHECK_INT(ms("2026-11-24T04:30:00-03:30"), ms("2026-11-24T08:00:00Z"));
    CHECK_INT(ms("2026-11-24 08:00:00.5Z"), ms("2026-11-24T08:00:00Z") + 500);
    CHECK_INT(ms("2026-11-24t08:00:00.123456789z"), ms("2026-11-24T08:00:00Z") + 123);
    CHECK_INT(ms("2016-12-31T23:59:60Z"), ms("2017-01-01T00:00:00Z"));
}

TEST(refuses_what_is_no_date)
{
    static const char *const bad[] = {"", "2026", "2026-11-24", "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z",
                                      "2026-13-01T00:00:00Z", "2026-11-24T24:00:00Z", "2026-11-24T08:00:00",
                                      "2026-11-24T08:00:00.Z", "2026-11-24T08:00:00+2:00", "2026-11-24T08:00:00Zx",
                                      "26-11-24T08:00:00Z", "2026-11-24T08:00Z", " 2026-11-24T08:00:00Z"};
    int64_t out;

    for (size_t i = 0; i < MG_COUNT(bad); i++)
        CHECK_INT(mg_time_parse(mg_view_cstr(bad[i]), &out), MG_E_BAD_REQUEST);
}

TEST(a_date_cut_anywhere_is_refused)
{
    mg_view whole = MG_VIEW("2026-11-24T08:00:00.12+01:00");
    int64_t out;

    for (size_t cut = 0; cut < whole.len; cut++)
        CHECK_INT(mg_time_parse(mg_view_head(whole, cut), &out), MG_E_BAD_REQUEST);
    CHECK_OK(mg_time_parse(whole, &out));
}

TEST(finds_the_next_moment_of_a_cron_expression)
{
    static const struct {
        const char *expression, *after, *next;
    } rows[] = {
        {"* * * * *", "2026-11-24T08:00:00Z", "2026-11-24T08:01:00Z"},
        {"* * * * *", "2026-11-24T08:00:59.999Z", "2026-11-24T08:01:00Z"},
        {"*/15 * * * *", "2026-11-24T08:46:00Z", "2026-11-24T09:00:00Z"},
        {"30 2 * * *", "2026-11-24T08:00:00Z", "2026-11-25T02:30:00Z"},
        {"0 9-17/4 * * mon-fri", "2026-11-27T17:00:00Z", "2026-11-30T09:00:00Z"},
        {"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
        {"0 0 13 * 5", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z"},
        {"0 0 * * 7", "2026-11-24T00:00:00Z", "2026-11-29T00:00:00Z"},
        {"0,30 8 1 JAN,Jul *", "2026-11-24T00:00:00Z", "2027-01-01T08:00:00Z"},
        {"5/20 * * * *", "2026-11-24T08:30:00Z", "2026-11-24T08:45:00Z"},
        {"@monthly", "2026-11-24T00:00:00Z", "2026-12-01T00:00:00Z"},
        {"@hourly", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z"},
    };

    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        char text[MG_TIME_BYTES];
        int64_t next = 0;
        CHECK_OK(mg_cron_next(mg_view_cstr(rows[i].expression), ms(rows[i].after), &next));
        CHECK_OK(mg_time_format(next, text));
        CHECK_STR(text, rows[i].next);
    }
}

TEST(refuses_what_is_no_cron_expression)
{
    static const char *const bad[] = {"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
                                      "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *", "1, * * * *", ", * * * *",
                                      "@never", "-1 * * * *", "1- * * * *"};
    int64_t next;

    for (size_t i = 0; i < MG_COUNT(bad); i++)
        CHECK_INT(mg_cron_next(mg_view_cstr(bad[i]), 0, &next), MG_E_BAD_REQUEST);
    CHECK_INT(mg_cron_next(MG_VIEW("0 0 31 2 *"), 0, &next), MG_E_NOT_FOUND);
}

MG_TEST_MAIN()
