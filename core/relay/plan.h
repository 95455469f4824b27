/* plan.h - walking a plan: which candidate is next, how long to wait before a retry. */
#ifndef MG_RELAY_PLAN_H
#define MG_RELAY_PLAN_H

#include "relay/policy.h"

/* Draws one candidate of the entry's group: by weight, by consistent hash of `sticky`, the one with the fewest in flight,
 * the faster of two, or the cheapest within the entry's latency bound. `random` is 0..1. Of the two bitmaps, candidates
 * in `tried` are drawn only when no other is left, those in `avoid` never: -1 when that leaves nobody. */
int mg_plan_draw(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, mg_view sticky, double random,
                 uint64_t tried, uint64_t avoid);

/* True when an entry picks by the figures of the moment, so that a cached plan wants fresh ones. */
bool mg_plan_wants_figures(const struct mg_plan *plan);

/* Full-jitter backoff: rand(0..1) × min(max, base × 2^(tries done - 1)), but never less than what the provider asked
 * for. `jitter` 1 is full, 0 none. Source: the wire reference's failure taxonomy, which follows the SDKs. */
uint64_t mg_plan_backoff_ms(const struct mg_plan_entry *entry, uint32_t tries_done, uint64_t retry_after_ms,
                            double random);

/* Uniform in [0, 1); one generator per thread, seeded from the system. */
double mg_random_unit(void);

#endif
