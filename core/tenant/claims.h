/* claims.h - what a token of the configured identity provider says: whether it is meant for us and holds now, who brought it, and
 * what admin.oidc.roles make of that.
 *
 * For tokens whose signature is good (tenant/jwt.h). Clocks may differ by 60 s. Any thread. */
#ifndef MG_TENANT_CLAIMS_H
#define MG_TENANT_CLAIMS_H

#include "tenant/jwt.h"
#include "tenant/members.h"

/* MG_OK, or MG_E_DENIED and *out_why, a sentence for whoever brought it, static:
 *
 *     iss      is the configured issuer, letter by letter
 *     aud      has one of the audiences; where that is our client and there are others, azp is our client too
 *     exp      is there and not over; nbf and iat, where they are there, are not to come
 *     iat      is there and not longer ago than max_age_ms, if that is configured
 *     sub      is there
 *     nonce    is this one; NULL: not looked at
 *     cnf      is not there: such a token is bound to a key, and whoever brings it alone has stolen it
 *     events   is not there: that is a message between servers */
MG_MUST_USE mg_err mg_claims_check(const struct mg_config_oidc *config, const struct mg_json *claims, uint64_t now_us,
                                   const char *nonce, const char **out_why);

/* Who it is: "oidc:" and the configured claim, else sub. Bytes that would not stand well in a log are written %XX, and a
 * long one is cut and gets a piece of its hash, so that no two people have one name. The grants are those of all rules that
 * fit; none: MG_E_DENIED. An email that says it is not verified is none. */
MG_MUST_USE mg_err mg_claims_identity(const struct mg_config_oidc *config, const struct mg_json *claims,
                                      struct mg_identity *out_identity, const char **out_why);

#endif
