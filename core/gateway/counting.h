/* counting.h - how many tokens a request has, when nobody can be asked: an estimate, which says that it is one. */
#ifndef MG_GATEWAY_COUNTING_H
#define MG_GATEWAY_COUNTING_H

#include "gateway/exchange.h"

/* Nobody counted: answers with what limits go by (meter/estimate.h) and ends the exchange. False: it was no count that was
 * asked for, or somebody found fault with the request itself. */
bool mg_counting_estimate(struct mg_exchange *x);

#endif
