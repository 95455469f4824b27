/* Whom to call next, within the bounds that no policy can lift. */
#include "chat/asked.h"
#include "relay/caller_keys.h"
#include "relay/rates.h"
#include "relay/relay_parts.h"
#include "relay/translated.h"

/* ---- bounds no policy can lift --------------------------------------------------------------- */

const char *mg_relay_spent(const struct mg_relay *relay)
{
    if (now_us(relay) >= relay->deadline_us)
        return "the deadline has passed";
    if (relay->made >= relay->max_attempts)
        return "the attempt budget is used up";
    return NULL;
}

static uint64_t money_limit(const struct mg_relay *relay)
{
    uint64_t flow = workflow(relay)->max_cost_microusd, plan = relay->call.plan->max_cost_microusd;
    return flow && plan ? MG_MIN(flow, plan) : MG_MAX(flow, plan);
}

static uint64_t tokens_wanted(const struct mg_relay *relay)
{
    const struct mg_call *call = relay->call.call;
    struct mg_asked asked = mg_asked_of(call->dialect, call->request.body);
    return asked.tokens * asked.answers;
}

/* The input and the most output it asks for, at the target's prices. */
static double estimate_microusd(const struct mg_relay *relay, int candidate)
{
    double in, out;
    if (!mg_candidate_rates(&relay->call.candidates[candidate], relay->call.call, &in, &out))
        return 0;
    return ((double)mg_request_tokens_estimate(&relay->call.call->request) * in + (double)tokens_wanted(relay) * out) / 1e6;
}

/* What has begun may yet cost all it was let in for. */
static double running_microusd(const struct mg_relay *relay)
{
    double sum = relay->first.busy ? estimate_microusd(relay, relay->first.candidate) : 0;
    for (int i = 0; i < MG_MAX_HEDGES && relay->beside[i]; i++)
        sum += relay->beside[i]->busy ? estimate_microusd(relay, relay->beside[i]->candidate) : 0;
    return sum;
}

/* What has no price is let in where only a plan bounds the money: its author sees who has none. NULL: it is not too dear. */
static const char *too_dear(const struct mg_relay *relay, int candidate)
{
    uint64_t limit = money_limit(relay);
    double in, out;
    if (!limit)
        return NULL;
    if (!mg_candidate_rates(&relay->call.candidates[candidate], relay->call.call, &in, &out))
        return workflow(relay)->max_cost_microusd ? "nobody knows its price, and max_cost_usd holds" : NULL;
    double sum = (double)relay->spent_microusd + running_microusd(relay) + estimate_microusd(relay, candidate);
    return sum > (double)limit ? "it would cost more than the money budget has left" : NULL;
}

const struct mg_caller_key *mg_relay_caller_key(const struct mg_relay *relay, int candidate)
{
    return mg_caller_keys_find(relay->call.call->caller_keys, mg_view_cstr(relay->call.candidates[candidate].provider));
}

/* Of a key that is not the project's nothing is known beforehand. */
const char *mg_relay_reach_state(const struct mg_relay *relay, int candidate, uint64_t *out_until_us)
{
    const struct mg_caller_key *key = mg_relay_caller_key(relay, candidate);
    if (!key)
        return mg_reach_state(&relay->call.route->reaches[candidate], now_us(relay), out_until_us);
    if (out_until_us)
        *out_until_us = 0;
    return "closed";
}

/* ---- choosing the next target ---------------------------------------------------------------- */

static mg_view sticky(const struct mg_relay *relay)
{
    return relay->call.plan->sticky.len ? relay->call.plan->sticky : relay->call.call->session;
}

/* Whose prompt cache a key has: the conversation's, or at least this request's, whose repeats are for the same key. */
static mg_view affinity(const struct mg_relay *relay)
{
    mg_view conversation = sticky(relay);
    return conversation.len ? conversation : mg_view_cstr(timeline(relay)->id);
}

/* Not to be drawn at all: what runs already, what was called or never refused in the last round, too small a window. */
static uint64_t excluded(struct mg_relay *relay)
{
    uint64_t out = relay->last_chance ? ~relay->refused | relay->tried : 0;
    if (relay->first.busy)
        out |= bit(relay->first.candidate);
    for (int i = 0; i < MG_MAX_HEDGES && relay->beside[i]; i++)
        out |= relay->beside[i]->busy ? bit(relay->beside[i]->candidate) : 0;
    for (int i = 0; i < relay->call.route->count && relay->window_above; i++)
        if (target_of(relay, i)->context_window <= relay->window_above)
            out |= bit(i);
    return out;
}

void mg_relay_skip(struct mg_relay *relay, int candidate, const char *why)
{
    mg_timeline_note(timeline(relay), now_us(relay), "skip", "%s: %s", target_of(relay, candidate)->id, why);
}

/* A repeat on a target that was called already is paid from its retry budget. Free are the first call to each, another
 * key of it (that one never failed), a repaired request and a prefill: few of them happen. */
static bool may_repeat(struct mg_relay *relay, int candidate)
{
    struct mg_retry_budget *budget = relay->call.route->reaches[candidate].budget;
    const struct mg_config_retry_budget *rules = &workflow(relay)->retry_budget;
    bool called = relay->called & bit(candidate), other_key = candidate == relay->keys_of && relay->avoid_keys;
    bool free_once = candidate == relay->free_of;
    if (!called)
        mg_retry_budget_earn(budget, rules);
    relay->free_of = NO_CANDIDATE;
    return !called || other_key || free_once || mg_retry_budget_take(budget, rules, now_us(relay));
}

/* The place that was waited for is not used after all. */
void mg_relay_give_back_place(struct mg_relay *relay)
{
    if (!relay->placed)
        return;
    const struct mg_reach *reach = &relay->call.route->reaches[relay->waiting_for];
    relay->placed = false;
    mg_gate_leave(reach->gate, &reach->target->gate, reach->share, 0, true, now_us(relay));
}

/* What the client reads should nobody be called at all. */
static void note_refusal(struct mg_relay *relay, int candidate, enum mg_class class_, const char *text)
{
    if (relay->made > 0)
        return;
    relay->refused_class = class_;
    relay->refused_text = mg_arena_printf(arena(relay), "%s: %s", target_of(relay, candidate)->id, text);
}

static bool give_up_pass(struct mg_relay *relay, int candidate, struct mg_find *find, const char *why)
{
    mg_reach_abandon(&find->pass, now_us(relay), relay->call.worker);
    mg_relay_skip(relay, candidate, why);
    return false;
}

/* The target would take it. Do the retry budget and the limits? */
static bool afford(struct mg_relay *relay, int candidate, struct mg_find *find)
{
    struct mg_refusal refusal = {.class_ = MG_CLASS_rate_limited};
    relay->placed = false;             /* the pass has it now */
    if (!may_repeat(relay, candidate))
        return give_up_pass(relay, candidate, find, "its retry budget is used up");
    if (!relay->call.ops->may_call || relay->call.ops->may_call(relay->call.arg, candidate, &refusal))
        return true;
    note_refusal(relay, candidate, refusal.class_, refusal.text);
    return give_up_pass(relay, candidate, find, refusal.text);
}

/* Not among the refused ones, who are asked again: a human decides when it is back. */
static bool is_off(struct mg_relay *relay, int candidate)
{
    mg_view why;
    if (!relay->call.ops->is_off || !relay->call.ops->is_off(relay->call.arg, candidate, &why))
        return false;
    if (relay->placed && candidate == relay->waiting_for)
        mg_relay_give_back_place(relay);
    relay->refused &= ~bit(candidate);
    mg_relay_skip(relay, candidate, why.ptr);
    note_refusal(relay, candidate, MG_CLASS_overloaded, why.ptr);
    return true;
}

/* Its provider is called with keys of callers only, and this one brought none for it. */
static bool lacks_key(struct mg_relay *relay, int candidate)
{
    const char *provider = relay->call.candidates[candidate].provider;
    if (relay->call.route->reaches[candidate].provider->caller_keys != MG_CALLER_KEYS_REQUIRE ||
        mg_caller_keys_find(relay->call.call->caller_keys, mg_view_cstr(provider)))
        return false;
    mg_view why = mg_arena_printf(arena(relay), "it is called with a key of the client's only: " MG_CALLER_HEADER "%s", provider);
    if (relay->placed && candidate == relay->waiting_for)
        mg_relay_give_back_place(relay);
    relay->refused &= ~bit(candidate);
    mg_relay_skip(relay, candidate, why.ptr);
    return true;
}

/* What its dialect has no word for, or its model no eyes for, it has none for in the next round either. */
static bool lacks_words(struct mg_relay *relay, int candidate)
{
    mg_view why = MG_VIEW("the request refers to what another provider keeps");
    bool elsewhere = relay->call.pinned && strcmp(relay->call.candidates[candidate].provider, relay->call.pinned) != 0;
    if (!elsewhere && mg_relay_reads(relay, candidate, &why) && mg_relay_can_say(relay, candidate, &why))
        return false;
    if (relay->placed && candidate == relay->waiting_for)
        mg_relay_give_back_place(relay);
    relay->refused &= ~bit(candidate);
    mg_relay_skip(relay, candidate, why.ptr);
    return true;
}

static bool consider(struct mg_relay *relay, int candidate, struct mg_find *find)
{
    if (is_off(relay, candidate) || lacks_key(relay, candidate) || lacks_words(relay, candidate))
        return false;
    const struct mg_caller_key *key = mg_relay_caller_key(relay, candidate);
    const struct mg_reach *reach = &relay->call.route->reaches[candidate];
    struct mg_reach_ask ask = {
        .now_us = now_us(relay),
        .random = mg_random_unit(),
        .sticky = affinity(relay),
        .tokens = mg_request_tokens_estimate(&relay->call.call->request),
        .by_caller = key != NULL,
        .bucket = key ? key->bucket : 0,
        .avoid = relay->call.first_key ? ~1u : candidate == relay->keys_of ? relay->avoid_keys : 0,
        .last_chance = relay->last_chance,
        .skip_gate = relay->placed && candidate == relay->waiting_for,
    };
    struct mg_refusal refusal;
    const char *dear = too_dear(relay, candidate);
    if (dear) {
        mg_relay_skip(relay, candidate, dear);
        return false;
    }
    enum mg_reach_why why = mg_reach_take(reach, &ask, &find->pass, &refusal);
    if (why == MG_REACH_OK)
        return afford(relay, candidate, find);
    if (ask.skip_gate)
        mg_relay_give_back_place(relay);
    relay->refused |= bit(candidate);
    if (why == MG_REACH_FULL && find->full == NO_CANDIDATE) {
        find->full = candidate;        /* perhaps it is waited for: then that is what is noted */
        memcpy(find->full_text, refusal.text, sizeof find->full_text);
    } else {
        mg_relay_skip(relay, candidate, refusal.text);
    }
    note_refusal(relay, candidate, refusal.class_, refusal.text);
    return false;
}

/* Whoever is drawn by price has one. */
static void look_up_rates(struct mg_relay *relay)
{
    double in, out;
    for (int i = 0; entry(relay)->pick == MG_PICK_CHEAPEST && i < entry(relay)->choice_count; i++)
        (void)mg_candidate_rates(&relay->call.candidates[entry(relay)->choices[i].candidate], relay->call.call, &in, &out);
}

bool mg_relay_seek(struct mg_relay *relay, struct mg_find *find)
{
    look_up_rates(relay);
    uint64_t avoid = excluded(relay);
    find->full = NO_CANDIDATE;
    for (;;) {
        find->candidate = relay->again;
        if (find->candidate == NO_CANDIDATE)
            find->candidate = mg_plan_draw(entry(relay), relay->call.candidates, sticky(relay), mg_random_unit(),
                                           relay->tried, avoid);
        if (find->candidate == NO_CANDIDATE)
            return false;
        if (consider(relay, find->candidate, find))
            return true;
        avoid |= bit(find->candidate);
        relay->again = NO_CANDIDATE;
        if (entry(relay)->choice_count == 1 || find->candidate >= 64)
            return false;
    }
}

void mg_relay_next_entry(struct mg_relay *relay)
{
    relay->entry++;
    relay->tries = 0;
    relay->again = NO_CANDIDATE;
}
