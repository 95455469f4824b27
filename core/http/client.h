/* client.h - the answer side of HTTP/1.1: bytes of an upstream in, one response out.
 *
 * As strict as server.h, with one difference: whatever the upstream does wrong is MG_E_PROTOCOL,
 * limits included, so that no client is blamed for it. 1xx answers are skipped (a handful), HEAD,
 * 204 and 304 have no body, bodies without framing end with mg_http_client_eof().
 *
 *     mg_http_client_begin(c, head_request);
 *     err = mg_http_client_feed(c, in, &used);   …   err = mg_http_client_eof(c);
 *
 * One parser per connection; loop thread only. Callbacks may ask this parser (keep_alive,
 * complete) but not begin, feed or free it. */
#ifndef MG_HTTP_CLIENT_H
#define MG_HTTP_CLIENT_H

#include "http/server.h"

/* All views are borrowed from the parser and live until mg_http_client_begin() or _free(). */
struct mg_http_response {
    int status;              /* 200..999 */
    struct mg_headers headers;
    int version_minor;       /* 0 or 1 */
    bool chunked;            /* body framing */
    bool has_length;
    bool until_eof;          /* the body ends when the connection does */
    bool no_body;            /* answer to HEAD, 204 or 304: on_end follows at once */
    uint64_t content_length; /* when has_length */
};

/* Whatever a callback returns but MG_OK is final and handed back by feed or eof. */
struct mg_http_client_ops {
    mg_err (*on_head)(void *arg, const struct mg_http_response *response);
    mg_err (*on_body)(void *arg, mg_view bytes);     /* borrowed until it returns; never empty */
    mg_err (*on_end)(void *arg);
};

struct mg_http_client;

/* limits and ops are borrowed for the life of the parser. limits->target_bytes is not used. */
struct mg_http_client *mg_http_client_new(const struct mg_http_limits *limits,
                                          const struct mg_http_client_ops *ops, void *arg);
void mg_http_client_free(struct mg_http_client *c);           /* NULL is a no-op */

/* A new request was sent (or is about to be): forgets the answer before it, and its error. The
 * first request needs one too. */
void mg_http_client_begin(struct mg_http_client *c, bool head_request);

/* Parses until `in` is used up or the answer is complete; *out_used is written always.
 *
 * MG_E_PROTOCOL (mg_http_client_reason() says why), or what a callback returned. An error is
 * final until begin. Bytes behind the end of the answer are MG_E_PROTOCOL too, after on_end was
 * called: the answer is good, the connection is not, and keep_alive() says so already in on_end. */
MG_MUST_USE mg_err mg_http_client_feed(struct mg_http_client *c, mg_view in, size_t *out_used);

/* The upstream closed its side. MG_OK when the answer is complete or is completed by this (on_end
 * is called then), MG_E_CLOSED when no byte of it had come, MG_E_PROTOCOL when it is cut short. */
MG_MUST_USE mg_err mg_http_client_eof(struct mg_http_client *c);

/* True once a byte of the answer was seen: from here on a retry counts as an attempt. */
bool mg_http_client_started(const struct mg_http_client *c);

/* True after on_end (and inside it). */
bool mg_http_client_complete(const struct mg_http_client *c);

/* True when the answer is complete and the connection may carry another request. */
bool mg_http_client_keep_alive(const struct mg_http_client *c);

/* A sentence about the last error; static; "" when there was none. */
const char *mg_http_client_reason(const struct mg_http_client *c);

#endif
