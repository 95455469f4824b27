/* signin.h - tokens of the identity provider that gateway.lua names (admin.oidc): its keys, read by a thread of their own, and
 * who a token's bearer is.
 *
 *     at start, then each hour ──▶ discovery, keys ──▶ good: kept, for a day at most without hearing again
 *     unknown key ──▶ at once, once in 5 s           failed: the last good ones stay; again in 5 s, 10 s … 5 min
 *
 * A provider that does not answer holds nothing up: not the start, no request, no worker. Checking a token waits for no
 * network. Any thread but a worker's. */
#ifndef MG_GATEWAY_SIGNIN_H
#define MG_GATEWAY_SIGNIN_H

#include "config/config.h"
#include "tenant/members.h"

struct mg_signin;

/* NULL when the configuration names no provider. `config` is borrowed until mg_signin_stop(). */
MG_MUST_USE mg_err mg_signin_start(const struct mg_config_oidc *config, struct mg_signin **out_signin, struct mg_diag *diag);
void mg_signin_stop(struct mg_signin *signin);                /* ends a request that is under way; NULL is a no-op */

/* Is this text a token of this kind at all? */
bool mg_signin_takes(const struct mg_signin *signin, mg_view token);      /* NULL: false */

/* MG_OK; MG_E_DENIED: refused; MG_E_AGAIN: there are no keys, or they are being read because its own is not among them: worth
 * another try in a second. *out_why: a sentence for whoever brought it, static. */
MG_MUST_USE mg_err mg_signin_identify(struct mg_signin *signin, mg_view token, struct mg_identity *out_identity, const char **out_why);

struct mg_signin_status {
    const char *issuer;                /* borrowed from the configuration; NULL: there is none */
    size_t keys;                       /* 0: none were read yet, or they are too old */
    uint64_t read_us;                  /* wall clock; of the keys; 0: never */
    uint64_t accepted, refused;        /* tokens */
    uint64_t failures;                 /* of reading the keys */
    char error[768];                   /* of the last reading; "": it was good */
};
/* signin NULL: all zero. */
void mg_signin_status(struct mg_signin *signin, struct mg_signin_status *out_status);

#endif
