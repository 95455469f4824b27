/* Names follow the state machine in attempt.h: connect_upstream, send_head, send_body, on_head, on_event or hold,
 * conclude. Everything that ends an attempt passes through end(). */
#include "relay/attempt.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "relay/attempt_parts.h"
#include "relay/hide.h"
#include "relay/hold.h"
#include "relay/judge.h"
#include "relay/raw.h"

/* How long a token may take to be made. */
enum { TOKEN_MS = 10000 };

enum { BODY_HEAD_BYTES = 4096, SEND_BYTES = 65536 };

/* What a finished stream may still take to send its usage and its end: between two reads, and in all. */
enum { FINISHED_IDLE_MS = 2000, FINISHED_TOTAL_MS = 10000 };

/* Timers that were cut to the deadline count whole milliseconds. */
enum { DEADLINE_SLACK_US = 2000 };

/* Comments keep a stream alive for so long without content, or for the idle limit when that is longer. */
enum { PROGRESS_MS = 60000 };

/* The length of an answer is bounded by its timers and by what is held of it, not by a number. */
static const struct mg_http_limits answer_limits = {
    .header_bytes = MG_MAX_HEADER_BYTES, .header_count = MG_MAX_HEADER_COUNT, .body_bytes = UINT64_MAX};

static void set_state(struct mg_attempt *attempt, enum mg_attempt_state to);
static void get_token(struct mg_attempt *attempt);
static void connect_upstream(struct mg_attempt *attempt, bool fresh);
static void on_connected(struct mg_pool_op *op, mg_err result);
static void send_head(struct mg_attempt *attempt);
static void send_body(struct mg_attempt *attempt);
static void conclude(struct mg_attempt *attempt);
static void fail(struct mg_attempt *attempt, enum mg_class hint, const char *transport, const char *timeout);
static void end(struct mg_attempt *attempt);
static void forget_answer(struct mg_attempt *attempt);
static bool finished(struct mg_attempt *attempt);
static void say(struct mg_attempt *attempt, const char *text);

static uint64_t now_us(const struct mg_attempt *attempt)
{
    return mg_loop_now_us(attempt->call.loop);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static struct mg_attempt *of_timer(struct mg_timer *timer)
{
    return mg_container_of(timer, struct mg_attempt, timer);
}

static void on_connect_timeout(struct mg_timer *timer)
{
    fail(of_timer(timer), MG_CLASS_timeout_connect, NULL, "connect");
}

static void on_first_token_timeout(struct mg_timer *timer)
{
    fail(of_timer(timer), MG_CLASS_timeout_ttft, NULL, "first_token");
}

static uint32_t progress_ms(const struct mg_attempt *attempt)
{
    return attempt->tap.finished ? FINISHED_TOTAL_MS : MG_MAX(attempt->call.timeouts.idle_ms, (uint32_t)PROGRESS_MS);
}

/* How much longer comments and the like may come instead of content. */
static uint32_t progress_left_ms(const struct mg_attempt *attempt)
{
    uint64_t passed_ms = (now_us(attempt) - attempt->progress_us) / 1000;
    uint32_t most_ms = progress_ms(attempt);
    return passed_ms < most_ms ? most_ms - (uint32_t)passed_ms : 0;
}

/* A finished answer whose [DONE] and end do not come is a good answer all the same. */
static void on_idle_timeout(struct mg_timer *timer)
{
    struct mg_attempt *attempt = of_timer(timer);
    if (finished(attempt))
        return;
    if (attempt->event_stream && attempt->tap.content && progress_left_ms(attempt) == 0)
        say(attempt, "the stream is kept open, but no content comes");
    if (now_us(attempt) + DEADLINE_SLACK_US >= attempt->call.deadline_us)
        fail(attempt, MG_CLASS_timeout_total, NULL, "total");      /* the deadline had cut this timer: both are due */
    else
        fail(attempt, MG_CLASS_timeout_idle, NULL, "idle");
}

static void on_total_timeout(struct mg_timer *timer)
{
    struct mg_attempt *attempt = mg_container_of(timer, struct mg_attempt, total);
    if (!finished(attempt))
        fail(attempt, MG_CLASS_timeout_total, NULL, "total");
}

/* Every timer is cut to what is left of the deadline. */
static uint64_t cut(const struct mg_attempt *attempt, uint32_t timeout_ms)
{
    uint64_t now = now_us(attempt);
    uint64_t left_ms = attempt->call.deadline_us > now ? (attempt->call.deadline_us - now) / 1000 : 0;
    return MG_MIN((uint64_t)timeout_ms, MG_MAX(left_ms, 1));
}

static void arm(struct mg_attempt *attempt, uint32_t timeout_ms, mg_timer_cb cb)
{
    mg_timer_start(attempt->call.loop, &attempt->timer, cut(attempt, timeout_ms), cb);
}

void mg_attempt_arm_idle(struct mg_attempt *attempt)
{
    arm(attempt, attempt->call.timeouts.idle_ms, on_idle_timeout);
}

static void stop_timers(struct mg_attempt *attempt)
{
    mg_timer_cancel(attempt->call.loop, &attempt->timer);
    mg_timer_cancel(attempt->call.loop, &attempt->total);
}

/* A whole answer has no first token to wait for: `total` alone bounds it, as `idle` would cut off models that think. */
static void await_answer(struct mg_attempt *attempt)
{
    uint32_t first_token_ms = attempt->call.timeouts.first_token_ms;
    attempt->first_token_due_us = now_us(attempt) + (uint64_t)first_token_ms * 1000;
    if (attempt->call.stream)
        arm(attempt, first_token_ms, on_first_token_timeout);
    else
        mg_timer_cancel(attempt->call.loop, &attempt->timer);
}

/* Bytes of a stream that are no content: the next must come within the idle limit, content before the other one. */
static void push_prelude(struct mg_attempt *attempt)
{
    uint64_t now = now_us(attempt), due = attempt->first_token_due_us;
    uint64_t left_ms = due > now ? (due - now + 999) / 1000 : 1;
    if (!attempt->call.stream || !due)
        return;
    if (attempt->call.timeouts.idle_ms < left_ms)
        arm(attempt, attempt->call.timeouts.idle_ms, on_idle_timeout);
    else
        arm(attempt, (uint32_t)MG_MIN(left_ms, (uint64_t)UINT32_MAX), on_first_token_timeout);
}

/* Any byte pushes it, but no further than content or a finish has pushed `progress_us`. */
static void push_idle(struct mg_attempt *attempt)
{
    bool finished = attempt->event_stream && attempt->tap.finished;
    uint32_t idle_ms = attempt->call.timeouts.idle_ms;
    if (attempt->paused || attempt->state != MG_ATTEMPT_READING)
        return;
    if (attempt->call.raw) {
        arm(attempt, idle_ms, on_idle_timeout);
        return;
    }
    if (!attempt->tap.content && !finished) {
        push_prelude(attempt);
        return;
    }
    if (finished)
        idle_ms = MG_MIN(idle_ms, (uint32_t)FINISHED_IDLE_MS);
    if (attempt->event_stream)
        idle_ms = MG_MIN(idle_ms, progress_left_ms(attempt));
    arm(attempt, MG_MAX(idle_ms, 1u), on_idle_timeout);
}

/* ---- start, connect, send -------------------------------------------------------------------- */

static void set_state(struct mg_attempt *attempt, enum mg_attempt_state to)
{
    static const unsigned char before[] = {
        [MG_ATTEMPT_IDLE] = 1 << MG_ATTEMPT_ENDING | 1 << MG_ATTEMPT_TOKEN | 1 << MG_ATTEMPT_CONNECTING | 1 << MG_ATTEMPT_SENDING |
                            1 << MG_ATTEMPT_WAITING | 1 << MG_ATTEMPT_READING,
        [MG_ATTEMPT_TOKEN] = 1 << MG_ATTEMPT_IDLE | 1 << MG_ATTEMPT_READING,
        [MG_ATTEMPT_CONNECTING] = 1 << MG_ATTEMPT_IDLE | 1 << MG_ATTEMPT_TOKEN | 1 << MG_ATTEMPT_READING | 1 << MG_ATTEMPT_SENDING | 1 << MG_ATTEMPT_WAITING,
        [MG_ATTEMPT_SENDING] = 1 << MG_ATTEMPT_CONNECTING,
        [MG_ATTEMPT_WAITING] = 1 << MG_ATTEMPT_SENDING,
        [MG_ATTEMPT_READING] = 1 << MG_ATTEMPT_WAITING | 1 << MG_ATTEMPT_SENDING,
        [MG_ATTEMPT_ENDING] = 1 << MG_ATTEMPT_TOKEN | 1 << MG_ATTEMPT_CONNECTING | 1 << MG_ATTEMPT_SENDING | 1 << MG_ATTEMPT_WAITING |
                              1 << MG_ATTEMPT_READING,
    };
    assert(before[to] & 1 << attempt->state);
    attempt->state = to;
}

/* As before anything of an answer came. */
static void reset(struct mg_attempt *attempt)
{
    const struct mg_attempt_call *call = &attempt->call;
    forget_answer(attempt);
    attempt->head_us = attempt->first_token_due_us = 0;
    attempt->prelude_bytes = 0;
    attempt->progress_us = now_us(attempt);
    attempt->passed = (struct mg_json_pieces){.depth = 0};
    attempt->address[0] = '\0';
    attempt->paused = attempt->streaming_body = attempt->event_stream = attempt->may_be_events = attempt->ok = attempt->as_is = attempt->feeding_rest = false;
    attempt->facts = (struct mg_attempt_facts){.hint = MG_CLASS_none};
    attempt->headers = (struct mg_headers){0};
    attempt->content_type = MG_VIEW_NONE;
    mg_tap_init(&attempt->tap, call->adapter, call->stream);
    mg_buf_init(&attempt->body, call->whole ? MG_MAX_BUFFERED_BYTES : MG_MAX_HELD_BYTES);
    mg_buf_init(&attempt->tail, MG_JUDGE_TAIL_BYTES * 2);
}

void mg_attempt_start(struct mg_attempt *attempt, const struct mg_attempt_call *call)
{
    assert(attempt->state == MG_ATTEMPT_IDLE);
    attempt->call = *call;
    attempt->start_us = now_us(attempt);
    attempt->renewed = false;
    reset(attempt);
    mg_timer_start(call->loop, &attempt->total, cut(attempt, call->timeouts.total_ms), on_total_timeout);
    get_token(attempt);
}

static void on_token(void *arg)
{
    struct mg_attempt *attempt = arg;
    attempt->token_wait = NULL;
    get_token(attempt);
}

/* Where the key is good for a token only, that comes first; it is mostly there. */
static void get_token(struct mg_attempt *attempt)
{
    const struct mg_attempt_call *call = &attempt->call;
    struct mg_token_fault fault;
    bool waits = attempt->state == MG_ATTEMPT_TOKEN;
    mg_err err = call->caller_key ? MG_OK : mg_upstream_take_token(call->upstream, call->credential, &attempt->token, &fault);
    if (err == MG_OK) {
        connect_upstream(attempt, call->once);
        return;
    }
    if (!waits) {
        set_state(attempt, MG_ATTEMPT_TOKEN);
        arm(attempt, TOKEN_MS, on_connect_timeout);
    }
    if (err == MG_E_AGAIN) {
        attempt->token_wait = mg_token_await(call->upstream->tokens[call->credential], call->loop, on_token, attempt);
        return;
    }
    bool late = fault.class_ == MG_CLASS_timeout_connect;
    say(attempt, fault.text);
    fail(attempt, fault.class_, fault.class_ == MG_CLASS_network ? "token" : NULL, late ? "connect" : NULL);
}

static void connect_upstream(struct mg_attempt *attempt, bool fresh)
{
    set_state(attempt, MG_ATTEMPT_CONNECTING);
    attempt->answered = false;
    attempt->reads = attempt->pieces = 0;
    attempt->sent_part = attempt->sent_offset = 0;
    uint32_t timeout_ms = (uint32_t)cut(attempt, attempt->call.timeouts.connect_ms);
    arm(attempt, attempt->call.timeouts.connect_ms + 100, on_connect_timeout);
    if (fresh)
        mg_pool_get_fresh(attempt->call.pool, &attempt->call.upstream->endpoint, &attempt->connect, timeout_ms, on_connected);
    else
        mg_pool_get(attempt->call.pool, &attempt->call.upstream->endpoint, &attempt->connect, timeout_ms, on_connected);
}

static void mark_dial(struct mg_attempt *attempt, const struct mg_dial *dial)
{
    if (dial->marks.dns_us)
        mg_attempt_mark(attempt, MG_MARK_dns, dial->marks.dns_us);
    if (dial->marks.connect_us)
        mg_attempt_mark(attempt, MG_MARK_connect, dial->marks.connect_us);
    if (dial->marks.tls_us)
        mg_attempt_mark(attempt, MG_MARK_tls, dial->marks.tls_us);
}

static void say(struct mg_attempt *attempt, const char *text)
{
    snprintf(attempt->tap.error_message, sizeof attempt->tap.error_message, "%s", text);
}

static void connect_failed(struct mg_attempt *attempt, mg_err result)
{
    mark_dial(attempt, &attempt->connect.dial);
    say(attempt, attempt->connect.dial.reason);
    if (result == MG_E_TIMEOUT)
        fail(attempt, MG_CLASS_timeout_connect, NULL, "connect");
    else
        fail(attempt, MG_CLASS_network, result == MG_E_RESOLVE ? "dns" : result == MG_E_TLS ? "tls" : "connect", NULL);
}

static void on_stream_data(void *arg, mg_view bytes);
static void on_stream_end(void *arg);
static void on_stream_drain(void *arg);
static void on_stream_closed(void *arg, mg_err why);

static const struct mg_stream_ops stream_ops = {
    .on_data = on_stream_data, .on_end = on_stream_end, .on_drain = on_stream_drain, .on_closed = on_stream_closed};

static void on_connected(struct mg_pool_op *op, mg_err result)
{
    struct mg_attempt *attempt = mg_container_of(op, struct mg_attempt, connect);
    if (result != MG_OK) {
        connect_failed(attempt, result);
        return;
    }
    attempt->stream = op->stream;
    snprintf(attempt->address, sizeof attempt->address, "%s", mg_stream_peer(attempt->stream));
    attempt->call.record->reused = op->reused;
    if (!op->reused)
        mark_dial(attempt, &op->dial);
    mg_stream_set_ops(attempt->stream, &stream_ops, attempt);
    mg_stream_hear_out(attempt->stream);
    mg_stream_write_timeout(attempt->stream, attempt->call.timeouts.idle_ms);
    set_state(attempt, MG_ATTEMPT_SENDING);
    if (attempt->call.record->redialed && attempt->call.ops->on_redial)
        attempt->call.ops->on_redial(attempt->call.arg);
    send_head(attempt);
}

static mg_err on_head(void *arg, const struct mg_http_response *response);
static mg_err on_body(void *arg, mg_view bytes);
static mg_err on_message_end(void *arg);

static const struct mg_http_client_ops client_ops = {.on_head = on_head, .on_body = on_body, .on_end = on_message_end};

/* What holds secrets is in clear from here to the return of the write, and nowhere else. */
static bool put_secrets(struct mg_attempt *attempt, struct mg_locked *out, struct mg_upstream_secrets *secrets)
{
    const struct mg_attempt_call *call = &attempt->call;
    mg_err err = mg_upstream_put_secrets(call->upstream, call->credential, call->caller_key ? call->caller_key : attempt->token, call->head, call->body, out, secrets);
    if (err != MG_OK) {
        say(attempt, err == MG_E_NOT_FOUND     ? "a secret of the provider is not in the vault"
                     : err == MG_E_BAD_REQUEST ? "a key of the provider is not ACCESS_KEY_ID:SECRET or ACCESS_KEY_ID:SECRET:SESSION_TOKEN"
                                               : "a secret of the provider does not open");
        fail(attempt, MG_CLASS_auth, NULL, NULL);
        return false;
    }
    mg_sealed_unref(attempt->sent_secret);       /* of a connection that was dead */
    attempt->sent_secret = secrets->used;
    return true;
}

/* Head and the first pieces of the body go out in one write. */
static void send_head(struct mg_attempt *attempt)
{
    if (!attempt->client)
        attempt->client = mg_http_client_new(&answer_limits, &client_ops, attempt);
    mg_http_client_begin(attempt->client, attempt->call.raw && attempt->call.raw->head);
    arm(attempt, attempt->call.timeouts.idle_ms, on_idle_timeout);

    const struct mg_body *body = attempt->call.body;
    mg_view parts[MG_BODY_PARTS + 5], head = mg_view_head(attempt->call.head, attempt->call.head.len - 2);
    size_t count = 0, bytes = 0;
    struct mg_upstream_secrets secrets;
    struct mg_locked *plain = mg_locked_take();
    if (!put_secrets(attempt, plain, &secrets)) {
        mg_locked_give(plain);
        return;
    }
    if (secrets.query.len) {
        parts[count++] = mg_view_head(head, mg_sign_target_end(head));
        parts[count++] = secrets.query;
        head = mg_view_skip(head, parts[0].len);
    }
    parts[count++] = head;
    parts[count++] = secrets.lines;
    parts[count++] = MG_VIEW("\r\n");
    while (attempt->sent_part < body->count && bytes + body->parts[attempt->sent_part].len <= SEND_BYTES) {
        parts[count++] = body->parts[attempt->sent_part];
        bytes += body->parts[attempt->sent_part++].len;
    }
    attempt->call.record->bytes_sent = bytes;
    mg_err err = mg_stream_write(attempt->stream, parts, count);
    mg_locked_give(plain);
    if (err == MG_OK)
        send_body(attempt);            /* else on_drain goes on, or on_closed ends it */
}

void mg_attempt_sent(struct mg_attempt *attempt)
{
    mg_attempt_mark(attempt, MG_MARK_sent, now_us(attempt));
    if (attempt->state == MG_ATTEMPT_SENDING)
        set_state(attempt, MG_ATTEMPT_WAITING);
    if (!attempt->tap.content)         /* else the answer overtook the body */
        await_answer(attempt);
}

static void send_body(struct mg_attempt *attempt)
{
    const struct mg_body *body = attempt->call.body;
    while (attempt->sent_part < body->count) {
        mg_view part = mg_view_head(mg_view_skip(body->parts[attempt->sent_part], attempt->sent_offset), SEND_BYTES);
        attempt->sent_offset += part.len;
        if (attempt->sent_offset == body->parts[attempt->sent_part].len) {
            attempt->sent_part++;
            attempt->sent_offset = 0;
        }
        attempt->call.record->bytes_sent += part.len;
        if (mg_stream_write(attempt->stream, &part, 1) != MG_OK)
            break;
    }
    if (attempt->sent_part == body->count && attempt->call.feed)
        mg_attempt_feed(attempt);      /* the rest, as it comes */
    else if (attempt->sent_part == body->count)
        mg_attempt_sent(attempt);
}

static void on_stream_drain(void *arg)
{
    struct mg_attempt *attempt = arg;
    bool rest = attempt->sent_part < attempt->call.body->count;
    if (attempt->feeding_rest) {
        mg_attempt_feed_on(attempt);
    } else if (attempt->state == MG_ATTEMPT_SENDING || (attempt->state == MG_ATTEMPT_READING && rest)) {
        mg_attempt_arm_idle(attempt);  /* a head may come before the body is out; both go on */
        send_body(attempt);
    }
}

/* ---- read ------------------------------------------------------------------------------------ */

static void flush_events(struct mg_attempt *attempt)
{
    if (!attempt->watch_flush || attempt->state == MG_ATTEMPT_IDLE)
        return;
    attempt->watch_flush = false;
    attempt->call.ops->on_flush(attempt->call.arg);
}

static void on_stream_data(void *arg, mg_view bytes)
{
    struct mg_attempt *attempt = arg;
    size_t used;
    attempt->answered = true;
    attempt->reads++;
    mg_attempt_mark(attempt, MG_MARK_first_byte, now_us(attempt));
    mg_hide_sent(attempt, bytes);
    mg_err err = mg_http_client_feed(attempt->client, bytes, &used);
    flush_events(attempt);
    if (attempt->state == MG_ATTEMPT_ENDING || attempt->state == MG_ATTEMPT_IDLE)
        return;                        /* the answer ended the attempt, or its owner did */
    if (mg_http_client_complete(attempt->client)) {
        conclude(attempt);
    } else if (err != MG_OK && !finished(attempt)) {
        say(attempt, mg_http_client_reason(attempt->client));
        fail(attempt, attempt->facts.status ? MG_CLASS_truncated_stream : MG_CLASS_server_error, "protocol", NULL);
    } else {
        push_idle(attempt);            /* once a read, after its events: they may be the head, content or a finish */
    }
}

/* A pooled connection that died before a byte of the answer says nothing about the provider. */
static bool redial(struct mg_attempt *attempt)
{
    if (attempt->answered || !attempt->call.record->reused || attempt->call.record->redialed || mg_feed_is_gone(attempt->call.feed))
        return false;
    if (attempt->stream)
        mg_stream_discard(attempt->stream);
    attempt->stream = NULL;
    attempt->call.record->redialed = true;
    connect_upstream(attempt, true);
    return true;
}

/* What was said is complete: that the connection broke behind it takes nothing away. */
static bool finished(struct mg_attempt *attempt)
{
    bool ended = attempt->tap.finished || (attempt->call.plain && attempt->tap.done);
    if (!attempt->event_stream || !ended)
        return false;
    conclude(attempt);
    return true;
}

static void cut_off(struct mg_attempt *attempt, const char *transport)
{
    if (redial(attempt) || finished(attempt))
        return;
    say(attempt, attempt->answered ? "the connection broke in the middle of the answer"
                                   : "the connection was closed before an answer");
    fail(attempt, attempt->facts.status ? MG_CLASS_truncated_stream : MG_CLASS_network, transport, NULL);
}

static void on_stream_end(void *arg)
{
    struct mg_attempt *attempt = arg;
    mg_err err = mg_http_client_eof(attempt->client);
    flush_events(attempt);
    if (attempt->state == MG_ATTEMPT_ENDING || attempt->state == MG_ATTEMPT_IDLE)
        return;
    if (err == MG_OK && mg_http_client_complete(attempt->client))
        conclude(attempt);
    else
        cut_off(attempt, "closed");
}

static void on_stream_closed(void *arg, mg_err why)
{
    struct mg_attempt *attempt = arg;
    attempt->stream = NULL;
    if (why == MG_E_TIMEOUT)
        fail(attempt, MG_CLASS_timeout_idle, NULL, "idle");
    else
        cut_off(attempt, "reset");
}

static bool stands_in_feed(const struct mg_attempt *attempt, mg_view raw)
{
    return raw.ptr >= attempt->feeding.ptr && raw.ptr < attempt->feeding.ptr + attempt->feeding.len;
}

static mg_err on_event(void *arg, const struct mg_sse_event *event)
{
    struct mg_attempt *attempt = arg;
    struct mg_tap_event seen;
    if (!stands_in_feed(attempt, event->raw)) {  /* it came in pieces */
        mg_hide_sent(attempt, event->raw);
        mg_hide_sent(attempt, event->data);
    }
    if (event->is_comment)
        seen = (struct mg_tap_event){.content = false};
    else
        mg_tap_event(&attempt->tap, event->name, event->data, &seen);
    mg_hide_in_event(attempt, event, &seen);
    if (attempt->tap.failed || attempt->tap.broken_arguments)
        return MG_E_CANCELLED;         /* an error inside the 200, a call nobody can make: nothing of it goes on */
    if (seen.content || seen.finish)
        attempt->progress_us = now_us(attempt);
    if (seen.content && !attempt->call.record->mark_us[MG_MARK_first_token])
        mg_attempt_mark(attempt, MG_MARK_first_token, attempt->progress_us);
    if (!attempt->tap.content && (attempt->prelude_bytes += event->raw.len) > MG_MAX_HELD_BYTES) {
        say(attempt, "a megabyte of events came before any content");
        fail(attempt, MG_CLASS_server_error, "protocol", NULL);
        return MG_E_CANCELLED;
    }
    attempt->watch_flush = true;
    attempt->call.ops->on_event(attempt->call.arg, event, &seen);
    if (!stands_in_feed(attempt, event->raw))
        flush_events(attempt);         /* an event that was cut lives in the decoder and only until we return */
    return attempt->state == MG_ATTEMPT_READING ? MG_OK : MG_E_CANCELLED;
}

static mg_err on_head(void *arg, const struct mg_http_response *response)
{
    struct mg_attempt *attempt = arg;
    if (attempt->state == MG_ATTEMPT_SENDING || attempt->state == MG_ATTEMPT_WAITING)
        set_state(attempt, MG_ATTEMPT_READING);
    attempt->head_us = now_us(attempt);
    attempt->headers = response->headers;
    attempt->content_type = mg_headers_get(attempt->headers, MG_VIEW("content-type"));
    attempt->content_type = mg_view_trim(mg_view_head(attempt->content_type, mg_view_find(attempt->content_type, ";")));
    if (attempt->reads > 1)            /* a value may have come in two of them */
        mg_hide_in_headers(attempt, response->headers);
    attempt->facts.status = response->status;
    attempt->facts.headers = &attempt->headers;
    attempt->call.record->status = (uint16_t)response->status;
    if (attempt->call.raw)
        return mg_raw_on_head(attempt);
    bool good = response->status >= 200 && response->status < 300;
    enum mg_framing framing = mg_adapter_declaration(attempt->call.adapter)->framing;
    attempt->may_be_events = good && attempt->call.stream && mg_frames_may_be(framing, attempt->content_type);
    attempt->event_stream = good && attempt->call.stream && mg_frames_known(framing, attempt->content_type, &framing);
    attempt->as_is = good && attempt->call.plain && !attempt->event_stream && mg_hold_goes_as_is(attempt);
    attempt->may_be_events &= !attempt->as_is;
    if (attempt->event_stream)
        attempt->frames = mg_frames_new(framing, attempt->call.plain ? MG_MAX_MEDIA_EVENT_BYTES : MG_MAX_SSE_EVENT_BYTES, on_event, attempt);
    if (good)
        attempt->call.ops->on_head(attempt->call.arg, response->status, attempt->headers);
    return attempt->state == MG_ATTEMPT_READING ? MG_OK : MG_E_CANCELLED;
}

static mg_err hold(struct mg_attempt *attempt, mg_view bytes)
{
    struct mg_hold_refusal refusal = {.text = NULL};
    mg_err err = mg_hold(attempt, bytes, &refusal);
    if (!refusal.text)
        return err;
    say(attempt, refusal.text);
    fail(attempt, refusal.class_, NULL, NULL);
    return MG_E_CANCELLED;
}

/* The decoder has stopped, or not: who stopped it. */
static mg_err judge_events(struct mg_attempt *attempt, mg_err err)
{
    const char *reason = mg_frames_reason(attempt->frames);
    if (attempt->state != MG_ATTEMPT_READING)
        return err;
    if (attempt->tap.failed) {
        attempt->facts.in_stream = true;
        fail(attempt, attempt->tap.error_class, NULL, NULL);
    } else if (attempt->tap.broken_arguments) {
        say(attempt, "the arguments of a tool call are not JSON");
        fail(attempt, MG_CLASS_invalid_json, NULL, NULL);
    } else if (reason) {
        say(attempt, reason);
        fail(attempt, MG_CLASS_server_error, "protocol", NULL);
    }
    return err;
}

static mg_err read_events(struct mg_attempt *attempt, mg_view bytes)
{
    attempt->feeding = bytes;
    return judge_events(attempt, mg_frames_feed(attempt->frames, bytes));
}

/* Events were asked for, and the answer does not say what it is: its first line tells. */
static mg_err try_events(struct mg_attempt *attempt)
{
    bool enough;
    mg_view held = mg_buf_view(&attempt->body);
    attempt->event_stream = mg_frames_begin(held, &enough);
    attempt->may_be_events = !attempt->event_stream && !enough;
    if (!attempt->event_stream)
        return MG_OK;
    attempt->prelude_bytes = 0;
    attempt->frames = mg_frames_new(MG_FRAMING_SSE, MG_MAX_SSE_EVENT_BYTES, on_event, attempt);
    mg_err err = read_events(attempt, held);
    flush_events(attempt);             /* before what they stand in goes */
    mg_buf_clear(&attempt->body);
    return err;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct mg_attempt *attempt = arg;
    attempt->call.record->bytes_received += bytes.len;
    attempt->pieces++;
    if (attempt->call.raw)
        return mg_raw_on_body(attempt, bytes);
    if (attempt->event_stream)
        return read_events(attempt, bytes);
    MG_TRY(hold(attempt, bytes));
    return attempt->may_be_events ? try_events(attempt) : MG_OK;
}

static mg_err on_message_end(void *arg)
{
    struct mg_attempt *attempt = arg;
    mg_attempt_mark(attempt, MG_MARK_last_byte, now_us(attempt));
    return attempt->event_stream ? judge_events(attempt, mg_frames_finish(attempt->frames)) : MG_OK;
}

void mg_attempt_pause(struct mg_attempt *attempt, bool paused)
{
    if (attempt->state != MG_ATTEMPT_READING || attempt->paused == paused)
        return;
    attempt->paused = paused;
    mg_stream_read(attempt->stream, !paused);
    attempt->progress_us = now_us(attempt);      /* it was the client who was slow */
    if (paused)
        mg_timer_cancel(attempt->call.loop, &attempt->timer);
    else
        push_idle(attempt);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void fill_facts(struct mg_attempt *attempt, enum mg_class hint, const char *transport, const char *timeout)
{
    struct mg_attempt_facts *facts = &attempt->facts;
    mg_hide_secrets(attempt);
    facts->hint = hint;
    facts->transport = transport;
    facts->timeout = timeout;
    facts->out_of_time = timeout && now_us(attempt) + DEADLINE_SLACK_US >= attempt->call.deadline_us;
    facts->phase = mg_judge_phase(attempt);
    facts->elapsed_ms = (now_us(attempt) - attempt->start_us) / 1000;
    facts->error_type = mg_view_cstr(attempt->tap.error_type);
    facts->error_code = mg_view_cstr(attempt->tap.error_code);
    facts->error_message = mg_view_cstr(attempt->tap.error_message);
    facts->body_head = mg_view_head(mg_buf_view(&attempt->body), BODY_HEAD_BYTES);
    facts->retry_after_ms = mg_judge_retry_after_ms(attempt, hint, mg_wall_us());
}

static void release_stream(struct mg_attempt *attempt, bool reusable)
{
    mg_attempt_feed_off(attempt);
    struct mg_stream *stream = attempt->stream;
    attempt->stream = NULL;
    if (!stream)
        return;
    if (reusable)
        mg_pool_put(attempt->call.pool, &attempt->call.upstream->endpoint, stream);
    else
        mg_stream_discard(stream);
}

static void on_deferred_end(struct mg_defer *defer)
{
    struct mg_attempt *attempt = mg_container_of(defer, struct mg_attempt, end);
    set_state(attempt, MG_ATTEMPT_IDLE);
    if (attempt->echoed)
        mg_loop_wipe_reads(attempt->call.loop);
    attempt->call.ops->on_end(attempt->call.arg);
}

static void stop_waiting(struct mg_attempt *attempt)
{
    stop_timers(attempt);
    mg_token_await_cancel(attempt->token_wait);
    attempt->token_wait = NULL;
    mg_pool_cancel(&attempt->connect);
}

/* The one way out but mg_attempt_cancel(). */
static void end(struct mg_attempt *attempt)
{
    mg_judge_usage(attempt);
    stop_waiting(attempt);
    set_state(attempt, MG_ATTEMPT_ENDING);
    mg_loop_defer(attempt->call.loop, &attempt->end, on_deferred_end);
}

static void fail(struct mg_attempt *attempt, enum mg_class hint, const char *transport, const char *timeout)
{
    fill_facts(attempt, hint, transport, timeout);
    release_stream(attempt, false);
    end(attempt);
}

void mg_attempt_spoil(struct mg_attempt *attempt, enum mg_class hint, const char *why)
{
    say(attempt, why);
    attempt->ok = false;
    attempt->facts.hint = hint;
    if (attempt->state == MG_ATTEMPT_READING)
        fail(attempt, hint, NULL, NULL);
}

/* A token of ours that is not taken any more: revoked, or a clock is wrong. Nothing of a 401 has gone on. */
static bool renew(struct mg_attempt *attempt)
{
    const struct mg_attempt_call *call = &attempt->call;
    if (attempt->facts.status != 401 || !attempt->token || attempt->renewed || mg_feed_is_gone(call->feed) ||
        !mg_token_refused(call->upstream->tokens[call->credential], attempt->token))
        return false;
    attempt->renewed = true;
    release_stream(attempt, false);
    reset(attempt);
    get_token(attempt);
    return true;
}

/* The message is complete on the wire. */
static void conclude(struct mg_attempt *attempt)
{
    mg_hide_in_body(attempt);
    if (!attempt->call.raw && renew(attempt))
        return;
    enum mg_class hint = attempt->call.raw ? mg_raw_judge(attempt)
                         : attempt->event_stream ? mg_judge_stream(attempt) : mg_judge_body(attempt);
    bool all_sent = attempt->call.record->mark_us[MG_MARK_sent] != 0;
    attempt->ok = hint == MG_CLASS_none;
    if (attempt->ok && !attempt->event_stream)
        mg_attempt_mark(attempt, MG_MARK_first_token, now_us(attempt));
    fill_facts(attempt, hint, NULL, NULL);
    release_stream(attempt, all_sent && mg_http_client_keep_alive(attempt->client));
    if (attempt->call.raw)
        mg_raw_let_go(attempt);
    else if (attempt->ok && !attempt->event_stream && !attempt->streaming_body)
        attempt->call.ops->on_body(attempt->call.arg, mg_buf_view(&attempt->body));
    if (attempt->state == MG_ATTEMPT_READING)
        end(attempt);
}

static void forget_answer(struct mg_attempt *attempt)
{
    mg_frames_free(attempt->frames);
    attempt->frames = NULL;
    mg_buf_fini(&attempt->body);
    mg_buf_fini(&attempt->tail);
    mg_sealed_unref(attempt->sent_secret);
    mg_sealed_unref(attempt->token);
    attempt->sent_secret = attempt->token = NULL;
    attempt->echoed = false;
    mg_wipe(attempt->trails, sizeof attempt->trails);
}

void mg_attempt_cancel(struct mg_attempt *attempt)
{
    if (attempt->state == MG_ATTEMPT_IDLE)
        return;
    mg_judge_usage(attempt);
    stop_waiting(attempt);
    mg_loop_defer_cancel(&attempt->end);
    release_stream(attempt, false);
    set_state(attempt, MG_ATTEMPT_IDLE);
}

void mg_attempt_fini(struct mg_attempt *attempt)
{
    mg_attempt_cancel(attempt);
    forget_answer(attempt);
    mg_http_client_free(attempt->client);
    attempt->client = NULL;
}
