#include "relay/plan.h"

#include <math.h>
#include <sys/random.h>

#include "base/hash.h"
#include "base/mem.h"

/* One draw in fifty of those that go by figures takes what the figures speak against: a target that became fast again
 * would else never be asked, and so never be known to be. */
static const double EXPLORE = 0.02;

static bool is_marked(uint64_t marks, int candidate)
{
    return candidate < 64 && (marks >> candidate & 1);
}

static bool eligible(const struct mg_plan_choice *choice, uint64_t not_these)
{
    return choice->weight > 0 && !is_marked(not_these, choice->candidate);
}

static double total_weight(const struct mg_plan_entry *entry, uint64_t not_these)
{
    double sum = 0;
    for (int i = 0; i < entry->choice_count; i++)
        if (eligible(&entry->choices[i], not_these))
            sum += entry->choices[i].weight;
    return sum;
}

static int draw_weighted(const struct mg_plan_entry *entry, double random, uint64_t not_these)
{
    double at = random * total_weight(entry, not_these);
    int last = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        if (!eligible(&entry->choices[i], not_these))
            continue;
        last = entry->choices[i].candidate;
        at -= entry->choices[i].weight;
        if (at < 0)
            break;
    }
    return last;
}

/* Rendezvous hashing (Thaler and Ravishankar, 1998): each candidate scores the key and the best score wins, so that
 * taking one away moves only its own keys. A weight of 0 takes a candidate out; other weights do not count here. */
static int draw_hash(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, mg_view sticky,
                     uint64_t not_these)
{
    uint64_t key = mg_fingerprint(sticky), best_score = 0;
    int best = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        if (!eligible(&entry->choices[i], not_these))
            continue;
        uint64_t mixed[2] = {key, mg_fingerprint(mg_view_cstr(candidates[entry->choices[i].candidate].target->id))};
        uint64_t score = mg_fingerprint(mg_view_of((const char *)mixed, sizeof mixed));
        if (best < 0 || score > best_score) {
            best = entry->choices[i].candidate;
            best_score = score;
        }
    }
    return best;
}

static int draw_least(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, uint64_t not_these)
{
    int best = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        int at = entry->choices[i].candidate;
        if (eligible(&entry->choices[i], not_these) && (best < 0 || candidates[at].inflight < candidates[best].inflight))
            best = at;
    }
    return best;
}

/* Another number of [0, 1) from the lower bits of one. */
static double rest_of(double random)
{
    double scaled = random * 1048576.0;
    return scaled - (double)(uint64_t)scaled;
}

/* What waiting for the first token may be expected to cost there: latency, times those who wait already, times the tries
 * until one is good. A target that was never called is as fast as `unknown_us`. */
static double wait_at(const struct mg_candidate *candidate, uint64_t unknown_us)
{
    double latency_us = (double)MG_MAX(candidate->ewma_us ? candidate->ewma_us : unknown_us, 1u);
    return latency_us * (candidate->inflight + 1.0) / MG_MAX(1.0 - candidate->error_rate, 0.05);
}

static bool is_faster(const struct mg_candidate *a, const struct mg_candidate *b)
{
    return wait_at(a, b->ewma_us) < wait_at(b, a->ewma_us);
}

/* The power of two choices (Mitzenmacher, 2001): nearly as even as asking for the best, and no herd runs to it. */
static int draw_p2c(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, double random,
                    uint64_t not_these)
{
    int one = draw_weighted(entry, random, not_these);
    double again = rest_of(random);
    int other = one < 0 ? -1 : draw_weighted(entry, again, one < 64 ? not_these | 1ull << one : not_these);
    if (other < 0 || other == one)
        return one;
    bool faster = is_faster(&candidates[other], &candidates[one]);
    return faster == (rest_of(again) >= EXPLORE) ? other : one;
}

static double price_of(const struct mg_candidate *candidate)
{
    return candidate->priced ? candidate->price_in_microusd + candidate->price_out_microusd : HUGE_VAL;
}

/* Within the bound by price, above it by latency; what costs the same by the expected wait. */
static bool is_cheaper(const struct mg_candidate *a, const struct mg_candidate *b, uint64_t bound_us)
{
    bool a_late = a->ewma_us > bound_us, b_late = b->ewma_us > bound_us;
    if (a_late != b_late)
        return b_late;
    if (!a_late && price_of(a) != price_of(b))
        return price_of(a) < price_of(b);
    return is_faster(a, b);
}

static int draw_cheapest(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, double random,
                         uint64_t not_these)
{
    bool bound = entry->latency_bound_ms > 0 && random >= EXPLORE;
    uint64_t bound_us = bound ? (uint64_t)entry->latency_bound_ms * 1000 : UINT64_MAX;
    int best = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        int at = entry->choices[i].candidate;
        if (eligible(&entry->choices[i], not_these) &&
            (best < 0 || is_cheaper(&candidates[at], &candidates[best], bound_us)))
            best = at;
    }
    return best;
}

int mg_plan_draw(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, mg_view sticky, double random,
                 uint64_t tried, uint64_t avoid)
{
    if (entry->choice_count == 1)
        return is_marked(avoid, entry->choices[0].candidate) ? -1 : entry->choices[0].candidate;
    uint64_t not_these = total_weight(entry, tried | avoid) > 0 ? tried | avoid : avoid;
    if (entry->pick == MG_PICK_HASH && sticky.len)
        return draw_hash(entry, candidates, sticky, not_these);
    if (entry->pick == MG_PICK_LEAST_INFLIGHT)
        return draw_least(entry, candidates, not_these);
    if (entry->pick == MG_PICK_P2C)
        return draw_p2c(entry, candidates, random, not_these);
    if (entry->pick == MG_PICK_CHEAPEST)
        return draw_cheapest(entry, candidates, random, not_these);
    return draw_weighted(entry, random, not_these);
}

bool mg_plan_wants_figures(const struct mg_plan *plan)
{
    for (int i = 0; i < plan->count; i++) {
        enum mg_pick pick = plan->entries[i].pick;
        if (pick == MG_PICK_LEAST_INFLIGHT || pick == MG_PICK_P2C || pick == MG_PICK_CHEAPEST)
            return true;
    }
    return false;
}

uint64_t mg_plan_backoff_ms(const struct mg_plan_entry *entry, uint32_t tries_done, uint64_t retry_after_ms, double random)
{
    uint64_t ceiling = entry->backoff_base_ms;
    for (uint32_t i = 1; i < tries_done && ceiling < entry->backoff_max_ms; i++)
        ceiling *= 2;
    ceiling = MG_MIN(ceiling, (uint64_t)entry->backoff_max_ms);
    double share = 1.0 - entry->backoff_jitter * random;
    uint64_t wait = (uint64_t)((double)ceiling * share);
    return MG_MAX(wait, retry_after_ms);
}

double mg_random_unit(void)
{
    static _Thread_local uint64_t state;
    if (!state && getrandom(&state, sizeof state, 0) != (ssize_t)sizeof state)
        state = (uint64_t)(uintptr_t)&state;
    state += 0x9e3779b97f4a7c15u;      /* splitmix64: Steele, Lea, Flood (2014) */
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1.0p-53;
}
