/* Events are added up as they are read: the values of an event, each behind its length, are the key of its row. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/json.h"
#include "meter/charge.h"
#include "meter/usage.h"

enum { VALUE_BYTES = 160, FIRST_ROWS = 64 };

struct row {
    mg_view values[MG_USAGE_DIMENSIONS];         /* in the arena */
    struct mg_usage_sums sums;
};

struct mg_usage_report {
    struct mg_arena arena;
    struct mg_map index;               /* → struct row */
    struct row **rows;                 /* owned array; the rows are in the arena */
    size_t count, room;
    struct mg_usage_sums total;
    const struct mg_usage_query *query;          /* borrowed while it is made */
    int by_count;
    struct mg_json *metadata;          /* of the exchange at metadata_at_us; owned */
    uint64_t metadata_at_us;
    char scratch[MG_USAGE_DIMENSIONS][VALUE_BYTES];
};

/* ---- dimensions */

static const char *const names[] = {
#define X(name) #name,
    MG_USAGE_DIMENSION_LIST(X)
#undef X
};

bool mg_usage_by_find(mg_view name, struct mg_usage_by *out_by)
{
    static const mg_view prefix = {"metadata.", 9};
    struct mg_usage_by by = {.dimension = MG_USAGE_metadata};
    if (mg_view_starts(name, prefix)) {
        name = mg_view_skip(name, prefix.len);
        if (name.len == 0 || name.len >= sizeof by.field)
            return false;
        memcpy(by.field, name.ptr, name.len);
        *out_by = by;
        return true;
    }
    for (int i = 0; i < MG_USAGE_metadata; i++) {
        if (!mg_view_eq(name, mg_view_cstr(names[i])))
            continue;
        by.dimension = (enum mg_usage_dimension)i;
        *out_by = by;
        return true;
    }
    return false;
}

mg_err mg_usage_by_name(const struct mg_usage_by *by, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, mg_view_cstr(names[by->dimension])));
    if (by->dimension != MG_USAGE_metadata)
        return MG_OK;
    MG_TRY(mg_buf_putc(out, '.'));
    return mg_buf_put(out, mg_view_cstr(by->field));
}

static mg_view time_value(uint64_t at_us, const char *format, char room[VALUE_BYTES])
{
    struct tm tm;
    time_t second = (time_t)(at_us / 1000000u);
    gmtime_r(&second, &tm);
    return mg_view_of(room, strftime(room, VALUE_BYTES, format, &tm));
}

/* Strings as they are, numbers and truth as they are written; what is a container or absent has no value. */
static mg_view metadata_value(struct mg_usage_report *report, const struct mg_usage_event *event, const char *field,
                              char room[VALUE_BYTES])
{
    struct mg_buf text;
    if (report->metadata_at_us != event->at_us) {
        mg_json_free(report->metadata);
        report->metadata = NULL;
        report->metadata_at_us = event->at_us;
        if (event->exchange->metadata.len > 0 &&
            mg_json_parse(event->exchange->metadata, MG_MAX_METADATA_BYTES, &report->metadata, NULL) != MG_OK)
            report->metadata = NULL;
    }
    const struct mg_json *value = mg_json_get(report->metadata, field);
    if (mg_json_is(value, MG_JSON_STRING))
        return mg_view_head(mg_json_string(value), VALUE_BYTES);
    if (!value || mg_json_is(value, MG_JSON_OBJECT) || mg_json_is(value, MG_JSON_ARRAY) || mg_json_is(value, MG_JSON_NULL))
        return MG_VIEW_NONE;
    mg_buf_init(&text, VALUE_BYTES);
    size_t len = mg_json_print(value, &text) == MG_OK ? text.len : 0;
    if (len > 0)
        memcpy(room, mg_buf_view(&text).ptr, len);
    mg_buf_fini(&text);
    return mg_view_of(room, len);
}

static mg_view value_of(struct mg_usage_report *report, const struct mg_usage_event *event, const struct mg_usage_by *by,
                        char room[VALUE_BYTES])
{
    const struct mg_timeline *exchange = event->exchange;
    const struct mg_attempt_record *attempt = event->attempt;
    switch (by->dimension) {
    case MG_USAGE_project: return exchange->project;
    case MG_USAGE_key: return exchange->key_id;
    case MG_USAGE_workflow: return exchange->workflow;
    case MG_USAGE_session: return exchange->session;
    case MG_USAGE_arm: return attempt->arm;
    case MG_USAGE_provider: return attempt->provider;
    case MG_USAGE_model: return attempt->model;
    case MG_USAGE_served: return attempt->served.len ? attempt->served : attempt->model;
    case MG_USAGE_dialect: return attempt->dialect;
    case MG_USAGE_tier: return attempt->tier;
    case MG_USAGE_credential: return attempt->credential;
    case MG_USAGE_class: return mg_view_cstr(mg_class_name(attempt->class_));
    case MG_USAGE_reason: return mg_view_cstr(mg_reason_name(attempt->reason));
    case MG_USAGE_charged: return mg_charge_is(exchange, attempt) ? MG_VIEW("true") : MG_VIEW("false");
    case MG_USAGE_hour: return time_value(event->at_us, "%Y-%m-%dT%H", room);
    case MG_USAGE_day: return time_value(event->at_us, "%Y-%m-%d", room);
    case MG_USAGE_month: return time_value(event->at_us, "%Y-%m", room);
    case MG_USAGE_metadata: return metadata_value(report, event, by->field, room);
    case MG_USAGE_DIMENSION_COUNT: break;
    }
    return MG_VIEW_NONE;
}

/* ---- adding up */

static void add_sums(struct mg_usage_sums *sums, const struct mg_usage_event *event)
{
    const struct mg_usage *usage = &event->attempt->usage;
    uint64_t tokens = usage->input_tokens + usage->output_tokens;
    bool estimated = !usage->reported && tokens > 0;
    sums->requests += sums->last_at_us != event->at_us;
    sums->last_at_us = event->at_us;
    sums->attempts++;
    sums->estimated += estimated;
    sums->unpriced += !event->priced && (tokens > 0 || mg_usage_units(usage) > 0);
    sums->interrupted += event->interrupted;
    sums->input_tokens += usage->input_tokens;
    sums->output_tokens += usage->output_tokens;
    sums->cached_read_tokens += usage->cached_read_tokens;
    sums->cached_write_tokens += usage->cached_write_tokens;
    sums->reasoning_tokens += usage->reasoning_tokens;
    sums->input_audio_tokens += usage->input_audio_tokens;
    sums->output_audio_tokens += usage->output_audio_tokens;
    sums->images += usage->images;
    sums->audio_ms += usage->audio_ms;
    sums->characters += usage->characters;
    sums->searches += usage->searches;
    sums->estimated_tokens += estimated ? tokens : 0;
    sums->bytes_sent += event->attempt->bytes_sent;
    sums->bytes_received += event->attempt->bytes_received;
    sums->cost_picousd += event->cost_picousd;
    if (mg_charge_is(event->exchange, event->attempt))
        sums->charged_picousd += event->cost_picousd;
}

static bool is_wanted(struct mg_usage_report *report, const struct mg_usage_event *event)
{
    char room[VALUE_BYTES];
    for (int i = 0; i < report->query->filter_count; i++) {
        const struct mg_usage_filter *filter = &report->query->filters[i];
        if (!mg_view_eq(value_of(report, event, &filter->by, room), mg_view_cstr(filter->value)))
            return false;
    }
    return true;
}

static struct row *new_row(struct mg_usage_report *report, mg_view key, const mg_view *values)
{
    struct row *row = mg_arena_new(&report->arena, struct row);
    for (int i = 0; i < report->by_count; i++)
        row->values[i] = mg_arena_dup(&report->arena, values[i]);
    mg_map_put(&report->index, key, row);
    if (report->count == report->room) {
        report->room = MG_MAX((size_t)FIRST_ROWS, report->room * 2);
        report->rows = mg_realloc(report->rows, report->room * sizeof report->rows[0]);
    }
    report->rows[report->count++] = row;
    return row;
}

static struct row *row_of(struct mg_usage_report *report, const mg_view *values)
{
    char key[MG_USAGE_DIMENSIONS * (VALUE_BYTES + 1)];
    size_t len = 0;
    for (int i = 0; i < report->by_count; i++) {
        size_t bytes = MG_MIN(values[i].len, (size_t)VALUE_BYTES);
        key[len++] = (char)bytes;
        if (bytes > 0)
            memcpy(key + len, values[i].ptr, bytes);
        len += bytes;
    }
    struct row *row = mg_map_get(&report->index, mg_view_of(key, len));
    if (row)
        return row;
    return report->count < MG_USAGE_ROWS ? new_row(report, mg_view_of(key, len), values) : NULL;
}

static mg_err add_event(void *arg, const struct mg_usage_event *event)
{
    struct mg_usage_report *report = arg;
    mg_view values[MG_USAGE_DIMENSIONS];
    if (!is_wanted(report, event))
        return MG_OK;
    for (int i = 0; i < report->by_count; i++)
        values[i] = value_of(report, event, &report->query->by[i], report->scratch[i]);
    struct row *row = row_of(report, values);
    if (!row)
        return MG_E_TOO_LARGE;
    add_sums(&row->sums, event);
    add_sums(&report->total, event);
    return MG_OK;
}

static int compare_values(const void *a, const void *b)
{
    const struct row *first = *(struct row *const *)a, *second = *(struct row *const *)b;
    for (int i = 0; i < MG_USAGE_DIMENSIONS; i++) {
        mg_view one = first->values[i], two = second->values[i];
        size_t common = MG_MIN(one.len, two.len);
        int order = common > 0 ? memcmp(one.ptr, two.ptr, common) : 0;
        if (order == 0)
            order = one.len < two.len ? -1 : one.len > two.len;
        if (order != 0)
            return order;
    }
    return 0;
}

mg_err mg_usage_report_new(struct mg_db *db, const struct mg_usage_query *query, struct mg_usage_report **out_report)
{
    struct mg_usage_report *report = mg_new(struct mg_usage_report);
    uint64_t next;
    mg_arena_init(&report->arena, 16384);
    mg_map_init(&report->index);
    report->query = query;
    report->by_count = query->by_count;
    mg_err err = mg_usage_each(db, &query->range, add_event, report, &next);
    report->query = NULL;
    if (err != MG_OK) {
        mg_usage_report_free(report);
        return err;
    }
    if (report->count > 1)
        qsort(report->rows, report->count, sizeof report->rows[0], compare_values);
    *out_report = report;
    return MG_OK;
}

void mg_usage_report_free(struct mg_usage_report *report)
{
    if (!report)
        return;
    mg_json_free(report->metadata);
    mg_map_fini(&report->index);
    mg_free(report->rows);
    mg_arena_fini(&report->arena);
    mg_free(report);
}

size_t mg_usage_report_rows(const struct mg_usage_report *report)
{
    return report->count;
}

const struct mg_usage_sums *mg_usage_report_row(const struct mg_usage_report *report, size_t row,
                                                mg_view out_values[MG_USAGE_DIMENSIONS])
{
    for (int i = 0; i < report->by_count; i++)
        out_values[i] = report->rows[row]->values[i];
    return &report->rows[row]->sums;
}

const struct mg_usage_sums *mg_usage_report_total(const struct mg_usage_report *report)
{
    return &report->total;
}

const char *mg_usage_usd(char out[MG_USAGE_USD], mg_usage_money picousd)
{
    const uint64_t unit = UINT64_C(1000000000000);
    snprintf(out, MG_USAGE_USD, "%" PRIu64 ".%012" PRIu64, (uint64_t)(picousd / unit), (uint64_t)(picousd % unit));
    return out;
}
