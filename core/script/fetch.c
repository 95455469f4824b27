#include "script/fetch.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"

/*  start ─▶ resolving ─▶ dialing ─▶ talking ─▶ ending ─▶ callback
 *               ▲            │ next address     │
 *               └────────────┴───── redirect ◀──┘          any failure ─▶ ending
 */
static pthread_mutex_t tls_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mg_tls_context *tls;     /* one reference; set under tls_lock before a script that may use it is installed,
                                        * so workers read it without */

enum { DIAL_MS = 60000 };              /* the deadline over everything is shorter */

static const struct mg_http_limits limits = {0, MG_MAX_HEADER_BYTES, MG_MAX_HEADER_COUNT, UINT64_MAX};

static void go(struct mg_fetch *op);
static void connect_next(struct mg_fetch *op);
static void on_resolved(struct mg_resolve *resolve, mg_err result);
static void on_dialed(struct mg_dial *dial, mg_err result);
static void talk(struct mg_fetch *op);
static void on_deadline(struct mg_timer *timer);
static void on_end(struct mg_defer *defer);
static void hang_up(struct mg_fetch *op);
static void fail(struct mg_fetch *op, enum mg_fetch_fail why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const char *mg_fetch_fail_name(enum mg_fetch_fail why)
{
    static const char *const names[] = {
#define X(name, retryable) #name,
        MG_FETCH_FAIL_LIST(X)
#undef X
    };
    return names[why];
}

bool mg_fetch_fail_retryable(enum mg_fetch_fail why)
{
    static const bool retryable[] = {
#define X(name, retry) retry,
        MG_FETCH_FAIL_LIST(X)
#undef X
    };
    return retryable[why];
}

mg_err mg_fetch_prepare(struct mg_diag *diag)
{
    struct mg_tls_client_options options = {.ca_file = NULL};
    pthread_mutex_lock(&tls_lock);
    mg_err err = tls ? MG_OK : mg_tls_client_new(&options, &tls, diag);
    pthread_mutex_unlock(&tls_lock);
    return err;
}

void mg_fetch_prepare_for(const char *const *grants)
{
    for (; grants && *grants; grants++)
        if (strncmp(*grants, "net:https:", 10) == 0 && mg_fetch_prepare(NULL) != MG_OK)
            return;
}

void mg_fetch_release(void)
{
    pthread_mutex_lock(&tls_lock);
    mg_tls_unref(tls);
    tls = NULL;
    pthread_mutex_unlock(&tls_lock);
}

/* ---- the request */

static bool is_ours(mg_view name)
{
    static const char *const ours[] = {"host", "content-length", "expect", "accept-encoding", "upgrade"};
    struct mg_headers none = {NULL, 0};
    for (size_t i = 0; i < MG_COUNT(ours); i++)
        if (mg_view_ieq(name, mg_view_cstr(ours[i])))
            return true;
    return mg_header_is_hop_by_hop(none, name);
}

static bool is_secret(mg_view name)
{
    return mg_view_ieq(name, MG_VIEW("authorization")) || mg_view_ieq(name, MG_VIEW("cookie")) ||
           mg_view_ieq(name, MG_VIEW("x-api-key")) || mg_view_ieq(name, MG_VIEW("api-key"));
}

/* Header lines: those that may follow a redirect to another origin, or the others. */
static mg_view render_fields(struct mg_fetch *op, const struct mg_fetch_request *request, bool secret)
{
    struct mg_buf lines;
    mg_buf_init(&lines, MG_MAX_HEADER_BYTES);
    for (size_t i = 0; i < request->header_count; i++) {
        const struct mg_header *header = &request->headers[i];
        if (is_secret(header->name) != secret)
            continue;
        if (is_ours(header->name) || mg_http_put_header(&lines, header->name, header->value) != MG_OK)
            fail(op, MG_FETCH_invalid_header, "the header '%.*s' may not be sent", MG_FMT(header->name));
    }
    mg_view copy = mg_arena_dup(&op->arena, mg_buf_view(&lines));
    mg_wipe(lines.ptr, lines.ptr ? lines.cap : 0);
    mg_buf_fini(&lines);
    return copy;
}

static void keep_secrets(struct mg_fetch *op, const struct mg_fetch_request *request)
{
    for (size_t i = 0; i < request->secret_count && i < MG_FETCH_SECRETS; i++) {
        struct mg_fetch_secret *secret = &op->secrets[op->secret_count++];
        *secret = request->secrets[i];
        secret->header = mg_arena_dup(&op->arena, secret->header);
        secret->prefix = mg_arena_dup(&op->arena, secret->prefix);
        secret->name = mg_arena_dup(&op->arena, secret->name);
        if (is_ours(secret->header) || !mg_http_is_token(secret->header))
            fail(op, MG_FETCH_invalid_header, "the header '%.*s' may not be sent", MG_FMT(secret->header));
    }
}

void mg_fetch_start(struct mg_fetch *op, struct mg_loop *loop, const struct mg_fetch_request *request, mg_fetch_cb cb)
{
    memset(op, 0, sizeof *op);
    op->loop = loop;
    op->cb = cb;
    op->origins = request->origins;
    op->max_bytes = request->max_bytes;
    op->started = true;
    mg_arena_init(&op->arena, 1024);
    mg_buf_init(&op->body, request->max_bytes ? request->max_bytes : 1);
    mg_buf_init(&op->location, MG_URL_BYTES);
    op->method = request->method.len ? mg_arena_dup(&op->arena, request->method) : MG_VIEW("GET");
    op->url = mg_arena_dup(&op->arena, request->url);
    op->body_out = mg_arena_dup(&op->arena, request->body);
    mg_timer_start(loop, &op->deadline, request->timeout_ms, on_deadline);
    op->fields = render_fields(op, request, false);
    op->secret_fields = render_fields(op, request, true);
    keep_secrets(op, request);
    if (!mg_http_is_token(op->method))
        fail(op, MG_FETCH_invalid_header, "'%.*s' is no method", MG_FMT(op->method));
    if (mg_origin_parse(op->url, &op->first, &op->target))
        go(op);
    else
        fail(op, MG_FETCH_invalid_url, "'%.*s' is no http or https URL", MG_FMT(mg_view_head(op->url, 100)));
}

/* ---- reaching the origin of op->url */

static void go(struct mg_fetch *op)
{
    char text[MG_ORIGIN_BYTES];
    if (op->state == MG_FETCH_ENDING)
        return;
    if (!mg_origin_parse(op->url, &op->origin, &op->target)) {
        fail(op, MG_FETCH_invalid_url, "'%.*s' is no http or https URL", MG_FMT(mg_view_head(op->url, 100)));
        return;
    }
    mg_origin_text(&op->origin, text);
    op->right = mg_origin_right(&op->origin, op->origins);
    if (op->right == MG_ORIGIN_REFUSED) {
        fail(op, MG_FETCH_denied, "%s is not granted: add \"net:%s\"", text, text);
        return;
    }
    for (size_t i = 0; i < op->secret_count && mg_origin_eq(&op->origin, &op->first); i++) {
        if (mg_origin_right(&op->origin, op->secrets[i].origins) != MG_ORIGIN_REFUSED)
            continue;
        fail(op, MG_FETCH_denied, "the secret %.*s is not granted for %s", MG_FMT(op->secrets[i].name), text);
        return;
    }
    if (op->origin.https && mg_fetch_prepare(NULL) != MG_OK) {
        fail(op, MG_FETCH_tls, "the system's certificates cannot be read");
        return;
    }
    op->proxied = mg_proxy_from_env(op->origin.https, op->origin.host, op->origin.port, &op->proxy);
    op->next_address = 0;
    op->state = MG_FETCH_RESOLVING;
    if (op->proxied)
        connect_next(op);
    else
        mg_resolve_start(&op->resolve, op->loop, op->origin.host, op->origin.port, on_resolved);
}

static void on_resolved(struct mg_resolve *resolve, mg_err result)
{
    struct mg_fetch *op = mg_container_of(resolve, struct mg_fetch, resolve);
    if (result != MG_OK) {
        fail(op, MG_FETCH_resolve, "%s does not resolve", op->origin.host);
        return;
    }
    /* One address that may not be reached condemns the name: who mixes them means harm. */
    for (int i = 0; i < resolve->addresses.count; i++) {
        enum mg_origin_right needs = mg_origin_address(&resolve->addresses.list[i].any);
        if (needs == MG_ORIGIN_REFUSED || needs > op->right) {
            fail(op, MG_FETCH_denied, "%s leads to a private address, which needs the origin to be granted letter by letter",
                 op->origin.host);
            return;
        }
    }
    connect_next(op);
}

static void literal_of(const struct sockaddr *address, char out[64])
{
    if (address->sa_family == AF_INET)
        uv_ip4_name((const struct sockaddr_in *)(const void *)address, out, 64);
    else
        uv_ip6_name((const struct sockaddr_in6 *)(const void *)address, out, 64);
}

/* Dials the address that was checked, not the name, which could answer otherwise a moment later. */
static void connect_next(struct mg_fetch *op)
{
    char origin[MG_ORIGIN_BYTES];
    mg_origin_text(&op->origin, origin);
    if (op->proxied)
        snprintf(op->address, sizeof op->address, "%s", "");
    else
        literal_of(&op->resolve.addresses.list[op->next_address].any, op->address);
    op->next_address++;
    snprintf(op->key, sizeof op->key, "plugin %s %s", origin, op->address);
    op->endpoint = (struct mg_endpoint){.host = op->proxied ? op->origin.host : op->address,
                                        .port = op->origin.port,
                                        .tls = op->origin.https ? tls : NULL,
                                        .name = op->origin.host,
                                        .proxy = op->proxied ? &op->proxy : NULL,
                                        .key = op->key};
    op->state = MG_FETCH_DIALING;
    mg_dial_start(&op->dial, op->loop, &op->endpoint, DIAL_MS, on_dialed);
}

static void on_dialed(struct mg_dial *dial, mg_err result)
{
    struct mg_fetch *op = mg_container_of(dial, struct mg_fetch, dial);
    if (result == MG_OK) {
        op->stream = dial->stream;
        talk(op);
    } else if (result == MG_E_CONNECT && !op->proxied && op->next_address < op->resolve.addresses.count) {
        connect_next(op);
    } else {
        enum mg_fetch_fail why = result == MG_E_TLS       ? MG_FETCH_tls
                                 : result == MG_E_TIMEOUT ? MG_FETCH_timeout
                                 : result == MG_E_RESOLVE ? MG_FETCH_resolve
                                                          : MG_FETCH_connect;
        fail(op, why, "%s: %s", op->origin.host, dial->reason[0] ? dial->reason : mg_err_text(result));
    }
}

/* ---- the exchange */

static void keep_location(struct mg_fetch *op, struct mg_headers headers)
{
    mg_view location = mg_headers_get(headers, MG_VIEW("location"));
    bool redirect = op->status == 301 || op->status == 302 || op->status == 303 || op->status == 307 || op->status == 308;
    if (redirect && location.len && !mg_origin_redirect(op->url, location, &op->location))
        fail(op, MG_FETCH_invalid_url, "the answer redirects to '%.*s'", MG_FMT(mg_view_head(location, 100)));
}

static mg_err on_head(void *arg, const struct mg_http_response *response)
{
    struct mg_fetch *op = arg;
    op->status = response->status;
    op->header_count = 0;
    for (size_t i = 0; i < response->headers.count && op->header_count < MG_FETCH_HEADERS; i++) {
        const struct mg_header *header = &response->headers.items[i];
        op->headers[op->header_count++] =
            (struct mg_header){mg_arena_dup(&op->arena, header->name), mg_arena_dup(&op->arena, header->value)};
    }
    keep_location(op, response->headers);
    return op->state == MG_FETCH_TALKING ? MG_OK : MG_E_CANCELLED;
}

static mg_err on_body(void *arg, mg_view bytes)
{
    struct mg_fetch *op = arg;
    if (op->location.len)
        return MG_OK;                  /* nobody reads what a redirect says */
    if (op->max_bytes - op->body.len >= bytes.len && mg_buf_put(&op->body, bytes) == MG_OK)
        return MG_OK;
    fail(op, MG_FETCH_too_large, "the answer has more than %zu bytes", op->max_bytes);
    return MG_E_TOO_LARGE;
}

static mg_err on_complete(void *arg)
{
    struct mg_fetch *op = arg;
    op->state = MG_FETCH_ENDING;
    mg_loop_defer(op->loop, &op->end, on_end);
    return MG_OK;
}

static const struct mg_http_client_ops parser_ops = {on_head, on_body, on_complete};

static void on_data(void *arg, mg_view bytes)
{
    struct mg_fetch *op = arg;
    size_t used;
    if (op->state != MG_FETCH_TALKING)
        return;
    mg_err err = mg_http_client_feed(op->parser, bytes, &used);
    if (err != MG_OK && op->state == MG_FETCH_TALKING)
        fail(op, MG_FETCH_protocol, "%s: %s", op->origin.host, mg_http_client_reason(op->parser));
}

static void on_peer_end(void *arg)
{
    struct mg_fetch *op = arg;
    if (op->state == MG_FETCH_TALKING && mg_http_client_eof(op->parser) != MG_OK && op->state == MG_FETCH_TALKING)
        fail(op, MG_FETCH_closed, "%s left before its answer was complete", op->origin.host);
}

static void on_closed(void *arg, mg_err why)
{
    struct mg_fetch *op = arg;
    op->stream = NULL;
    if (op->state == MG_FETCH_TALKING)
        fail(op, MG_FETCH_closed, "%s: %s", op->origin.host, mg_err_text(why));
}

static const struct mg_stream_ops stream_ops = {.on_data = on_data, .on_end = on_peer_end, .on_closed = on_closed};

/* In clear from here to the return of the write, and only for the origin that was asked for. */
static mg_err put_secrets(struct mg_fetch *op, struct mg_locked *out)
{
    for (size_t i = 0; i < op->secret_count && mg_origin_eq(&op->origin, &op->first); i++) {
        const struct mg_fetch_secret *secret = &op->secrets[i];
        mg_sealed_unref(op->sent[i]);  /* of a redirect that stayed here */
        op->sent[i] = mg_secret_get(&secret->secret);
        if (!op->sent[i])
            return MG_E_NOT_FOUND;
        MG_TRY(mg_locked_put(out, secret->header));
        MG_TRY(mg_locked_put(out, MG_VIEW(": ")));
        MG_TRY(mg_locked_put(out, secret->prefix));
        MG_TRY(mg_sealed_open(op->sent[i], out));
        MG_TRY(mg_locked_put(out, MG_VIEW("\r\n")));
    }
    return MG_OK;
}

/* What the peer repeats of them is covered before Lua sees it. */
static void hide_secrets(struct mg_fetch *op)
{
    for (size_t i = 0; i < op->secret_count; i++) {
        if (!op->sent[i])
            continue;
        mg_view body = mg_buf_view(&op->body);
        bool found = body.len && mg_sealed_hide_all_forms(op->sent[i], (char *)(uintptr_t)body.ptr, body.len, true);
        for (size_t h = 0; h < op->header_count; h++) {
            mg_view value = op->headers[h].value;
            found |= value.len && mg_sealed_hide_all_forms(op->sent[i], (char *)(uintptr_t)value.ptr, value.len, true);
        }
        if (found)
            mg_loop_wipe_reads(op->loop);
    }
}

static mg_err put_head(struct mg_fetch *op, struct mg_buf *head)
{
    char origin[MG_ORIGIN_BYTES];
    bool body = op->body_out.len > 0 || mg_view_eq(op->method, MG_VIEW("POST")) || mg_view_eq(op->method, MG_VIEW("PUT"));
    mg_origin_text(&op->origin, origin);
    mg_view slash = mg_view_starts(op->target, MG_VIEW("/")) ? op->target
                                                             : mg_arena_printf(&op->arena, "/%.*s", MG_FMT(op->target));
    MG_TRY(mg_http_put_request_line(head, op->method, slash));
    MG_TRY(mg_http_put_header(head, MG_VIEW("Host"), mg_view_cstr(origin + (op->origin.https ? 8 : 7))));
    MG_TRY(mg_http_put_header(head, MG_VIEW("Accept-Encoding"), MG_VIEW("identity")));
    MG_TRY(mg_http_put_header(head, MG_VIEW("Connection"), MG_VIEW("close")));
    if (body)
        MG_TRY(mg_http_put_header_u64(head, MG_VIEW("Content-Length"), op->body_out.len));
    MG_TRY(mg_buf_put(head, op->fields));
    if (mg_origin_eq(&op->origin, &op->first))
        MG_TRY(mg_buf_put(head, op->secret_fields));
    return mg_http_put_end(head);
}

static void talk(struct mg_fetch *op)
{
    struct mg_buf head;
    op->state = MG_FETCH_TALKING;
    mg_stream_set_ops(op->stream, &stream_ops, op);
    if (!op->parser)
        op->parser = mg_http_client_new(&limits, &parser_ops, op);
    mg_http_client_begin(op->parser, mg_view_eq(op->method, MG_VIEW("HEAD")));
    mg_buf_init(&head, 2 * MG_MAX_HEADER_BYTES);
    mg_err err = put_head(op, &head);
    struct mg_locked *secrets = mg_locked_take();
    if (err == MG_OK && (err = put_secrets(op, secrets)) != MG_OK)
        fail(op, MG_FETCH_secret, "a secret that the request names is not in the vault, or does not open");
    mg_view lines = mg_buf_view(&head);
    mg_view parts[] = {mg_view_head(lines, lines.len - 2), mg_view_of(secrets->ptr, secrets->len), MG_VIEW("\r\n"), op->body_out};
    if (err == MG_OK)
        err = mg_stream_write(op->stream, parts, op->body_out.len ? 4 : 3);
    mg_locked_give(secrets);
    mg_wipe(head.ptr, head.ptr ? head.cap : 0);
    mg_buf_fini(&head);
    if (err == MG_E_CLOSED)
        fail(op, MG_FETCH_closed, "%s closed the connection", op->origin.host);
    else if (err != MG_OK && err != MG_E_AGAIN)
        fail(op, MG_FETCH_invalid_header, "the request cannot be written: %s", mg_err_text(err));
}

/* ---- the end, or the next origin */

static void follow(struct mg_fetch *op)
{
    bool see_other = op->status == 303 || ((op->status == 301 || op->status == 302) &&
                                           !mg_view_eq(op->method, MG_VIEW("GET")) && !mg_view_eq(op->method, MG_VIEW("HEAD")));
    op->state = MG_FETCH_IDLE;
    if (++op->redirects > MG_FETCH_REDIRECTS) {
        fail(op, MG_FETCH_redirects, "more than %d redirects", MG_FETCH_REDIRECTS);
        return;
    }
    if (see_other) {
        op->method = mg_view_eq(op->method, MG_VIEW("HEAD")) ? op->method : MG_VIEW("GET");
        op->body_out = MG_VIEW_NONE;
    }
    op->url = mg_arena_dup(&op->arena, mg_buf_view(&op->location));
    mg_buf_clear(&op->location);
    go(op);
}

static void on_end(struct mg_defer *defer)
{
    struct mg_fetch *op = mg_container_of(defer, struct mg_fetch, end);
    hang_up(op);
    if (op->fail == MG_FETCH_none && op->location.len) {
        follow(op);
        return;
    }
    mg_timer_cancel(op->loop, &op->deadline);
    hide_secrets(op);
    op->state = MG_FETCH_IDLE;
    op->cb(op);
}

static void on_deadline(struct mg_timer *timer)
{
    struct mg_fetch *op = mg_container_of(timer, struct mg_fetch, deadline);
    if (op->state != MG_FETCH_ENDING)
        fail(op, MG_FETCH_timeout, "no answer in time");
}

/* The first failure counts. */
static void fail(struct mg_fetch *op, enum mg_fetch_fail why, const char *fmt, ...)
{
    va_list args;
    if (op->fail != MG_FETCH_none)
        return;
    op->fail = why;
    va_start(args, fmt);
    vsnprintf(op->detail, sizeof op->detail, fmt, args);
    va_end(args);
    op->state = MG_FETCH_ENDING;
    mg_loop_defer(op->loop, &op->end, on_end);
}

static void hang_up(struct mg_fetch *op)
{
    mg_resolve_cancel(&op->resolve);
    mg_dial_cancel(&op->dial);
    mg_stream_discard(op->stream);
    op->stream = NULL;
}

void mg_fetch_fini(struct mg_fetch *op)
{
    if (!op->started)
        return;
    hang_up(op);
    mg_timer_cancel(op->loop, &op->deadline);
    mg_loop_defer_cancel(&op->end);
    mg_http_client_free(op->parser);
    mg_buf_fini(&op->body);
    mg_buf_fini(&op->location);
    for (size_t i = 0; i < op->secret_count; i++)
        mg_sealed_unref(op->sent[i]);
    op->secret_count = 0;
    if (op->secret_fields.len)
        mg_wipe((void *)(uintptr_t)op->secret_fields.ptr, op->secret_fields.len);
    mg_arena_fini(&op->arena);
    op->started = false;
}
