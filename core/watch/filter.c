/* The filters of logs.h: names and texts, as people and query strings write them. */
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "watch/logs.h"

static mg_err bad(struct mg_diag *diag, mg_view name, mg_view value, const char *expected)
{
    return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "%.*s: \"%.*s\" is not %s", MG_FMT(name),
                       MG_FMT(value), expected);
}

/* "250ms", "2s", "10m", "2h", "3d"; a number alone counts units of `bare`, 0 forbids it. */
static bool read_duration(mg_view text, uint64_t bare_us, uint64_t *out_us)
{
    static const struct {
        mg_view suffix;
        uint64_t us;
    } units[] = {{MG_VIEW("us"), 1},          {MG_VIEW("ms"), 1000},
                 {MG_VIEW("s"), 1000000},     {MG_VIEW("m"), 60000000u},
                 {MG_VIEW("h"), 3600000000u}, {MG_VIEW("d"), 86400000000u}};
    uint64_t number, unit = bare_us;
    for (size_t i = 0; i < MG_COUNT(units); i++) {
        if (!mg_view_ends(text, units[i].suffix))
            continue;
        unit = units[i].us;
        text.len -= units[i].suffix.len;
        break;
    }
    if (unit == 0 || !mg_view_u64(text, &number) || number > INT64_MAX / unit)
        return false;
    *out_us = number * unit;
    return true;
}

/* Exactly `digits` digits off the front. */
static bool cut_number(mg_view *text, size_t digits, int *out_number)
{
    uint64_t number;
    if (text->len < digits || !mg_view_u64(mg_view_head(*text, digits), &number))
        return false;
    *text = mg_view_skip(*text, digits);
    *out_number = (int)number;
    return true;
}

static bool cut_char(mg_view *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = mg_view_skip(*text, 1);
    return true;
}

/* 2026-11-24, then perhaps T10:00, :30 and Z. UTC. */
static bool read_date(mg_view text, uint64_t *out_us)
{
    struct tm tm = {.tm_mday = 1};
    if (!cut_number(&text, 4, &tm.tm_year) || !cut_char(&text, '-') ||
        !cut_number(&text, 2, &tm.tm_mon) || !cut_char(&text, '-') ||
        !cut_number(&text, 2, &tm.tm_mday))
        return false;
    if (cut_char(&text, 'T') || cut_char(&text, ' ')) {
        if (!cut_number(&text, 2, &tm.tm_hour) || !cut_char(&text, ':') ||
            !cut_number(&text, 2, &tm.tm_min))
            return false;
        if (cut_char(&text, ':') && !cut_number(&text, 2, &tm.tm_sec))
            return false;
        cut_char(&text, 'Z');
    }
    if (text.len > 0 || tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
        tm.tm_mday > 31 || tm.tm_hour > 24 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *out_us = (uint64_t)timegm(&tm) * 1000000u;
    return true;
}

bool mg_logs_time(mg_view text, uint64_t *out_us)
{
    uint64_t ago, now = mg_wall_us();
    if (read_date(text, out_us))
        return true;
    if (!read_duration(text, 0, &ago))
        return false;
    *out_us = ago < now ? now - ago : 1;
    return true;
}

static mg_err set_time(uint64_t *out_us, mg_view name, mg_view value, struct mg_diag *diag)
{
    return mg_logs_time(value, out_us)
               ? MG_OK
               : bad(diag, name, value,
                     "a time: 10m, 2h or 3d ago, or 2026-11-24, or 2026-11-24T10:00");
}

static mg_err set_status(struct mg_logs_filter *filter, mg_view name, mg_view value,
                         struct mg_diag *diag)
{
    uint64_t number;
    if (mg_view_eq(value, MG_VIEW("error"))) {
        filter->error = true;
        return MG_OK;
    }
    if (value.len == 3 && value.ptr[0] >= '1' && value.ptr[0] <= '5' && value.ptr[1] == 'x' &&
        value.ptr[2] == 'x') {
        filter->status_low = (value.ptr[0] - '0') * 100;
        filter->status_high = filter->status_low + 99;
        return MG_OK;
    }
    if (!mg_view_u64(value, &number) || number < 100 || number > 599)
        return bad(diag, name, value, "a status: 200, 5xx or error");
    filter->status_low = filter->status_high = (int)number;
    return MG_OK;
}

static mg_err set_class(struct mg_logs_filter *filter, mg_view name, mg_view value,
                        struct mg_diag *diag)
{
    enum mg_class class_;
    if (!mg_class_find(value, &class_))
        return bad(diag, name, value, "a failure class, such as rate_limited or timeout_ttft");
    snprintf(filter->class_, sizeof filter->class_, "%s", mg_class_name(class_));
    return MG_OK;
}

static mg_err set_either(int *out_either, mg_view name, mg_view value, struct mg_diag *diag)
{
    bool yes = mg_view_eq(value, MG_VIEW("true")) || mg_view_eq(value, MG_VIEW("1"));
    if (!yes && !mg_view_eq(value, MG_VIEW("false")) && !mg_view_eq(value, MG_VIEW("0")))
        return bad(diag, name, value, "true or false");
    *out_either = yes ? 1 : -1;
    return MG_OK;
}

/* MG_E_NOT_FOUND: no such filter. */
static mg_err set_flag(struct mg_logs_filter *filter, const char *key, mg_view name, mg_view value,
                       struct mg_diag *diag)
{
    const struct {
        const char *name;
        int *either;
    } flags[] = {
        {"retried", &filter->retried},     {"repeated", &filter->repeated},
        {"fell_over", &filter->fell_over}, {"hedged", &filter->hedged},
        {"rescued", &filter->rescued},     {"offline", &filter->offline},
        {"stream", &filter->stream},
    };
    for (size_t i = 0; i < MG_COUNT(flags); i++)
        if (strcmp(flags[i].name, key) == 0)
            return set_either(flags[i].either, name, value, diag);
    return MG_E_NOT_FOUND;
}

static mg_err set_number(uint64_t *out_number, uint64_t max, mg_view name, mg_view value,
                         struct mg_diag *diag)
{
    uint64_t number;
    if (!mg_view_u64(value, &number) || number > max)
        return bad(diag, name, value, max == MG_LOGS_MAX ? "a number up to 1000" : "a number");
    *out_number = number;
    return MG_OK;
}

static bool set_text(struct mg_logs_filter *filter, const char *name, mg_view value)
{
    const struct {
        const char *name;
        char *text;
        size_t size;
    } texts[] = {
        {"project", filter->project, sizeof filter->project},
        {"workflow", filter->workflow, sizeof filter->workflow},
        {"key", filter->key, sizeof filter->key},
        {"provider", filter->provider, sizeof filter->provider},
        {"model", filter->model, sizeof filter->model},
        {"session", filter->session, sizeof filter->session},
    };
    for (size_t i = 0; i < MG_COUNT(texts); i++) {
        if (strcmp(texts[i].name, name) != 0)
            continue;
        snprintf(texts[i].text, texts[i].size, "%.*s", MG_FMT(value));
        return true;
    }
    return false;
}

mg_err mg_logs_set(struct mg_logs_filter *filter, mg_view name, mg_view value, struct mg_diag *diag)
{
    char key[32];
    uint64_t limit;
    size_t len = MG_MIN(name.len, sizeof key - 1);
    for (size_t i = 0; i < len; i++)
        key[i] = name.ptr[i] == '-' ? '_' : name.ptr[i];
    key[len] = '\0';

    if (set_text(filter, key, value))
        return MG_OK;
    if (strcmp(key, "status") == 0)
        return set_status(filter, name, value, diag);
    if (strcmp(key, "class") == 0)
        return set_class(filter, name, value, diag);
    if (strcmp(key, "since") == 0)
        return set_time(&filter->since_us, name, value, diag);
    if (strcmp(key, "until") == 0)
        return set_time(&filter->until_us, name, value, diag);
    if (strcmp(key, "before") == 0)
        return set_number(&filter->before, INT64_MAX, name, value, diag);
    if (strcmp(key, "after") == 0)
        return set_number(&filter->after, INT64_MAX, name, value, diag);
    if (strcmp(key, "min_latency") == 0)
        return read_duration(value, 1000, &filter->min_duration_us)
                   ? MG_OK
                   : bad(diag, name, value, "a duration: 250ms, 2s, 1m or milliseconds");
    if (strcmp(key, "limit") == 0) {
        MG_TRY(set_number(&limit, MG_LOGS_MAX, name, value, diag));
        filter->limit = (unsigned)limit;
        return MG_OK;
    }
    mg_err err = set_flag(filter, key, name, value, diag);
    if (err != MG_E_NOT_FOUND)
        return err;
    return mg_diag_set(
        diag, MG_E_NOT_FOUND, "", 0,
        "there is no filter \"%.*s\"; there are project, workflow, key, provider, "
        "model, session, class, status, "
        "min_latency, since, until, retried, repeated, fell_over, hedged, rescued, offline, "
        "stream, before, after and limit",
        MG_FMT(name));
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

mg_view mg_logs_decode(mg_view text, char *room, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < size; i++) {
        char c = text.ptr[i] == '+' ? ' ' : text.ptr[i];
        if (c == '%' && i + 2 < text.len && hex(text.ptr[i + 1]) >= 0 &&
            hex(text.ptr[i + 2]) >= 0) {
            c = (char)(hex(text.ptr[i + 1]) << 4 | hex(text.ptr[i + 2]));
            i += 2;
        }
        room[len++] = c;
    }
    return mg_view_of(room, len);
}

mg_err mg_logs_parse_query(struct mg_logs_filter *filter, mg_view query, struct mg_diag *diag)
{
    char room[256];
    while (query.len > 0) {
        mg_view pair = mg_view_cut(&query, '&');
        mg_view name = mg_view_cut(&pair, '=');
        if (name.len > 0)
            MG_TRY(mg_logs_set(filter, name, mg_logs_decode(pair, room, sizeof room), diag));
    }
    return MG_OK;
}
