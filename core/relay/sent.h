/* sent.h - what a client was sent of a stream whose blocks a rescue writes on with (chat/resumed.h).
 *
 * Chat completions need none of this: their events are alike, and rescue.h cuts them. In the other dialects blocks begin
 * and end, and are numbered; there the events themselves are kept (≤ BUFFERED_BYTES), read back when a stream breaks off,
 * and the next attempt's answer goes through a weave that writes on where they end. One per exchange, in its arena. */
#ifndef MG_RELAY_SENT_H
#define MG_RELAY_SENT_H

#include "base/arena.h"
#include "chat/resumed.h"
#include "http/sse.h"

struct mg_sent;

struct mg_sent *mg_sent_new(struct mg_arena *arena);             /* freed by the arena */

/* An event that is handed on. MG_E_TOO_LARGE, once: more than can be kept; the stream cannot be resumed. */
mg_err mg_sent_put(struct mg_sent *sent, const struct mg_sse_event *event);

mg_view mg_sent_view(const struct mg_sent *sent);                /* until the next event */

/* What it says; NULL: nothing that can be gone on with. Until the next event. `what`: client and provider are the client's
 * dialect. */
const struct mg_resumed *mg_sent_said(struct mg_sent *sent, const struct mg_translator *translator, const struct mg_translation *what);

#endif
