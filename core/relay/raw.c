#include "relay/raw.h"

#include "base/mem.h"
#include "relay/hide.h"
#include "relay/judge.h"

enum { BYTES_PER_TOKEN = 4 };

uint64_t mg_raw_cost_picousd(const struct mg_raw *raw, uint64_t bytes)
{
    double microusd = raw->fixed_microusd + raw->megabyte_microusd * (double)bytes / 1e6;
    return (uint64_t)(microusd * 1e6 + 0.5);
}

static bool is_error(const struct mg_attempt *attempt)
{
    return attempt->facts.status >= 400;
}

static mg_err go_on(const struct mg_attempt *attempt)
{
    return attempt->state == MG_ATTEMPT_READING ? MG_OK : MG_E_CANCELLED;
}

/* Beside the bytes that are handed on: usage, and whether it is an answer. What cannot be read is left unread. */
static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct mg_attempt *attempt = arg;
    struct mg_tap_event seen;
    if (!event->is_comment)
        mg_tap_event(&attempt->tap, event->name, event->data, &seen);
    return MG_OK;
}

mg_err mg_raw_on_head(struct mg_attempt *attempt)
{
    enum mg_framing framing = mg_adapter_declaration(attempt->call.adapter)->framing;
    if (is_error(attempt))
        return MG_OK;
    attempt->streaming_body = true;
    if (attempt->call.raw->known && mg_frames_known(framing, attempt->content_type, &framing)) {
        attempt->tap.stream = true;
        attempt->frames = mg_frames_new(framing, MG_MAX_MEDIA_EVENT_BYTES, on_event, attempt);
    }
    attempt->call.ops->on_head(attempt->call.arg, attempt->facts.status, attempt->headers);
    return go_on(attempt);
}

static void look_at(struct mg_attempt *attempt, mg_view bytes)
{
    if (attempt->frames) {
        if (mg_frames_feed(attempt->frames, bytes) == MG_OK)
            return;
        mg_frames_free(attempt->frames);
        attempt->frames = NULL;        /* no events after all: what was read of them stays */
    } else if (attempt->call.raw->known && mg_buf_put(&attempt->body, bytes) != MG_OK) {
        attempt->body.max = attempt->body.len;
        mg_judge_keep_tail(attempt, bytes);
    }
}

/* An error of more than can be held: the rest goes as it comes. */
static mg_err let_error_go(struct mg_attempt *attempt, mg_view bytes)
{
    mg_hide_in_body(attempt);
    mg_raw_let_go(attempt);
    if (go_on(attempt) == MG_OK)
        attempt->call.ops->on_body(attempt->call.arg, bytes);
    return go_on(attempt);
}

mg_err mg_raw_on_body(struct mg_attempt *attempt, mg_view bytes)
{
    if (is_error(attempt) && !attempt->streaming_body)
        return mg_buf_put(&attempt->body, bytes) == MG_OK ? MG_OK : let_error_go(attempt, bytes);
    mg_hide_in_piece(attempt, bytes);
    look_at(attempt, bytes);
    attempt->call.ops->on_body(attempt->call.arg, bytes);
    return go_on(attempt);
}

/* Vendors have endpoints that want another kind of key, and things that are not there: a client who asks for those must
 * not get the key, or the model, benched that others use. */
static enum mg_class unknown_error(enum mg_class class_)
{
    bool passes = class_ == MG_CLASS_rate_limited || class_ == MG_CLASS_overloaded || class_ == MG_CLASS_server_error;
    return passes ? class_ : MG_CLASS_invalid_request;
}

static enum mg_class judge_error(struct mg_attempt *attempt)
{
    const char *header = mg_adapter_declaration(attempt->call.adapter)->error_type_header;
    mg_tap_body(&attempt->tap, mg_buf_view(&attempt->body));
    if (header)
        mg_tap_error_header(&attempt->tap, mg_headers_get(attempt->headers, mg_view_cstr(header)));
    enum mg_class class_ = mg_adapter_hint(attempt->tap.adapter, attempt->facts.status, &attempt->tap);
    return attempt->call.raw->known ? class_ : unknown_error(class_);
}

enum mg_class mg_raw_judge(struct mg_attempt *attempt)
{
    if (is_error(attempt))
        return judge_error(attempt);
    if (!attempt->call.raw->known)
        return MG_CLASS_none;
    if (attempt->frames) {
        mg_err err = mg_frames_finish(attempt->frames);
        (void)err;                     /* a last event without its end: handed on, not read */
    } else if (attempt->tail.len) {
        mg_judge_tail(attempt);
    } else {
        mg_tap_body(&attempt->tap, mg_buf_view(&attempt->body));
    }
    return attempt->tap.failed ? attempt->tap.error_class : MG_CLASS_none;
}

void mg_raw_let_go(struct mg_attempt *attempt)
{
    if (attempt->streaming_body)
        return;
    attempt->streaming_body = true;
    attempt->call.ops->on_head(attempt->call.arg, attempt->facts.status, attempt->headers);
    if (go_on(attempt) == MG_OK && attempt->body.len)
        attempt->call.ops->on_body(attempt->call.arg, mg_buf_view(&attempt->body));
}

static bool may_be_billed(const struct mg_attempt *attempt)
{
    int status = attempt->facts.status;
    return status ? status < 400 : attempt->call.record->mark_us[MG_MARK_sent] != 0;
}

/* Of what the tap could read it is the content that was made, else all that came. */
static uint64_t answer_bytes(const struct mg_attempt *attempt)
{
    bool read = attempt->call.raw->known && !attempt->tail.len && !attempt->tap.malformed;
    return read ? attempt->tap.content_bytes : attempt->call.record->bytes_received;
}

void mg_raw_usage(struct mg_attempt *attempt)
{
    const struct mg_raw *raw = attempt->call.raw;
    struct mg_usage *usage = &attempt->call.record->usage;
    *usage = (struct mg_usage){.reported = false};
    if (attempt->call.free || !may_be_billed(attempt))
        return;
    if (raw->known && attempt->tap.usage.reported && attempt->tap.usage.input_tokens) {
        *usage = attempt->tap.usage;
    } else if (raw->counts) {
        usage->input_tokens = attempt->call.record->bytes_sent / BYTES_PER_TOKEN;
        usage->output_tokens = answer_bytes(attempt) / BYTES_PER_TOKEN;
    }
}

bool mg_raw_is_answered(const struct mg_attempt *attempt)
{
    return attempt->facts.status && !attempt->facts.transport && !attempt->facts.timeout;
}
