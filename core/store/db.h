/* db.h - the database seam: everything above speaks to the store through these calls.
 *
 * SQLite stands behind it (sqlite.c); its codes and types stay there. A connection belongs to one
 * thread at a time. All SQL is ours and prepared; what a peer chose is always bound, never
 * spliced. Text and blobs read from a row are borrowed until the next step, reset or free. */
#ifndef MG_STORE_DB_H
#define MG_STORE_DB_H

#include <stdint.h>

#include "base/err.h"
#include "base/view.h"

struct mg_db;
struct mg_stmt;

enum mg_db_mode {
    MG_DB_READ,              /* sees commits of others; never writes */
    MG_DB_WRITE,             /* creates the file (0600) and is the only writer */
};

enum mg_db_sync {
    MG_DB_NORMAL,            /* survives a crash of the process; a power cut may take the last commits */
    MG_DB_FULL,              /* on the disk when the commit returns, and all commits before it too */
};

/* MG_E_NOT_FOUND: nothing there to read; MG_E_STORE: not a store, or one of a newer Moongate. A
 * writer brings the schema to the newest version (migrations.h). */
MG_MUST_USE mg_err mg_db_open(const char *path, enum mg_db_mode mode, struct mg_db **out_db, struct mg_diag *diag);
void mg_db_close(struct mg_db *db);                          /* NULL is a no-op; frees all statements first */

/* Of the file, as it was opened; lives as long as the connection. */
const char *mg_db_path(const struct mg_db *db);

/* MG_E_STORE: what this connection writes reaches the store no more, as its file was moved, replaced, deleted or
 * overwritten; the diag says which. Close it and open anew. Costs two system calls, so ask once a transaction. */
MG_MUST_USE mg_err mg_db_check(struct mg_db *db, struct mg_diag *diag);

/* How long a statement waits for another writer before it is MG_E_BUSY; 5 s unless told otherwise. */
void mg_db_wait(struct mg_db *db, unsigned wait_ms);

/* Words for the last MG_E_STORE of this connection. */
const char *mg_db_message(struct mg_db *db);

/* Several statements without parameters. */
MG_MUST_USE mg_err mg_db_exec(struct mg_db *db, const char *sql);

MG_MUST_USE mg_err mg_db_begin(struct mg_db *db, enum mg_db_sync sync);
MG_MUST_USE mg_err mg_db_commit(struct mg_db *db);           /* on an error nothing was committed */
void mg_db_rollback(struct mg_db *db);                       /* no-op outside a transaction */
int64_t mg_db_changes(struct mg_db *db);                     /* rows the last statement changed */

MG_MUST_USE mg_err mg_db_prepare(struct mg_db *db, const char *sql, struct mg_stmt **out_stmt);

/* Inserts `rows` rows at once (bulk.h): parameters are those of the first row, then of the second … An error undoes the whole
 * transaction. */
MG_MUST_USE mg_err mg_db_prepare_rows(struct mg_db *db, const char *table, const char *columns, unsigned column_count,
                                      unsigned rows, struct mg_stmt **out_stmt);
void mg_stmt_free(struct mg_stmt *stmt);                     /* NULL is a no-op */

/* Parameters count from 1. Text and blobs are borrowed until mg_stmt_reset(). An empty view with
 * ptr NULL binds NULL. A wrong index is our mistake and asserts. */
void mg_stmt_bind_int(struct mg_stmt *stmt, int index, int64_t value);
void mg_stmt_bind_text(struct mg_stmt *stmt, int index, mg_view value);
void mg_stmt_bind_blob(struct mg_stmt *stmt, int index, mg_view value);
void mg_stmt_bind_null(struct mg_stmt *stmt, int index);

/* *out_row is false at the end. MG_E_EXISTS: a unique key is taken; MG_E_BUSY: locked for too long (mg_db_wait). */
MG_MUST_USE mg_err mg_stmt_step(struct mg_stmt *stmt, bool *out_row);
void mg_stmt_reset(struct mg_stmt *stmt);                    /* ready to bind and step again; bindings are cleared */

/* Steps a statement that answers no row, and resets it. */
MG_MUST_USE mg_err mg_stmt_run(struct mg_stmt *stmt);

/* Columns count from 0; NULL reads as 0 and as an empty view with ptr NULL. */
int64_t mg_stmt_int(struct mg_stmt *stmt, int column);
mg_view mg_stmt_text(struct mg_stmt *stmt, int column);
mg_view mg_stmt_blob(struct mg_stmt *stmt, int column);
bool mg_stmt_is_null(struct mg_stmt *stmt, int column);

#endif
