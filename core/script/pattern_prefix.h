/* pattern_prefix.h - from a pattern, the pattern of its beginnings: what matches wherever a text ends in something that
 * could still become a match (or is one already). Streaming filters hold exactly that back. */
#ifndef MG_SCRIPT_PATTERN_PREFIX_H
#define MG_SCRIPT_PATTERN_PREFIX_H

#include "script/patterns.h"

/* Appends an expression that is anchored at the end of the text. It may match more than necessary, never less. False when
 * the pattern asks for the start of the text, uses syntax this does not follow (inline options, \Q, \c, named things), or
 * the result is too large. */
bool mg_pattern_prefix(const struct mg_pattern *pattern, struct mg_buf *out);

#endif
