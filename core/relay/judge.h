/* judge.h - what kind of failure is an answer that came to its end? The detecting part of an attempt.
 *
 * The class that comes out is the attempt's hint; none: the answer is good. A refusal and an answer that the provider's
 * policy cut are failures here, so that the taxonomy is asked; by default it accepts them. */
#ifndef MG_RELAY_JUDGE_H
#define MG_RELAY_JUDGE_H

#include "relay/attempt.h"

/* A whole answer or an error body is complete. Lets the attempt's tap look at it. */
enum mg_class mg_judge_body(struct mg_attempt *attempt);

/* The events of a stream ended: with all that belongs to an answer? */
enum mg_class mg_judge_stream(struct mg_attempt *attempt);

/* When the provider wants to be asked again: Retry-After, else the reset of the limit that is used up, else what the error
 * itself says; 0: it does not say. */
uint64_t mg_judge_retry_after_ms(const struct mg_attempt *attempt, enum mg_class hint, uint64_t wall_us);

/* What it used, for its record: as reported, else an estimate by bytes. */
void mg_judge_usage(struct mg_attempt *attempt);

/* Of an answer too long to be held: keeps its last bytes, at least so many, and finds the usage in them. */
enum { MG_JUDGE_TAIL_BYTES = 2048 };
void mg_judge_keep_tail(struct mg_attempt *attempt, mg_view bytes);
void mg_judge_tail(struct mg_attempt *attempt);

/* An HTML page, by its type or its first byte: a proxy spoke, not the provider. */
bool mg_judge_is_html(const struct mg_attempt *attempt);

/* How far it came, for policies. */
const char *mg_judge_phase(const struct mg_attempt *attempt);

#endif
