#include "meter/estimate.h"

#include <math.h>
#include <stddef.h>

#include "base/mem.h"

enum { ONE = 65536, DEFAULT_BYTES = 4, WEIGHT = 32, MOST_RATIO = 1 << 30 };

static double ratio_of(_Atomic uint32_t const *ratio)
{
    uint32_t seen = atomic_load_explicit(ratio, memory_order_relaxed);
    return seen ? (double)seen / ONE : DEFAULT_BYTES;
}

/* The first calls weigh as much as all before them, so that a new target is known after a few. */
static void move(_Atomic uint32_t *average, double seen, uint32_t calls)
{
    double before = atomic_load_explicit(average, memory_order_relaxed);
    double weight = MG_MIN(calls + 1, (uint32_t)WEIGHT);
    double next = calls ? before + (seen - before) / weight : seen;
    atomic_store_explicit(average, (uint32_t)fmin(fmax(next, 1), MOST_RATIO), memory_order_relaxed);
}

static void learn_one(_Atomic uint32_t *ratio, _Atomic uint32_t *error, uint64_t bytes, uint64_t tokens, uint32_t calls)
{
    if (!bytes || !tokens)
        return;
    double guess = ceil((double)bytes / ratio_of(ratio));
    if (calls)                         /* the very first guess was nobody's estimate of this target */
        move(error, fabs(guess - (double)tokens) / (double)tokens * ONE, calls - 1);
    move(ratio, (double)bytes / (double)tokens * ONE, atomic_load_explicit(ratio, memory_order_relaxed) ? calls : 0);
}

void mg_estimate_learn(struct mg_estimate *estimate, uint64_t input_bytes, uint64_t input_tokens, uint64_t output_bytes,
                       uint64_t output_tokens)
{
    if (!estimate || !input_tokens)
        return;
    uint32_t calls = atomic_fetch_add_explicit(&estimate->calls, 1, memory_order_relaxed);
    learn_one(&estimate->input_ratio, &estimate->input_error, input_bytes, input_tokens, calls);
    learn_one(&estimate->output_ratio, &estimate->output_error, output_bytes, output_tokens, calls);
    move(&estimate->output_mean, (double)MG_MIN(output_tokens, (uint64_t)1 << 24) * 16, calls);
}

uint64_t mg_estimate_input(const struct mg_estimate *estimate, uint64_t bytes)
{
    return (uint64_t)ceil((double)bytes / (estimate ? ratio_of(&estimate->input_ratio) : DEFAULT_BYTES));
}

uint64_t mg_estimate_output(const struct mg_estimate *estimate, uint64_t text_bytes)
{
    return (uint64_t)ceil((double)text_bytes / (estimate ? ratio_of(&estimate->output_ratio) : DEFAULT_BYTES));
}

uint64_t mg_estimate_answer(const struct mg_estimate *estimate)
{
    return estimate ? (atomic_load_explicit(&estimate->output_mean, memory_order_relaxed) + 15) / 16 : 0;
}

void mg_estimate_read(const struct mg_estimate *estimate, struct mg_estimate_figures *out_figures)
{
    *out_figures = (struct mg_estimate_figures){.input_bytes_per_token = DEFAULT_BYTES, .output_bytes_per_token = DEFAULT_BYTES};
    if (!estimate)
        return;
    *out_figures = (struct mg_estimate_figures){
        .calls = atomic_load_explicit(&estimate->calls, memory_order_relaxed),
        .input_bytes_per_token = ratio_of(&estimate->input_ratio),
        .output_bytes_per_token = ratio_of(&estimate->output_ratio),
        .input_error = (double)atomic_load_explicit(&estimate->input_error, memory_order_relaxed) / ONE,
        .output_error = (double)atomic_load_explicit(&estimate->output_error, memory_order_relaxed) / ONE,
        .answer_tokens = mg_estimate_answer(estimate),
    };
}
