#include "http/server.h"

#include <assert.h>

#include "base/mem.h"
#include "http/message.h"

enum phase {
    IDLE,                    /* before a request; a CRLF may have been skipped */
    HEAD,                    /* its first byte was seen */
    BODY,                    /* on_head was called */
    COMPLETE                 /* on_end was called; waits for next */
};

enum { TAIL_BYTES = 7 };               /* "x HTTP/" in front of a version, "GET " of a target */

enum blank { NO_BLANK, BLANK_CR, BLANK_CRLF };

struct mg_http_server {
    struct mg_http_message message;    /* llhttp's data pointer leads here */
    const struct mg_http_server_ops *ops;      /* borrowed */
    void *arg;               /* borrowed; for ops */
    struct mg_http_request request;    /* valid from on_head until next */
    size_t method_bytes;     /* length of the method in front of the target */
    uint64_t max_body_bytes; /* of this request */
    enum phase phase;
    enum blank blank;        /* how much of the one allowed blank line came */
    const char *chunk;       /* what llhttp is reading, borrowed while it does */
    char tail[TAIL_BYTES];   /* the last bytes before chunk */
    bool has_version;
};

static int on_method(llhttp_t *parser, const char *at, size_t len);
static int on_target(llhttp_t *parser, const char *at, size_t len);
static int on_version(llhttp_t *parser, const char *at, size_t len);
static int on_head(llhttp_t *parser);
static int on_chunk(llhttp_t *parser);
static int on_body(llhttp_t *parser, const char *at, size_t len);
static int on_end(llhttp_t *parser);
static void look_back(const struct mg_http_server *s, const char *at, char out_before[TAIL_BYTES]);
static size_t skip_blank_line(struct mg_http_server *s, mg_view in);
static void run(struct mg_http_server *s, mg_view in, size_t *out_used);
static void finish(struct mg_http_server *s);
static const char *fill_request(struct mg_http_server *s);
static const char *split_target(struct mg_http_request *request);
static const char *check_host(struct mg_headers headers, int version_minor);
static enum mg_http_method method_of(uint8_t code);

static const llhttp_settings_t settings = {
    MG_HTTP_MESSAGE_CALLBACKS,
    .on_method = on_method,
    .on_url = on_target,
    .on_version = on_version,
    .on_headers_complete = on_head,
    .on_chunk_header = on_chunk,
    .on_body = on_body,
    .on_message_complete = on_end,
};

struct mg_http_server *mg_http_server_new(const struct mg_http_limits *limits,
                                          const struct mg_http_server_ops *ops, void *arg)
{
    struct mg_http_server *s = mg_new(struct mg_http_server);
    mg_http_message_init(&s->message, HTTP_REQUEST, &settings, limits);
    s->ops = ops;
    s->arg = arg;
    s->max_body_bytes = limits->body_bytes;
    return s;
}

void mg_http_server_free(struct mg_http_server *s)
{
    if (!s)
        return;
    mg_http_message_fini(&s->message);
    mg_free(s);
}

mg_err mg_http_server_feed(struct mg_http_server *s, mg_view in, size_t *out_used)
{
    size_t blank = 0;
    *out_used = 0;
    if (s->message.failed || s->phase == COMPLETE)
        return s->message.failed;

    if (s->phase == IDLE)
        blank = skip_blank_line(s, in);
    if (!s->message.failed && blank < in.len)
        run(s, mg_view_skip(in, blank), out_used);
    *out_used += blank;
    return s->message.failed;
}

void mg_http_server_limit_body(struct mg_http_server *s, uint64_t max_bytes)
{
    s->max_body_bytes = max_bytes;
}

bool mg_http_server_idle(const struct mg_http_server *s)
{
    return s->phase == IDLE;
}

bool mg_http_server_has_head(const struct mg_http_server *s)
{
    return s->phase >= BODY;
}

bool mg_http_server_complete(const struct mg_http_server *s)
{
    return s->phase == COMPLETE;
}

const struct mg_http_request *mg_http_server_request(const struct mg_http_server *s)
{
    assert(s->phase >= BODY);
    return &s->request;
}

void mg_http_server_next(struct mg_http_server *s)
{
    assert(s->phase == COMPLETE && !s->message.failed);
    mg_http_message_reset(&s->message);
    s->request = (struct mg_http_request){0};
    s->method_bytes = 0;
    s->max_body_bytes = s->message.limits->body_bytes;
    s->phase = IDLE;
    s->blank = NO_BLANK;
    s->has_version = false;
}

const char *mg_http_server_reason(const struct mg_http_server *s)
{
    return s->message.reason ? s->message.reason : "";
}

static struct mg_http_server *server_of(llhttp_t *parser)
{
    return mg_container_of(parser->data, struct mg_http_server, message);
}

/* RFC 9112 §2.2: a server skips an empty line before a request. One, and only CRLF. */
static size_t skip_blank_line(struct mg_http_server *s, mg_view in)
{
    size_t used = 0;
    if (s->blank == NO_BLANK && used < in.len && in.ptr[used] == '\r') {
        s->blank = BLANK_CR;
        used++;
    }
    if (s->blank == BLANK_CR && used < in.len) {
        if (in.ptr[used] != '\n')
            mg_http_message_violated(&s->message, "a carriage return stands alone before the request");
        s->blank = BLANK_CRLF;
        used++;
    }
    if (used < in.len && (in.ptr[used] == '\r' || in.ptr[used] == '\n'))
        mg_http_message_violated(&s->message, "there are line ends before the request");
    return used;
}

static void run(struct mg_http_server *s, mg_view in, size_t *out_used)
{
    s->phase = s->phase == IDLE ? HEAD : s->phase;
    s->chunk = in.ptr;
    bool ended = mg_http_message_run(&s->message, in, out_used);
    s->chunk = NULL;
    if (ended)
        finish(s);
    for (size_t i = in.len - MG_MIN(in.len, TAIL_BYTES); !s->has_version && i < in.len; i++) {
        memmove(s->tail, s->tail + 1, TAIL_BYTES - 1);
        s->tail[TAIL_BYTES - 1] = in.ptr[i];
    }
}

static int on_method(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_server *s = server_of(parser);
    s->method_bytes += len;
    return mg_http_message_put_start(&s->message, mg_view_of(at, len));
}

static int on_target(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_server *s = server_of(parser);
    size_t before_bytes = s->message.start_bytes - s->method_bytes;
    if (len > s->message.limits->target_bytes - before_bytes)
        return mg_http_message_fail(&s->message, MG_E_HEADERS_TOO_LARGE, "the request target is too long");

    char before[TAIL_BYTES];
    look_back(s, at, before);
    if (before_bytes == 0 && before[TAIL_BYTES - 2] == ' ')
        return mg_http_message_violated(&s->message, "there is more than one space before the target");
    return mg_http_message_put_start(&s->message, mg_view_of(at, len));
}

/* llhttp also knows RTSP/ and ICE/, and does not tell: the bytes in front of the version do. */
static int on_version(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_server *s = server_of(parser);
    char before[TAIL_BYTES];
    (void)len;
    if (s->has_version)
        return 0;
    s->has_version = true;
    look_back(s, at, before);
    if (before[0] == ' ' || memcmp(before + 1, " HTTP/", TAIL_BYTES - 1) != 0)
        return mg_http_message_violated(&s->message, "the request line does not end in one space and HTTP/");
    return 0;
}

/* The bytes in front of `at`, some of which may have come with an earlier chunk. */
static void look_back(const struct mg_http_server *s, const char *at, char out_before[TAIL_BYTES])
{
    size_t here = MG_MIN((size_t)(at - s->chunk), TAIL_BYTES);
    memcpy(out_before, s->tail + here, TAIL_BYTES - here);
    memcpy(out_before + TAIL_BYTES - here, at - here, here);
}

static int check_body(struct mg_http_server *s, uint64_t more)
{
    if (s->message.body_bytes > s->max_body_bytes || more > s->max_body_bytes - s->message.body_bytes)
        return mg_http_message_fail(&s->message, MG_E_TOO_LARGE, "the request body is too large");
    return 0;
}

/* 0 goes on; llhttp knows only -1 as a failure here. */
static int on_head(llhttp_t *parser)
{
    struct mg_http_server *s = server_of(parser);
    parser->upgrade = 0;     /* offers to speak something else are not taken up */
    if (!mg_http_message_resolve(&s->message))
        return -1;

    const char *reason = fill_request(s);
    if (reason)
        mg_http_message_violated(&s->message, reason);
    else if (check_body(s, s->request.content_length) == 0) {
        s->phase = BODY;
        mg_err err = s->ops->on_head(s->arg, &s->request);
        if (err)
            mg_http_message_fail(&s->message, err, NULL);
        else
            check_body(s, s->request.content_length);
    }
    return s->message.failed ? -1 : 0;
}

static int on_chunk(llhttp_t *parser)
{
    return check_body(server_of(parser), parser->content_length) ? -1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct mg_http_server *s = server_of(parser);
    if (check_body(s, len) != 0)
        return HPE_USER;
    s->message.body_bytes += len;
    mg_err err = len ? s->ops->on_body(s->arg, mg_view_of(at, len)) : MG_OK;
    return err ? mg_http_message_fail(&s->message, err, NULL) : 0;
}

static int on_end(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;       /* what follows belongs to the next request */
}

static void finish(struct mg_http_server *s)
{
    s->phase = COMPLETE;
    mg_err err = s->ops->on_end(s->arg);
    if (err)
        mg_http_message_fail(&s->message, err, NULL);
}

static const char *fill_request(struct mg_http_server *s)
{
    struct mg_http_message *m = &s->message;
    mg_view start = mg_view_head(mg_buf_view(&m->bytes), m->start_bytes);
    struct mg_http_framing framing;
    if (m->parser.http_major != 1 || m->parser.http_minor > 1)
        return "only HTTP/1.1 and HTTP/1.0 are spoken here";
    if (m->parser.method == HTTP_CONNECT)
        return "CONNECT is not offered here";

    s->request = (struct mg_http_request){
        .method = method_of(m->parser.method),
        .method_text = mg_view_head(start, s->method_bytes),
        .target = mg_view_skip(start, s->method_bytes),
        .headers = mg_http_message_headers(m),
        .version_minor = m->parser.http_minor,
        .keep_alive = mg_http_message_keep_alive(m),
    };
    const char *reason = split_target(&s->request);
    if (!reason)
        reason = check_host(s->request.headers, s->request.version_minor);
    if (!reason)
        reason = mg_http_message_framing(m, &framing);
    if (reason)
        return reason;

    s->request.chunked = framing.chunked;
    s->request.has_length = framing.has_length;
    s->request.content_length = framing.content_length;
    s->request.expect_continue =
        m->parser.http_minor > 0 && (framing.chunked || framing.content_length > 0) &&
        mg_headers_has_token(s->request.headers, MG_VIEW("expect"), MG_VIEW("100-continue"));
    return NULL;
}

/* The length of "http://authority" in front of an absolute target, 0 for any other. */
static size_t origin_length(mg_view target)
{
    size_t scheme = 0;
    if (mg_view_ieq(mg_view_head(target, 7), MG_VIEW("http://")))
        scheme = 7;
    else if (mg_view_ieq(mg_view_head(target, 8), MG_VIEW("https://")))
        scheme = 8;
    size_t authority = mg_view_find(mg_view_skip(target, scheme), "/?");
    return scheme && authority ? scheme + authority : 0;
}

static const char *split_target(struct mg_http_request *request)
{
    if (!mg_http_is_target(request->target))
        return "the request target holds a byte that must be percent-encoded";

    size_t origin = origin_length(request->target);
    mg_view rest = mg_view_skip(request->target, origin);
    size_t path = mg_view_find(rest, "?");
    request->path = mg_view_head(rest, path);
    request->query = mg_view_skip(rest, path + 1);
    if (origin && path == 0)
        request->path = MG_VIEW("/");

    if (mg_view_starts(request->path, MG_VIEW("/")))
        return NULL;
    if (request->method == MG_HTTP_OPTIONS && mg_view_eq(request->target, MG_VIEW("*")))
        return NULL;
    return "the request target is not a path";
}

static bool host_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           memchr("-._~%!$&'()*+;=:[]", c, 18) != NULL;
}

static const char *check_host(struct mg_headers headers, int version_minor)
{
    size_t count = mg_headers_count(headers, MG_VIEW("host"));
    if (count > 1)
        return "there is more than one Host";
    if (count == 0)
        return version_minor == 0 ? NULL : "there is no Host";
    mg_view host = mg_headers_get(headers, MG_VIEW("host"));
    for (size_t i = 0; i < host.len; i++)
        if (!host_byte(host.ptr[i]))
            return "Host is not the name of a host";
    return NULL;
}

static enum mg_http_method method_of(uint8_t code)
{
    switch (code) {
    case HTTP_GET: return MG_HTTP_GET;
    case HTTP_HEAD: return MG_HTTP_HEAD;
    case HTTP_POST: return MG_HTTP_POST;
    case HTTP_PUT: return MG_HTTP_PUT;
    case HTTP_PATCH: return MG_HTTP_PATCH;
    case HTTP_DELETE: return MG_HTTP_DELETE;
    case HTTP_OPTIONS: return MG_HTTP_OPTIONS;
    default: return MG_HTTP_OTHER;
    }
}
