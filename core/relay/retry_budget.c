/* The word holds what was taken and not yet earned back, so that a new bucket (all zeros) is full, a full one is not
 * written to, and another `burst` after a reload holds at once:
 *
 *   63                       28 27              0
 *  ┌───────────────────────────┬─────────────────┐
 *  │ counted up to, in 10 ms   │ debt, 1/1000    │
 *  └───────────────────────────┴─────────────────┘
 *
 * A token in ten seconds is a thousandth in 10 ms: one unit of time pays one unit of debt. */
#include "relay/retry_budget.h"

#include "base/mem.h"
#include "relay/rows.h"

enum { TOKEN = 1000, DEBT_BITS = 28, TICK_US = 10000 };

#define DEBT_MAX ((UINT64_C(1) << DEBT_BITS) - 1)

struct mg_retry_budget {
    struct mg_row row;
    _Atomic uint64_t word;
};

static struct mg_rows budgets = {.size = sizeof(struct mg_retry_budget)};

static uint64_t capacity_of(const struct mg_config_retry_budget *rules)
{
    return MG_MIN((uint64_t)rules->burst * TOKEN, DEBT_MAX);
}

struct mg_retry_budget *mg_retry_budget_find(mg_view project, mg_view target)
{
    return mg_rows_find(&budgets, project, target);
}

void mg_retry_budget_earn(struct mg_retry_budget *budget, const struct mg_config_retry_budget *rules)
{
    uint64_t word = budget ? atomic_load_explicit(&budget->word, memory_order_relaxed) : 0;
    uint64_t earned = (uint64_t)(MG_MAX(rules->share, 0.0) * TOKEN + 0.5), debt;
    while ((debt = word & DEBT_MAX) > 0) {
        uint64_t next = word - MG_MIN(debt, earned);
        if (atomic_compare_exchange_weak_explicit(&budget->word, &word, next, memory_order_relaxed, memory_order_relaxed))
            return;
    }
}

bool mg_retry_budget_take(struct mg_retry_budget *budget, const struct mg_config_retry_budget *rules, uint64_t now_us)
{
    if (!budget)
        return true;
    uint64_t word = atomic_load_explicit(&budget->word, memory_order_relaxed), next, now = now_us / TICK_US;
    do {
        uint64_t debt = word & DEBT_MAX, then = word >> DEBT_BITS;
        debt -= now > then ? MG_MIN(debt, now - then) : 0;
        if (debt + TOKEN > capacity_of(rules))
            return false;
        next = MG_MAX(now, then) << DEBT_BITS | (debt + TOKEN);
    } while (!atomic_compare_exchange_weak_explicit(&budget->word, &word, next, memory_order_relaxed, memory_order_relaxed));
    return true;
}

double mg_retry_budget_left(const struct mg_retry_budget *budget, const struct mg_config_retry_budget *rules)
{
    uint64_t debt = budget ? atomic_load_explicit(&budget->word, memory_order_relaxed) & DEBT_MAX : 0;
    uint64_t capacity = capacity_of(rules);
    return debt < capacity ? (double)(capacity - debt) / TOKEN : 0;
}
