/* The walk: what is tried next, what is waited for, what a verdict leads to, and the owner's side. */
#include <assert.h>

#include "relay/judge.h"
#include "relay/raw.h"
#include "relay/relay_parts.h"
#include "relay/translated.h"

enum {
    WAIT_MAX_MS = 60000,               /* for a key that cools down: nobody waits longer inside one call */
    FULL_AGAIN_MS = 250                /* a full target is looked at again while a key cools down */
};

static void cancel(struct mg_relay *relay, enum mg_class class_, bool ok);

void mg_relay_set_state(struct mg_relay *relay, enum mg_relay_state to)
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

/* ---- the end --------------------------------------------------------------------------------- */

static void on_deferred_done(struct mg_defer *defer)
{
    struct mg_relay *relay = mg_container_of(defer, struct mg_relay, done);
    mg_relay_set_state(relay, MG_RELAY_IDLE);
    relay->call.ops->on_done(relay->call.arg);
}

void mg_relay_finish(struct mg_relay *relay)
{
    mg_timer_cancel(loop(relay), &relay->hedge);
    mg_relay_set_state(relay, MG_RELAY_ENDING);
    mg_loop_defer(loop(relay), &relay->done, on_deferred_done);
}

static void give_up(struct mg_relay *relay, const char *why)
{
    relay->result.ok = false;
    mg_relay_exhausted(relay, why);
    mg_relay_finish(relay);
}

/* ---- waiting: for a place, or for time to pass ----------------------------------------------- */

static void on_place(struct mg_gate_wait *wait, bool entered)
{
    struct mg_relay *relay = mg_container_of(wait, struct mg_relay, place);
    relay->placed = entered;
    if (entered) {
        relay->again = relay->waiting_for;
    } else {
        mg_relay_skip(relay, relay->waiting_for, "no place became free in time");
        mg_relay_next_entry(relay);
    }
    mg_relay_next(relay);
}

/* Its queue is full, or has no room at all. */
static bool full_too(struct mg_relay *relay, const struct mg_find *find)
{
    mg_relay_skip(relay, find->full, find->full_text);
    return false;
}

static bool wait_for_place(struct mg_relay *relay, const struct mg_find *find)
{
    int candidate = find->full;
    const struct mg_reach *reach = &relay->call.route->reaches[candidate];
    const struct mg_config_gate *rules = &reach->target->gate;
    uint64_t until = MG_MIN(now_us(relay) + (uint64_t)rules->queue_ms * 1000, relay->deadline_us);
    if (!mg_gate_wait(reach->gate, rules, reach->share, loop(relay), &relay->place, until, on_place))
        return full_too(relay, find);
    mg_timeline_note(timeline(relay), now_us(relay), "wait", "for a place at %s: %s", target_of(relay, candidate)->id, find->full_text);
    relay->waiting_for = candidate;
    relay->wait_since_us = now_us(relay);
    mg_relay_set_state(relay, MG_RELAY_WAITING);
    return true;
}

static void on_pause(struct mg_timer *timer)
{
    mg_relay_next(mg_container_of(timer, struct mg_relay, pause));
}

static void pause_ms(struct mg_relay *relay, uint64_t ms)
{
    relay->wait_since_us = now_us(relay);
    mg_relay_set_state(relay, MG_RELAY_WAITING);
    mg_timer_start(loop(relay), &relay->pause, ms, on_pause);
}

/* ---- the walk -------------------------------------------------------------------------------- */

static uint64_t waited_us(struct mg_relay *relay)
{
    uint64_t since = relay->wait_since_us;
    relay->wait_since_us = 0;
    return since ? now_us(relay) - since : 0;
}

mg_err mg_relay_start_lane(struct mg_relay *relay, struct mg_lane *lane, const struct mg_find *find)
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
        .ops = &mg_relay_attempt_ops,
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
    mg_relay_finish(relay);
}

/* The next attempt of the line: it answers, and what another one said is void unless it is with the client. */
static void start_found(struct mg_relay *relay, const struct mg_find *find)
{
    relay->answering = &relay->first;
    mg_relay_set_state(relay, MG_RELAY_RUNNING);
    if (relay->made > 0 && !relay->committed) {
        relay->rescue = NULL;
        relay->sent = NULL;
        relay->call.ops->on_attempt(relay->call.arg);
    }
    mg_err err = mg_relay_start_lane(relay, &relay->first, find);
    relay->again = NO_CANDIDATE;
    if (err != MG_OK)
        not_built(relay, &relay->first, err);
    else
        mg_relay_arm_hedge(relay, &relay->first);
}

/* The targets whose keys only cool down, and when the first of them can be used again. */
static uint64_t cooling(const struct mg_relay *relay, uint64_t *out_until_us)
{
    uint64_t now = now_us(relay), mask = 0;
    *out_until_us = UINT64_MAX;
    for (int i = 0; i < relay->call.route->count; i++) {
        uint64_t until = 0;
        const char *state = mg_relay_reach_state(relay, i, &until);
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
    relay->round_us = now_us(relay);
    relay->entry = 0;
    relay->tries = 0;
}

/* Would it let somebody in now? */
static bool is_ready(const struct mg_relay *relay, int candidate)
{
    const struct mg_reach *reach = &relay->call.route->reaches[candidate];
    struct mg_gate_view gate;
    const char *state = mg_relay_reach_state(relay, candidate, NULL);
    mg_gate_read(reach->gate, &reach->target->gate, &gate);
    return strcmp(state, "open") != 0 && strcmp(state, "benched") != 0 && (!gate.limit || gate.inflight < gate.limit);
}

/* The plan is at its end. Whoever was only refused is asked once more, again after each attempt, and whenever time has
 * passed and somebody who was open or full then would let us in now. */
static bool once_more(struct mg_relay *relay)
{
    uint64_t left = relay->refused & ~relay->tried;
    bool changed = !relay->last_chance || relay->made > relay->made_before_round, later = now_us(relay) > relay->round_us;
    for (int i = 0; i < relay->call.route->count && later && !changed; i++)
        changed = (left & bit(i)) && is_ready(relay, i);
    if (!changed || !left)
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
            strcmp(mg_relay_reach_state(relay, i, &until), "closed") == 0)
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

void mg_relay_next(struct mg_relay *relay)
{
    struct mg_find find;
    mg_relay_set_state(relay, MG_RELAY_SEEKING);
    for (;;) {
        const char *why_not = mg_relay_spent(relay);
        bool ended = !why_not && relay->entry >= relay->call.plan->count;
        if (ended && once_more(relay))
            continue;
        if (ended && wait_for_keys(relay))
            return;
        if (why_not || ended) {
            mg_relay_give_back_place(relay);
            give_up(relay, why_not ? why_not : "no target is left");
            return;
        }
        if (mg_relay_seek(relay, &find)) {
            start_found(relay, &find);
            return;
        }
        mg_relay_give_back_place(relay);
        if (find.full != NO_CANDIDATE && wait_for_place(relay, &find))
            return;
        mg_relay_next_entry(relay);
        if (relay->reason == MG_REASON_retry)
            relay->reason = MG_REASON_fallback;
    }
}

/* ---- what a verdict leads to ----------------------------------------------------------------- */

/* Why a taxonomy wants it left alone, in its own words. */
static void note_penalty(struct mg_relay *relay, const struct mg_lane *lane, const struct mg_penalty *penalty)
{
    if (penalty->for_ms && penalty->reason.len)
        mg_timeline_note(timeline(relay), now_us(relay), "relay", "%s is left alone for %llu ms: %.*s",
                         target_of(relay, lane->candidate)->id, (unsigned long long)penalty->for_ms,
                         MG_FMT(mg_view_head(penalty->reason, 100)));
}

static void classify(struct mg_relay *relay, struct mg_lane *lane, struct mg_verdict *out_verdict)
{
    struct mg_attempt_facts *facts = &lane->attempt.facts;
    mg_lane_facts(lane);
    *out_verdict = (struct mg_verdict){
        .class_ = facts->hint, .action = mg_class_action(facts->hint), .penalise = {.weight = -1}};
    struct mg_verdict said = *out_verdict;
    if (relay->call.policy->classify(relay->call.policy_arg, relay->call.call, facts, &said) == MG_OK)
        *out_verdict = said;
    note_penalty(relay, lane, &out_verdict->penalise);
    if (out_verdict->explain.len)
        mg_timeline_note(timeline(relay), now_us(relay), "verdict", "%.*s", MG_FMT(mg_view_head(out_verdict->explain, 200)));
}

static bool has_another_key(const struct mg_relay *relay, const struct mg_lane *lane)
{
    uint32_t used = lane->candidate == relay->keys_of ? relay->avoid_keys : 0;
    if (lane->credential == MG_CREDENTIAL_CALLER || relay->call.first_key)
        return false;
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
        bool uploaded = mg_feed_is_gone(relay->call.feed);
        mg_timeline_note(timeline(relay), now_us(relay), "relay", "not repeated: %s",
                         uploaded ? "part of the upload was sent, and is kept nowhere" : "it runs in the background and may have begun");
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
    bool meant = lane->repair >= 0 && verdict->action == MG_ACTION_retry &&
                 mg_view_eq(verdict->repair, mg_repair_name(lane->adapter, lane->repair));
    if (!meant || relay->made >= relay->max_attempts)
        return false;
    mg_repair_learn(relay->call.route->repairs[lane->candidate], lane->adapter, lane->repair, now_us(relay));
    relay->repairs = lane->repairs | mg_repair_bit(lane->repair);
    relay->repaired++;
    relay->again = relay->free_of = lane->candidate;
    relay->reason = MG_REASON_retry;
    relay->why = mg_arena_printf(arena(relay), "repaired: %.*s", MG_FMT(verdict->repair));
    mg_relay_next(relay);
    return true;
}

mg_view mg_relay_words(struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict, const char *what)
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
        relay->why = mg_relay_words(relay, lane, verdict, "retry");
        if (wait_ms)
            pause_ms(relay, wait_ms);
        else
            mg_relay_next(relay);
        break;
    case MG_ACTION_next_key:
        relay->avoid_keys = (relay->keys_of == lane->candidate ? relay->avoid_keys : 0) | 1u << lane->credential;
        relay->again = relay->keys_of = lane->candidate;
        relay->reason = MG_REASON_retry;
        relay->why = mg_relay_words(relay, lane, verdict, "another key");
        mg_relay_next(relay);
        break;
    case MG_ACTION_fallback:
        mg_relay_next_entry(relay);
        relay->reason = MG_REASON_fallback;
        relay->why = mg_relay_words(relay, lane, verdict, "fallback");
        if (too_long(verdict->class_) && lane->attempt.facts.larger_window_left)
            relay->window_above = target_of(relay, lane->candidate)->context_window;
        mg_relay_next(relay);
        break;
    default:
        mg_relay_finish(relay);
    }
}

/* "accept": the operator takes the answer as it is, though the core finds fault with it; the client reads it in its own
 * dialect all the same. */
static bool accepted(struct mg_relay *relay, struct mg_lane *lane, enum mg_action action)
{
    const struct mg_attempt *attempt = &lane->attempt;
    bool complete = attempt->facts.status >= 200 && attempt->facts.status < 300 && !attempt->facts.timeout &&
                    !attempt->facts.transport;
    bool in_one = !attempt->event_stream && !attempt->streaming_body;
    mg_view body = mg_buf_view(&attempt->body);
    if (action != MG_ACTION_accept || !complete)
        return false;
    if (in_one && mg_lane_answers_translated(lane) && !mg_lane_translate_body(lane, body, &body))
        return false;
    mg_relay_cancel_other(relay, lane);
    mg_relay_promote(relay, lane);
    if (in_one)
        relay->call.ops->on_body(relay->call.arg, body);
    return true;
}

/* The other lane goes on alone; if this one answered, the other does from here on. */
static void leave_to(struct mg_relay *relay, struct mg_lane *other, struct mg_lane *lane)
{
    if (relay->answering == lane)
        mg_relay_promote(relay, other);
}

/* Will a key be waited for? This lane's own is not benched yet. */
static bool will_cool(const struct mg_relay *relay, const struct mg_lane *lane, enum mg_class class_)
{
    uint64_t until, mask = cooling(relay, &until);
    bool others = mask && worth_waiting(relay, (until - now_us(relay)) / 1000 + 1);
    uint64_t own_ms = MG_MAX((uint64_t)mg_class_delay_ms(class_), lane->attempt.facts.retry_after_ms);
    return others || (class_ == MG_CLASS_rate_limited && worth_waiting(relay, own_ms));
}

static bool anybody_left(struct mg_relay *relay, const struct mg_lane *lane, enum mg_class class_)
{
    bool more = relay->entry + 1 < relay->call.plan->count || (relay->refused & ~relay->tried) ||
                will_cool(relay, lane, class_) || mg_relay_other(relay, lane);
    return more && !mg_relay_spent(relay);
}

/* What the record says was done next: a fallback to nobody is the end, and a rescue is a fallback. */
static enum mg_action recorded(struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict,
                               enum mg_action action)
{
    if (relay->committed && mg_relay_can_rescue(relay, lane, verdict))
        return MG_ACTION_fallback;
    return action == MG_ACTION_fallback && !anybody_left(relay, lane, verdict->class_) ? MG_ACTION_fail : action;
}

/* What the workflow routes around is an answer all the same when nobody else is left. */
static void route_around(struct mg_relay *relay, const struct mg_lane *lane, struct mg_verdict *verdict)
{
    bool around = workflow(relay)->route_around >> verdict->class_ & 1;
    bool ends = verdict->action == MG_ACTION_accept || verdict->action == MG_ACTION_fail;
    if (around && ends && !relay->committed && anybody_left(relay, lane, verdict->class_))
        verdict->action = MG_ACTION_fallback;
}

static void failed(struct mg_relay *relay, struct mg_lane *lane)
{
    struct mg_verdict verdict;
    struct mg_lane *other = mg_relay_other(relay, lane);
    uint64_t wait_ms = 0;
    classify(relay, lane, &verdict);
    route_around(relay, lane, &verdict);
    bool with_client = relay->committed && verdict.action != MG_ACTION_accept;
    enum mg_action action = with_client ? MG_ACTION_fail : effective(relay, lane, &verdict, &wait_ms);
    mg_lane_settle(lane, verdict.class_, recorded(relay, lane, &verdict, action), &verdict.penalise);
    if (!with_client || relay->rank == 0)
        mg_relay_remember(relay, lane, &verdict);      /* of a failed rescue the cause is told, not what came of it */
    if (accepted(relay, lane, action)) {
        relay->result.ok = true;
        if (relay->state == MG_RELAY_RUNNING)
            mg_relay_finish(relay);
    } else if (with_client) {
        if (!mg_relay_rescue(relay, lane, &verdict))
            mg_relay_finish(relay);
    } else if (action == MG_ACTION_fail || action == MG_ACTION_accept) {
        mg_relay_cancel_other(relay, lane);
        mg_relay_finish(relay);
    } else if (other) {
        leave_to(relay, other, lane);
    } else if (!repaired(relay, lane, &verdict)) {
        mg_timer_cancel(loop(relay), &relay->hedge);
        act(relay, lane, &verdict, action, wait_ms);
    }
}

static void good(struct mg_relay *relay, struct mg_lane *lane)
{
    mg_relay_cancel_other(relay, lane);
    mg_relay_promote(relay, lane);
    if (relay->state != MG_RELAY_RUNNING)
        return;                        /* a guard stopped it at what was held */
    relay->result = (struct mg_relay_result){.ok = true, .status = lane->attempt.facts.status};
    mg_lane_settle(lane, MG_CLASS_none, MG_ACTION_accept, NULL);
    mg_relay_finish(relay);
}

/* The answer is complete. Is it what the workflow asked for? */
static bool denied(struct mg_relay *relay, struct mg_lane *lane)
{
    mg_view reason = MG_VIEW_NONE;
    if (relay->committed || !(workflow(relay)->has_accept || workflow(relay)->expect_schema))
        return false;
    mg_relay_promote(relay, lane);
    if (relay->state != MG_RELAY_RUNNING)
        return false;                  /* a guard stopped it at what was held */
    if (relay->call.ops->on_good(relay->call.arg, &reason) == MG_OK)
        return false;
    lane->attempt.ok = false;
    lane->attempt.facts.hint = MG_CLASS_schema_mismatch;
    mg_lane_record(lane)->error = mg_arena_dup(arena(relay), mg_view_head(reason, 256));
    return true;
}

/* A raw answer is with the client, whatever it says: breaker and key hear of it, and that is all. */
static void answered(struct mg_relay *relay, struct mg_lane *lane)
{
    struct mg_verdict verdict;
    if (lane->attempt.ok) {
        good(relay, lane);
        return;
    }
    classify(relay, lane, &verdict);
    mg_lane_settle(lane, verdict.class_, MG_ACTION_accept, &verdict.penalise);
    relay->result = (struct mg_relay_result){.ok = true, .class_ = verdict.class_, .status = lane->attempt.facts.status};
    mg_relay_finish(relay);
}

void mg_relay_ended(void *arg)
{
    struct mg_lane *lane = arg;
    struct mg_relay *relay = lane->relay;
    mg_relay_end_stream(lane);         /* of one that was cut off it writes nothing */
    if (!lane->busy)
        return;                        /* a guard stopped it at its last words: it is settled */
    if (relay->call.raw && mg_raw_is_answered(&lane->attempt))
        answered(relay, lane);
    else if (lane->attempt.ok && !denied(relay, lane))
        good(relay, lane);
    else
        failed(relay, lane);
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
    relay->refused_class = MG_CLASS_none;
    relay->refused_text = MG_VIEW_NONE;
    relay->tried = relay->called = relay->refused = 0;
    relay->repaired = 0;
    relay->avoid_keys = relay->window_above = 0;
    relay->wait_since_us = relay->spent_microusd = 0;
    relay->reason = MG_REASON_first;
    relay->why = MG_VIEW_NONE;
    relay->rescue = NULL;
    relay->sent = NULL;
    relay->translated = NULL;
    relay->looked_through = NULL;      /* the next request may lie where the last one did */
    relay->unsayable = (struct mg_translation_report){.dropped = MG_VIEW_NONE};
    relay->shown_known = false;
    relay->rank = 0;
    relay->result = (struct mg_relay_result){.class_ = MG_CLASS_none};
    relay->max_attempts = MG_MIN(MG_MIN(call->plan->max_attempts, call->call->default_max_attempts),
                                  (uint32_t)MG_MAX_ATTEMPTS);   /* the timeline has no room for more */
    relay->deadline_us = MG_MIN(call->call->deadline_us, now_us(relay) + (uint64_t)call->plan->deadline_ms * 1000);
    mg_relay_next(relay);
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
    mg_relay_set_state(relay, MG_RELAY_SEEKING);
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

/* Clients hang up at the last event, before the last bytes of the framing: they have all of the answer. */
bool mg_relay_has_answered(const struct mg_relay *relay)
{
    if (relay->state != MG_RELAY_RUNNING || !relay->committed)
        return false;
    const struct mg_tap *tap = mg_relay_tap(relay);
    return tap->done && tap->finished;
}

void mg_relay_left(struct mg_relay *relay)
{
    if (mg_relay_has_answered(relay))
        cancel(relay, mg_judge_stream(&relay->answering->attempt), true);
    else
        cancel(relay, MG_CLASS_cancelled, false);
}

void mg_relay_cancel(struct mg_relay *relay, enum mg_class class_)
{
    cancel(relay, class_, false);
}

static void cancel(struct mg_relay *relay, enum mg_class class_, bool ok)
{
    if (relay->state == MG_RELAY_IDLE)
        return;
    mg_timer_cancel(loop(relay), &relay->pause);
    mg_timer_cancel(loop(relay), &relay->hedge);
    mg_gate_cancel(&relay->place);
    mg_relay_give_back_place(relay);
    mg_loop_defer_cancel(&relay->done);
    enum mg_action action = ok ? MG_ACTION_accept : MG_ACTION_fail;
    mg_lane_cancel(&relay->first, class_, action);
    for (int i = 0; i < MG_MAX_HEDGES && relay->beside[i]; i++)
        mg_lane_cancel(relay->beside[i], class_, action);
    relay->result = (struct mg_relay_result){.ok = ok, .class_ = class_};
    mg_relay_set_state(relay, MG_RELAY_IDLE);
}

void mg_relay_fini(struct mg_relay *relay)
{
    mg_lane_fini(&relay->first);
    for (int i = 0; i < MG_MAX_HEDGES && relay->beside[i]; i++) {
        mg_lane_fini(relay->beside[i]);
        mg_free(relay->beside[i]);
        relay->beside[i] = NULL;
    }
}

const struct mg_attempt *mg_relay_attempt(const struct mg_relay *relay)
{
    return &relay->answering->attempt;
}

mg_view mg_relay_dropped(const struct mg_relay *relay)
{
    const struct mg_relay_translated *row = relay->answering->translated;
    return row ? row->report.dropped : MG_VIEW_NONE;
}

const struct mg_adapter *mg_relay_answer_adapter(const struct mg_relay *relay)
{
    return mg_lane_answers_translated(relay->answering) ? relay->call.client_adapter : relay->answering->adapter;
}

const struct mg_tap *mg_relay_tap(const struct mg_relay *relay)
{
    return &relay->answering->attempt.tap;
}

const struct mg_attempt_record *mg_relay_record(const struct mg_relay *relay)
{
    return mg_lane_record(relay->answering);
}
