/* attempt_parts.h - what attempt.c and attempt_feed.c (a body that is sent as it arrives) share. Nobody else. */
#ifndef MG_RELAY_ATTEMPT_PARTS_H
#define MG_RELAY_ATTEMPT_PARTS_H

#include "relay/attempt.h"

/* attempt.c */
void mg_attempt_arm_idle(struct mg_attempt *attempt);
void mg_attempt_sent(struct mg_attempt *attempt);              /* the whole request */

/* attempt_feed.c: what stands before the rest is out; the socket has drained. */
void mg_attempt_feed(struct mg_attempt *attempt);
void mg_attempt_feed_on(struct mg_attempt *attempt);
void mg_attempt_feed_off(struct mg_attempt *attempt);          /* nothing more of it is taken */

#endif
