#include "relay/stats.h"

#include <stdatomic.h>

#include "base/map.h"
#include "base/mem.h"

/* Buckets are a quarter of an octave wide, from 256 us to about 4.7 hours. */
enum {
    FIRST_OCTAVE = 8,
    SUB_BUCKETS = 4,
    BUCKETS = 26 * SUB_BUCKETS,
    SLOTS = 2 * MG_STATS_ROWS,
    FADE_CALLS = 512,
    LATENCY_WEIGHT = 8,
    FAILURE_WEIGHT = 16,
    ERROR_SCALE = 1 << 24,             /* an error rate of 1 */
};

struct mg_stats {
    _Atomic uint64_t ewma_us;
    _Atomic uint64_t calls, failures;
    _Atomic uint64_t rate_limit;       /* remaining + 1; 0: never said */
    _Atomic uint32_t error_rate;       /* times ERROR_SCALE */
    _Atomic uint32_t inflight;
    _Atomic uint32_t samples;          /* in the histogram since it was last halved */
    atomic_flag fading;                /* somebody is halving it */
    _Atomic uint32_t histogram[BUCKETS];
    uint64_t hash;
    size_t project_len, target_len;
    char key[];                        /* project, then target */
};

static _Atomic(struct mg_stats *) table[SLOTS];
static _Atomic uint32_t rows;

static uint64_t hash_of(mg_view project, mg_view target);
static bool is_row(const struct mg_stats *stats, uint64_t hash, mg_view project, mg_view target);
static struct mg_stats *row_new(uint64_t hash, mg_view project, mg_view target);
static void note_latency(struct mg_stats *stats, uint64_t first_token_us);
static void note_failure(struct mg_stats *stats, bool failed);
static void fade(struct mg_stats *stats);
static int bucket_of(uint64_t us);
static uint64_t bucket_end_us(int bucket);
static void read_quantiles(const struct mg_stats *stats, struct mg_stats_figures *out);

/* The slot that holds the row, or the empty one where it belongs. There always is an empty one. */
static _Atomic(struct mg_stats *) *slot_of(uint64_t hash, mg_view project, mg_view target)
{
    for (size_t at = hash % SLOTS;; at = (at + 1) % SLOTS) {
        struct mg_stats *row = atomic_load_explicit(&table[at], memory_order_acquire);
        if (!row || is_row(row, hash, project, target))
            return &table[at];
    }
}

struct mg_stats *mg_stats_peek(mg_view project, mg_view target)
{
    return atomic_load_explicit(slot_of(hash_of(project, target), project, target), memory_order_acquire);
}

struct mg_stats *mg_stats_find(mg_view project, mg_view target)
{
    uint64_t hash = hash_of(project, target);
    struct mg_stats *made = NULL;
    for (;;) {
        _Atomic(struct mg_stats *) *slot = slot_of(hash, project, target);
        struct mg_stats *row = atomic_load_explicit(slot, memory_order_acquire);
        if (!row && !made) {
            if (atomic_fetch_add_explicit(&rows, 1, memory_order_relaxed) >= MG_STATS_ROWS) {
                atomic_fetch_sub_explicit(&rows, 1, memory_order_relaxed);
                return NULL;
            }
            made = row_new(hash, project, target);
        }
        if (!row && atomic_compare_exchange_strong_explicit(slot, &row, made, memory_order_acq_rel, memory_order_acquire))
            return made;
        if (row && is_row(row, hash, project, target)) {
            if (made)
                atomic_fetch_sub_explicit(&rows, 1, memory_order_relaxed);
            mg_free(made);
            return row;
        }
    }
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

void mg_stats_rate_limit(struct mg_stats *stats, uint64_t remaining)
{
    if (stats && remaining < UINT64_MAX)
        atomic_store_explicit(&stats->rate_limit, remaining + 1, memory_order_relaxed);
}

void mg_stats_read(const struct mg_stats *stats, struct mg_stats_figures *out)
{
    *out = (struct mg_stats_figures){0};
    if (!stats)
        return;
    out->ewma_us = atomic_load_explicit(&stats->ewma_us, memory_order_relaxed);
    out->calls = atomic_load_explicit(&stats->calls, memory_order_relaxed);
    out->failures = atomic_load_explicit(&stats->failures, memory_order_relaxed);
    out->inflight = atomic_load_explicit(&stats->inflight, memory_order_relaxed);
    out->error_rate = atomic_load_explicit(&stats->error_rate, memory_order_relaxed) / (double)ERROR_SCALE;
    uint64_t limit = atomic_load_explicit(&stats->rate_limit, memory_order_relaxed);
    out->rate_limit_known = limit > 0;
    out->rate_limit_remaining = limit > 0 ? limit - 1 : 0;
    read_quantiles(stats, out);
}

static uint64_t hash_of(mg_view project, mg_view target)
{
    return mg_hash(project) * 0x9e3779b97f4a7c15u ^ mg_hash(target);
}

static bool is_row(const struct mg_stats *stats, uint64_t hash, mg_view project, mg_view target)
{
    return stats->hash == hash && mg_view_eq(mg_view_of(stats->key, stats->project_len), project) &&
           mg_view_eq(mg_view_of(stats->key + stats->project_len, stats->target_len), target);
}

static struct mg_stats *row_new(uint64_t hash, mg_view project, mg_view target)
{
    struct mg_stats *stats = mg_alloc(sizeof *stats + project.len + target.len);
    atomic_flag_clear(&stats->fading);
    stats->hash = hash;
    stats->project_len = project.len;
    stats->target_len = target.len;
    if (project.len)
        memcpy(stats->key, project.ptr, project.len);
    if (target.len)
        memcpy(stats->key + project.len, target.ptr, target.len);
    return stats;
}

static void note_latency(struct mg_stats *stats, uint64_t first_token_us)
{
    uint64_t old = atomic_load_explicit(&stats->ewma_us, memory_order_relaxed), next;
    do {
        next = old == 0 ? first_token_us : old - old / LATENCY_WEIGHT + first_token_us / LATENCY_WEIGHT;
    } while (!atomic_compare_exchange_weak_explicit(&stats->ewma_us, &old, next ? next : 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&stats->histogram[bucket_of(first_token_us)], 1, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&stats->samples, 1, memory_order_relaxed) + 1 >= FADE_CALLS)
        fade(stats);
}

static void note_failure(struct mg_stats *stats, bool failed)
{
    uint32_t old = atomic_load_explicit(&stats->error_rate, memory_order_relaxed), next;
    do {
        next = old - old / FAILURE_WEIGHT + (failed ? ERROR_SCALE / FAILURE_WEIGHT : 0);
    } while (!atomic_compare_exchange_weak_explicit(&stats->error_rate, &old, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

/* A call counted between the load and the subtraction is kept, not halved. */
static void fade(struct mg_stats *stats)
{
    if (atomic_flag_test_and_set_explicit(&stats->fading, memory_order_acquire))
        return;
    atomic_store_explicit(&stats->samples, 0, memory_order_relaxed);
    for (int i = 0; i < BUCKETS; i++) {
        uint32_t count = atomic_load_explicit(&stats->histogram[i], memory_order_relaxed);
        atomic_fetch_sub_explicit(&stats->histogram[i], count - count / 2, memory_order_relaxed);
    }
    atomic_flag_clear_explicit(&stats->fading, memory_order_release);
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

static void read_quantiles(const struct mg_stats *stats, struct mg_stats_figures *out)
{
    uint32_t counts[BUCKETS];
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += counts[i] = atomic_load_explicit(&stats->histogram[i], memory_order_relaxed);
    for (int i = 0; i < BUCKETS && total > 0; i++) {
        seen += counts[i];
        if (out->p50_us == 0 && seen * 2 >= total)
            out->p50_us = bucket_end_us(i);
        if (seen * 100 >= total * 95) {
            out->p95_us = bucket_end_us(i);
            return;
        }
    }
}
