/* translated.h - a target that does not speak the client's dialect: what goes there and what comes back.
 *
 * The request is put into the target's dialect once per target of an exchange, before anything of the target (its breaker,
 * its limits, its money) is asked: a target whose dialect cannot say what was asked is passed over, and when nobody else
 * is left the client reads what stood in the way. The answer is put into the client's dialect right behind the attempt, so
 * that rescue, filters and the client see one dialect only. */
#ifndef MG_RELAY_TRANSLATED_H
#define MG_RELAY_TRANSLATED_H

#include "relay/lane.h"

struct mg_relay;

/* A request in the dialect of one candidate; in the arena. */
struct mg_relay_translated {
    struct mg_relay_translated *next;
    int candidate;
    const struct mg_request *source;   /* the transformed one, or one with a prefill */
    bool same;                         /* the client's own dialect: only what other vendors left in the request is taken out */
    mg_err err;                        /* of the translation */
    struct mg_request request;
    struct mg_translation what;
    struct mg_translation_report report;
};

/* A rescue whose answer is woven on from where the client is, whatever dialect it comes in (sent.h). */
bool mg_lane_writes_on(const struct mg_lane *lane);

/* Does what the lane's target says have to be put into the client's dialect? */
bool mg_lane_answers_translated(const struct mg_lane *lane);

/* What a translation for that candidate is about; without a memo. */
void mg_relay_describe(const struct mg_relay *relay, int candidate, const struct mg_request *source, struct mg_translation *out);

/* The adapter that a candidate is spoken to with: one of the client's dialect if its provider has it. */
const struct mg_adapter *mg_relay_adapter(const struct mg_relay *relay, int candidate);

/* False: nothing can be sent to it; the timeline says why, and *out_text is for the client. */
bool mg_relay_can_say(struct mg_relay *relay, int candidate, mg_view *out_text);

/* What the lane sends: `request` itself, or its translation. */
mg_err mg_lane_translate(struct mg_lane *lane, const struct mg_request *request, const struct mg_request **out_request);

/* An event, a whole answer, and the end of a stream of a lane that translates; what comes out goes to `ops` with the lane.
 * An answer that cannot be translated ends the lane's attempt as invalid. */
void mg_lane_translate_event(struct mg_lane *lane, const struct mg_sse_event *event, const struct mg_tap_event *seen,
                             const struct mg_weave_ops *ops);
bool mg_lane_translate_body(struct mg_lane *lane, mg_view body, mg_view *out_body);
void mg_lane_translate_end(struct mg_lane *lane);

#endif
