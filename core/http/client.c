#include "http/client.h"

#include <assert.h>

#include "base/mem.h"
#include "http/message.h"

enum { INTERIM_ANSWERS = 8 };          /* 1xx before the answer proper */

enum phase {
    NOTHING,                 /* no request was sent: begin comes first */
    WAITING,                 /* not a byte of the answer yet */
    HEAD,                    /* its first byte was seen, 1xx included */
    BODY,                    /* on_head was called */
    COMPLETE                 /* on_end is being or was called */
};

struct mg_http_client {
    struct mg_http_message message;    /* llhttp's data pointer leads here */
    const struct mg_http_client_ops *ops;      /* borrowed */
    void *arg;               /* borrowed; for ops */
    struct mg_http_response response;  /* valid from on_head until begin */
    enum phase phase;
    int interim_count;       /* 1xx answers seen for this request */
    bool interim;            /* the head just parsed is one */
    bool at_start;           /* the next byte begins a head */
    bool head_request;
    bool surplus;            /* bytes came behind the end of the answer */
};

static int on_head(llhttp_t *parser);
static int on_body(llhttp_t *parser, const char *at, size_t len);
static int on_end(llhttp_t *parser);
static void run(struct mg_http_client *c, mg_view in, size_t *out_used);
static void next_head(struct mg_http_client *c);
static void finish(struct mg_http_client *c);
static const char *fill_response(struct mg_http_client *c);

static const llhttp_settings_t settings = {
    MG_HTTP_MESSAGE_CALLBACKS,
    .on_status = mg_http_message_on_ignored,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

struct mg_http_client *mg_http_client_new(const struct mg_http_limits *limits,
                                          const struct mg_http_client_ops *ops, void *arg)
{
    struct mg_http_client *c = mg_new(struct mg_http_client);
    mg_http_message_init(&c->message, HTTP_RESPONSE, &settings, limits);
    c->ops = ops;
    c->arg = arg;
    return c;
}

void mg_http_client_free(struct mg_http_client *c)
{
    if (!c)
        return;
    mg_http_message_fini(&c->message);
    mg_free(c);
}

void mg_http_client_begin(struct mg_http_client *c, bool head_request)
{
    mg_http_message_reset(&c->message);
    c->response = (struct mg_http_response){0};
    c->phase = WAITING;
    c->interim_count = 0;
    c->interim = c->surplus = false;
    c->at_start = true;
    c->head_request = head_request;
}

mg_err mg_http_client_feed(struct mg_http_client *c, mg_view in, size_t *out_used)
{
    assert(c->phase != NOTHING);
    *out_used = 0;
    if (c->message.failed || in.len == 0)
        return c->message.failed;
    if (c->phase == COMPLETE) {
        c->surplus = true;
        mg_http_message_violated(&c->message, "bytes follow the end of the answer");
        return c->message.failed;
    }
    run(c, in, out_used);
    return c->message.failed;
}

mg_err mg_http_client_eof(struct mg_http_client *c)
{
    assert(c->phase != NOTHING);
    if (c->message.failed || c->phase == COMPLETE)
        return c->message.failed;
    if (c->phase == WAITING)
        mg_http_message_fail(&c->message, MG_E_CLOSED, "the connection was closed before an answer");
    else if (c->phase == BODY && c->response.until_eof)
        finish(c);
    else
        mg_http_message_violated(&c->message, "the connection was closed in the middle of the answer");
    return c->message.failed;
}

bool mg_http_client_started(const struct mg_http_client *c)
{
    return c->phase >= HEAD;
}

bool mg_http_client_complete(const struct mg_http_client *c)
{
    return c->phase == COMPLETE;
}

bool mg_http_client_keep_alive(const struct mg_http_client *c)
{
    return c->phase == COMPLETE && !c->message.failed && !c->surplus && !c->response.until_eof &&
           mg_http_message_keep_alive(&c->message);
}

const char *mg_http_client_reason(const struct mg_http_client *c)
{
    return c->message.reason ? c->message.reason : "";
}

/* One llhttp message after the other until the answer proper is complete. */
static void run(struct mg_http_client *c, mg_view in, size_t *out_used)
{
    while (in.len > 0 && !c->message.failed) {
        size_t used = 0;
        c->phase = c->phase == WAITING ? HEAD : c->phase;
        if (c->at_start && in.ptr[0] != 'H') {
            mg_http_message_violated(&c->message, "the answer does not begin with HTTP/");
            return;
        }
        c->at_start = false;
        bool ended = mg_http_message_run(&c->message, in, &used);
        *out_used += used;
        in = mg_view_skip(in, used);
        if (!ended)
            return;
        if (!c->interim) {
            c->surplus = in.len > 0;
            finish(c);
            if (c->surplus)
                mg_http_message_violated(&c->message, "bytes follow the end of the answer");
            return;
        }
        next_head(c);
    }
}

/* A 1xx answer is over: the next head is parsed as if nothing had been. */
static void next_head(struct mg_http_client *c)
{
    mg_http_message_reset(&c->message);
    c->interim = false;
    c->at_start = true;
    if (++c->interim_count > INTERIM_ANSWERS)
        mg_http_message_violated(&c->message, "there is no end of interim answers");
}

static void finish(struct mg_http_client *c)
{
    c->phase = COMPLETE;
    mg_err err = c->ops->on_end(c->arg);
    if (err)
        mg_http_message_fail(&c->message, err, NULL);
}

static struct mg_http_client *client_of(llhttp_t *parser)
{
    return mg_container_of(parser->data, struct mg_http_client, message);
}

/* 1 tells llhttp that no body follows whatever the headers say, -1 is a failure. */
static int on_head(llhttp_t *parser)
{
    struct mg_http_client *c = client_of(parser);
    parser->upgrade = 0;
    if (!mg_http_message_resolve(&c->message))
        return -1;

    const char *reason = fill_response(c);
    if (reason) {
        mg_http_message_violated(&c->message, reason);
        return -1;
    }
    if (c->interim)
        return 1;
    c->phase = BODY;
    mg_err err = c->ops->on_head(c->arg, &c->response);
    if (err) {
        mg_http_message_fail(&c->message, err, NULL);
        return -1;
    }
    return c->response.no_body ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_client *c = client_of(parser);
    if (len > c->message.limits->body_bytes - c->message.body_bytes)
        return mg_http_message_violated(&c->message, "the body of the answer is too large");
    c->message.body_bytes += len;
    mg_err err = len ? c->ops->on_body(c->arg, mg_view_of(at, len)) : MG_OK;
    return err ? mg_http_message_fail(&c->message, err, NULL) : 0;
}

static int on_end(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

static const char *fill_response(struct mg_http_client *c)
{
    struct mg_http_message *m = &c->message;
    struct mg_http_framing framing;
    int status = m->parser.status_code;
    if (m->parser.http_major != 1 || m->parser.http_minor > 1)
        return "the answer is not HTTP/1.1";
    if (status < 100 || status == 101)
        return status == 101 ? "the upstream switched protocols unasked" : "the status is not a status";
    const char *reason = mg_http_message_framing(m, &framing);
    if (reason)
        return reason;

    c->interim = status < 200;
    if (c->interim)
        return framing.chunked || framing.has_length ? "an interim answer announces a body" : NULL;
    c->response = (struct mg_http_response){
        .status = status,
        .headers = mg_http_message_headers(m),
        .version_minor = m->parser.http_minor,
        .chunked = framing.chunked,
        .has_length = framing.has_length,
        .content_length = framing.content_length,
        .no_body = c->head_request || status == 204 || status == 304,
    };
    c->response.until_eof = !c->response.no_body && !framing.chunked && !framing.has_length;
    return NULL;
}
