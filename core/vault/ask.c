#include "vault/ask.h"

#include <stdio.h>

#include "base/mem.h"
#include "http/client.h"
#include "http/headers.h"
#include "io/dial.h"
#include "io/tls.h"

enum { TOTAL_MS = 15000, TURN_MS = 1000, CANCEL_MS = 100 };

struct url {
    bool https;
    char host[256];
    int port;
    mg_view prefix;
};

struct asking {
    struct mg_loop loop;
    struct mg_dial dial;
    struct mg_timer deadline;
    struct mg_stream *stream;          /* owned; NULL once it is gone */
    struct mg_http_client *client;
    struct mg_http_limits limits;
    struct mg_buf *body;               /* the caller's */
    const mg_view *parts;              /* head and body */
    int status;
    bool done;
    mg_err result;
    char why[160];
};

static bool read_url(const char *text, struct url *out)
{
    mg_view rest = mg_view_cstr(text);
    out->https = mg_view_starts(rest, MG_VIEW("https://"));
    if (!out->https && !mg_view_starts(rest, MG_VIEW("http://")))
        return false;
    rest = mg_view_skip(rest, out->https ? 8 : 7);
    mg_view authority = mg_view_head(rest, mg_view_find(rest, "/"));
    out->prefix = mg_view_skip(rest, authority.len);
    while (mg_view_ends(out->prefix, MG_VIEW("/")))
        out->prefix.len--;
    mg_view host = mg_view_starts(authority, MG_VIEW("["))
                       ? mg_view_head(mg_view_skip(authority, 1), mg_view_find(authority, "]") - 1)
                       : mg_view_head(authority, mg_view_find(authority, ":"));
    mg_view port = mg_view_skip(authority, mg_view_starts(authority, MG_VIEW("[")) ? host.len + 2 : host.len);
    uint64_t number = out->https ? 443 : 80;
    if (port.len && (port.ptr[0] != ':' || !mg_view_u64(mg_view_skip(port, 1), &number)))
        return false;
    out->port = (int)number;
    return number > 0 && number < 65536 && host.len > 0 &&
           snprintf(out->host, sizeof out->host, "%.*s", MG_FMT(host)) < (int)sizeof out->host;
}

bool mg_ask_host(const char *url, char *out, size_t size)
{
    struct url parts;
    if (!read_url(url, &parts))
        return false;
    bool v6 = strchr(parts.host, ':') != NULL;
    bool plain = parts.port == (parts.https ? 443 : 80);
    char port[16] = "";
    if (!plain)
        snprintf(port, sizeof port, ":%d", parts.port);
    return snprintf(out, size, "%s%s%s%s", v6 ? "[" : "", parts.host, v6 ? "]" : "", port) < (int)size;
}

bool mg_ask_is_here(mg_view url)
{
    static const char *const heres[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    for (size_t i = 0; i < MG_COUNT(heres); i++) {
        mg_view rest = mg_view_skip(url, strlen(heres[i]));
        if (mg_view_starts(url, mg_view_cstr(heres[i])) && (!rest.len || rest.ptr[0] == ':' || rest.ptr[0] == '/'))
            return true;
    }
    return false;
}

bool mg_ask_is_private(mg_view url)
{
    return mg_view_starts(url, MG_VIEW("https://")) || mg_ask_is_here(url);
}

/* The first word is the last one. */
static void finish(struct asking *asking, mg_err result, const char *why)
{
    if (asking->done)
        return;
    asking->done = true;
    asking->result = result;
    snprintf(asking->why, sizeof asking->why, "%s", why);
}

static mg_err on_head(void *arg, const struct mg_http_response *response)
{
    struct asking *asking = arg;
    asking->status = response->status;
    return MG_OK;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct asking *asking = arg;
    return mg_buf_put(asking->body, bytes);
}

static mg_err on_end(void *arg)
{
    finish(arg, MG_OK, "");
    return MG_OK;
}

static const struct mg_http_client_ops client_ops = {.on_head = on_head, .on_body = on_body, .on_end = on_end};

static void on_data(void *arg, mg_view bytes)
{
    struct asking *asking = arg;
    size_t used;
    if (!asking->done && mg_http_client_feed(asking->client, bytes, &used) != MG_OK)
        finish(asking, MG_E_PROTOCOL, mg_http_client_reason(asking->client));
}

static void on_stream_end(void *arg)
{
    struct asking *asking = arg;
    if (!asking->done && mg_http_client_eof(asking->client) != MG_OK)
        finish(asking, MG_E_CLOSED, "it closed the connection before its answer was complete");
}

static void on_closed(void *arg, mg_err why)
{
    struct asking *asking = arg;
    asking->stream = NULL;
    finish(asking, why == MG_OK ? MG_E_CLOSED : why, "the connection broke");
}

static const struct mg_stream_ops stream_ops = {.on_data = on_data, .on_end = on_stream_end, .on_closed = on_closed};

static void on_dialed(struct mg_dial *dial, mg_err result)
{
    struct asking *asking = mg_container_of(dial, struct asking, dial);
    if (result != MG_OK) {
        finish(asking, result, dial->reason);
        return;
    }
    asking->stream = dial->stream;
    mg_stream_set_ops(asking->stream, &stream_ops, asking);
    if (mg_stream_write(asking->stream, asking->parts, 2) == MG_E_CLOSED)
        finish(asking, MG_E_CLOSED, "the connection broke");
}

static void on_deadline(struct mg_timer *timer)
{
    finish(mg_container_of(timer, struct asking, deadline), MG_E_TIMEOUT, "it did not answer in time");
}

static void wait_for_end(struct asking *asking, const atomic_bool *cancel)
{
    while (!asking->done) {
        mg_loop_turn(&asking->loop, cancel ? CANCEL_MS : TURN_MS);
        if (cancel && atomic_load(cancel))
            finish(asking, MG_E_CANCELLED, "nobody waits for it any more");
    }
}

static void converse(struct asking *asking, const struct mg_endpoint *endpoint, const struct mg_ask *ask)
{
    unsigned total_ms = ask->total_ms ? ask->total_ms : TOTAL_MS;
    asking->limits = (struct mg_http_limits){.header_bytes = 16384, .header_count = 128, .body_bytes = asking->body->max};
    mg_loop_init(&asking->loop);
    asking->client = mg_http_client_new(&asking->limits, &client_ops, asking);
    mg_http_client_begin(asking->client, false);
    mg_timer_start(&asking->loop, &asking->deadline, total_ms, on_deadline);
    mg_dial_start(&asking->dial, &asking->loop, endpoint, total_ms, on_dialed);
    wait_for_end(asking, ask->cancel);
    mg_timer_cancel(&asking->loop, &asking->deadline);
    mg_dial_cancel(&asking->dial);
    mg_stream_discard(asking->stream);
    mg_loop_wipe_reads(&asking->loop);
    mg_http_client_free(asking->client);
    mg_loop_fini(&asking->loop);
}

static mg_err put_head(const struct mg_ask *ask, const struct url *url, struct mg_buf *head)
{
    char host[300];
    if (!mg_ask_host(ask->url, host, sizeof host))
        return MG_E_TOO_LARGE;
    MG_TRY(mg_buf_reserve(head, 16384));         /* at once: growing would leave copies of a token */
    MG_TRY(mg_buf_putf(head, "%s %.*s%.*s HTTP/1.1\r\nhost: %s\r\ncontent-length: %zu\r\nconnection: close\r\n", ask->method,
                       MG_FMT(url->prefix), MG_FMT(ask->path), host, ask->body.len));
    MG_TRY(mg_buf_put(head, ask->headers));
    return mg_buf_put(head, MG_VIEW("\r\n"));
}

mg_err mg_ask(const struct mg_ask *ask, int *out_status, struct mg_buf *out_body, struct mg_diag *diag)
{
    struct url url;
    struct mg_proxy proxy;
    struct mg_buf head;
    if (!read_url(ask->url, &url))
        return mg_diag_set(diag, MG_E_CONFIG, NULL, 0, "%s: expected http(s)://host[:port][/path]", ask->url);
    struct mg_endpoint endpoint = {.host = url.host, .port = url.port};
    if (url.https)
        MG_TRY(mg_tls_client_new(&(struct mg_tls_client_options){.ca_file = ask->ca}, &endpoint.tls, diag));
    if (mg_proxy_from_env(url.https, url.host, url.port, &proxy))
        endpoint.proxy = &proxy;
    mg_buf_init(&head, 16384);
    mg_err err = put_head(ask, &url, &head);
    const mg_view parts[] = {mg_buf_view(&head), ask->body};
    struct asking *asking = mg_new(struct asking);
    asking->body = out_body;
    asking->parts = parts;
    if (err == MG_OK) {
        converse(asking, &endpoint, ask);
        err = asking->result;
        *out_status = asking->status;
    }
    if (err != MG_OK)
        mg_diag_set(diag, err, NULL, 0, "%s %s: %s", ask->whom ? ask->whom : "the key service", url.host,
                    *asking->why ? asking->why : mg_err_text(err));
    mg_wipe(head.ptr, head.cap);
    mg_buf_fini(&head);
    mg_free(asking);
    mg_tls_unref(endpoint.tls);
    return err;
}
