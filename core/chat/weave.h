/* weave.h - a provider's stream as one of the client's dialect.
 *
 *    event of the provider ─tap─▶ deltas ─▶ blocks ─▶ events of the client ─tap─▶ emit
 *
 * The tap has found text, tool calls and ends already; events that carry something rarer are read by the dialect's Lua.
 * Here they become blocks: which one is open, when it ends, what must wait. Most dialects let a block begin only when the
 * one before has ended; there a tool call that comes between the pieces of another waits until that one's arguments are
 * whole. Ends and usage wait for the end of the provider's stream, because some send their usage last.
 *
 * What is emitted lies in a buffer of the weave until flush. Loop thread only. */
#ifndef MG_CHAT_WEAVE_H
#define MG_CHAT_WEAVE_H

#include "chat/adapter.h"
#include "chat/translator.h"
#include "http/sse.h"

struct mg_weave_ops {
    void (*emit)(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen);
    void (*flush)(void *arg);          /* views into what was emitted end here */
};

struct mg_weave;

/* client: the adapter whose taps read the client's dialect. MG_E_SCRIPT: the dialect failed. */
MG_MUST_USE mg_err mg_weave_new(const struct mg_translator *translator, const struct mg_translation *what,
                                const struct mg_adapter *client, const struct mg_weave_ops *ops, void *arg,
                                struct mg_weave **out_weave);
void mg_weave_free(struct mg_weave *weave);          /* NULL is a no-op; also from inside emit and flush */

/* Before anything else: the stream is the rest of `sent`, whole events of the client's dialect that broke off (resumed.h).
 * goes_on: the provider was given what they said and does not say it again. MG_E_DENIED: nobody can go on with them. */
MG_MUST_USE mg_err mg_weave_resume(struct mg_weave *weave, mg_view sent, bool goes_on);

/* One event of the provider as its tap saw it. MG_E_SCRIPT, MG_E_TOO_LARGE, MG_E_PROTOCOL (a call whose block had to end
 * has more arguments): the stream cannot go on. MG_E_EXISTS: it says something else than what the client has. */
MG_MUST_USE mg_err mg_weave_event(struct mg_weave *weave, const struct mg_tap *tap, const struct mg_sse_event *event,
                                  const struct mg_tap_event *seen);
/* Nobody has views into what was emitted any more. */
void mg_weave_flushed(struct mg_weave *weave);

/* The provider's stream is complete: what waited is written. Once; harmless again. */
MG_MUST_USE mg_err mg_weave_end(struct mg_weave *weave, const struct mg_tap *tap);

#endif
