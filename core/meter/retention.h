/* retention.h - which settled exchanges the store lets go: whole blocks, and old rows of the database.
 *
 * Nothing that an export has still to send goes, nor the newest row of the database, which exports and the recorder go by. */
#ifndef MG_METER_RETENTION_H
#define MG_METER_RETENTION_H

#include "store/recorder.h"

struct mg_retention {
    uint64_t keep_us;                  /* since an exchange ended; 0: for ever */
    uint64_t keep_bytes;               /* of blocks' files; 0: however many */
};

/* Deletes what is too old at wall_us, then the oldest blocks beyond keep_bytes. *out_blocks is how many went. MG_E_SYSTEM,
 * MG_E_STORE: the diag says what is in the way; what went is gone. */
MG_MUST_USE mg_err mg_retain(struct mg_db *db, struct mg_recorder *recorder, const struct mg_retention *retention, uint64_t wall_us,
                             unsigned *out_blocks, struct mg_diag *diag);

/* Deletes the database's rows with at_us < from_us, a few thousand a transaction; the newest row stays. Whoever calls it has
 * them in a block, or wants to be rid of them. */
MG_MUST_USE mg_err mg_retain_from(struct mg_recorder *recorder, uint64_t from_us);

#endif
