/* trace.h - the whole timeline of one request, from the store, as a struct and as JSON.
 *
 * Field names are stable: snake_case, times in microseconds end in _us. start_us of the request is
 * wall clock; phases and attempts count from there, an attempt's marks from its own start. What
 * did not happen is left out. */
#ifndef MG_WATCH_TRACE_H
#define MG_WATCH_TRACE_H

#include "base/buf.h"
#include "http/json.h"
#include "meter/timeline.h"
#include "watch/search.h"

enum { MG_TRACE_DETAIL_BYTES = 32 << 10, MG_TRACE_JSON_BYTES = 256 << 10 };

/* `bytes` (at least MG_TRACE_DETAIL_BYTES allowed) holds what the timeline's views borrow and must
 * live as long. MG_E_NOT_FOUND: no such request, or it has not settled yet. */
MG_MUST_USE mg_err mg_watch_trace(struct mg_search *search, mg_view id, struct mg_buf *bytes, struct mg_timeline *out_timeline,
                                  bool *out_interrupted);

/* The same as a JSON object; out should be allowed MG_TRACE_JSON_BYTES. */
MG_MUST_USE mg_err mg_watch_trace_json(struct mg_search *search, mg_view id, struct mg_buf *out);
MG_MUST_USE mg_err mg_watch_timeline_json(const struct mg_timeline *timeline, bool interrupted, struct mg_buf *out);

/* Back again: views borrow from the tree. MG_E_PROTOCOL: it is no timeline. */
MG_MUST_USE mg_err mg_watch_timeline_parse(const struct mg_json *object, struct mg_timeline *out_timeline,
                                           bool *out_interrupted);

#endif
