/* money.h - what was spent in a period: exact under any number of threads, and whatever the clock does.
 *
 *    63              48 47                                0
 *   ┌──────────────────┬───────────────────────────────────┐
 *   │ first day, 1970+ │ micro-dollars spent and reserved  │   of two periods: the one that runs, and one before or after it
 *   └──────────────────┴───────────────────────────────────┘
 *
 * A new period begins with nothing and takes the place of the older one of the two. A clock that went back finds the period
 * it comes to as it left it; when it is earlier than both, it counts in the older of them. So a clock that steps, or a worker
 * that is behind at the turn of a period, never makes a budget new. */
#ifndef MG_TENANT_MONEY_H
#define MG_TENANT_MONEY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

enum { MG_MONEY_BITS = 48 };
#define MG_MONEY_MASK ((UINT64_C(1) << MG_MONEY_BITS) - 1)

struct mg_money {
    _Atomic uint64_t words[2];
};

static inline uint16_t mg_money_day(uint64_t word)
{
    return (uint16_t)(word >> MG_MONEY_BITS);
}

/* Which of the words counts for the day: 0 or 1. One of an earlier day is over, and to be taken over. */
static inline int mg_money_choose(const uint64_t words[2], uint16_t day)
{
    uint16_t a = mg_money_day(words[0]), b = mg_money_day(words[1]);
    if (a == day || b == day)
        return b == day;
    int older = a > b;
    bool one_is_unused = !mg_money_day(words[older]);
    bool before_both = day < mg_money_day(words[one_is_unused ? !older : older]);
    return before_both && one_is_unused ? !older : older;
}

static inline uint64_t mg_money_of(uint64_t word, uint16_t day)
{
    return mg_money_day(word) < day ? 0 : word & MG_MONEY_MASK;
}

static inline uint64_t mg_money_spent(const struct mg_money *money, uint16_t day)
{
    uint64_t words[] = {atomic_load_explicit(&money->words[0], memory_order_relaxed),
                        atomic_load_explicit(&money->words[1], memory_order_relaxed)};
    return mg_money_of(words[mg_money_choose(words, day)], day);
}

/* Nothing was spent on the day or later. */
static inline bool mg_money_is_idle(const struct mg_money *money, uint16_t day)
{
    return !mg_money_of(atomic_load_explicit(&money->words[0], memory_order_relaxed), day) &&
           !mg_money_of(atomic_load_explicit(&money->words[1], memory_order_relaxed), day);
}

/* False: it would be more than `limit`. *out_day is the period it was counted in. */
static inline bool mg_money_debit(struct mg_money *money, uint16_t day, uint64_t microusd, uint64_t limit, uint16_t *out_day)
{
    uint64_t words[2], next;
    int at;
    do {
        for (int i = 0; i < 2; i++)
            words[i] = atomic_load_explicit(&money->words[i], memory_order_relaxed);
        at = mg_money_choose(words, day);
        uint64_t spent = MG_MIN(mg_money_of(words[at], day) + microusd, MG_MONEY_MASK);
        if (spent > limit)
            return false;
        *out_day = MG_MAX(day, mg_money_day(words[at]));
        next = (uint64_t)*out_day << MG_MONEY_BITS | spent;
    } while (!atomic_compare_exchange_weak_explicit(&money->words[at], &words[at], next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* What was debited was `add` and not `take`; never below 0, and past any limit. A period that is over is let be. */
static inline void mg_money_correct(struct mg_money *money, uint16_t day, uint64_t add, uint64_t take)
{
    for (int i = 0; i < 2; i++) {
        uint64_t word = atomic_load_explicit(&money->words[i], memory_order_relaxed), next;
        do {
            if (mg_money_day(word) != day)
                break;
            uint64_t spent = (word & MG_MONEY_MASK) + add;
            next = (uint64_t)day << MG_MONEY_BITS | MG_MIN(spent > take ? spent - take : 0, MG_MONEY_MASK);
        } while (!atomic_compare_exchange_weak_explicit(&money->words[i], &word, next, memory_order_relaxed, memory_order_relaxed));
        if (mg_money_day(word) == day)
            return;
    }
}

#endif
