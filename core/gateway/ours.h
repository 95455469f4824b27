/* ours.h - what a client's headers ask of the gateway itself: those whose names begin with x-moongate-. Most clients send
 * none, and then none of them is looked for. */
#ifndef MG_GATEWAY_OURS_H
#define MG_GATEWAY_OURS_H

#include "gateway/exchange.h"

/* For x->has_ours, when a head has come. */
bool mg_asks_ours(struct mg_headers headers);

/* The value of one of them; empty: it was not sent. Borrowed from the head. */
mg_view mg_asked_ours(const struct mg_exchange *x, mg_view name);

#endif
