/* limiting.h - an exchange is held to the limits of its project, workflow, key and metadata.
 *
 *   step_limit    one request more and one in flight more on every row, or 429 before any hook runs
 *   may_call      tokens and money of each attempt at its own target, model and price, before it is made
 *   settled       what that attempt really used, whatever became of it
 *   end           in flight no more
 *
 * An exchange whose project has no limits pays one test. Answers of limited projects carry OpenAI's x-ratelimit headers
 * with the figures of whichever limit is nearest; the provider's own are then not passed on, because they speak of the
 * operator's account and SDKs would wait for the wrong thing. Loop thread only. */
#ifndef MG_GATEWAY_LIMITING_H
#define MG_GATEWAY_LIMITING_H

#include "gateway/exchange.h"
#include "meter/prices.h"
#include "tenant/limiter.h"

/* Of each exchange that is limited; in its arena. */
struct mg_limiting;

/* False: it was refused, and the exchange has ended. */
bool mg_limiting_begin(struct mg_exchange *x);

/* For mg_relay_ops; `attempt` NULL: it was not made after all. */
bool mg_limiting_may_call(struct mg_exchange *x, int candidate, struct mg_refusal *out_refusal);
void mg_limiting_settled(struct mg_exchange *x, int candidate, const struct mg_attempt_record *attempt);

/* Nobody was called because of a limit: answers 429 and ends the exchange; 500 when a budget could not count what the target
 * costs. False: that was not why. */
bool mg_limiting_refuse(struct mg_exchange *x);

/* The exchange is over. Harmless without limits. */
void mg_limiting_end(struct mg_exchange *x);

/* x-ratelimit-… lines. An answer from before step_limit has those of project and key. x->live is there. */
MG_MUST_USE mg_err mg_limiting_put(struct mg_exchange *x, struct mg_buf *lines);
/* A provider's header that ours take the place of. */
bool mg_limiting_replaces(const struct mg_exchange *x, mg_view header);

/* When a generation is built: every target that a budget or max_cost_usd counts must have a price, its own or the
 * catalogue's. */
MG_MUST_USE mg_err mg_limiting_check(const struct mg_config_project *config, const struct mg_prices *prices,
                                     struct mg_diag *diag);

#endif
