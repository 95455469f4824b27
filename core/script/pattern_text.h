/* pattern_text.h - a pattern as its author wrote it, checked and turned into what Vectorscan compiles. */
#ifndef MG_SCRIPT_PATTERN_TEXT_H
#define MG_SCRIPT_PATTERN_TEXT_H

#include "script/patterns.h"

/* Why it cannot be compiled in bounded time and memory; NULL when it can be tried. Static text. */
const char *mg_pattern_refuse(const struct mg_pattern *pattern);

/* The expression; the caller's to free. */
char *mg_pattern_expression(const struct mg_pattern *pattern);

#endif
