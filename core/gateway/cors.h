/* cors.h - calls from browsers: off unless gateway.lua names origins in `cors.origins`. */
#ifndef MG_GATEWAY_CORS_H
#define MG_GATEWAY_CORS_H

#include "gateway/exchange.h"

/* Appends what lets the asking page read the answer; nothing when its origin is not allowed or there is none. */
MG_MUST_USE mg_err mg_cors_put(struct mg_exchange *x, struct mg_buf *lines);

/* Answers a browser's question before the call. False: not one, or its origin is not allowed. */
bool mg_cors_preflight(struct mg_exchange *x);

#endif
