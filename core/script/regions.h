/* regions.h - matches, which may overlap and come slightly out of order, into sorted regions that do not. */
#ifndef MG_SCRIPT_REGIONS_H
#define MG_SCRIPT_REGIONS_H

#include "script/patterns.h"

/* Puts raw matches into the order of their ends, the longer first. */
void mg_regions_sort(struct mg_buf *matches);

/* join: whatever overlaps becomes one region, named after its leftmost match. Else the leftmost match wins, and of those
 * that start there the longest. Empty matches are ignored. Matches come in the order of their ends; a union also takes them
 * out of order. Cost is constant for a match that is not far out of order.
 * E_TOO_LARGE past MG_PATTERN_REGIONS. */
MG_MUST_USE mg_err mg_regions_add(struct mg_buf *regions, struct mg_region match, bool join);

#endif
