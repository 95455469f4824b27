/* hold.h - what an attempt keeps of an answer that is no stream of events.
 *
 * Up to MG_MAX_HELD_BYTES an answer is held whole, so that whatever is wrong with it can still be failed over; beyond, it is
 * handed on as it comes, when it looks like an answer so far. Loop thread only. */
#ifndef MG_RELAY_HOLD_H
#define MG_RELAY_HOLD_H

#include "relay/attempt.h"

struct mg_hold_refusal {               /* the answer is none */
    enum mg_class class_;
    const char *text;                  /* static; NULL: nothing is wrong */
};

/* Some bytes of the body. MG_E_CANCELLED: `out` says why the attempt fails, or its owner ended it. */
MG_MUST_USE mg_err mg_hold(struct mg_attempt *attempt, mg_view bytes, struct mg_hold_refusal *out);

/* Is the 2xx answer of a call that is `plain` something else than JSON: sound, a file, a text? It is handed on from its first
 * byte. */
bool mg_hold_goes_as_is(const struct mg_attempt *attempt);

/* A moment of the attempt, for its record; the first one of its kind stays. */
void mg_attempt_mark(struct mg_attempt *attempt, enum mg_mark which, uint64_t at_us);

#endif
