#include "gateway/client.h"

#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/exchange.h"

static void feed(struct mg_client *client, mg_view bytes);

/* ---- timers ---------------------------------------------------------------------------------- */

static void arm(struct mg_client *client, uint64_t timeout_ms, mg_timer_cb cb)
{
    mg_timer_start(&client->worker->loop, &client->timer, timeout_ms, cb);
}

static void on_idle(struct mg_timer *timer)
{
    mg_client_close(mg_container_of(timer, struct mg_client, timer));
}

/* Slow loris: the request does not arrive in time. */
static void on_slow(struct mg_timer *timer)
{
    struct mg_client *client = mg_container_of(timer, struct mg_client, timer);
    if (client->exchange && mg_exchange_takes_body(client->exchange))
        mg_exchange_broken(client->exchange, MG_E_TIMEOUT, "it arrived too slowly");
    else
        mg_client_close(client);
}

/* ---- the parser's events --------------------------------------------------------------------- */

static mg_err on_head(void *arg, const struct mg_http_request *request)
{
    struct mg_client *client = arg;
    arm(client, client->worker->config->limits.body_ms, on_slow);
    return mg_exchange_head(client->exchange, request);
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct mg_client *client = arg;
    arm(client, client->worker->config->limits.body_ms, on_slow);
    return mg_exchange_body(client->exchange, bytes);
}

static mg_err on_end(void *arg)
{
    (void)arg;
    return MG_OK;                      /* mg_http_server_complete() says so to feed() */
}

static const struct mg_http_server_ops http_ops = {.on_head = on_head, .on_body = on_body, .on_end = on_end};

/* Who does not read its answers gets no further ones: they would pile up here. */
static bool is_full(const struct mg_client *client)
{
    return client->stream && mg_stream_queued(client->stream) > MG_MAX_WRITE_QUEUE_BYTES;
}

static void on_resume(struct mg_defer *defer);

static void resume(struct mg_client *client)
{
    if (client->waiting.len && !client->closing && !is_full(client))
        mg_loop_defer(&client->worker->loop, &client->resume, on_resume);
}

/* ---- the stream's events --------------------------------------------------------------------- */

static void keep_waiting(struct mg_client *client, mg_view bytes)
{
    if (mg_buf_put(&client->waiting, bytes) != MG_OK) {
        mg_client_close(client);       /* more than was read at once: cannot be, reading is off above the mark */
        return;
    }
    if (client->waiting.len >= MG_MAX_PIPELINE_BYTES && !client->paused) {
        client->paused = true;
        mg_stream_read(client->stream, false);
    }
}

static void on_data(void *arg, mg_view bytes)
{
    struct mg_client *client = arg;
    bool begun = client->exchange && client->exchange->state != MG_EXCHANGE_READING;
    bool uploads = begun && mg_exchange_takes_body(client->exchange), busy = begun && !uploads;
    if (client->closing)
        return;
    if (uploads)
        feed(client, bytes);
    else if (busy || client->waiting.len || is_full(client))
        keep_waiting(client, bytes);
    else
        feed(client, bytes);
}

static void on_stream_end(void *arg)
{
    struct mg_client *client = arg;
    if (client->closing && client->drains)
        mg_stream_shutdown(client->stream);
    else
        mg_client_close(client);
}

static void on_drain(void *arg)
{
    struct mg_client *client = arg;
    if (client->exchange && client->exchange->state != MG_EXCHANGE_READING)
        mg_exchange_drained(client->exchange);
    else
        resume(client);
}

static void client_free(struct mg_client *client)
{
    struct mg_worker *worker = client->worker;
    mg_timer_cancel(&worker->loop, &client->timer);
    mg_loop_defer_cancel(&client->resume);
    mg_list_remove(&client->link);
    mg_http_server_free(client->http);
    mg_buf_fini(&client->waiting);
    mg_free(client);
    atomic_fetch_sub_explicit(&worker->connections, 1, memory_order_relaxed);
    mg_metrics_connections(worker->metrics, -1);
}

static void on_closed(void *arg, mg_err why)
{
    struct mg_client *client = arg;
    mg_log_debug("client.closed", "why=%s", mg_err_text(why));
    client->stream = NULL;
    client->closing = true;
    if (client->exchange) {
        struct mg_exchange *x = client->exchange;
        client->exchange = NULL;
        mg_exchange_gone(x);
    }
    client_free(client);
}

static const struct mg_stream_ops stream_ops = {
    .on_data = on_data, .on_end = on_stream_end, .on_drain = on_drain, .on_closed = on_closed};

void mg_client_accept(struct mg_worker *worker, int fd, struct mg_tls_context *tls)
{
    struct mg_client *client = mg_new(struct mg_client);
    client->worker = worker;
    client->http = mg_http_server_new(&worker->http_limits, &http_ops, client);
    mg_buf_init(&client->waiting, MG_MAX_PIPELINE_BYTES + MG_LOOP_READ_BYTES);
    client->waiting.wiped = true;      /* keys come in headers */
    mg_list_push_back(&worker->clients, &client->link);
    client->stream = mg_stream_accept(&worker->loop, fd, tls, &stream_ops, client);
    mg_stream_write_timeout(client->stream, (uint32_t)worker->config->limits.write_ms);
    arm(client, worker->config->limits.header_ms, on_slow);
    mg_metrics_connections(worker->metrics, 1);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void begin(struct mg_client *client)
{
    client->exchange = mg_exchange_new(client);
    arm(client, client->worker->config->limits.header_ms, on_slow);
}

static bool is_blank(mg_view bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.ptr[i] != '\r' && bytes.ptr[i] != '\n')
            return false;
    return true;
}

/* Parses up to the end of one request; what follows waits for the answer. */
static void feed(struct mg_client *client, mg_view bytes)
{
    size_t used = 0;
    if (!client->exchange && is_blank(bytes))
        return;                        /* some clients end a body with one line end too many */
    if (!client->exchange)
        begin(client);
    mg_err err = mg_http_server_feed(client->http, bytes, &used);
    if (client->closing || !client->exchange)
        return;                        /* refused at its head */
    if (err != MG_OK) {
        mg_exchange_broken(client->exchange, err, mg_http_server_reason(client->http));
        return;
    }
    bytes = mg_view_skip(bytes, used);
    if (bytes.len)
        keep_waiting(client, bytes);
    bool complete = mg_http_server_complete(client->http);
    if (client->closing || !(complete || mg_exchange_is_ready(client->exchange)))
        return;
    if (complete)
        mg_timer_cancel(&client->worker->loop, &client->timer);
    mg_exchange_complete(client->exchange);
}

static void on_resume(struct mg_defer *defer)
{
    struct mg_client *client = mg_container_of(defer, struct mg_client, resume);
    struct mg_buf waiting = client->waiting;
    mg_buf_init(&client->waiting, waiting.max);
    client->waiting.wiped = true;
    if (waiting.len)
        feed(client, mg_buf_view(&waiting));
    mg_buf_fini(&waiting);
    if (client->paused && !client->closing && client->waiting.len < MG_MAX_PIPELINE_BYTES) {
        client->paused = false;
        mg_stream_read(client->stream, true);
    }
}

void mg_client_wait(struct mg_client *client, bool wait)
{
    if (client->closing)
        return;
    mg_stream_read(client->stream, !wait);
    if (wait)
        mg_timer_cancel(&client->worker->loop, &client->timer);
    else
        arm(client, client->worker->config->limits.body_ms, on_slow);
}

void mg_client_drains(struct mg_client *client)
{
    client->drains = true;
}

static void on_drained_enough(struct mg_timer *timer)
{
    mg_stream_shutdown(mg_container_of(timer, struct mg_client, timer)->stream);
}

/* The answer is out, and the client still writes. */
static void throw_away_the_rest(struct mg_client *client)
{
    mg_stream_read(client->stream, true);
    arm(client, MG_DRAIN_UPLOAD_MS, on_drained_enough);
}

void mg_client_done(struct mg_client *client, bool keep_alive)
{
    client->exchange = NULL;
    if (!client->stream || client->closing)
        return;
    if (!keep_alive || client->worker->draining) {
        client->closing = true;
        mg_timer_cancel(&client->worker->loop, &client->timer);
        if (client->drains && !mg_http_server_complete(client->http))
            throw_away_the_rest(client);
        else
            mg_stream_shutdown(client->stream);
        return;
    }
    client->drains = false;
    mg_http_server_next(client->http);
    arm(client, client->worker->config->limits.idle_ms, on_idle);
    resume(client);
}

void mg_client_drain(struct mg_client *client)
{
    if (client->exchange || client->closing)
        return;
    arm(client, MG_DRAIN_GRACE_MS, on_idle);
}

void mg_client_close(struct mg_client *client)
{
    if (!client->stream || client->closing)
        return;
    client->closing = true;
    if (client->exchange) {
        struct mg_exchange *x = client->exchange;
        client->exchange = NULL;
        mg_exchange_gone(x);
    }
    mg_stream_close(client->stream);
}

void mg_client_cut(struct mg_client *client)
{
    mg_client_close(client);
    if (client->stream)
        mg_stream_close(client->stream);
}
