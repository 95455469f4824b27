/* filtering.h - a stream whose text passes through on_chunk hooks before it reaches the client.
 *
 * Only the text spans of an event are spliced; its other bytes stay. What a filter holds back at the end of an output
 * comes as one more event, a copy of that output's last one with the remaining text in it. Observing filters change
 * nothing and hold nothing. A guard that wants the whole answer (`buffer`) keeps the stream uncommitted to its end. */
#ifndef MG_GATEWAY_FILTERING_H
#define MG_GATEWAY_FILTERING_H

#include "gateway/exchange.h"

/* Before the first attempt: makes x->filtering when hooks want to see this stream. False: a hook refuses streams and
 * the exchange has been refused. */
bool mg_filtering_begin(struct mg_exchange *x);

/* A new attempt: everything starts over. */
void mg_filtering_restart(struct mg_exchange *x);

/* Appends the event, filtered, to x->rewritten. MG_E_DENIED: a guard stopped the stream, *out_outcome says why. */
MG_MUST_USE mg_err mg_filtering_event(struct mg_exchange *x, const struct mg_sse_event *event,
                                      const struct mg_tap_event *seen, struct mg_hook_outcome *out_outcome);

/* The stream must not be committed before its end. */
bool mg_filtering_buffers(const struct mg_exchange *x);

/* The text of choice 0 so far, for on_response of a buffered stream. */
mg_view mg_filtering_text(const struct mg_exchange *x);

/* Puts that text into the first event of the buffered stream that has one and empties the others; everything else
 * stays. After an error nothing is left of it. */
MG_MUST_USE mg_err mg_filtering_replace(struct mg_exchange *x, mg_view text);

#endif
