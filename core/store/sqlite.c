#include "store/db.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/mem.h"
#include "store/migrations.h"

struct mg_db {
    sqlite3 *handle;                /* owned */
    enum mg_db_sync sync;           /* what the connection is set to */
    struct mg_stmt *begin, *commit; /* prepared when first used */
    struct mg_list stmts;           /* all that are alive */
    char wal_path[PATH_MAX];
    ino_t wal; /* its write-ahead log's file, once there was one */
};

struct mg_stmt {
    sqlite3_stmt *handle; /* owned */
    struct mg_list link;  /* in mg_db.stmts */
};

static const struct {
    int number;
    const char *sql;
} migrations[] = {
#define X(number, sql) {number, sql},
    MG_MIGRATION_LIST(X)
#undef X
};

/* Both kinds of connection. Small caches: the store is appended to, and an idle gateway is small.
 */
static const char setup[] =
    "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -1024;"
    "PRAGMA trusted_schema = OFF;";
static const char setup_writer[] =
    "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    "PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 33554432;";

static void set_wal_aside(struct mg_db *db);

static mg_err translate(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return MG_OK;
    case SQLITE_CONSTRAINT:
        return MG_E_EXISTS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return MG_E_BUSY;
    default:
        return MG_E_STORE;
    }
}

static int64_t read_pragma(struct mg_db *db, const char *sql)
{
    struct mg_stmt *stmt;
    bool row = false;
    int64_t value = 0;
    if (mg_db_prepare(db, sql, &stmt) != MG_OK)
        return -1;
    if (mg_stmt_step(stmt, &row) == MG_OK && row)
        value = mg_stmt_int(stmt, 0);
    mg_stmt_free(stmt);
    return value;
}

static mg_err run_migration(struct mg_db *db, size_t index)
{
    char version[64];
    snprintf(version, sizeof version, "PRAGMA user_version = %d", migrations[index].number);
    MG_TRY(mg_db_begin(db, MG_DB_FULL));
    mg_err err = mg_db_exec(db, migrations[index].sql);
    if (err == MG_OK)
        err = mg_db_exec(db, version);
    if (err == MG_OK)
        return mg_db_commit(db);
    mg_db_rollback(db);
    return err;
}

static mg_err migrate(struct mg_db *db, enum mg_db_mode mode, const char *path,
                      struct mg_diag *diag)
{
    int newest = migrations[MG_COUNT(migrations) - 1].number;
    int64_t version = read_pragma(db, "PRAGMA user_version");
    if (version < 0)
        return mg_diag_set(diag, MG_E_STORE, path, 0, "is no store: %s", mg_db_message(db));
    if (version > newest)
        return mg_diag_set(diag, MG_E_STORE, path, 0,
                           "was written by a newer Moongate (schema %lld, this one knows %d)",
                           (long long)version, newest);
    if (version < newest && mode == MG_DB_READ)
        return mg_diag_set(diag, MG_E_STORE, path, 0,
                           "has schema %lld; start the gateway once to bring it to %d",
                           (long long)version, newest);
    for (size_t i = 0; i < MG_COUNT(migrations); i++) {
        if (migrations[i].number > version && run_migration(db, i) != MG_OK)
            return mg_diag_set(diag, MG_E_STORE, path, 0, "cannot change to schema %d: %s",
                               migrations[i].number, mg_db_message(db));
    }
    return MG_OK;
}

/* SQLite would create it with the umask's permissions. */
static mg_err create_private(const char *path, struct mg_diag *diag)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot open the store: %s",
                           strerror(errno));
    close(fd);
    return MG_OK;
}

mg_err mg_db_open(const char *path, enum mg_db_mode mode, struct mg_db **out_db,
                  struct mg_diag *diag)
{
    int flags =
        (mode == MG_DB_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    if (mode == MG_DB_WRITE)
        MG_TRY(create_private(path, diag));
    else if (access(path, F_OK) != 0)
        return mg_diag_set(diag, MG_E_NOT_FOUND, path, 0, "there is no store");

    struct mg_db *db = mg_new(struct mg_db);
    mg_list_init(&db->stmts);
    snprintf(db->wal_path, sizeof db->wal_path, "%s-wal", path);
    mg_err err = translate(sqlite3_open_v2(path, &db->handle, flags, NULL));
    if (err == MG_OK)
        err = mg_db_exec(db, setup);
    if (err == MG_OK && mode == MG_DB_WRITE)
        err = mg_db_exec(db, setup_writer);
    if (err != MG_OK)
        mg_diag_set(diag, err, path, 0, "cannot open the store: %s", mg_db_message(db));
    else
        err = migrate(db, mode, path, diag);
    if (err != MG_OK) {
        mg_db_close(db);
        return err;
    }
    *out_db = db;
    return MG_OK;
}

void mg_db_close(struct mg_db *db)
{
    if (!db)
        return;
    while (!mg_list_empty(&db->stmts))
        mg_stmt_free(mg_container_of(db->stmts.next, struct mg_stmt, link));
    set_wal_aside(db);
    sqlite3_close(db->handle);
    mg_free(db);
}

static bool was_moved(struct mg_db *db)
{
    int moved = 0;
    sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved;
}

/* Through SQLite's own descriptor: to close another one of this file would drop its locks. */
static bool has_header(struct mg_db *db)
{
    static const char magic[16] = "SQLite format 3";
    char start[16];
    sqlite3_file *file = NULL;
    sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    return file && file->pMethods->xRead(file, start, sizeof start, 0) == SQLITE_OK &&
           memcmp(start, magic, sizeof magic) == 0;
}

const char *mg_db_path(const struct mg_db *db)
{
    return sqlite3_db_filename(db->handle, "main");
}

static ino_t file_of(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 ? found.st_ino : 0;
}

mg_err mg_db_check(struct mg_db *db, struct mg_diag *diag)
{
    const char *path = sqlite3_db_filename(db->handle, "main");
    if (was_moved(db))
        return mg_diag_set(diag, MG_E_STORE, path, 0,
                           "the store's file was moved, replaced or deleted");
    ino_t wal = file_of(db->wal_path);
    if (db->wal && wal != db->wal)
        return mg_diag_set(diag, MG_E_STORE, path, 0,
                           "the store's write-ahead log was moved, replaced or deleted");
    db->wal = wal;
    return has_header(db)
               ? MG_OK
               : mg_diag_set(diag, MG_E_STORE, path, 0, "the store's file was overwritten");
}

/* The log of a file that was replaced would be played into the one that is there now. A human may
 * want it. */
static void set_wal_aside(struct mg_db *db)
{
    char aside[PATH_MAX + 16];
    const char *path = sqlite3_db_filename(db->handle, "main");
    if (!db->wal || !was_moved(db) || access(path, F_OK) != 0 || file_of(db->wal_path) != db->wal)
        return;
    if (snprintf(aside, sizeof aside, "%s.replaced", db->wal_path) < (int)sizeof aside)
        (void)!rename(db->wal_path, aside);
    snprintf(aside, sizeof aside, "%s-shm", path);
    unlink(aside);
}

void mg_db_wait(struct mg_db *db, unsigned wait_ms)
{
    sqlite3_busy_timeout(db->handle, (int)wait_ms);
}

const char *mg_db_message(struct mg_db *db)
{
    return sqlite3_errmsg(db->handle);
}

mg_err mg_db_exec(struct mg_db *db, const char *sql)
{
    return translate(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

/* Parsing costs more than running these. */
static mg_err run_prepared(struct mg_db *db, struct mg_stmt **stmt, const char *sql)
{
    if (!*stmt)
        MG_TRY(mg_db_prepare(db, sql, stmt));
    return mg_stmt_run(*stmt);
}

mg_err mg_db_begin(struct mg_db *db, enum mg_db_sync sync)
{
    if (sync != db->sync) {
        MG_TRY(mg_db_exec(db, sync == MG_DB_FULL ? "PRAGMA synchronous = FULL"
                                                 : "PRAGMA synchronous = NORMAL"));
        db->sync = sync;
    }
    return run_prepared(db, &db->begin, "BEGIN IMMEDIATE");
}

mg_err mg_db_commit(struct mg_db *db)
{
    mg_err err =
        mg_fault(MG_FAULT_STORE_WRITE) ? MG_E_STORE : run_prepared(db, &db->commit, "COMMIT");
    if (err != MG_OK)
        mg_db_rollback(db);
    return err;
}

void mg_db_rollback(struct mg_db *db)
{
    if (!sqlite3_get_autocommit(db->handle))
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

int64_t mg_db_changes(struct mg_db *db)
{
    return sqlite3_changes(db->handle);
}

/* ---- statements */

mg_err mg_db_prepare(struct mg_db *db, const char *sql, struct mg_stmt **out_stmt)
{
    sqlite3_stmt *handle;
    MG_TRY(translate(
        sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL)));
    struct mg_stmt *stmt = mg_new(struct mg_stmt);
    stmt->handle = handle;
    mg_list_push_back(&db->stmts, &stmt->link);
    *out_stmt = stmt;
    return MG_OK;
}

/* With plain INSERT a statement of several rows keeps a journal of its own, so that it alone can be
 * undone. */
mg_err mg_db_prepare_rows(struct mg_db *db, const char *table, const char *columns,
                          unsigned column_count, unsigned rows, struct mg_stmt **out_stmt)
{
    struct mg_buf sql;
    mg_buf_init(&sql, 16384);
    mg_err err = mg_buf_putf(&sql, "INSERT OR ROLLBACK INTO %s (%s) VALUES ", table, columns);
    for (unsigned i = 0; i < rows * column_count && err == MG_OK; i++) {
        const char *before = i == 0 ? "(" : i % column_count == 0 ? "),(" : ",";
        err = mg_buf_putf(&sql, "%s?", before);
    }
    if (err == MG_OK)
        err = mg_buf_put(&sql, mg_view_of(")", 2)); /* and the NUL */
    if (err == MG_OK)
        err = mg_db_prepare(db, sql.ptr, out_stmt);
    mg_buf_fini(&sql);
    return err;
}

void mg_stmt_free(struct mg_stmt *stmt)
{
    if (!stmt)
        return;
    mg_list_remove(&stmt->link);
    sqlite3_finalize(stmt->handle);
    mg_free(stmt);
}

static void bound(int code)
{
    assert(code == SQLITE_OK);
    (void)code;
}

void mg_stmt_bind_int(struct mg_stmt *stmt, int index, int64_t value)
{
    bound(sqlite3_bind_int64(stmt->handle, index, value));
}

void mg_stmt_bind_text(struct mg_stmt *stmt, int index, mg_view value)
{
    assert(value.len <= INT_MAX);
    bound(sqlite3_bind_text(stmt->handle, index, value.ptr, (int)value.len, SQLITE_STATIC));
}

void mg_stmt_bind_blob(struct mg_stmt *stmt, int index, mg_view value)
{
    assert(value.len <= INT_MAX);
    bound(sqlite3_bind_blob(stmt->handle, index, value.ptr, (int)value.len, SQLITE_STATIC));
}

void mg_stmt_bind_null(struct mg_stmt *stmt, int index)
{
    bound(sqlite3_bind_null(stmt->handle, index));
}

mg_err mg_stmt_step(struct mg_stmt *stmt, bool *out_row)
{
    int code = sqlite3_step(stmt->handle);
    MG_TRY(translate(code));
    *out_row = code == SQLITE_ROW;
    return MG_OK;
}

void mg_stmt_reset(struct mg_stmt *stmt)
{
    sqlite3_reset(stmt->handle);
    sqlite3_clear_bindings(stmt->handle);
}

mg_err mg_stmt_run(struct mg_stmt *stmt)
{
    int code = sqlite3_step(stmt->handle);
    assert(code != SQLITE_ROW);
    mg_stmt_reset(stmt);
    return translate(code);
}

int64_t mg_stmt_int(struct mg_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt->handle, column);
}

mg_view mg_stmt_text(struct mg_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt->handle, column);
    return mg_view_of(text, text ? (size_t)sqlite3_column_bytes(stmt->handle, column) : 0);
}

mg_view mg_stmt_blob(struct mg_stmt *stmt, int column)
{
    const char *bytes = sqlite3_column_blob(stmt->handle, column);
    return mg_view_of(bytes, bytes ? (size_t)sqlite3_column_bytes(stmt->handle, column) : 0);
}

bool mg_stmt_is_null(struct mg_stmt *stmt, int column)
{
    return sqlite3_column_type(stmt->handle, column) == SQLITE_NULL;
}
