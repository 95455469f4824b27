#include "store/bulk.h"

#include <assert.h>

static int count_columns(const char *columns)
{
    int count = 1;
    for (const char *at = columns; *at; at++)
        count += *at == ',';
    return count;
}

mg_err mg_bulk_open(struct mg_bulk *bulk, struct mg_db *db, const char *table, const char *columns)
{
    bulk->columns = (unsigned)count_columns(columns);
    bulk->rows = 0;
    bulk->at = 0;
    MG_TRY(mg_db_prepare_rows(db, table, columns, bulk->columns, 1, &bulk->one));
    return mg_db_prepare_rows(db, table, columns, bulk->columns, MG_BULK_ROWS, &bulk->many);
}

void mg_bulk_close(struct mg_bulk *bulk)
{
    mg_stmt_free(bulk->one);
    mg_stmt_free(bulk->many);
    bulk->one = bulk->many = bulk->stmt = NULL;
}

void mg_bulk_drop(struct mg_bulk *bulk)
{
    if (bulk->stmt)
        mg_stmt_reset(bulk->stmt);
    bulk->rows = 0;
    bulk->at = 0;
}

void mg_bulk_begin(struct mg_bulk *bulk, size_t rows_left)
{
    assert(rows_left > 0 && bulk->at == (int)(bulk->rows * bulk->columns));
    if (bulk->rows == 0)
        bulk->stmt = rows_left >= MG_BULK_ROWS ? bulk->many : bulk->one;
}

void mg_bulk_int(struct mg_bulk *bulk, int64_t value)
{
    mg_stmt_bind_int(bulk->stmt, ++bulk->at, value);
}

void mg_bulk_text(struct mg_bulk *bulk, mg_view value)
{
    bulk->at++;
    if (value.ptr)
        mg_stmt_bind_text(bulk->stmt, bulk->at, value);
}

void mg_bulk_blob(struct mg_bulk *bulk, mg_view value)
{
    bulk->at++;
    if (value.ptr)
        mg_stmt_bind_blob(bulk->stmt, bulk->at, value);
}

void mg_bulk_null(struct mg_bulk *bulk)
{
    bulk->at++; /* a parameter that was not bound is NULL */
}

mg_err mg_bulk_end(struct mg_bulk *bulk)
{
    bulk->rows++;
    assert(bulk->at == (int)(bulk->rows * bulk->columns));
    if (bulk->stmt == bulk->many && bulk->rows < MG_BULK_ROWS)
        return MG_OK;
    bulk->rows = 0;
    bulk->at = 0;
    return mg_stmt_run(bulk->stmt);
}
