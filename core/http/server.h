/* server.h - the request side of HTTP/1.1: bytes of a client in, requests out.
 *
 * Strict, and strict only: whatever two parsers could read in two ways is refused (both
 * Content-Length and Transfer-Encoding, several or odd lengths, any coding but `chunked`, bare CR
 * or LF, folded lines, blanks before a colon, no Host or two, targets that are no path). Bodies
 * are handed on as views into the fed bytes, chunk framing removed; nothing is collected but the
 * head. Trailers are checked, counted as header bytes and dropped.
 *
 *     err = mg_http_server_feed(s, in, &used);      the rest belongs to the next request
 *     if (!err && mg_http_server_complete(s)) { answer; mg_http_server_next(s); feed the rest }
 *
 * One parser per connection; loop thread only. Callbacks may call nothing of this header but
 * mg_http_server_limit_body(): next, feed and free are for after feed has returned. */
#ifndef MG_HTTP_SERVER_H
#define MG_HTTP_SERVER_H

#include "http/headers.h"

struct mg_http_limits {
    size_t target_bytes;     /* request target; MG_E_HEADERS_TOO_LARGE above */
    size_t header_bytes;     /* header lines; trailers, chunk extensions, reason phrase count too */
    size_t header_count;     /* header lines, and again trailer lines */
    uint64_t body_bytes;     /* MG_E_TOO_LARGE above; UINT64_MAX for none */
};

/* The rows of base/limits.h. */
extern const struct mg_http_limits mg_http_limits_default;

enum mg_http_method {
    MG_HTTP_GET,
    MG_HTTP_HEAD,
    MG_HTTP_POST,
    MG_HTTP_PUT,
    MG_HTTP_PATCH,
    MG_HTTP_DELETE,
    MG_HTTP_OPTIONS,
    MG_HTTP_OTHER            /* a registered method of another kind: see method_text */
};

/* All views are borrowed from the parser and live until mg_http_server_next() or _free(). */
struct mg_http_request {
    enum mg_http_method method;
    mg_view method_text;
    mg_view target;          /* as sent */
    mg_view path;            /* still percent-encoded; begins with '/', or is "*" for OPTIONS */
    mg_view query;           /* behind the '?'; empty when there is none */
    struct mg_headers headers;
    int version_minor;       /* 0 or 1 */
    bool keep_alive;         /* the client is ready for another request on this connection */
    bool expect_continue;    /* it waits for "100 Continue" before it sends the body */
    bool chunked;            /* body framing; when neither this nor has_length, there is no body */
    bool has_length;
    uint64_t content_length; /* when has_length */
};

/* Whatever a callback returns but MG_OK is final and handed back by mg_http_server_feed(). */
struct mg_http_server_ops {
    mg_err (*on_head)(void *arg, const struct mg_http_request *request);
    mg_err (*on_body)(void *arg, mg_view bytes);     /* borrowed until it returns; never empty */
    mg_err (*on_end)(void *arg);
};

struct mg_http_server;

/* limits and ops are borrowed for the life of the parser. */
struct mg_http_server *mg_http_server_new(const struct mg_http_limits *limits,
                                          const struct mg_http_server_ops *ops, void *arg);
void mg_http_server_free(struct mg_http_server *s);           /* NULL is a no-op */

/* Parses until `in` is used up or the request is complete, whichever comes first; *out_used is
 * written always. When complete, later calls use nothing until mg_http_server_next().
 *
 * MG_E_BAD_REQUEST (mg_http_server_reason() says why), MG_E_HEADERS_TOO_LARGE, MG_E_TOO_LARGE (a
 * declared length is refused before on_head is called, a chunked body when it grows too far), or
 * what a callback returned. An error is final: the connection must be closed after the answer. */
MG_MUST_USE mg_err mg_http_server_feed(struct mg_http_server *s, mg_view in, size_t *out_used);

/* For on_head: another maximum for the body of this request; checked when on_head returns. */
void mg_http_server_limit_body(struct mg_http_server *s, uint64_t max_bytes);

/* True before the first byte of a request: the connection is idle. */
bool mg_http_server_idle(const struct mg_http_server *s);

/* True once the head is parsed (on_head was called) and until next. */
bool mg_http_server_has_head(const struct mg_http_server *s);

/* True after on_end and until next. */
bool mg_http_server_complete(const struct mg_http_server *s);

/* The request on_head was given; only from on_head until next. */
const struct mg_http_request *mg_http_server_request(const struct mg_http_server *s);

/* The request is done with: forgets it and keeps at most 4 KiB of memory. Only when complete. */
void mg_http_server_next(struct mg_http_server *s);

/* A sentence about the last error, for the answer and the log; static; "" when there was none. */
const char *mg_http_server_reason(const struct mg_http_server *s);

#endif
