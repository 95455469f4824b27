/* call.h - the facts of one client request that policy, plugins and adapters may see.
 *
 * Embedded in the exchange (gateway/), read and edited through Lua views (script/). Views point
 * into the exchange's arena and die with it. Loop thread only. */
#ifndef MG_CHAT_CALL_H
#define MG_CHAT_CALL_H

#include "base/arena.h"
#include "chat/request.h"
#include "http/headers.h"
#include "meter/timeline.h"

struct mg_loop;
struct mg_config_workflow;
struct mg_prices;
struct mg_caller_keys;

struct mg_call {
    struct mg_arena *arena;            /* the exchange's */
    struct mg_loop *loop;              /* of its worker */
    struct mg_timeline *timeline;      /* its record; plugin notes go here */
    const struct mg_headers *headers;  /* of the client; credentials are never shown to Lua */
    struct mg_request request;         /* the body, scanned; edited by hooks */
    mg_view project, workflow, key_id, session;
    mg_view metadata;                  /* JSON object text; empty: none */
    struct mg_caller_keys *caller_keys;          /* that it brought for providers (relay/caller_keys.h); NULL: none */
    mg_view key_metadata;              /* JSON object text; empty: none */
    const char *dialect;               /* "openai" */
    const char *surface;               /* "chat", "completions", "embeddings" */
    const struct mg_config_workflow *flow;       /* what was asked for; NULL: nothing is known of it */
    const struct mg_prices *prices;    /* of models without a price of their own; NULL: nobody's are known */
    uint64_t deadline_us;              /* monotonic */
    uint32_t default_deadline_ms;      /* the workflow's, cut by the client's header and the project's maximum */
    uint32_t default_max_attempts;
    bool finished;                     /* views raise "request is finished" */
};

/* What the client will get, for on_response. */
struct mg_call_response {
    int status;
    mg_view target;
    mg_view body;                      /* whole answer when it was not streamed (≤ HELD_BYTES), else empty */
    mg_view text;                      /* content of choice 0, decoded */
    mg_view finish;                    /* finish reason of choice 0 */
    uint32_t attempts;
    struct mg_usage usage;
    bool streamed;
    bool sent;                         /* bytes went to the client: retry and replace are refused */
};

#endif
