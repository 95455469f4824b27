/* passthrough_path.h - what a client may ask for below /providers/NAME, and what that is at the vendor.
 *
 * Two programs that read a path in two ways are how rules are walked around. So whatever could be read in two ways is
 * refused, not mended: dot segments, empty segments, backslashes, a percent sign that is itself encoded, control bytes.
 * Rules are held against the path decoded. Pure functions; any thread. */
#ifndef MG_GATEWAY_PASSTHROUGH_PATH_H
#define MG_GATEWAY_PASSTHROUGH_PATH_H

#include "base/arena.h"
#include "config/config.h"
#include "relay/upstream.h"

/* "/providers/openai/v1/files" is "openai" and "/v1/files". False: there is no name, or nothing behind it. */
bool mg_passthrough_split(mg_view path, mg_view *out_name, mg_view *out_rest);

/* Where at the vendor it stands. base_path "/openai/v1": "/files", "/v1/files" and "/openai/v1/files" are the same, and
 * "/v2/files" is another; nothing leads out of "/openai". */
struct mg_passthrough_place {
    mg_view path;                      /* at the vendor: "/openai/v1/files" */
    mg_view ruled;                     /* what rules speak of: from the version on, however it was spelt: "/v1/files" */
    mg_view below;                     /* base_path: "/files"; empty: it is not below it */
};
void mg_passthrough_place(struct mg_arena *arena, mg_view base_path, mg_view rest, struct mg_passthrough_place *out_place);

/* A path decoded, in the arena, without a slash at its end. NULL: it is refused, and *out_why says why. */
const char *mg_passthrough_decode(struct mg_arena *arena, mg_view path, const char **out_why);

/* NULL: it may be called; else a sentence that says why not. `decoded`: place.ruled. */
const char *mg_passthrough_denies(const struct mg_config_passthrough *rules, mg_view method, const char *decoded);

/* The query without parameters that carry keys (`query`, may be NULL, is the vendor's own); in the arena. */
mg_view mg_passthrough_query(struct mg_arena *arena, mg_view query, const char *vendors);

/* A header of the client that stays here, beside those that every client's do. */
bool mg_passthrough_keeps(mg_view name);

/* A header of the answer that stays here, beside those that every answer's do. */
bool mg_passthrough_hides(mg_view name);

/* An operation whose requests and answers the gateway can read. */
struct mg_passthrough_operation {
    const struct mg_adapter *adapter;  /* its own, or one that it speaks */
    const struct mg_adapter_operation *row;
    mg_view model;                     /* as the path names it, decoded; empty: the body does */
    bool stream;                       /* the path says that the answer is streamed */
};

/* `below`: as place.below. False: nobody knows what it does. */
bool mg_passthrough_find(struct mg_arena *arena, const struct mg_upstream *upstream, mg_view method, mg_view below,
                         struct mg_passthrough_operation *out_operation);

#endif
