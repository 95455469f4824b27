/* text.h - what a simulated model says: plain sentences that pick up a word or two of the prompt.
 *
 * The same prompt and seed always give the same text. A token is a word with the blank before it. No state. */
#ifndef MG_SIM_TEXT_H
#define MG_SIM_TEXT_H

#include "base/arena.h"

/* Exactly `tokens` tokens (at least 1) about the prompt. */
mg_view mg_sim_text(struct mg_arena *arena, mg_view prompt, uint64_t seed, uint32_t tokens);

/* Cuts the next token off *rest; empty at the end. */
mg_view mg_sim_token(mg_view *rest);

uint32_t mg_sim_token_count(mg_view text);

/* Small deterministic random numbers: steps *state and answers the next. */
uint64_t mg_sim_random(uint64_t *state);

#endif
