/* event_stream.h - decode a body of AWS's `application/vnd.amazon.eventstream` as it arrives.
 *
 * A frame is: length of all (4 bytes), length of its headers (4), CRC-32 of those eight (4), headers, payload, CRC-32 of all
 * before it (4); numbers are big-endian. Feed it chunks cut anywhere: only a frame that is cut is kept, at most
 * max_frame_bytes of it. Nothing of a frame is told before both of its sums are right. Loop thread only. */
#ifndef MG_HTTP_EVENT_STREAM_H
#define MG_HTTP_EVENT_STREAM_H

#include "base/buf.h"

struct mg_event_stream;

/* Views into the chunk or the decoder, until the callback returns. Headers that a frame has not are empty. */
struct mg_event_frame {
    mg_view message_type;              /* "event", "exception", "error" */
    mg_view event_type, exception_type;
    mg_view error_code, error_message;
    mg_view payload;
};

/* An error stops the decoder and is handed back by mg_event_stream_feed(). */
typedef mg_err (*mg_event_frame_cb)(void *arg, const struct mg_event_frame *frame);

struct mg_event_stream *mg_event_stream_new(size_t max_frame_bytes, mg_event_frame_cb cb, void *arg);
void mg_event_stream_free(struct mg_event_stream *stream);    /* NULL is a no-op */

/* MG_E_BAD_REQUEST: it is no frame, or not what was sent; MG_E_TOO_LARGE; or what the callback returned. Final. */
MG_MUST_USE mg_err mg_event_stream_feed(struct mg_event_stream *stream, mg_view chunk);

/* Bytes of a frame that is not whole. */
size_t mg_event_stream_pending(const struct mg_event_stream *stream);

#endif
