/* logs.h - questions about what happened: the request log. One request's timeline is watch/trace.h.
 *
 * Used by the admin API and, when no gateway runs, by the CLI. Reads through a connection of the
 * caller's (MG_DB_READ); never on a worker. Field names in JSON are stable: snake_case, times in
 * microseconds end in _us, wall clock ones are since 1970. */
#ifndef MG_WATCH_LOGS_H
#define MG_WATCH_LOGS_H

#include "base/buf.h"
#include "http/json.h"
#include "meter/timeline.h"
#include "store/db.h"

enum {
    MG_LOGS_DEFAULT = 50,
    MG_LOGS_MAX = 1000,                /* rows of one answer */
    MG_LOGS_JSON_BYTES = 8 << 20,      /* what an answer's buffer should be allowed */
};

/* What to select; a zeroed filter selects everything. Texts are copied in by mg_logs_set(). */
struct mg_logs_filter {
    char project[129], workflow[129], key[65], provider[65], model[129], session[129];  /* empty: any */
    char class_[32];                   /* a failure class, or empty */
    int status_low, status_high;       /* inclusive; 0, 0: any */
    bool error;                        /* only what did not end well: status ≥ 400 or not clean */
    uint64_t min_duration_us;
    uint64_t since_us, until_us;       /* wall clock of the end; 0: open */
    /* each 1: only those, -1: only others, 0: any */
    int retried;                       /* more than one attempt */
    int repeated, fell_over, hedged, rescued;    /* an attempt was made for that reason */
    int offline;                       /* the workflow's offline answer */
    int stream;
    uint64_t before, after;            /* page cursors: `at_us` of a row; `after` turns the order around */
    unsigned limit;                    /* 0 is MG_LOGS_DEFAULT */
};

/* Sets one filter by the name and text that both the CLI (--min-latency) and the admin API
 * (?min_latency=) use; `-` and `_` are the same:
 *
 *     project workflow key provider model session class    exact; provider and model match any attempt
 *     status        200, 5xx, or `error`
 *     min_latency   250ms, 2s, 1m; a bare number is milliseconds
 *     since until   10m 2h 3d ago, or 2026-11-24, 2026-11-24T10:00, …:30Z (UTC)
 *     retried repeated fell_over hedged rescued offline stream   true or false
 *     before after limit   numbers
 *
 * MG_E_NOT_FOUND: no such filter; MG_E_BAD_REQUEST: cannot read the value; diag has the sentence. */
MG_MUST_USE mg_err mg_logs_set(struct mg_logs_filter *filter, mg_view name, mg_view value, struct mg_diag *diag);

/* The same for a whole query string, percent-decoded. */
MG_MUST_USE mg_err mg_logs_parse_query(struct mg_logs_filter *filter, mg_view query, struct mg_diag *diag);

/* "10m", "3d" ago, "2026-11-24", "2026-11-24T10:00" (UTC) as wall clock; false: it is none. */
bool mg_logs_time(mg_view text, uint64_t *out_us);

/* A value of a query string, percent-decoded into room and cut to it. */
mg_view mg_logs_decode(mg_view text, char *room, size_t size);

/* One line of the log. Views are borrowed until the callback returns. */
struct mg_logs_row {
    uint64_t at_us;                    /* when it settled; unique: the cursor */
    uint64_t start_us;
    mg_view id, project, workflow, key_id, path, session, provider, model, class_;
    int status;
    unsigned attempts;
    uint32_t generation;
    bool stream, clean, interrupted, estimated, offline;
    bool repeated, fell_over, hedged, rescued;   /* reasons of its attempts; false in rows of older gateways */
    uint64_t duration_us;
    uint64_t overhead_us;
    uint64_t ttft_us;                  /* 0: no token came */
    uint64_t input_tokens, output_tokens;
    uint64_t waited_us, cost_microusd; /* of all attempts */
};

typedef mg_err (*mg_logs_cb)(void *arg, const struct mg_logs_row *row);

/* Newest first; with `after`, oldest first from there. */
MG_MUST_USE mg_err mg_logs_query(struct mg_db *db, const struct mg_logs_filter *filter, mg_logs_cb cb, void *arg);

/* {"requests":[…],"next":<cursor>}: `next` goes into before= (or after=) for more. It is null when
 * a page going back was the last one; going forward it is where to ask again, rows or not. */
MG_MUST_USE mg_err mg_logs_query_json(struct mg_db *db, const struct mg_logs_filter *filter, struct mg_buf *out);

/* One row as a JSON object, and the row of such an object; its views borrow from the tree.
 * MG_E_PROTOCOL: it is no row. */
MG_MUST_USE mg_err mg_logs_row_json(const struct mg_logs_row *row, struct mg_buf *out);
MG_MUST_USE mg_err mg_logs_row_parse(const struct mg_json *object, struct mg_logs_row *out_row);

#endif
