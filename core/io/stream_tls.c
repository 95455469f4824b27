/* TLS on a stream. Buffers belong to the loop, because only one stream works at a time:
 *
 *   socket ─▶ loop's read buffer ─▶ [cipher: what was held back] ─▶ mg_tls_read ─▶ loop's `plain`
 * ─▶ on_data mg_stream_write ─▶ loop's `gather` ─▶ mg_tls_write ─▶ loop's `records` ─▶
 * mg_stream_send
 *
 * `records` is flushed after every call into the library, so a write of many records is one system
 * call. Handshakes wait in one queue per loop and at most two expensive steps are made per turn. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/loop_parts.h"
#include "io/stream_parts.h"

enum {
    RECORD_BYTES = 16384,
    HANDSHAKE_MS = 10000,
    HANDSHAKES_PER_TURN = 2,
    CHEAP_STEP_US = 300, /* steps below it (resumed handshakes, waiting for more) are not counted */
    HELD_CIPHER_BYTES = 65536,
};

struct mg_tls_loop {
    struct mg_list hands; /* streams whose handshake can go on */
    struct mg_defer work;
    struct mg_loop *loop;
    size_t records_len;
    char plain[RECORD_BYTES];
    char gather[RECORD_BYTES];
    char records[5 * RECORD_BYTES];
};

static struct mg_tls_loop *shared_of(struct mg_loop *loop);
static size_t io_recv(void *arg, char *out, size_t size);
static mg_err io_send(void *arg, mg_view bytes);
static mg_err flush(struct mg_stream *stream);
static void shake_later(struct mg_stream *stream);
static void run_hands(struct mg_defer *work);
static void shake(struct mg_stream *stream);
static void secured(struct mg_stream *stream);
static void pump(struct mg_stream *stream);
static void keep(struct mg_stream *stream, mg_view bytes);
static void on_resume(struct mg_defer *resume);

static const struct mg_tls_io tls_io = {io_recv, io_send};

void mg_stream_tls_start(struct mg_stream *stream, struct mg_tls_context *context, const char *name,
                         mg_view session_key)
{
    shared_of(stream->loop);
    mg_buf_init(&stream->cipher, HELD_CIPHER_BYTES + MG_LOOP_READ_BYTES);
    stream->tls = mg_tls_new(context, name, session_key, &tls_io, stream);
    mg_stream_set_state(stream, MG_STREAM_SECURING);
    mg_timer_start(stream->loop, &stream->timer, HANDSHAKE_MS, mg_stream_on_timer);
    if (name)
        shake_later(stream);
}

bool mg_stream_tls_wants(const struct mg_stream *stream)
{
    return stream->cipher.len < HELD_CIPHER_BYTES;
}

void mg_stream_tls_take(struct mg_stream *stream, mg_view bytes)
{
    if (stream->state == MG_STREAM_SECURING) {
        keep(stream, bytes);
        shake_later(stream);
        return;
    }
    stream->at_hand = bytes;
    pump(stream);
    keep(stream, stream->at_hand);
    stream->at_hand = MG_VIEW_NONE;
}

/* Without close_notify anybody on the way may have cut the stream, so it is not the peer's end. */
void mg_stream_tls_raw_end(struct mg_stream *stream)
{
    if (stream->ended || stream->state == MG_STREAM_CLOSING || stream->cipher.len > 0)
        return; /* with bytes held back, pump() or shake() ask again */
    if (stream->state == MG_STREAM_SECURING)
        mg_stream_fail(stream, MG_E_TLS, "peer closed during the handshake");
    else if (stream->state == MG_STREAM_OPEN)
        mg_stream_fail(stream, MG_E_CLOSED, "closed without close_notify");
}

mg_err mg_stream_tls_write(struct mg_stream *stream, const mg_view *parts, size_t count)
{
    struct mg_tls_loop *shared = shared_of(stream->loop);
    size_t fill = 0, used = 0;
    mg_err err = MG_OK;
    for (size_t i = 0; i < count && err == MG_OK; i++) {
        for (mg_view rest = parts[i]; rest.len > 0 && err == MG_OK;) {
            mg_view piece = mg_view_head(rest, RECORD_BYTES - fill);
            memcpy(shared->gather + fill, piece.ptr, piece.len);
            rest = mg_view_skip(rest, piece.len);
            fill += piece.len;
            used = MG_MAX(used, fill);
            if (fill < RECORD_BYTES)
                continue;
            err = mg_tls_write(stream->tls, mg_view_of(shared->gather, fill));
            fill = 0;
        }
    }
    if (err == MG_OK && fill > 0)
        err = mg_tls_write(stream->tls, mg_view_of(shared->gather, fill));
    mg_wipe(shared->gather, used); /* credentials pass through here */
    if (flush(stream) != MG_OK)
        return MG_E_CLOSED;
    if (err != MG_OK)
        mg_stream_fail(stream, err, mg_tls_reason(stream->tls));
    return err == MG_OK ? MG_OK : MG_E_CLOSED;
}

void mg_stream_tls_finish(struct mg_stream *stream)
{
    mg_tls_close_notify(stream->tls);
    (void)flush(stream);
}

void mg_stream_tls_resume(struct mg_stream *stream)
{
    if (stream->cipher.len > 0 || (stream->raw_ended && !stream->ended))
        mg_loop_defer(stream->loop, &stream->resume, on_resume);
}

void mg_stream_tls_free(struct mg_stream *stream)
{
    mg_tls_free(stream->tls);
    stream->tls = NULL;
}

void mg_stream_loop_wipe(struct mg_loop *loop)
{
    if (loop->tls)
        mg_wipe(loop->tls->plain, sizeof loop->tls->plain);
}

void mg_stream_loop_fini(struct mg_loop *loop)
{
    mg_free(loop->tls);
    loop->tls = NULL;
}

static struct mg_tls_loop *shared_of(struct mg_loop *loop)
{
    if (!loop->tls) {
        loop->tls = mg_new(struct mg_tls_loop);
        loop->tls->loop = loop;
        mg_list_init(&loop->tls->hands);
    }
    return loop->tls;
}

static size_t io_recv(void *arg, char *out, size_t size)
{
    struct mg_stream *stream = arg;
    bool held = stream->cipher.len > 0;
    mg_view from = mg_view_head(held ? mg_buf_view(&stream->cipher) : stream->at_hand, size);
    if (from.len > 0)
        memcpy(out, from.ptr, from.len);
    if (!held)
        stream->at_hand = mg_view_skip(stream->at_hand, from.len);
    else if (from.len == stream->cipher.len)
        mg_buf_fini(&stream->cipher);
    else
        mg_buf_consume(&stream->cipher, from.len);
    return from.len;
}

static mg_err io_send(void *arg, mg_view bytes)
{
    struct mg_stream *stream = arg;
    struct mg_tls_loop *shared = stream->loop->tls;
    if (shared->records_len + bytes.len > sizeof(shared->records))
        MG_TRY(flush(stream));
    if (bytes.len > sizeof(shared->records))
        return mg_stream_send(stream, &bytes, 1);
    memcpy(shared->records + shared->records_len, bytes.ptr, bytes.len);
    shared->records_len += bytes.len;
    return MG_OK;
}

static mg_err flush(struct mg_stream *stream)
{
    struct mg_tls_loop *shared = stream->loop->tls;
    mg_view records = mg_view_of(shared->records, shared->records_len);
    shared->records_len = 0;
    if (records.len == 0)
        return MG_OK;
    return stream->state == MG_STREAM_CLOSING ? MG_E_CLOSED : mg_stream_send(stream, &records, 1);
}

static void shake_later(struct mg_stream *stream)
{
    struct mg_tls_loop *shared = shared_of(stream->loop);
    if (mg_list_empty(&stream->hand))
        mg_list_push_back(&shared->hands, &stream->hand);
    mg_loop_defer(stream->loop, &shared->work, run_hands);
}

/* A full handshake is milliseconds of arithmetic: bounded here, it cannot starve the streams that
 * flow. */
static void run_hands(struct mg_defer *work)
{
    struct mg_tls_loop *shared = mg_container_of(work, struct mg_tls_loop, work);
    int expensive = 0;
    while (expensive < HANDSHAKES_PER_TURN) {
        struct mg_list *item = mg_list_pop_front(&shared->hands);
        if (!item)
            return;
        uint64_t start_us = mg_mono_us();
        shake(mg_container_of(item, struct mg_stream, hand));
        expensive += mg_mono_us() - start_us >= CHEAP_STEP_US;
    }
    if (!mg_list_empty(&shared->hands))
        mg_loop_defer(shared->loop, &shared->work, run_hands);
}

static void shake(struct mg_stream *stream)
{
    mg_err err = mg_tls_handshake(stream->tls);
    if (flush(stream) != MG_OK)
        return; /* it is closing */
    if (err == MG_OK)
        secured(stream);
    else if (err == MG_E_AGAIN && stream->raw_ended)
        mg_stream_tls_raw_end(stream);
    else if (err == MG_E_AGAIN)
        mg_stream_arm(stream);
    else
        mg_stream_fail(stream, err, mg_tls_reason(stream->tls));
}

static void secured(struct mg_stream *stream)
{
    mg_timer_cancel(stream->loop, &stream->timer);
    mg_stream_set_state(stream, MG_STREAM_OPEN);
    mg_stream_write_timeout(stream, stream->write_timeout_ms);
    mg_stream_arm(stream);
    if (stream->state == MG_STREAM_OPEN && stream->ops && stream->ops->on_secure)
        stream->ops->on_secure(stream->arg);
    pump(stream);
}

/* Decrypts and delivers until bytes, patience of the owner or the stream itself end. */
static void pump(struct mg_stream *stream)
{
    struct mg_tls_loop *shared = stream->loop->tls;
    mg_err err = MG_OK;
    while (stream->state == MG_STREAM_OPEN && stream->reading && !stream->ended && err == MG_OK) {
        size_t len = 0;
        err = mg_tls_read(stream->tls, shared->plain, sizeof(shared->plain), &len);
        if (flush(stream) != MG_OK)
            return;
        if (err == MG_OK)
            mg_stream_deliver(stream, mg_view_of(shared->plain, len));
        else if (err == MG_E_CLOSED)
            mg_stream_peer_ended(stream);
        else if (err != MG_E_AGAIN)
            mg_stream_fail(stream, err, mg_tls_reason(stream->tls));
    }
    if (err == MG_E_AGAIN && stream->raw_ended)
        mg_stream_tls_raw_end(stream);
}

static void keep(struct mg_stream *stream, mg_view bytes)
{
    if (bytes.len == 0 || stream->ended || stream->state == MG_STREAM_CLOSING)
        return;
    if (mg_buf_put(&stream->cipher, bytes) != MG_OK)
        mg_stream_fail(stream, MG_E_IO, "too much ciphertext at once");
}

static void on_resume(struct mg_defer *resume)
{
    pump(mg_container_of(resume, struct mg_stream, resume));
}
