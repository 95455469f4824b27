/* issuer.h - ask the configured identity provider where its endpoints are (OpenID Connect Discovery) and for its keys.
 *
 * Each call is one HTTP request that its caller waits for (vault/ask.h): 15 s and 64 KiB at most, certificates verified, no
 * redirects. Never on a worker. */
#ifndef MG_TENANT_ISSUER_H
#define MG_TENANT_ISSUER_H

#include <stdatomic.h>

#include "config/config.h"
#include "tenant/jwt.h"

enum { MG_ISSUER_URL_BYTES = 512 };

struct mg_issuer {                     /* an endpoint it has not is "" */
    char jwks[MG_ISSUER_URL_BYTES];
    char authorization[MG_ISSUER_URL_BYTES];
    char token[MG_ISSUER_URL_BYTES];
    char device[MG_ISSUER_URL_BYTES];
    bool names_itself;                 /* its answers to a browser have `iss` (RFC 9207) */
};

/* The document must name the issuer as the configuration does, and its endpoints must be https, or on this machine like the
 * issuer itself. `cancel` as in vault/ask.h. The diag has a sentence. */
MG_MUST_USE mg_err mg_issuer_discover(const struct mg_config_oidc *config, const atomic_bool *cancel, struct mg_issuer *out_issuer,
                                      struct mg_diag *diag);
MG_MUST_USE mg_err mg_issuer_keys(const struct mg_config_oidc *config, const struct mg_issuer *issuer, const atomic_bool *cancel,
                                  struct mg_jwks **out_keys, struct mg_diag *diag);

/* A form (application/x-www-form-urlencoded) to one of its endpoints. MG_OK: it answered with this status and a JSON object,
 * which is the caller's to free. */
MG_MUST_USE mg_err mg_issuer_post(const struct mg_config_oidc *config, const char *url, mg_view form, int *out_status,
                                  struct mg_json **out_answer, struct mg_diag *diag);

#endif
