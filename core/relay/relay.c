/* Read it in the order of the drawing in relay.h: the walk (next_attempt, seek, consider), lanes that hand on (on_head …),
 * what a verdict leads to (failed, effective, act), hedges, rescue, and the owner's side. */
#include "relay/relay.h"

#include <assert.h>

#include "base/mem.h"

enum {
    WAIT_MAX_MS = 60000,               /* for a key that cools down: nobody waits longer inside one call */
    FULL_AGAIN_MS = 250,               /* a full target is looked at again while a key cools down */
    HEDGE_WANTS_CALLS = 20,            /* fewer say nothing about a p95 */
    NO_CANDIDATE = -1
};

static void next_attempt(struct mg_relay *relay);
static void finish(struct mg_relay *relay);
static void on_hedge(struct mg_timer *timer);

static struct mg_timeline *timeline(struct mg_relay *relay)
{
    return relay->call.call->timeline;
}

static struct mg_arena *arena(struct mg_relay *relay)
{
    return relay->call.call->arena;
}

static struct mg_loop *loop(const struct mg_relay *relay)
{
    return relay->call.call->loop;
}

static uint64_t now_us(const struct mg_relay *relay)
{
    return mg_loop_now_us(loop(relay));
}

static const struct mg_config_workflow *workflow(const struct mg_relay *relay)
{
    return relay->call.route->workflow;
}

static const struct mg_plan_entry *entry(const struct mg_relay *relay)
{
    return &relay->call.plan->entries[relay->entry];
}

static const struct mg_config_target *target_of(const struct mg_relay *relay, int candidate)
{
    return relay->call.candidates[candidate].target;
}

static uint64_t bit(int candidate)
{
    return candidate < 64 ? 1ull << candidate : 0;
}

static uint64_t left_ms(const struct mg_relay *relay)
{
    uint64_t now = now_us(relay);
    return relay->deadline_us > now ? (relay->deadline_us - now) / 1000 : 0;
}

static void set_state(struct mg_relay *relay, enum mg_relay_state to)
{
    static const unsigned char before[] = {
        [MG_RELAY_IDLE] = 0xff,
        [MG_RELAY_SEEKING] = 1 << MG_RELAY_IDLE | 1 << MG_RELAY_WAITING | 1 << MG_RELAY_RUNNING | 1 << MG_RELAY_SEEKING,
        [MG_RELAY_WAITING] = 1 << MG_RELAY_SEEKING | 1 << MG_RELAY_RUNNING,
        [MG_RELAY_RUNNING] = 1 << MG_RELAY_SEEKING | 1 << MG_RELAY_WAITING,
        [MG_RELAY_ENDING] = 1 << MG_RELAY_SEEKING | 1 << MG_RELAY_RUNNING | 1 << MG_RELAY_WAITING,
    };
    assert(before[to] & 1 << relay->state);
    relay->state = to;
}

static struct mg_lane *other_lane(struct mg_relay *relay, const struct mg_lane *lane)
{
    struct mg_lane *other = lane == &relay->first ? relay->second : &relay->first;
    return other && other->busy ? other : NULL;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_deferred_done(struct mg_defer *defer)
{
    struct mg_relay *relay = mg_container_of(defer, struct mg_relay, done);
    set_state(relay, MG_RELAY_IDLE);
    relay->call.ops->on_done(relay->call.arg);
}

static void finish(struct mg_relay *relay)
{
    mg_timer_cancel(loop(relay), &relay->hedge);
    set_state(relay, MG_RELAY_ENDING);
    mg_loop_defer(loop(relay), &relay->done, on_deferred_done);
}

static void give_up(struct mg_relay *relay, const char *why)
{
    relay->result.ok = false;
    mg_relay_exhausted(relay, why);
    finish(relay);
}

/* ---- bounds no policy can lift --------------------------------------------------------------- */

static const char *spent(const struct mg_relay *relay)
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
    const struct mg_request *request = &relay->call.call->request;
    uint64_t tokens;
    if (mg_view_u64(mg_request_field(request, MG_VIEW("max_completion_tokens")), &tokens) ||
        mg_view_u64(mg_request_field(request, MG_VIEW("max_tokens")), &tokens))
        return MG_MIN(tokens, UINT64_C(1) << 32);
    return 0;
}

/* The input and the most output it asks for, at the target's prices, on top of what was spent. */
static bool too_dear(const struct mg_relay *relay, int candidate)
{
    const struct mg_config_target *target = target_of(relay, candidate);
    uint64_t limit = money_limit(relay);
    if (!limit || !target->priced)
        return false;
    double cost = (double)mg_request_tokens_estimate(&relay->call.call->request) * target->price_in_microusd +
                  (double)tokens_wanted(relay) * target->price_out_microusd;
    return (double)relay->spent_microusd + cost / 1e6 > (double)limit;
}

/* ---- choosing the next target ---------------------------------------------------------------- */

static mg_view sticky(const struct mg_relay *relay)
{
    return relay->call.plan->sticky.len ? relay->call.plan->sticky : relay->call.call->session;
}

/* Not to be drawn at all: what runs already, what was called or never refused in the last round, too small a window. */
static uint64_t excluded(struct mg_relay *relay)
{
    uint64_t out = relay->last_chance ? ~relay->refused | relay->tried : 0;
    if (relay->first.busy)
        out |= bit(relay->first.candidate);
    for (int i = 0; i < relay->call.route->count && relay->window_above; i++)
        if (target_of(relay, i)->context_window <= relay->window_above)
            out |= bit(i);
    return out;
}

static void skip(struct mg_relay *relay, int candidate, const char *why)
{
    mg_timeline_note(timeline(relay), now_us(relay), "skip", "%s: %s", target_of(relay, candidate)->id, why);
}

/* A repeat on a target that was called already is paid from its retry budget. Free are the first call to each, another
 * key of it (that one never failed), a repaired request and a prefill: both happen once. */
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
static void give_back_place(struct mg_relay *relay)
{
    if (!relay->placed)
        return;
    const struct mg_reach *reach = &relay->call.route->reaches[relay->waiting_for];
    relay->placed = false;
    mg_gate_leave(reach->gate, &reach->target->gate, reach->share, 0, true, now_us(relay));
}

/* What is asked for, and what it found. */
struct find {
    struct mg_pass pass;               /* held when found */
    int candidate;
    int full;                          /* the first candidate whose gate was full; NO_CANDIDATE: none */
};

static bool consider(struct mg_relay *relay, int candidate, struct find *find)
{
    const struct mg_reach *reach = &relay->call.route->reaches[candidate];
    struct mg_reach_ask ask = {
        .now_us = now_us(relay),
        .random = mg_random_unit(),
        .sticky = sticky(relay),
        .tokens = mg_request_tokens_estimate(&relay->call.call->request),
        .avoid = candidate == relay->keys_of ? relay->avoid_keys : 0,
        .last_chance = relay->last_chance,
        .skip_gate = relay->placed && candidate == relay->waiting_for,
    };
    struct mg_refusal refusal;
    if (too_dear(relay, candidate)) {
        skip(relay, candidate, "it would cost more than the money budget has left");
        return false;
    }
    enum mg_reach_why why = mg_reach_take(reach, &ask, &find->pass, &refusal);
    if (why == MG_REACH_OK && may_repeat(relay, candidate)) {
        relay->placed = false;         /* the pass has it now */
        return true;
    }
    if (why == MG_REACH_OK) {
        mg_reach_abandon(&find->pass, now_us(relay), relay->call.worker);
        relay->placed = false;
        skip(relay, candidate, "its retry budget is used up");
        return false;
    }
    if (ask.skip_gate)
        give_back_place(relay);
    relay->refused |= bit(candidate);
    if (why == MG_REACH_FULL && find->full == NO_CANDIDATE)
        find->full = candidate;
    skip(relay, candidate, refusal.text);
    return false;
}

static bool seek(struct mg_relay *relay, struct find *find)
{
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

static void next_entry(struct mg_relay *relay)
{
    relay->entry++;
    relay->tries = 0;
    relay->again = NO_CANDIDATE;
}

/* ---- waiting: for a place, or for time to pass ----------------------------------------------- */

static void on_place(struct mg_gate_wait *wait, bool entered)
{
    struct mg_relay *relay = mg_container_of(wait, struct mg_relay, place);
    relay->placed = entered;
    if (entered) {
        relay->again = relay->waiting_for;
    } else {
        skip(relay, relay->waiting_for, "no place became free in time");
        next_entry(relay);
    }
    next_attempt(relay);
}

static bool wait_for_place(struct mg_relay *relay, int candidate)
{
    const struct mg_reach *reach = &relay->call.route->reaches[candidate];
    const struct mg_config_gate *rules = &reach->target->gate;
    uint64_t until = MG_MIN(now_us(relay) + (uint64_t)rules->queue_ms * 1000, relay->deadline_us);
    if (!mg_gate_wait(reach->gate, rules, reach->share, loop(relay), &relay->place, until, on_place))
        return false;
    relay->waiting_for = candidate;
    relay->wait_since_us = now_us(relay);
    set_state(relay, MG_RELAY_WAITING);
    return true;
}

static void on_pause(struct mg_timer *timer)
{
    next_attempt(mg_container_of(timer, struct mg_relay, pause));
}

static void pause_ms(struct mg_relay *relay, uint64_t ms)
{
    relay->wait_since_us = now_us(relay);
    set_state(relay, MG_RELAY_WAITING);
    mg_timer_start(loop(relay), &relay->pause, ms, on_pause);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static const struct mg_attempt_ops attempt_ops;

static uint32_t hedge_after_ms(const struct mg_relay *relay, const struct mg_lane *lane)
{
    uint32_t after_ms = relay->call.plan->entries[lane->entry].hedge_after_ms;
    if (after_ms != MG_HEDGE_P95)
        return after_ms;
    struct mg_stats_figures seen;
    mg_stats_read(lane->pass.reach->stats, &seen);
    return seen.calls >= HEDGE_WANTS_CALLS ? (uint32_t)MG_MIN(seen.p95_us / 1000 + 1, UINT64_C(600000)) : 0;
}

static void arm_hedge(struct mg_relay *relay, struct mg_lane *lane)
{
    uint32_t after_ms = relay->hedges < relay->call.plan->max_hedges && !relay->committed ? hedge_after_ms(relay, lane) : 0;
    if (after_ms)
        mg_timer_start(loop(relay), &relay->hedge, after_ms, on_hedge);
}

static uint64_t waited_us(struct mg_relay *relay)
{
    uint64_t since = relay->wait_since_us;
    relay->wait_since_us = 0;
    return since ? now_us(relay) - since : 0;
}

static mg_err start_lane(struct mg_relay *relay, struct mg_lane *lane, const struct find *find)
{
    relay->tried |= bit(find->candidate);
    relay->called |= bit(find->candidate);
    relay->made++;
    struct mg_lane_start start = {
        .entry = relay->entry,
        .candidate = find->candidate,
        .try_number = ++relay->tries,
        .reason = relay->reason,
        .pass = find->pass,
        .why = relay->why,
        .waited_us = waited_us(relay),
        .request = relay->prefill ? relay->prefill : &relay->call.call->request,
        .repairs = relay->repairs,
        .ops = &attempt_ops,
    };
    relay->why = MG_VIEW_NONE;
    relay->repairs = 0;
    return mg_lane_start(lane, &start);
}

static void not_built(struct mg_relay *relay, const struct mg_lane *lane, mg_err err)
{
    relay->result = (struct mg_relay_result){
        .class_ = MG_CLASS_server_error,
        .status = mg_err_status(err),
        .code = MG_VIEW("attempt_not_built"),
        .message = mg_arena_printf(arena(relay), "The request to %s could not be built: %s.",
                                   target_of(relay, lane->candidate)->id, mg_err_text(err)),
    };
    finish(relay);
}

/* The next attempt of the line: it answers, and what another one said is void unless it is with the client. */
static void start_found(struct mg_relay *relay, const struct find *find)
{
    relay->answering = &relay->first;
    set_state(relay, MG_RELAY_RUNNING);
    if (relay->made > 0 && !relay->committed) {
        relay->rescue = NULL;
        relay->call.ops->on_attempt(relay->call.arg);
    }
    mg_err err = start_lane(relay, &relay->first, find);
    relay->again = NO_CANDIDATE;
    if (err != MG_OK)
        not_built(relay, &relay->first, err);
    else
        arm_hedge(relay, &relay->first);
}

/* The targets whose keys only cool down, and when the first of them can be used again. */
static uint64_t cooling(const struct mg_relay *relay, uint64_t *out_until_us)
{
    uint64_t now = now_us(relay), mask = 0;
    *out_until_us = UINT64_MAX;
    for (int i = 0; i < relay->call.route->count; i++) {
        uint64_t until = 0;
        const char *state = mg_reach_state(&relay->call.route->reaches[i], now, &until);
        if (strcmp(state, "benched") != 0 || until <= now || until == UINT64_MAX)
            continue;
        mask |= bit(i);
        *out_until_us = MG_MIN(*out_until_us, until);
    }
    return mask;
}

static void walk_again(struct mg_relay *relay)
{
    relay->last_chance = true;
    relay->made_before_round = relay->made;
    relay->entry = 0;
    relay->tries = 0;
}

/* The plan is at its end. Whoever was only refused is asked once more, and again after each attempt: what was open or
 * full may have changed while it ran. */
static bool once_more(struct mg_relay *relay)
{
    bool changed = !relay->last_chance || relay->made > relay->made_before_round;
    if (!changed || !(relay->refused & ~relay->tried))
        return false;
    walk_again(relay);
    return true;
}

/* Only full, so that a place may come any moment? */
static bool somebody_is_full(const struct mg_relay *relay)
{
    uint64_t until;
    for (int i = 0; i < relay->call.route->count; i++)
        if ((relay->refused & ~relay->tried & bit(i)) &&
            strcmp(mg_reach_state(&relay->call.route->reaches[i], now_us(relay), &until), "closed") == 0)
            return true;
    return false;
}

/* No longer than a person would, and there must be time left after it. */
static bool worth_waiting(const struct mg_relay *relay, uint64_t ms)
{
    return !relay->committed && ms < MG_MIN(left_ms(relay), (uint64_t)WAIT_MAX_MS);
}

/* Keys that cool down are waited for. */
static bool wait_for_keys(struct mg_relay *relay)
{
    uint64_t until, mask = cooling(relay, &until);
    uint64_t ms = mask ? (until - now_us(relay)) / 1000 + 1 : 0;
    if (!mask || !worth_waiting(relay, ms))
        return false;
    if (somebody_is_full(relay))
        ms = MG_MIN(ms, (uint64_t)FULL_AGAIN_MS);
    mg_timeline_note(timeline(relay), now_us(relay), "wait", "%llu ms, until a key has cooled down", (unsigned long long)ms);
    walk_again(relay);
    relay->refused |= mask;
    relay->tried &= ~mask;
    pause_ms(relay, ms);
    return true;
}

static void next_attempt(struct mg_relay *relay)
{
    struct find find;
    set_state(relay, MG_RELAY_SEEKING);
    for (;;) {
        const char *why_not = spent(relay);
        bool ended = !why_not && relay->entry >= relay->call.plan->count;
        if (ended && once_more(relay))
            continue;
        if (ended && wait_for_keys(relay))
            return;
        if (why_not || ended) {
            give_back_place(relay);
            give_up(relay, why_not ? why_not : "no target is left");
            return;
        }
        if (seek(relay, &find)) {
            start_found(relay, &find);
            return;
        }
        give_back_place(relay);
        if (find.full != NO_CANDIDATE && wait_for_place(relay, find.full))
            return;
        next_entry(relay);
        if (relay->reason == MG_REASON_retry)
            relay->reason = MG_REASON_fallback;
    }
}

/* ---- handing on ------------------------------------------------------------------------------ */

static void cancel_other(struct mg_relay *relay, struct mg_lane *lane)
{
    struct mg_lane *loser = other_lane(relay, lane);
    mg_timer_cancel(loop(relay), &relay->hedge);
    if (!loser)
        return;
    mg_timeline_note(timeline(relay), now_us(relay), "hedge", "%s was first; %s is cancelled", target_of(relay, lane->candidate)->id,
                     target_of(relay, loser->candidate)->id);
    mg_lane_cancel(loser, MG_CLASS_cancelled, MG_ACTION_accept);
}

static void hold_event(struct mg_lane *lane, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_arena *a = arena(lane->relay);
    struct mg_held_event *held = mg_arena_new(a, struct mg_held_event);
    held->event = *event;
    held->seen = *seen;
    held->event.name = mg_arena_dup(a, event->name);
    held->event.raw = mg_arena_dup(a, event->raw);
    held->event.data = event->data_in_raw
                           ? mg_view_of(held->event.raw.ptr + (event->data.ptr - event->raw.ptr), event->data.len)
                           : mg_arena_dup(a, event->data);
    *lane->held_end = held;
    lane->held_end = &held->next;
}

/* Blank texts before the first content too: the client gets them with it. */
static void record_text(struct mg_relay *relay, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    bool says = seen->content || seen->text_count > 0;
    if (!relay->rescue && says && workflow(relay)->rescue == MG_RESCUE_RESUME)
        relay->rescue = mg_rescue_new(arena(relay));
    if (relay->rescue && mg_rescue_record(relay->rescue, event, seen) != MG_OK)
        mg_timeline_note(timeline(relay), now_us(relay), "rescue", "from here on the stream cannot be resumed");
}

/* From now on this lane's bytes are the answer. What it said before goes first. */
static void promote(struct mg_relay *relay, struct mg_lane *lane)
{
    if (relay->answering == lane)
        return;
    const struct mg_attempt *attempt = &lane->attempt;
    relay->answering = lane;
    relay->rescue = NULL;
    relay->call.ops->on_attempt(relay->call.arg);
    if (attempt->facts.status >= 200 && attempt->facts.status < 300)
        relay->call.ops->on_head(relay->call.arg, attempt->facts.status, attempt->headers);
    for (struct mg_held_event *held = lane->held; held && relay->state == MG_RELAY_RUNNING; held = held->next) {
        record_text(relay, &held->event, &held->seen);
        relay->call.ops->on_event(relay->call.arg, &held->event, &held->seen);
    }
    lane->held = NULL;
    lane->held_end = &lane->held;
}

static void on_head(void *arg, int status, struct mg_headers headers)
{
    struct mg_lane *lane = arg;
    if (lane->relay->answering == lane && !lane->relay->committed)
        lane->relay->call.ops->on_head(lane->relay->call.arg, status, headers);
}

static bool resume(struct mg_relay *relay, struct mg_lane *lane, const struct mg_sse_event *event,
                   const struct mg_tap_event *seen, struct mg_sse_event *out_event, struct mg_tap_event *out_seen);

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_lane *lane = arg;
    struct mg_relay *relay = lane->relay;
    struct mg_sse_event rest;
    struct mg_tap_event rest_seen;
    if (relay->answering != lane && !seen->content) {
        hold_event(lane, event, seen);
        return;
    }
    if (seen->content && (relay->hedge.due_us || relay->second)) {
        cancel_other(relay, lane);
        promote(relay, lane);
        if (relay->state != MG_RELAY_RUNNING)
            return;
    }
    if (lane->reason == MG_REASON_rescue) {
        if (!resume(relay, lane, event, seen, &rest, &rest_seen))
            return;
        event = &rest;
        seen = &rest_seen;
    } else {
        record_text(relay, event, seen);
    }
    relay->call.ops->on_event(relay->call.arg, event, seen);
    if (event == &rest && relay->state == MG_RELAY_RUNNING)
        relay->call.ops->on_flush(relay->call.arg);    /* its bytes live only until the next event */
}

static void on_flush(void *arg)
{
    struct mg_lane *lane = arg;
    if (lane->relay->answering == lane)
        lane->relay->call.ops->on_flush(lane->relay->call.arg);
}

static void on_body(void *arg, mg_view bytes)
{
    struct mg_lane *lane = arg;
    cancel_other(lane->relay, lane);
    promote(lane->relay, lane);
    if (lane->relay->state == MG_RELAY_RUNNING)
        lane->relay->call.ops->on_body(lane->relay->call.arg, bytes);
}

/* ---- what a verdict leads to ----------------------------------------------------------------- */

static void classify(struct mg_relay *relay, struct mg_lane *lane, struct mg_verdict *out_verdict)
{
    struct mg_attempt_facts *facts = &lane->attempt.facts;
    mg_lane_facts(lane);
    *out_verdict = (struct mg_verdict){
        .class_ = facts->hint, .action = mg_class_action(facts->hint), .penalise = {.weight = -1}};
    struct mg_verdict said = *out_verdict;
    if (relay->call.policy->classify(relay->call.policy_arg, relay->call.call, facts, &said) == MG_OK)
        *out_verdict = said;
    bool around = workflow(relay)->route_around >> out_verdict->class_ & 1;
    if (around && (out_verdict->action == MG_ACTION_accept || out_verdict->action == MG_ACTION_fail))
        out_verdict->action = MG_ACTION_fallback;
    if (out_verdict->explain.len)
        mg_timeline_note(timeline(relay), now_us(relay), "verdict", "%.*s", MG_FMT(mg_view_head(out_verdict->explain, 200)));
}

static bool has_another_key(const struct mg_relay *relay, const struct mg_lane *lane)
{
    uint32_t used = lane->candidate == relay->keys_of ? relay->avoid_keys : 0;
    if (lane->credential >= 0)
        used |= 1u << lane->credential;
    return relay->call.route->reaches[lane->candidate].credential_count > __builtin_popcount(used);
}

/* Every lower bound there is: backoff with full jitter, the class's least pause, the verdict's, and the provider's. */
static uint64_t retry_wait_ms(const struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict)
{
    uint64_t least = MG_MAX((uint64_t)mg_class_delay_ms(verdict->class_), verdict->delay_ms);
    least = MG_MAX(least, lane->attempt.facts.retry_after_ms);
    return mg_plan_backoff_ms(&relay->call.plan->entries[lane->entry], relay->tries, least, mg_random_unit());
}

/* A retry that the entry, the budgets or the clock do not allow is a fallback. */
static enum mg_action effective(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict,
                                uint64_t *out_wait_ms)
{
    *out_wait_ms = 0;
    if (lane->repair >= 0 && verdict->repair.len)
        return MG_ACTION_retry;        /* costs neither time nor budget: see repaired() */
    if (!lane->attempt.facts.repeatable && verdict->action != MG_ACTION_accept) {
        mg_timeline_note(timeline(relay), now_us(relay), "relay", "not repeated: it runs in the background and may have begun");
        return MG_ACTION_fail;
    }
    if (verdict->action == MG_ACTION_next_key && has_another_key(relay, lane))
        return MG_ACTION_next_key;
    if (verdict->action != MG_ACTION_retry && verdict->action != MG_ACTION_next_key)
        return verdict->action;
    *out_wait_ms = retry_wait_ms(relay, lane, verdict);
    bool worth = verdict->action == MG_ACTION_retry || verdict->class_ == MG_CLASS_rate_limited;
    bool may = worth && relay->tries < entry(relay)->tries && relay->made < relay->max_attempts && *out_wait_ms < left_ms(relay);
    return may ? MG_ACTION_retry : MG_ACTION_fallback;
}

/* The request is changed as the provider wants it, and asked again at once. */
static bool repaired(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict)
{
    const struct mg_upstream *upstream = relay->call.route->upstreams[lane->candidate];
    bool meant = lane->repair >= 0 && verdict->action == MG_ACTION_retry &&
                 mg_view_eq(verdict->repair, mg_repair_name(upstream->adapter, lane->repair));
    if (!meant || relay->made >= relay->max_attempts)
        return false;
    mg_repair_learn(relay->call.route->repairs[lane->candidate], upstream->adapter, lane->repair, now_us(relay));
    relay->repairs = lane->repairs | mg_repair_bit(lane->repair);
    relay->repaired |= bit(lane->candidate);
    relay->again = relay->free_of = lane->candidate;
    relay->reason = MG_REASON_retry;
    relay->why = mg_arena_printf(arena(relay), "repaired: %.*s", MG_FMT(verdict->repair));
    next_attempt(relay);
    return true;
}

static mg_view words(struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict, const char *what)
{
    return mg_arena_printf(arena(relay), "%s after %s at %s", what, mg_class_name(verdict->class_),
                           target_of(relay, lane->candidate)->id);
}

static bool too_long(enum mg_class class_)
{
    return class_ == MG_CLASS_context_length || class_ == MG_CLASS_payload_too_large;
}

static void act(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict, enum mg_action action,
                uint64_t wait_ms)
{
    switch (action) {
    case MG_ACTION_retry:
        relay->reason = MG_REASON_retry;
        relay->avoid_keys = 0;
        relay->why = words(relay, lane, verdict, "retry");
        if (wait_ms)
            pause_ms(relay, wait_ms);
        else
            next_attempt(relay);
        break;
    case MG_ACTION_next_key:
        relay->avoid_keys = (relay->keys_of == lane->candidate ? relay->avoid_keys : 0) | 1u << lane->credential;
        relay->again = relay->keys_of = lane->candidate;
        relay->reason = MG_REASON_retry;
        relay->why = words(relay, lane, verdict, "another key");
        next_attempt(relay);
        break;
    case MG_ACTION_fallback:
        next_entry(relay);
        relay->reason = MG_REASON_fallback;
        relay->why = words(relay, lane, verdict, "fallback");
        if (too_long(verdict->class_) && lane->attempt.facts.larger_window_left)
            relay->window_above = target_of(relay, lane->candidate)->context_window;
        next_attempt(relay);
        break;
    default:
        finish(relay);
    }
}

/* "accept": the operator takes the answer as it is, though the core finds fault with it. */
static bool accepted(struct mg_relay *relay, struct mg_lane *lane, enum mg_action action)
{
    const struct mg_attempt *attempt = &lane->attempt;
    bool whole = attempt->facts.status >= 200 && attempt->facts.status < 300 && !attempt->facts.timeout &&
                 !attempt->facts.transport;
    if (action != MG_ACTION_accept || !whole)
        return false;
    cancel_other(relay, lane);
    promote(relay, lane);
    if (!attempt->event_stream && !attempt->streaming_body)
        relay->call.ops->on_body(relay->call.arg, mg_buf_view(&attempt->body));
    return true;
}

/* The other lane goes on alone; if this one answered, the other does from here on. */
static void leave_to(struct mg_relay *relay, struct mg_lane *other, struct mg_lane *lane)
{
    if (relay->answering == lane)
        promote(relay, other);
}

static bool try_rescue(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict);

/* Will a key be waited for? This lane's own is not benched yet. */
static bool will_cool(const struct mg_relay *relay, const struct mg_lane *lane, enum mg_class class_)
{
    uint64_t until, mask = cooling(relay, &until);
    bool others = mask && worth_waiting(relay, (until - now_us(relay)) / 1000 + 1);
    uint64_t own_ms = MG_MAX((uint64_t)mg_class_delay_ms(class_), lane->attempt.facts.retry_after_ms);
    return others || (class_ == MG_CLASS_rate_limited && worth_waiting(relay, own_ms));
}

/* What the record says was done next: a fallback to nobody is the end. */
static enum mg_action recorded(struct mg_relay *relay, const struct mg_lane *lane, enum mg_class class_, enum mg_action action)
{
    bool more = relay->entry + 1 < relay->call.plan->count || (relay->refused & ~relay->tried) ||
                will_cool(relay, lane, class_) || other_lane(relay, lane);
    bool nothing_left = action == MG_ACTION_fallback && (!more || spent(relay));
    return nothing_left ? MG_ACTION_fail : action;
}

static void failed(struct mg_relay *relay, struct mg_lane *lane)
{
    struct mg_verdict verdict;
    struct mg_lane *other = other_lane(relay, lane);
    uint64_t wait_ms = 0;
    classify(relay, lane, &verdict);
    bool with_client = relay->committed && verdict.action != MG_ACTION_accept;
    enum mg_action action = with_client ? MG_ACTION_fail : effective(relay, lane, &verdict, &wait_ms);
    mg_lane_settle(lane, verdict.class_, recorded(relay, lane, verdict.class_, action), &verdict.penalise);
    mg_relay_remember(relay, lane, &verdict);
    if (accepted(relay, lane, action)) {
        relay->result.ok = true;
        if (relay->state == MG_RELAY_RUNNING)
            finish(relay);
    } else if (with_client) {
        if (!try_rescue(relay, lane, &verdict))
            finish(relay);
    } else if (action == MG_ACTION_fail || action == MG_ACTION_accept) {
        cancel_other(relay, lane);
        finish(relay);
    } else if (other) {
        leave_to(relay, other, lane);
    } else if (!repaired(relay, lane, &verdict)) {
        mg_timer_cancel(loop(relay), &relay->hedge);
        act(relay, lane, &verdict, action, wait_ms);
    }
}

static void good(struct mg_relay *relay, struct mg_lane *lane)
{
    cancel_other(relay, lane);
    promote(relay, lane);
    if (relay->state != MG_RELAY_RUNNING)
        return;                        /* a guard stopped it at what was held */
    relay->result = (struct mg_relay_result){.ok = true, .status = lane->attempt.facts.status};
    mg_lane_settle(lane, MG_CLASS_none, MG_ACTION_accept, NULL);
    finish(relay);
}

/* The answer is complete. Is it what the workflow asked for? */
static bool denied(struct mg_relay *relay, struct mg_lane *lane)
{
    mg_view reason = MG_VIEW_NONE;
    if (relay->committed || !(workflow(relay)->has_accept || workflow(relay)->expect_schema))
        return false;
    promote(relay, lane);
    if (relay->call.ops->on_good(relay->call.arg, &reason) == MG_OK)
        return false;
    lane->attempt.ok = false;
    lane->attempt.facts.hint = MG_CLASS_schema_mismatch;
    mg_lane_record(lane)->error = mg_arena_dup(arena(relay), mg_view_head(reason, 256));
    return true;
}

static void on_end(void *arg)
{
    struct mg_lane *lane = arg;
    struct mg_relay *relay = lane->relay;
    if (lane->attempt.ok && !denied(relay, lane))
        good(relay, lane);
    else
        failed(relay, lane);
}

static const struct mg_attempt_ops attempt_ops = {
    .on_head = on_head, .on_event = on_event, .on_flush = on_flush, .on_body = on_body, .on_end = on_end};

/* ---- hedging --------------------------------------------------------------------------------- */

static struct mg_lane *hedge_lane(struct mg_relay *relay)
{
    if (!relay->second) {
        relay->second = mg_new(struct mg_lane);
        relay->second->relay = relay;
    }
    return relay->second;
}

/* The next target of the plan that may be called at once, and that may be repeated on. Entries that are passed over
 * stay passed: the hedge stands where the fallback would have. */
static bool seek_beside(struct mg_relay *relay, struct find *find)
{
    while (relay->entry + 1 < relay->call.plan->count) {
        next_entry(relay);
        if (!seek(relay, find))
            continue;
        const struct mg_reach *reach = &relay->call.route->reaches[find->candidate];
        if (mg_retry_budget_take(reach->budget, &workflow(relay)->retry_budget, now_us(relay)))
            return true;
        mg_reach_abandon(&find->pass, now_us(relay), relay->call.worker);
        skip(relay, find->candidate, "its retry budget has nothing left for a hedge");
        return false;
    }
    return false;
}

static void on_hedge(struct mg_timer *timer)
{
    struct mg_relay *relay = mg_container_of(timer, struct mg_relay, hedge);
    struct find find;
    int entry_before = relay->entry;
    uint32_t tries_before = relay->tries;
    if (relay->state != MG_RELAY_RUNNING || relay->committed || spent(relay) || relay->first.attempt.tap.content ||
        other_lane(relay, &relay->first))
        return;
    if (!seek_beside(relay, &find)) {
        relay->entry = entry_before;
        relay->tries = tries_before;
        return;
    }
    relay->hedges++;
    relay->reason = MG_REASON_hedge;
    relay->why = mg_arena_printf(arena(relay), "hedge: no first token of %s yet", target_of(relay, relay->first.candidate)->id);
    mg_err err = start_lane(relay, hedge_lane(relay), &find);
    if (err != MG_OK)
        mg_timeline_note(timeline(relay), now_us(relay), "hedge", "could not be built: %s", mg_err_text(err));
}

/* ---- rescue ---------------------------------------------------------------------------------- */

static void on_resume_again(struct mg_timer *timer)
{
    next_attempt(mg_container_of(timer, struct mg_relay, pause));
}

/* Bytes are with the client and the attempt failed: the next target says it all again, and what was sent is left out. */
static bool try_rescue(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict)
{
    bool mends = verdict->action == MG_ACTION_retry || verdict->action == MG_ACTION_fallback || verdict->action == MG_ACTION_next_key;
    if (!relay->rescue || !mg_rescue_possible(relay->rescue) || !mends || spent(relay) || !lane->attempt.facts.repeatable)
        return false;
    if (relay->entry + 1 < relay->call.plan->count)
        next_entry(relay);
    relay->reason = MG_REASON_rescue;
    relay->why = words(relay, lane, verdict, "rescue");
    relay->prefill = NULL;
    mg_rescue_regenerate(relay->rescue);
    mg_timeline_note(timeline(relay), now_us(relay), "rescue", "%s broke off after %llu bytes of text",
                     target_of(relay, lane->candidate)->id, (unsigned long long)mg_rescue_bytes(relay->rescue));
    next_attempt(relay);
    return true;
}

/* The lane is inside its own callback: it is started again a little later. */
static void try_prefill(struct mg_relay *relay, struct mg_lane *lane)
{
    int candidate = lane->candidate;
    struct mg_request *prefill = mg_arena_new(arena(relay), struct mg_request);
    bool can = !relay->prefill && target_of(relay, candidate)->prefill && !spent(relay) &&
               mg_rescue_prefill_request(relay->rescue, &relay->call.call->request, arena(relay), prefill) == MG_OK;
    if (!can) {
        mg_timeline_note(timeline(relay), now_us(relay), "rescue", "given up: the texts differ, and %s takes no prefill",
                         target_of(relay, candidate)->id);
        finish(relay);
        return;
    }
    mg_rescue_prefill(relay->rescue);
    relay->prefill = prefill;
    relay->again = relay->free_of = candidate;
    relay->why = mg_arena_printf(arena(relay), "rescue: %s goes on from the sent text", target_of(relay, candidate)->id);
    set_state(relay, MG_RELAY_WAITING);
    mg_timer_start(loop(relay), &relay->pause, 0, on_resume_again);
}

static void diverged(struct mg_relay *relay, struct mg_lane *lane)
{
    mg_lane_record(lane)->error = MG_VIEW("it said something else than what was sent already");
    mg_lane_cancel(lane, MG_CLASS_cancelled, MG_ACTION_fail);
    try_prefill(relay, lane);
}

static void seam(struct mg_relay *relay, struct mg_lane *lane, uint64_t bytes)
{
    lane->goes_on = true;
    mg_lane_record(lane)->resumed_bytes = bytes;
    mg_timeline_note(timeline(relay), now_us(relay), "rescue", "%s goes on after %llu bytes",
                     target_of(relay, lane->candidate)->id, (unsigned long long)bytes);
    relay->call.ops->on_seam(relay->call.arg, bytes);
}

/* False: nothing of the event is handed on. */
static bool resume(struct mg_relay *relay, struct mg_lane *lane, const struct mg_sse_event *event,
                   const struct mg_tap_event *seen, struct mg_sse_event *out_event, struct mg_tap_event *out_seen)
{
    const struct mg_adapter *adapter = relay->call.route->upstreams[lane->candidate]->adapter;
    uint64_t bytes = mg_rescue_bytes(relay->rescue);
    switch (mg_rescue_event(relay->rescue, adapter, event, seen, out_event, out_seen)) {
    case MG_RESUME_FORWARD:
        if (!lane->goes_on)
            seam(relay, lane, bytes);
        return relay->state == MG_RELAY_RUNNING;
    case MG_RESUME_DIVERGED: diverged(relay, lane); return false;
    default: return false;
    }
}

/* ---- the owner's side ------------------------------------------------------------------------ */

void mg_relay_start(struct mg_relay *relay, const struct mg_relay_call *call)
{
    assert(relay->state == MG_RELAY_IDLE);
    relay->call = *call;
    relay->first.relay = relay;
    relay->answering = &relay->first;
    relay->entry = 0;
    relay->tries = relay->made = relay->hedges = 0;
    relay->again = relay->keys_of = relay->free_of = relay->waiting_for = NO_CANDIDATE;
    relay->placed = relay->last_chance = relay->committed = false;
    relay->prefill = NULL;
    relay->tried = relay->called = relay->refused = relay->repaired = 0;
    relay->avoid_keys = relay->window_above = 0;
    relay->wait_since_us = relay->spent_microusd = 0;
    relay->reason = MG_REASON_first;
    relay->why = MG_VIEW_NONE;
    relay->rescue = NULL;
    relay->rank = 0;
    relay->result = (struct mg_relay_result){.class_ = MG_CLASS_none};
    relay->max_attempts = MG_MIN(MG_MIN(call->plan->max_attempts, call->call->default_max_attempts),
                                  (uint32_t)MG_MAX_ATTEMPTS);   /* the timeline has no room for more */
    relay->deadline_us = MG_MIN(call->call->deadline_us, now_us(relay) + (uint64_t)call->plan->deadline_ms * 1000);
    next_attempt(relay);
}

void mg_relay_committed(struct mg_relay *relay)
{
    relay->committed = true;
}

void mg_relay_again(struct mg_relay *relay, mg_view reason)
{
    assert(relay->state == MG_RELAY_IDLE && !relay->committed);
    mg_timeline_note(timeline(relay), now_us(relay), "relay", "a plugin asked for another answer: %.*s",
                     MG_FMT(mg_view_head(reason, 200)));
    relay->result = (struct mg_relay_result){
        .class_ = MG_CLASS_schema_mismatch,
        .status = mg_class_status(MG_CLASS_schema_mismatch),
        .code = mg_view_cstr(mg_class_name(MG_CLASS_schema_mismatch)),
        .message = mg_arena_printf(arena(relay), "No answer satisfied a plugin of this project: %.*s", MG_FMT(mg_view_head(reason, 500))),
    };
    set_state(relay, MG_RELAY_SEEKING);
    uint64_t wait_ms;
    struct mg_verdict again = {.class_ = MG_CLASS_schema_mismatch, .action = MG_ACTION_retry};
    mg_lane_facts(relay->answering);
    enum mg_action action = effective(relay, relay->answering, &again, &wait_ms);
    act(relay, relay->answering, &again, action, wait_ms);
}

void mg_relay_pause(struct mg_relay *relay, bool paused)
{
    mg_attempt_pause(&relay->answering->attempt, paused);
}

void mg_relay_cancel(struct mg_relay *relay, enum mg_class class_)
{
    if (relay->state == MG_RELAY_IDLE)
        return;
    mg_timer_cancel(loop(relay), &relay->pause);
    mg_timer_cancel(loop(relay), &relay->hedge);
    mg_gate_cancel(&relay->place);
    give_back_place(relay);
    mg_loop_defer_cancel(&relay->done);
    enum mg_action action = class_ == MG_CLASS_none ? MG_ACTION_accept : MG_ACTION_fail;
    mg_lane_cancel(&relay->first, class_, action);
    if (relay->second)
        mg_lane_cancel(relay->second, class_, action);
    relay->result = (struct mg_relay_result){.ok = class_ == MG_CLASS_none, .class_ = class_};
    set_state(relay, MG_RELAY_IDLE);
}

void mg_relay_fini(struct mg_relay *relay)
{
    mg_lane_fini(&relay->first);
    if (relay->second)
        mg_lane_fini(relay->second);
    mg_free(relay->second);
    relay->second = NULL;
}

const struct mg_attempt *mg_relay_attempt(const struct mg_relay *relay)
{
    return &relay->answering->attempt;
}

const struct mg_tap *mg_relay_tap(const struct mg_relay *relay)
{
    return &relay->answering->attempt.tap;
}

const struct mg_attempt_record *mg_relay_record(const struct mg_relay *relay)
{
    return mg_lane_record(relay->answering);
}
