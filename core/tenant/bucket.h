/* bucket.h - GCRA in one 64-bit word: exact under any number of threads, and debits can be taken back.
 *
 *    63                                       10 9          0
 *   ┌──────────────────────────────────────────┬────────────┐
 *   │ theoretical arrival time, 8 ns units     │ fresh      │
 *   └──────────────────────────────────────────┴────────────┘
 *
 * A bucket holds `capacity` units of time; what costs c units passes when the arrival time, moved on by c from no earlier
 * than now, stays within now + capacity. `fresh` counts how often the bucket was found full: a debit from before such a
 * moment has no effect any more, so taking it back then must change nothing. (The count wraps at 1024: a debit that is
 * taken back after a multiple of 1024 fresh starts would give too much once.) */
#ifndef MG_TENANT_BUCKET_H
#define MG_TENANT_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

enum { MG_BUCKET_FRESH_BITS = 10, MG_BUCKET_FRESH = (1 << MG_BUCKET_FRESH_BITS) - 1, MG_BUCKET_UNITS_PER_US = 125 };

#define MG_BUCKET_MINUTE UINT64_C(7500000000)      /* units */

struct mg_bucket {
    _Atomic uint64_t word;
};

/* Units that `amount` of a rate per minute take, rounded up: the bucket is never laxer than the rate. */
static inline uint64_t mg_bucket_cost(uint64_t amount, uint64_t per_minute)
{
    amount = MG_MIN(amount, (uint64_t)1 << 30);
    return (amount * MG_BUCKET_MINUTE + per_minute - 1) / per_minute;
}

static inline uint64_t mg_bucket_next(uint64_t word, uint64_t now, uint64_t cost)
{
    uint64_t at = word >> MG_BUCKET_FRESH_BITS, fresh = word & MG_BUCKET_FRESH;
    if (at < now) {
        at = now;
        fresh = (fresh + 1) & MG_BUCKET_FRESH;
    }
    return (at + cost) << MG_BUCKET_FRESH_BITS | fresh;
}

/* How long until it passes; 0: it would now. UINT64_MAX: never, the bucket is too small. */
static inline uint64_t mg_bucket_wait(const struct mg_bucket *bucket, uint64_t now, uint64_t cost, uint64_t capacity)
{
    uint64_t at = atomic_load_explicit(&bucket->word, memory_order_relaxed) >> MG_BUCKET_FRESH_BITS;
    uint64_t after = MG_MAX(at, now) + cost;
    return cost > capacity ? UINT64_MAX : after > now + capacity ? after - now - capacity : 0;
}

/* *out_mark goes to mg_bucket_give(). */
static inline bool mg_bucket_take(struct mg_bucket *bucket, uint64_t now, uint64_t cost, uint64_t capacity, uint16_t *out_mark)
{
    uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed), next;
    do {
        next = mg_bucket_next(word, now, cost);
        if (next >> MG_BUCKET_FRESH_BITS > now + capacity)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->word, &word, next, memory_order_relaxed, memory_order_relaxed));
    *out_mark = (uint16_t)(next & MG_BUCKET_FRESH);
    return true;
}

/* Takes it whether it is there or not: who comes later waits longer, but no more than a day for one debit. */
static inline void mg_bucket_force(struct mg_bucket *bucket, uint64_t now, uint64_t cost)
{
    uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed);
    cost = MG_MIN(cost, 1440 * MG_BUCKET_MINUTE);
    while (!atomic_compare_exchange_weak_explicit(&bucket->word, &word, mg_bucket_next(word, now, cost), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

/* Takes back (part of) a debit. */
static inline void mg_bucket_give(struct mg_bucket *bucket, uint64_t cost, uint16_t mark)
{
    uint64_t word = atomic_load_explicit(&bucket->word, memory_order_relaxed), next;
    do {
        uint64_t at = word >> MG_BUCKET_FRESH_BITS;
        if ((word & MG_BUCKET_FRESH) != mark || at < cost)
            return;
        next = (at - cost) << MG_BUCKET_FRESH_BITS | mark;
    } while (!atomic_compare_exchange_weak_explicit(&bucket->word, &word, next, memory_order_relaxed, memory_order_relaxed));
}

/* Units until all of it is there. */
static inline uint64_t mg_bucket_missing(const struct mg_bucket *bucket, uint64_t now)
{
    uint64_t at = atomic_load_explicit(&bucket->word, memory_order_relaxed) >> MG_BUCKET_FRESH_BITS;
    return at > now ? at - now : 0;
}

#endif
