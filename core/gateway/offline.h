/* offline.h - the answer when nothing answers: what a workflow's `offline` says, marked as what it is.
 *
 * In this order: the last good answer to the same request, what the workflow's function says, its static text. The
 * status is 200; the header x-moongate-offline says "last_good", "function" or "text", and so does the member
 * "moongate":{"offline":…} at the top of the body, or of a stream's first event. A request that was itself at fault gets
 * no offline answer: its client must learn what is wrong. Workflows without `offline` pay nothing. Loop thread only. */
#ifndef MG_GATEWAY_OFFLINE_H
#define MG_GATEWAY_OFFLINE_H

#include "gateway/exchange.h"

/* Before the first attempt: if answers are kept for later, this one's events will be copied on their way out. */
void mg_offline_begin(struct mg_exchange *x);

/* The relay is done and its answer was good: keeps it, when the workflow keeps answers and it is whole. Before
 * mg_exchange_finish(). */
void mg_offline_keep(struct mg_exchange *x);

/* The relay is done, its result is bad and nothing is committed. True: answered, the exchange is finished. */
bool mg_offline_answer(struct mg_exchange *x);

/* A text as an answer in the client's dialect, and the end of the exchange. how: "text" or "function". */
void mg_exchange_offline(struct mg_exchange *x, mg_view text, const char *how);

/* The answer with the mark in it: after the first brace of a JSON body, or of a stream's first event with one. In the
 * arena; as it was when there is no such place. */
mg_view mg_offline_mark(struct mg_arena *arena, mg_view answer, mg_view mark);

#endif
