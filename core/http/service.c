#include "http/service.h"

#include <assert.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"

/* One client.
 *
 *   READING ─ request complete ─▶ CALLED ─ answered ─▶ READING (keep-alive)
 *      │                             │                    or ENDING (the stream drains, then
 * on_closed frees) └────── peer gone, deadline ──┴──▶ freed
 *
 * While `pumping`, the handler may end the connection: it is then freed when the pump returns. */
struct conn {
    struct mg_list link;            /* in service->open */
    struct mg_service *service;     /* borrowed */
    struct mg_stream *stream;       /* owned; NULL when it is gone */
    struct mg_http_server *parser;  /* owned */
    struct mg_http_request request; /* views of the parser */
    struct mg_service_call call;
    struct mg_buf body;
    struct mg_buf later; /* bytes behind the request that is being answered */
    struct mg_timer deadline;
    struct mg_defer resume;
    enum { READING, CALLED, ENDING } state;
    bool pumping;
    bool freed;   /* while pumping: free it afterwards */
    bool chunked; /* the answer is a stream with chunk framing */
    bool local;
    uint32_t uid; /* of a local peer */
};

static void on_fd(void *arg, int fd, const struct sockaddr *peer);
static void on_data(void *arg, mg_view bytes);
static void on_end(void *arg);
static void on_drain(void *arg);
static void on_closed(void *arg, mg_err why);
static mg_err on_head(void *arg, const struct mg_http_request *request);
static mg_err on_body(void *arg, mg_view bytes);
static mg_err on_request_end(void *arg);
static void pump(struct conn *conn, mg_view in);
static mg_view pump_one(struct conn *conn, mg_view in);
static void refuse(struct conn *conn, mg_err err);
static void over(struct conn *conn);
static void on_resume(struct mg_defer *defer);
static void on_deadline(struct mg_timer *timer);
static void rearm(struct conn *conn, bool was_idle);
static mg_view head_of(struct conn *conn, int status, mg_view headers, bool has_length,
                       size_t length);
static mg_err write_parts(struct conn *conn, const mg_view *parts, size_t count);
static void finish(struct conn *conn);
static void lost(struct conn *conn);
static void conn_free(struct conn *conn);

static const struct mg_stream_ops stream_ops = {
    .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_closed = on_closed};
static const struct mg_http_server_ops parser_ops = {on_head, on_body, on_request_end};

mg_err mg_service_start(struct mg_service *service, struct mg_loop *loop,
                        const struct mg_service_options *options, struct mg_diag *diag)
{
    memset(service, 0, sizeof(*service));
    service->loop = loop;
    service->options = *options;
    service->limits = mg_http_limits_default;
    service->limits.body_bytes = options->body_bytes;
    mg_list_init(&service->open);
    mg_buf_init(&service->head, MG_MAX_HEADER_BYTES);
    return mg_listen_start(&service->listener, loop, &service->options.listen, on_fd, service,
                           diag);
}

static void on_listener_stopped(void *arg)
{
    struct mg_service *service = arg;
    mg_buf_fini(&service->head);
    if (service->on_stopped)
        service->on_stopped(service->stopped_arg);
}

void mg_service_stop(struct mg_service *service, void (*on_stopped)(void *arg), void *arg)
{
    service->on_stopped = on_stopped;
    service->stopped_arg = arg;
    MG_LIST_EACH(item, next, &service->open)
    lost(mg_container_of(item, struct conn, link));
    service->options.connections = 0; /* what is still accepted is closed at once */
    mg_listen_stop(&service->listener, on_listener_stopped);
}

void mg_service_answer(struct mg_service_call *call, int status, mg_view headers, mg_view body)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED && !conn->chunked);
    bool bare = conn->request.method == MG_HTTP_HEAD || status == 204;
    mg_view parts[] = {head_of(conn, status, headers, status != 204, body.len),
                       bare ? MG_VIEW_NONE : body};
    (void)write_parts(conn, parts, bare || !body.len ? 1 : 2);
    finish(conn);
}

void mg_service_begin(struct mg_service_call *call, int status, mg_view headers)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED && !conn->chunked);
    mg_view head = head_of(conn, status, headers, false, 0);
    conn->chunked = true;
    (void)write_parts(conn, &head, 1);
}

mg_err mg_service_send(struct mg_service_call *call, mg_view bytes)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED && conn->chunked);
    if (!bytes.len)
        return MG_OK;
    char size[MG_HTTP_CHUNK_HEAD];
    mg_view parts[] = {mg_view_of(size, mg_http_chunk_head(size, bytes.len)), bytes,
                       MG_HTTP_CHUNK_TAIL};
    return write_parts(conn, parts, MG_COUNT(parts));
}

mg_err mg_service_raw(struct mg_service_call *call, mg_view bytes)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED);
    return bytes.len ? write_parts(conn, &bytes, 1) : MG_OK;
}

void mg_service_end(struct mg_service_call *call)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED && conn->chunked);
    mg_view last = MG_HTTP_CHUNK_LAST;
    (void)write_parts(conn, &last, 1);
    finish(conn);
}

void mg_service_close(struct mg_service_call *call)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED);
    conn->request.keep_alive = false;
    finish(conn);
}

void mg_service_reset(struct mg_service_call *call)
{
    struct conn *conn = mg_container_of(call, struct conn, call);
    assert(conn->state == CALLED);
    mg_stream_set_ops(conn->stream, NULL, NULL);
    mg_stream_reset(conn->stream);
    conn->stream = NULL;
    conn_free(conn);
}

static uint32_t user_at(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.uid : UINT32_MAX;
}

static void on_fd(void *arg, int fd, const struct sockaddr *peer)
{
    struct mg_service *service = arg;
    struct conn *conn = mg_new(struct conn);
    conn->service = service;
    conn->local = !peer || peer->sa_family == AF_UNIX;
    conn->uid = conn->local ? user_at(fd) : UINT32_MAX;
    conn->parser = mg_http_server_new(&service->limits, &parser_ops, conn);
    mg_buf_init(&conn->body, service->options.body_bytes + 1);
    conn->body.wiped = true;           /* secrets are set by bodies, and a client may leave before its answer is written */
    mg_buf_init(&conn->later, MG_MAX_PIPELINE_BYTES + MG_LOOP_READ_BYTES);
    mg_list_push_back(&service->open, &conn->link);
    service->count++;
    conn->stream = mg_stream_accept(service->loop, fd, service->options.tls, &stream_ops, conn);
    mg_stream_write_timeout(conn->stream, MG_MAX_CLIENT_WRITE_MS);
    if (service->count > service->options.connections)
        lost(conn);
    else
        mg_timer_start(service->loop, &conn->deadline, MG_MAX_CLIENT_IDLE_MS, on_deadline);
}

static void on_data(void *arg, mg_view bytes)
{
    struct conn *conn = arg;
    if (conn->state == READING && !conn->later.len)
        pump(conn, bytes);
    else if (conn->state != ENDING && mg_buf_put(&conn->later, bytes) != MG_OK)
        lost(conn);
}

/* A client that ends its side does not wait for an answer any more. */
static void on_end(void *arg)
{
    struct conn *conn = arg;
    if (conn->state != ENDING)
        lost(conn);
}

static void on_drain(void *arg)
{
    struct conn *conn = arg;
    if (conn->state == CALLED && conn->call.on_room)
        conn->call.on_room(&conn->call);
}

static void on_closed(void *arg, mg_err why)
{
    struct conn *conn = arg;
    conn->stream = NULL;
    lost(conn);
}

static mg_err on_head(void *arg, const struct mg_http_request *request)
{
    struct conn *conn = arg;
    conn->request = *request;
    mg_view go_on = MG_VIEW("HTTP/1.1 100 Continue\r\n\r\n");
    if (request->expect_continue)
        (void)write_parts(conn, &go_on, 1);
    return MG_OK;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct conn *conn = arg;
    return mg_buf_put(&conn->body, bytes);
}

static mg_err on_request_end(void *arg)
{
    (void)arg; /* pump_one() asks the parser */
    return MG_OK;
}

/* Parses and serves until the bytes are used up or a call stays open. */
static void pump(struct conn *conn, mg_view in)
{
    conn->pumping = true;
    while (in.len && conn->state == READING && !conn->freed)
        in = pump_one(conn, in);
    conn->pumping = false;
    if (conn->freed) {
        conn_free(conn);
        return;
    }
    if (conn->state == CALLED) {
        mg_stream_read(conn->stream, false);
        if (in.len && mg_buf_put(&conn->later, in) != MG_OK)
            lost(conn);
    }
}

static mg_view pump_one(struct conn *conn, mg_view in)
{
    bool was_idle = mg_http_server_idle(conn->parser);
    size_t used;
    mg_err err = mg_http_server_feed(conn->parser, in, &used);
    in = mg_view_skip(in, used);
    if (err != MG_OK) {
        refuse(conn, err);
        return MG_VIEW_NONE;
    }
    rearm(conn, was_idle);
    if (mg_http_server_complete(conn->parser)) {
        conn->state = CALLED;
        conn->chunked = false;
        conn->call = (struct mg_service_call){&conn->request, mg_buf_view(&conn->body),
                                              conn->service->loop, conn->local, conn->uid};
        conn->service->options.fn(conn->service->options.arg, &conn->call);
    }
    return in;
}

static void refuse(struct conn *conn, mg_err err)
{
    char body[256];
    int status = mg_err_status(err) ? mg_err_status(err) : 400;
    const char *reason = mg_http_server_reason(conn->parser);
    const char *code = status == 413   ? "body_too_large"
                       : status == 431 ? "headers_too_large"
                                       : "bad_request";
    int len = snprintf(body, sizeof(body), "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", code,
                       *reason ? reason : mg_err_text(err));
    conn->state = CALLED;
    conn->request = (struct mg_http_request){.version_minor = 1};
    mg_service_answer(&conn->call, status, MG_VIEW("content-type: application/json\r\n"),
                      mg_view_of(body, (size_t)MG_MIN(len, (int)sizeof(body) - 1)));
}

/* The answer is written: the next request, or the end. */
static void finish(struct conn *conn)
{
    memset(&conn->call, 0, sizeof(conn->call));
    if (conn->request.keep_alive && mg_stream_usable(conn->stream)) {
        over(conn);
        return;
    }
    conn->state = ENDING;
    mg_timer_cancel(conn->service->loop, &conn->deadline);
    mg_stream_shutdown(conn->stream);
}

static void over(struct conn *conn)
{
    mg_http_server_next(conn->parser);
    if (conn->body.len)
        mg_wipe(conn->body.ptr + conn->body.start, conn->body.len); /* here it may be kept */
    mg_buf_shrink(&conn->body, 65536);
    conn->state = READING;
    mg_timer_start(conn->service->loop, &conn->deadline, MG_MAX_CLIENT_IDLE_MS, on_deadline);
    if (!conn->pumping)
        mg_loop_defer(conn->service->loop, &conn->resume, on_resume);
}

/* Serves what came while the last answer was being made. */
static void on_resume(struct mg_defer *defer)
{
    struct conn *conn = mg_container_of(defer, struct conn, resume);
    struct mg_buf bytes = conn->later;
    mg_buf_init(&conn->later, bytes.max);
    if (conn->state == READING) {
        mg_stream_read(conn->stream, true);
        pump(conn, mg_buf_view(&bytes));
    }
    mg_buf_fini(&bytes);
}

static void on_deadline(struct mg_timer *timer)
{
    lost(mg_container_of(timer, struct conn, deadline));
}

/* Idle, then a fixed time for the head, then a time for each piece of the body; none while a call
 * is open. */
static void rearm(struct conn *conn, bool was_idle)
{
    struct mg_loop *loop = conn->service->loop;
    if (mg_http_server_complete(conn->parser))
        mg_timer_cancel(loop, &conn->deadline);
    else if (mg_http_server_has_head(conn->parser))
        mg_timer_start(loop, &conn->deadline, MG_MAX_CLIENT_BODY_MS, on_deadline);
    else if (was_idle)
        mg_timer_start(loop, &conn->deadline, MG_MAX_CLIENT_HEADER_MS, on_deadline);
}

/* The head of an answer, borrowed until the next one is made. */
static mg_view head_of(struct conn *conn, int status, mg_view headers, bool has_length,
                       size_t length)
{
    struct mg_buf *head = &conn->service->head;
    mg_buf_clear(head);
    bool fits =
        mg_http_put_status_line(head, status) == MG_OK && mg_buf_put(head, headers) == MG_OK;
    if (fits && !conn->request.keep_alive)
        fits = mg_buf_put(head, MG_VIEW("connection: close\r\n")) == MG_OK;
    if (fits && has_length)
        fits = mg_http_put_header_u64(head, MG_VIEW("content-length"), length) == MG_OK;
    else if (fits && status != 204)
        fits = mg_buf_put(head, MG_VIEW("transfer-encoding: chunked\r\n")) == MG_OK;
    fits = fits && mg_http_put_end(head) == MG_OK;
    assert(fits && "the headers of an answer are ours and short");
    return mg_buf_view(head);
}

/* A connection that ends is noticed by its on_closed; callers need not look. */
static mg_err write_parts(struct conn *conn, const mg_view *parts, size_t count)
{
    mg_err err = mg_stream_write(conn->stream, parts, count);
    return err == MG_OK || err == MG_E_AGAIN ? err : MG_E_CLOSED;
}

/* The client is gone, or has to go. */
static void lost(struct conn *conn)
{
    struct mg_service_call *call = &conn->call;
    if (conn->state == CALLED && call->on_gone) {
        conn->state = ENDING;
        call->on_gone(call);
    }
    conn_free(conn);
}

static void conn_free(struct conn *conn)
{
    conn->state = ENDING;
    if (conn->pumping) {
        conn->freed = true;
        return;
    }
    mg_list_remove(&conn->link);
    conn->service->count--;
    mg_timer_cancel(conn->service->loop, &conn->deadline);
    mg_loop_defer_cancel(&conn->resume);
    mg_stream_discard(conn->stream);
    mg_http_server_free(conn->parser);
    mg_buf_fini(&conn->body);
    mg_buf_fini(&conn->later);
    mg_free(conn);
}
