/* Life and reading. States:
 *
 *   CONNECTING ─▶ OPEN ◀─▶ SECURING
 *        │          │          │
 *        │      FLUSHING ─▶ LINGERING
 *        ▼          ▼          ▼
 *        └──────▶ CLOSING ◀────┘ ─▶ on_closed, freed */
#include "io/stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "io/stream_parts.h"

enum { LINGER_MS = 1000, FLUSH_STALL_MS = 10000 };

static struct mg_stream *stream_new(struct mg_loop *loop, int family,
                                    const struct mg_stream_ops *ops, void *arg);
static int open_fd(struct mg_stream *stream, int fd);
static int connect_to(struct mg_stream *stream, const struct sockaddr *address);
static void on_connect(uv_connect_t *request, int status);
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf);
static void take(struct mg_stream *stream, mg_view bytes);
static void look_while_paused(struct mg_stream *stream);
static void raw_end(struct mg_stream *stream);
static void on_shutdown(uv_shutdown_t *request, int status);
static void end_at_once(struct mg_stream *stream);
static void on_uv_closed(uv_handle_t *handle);

struct mg_stream *mg_stream_accept(struct mg_loop *loop, int fd, struct mg_tls_context *tls,
                                   const struct mg_stream_ops *ops, void *arg)
{
    int family = AF_INET;
    socklen_t size = sizeof(family);
    (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);

    struct mg_stream *stream = stream_new(loop, family, ops, arg);
    int status = open_fd(stream, fd);
    if (status != 0) {
        close(fd);
        mg_stream_fail(stream, MG_E_IO, uv_strerror(status));
        return stream;
    }
    mg_stream_set_state(stream, MG_STREAM_OPEN);
    mg_stream_arm(stream);
    if (tls && stream->state == MG_STREAM_OPEN)
        mg_stream_tls_start(stream, tls, NULL, MG_VIEW_NONE);
    return stream;
}

struct mg_stream *mg_stream_connect(struct mg_loop *loop, const struct sockaddr *address,
                                    const struct mg_stream_ops *ops, void *arg)
{
    struct mg_stream *stream = stream_new(loop, address->sa_family, ops, arg);
    int status = mg_fault(MG_FAULT_CONNECT) ? UV_ECONNREFUSED : connect_to(stream, address);
    if (status != 0)
        mg_stream_fail(stream, MG_E_CONNECT, uv_strerror(status));
    return stream;
}

void mg_stream_secure(struct mg_stream *stream, struct mg_tls_context *tls, const char *name,
                      mg_view session_key)
{
    if (stream->state == MG_STREAM_CLOSING)
        return;
    assert(stream->state == MG_STREAM_OPEN && !stream->tls);
    mg_stream_tls_start(stream, tls, name, session_key);
}

void mg_stream_set_ops(struct mg_stream *stream, const struct mg_stream_ops *ops, void *arg)
{
    stream->ops = ops;
    stream->arg = arg;
}

/* Turning it off is lazy: libuv goes on watching, and only when something comes is it told to stop.
 * A pause in which nothing comes costs no system call. */
void mg_stream_read(struct mg_stream *stream, bool on)
{
    stream->reading = on;
    if (!on || stream->state != MG_STREAM_OPEN)
        return;
    if (stream->tls)
        mg_stream_tls_resume(stream);
    mg_stream_arm(stream);
}

void mg_stream_shutdown(struct mg_stream *stream)
{
    if (stream->state == MG_STREAM_CONNECTING || stream->state == MG_STREAM_SECURING) {
        end_at_once(stream);
        return;
    }
    if (stream->state != MG_STREAM_OPEN)
        return;
    if (stream->tls)
        mg_stream_tls_finish(stream);
    if (stream->state != MG_STREAM_OPEN)
        return;
    mg_stream_set_state(stream, MG_STREAM_FLUSHING);
    if (!stream->write_timeout_ms)
        mg_stream_write_timeout(stream, FLUSH_STALL_MS);
    mg_stream_arm(stream);
    if (!stream->queue)
        mg_stream_flushed(stream);
}

void mg_stream_close(struct mg_stream *stream)
{
    end_at_once(stream);
}

void mg_stream_reset(struct mg_stream *stream)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    uv_os_fd_t fd;
    if (stream->state != MG_STREAM_CLOSING && uv_fileno(&stream->uv.handle, &fd) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    end_at_once(stream);
}

void mg_stream_discard(struct mg_stream *stream)
{
    if (!stream)
        return;
    mg_stream_set_ops(stream, NULL, NULL);
    end_at_once(stream);
}

bool mg_stream_usable(const struct mg_stream *stream)
{
    return stream->state == MG_STREAM_OPEN && !stream->ended && !stream->raw_ended;
}

const char *mg_stream_peer(struct mg_stream *stream)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    uv_os_fd_t fd;
    if (stream->peer)
        return stream->peer;
    if (uv_fileno(&stream->uv.handle, &fd) != 0 ||
        getpeername(fd, (struct sockaddr *)&address, &size) != 0)
        return "";
    char text[64];
    mg_address_text((struct sockaddr *)&address, text, sizeof(text));
    stream->peer = mg_strdup(text);
    return stream->peer;
}

uint64_t mg_stream_bytes_in(const struct mg_stream *stream)
{
    return stream->bytes_in;
}

uint64_t mg_stream_bytes_out(const struct mg_stream *stream)
{
    return stream->bytes_out;
}

bool mg_stream_is_tls(const struct mg_stream *stream)
{
    return stream->tls != NULL;
}

bool mg_stream_resumed(const struct mg_stream *stream)
{
    return stream->tls && mg_tls_resumed(stream->tls);
}

const char *mg_stream_tls_version(const struct mg_stream *stream)
{
    return stream->tls ? mg_tls_version_name(stream->tls) : "";
}

const char *mg_stream_reason(const struct mg_stream *stream)
{
    return stream->reason ? stream->reason : "";
}

void mg_address_text(const struct sockaddr *address, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        snprintf(out, size, "%s:%d", host, ntohs(v4->sin_port));
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        snprintf(out, size, "[%s]:%d", host, ntohs(v6->sin6_port));
    } else {
        snprintf(out, size, "unix");
    }
}

/* Every change of state passes here; the table is the picture above. */
void mg_stream_set_state(struct mg_stream *stream, enum mg_stream_state state)
{
    static const unsigned may_follow[] = {
        [MG_STREAM_CONNECTING] = 0,
        [MG_STREAM_OPEN] = 1u << MG_STREAM_CONNECTING | 1u << MG_STREAM_SECURING,
        [MG_STREAM_SECURING] = 1u << MG_STREAM_OPEN,
        [MG_STREAM_FLUSHING] = 1u << MG_STREAM_OPEN,
        [MG_STREAM_LINGERING] = 1u << MG_STREAM_FLUSHING,
        [MG_STREAM_CLOSING] = ~(1u << MG_STREAM_CLOSING),
    };
    assert(may_follow[state] & 1u << stream->state);
    stream->state = state;
}

void mg_stream_fail(struct mg_stream *stream, mg_err why, const char *reason)
{
    if (stream->state == MG_STREAM_CLOSING)
        return;
    stream->why = why;
    stream->reason = reason;
    end_at_once(stream);
}

void mg_stream_arm(struct mg_stream *stream)
{
    if (stream->armed || stream->raw_ended || stream->state == MG_STREAM_CLOSING)
        return;
    int status = uv_read_start(&stream->uv.stream, on_alloc, on_read);
    if (status != 0)
        mg_stream_fail(stream, MG_E_CLOSED, uv_strerror(status));
    else
        stream->armed = true;
}

void mg_stream_deliver(struct mg_stream *stream, mg_view bytes)
{
    if (stream->ops && stream->ops->on_data)
        stream->ops->on_data(stream->arg, bytes);
}

void mg_stream_peer_ended(struct mg_stream *stream)
{
    if (stream->ended || stream->state == MG_STREAM_CLOSING)
        return;
    stream->ended = true;
    if (stream->state == MG_STREAM_LINGERING)
        end_at_once(stream);
    else if (stream->state == MG_STREAM_OPEN && stream->ops && stream->ops->on_end)
        stream->ops->on_end(stream->arg);
}

void mg_stream_on_timer(struct mg_timer *timer)
{
    struct mg_stream *stream = mg_container_of(timer, struct mg_stream, timer);
    switch (stream->state) {
    case MG_STREAM_SECURING:
        mg_stream_fail(stream, MG_E_TIMEOUT, "TLS handshake took too long");
        break;
    case MG_STREAM_OPEN:
    case MG_STREAM_FLUSHING:
        mg_stream_stall_look(stream);
        break;
    case MG_STREAM_LINGERING:
        end_at_once(stream);
        break;
    case MG_STREAM_CONNECTING:
    case MG_STREAM_CLOSING:
        assert(false); /* no timer runs in these states */
    }
}

/* A close() with unread bytes would be a reset, which can overtake our last bytes: so FIN first,
 * then wait. */
void mg_stream_flushed(struct mg_stream *stream)
{
    mg_timer_cancel(stream->loop, &stream->timer);
    if (stream->ended || stream->raw_ended) {
        end_at_once(stream);
        return;
    }
    mg_stream_set_state(stream, MG_STREAM_LINGERING);
    if (uv_shutdown(&stream->request.shutdown, &stream->uv.stream, on_shutdown) != 0)
        end_at_once(stream);
    else
        mg_timer_start(stream->loop, &stream->timer, LINGER_MS, mg_stream_on_timer);
}

static struct mg_stream *stream_new(struct mg_loop *loop, int family,
                                    const struct mg_stream_ops *ops, void *arg)
{
    struct mg_stream *stream = mg_new(struct mg_stream);
    stream->loop = loop;
    stream->reading = true;
    stream->state = MG_STREAM_CONNECTING;
    mg_list_init(&stream->hand);
    mg_stream_set_ops(stream, ops, arg);

    int status = family == AF_UNIX ? uv_pipe_init(&loop->uv, &stream->uv.pipe, 0)
                                   : uv_tcp_init(&loop->uv, &stream->uv.tcp);
    assert(status == 0);
    (void)status;
    return stream;
}

static int open_fd(struct mg_stream *stream, int fd)
{
    if (stream->uv.handle.type == UV_NAMED_PIPE)
        return uv_pipe_open(&stream->uv.pipe, fd);
    int status = uv_tcp_open(&stream->uv.tcp, fd);
    if (status == 0)
        (void)uv_tcp_nodelay(&stream->uv.tcp, 1);
    return status;
}

static int connect_to(struct mg_stream *stream, const struct sockaddr *address)
{
    uv_connect_t *request = &stream->request.connect;
    if (address->sa_family != AF_UNIX)
        return uv_tcp_connect(request, &stream->uv.tcp, address, on_connect);
    const struct sockaddr_un *path = (const struct sockaddr_un *)(const void *)address;
    uv_pipe_connect(request, &stream->uv.pipe, path->sun_path, on_connect);
    return 0;
}

static void on_connect(uv_connect_t *request, int status)
{
    struct mg_stream *stream = mg_container_of(request, struct mg_stream, request.connect);
    if (stream->state != MG_STREAM_CONNECTING)
        return; /* closed meanwhile */
    if (status != 0) {
        mg_stream_fail(stream, MG_E_CONNECT, uv_strerror(status));
        return;
    }
    if (stream->uv.handle.type == UV_TCP)
        (void)uv_tcp_nodelay(&stream->uv.tcp, 1);
    mg_stream_set_state(stream, MG_STREAM_OPEN);
    mg_stream_arm(stream);
    if (stream->state == MG_STREAM_OPEN && stream->ops && stream->ops->on_open)
        stream->ops->on_open(stream->arg);
}

/* No buffer means that libuv reads nothing and reports ENOBUFS. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct mg_stream *stream = mg_container_of(handle, struct mg_stream, uv.handle);
    bool wanted = true;
    (void)suggested;
    if (stream->state == MG_STREAM_OPEN)
        wanted = stream->reading;
    else if (stream->state == MG_STREAM_SECURING)
        wanted = mg_stream_tls_wants(stream);
    *buf = uv_buf_init(wanted ? stream->loop->read_buffer : NULL, wanted ? MG_LOOP_READ_BYTES : 0);
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buf)
{
    struct mg_stream *stream = mg_container_of(handle, struct mg_stream, uv.stream);
    if (count > 0) {
        stream->bytes_in += (uint64_t)count;
        take(stream, mg_view_of(buf->base, (size_t)count));
    } else if (count == UV_EOF) {
        raw_end(stream);
    } else if (count == UV_ENOBUFS) {
        look_while_paused(stream);
    } else if (count < 0) {
        mg_err why = count == UV_ECONNRESET || count == UV_EPIPE ? MG_E_CLOSED : MG_E_IO;
        mg_stream_fail(stream, why, uv_strerror((int)count));
    }
}

static void take(struct mg_stream *stream, mg_view bytes)
{
    if (stream->state == MG_STREAM_FLUSHING || stream->state == MG_STREAM_LINGERING)
        return; /* the owner is done; only the end still matters */
    if (stream->tls)
        mg_stream_tls_take(stream, bytes);
    else
        mg_stream_deliver(stream, bytes);
}

/* Something came while nobody reads: bytes stay in the socket and blind us, an end does not. */
static void look_while_paused(struct mg_stream *stream)
{
    char byte;
    uv_os_fd_t fd;
    ssize_t count = -1;
    errno = EAGAIN;
    if (uv_fileno(&stream->uv.handle, &fd) == 0)
        count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR)
            mg_stream_fail(stream, errno == ECONNRESET ? MG_E_CLOSED : MG_E_IO,
                           uv_strerror(-errno));
        return;
    }
    uv_read_stop(&stream->uv.stream);
    stream->armed = false;
    if (count == 0)
        raw_end(stream);
}

static void raw_end(struct mg_stream *stream)
{
    stream->armed = false;
    stream->raw_ended = true;
    if (stream->mute)
        mg_stream_fail(stream, MG_E_CLOSED, "the peer is gone");
    else if (stream->state == MG_STREAM_LINGERING)
        end_at_once(stream);
    else if (stream->tls)
        mg_stream_tls_raw_end(stream);
    else
        mg_stream_peer_ended(stream);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct mg_stream *stream = mg_container_of(request, struct mg_stream, request.shutdown);
    if (stream->state == MG_STREAM_LINGERING && status != 0)
        end_at_once(stream);
}

/* The only way out. on_uv_closed() never runs inside a call of ours: libuv closes at the end of the
 * turn. */
static void end_at_once(struct mg_stream *stream)
{
    if (stream->state == MG_STREAM_CLOSING)
        return;
    mg_stream_set_state(stream, MG_STREAM_CLOSING);
    mg_timer_cancel(stream->loop, &stream->timer);
    mg_loop_defer_cancel(&stream->resume);
    mg_list_remove(&stream->hand);
    uv_close(&stream->uv.handle, on_uv_closed);
}

static void on_uv_closed(uv_handle_t *handle)
{
    struct mg_stream *stream = mg_container_of(handle, struct mg_stream, uv.handle);
    if (stream->ops && stream->ops->on_closed)
        stream->ops->on_closed(stream->arg, stream->why);
    mg_stream_queue_free(stream);
    mg_stream_tls_free(stream);
    mg_buf_fini(&stream->cipher);
    mg_free(stream->peer);
    mg_free(stream);
}
