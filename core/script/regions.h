/* regions.h - matches, which may overlap and come slightly out of order, into sorted regions that do not. */
#ifndef MG_SCRIPT_REGIONS_H
#define MG_SCRIPT_REGIONS_H

#include "script/patterns.h"

/* join: whatever overlaps becomes one region, named after its leftmost match. Else the leftmost match wins, and of those
 * that start there the longest. Empty matches are ignored. Cost is constant for matches that come sorted by their end.
 * E_TOO_LARGE past MG_PATTERN_REGIONS. */
MG_MUST_USE mg_err mg_regions_add(struct mg_buf *regions, struct mg_region match, bool join);

#endif
