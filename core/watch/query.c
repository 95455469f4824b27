/* Names and texts of a query, as people and query strings write them. */
#include "watch/query.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meter/failure.h"
#include "meter/ledger.h"

enum { NAME_BYTES = 64, VALUE_BYTES = 512 };

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

bool mg_query_time(mg_view text, uint64_t *out_us)
{
    uint64_t ago, now = mg_wall_us();
    if (read_date(text, out_us) || (text.len >= 15 && mg_view_u64(text, out_us)))
        return true;
    if (!read_duration(text, 0, &ago))
        return false;
    *out_us = ago < now ? now - ago : 1;
    return true;
}

/* ---- conditions */

static mg_err add(struct mg_query *query, const struct mg_condition *condition, struct mg_diag *diag)
{
    if (query->count == MG_QUERY_CONDITIONS)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "at most %d filters at once", MG_QUERY_CONDITIONS);
    query->conditions[query->count++] = *condition;
    return MG_OK;
}

static mg_err keep(struct mg_query *query, mg_view text, mg_view *out_kept, struct mg_diag *diag)
{
    if (text.len > sizeof query->text - query->text_len)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "the filters are longer than %d bytes together", MG_QUERY_TEXT);
    char *at = query->text + query->text_len;
    if (text.len > 0)
        memcpy(at, text.ptr, text.len);
    query->text_len += text.len;
    *out_kept = mg_view_of(at, text.len);
    return MG_OK;
}

static mg_err add_texts(struct mg_query *query, struct mg_condition condition, mg_view value, struct mg_diag *diag)
{
    if (value.len == 0)
        return MG_OK; /* a form's empty field */
    condition.negate = mg_view_starts(value, MG_VIEW("!"));
    MG_TRY(keep(query, condition.negate ? mg_view_skip(value, 1) : value, &condition.patterns, diag));
    return add(query, &condition, diag);
}

static mg_err add_range(struct mg_query *query, enum mg_field field, int64_t low, int64_t high, struct mg_diag *diag)
{
    return add(query, &(struct mg_condition){.kind = MG_COND_NUMBER, .field = field, .low = low, .high = high}, diag);
}

/* ---- values */

static bool read_status(mg_view value, int64_t *out_low, int64_t *out_high)
{
    uint64_t low, high;
    mg_view from = mg_view_cut(&value, '-');
    if (from.len == 3 && from.ptr[0] >= '1' && from.ptr[0] <= '5' && from.ptr[1] == 'x' && from.ptr[2] == 'x' && value.len == 0) {
        *out_low = (from.ptr[0] - '0') * 100;
        *out_high = *out_low + 99;
        return true;
    }
    if (!mg_view_u64(from, &low) || low < 100 || low > 599)
        return false;
    *out_low = *out_high = (int64_t)low;
    if (value.len == 0)
        return true;
    *out_high = mg_view_u64(value, &high) ? (int64_t)high : 0;
    return *out_high >= *out_low && *out_high <= 599;
}

static mg_err set_status(struct mg_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    int64_t low, high;
    if (mg_view_eq(value, MG_VIEW("error")))
        return add(query, &(struct mg_condition){.kind = MG_COND_ERROR}, diag);
    if (!read_status(value, &low, &high))
        return bad(diag, name, value, "a status: 200, 5xx, 400-499 or error");
    return add_range(query, MG_FIELD_status, low, high, diag);
}

static bool known_classes(mg_view value)
{
    enum mg_class class_;
    if (mg_view_starts(value, MG_VIEW("!")))
        value = mg_view_skip(value, 1);
    while (value.len > 0) {
        mg_view one = mg_view_cut(&value, ',');
        if (mg_view_find(one, "*") == one.len && !mg_class_find(one, &class_))
            return false;
    }
    return true;
}

static mg_err set_bool(struct mg_query *query, const struct mg_condition *condition, mg_view name, mg_view value,
                       struct mg_diag *diag)
{
    struct mg_condition wanted = *condition;
    bool yes = mg_view_eq(value, MG_VIEW("true")) || mg_view_eq(value, MG_VIEW("1"));
    if (!yes && !mg_view_eq(value, MG_VIEW("false")) && !mg_view_eq(value, MG_VIEW("0")))
        return bad(diag, name, value, "true or false");
    wanted.negate = !yes;
    return add(query, &wanted, diag);
}

static mg_err set_number(uint64_t *out_number, uint64_t max, mg_view name, mg_view value, struct mg_diag *diag)
{
    uint64_t number;
    if (!mg_view_u64(value, &number) || number > max)
        return bad(diag, name, value, max == MG_QUERY_LIMIT_MAX ? "a number up to 1000" : "a number");
    *out_number = number;
    return MG_OK;
}

/* ---- names */

static const struct {
    const char *name;
    enum mg_condition_kind kind;
    enum mg_field field;
} texts[] = {
    {"project", MG_COND_TEXT, MG_FIELD_project},       {"workflow", MG_COND_TEXT, MG_FIELD_workflow},
    {"key", MG_COND_TEXT, MG_FIELD_key},               {"arm", MG_COND_TEXT, MG_FIELD_arm},
    {"provider", MG_COND_TRIED, MG_FIELD_provider},    {"model", MG_COND_TRIED, MG_FIELD_model},
    {"served", MG_COND_TEXT, MG_FIELD_served},         {"dialect", MG_COND_TEXT, MG_FIELD_dialect},
    {"credential", MG_COND_TEXT, MG_FIELD_credential}, {"session", MG_COND_TEXT, MG_FIELD_session},
    {"user", MG_COND_TEXT, MG_FIELD_user},             {"client", MG_COND_TEXT, MG_FIELD_client},
    {"sdk", MG_COND_TEXT, MG_FIELD_sdk},               {"path", MG_COND_TEXT, MG_FIELD_path},
    {"class", MG_COND_TEXT, MG_FIELD_class},           {"error_code", MG_COND_TEXT, MG_FIELD_error_code},
};

static const struct {
    const char *name;
    enum mg_condition_kind kind;
    int64_t mask;
} flags[] = {
    {"retried", MG_COND_NUMBER, 0},
    {"repeated", MG_COND_FLAGS, MG_ROW_REPEATED},
    {"fell_over", MG_COND_FLAGS, MG_ROW_FELL_OVER},
    {"hedged", MG_COND_FLAGS, MG_ROW_HEDGED},
    {"rescued", MG_COND_FLAGS, MG_ROW_RESCUED},
    {"offline", MG_COND_FLAGS, MG_ROW_OFFLINE},
    {"stream", MG_COND_FLAGS, MG_ROW_STREAM},
    {"interrupted", MG_COND_FLAGS, MG_ROW_INTERRUPTED},
    {"estimated", MG_COND_FLAGS, MG_ROW_ESTIMATED},
};

static const struct {
    const char *name;
    enum mg_condition_kind kind;
    enum mg_field field;
    enum { DURATION, COUNT, USD } unit;
} figures[] = {
    {"latency", MG_COND_NUMBER, MG_FIELD_duration_us, DURATION},
    {"ttft", MG_COND_NUMBER, MG_FIELD_ttft_us, DURATION},
    {"tokens", MG_COND_SUM, MG_FIELD_input_tokens, COUNT},
    {"cost", MG_COND_NUMBER, MG_FIELD_cost_microusd, USD},
};

static bool read_usd(mg_view value, uint64_t *out_microusd)
{
    char text[32], *end;
    if (value.len == 0 || value.len >= sizeof text || mg_view_find(value, "xXnNiI") < value.len)
        return false;
    snprintf(text, sizeof text, "%.*s", MG_FMT(value));
    double usd = strtod(text, &end);
    if (*end || !(usd >= 0 && usd < 1e12))
        return false;
    *out_microusd = (uint64_t)llround(usd * 1e6);
    return true;
}

static mg_err set_figure(struct mg_query *query, const char *key, mg_view name, mg_view value, struct mg_diag *diag)
{
    static const char *const expected[] = {"a duration: 250ms, 2s, 1m or milliseconds", "a number", "an amount in USD: 0.25"};
    bool least = strncmp(key, "min_", 4) == 0;
    for (size_t i = 0; i < MG_COUNT(figures) && (least || strncmp(key, "max_", 4) == 0); i++) {
        uint64_t number;
        if (strcmp(key + 4, figures[i].name) != 0)
            continue;
        bool read = figures[i].unit == DURATION ? read_duration(value, 1000, &number)
                    : figures[i].unit == USD    ? read_usd(value, &number)
                                                : mg_view_u64(value, &number) && number <= INT64_MAX;
        if (!read)
            return bad(diag, name, value, expected[figures[i].unit]);
        /* no first token is not a fast one */
        int64_t least_low = figures[i].field == MG_FIELD_ttft_us ? 1 : 0;
        return add(query,
                   &(struct mg_condition){.kind = figures[i].kind,
                                          .field = figures[i].field,
                                          .low = least ? (int64_t)number : least_low,
                                          .high = least ? INT64_MAX : (int64_t)number},
                   diag);
    }
    return MG_E_NOT_FOUND;
}

static mg_err set_flag(struct mg_query *query, const char *key, mg_view name, mg_view value, struct mg_diag *diag)
{
    for (size_t i = 0; i < MG_COUNT(flags); i++) {
        struct mg_condition condition = {.kind = flags[i].kind, .mask = flags[i].mask, .field = MG_FIELD_attempts, .low = 2,
                                         .high = INT64_MAX};
        if (strcmp(flags[i].name, key) == 0)
            return set_bool(query, &condition, name, value, diag);
    }
    return MG_E_NOT_FOUND;
}

static mg_err set_text(struct mg_query *query, const char *key, mg_view name, mg_view value, struct mg_diag *diag)
{
    for (size_t i = 0; i < MG_COUNT(texts); i++) {
        if (strcmp(texts[i].name, key) != 0)
            continue;
        if (texts[i].field == MG_FIELD_class && !known_classes(value))
            return bad(diag, name, value, "a failure class, such as rate_limited or timeout_ttft");
        return add_texts(query, (struct mg_condition){.kind = texts[i].kind, .field = texts[i].field}, value, diag);
    }
    return MG_E_NOT_FOUND;
}

static mg_err set_metadata(struct mg_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    struct mg_condition condition = {.kind = MG_COND_METADATA, .field = MG_FIELD_metadata};
    if (!mg_view_starts(name, MG_VIEW("metadata.")) || name.len == 9)
        return MG_E_NOT_FOUND;
    MG_TRY(keep(query, mg_view_skip(name, 9), &condition.key, diag));
    return add_texts(query, condition, value, diag);
}

static mg_err set_sort(struct mg_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    query->by_tokens = false;
    query->sort = MG_FIELD_at_us;
    if (mg_view_eq(value, MG_VIEW("time")))
        return MG_OK;
    for (size_t i = 0; i < MG_COUNT(figures); i++) {
        if (!mg_view_eq(value, mg_view_cstr(figures[i].name)))
            continue;
        query->sort = figures[i].field;
        query->by_tokens = figures[i].kind == MG_COND_SUM;
        return MG_OK;
    }
    return bad(diag, name, value, "time, latency, ttft, cost or tokens");
}

/* "1764000000000000", or with the sorted value before it: "812000-1764000000000000". */
static mg_err set_before(struct mg_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    uint64_t number;
    mg_view first = mg_view_cut(&value, '-');
    query->before_value = INT64_MAX;
    if (value.len > 0) {
        MG_TRY(set_number(&number, INT64_MAX, name, first, diag));
        query->before_value = (int64_t)number;
        first = value;
    }
    return set_number(&query->before, INT64_MAX, name, first, diag);
}

static mg_err set_place(struct mg_query *query, const char *key, mg_view name, mg_view value, struct mg_diag *diag)
{
    static const char time[] = "a time: 10m, 2h or 3d ago, or 2026-11-24, or 2026-11-24T10:00";
    uint64_t limit;
    if (strcmp(key, "since") == 0)
        return mg_query_time(value, &query->since_us) ? MG_OK : bad(diag, name, value, time);
    if (strcmp(key, "until") == 0)
        return mg_query_time(value, &query->until_us) ? MG_OK : bad(diag, name, value, time);
    if (strcmp(key, "before") == 0)
        return set_before(query, name, value, diag);
    if (strcmp(key, "after") == 0)
        return set_number(&query->after, INT64_MAX, name, value, diag);
    if (strcmp(key, "sort") == 0)
        return set_sort(query, name, value, diag);
    if (strcmp(key, "limit") != 0)
        return MG_E_NOT_FOUND;
    MG_TRY(set_number(&limit, MG_QUERY_LIMIT_MAX, name, value, diag));
    query->limit = (unsigned)limit;
    return MG_OK;
}

mg_err mg_query_set(struct mg_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    static mg_err (*const setters[])(struct mg_query *, const char *, mg_view, mg_view, struct mg_diag *) = {
        set_text, set_flag, set_figure, set_place};
    char key[NAME_BYTES];
    size_t len = MG_MIN(name.len, sizeof key - 1);
    for (size_t i = 0; i < len; i++)
        key[i] = name.ptr[i] == '-' ? '_' : name.ptr[i];
    key[len] = '\0';

    mg_err err = strcmp(key, "status") == 0 ? set_status(query, name, value, diag) : set_metadata(query, name, value, diag);
    for (size_t i = 0; i < MG_COUNT(setters) && err == MG_E_NOT_FOUND; i++)
        err = setters[i](query, key, name, value, diag);
    if (err != MG_E_NOT_FOUND)
        return err;
    return mg_diag_set(diag, MG_E_NOT_FOUND, "", 0,
                       "there is no filter \"%.*s\"; there are project, workflow, key, arm, provider, model, served, dialect, "
                       "credential, session, user, client, sdk, path, class, error_code, metadata.NAME, status, min_ and max_ "
                       "latency, ttft, tokens and cost, since, until, retried, repeated, fell_over, hedged, rescued, offline, "
                       "stream, interrupted, estimated, sort, before, after and limit",
                       MG_FMT(name));
}

mg_err mg_query_only_project(struct mg_query *query, const char *project, struct mg_diag *diag)
{
    struct mg_condition condition = {.kind = MG_COND_TEXT, .field = MG_FIELD_project, .literal = true};
    MG_TRY(keep(query, mg_view_cstr(project), &condition.patterns, diag));
    return add(query, &condition, diag);
}

/* ---- query strings */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

mg_view mg_query_decode(mg_view text, char *room, size_t size)
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

static bool is_among(mg_view name, const char *names)
{
    mg_view rest = mg_view_cstr(names);
    while (rest.len > 0)
        if (mg_view_eq(mg_view_cut(&rest, ' '), name))
            return true;
    return false;
}

mg_err mg_query_parse(struct mg_query *query, mg_view text, const char *others, struct mg_diag *diag)
{
    char name_room[NAME_BYTES * 2], room[VALUE_BYTES];
    while (text.len > 0) {
        mg_view pair = mg_view_cut(&text, '&');
        mg_view name = mg_query_decode(mg_view_cut(&pair, '='), name_room, sizeof name_room);
        if (name.len > 0 && !is_among(name, others))
            MG_TRY(mg_query_set(query, name, mg_query_decode(pair, room, sizeof room), diag));
    }
    return MG_OK;
}
