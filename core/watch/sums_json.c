#include "watch/sums_json.h"

#include "base/clock.h"
#include "base/mem.h"
#include "watch/json_out.h"

enum { HOUR = 3600 };

static void put_percentiles(struct mg_json_out *out, const char *key, const uint64_t values[4])
{
    static const char *const names[] = {"p50", "p90", "p95", "p99"};
    if (values[0] == 0 && values[3] == 0) {
        mg_json_out_null(out, key);
        return;
    }
    mg_json_out_open(out, key, '{');
    for (int i = 0; i < 4; i++)
        mg_json_out_number(out, names[i], values[i]);
    mg_json_out_close(out, '}');
}

void mg_summary_put(struct mg_json_out *out, const struct mg_summary *summary)
{
    mg_json_out_number(out, "count", summary->count);
    mg_json_out_number(out, "errors", summary->errors);
    mg_json_out_number(out, "retried", summary->retried);
    mg_json_out_number(out, "input_tokens", summary->input_tokens);
    mg_json_out_number(out, "output_tokens", summary->output_tokens);
    mg_json_out_number(out, "cached_read_tokens", summary->cached_read_tokens);
    mg_json_out_number(out, "cost_microusd", summary->cost_microusd);
    put_percentiles(out, "duration_us", summary->duration_us);
    put_percentiles(out, "ttft_us", summary->ttft_us);
}

/* The end of an answer: how much was looked at. */
static mg_err end(struct mg_json_out *out, const struct mg_search *search)
{
    mg_json_out_number(out, "searched", mg_search_effort(search).rows);
    mg_json_out_number(out, "damaged", mg_search_effort(search).damaged);
    mg_json_out_close(out, '}');
    return mg_json_out_end(out);
}

mg_err mg_sums_json(struct mg_search *search, const struct mg_query *query, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    struct mg_summary summary;
    MG_TRY(mg_search_summary(search, query, &summary));
    mg_json_out_open(&json, NULL, '{');
    mg_json_out_open(&json, "summary", '{');
    mg_summary_put(&json, &summary);
    mg_json_out_close(&json, '}');
    return end(&json, search);
}

mg_err mg_series_json(struct mg_search *search, const struct mg_query *query, unsigned count, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    uint64_t until_us = query->until_us ? query->until_us : mg_wall_us() + 1;
    uint64_t since_us = query->since_us ? query->since_us : until_us - MG_MIN(until_us, HOUR * UINT64_C(1000000));
    count = MG_MAX(MG_MIN(count, (unsigned)MG_SEARCH_STEPS), 1u);
    uint64_t step_us = (MG_MAX(until_us, since_us + 1) - since_us + count - 1) / count;
    struct mg_summary *steps = mg_new_array(struct mg_summary, count);
    mg_err err = mg_search_series(search, query, since_us, step_us, count, steps);
    mg_json_out_open(&json, NULL, '{');
    mg_json_out_number(&json, "step_us", step_us);
    mg_json_out_open(&json, "steps", '[');
    for (unsigned i = 0; i < count && err == MG_OK; i++) {
        mg_json_out_open(&json, NULL, '{');
        mg_json_out_number(&json, "since_us", since_us + i * step_us);
        mg_summary_put(&json, &steps[i]);
        mg_json_out_close(&json, '}');
    }
    mg_json_out_close(&json, ']');
    mg_free(steps);
    return err == MG_OK ? end(&json, search) : err;
}

static bool find_field(mg_view by, enum mg_field *out_field, mg_view *out_key)
{
    *out_key = MG_VIEW_NONE;
    if (mg_view_starts(by, MG_VIEW("metadata.")) && by.len > 9) {
        *out_field = MG_FIELD_metadata;
        *out_key = mg_view_skip(by, 9);
        return true;
    }
    for (int i = 0; i < MG_FIELD_COUNT; i++) {
        *out_field = (enum mg_field)i;
        if (mg_field_is_text(*out_field) && *out_field != MG_FIELD_metadata && *out_field != MG_FIELD_tried && *out_field != MG_FIELD_own_id &&
            mg_view_eq(by, mg_view_cstr(mg_field_name(*out_field))))
            return true;
    }
    return false;
}

mg_err mg_groups_by(mg_view by, enum mg_field *out_field, mg_view *out_key, struct mg_diag *diag)
{
    if (find_field(by, out_field, out_key))
        return MG_OK;
    return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0,
                       "by: \"%.*s\" is not project, workflow, key, arm, provider, model, served, dialect, credential, class, "
                       "error_code, path, session, user, client, sdk or metadata.NAME",
                       MG_FMT(by));
}

static mg_err put_group(void *arg, const struct mg_group *group)
{
    struct mg_json_out *out = arg;
    mg_json_out_open(out, NULL, '{');
    mg_json_out_text(out, "value", group->value);
    mg_summary_put(out, &group->summary);
    mg_json_out_close(out, '}');
    return out->err;
}

mg_err mg_groups_json(struct mg_search *search, const struct mg_query *query, mg_view by, unsigned top, struct mg_buf *out,
                      struct mg_diag *diag)
{
    struct mg_json_out json = {.buf = out};
    enum mg_field field;
    mg_view key;
    MG_TRY(mg_groups_by(by, &field, &key, diag));
    mg_json_out_open(&json, NULL, '{');
    mg_json_out_text(&json, "by", by);
    mg_json_out_open(&json, "groups", '[');
    MG_TRY(mg_search_groups(search, query, field, key, top, put_group, &json));
    mg_json_out_close(&json, ']');
    return end(&json, search);
}
