/* One beat of the thread:
 *
 *   wait ─▶ begin ─▶ read the rings, sink.record each ─▶ positions ─▶ sink.flush ─▶ commit ─▶
 * sink.commit │                                                                      └ on an error:
 * rollback, seek back └ when a sync is due: MG_DB_FULL, sink.checkpoint before the flush, free the
 * rings after the commit
 *
 * then the writes of others, each in a MG_DB_FULL transaction of its own, then the log's lines.
 * How far each ring was read is committed with the rows, so a record is stored exactly once. */
#include "store/recorder.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/folder.h"

/* A writer in another process is waited for only so long: the log's lines and the writes of others
 * wait with it. */
enum { RETRY_MS = 500, COMPLAIN_EVERY = 20, REOPEN_EVERY = 4, WAIT_MS = 1000, BATCHES = 8 };

struct write {
    struct mg_list link;
    mg_write_fn fn;
    mg_write_done done; /* may be NULL */
    void *arg;
};

struct ring {
    struct mg_journal *journal; /* owned */
    struct mg_journal_cursor committed;
    bool freed; /* nothing committed since room was given back */
};

struct store {        /* what recovering and recording share */
    struct mg_db *db; /* owned; NULL: it could not be opened again */
    struct mg_sink sink;
    struct mg_stmt *known;   /* how far a ring was stored */
    struct mg_stmt *advance; /* rows are there up to a record */
    struct mg_stmt *settle;  /* and nothing before a place is needed */
    uint64_t records;        /* of the running transaction, or of the recovery */
    /* of the ring that is being recovered: */
    uint64_t stored; /* the last record with a row */
    uint64_t boot;
    uint32_t worker;
    struct mg_journal_cursor read;
};

struct mg_recorder {
    struct store store;
    struct ring *rings; /* owned */
    unsigned workers;
    uint64_t boot;
    char data[MG_FOLDER_PATH_BYTES];
    pthread_t thread;

    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t wake;    /* the thread's */
    pthread_cond_t flushed; /* waiters of mg_recorder_flush */
    struct mg_list writes;
    uint64_t asked, answered; /* tickets of flush */
    bool kicked;
    bool stopping;
    struct mg_recorder_trouble trouble;

    /* the thread's own */
    uint64_t synced_us; /* monotonic */
    unsigned failed_in_row;
    mg_err last_failure;
    bool reopened; /* this store may not know the rings: the next transaction tells it where they
                      stand */
    _Atomic uint64_t batches, stored, failures, recovered, cpu_us;
};

static mg_err open_store(struct store *store, const char *data, const struct mg_sink *sink,
                         struct mg_diag *diag);
static void close_store(struct store *store); /* no-op when it is closed */
static mg_err recover(struct store *store, const char *data, uint64_t *out_count,
                      struct mg_diag *diag);
static void *run(void *arg);

/* ---- the store and where the rings stand in it */

static mg_err open_store(struct store *store, const char *data, const struct mg_sink *sink,
                         struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES];
    *store = (struct store){.sink = *sink};
    MG_TRY(mg_folder_path(data, "moongate.db", path));
    MG_TRY(mg_db_open(path, MG_DB_WRITE, &store->db, diag));
    mg_err err = mg_db_prepare(
        store->db, "SELECT sequence, position, stored FROM journals WHERE boot = ? AND worker = ?",
        &store->known);
    if (err == MG_OK)
        err = mg_db_prepare(store->db,
                            "UPDATE journals SET stored = ?3 WHERE boot = ?1 AND worker = ?2",
                            &store->advance);
    if (err == MG_OK)
        err = mg_db_prepare(
            store->db,
            "INSERT INTO journals (boot, worker, sequence, position, stored) "
            "VALUES (?1, ?2, ?3, ?4, ?3) "
            "ON CONFLICT (boot, worker) DO UPDATE SET sequence = ?3, position = ?4, stored = ?3",
            &store->settle);
    if (err == MG_OK)
        err = store->sink.open(store->sink.arg, store->db);
    if (err != MG_OK) {
        mg_diag_set(diag, err, path, 0, "cannot read the store: %s", mg_db_message(store->db));
        mg_db_close(store->db);
        store->db = NULL;
        return err;
    }
    mg_db_wait(store->db, WAIT_MS);
    return MG_OK;
}

static void close_store(struct store *store)
{
    if (!store->db)
        return;
    store->sink.close(store->sink.arg);
    mg_db_close(store->db);
    store->db = NULL;
}

static mg_err where_stored(void *arg, uint64_t boot, uint32_t worker,
                           struct mg_journal_cursor *out_known)
{
    struct store *store = arg;
    bool row;
    mg_stmt_bind_int(store->known, 1, (int64_t)boot);
    mg_stmt_bind_int(store->known, 2, worker);
    mg_err err = mg_stmt_step(store->known, &row);
    store->stored = 0;
    if (err == MG_OK && row) {
        *out_known = (struct mg_journal_cursor){(uint64_t)mg_stmt_int(store->known, 0),
                                                (uint64_t)mg_stmt_int(store->known, 1)};
        store->stored = (uint64_t)mg_stmt_int(store->known, 2);
    }
    mg_stmt_reset(store->known);
    return err;
}

static mg_err advance(struct mg_stmt *stmt, uint64_t boot, uint32_t worker,
                      struct mg_journal_cursor cursor, bool settle)
{
    mg_stmt_bind_int(stmt, 1, (int64_t)boot);
    mg_stmt_bind_int(stmt, 2, worker);
    mg_stmt_bind_int(stmt, 3, (int64_t)cursor.sequence);
    if (settle)
        mg_stmt_bind_int(stmt, 4, (int64_t)cursor.position);
    return mg_stmt_run(stmt);
}

static mg_err take_record(void *arg, const struct mg_journal_record *record)
{
    struct store *store = arg;
    store->records++;
    store->boot = record->boot;
    store->worker = record->worker;
    store->read = (struct mg_journal_cursor){record->sequence, record->end};
    return store->sink.record(store->sink.arg, record, record->sequence <= store->stored);
}

/* Ends the transaction one way or the other; the sink hears which. */
static mg_err finish(struct store *store, mg_err err)
{
    if (err == MG_OK)
        err = store->sink.flush(store->sink.arg);
    if (err == MG_OK)
        err = mg_db_commit(store->db);
    if (err == MG_OK) {
        store->sink.commit(store->sink.arg);
    } else {
        mg_db_rollback(store->db);
        store->sink.rollback(store->sink.arg);
    }
    return err;
}

/* ---- start-up: rings of processes that are gone */

typedef mg_err (*ring_file_cb)(struct store *store, const char *path, struct mg_diag *diag);

static mg_err each_ring_file(struct store *store, const char *data, ring_file_cb cb,
                             struct mg_diag *diag)
{
    char folder[MG_FOLDER_PATH_BYTES], path[MG_FOLDER_PATH_BYTES];
    MG_TRY(mg_folder_path(data, "journal", folder));
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT)
        return MG_OK; /* a backup of the store alone, say */
    if (!dir)
        return mg_diag_set(diag, MG_E_SYSTEM, folder, 0, "cannot list the journals: %s",
                           strerror(errno));
    mg_err err = MG_OK;
    for (struct dirent *entry; err == MG_OK && (entry = readdir(dir));) {
        if (!mg_view_ends(mg_view_cstr(entry->d_name), MG_VIEW(".ring")))
            continue;
        err = mg_folder_path(folder, entry->d_name, path);
        if (err == MG_OK)
            err = cb(store, path, diag);
    }
    closedir(dir);
    return err;
}

/* A ring without a valid header is kept for a human; the gateway starts without it. */
static mg_err set_aside(const char *path, struct mg_diag *diag)
{
    char aside[MG_FOLDER_PATH_BYTES];
    if (snprintf(aside, sizeof aside, "%s.damaged", path) >= (int)sizeof aside ||
        rename(path, aside) != 0)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "is damaged and cannot be renamed: %s",
                           strerror(errno));
    mg_log_warn("journal.damaged", "moved_to=%s", aside);
    return MG_OK;
}

static mg_err recover_file(struct store *store, const char *path, struct mg_diag *diag)
{
    uint64_t count = 0;
    mg_err err = mg_journal_recover(path, where_stored, take_record, store, &count, diag);
    if (err == MG_OK && count > 0)
        return advance(store->settle, store->boot, store->worker, store->read, true);
    return err == MG_E_PROTOCOL ? set_aside(path, diag) : err;
}

static mg_err remove_file(struct store *store, const char *path, struct mg_diag *diag)
{
    if (unlink(path) != 0)
        return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "cannot remove the recovered journal: %s",
                           strerror(errno));
    return MG_OK;
}

/* The files go only after their records are on the disk. */
static mg_err recover(struct store *store, const char *data, uint64_t *out_count,
                      struct mg_diag *diag)
{
    store->records = 0;
    MG_TRY(mg_db_begin(store->db, MG_DB_FULL));
    mg_err err = each_ring_file(store, data, recover_file, diag);
    if (err == MG_OK)
        err = store->sink.interrupt(store->sink.arg);
    err = finish(store, err);
    if (err == MG_E_STORE)
        mg_diag_set(diag, err, data, 0, "cannot store what an earlier run left: %s",
                    mg_db_message(store->db));
    MG_TRY(err);
    *out_count = store->records;
    store->stored = 0;
    MG_TRY(each_ring_file(store, data, remove_file, diag));
    return mg_db_exec(store->db, "DELETE FROM journals");
}

mg_err mg_recorder_recover(const char *data, const struct mg_sink *sink, struct mg_diag *diag)
{
    struct store store;
    uint64_t count;
    MG_TRY(open_store(&store, data, sink, diag));
    mg_err err = recover(&store, data, &count, diag);
    close_store(&store);
    return err;
}

static mg_err open_rings(struct mg_recorder *recorder, const struct mg_recorder_options *options,
                         struct mg_diag *diag)
{
    char path[MG_FOLDER_PATH_BYTES], name[64];
    size_t bytes = options->journal_bytes ? options->journal_bytes : MG_MAX_JOURNAL_BYTES;
    for (unsigned i = 0; i < options->workers; i++) {
        snprintf(name, sizeof name, "journal/worker-%u.ring", i);
        MG_TRY(mg_folder_path(options->data, name, path));
        MG_TRY(mg_journal_open(path, bytes, i, recorder->boot, &recorder->rings[i].journal, diag));
        recorder->rings[i].freed = true;
        recorder->workers = i + 1;
        MG_TRY(advance(recorder->store.settle, recorder->boot, i, (struct mg_journal_cursor){0, 0},
                       true));
    }
    return MG_OK;
}

static uint64_t draw_boot(void)
{
    uint64_t boot = mg_wall_us();
    if (getrandom(&boot, sizeof boot, 0) != (ssize_t)sizeof boot)
        boot ^= (uint64_t)getpid() << 48;
    return boot >> 1; /* the store's integers have a sign */
}

static mg_err start_thread(struct mg_recorder *recorder, struct mg_diag *diag)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&recorder->thread, NULL, run, recorder);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? MG_OK
                     : mg_diag_set(diag, MG_E_SYSTEM, "", 0, "cannot start the recorder: %s",
                                   strerror(code));
}

static struct mg_recorder *new_recorder(const char *data, unsigned workers)
{
    struct mg_recorder *recorder = mg_new(struct mg_recorder);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&recorder->wake, &monotonic);
    pthread_cond_init(&recorder->flushed, NULL);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&recorder->lock, NULL);
    mg_list_init(&recorder->writes);
    recorder->rings = mg_new_array(struct ring, MG_MAX(workers, 1u));
    recorder->boot = draw_boot();
    snprintf(recorder->data, sizeof recorder->data, "%s", data);
    return recorder;
}

static void free_recorder(struct mg_recorder *recorder)
{
    for (unsigned i = 0; i < recorder->workers; i++)
        mg_journal_close(recorder->rings[i].journal);
    pthread_cond_destroy(&recorder->wake);
    pthread_cond_destroy(&recorder->flushed);
    pthread_mutex_destroy(&recorder->lock);
    mg_free(recorder->rings);
    mg_free(recorder);
}

mg_err mg_recorder_start(const struct mg_recorder_options *options,
                         struct mg_recorder **out_recorder, struct mg_diag *diag)
{
    struct mg_recorder *recorder = new_recorder(options->data, options->workers);
    uint64_t count = 0;
    mg_err err = open_store(&recorder->store, options->data, &options->sink, diag);
    if (err != MG_OK) {
        free_recorder(recorder);
        return err;
    }
    err = recover(&recorder->store, options->data, &count, diag);
    if (err == MG_OK)
        err = open_rings(recorder, options, diag);
    if (err == MG_OK)
        err = start_thread(recorder, diag);
    if (err != MG_OK) {
        close_store(&recorder->store);
        free_recorder(recorder);
        return err;
    }
    if (count > 0)
        mg_log_info("journal.recovered", "records=%llu", (unsigned long long)count);
    recorder->recovered = count;
    *out_recorder = recorder;
    return MG_OK;
}

struct mg_journal *mg_recorder_journal(struct mg_recorder *recorder, unsigned worker)
{
    assert(worker < recorder->workers);
    return recorder->rings[worker].journal;
}

/* ---- the thread */

static bool room_is_short(const struct mg_recorder *recorder)
{
    for (unsigned i = 0; i < recorder->workers; i++) {
        struct mg_journal_stats stats;
        mg_journal_stats(recorder->rings[i].journal, &stats);
        if (stats.used > stats.size / 4)
            return true;
    }
    return false;
}

static bool sync_is_due(const struct mg_recorder *recorder, bool stopping)
{
    bool committed = false;
    for (unsigned i = 0; i < recorder->workers; i++)
        committed |= !recorder->rings[i].freed;
    return stopping || recorder->reopened || recorder->failed_in_row > 0 ||
           room_is_short(recorder) ||
           (committed && mg_mono_us() - recorder->synced_us >= MG_RECORDER_SYNC_MS * 1000u);
}

static mg_err read_rings(struct mg_recorder *recorder, bool *out_more)
{
    for (unsigned i = 0; i < recorder->workers; i++) {
        unsigned count = 0;
        struct mg_journal *journal = recorder->rings[i].journal;
        MG_TRY(mg_journal_read(journal, take_record, &recorder->store, MG_RECORDER_BATCH, &count));
        if (count > 0)
            MG_TRY(advance(recorder->store.advance, recorder->boot, i, mg_journal_tell(journal),
                           false));
        *out_more |= count == MG_RECORDER_BATCH;
    }
    return MG_OK;
}

/* Also makes sure that the commit writes something: one that writes nothing syncs nothing. */
static mg_err prepare_sync(struct mg_recorder *recorder)
{
    for (unsigned i = 0; i < recorder->workers; i++)
        MG_TRY(advance(recorder->store.settle, recorder->boot, i,
                       mg_journal_tell(recorder->rings[i].journal), true));
    return recorder->store.sink.checkpoint(recorder->store.sink.arg);
}

static unsigned fullest_percent(const struct mg_recorder *recorder)
{
    uint64_t percent = 0;
    for (unsigned i = 0; i < recorder->workers; i++) {
        struct mg_journal_stats stats;
        mg_journal_stats(recorder->rings[i].journal, &stats);
        percent = MG_MAX(percent, stats.used * 100 / stats.size);
    }
    return (unsigned)percent;
}

static void note_trouble(struct mg_recorder *recorder, mg_err err, const char *reason)
{
    struct mg_recorder_trouble *trouble = &recorder->trouble;
    pthread_mutex_lock(&recorder->lock);
    if (!trouble->since_us)
        trouble->since_us = mg_wall_us();
    snprintf(trouble->reason, sizeof trouble->reason, "%s", reason);
    pthread_mutex_unlock(&recorder->lock);
    recorder->last_failure = err;
    if (recorder->failed_in_row++ % COMPLAIN_EVERY == 0)
        mg_log_error("store.failed",
                     "error=%s reason=\"%s\" journal_percent=%u records wait in the journal",
                     mg_err_name(err), reason, fullest_percent(recorder));
}

static void end_trouble(struct mg_recorder *recorder)
{
    if (recorder->failed_in_row == 0)
        return;
    recorder->failed_in_row = 0;
    pthread_mutex_lock(&recorder->lock);
    uint64_t since_us = recorder->trouble.since_us;
    recorder->trouble = (struct mg_recorder_trouble){0};
    pthread_mutex_unlock(&recorder->lock);
    mg_log_info("store.recovered", "after_ms=%llu",
                (unsigned long long)(mg_wall_us() - since_us) / 1000);
}

/* An empty store in the place of one that is gone would know no keys: that is a human's to decide,
 * by a restart. */
static mg_err open_again(struct mg_recorder *recorder, struct mg_diag *diag)
{
    struct mg_sink sink = recorder->store.sink;
    char path[MG_FOLDER_PATH_BYTES];
    close_store(&recorder->store);
    MG_TRY(mg_folder_path(recorder->data, "moongate.db", path));
    if (access(path, F_OK) != 0)
        return mg_diag_set(
            diag, MG_E_STORE, path, 0,
            "the store's file is gone: put it back, or restart to begin an empty one");
    MG_TRY(open_store(&recorder->store, recorder->data, &sink, diag));
    recorder->reopened = true;
    return MG_OK;
}

/* A connection that may be written to. One that failed several times is made anew: somebody may
 * have mended the file. */
static mg_err have_store(struct mg_recorder *recorder, struct mg_diag *diag)
{
    struct mg_db *db = recorder->store.db;
    struct mg_diag seen;
    bool lost = db && mg_db_check(db, &seen) != MG_OK;
    if (lost)
        mg_log_warn("store.lost", "reason=\"%s\" opening what is there now", seen.text);
    bool tired = recorder->failed_in_row > 0 && recorder->failed_in_row % REOPEN_EVERY == 0 &&
                 recorder->last_failure != MG_E_BUSY;
    return db && !lost && !tired ? MG_OK : open_again(recorder, diag);
}

static void after_commit(struct mg_recorder *recorder, bool synced)
{
    for (unsigned i = 0; i < recorder->workers; i++) {
        struct ring *ring = &recorder->rings[i];
        struct mg_journal_cursor now = mg_journal_tell(ring->journal);
        ring->freed &= now.position == ring->committed.position;
        ring->committed = now;
        if (synced && !ring->freed) {
            mg_journal_free_to(ring->journal, now);
            ring->freed = true;
        }
    }
    if (synced)
        recorder->synced_us = mg_mono_us();
    recorder->reopened &= !synced;
    end_trouble(recorder);
    atomic_fetch_add_explicit(&recorder->batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&recorder->stored, recorder->store.records, memory_order_relaxed);
}

static void after_failure(struct mg_recorder *recorder, mg_err err, const char *reason)
{
    for (unsigned i = 0; i < recorder->workers; i++)
        mg_journal_seek(recorder->rings[i].journal, recorder->rings[i].committed);
    note_trouble(recorder, err, reason);
    atomic_fetch_add_explicit(&recorder->failures, 1, memory_order_relaxed);
}

static bool anything_to_read(const struct mg_recorder *recorder)
{
    for (unsigned i = 0; i < recorder->workers; i++) {
        struct mg_journal_stats stats;
        mg_journal_stats(recorder->rings[i].journal, &stats);
        if (stats.records != mg_journal_tell(recorder->rings[i].journal).sequence)
            return true;
    }
    return false;
}

/* One transaction. *out_more: a ring had more than a batch takes. */
static mg_err record_batch(struct mg_recorder *recorder, bool stopping, bool *out_more)
{
    struct store *store = &recorder->store;
    bool sync = sync_is_due(recorder, stopping);
    *out_more = false;
    if (!sync && !anything_to_read(recorder))
        return MG_OK;

    store->records = 0;
    struct mg_diag diag = {.line = 0};
    mg_err err = have_store(recorder, &diag);
    if (err != MG_OK) {
        after_failure(recorder, err, diag.text);
        return err;
    }
    sync |= recorder->reopened;
    err = mg_db_begin(store->db, sync ? MG_DB_FULL : MG_DB_NORMAL);
    if (err == MG_OK) {
        err = read_rings(recorder, out_more);
        if (err == MG_OK && sync)
            err = prepare_sync(recorder);
        err = finish(store, err);
    }
    if (err == MG_OK)
        after_commit(recorder, sync);
    else
        after_failure(recorder, err, mg_db_message(store->db));
    *out_more &= err == MG_OK;
    return err;
}

static mg_err transact(struct mg_recorder *recorder, const struct write *write,
                       struct mg_diag *diag)
{
    MG_TRY(have_store(recorder, diag));
    struct mg_db *db = recorder->store.db;
    mg_err err = mg_db_begin(db, MG_DB_FULL);
    if (err == MG_OK)
        err = write->fn(write->arg, db);
    if (err == MG_OK)
        err = mg_db_commit(db);
    if (err == MG_E_STORE || err == MG_E_BUSY)
        mg_diag_set(diag, err, NULL, 0, "%s", mg_db_message(db));
    mg_db_rollback(db);
    return err;
}

/* That the store cannot be written is found out here too; the next batch tries again until it can.
 */
static void run_write(struct mg_recorder *recorder, struct write *write)
{
    struct mg_diag diag = {.line = 0};
    mg_err err = transact(recorder, write, &diag);
    if (err == MG_E_STORE || err == MG_E_BUSY)
        note_trouble(recorder, err, diag.text);
    if (write->done)
        write->done(write->arg, err);
    mg_free(write);
}

/* Waits for work or for the next beat, and takes the writes that are there. True: this is the end.
 */
static bool wait_for_work(struct mg_recorder *recorder, unsigned pause_ms,
                          struct mg_list *out_writes, uint64_t *out_asked)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)pause_ms * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;

    pthread_mutex_lock(&recorder->lock);
    while (!recorder->kicked && !recorder->stopping && mg_list_empty(&recorder->writes))
        if (pthread_cond_timedwait(&recorder->wake, &recorder->lock, &until) == ETIMEDOUT)
            break;
    for (struct mg_list *item; (item = mg_list_pop_front(&recorder->writes));)
        mg_list_push_back(out_writes, item);
    recorder->kicked = false;
    *out_asked = recorder->asked;
    /* a write may ask for another one: the last round is the one without */
    bool last = recorder->stopping && mg_list_empty(out_writes);
    pthread_mutex_unlock(&recorder->lock);
    return last;
}

static void answer_flush(struct mg_recorder *recorder, uint64_t asked)
{
    pthread_mutex_lock(&recorder->lock);
    recorder->answered = asked;
    pthread_cond_broadcast(&recorder->flushed);
    pthread_mutex_unlock(&recorder->lock);
}

static unsigned pause_after(const struct mg_recorder *recorder, mg_err err, bool more)
{
    if (err != MG_OK)
        return RETRY_MS;
    if (more)
        return 0;
    return room_is_short(recorder) ? MG_RECORDER_MIN_MS : MG_RECORDER_MAX_MS;
}

static void *run(void *arg)
{
    struct mg_recorder *recorder = arg;
    bool stopping = false, more = false;
    unsigned pause_ms = MG_RECORDER_MAX_MS;
    pthread_setname_np(pthread_self(), "mg-recorder");

    while (!stopping) {
        struct mg_list writes;
        uint64_t asked;
        mg_err err;
        mg_list_init(&writes);
        stopping = wait_for_work(recorder, pause_ms, &writes, &asked);
        unsigned batches = 0;
        do
            err = record_batch(recorder, stopping, &more);
        while (err == MG_OK && more && (stopping || ++batches < BATCHES));
        for (struct mg_list *item; (item = mg_list_pop_front(&writes));)
            run_write(recorder, mg_container_of(item, struct write, link));
        if (!more)
            answer_flush(recorder, asked);
        mg_log_drain();
        pause_ms = pause_after(recorder, err, more);
        atomic_store_explicit(&recorder->cpu_us, mg_thread_cpu_us(), memory_order_relaxed);
    }
    return NULL;
}

void mg_recorder_stop(struct mg_recorder *recorder)
{
    if (!recorder)
        return;
    pthread_mutex_lock(&recorder->lock);
    recorder->stopping = true;
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
    pthread_join(recorder->thread, NULL);
    for (unsigned i = 0; i < recorder->workers; i++)
        if (mg_journal_sync(recorder->rings[i].journal) != MG_OK)
            mg_log_warn("journal.sync_failed", "worker=%u", i);
    close_store(&recorder->store);
    free_recorder(recorder);
}

/* ---- other threads */

void mg_recorder_kick(struct mg_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    recorder->kicked = true;
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
}

void mg_recorder_flush(struct mg_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    uint64_t ticket = ++recorder->asked;
    recorder->kicked = true;
    pthread_cond_signal(&recorder->wake);
    while (recorder->answered < ticket)
        pthread_cond_wait(&recorder->flushed, &recorder->lock);
    pthread_mutex_unlock(&recorder->lock);
}

void mg_recorder_write(struct mg_recorder *recorder, mg_write_fn fn, mg_write_done done, void *arg)
{
    struct write *write = mg_new(struct write);
    write->fn = fn;
    write->done = done;
    write->arg = arg;
    pthread_mutex_lock(&recorder->lock);
    mg_list_push_back(&recorder->writes, &write->link);
    pthread_cond_signal(&recorder->wake);
    pthread_mutex_unlock(&recorder->lock);
}

struct waiting {
    struct mg_recorder *recorder;
    mg_write_fn fn;
    void *arg;
    bool done;
    mg_err result;
};

static mg_err run_waiting(void *arg, struct mg_db *db)
{
    struct waiting *waiting = arg;
    return waiting->fn(waiting->arg, db);
}

static void end_waiting(void *arg, mg_err result)
{
    struct waiting *waiting = arg;
    struct mg_recorder *recorder = waiting->recorder;
    pthread_mutex_lock(&recorder->lock);
    waiting->result = result;
    waiting->done = true;
    pthread_cond_broadcast(&recorder->flushed);
    pthread_mutex_unlock(&recorder->lock);
}

mg_err mg_recorder_write_wait(struct mg_recorder *recorder, mg_write_fn fn, void *arg)
{
    struct waiting waiting = {recorder, fn, arg, false, MG_OK};
    mg_recorder_write(recorder, run_waiting, end_waiting, &waiting);
    pthread_mutex_lock(&recorder->lock);
    while (!waiting.done)
        pthread_cond_wait(&recorder->flushed, &recorder->lock);
    pthread_mutex_unlock(&recorder->lock);
    return waiting.result;
}

void mg_recorder_trouble(struct mg_recorder *recorder, struct mg_recorder_trouble *out_trouble)
{
    pthread_mutex_lock(&recorder->lock);
    *out_trouble = recorder->trouble;
    pthread_mutex_unlock(&recorder->lock);
    out_trouble->journal_percent = fullest_percent(recorder);
}

void mg_recorder_stats(const struct mg_recorder *recorder, struct mg_recorder_stats *out_stats)
{
    *out_stats = (struct mg_recorder_stats){
        .batches = atomic_load_explicit(&recorder->batches, memory_order_relaxed),
        .records = atomic_load_explicit(&recorder->stored, memory_order_relaxed),
        .failures = atomic_load_explicit(&recorder->failures, memory_order_relaxed),
        .recovered = atomic_load_explicit(&recorder->recovered, memory_order_relaxed),
        .cpu_us = atomic_load_explicit(&recorder->cpu_us, memory_order_relaxed),
    };
}
