/* login.h - how somebody signs in at the identity provider: the two ways of `moongate login`, and what they share.
 *
 * Blocking; for the CLI. What the provider says is shown to a person without control characters, so that it cannot speak to the
 * terminal. Tokens end in out-buffers that the caller wipes. */
#ifndef MG_CLI_LOGIN_H
#define MG_CLI_LOGIN_H

#include "base/buf.h"
#include "tenant/issuer.h"

enum { MG_LOGIN_RANDOM_BYTES = 48, MG_LOGIN_PATIENCE_S = 300 };

struct mg_login {
    const struct mg_config_oidc *config;
    struct mg_issuer issuer;
    const char *resource;              /* what an access token shall be for (RFC 8707); NULL: nothing is asked */
    char nonce[MG_LOGIN_RANDOM_BYTES]; /* that the ID token must repeat; "": none was sent */
};

/* Device authorization grant (RFC 8628): shows an address and a code, and asks until the person is done. Fills *out_tokens, the
 * token endpoint's answer; the caller frees it. */
MG_MUST_USE mg_err mg_login_device(struct mg_login *login, struct mg_json **out_tokens, struct mg_diag *diag);

/* Authorization code with PKCE (RFC 7636): shows an address for a browser on this machine and waits for it to come back to a port
 * of the loopback interface (RFC 8252). Sets login->nonce. */
MG_MUST_USE mg_err mg_login_browser(struct mg_login *login, struct mg_json **out_tokens, struct mg_diag *diag);

/* ---- shared */

/* 256 random bits in base64url. */
MG_MUST_USE mg_err mg_login_random(char out[MG_LOGIN_RANDOM_BYTES]);
/* "&name=value", or "name=value" as the first; a value that is NULL is left out. */
MG_MUST_USE mg_err mg_login_put(struct mg_buf *form, const char *name, const char *value);
/* Text of the provider for a person: printable ASCII, the rest as '?'; cut to size. */
const char *mg_login_shown(mg_view text, char *room, size_t size);
/* What an answer with "error" means: MG_E_DENIED with a sentence. */
mg_err mg_login_refused(const struct mg_json *answer, struct mg_diag *diag);

#endif
