#include "relay/stats.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "relay/rows.h"

/* Buckets are a quarter of an octave wide, from 256 us to about 4.7 hours. */
enum {
    FIRST_OCTAVE = 8,
    SUB_BUCKETS = 4,
    BUCKETS = 26 * SUB_BUCKETS,
    FADE_CALLS = 512,
    LATENCY_WEIGHT = 8,
    FAILURE_WEIGHT = 16,
    BASELINE_WEIGHT = 512,
    BASELINE_LEAST = 16,               /* calls before it means anything */
    ERROR_SCALE = 1 << 24,             /* an error rate of 1 */
};

struct histogram {
    _Atomic uint32_t samples;          /* since it was last halved */
    atomic_flag fading;                /* somebody is halving it */
    _Atomic uint32_t counts[BUCKETS];
};

struct mg_stats {
    struct mg_row row;
    _Atomic uint64_t ewma_us, baseline_us;
    _Atomic uint64_t calls, failures;
    _Atomic uint64_t rate_limit;       /* remaining + 1; 0: never said */
    _Atomic uint32_t error_rate;       /* times ERROR_SCALE */
    _Atomic uint32_t inflight;
    _Atomic uint32_t latencies;        /* noted, up to BASELINE_WEIGHT */
    struct histogram first_token, total;
    struct mg_estimate estimate;
};

static void stats_init(void *row);

static struct mg_rows table = {.size = sizeof(struct mg_stats), .init = stats_init};

static void note_latency(struct mg_stats *stats, uint64_t first_token_us);
static void note_baseline(struct mg_stats *stats, uint64_t first_token_us);
static void note_failure(struct mg_stats *stats, bool failed);
static void add(struct histogram *histogram, uint64_t us);
static void fade(struct histogram *histogram);
static int bucket_of(uint64_t us);
static uint64_t bucket_end_us(int bucket);
static void read_quantiles(const struct histogram *histogram, int count, const int percents[], uint64_t *const outs[]);

static void stats_init(void *row)
{
    struct mg_stats *stats = row;
    atomic_flag_clear(&stats->first_token.fading);
    atomic_flag_clear(&stats->total.fading);
}

struct mg_stats *mg_stats_peek(mg_view project, mg_view target)
{
    return mg_rows_peek(&table, project, target);
}

struct mg_stats *mg_stats_find(mg_view project, mg_view target)
{
    return mg_rows_find(&table, project, target);
}

void mg_stats_start(struct mg_stats *stats)
{
    if (stats)
        atomic_fetch_add_explicit(&stats->inflight, 1, memory_order_relaxed);
}

void mg_stats_end(struct mg_stats *stats, uint64_t first_token_us, bool failed)
{
    if (!stats)
        return;
    atomic_fetch_sub_explicit(&stats->inflight, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->calls, 1, memory_order_relaxed);
    if (failed)
        atomic_fetch_add_explicit(&stats->failures, 1, memory_order_relaxed);
    note_failure(stats, failed);
    if (first_token_us > 0)
        note_latency(stats, first_token_us);
}

void mg_stats_drop(struct mg_stats *stats)
{
    if (stats)
        atomic_fetch_sub_explicit(&stats->inflight, 1, memory_order_relaxed);
}

void mg_stats_total(struct mg_stats *stats, uint64_t total_us)
{
    if (stats && total_us > 0)
        add(&stats->total, total_us);
}

void mg_stats_rate_limit(struct mg_stats *stats, uint64_t remaining)
{
    if (stats && remaining < UINT64_MAX)
        atomic_store_explicit(&stats->rate_limit, remaining + 1, memory_order_relaxed);
}

struct mg_estimate *mg_stats_estimate(struct mg_stats *stats)
{
    return stats ? &stats->estimate : NULL;
}

uint64_t mg_stats_ewma_us(const struct mg_stats *stats)
{
    return stats ? atomic_load_explicit(&stats->ewma_us, memory_order_relaxed) : 0;
}

uint64_t mg_stats_baseline_us(const struct mg_stats *stats)
{
    if (!stats || atomic_load_explicit(&stats->latencies, memory_order_relaxed) < BASELINE_LEAST)
        return 0;
    return atomic_load_explicit(&stats->baseline_us, memory_order_relaxed);
}

void mg_stats_read(const struct mg_stats *stats, struct mg_stats_figures *out)
{
    *out = (struct mg_stats_figures){0};
    if (!stats)
        return;
    out->ewma_us = mg_stats_ewma_us(stats);
    out->baseline_us = mg_stats_baseline_us(stats);
    out->calls = atomic_load_explicit(&stats->calls, memory_order_relaxed);
    out->failures = atomic_load_explicit(&stats->failures, memory_order_relaxed);
    out->inflight = atomic_load_explicit(&stats->inflight, memory_order_relaxed);
    out->error_rate = atomic_load_explicit(&stats->error_rate, memory_order_relaxed) / (double)ERROR_SCALE;
    uint64_t limit = atomic_load_explicit(&stats->rate_limit, memory_order_relaxed);
    out->rate_limit_known = limit > 0;
    out->rate_limit_remaining = limit > 0 ? limit - 1 : 0;
    read_quantiles(&stats->first_token, 3, (int[]){50, 95, 99}, (uint64_t *[]){&out->p50_us, &out->p95_us, &out->p99_us});
    read_quantiles(&stats->total, 1, (int[]){99}, (uint64_t *[]){&out->total_p99_us});
}

static void note_latency(struct mg_stats *stats, uint64_t first_token_us)
{
    uint64_t old = atomic_load_explicit(&stats->ewma_us, memory_order_relaxed), next;
    do {
        next = old == 0 ? first_token_us : old - old / LATENCY_WEIGHT + first_token_us / LATENCY_WEIGHT;
    } while (!atomic_compare_exchange_weak_explicit(&stats->ewma_us, &old, next ? next : 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    note_baseline(stats, first_token_us);
    add(&stats->first_token, first_token_us);
}

/* A plain mean at first, then ever slower to move. */
static void note_baseline(struct mg_stats *stats, uint64_t first_token_us)
{
    uint32_t seen = atomic_load_explicit(&stats->latencies, memory_order_relaxed);
    if (seen < BASELINE_WEIGHT)
        seen = atomic_fetch_add_explicit(&stats->latencies, 1, memory_order_relaxed);
    int64_t weight = MG_MIN(seen + 1, (uint32_t)BASELINE_WEIGHT);
    uint64_t old = atomic_load_explicit(&stats->baseline_us, memory_order_relaxed), next;
    do {
        uint64_t sample = MG_MIN(first_token_us, UINT64_MAX >> 16);
        if (seen >= BASELINE_LEAST)
            sample = MG_MIN(sample, old * 2);
        next = (uint64_t)((int64_t)old + ((int64_t)sample - (int64_t)old) / weight);
    } while (!atomic_compare_exchange_weak_explicit(&stats->baseline_us, &old, next ? next : 1, memory_order_relaxed,
                                                    memory_order_relaxed));
}

static void note_failure(struct mg_stats *stats, bool failed)
{
    uint32_t old = atomic_load_explicit(&stats->error_rate, memory_order_relaxed), next;
    do {
        next = old - old / FAILURE_WEIGHT + (failed ? ERROR_SCALE / FAILURE_WEIGHT : 0);
    } while (!atomic_compare_exchange_weak_explicit(&stats->error_rate, &old, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

static void add(struct histogram *histogram, uint64_t us)
{
    atomic_fetch_add_explicit(&histogram->counts[bucket_of(us)], 1, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&histogram->samples, 1, memory_order_relaxed) + 1 >= FADE_CALLS)
        fade(histogram);
}

/* A call counted between the load and the subtraction is kept, not halved. */
static void fade(struct histogram *histogram)
{
    if (atomic_flag_test_and_set_explicit(&histogram->fading, memory_order_acquire))
        return;
    atomic_store_explicit(&histogram->samples, 0, memory_order_relaxed);
    for (int i = 0; i < BUCKETS; i++) {
        uint32_t count = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
        atomic_fetch_sub_explicit(&histogram->counts[i], count - count / 2, memory_order_relaxed);
    }
    atomic_flag_clear_explicit(&histogram->fading, memory_order_release);
}

static int bucket_of(uint64_t us)
{
    if (us < (1u << FIRST_OCTAVE))
        return 0;
    int octave = 63 - __builtin_clzll(us);
    int sub = (int)(us >> (octave - 2)) & (SUB_BUCKETS - 1);
    int bucket = (octave - FIRST_OCTAVE) * SUB_BUCKETS + sub;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_end_us(int bucket)
{
    int octave = FIRST_OCTAVE + bucket / SUB_BUCKETS;
    return (uint64_t)(SUB_BUCKETS + bucket % SUB_BUCKETS + 1) << (octave - 2);
}

/* percents ascend; what no call tells of stays as it is. */
static void read_quantiles(const struct histogram *histogram, int count, const int percents[], uint64_t *const outs[])
{
    uint32_t counts[BUCKETS];
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += counts[i] = atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
    for (int i = 0, at = 0; i < BUCKETS && total > 0; i++) {
        seen += counts[i];
        for (; at < count && seen * 100 >= total * (uint64_t)percents[at]; at++)
            *outs[at] = bucket_end_us(i);
    }
}
