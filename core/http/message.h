/* message.h - what the request and the response parser share; private to core/http.
 *
 * Collects the head of one message on behalf of llhttp: every byte of it is copied once into one
 * buffer, of which the list of headers is made when the head ends. Decides body framing. */
#ifndef MG_HTTP_MESSAGE_H
#define MG_HTTP_MESSAGE_H

#include <llhttp.h>

#include "http/server.h"

enum { MG_HTTP_KEPT_BYTES = 4096 };    /* of a head buffer between two messages */

struct mg_http_message {
    llhttp_t parser;                   /* its data points at this message */
    const struct mg_http_limits *limits;   /* borrowed */
    struct mg_buf bytes;               /* start line, then "name: value\r\n" of each header in a row */
    struct mg_header *items;           /* owned; lengths while parsing, views once resolved */
    size_t count;                      /* of items */
    size_t cap;
    size_t start_bytes;                /* bytes of the start line at the front of `bytes` */
    size_t counted_bytes;              /* towards limits->header_bytes, dropped ones included */
    size_t trailers;                   /* trailer lines */
    uint64_t body_bytes;               /* delivered so far */
    bool in_name;                      /* the next piece of a name belongs to the current header */
    bool in_line;                      /* the current header's line has no end yet */
    bool has_head;                     /* header lines from here on are trailers */
    mg_err failed;                     /* the first error, final */
    const char *reason;                /* static; NULL when there was none */
};

/* How the body of a message ends. */
struct mg_http_framing {
    bool chunked;
    bool has_length;
    uint64_t content_length;           /* when has_length */
};

/* What every llhttp_settings_t of a message must hold, as designated initialisers. */
#define MG_HTTP_MESSAGE_CALLBACKS                                                                  \
    .on_header_field = mg_http_message_on_field,                                                   \
    .on_header_field_complete = mg_http_message_on_field_end,                                      \
    .on_header_value = mg_http_message_on_value,                                                   \
    .on_chunk_extension_name = mg_http_message_on_ignored,                                       \
    .on_chunk_extension_value = mg_http_message_on_ignored

int mg_http_message_on_field(llhttp_t *parser, const char *at, size_t len);
int mg_http_message_on_field_end(llhttp_t *parser);
int mg_http_message_on_value(llhttp_t *parser, const char *at, size_t len);
int mg_http_message_on_ignored(llhttp_t *parser, const char *at, size_t len); /* counted only */

/* settings is static. A response's faults are MG_E_PROTOCOL whatever they are; a request's are
 * MG_E_BAD_REQUEST and MG_E_HEADERS_TOO_LARGE. */
void mg_http_message_init(struct mg_http_message *m, llhttp_type_t type, const llhttp_settings_t *settings,
                          const struct mg_http_limits *limits);
void mg_http_message_fini(struct mg_http_message *m);

/* Ready for another message; keeps at most MG_HTTP_KEPT_BYTES. */
void mg_http_message_reset(struct mg_http_message *m);

/* Records the first error; reason is static or NULL. Both return HPE_USER, so that a callback of
 * llhttp ends in one line. The second blames the peer for breaking the protocol. */
int mg_http_message_fail(struct mg_http_message *m, mg_err err, const char *reason);
int mg_http_message_violated(struct mg_http_message *m, const char *reason);

/* Appends to the start line. */
int mg_http_message_put_start(struct mg_http_message *m, mg_view piece);

/* The head is complete: turns lengths into views and classifies the headers. False: failed. */
bool mg_http_message_resolve(struct mg_http_message *m);

static inline struct mg_headers mg_http_message_headers(const struct mg_http_message *m)
{
    return (struct mg_headers){m->items, m->count};
}

/* NULL, or the reason why the framing is refused. Needs the resolved head. */
const char *mg_http_message_framing(const struct mg_http_message *m, struct mg_http_framing *out);

/* By version and Connection. */
bool mg_http_message_keep_alive(const struct mg_http_message *m);

/* Runs llhttp over `in`. True when it stopped at the end of a message; *out_used is written
 * always. Failures are in m->failed. */
bool mg_http_message_run(struct mg_http_message *m, mg_view in, size_t *out_used);

#endif
