/* RESOLVING ─▶ CONNECTING ─▶ [PROXYING] ─▶ [SECURING] ─▶ callback; every end passes finish(). */
#include "io/dial.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/proxy.h"

enum { STAGGER_MS = 250 };

static void on_resolved(struct mg_resolve *resolve, mg_err result);
static void try_next(struct mg_dial *op);
static void on_stagger(struct mg_timer *timer);
static void on_try_open(void *arg);
static void on_try_closed(void *arg, mg_err why);
static void drop_tries(struct mg_dial *op);
static void connected(struct mg_dial *op, struct mg_stream *stream);
static void ask_proxy(struct mg_dial *op);
static void on_proxy_data(void *arg, mg_view bytes);
static void on_early_end(void *arg);
static void on_lost(void *arg, mg_err why);
static void tunnelled(struct mg_dial *op);
static void on_secure(void *arg);
static void on_deadline(struct mg_timer *timer);
static void fail(struct mg_dial *op, mg_err result, const char *reason);
static void finish(struct mg_dial *op, mg_err result);

static const struct mg_stream_ops try_ops = {.on_open = on_try_open, .on_closed = on_try_closed};
static const struct mg_stream_ops proxy_ops = {
    .on_data = on_proxy_data, .on_end = on_early_end, .on_closed = on_lost};
static const struct mg_stream_ops secure_ops = {.on_secure = on_secure, .on_closed = on_lost};

void mg_dial_start(struct mg_dial *op, struct mg_loop *loop, const struct mg_endpoint *endpoint,
                   uint32_t timeout_ms, mg_dial_cb cb)
{
    memset(op, 0, sizeof(*op));
    op->loop = loop;
    op->endpoint = endpoint;
    op->cb = cb;
    op->marks.start_us = mg_loop_now_us(loop);
    op->state = MG_DIAL_RESOLVING;
    mg_timer_start(loop, &op->deadline, timeout_ms, on_deadline);
    if (endpoint->proxy)
        mg_resolve_start(&op->resolve, loop, endpoint->proxy->host, endpoint->proxy->port,
                         on_resolved);
    else
        mg_resolve_start(&op->resolve, loop, endpoint->host, endpoint->port, on_resolved);
}

void mg_dial_cancel(struct mg_dial *op)
{
    if (op->state == MG_DIAL_IDLE)
        return;
    op->cb = NULL;
    finish(op, MG_E_CANCELLED);
}

static void on_resolved(struct mg_resolve *resolve, mg_err result)
{
    struct mg_dial *op = mg_container_of(resolve, struct mg_dial, resolve);
    if (result != MG_OK) {
        fail(op, result,
             op->endpoint->proxy ? "the proxy's name does not resolve" : "name does not resolve");
        return;
    }
    op->marks.dns_us = mg_loop_now_us(op->loop);
    op->state = MG_DIAL_CONNECTING;
    try_next(op);
}

static void try_next(struct mg_dial *op)
{
    if (op->next == op->resolve.addresses.count)
        return;
    struct mg_dial_try *one = &op->tries[op->next];
    const struct sockaddr *address = &op->resolve.addresses.list[op->next].any;
    op->next++;
    op->flying++;
    one->op = op;
    one->stream = mg_stream_connect(op->loop, address, &try_ops, one);
    mg_timer_start(op->loop, &op->stagger, STAGGER_MS, on_stagger);
}

static void on_stagger(struct mg_timer *timer)
{
    try_next(mg_container_of(timer, struct mg_dial, stagger));
}

static void on_try_open(void *arg)
{
    struct mg_dial_try *one = arg;
    struct mg_stream *winner = one->stream;
    one->stream = NULL;
    connected(one->op, winner);
}

static void on_try_closed(void *arg, mg_err why)
{
    struct mg_dial_try *one = arg;
    struct mg_dial *op = one->op;
    (void)why;
    snprintf(op->reason, sizeof(op->reason), "%s", mg_stream_reason(one->stream));
    one->stream = NULL;
    op->flying--;
    try_next(op);
    if (op->flying == 0)
        finish(op, MG_E_CONNECT);
}

static void drop_tries(struct mg_dial *op)
{
    mg_timer_cancel(op->loop, &op->stagger);
    for (int i = 0; i < op->next; i++) {
        mg_stream_discard(op->tries[i].stream);
        op->tries[i].stream = NULL;
    }
    op->flying = 0;
}

static void connected(struct mg_dial *op, struct mg_stream *stream)
{
    op->stream = stream;
    op->reason[0] = '\0';
    drop_tries(op);
    snprintf(op->address, sizeof(op->address), "%s", mg_stream_peer(stream));
    if (op->endpoint->proxy)
        ask_proxy(op);
    else
        tunnelled(op);
}

static void ask_proxy(struct mg_dial *op)
{
    char request[MG_PROXY_REQUEST_BYTES];
    size_t length =
        mg_proxy_request(op->endpoint->proxy, op->endpoint->host, op->endpoint->port, request);
    mg_view part = mg_view_of(request, length);
    op->state = MG_DIAL_PROXYING;
    mg_stream_set_ops(op->stream, &proxy_ops, op);
    mg_err err = mg_stream_write(op->stream, &part, 1);
    mg_wipe(request, sizeof(request));
    if (err != MG_OK)
        fail(op, MG_E_CONNECT, "connection to the proxy lost");
}

static void on_proxy_data(void *arg, mg_view bytes)
{
    struct mg_dial *op = arg;
    if (!op->answer)
        op->answer = mg_alloc(MG_PROXY_ANSWER_BYTES);
    if (bytes.len > MG_PROXY_ANSWER_BYTES - op->answer_len) {
        fail(op, MG_E_CONNECT, "the proxy's answer is too long");
        return;
    }
    memcpy(op->answer + op->answer_len, bytes.ptr, bytes.len);
    op->answer_len += bytes.len;

    int status = mg_proxy_answer(mg_view_of(op->answer, op->answer_len));
    if (status == MG_PROXY_MORE)
        return;
    if (status == MG_PROXY_OK) {
        tunnelled(op);
        return;
    }
    char reason[64] = "the proxy does not speak HTTP";
    if (status > 0)
        snprintf(reason, sizeof(reason), "the proxy answered %d", status);
    fail(op, MG_E_CONNECT, reason);
}

static void on_early_end(void *arg)
{
    fail(arg, MG_E_CONNECT, "the proxy closed the connection");
}

static void tunnelled(struct mg_dial *op)
{
    op->marks.connect_us = mg_loop_now_us(op->loop);
    const struct mg_endpoint *endpoint = op->endpoint;
    if (!endpoint->tls) {
        finish(op, MG_OK);
        return;
    }
    op->state = MG_DIAL_SECURING;
    mg_stream_set_ops(op->stream, &secure_ops, op);
    mg_stream_secure(op->stream, endpoint->tls, endpoint->name ? endpoint->name : endpoint->host,
                     mg_view_cstr(endpoint->key));
}

static void on_secure(void *arg)
{
    struct mg_dial *op = arg;
    op->marks.tls_us = mg_loop_now_us(op->loop);
    finish(op, MG_OK);
}

static void on_lost(void *arg, mg_err why)
{
    struct mg_dial *op = arg;
    bool securing = op->state == MG_DIAL_SECURING;
    snprintf(op->reason, sizeof(op->reason), "%s", mg_stream_reason(op->stream));
    op->stream = NULL; /* it is gone after this callback */
    finish(op, why == MG_E_TIMEOUT ? why : securing ? MG_E_TLS : MG_E_CONNECT);
}

static void on_deadline(struct mg_timer *timer)
{
    struct mg_dial *op = mg_container_of(timer, struct mg_dial, deadline);
    static const char *const waiting_for[] = {
        [MG_DIAL_RESOLVING] = "no answer from DNS in time",
        [MG_DIAL_CONNECTING] = "no connection in time",
        [MG_DIAL_PROXYING] = "no answer from the proxy in time",
        [MG_DIAL_SECURING] = "TLS handshake took too long",
    };
    fail(op, MG_E_TIMEOUT, waiting_for[op->state]);
}

static void fail(struct mg_dial *op, mg_err result, const char *reason)
{
    snprintf(op->reason, sizeof(op->reason), "%s", reason);
    finish(op, result);
}

/* The only way out. Everything that could still call back is cut off first, so the memory is the
 * caller's at once. */
static void finish(struct mg_dial *op, mg_err result)
{
    assert(op->state != MG_DIAL_IDLE);
    op->state = MG_DIAL_IDLE;
    mg_timer_cancel(op->loop, &op->deadline);
    mg_resolve_cancel(&op->resolve);
    drop_tries(op);
    mg_free(op->answer);
    op->answer = NULL;
    if (result == MG_OK) {
        mg_stream_set_ops(op->stream, NULL, NULL);
    } else {
        mg_stream_discard(op->stream);
        op->stream = NULL;
    }
    if (op->cb)
        op->cb(op, result);
}
