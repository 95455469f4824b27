#include "watch/exports.h"

#include "meter/archive.h"
#include "watch/json_out.h"
#include "watch/prom_out.h"

/* ---- JSON */

struct cursor {
    mg_view name;
    uint64_t next_us, waiting, since_us;
};

static const struct mg_export_state *state_of(const struct mg_export_state *states, int count, mg_view name)
{
    for (int i = 0; i < count; i++)
        if (mg_view_eq(name, mg_view_cstr(states[i].name)))
            return &states[i];
    return NULL;
}

static void put_state(struct mg_json_out *out, const struct mg_export_state *state)
{
    mg_json_out_number(out, "events", state->events);
    mg_json_out_number(out, "batches", state->batches);
    mg_json_out_number(out, "failures", state->failures);
    mg_json_out_number(out, "failed_in_row", state->failed_in_row);
    mg_json_out_number(out, "failing_since_us", state->failing_since_us);
    mg_json_out_number(out, "taken_us", state->taken_us);
    mg_json_out_text(out, "error", mg_view_cstr(state->error));
}

static void put_export(struct mg_json_out *out, const struct cursor *cursor, const struct mg_export_state *state)
{
    mg_json_out_open(out, NULL, '{');
    mg_json_out_text(out, "name", cursor->name);
    mg_json_out_text(out, "to", state ? mg_view_cstr(state->to) : MG_VIEW_NONE);
    mg_json_out_bool(out, "running", state != NULL);
    mg_json_out_number(out, "next_us", cursor->next_us);
    mg_json_out_number(out, "waiting", cursor->waiting);
    mg_json_out_number(out, "waiting_since_us", cursor->since_us);
    if (state)
        put_state(out, state);
    mg_json_out_close(out, '}');
}

/* What is packed waits too, when a sink is far behind. */
static mg_err count_packed(struct mg_archive *archive, struct cursor *cursor)
{
    for (size_t i = mg_archive_find(archive, cursor->next_us); i < mg_archive_count(archive) && cursor->waiting < MG_EXPORTS_COUNTED; i++) {
        struct mg_block *block = mg_archive_block(archive, i);
        const struct mg_column *times;
        if (!block || mg_block_last_us(block) < cursor->next_us)
            continue;
        MG_TRY(mg_block_column(block, MG_FIELD_at_us, &times));
        for (uint32_t row = 0; row < times->rows; row++) {
            uint64_t at_us = (uint64_t)mg_column_number(times, row);
            cursor->waiting += at_us >= cursor->next_us;
            if (at_us >= cursor->next_us && (cursor->since_us == 0 || at_us < cursor->since_us))
                cursor->since_us = at_us;
        }
        mg_block_let_go(block);
    }
    cursor->waiting = MG_MIN(cursor->waiting, (uint64_t)MG_EXPORTS_COUNTED);
    return MG_OK;
}

static mg_err count_waiting(struct mg_stmt *stmt, struct mg_archive *archive, struct cursor *cursor)
{
    bool row = false;
    mg_stmt_reset(stmt);
    mg_stmt_bind_int(stmt, 1, (int64_t)cursor->next_us);
    mg_stmt_bind_int(stmt, 2, MG_EXPORTS_COUNTED);
    MG_TRY(mg_stmt_step(stmt, &row));
    cursor->waiting = row ? (uint64_t)mg_stmt_int(stmt, 0) : 0;
    cursor->since_us = row ? (uint64_t)mg_stmt_int(stmt, 1) : 0;
    return count_packed(archive, cursor);
}

static mg_err put_all(struct mg_stmt *cursors, struct mg_stmt *waiting, struct mg_archive *archive, const struct mg_export_state *states,
                      int count, struct mg_json_out *out)
{
    bool row = false;
    mg_err err;
    while ((err = mg_stmt_step(cursors, &row)) == MG_OK && row) {
        struct cursor cursor = {.name = mg_stmt_text(cursors, 0), .next_us = (uint64_t)mg_stmt_int(cursors, 1)};
        MG_TRY(count_waiting(waiting, archive, &cursor));
        put_export(out, &cursor, state_of(states, count, cursor.name));
    }
    return err;
}

mg_err mg_exports_json(struct mg_db *db, const struct mg_export_state *states, int count, struct mg_buf *buf)
{
    struct mg_json_out out = {.buf = buf};
    struct mg_stmt *cursors = NULL, *waiting = NULL;
    struct mg_archive *archive = mg_archive_new(db);
    mg_err err = mg_archive_refresh(archive, NULL);
    if (err == MG_OK)
        err = mg_db_prepare(db, "SELECT name, next_us FROM exports ORDER BY name", &cursors);
    if (err == MG_OK)
        err = mg_db_prepare(db, "SELECT count(*), min(at_us) FROM (SELECT at_us FROM exchanges WHERE at_us >= ? LIMIT ?) AS later",
                            &waiting);
    mg_json_out_open(&out, NULL, '{');
    mg_json_out_open(&out, "exports", '[');
    if (err == MG_OK)
        err = put_all(cursors, waiting, archive, states, count, &out);
    mg_json_out_close(&out, ']');
    mg_json_out_close(&out, '}');
    mg_stmt_free(cursors);
    mg_stmt_free(waiting);
    mg_archive_free(archive);
    return err == MG_OK ? mg_json_out_end(&out) : err;
}

/* ---- Prometheus */

static double events_of(const struct mg_export_state *state, uint64_t now_us)
{
    (void)now_us;
    return (double)state->events;
}

static double failures_of(const struct mg_export_state *state, uint64_t now_us)
{
    (void)now_us;
    return (double)state->failures;
}

static double failing_of(const struct mg_export_state *state, uint64_t now_us)
{
    (void)now_us;
    return state->failed_in_row > 0;
}

static double lag_of(const struct mg_export_state *state, uint64_t now_us)
{
    return state->waiting_since_us && now_us > state->waiting_since_us ? (double)(now_us - state->waiting_since_us) / 1e6 : 0;
}

static const struct {
    const char *name, *type, *help;
    double (*figure)(const struct mg_export_state *state, uint64_t now_us);
} metrics[] = {
    {"export_events_total", "counter", "Usage events that a sink took", events_of},
    {"export_failures_total", "counter", "Batches of usage events that a sink did not take; they come again", failures_of},
    {"export_failing", "gauge", "1 while a sink did not take the last batch it was shown", failing_of},
    {"export_lag_seconds", "gauge", "Age of the oldest usage event that a sink was shown and did not take yet", lag_of},
};

mg_err mg_exports_metrics(const struct mg_export_state *states, int count, uint64_t now_us, struct mg_buf *buf)
{
    struct mg_prom_out out = {.buf = buf};
    char room[2 * MG_EXPORT_NAME];
    for (size_t m = 0; m < MG_COUNT(metrics); m++) {
        mg_prom_head(&out, metrics[m].name, metrics[m].type, metrics[m].help);
        for (int i = 0; i < count; i++)
            mg_prom_print(&out, "moongate_%s{sink=\"%s\"} %.15g\n", metrics[m].name,
                          mg_prom_escape(room, sizeof room, states[i].name), metrics[m].figure(&states[i], now_us));
    }
    return out.err;
}
