#include "meter/usage.h"

#include <inttypes.h>

#include "base/mem.h"
#include "http/json.h"
#include "meter/archive.h"
#include "meter/charge.h"
#include "meter/ledger.h"
#include "meter/operation.h"

/* What was repriced, by exchange: the rows of `repriced` in the order of the exchanges. */
struct later {
    struct mg_stmt *stmt;
    bool row;                          /* it stands on one */
};

struct reader {
    struct mg_db *db;
    struct mg_stmt *stmt;
    struct later later;
    struct mg_timeline *timeline;      /* owned */
    uint64_t left;                     /* exchanges that may still be told */
    uint64_t next_us;
    mg_usage_cb cb;
    void *arg;
};

/* ---- the costs of later */

static mg_err step_later(struct later *later)
{
    return mg_stmt_step(later->stmt, &later->row);
}

/* Puts what stands there for the exchange at at_us into its attempts; *out_repriced has their bits. */
static mg_err take_later(struct later *later, uint64_t at_us, struct mg_timeline *timeline, uint64_t *out_repriced)
{
    *out_repriced = 0;
    while (later->row && (uint64_t)mg_stmt_int(later->stmt, 0) < at_us)
        MG_TRY(step_later(later));
    while (later->row && (uint64_t)mg_stmt_int(later->stmt, 0) == at_us) {
        int64_t number = mg_stmt_int(later->stmt, 1);
        if (number > 0 && number <= timeline->attempt_count) {
            struct mg_attempt_record *attempt = &timeline->attempts[number - 1];
            attempt->priced = mg_stmt_int(later->stmt, 3) != 0;
            attempt->cost_picousd = (uint64_t)mg_stmt_int(later->stmt, 2);
            *out_repriced |= UINT64_C(1) << ((number - 1) & 63);
        }
        MG_TRY(step_later(later));
    }
    return MG_OK;
}

/* ---- the events of one exchange */

static mg_err tell_all(struct reader *reader, uint64_t at_us, bool interrupted, uint64_t repriced)
{
    const struct mg_timeline *timeline = reader->timeline;
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        const struct mg_attempt_record *attempt = &timeline->attempts[i];
        struct mg_usage_event event = {
            .exchange = timeline,
            .attempt = attempt,
            .at_us = at_us,
            .interrupted = interrupted && attempt->end_us == 0,
            .repriced = repriced >> (i & 63) & 1,
            .priced = attempt->priced,
            .cost_picousd = attempt->priced ? attempt->cost_picousd : 0,
        };
        if (attempt->number > 0)
            MG_TRY(reader->cb(reader->arg, &event));
    }
    return MG_OK;
}

static mg_err tell_row(void *arg, const struct mg_block_row *row)
{
    struct reader *reader = arg;
    uint64_t repriced;
    if (reader->left == 0)
        return MG_E_BUSY; /* enough */
    MG_TRY(mg_ledger_decode(row->detail, reader->timeline));
    MG_TRY(take_later(&reader->later, row->at_us, reader->timeline, &repriced));
    MG_TRY(tell_all(reader, row->at_us, row->flags & MG_ROW_INTERRUPTED, repriced));
    reader->next_us = row->at_us + 1;
    reader->left--;
    return MG_OK;
}

/* What is packed comes first. The statement stands on its first row before the blocks are looked for: a row that is packed
 * meanwhile is in both, and only the block's counts. */
static mg_err tell_packed(struct reader *reader, const struct mg_usage_range *range, uint64_t *out_last)
{
    struct mg_archive *archive = mg_archive_new(reader->db);
    mg_err err = mg_archive_refresh(archive, NULL);
    if (err == MG_OK)
        err = mg_archive_each(archive, range->from_us, range->to_us ? range->to_us : UINT64_MAX, tell_row, reader, out_last);
    mg_archive_free(archive);
    return err == MG_E_BUSY && reader->left == 0 ? MG_OK : err;
}

static mg_err tell_open(struct reader *reader, uint64_t last_packed, bool row)
{
    while (row && reader->left > 0) {
        struct mg_block_row open = {
            .at_us = (uint64_t)mg_stmt_int(reader->stmt, 0),
            .flags = mg_stmt_int(reader->stmt, 1),
            .detail = mg_stmt_blob(reader->stmt, 2),
        };
        if (open.at_us > last_packed)
            MG_TRY(tell_row(reader, &open));
        MG_TRY(mg_stmt_step(reader->stmt, &row));
    }
    return MG_OK;
}

static void bind_range(struct mg_stmt *stmt, const struct mg_usage_range *range)
{
    uint64_t to_us = range->to_us ? MG_MIN(range->to_us, (uint64_t)INT64_MAX) : (uint64_t)INT64_MAX;
    mg_stmt_bind_int(stmt, 1, (int64_t)MG_MIN(range->from_us, (uint64_t)INT64_MAX));
    mg_stmt_bind_int(stmt, 2, (int64_t)to_us);
}

static mg_err open_reader(struct reader *reader, const struct mg_usage_range *range)
{
    MG_TRY(mg_db_prepare(reader->db,
                         "SELECT at_us, flags, detail FROM exchanges WHERE at_us >= ? AND at_us < ? ORDER BY at_us",
                         &reader->stmt));
    MG_TRY(mg_db_prepare(reader->db,
                         "SELECT at_us, number, cost_picousd, priced FROM repriced WHERE at_us >= ? AND at_us < ? "
                         "ORDER BY at_us, number",
                         &reader->later.stmt));
    bind_range(reader->stmt, range);
    bind_range(reader->later.stmt, range);
    return step_later(&reader->later);
}

mg_err mg_usage_each(struct mg_db *db, const struct mg_usage_range *range, mg_usage_cb cb, void *arg, uint64_t *out_next)
{
    struct reader reader = {.db = db,
                            .cb = cb,
                            .arg = arg,
                            .timeline = mg_new(struct mg_timeline),
                            .left = range->max_exchanges ? range->max_exchanges : UINT64_MAX,
                            .next_us = range->from_us};
    uint64_t last_packed = 0;
    bool row = false;
    mg_err err = open_reader(&reader, range);
    if (err == MG_OK)
        err = mg_stmt_step(reader.stmt, &row);
    if (err == MG_OK)
        err = tell_packed(&reader, range, &last_packed);
    if (err == MG_OK)
        err = tell_open(&reader, last_packed, row);
    mg_stmt_free(reader.stmt);
    mg_stmt_free(reader.later.stmt);
    mg_free(reader.timeline);
    if (err == MG_OK)
        *out_next = reader.next_us;
    return err;
}

/* ---- JSON */

static mg_err put_text(struct mg_buf *out, const char *name, mg_view text)
{
    if (text.len == 0)
        return mg_buf_putf(out, ",\"%s\":null", name);
    MG_TRY(mg_buf_putf(out, ",\"%s\":\"", name));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putc(out, '"');
}

static mg_err put_number(struct mg_buf *out, const char *name, uint64_t value)
{
    return mg_buf_putf(out, ",\"%s\":%" PRIu64, name, value);
}

static mg_err put_bool(struct mg_buf *out, const char *name, bool value)
{
    return mg_buf_putf(out, ",\"%s\":%s", name, value ? "true" : "false");
}

static mg_err put_who(struct mg_buf *out, const struct mg_timeline *exchange, const struct mg_attempt_record *attempt)
{
    const struct {
        const char *name;
        mg_view text;
    } texts[] = {
        {"project", exchange->project},   {"key", exchange->key_id},
        {"workflow", exchange->workflow}, {"session", exchange->session},
        {"arm", attempt->arm},            {"provider", attempt->provider},
        {"model", attempt->model},        {"model_served", attempt->served.len ? attempt->served : attempt->model},
        {"dialect", attempt->dialect},    {"tier", attempt->tier},
        {"operation", mg_operation_of(exchange->path)},
        {"credential", attempt->credential},
    };
    for (size_t i = 0; i < MG_COUNT(texts); i++)
        MG_TRY(put_text(out, texts[i].name, texts[i].text));
    return MG_OK;
}

static const char *source_of(const struct mg_usage *usage)
{
    if (usage->reported)
        return "reported";
    return usage->input_tokens + usage->output_tokens > 0 ? "estimated" : "none";
}

/* Only in events of what is not counted in tokens. */
static mg_err put_units(struct mg_buf *out, const struct mg_usage *usage)
{
    MG_TRY(put_number(out, "images", usage->images));
    MG_TRY(put_number(out, "audio_ms", usage->audio_ms));
    MG_TRY(put_number(out, "characters", usage->characters));
    return put_number(out, "searches", usage->searches);
}

static mg_err put_tokens(struct mg_buf *out, const struct mg_usage *usage)
{
    const struct {
        const char *name;
        uint64_t count;
    } kinds[] = {
        {"input_tokens", usage->input_tokens},
        {"output_tokens", usage->output_tokens},
        {"cached_read_tokens", usage->cached_read_tokens},
        {"cached_write_tokens", usage->cached_write_tokens},
        {"reasoning_tokens", usage->reasoning_tokens},
        {"input_audio_tokens", usage->input_audio_tokens},
        {"output_audio_tokens", usage->output_audio_tokens},
    };
    MG_TRY(mg_buf_putf(out, ",\"tokens\":\"%s\"", source_of(usage)));
    for (size_t i = 0; i < MG_COUNT(kinds); i++)
        MG_TRY(put_number(out, kinds[i].name, kinds[i].count));
    return mg_usage_units(usage) ? put_units(out, usage) : MG_OK;
}

static mg_err put_latency(struct mg_buf *out, const struct mg_attempt_record *attempt)
{
    MG_TRY(mg_buf_putf(out, ",\"latency_us\":{\"waited\":%" PRIu64, attempt->waited_us));
    for (int i = 0; i < MG_MARK_COUNT; i++)
        if (attempt->mark_us[i] > 0)
            MG_TRY(put_number(out, mg_mark_name((enum mg_mark)i), attempt->mark_us[i]));
    MG_TRY(put_number(out, "total", attempt->end_us));
    return mg_buf_putc(out, '}');
}

static mg_err put_cost(struct mg_buf *out, const struct mg_usage_event *event)
{
    if (!event->priced)
        return mg_buf_put(out, MG_VIEW(",\"cost_picousd\":null,\"price\":null"));
    MG_TRY(put_number(out, "cost_picousd", event->cost_picousd));
    return put_text(out, "price", event->attempt->own_price && !event->repriced ? MG_VIEW("target") : MG_VIEW("catalogue"));
}

/* As the client sent it; line breaks, which can only stand between its tokens, would break a line of events. */
static mg_err put_metadata(struct mg_buf *out, mg_view metadata)
{
    if (metadata.len == 0)
        return mg_buf_put(out, MG_VIEW("null"));
    if (!mg_json_can_be_part(metadata, MG_USAGE_METADATA_DEPTH)) {
        MG_TRY(mg_buf_putc(out, '"'));
        MG_TRY(mg_buf_put_json(out, metadata));
        return mg_buf_putc(out, '"');
    }
    while (metadata.len > 0) {
        size_t n = mg_view_find(metadata, "\r\n");
        MG_TRY(mg_buf_put(out, mg_view_head(metadata, n)));
        if (n < metadata.len)
            MG_TRY(mg_buf_putc(out, ' '));
        metadata = mg_view_skip(metadata, n + 1);
    }
    return MG_OK;
}

mg_err mg_usage_event_json(const struct mg_usage_event *event, struct mg_buf *out)
{
    const struct mg_timeline *exchange = event->exchange;
    const struct mg_attempt_record *attempt = event->attempt;
    MG_TRY(mg_buf_putf(out, "{\"version\":%d,\"id\":\"%s/%u\",\"exchange\":\"%s\",\"attempt\":%u", MG_USAGE_VERSION,
                       exchange->id, attempt->number, exchange->id, attempt->number));
    MG_TRY(put_number(out, "at_us", event->at_us));
    MG_TRY(put_number(out, "start_us", exchange->start_wall_us + attempt->start_us));
    MG_TRY(put_who(out, exchange, attempt));
    MG_TRY(put_text(out, "reason", mg_view_cstr(mg_reason_name(attempt->reason))));
    MG_TRY(put_text(out, "class", mg_view_cstr(mg_class_name(attempt->class_))));
    MG_TRY(put_number(out, "status", attempt->status));
    MG_TRY(put_bool(out, "stream", exchange->stream));
    MG_TRY(put_bool(out, "interrupted", event->interrupted));
    MG_TRY(put_bool(out, "redialed", attempt->redialed));
    MG_TRY(put_bool(out, "served", mg_charge_served(exchange, attempt)));
    MG_TRY(put_bool(out, "charged", mg_charge_is(exchange, attempt)));
    MG_TRY(put_tokens(out, &attempt->usage));
    MG_TRY(put_cost(out, event));
    MG_TRY(put_bool(out, "repriced", event->repriced));
    MG_TRY(put_number(out, "bytes_sent", attempt->bytes_sent));
    MG_TRY(put_number(out, "bytes_received", attempt->bytes_received));
    MG_TRY(put_latency(out, attempt));
    MG_TRY(mg_buf_put(out, MG_VIEW(",\"metadata\":")));
    MG_TRY(put_metadata(out, exchange->metadata));
    return mg_buf_putc(out, '}');
}
