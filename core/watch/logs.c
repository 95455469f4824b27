#include "watch/logs.h"

#include <stdio.h>

#include "base/mem.h"
#include "meter/ledger.h"
#include "watch/json_out.h"

#define COLUMNS                                                                                    \
    "at_us, start_us, id, project, workflow, key_id, path, session, provider, model, class, "      \
    "status, attempts, generation, "                                                               \
    "flags, duration_us, overhead_us, ttft_us, input_tokens, output_tokens, waited_us, "           \
    "cost_microusd"

enum { SQL_BYTES = 2048, PARAMETERS = 26, NEEDLE_BYTES = 132 };

/* A statement being put together: our fragments, their values bound in order. */
struct query {
    char sql[SQL_BYTES];
    size_t len;
    unsigned count;
    char provider[NEEDLE_BYTES], model[NEEDLE_BYTES]; /* as they stand in `tried` */
    struct {
        mg_view text; /* ptr NULL: the number */
        int64_t number;
    } values[PARAMETERS];
};

static void add(struct query *query, const char *fragment)
{
    size_t len = strlen(fragment);
    if (query->len + len >= sizeof query->sql)
        return; /* cannot be: the fragments are ours and fit */
    memcpy(query->sql + query->len, fragment, len + 1);
    query->len += len;
}

static void add_text(struct query *query, const char *fragment, const char *value)
{
    if (!value[0])
        return;
    add(query, fragment);
    query->values[query->count++].text = mg_view_cstr(value);
}

static void add_number(struct query *query, const char *fragment, uint64_t value)
{
    if (value == 0)
        return;
    add(query, fragment);
    query->values[query->count].text = MG_VIEW_NONE;
    query->values[query->count++].number = (int64_t)value;
}

static void add_either(struct query *query, int either, const char *yes, const char *no)
{
    if (either != 0)
        add(query, either > 0 ? yes : no);
}

static void add_flag(struct query *query, int either, int flag)
{
    if (either != 0)
        add_number(query, either > 0 ? " AND (flags & ?) <> 0" : " AND (flags & ?) = 0",
                   (uint64_t)flag);
}

/* The last attempt stands in columns, all of several in `tried`. */
static void add_tried(struct query *query, const struct mg_logs_filter *filter)
{
    if (filter->provider[0]) {
        add_text(query, " AND (provider = ?", filter->provider);
        snprintf(query->provider, sizeof query->provider, "\n%s\t", filter->provider);
        add_text(query, " OR replace(tried, ?, '') <> tried)", query->provider);
    }
    if (filter->model[0]) {
        add_text(query, " AND (model = ?", filter->model);
        snprintf(query->model, sizeof query->model, "\t%s\n", filter->model);
        add_text(query, " OR replace(tried, ?, '') <> tried)", query->model);
    }
}

static void build(struct query *query, const struct mg_logs_filter *filter)
{
    unsigned limit = filter->limit ? filter->limit : MG_LOGS_DEFAULT;
    query->len = query->count = 0;
    add(query, "SELECT " COLUMNS " FROM exchanges WHERE TRUE");
    add_text(query, " AND project = ?", filter->project);
    add_text(query, " AND workflow = ?", filter->workflow);
    add_text(query, " AND key_id = ?", filter->key);
    add_text(query, " AND session = ?", filter->session);
    add_text(query, " AND class = ?", filter->class_);
    add_tried(query, filter);
    add_number(query, " AND status >= ?", (uint64_t)filter->status_low);
    add_number(query, " AND status <= ?", (uint64_t)filter->status_high);
    if (filter->error)
        add(query, " AND (status >= 400 OR (flags & 2) = 0)");
    add_number(query, " AND duration_us >= ?", filter->min_duration_us);
    add_number(query, " AND at_us >= ?", filter->since_us);
    add_number(query, " AND at_us < ?", filter->until_us);
    add_either(query, filter->retried, " AND attempts > 1", " AND attempts <= 1");
    add_flag(query, filter->repeated, MG_ROW_REPEATED);
    add_flag(query, filter->fell_over, MG_ROW_FELL_OVER);
    add_flag(query, filter->hedged, MG_ROW_HEDGED);
    add_flag(query, filter->rescued, MG_ROW_RESCUED);
    add_flag(query, filter->offline, MG_ROW_OFFLINE);
    add_flag(query, filter->stream, MG_ROW_STREAM);
    add_number(query, " AND at_us < ?", filter->before);
    add_number(query, " AND at_us > ?", filter->after);
    add(query, filter->after ? " ORDER BY at_us ASC" : " ORDER BY at_us DESC");
    add_number(query, " LIMIT ?", MG_MIN(limit, (unsigned)MG_LOGS_MAX));
}

static void bind(struct mg_stmt *stmt, const struct query *query)
{
    for (unsigned i = 0; i < query->count; i++) {
        if (query->values[i].text.ptr)
            mg_stmt_bind_text(stmt, (int)i + 1, query->values[i].text);
        else
            mg_stmt_bind_int(stmt, (int)i + 1, query->values[i].number);
    }
}

static void read_row(struct mg_stmt *stmt, struct mg_logs_row *row)
{
    int64_t flags = mg_stmt_int(stmt, 14);
    *row = (struct mg_logs_row){
        .at_us = (uint64_t)mg_stmt_int(stmt, 0),
        .start_us = (uint64_t)mg_stmt_int(stmt, 1),
        .id = mg_stmt_text(stmt, 2),
        .project = mg_stmt_text(stmt, 3),
        .workflow = mg_stmt_text(stmt, 4),
        .key_id = mg_stmt_text(stmt, 5),
        .path = mg_stmt_text(stmt, 6),
        .session = mg_stmt_text(stmt, 7),
        .provider = mg_stmt_text(stmt, 8),
        .model = mg_stmt_text(stmt, 9),
        .class_ = mg_stmt_text(stmt, 10),
        .status = (int)mg_stmt_int(stmt, 11),
        .attempts = (unsigned)mg_stmt_int(stmt, 12),
        .generation = (uint32_t)mg_stmt_int(stmt, 13),
        .stream = flags & MG_ROW_STREAM,
        .clean = flags & MG_ROW_CLEAN,
        .interrupted = flags & MG_ROW_INTERRUPTED,
        .estimated = flags & MG_ROW_ESTIMATED,
        .repeated = flags & MG_ROW_REPEATED,
        .fell_over = flags & MG_ROW_FELL_OVER,
        .hedged = flags & MG_ROW_HEDGED,
        .rescued = flags & MG_ROW_RESCUED,
        .offline = flags & MG_ROW_OFFLINE,
        .duration_us = (uint64_t)mg_stmt_int(stmt, 15),
        .overhead_us = (uint64_t)mg_stmt_int(stmt, 16),
        .ttft_us = (uint64_t)mg_stmt_int(stmt, 17),
        .input_tokens = (uint64_t)mg_stmt_int(stmt, 18),
        .output_tokens = (uint64_t)mg_stmt_int(stmt, 19),
        .waited_us = (uint64_t)mg_stmt_int(stmt, 20),
        .cost_microusd = (uint64_t)mg_stmt_int(stmt, 21),
    };
}

mg_err mg_logs_query(struct mg_db *db, const struct mg_logs_filter *filter, mg_logs_cb cb,
                     void *arg)
{
    struct query query;
    struct mg_stmt *stmt;
    bool more = false;
    build(&query, filter);
    MG_TRY(mg_db_prepare(db, query.sql, &stmt));
    bind(stmt, &query);

    mg_err err;
    while ((err = mg_stmt_step(stmt, &more)) == MG_OK && more) {
        struct mg_logs_row row;
        read_row(stmt, &row);
        err = cb(arg, &row);
        if (err != MG_OK)
            break;
    }
    mg_stmt_free(stmt);
    return err;
}

/* ---- JSON */

static void put_row(struct mg_json_out *out, const struct mg_logs_row *row)
{
    mg_json_out_open(out, NULL, '{');
    mg_json_out_text(out, "id", row->id);
    mg_json_out_number(out, "at_us", row->at_us);
    mg_json_out_number(out, "start_us", row->start_us);
    mg_json_out_text(out, "project", row->project);
    mg_json_out_text(out, "workflow", row->workflow);
    mg_json_out_text(out, "key_id", row->key_id);
    mg_json_out_text(out, "path", row->path);
    mg_json_out_text(out, "session", row->session);
    mg_json_out_text(out, "provider", row->provider);
    mg_json_out_text(out, "model", row->model);
    mg_json_out_number(out, "status", (uint64_t)row->status);
    mg_json_out_text(out, "class", row->class_);
    mg_json_out_number(out, "attempts", row->attempts);
    mg_json_out_number(out, "generation", row->generation);
    mg_json_out_bool(out, "stream", row->stream);
    mg_json_out_bool(out, "clean", row->clean);
    mg_json_out_bool(out, "interrupted", row->interrupted);
    mg_json_out_bool(out, "estimated", row->estimated);
    mg_json_out_bool(out, "repeated", row->repeated);
    mg_json_out_bool(out, "fell_over", row->fell_over);
    mg_json_out_bool(out, "hedged", row->hedged);
    mg_json_out_bool(out, "rescued", row->rescued);
    mg_json_out_bool(out, "offline", row->offline);
    mg_json_out_number(out, "duration_us", row->duration_us);
    mg_json_out_number(out, "overhead_us", row->overhead_us);
    if (row->ttft_us)
        mg_json_out_number(out, "ttft_us", row->ttft_us);
    else
        mg_json_out_null(out, "ttft_us");
    mg_json_out_number(out, "input_tokens", row->input_tokens);
    mg_json_out_number(out, "output_tokens", row->output_tokens);
    mg_json_out_number(out, "waited_us", row->waited_us);
    mg_json_out_number(out, "cost_microusd", row->cost_microusd);
    mg_json_out_close(out, '}');
}

mg_err mg_logs_row_json(const struct mg_logs_row *row, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    put_row(&json, row);
    return mg_json_out_end(&json);
}

struct page {
    struct mg_json_out out;
    unsigned rows;
    uint64_t last;
};

static mg_err put_page_row(void *arg, const struct mg_logs_row *row)
{
    struct page *page = arg;
    put_row(&page->out, row);
    page->rows++;
    page->last = row->at_us;
    return mg_json_out_end(&page->out);
}

mg_err mg_logs_query_json(struct mg_db *db, const struct mg_logs_filter *filter, struct mg_buf *out)
{
    struct page page = {.out.buf = out, .last = filter->after};
    unsigned limit = filter->limit ? filter->limit : MG_LOGS_DEFAULT;
    mg_json_out_open(&page.out, NULL, '{');
    mg_json_out_open(&page.out, "requests", '[');
    MG_TRY(mg_logs_query(db, filter, put_page_row, &page));
    mg_json_out_close(&page.out, ']');
    if (filter->after || page.rows == limit)
        mg_json_out_number(&page.out, "next", page.last);
    else
        mg_json_out_null(&page.out, "next");
    mg_json_out_close(&page.out, '}');
    return mg_json_out_end(&page.out);
}

static uint64_t number(const struct mg_json *object, const char *key)
{
    int64_t value = 0;
    return mg_json_i64(mg_json_get(object, key), &value) && value > 0 ? (uint64_t)value : 0;
}

static mg_view text(const struct mg_json *object, const char *key)
{
    return mg_json_string(mg_json_get(object, key));
}

mg_err mg_logs_row_parse(const struct mg_json *object, struct mg_logs_row *out_row)
{
    struct mg_logs_row row = {
        .at_us = number(object, "at_us"),
        .start_us = number(object, "start_us"),
        .id = text(object, "id"),
        .project = text(object, "project"),
        .workflow = text(object, "workflow"),
        .key_id = text(object, "key_id"),
        .path = text(object, "path"),
        .session = text(object, "session"),
        .provider = text(object, "provider"),
        .model = text(object, "model"),
        .class_ = text(object, "class"),
        .status = (int)number(object, "status"),
        .attempts = (unsigned)number(object, "attempts"),
        .generation = (uint32_t)number(object, "generation"),
        .stream = mg_json_bool(mg_json_get(object, "stream"), false),
        .clean = mg_json_bool(mg_json_get(object, "clean"), false),
        .interrupted = mg_json_bool(mg_json_get(object, "interrupted"), false),
        .estimated = mg_json_bool(mg_json_get(object, "estimated"), false),
        .repeated = mg_json_bool(mg_json_get(object, "repeated"), false),
        .fell_over = mg_json_bool(mg_json_get(object, "fell_over"), false),
        .hedged = mg_json_bool(mg_json_get(object, "hedged"), false),
        .rescued = mg_json_bool(mg_json_get(object, "rescued"), false),
        .offline = mg_json_bool(mg_json_get(object, "offline"), false),
        .duration_us = number(object, "duration_us"),
        .overhead_us = number(object, "overhead_us"),
        .ttft_us = number(object, "ttft_us"),
        .input_tokens = number(object, "input_tokens"),
        .output_tokens = number(object, "output_tokens"),
        .waited_us = number(object, "waited_us"),
        .cost_microusd = number(object, "cost_microusd"),
    };
    if (row.at_us == 0 || row.id.len == 0)
        return MG_E_PROTOCOL;
    *out_row = row;
    return MG_OK;
}
