/* pattern_text.h - a pattern as its author wrote it, checked and turned into what Vectorscan compiles. */
#ifndef MG_SCRIPT_PATTERN_TEXT_H
#define MG_SCRIPT_PATTERN_TEXT_H

#include "script/patterns.h"

/* Why it cannot be compiled in bounded time and memory; NULL when it can be tried. Static text. */
const char *mg_pattern_refuse(const struct mg_pattern *pattern);

/* Positions of an expression, repetitions multiplied out; UINT64_MAX: beyond reason. */
uint64_t mg_pattern_cost(mg_view text);

/* [A-Za-z0-9_]: what makes the edge of a word. */
bool mg_pattern_is_word_byte(char c);

/* The expression; the caller's to free. A word's edges are not in it: thousands of \b take seconds to compile. */
char *mg_pattern_expression(const struct mg_pattern *pattern);

#endif
