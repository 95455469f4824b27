/* A hook answered instead of a provider: its text in the shape that the surface has, as a whole or as events. */
#include "gateway/respond.h"

#include <string.h>

#include "gateway/keeping.h"
#include "gateway/surface.h"

/* What an answer to this request is called, and what stands before and after its text. */
struct shape {
    const char *object, *before, *after;
};

static const struct shape whole_chat = {"chat.completion", "\"message\":{\"role\":\"assistant\",\"content\":\"", "\"}"};
static const struct shape event_chat = {"chat.completion.chunk", "\"delta\":{\"role\":\"assistant\",\"content\":\"", "\"}"};
static const struct shape plain = {"text_completion", "\"text\":\"", "\""};

static const struct shape *shape_of(const struct mg_exchange *x, bool event)
{
    if (strcmp(x->surface->name, "completions") == 0)
        return &plain;
    return event ? &event_chat : &whole_chat;
}

static mg_err put_document(struct mg_buf *out, const struct mg_exchange *x, bool event, mg_view text, const char *usage,
                           mg_view extra)
{
    const struct shape *shape = shape_of(x, event);
    MG_TRY(mg_buf_putf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%llu,\"model\":\"moongate\",\"choices\":[{\"index\":0,%s",
                       x->timeline->id, shape->object, (unsigned long long)(x->timeline->start_wall_us / 1000000), shape->before));
    MG_TRY(mg_buf_put_json(out, text));
    return mg_buf_putf(out, "%s,\"finish_reason\":\"stop\"}]%s%.*s}", shape->after, usage, MG_FMT(extra));
}

static const char *const no_usage = ",\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}";

/* One event with all of the text, and the end. */
static mg_err put_events(struct mg_buf *out, const struct mg_exchange *x, mg_view text, mg_view extra)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("data: ")));
    MG_TRY(put_document(out, x, true, text, "", extra));
    if (x->call.request.wants_usage)
        MG_TRY(mg_buf_putf(out, "\n\ndata: {\"id\":\"%s\",\"object\":\"%s\",\"created\":%llu,\"model\":\"moongate\",\"choices\":[]%s}",
                           x->timeline->id, shape_of(x, true)->object,
                           (unsigned long long)(x->timeline->start_wall_us / 1000000), no_usage));
    return mg_buf_put(out, MG_VIEW("\n\ndata: [DONE]\n\n"));
}

/* ---- in other dialects: as if a provider had answered in OpenAI's ------------------------------ */

static void describe(struct mg_exchange *x, struct mg_translation *out)
{
    const struct mg_translator *translator = &x->worker->translator;
    struct mg_translation_report report;
    mg_view body;
    *out = (struct mg_translation){
        .client = x->dialect->name,
        .provider = mg_dialects_find(x->worker->dialects, NULL)->name,
        .vendor = "moongate",
        .model = MG_VIEW("moongate"),
        .asked_model = x->call.request.model,
        .id = mg_view_skip(mg_view_cstr(x->timeline->id), sizeof "req_" - 1),
        .request = x->call.request.body,
        .created_s = x->timeline->start_wall_us / 1000000,
        .stream = x->call.request.stream,
        .lenient = true,
    };
    if (translator->ops->request(translator->arg, out, &x->arena, &body, &report) == MG_OK)
        out->memo = report.memo;       /* what an answer repeats of its request */
}

struct collector {
    struct mg_buf *out;
    mg_err err;
};

static void on_emit(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct collector *collector = arg;
    (void)seen;
    if (collector->err == MG_OK)
        collector->err = mg_buf_put(collector->out, event->raw);
}

static void on_flush(void *arg)
{
    (void)arg;                         /* nothing is kept as a view */
}

static mg_err feed(struct mg_weave *weave, struct mg_tap *tap, mg_view data)
{
    struct mg_tap_event seen;
    struct mg_sse_event event = {.data = data, .raw = data};
    mg_tap_event(tap, MG_VIEW_NONE, data, &seen);
    return mg_weave_event(weave, tap, &event, &seen);
}

static mg_err feed_all(struct mg_weave *weave, struct mg_tap *tap, const struct mg_exchange *x, mg_view text)
{
    struct mg_buf event;
    mg_buf_init(&event, MG_MAX_HELD_BYTES);
    mg_err err = put_document(&event, x, true, text, no_usage, MG_VIEW_NONE);
    if (err == MG_OK)
        err = feed(weave, tap, mg_buf_view(&event));
    mg_buf_fini(&event);
    return err == MG_OK ? feed(weave, tap, MG_VIEW("[DONE]")) : err;
}

static mg_err put_translated_events(struct mg_buf *out, struct mg_exchange *x, const struct mg_translation *what, mg_view text)
{
    static const struct mg_weave_ops ops = {.emit = on_emit, .flush = on_flush};
    struct collector collector = {out, MG_OK};
    struct mg_weave *weave = NULL;
    struct mg_tap tap;
    mg_tap_init(&tap, mg_dialects_find(x->worker->dialects, NULL)->adapter, true);
    MG_TRY(mg_weave_new(&x->worker->translator, what, x->dialect->adapter, &ops, &collector, &weave));
    mg_err err = feed_all(weave, &tap, x, text);
    mg_weave_free(weave);
    return err == MG_OK ? collector.err : err;
}

static mg_err put_translated(struct mg_buf *out, struct mg_exchange *x, bool events, mg_view text)
{
    const struct mg_translator *translator = &x->worker->translator;
    struct mg_translation what;
    mg_view document;
    describe(x, &what);
    if (events)
        return put_translated_events(out, x, &what, text);
    MG_TRY(put_document(out, x, false, text, no_usage, MG_VIEW_NONE));
    MG_TRY(translator->ops->answer(translator->arg, &what, &x->arena, mg_buf_view(out), &document));
    mg_buf_clear(out);
    return mg_buf_put(out, document);
}

static mg_view render(struct mg_exchange *x, bool events, mg_view text, mg_view extra)
{
    struct mg_buf out;
    mg_buf_init(&out, MG_MAX_HELD_BYTES);
    mg_err err = x->dialect != mg_dialects_find(x->worker->dialects, NULL) ? put_translated(&out, x, events, text)
                 : events ? put_events(&out, x, text, extra) : put_document(&out, x, false, text, no_usage, extra);
    mg_view body = err == MG_OK ? mg_arena_dup(&x->arena, mg_buf_view(&out)) : MG_VIEW_NONE;
    mg_buf_fini(&out);
    return body;
}

mg_view mg_respond_document(struct mg_exchange *x, mg_view text, mg_view extra)
{
    return render(x, x->call.request.stream, text, extra);
}

static void send_own(struct mg_exchange *x)
{
    mg_answer_typed(x, x->keeping->own_status, x->keeping->own_type.ptr, x->keeping->own);
}

/* One that can be gone on from is kept before it is sent. */
static void answer(struct mg_exchange *x, int status, const char *type, mg_view body)
{
    if (x->keeping && status < 300) {
        x->keeping->own = mg_arena_dup(&x->arena, body);
        x->keeping->own_type = mg_view_cstr(type);
        x->keeping->own_status = status;
        if (!mg_keeping_save_own(x, x->keeping->own, send_own))
            return;
    }
    mg_answer_typed(x, status, type, body);
}

void mg_exchange_respond(struct mg_exchange *x, const struct mg_hook_outcome *outcome)
{
    int status = outcome->status ? outcome->status : 200;
    if (outcome->body.len) {
        answer(x, status, "application/json", outcome->body);
        return;
    }
    bool events = x->call.request.stream && status < 300;
    mg_view body = render(x, events, outcome->text, MG_VIEW_NONE);
    if (body.len)
        answer(x, status, events ? "text/event-stream" : "application/json", body);
    else
        mg_exchange_refuse(x, 500, "answer_too_large", "A plugin answered with more text than is possible.");
}
