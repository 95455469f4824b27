#include "tenant/limits.h"

#include <assert.h>

#include "tenant/limits_parts.h"

#define US_PER_DAY UINT64_C(86400000000)

static bool enter_one(const struct mg_limit_use *use, uint64_t now_us, uint16_t *out_mark, enum mg_limit_kind *out_kind);
static void leave_one(const struct mg_limit_use *use);
static bool reserve_one(const struct mg_limit_use *use, uint64_t tokens, uint64_t microusd, uint64_t now_us, uint64_t wall_us,
                        struct mg_limit_hold *hold);
static void give_back(const struct mg_limit_use *use, const struct mg_limit_hold *hold);
static bool would_enter(const struct mg_limit_use *use, uint64_t now_us, struct mg_limit_refusal *refusal);
static bool would_reserve(const struct mg_limit_use *use, uint64_t tokens, uint64_t microusd, uint64_t now_us,
                          uint64_t wall_us, struct mg_limit_refusal *refusal);
static void see_soft(const struct mg_limit_use *use, int index, const struct mg_limit_hold *hold, mg_limit_threshold_cb cb,
                     void *arg);
static void see_stop(const struct mg_limit_use *use, const struct mg_limit_refusal *refusal, uint64_t wall_us,
                     mg_limit_threshold_cb cb, void *arg);

const char *mg_limit_scope_name(enum mg_limit_scope scope)
{
    static const char *const names[] = {"project", "workflow", "key", "metadata"};
    return names[scope];
}

const char *mg_limit_kind_name(enum mg_limit_kind kind)
{
    static const char *const names[] = {"requests_per_minute", "tokens_per_minute", "concurrency", "budget"};
    return names[kind];
}

const char *mg_limit_period_name(enum mg_period period)
{
    static const char *const names[] = {"day", "week", "month"};
    return names[period];
}

/* ---- time ------------------------------------------------------------------------------------ */

/* The proleptic Gregorian calendar from a count of days: years begin in March, so that the leap day comes last. */
static uint64_t day_of_month(uint64_t day, uint64_t *out_days_in_month)
{
    uint64_t shifted = day + 719468, era = shifted / 146097, of_era = shifted % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    uint64_t y = year + era * 400 + (month >= 10);
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    static const unsigned char lengths[] = {31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28};   /* from March */
    *out_days_in_month = lengths[month] + (month == 11 && leap);
    return of_year - (153 * month + 2) / 5;
}

uint16_t mg_period_day(enum mg_period period, uint64_t wall_us)
{
    uint64_t day = wall_us / US_PER_DAY, length;
    if (period == MG_PERIOD_WEEK)
        day -= (day + 3) % 7;          /* the first of 1970 was a Thursday */
    else if (period == MG_PERIOD_MONTH)
        day -= day_of_month(day, &length);
    return (uint16_t)day;
}

uint64_t mg_period_start_us(enum mg_period period, uint64_t wall_us)
{
    return mg_period_day(period, wall_us) * US_PER_DAY;
}

uint64_t mg_period_end_us(enum mg_period period, uint64_t wall_us)
{
    uint64_t start = mg_period_start_us(period, wall_us), days = period == MG_PERIOD_WEEK ? 7 : 1;
    if (period == MG_PERIOD_MONTH)
        (void)day_of_month(start / US_PER_DAY, &days);
    return start + days * US_PER_DAY;
}

/* ---- requests and concurrency ---------------------------------------------------------------- */

/* The first that would refuse; false: none. */
static bool refuses(const struct mg_limit_use *uses, int count, uint64_t now_us, struct mg_limit_refusal *out_refusal)
{
    for (int i = 0; i < count; i++) {
        *out_refusal = (struct mg_limit_refusal){.use = i};
        if (!would_enter(&uses[i], now_us, out_refusal))
            return true;
    }
    return false;
}

static void take_back(const struct mg_limit_use *uses, int count, const uint16_t *marks)
{
    for (int i = 0; i < count; i++) {
        leave_one(&uses[i]);
        if (uses[i].set->requests_per_minute)
            mg_bucket_give(&uses[i].row->requests, mg_limit_request_cost(uses[i].set), marks[i]);
    }
}

bool mg_limits_enter(const struct mg_limit_use *uses, int count, uint64_t now_us, struct mg_limit_refusal *out_refusal)
{
    uint16_t marks[MG_MAX_LIMIT_USES];
    enum mg_limit_kind kind = MG_LIMIT_REQUESTS;
    int entered = 0;
    assert(count <= MG_MAX_LIMIT_USES);
    if (refuses(uses, count, now_us, out_refusal))
        return false;
    while (entered < count && enter_one(&uses[entered], now_us, &marks[entered], &kind))
        entered++;
    if (entered == count)
        return true;
    take_back(uses, entered, marks);   /* somebody else was faster since we looked: what they left is what the caller is told */
    if (!refuses(uses, count, now_us, out_refusal))
        *out_refusal = (struct mg_limit_refusal){.use = entered, .kind = kind, .free_in_us = 1};
    return false;
}

static bool would_enter(const struct mg_limit_use *use, uint64_t now_us, struct mg_limit_refusal *refusal)
{
    const struct mg_limit_set *set = use->set;
    if (set->concurrency && atomic_load_explicit(&use->row->in_flight, memory_order_relaxed) >= set->concurrency) {
        refusal->kind = MG_LIMIT_CONCURRENCY;
        refusal->limit = set->concurrency;
        return false;
    }
    if (!set->requests_per_minute)
        return true;
    uint64_t wait = mg_bucket_wait(&use->row->requests, mg_limit_units(use->row, now_us), mg_limit_request_cost(set), mg_limit_request_room(set));
    refusal->kind = MG_LIMIT_REQUESTS;
    refusal->limit = set->requests_per_minute;
    refusal->free_in_us = mg_limit_units_to_us(wait);
    return wait == 0;
}

static bool enter_one(const struct mg_limit_use *use, uint64_t now_us, uint16_t *out_mark, enum mg_limit_kind *out_kind)
{
    const struct mg_limit_set *set = use->set;
    uint32_t before = atomic_load_explicit(&use->row->in_flight, memory_order_relaxed);
    do {
        *out_kind = MG_LIMIT_CONCURRENCY;
        if (set->concurrency && before >= set->concurrency)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&use->row->in_flight, &before, before + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    *out_kind = MG_LIMIT_REQUESTS;
    if (!set->requests_per_minute || mg_bucket_take(&use->row->requests, mg_limit_units(use->row, now_us), mg_limit_request_cost(set),
                                                    mg_limit_request_room(set), out_mark))
        return true;
    leave_one(use);
    return false;
}

static void leave_one(const struct mg_limit_use *use)
{
    atomic_fetch_sub_explicit(&use->row->in_flight, 1, memory_order_relaxed);
}

void mg_limits_leave(const struct mg_limit_use *uses, int count)
{
    for (int i = 0; i < count; i++)
        leave_one(&uses[i]);
}

/* ---- tokens and money ------------------------------------------------------------------------ */

bool mg_limits_reserve(const struct mg_limit_use *uses, int count, uint64_t tokens, uint64_t microusd, uint64_t now_us,
                       uint64_t wall_us, struct mg_limit_hold *out_holds, struct mg_limit_refusal *out_refusal,
                       mg_limit_threshold_cb on_threshold, void *arg)
{
    int done = 0;
    for (int i = 0; i < count; i++) {
        *out_refusal = (struct mg_limit_refusal){.use = i};
        if (!would_reserve(&uses[i], tokens, microusd, now_us, wall_us, out_refusal)) {
            see_stop(&uses[i], out_refusal, wall_us, on_threshold, arg);
            return false;
        }
    }
    while (done < count && reserve_one(&uses[done], tokens, microusd, now_us, wall_us, &out_holds[done]))
        done++;
    if (done == count)
        return true;
    int lost = done;
    while (done-- > 0)
        give_back(&uses[done], &out_holds[done]);
    *out_refusal = (struct mg_limit_refusal){.use = lost, .kind = MG_LIMIT_TOKENS, .free_in_us = 1};
    (void)would_reserve(&uses[lost], tokens, microusd, now_us, wall_us, out_refusal);
    return false;
}

static bool would_spend(const struct mg_limit_use *use, uint64_t microusd, uint64_t wall_us, struct mg_limit_refusal *refusal)
{
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        uint64_t limit = use->set->budget_microusd[p];
        if (!limit || mg_limit_spent(use->row, (enum mg_period)p, wall_us) + microusd <= limit)
            continue;
        *refusal = (struct mg_limit_refusal){
            .use = refusal->use,
            .kind = MG_LIMIT_BUDGET,
            .period = (enum mg_period)p,
            .limit = limit,
            .wanted = microusd,
            .free_in_us = mg_period_end_us((enum mg_period)p, wall_us) - wall_us,
            .never = microusd > limit,
        };
        return false;
    }
    return true;
}

static bool would_reserve(const struct mg_limit_use *use, uint64_t tokens, uint64_t microusd, uint64_t now_us,
                          uint64_t wall_us, struct mg_limit_refusal *refusal)
{
    uint64_t per_minute = use->set->tokens_per_minute;
    if (!would_spend(use, microusd, wall_us, refusal))
        return false;
    if (!per_minute)
        return true;
    uint64_t wait = mg_bucket_wait(&use->row->tokens, mg_limit_units(use->row, now_us), mg_bucket_cost(tokens, per_minute),
                                   mg_bucket_cost(per_minute, per_minute));
    refusal->kind = MG_LIMIT_TOKENS;
    refusal->limit = per_minute;
    refusal->wanted = tokens;
    refusal->never = wait == UINT64_MAX;
    refusal->free_in_us = refusal->never ? 0 : mg_limit_units_to_us(wait);
    return wait == 0;
}

static bool reserve_one(const struct mg_limit_use *use, uint64_t tokens, uint64_t microusd, uint64_t now_us, uint64_t wall_us,
                        struct mg_limit_hold *hold)
{
    uint64_t per_minute = use->set->tokens_per_minute;
    *hold = (struct mg_limit_hold){.microusd = microusd};
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        if (!use->set->budget_microusd[p])
            continue;
        uint16_t day;
        if (!mg_money_debit(&use->row->money[p].spent, mg_period_day((enum mg_period)p, wall_us), microusd,
                            use->set->budget_microusd[p], &day)) {
            give_back(use, hold);
            return false;
        }
        hold->day[p] = day;
        atomic_fetch_add_explicit(&use->row->money[p].reserved, microusd, memory_order_relaxed);
    }
    if (!per_minute)
        return true;
    uint64_t cost = mg_bucket_cost(tokens, per_minute);
    if (!mg_bucket_take(&use->row->tokens, mg_limit_units(use->row, now_us), cost, mg_bucket_cost(per_minute, per_minute),
                        &hold->token_mark)) {
        give_back(use, hold);
        return false;
    }
    hold->token_units = cost;
    return true;
}

/* What was reserved was really `microusd`. */
static void settle_money(const struct mg_limit_use *use, const struct mg_limit_hold *hold, uint64_t microusd)
{
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        if (!hold->day[p])
            continue;
        mg_money_correct(&use->row->money[p].spent, hold->day[p], microusd, hold->microusd);
        atomic_fetch_sub_explicit(&use->row->money[p].reserved, hold->microusd, memory_order_relaxed);
    }
}

static void give_back(const struct mg_limit_use *use, const struct mg_limit_hold *hold)
{
    settle_money(use, hold, 0);
    if (hold->token_units)
        mg_bucket_give(&use->row->tokens, hold->token_units, hold->token_mark);
}

static void settle_tokens(const struct mg_limit_use *use, const struct mg_limit_hold *hold, uint64_t tokens, uint64_t now_us)
{
    uint64_t per_minute = use->set->tokens_per_minute;
    if (!per_minute)
        return;
    uint64_t cost = mg_bucket_cost(tokens, per_minute);
    if (cost > hold->token_units)
        mg_bucket_force(&use->row->tokens, mg_limit_units(use->row, now_us), cost - hold->token_units);
    else if (cost < hold->token_units)
        mg_bucket_give(&use->row->tokens, hold->token_units - cost, hold->token_mark);
}

void mg_limits_settle(const struct mg_limit_use *uses, int count, const struct mg_limit_hold *holds, uint64_t tokens,
                      uint64_t microusd, uint64_t now_us, mg_limit_threshold_cb on_threshold, void *arg)
{
    for (int i = 0; i < count; i++) {
        settle_tokens(&uses[i], &holds[i], tokens, now_us);
        settle_money(&uses[i], &holds[i], microusd);
        see_soft(&uses[i], i, &holds[i], on_threshold, arg);
    }
}

/* ---- thresholds ------------------------------------------------------------------------------ */

/* True for one caller per period. */
static bool tell_once(_Atomic uint32_t *told_day, uint16_t day)
{
    uint32_t before = atomic_load_explicit(told_day, memory_order_relaxed);
    return before < day && atomic_compare_exchange_strong_explicit(told_day, &before, day, memory_order_relaxed,
                                                                   memory_order_relaxed);
}

static void see_soft(const struct mg_limit_use *use, int index, const struct mg_limit_hold *hold, mg_limit_threshold_cb cb,
                     void *arg)
{
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        uint64_t soft = use->set->soft_microusd[p], spent = hold->day[p] ? mg_limit_settled(&use->row->money[p], hold->day[p]) : 0;
        if (!soft || !hold->day[p] || spent < soft || !tell_once(&use->row->money[p].soft_day, hold->day[p]))
            continue;
        atomic_fetch_add_explicit(&use->row->rule->soft[p], 1, memory_order_relaxed);
        if (!cb)
            continue;
        struct mg_limit_threshold reached = {index, (enum mg_period)p, false, spent, use->set->budget_microusd[p]};
        cb(arg, &reached);
    }
}

static void see_stop(const struct mg_limit_use *use, const struct mg_limit_refusal *refusal, uint64_t wall_us,
                     mg_limit_threshold_cb cb, void *arg)
{
    struct mg_limit_money *money = &use->row->money[refusal->period];
    uint16_t day = mg_period_day(refusal->period, wall_us);
    uint64_t spent = mg_limit_settled(money, day);
    bool over = refusal->kind == MG_LIMIT_BUDGET && !refusal->never && spent + refusal->wanted > refusal->limit;
    if (!over || !tell_once(&money->stop_day, day))
        return;
    atomic_fetch_add_explicit(&use->row->rule->stopped[refusal->period], 1, memory_order_relaxed);
    if (!cb)
        return;
    struct mg_limit_threshold reached = {refusal->use, refusal->period, true, spent, refusal->limit};
    cb(arg, &reached);
}

/* ---- what was spent before --------------------------------------------------------------------- */

uint64_t mg_limit_spent(const struct mg_limit_row *row, enum mg_period period, uint64_t wall_us)
{
    return mg_money_spent(&row->money[period].spent, mg_period_day(period, wall_us));
}

void mg_limit_forget_spent(struct mg_limit_row *row, enum mg_period period, uint64_t wall_us)
{
    struct mg_limit_money *money = &row->money[period];
    uint16_t day = mg_period_day(period, wall_us);
    mg_money_correct(&money->spent, day, 0, mg_limit_settled(money, day));
}

void mg_limit_restore(struct mg_limit_row *row, const struct mg_limit_set *set, enum mg_period period, uint64_t microusd,
                      uint64_t wall_us)
{
    struct mg_limit_money *money = &row->money[period];
    uint16_t day;
    (void)mg_money_debit(&money->spent, mg_period_day(period, wall_us), microusd, UINT64_MAX, &day);
    uint64_t spent = mg_money_spent(&money->spent, day);
    if (set->soft_microusd[period] && spent >= set->soft_microusd[period])
        (void)tell_once(&money->soft_day, day);
    if (set->budget_microusd[period] && spent >= set->budget_microusd[period])
        (void)tell_once(&money->stop_day, day);
}
