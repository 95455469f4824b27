/* An exchange gathers its records here, framed as [type 1][length 2][payload], until its EXCHANGE
 * record makes a row of it. The frames are the row's `detail` and what open_exchanges keeps. Rows
 * are written at the end of a batch, in the order in which the exchanges of all workers ended.
 *
 * Whatever a transaction changed is undone when it fails: an entry remembers how much of it was
 * committed, and every entry a transaction touched is in one list. */
#include "meter/ledger.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "meter/key_use.h"
#include "meter/prices.h"
#include "meter/record.h"
#include "store/bulk.h"

enum {
    FRAME = 3,
    POOLED = 1024, /* entries kept for reuse */
    CLOCK_US = 60000000, TELL_US = 60000000,
    /* an exchange with all its attempts; the records are bounded, so this is a bound too */
    DETAIL_BYTES = MG_RECORD_EXCHANGE_MAX +
                   MG_MAX_ATTEMPTS * (MG_RECORD_STARTED_MAX + MG_RECORD_REDIALED_MAX +
                                      MG_RECORD_SETTLED_MAX + 3 * FRAME) +
                   MG_RECORD_STARTED_FIRST_MAX - MG_RECORD_STARTED_MAX + FRAME,
};

struct entry {
    struct mg_list touched;  /* in the running transaction */
    struct mg_list unstored; /* grew since the last checkpoint */
    char id[40];
    struct mg_buf frames;
    size_t committed;  /* bytes of frames that the ring need not give again; 0: the entry is new */
    uint64_t ended_us; /* once finished: the wall clock then */
    bool finished;     /* gone when its row is committed */
    bool interrupted;  /* its end was made up */
    bool stored;       /* has a row in open_exchanges */
    bool was_stored;   /* when the transaction began */
};

struct mg_ledger {
    struct mg_map open; /* id → struct entry, owned */
    struct mg_list touched;
    struct mg_list unstored;
    struct mg_list pool; /* entries without a use, linked by `touched` */
    unsigned pooled;
    struct entry **ended; /* owned array; exchanges of the running transaction that want a row */
    size_t ended_count, ended_room;
    uint64_t last_at_us, committed_at_us;
    uint64_t clock_told_us;      /* when clock.behind was logged last */
    uint64_t orphans;            /* records nobody could place; each is a bug of ours */
    struct mg_timeline *scratch; /* owned */
    bool opened;                 /* once at least */
    struct mg_db *db;            /* borrowed from the recorder, like the statements */
    struct mg_stmt *keep, *drop;
    struct mg_bulk rows;                   /* of exchanges */
    char tried[MG_BULK_ROWS][MG_TRIED_BYTES]; /* theirs, while they wait */
    struct mg_key_use key_use;
};

static mg_err on_flush(void *arg);

struct mg_ledger *mg_ledger_new(void)
{
    struct mg_ledger *ledger = mg_new(struct mg_ledger);
    mg_map_init(&ledger->open);
    mg_list_init(&ledger->touched);
    mg_list_init(&ledger->unstored);
    mg_list_init(&ledger->pool);
    ledger->scratch = mg_new(struct mg_timeline);
    mg_key_use_init(&ledger->key_use);
    return ledger;
}

static void free_entry(struct entry *entry)
{
    mg_buf_fini(&entry->frames);
    mg_free(entry);
}

void mg_ledger_free(struct mg_ledger *ledger)
{
    if (!ledger)
        return;
    size_t at = 0;
    mg_view id;
    void *entry;
    while (mg_map_next(&ledger->open, &at, &id, &entry))
        free_entry(entry);
    for (struct mg_list *item; (item = mg_list_pop_front(&ledger->pool));)
        free_entry(mg_container_of(item, struct entry, touched));
    mg_map_fini(&ledger->open);
    mg_free(ledger->ended);
    mg_free(ledger->scratch);
    mg_key_use_fini(&ledger->key_use);
    mg_free(ledger);
}

/* ---- entries */

static struct entry *new_entry(struct mg_ledger *ledger, mg_view id)
{
    struct mg_list *item = mg_list_pop_front(&ledger->pool);
    struct entry *entry = item ? mg_container_of(item, struct entry, touched) : NULL;
    if (entry) {
        ledger->pooled--;
    } else {
        entry = mg_new(struct entry);
        mg_buf_init(&entry->frames, DETAIL_BYTES);
        mg_list_init(&entry->touched);
        mg_list_init(&entry->unstored);
    }
    memset(entry->id, 0, sizeof entry->id);
    if (id.len > 0)
        memcpy(entry->id, id.ptr, MG_MIN(id.len, sizeof entry->id - 1));
    entry->committed = 0;
    entry->finished = entry->interrupted = entry->stored = entry->was_stored = false;
    mg_map_put(&ledger->open, mg_view_cstr(entry->id), entry);
    return entry;
}

static void drop_entry(struct mg_ledger *ledger, struct entry *entry)
{
    mg_map_remove(&ledger->open, mg_view_cstr(entry->id));
    mg_list_remove(&entry->touched);
    mg_list_remove(&entry->unstored);
    mg_buf_shrink(&entry->frames, 2048);
    if (ledger->pooled >= POOLED) {
        free_entry(entry);
        return;
    }
    mg_list_push_front(&ledger->pool, &entry->touched);
    ledger->pooled++;
}

static void touch(struct mg_ledger *ledger, struct entry *entry)
{
    if (mg_list_empty(&entry->touched)) {
        entry->was_stored = entry->stored;
        mg_list_push_back(&ledger->touched, &entry->touched);
    }
}

static mg_err add_frame(struct entry *entry, enum mg_journal_type type, mg_view payload)
{
    char front[FRAME] = {(char)type, (char)(payload.len & 0xff), (char)(payload.len >> 8)};
    MG_TRY(mg_buf_reserve(&entry->frames, FRAME + payload.len));
    MG_TRY(mg_buf_put(&entry->frames, mg_view_of(front, FRAME)));
    return mg_buf_put(&entry->frames, payload);
}

/* A record that has no place is counted and forgotten, or the ring would never move on. */
static mg_err forget(struct mg_ledger *ledger, const struct mg_journal_record *record,
                     const char *why)
{
    if (ledger->orphans++ % 1000 == 0)
        mg_log_error("journal.dropped", "worker=%u sequence=%llu type=%d reason=\"%s\"",
                     record->worker, (unsigned long long)record->sequence, (int)record->type, why);
    return MG_OK;
}

static void finish_entry(struct mg_ledger *ledger, struct entry *entry)
{
    touch(ledger, entry);
    entry->finished = true;
    mg_list_remove(&entry->unstored);
}

/* Its row is written when the batch has been read. */
static void want_row(struct mg_ledger *ledger, struct entry *entry, uint64_t ended_us)
{
    finish_entry(ledger, entry);
    entry->ended_us = ended_us;
    if (ledger->ended_count == ledger->ended_room) {
        ledger->ended_room = MG_MAX((size_t)256, ledger->ended_room * 2);
        ledger->ended = mg_realloc(ledger->ended, ledger->ended_room * sizeof ledger->ended[0]);
    }
    ledger->ended[ledger->ended_count++] = entry;
}

static mg_err on_record(void *arg, const struct mg_journal_record *record, bool stored)
{
    struct mg_ledger *ledger = arg;
    mg_view id;
    if (mg_record_id(record->payload, &id) != MG_OK)
        return forget(ledger, record, "unreadable");

    struct entry *entry = mg_map_get(&ledger->open, id);
    if (stored && record->type == MG_JOURNAL_EXCHANGE) {
        if (entry) /* it has its row: it is only not open any more */
            finish_entry(ledger, entry);
        return MG_OK;
    }
    if (!entry && (record->type == MG_JOURNAL_SETTLED || record->type == MG_JOURNAL_REDIALED))
        return stored ? MG_OK : forget(ledger, record, "an attempt that did not start");
    if (entry && entry->finished)
        return forget(ledger, record, "the exchange has settled");
    if (!entry)
        entry = new_entry(ledger, id);
    touch(ledger, entry);
    if (add_frame(entry, record->type, record->payload) != MG_OK)
        return forget(ledger, record, "too many attempts");
    if (record->type == MG_JOURNAL_EXCHANGE)
        want_row(ledger, entry, mg_record_ended_us(record->payload));
    else if (mg_list_empty(&entry->unstored))
        mg_list_push_back(&ledger->unstored, &entry->unstored);
    return MG_OK;
}

/* ---- the ends of a transaction */

static void on_commit(void *arg)
{
    struct mg_ledger *ledger = arg;
    for (struct mg_list *item; (item = mg_list_pop_front(&ledger->touched));) {
        struct entry *entry = mg_container_of(item, struct entry, touched);
        entry->committed = entry->frames.len;
        if (entry->finished)
            drop_entry(ledger, entry);
    }
    ledger->committed_at_us = ledger->last_at_us;
    ledger->ended_count = 0;
}

static void on_rollback(void *arg)
{
    struct mg_ledger *ledger = arg;
    for (struct mg_list *item; (item = mg_list_pop_front(&ledger->touched));) {
        struct entry *entry = mg_container_of(item, struct entry, touched);
        if (entry->committed == 0) {
            drop_entry(ledger, entry);
            continue;
        }
        entry->frames.len = entry->committed;
        entry->stored = entry->was_stored;
        entry->finished = false;
        if (mg_list_empty(&entry->unstored))
            mg_list_push_back(&ledger->unstored, &entry->unstored);
    }
    ledger->last_at_us = ledger->committed_at_us;
    ledger->ended_count = 0;
    mg_bulk_drop(&ledger->rows);
    mg_key_use_rollback(&ledger->key_use);
}

static mg_err on_checkpoint(void *arg)
{
    struct mg_ledger *ledger = arg;
    for (struct mg_list *item; (item = mg_list_pop_front(&ledger->unstored));) {
        struct entry *entry = mg_container_of(item, struct entry, unstored);
        touch(ledger, entry);
        mg_stmt_bind_text(ledger->keep, 1, mg_view_cstr(entry->id));
        mg_stmt_bind_blob(ledger->keep, 2, mg_buf_view(&entry->frames));
        entry->stored = true;
        MG_TRY(mg_stmt_run(ledger->keep));
    }
    return MG_OK;
}

/* ---- start and end */

static mg_err load_open(struct mg_ledger *ledger)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(ledger->db, "SELECT id, detail FROM open_exchanges", &stmt));
    mg_err err;
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        struct entry *entry = new_entry(ledger, mg_stmt_text(stmt, 0));
        err = mg_buf_put(&entry->frames, mg_stmt_blob(stmt, 1));
        entry->committed = entry->frames.len;
        entry->stored = true;
        if (err != MG_OK)
            break;
    }
    mg_stmt_free(stmt);
    return err;
}

static mg_err load_last(struct mg_ledger *ledger)
{
    struct mg_stmt *stmt;
    bool row = false;
    MG_TRY(mg_db_prepare(ledger->db, "SELECT max(at_us) FROM exchanges", &stmt));
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK && row)
        ledger->last_at_us = ledger->committed_at_us =
            MG_MAX(ledger->committed_at_us, (uint64_t)mg_stmt_int(stmt, 0));
    mg_stmt_free(stmt);
    return err;
}

/* Another file may know nothing of what is open. */
static void keep_all(struct mg_ledger *ledger)
{
    size_t at = 0;
    mg_view id;
    void *value;
    while (mg_map_next(&ledger->open, &at, &id, &value)) {
        struct entry *entry = value;
        if (mg_list_empty(&entry->unstored))
            mg_list_push_back(&ledger->unstored, &entry->unstored);
    }
}

static mg_err on_open(void *arg, struct mg_db *db)
{
    struct mg_ledger *ledger = arg;
    ledger->db = db;
    bool again = ledger->opened;
    ledger->opened = true;
    MG_TRY(mg_bulk_open(
        &ledger->rows, db, "exchanges",
        "at_us, start_us, id, project, workflow, key_id, path, session, provider, model, tried, "
        "status, class, flags, attempts, generation, duration_us, overhead_us, ttft_us, "
        "input_tokens, output_tokens, waited_us, cost_microusd, detail"));
    MG_TRY(mg_db_prepare(
        db,
        "INSERT INTO open_exchanges (id, detail) VALUES (?, ?) "
        "ON CONFLICT (id) DO UPDATE SET detail = excluded.detail",
        &ledger->keep));
    MG_TRY(mg_db_prepare(db, "DELETE FROM open_exchanges WHERE id = ?", &ledger->drop));
    MG_TRY(mg_key_use_open(&ledger->key_use, db));
    MG_TRY(load_last(ledger));
    if (!again)
        return load_open(ledger);
    keep_all(ledger);
    return MG_OK;
}

static void on_close(void *arg)
{
    struct mg_ledger *ledger = arg;
    mg_bulk_close(&ledger->rows);
    mg_stmt_free(ledger->keep);
    mg_stmt_free(ledger->drop);
    mg_key_use_close(&ledger->key_use);
    ledger->keep = ledger->drop = NULL;
    ledger->db = NULL;
}

/* ---- what a dead process left: ends are made up for attempts and exchanges that have none */

static mg_err settle_interrupted(struct entry *entry, const char *id,
                                 const struct mg_attempt_record *started)
{
    static const char words[] = "the gateway was interrupted";
    char room[MG_RECORD_SETTLED_MAX];
    struct mg_timeline front = {.id = ""};
    struct mg_attempt_record end = {
        .number = started->number,
        .class_ = MG_CLASS_cancelled,
        .action = MG_ACTION_fail,
        .error = mg_view_of(words, sizeof words - 1),
        .usage.input_tokens = started->usage.input_tokens,
        .priced = started->priced,
        .own_price = started->own_price,
        .cost_picousd = started->cost_picousd,
        .cost_microusd = mg_microusd(started->cost_picousd),
        .redialed = started->redialed,
    };
    memcpy(front.id, id, sizeof front.id);
    return add_frame(entry, MG_JOURNAL_SETTLED,
                     mg_view_of(room, mg_record_encode_settled(room, &front, &end, true)));
}

static mg_err end_interrupted(struct entry *entry, const struct mg_timeline *known)
{
    char room[MG_RECORD_EXCHANGE_MAX];
    struct mg_timeline end = {
        .start_wall_us = known->start_wall_us,
        .project = known->project,
        .workflow = known->workflow,
        .key_id = known->key_id,
        .session = known->session,
        .metadata = known->metadata,
        .generation = known->generation,
        .error_code = MG_VIEW("interrupted"),
        .class_ = MG_CLASS_cancelled,
        .attempt_count = known->attempt_count,
        .uncharged = known->charges_all ? 0 : UINT64_MAX,
    };
    memcpy(end.id, known->id, sizeof end.id);
    return add_frame(entry, MG_JOURNAL_EXCHANGE,
                     mg_view_of(room, mg_record_encode_exchange(room, &end, true)));
}

static mg_err interrupt_entry(struct mg_ledger *ledger, struct entry *entry)
{
    struct mg_timeline *known = ledger->scratch;
    char copy[DETAIL_BYTES];
    mg_view frames = mg_buf_view(&entry->frames);
    if (frames.len > 0)
        memcpy(copy, frames.ptr, frames.len);
    touch(ledger, entry);
    entry->interrupted = true;
    want_row(ledger, entry, UINT64_MAX);
    if (mg_ledger_decode(mg_view_of(copy, frames.len), known) != MG_OK)
        return MG_OK;

    for (unsigned i = 0; i < known->attempt_count; i++) {
        struct mg_attempt_record *attempt = &known->attempts[i];
        if (attempt->end_us > 0 || attempt->class_ != MG_CLASS_none || attempt->status > 0)
            continue;
        MG_TRY(settle_interrupted(entry, known->id, attempt));
    }
    return end_interrupted(entry, known);
}

static mg_err on_interrupt(void *arg)
{
    struct mg_ledger *ledger = arg;
    size_t at = 0;
    mg_view id;
    void *entry;
    while (mg_map_next(&ledger->open, &at, &id, &entry))
        if (!((struct entry *)entry)->finished)
            MG_TRY(interrupt_entry(ledger, entry));
    return MG_OK;
}

struct mg_sink mg_ledger_sink(struct mg_ledger *ledger)
{
    return (struct mg_sink){
        .arg = ledger,
        .open = on_open,
        .record = on_record,
        .interrupt = on_interrupt,
        .flush = on_flush,
        .checkpoint = on_checkpoint,
        .commit = on_commit,
        .rollback = on_rollback,
        .close = on_close,
    };
}

/* ---- frames to a timeline */

/* Cuts the next frame off *rest; false at the end. */
static bool next_frame(mg_view *rest, enum mg_journal_type *out_type, mg_view *out_payload,
                       bool *out_bad)
{
    if (rest->len == 0)
        return false;
    const unsigned char *front = (const unsigned char *)rest->ptr;
    size_t len = rest->len < FRAME ? SIZE_MAX : (size_t)front[1] | (size_t)front[2] << 8;
    if (len > rest->len - MG_MIN(rest->len, (size_t)FRAME)) {
        *out_bad = true;
        return false;
    }
    *out_type = (enum mg_journal_type)front[0];
    *out_payload = mg_view_head(mg_view_skip(*rest, FRAME), len);
    *rest = mg_view_skip(*rest, FRAME + len);
    return true;
}

static struct mg_attempt_record *attempt_of(struct mg_timeline *timeline, uint16_t number)
{
    if (number == 0 || number > MG_MAX_ATTEMPTS)
        return NULL;
    while (timeline->attempt_count < number)
        timeline->attempts[timeline->attempt_count++] = (struct mg_attempt_record){0};
    return &timeline->attempts[number - 1];
}

static mg_err merge_started(struct mg_timeline *timeline, mg_view payload)
{
    struct mg_started started;
    MG_TRY(mg_record_decode_started(payload, &started));
    struct mg_attempt_record *attempt = attempt_of(timeline, started.number);
    if (!attempt)
        return MG_E_PROTOCOL;
    attempt->number = started.number;
    attempt->entry = started.entry;
    attempt->reason = started.reason;
    attempt->start_us = started.start_us;
    attempt->target = started.target;
    attempt->provider = started.provider;
    attempt->model = started.model;
    attempt->credential = started.credential;
    attempt->arm = started.arm;
    attempt->dialect = started.dialect;
    attempt->vendor = started.vendor;
    attempt->usage.input_tokens = started.input_estimate;
    attempt->priced = started.priced;
    attempt->own_price = started.own_price;
    attempt->cost_picousd = started.cost_picousd;
    if (timeline->start_wall_us > 0)
        return MG_OK;

    /* no exchange record: what an attempt knows of it must do */
    memcpy(timeline->id, started.id, sizeof timeline->id);
    timeline->start_wall_us = started.exchange_wall_us;
    timeline->generation = started.generation;
    timeline->project = started.project;
    timeline->workflow = started.workflow;
    timeline->key_id = started.key_id;
    timeline->session = started.session;
    timeline->metadata = started.metadata;
    timeline->charges_all = started.charged;
    return MG_OK;
}

static mg_err merge_redialed(struct mg_timeline *timeline, mg_view payload)
{
    uint16_t number;
    MG_TRY(mg_record_decode_redialed(payload, &number));
    struct mg_attempt_record *attempt = attempt_of(timeline, number);
    if (!attempt)
        return MG_E_PROTOCOL;
    attempt->redialed = true;
    return MG_OK;
}

static mg_err merge_settled(struct mg_timeline *timeline, mg_view payload)
{
    struct mg_attempt_record end;
    char id[40];
    MG_TRY(mg_record_decode_settled(payload, id, &end));
    struct mg_attempt_record *attempt = attempt_of(timeline, end.number);
    if (!attempt)
        return MG_E_PROTOCOL;
    end.entry = attempt->entry;
    end.reason = attempt->reason;
    end.start_us = attempt->start_us;
    end.target = attempt->target;
    end.provider = attempt->provider;
    end.model = attempt->model;
    end.credential = attempt->credential;
    end.arm = attempt->arm;
    end.dialect = attempt->dialect;
    end.vendor = attempt->vendor;
    *attempt = end;
    return MG_OK;
}

mg_err mg_ledger_decode(mg_view detail, struct mg_timeline *out_timeline)
{
    enum mg_journal_type type;
    mg_view rest = detail, payload;
    bool bad = false, whole = false;
    while (next_frame(&rest, &type, &payload, &bad)) {
        if (type != MG_JOURNAL_EXCHANGE)
            continue;
        MG_TRY(mg_record_decode_exchange(payload, out_timeline));
        whole = true;
    }
    if (!whole)
        memset(out_timeline, 0, sizeof *out_timeline);

    rest = detail;
    while (next_frame(&rest, &type, &payload, &bad)) {
        if (type == MG_JOURNAL_STARTED)
            MG_TRY(merge_started(out_timeline, payload));
        else if (type == MG_JOURNAL_REDIALED)
            MG_TRY(merge_redialed(out_timeline, payload));
        else if (type == MG_JOURNAL_SETTLED)
            MG_TRY(merge_settled(out_timeline, payload));
    }
    return bad ? MG_E_PROTOCOL : MG_OK;
}

/* ---- a timeline to a row */

/* By why its attempts were made. */
static const int reason_flags[MG_REASON_COUNT] = {
    [MG_REASON_retry] = MG_ROW_REPEATED,
    [MG_REASON_fallback] = MG_ROW_FELL_OVER,
    [MG_REASON_hedge] = MG_ROW_HEDGED,
    [MG_REASON_rescue] = MG_ROW_RESCUED,
};

static int flags_of(const struct mg_timeline *timeline, bool interrupted)
{
    int flags = (timeline->stream ? MG_ROW_STREAM : 0) | (timeline->clean ? MG_ROW_CLEAN : 0) |
                (interrupted ? MG_ROW_INTERRUPTED : 0) | (timeline->offline ? MG_ROW_OFFLINE : 0);
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        flags |= reason_flags[timeline->attempts[i].reason];
    return flags;
}

static void put_figures(struct mg_bulk *row, const struct mg_timeline *timeline, const struct mg_totals *totals)
{
    mg_bulk_int(row, timeline->attempt_count);
    mg_bulk_int(row, timeline->generation);
    mg_bulk_int(row, (int64_t)totals->duration_us);
    mg_bulk_int(row, (int64_t)totals->overhead_us);
    if (totals->ttft_us > 0)
        mg_bulk_int(row, (int64_t)totals->ttft_us);
    else
        mg_bulk_null(row);
    mg_bulk_int(row, (int64_t)totals->usage.input_tokens);
    mg_bulk_int(row, (int64_t)totals->usage.output_tokens);
    mg_bulk_int(row, (int64_t)totals->waited_us);
    mg_bulk_int(row, (int64_t)totals->cost_microusd);
}

/* Rows are in the order of their times, which exports and pages go by: after a clock that was ahead they are booked later
 * than they ended until it caught up, and whoever makes bills of a period must know. */
static void tell_clock(struct mg_ledger *ledger, uint64_t ended_us)
{
    bool behind = ledger->last_at_us > ended_us + CLOCK_US;
    if (behind && ended_us >= ledger->clock_told_us + TELL_US)
        mg_log_error("clock.behind", "seconds=%llu the store has requests from later than now: usage of now is booked on their time until the clock is there",
                     (unsigned long long)((ledger->last_at_us - ended_us) / 1000000u));
    if (behind && ended_us >= ledger->clock_told_us + TELL_US)
        ledger->clock_told_us = ended_us;
}

/* What is put must live until the row was inserted: the entry does, and its frames. */
static mg_err insert_row(struct mg_ledger *ledger, const struct entry *entry,
                         const struct mg_timeline *timeline)
{
    struct mg_bulk *row = &ledger->rows;
    char *tried = ledger->tried[mg_bulk_place(row)];
    const struct mg_attempt_record *answer = mg_timeline_answer(timeline);
    struct mg_totals totals;
    mg_timeline_totals(timeline, &totals);
    uint64_t ended_us = timeline->start_wall_us + totals.duration_us;
    tell_clock(ledger, ended_us);
    ledger->last_at_us = MG_MAX(ended_us, ledger->last_at_us + 1);

    mg_bulk_int(row, (int64_t)ledger->last_at_us);
    mg_bulk_int(row, (int64_t)timeline->start_wall_us);
    mg_bulk_text(row, mg_view_cstr(entry->id));
    mg_bulk_text(row, timeline->project);
    mg_bulk_text(row, timeline->workflow);
    mg_bulk_text(row, timeline->key_id);
    mg_bulk_text(row, timeline->path);
    mg_bulk_text(row, timeline->session);
    mg_bulk_text(row, answer ? answer->provider : MG_VIEW_NONE);
    mg_bulk_text(row, answer ? answer->model : MG_VIEW_NONE);
    mg_bulk_text(row, mg_timeline_tried(timeline, tried));
    mg_bulk_int(row, timeline->status);
    mg_bulk_text(row, mg_view_cstr(mg_class_name(timeline->class_)));
    mg_bulk_int(row, flags_of(timeline, entry->interrupted) | (totals.usage.reported ? 0 : MG_ROW_ESTIMATED));
    put_figures(row, timeline, &totals);
    mg_bulk_blob(row, mg_buf_view(&entry->frames));
    MG_TRY(mg_bulk_end(row));
    return mg_key_use_note(&ledger->key_use, timeline->key_id, ended_us);
}

static mg_err write_row(struct mg_ledger *ledger, struct entry *entry, size_t rows_left)
{
    mg_bulk_begin(&ledger->rows, rows_left);
    if (mg_ledger_decode(mg_buf_view(&entry->frames), ledger->scratch) != MG_OK) {
        mg_log_error("exchange.unreadable", "id=%s", entry->id); /* it has a row all the same */
        memset(ledger->scratch, 0, sizeof *ledger->scratch);
    }
    MG_TRY(insert_row(ledger, entry, ledger->scratch));
    if (!entry->stored)
        return MG_OK;
    mg_stmt_bind_text(ledger->drop, 1, mg_view_cstr(entry->id));
    entry->stored = false;
    return mg_stmt_run(ledger->drop);
}

static int by_end(const void *a, const void *b)
{
    const struct entry *first = *(struct entry *const *)a, *second = *(struct entry *const *)b;
    return first->ended_us < second->ended_us ? -1 : first->ended_us > second->ended_us;
}

static mg_err on_flush(void *arg)
{
    struct mg_ledger *ledger = arg;
    if (ledger->ended_count > 1)
        qsort(ledger->ended, ledger->ended_count, sizeof ledger->ended[0], by_end);
    for (size_t i = 0; i < ledger->ended_count; i++)
        MG_TRY(write_row(ledger, ledger->ended[i], ledger->ended_count - i));
    return MG_OK;
}
