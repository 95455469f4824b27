/* exports.h - how the exports of usage events are, as people and Prometheus are shown it.
 *
 * Field names in JSON are stable: snake_case; moments end in _us and are wall clock since 1970. What waits is counted in the
 * store, whether a gateway runs or not. */
#ifndef MG_WATCH_EXPORTS_H
#define MG_WATCH_EXPORTS_H

#include "base/buf.h"
#include "meter/export.h"

enum { MG_EXPORTS_COUNTED = 1000000 };     /* waiting requests are counted up to here */

/* {"exports":[{"name","to","running","next_us","waiting","waiting_since_us","events","batches","failures","failed_in_row",
 * "failing_since_us","taken_us","error"}]}: every name that has a cursor in the store; `running` false, and no figures of the
 * process, for those without a state. `waiting` are requests that settled since the cursor. */
MG_MUST_USE mg_err mg_exports_json(struct mg_db *db, const struct mg_export_state *states, int count, struct mg_buf *out);

/* Prometheus text. now_us: wall clock. */
MG_MUST_USE mg_err mg_exports_metrics(const struct mg_export_state *states, int count, uint64_t now_us, struct mg_buf *out);

#endif
