/* frames.h - whatever a streamed answer is framed as, behind this it is server-sent events.
 *
 * An event of AWS's event stream becomes `event: TYPE` and `data: PAYLOAD`, a line of NDJSON `data: LINE`; their blocks are
 * made here and live until the callback returns. Server-sent events pass as sse.h has them. */
#ifndef MG_RELAY_FRAMES_H
#define MG_RELAY_FRAMES_H

#include "chat/adapter.h"
#include "http/sse.h"

struct mg_frames;

/* How an answer of that content type (ptr NULL: it has none) is framed, by an adapter that declares `declared`. False: it
 * is no stream of events, or does not say so. */
bool mg_frames_known(enum mg_framing declared, mg_view content_type, enum mg_framing *out_framing);

/* The label is one that small servers put on anything, and server-sent events are what should come. */
bool mg_frames_may_be(enum mg_framing declared, mg_view content_type);

/* Whether a body of that label that begins so is one of server-sent events; *out_enough: no more of it is needed to tell. */
bool mg_frames_begin(mg_view body, bool *out_enough);

/* most: bytes of one server-sent event; of other framings it is MG_MAX_SSE_EVENT_BYTES. */
struct mg_frames *mg_frames_new(enum mg_framing framing, size_t most, mg_sse_cb cb, void *arg);
void mg_frames_free(struct mg_frames *frames);                /* NULL is a no-op */

/* An error is final: the callback's, or mg_frames_reason() says why. */
MG_MUST_USE mg_err mg_frames_feed(struct mg_frames *frames, mg_view bytes);
MG_MUST_USE mg_err mg_frames_finish(struct mg_frames *frames);       /* the body is complete */
const char *mg_frames_reason(const struct mg_frames *frames);        /* what came is broken, or says it has failed; NULL: neither */

#endif
