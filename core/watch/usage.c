#include "watch/usage.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "watch/json_out.h"
#include "watch/query.h"

/* ---- asking */

static mg_err bad(struct mg_diag *diag, mg_view name, mg_view value, const char *expected)
{
    return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "%.*s: \"%.*s\" is not %s", MG_FMT(name), MG_FMT(value), expected);
}

#define DIMENSIONS                                                                                 \
    "a dimension: project, key, workflow, arm, provider, model, served, dialect, tier, credential, class, reason, session, " \
    "charged, hour, day, month or metadata.NAME"

static mg_err set_by(struct mg_usage_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    while (value.len > 0) {
        mg_view one = mg_view_trim(mg_view_cut(&value, ','));
        if (query->by_count == MG_USAGE_DIMENSIONS)
            return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "by: at most %d dimensions", MG_USAGE_DIMENSIONS);
        if (!mg_usage_by_find(one, &query->by[query->by_count]))
            return bad(diag, name, one, DIMENSIONS);
        query->by_count++;
    }
    return MG_OK;
}

static mg_err add_filter(struct mg_usage_query *query, mg_view dimension, mg_view value, struct mg_diag *diag)
{
    struct mg_usage_filter *filter = &query->filters[query->filter_count];
    if (query->filter_count == MG_USAGE_FILTERS)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "where: at most %d conditions", MG_USAGE_FILTERS);
    if (!mg_usage_by_find(dimension, &filter->by))
        return bad(diag, MG_VIEW("where"), dimension, DIMENSIONS);
    snprintf(filter->value, sizeof filter->value, "%.*s", MG_FMT(value));
    query->filter_count++;
    return MG_OK;
}

static mg_err set_where(struct mg_usage_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    while (value.len > 0) {
        mg_view one = mg_view_cut(&value, ',');
        if (mg_view_find(one, "=") == one.len)
            return bad(diag, name, one, "dimension=value");
        mg_view dimension = mg_view_trim(mg_view_cut(&one, '='));
        MG_TRY(add_filter(query, dimension, one, diag));
    }
    return MG_OK;
}

static mg_err set_time(uint64_t *out_us, mg_view name, mg_view value, struct mg_diag *diag)
{
    return mg_query_time(value, out_us) ? MG_OK : bad(diag, name, value, "a time: 3d ago, or 2026-11-24, or 2026-11-24T10:00");
}

static bool is_short(mg_view name)
{
    static const char *const shorts[] = {"key", "workflow", "provider", "model"};
    for (size_t i = 0; i < MG_COUNT(shorts); i++)
        if (mg_view_eq(name, mg_view_cstr(shorts[i])))
            return true;
    return false;
}

mg_err mg_usage_set(struct mg_usage_query *query, mg_view name, mg_view value, struct mg_diag *diag)
{
    uint64_t number;
    if (mg_view_eq(name, MG_VIEW("by")))
        return set_by(query, name, value, diag);
    if (mg_view_eq(name, MG_VIEW("where")))
        return set_where(query, name, value, diag);
    if (mg_view_eq(name, MG_VIEW("from"))) {       /* a page's cursor is later, wherever it stands */
        MG_TRY(set_time(&number, name, value, diag));
        query->range.from_us = MG_MAX(query->range.from_us, number);
        return MG_OK;
    }
    if (mg_view_eq(name, MG_VIEW("to")))
        return set_time(&query->range.to_us, name, value, diag);
    if (mg_view_eq(name, MG_VIEW("project"))) {
        MG_TRY(add_filter(query, name, value, diag));
        query->only_project = query->filters[query->filter_count - 1].value;
        return MG_OK;
    }
    if (is_short(name))
        return add_filter(query, name, value, diag);
    if (!mg_view_eq(name, MG_VIEW("limit")) && !mg_view_eq(name, MG_VIEW("after")))
        return mg_diag_set(diag, MG_E_NOT_FOUND, "", 0,
                           "there is no \"%.*s\"; there are by, where, from, to, project, key, workflow, provider, model, "
                           "limit and after",
                           MG_FMT(name));
    if (!mg_view_u64(value, &number))
        return bad(diag, name, value, "a number");
    if (mg_view_eq(name, MG_VIEW("limit")))
        query->range.max_exchanges = (unsigned)MG_MIN(number, (uint64_t)MG_USAGE_PAGE);
    else
        query->range.from_us = MG_MAX(query->range.from_us, number);
    return MG_OK;
}

mg_err mg_usage_parse_query(struct mg_usage_query *query, mg_view text, struct mg_diag *diag)
{
    char room[1024];
    while (text.len > 0) {
        mg_view pair = mg_view_cut(&text, '&');
        mg_view name = mg_view_cut(&pair, '=');
        if (name.len > 0)
            MG_TRY(mg_usage_set(query, name, mg_query_decode(pair, room, sizeof room), diag));
    }
    return MG_OK;
}

mg_err mg_usage_confine(struct mg_usage_query *query, const char *project, struct mg_diag *diag)
{
    query->only_project = project;
    return add_filter(query, MG_VIEW("project"), mg_view_cstr(project), diag);
}

/* ---- a report */

static void put_money(struct mg_json_out *out, const char *pico, const char *usd, mg_usage_money picousd)
{
    char text[MG_USAGE_USD];
    mg_json_out_number(out, pico, picousd > UINT64_MAX ? UINT64_MAX : (uint64_t)picousd);
    mg_json_out_text(out, usd, mg_view_cstr(mg_usage_usd(text, picousd)));
}

static void put_sums(struct mg_json_out *out, const struct mg_usage_sums *sums)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"requests", sums->requests},
        {"attempts", sums->attempts},
        {"estimated", sums->estimated},
        {"unpriced", sums->unpriced},
        {"interrupted", sums->interrupted},
        {"input_tokens", sums->input_tokens},
        {"output_tokens", sums->output_tokens},
        {"cached_read_tokens", sums->cached_read_tokens},
        {"cached_write_tokens", sums->cached_write_tokens},
        {"reasoning_tokens", sums->reasoning_tokens},
        {"input_audio_tokens", sums->input_audio_tokens},
        {"output_audio_tokens", sums->output_audio_tokens},
        {"images", sums->images},
        {"audio_ms", sums->audio_ms},
        {"characters", sums->characters},
        {"searches", sums->searches},
        {"estimated_tokens", sums->estimated_tokens},
        {"bytes_sent", sums->bytes_sent},
        {"bytes_received", sums->bytes_received},
    };
    for (size_t i = 0; i < MG_COUNT(numbers); i++)
        mg_json_out_number(out, numbers[i].name, numbers[i].value);
    put_money(out, "cost_picousd", "cost_usd", sums->cost_picousd);
    put_money(out, "charged_picousd", "charged_usd", sums->charged_picousd);
}

/* A field of metadata may be called anything. */
static void put_value(struct mg_json_out *out, const struct mg_usage_by *by, mg_view value)
{
    struct mg_buf name;
    mg_buf_init(&name, 256);
    if (out->err == MG_OK)
        out->err = mg_usage_by_name(by, &name);
    mg_json_out_key(out, NULL);
    mg_json_out_raw(out, MG_VIEW("\""));
    mg_json_out_escaped(out, mg_buf_view(&name));
    mg_json_out_raw(out, MG_VIEW("\":"));
    out->comma = false;
    mg_json_out_text(out, NULL, value);
    mg_buf_fini(&name);
}

static void put_by(struct mg_json_out *out, const struct mg_usage_query *query)
{
    struct mg_buf name;
    mg_buf_init(&name, 256);
    mg_json_out_open(out, "by", '[');
    for (int i = 0; i < query->by_count; i++) {
        mg_buf_clear(&name);
        if (out->err == MG_OK)
            out->err = mg_usage_by_name(&query->by[i], &name);
        mg_json_out_text(out, NULL, mg_buf_view(&name));
    }
    mg_json_out_close(out, ']');
    mg_buf_fini(&name);
}

mg_err mg_usage_report_json(struct mg_db *db, const struct mg_usage_query *query, struct mg_buf *buf)
{
    struct mg_usage_report *report;
    struct mg_json_out out = {.buf = buf};
    mg_view values[MG_USAGE_DIMENSIONS];
    MG_TRY(mg_usage_report_new(db, query, &report));
    mg_json_out_open(&out, NULL, '{');
    put_by(&out, query);
    mg_json_out_number(&out, "from_us", query->range.from_us);
    mg_json_out_number(&out, "to_us", query->range.to_us);
    mg_json_out_open(&out, "rows", '[');
    for (size_t row = 0; row < mg_usage_report_rows(report); row++) {
        const struct mg_usage_sums *sums = mg_usage_report_row(report, row, values);
        mg_json_out_open(&out, NULL, '{');
        for (int i = 0; i < query->by_count; i++)
            put_value(&out, &query->by[i], values[i]);
        put_sums(&out, sums);
        mg_json_out_close(&out, '}');
    }
    mg_json_out_close(&out, ']');
    mg_json_out_open(&out, "total", '{');
    put_sums(&out, mg_usage_report_total(report));
    mg_json_out_close(&out, '}');
    mg_json_out_close(&out, '}');
    mg_usage_report_free(report);
    return mg_json_out_end(&out);
}

/* ---- events */

struct page {
    struct mg_buf *out;
    const char *only_project;          /* NULL: of all */
    bool any;
    uint64_t stopped_us;               /* the page is full: the exchange that was not begun; 0: it is not */
    uint64_t at_us;
};

static mg_err put_event(void *arg, const struct mg_usage_event *event)
{
    struct page *page = arg;
    if (page->only_project && !mg_view_eq(event->exchange->project, mg_view_cstr(page->only_project)))
        return MG_OK;
    if (event->at_us != page->at_us && page->out->len > MG_USAGE_PAGE_BYTES) {
        page->stopped_us = event->at_us;
        return MG_E_CANCELLED;
    }
    page->at_us = event->at_us;
    if (page->any)
        MG_TRY(mg_buf_put(page->out, MG_VIEW(",\n")));
    page->any = true;
    return mg_usage_event_json(event, page->out);
}

mg_err mg_usage_events_json(struct mg_db *db, const struct mg_usage_query *query, struct mg_buf *out)
{
    struct page page = {.out = out, .only_project = query->only_project};
    struct mg_usage_range range = query->range;
    uint64_t next = range.from_us;
    if (range.max_exchanges == 0)
        range.max_exchanges = MG_USAGE_PAGE;
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"events\":[")));
    mg_err err = mg_usage_each(db, &range, put_event, &page, &next);
    if (page.stopped_us)
        next = page.stopped_us;
    else if (err != MG_OK)
        return err;
    if (next == range.from_us)
        return mg_buf_put(out, MG_VIEW("],\"next\":null}"));
    return mg_buf_putf(out, "],\"next\":%" PRIu64 "}", next);
}

/* ---- reprice */

mg_err mg_usage_reprice_json(const struct mg_reprice *reprice, struct mg_buf *buf)
{
    struct mg_json_out out = {.buf = buf};
    mg_json_out_open(&out, NULL, '{');
    mg_json_out_number(&out, "exchanges", reprice->exchanges);
    mg_json_out_number(&out, "attempts", reprice->attempts);
    mg_json_out_number(&out, "changed", reprice->changed);
    mg_json_out_number(&out, "kept", reprice->kept);
    mg_json_out_number(&out, "unpriced", reprice->unpriced);
    mg_json_out_number(&out, "before_picousd", (uint64_t)reprice->before_picousd);
    mg_json_out_number(&out, "after_picousd", (uint64_t)reprice->after_picousd);
    mg_json_out_number(&out, "next_us", reprice->next_us);
    mg_json_out_bool(&out, "done", reprice->done);
    mg_json_out_close(&out, '}');
    return mg_json_out_end(&out);
}
