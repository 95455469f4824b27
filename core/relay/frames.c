#include "relay/frames.h"

#include <stdio.h>

#include "base/mem.h"
#include "http/event_stream.h"
#include "http/ndjson.h"

enum { NAME_BYTES = 256 };

struct mg_frames {
    enum mg_framing framing;
    struct mg_sse *sse;                /* owned; one of the three is there */
    struct mg_event_stream *frames;
    struct mg_ndjson *lines;
    mg_sse_cb cb;
    void *arg;                         /* borrowed; for cb */
    struct mg_buf block;               /* the event that is told */
    char reason[160];                  /* "": none */
};

static bool is(mg_view content_type, const char *wanted)
{
    return mg_view_ieq(content_type, mg_view_cstr(wanted));
}

static bool says_nothing(mg_view content_type)
{
    return !content_type.ptr || is(content_type, "text/plain") || is(content_type, "application/octet-stream");
}

static bool is_ndjson(mg_view content_type)
{
    return is(content_type, "application/x-ndjson") || is(content_type, "application/ndjson") ||
           is(content_type, "application/jsonl") || is(content_type, "application/x-jsonlines");
}

bool mg_frames_known(enum mg_framing declared, mg_view content_type, enum mg_framing *out_framing)
{
    *out_framing = declared;
    if (is(content_type, "text/event-stream")) {
        *out_framing = MG_FRAMING_SSE;
        return true;
    }
    if (declared == MG_FRAMING_EVENTSTREAM)
        return is(content_type, "application/vnd.amazon.eventstream") || says_nothing(content_type);
    return declared == MG_FRAMING_NDJSON && (is_ndjson(content_type) || says_nothing(content_type));
}

bool mg_frames_may_be(enum mg_framing declared, mg_view content_type)
{
    return declared == MG_FRAMING_SSE && says_nothing(content_type);
}

bool mg_frames_begin(mg_view body, bool *out_enough)
{
    static const char *const begins[] = {"data:", "event:", "id:", "retry:", ":"};
    *out_enough = body.len >= sizeof "event:" - 1;
    for (size_t i = 0; i < MG_COUNT(begins); i++)
        if (mg_view_starts(body, mg_view_cstr(begins[i])))
            return true;
    return false;
}

/* ---- making blocks ----------------------------------------------------------------------------- */

/* JSON knows line ends only between its words: there a blank does as well. */
static void join_lines(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\n' || text[i] == '\r')
            text[i] = ' ';
}

static mg_err tell(struct mg_frames *frames, mg_view name, mg_view data)
{
    struct mg_buf *block = &frames->block;
    mg_buf_clear(block);
    if (name.len > 0)
        MG_TRY(mg_buf_putf(block, "event: %.*s\n", MG_FMT(name)));
    MG_TRY(mg_buf_put(block, MG_VIEW("data: ")));
    size_t at = block->len;
    MG_TRY(mg_buf_put(block, data));
    join_lines(block->ptr + at, data.len);
    MG_TRY(mg_buf_put(block, MG_VIEW("\n\n")));
    struct mg_sse_event event = {.raw = mg_buf_view(block), .data_in_raw = true};
    event.data = mg_view_of(block->ptr + at, data.len);
    if (name.len > 0)
        event.name = mg_view_of(block->ptr + strlen("event: "), name.len);
    return frames->cb(frames->arg, &event);
}

/* Errors of the framing itself come without a payload. */
static mg_err tell_failed(struct mg_frames *frames, const struct mg_event_frame *frame, mg_view name)
{
    struct mg_buf data;
    mg_buf_init(&data, MG_MAX_SSE_EVENT_BYTES);
    mg_err err = mg_buf_put(&data, MG_VIEW("{\"message\":\""));
    if (err == MG_OK)
        err = mg_buf_put_json(&data, frame->error_message);
    if (err == MG_OK)
        err = mg_buf_put(&data, MG_VIEW("\"}"));
    if (err == MG_OK)
        err = tell(frames, name, frame->payload.len ? frame->payload : mg_buf_view(&data));
    mg_buf_fini(&data);
    if (err == MG_OK)                  /* an adapter that knows the name has cancelled by now */
        snprintf(frames->reason, sizeof frames->reason, "the provider ended its answer with %.*s", MG_FMT(mg_view_head(name, 100)));
    return err == MG_OK ? MG_E_CANCELLED : err;
}

static mg_err on_frame(void *arg, const struct mg_event_frame *frame)
{
    struct mg_frames *frames = arg;
    bool event = mg_view_eq(frame->message_type, MG_VIEW("event"));
    mg_view name = event ? frame->event_type : frame->exception_type.len ? frame->exception_type : frame->error_code;
    if (name.len > NAME_BYTES || mg_view_find(name, "\r\n") < name.len)
        return MG_E_BAD_REQUEST;
    return event ? tell(frames, name, frame->payload) : tell_failed(frames, frame, name);
}

static mg_err on_line(void *arg, mg_view line)
{
    return tell(arg, MG_VIEW_NONE, line);
}

/* ---- the decoder ------------------------------------------------------------------------------- */

struct mg_frames *mg_frames_new(enum mg_framing framing, size_t most, mg_sse_cb cb, void *arg)
{
    struct mg_frames *frames = mg_new(struct mg_frames);
    frames->framing = framing;
    frames->cb = cb;
    frames->arg = arg;
    mg_buf_init(&frames->block, MG_MAX_SSE_EVENT_BYTES + 2 * NAME_BYTES);
    if (framing == MG_FRAMING_EVENTSTREAM)
        frames->frames = mg_event_stream_new(MG_MAX_SSE_EVENT_BYTES, on_frame, frames);
    else if (framing == MG_FRAMING_NDJSON)
        frames->lines = mg_ndjson_new(MG_MAX_SSE_EVENT_BYTES, on_line, frames);
    else
        frames->sse = mg_sse_new(most, cb, arg);
    return frames;
}

void mg_frames_free(struct mg_frames *frames)
{
    if (!frames)
        return;
    mg_sse_free(frames->sse);
    mg_event_stream_free(frames->frames);
    mg_ndjson_free(frames->lines);
    mg_buf_fini(&frames->block);
    mg_free(frames);
}

static mg_err explain(struct mg_frames *frames, mg_err err)
{
    if (err == MG_E_BAD_REQUEST && !frames->reason[0])
        snprintf(frames->reason, sizeof frames->reason, "%s", "a frame of the answer is broken: its check sum or its form is wrong");
    return err;
}

mg_err mg_frames_feed(struct mg_frames *frames, mg_view bytes)
{
    if (frames->framing == MG_FRAMING_SSE)
        return mg_sse_feed(frames->sse, bytes);
    return explain(frames, frames->lines ? mg_ndjson_feed(frames->lines, bytes) : mg_event_stream_feed(frames->frames, bytes));
}

mg_err mg_frames_finish(struct mg_frames *frames)
{
    return frames->lines ? mg_ndjson_finish(frames->lines) : MG_OK;
}

const char *mg_frames_reason(const struct mg_frames *frames)
{
    return frames->reason[0] ? frames->reason : NULL;
}
