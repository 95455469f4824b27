/* histogram.h - counts of numbers in 32 steps to each doubling, for percentiles that are at most 1.6 % off. */
#ifndef MG_WATCH_HISTOGRAM_H
#define MG_WATCH_HISTOGRAM_H

#include <stdint.h>

enum { MG_HISTOGRAM_STEPS = 32, MG_HISTOGRAM_BINS = MG_HISTOGRAM_STEPS * 60 };

struct mg_histogram {
    uint64_t count;
    uint32_t bins[MG_HISTOGRAM_BINS];
};

static inline unsigned mg_histogram_bin(uint64_t value)
{
    if (value < MG_HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - 5; /* 32 is 2^5 */
    return (shift + 1) * MG_HISTOGRAM_STEPS + ((unsigned)(value >> shift) & (MG_HISTOGRAM_STEPS - 1));
}

static inline void mg_histogram_add(struct mg_histogram *histogram, uint64_t value)
{
    histogram->bins[mg_histogram_bin(value)]++;
    histogram->count++;
}

/* The middle of a bin. */
static inline uint64_t mg_histogram_value(unsigned bin)
{
    if (bin < 2 * MG_HISTOGRAM_STEPS)
        return bin;
    unsigned shift = bin / MG_HISTOGRAM_STEPS - 1;
    return ((uint64_t)(bin % MG_HISTOGRAM_STEPS + MG_HISTOGRAM_STEPS) << shift) + (UINT64_C(1) << shift) / 2;
}

/* The number that so many thousandths of all are not above: nearest rank. 0 of none. */
static inline uint64_t mg_histogram_at(const struct mg_histogram *histogram, unsigned thousandths)
{
    uint64_t rank = (histogram->count * thousandths + 999) / 1000, seen = 0;
    for (unsigned bin = 0; bin < MG_HISTOGRAM_BINS && rank > 0; bin++) {
        seen += histogram->bins[bin];
        if (seen >= rank)
            return mg_histogram_value(bin);
    }
    return 0;
}

#endif
