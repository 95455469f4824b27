/* limits_parts.h - a row of the limits: limits.c debits it, limit_rows.c finds and forgets it, limit_figures.c reads it. For
 * those only. */
#ifndef MG_TENANT_LIMITS_PARTS_H
#define MG_TENANT_LIMITS_PARTS_H

#include "base/list.h"
#include "tenant/bucket.h"
#include "tenant/limits.h"
#include "tenant/money.h"

struct mg_limit_money {
    struct mg_money spent;             /* and reserved */
    _Atomic uint64_t reserved;         /* micro-dollars of it, by attempts that are not settled */
    _Atomic uint32_t soft_day, stop_day;         /* first day of the period for which it was told */
};

struct mg_limit_row {
    struct mg_list link;               /* in its chain; under the lock of its stripe */
    atomic_uint refs;                  /* only grows under the lock */
    uint64_t hash;
    uint64_t born_us;                  /* monotonic: the buckets' time begins here */
    bool shared;
    enum mg_limit_scope scope;
    uint16_t length[4];                /* of the texts */
    const char *text[4];               /* project, workflow, field, value; NUL-terminated, behind the row */
    struct mg_bucket requests;
    struct mg_bucket tokens;
    struct mg_limit_rule *rule;        /* lives for ever */
    atomic_uint in_flight;
    _Atomic uint32_t refused[MG_LIMIT_SLOTS];
    struct mg_limit_money money[MG_PERIOD_COUNT];
};

/* Of what stands in a period's word the part that was really spent. An attempt that began in the period before is taken off
 * too: at the turn of a period it is a little too low for a moment. */
static inline uint64_t mg_limit_settled(const struct mg_limit_money *money, uint16_t day)
{
    uint64_t all = mg_money_spent(&money->spent, day), reserved = atomic_load_explicit(&money->reserved, memory_order_relaxed);
    return all > reserved ? all - reserved : 0;
}

/* Nothing would be lost with it: buckets full, nobody in flight, no money in a period that still runs. */
bool mg_limit_row_is_idle(const struct mg_limit_row *row, uint64_t now_us, uint64_t wall_us);

/* limit_rules.c: the rule of such rows, made on first use. */
struct mg_limit_rule *mg_limit_rule_take(const struct mg_limit_id *id);

/* Units of the row's buckets, and back; rounded up. */
static inline uint64_t mg_limit_units(const struct mg_limit_row *row, uint64_t now_us)
{
    return now_us > row->born_us ? (now_us - row->born_us) * MG_BUCKET_UNITS_PER_US : 0;
}

static inline uint64_t mg_limit_units_to_us(uint64_t n)
{
    return (n + MG_BUCKET_UNITS_PER_US - 1) / MG_BUCKET_UNITS_PER_US;
}

/* What one request costs of the bucket, and how much there is of it. */
static inline uint64_t mg_limit_request_cost(const struct mg_limit_set *set)
{
    return mg_bucket_cost(1, set->requests_per_minute);
}

static inline uint64_t mg_limit_request_room(const struct mg_limit_set *set)
{
    return set->burst * mg_limit_request_cost(set);
}

/* First day of the period, since 1970. */
uint16_t mg_period_day(enum mg_period period, uint64_t wall_us);

#endif
