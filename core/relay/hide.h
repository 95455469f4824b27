/* hide.h - what a provider repeats of the credential it was called with is covered before anybody copies it. */
#ifndef MG_RELAY_HIDE_H
#define MG_RELAY_HIDE_H

#include "relay/attempt.h"

/* In bytes of the answer, where they stand: they are ours, in the loop's or a decoder's memory. */
void mg_hide_sent(struct mg_attempt *attempt, mg_view bytes);
void mg_hide_in_headers(struct mg_attempt *attempt, struct mg_headers headers);

/* In a whole answer, where it may also be encoded. */
void mg_hide_in_body(struct mg_attempt *attempt);

/* In the text of an event, which may go on with what the events before it began; and in bytes of a body that is passed on. */
void mg_hide_in_event(struct mg_attempt *attempt, const struct mg_sse_event *event, const struct mg_tap_event *seen);
void mg_hide_in_piece(struct mg_attempt *attempt, mg_view bytes);

/* In what was kept of an answer that failed: its beginning and the error's words. */
void mg_hide_secrets(struct mg_attempt *attempt);

#endif
