/* Plans that a policy allowed to be used again: by generation, worker and route. */
#include "base/mem.h"
#include "gateway/exchange.h"

void mg_plan_unref(struct mg_cached_plan *cached)
{
    if (!cached || --cached->refs > 0)
        return;
    mg_arena_fini(&cached->arena);
    mg_free(cached);
}

void mg_live_drop_plans(struct mg_live *live)
{
    int count = mg_routing_count(live->generation->routing);
    for (int i = 0; live->plans && i < count; i++)
        mg_plan_unref(live->plans[i]);
    mg_free(live->plans);
    live->plans = NULL;
}

void mg_plan_keep(struct mg_exchange *x, int index)
{
    if (index < 0 || !x->plan->cache_key.len || !x->plan->cache_ttl_ms)
        return;
    struct mg_cached_plan *cached = mg_new(struct mg_cached_plan);
    mg_arena_init(&cached->arena, 512);
    cached->refs = 1;
    cached->until_us = mg_exchange_now(x) + (uint64_t)x->plan->cache_ttl_ms * 1000;
    cached->plan = *x->plan;
    struct mg_plan *plan = &cached->plan;
    plan->explain = mg_arena_dup(&cached->arena, plan->explain);
    plan->sticky = mg_arena_dup(&cached->arena, plan->sticky);
    plan->exhausted_code = mg_arena_dup(&cached->arena, plan->exhausted_code);
    for (int i = 0; i < plan->count; i++)
        plan->entries[i].patch = mg_arena_dup(&cached->arena, plan->entries[i].patch);
    if (!x->live->plans)
        x->live->plans = mg_new_array(struct mg_cached_plan *, (size_t)mg_routing_count(x->live->generation->routing));
    mg_plan_unref(x->live->plans[index]);
    x->live->plans[index] = cached;
}

/* A cached plan was made without this request's session, deadline or figures: it is only used when the policy said so,
 * and its deadline is the workflow's, which mg_relay_start() cuts to this request's. */
bool mg_plan_use_cached(struct mg_exchange *x, int index)
{
    struct mg_cached_plan *cached = index >= 0 && x->live->plans ? x->live->plans[index] : NULL;
    if (!cached || cached->until_us < mg_exchange_now(x))
        return false;
    cached->refs++;
    x->cached = cached;
    x->candidates = x->route->candidates;
    return true;
}
