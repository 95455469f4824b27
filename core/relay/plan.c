#include "relay/plan.h"

#include <sys/random.h>

#include "base/hash.h"
#include "base/mem.h"

static bool is_tried(uint64_t tried, int candidate)
{
    return candidate < 64 && (tried >> candidate & 1);
}

static bool eligible(const struct mg_plan_choice *choice, uint64_t tried)
{
    return choice->weight > 0 && !is_tried(tried, choice->candidate);
}

static double total_weight(const struct mg_plan_entry *entry, uint64_t tried)
{
    double sum = 0;
    for (int i = 0; i < entry->choice_count; i++)
        if (eligible(&entry->choices[i], tried))
            sum += entry->choices[i].weight;
    return sum;
}

static int draw_weighted(const struct mg_plan_entry *entry, double random, uint64_t tried)
{
    double at = random * total_weight(entry, tried);
    int last = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        if (!eligible(&entry->choices[i], tried))
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
                     uint64_t tried)
{
    uint64_t key = mg_fingerprint(sticky), best_score = 0;
    int best = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        if (!eligible(&entry->choices[i], tried))
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

static int draw_least(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, uint64_t tried)
{
    int best = -1;
    for (int i = 0; i < entry->choice_count; i++) {
        int at = entry->choices[i].candidate;
        if (eligible(&entry->choices[i], tried) && (best < 0 || candidates[at].inflight < candidates[best].inflight))
            best = at;
    }
    return best;
}

int mg_plan_draw(const struct mg_plan_entry *entry, const struct mg_candidate *candidates, mg_view sticky, double random,
                 uint64_t tried)
{
    if (entry->choice_count == 1)
        return entry->choices[0].candidate;
    if (total_weight(entry, tried) <= 0)
        tried = 0;
    int drawn = -1;
    if (entry->pick == MG_PICK_HASH && sticky.len)
        drawn = draw_hash(entry, candidates, sticky, tried);
    else if (entry->pick == MG_PICK_LEAST_INFLIGHT)
        drawn = draw_least(entry, candidates, tried);
    else
        drawn = draw_weighted(entry, random, tried);
    return drawn >= 0 ? drawn : entry->choices[0].candidate;
}

bool mg_plan_wants_figures(const struct mg_plan *plan)
{
    for (int i = 0; i < plan->count; i++)
        if (plan->entries[i].pick == MG_PICK_LEAST_INFLIGHT)
            return true;
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
