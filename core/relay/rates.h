/* rates.h - what candidates cost before they are called: their own price, or the catalogue's.
 *
 * An estimate for choosing: the rates of a model's first tokens, without cliffs, tiers and caches. What a call did cost is
 * the lane's to say. Looked up once for an exchange, and only for whoever asks. */
#ifndef MG_RELAY_RATES_H
#define MG_RELAY_RATES_H

#include "chat/call.h"
#include "config/config.h"
#include "meter/prices.h"
#include "relay/policy.h"

/* The price that the project's file gives the target, in *room; NULL: it gives none. */
const struct mg_price *mg_target_price(const struct mg_config_target *target, struct mg_price *room);

/* In microdollars per million tokens. False: nobody knows what it costs. */
bool mg_candidate_rates(struct mg_candidate *candidate, const struct mg_call *call, double *out_in, double *out_out);

#endif
