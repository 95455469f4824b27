/* query.h - what a question about the request log chooses, and in which order its rows come.
 *
 * A query is conditions that must all hold. They are set by name and text, which are the same in the CLI (--min-latency), the
 * admin API (?min_latency=) and the console; `-` and `_` are the same:
 *
 *     project workflow key arm provider model served dialect credential session user client sdk path class error_code
 *                   a name; several with commas, any of them; with * anything; behind ! none of them.
 *                   provider and model match any attempt
 *     metadata.KEY  likewise, the text of that member of the metadata
 *     status        200, 5xx, 400-499, or `error` for all that did not end well
 *     min_latency max_latency min_ttft max_ttft          250ms, 2s, 1m; a bare number is milliseconds
 *     min_tokens max_tokens   input and output together     min_cost max_cost   USD
 *     since until   when it ended: 10m 2h 3d ago, or 2026-11-24, 2026-11-24T10:00, …:30Z (UTC), or microseconds since 1970
 *     retried repeated fell_over hedged rescued offline stream interrupted estimated      true or false
 *     sort          time (the default), latency, ttft, cost or tokens; largest first
 *     before after limit   numbers: page cursors; `after` turns the order of time around, others have only `before` */
#ifndef MG_WATCH_QUERY_H
#define MG_WATCH_QUERY_H

#include "meter/block.h"

enum {
    MG_QUERY_CONDITIONS = 24,
    MG_QUERY_TEXT = 4096,              /* bytes of all values */
    MG_QUERY_LIMIT = 50,               /* rows of a page when nobody says */
    MG_QUERY_LIMIT_MAX = 1000,
};

enum mg_condition_kind {
    MG_COND_NUMBER,                    /* low <= field <= high */
    MG_COND_SUM,                       /* likewise, of input and output tokens */
    MG_COND_FLAGS,                     /* some bit of mask is set */
    MG_COND_ERROR,                     /* status of 400 and above, or not clean */
    MG_COND_TEXT,                      /* a pattern matches the field */
    MG_COND_TRIED,                     /* … the provider or model of some attempt: field says which */
    MG_COND_METADATA,                  /* … the member `key` of the metadata */
};

struct mg_condition {
    enum mg_condition_kind kind;
    enum mg_field field;
    bool negate;
    bool literal;                      /* commas and stars are letters */
    int64_t low, high, mask;
    mg_view key;
    mg_view patterns;                  /* parted by commas */
};

struct mg_query {                      /* zeroed, it chooses everything, newest first */
    struct mg_condition conditions[MG_QUERY_CONDITIONS];
    unsigned count;
    uint64_t since_us, until_us;       /* at_us, half open; 0: open */
    enum mg_field sort;                /* at_us: of time */
    bool by_tokens;                    /* by input and output together; sort is input_tokens */
    uint64_t before, after;            /* at_us of a row */
    int64_t before_value;              /* of the sorted field, in the row that `before` names */
    unsigned limit;                    /* 0 is MG_QUERY_LIMIT */
    char text[MG_QUERY_TEXT];          /* what conditions point to: a query is not copied */
    size_t text_len;
};

/* MG_E_NOT_FOUND: no such name; MG_E_BAD_REQUEST: cannot read the value, or there are too many; diag has the sentence. */
MG_MUST_USE mg_err mg_query_set(struct mg_query *query, mg_view name, mg_view value, struct mg_diag *diag);

/* The same for a whole query string, percent-decoded. Names in `others` (parted by blanks) are left to the caller. */
MG_MUST_USE mg_err mg_query_parse(struct mg_query *query, mg_view text, const char *others, struct mg_diag *diag);

/* Chooses this project's alone, whatever else was set. MG_E_BAD_REQUEST: too many conditions. */
MG_MUST_USE mg_err mg_query_only_project(struct mg_query *query, const char *project, struct mg_diag *diag);

/* "10m", "3d" ago, "2026-11-24", "2026-11-24T10:00" (UTC) or microseconds as wall clock; false: it is none. */
bool mg_query_time(mg_view text, uint64_t *out_us);

/* A value of a query string, percent-decoded into room and cut to it. */
mg_view mg_query_decode(mg_view text, char *room, size_t size);

#endif
