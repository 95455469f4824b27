/* search.h - answers questions about the request log: pages of rows, and what a selection comes to.
 *
 * Searches blocks (meter/archive.h) and, gathered in memory, the rows that are in the database still. Whatever is asked, only
 * the columns that it needs are read; those stay in memory within MG_SEARCH_BYTES. Exact but for percentiles, which come from
 * a histogram of 32 steps to each doubling: at most 1.6 % off. One thread at a time; never on a worker. */
#ifndef MG_WATCH_SEARCH_H
#define MG_WATCH_SEARCH_H

#include "meter/archive.h"
#include "watch/logs.h"
#include "watch/query.h"

enum {
    MG_SEARCH_BYTES = 512 << 20,       /* of columns that are kept for the next question */
    MG_SEARCH_STEPS = 400,             /* of a series */
    MG_SEARCH_GROUPS = 1000,           /* of an answer */
    MG_SEARCH_KEYS = 100000,           /* different values that are counted while looking for the largest groups */
};

struct mg_search;

/* Borrows a connection that reads. */
struct mg_search *mg_search_new(struct mg_db *db);
void mg_search_free(struct mg_search *search);               /* NULL is a no-op */

/* Takes in what was stored since the last time; call it before asking. MG_E_STORE with the diag. */
MG_MUST_USE mg_err mg_search_refresh(struct mg_search *search, struct mg_diag *diag);

/* How much was looked at, by the last question. */
struct mg_search_effort {
    uint64_t rows, blocks;
    uint64_t damaged;                  /* blocks, or columns of blocks, that could not be read: the answer lacks their rows */
};
struct mg_search_effort mg_search_effort(const struct mg_search *search);

/* ---- rows */

/* Where the next page begins, for `before` (or `after`) of the next query; at_us 0: this one was the last. */
struct mg_search_cursor {
    uint64_t at_us;
    int64_t value;                     /* of the sorted field */
};
MG_MUST_USE mg_err mg_search_page(struct mg_search *search, const struct mg_query *query, mg_logs_cb cb, void *arg,
                                  struct mg_search_cursor *out_cursor);

/* The detail of one exchange, appended to out; MG_E_NOT_FOUND. */
MG_MUST_USE mg_err mg_search_detail(struct mg_search *search, mg_view id, struct mg_buf *out, int64_t *out_flags);

/* ---- sums */

struct mg_summary {
    uint64_t count, errors;            /* errors: as `status=error` */
    uint64_t retried;                  /* more than one attempt */
    uint64_t input_tokens, output_tokens, cached_read_tokens, cost_microusd;
    uint64_t duration_us[4], ttft_us[4];  /* p50, p90, p95, p99; 0: no rows, or none that had a token */
    uint64_t first_us, last_us;        /* at_us of rows */
};
MG_MUST_USE mg_err mg_search_summary(struct mg_search *search, const struct mg_query *query, struct mg_summary *out_summary);

/* Over time: a summary for each step of step_us from since_us on; since_us + count * step_us is the end. At most
 * MG_SEARCH_STEPS. out has `count` of them. */
MG_MUST_USE mg_err mg_search_series(struct mg_search *search, const struct mg_query *query, uint64_t since_us, uint64_t step_us,
                                    unsigned count, struct mg_summary *out);

/* The largest groups by a text field, most rows first. `metadata_key` instead of the field's text, when the field is metadata. */
struct mg_group {
    mg_view value;                     /* borrowed until the callback returns */
    struct mg_summary summary;
};
typedef mg_err (*mg_group_cb)(void *arg, const struct mg_group *group);
MG_MUST_USE mg_err mg_search_groups(struct mg_search *search, const struct mg_query *query, enum mg_field field,
                                    mg_view metadata_key, unsigned limit, mg_group_cb cb, void *arg);

#endif
