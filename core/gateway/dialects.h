/* dialects.h - the dialects clients may speak: their errors, and the taps that read them. Made once, immutable, shared by all
 * workers. */
#ifndef MG_GATEWAY_DIALECTS_H
#define MG_GATEWAY_DIALECTS_H

#include "chat/dialect.h"

struct mg_dialects;

/* Reads lua/dialects and lua/adapters. MG_E_CONFIG: one of them does not load; the diag says why. */
MG_MUST_USE mg_err mg_dialects_new(struct mg_dialects **out_dialects, struct mg_diag *diag);
void mg_dialects_free(struct mg_dialects *dialects);           /* NULL is a no-op */

/* How headers begin that one vendor and its SDKs alone understand, of all dialects; NULL-terminated. */
const char *const *mg_dialects_headers(const struct mg_dialects *dialects);

/* Never NULL: an unknown name (NULL too) is the first of them, openai_chat. */
const struct mg_dialect *mg_dialects_find(const struct mg_dialects *dialects, const char *name);

#endif
