/* responses.h - what projects keep for the Responses API, as people are shown it. */
#ifndef MG_WATCH_RESPONSES_H
#define MG_WATCH_RESPONSES_H

#include "base/buf.h"
#include "store/db.h"

/* {"responses":[{"project","count","bytes","oldest_us"}]}; `project` not empty: its row alone. */
MG_MUST_USE mg_err mg_responses_json(struct mg_db *db, mg_view project, struct mg_buf *out);

#endif
