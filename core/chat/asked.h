/* asked.h - how much of an answer a request asks for, in whichever dialect it is: what limits and budgets reserve.
 *
 * Of several fields that say it the largest counts: which one a provider obeys is its own business. Any thread. */
#ifndef MG_CHAT_ASKED_H
#define MG_CHAT_ASKED_H

#include <stdint.h>

#include "base/view.h"

struct mg_asked {
    uint64_t tokens;                   /* the most that each answer may have; 0: it does not say */
    uint64_t answers;                  /* how many, ≥ 1 */
};

/* `body` is a JSON object; empty: asks for nothing. A dialect that is not known reads as openai_chat. */
struct mg_asked mg_asked_of(const char *dialect, mg_view body);

#endif
