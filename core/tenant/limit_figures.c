/* What is left of a limit, for headers and for people. */
#include <stdio.h>

#include "base/mem.h"
#include "tenant/limits_parts.h"

/* ---- what is left ---------------------------------------------------------------------------- */

static void left_of(const struct mg_bucket *bucket, uint64_t now, uint64_t per_minute, uint64_t room,
                    struct mg_limit_left *out_left)
{
    uint64_t missing = mg_bucket_missing(bucket, now), there = room > missing ? room - missing : 0;
    *out_left = (struct mg_limit_left){
        .limit = per_minute,
        .left = (uint64_t)((double)there * (double)per_minute / (double)MG_BUCKET_MINUTE + 1e-6),
        .full_in_us = mg_limit_units_to_us(missing),
    };
}

void mg_limit_requests_left(const struct mg_limit_use *use, uint64_t now_us, struct mg_limit_left *out_left)
{
    left_of(&use->row->requests, mg_limit_units(use->row, now_us), use->set->requests_per_minute, mg_limit_request_room(use->set), out_left);
}

void mg_limit_tokens_left(const struct mg_limit_use *use, uint64_t now_us, struct mg_limit_left *out_left)
{
    left_of(&use->row->tokens, mg_limit_units(use->row, now_us), use->set->tokens_per_minute, MG_BUCKET_MINUTE, out_left);
}

uint32_t mg_limit_in_flight(const struct mg_limit_row *row)
{
    return atomic_load_explicit(&row->in_flight, memory_order_relaxed);
}

bool mg_limit_row_is_idle(const struct mg_limit_row *row, uint64_t now_us, uint64_t wall_us)
{
    uint64_t now = mg_limit_units(row, now_us);
    if (mg_limit_in_flight(row) || mg_bucket_missing(&row->requests, now) || mg_bucket_missing(&row->tokens, now))
        return false;
    for (int p = 0; p < MG_PERIOD_COUNT; p++)
        if (!mg_money_is_idle(&row->money[p].spent, mg_period_day((enum mg_period)p, wall_us)))
            return false;
    return true;
}

/* ---- for people ------------------------------------------------------------------------------- */

static void read_bucket(const struct mg_bucket *bucket, uint64_t now, uint64_t per_minute, uint64_t capacity, uint64_t cost,
                        struct mg_limit_figures *out)
{
    struct mg_limit_left left;
    uint64_t missing = mg_bucket_missing(bucket, now);
    left_of(bucket, now, per_minute, capacity, &left);
    out->limit = per_minute;
    out->left = MG_MIN(left.left, out->room);
    out->used = missing > capacity ? (uint64_t)((double)missing * (double)per_minute / (double)MG_BUCKET_MINUTE)
                                   : out->room - out->left;
    out->free_in_us = out->left ? 0 : mg_limit_units_to_us(mg_bucket_wait(bucket, now, cost, capacity));
    out->full_in_us = left.full_in_us;
}

static void read_count(const struct mg_limit_row *row, const struct mg_limit_set *set, struct mg_limit_figures *out)
{
    out->limit = out->room = set->concurrency;
    out->used = row ? mg_limit_in_flight(row) : 0;
    out->left = out->room - MG_MIN(out->used, out->room);
    out->free_in_us = out->left ? 0 : UINT64_MAX;
}

static void read_money(const struct mg_limit_row *row, const struct mg_limit_set *set, enum mg_period period, uint64_t wall_us,
                       struct mg_limit_figures *out)
{
    out->limit = out->room = set->budget_microusd[period];
    out->soft = set->soft_microusd[period];
    uint64_t all = row ? mg_limit_spent(row, period, wall_us) : 0;
    out->used = row ? mg_limit_settled(&row->money[period], mg_period_day(period, wall_us)) : 0;
    out->reserved = all - MG_MIN(out->used, all);
    out->left = out->room - MG_MIN(all, out->room);
    out->full_in_us = mg_period_end_us(period, wall_us) - wall_us;
    out->free_in_us = out->left ? 0 : out->full_in_us;
}

static bool has(const struct mg_limit_set *set, int slot)
{
    switch (mg_limit_slot_kind(slot)) {
    case MG_LIMIT_REQUESTS: return set->requests_per_minute > 0;
    case MG_LIMIT_TOKENS: return set->tokens_per_minute > 0;
    case MG_LIMIT_CONCURRENCY: return set->concurrency > 0;
    case MG_LIMIT_BUDGET: break;
    }
    return set->budget_microusd[mg_limit_slot_period(slot)] > 0;
}

bool mg_limit_read(const struct mg_limit_row *row, const struct mg_limit_set *set, int slot, uint64_t now_us, uint64_t wall_us,
                   struct mg_limit_figures *out_figures)
{
    static const struct mg_bucket unused;
    struct mg_limit_figures figures = {.refused = row ? atomic_load_explicit(&row->refused[slot], memory_order_relaxed) : 0};
    uint64_t now = row ? mg_limit_units(row, now_us) : 0;
    if (!has(set, slot))
        return false;
    switch (mg_limit_slot_kind(slot)) {
    case MG_LIMIT_REQUESTS:
        figures.room = set->burst;
        read_bucket(row ? &row->requests : &unused, now, set->requests_per_minute, mg_limit_request_room(set),
                    mg_limit_request_cost(set), &figures);
        break;
    case MG_LIMIT_TOKENS:
        figures.room = set->tokens_per_minute;
        read_bucket(row ? &row->tokens : &unused, now, set->tokens_per_minute, MG_BUCKET_MINUTE,
                    mg_bucket_cost(1, set->tokens_per_minute), &figures);
        break;
    case MG_LIMIT_CONCURRENCY: read_count(row, set, &figures); break;
    case MG_LIMIT_BUDGET: read_money(row, set, mg_limit_slot_period(slot), wall_us, &figures); break;
    }
    *out_figures = figures;
    return true;
}

void mg_limit_path(char out[MG_LIMIT_PATH_BYTES], const char *workflow, enum mg_limit_scope scope, const char *field,
                   enum mg_limit_kind kind)
{
    const char *name = mg_limit_kind_name(kind);
    char where[MG_LIMIT_PATH_BYTES] = "";
    if (workflow && *workflow)
        snprintf(where, sizeof where, "workflows.%.200s.", workflow);
    if (scope == MG_SCOPE_KEY)
        snprintf(out, MG_LIMIT_PATH_BYTES, "%.220slimits.per_key.%s", where, name);
    else if (scope == MG_SCOPE_METADATA)
        snprintf(out, MG_LIMIT_PATH_BYTES, "%.220slimits.per_metadata.%.60s.%s", where, field, name);
    else
        snprintf(out, MG_LIMIT_PATH_BYTES, "%.220slimits.%s", where, name);
}
