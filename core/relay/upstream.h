/* upstream.h - one provider of one generation, ready to be called: endpoint, dialect, fixed headers.
 *
 * Immutable after mg_upstream_new(); shared by all workers. Holds no credential in clear: the header lines with secrets are
 * written by mg_upstream_put_secrets() when an attempt is about to be sent. */
#ifndef MG_RELAY_UPSTREAM_H
#define MG_RELAY_UPSTREAM_H

#include "chat/adapter.h"
#include "config/config.h"
#include "io/dial.h"
#include "relay/sign.h"
#include "relay/token_source.h"

struct mg_upstream {
    struct mg_arena arena;             /* owns the strings */
    const struct mg_config_provider *config;   /* borrowed from the generation */
    const struct mg_adapter *adapter;  /* borrowed from the generation */
    const struct mg_adapter *spoken[MG_ADAPTER_SPEAKS];      /* others that the same base URL offers; borrowed */
    int spoken_count;
    struct mg_endpoint endpoint;
    struct mg_proxy proxy;             /* used when endpoint.proxy points here */
    mg_view base_path;                 /* "/v1"; no trailing slash */
    mg_view fixed_head;                /* header lines sent with every attempt: host, configured ones */
    const struct mg_config_credential *credentials;   /* borrowed; the provider's, or those of its shared account */
    int credential_count;
    enum mg_auth_kind auth;            /* what becomes of a credential */
    mg_view credential_start;          /* "authorization: Bearer ": what stands before one; empty: it has no header of its own */
    mg_view credential_header;         /* "authorization"; empty: it has none */
    const char *query;                 /* name of the parameter that carries it; NULL: another kind */
    struct mg_token_source **tokens;   /* of each credential; NULL: another kind, whose keys are sent as they are */
    const char *region, *service;      /* what a signature is for; NULL: another kind */
};

/* What is sent of secrets; views into the locked memory it was made in. */
struct mg_upstream_secrets {
    mg_view query;                     /* goes behind the request target */
    mg_view lines;                     /* header lines */
    struct mg_sealed *used;            /* a reference to what the answer may repeat of the credential; NULL: nothing */
};

/* Makes what holds secrets for a request of that head and body: of the credential of that index (-1: none), or in its
 * place `given`: the client's own, or a token made of it (NULL: neither), and of the configured headers. `out` is empty. MG_E_NOT_FOUND: a secret is not
 * (or no longer) in the vault; MG_E_DENIED: one does not open; MG_E_BAD_REQUEST: it is not of the kind that is wanted. */
MG_MUST_USE mg_err mg_upstream_put_secrets(const struct mg_upstream *upstream, int credential, struct mg_sealed *given, mg_view head,
                                           const struct mg_body *body, struct mg_locked *out, struct mg_upstream_secrets *out_secrets);

/* The token to send in the place of that credential, as mg_token_take() has it; *out_token NULL: this one is sent as it is. */
MG_MUST_USE mg_err mg_upstream_take_token(const struct mg_upstream *upstream, int credential, struct mg_sealed **out_token,
                                          struct mg_token_fault *out_fault);

/* Connections are pooled per project, so that no answer on one can ever reach another project. base_url NULL: the
 * provider's, or the adapter's. account: the shared one the provider names; NULL: it has its own keys. default_proxy is the gateway's `proxy`, NULL: the
 * environment decides. Reads certificate files: not on a worker's loop. The diag names the provider. */
MG_MUST_USE mg_err mg_upstream_new(const char *project, const struct mg_config_provider *config,
                                   const struct mg_adapter *adapter, const struct mg_config_account *account,
                                   const char *base_url, const char *default_proxy,
                                   struct mg_upstream **out_upstream, struct mg_diag *diag);
void mg_upstream_free(struct mg_upstream *upstream);          /* NULL is a no-op */

/* Another adapter that the same base URL offers, at most MG_ADAPTER_SPEAKS; borrowed. Before anybody else sees the upstream. */
void mg_upstream_speaks(struct mg_upstream *upstream, const struct mg_adapter *adapter);

/* The adapter to speak to it with: one of that dialect that offers the surface, or a conversation; else its own. */
const struct mg_adapter *mg_upstream_adapter(const struct mg_upstream *upstream, const char *dialect, const char *surface);

/* True when a header of that name is among the fixed ones, or carries the credential or the idempotency key: the client's is then not forwarded. */
bool mg_upstream_sets(const struct mg_upstream *upstream, mg_view name);

/* A URL's parts; views into url. False when it is no http(s) URL with a host. */
struct mg_url {
    bool https;
    mg_view host;                      /* without brackets */
    int port;
    mg_view path;                      /* without a trailing slash; may be empty */
};
bool mg_url_parse(mg_view url, struct mg_url *out_url);

#endif
