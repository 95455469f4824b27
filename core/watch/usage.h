/* usage.h - questions about usage as the admin API and `moongate usage` ask them: names and texts in, JSON out.
 *
 * Reads through a connection of the caller's (MG_DB_READ); never on a worker. */
#ifndef MG_WATCH_USAGE_H
#define MG_WATCH_USAGE_H

#include "meter/reprice.h"
#include "meter/usage.h"

enum { MG_USAGE_PAGE = 500, MG_USAGE_PAGE_BYTES = 4 << 20 };

/* Sets one thing by the name both use:
 *
 *     by            dimensions with commas: project,metadata.tier,day
 *     where         dimension=value, with commas for more: all must hold
 *     from to       as since and until of watch/logs.h; half open
 *     project key workflow provider model     short for where
 *     limit after   of a page of events: exchanges, and the cursor of the page before
 *
 * MG_E_NOT_FOUND: no such name; MG_E_BAD_REQUEST: cannot read the value; diag has the sentence. */
MG_MUST_USE mg_err mg_usage_set(struct mg_usage_query *query, mg_view name, mg_view value, struct mg_diag *diag);
MG_MUST_USE mg_err mg_usage_parse_query(struct mg_usage_query *query, mg_view text, struct mg_diag *diag);

/* Whatever else is asked, only of this project: reports and events. MG_E_BAD_REQUEST: there are too many conditions already. */
MG_MUST_USE mg_err mg_usage_confine(struct mg_usage_query *query, const char *project, struct mg_diag *diag);

/* {"by":[…],"from_us","to_us","rows":[{"project":…, sums…}],"total":{sums…}}. Money is cost_picousd, exact, and cost_usd,
 * the same as a decimal text. MG_E_TOO_LARGE: too many rows. */
MG_MUST_USE mg_err mg_usage_report_json(struct mg_db *db, const struct mg_usage_query *query, struct mg_buf *out);

/* {"events":[…],"next":cursor or null}: a page of whole exchanges, oldest first. Of the filters only `project`
 * and mg_usage_confine() apply; a page may then be empty and not the last. */
MG_MUST_USE mg_err mg_usage_events_json(struct mg_db *db, const struct mg_usage_query *query, struct mg_buf *out);

/* {"exchanges","attempts","changed","kept","unpriced","before_picousd","after_picousd","next_us","done"} */
MG_MUST_USE mg_err mg_usage_reprice_json(const struct mg_reprice *reprice, struct mg_buf *out);

#endif
