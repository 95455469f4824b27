/* text.h - UTF-8 text: counting, cutting, and how many tokens it may be. Positions are code points from 1, as Lua has
 * them; a byte outside UTF-8 counts as one. Whoever counts looks every 1,024 code points whether *stop (may be NULL) became
 * true, and then gives up with a number that means nothing. */
#ifndef MG_SCRIPT_TEXT_H
#define MG_SCRIPT_TEXT_H

#include <stdatomic.h>

#include "base/view.h"

/* An estimate, the same for every model: a token per four bytes of ASCII, per two code points of other alphabets and
 * per code point of CJK and what lies beyond it, rounded up. Within a third of common tokenisers on prose. */
uint64_t mg_text_tokens(mg_view text, const atomic_int *stop);

size_t mg_text_length(mg_view text, const atomic_int *stop);

/* Code points i to j, both included; negative ones count from the end, as string.sub has it. */
mg_view mg_text_sub(mg_view text, int64_t i, int64_t j, const atomic_int *stop);

/* At most n bytes, cut before the code point that does not fit. */
mg_view mg_text_truncate(mg_view text, size_t n);

#endif
