#include "meter/retention.h"

#include "base/mem.h"
#include "meter/archive.h"

enum { STEP_ROWS = 4096 };             /* deleted in one transaction of the recorder */

/* at_us of the first exchange that some export has still to send. */
static mg_err first_unsent(struct mg_db *db, uint64_t *out_us)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "SELECT min(next_us) FROM exports", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    *out_us = row && !mg_stmt_is_null(stmt, 0) ? (uint64_t)mg_stmt_int(stmt, 0) : UINT64_MAX;
    mg_stmt_free(stmt);
    return err;
}

/* ---- rows of the database */

struct step {
    uint64_t before_us;
    int64_t deleted;
};

static mg_err run_bound(struct mg_db *db, const char *sql, uint64_t before_us)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, sql, &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)MG_MIN(before_us, (uint64_t)INT64_MAX));
    mg_stmt_bind_int(stmt, 2, STEP_ROWS);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

static mg_err delete_step(void *arg, struct mg_db *db)
{
    struct step *step = arg;
    MG_TRY(run_bound(db,
                     "DELETE FROM exchanges WHERE at_us < (SELECT max(at_us) FROM exchanges) AND at_us <= (SELECT max(at_us) FROM "
                     "(SELECT at_us FROM exchanges WHERE at_us < ?1 ORDER BY at_us LIMIT ?2))",
                     step->before_us));
    step->deleted = mg_db_changes(db);
    return MG_OK;
}

mg_err mg_retain_from(struct mg_recorder *recorder, uint64_t from_us)
{
    struct step step = {.before_us = from_us};
    do
        MG_TRY(mg_recorder_write_wait(recorder, delete_step, &step));
    while (step.deleted > 0);
    return MG_OK;
}

/* Costs found later go with the exchanges that they are of. */
static mg_err delete_repriced(void *arg, struct mg_db *db)
{
    return run_bound(db, "DELETE FROM repriced WHERE at_us < ?1 AND ?2 > 0", *(uint64_t *)arg);
}

static mg_err delete_rows(struct mg_recorder *recorder, uint64_t before_us)
{
    MG_TRY(mg_retain_from(recorder, before_us));
    return mg_recorder_write_wait(recorder, delete_repriced, &before_us);
}

/* ---- blocks */

/* at_us behind the last row that the block may have: where the next one begins, or the rows of the database do. */
static uint64_t end_of(struct mg_archive *archive, size_t index)
{
    if (index + 1 < mg_archive_count(archive))
        return mg_archive_first_us(archive, index + 1);
    struct mg_block *block = mg_archive_block(archive, index);
    return block ? mg_block_last_us(block) + 1 : UINT64_MAX;
}

static mg_err remove_oldest(struct mg_archive *archive, unsigned *blocks, struct mg_diag *diag)
{
    ++*blocks;
    return mg_archive_remove(archive, 0, diag);
}

static mg_err remove_old(struct mg_archive *archive, uint64_t before_us, unsigned *blocks, struct mg_diag *diag)
{
    while (mg_archive_count(archive) > 0 && end_of(archive, 0) <= before_us)
        MG_TRY(remove_oldest(archive, blocks, diag));
    return MG_OK;
}

static mg_err remove_beyond(struct mg_archive *archive, uint64_t keep_bytes, uint64_t unsent_us, unsigned *blocks, struct mg_diag *diag)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < mg_archive_count(archive); i++)
        bytes += mg_archive_bytes(archive, i);
    while (bytes > keep_bytes && mg_archive_count(archive) > 0 && end_of(archive, 0) <= unsent_us) {
        bytes -= MG_MIN(bytes, mg_archive_bytes(archive, 0));
        MG_TRY(remove_oldest(archive, blocks, diag));
    }
    return MG_OK;
}

static mg_err remove_blocks(struct mg_archive *archive, const struct mg_retention *retention, uint64_t before_us, uint64_t unsent_us,
                            unsigned *blocks, struct mg_diag *diag)
{
    MG_TRY(mg_archive_refresh(archive, diag));
    MG_TRY(remove_old(archive, before_us, blocks, diag));
    return retention->keep_bytes ? remove_beyond(archive, retention->keep_bytes, unsent_us, blocks, diag) : MG_OK;
}

mg_err mg_retain(struct mg_db *db, struct mg_recorder *recorder, const struct mg_retention *retention, uint64_t wall_us,
                 unsigned *out_blocks, struct mg_diag *diag)
{
    uint64_t unsent_us;
    *out_blocks = 0;
    if (retention->keep_us == 0 && retention->keep_bytes == 0)
        return MG_OK;
    MG_TRY(first_unsent(db, &unsent_us));
    uint64_t before_us = retention->keep_us && wall_us > retention->keep_us ? MG_MIN(wall_us - retention->keep_us, unsent_us) : 0;
    struct mg_archive *archive = mg_archive_new(db);
    mg_err err = remove_blocks(archive, retention, before_us, unsent_us, out_blocks, diag);
    mg_archive_free(archive);
    return err == MG_OK && before_us > 0 ? delete_rows(recorder, before_us) : err;
}
