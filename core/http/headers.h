/* headers.h - header fields: looking them up, deciding which may travel on, writing them.
 *
 * Names compare without regard to ASCII case. Views are borrowed from whoever made the list: a
 * parser's list lives until its next message. The writers put bytes into a caller's buffer and
 * refuse whatever could end a line early, so that no value can smuggle a header. What a parser or
 * this program made is written without a second look by the two writers that say so. */
#ifndef MG_HTTP_HEADERS_H
#define MG_HTTP_HEADERS_H

#include "base/buf.h"

/* What is to be known of a field before it may travel on. */
enum mg_header_trait {
    MG_HEADER_HOP = 1,                 /* RFC 9110 §7.6.1: concerns this connection only */
    MG_HEADER_NOT_UPSTREAM = 2,        /* by the first two tables below */
    MG_HEADER_NOT_DOWNSTREAM = 4,      /* by the other two */
    MG_HEADER_CONNECTION = 8,          /* it is `Connection` itself */
    MG_HEADER_LINE = 16                /* name and value lie in a parser's memory as "name: value\r\n" */
};

struct mg_header {
    mg_view name;            /* as the peer spelt it; never empty */
    mg_view value;           /* without surrounding blanks; may be empty */
    unsigned traits;         /* of a parser's list: all that hold; elsewhere 0 */
};

struct mg_headers {
    const struct mg_header *items;     /* borrowed; in the order they came */
    size_t count;
};

/* Headers of a client that never go upstream: credentials and account selectors (ours are sent
 * instead), what names the client or its browser, what we write ourselves, what is addressed to
 * us. accept-encoding is here because bodies are read on the way: the gateway asks for identity. */
#define MG_DENIED_UPSTREAM_LIST(X)                                                                 \
    X("accept-encoding")                                                                           \
    X("api-key")                                                                                   \
    X("authorization")                                                                             \
    X("cf-connecting-ip")                                                                          \
    X("content-length")                                                                            \
    X("cookie")                                                                                    \
    X("cookie2")                                                                                   \
    X("expect")                                                                                    \
    X("forwarded")                                                                                 \
    X("host")                                                                                      \
    X("http2-settings")                                                                            \
    X("openai-organization")                                                                       \
    X("openai-project")                                                                            \
    X("origin")                                                                                    \
    X("referer")                                                                                   \
    X("true-client-ip")                                                                            \
    X("via")                                                                                       \
    X("x-api-key")                                                                                 \
    X("x-client-ip")                                                                               \
    X("x-goog-api-key")                                                                            \
    X("x-real-ip")

/* The same for whole families, by prefix. */
#define MG_DENIED_UPSTREAM_PREFIX_LIST(X)                                                          \
    X("access-control-")                                                                           \
    X("proxy-")                                                                                    \
    X("sec-")                                                                                      \
    X("x-forwarded-")                                                                              \
    X("x-moongate-")

/* Headers of an upstream that never reach a client: they speak about the upstream's own origin or
 * hop, or we write them ourselves. */
#define MG_DENIED_DOWNSTREAM_LIST(X)                                                               \
    X("alt-svc")                                                                                   \
    X("clear-site-data")                                                                           \
    X("content-length")                                                                            \
    X("date")                                                                                      \
    X("nel")                                                                                       \
    X("public-key-pins")                                                                           \
    X("report-to")                                                                                 \
    X("reporting-endpoints")                                                                       \
    X("server")                                                                                    \
    X("set-cookie")                                                                                \
    X("set-cookie2")                                                                               \
    X("strict-transport-security")                                                                 \
    X("via")

#define MG_DENIED_DOWNSTREAM_PREFIX_LIST(X)                                                        \
    X("access-control-")                                                                           \
    X("proxy-")                                                                                    \
    X("x-moongate-")

/* The first value of that name; NULL when there is none. */
const mg_view *mg_headers_find(struct mg_headers headers, mg_view name);

/* The same, with the empty view for "none". */
mg_view mg_headers_get(struct mg_headers headers, mg_view name);

/* How many fields have that name. */
size_t mg_headers_count(struct mg_headers headers, mg_view name);

/* True when a comma list in any field of that name holds the token, e.g. Connection: close. */
bool mg_headers_has_token(struct mg_headers headers, mg_view name, mg_view token);

/* RFC 9110 §7.6.1: concerns this connection only; whatever `Connection` names included. */
bool mg_header_is_hop_by_hop(struct mg_headers headers, mg_view name);

/* What the name alone tells: every trait but MG_HEADER_LINE and what `Connection` names. */
unsigned mg_header_traits(mg_view name);

/* Adds to each of `items` its traits, what `Connection` names among them included. */
void mg_headers_classify(struct mg_header *items, size_t count);

/* By the tables above. Hop-by-hop fields are a separate question: ask both. */
bool mg_header_is_denied_upstream(mg_view name);
bool mg_header_is_denied_downstream(mg_view name);

/* True when it is a token of RFC 9110: what a name or a method may be. */
bool mg_http_is_token(mg_view text);

/* True when it holds no control byte but HTAB: what a value may be. */
bool mg_http_is_field_value(mg_view text);

/* True when it is not empty and holds visible ASCII without '#': what a request target may be. */
bool mg_http_is_target(mg_view text);

/* "Not Found"; "" for a status without a name of its own. */
const char *mg_http_status_text(int status);

/* The writers fail with what the buffer fails with, and with MG_E_BAD_REQUEST, having written
 * nothing, when a part may not stand where it is put (a method or name that is no token, a target
 * with blanks, a value with control bytes, a status outside 100..999). Lines end in CRLF. */
MG_MUST_USE mg_err mg_http_put_request_line(struct mg_buf *buf, mg_view method, mg_view target);
MG_MUST_USE mg_err mg_http_put_status_line(struct mg_buf *buf, int status);
MG_MUST_USE mg_err mg_http_put_header(struct mg_buf *buf, mg_view name, mg_view value);
MG_MUST_USE mg_err mg_http_put_header_u64(struct mg_buf *buf, mg_view name, uint64_t value); /* own name */
MG_MUST_USE mg_err mg_http_put_end(struct mg_buf *buf);      /* the empty line after the head */

/* The line of a field that has MG_HEADER_LINE, as it came: the parser let through nothing that
 * could end it early. Anything else is our mistake (assertion). */
MG_MUST_USE mg_err mg_http_put_line(struct mg_buf *buf, const struct mg_header *header);

/* Not looked at: for names and values that are written in this program or made by it. */
MG_MUST_USE mg_err mg_http_put_own(struct mg_buf *buf, mg_view name, mg_view value);

/* Chunked framing: head, `len` bytes, MG_HTTP_CHUNK_TAIL; after the last one MG_HTTP_CHUNK_LAST.
 * A chunk of 0 bytes would end the body: never write one. */
enum { MG_HTTP_CHUNK_HEAD = 18 };
#define MG_HTTP_CHUNK_TAIL MG_VIEW("\r\n")
#define MG_HTTP_CHUNK_LAST MG_VIEW("0\r\n\r\n")

/* Writes the size line of a chunk (not NUL-terminated) and returns its length. len is not 0. */
size_t mg_http_chunk_head(char out[MG_HTTP_CHUNK_HEAD], size_t len);

#endif
