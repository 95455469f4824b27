/* token_make.h - a short-lived token for a key that is not sent itself: asks Google's or Microsoft's token endpoint for one.
 *
 * The key is a JSON document in the vault: the file of a Google service account (a JWT signed with it, RS256, is what the
 * endpoint is asked with: RFC 7523), {"type": "metadata_server"} for the identity of the machine, or an application of
 * Microsoft Entra ({"tenant", "client_id", "client_secret"}, also under the names of `az ad sp create-for-rbac`). Blocking, for
 * a thread of its own; what is in clear of the key is wiped. */
#ifndef MG_RELAY_TOKEN_MAKE_H
#define MG_RELAY_TOKEN_MAKE_H

#include <stdatomic.h>

#include "chat/adapter.h"
#include "vault/sealed.h"

struct mg_token_spec {                 /* all borrowed */
    enum mg_auth_kind kind;            /* gcp or entra */
    const char *scope;                 /* what the token is for */
    const char *url;                   /* where tokens are asked for; NULL: where the vendor has them */
    const char *ca;                    /* PEM file, of that url; NULL: the system's */
    bool operators;                    /* the key stands in gateway.lua: only then it may be the machine's own identity */
};

struct mg_token_made {
    struct mg_sealed *token;           /* one reference */
    uint64_t lasts_s;                  /* as the endpoint said it */
};

/* Why there is none: what kind of failure that is of an attempt, and a sentence for people without anything secret. */
struct mg_token_fault {
    enum mg_class class_;              /* auth: the key; network, timeout_connect, server_error: the endpoint */
    char text[320];
};

/* Whether the text is a key that tokens are made from; anything else is a token already. */
bool mg_token_is_key(mg_view text);

/* MG_E_DENIED: *out_fault says why. MG_E_CANCELLED. */
MG_MUST_USE mg_err mg_token_make(const struct mg_token_spec *spec, const struct mg_sealed *key, const atomic_bool *cancel,
                                 struct mg_token_made *out_made, struct mg_token_fault *out_fault);

/* The text that a service account's key signs, and its signature: header.claims.signature. `pem` ends with a NUL. For tests, too. */
struct mg_token_claims {
    mg_view issuer, key_id, scope, audience;
    uint64_t now_s;                    /* wall clock */
};
MG_MUST_USE mg_err mg_token_assertion(const struct mg_token_claims *claims, const char *pem, size_t pem_size, struct mg_buf *out);

#endif
