/* charge.h - who pays for an attempt: the project it was made for, or whoever runs the gateway.
 *
 * The provider bills every attempt it answered, so each one has a cost, and the costs add up to the
 * provider's invoice. Which of them are passed on to the project is its `charge`:
 *
 *     "all"       every attempt: the default
 *     "serving"   only attempts whose answer reached the client. Retries, lost hedges, attempts that
 *                 failed and those a crash cut off are the operator's
 *
 *     a function  of the project's file says of each attempt (script/charge_lua.c). What it leaves open, and
 *                 every attempt when it fails or is quarantined, is charged as by "serving"; so is nothing
 *                 that a crash cut off
 *
 * Which it was is recorded with each exchange: a change holds from then on. Limits and budgets count
 * every attempt whatever the policy. */
#ifndef MG_METER_CHARGE_H
#define MG_METER_CHARGE_H

#include "meter/timeline.h"

/* Whether bytes of its answer were for the client: it answered, or its broken answer was gone on with by a rescue, or the
 * client left while it answered. */
bool mg_charge_served(const struct mg_timeline *timeline, const struct mg_attempt_record *attempt);

/* timeline->uncharged under "serving". */
uint64_t mg_charge_serving(const struct mg_timeline *timeline);

static inline bool mg_charge_is(const struct mg_timeline *timeline, const struct mg_attempt_record *attempt)
{
    return attempt->number == 0 || attempt->number > 64 || !(timeline->uncharged >> (attempt->number - 1) & 1);
}

#endif
