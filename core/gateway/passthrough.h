/* passthrough.h - /providers/NAME/…: whatever else a vendor of the project offers, by its own paths.
 *
 * Only where the configuration says so. It is one attempt at one provider, with the provider's address, key, headers, TLS,
 * proxy, breaker and caps (relay/raw.h); limits, switches and hooks hold as for any other request. What a call costs is known
 * for operations that the adapter reads, else by `price_usd`; where a budget holds and neither is there, it is refused. The
 * steps are called from exchange.c in its order; each says false when it has answered. Loop thread only. */
#ifndef MG_GATEWAY_PASSTHROUGH_H
#define MG_GATEWAY_PASSTHROUGH_H

#include "gateway/exchange.h"
#include "relay/raw.h"

struct mg_passthrough {                /* of an exchange, in its arena; exchange.c only asks whether there is one */
    struct mg_raw raw;
    const struct mg_config_provider *provider;
    int provider_index;
    const struct mg_upstream *upstream;
    bool scanned;                      /* call.request is the client's body, and what hooks changed in it is sent */
};

/* The provider, the path, the model, whether the key may use it; and the route. */
MG_MUST_USE bool mg_passthrough_resolve(struct mg_exchange *x);
/* … and nobody who would want to see the answer is walked around. */
MG_MUST_USE bool mg_passthrough_is_unguarded(struct mg_exchange *x);

/* One entry, one attempt. */
void mg_passthrough_plan(struct mg_exchange *x);

/* `call` is filled but for what is raw. */
void mg_passthrough_start(struct mg_exchange *x, struct mg_relay_call *call);

/* A header of the answer that holds an address of the vendor ("location" and the like), as an address here: what is done there
 * without us nobody counts. Empty: it is another header, or another address. In the arena. */
mg_view mg_passthrough_address(struct mg_exchange *x, const struct mg_header *header);

/* What dialect a refusal has before anybody knows whose request it is. */
const char *mg_passthrough_guess(struct mg_headers headers);

#endif
