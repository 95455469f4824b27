/* key_spec.h - what somebody wants a key to be: read from the JSON that the admin API takes and the command line sends.
 *
 * One reading for both, so that `moongate key create` with and without a running gateway accept the same and complain in
 * the same words. */
#ifndef MG_TENANT_KEY_SPEC_H
#define MG_TENANT_KEY_SPEC_H

#include "base/arena.h"
#include "config/config.h"

struct mg_json;

enum mg_key_field {                    /* bits: what a change is about */
    MG_KEY_NAME = 1,
    MG_KEY_EXPIRES = 2,
    MG_KEY_METADATA = 4,
    MG_KEY_WORKFLOWS = 8,
    MG_KEY_LIMITS = 16,
};

struct mg_keys_spec {
    const char *project;               /* of a new key */
    const char *name;                  /* may be empty */
    uint64_t expires_us;               /* wall clock; 0: never */
    const char *metadata;              /* JSON object; NULL: none */
    const char *workflows;             /* JSON array of names; NULL: all of the project */
    const char *limits;                /* JSON object; NULL: none of its own */
    unsigned given;                    /* mg_key_field bits: what a change sets; the rest stays */
};

/* {"project", "name"?, "expires_us"?, "metadata"?, "workflows"?, "limits"?}; null is none. False: *out_bad says what is
 * wrong. Texts lie in the arena. `change`: no project is wanted and anything may be missing. */
bool mg_key_spec_read(const struct mg_json *body, bool change, struct mg_arena *arena, struct mg_keys_spec *out_spec,
                      const char **out_bad);

/* {"requests_per_minute"?, "burst"?, "tokens_per_minute"?, "concurrency"?, "budget"?: {"per"?, "usd", "soft"?} or a list of
 * them}, as in the configuration of a project. */
bool mg_key_limits_read(const struct mg_json *limits, struct mg_limit_set *out_set, const char **out_bad);

#endif
