/* The header lines of an answer: ours, what the attempts say, and what the upstream sent along. */
#include <time.h>

#include "base/clock.h"
#include "gateway/cors.h"
#include "gateway/keeping.h"
#include "gateway/limiting.h"
#include "gateway/passthrough.h"
#include "gateway/passthrough_path.h"

static void put_date(struct mg_worker *worker)
{
    uint64_t now_s = mg_wall_us() / 1000000;
    if (now_s == worker->date_s)
        return;
    worker->date_s = now_s;
    time_t seconds = (time_t)now_s;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(worker->date, sizeof worker->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

static mg_err put_ours(struct mg_exchange *x)
{
    put_date(x->worker);
    MG_TRY(mg_http_put_own(&x->lines, MG_VIEW("date"), mg_view_cstr(x->worker->date)));
    MG_TRY(mg_http_put_own(&x->lines, MG_VIEW("x-request-id"), mg_view_cstr(x->timeline->id)));
    MG_TRY(mg_cors_put(x, &x->lines));
    if (!x->live)
        return MG_OK;
    MG_TRY(mg_limiting_put(x, &x->lines));
    return mg_http_put_header_u64(&x->lines, MG_VIEW("x-moongate-generation"), x->live->generation->number);
}

/* Time inside the gateway so far: before the first attempt, and in this turn of the loop, which began when the last
 * bytes of the upstream arrived. */
uint64_t mg_exchange_overhead_us(const struct mg_exchange *x)
{
    return x->overhead_us + (mg_mono_us() - mg_exchange_now(x));
}

static mg_err put_attempt(struct mg_exchange *x)
{
    const struct mg_attempt_record *last = mg_relay_record(&x->relay);
    MG_TRY(mg_http_put_header(&x->lines, MG_VIEW("x-moongate-provider"), last->provider));
    if (mg_http_is_field_value(last->model))           /* with "*" it is the client's word, which may hold anything */
        MG_TRY(mg_http_put_header(&x->lines, MG_VIEW("x-moongate-model"), last->model));
    mg_view dropped = mg_relay_dropped(&x->relay), own = x->dropped;
    if (dropped.len || own.len)
        MG_TRY(mg_http_put_header(&x->lines, MG_VIEW("x-moongate-warning"), mg_arena_printf(&x->arena, "dropped=%.*s%s%.*s",
                                  MG_FMT(dropped), dropped.len && own.len ? "," : "", MG_FMT(own))));
    if (x->keeping && x->keeping->failed)
        MG_TRY(mg_http_put_header(&x->lines, MG_VIEW("x-moongate-warning"), MG_VIEW("not_stored")));
    MG_TRY(mg_http_put_header_u64(&x->lines, MG_VIEW("x-moongate-attempts"), x->timeline->attempt_count));
    return mg_http_put_header_u64(&x->lines, MG_VIEW("x-moongate-overhead-us"), mg_exchange_overhead_us(x));
}

/* Small servers label a stream of events as text, or not at all; a client's SDK looks at the label. */
static bool is_relabelled(const struct mg_exchange *x, const struct mg_header *header)
{
    return mg_relay_attempt(&x->relay)->event_stream && mg_view_ieq(header->name, MG_VIEW("content-type"));
}

static mg_err put_upstream(struct mg_exchange *x)
{
    if (mg_relay_attempt(&x->relay)->event_stream)
        MG_TRY(mg_http_put_own(&x->lines, MG_VIEW("content-type"), MG_VIEW("text/event-stream")));
    for (size_t i = 0; i < x->upstream_headers.count; i++) {
        const struct mg_header *header = &x->upstream_headers.items[i];
        if (header->traits & (MG_HEADER_HOP | MG_HEADER_NOT_DOWNSTREAM) || mg_limiting_replaces(x, header->name))
            continue;
        if (is_relabelled(x, header) || (x->passthrough && mg_passthrough_hides(header->name)))
            continue;
        mg_view here = x->passthrough ? mg_passthrough_address(x, header) : MG_VIEW_NONE;
        if (here.len)
            MG_TRY(mg_http_put_header(&x->lines, header->name, here));
        else if (mg_view_ieq(header->name, MG_VIEW("x-request-id")))
            MG_TRY(mg_http_put_own(&x->lines, MG_VIEW("x-moongate-upstream-request-id"), header->value));
        else
            MG_TRY(mg_http_put_line(&x->lines, header));
    }
    return MG_OK;
}

mg_view mg_exchange_lines(struct mg_exchange *x, bool with_upstream)
{
    mg_buf_clear(&x->lines);
    if (x->worker->draining)
        x->answer.keep_alive = false;
    mg_err err = put_ours(x);
    if (err == MG_OK && x->timeline->attempt_count)
        err = put_attempt(x);
    if (err == MG_OK && with_upstream)
        err = put_upstream(x);
    if (err != MG_OK)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "answer", "some header lines of the answer were left out");
    return mg_buf_view(&x->lines);
}
