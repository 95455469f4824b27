#include "store/db.h"

#include <sys/stat.h>

#include "base/fault.h"
#include "base/mem.h"
#include "check.h"
#include "folder.h"
#include "store/migrations.h"

static const char *path;

static struct mg_db *open_fresh(void)
{
    struct mg_db *db;
    path = check_fresh_path("moongate.db");
    CHECK_OK(mg_db_open(path, MG_DB_WRITE, &db, NULL));
    return db;
}

static int64_t one_number(struct mg_db *db, const char *sql)
{
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(mg_db_prepare(db, sql, &stmt));
    CHECK_OK(mg_stmt_step(stmt, &row));
    CHECK(row);
    int64_t value = mg_stmt_int(stmt, 0);
    mg_stmt_free(stmt);
    return value;
}

static mg_err insert_key(struct mg_db *db, const char *id, mg_view hash)
{
    struct mg_stmt *stmt;
    CHECK_OK(mg_db_prepare(
        db, "INSERT INTO keys (id, project, name, hash, created_us) VALUES (?, 'p', ?, ?, 9)",
        &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(id));
    mg_stmt_bind_text(stmt, 2, MG_VIEW(""));
    mg_stmt_bind_blob(stmt, 3, hash);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

TEST(a_writer_creates_a_private_store_with_the_newest_schema)
{
    struct mg_db *db = open_fresh();
    struct stat stat_;

    CHECK_INT(stat(path, &stat_), 0);
    CHECK_INT(stat_.st_mode & 0777, 0600);
    CHECK(one_number(db, "PRAGMA user_version") >= 1);
    CHECK_INT(one_number(db, "SELECT count(*) FROM exchanges"), 0);
    CHECK_INT(one_number(db, "SELECT count(*) FROM keys"), 0);
    mg_db_close(db);
}

TEST(the_numbers_of_the_steps_ascend)
{
    static const int numbers[] = {
#define X(number, sql) number,
        MG_MIGRATION_LIST(X)
#undef X
    };
    CHECK_INT(numbers[0], 1);
    for (size_t i = 1; i < MG_COUNT(numbers); i++)
        CHECK(numbers[i] > numbers[i - 1]);
}

TEST(opening_again_changes_nothing)
{
    struct mg_db *db = open_fresh();
    CHECK_OK(insert_key(db, "a", MG_VIEW("1")));
    mg_db_close(db);

    CHECK_OK(mg_db_open(path, MG_DB_WRITE, &db, NULL));
    CHECK_INT(one_number(db, "SELECT count(*) FROM keys"), 1);
    mg_db_close(db);
}

/* The exchanges of version 1 with one row, made by hand. */
static void make_store_of_version_1(const char *name)
{
    struct mg_db *db;
    CHECK_OK(mg_db_open(name, MG_DB_WRITE, &db, NULL));
    CHECK_OK(mg_db_exec(db, "DROP TABLE exchanges; DROP TABLE journals; DROP TABLE open_exchanges; "
                            "DROP TABLE keys; DROP TABLE IF EXISTS repriced; DROP TABLE IF EXISTS exports; "
                            "DROP TABLE vault_keys; DROP TABLE secrets; DROP TABLE audit; "
                            "DROP TABLE audit_head; DROP TABLE responses; DROP TABLE response_items; DROP TABLE response_threads; DROP TABLE response_projects; "
                            "DROP TABLE switches; DROP TABLE members; PRAGMA user_version = 1; " MG_SQL_EXCHANGES
                            MG_SQL_JOURNALS MG_SQL_OPEN_EXCHANGES MG_SQL_KEYS));
    CHECK_OK(mg_db_exec(db, "INSERT INTO exchanges (at_us, start_us, id, status, class, flags, "
                            "attempts, generation, duration_us, overhead_us, input_tokens, "
                            "output_tokens, detail) VALUES (9, 1, 'r', 200, 'none', 2, 2, 1, 8, 1, "
                            "3, 4, x'00')"));
    mg_db_close(db);
}

TEST(a_store_of_the_version_before_is_brought_up_with_its_rows)
{
    struct mg_db *db;
    struct mg_diag diag;
    const char *name = check_fresh_path("old");
    make_store_of_version_1(name);

    CHECK_INT(mg_db_open(name, MG_DB_READ, &db, &diag), MG_E_STORE);
    CHECK(strstr(diag.text, "start the gateway once") != NULL);
    CHECK_OK(mg_db_open(name, MG_DB_WRITE, &db, NULL));

    CHECK(one_number(db, "PRAGMA user_version") >= 2);
    CHECK_INT(one_number(db, "SELECT input_tokens FROM exchanges WHERE id = 'r'"), 3);
    CHECK_INT(one_number(db, "SELECT waited_us + cost_microusd FROM exchanges"), 0);
    mg_db_close(db);
}

TEST(a_reader_sees_what_was_committed_and_cannot_write)
{
    struct mg_db *db = open_fresh(), *reader;
    CHECK_OK(mg_db_open(path, MG_DB_READ, &reader, NULL));

    CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
    CHECK_OK(insert_key(db, "a", MG_VIEW("1")));
    CHECK_INT(one_number(reader, "SELECT count(*) FROM keys"), 0);
    CHECK_OK(mg_db_commit(db));
    CHECK_INT(one_number(reader, "SELECT count(*) FROM keys"), 1);
    CHECK_INT(insert_key(reader, "b", MG_VIEW("2")), MG_E_STORE);

    mg_db_close(reader);
    mg_db_close(db);
}

TEST(there_is_no_reading_what_is_not_there)
{
    struct mg_db *db;
    struct mg_diag diag;
    CHECK_INT(mg_db_open(check_fresh_path("none"), MG_DB_READ, &db, &diag), MG_E_NOT_FOUND);
    CHECK_STR(diag.text, "there is no store");
}

TEST(a_file_that_is_no_store_is_refused_with_its_name)
{
    struct mg_db *db;
    struct mg_diag diag;
    const char *name = check_fresh_path("text");
    FILE *file = fopen(name, "w");
    for (int i = 0; i < 1000; i++)
        fputs("not a database\n", file);
    fclose(file);

    CHECK_INT(mg_db_open(name, MG_DB_WRITE, &db, &diag), MG_E_STORE);
    CHECK_STR(diag.file, name);
}

TEST(a_store_of_a_newer_moongate_is_refused)
{
    struct mg_db *db = open_fresh();
    struct mg_diag diag;
    CHECK_OK(mg_db_exec(db, "PRAGMA user_version = 9999"));
    mg_db_close(db);

    CHECK_INT(mg_db_open(path, MG_DB_WRITE, &db, &diag), MG_E_STORE);
    CHECK(strstr(diag.text, "newer Moongate (schema 9999") != NULL);
    CHECK_INT(mg_db_open(path, MG_DB_READ, &db, &diag), MG_E_STORE);
}

TEST(a_rollback_undoes_and_is_harmless_outside)
{
    struct mg_db *db = open_fresh();

    mg_db_rollback(db);
    CHECK_OK(mg_db_begin(db, MG_DB_FULL));
    CHECK_OK(insert_key(db, "a", MG_VIEW("1")));
    mg_db_rollback(db);
    CHECK_INT(one_number(db, "SELECT count(*) FROM keys"), 0);

    mg_db_close(db);
}

TEST(a_commit_that_fails_committed_nothing_and_the_next_one_works)
{
    struct mg_db *db = open_fresh();

    CHECK_OK(mg_db_begin(db, MG_DB_FULL));
    CHECK_OK(insert_key(db, "a", MG_VIEW("1")));
    mg_fault_arm(MG_FAULT_STORE_WRITE, 1);
    CHECK_INT(mg_db_commit(db), MG_E_STORE);
    CHECK_INT(one_number(db, "SELECT count(*) FROM keys"), 0);
    CHECK_OK(mg_db_begin(db, MG_DB_FULL));
    CHECK_OK(insert_key(db, "a", MG_VIEW("1")));
    CHECK_OK(mg_db_commit(db));

    CHECK_INT(one_number(db, "SELECT count(*) FROM keys"), 1);
    mg_db_close(db);
}

TEST(a_taken_key_is_an_error_of_its_own)
{
    struct mg_db *db = open_fresh();

    CHECK_OK(insert_key(db, "a", MG_VIEW("1")));
    CHECK_INT(insert_key(db, "a", MG_VIEW("2")), MG_E_EXISTS);
    CHECK_INT(insert_key(db, "b", MG_VIEW("1")), MG_E_EXISTS);

    mg_db_close(db);
}

TEST(text_blobs_null_and_the_empty_string_come_back_as_they_went)
{
    struct mg_db *db = open_fresh();
    struct mg_stmt *stmt;
    bool row;
    CHECK_OK(insert_key(db, "'; DROP TABLE keys; --", MG_VIEW("\0\1\2")));

    CHECK_OK(mg_db_prepare(
        db, "SELECT id, name, hash, expires_us, created_us FROM keys WHERE id = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, MG_VIEW("'; DROP TABLE keys; --"));
    CHECK_OK(mg_stmt_step(stmt, &row));
    CHECK(row);
    CHECK_VIEW(mg_stmt_text(stmt, 0), MG_VIEW("'; DROP TABLE keys; --"));
    CHECK(!mg_stmt_is_null(stmt, 1) && mg_stmt_text(stmt, 1).len == 0);
    CHECK_VIEW(mg_stmt_blob(stmt, 2), MG_VIEW("\0\1\2"));
    CHECK(mg_stmt_is_null(stmt, 3) && mg_stmt_int(stmt, 3) == 0 &&
          mg_stmt_text(stmt, 3).ptr == NULL);
    CHECK_INT(mg_stmt_int(stmt, 4), 9);
    CHECK_OK(mg_stmt_step(stmt, &row));
    CHECK(!row);

    /* bindings do not survive a reset */
    mg_stmt_reset(stmt);
    CHECK_OK(mg_stmt_step(stmt, &row));
    CHECK(!row);
    mg_db_close(db);
}

MG_TEST_MAIN()
