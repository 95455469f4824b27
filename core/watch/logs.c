#include "watch/logs.h"

#include <stdio.h>

#include "base/mem.h"
#include "watch/json_out.h"
#include "watch/search.h"

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
    mg_json_out_text(out, "model_served", row->served.len ? row->served : row->model);
    mg_json_out_text(out, "arm", row->arm);
    mg_json_out_text(out, "user", row->user);
    mg_json_out_text(out, "error_code", row->error_code);
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

static mg_err put_page_row(void *arg, const struct mg_logs_row *row)
{
    put_row(arg, row);
    return mg_json_out_end(arg);
}

/* A page by another field than time goes on behind the value of its last row. */
static void put_next(struct mg_json_out *out, const struct mg_query *query, const struct mg_search_cursor *next)
{
    char text[64];
    if (next->at_us == 0) {
        mg_json_out_null(out, "next");
    } else if (query->sort == MG_FIELD_at_us) {
        mg_json_out_number(out, "next", next->at_us);
    } else {
        int len = snprintf(text, sizeof text, "%" PRId64 "-%" PRIu64, next->value, next->at_us);
        mg_json_out_text(out, "next", mg_view_of(text, (size_t)len));
    }
}

mg_err mg_logs_page_json(struct mg_search *search, const struct mg_query *query, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    struct mg_search_cursor next;
    mg_json_out_open(&json, NULL, '{');
    mg_json_out_open(&json, "requests", '[');
    MG_TRY(mg_search_page(search, query, put_page_row, &json, &next));
    mg_json_out_close(&json, ']');
    put_next(&json, query, &next);
    mg_json_out_number(&json, "searched", mg_search_effort(search).rows);
    mg_json_out_number(&json, "damaged", mg_search_effort(search).damaged);
    mg_json_out_close(&json, '}');
    return mg_json_out_end(&json);
}

mg_err mg_logs_store_json(struct mg_db *db, const struct mg_query *query, struct mg_buf *out)
{
    struct mg_search *search = mg_search_new(db);
    mg_err err = mg_search_refresh(search, NULL);
    if (err == MG_OK)
        err = mg_logs_page_json(search, query, out);
    mg_search_free(search);
    return err;
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
        .arm = text(object, "arm"),
        .served = text(object, "model_served"),
        .user = text(object, "user"),
        .error_code = text(object, "error_code"),
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
