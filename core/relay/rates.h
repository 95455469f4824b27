/* rates.h - what candidates cost before they are called: their own price, or the catalogue's.
 *
 * An estimate for choosing: the rates of a model's first tokens, without cliffs, tiers and caches. What a call did cost is
 * the lane's to say. Looked up once for an exchange, and only for whoever asks. */
#ifndef MG_RELAY_RATES_H
#define MG_RELAY_RATES_H

#include "chat/call.h"
#include "meter/prices.h"
#include "relay/policy.h"

/* In microdollars per million tokens. False: nobody knows what it costs. */
bool mg_candidate_rates(struct mg_candidate *candidate, const struct mg_call *call, double *out_in, double *out_out);

#endif
