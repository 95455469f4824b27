/* estimate.h - how many tokens bytes are at one target, learned from what its provider reports.
 *
 * One struct per target, embedded in what is known of it. Every reported usage moves the average (the last 32 weigh most)
 * and tells how wrong the estimate would have been: the mean absolute percentage error, which is what can be stated about
 * reservations and about usage that nobody reported. Before anything is known a token is four bytes. Relaxed atomics: two
 * calls that end in the same instant may count as one. Any thread. */
#ifndef MG_METER_ESTIMATE_H
#define MG_METER_ESTIMATE_H

#include <stdatomic.h>
#include <stdint.h>

struct mg_estimate {                   /* zeroed: nothing is known */
    _Atomic uint32_t calls;            /* that reported */
    _Atomic uint32_t input_ratio, output_ratio;  /* bytes per token, in 1/65536; 0: nothing seen */
    _Atomic uint32_t input_error, output_error;  /* mean absolute error of the estimate, in 1/65536 of what it was */
    _Atomic uint32_t output_mean;      /* tokens of an answer, in 1/16 */
};

/* A provider reported. bytes: of the request's body as it was sent, and of the answer's text; 0: not known, nothing is
 * learned from it. */
void mg_estimate_learn(struct mg_estimate *estimate, uint64_t input_bytes, uint64_t input_tokens, uint64_t output_bytes,
                       uint64_t output_tokens);

/* All take NULL, as of a target of which nothing is known. Rounded up. */
uint64_t mg_estimate_input(const struct mg_estimate *estimate, uint64_t bytes);
uint64_t mg_estimate_output(const struct mg_estimate *estimate, uint64_t text_bytes);
/* Tokens of an answer whose length nobody limits: what they were on the average; 0: nothing is known. */
uint64_t mg_estimate_answer(const struct mg_estimate *estimate);

struct mg_estimate_figures {
    uint32_t calls;
    double input_bytes_per_token, output_bytes_per_token;    /* 4 while nothing is known */
    double input_error, output_error;  /* mean absolute error, 0.1 is ten percent; 0 while nothing is known */
    uint64_t answer_tokens;            /* on the average */
};
void mg_estimate_read(const struct mg_estimate *estimate, struct mg_estimate_figures *out_figures);

#endif
