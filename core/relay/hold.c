#include "relay/hold.h"

#include "base/mem.h"
#include "http/json_pieces.h"
#include "relay/hide.h"
#include "relay/judge.h"

/* A body of which so much in a row is blanks when it outgrows what is held is no answer. */
enum { BLANK_BYTES = 65536 };

void mg_attempt_mark(struct mg_attempt *attempt, enum mg_mark which, uint64_t at_us)
{
    uint64_t *slot = &attempt->call.record->mark_us[which];
    if (!*slot)
        *slot = at_us > attempt->start_us ? at_us - attempt->start_us : 1;
}

static mg_view skip_blanks(mg_view bytes)
{
    size_t at = 0;
    while (at < bytes.len && (bytes.ptr[at] == ' ' || bytes.ptr[at] == '\n' || bytes.ptr[at] == '\r' || bytes.ptr[at] == '\t'))
        at++;
    return mg_view_skip(bytes, at);
}

static mg_err refuse(struct mg_hold_refusal *out, enum mg_class class_, const char *text)
{
    *out = (struct mg_hold_refusal){class_, text};
    return MG_E_CANCELLED;
}

/* Blank lines in front keep a queued request alive with some providers; they are no part of the answer. */
static mg_err skip_prelude(struct mg_attempt *attempt, mg_view *bytes, struct mg_hold_refusal *out)
{
    mg_view rest = skip_blanks(*bytes);
    attempt->prelude_bytes += bytes->len - rest.len;
    *bytes = rest;
    return attempt->prelude_bytes > MG_MAX_HELD_BYTES
               ? refuse(out, MG_CLASS_server_error, "a megabyte of blanks came before any answer") : MG_OK;
}

/* More than is held came. Before it goes to the client, what is there must look like an answer. */
static mg_err outgrow(struct mg_attempt *attempt, struct mg_hold_refusal *out)
{
    mg_view held = mg_buf_view(&attempt->body);
    if (mg_judge_is_html(attempt))
        return refuse(out, MG_CLASS_server_error, "an HTML page came instead of an answer");
    if (skip_blanks(mg_view_skip(held, held.len - BLANK_BYTES)).len == 0)
        return refuse(out, MG_CLASS_server_error, "nothing but blanks came instead of the rest of the answer");
    if (!mg_json_pieces_feed(&attempt->passed, held))
        return refuse(out, MG_CLASS_invalid_json, "the answer is not JSON");
    if (attempt->call.whole)
        return refuse(out, MG_CLASS_schema_mismatch, "the answer is too long to be held back and judged");
    mg_hide_in_body(attempt);
    mg_hide_in_piece(attempt, held);
    attempt->streaming_body = true;
    attempt->tap.content = attempt->tap.useful = true;
    mg_attempt_mark(attempt, MG_MARK_first_token, mg_loop_now_us(attempt->call.loop));
    attempt->call.ops->on_body(attempt->call.arg, held);
    return attempt->state == MG_ATTEMPT_READING ? MG_OK : MG_E_CANCELLED;
}

bool mg_hold_goes_as_is(const struct mg_attempt *attempt)
{
    mg_view type = attempt->content_type;
    return !mg_view_ieq(type, MG_VIEW("application/json")) && !mg_view_ieq(type, MG_VIEW("text/html"));
}

/* Nothing is known of its form: whoever listens to it hears it from its first byte on. */
static mg_err pass_on(struct mg_attempt *attempt, mg_view bytes)
{
    attempt->streaming_body = attempt->tap.content = attempt->tap.useful = true;
    mg_attempt_mark(attempt, MG_MARK_first_token, mg_loop_now_us(attempt->call.loop));
    mg_hide_in_piece(attempt, bytes);
    attempt->call.ops->on_body(attempt->call.arg, bytes);
    return attempt->state == MG_ATTEMPT_READING ? MG_OK : MG_E_CANCELLED;
}

mg_err mg_hold(struct mg_attempt *attempt, mg_view bytes, struct mg_hold_refusal *out)
{
    bool good = attempt->facts.status >= 200 && attempt->facts.status < 300;
    bool wants_events = attempt->call.stream && !attempt->call.plain;
    if (attempt->as_is)
        return pass_on(attempt, bytes);
    if (!attempt->body.len)
        MG_TRY(skip_prelude(attempt, &bytes, out));
    if (!attempt->streaming_body && mg_buf_put(&attempt->body, bytes) == MG_OK)
        return MG_OK;
    if (!good || wants_events) {
        attempt->body.max = attempt->body.len;
        return MG_OK;                  /* an error text of a megabyte: its beginning, without holes, says enough */
    }
    if (!attempt->streaming_body)
        MG_TRY(outgrow(attempt, out));
    if (!mg_json_pieces_feed(&attempt->passed, bytes))
        return refuse(out, MG_CLASS_invalid_json, "the answer is not JSON any more");
    mg_hide_in_piece(attempt, bytes);
    mg_judge_keep_tail(attempt, bytes);
    attempt->call.ops->on_body(attempt->call.arg, bytes);
    return attempt->state == MG_ATTEMPT_READING ? MG_OK : MG_E_CANCELLED;
}
