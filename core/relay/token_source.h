/* token_source.h - the token that is sent in the place of a key: made when it is first wanted, kept, renewed before it ends.
 *
 *     take ─▶ there is one ─────────────────────────▶ MG_OK     (near its end it is renewed meanwhile, by nobody's request)
 *          ─▶ none, or the key changed ─▶ a thread asks ─▶ MG_E_AGAIN: mg_token_await() tells when to take again
 *          ─▶ the last try failed a moment ago ──────▶ MG_E_DENIED, and why
 *
 * One source for each credential of each provider, process-wide like the rows of relay/rows.h: it outlives generations, so a
 * reload asks nobody. Each has at most one request under way, whoever waits for it on whichever worker. Lifetimes are counted
 * from when the token came, on the monotonic clock: a wall clock that is wrong does not shorten them. Any thread. */
#ifndef MG_RELAY_TOKEN_SOURCE_H
#define MG_RELAY_TOKEN_SOURCE_H

#include "io/loop.h"
#include "relay/token_make.h"

struct mg_token_source;
struct mg_token_wait;

/* The strings of `spec` are copied. name: "provider#key". NULL: there are too many. */
struct mg_token_source *mg_token_source_find(mg_view scope, mg_view name, const struct mg_token_spec *spec);

/* What to send now for that key, one reference; a key that is a token already is handed back as it is. */
MG_MUST_USE mg_err mg_token_take(struct mg_token_source *source, struct mg_sealed *key, struct mg_sealed **out_token,
                                 struct mg_token_fault *out_fault);

/* Calls back on the loop, once, when the request that is under way has ended, well or not; at once when none is. */
struct mg_token_wait *mg_token_await(struct mg_token_source *source, struct mg_loop *loop, void (*cb)(void *arg), void *arg);
void mg_token_await_cancel(struct mg_token_wait *wait);       /* no callback comes any more; NULL is a no-op */

/* The provider did not take that token. True: it is forgotten and worth asking again with a new one; false: it was new, or
 * no token of ours. */
bool mg_token_refused(struct mg_token_source *source, const struct mg_sealed *token);

/* Ends requests under way and forgets all tokens. When no worker runs any more. */
void mg_token_sources_stop(void);

#endif
