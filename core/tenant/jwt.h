/* jwt.h - tokens that somebody else signed (RFC 7515, 7519), and the keys they are signed with (RFC 7517).
 *
 * RS256 with keys of 2048 to 4096 bits and ES256, nothing else: `none` and the HMACs are no algorithms here, so a public key
 * can never be taken for a secret. The key decides: one of RSA checks RS256 only, one of P-256 ES256 only. What a token's head
 * says about where its key lies (jku, jwk, x5u, x5c) is not looked at, and one with `crit` is refused. Nothing here knows
 * what the claims mean (tenant/claims.h). Any thread. */
#ifndef MG_TENANT_JWT_H
#define MG_TENANT_JWT_H

#include "base/buf.h"
#include "http/json.h"

enum mg_jwt_alg { MG_JWT_RS256, MG_JWT_ES256 };

/* ---- keys */

struct mg_jwks;              /* a set of them, immutable */

/* Keys for other uses and of other kinds are passed over. MG_E_BAD_REQUEST: it is no set of keys, or none is of use;
 * MG_E_TOO_LARGE: more than MG_MAX_OIDC_KEYS are. *out_why: a sentence, static. */
MG_MUST_USE mg_err mg_jwks_read(const struct mg_json *set, struct mg_jwks **out_keys, const char **out_why);
void mg_jwks_free(struct mg_jwks *keys);                      /* NULL is a no-op */
size_t mg_jwks_count(const struct mg_jwks *keys);

/* ---- tokens */

struct mg_jwt {
    enum mg_jwt_alg alg;
    mg_view kid;                       /* the key's name, in `head`; empty: it has none */
    mg_view signed_part;               /* borrowed from the text */
    unsigned char signature[512];
    size_t signature_len;
    struct mg_json *head, *claims;     /* owned */
};

/* Takes it apart and believes nothing. MG_E_BAD_REQUEST, MG_E_TOO_LARGE past MG_MAX_OIDC_TOKEN_BYTES; *out_why: a sentence
 * for whoever brought it, static. The text must outlive *out_jwt. */
MG_MUST_USE mg_err mg_jwt_read(mg_view text, struct mg_jwt *out_jwt, const char **out_why);
void mg_jwt_fini(struct mg_jwt *jwt);                         /* of one that was read */

/* MG_OK: one of the keys signed it. MG_E_NOT_FOUND: there is no key of that name and kind; a newer set may have it.
 * MG_E_DENIED: the signature is not that key's. */
MG_MUST_USE mg_err mg_jwt_verify(const struct mg_jwt *jwt, const struct mg_jwks *keys, const char **out_why);

#endif
