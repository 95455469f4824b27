#include "store/bulk.h"

#include "check.h"
#include "folder.h"

static const char *ask(struct mg_db *db, const char *sql)
{
    static char answer[256];
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(mg_db_prepare(db, sql, &stmt));
    CHECK_OK(mg_stmt_step(stmt, &row));
    CHECK(row);
    snprintf(answer, sizeof answer, "%.*s", MG_FMT(mg_stmt_text(stmt, 0)));
    mg_stmt_free(stmt);
    return answer;
}

static struct mg_db *open_fresh(struct mg_bulk *bulk)
{
    struct mg_db *db;
    CHECK_OK(mg_db_open(check_fresh_path("moongate.db"), MG_DB_WRITE, &db, NULL));
    CHECK_OK(mg_db_exec(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, bytes BLOB, more INTEGER)"));
    CHECK_OK(mg_bulk_open(bulk, db, "t", "id, name, bytes, more"));
    return db;
}

static mg_err put(struct mg_bulk *bulk, int64_t id, size_t left)
{
    static char names[MG_BULK_ROWS][16];
    char *name = names[mg_bulk_place(bulk)];
    int len = snprintf(name, 16, "n%d", (int)id);
    mg_bulk_begin(bulk, left);
    mg_bulk_int(bulk, id);
    mg_bulk_text(bulk, mg_view_of(name, (size_t)len));
    mg_bulk_blob(bulk, id % 2 ? mg_view_of(name, 1) : MG_VIEW_NONE);
    if (id % 3)
        mg_bulk_int(bulk, -id);
    else
        mg_bulk_null(bulk);
    return mg_bulk_end(bulk);
}

TEST(any_number_of_rows_is_inserted_with_what_belongs_to_each)
{
    for (size_t rows = 0; rows <= 2 * MG_BULK_ROWS + 3; rows++) {
        struct mg_bulk bulk = {0};
        char want[64];
        struct mg_db *db = open_fresh(&bulk);
        CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
        for (size_t i = 0; i < rows; i++)
            CHECK_OK(put(&bulk, (int64_t)i + 1, rows - i));
        CHECK_OK(mg_db_commit(db));

        snprintf(want, sizeof want, "%zu", rows);
        CHECK_STR(ask(db, "SELECT count(*) FROM t WHERE name = 'n' || id AND (more IS NULL) = (id % 3 = 0) AND "
                          "coalesce(more, -id) = -id AND (bytes IS NULL) = (id % 2 = 0) AND coalesce(bytes, x'6e') = x'6e'"),
                  want);
        CHECK_STR(ask(db, "SELECT count(*) FROM t"), want);
        mg_bulk_close(&bulk);
        mg_db_close(db);
    }
}

TEST(a_row_that_cannot_be_inserted_undoes_the_transaction_and_the_next_one_begins_afresh)
{
    struct mg_bulk bulk = {0};
    struct mg_db *db = open_fresh(&bulk);
    CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
    CHECK_OK(put(&bulk, 5, 1));
    CHECK_OK(mg_db_commit(db));

    CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
    CHECK_OK(put(&bulk, 100, 1));
    mg_err err = MG_OK;
    for (int64_t id = 1; id <= MG_BULK_ROWS && err == MG_OK; id++)
        err = put(&bulk, id, (size_t)(MG_BULK_ROWS + 1 - id));
    CHECK_INT(err, MG_E_EXISTS);
    mg_db_rollback(db);
    mg_bulk_drop(&bulk);
    CHECK_STR(ask(db, "SELECT group_concat(id) FROM t"), "5");

    CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
    CHECK_OK(put(&bulk, 200, 12));     /* and one that is dropped half-way */
    mg_db_rollback(db);
    mg_bulk_drop(&bulk);
    CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
    for (int64_t id = 10; id < 20; id++)
        CHECK_OK(put(&bulk, id, (size_t)(20 - id)));
    CHECK_OK(mg_db_commit(db));
    CHECK_STR(ask(db, "SELECT count(*) || ' ' || sum(id) FROM t"), "11 150");
    mg_bulk_close(&bulk);
    mg_db_close(db);
}

MG_TEST_MAIN()
