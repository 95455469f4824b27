/* caller_keys.h - keys that a client brings for single providers: `x-moongate-key-openai: sk-…`.
 *
 * They are sealed under the process's key as soon as the request's head is there, and starred out where they stood. A key is
 * for the provider it names and for this exchange alone: attempts at that provider use it and none of the project's, and
 * nothing that happens to it is held against the project's keys. What is counted by key (breakers) is counted by a bucket of
 * a fingerprint, so that a client can neither fill a table nor stop many others. */
#ifndef MG_RELAY_CALLER_KEYS_H
#define MG_RELAY_CALLER_KEYS_H

#include "chat/call.h"
#include "vault/sealed.h"

#define MG_CALLER_HEADER "x-moongate-key-"
#define MG_CALLER_KEY_NAME "@caller"   /* what stands in records in place of a credential's name */

struct mg_caller_key {
    mg_view provider;                  /* in the arena */
    struct mg_sealed *sealed;          /* one reference, the arena's */
    unsigned bucket;                   /* < MG_MAX_CALLER_BUCKETS */
};

struct mg_caller_keys {
    struct mg_caller_key keys[MG_MAX_CALLER_KEYS];
    int count;
};

/* Seals what the headers hold; *out_keys stays NULL when there is nothing. Values are covered whatever comes out. The arena
 * owns the keys. MG_E_BAD_REQUEST: *out_why says in a sentence what is wrong with them. */
MG_MUST_USE mg_err mg_caller_keys_take(struct mg_headers headers, struct mg_arena *arena, struct mg_caller_keys **out_keys,
                                       const char **out_why);

/* The one for this provider; NULL: there is none, keys NULL included. */
const struct mg_caller_key *mg_caller_keys_find(const struct mg_caller_keys *keys, mg_view provider);

#endif
