#include "meter/export.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/folder.h"

struct mg_export {
    struct mg_export_sink sink;
    char path[MG_FOLDER_PATH_BYTES];   /* of the store */
    struct mg_recorder *recorder;      /* borrowed */
    struct mg_db *db;                  /* reads; NULL: not open */
    struct mg_buf events;
    uint64_t cursor_us;                /* of the thread */
    bool alone;                        /* likewise: it learned that it was left behind */
    uint64_t shown_us;                 /* end of a batch that the sink was shown and did not take; 0: there is none */
    pthread_t thread;
    pthread_mutex_t lock;              /* of what follows */
    pthread_cond_t wake, ended;
    bool stopping;
    bool sending;                      /* the thread is in the sink */
    bool has_ended;
    bool left_behind;                  /* nobody waits for it any more: it may touch nothing but this struct */
    struct mg_export_state state;
};

/* ---- the cursor */

static mg_err begin_cursor(void *arg, struct mg_db *db)
{
    struct mg_export *exporter = arg;
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(db, "INSERT INTO exports (name, next_us) VALUES (?, (SELECT coalesce(max(at_us), 0) + 1 FROM exchanges)) "
                             "ON CONFLICT (name) DO NOTHING", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(exporter->sink.name));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    MG_TRY(err);
    MG_TRY(mg_db_prepare(db, "SELECT next_us FROM exports WHERE name = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(exporter->sink.name));
    err = mg_stmt_step(stmt, &row);
    exporter->cursor_us = row ? (uint64_t)mg_stmt_int(stmt, 0) : 1;
    mg_stmt_free(stmt);
    return err;
}

struct moving {
    const char *name;
    uint64_t next_us;
};

static mg_err move_cursor(void *arg, struct mg_db *db)
{
    const struct moving *moving = arg;
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "UPDATE exports SET next_us = ?2 WHERE name = ?1", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(moving->name));
    mg_stmt_bind_int(stmt, 2, (int64_t)moving->next_us);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

/* ---- a batch */

struct gathering {
    struct mg_export *exporter;
    unsigned count;
    uint64_t first_us;                 /* when the first one settled */
    uint64_t at_us, stopped_us;        /* stopped_us: the exchange that did not fit; 0: all did */
};

static mg_err gather(void *arg, const struct mg_usage_event *event)
{
    struct gathering *gathering = arg;
    struct mg_buf *out = &gathering->exporter->events;
    if (event->at_us != gathering->at_us && out->len > MG_EXPORT_BATCH_BYTES) {
        gathering->stopped_us = event->at_us;
        return MG_E_CANCELLED;
    }
    gathering->at_us = event->at_us;
    if (gathering->count++ == 0)
        gathering->first_us = event->at_us;
    MG_TRY(mg_usage_event_json(event, out));
    return mg_buf_putc(out, '\n');
}

/* A batch that was shown before is read as it was. */
static mg_err read_batch(struct mg_export *exporter, struct mg_export_batch *out_batch, uint64_t *out_next)
{
    struct gathering gathering = {.exporter = exporter};
    struct mg_usage_range range = {
        .from_us = exporter->cursor_us,
        .to_us = exporter->shown_us,
        .max_exchanges = exporter->sink.max_exchanges ? exporter->sink.max_exchanges : MG_EXPORT_BATCH,
    };
    mg_buf_clear(&exporter->events);
    *out_next = exporter->cursor_us;
    if (exporter->db && mg_db_check(exporter->db, NULL) != MG_OK) {        /* its file was replaced */
        mg_db_close(exporter->db);
        exporter->db = NULL;
    }
    if (!exporter->db)
        MG_TRY(mg_db_open(exporter->path, MG_DB_READ, &exporter->db, NULL));
    mg_err err = mg_usage_each(exporter->db, &range, gather, &gathering, out_next);
    if (gathering.stopped_us)
        *out_next = gathering.stopped_us;
    else
        MG_TRY(err);
    out_batch->events = mg_buf_view(&exporter->events);
    out_batch->count = gathering.count;
    out_batch->first_us = gathering.first_us;
    snprintf(out_batch->id, sizeof out_batch->id, "%" PRIu64 "-%" PRIu64, range.from_us, *out_next);
    return MG_OK;
}

static void note_failure(struct mg_export *exporter, const struct mg_diag *diag)
{
    pthread_mutex_lock(&exporter->lock);
    struct mg_export_state *state = &exporter->state;
    unsigned before = state->failed_in_row++;
    state->failures++;
    if (before == 0)
        state->failing_since_us = mg_wall_us();
    snprintf(state->error, sizeof state->error, "%.*s", (int)sizeof state->error - 1, diag->text);
    pthread_mutex_unlock(&exporter->lock);
    if ((before & (before + 1)) == 0)  /* the 1st, 2nd, 4th, 8th … of a row */
        mg_log_warn("export.failed", "sink=%s failures=%u reason=\"%s\" events wait in the store", exporter->sink.name, before + 1,
                    diag->text);
}

static void note_taken(struct mg_export *exporter, const struct mg_export_batch *batch, uint64_t next_us)
{
    pthread_mutex_lock(&exporter->lock);
    struct mg_export_state *state = &exporter->state;
    unsigned before = state->failed_in_row;
    state->next_us = next_us;
    state->events += batch->count;
    state->batches += batch->count > 0;
    if (batch->count > 0)
        state->taken_us = mg_wall_us();
    state->failed_in_row = 0;
    state->failing_since_us = state->waiting_since_us = 0;
    state->error[0] = '\0';
    pthread_mutex_unlock(&exporter->lock);
    if (before > 0)
        mg_log_info("export.recovered", "sink=%s after=%u events=%u", exporter->sink.name, before, batch->count);
}

/* False: the process did not wait for the sink, and ends. */
static bool enter_sink(struct mg_export *exporter, bool entering, uint64_t first_us)
{
    pthread_mutex_lock(&exporter->lock);
    exporter->sending = entering;
    if (entering)
        exporter->state.waiting_since_us = first_us;
    bool goes_on = !exporter->left_behind;
    pthread_cond_broadcast(&exporter->ended);
    pthread_mutex_unlock(&exporter->lock);
    return goes_on;
}

/* It is alone then: nobody waits for this thread any more, and what it borrows is no longer there. */
static mg_err show(struct mg_export *exporter, const struct mg_export_batch *batch, uint64_t next_us, struct mg_diag *diag)
{
    exporter->shown_us = next_us;
    enter_sink(exporter, true, batch->first_us);
    mg_err err = exporter->sink.send(exporter->sink.arg, batch, diag);
    exporter->alone = !enter_sink(exporter, false, 0);
    return err;
}

static mg_err store_cursor(struct mg_export *exporter, uint64_t next_us, struct mg_diag *diag)
{
    struct moving moving = {exporter->sink.name, next_us};
    mg_err err = mg_recorder_write_wait(exporter->recorder, move_cursor, &moving);
    if (err != MG_OK)
        snprintf(diag->text, sizeof diag->text, "the cursor cannot be stored");
    return err;
}

/* One batch. *out_more: it was full, there may be more. */
static mg_err hand_on(struct mg_export *exporter, bool *out_more)
{
    struct mg_export_batch batch = {.count = 0};
    struct mg_diag diag = {.text = "the store cannot be read"};
    uint64_t next_us;
    *out_more = false;
    mg_err err = read_batch(exporter, &batch, &next_us);
    if (err == MG_OK && next_us == exporter->cursor_us)
        return MG_OK;
    if (err == MG_OK && batch.count > 0)
        err = show(exporter, &batch, next_us, &diag);
    if (exporter->alone)
        return MG_E_CANCELLED;
    if (err == MG_OK)
        err = store_cursor(exporter, next_us, &diag);
    if (err != MG_OK) {
        note_failure(exporter, &diag);
        return err;
    }
    exporter->cursor_us = next_us;
    exporter->shown_us = 0;
    note_taken(exporter, &batch, next_us);
    *out_more = true;
    return MG_OK;
}

/* ---- the thread */

static struct timespec in_ms(unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

static bool wait_for(struct mg_export *exporter, unsigned pause_ms)
{
    struct timespec until = in_ms(pause_ms);
    pthread_mutex_lock(&exporter->lock);
    while (!exporter->stopping && pthread_cond_timedwait(&exporter->wake, &exporter->lock, &until) != ETIMEDOUT)
        ;
    bool stopping = exporter->stopping;
    pthread_mutex_unlock(&exporter->lock);
    return stopping;
}

static unsigned pause_after(const struct mg_export *exporter, mg_err err, bool more)
{
    if (err == MG_OK)
        return more ? 0 : MG_EXPORT_BEAT_MS;
    unsigned failed = exporter->state.failed_in_row;       /* only this thread writes it */
    unsigned doublings = MG_MIN(failed ? failed - 1 : 0, 6u);
    return MG_MIN((unsigned)MG_EXPORT_RETRY_MS << doublings, (unsigned)MG_EXPORT_MAX_RETRY_MS);
}

/* What the sink has is left as it is: whatever it needs may be gone with the process's other parts. */
static void free_export(struct mg_export *exporter)
{
    mg_db_close(exporter->db);
    mg_buf_fini(&exporter->events);
    pthread_cond_destroy(&exporter->wake);
    pthread_cond_destroy(&exporter->ended);
    pthread_mutex_destroy(&exporter->lock);
    mg_free(exporter);
}

static void *run(void *arg)
{
    struct mg_export *exporter = arg;
    pthread_setname_np(pthread_self(), "mg-export");
    bool stopping = false, more = false;
    mg_err err = MG_OK;
    while (!stopping && !exporter->alone) {
        stopping = wait_for(exporter, pause_after(exporter, err, more));
        do
            err = hand_on(exporter, &more);
        while (stopping && err == MG_OK && more);
    }
    pthread_mutex_lock(&exporter->lock);
    exporter->has_ended = true;
    pthread_cond_broadcast(&exporter->ended);
    pthread_mutex_unlock(&exporter->lock);
    if (exporter->alone)
        free_export(exporter);
    return NULL;
}

static mg_err start_thread(struct mg_export *exporter, struct mg_diag *diag)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&exporter->thread, NULL, run, exporter);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 ? MG_OK : mg_diag_set(diag, MG_E_SYSTEM, "", 0, "cannot start an export: %s", strerror(code));
}

mg_err mg_export_start(const char *data_dir, struct mg_recorder *recorder, const struct mg_export_sink *sink,
                       struct mg_export **out_export, struct mg_diag *diag)
{
    struct mg_export *exporter = mg_new(struct mg_export);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&exporter->wake, &monotonic);
    pthread_cond_init(&exporter->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&exporter->lock, NULL);
    mg_buf_init(&exporter->events, MG_EXPORT_BATCH_BYTES * 2);
    exporter->sink = *sink;
    exporter->recorder = recorder;
    snprintf(exporter->state.name, sizeof exporter->state.name, "%s", sink->name);
    snprintf(exporter->state.to, sizeof exporter->state.to, "%s", sink->to ? sink->to : "");
    mg_err err = mg_folder_path(data_dir, "moongate.db", exporter->path);
    if (err == MG_OK)
        err = mg_recorder_write_wait(recorder, begin_cursor, exporter);
    if (err != MG_OK)
        mg_diag_set(diag, err, data_dir, 0, "the cursor of the export %s cannot be read", sink->name);
    exporter->state.next_us = exporter->cursor_us;
    if (err == MG_OK)
        err = start_thread(exporter, diag);
    if (err != MG_OK) {
        exporter->sink.close(exporter->sink.arg);
        free_export(exporter);
        return err;
    }
    *out_export = exporter;
    return MG_OK;
}

/* Whether it ended; false: its sink holds it. What it does for the store is always waited for. */
static bool await_end(struct mg_export *exporter)
{
    struct timespec until = in_ms(MG_EXPORT_LAST_MS);
    pthread_mutex_lock(&exporter->lock);
    int code = 0;
    while (!exporter->has_ended && !(code == ETIMEDOUT && exporter->sending)) {
        if (code == ETIMEDOUT)         /* it may go into the sink once more */
            until = in_ms(MG_EXPORT_LAST_MS);
        code = pthread_cond_timedwait(&exporter->ended, &exporter->lock, &until);
    }
    bool ended = exporter->has_ended;
    exporter->left_behind = !ended;
    if (!ended) {                      /* from here on it is the thread's alone */
        mg_log_warn("export.left_behind", "sink=%s it does not answer; its events wait in the store", exporter->sink.name);
        pthread_detach(exporter->thread);
    }
    pthread_mutex_unlock(&exporter->lock);
    return ended;
}

void mg_export_stop(struct mg_export *exporter)
{
    if (!exporter)
        return;
    mg_recorder_flush(exporter->recorder);
    pthread_mutex_lock(&exporter->lock);
    exporter->stopping = true;
    pthread_cond_signal(&exporter->wake);
    pthread_mutex_unlock(&exporter->lock);
    if (exporter->sink.interrupt)
        exporter->sink.interrupt(exporter->sink.arg);
    if (!await_end(exporter))
        return;
    pthread_join(exporter->thread, NULL);
    exporter->sink.close(exporter->sink.arg);
    free_export(exporter);
}

void mg_export_state(struct mg_export *exporter, struct mg_export_state *out_state)
{
    pthread_mutex_lock(&exporter->lock);
    *out_state = exporter->state;
    pthread_mutex_unlock(&exporter->lock);
}
