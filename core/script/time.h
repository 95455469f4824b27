/* time.h - dates for plugins: RFC 3339 in UTC, and when a cron expression is due next. No time zones, no locale. */
#ifndef MG_SCRIPT_TIME_H
#define MG_SCRIPT_TIME_H

#include "base/err.h"
#include "base/view.h"

enum { MG_TIME_BYTES = 32 };

/* "2026-11-24T08:00:00Z", with ".123" when ms are not 0. Years 0000 to 9999; else E_BAD_REQUEST. NUL-terminated. */
MG_MUST_USE mg_err mg_time_format(int64_t wall_ms, char out[MG_TIME_BYTES]);

/* RFC 3339: date, 'T' or a space, time, optional fraction (cut to ms), 'Z' or ±hh:mm. Leap seconds (:60) count as the
 * next second. E_BAD_REQUEST for anything else, dates that do not exist included. */
MG_MUST_USE mg_err mg_time_parse(mg_view text, int64_t *out_wall_ms);

/* The first moment after after_ms that matches "minute hour day month weekday" in UTC: numbers, ranges a-b, steps
 * with '/', lists with ',', '*', names jan and mon, and the words @hourly @daily @weekly @monthly @yearly. Where both day and
 * weekday are restricted either will do, as cron has it. E_BAD_REQUEST: not an expression; E_NOT_FOUND: not within
 * nine years (29 February skips 1900-like years). */
MG_MUST_USE mg_err mg_cron_next(mg_view expression, int64_t after_ms, int64_t *out_wall_ms);

#endif
