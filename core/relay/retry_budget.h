/* retry_budget.h - repeats on a target and hedges are paid from what its first calls brought in.
 *
 * A token bucket per project and target: each first call brings `share` of a token, at most `burst` are kept, a repeat
 * or hedge takes one. In an outage a target so gets at most 1 + share times its traffic (and the burst, once). A new
 * bucket is full, and a trickle of one token in ten seconds lets a project with little traffic retry at all. Any
 * thread; one atomic word; all calls take NULL and then allow. */
#ifndef MG_RELAY_RETRY_BUDGET_H
#define MG_RELAY_RETRY_BUDGET_H

#include "config/config.h"

struct mg_retry_budget;

struct mg_retry_budget *mg_retry_budget_find(mg_view project, mg_view target);      /* NULL: the table is full */
void mg_retry_budget_earn(struct mg_retry_budget *budget, const struct mg_config_retry_budget *rules);
bool mg_retry_budget_take(struct mg_retry_budget *budget, const struct mg_config_retry_budget *rules, uint64_t now_us);
double mg_retry_budget_left(const struct mg_retry_budget *budget, const struct mg_config_retry_budget *rules);

#endif
