/* The rest of a request's body goes to the provider as the client sends it. While the client is what is waited for, no timer
 * of the provider runs; while the provider's socket is full, its idle timer does, and the client waits. */
#include "relay/attempt_parts.h"

static mg_err write_piece(struct mg_attempt *attempt, mg_view bytes)
{
    char size[MG_HTTP_CHUNK_HEAD];
    mg_view parts[3] = {MG_VIEW_NONE, bytes, MG_VIEW_NONE};
    if (attempt->call.feed->chunked) {
        parts[0] = mg_view_of(size, mg_http_chunk_head(size, bytes.len));
        parts[2] = MG_HTTP_CHUNK_TAIL;
    }
    return mg_stream_write(attempt->stream, parts, 3);
}

static mg_err on_bytes(void *arg, mg_view bytes)
{
    struct mg_attempt *attempt = arg;
    if (!attempt->stream)
        return MG_E_CLOSED;
    attempt->call.record->bytes_sent += bytes.len;
    mg_err err = write_piece(attempt, bytes);
    if (attempt->state == MG_ATTEMPT_SENDING && err == MG_E_AGAIN)
        mg_attempt_arm_idle(attempt);
    else if (attempt->state == MG_ATTEMPT_SENDING)
        mg_timer_cancel(attempt->call.loop, &attempt->timer);
    return err;                        /* of a stream that has ended on_closed comes later */
}

static void on_end(void *arg)
{
    struct mg_attempt *attempt = arg;
    mg_view last = MG_HTTP_CHUNK_LAST;
    if (!attempt->call.feed->chunked || mg_stream_write(attempt->stream, &last, 1) != MG_E_CLOSED)
        mg_attempt_sent(attempt);
    mg_attempt_feed_off(attempt);
}

static const struct mg_feed_ops feed_ops = {.on_bytes = on_bytes, .on_end = on_end};

void mg_attempt_feed(struct mg_attempt *attempt)
{
    attempt->feeding_rest = true;
    if (attempt->state == MG_ATTEMPT_SENDING)
        mg_timer_cancel(attempt->call.loop, &attempt->timer);
    mg_feed_take(attempt->call.feed, &feed_ops, attempt);
}

void mg_attempt_feed_on(struct mg_attempt *attempt)
{
    if (attempt->state == MG_ATTEMPT_SENDING)
        mg_timer_cancel(attempt->call.loop, &attempt->timer);
    mg_feed_drained(attempt->call.feed);
}

void mg_attempt_feed_off(struct mg_attempt *attempt)
{
    attempt->feeding_rest = false;
    if (attempt->call.feed)
        mg_feed_leave(attempt->call.feed, attempt);
}
