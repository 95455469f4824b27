/* sse.h - decode a text/event-stream body as it arrives, and write one.
 *
 * Feed it chunks cut anywhere; it calls back once per block (the lines up to a blank line), blocks
 * without data included, so that the `raw` bytes of all events in a row are exactly the bytes fed.
 * A block inside one chunk is never copied: its views point into the chunk, and the raws of one
 * feed follow each other in memory, so that a caller may forward them as one range. Only a block
 * that is cut is kept, at most `max_event_bytes` of it (the LF of a last CRLF not counted).
 *
 * LF, CRLF and CR end lines; a byte order mark before the first is skipped; `id` and `retry` are
 * ignored. A block that ends in CR is delivered at once; when the LF of that CRLF comes in a later
 * chunk it is delivered as a block of its own without data.
 *
 * One decoder per stream; loop thread only. */
#ifndef MG_HTTP_SSE_H
#define MG_HTTP_SSE_H

#include "base/buf.h"

struct mg_sse;

struct mg_sse_event {
    mg_view name;            /* last `event:` value; empty when the peer sent none */
    mg_view data;            /* `data:` values joined by '\n' */
    mg_view raw;             /* the block as it came, its blank line included */
    bool is_comment;         /* no `data:` line: only comments, other fields or a blank line */
    bool data_in_raw;        /* data points into raw (one line); else it was joined elsewhere */
};

/* The event is borrowed: it is valid until the callback returns. An error from the callback stops
 * the decoder and is handed back by mg_sse_feed(). The callback must not touch the decoder. */
typedef mg_err (*mg_sse_cb)(void *arg, const struct mg_sse_event *event);

struct mg_sse *mg_sse_new(size_t max_event_bytes, mg_sse_cb cb, void *arg);
void mg_sse_free(struct mg_sse *sse);                         /* NULL is a no-op */

/* MG_E_TOO_LARGE, MG_E_MEMORY, or whatever the callback returned. An error is final: every later
 * call returns it again. */
MG_MUST_USE mg_err mg_sse_feed(struct mg_sse *sse, mg_view chunk);

/* The stream ended: the bytes of a block that never did, borrowed until the decoder is freed;
 * empty when the end was clean. A reader must not take them for an event. */
mg_view mg_sse_finish(const struct mg_sse *sse);

/* Writes one event; name may be empty. Each line of data (CR, LF or CRLF) becomes a `data:` line.
 * MG_E_BAD_REQUEST when the name holds a line end; else what the buffer fails with. */
MG_MUST_USE mg_err mg_sse_put_event(struct mg_buf *buf, mg_view name, mg_view data);

#endif
