/* What the lanes hand on: of two the first with content is the answer, and the others are cancelled. And the start of
 * those beside the first. */
#include "relay/relay_parts.h"
#include "relay/translated.h"

enum { HEDGE_WANTS_CALLS = 20 };       /* fewer say nothing about a p95 */

struct mg_lane *mg_relay_other(struct mg_relay *relay, const struct mg_lane *lane)
{
    if (lane != &relay->first && relay->first.busy)
        return &relay->first;
    for (int i = 0; i < MG_MAX_HEDGES; i++)
        if (relay->beside[i] && relay->beside[i] != lane && relay->beside[i]->busy)
            return relay->beside[i];
    return NULL;
}

/* ---- handing on ------------------------------------------------------------------------------ */

void mg_relay_cancel_other(struct mg_relay *relay, struct mg_lane *lane)
{
    struct mg_lane *loser;
    mg_timer_cancel(loop(relay), &relay->hedge);
    while ((loser = mg_relay_other(relay, lane))) {
        mg_timeline_note(timeline(relay), now_us(relay), "hedge", "%s was first; %s is cancelled",
                         target_of(relay, lane->candidate)->id, target_of(relay, loser->candidate)->id);
        mg_lane_cancel(loser, MG_CLASS_cancelled, MG_ACTION_accept);
    }
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

static mg_err keep_event(struct mg_relay *relay, const struct mg_sse_event *event)
{
    if (!relay->sent)
        relay->sent = mg_sent_new(arena(relay));
    return mg_sent_put(relay->sent, event);
}

/* Blank texts before the first content too: the client gets them with it. */
static mg_err keep_text(struct mg_relay *relay, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    bool says = seen->content || seen->text_count > 0;
    if (!relay->rescue && says)
        relay->rescue = mg_rescue_new(arena(relay));
    return relay->rescue ? mg_rescue_record(relay->rescue, event, seen) : MG_OK;
}

static void record_text(struct mg_relay *relay, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    if (!relay->call.resumes || workflow(relay)->rescue != MG_RESCUE_RESUME)
        return;
    if ((relay->call.reweaves ? keep_event(relay, event) : keep_text(relay, event, seen)) != MG_OK)
        mg_timeline_note(timeline(relay), now_us(relay), "rescue", "from here on the stream cannot be resumed");
}

/* From now on this lane's bytes are the answer. What it said before goes first. */
void mg_relay_promote(struct mg_relay *relay, struct mg_lane *lane)
{
    if (relay->answering == lane)
        return;
    const struct mg_attempt *attempt = &lane->attempt;
    relay->answering = lane;
    relay->rescue = NULL;
    relay->sent = NULL;
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

/* An event in the client's dialect. */
static void take_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_lane *lane = arg;
    struct mg_relay *relay = lane->relay;
    struct mg_sse_event rest;
    struct mg_tap_event rest_seen;
    if (relay->answering != lane && !seen->content) {
        hold_event(lane, event, seen);
        return;
    }
    if (seen->content && (relay->hedge.due_us || relay->hedges)) {
        mg_relay_cancel_other(relay, lane);
        mg_relay_promote(relay, lane);
        if (relay->state != MG_RELAY_RUNNING)
            return;
    }
    if (mg_lane_writes_on(lane) && !event->is_comment)
        mg_relay_pass_seam(relay, lane);
    if (lane->reason == MG_REASON_rescue && !relay->call.reweaves) {
        if (!mg_relay_resume(relay, lane, event, seen, &rest, &rest_seen))
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
    if (lane->weave)
        mg_weave_flushed(lane->weave);
}

static const struct mg_weave_ops weave_ops = {.emit = take_event, .flush = on_flush};

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_lane *lane = arg;
    if (mg_lane_answers_translated(lane))
        mg_lane_translate_event(lane, event, seen, &weave_ops);
    else
        take_event(lane, event, seen);
}

/* Some providers say nothing after their last words: what waited for that is written now. */
void mg_relay_end_stream(struct mg_lane *lane)
{
    if (!lane->weave)
        return;
    mg_lane_translate_end(lane);
    if (lane->busy)
        on_flush(lane);
}

static void on_body(void *arg, mg_view bytes)
{
    struct mg_lane *lane = arg;
    if (mg_lane_answers_translated(lane) && !mg_lane_translate_body(lane, bytes, &bytes))
        return;
    mg_relay_cancel_other(lane->relay, lane);
    mg_relay_promote(lane->relay, lane);
    if (lane->relay->state == MG_RELAY_RUNNING)
        lane->relay->call.ops->on_body(lane->relay->call.arg, bytes);
}

const struct mg_attempt_ops mg_relay_attempt_ops = {.on_head = on_head,
                                                    .on_event = on_event,
                                                    .on_flush = on_flush,
                                                    .on_body = on_body,
                                                    .on_redial = mg_lane_redialed,
                                                    .on_end = mg_relay_ended};

/* ---- hedging --------------------------------------------------------------------------------- */

static struct mg_lane *hedge_lane(struct mg_relay *relay)
{
    int i = 0;
    while (relay->beside[i] && relay->beside[i]->busy)
        i++;                           /* one is free: no more run than the plan allows */
    if (!relay->beside[i]) {
        relay->beside[i] = mg_new(struct mg_lane);
        relay->beside[i]->relay = relay;
    }
    return relay->beside[i];
}

/* The next target of the plan that may be called at once, and that may be repeated on. Entries that are passed over
 * stay passed: the hedge stands where the fallback would have. */
static bool seek_beside(struct mg_relay *relay, struct mg_find *find)
{
    while (relay->entry + 1 < relay->call.plan->count) {
        mg_relay_next_entry(relay);
        if (!mg_relay_seek(relay, find)) {
            if (find->full != NO_CANDIDATE)
                mg_relay_skip(relay, find->full, find->full_text);     /* nobody waits to be beside */
            continue;
        }
        const struct mg_reach *reach = &relay->call.route->reaches[find->candidate];
        if (mg_retry_budget_take(reach->budget, &workflow(relay)->retry_budget, now_us(relay)))
            return true;
        mg_reach_abandon(&find->pass, now_us(relay), relay->call.worker);
        if (relay->call.ops->on_settled)
            relay->call.ops->on_settled(relay->call.arg, find->candidate, NULL);
        mg_relay_skip(relay, find->candidate, "its retry budget has nothing left for a hedge");
        return false;
    }
    return false;
}

static void on_hedge(struct mg_timer *timer)
{
    struct mg_relay *relay = mg_container_of(timer, struct mg_relay, hedge);
    struct mg_find find;
    int entry_before = relay->entry;
    uint32_t tries_before = relay->tries;
    if (relay->state != MG_RELAY_RUNNING || relay->committed || mg_relay_spent(relay) || !relay->first.busy)
        return;
    if (!seek_beside(relay, &find)) {
        relay->entry = entry_before;
        relay->tries = tries_before;
        return;
    }
    relay->hedges++;
    relay->reason = MG_REASON_hedge;
    relay->why = mg_arena_printf(arena(relay), "hedge: no first token of %s yet", target_of(relay, relay->first.candidate)->id);
    struct mg_lane *lane = hedge_lane(relay);
    mg_err err = mg_relay_start_lane(relay, lane, &find);
    if (err == MG_OK)
        mg_relay_arm_hedge(relay, lane);
    else
        mg_timeline_note(timeline(relay), now_us(relay), "hedge", "could not be built: %s", mg_err_text(err));
}

static uint32_t hedge_after_ms(const struct mg_relay *relay, const struct mg_lane *lane)
{
    uint32_t after_ms = relay->call.plan->entries[lane->entry].hedge_after_ms;
    if (after_ms != MG_HEDGE_P95)
        return after_ms;
    struct mg_stats_figures seen;
    mg_stats_read(lane->pass.reach->stats, &seen);
    return seen.calls >= HEDGE_WANTS_CALLS ? (uint32_t)MG_MIN(seen.p95_us / 1000 + 1, UINT64_C(600000)) : 0;
}

void mg_relay_arm_hedge(struct mg_relay *relay, struct mg_lane *lane)
{
    bool may = relay->hedges < relay->call.plan->max_hedges && !relay->committed && !relay->call.feed;
    uint32_t after_ms = may ? hedge_after_ms(relay, lane) : 0;
    if (after_ms)
        mg_timer_start(loop(relay), &relay->hedge, after_ms, on_hedge);
}
