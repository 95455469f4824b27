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
    MG_LOGS_JSON_BYTES = 8 << 20,      /* what an answer's buffer should be allowed */
};

/* One line of the log. Views are borrowed until the callback returns. */
struct mg_logs_row {
    uint64_t at_us;                    /* when it settled; unique: the cursor */
    uint64_t start_us;
    mg_view id, project, workflow, key_id, path, session, provider, model, class_;
    mg_view arm, served, user, error_code;
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

/* {"requests":[…],"next":<cursor>}: `next` goes into before= (or after=) for more. It is null when
 * a page going back was the last one; going forward it is where to ask again, rows or not. "searched" says over how many rows,
 * and "damaged" how many blocks could not be read. */
struct mg_search;
struct mg_query;
MG_MUST_USE mg_err mg_logs_page_json(struct mg_search *search, const struct mg_query *query, struct mg_buf *out);

/* The same of a store that nobody else searches. */
MG_MUST_USE mg_err mg_logs_store_json(struct mg_db *db, const struct mg_query *query, struct mg_buf *out);

/* One row as a JSON object, and the row of such an object; its views borrow from the tree.
 * MG_E_PROTOCOL: it is no row. */
MG_MUST_USE mg_err mg_logs_row_json(const struct mg_logs_row *row, struct mg_buf *out);
MG_MUST_USE mg_err mg_logs_row_parse(const struct mg_json *object, struct mg_logs_row *out_row);

#endif
