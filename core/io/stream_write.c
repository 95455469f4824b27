/* Writing: the socket first, then a queue of two buffers, one that libuv sends and one that fills
 * meanwhile. */
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/stream_parts.h"

enum { IOVECS = 64, LOW_MARK = MG_MAX_WRITE_QUEUE_BYTES / 4 };

static mg_err try_socket(struct mg_stream *stream, const mg_view *parts, size_t count,
                         size_t *out_sent);
static mg_err enqueue(struct mg_stream *stream, const mg_view *parts, size_t count, size_t skip);
static mg_err fly(struct mg_stream *stream);
static void on_written(uv_write_t *request, int status);
static mg_err broken(struct mg_stream *stream, int status);
static void start_stall_timer(struct mg_stream *stream);
static uint64_t taken_by_peer(struct mg_stream *stream);

mg_err mg_stream_write(struct mg_stream *stream, const mg_view *parts, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].len;
    if (stream->state != MG_STREAM_OPEN || stream->mute)
        return MG_E_CLOSED;
    if (stream->overdrawn > MG_MAX_WRITE_QUEUE_BYTES || total > MG_MAX_RESPONSE_BODY_BYTES)
        return MG_E_TOO_LARGE;
    if (total > 0)
        MG_TRY(stream->tls ? mg_stream_tls_write(stream, parts, count)
                           : mg_stream_send(stream, parts, count));
    if (stream->told_full)
        stream->overdrawn += total;
    if (mg_stream_queued(stream) <= MG_MAX_WRITE_QUEUE_BYTES)
        return MG_OK;
    stream->told_full = true;
    return MG_E_AGAIN;
}

mg_err mg_stream_send(struct mg_stream *stream, const mg_view *parts, size_t count)
{
    size_t total = 0, sent = 0;
    for (size_t i = 0; i < count; i++)
        total += parts[i].len;
    if (!stream->queue)
        MG_TRY(try_socket(stream, parts, count, &sent));
    if (sent == total)
        return MG_OK;
    return enqueue(stream, parts, count, sent);
}

void mg_stream_hear_out(struct mg_stream *stream)
{
    stream->hears_out = true;
}

size_t mg_stream_queued(const struct mg_stream *stream)
{
    const struct mg_stream_queue *queue = stream->queue;
    if (!queue)
        return 0;
    return queue->waiting.len +
           (queue->flown ? uv_stream_get_write_queue_size(&stream->uv.stream) : 0);
}

void mg_stream_write_timeout(struct mg_stream *stream, uint32_t timeout_ms)
{
    stream->write_timeout_ms = timeout_ms;
    if (stream->queue && stream->state != MG_STREAM_CLOSING)
        start_stall_timer(stream);
}

/* More was acknowledged than when we last looked: the peer is slow, not gone. */
void mg_stream_stall_look(struct mg_stream *stream)
{
    if (!stream->queue || !stream->write_timeout_ms)
        return;
    if (taken_by_peer(stream) <= stream->queue->taken_before)
        mg_stream_fail(stream, MG_E_TIMEOUT, "peer takes no bytes");
    else
        start_stall_timer(stream);
}

/* A request's head may be among what the socket did not take at once. */
static void wipe_and_free(struct mg_buf *buf)
{
    mg_wipe(buf->ptr, buf->cap);
    mg_buf_fini(buf);
}

void mg_stream_queue_free(struct mg_stream *stream)
{
    if (!stream->queue)
        return;
    wipe_and_free(&stream->queue->flying);
    wipe_and_free(&stream->queue->waiting);
    mg_free(stream->queue);
    stream->queue = NULL;
}

/* A run of at most IOVECS parts from the first unsent byte on; returns its bytes. */
static size_t gather(const mg_view *parts, size_t count, size_t skip, uv_buf_t *bufs,
                     unsigned *out_used)
{
    unsigned used = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < count && used < IOVECS; i++) {
        mg_view rest = mg_view_skip(parts[i], MG_MIN(skip, parts[i].len));
        skip -= parts[i].len - rest.len;
        if (rest.len == 0)
            continue;
        bufs[used++] = uv_buf_init((char *)(uintptr_t)rest.ptr, (unsigned)rest.len);
        bytes += rest.len;
    }
    *out_used = used;
    return bytes;
}

static mg_err try_socket(struct mg_stream *stream, const mg_view *parts, size_t count,
                         size_t *out_sent)
{
    size_t sent = 0;
    for (;;) {
        uv_buf_t bufs[IOVECS];
        unsigned used;
        size_t want = gather(parts, count, sent, bufs, &used);
        if (want == 0)
            break;
        int took =
            mg_fault(MG_FAULT_WRITE) ? UV_ECONNRESET : uv_try_write(&stream->uv.stream, bufs, used);
        if (took == UV_EAGAIN)
            break;
        if (took < 0)
            return broken(stream, took);
        sent += (size_t)took;
        stream->bytes_out += (uint64_t)took;
        if ((size_t)took < want)
            break;
    }
    *out_sent = sent;
    return MG_OK;
}

static mg_err enqueue(struct mg_stream *stream, const mg_view *parts, size_t count, size_t skip)
{
    size_t max = 2 * MG_MAX_WRITE_QUEUE_BYTES + (size_t)MG_MAX_RESPONSE_BODY_BYTES * 2;
    if (!stream->queue) {
        stream->queue = mg_new(struct mg_stream_queue);
        mg_buf_init(&stream->queue->flying, max);
        mg_buf_init(&stream->queue->waiting, max);
    }
    for (size_t i = 0; i < count; i++) {
        mg_view rest = mg_view_skip(parts[i], MG_MIN(skip, parts[i].len));
        skip -= parts[i].len - rest.len;
        if (mg_buf_put(&stream->queue->waiting, rest) != MG_OK)
            return broken(stream, UV_ENOMEM);
    }
    return stream->queue->flown ? MG_OK : fly(stream);
}

/* The two buffers change places; what was written is forgotten. */
static mg_err fly(struct mg_stream *stream)
{
    struct mg_stream_queue *queue = stream->queue;
    struct mg_buf full = queue->waiting;
    queue->waiting = queue->flying;
    queue->flying = full;
    mg_buf_clear(&queue->waiting);

    mg_view bytes = mg_buf_view(&queue->flying);
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
    int status = uv_write(&queue->request, &stream->uv.stream, &buf, 1, on_written);
    if (status != 0)
        return broken(stream, status);
    queue->flown = true;
    queue->request.data = stream;
    start_stall_timer(stream);
    return MG_OK;
}

static void on_written(uv_write_t *request, int status)
{
    struct mg_stream *stream = request->data;
    struct mg_stream_queue *queue = stream->queue;
    queue->flown = false;
    if (stream->state == MG_STREAM_CLOSING)
        return; /* freed with the stream */
    if (status != 0) {
        (void)broken(stream, status);
        return;
    }
    stream->bytes_out += queue->flying.len;
    mg_buf_clear(&queue->flying);
    if (queue->waiting.len > 0) {
        (void)fly(stream);
    } else {
        mg_stream_queue_free(stream);
        if (stream->state == MG_STREAM_FLUSHING) {
            mg_stream_flushed(stream);
            return;
        }
        if (stream->state == MG_STREAM_OPEN)
            mg_timer_cancel(stream->loop, &stream->timer);
    }
    if (stream->told_full && stream->state == MG_STREAM_OPEN &&
        mg_stream_queued(stream) < LOW_MARK) {
        stream->told_full = false;
        stream->overdrawn = 0;
        if (stream->ops && stream->ops->on_drain)
            stream->ops->on_drain(stream->arg);
    }
}

/* Its last words stand in our socket, and are read before the end of it is. */
static bool has_spoken(const struct mg_stream *stream)
{
    char byte;
    uv_os_fd_t fd;
    bool listens = stream->hears_out && stream->state == MG_STREAM_OPEN && stream->reading && stream->armed;
    return listens && uv_fileno(&stream->uv.handle, &fd) == 0 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static mg_err broken(struct mg_stream *stream, int status)
{
    bool gone = status == UV_EPIPE || status == UV_ECONNRESET;
    stream->mute = gone && has_spoken(stream);
    if (!stream->mute)
        mg_stream_fail(stream, gone ? MG_E_CLOSED : MG_E_IO, uv_strerror(status));
    return MG_E_CLOSED;
}

static void start_stall_timer(struct mg_stream *stream)
{
    if (stream->state != MG_STREAM_OPEN && stream->state != MG_STREAM_FLUSHING)
        return;
    if (!stream->write_timeout_ms) {
        mg_timer_cancel(stream->loop, &stream->timer);
        return;
    }
    stream->queue->taken_before = taken_by_peer(stream);
    mg_timer_start(stream->loop, &stream->timer, stream->write_timeout_ms, mg_stream_on_timer);
}

/* The kernel's own queue counts as not taken: it can be megabytes, and the socket turns writable
 * only now and then. */
static uint64_t taken_by_peer(struct mg_stream *stream)
{
    const struct mg_stream_queue *queue = stream->queue;
    uint64_t given = stream->bytes_out;
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (queue->flown)
        given += queue->flying.len - uv_stream_get_write_queue_size(&stream->uv.stream);
    if (uv_fileno(&stream->uv.handle, &fd) == 0)
        (void)ioctl(fd, SIOCOUTQ, &in_kernel);
    return given - MG_MIN(given, (uint64_t)in_kernel);
}
