/* pinning.h - a request that refers to what one account keeps (a file, a cached prompt, a container) goes nowhere else.
 *
 * Nobody but that account has it, and the request does not say which it was: it is taken for the account of the first target
 * of the workflow that speaks the client's dialect, with its first key. Other providers and keys are not asked; a target of
 * another dialect could not be told anyway. Which members refer to something is data of the dialect (`references`). */
#ifndef MG_GATEWAY_PINNING_H
#define MG_GATEWAY_PINNING_H

#include "gateway/exchange.h"

void mg_pinning_call(struct mg_exchange *x, struct mg_relay_call *call);

#endif
