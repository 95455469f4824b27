/* rescue.h - goes on with a stream that broke off, from another attempt, without splicing two texts.
 *
 * While an answer is streamed every text handed on is kept (≤ RESUMED_BYTES): per choice its content, its reasoning and
 * its tool calls. When the attempt fails, the next one generates again from the start, and what it says is held against
 * what was sent: the common prefix is suppressed, and what comes after it goes on. Where it differs before the end of
 * what was sent, the rescue has failed: the caller may try once more by prefill, with an assistant message that holds
 * the sent text, and takes then whatever comes as the continuation.
 *
 *    RECORDING ──mg_rescue_regenerate()──▶ MATCHING ──all of it matched──▶ FLOWING (records on)
 *        │                                    └── differs ──▶ DIVERGED
 *        └──────mg_rescue_prefill()──▶ FLOWING
 *
 * Tool calls are matched by index: name and arguments must be identical as far as they were sent; the id the client
 * knows stays. One per exchange, in its arena. Loop thread only. */
#ifndef MG_RELAY_RESCUE_H
#define MG_RELAY_RESCUE_H

#include "chat/adapter.h"
#include "chat/request.h"
#include "http/sse.h"

struct mg_rescue;

struct mg_rescue *mg_rescue_new(struct mg_arena *arena);         /* freed by the arena */

/* An event of the first attempt that is handed on: its texts and tool calls are noted. All of them must be told, blank
 * texts before the first content too. MG_E_TOO_LARGE, once: more than can be kept, or something in it cannot be compared
 * (more choices than 8, a refusal, texts in another form): from now on the stream cannot be resumed. */
mg_err mg_rescue_record(struct mg_rescue *rescue, const struct mg_sse_event *event, const struct mg_tap_event *seen);
bool mg_rescue_possible(const struct mg_rescue *rescue);
bool mg_rescue_has_tools(const struct mg_rescue *rescue);        /* a tool call was begun */
uint64_t mg_rescue_bytes(const struct mg_rescue *rescue);        /* of text that was sent so far, decoded */

void mg_rescue_regenerate(struct mg_rescue *rescue);             /* MATCHING from the start */
void mg_rescue_prefill(struct mg_rescue *rescue);

enum mg_resume_step {
    MG_RESUME_SUPPRESS,                /* all of it was sent already (or it is only a role): hand nothing on */
    MG_RESUME_FORWARD,                 /* hand *out_event and *out_seen on: the rest of it, or all of it */
    MG_RESUME_DIVERGED                 /* another text: stop this attempt */
};
/* An event of the new attempt. What is handed on is noted here: mg_rescue_record() is not called for it. *out_event's
 * bytes live until the next call. A finish before all was matched diverges, and so does a choice that had not begun.
 * What the client must get once is cut: role, id and type of a tool call it knows; `id` and `created` become those of the
 * first event. All other bytes stay (`logprobs` of an event that is handed on in part still tell all of it). */
enum mg_resume_step mg_rescue_event(struct mg_rescue *rescue, const struct mg_adapter *adapter,
                                    const struct mg_sse_event *event, const struct mg_tap_event *seen,
                                    struct mg_sse_event *out_event, struct mg_tap_event *out_seen);
bool mg_rescue_matching(const struct mg_rescue *rescue);         /* not everything sent was seen again yet */

/* The request with one more message: the assistant's text so far (of choice 0); if the conversation ended with an
 * assistant's text already, that one goes on. MG_E_PROTOCOL: more than one choice was sent or asked for, or tool calls or
 * reasoning were sent, which no prefill can continue; MG_E_TOO_LARGE: more messages or bytes than a request may have. The
 * views of *out_request live in the arena; request is not touched. */
MG_MUST_USE mg_err mg_rescue_append_text(const struct mg_request *request, mg_view text, struct mg_arena *arena,
                                         struct mg_request *out_request);      /* for any text */
MG_MUST_USE mg_err mg_rescue_prefill_request(const struct mg_rescue *rescue, const struct mg_request *request,
                                             struct mg_arena *arena, struct mg_request *out_request);

#endif
