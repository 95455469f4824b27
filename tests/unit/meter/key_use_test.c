#include "meter/key_use.h"

#include "base/mem.h"
#include "check.h"
#include "folder.h"

enum { S = 1000000 };

static struct mg_db *db;
static struct mg_key_use use;

static void begin(void)
{
    CHECK_OK(mg_db_open(check_fresh_path("moongate.db"), MG_DB_WRITE, &db, NULL));
    CHECK_OK(mg_db_exec(db, "INSERT INTO keys (id, project, name, hash, created_us) VALUES "
                            "('key_a', 'p', '', x'01', 1), ('key_b', 'p', '', x'02', 1)"));
    mg_key_use_init(&use);
    CHECK_OK(mg_key_use_open(&use, db));
}

static void end(void)
{
    mg_key_use_close(&use);
    mg_key_use_fini(&use);
    mg_db_close(db);
}

static int64_t last_use(const char *id)
{
    struct mg_stmt *stmt;
    bool row = false;
    CHECK_OK(mg_db_prepare(db, "SELECT last_used_us FROM keys WHERE id = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(id));
    CHECK_OK(mg_stmt_step(stmt, &row));
    int64_t value = row ? mg_stmt_int(stmt, 0) : -1;
    mg_stmt_free(stmt);
    return value;
}

TEST(a_use_is_written_and_the_next_ones_of_a_minute_are_not)
{
    begin();
    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 100 * S));
    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 159 * S));
    CHECK_INT(last_use("key_a"), 100 * S);
    CHECK_INT(last_use("key_b"), 0);

    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 160 * S));
    CHECK_INT(last_use("key_a"), 160 * S);
    end();
}

TEST(an_older_use_does_not_take_the_place_of_a_newer_one)
{
    begin();
    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 500 * S));
    mg_key_use_rollback(&use);
    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 400 * S));
    CHECK_INT(last_use("key_a"), 500 * S);
    end();
}

TEST(what_was_undone_is_written_again)
{
    begin();
    CHECK_OK(mg_db_begin(db, MG_DB_NORMAL));
    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 100 * S));
    mg_db_rollback(db);
    mg_key_use_rollback(&use);
    CHECK_INT(last_use("key_a"), 0);

    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_a"), 100 * S));
    CHECK_INT(last_use("key_a"), 100 * S);
    end();
}

TEST(a_key_that_is_not_there_is_no_error)
{
    begin();
    CHECK_OK(mg_key_use_note(&use, MG_VIEW("key_gone"), 100 * S));
    CHECK_OK(mg_key_use_note(&use, MG_VIEW_NONE, 100 * S));
    end();
}

MG_TEST_MAIN()
