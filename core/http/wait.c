#include "http/wait.h"

#include <stdio.h>
#include <time.h>

enum { SECOND_MS = 1000, MINUTE_MS = 60000, HOUR_MS = 3600000, DAY_MS = 86400000 };

/* A bare number from here on is a moment, in seconds or in milliseconds. */
#define EPOCH_S UINT64_C(1000000000)
#define EPOCH_MS UINT64_C(1000000000000)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint64_t add(uint64_t sum_ms, uint64_t more_ms)
{
    if (sum_ms > MG_WAIT_MAX_MS || more_ms > MG_WAIT_MAX_MS - sum_ms)
        return MG_WAIT_MAX_MS;
    return sum_ms + more_ms;
}

/* Digits with at most one point; thousandths of it. Returns how many bytes they are, 0: there are none. */
static size_t read_number(mg_view text, uint64_t *out_thousandths)
{
    uint64_t value = 0;
    size_t at = 0;
    for (; at < text.len && is_digit(text.ptr[at]); at++)
        value = value > MG_WAIT_MAX_MS * 1000 ? value : value * 10 + (uint64_t)(text.ptr[at] - '0');
    if (at == 0)
        return 0;
    value *= 1000;
    if (at + 1 < text.len && text.ptr[at] == '.' && is_digit(text.ptr[at + 1])) {
        uint64_t place = 100;
        for (at++; at < text.len && is_digit(text.ptr[at]); at++, place /= 10)
            value += place * (uint64_t)(text.ptr[at] - '0');
    }
    *out_thousandths = value;
    return at;
}

static size_t read_unit(mg_view text, uint64_t *out_unit_ms)
{
    if (mg_view_starts(text, MG_VIEW("ms"))) {
        *out_unit_ms = 1;
        return 2;
    }
    char c = text.len ? text.ptr[0] : '\0';
    *out_unit_ms = c == 'd' ? DAY_MS : c == 'h' ? HOUR_MS : c == 'm' ? MINUTE_MS : SECOND_MS;
    return c && memchr("dhms", c, 4) ? 1 : 0;
}

/* Returns how many bytes were read; 0: no time stands here. */
static size_t read_parts(mg_view text, uint64_t *out_ms)
{
    uint64_t sum_ms = 0, number, unit_ms;
    size_t at = 0;
    for (size_t digits; (digits = read_number(mg_view_skip(text, at), &number)) > 0;) {
        size_t letters = read_unit(mg_view_skip(text, at + digits), &unit_ms);
        if (at > 0 && letters == 0)
            break;                     /* "1m 30": what follows is something else */
        uint64_t most = MG_WAIT_MAX_MS * 1000 / unit_ms;
        sum_ms = add(sum_ms, number > most ? MG_WAIT_MAX_MS : number * unit_ms / 1000);
        at += digits + letters;
        if (letters == 0)
            break;
    }
    if (at > 0)
        *out_ms = sum_ms;
    return at;
}

bool mg_wait_read_head(mg_view text, uint64_t *out_ms)
{
    return read_parts(mg_view_trim(text), out_ms) > 0;
}

bool mg_wait_read(mg_view text, uint64_t *out_ms)
{
    uint64_t ms;
    text = mg_view_trim(text);
    if (text.len == 0 || read_parts(text, &ms) != text.len)
        return false;
    *out_ms = ms;
    return true;
}

static uint64_t until(uint64_t then_ms, uint64_t wall_us)
{
    uint64_t now_ms = wall_us / 1000;
    uint64_t left_ms = then_ms > now_ms ? then_ms - now_ms : 0;
    return left_ms < MG_WAIT_MAX_MS ? left_ms : MG_WAIT_MAX_MS;
}

/* Fractions of a second and offsets other than Z are not looked at: nobody sends them here. */
static bool read_date(mg_view text, uint64_t *out_then_ms)
{
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%Y-%m-%dT%H:%M:%S"};
    char copy[64];
    snprintf(copy, sizeof copy, "%.*s", MG_FMT(text));
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm tm = {0};
        if (!strptime(copy, forms[i], &tm))
            continue;
        time_t then = timegm(&tm);
        *out_then_ms = then > 0 ? (uint64_t)then * 1000 : 0;
        return true;
    }
    return false;
}

bool mg_wait_read_until(mg_view text, uint64_t wall_us, uint64_t *out_ms)
{
    uint64_t value;
    text = mg_view_trim(text);
    if (mg_view_u64(text, &value) && value >= EPOCH_S)
        *out_ms = until(value >= EPOCH_MS ? value : value * 1000, wall_us);
    else if (mg_wait_read(text, &value))
        *out_ms = value;
    else if (read_date(text, &value))
        *out_ms = until(value, wall_us);
    else
        return false;
    return true;
}

uint64_t mg_wait_retry_after_ms(struct mg_headers headers, uint64_t wall_us)
{
    uint64_t ms;
    if (mg_view_u64(mg_view_trim(mg_headers_get(headers, MG_VIEW("retry-after-ms"))), &ms))
        return add(ms, 0);
    return mg_wait_read_until(mg_headers_get(headers, MG_VIEW("retry-after")), wall_us, &ms) ? ms : 0;
}
