#include "meter/packer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meter/archive.h"
#include "store/folder.h"

struct mg_packer {
    struct mg_recorder *recorder;      /* borrowed */
    struct mg_retention retention;
    uint64_t retained_us;              /* when what is too old was deleted last, by the monotonic clock */
    char path[MG_FOLDER_PATH_BYTES];   /* of the database */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    bool told;                         /* the trouble that goes on was logged */
};

/* What a process that died between writing a block and deleting its rows left. */
static mg_err delete_leftovers(struct mg_db *db, struct mg_recorder *recorder, struct mg_diag *diag)
{
    struct mg_archive *archive = mg_archive_new(db);
    mg_err err = mg_archive_refresh(archive, diag);
    size_t count = mg_archive_count(archive);
    struct mg_block *last = err == MG_OK && count > 0 ? mg_archive_block(archive, count - 1) : NULL;
    if (last)
        err = mg_retain_from(recorder, mg_block_last_us(last) + 1);
    mg_archive_free(archive);
    return err;
}

/* ---- a block */

static mg_err one_number(struct mg_db *db, const char *sql, int64_t bound, int64_t *out_number)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, sql, &stmt));
    mg_stmt_bind_int(stmt, 1, bound);
    mg_err err = mg_stmt_step(stmt, &row);
    *out_number = row ? mg_stmt_int(stmt, 0) : 0;
    mg_stmt_free(stmt);
    return err;
}

static mg_err put(void *arg, const struct mg_block_row *row)
{
    return mg_block_put(arg, row);
}

/* One that long texts have filled is a block of fewer rows. */
static mg_err fill(struct mg_db *db, struct mg_block *block, uint32_t rows)
{
    mg_err err = mg_archive_each_open(db, 0, rows, put, block);
    return err == MG_E_TOO_LARGE && mg_block_rows(block) > 0 ? MG_OK : err;
}

static mg_err make_folder(struct mg_db *db, char out_folder[MG_ARCHIVE_PATH_BYTES], struct mg_diag *diag)
{
    mg_archive_folder(db, out_folder);
    if (mkdir(out_folder, 0700) == 0 || errno == EEXIST)
        return MG_OK;
    return mg_diag_set(diag, MG_E_SYSTEM, out_folder, 0, "cannot be made: %s", strerror(errno));
}

static mg_err nothing(void *arg, struct mg_db *db)
{
    (void)arg, (void)db;
    return MG_OK;
}

/* Rows must be on the disk, and with them how far their ring was read, before their block is: else a power cut could bring the
 * ring's records back and not the rows, and they would be stored twice. */
static mg_err sync_rows(struct mg_recorder *recorder)
{
    return mg_recorder_write_wait(recorder, nothing, NULL);
}

static mg_err pack_block(struct mg_db *db, struct mg_recorder *recorder, struct mg_block *block, uint32_t rows,
                         struct mg_diag *diag)
{
    char folder[MG_ARCHIVE_PATH_BYTES];
    MG_TRY(make_folder(db, folder, diag));
    MG_TRY(fill(db, block, rows));
    MG_TRY(sync_rows(recorder));
    MG_TRY(mg_block_write(block, folder, diag));
    return mg_retain_from(recorder, mg_block_last_us(block) + 1);
}

mg_err mg_pack_rows(struct mg_db *db, struct mg_recorder *recorder, uint32_t block_rows, uint32_t open_rows, uint32_t *out_rows,
               struct mg_diag *diag)
{
    int64_t enough;
    *out_rows = 0;
    MG_TRY(one_number(db, "SELECT count(*) FROM (SELECT 1 FROM exchanges LIMIT ?)", (int64_t)block_rows + open_rows + 1, &enough));
    if (enough <= (int64_t)block_rows + open_rows)
        return MG_OK;
    MG_TRY(delete_leftovers(db, recorder, diag));
    struct mg_block *block = mg_block_new(true);
    mg_err err = pack_block(db, recorder, block, MG_MIN(block_rows, (uint32_t)MG_BLOCK_ROWS), diag);
    if (err == MG_OK)
        *out_rows = mg_block_rows(block);
    mg_block_free(block);
    return err;
}

/* ---- the thread */

static void tell_trouble(struct mg_packer *packer, mg_err err, const struct mg_diag *diag)
{
    char text[MG_FOLDER_PATH_BYTES];
    mg_diag_print(diag, text, sizeof text);
    if (!packer->told)
        mg_log_error("requests.unpacked", "error=%s %s: requests stay in the database, where searching is slower, until this works",
                     mg_err_name(err), text);
    packer->told = true;
}

/* Once a minute. */
static mg_err delete_old(struct mg_packer *packer, struct mg_db *db, struct mg_diag *diag)
{
    unsigned blocks;
    uint64_t now_us = mg_mono_us();
    if (packer->retained_us && now_us < packer->retained_us + MG_PACKER_RETAIN_S * UINT64_C(1000000))
        return MG_OK;
    packer->retained_us = now_us;
    MG_TRY(mg_retain(db, packer->recorder, &packer->retention, mg_wall_us(), &blocks, diag));
    if (blocks > 0)
        mg_log_info("requests.deleted", "files=%u as `requests` in the configuration says", blocks);
    return MG_OK;
}

/* *out_more: there may be enough for another block. */
static void look(struct mg_packer *packer, bool *out_more)
{
    uint32_t rows = 0;
    struct mg_diag diag = {0};
    struct mg_db *db = NULL; /* anew each time: the recorder may have gone over to another file */
    mg_err err = mg_db_open(packer->path, MG_DB_READ, &db, &diag);
    if (err == MG_OK)
        err = mg_pack_rows(db, packer->recorder, MG_BLOCK_ROWS, MG_PACKER_OPEN_ROWS, &rows, &diag);
    if (err == MG_OK)
        err = delete_old(packer, db, &diag);
    mg_db_close(db);
    *out_more = err == MG_OK && rows > 0;
    if (err != MG_OK)
        tell_trouble(packer, err, &diag);
    else
        packer->told = false;
}

static void rest(struct mg_packer *packer)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MG_PACKER_PAUSE_MS / 1000;
    pthread_cond_timedwait(&packer->wake, &packer->lock, &until);
}

static void *run(void *arg)
{
    struct mg_packer *packer = arg;
    bool more = false;
    pthread_mutex_lock(&packer->lock);
    while (!packer->stopping) {
        pthread_mutex_unlock(&packer->lock);
        look(packer, &more);
        pthread_mutex_lock(&packer->lock);
        if (!more && !packer->stopping)
            rest(packer);
    }
    pthread_mutex_unlock(&packer->lock);
    return NULL;
}

mg_err mg_packer_start(const char *data, struct mg_recorder *recorder, const struct mg_retention *retention,
                       struct mg_packer **out_packer, struct mg_diag *diag)
{
    struct mg_packer *packer = mg_new(struct mg_packer);
    packer->recorder = recorder;
    packer->retention = *retention;
    if (mg_folder_path(data, "moongate.db", packer->path) != MG_OK) {
        mg_free(packer);
        return mg_diag_set(diag, MG_E_TOO_LARGE, data, 0, "is too long a path");
    }
    pthread_mutex_init(&packer->lock, NULL);
    pthread_cond_init(&packer->wake, NULL);
    if (pthread_create(&packer->thread, NULL, run, packer) == 0) {
        *out_packer = packer;
        return MG_OK;
    }
    mg_free(packer);
    return mg_diag_set(diag, MG_E_SYSTEM, data, 0, "cannot start a thread");
}

void mg_packer_stop(struct mg_packer *packer)
{
    if (!packer)
        return;
    pthread_mutex_lock(&packer->lock);
    packer->stopping = true;
    pthread_cond_signal(&packer->wake);
    pthread_mutex_unlock(&packer->lock);
    pthread_join(packer->thread, NULL);
    mg_free(packer);
}
