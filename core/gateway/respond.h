/* respond.h - a text of ours in the shape that the request's surface has. */
#ifndef MG_GATEWAY_RESPOND_H
#define MG_GATEWAY_RESPOND_H

#include "gateway/exchange.h"

/* A whole answer, or all events of a stream when one was asked for, in the exchange's arena. `extra` is members for the
 * top of the body or of the first event, each with a comma in front; may be empty. Empty: there is too much text. */
mg_view mg_respond_document(struct mg_exchange *x, mg_view text, mg_view extra);

#endif
