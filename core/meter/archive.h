/* archive.h - the blocks of a data folder (meter/block.h), in the order of time.
 *
 * Blocks are named by the at_us of their first row and never overlap, so a span of time is found without opening others.
 * A block that is damaged is left out and counted; what it had is lost to searches and reports until a copy is put back. One
 * thread at a time; several archives may read the same folder, also while blocks come and go. */
#ifndef MG_METER_ARCHIVE_H
#define MG_METER_ARCHIVE_H

#include "meter/block.h"
#include "store/db.h"

struct mg_archive;

/* "<data>/requests" of the folder that the database lies in. */
enum { MG_ARCHIVE_PATH_BYTES = 1100 };
void mg_archive_folder(const struct mg_db *db, char out_folder[MG_ARCHIVE_PATH_BYTES]);

/* Of the folder that the database lies in. Reads nothing yet. */
struct mg_archive *mg_archive_new(const struct mg_db *db);
void mg_archive_free(struct mg_archive *archive);            /* NULL is a no-op */

/* Looks which blocks there are now. MG_E_STORE: the folder cannot be read; none at all is no error. */
MG_MUST_USE mg_err mg_archive_refresh(struct mg_archive *archive, struct mg_diag *diag);

size_t mg_archive_count(const struct mg_archive *archive);

/* Opened when it is asked for the first time; NULL: it is damaged. Borrowed until the next refresh. */
struct mg_block *mg_archive_block(struct mg_archive *archive, size_t index);

/* What its name says: at_us of its first row; its rows are older than the first of the next block. */
uint64_t mg_archive_first_us(const struct mg_archive *archive, size_t index);

/* Deletes the file of a block, which is forgotten then. MG_E_SYSTEM with the diag. */
MG_MUST_USE mg_err mg_archive_remove(struct mg_archive *archive, size_t index, struct mg_diag *diag);

/* Bytes of its file; 0: it is gone. */
uint64_t mg_archive_bytes(const struct mg_archive *archive, size_t index);

/* The first block that may have rows at or after at_us; the count when none has. */
size_t mg_archive_find(const struct mg_archive *archive, uint64_t at_us);

/* Gives back memory of columns, the longest unused blocks' first, until at most max_bytes are held. */
void mg_archive_trim(struct mg_archive *archive, size_t max_bytes);

struct mg_archive_stats {
    uint64_t blocks, damaged;          /* damaged: those that were found so */
    uint64_t bytes;                    /* of files of blocks that were opened */
    char reason[256];                  /* why the last damaged one is; empty: none is */
};
void mg_archive_stats(const struct mg_archive *archive, struct mg_archive_stats *out_stats);

/* Rows with from_us <= at_us < to_us, oldest first, with their details; views are borrowed until the callback returns, and an
 * error of it ends the reading. *out_last is the at_us of the last row of any block up to to_us: newer ones are in the database. */
typedef mg_err (*mg_archive_cb)(void *arg, const struct mg_block_row *row);
MG_MUST_USE mg_err mg_archive_each(struct mg_archive *archive, uint64_t from_us, uint64_t to_us, mg_archive_cb cb, void *arg,
                                   uint64_t *out_last);

/* Rows of the database with at_us > after_us, oldest first; at most `limit`, 0: all. */
MG_MUST_USE mg_err mg_archive_each_open(struct mg_db *db, uint64_t after_us, uint32_t limit, mg_archive_cb cb, void *arg);

#endif
