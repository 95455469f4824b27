/* units.h - what a call that is no conversation used beside tokens, where the request tells and the answer does not. */
#ifndef MG_RELAY_UNITS_H
#define MG_RELAY_UNITS_H

#include "relay/lane.h"

/* Of a settled attempt: the characters that were spoken; pictures of an answer that was too long to be looked into. */
void mg_units_count(const struct mg_lane *lane, struct mg_usage *usage);

#endif
