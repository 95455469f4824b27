/* An answer that broke off after its beginning was sent: another attempt goes on with it (relay/rescue.h). */
#include "relay/relay_parts.h"
#include "relay/translated.h"

/* ---- rescue ---------------------------------------------------------------------------------- */

static void on_resume_again(struct mg_timer *timer)
{
    mg_relay_next(mg_container_of(timer, struct mg_relay, pause));
}

bool mg_relay_can_rescue(const struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict)
{
    bool mends = verdict->action == MG_ACTION_retry || verdict->action == MG_ACTION_fallback || verdict->action == MG_ACTION_next_key;
    return mends && relay->rescue && mg_rescue_possible(relay->rescue) && !mg_relay_spent(relay) &&
           lane->attempt.facts.repeatable;
}

/* The next target says it all again, and what was sent is left out. */
bool mg_relay_rescue(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict)
{
    if (!mg_relay_can_rescue(relay, lane, verdict))
        return false;
    if (relay->entry + 1 < relay->call.plan->count)
        mg_relay_next_entry(relay);
    relay->reason = MG_REASON_rescue;
    relay->why = mg_relay_words(relay, lane, verdict, "rescue");
    relay->prefill = NULL;
    mg_rescue_regenerate(relay->rescue);
    mg_timeline_note(timeline(relay), now_us(relay), "rescue", "%s broke off after %llu bytes of text",
                     target_of(relay, lane->candidate)->id, (unsigned long long)mg_rescue_bytes(relay->rescue));
    mg_relay_next(relay);
    return true;
}

/* The lane is inside its own callback: it is started again a little later. */
static void try_prefill(struct mg_relay *relay, struct mg_lane *lane)
{
    int candidate = lane->candidate;
    struct mg_request *prefill = mg_arena_new(arena(relay), struct mg_request);
    bool can = !relay->prefill && target_of(relay, candidate)->prefill && !mg_relay_spent(relay) &&
               mg_rescue_prefill_request(relay->rescue, &relay->call.call->request, arena(relay), prefill) == MG_OK;
    if (!can) {
        mg_timeline_note(timeline(relay), now_us(relay), "rescue", "given up: the texts differ, and %s takes no prefill",
                         target_of(relay, candidate)->id);
        mg_relay_finish(relay);
        return;
    }
    mg_rescue_prefill(relay->rescue);
    relay->prefill = prefill;
    relay->again = relay->free_of = candidate;
    relay->why = mg_arena_printf(arena(relay), "rescue: %s goes on from the sent text", target_of(relay, candidate)->id);
    mg_relay_set_state(relay, MG_RELAY_WAITING);
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
bool mg_relay_resume(struct mg_relay *relay, struct mg_lane *lane, const struct mg_sse_event *event,
                   const struct mg_tap_event *seen, struct mg_sse_event *out_event, struct mg_tap_event *out_seen)
{
    const struct mg_adapter *adapter = mg_lane_answers_translated(lane) ? relay->call.client_adapter : lane->adapter;
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
