/* packer.h - the thread that turns stored exchanges into blocks (meter/block.h).
 *
 * Once the database has a block's worth of rows and some more, the oldest become a block: read through a connection of the
 * thread's own, written as a file, and only then deleted by the recorder, in small steps. Whoever reads the database first and
 * the blocks then (mg_archive_each) misses none; rows that stand in both are the block's. The newest rows always stay in the
 * database, since exports and the recorder go by the last one there. */
#ifndef MG_METER_PACKER_H
#define MG_METER_PACKER_H

#include "meter/block.h"
#include "meter/retention.h"
#include "store/recorder.h"

enum {
    MG_PACKER_OPEN_ROWS = 16384,         /* rows beyond a block's that are waited for, and stay */
    MG_PACKER_PAUSE_MS = 2000,           /* between looks whether there are enough */
    MG_PACKER_RETAIN_S = 60,             /* between looks whether something is too old */
};

struct mg_packer;

/* `data` is the recorder's folder. What is too old is deleted as well. */
MG_MUST_USE mg_err mg_packer_start(const char *data, struct mg_recorder *recorder, const struct mg_retention *retention,
                                   struct mg_packer **out_packer, struct mg_diag *diag);
void mg_packer_stop(struct mg_packer *packer);               /* before the recorder stops; NULL is a no-op */

/* One look, and a block if there are more than `open_rows` rows beyond `block_rows`: what the thread does, for tests and tools.
 * *out_rows is how many became a block; 0: there were too few. MG_E_SYSTEM, MG_E_STORE: nothing is lost, and the diag says what
 * is in the way. */
MG_MUST_USE mg_err mg_pack_rows(struct mg_db *db, struct mg_recorder *recorder, uint32_t block_rows, uint32_t open_rows,
                           uint32_t *out_rows, struct mg_diag *diag);

#endif
