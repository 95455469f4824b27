/* sums_json.h - what selections of the request log come to, as JSON for the admin API. Fields are those of struct mg_summary;
 * percentiles are objects of p50, p90, p95 and p99, null when there is nothing to count. */
#ifndef MG_WATCH_SUMS_JSON_H
#define MG_WATCH_SUMS_JSON_H

#include "watch/search.h"

/* {"summary":{…},"searched","damaged"} */
MG_MUST_USE mg_err mg_sums_json(struct mg_search *search, const struct mg_query *query, struct mg_buf *out);

/* {"step_us","steps":[{"since_us",…}, …],…}: `count` steps from the query's since to its until, which are the last hour and now
 * unless it says. */
MG_MUST_USE mg_err mg_series_json(struct mg_search *search, const struct mg_query *query, unsigned count, struct mg_buf *out);

/* Which field `by` means, and which member of the metadata. MG_E_BAD_REQUEST with the diag: none. */
MG_MUST_USE mg_err mg_groups_by(mg_view by, enum mg_field *out_field, mg_view *out_key, struct mg_diag *diag);

/* {"by","groups":[{"value",…}, …],…}: `by` is a text field's name as filters have it, or metadata.NAME. MG_E_BAD_REQUEST with the
 * diag: it is none. */
MG_MUST_USE mg_err mg_groups_json(struct mg_search *search, const struct mg_query *query, mg_view by, unsigned top, struct mg_buf *out,
                                  struct mg_diag *diag);

/* The members of a summary, into an object that is open. */
struct mg_json_out;
void mg_summary_put(struct mg_json_out *out, const struct mg_summary *summary);

#endif
