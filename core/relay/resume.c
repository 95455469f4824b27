/* An answer that broke off after its beginning was sent: another attempt goes on with it (relay/rescue.h, relay/sent.h). */
#include "relay/relay_parts.h"
#include "relay/translated.h"

/* ---- rescue ---------------------------------------------------------------------------------- */

static void on_resume_again(struct mg_timer *timer)
{
    mg_relay_next(mg_container_of(timer, struct mg_relay, pause));
}

/* What the client has, of a dialect whose blocks are written on; NULL: nothing that can be gone on with. */
static const struct mg_resumed *said(const struct mg_relay *relay, int candidate)
{
    struct mg_translation what;
    mg_relay_describe(relay, candidate, &relay->call.call->request, &what);
    what.provider = what.client;
    return mg_sent_said(relay->sent, relay->call.translator, &what);
}

/* Bytes of text that the client has. */
static uint64_t sent_bytes(const struct mg_relay *relay, int candidate)
{
    if (!relay->sent)
        return mg_rescue_bytes(relay->rescue);
    const struct mg_resumed *has = said(relay, candidate);
    return has ? mg_resumed_bytes(has) : 0;
}

static bool is_resumable(const struct mg_relay *relay, int candidate)
{
    return relay->sent ? said(relay, candidate) != NULL : relay->rescue && mg_rescue_possible(relay->rescue);
}

bool mg_relay_can_rescue(const struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict)
{
    bool mends = verdict->action == MG_ACTION_retry || verdict->action == MG_ACTION_fallback || verdict->action == MG_ACTION_next_key;
    return mends && !mg_relay_spent(relay) && lane->attempt.facts.repeatable && is_resumable(relay, lane->candidate);
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
    if (relay->rescue)
        mg_rescue_regenerate(relay->rescue);
    mg_timeline_note(timeline(relay), now_us(relay), "rescue", "%s broke off after %llu bytes of text",
                     target_of(relay, lane->candidate)->id, (unsigned long long)sent_bytes(relay, lane->candidate));
    mg_relay_next(relay);
    return true;
}

/* The request with what was sent; an error: no prefill can go on with it. */
static mg_err prefill_request(const struct mg_relay *relay, int candidate, struct mg_request *out_request)
{
    const struct mg_request *request = &relay->call.call->request;
    if (!relay->sent)
        return mg_rescue_prefill_request(relay->rescue, request, arena(relay), out_request);
    const struct mg_resumed *has = said(relay, candidate);
    if (!has || !mg_resumed_only_text(has))
        return MG_E_PROTOCOL;
    return mg_rescue_append_text(request, mg_resumed_text(has, MG_DELTA_TEXT), arena(relay), out_request);
}

/* The lane is inside its own callback: it is started again a little later. */
static void try_prefill(struct mg_relay *relay, struct mg_lane *lane)
{
    int candidate = lane->candidate;
    struct mg_request *prefill = mg_arena_new(arena(relay), struct mg_request);
    bool can = !relay->prefill && target_of(relay, candidate)->prefill && !mg_relay_spent(relay) &&
               prefill_request(relay, candidate, prefill) == MG_OK;
    if (!can) {
        mg_timeline_note(timeline(relay), now_us(relay), "rescue", "given up: the texts differ, and %s takes no prefill",
                         target_of(relay, candidate)->id);
        mg_relay_finish(relay);
        return;
    }
    if (relay->rescue)
        mg_rescue_prefill(relay->rescue);
    relay->prefill = prefill;
    relay->again = relay->free_of = candidate;
    relay->why = mg_arena_printf(arena(relay), "rescue: %s goes on from the sent text", target_of(relay, candidate)->id);
    mg_relay_set_state(relay, MG_RELAY_WAITING);
    mg_timer_start(loop(relay), &relay->pause, 0, on_resume_again);
}

void mg_relay_diverged(struct mg_relay *relay, struct mg_lane *lane)
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

void mg_relay_pass_seam(struct mg_relay *relay, struct mg_lane *lane)
{
    if (!lane->goes_on)
        seam(relay, lane, sent_bytes(relay, lane->candidate));
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
    case MG_RESUME_DIVERGED: mg_relay_diverged(relay, lane); return false;
    default: return false;
    }
}
