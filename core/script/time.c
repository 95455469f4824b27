#include "script/time.h"

#include <stdio.h>

#include "base/mem.h"

/* Days are counted from 1970-01-01 in the proleptic Gregorian calendar; the arithmetic is on years that begin in March,
 * so that the leap day is the last of its year. */
enum { DAY_S = 86400, SEARCH_YEARS = 9 };

struct date {
    int64_t year;
    int month, day;                    /* from 1 */
    int weekday;                       /* 0 is Sunday */
};

static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static struct date date_of(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int64_t weekday = ((days + 4) % 7 + 7) % 7;
    return (struct date){yoe + era * 400 + (month <= 2), month, (int)(doy - (153 * mp + 2) / 5 + 1), (int)weekday};
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* ---- RFC 3339 */

mg_err mg_time_format(int64_t wall_ms, char out[MG_TIME_BYTES])
{
    int64_t seconds = floor_div(wall_ms, 1000), days = floor_div(seconds, DAY_S);
    int ms = (int)(wall_ms - seconds * 1000), in_day = (int)(seconds - days * DAY_S);
    if (days < days_of(0, 1, 1) || days > days_of(9999, 12, 31))
        return MG_E_BAD_REQUEST;
    struct date date = date_of(days);
    int len = snprintf(out, MG_TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d", (int)date.year, date.month, date.day,
                       in_day / 3600, in_day / 60 % 60, in_day % 60);
    if (ms)
        snprintf(out + len, MG_TIME_BYTES - (size_t)len, ".%03dZ", ms);
    else
        snprintf(out + len, MG_TIME_BYTES - (size_t)len, "Z");
    return MG_OK;
}

/* Exactly `digits` digits, at most max, then the separator (0: none) are cut off *rest. */
static bool take_number(mg_view *rest, int digits, int min, int max, char separator, int *out)
{
    int number = 0;
    if (rest->len < (size_t)digits + (separator != 0))
        return false;
    for (int i = 0; i < digits; i++) {
        if (rest->ptr[i] < '0' || rest->ptr[i] > '9')
            return false;
        number = number * 10 + (rest->ptr[i] - '0');
    }
    if (number < min || number > max || (separator && rest->ptr[digits] != separator))
        return false;
    *rest = mg_view_skip(*rest, (size_t)digits + (separator != 0));
    *out = number;
    return true;
}

static bool take_fraction(mg_view *rest, int *out_ms)
{
    int ms = 0, digits = 0;
    *out_ms = 0;
    if (rest->len == 0 || rest->ptr[0] != '.')
        return true;
    for (*rest = mg_view_skip(*rest, 1); rest->len && rest->ptr[0] >= '0' && rest->ptr[0] <= '9'; digits++) {
        if (digits < 3)
            ms = ms * 10 + (rest->ptr[0] - '0');
        *rest = mg_view_skip(*rest, 1);
    }
    for (int i = digits; i < 3; i++)
        ms *= 10;
    *out_ms = ms;
    return digits > 0;
}

static bool take_zone(mg_view rest, int *out_minutes)
{
    int hours = 0, minutes = 0;
    *out_minutes = 0;
    if (rest.len == 1 && (rest.ptr[0] == 'Z' || rest.ptr[0] == 'z'))
        return true;
    if (rest.len != 6 || (rest.ptr[0] != '+' && rest.ptr[0] != '-'))
        return false;
    int sign = rest.ptr[0] == '-' ? -1 : 1;
    rest = mg_view_skip(rest, 1);
    if (!take_number(&rest, 2, 0, 23, ':', &hours) || !take_number(&rest, 2, 0, 59, 0, &minutes))
        return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

mg_err mg_time_parse(mg_view text, int64_t *out_wall_ms)
{
    int year, month, day, hour, minute, second, ms, zone;
    if (!take_number(&text, 4, 0, 9999, '-', &year) || !take_number(&text, 2, 1, 12, '-', &month) ||
        !take_number(&text, 2, 1, 31, 0, &day) || text.len == 0 || (text.ptr[0] != 'T' && text.ptr[0] != 't' && text.ptr[0] != ' '))
        return MG_E_BAD_REQUEST;
    text = mg_view_skip(text, 1);
    if (!take_number(&text, 2, 0, 23, ':', &hour) || !take_number(&text, 2, 0, 59, ':', &minute) ||
        !take_number(&text, 2, 0, 60, 0, &second) || !take_fraction(&text, &ms) || !take_zone(text, &zone))
        return MG_E_BAD_REQUEST;
    int64_t days = days_of(year, month, day);
    if (date_of(days).day != day)      /* 30 February is not 2 March */
        return MG_E_BAD_REQUEST;
    int64_t seconds = days * DAY_S + hour * 3600 + minute * 60 + second - zone * 60;
    *out_wall_ms = seconds * 1000 + ms;
    return MG_OK;
}

/* ---- cron */

struct cron {                          /* a bit for each value that matches */
    uint64_t minutes, hours, days, months, weekdays;
    bool any_day, any_weekday;
};

static const char *const MONTHS[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const WEEKDAYS[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static bool read_value(mg_view text, const char *const *names, int names_from, int *out)
{
    uint64_t number;
    for (int i = 0; names && names[i]; i++)
        if (mg_view_ieq(text, mg_view_cstr(names[i]))) {
            *out = i + names_from;
            return true;
        }
    if (!mg_view_u64(text, &number) || number > 99)
        return false;
    *out = (int)number;
    return true;
}

/* "*", "5", "1-5", any of them with a step behind '/'. */
static bool read_range(mg_view text, int min, int max, const char *const *names, uint64_t *bits)
{
    int from = min, to = max, step = 1;
    size_t slash = mg_view_find(text, "/");
    mg_view range = mg_view_head(text, slash), rest = mg_view_skip(text, slash);
    if (rest.len && (!read_value(mg_view_skip(rest, 1), NULL, 0, &step) || step == 0))
        return false;
    if (!mg_view_eq(range, MG_VIEW("*"))) {
        size_t dash = mg_view_find(range, "-");
        if (!read_value(mg_view_head(range, dash), names, min, &from))
            return false;
        if (dash < range.len && !read_value(mg_view_skip(range, dash + 1), names, min, &to))
            return false;
        if (dash == range.len && rest.len == 0)
            to = from;
    }
    if (from < min || to > max || from > to)
        return false;
    for (int i = from; i <= to; i += step)
        *bits |= UINT64_C(1) << i;
    return true;
}

static bool read_field(mg_view *rest, int min, int max, const char *const *names, uint64_t *bits, bool *out_any)
{
    *rest = mg_view_trim(*rest);
    mg_view field = mg_view_head(*rest, mg_view_find(*rest, " \t"));
    *rest = mg_view_skip(*rest, field.len);
    *out_any = field.len > 0 && field.ptr[0] == '*';
    *bits = 0;
    if (field.len == 0)
        return false;
    while (field.ptr)
        if (!read_range(mg_view_cut(&field, ','), min, max, names, bits))
            return false;
    return true;
}

static mg_view expand(mg_view text)
{
    static const char *const words[][2] = {{"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},
                                           {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"},
                                           {"@yearly", "0 0 1 1 *"}};
    for (size_t i = 0; i < MG_COUNT(words); i++)
        if (mg_view_eq(text, mg_view_cstr(words[i][0])))
            return mg_view_cstr(words[i][1]);
    return text;
}

static bool read_cron(mg_view text, struct cron *cron)
{
    bool ignored;
    text = expand(mg_view_trim(text));
    if (!read_field(&text, 0, 59, NULL, &cron->minutes, &ignored) || !read_field(&text, 0, 23, NULL, &cron->hours, &ignored) ||
        !read_field(&text, 1, 31, NULL, &cron->days, &cron->any_day) ||
        !read_field(&text, 1, 12, MONTHS, &cron->months, &ignored) ||
        !read_field(&text, 0, 7, WEEKDAYS, &cron->weekdays, &cron->any_weekday))
        return false;
    if (cron->weekdays & 1u << 7)
        cron->weekdays |= 1;           /* 7 is Sunday too */
    return mg_view_trim(text).len == 0;
}

static bool day_matches(const struct cron *cron, const struct date *date)
{
    bool day = cron->days >> date->day & 1, weekday = cron->weekdays >> date->weekday & 1;
    if (!(cron->months >> date->month & 1))
        return false;
    return cron->any_day || cron->any_weekday ? day && weekday : day || weekday;
}

/* The first minute of the day that matches, from `minute` on; -1: none. */
static int minute_of_day(const struct cron *cron, int minute)
{
    for (; minute < 24 * 60; minute++)
        if ((cron->hours >> (minute / 60) & 1) && (cron->minutes >> (minute % 60) & 1))
            return minute;
    return -1;
}

mg_err mg_cron_next(mg_view expression, int64_t after_ms, int64_t *out_wall_ms)
{
    struct cron cron;
    if (!read_cron(expression, &cron))
        return MG_E_BAD_REQUEST;
    int64_t minute = floor_div(after_ms, 60000) + 1, days = floor_div(minute, 24 * 60);
    int from = (int)(minute - days * 24 * 60);
    for (int64_t last = days + 366 * SEARCH_YEARS; days < last; days++, from = 0) {
        struct date date = date_of(days);
        int found = day_matches(&cron, &date) ? minute_of_day(&cron, from) : -1;
        if (found >= 0) {
            *out_wall_ms = (days * 24 * 60 + found) * 60000;
            return MG_OK;
        }
    }
    return MG_E_NOT_FOUND;
}
