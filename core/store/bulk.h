/* bulk.h - inserts rows of one table, several with each statement, which saves a tenth of what SQLite does for a row.
 *
 *     for (i = 0; i < count; i++) {
 *         mg_bulk_begin(&bulk, count - i);
 *         mg_bulk_int(&bulk, 7);  mg_bulk_text(&bulk, name);          one call a column, in their order
 *         MG_TRY(mg_bulk_end(&bulk));
 *     }
 *
 * Text and blobs are borrowed until MG_BULK_ROWS rows later, or the last one. An error undoes the whole transaction, not the
 * statement alone; mg_bulk_drop() then. */
#ifndef MG_STORE_BULK_H
#define MG_STORE_BULK_H

#include "store/db.h"

enum { MG_BULK_ROWS = 8 };

struct mg_bulk {                       /* caller's memory; the fields belong to bulk.c */
    struct mg_stmt *one, *many;        /* inserts a row; inserts MG_BULK_ROWS; NULL while closed */
    struct mg_stmt *stmt;              /* one of them: of the row that is being put */
    unsigned columns;
    unsigned rows;                     /* complete and not inserted */
    int at;                            /* parameter that was bound last */
};

/* `columns` are their names, parted by commas. Table and columns are ours, never a peer's. */
MG_MUST_USE mg_err mg_bulk_open(struct mg_bulk *bulk, struct mg_db *db, const char *table, const char *columns);
void mg_bulk_close(struct mg_bulk *bulk);                    /* harmless when closed */

/* So many rows come, this one included; it must be true. */
void mg_bulk_begin(struct mg_bulk *bulk, size_t rows_left);
void mg_bulk_int(struct mg_bulk *bulk, int64_t value);
void mg_bulk_text(struct mg_bulk *bulk, mg_view value);      /* ptr NULL: NULL */
void mg_bulk_blob(struct mg_bulk *bulk, mg_view value);      /* likewise */
void mg_bulk_null(struct mg_bulk *bulk);
MG_MUST_USE mg_err mg_bulk_end(struct mg_bulk *bulk);        /* errors of any row that waited, as mg_stmt_run() says them */
void mg_bulk_drop(struct mg_bulk *bulk);                     /* the transaction was undone: forgets what waits */

/* Which of the MG_BULK_ROWS places the row has: for a buffer that must outlive it. */
static inline unsigned mg_bulk_place(const struct mg_bulk *bulk)
{
    return bulk->rows;
}

#endif
