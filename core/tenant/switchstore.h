/* switchstore.h - the rows of what is disabled by hand, in the store. For the recorder thread of a running gateway, or a
 * CLI that holds the folder's lock; never on a worker. */
#ifndef MG_TENANT_SWITCHSTORE_H
#define MG_TENANT_SWITCHSTORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/db.h"
#include "tenant/switches.h"

/* Disabling again changes message, moment and actor. MG_E_TOO_LARGE past MG_MAX_SWITCHES. */
MG_MUST_USE mg_err mg_switchstore_put(struct mg_db *db, const struct mg_switch *row);

/* MG_E_NOT_FOUND: it was not disabled. */
MG_MUST_USE mg_err mg_switchstore_remove(struct mg_db *db, enum mg_switch_kind kind, const char *project, const char *name);

/* All rows, oldest first, in the arena. A kind that this version does not know is left alone and not read. */
MG_MUST_USE mg_err mg_switchstore_load(struct mg_db *db, struct mg_arena *arena, struct mg_switch **out_rows,
                                       size_t *out_count);

/* {"kind", "project", "name", "message", "since_us", "by"} */
MG_MUST_USE mg_err mg_switch_put_json(const struct mg_switch *row, struct mg_buf *out);

#endif
