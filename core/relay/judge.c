#include "relay/judge.h"

#include <stdio.h>

#include "base/mem.h"
#include "http/wait.h"
#include "relay/raw.h"

static void say(struct mg_attempt *attempt, const char *text)
{
    if (!attempt->tap.error_message[0])
        snprintf(attempt->tap.error_message, sizeof attempt->tap.error_message, "%s", text);
}

static mg_view header(const struct mg_attempt *attempt, const char *name)
{
    return name ? mg_headers_get(attempt->headers, mg_view_cstr(name)) : MG_VIEW_NONE;
}

static bool type_is(const struct mg_attempt *attempt, mg_view wanted)
{
    return mg_view_ieq(attempt->content_type, wanted);
}

bool mg_judge_is_html(const struct mg_attempt *attempt)
{
    mg_view body = mg_buf_view(&attempt->body);
    return type_is(attempt, MG_VIEW("text/html")) || (body.len > 0 && body.ptr[0] == '<');
}

/* Proxies answer in HTML with the statuses of their own trouble; only a few of them mean the same for an API. */
static enum mg_class judge_page(const struct mg_attempt *attempt)
{
    int status = attempt->facts.status;
    bool means_it = status == 408 || status == 413 || status == 429 || status == 503;
    return means_it ? mg_adapter_hint(attempt->tap.adapter, status, &attempt->tap) : MG_CLASS_server_error;
}

/* What a complete answer is worth. */
static enum mg_class judge_answer(struct mg_attempt *attempt)
{
    const struct mg_tap *tap = &attempt->tap;
    if (tap->broken_arguments) {
        say(attempt, "the arguments of a tool call are not JSON");
        return MG_CLASS_invalid_json;
    }
    if (tap->end == MG_FINISH_FILTERED)
        return MG_CLASS_content_filter;
    if (tap->end == MG_FINISH_REFUSED)
        return MG_CLASS_refusal;
    if (tap->useful || tap->end == MG_FINISH_CUT)
        return MG_CLASS_none;
    if (tap->refused)
        return MG_CLASS_refusal;
    say(attempt, tap->content ? "the answer has nothing but reasoning in it" : "the answer has nothing in it");
    return MG_CLASS_empty_response;
}

void mg_judge_keep_tail(struct mg_attempt *attempt, mg_view bytes)
{
    struct mg_buf *tail = &attempt->tail;
    bytes = mg_view_skip(bytes, bytes.len > MG_JUDGE_TAIL_BYTES ? bytes.len - MG_JUDGE_TAIL_BYTES : 0);
    if (tail->len + bytes.len > tail->max)
        mg_buf_consume(tail, tail->len - MG_MIN(tail->len, (size_t)MG_JUDGE_TAIL_BYTES));
    if (mg_buf_put(tail, bytes) != MG_OK)
        mg_buf_clear(tail);
}

/* An answer too long to be read whole ends with its usage: the text from there on, in braces, is a document. */
void mg_judge_tail(struct mg_attempt *attempt)
{
    const char *usage = mg_adapter_declaration(attempt->tap.adapter)->usage_object[0];
    mg_view tail = mg_buf_view(&attempt->tail);
    size_t at = tail.len;
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", usage ? usage : "");
    for (size_t i = 0; i < tail.len; i++)
        if (mg_view_starts(mg_view_skip(tail, i), mg_view_cstr(key)))
            at = i;
    struct mg_buf doc;
    mg_buf_init(&doc, tail.len + 1);
    if (at < tail.len && mg_buf_putc(&doc, '{') == MG_OK && mg_buf_put(&doc, mg_view_skip(tail, at)) == MG_OK)
        mg_tap_body(&attempt->tap, mg_buf_view(&doc));
    mg_buf_fini(&doc);
}

/* It was passed on as it came; what is left to know is whether it came to its end. */
static enum mg_class judge_passed_on(struct mg_attempt *attempt)
{
    mg_judge_tail(attempt);
    if (mg_json_pieces_complete(&attempt->passed))
        return MG_CLASS_none;
    say(attempt, "the answer ends in the middle of its JSON");
    return MG_CLASS_truncated_stream;
}

static enum mg_class judge_good_status(struct mg_attempt *attempt)
{
    const struct mg_tap *tap = &attempt->tap;
    if (tap->failed) {
        attempt->facts.in_stream = true;
        return tap->error_class;
    }
    if (mg_judge_is_html(attempt))
        return MG_CLASS_server_error;
    if (attempt->as_is && !mg_view_starts(attempt->content_type, MG_VIEW("audio/")))
        return MG_CLASS_none;          /* a text of silence, a file of nothing, 204 */
    if (tap->malformed) {
        say(attempt, attempt->body.len ? "the answer is not JSON" : "the answer is empty");
        return attempt->body.len ? MG_CLASS_invalid_json : MG_CLASS_empty_response;
    }
    if (attempt->call.plain)
        return MG_CLASS_none;
    if (attempt->call.stream) {
        say(attempt, "the answer is no event stream");
        return MG_CLASS_server_error;
    }
    return judge_answer(attempt);
}

enum mg_class mg_judge_body(struct mg_attempt *attempt)
{
    int status = attempt->facts.status;
    if (attempt->streaming_body)
        return attempt->as_is ? MG_CLASS_none : judge_passed_on(attempt);
    mg_tap_body(&attempt->tap, mg_buf_view(&attempt->body));
    if (status >= 200 && status < 300)
        return judge_good_status(attempt);
    if (mg_judge_is_html(attempt))
        return judge_page(attempt);
    mg_tap_error_header(&attempt->tap, header(attempt, mg_adapter_declaration(attempt->tap.adapter)->error_type_header));
    return status < 400 ? MG_CLASS_server_error : mg_adapter_hint(attempt->tap.adapter, status, &attempt->tap);
}

enum mg_class mg_judge_stream(struct mg_attempt *attempt)
{
    const struct mg_tap *tap = &attempt->tap;
    if (attempt->call.plain && tap->events > tap->skipped)
        return MG_CLASS_none;          /* of other streams than conversations only the framing tells the end */
    if (tap->finished)
        return judge_answer(attempt);
    if (tap->skipped > 0 && tap->skipped + tap->done == tap->events) {
        say(attempt, "no event of the stream is JSON");
        return MG_CLASS_invalid_json;
    }
    return MG_CLASS_truncated_stream;
}

/* ---- when to come back ----------------------------------------------------------------------- */

static uint64_t reset_ms(const struct mg_attempt *attempt, const char *left_name, const char *reset_name, uint64_t wall_us,
                         bool *out_used_up)
{
    uint64_t left, ms;
    if (!mg_wait_read_until(header(attempt, reset_name), wall_us, &ms))
        return 0;
    *out_used_up = mg_view_u64(header(attempt, left_name), &left) && left == 0;
    return ms;
}

/* The limit that is used up says when; when none claims to be, the one that comes back first. */
static uint64_t limits_reset_ms(const struct mg_attempt *attempt, uint64_t wall_us)
{
    const struct mg_limit_headers *names = &mg_adapter_declaration(attempt->tap.adapter)->limits;
    bool no_requests = false, no_tokens = false;
    uint64_t requests_ms = reset_ms(attempt, names->requests_left, names->requests_reset, wall_us, &no_requests);
    uint64_t tokens_ms = reset_ms(attempt, names->tokens_left, names->tokens_reset, wall_us, &no_tokens);
    if (no_requests != no_tokens)
        return no_requests ? requests_ms : tokens_ms;
    if (no_requests)
        return MG_MAX(requests_ms, tokens_ms);
    return !requests_ms ? tokens_ms : !tokens_ms ? requests_ms : MG_MIN(requests_ms, tokens_ms);
}

uint64_t mg_judge_retry_after_ms(const struct mg_attempt *attempt, enum mg_class hint, uint64_t wall_us)
{
    if (!attempt->facts.headers || hint == MG_CLASS_none || mg_class_is_client_fault(hint))
        return 0;
    uint64_t ms = mg_wait_retry_after_ms(attempt->headers, wall_us);
    if (!ms)
        ms = mg_tap_retry_ms(&attempt->tap);
    bool of_rate = hint != MG_CLASS_quota_billing;     /* money does not come back with the requests of a minute */
    if (!ms && of_rate && attempt->facts.status == 429)
        ms = limits_reset_ms(attempt, wall_us);
    return ms;
}

/* Providers bill answers, and may bill a request they took without answering; an error status is free. */
static bool may_be_billed(const struct mg_attempt *attempt)
{
    int status = attempt->facts.status;
    return status ? status < 300 : attempt->call.record->mark_us[MG_MARK_sent] != 0;
}

void mg_judge_usage(struct mg_attempt *attempt)
{
    struct mg_usage *usage = &attempt->call.record->usage;
    if (attempt->call.raw) {
        mg_raw_usage(attempt);
        return;
    }
    *usage = attempt->call.free ? (struct mg_usage){.reported = false} : attempt->tap.usage;
    if (usage->input_tokens == 0)      /* nobody answers to nothing: a report without a count of it is none */
        *usage = (struct mg_usage){.reported = false};
    if (attempt->call.plain) {
        usage->images = attempt->tap.images;
        usage->audio_ms = attempt->tap.audio_ms;
        usage->searches = attempt->tap.searches;
    }
    if (usage->reported || attempt->call.free || attempt->call.plain || !may_be_billed(attempt))
        return;                        /* of pictures and sound the bytes tell nothing */
    usage->input_tokens = attempt->call.record->bytes_sent / 4;
    usage->output_tokens = (attempt->streaming_body ? attempt->call.record->bytes_received : attempt->tap.content_bytes) / 4;
}

const char *mg_judge_phase(const struct mg_attempt *attempt)
{
    if (attempt->state == MG_ATTEMPT_TOKEN)
        return "token";
    const uint64_t *marks = attempt->call.record->mark_us;
    if (attempt->head_us)
        return !attempt->call.stream ? "body" : marks[MG_MARK_first_token] ? "stream" : "first_token";
    if (attempt->stream || marks[MG_MARK_sent])
        return "headers";
    return marks[MG_MARK_connect] ? "tls" : marks[MG_MARK_dns] ? "connect" : "dns";
}
