/* pending.h - how much of the end of a text could still become a match when more text comes. Inside patterns.c's set.
 *
 * Words are found in a sorted table; patterns by a second automaton, of their beginnings (pattern_prefix.h). */
#ifndef MG_SCRIPT_PENDING_H
#define MG_SCRIPT_PENDING_H

#include "script/patterns.h"
#include "script/vectorscan.h"

struct mg_pending;

/* NULL when beginnings of some pattern cannot be told: then nothing is known of the whole set. */
struct mg_pending *mg_pending_new(const struct mg_vectorscan *hs, const struct mg_pattern *list, size_t count);
void mg_pending_free(const struct mg_vectorscan *hs, struct mg_pending *pending);      /* NULL is a no-op */

/* Whether a pattern asks for the edge of a word: then words must not be cut. */
bool mg_pattern_looks_back(const struct mg_pattern *pattern);

/* Bytes at the end of text. hs_scratch grows to fit. */
MG_MUST_USE mg_err mg_pending_scan(const struct mg_vectorscan *hs, const struct mg_pending *pending,
                                   hs_scratch_t **hs_scratch, mg_view text, size_t *out_len);

/* Words whose matches all have one length: ASCII, or letter by letter. */
bool mg_pattern_is_fixed(const struct mg_pattern *pattern);

#endif
