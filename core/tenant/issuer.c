#include "tenant/issuer.h"

#include <stdio.h>

#include "base/mem.h"
#include "vault/ask.h"

enum { ANSWER_BYTES = 65536 };

#define DISCOVERY "/.well-known/openid-configuration"

static mg_err unfit(struct mg_diag *diag, const char *what)
{
    return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider: %s", what);
}

/* One request and the JSON object it answers. */
static mg_err ask(const struct mg_ask *ask, int *out_status, struct mg_json **out_json, struct mg_diag *diag)
{
    struct mg_buf body;
    struct mg_json *json = NULL;
    mg_buf_init(&body, ANSWER_BYTES);
    mg_err err = mg_ask(ask, out_status, &body, diag);
    if (err == MG_OK && (mg_json_parse(mg_buf_view(&body), ANSWER_BYTES, &json, NULL) != MG_OK || !mg_json_is(json, MG_JSON_OBJECT)))
        err = mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider answered %d and no JSON object at %s%.*s", *out_status,
                          ask->url, MG_FMT(ask->path));
    if (body.ptr)
        mg_wipe(body.ptr, body.cap);   /* it may hold a token */
    mg_buf_fini(&body);
    if (err == MG_OK)
        *out_json = json;
    else
        mg_json_free(json);
    return err;
}

static mg_err get(const struct mg_config_oidc *config, const char *url, mg_view path, const atomic_bool *cancel,
                  struct mg_json **out_json, struct mg_diag *diag)
{
    int status;
    const struct mg_ask question = {.method = "GET", .url = url, .path = path, .ca = config->ca, .headers = MG_VIEW("accept: application/json\r\n"),
                                    .whom = "the identity provider", .cancel = cancel};
    MG_TRY(ask(&question, &status, out_json, diag));
    if (status == 200)
        return MG_OK;
    mg_json_free(*out_json);
    return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider answered %d at %s%.*s", status, url, MG_FMT(path));
}

mg_err mg_issuer_post(const struct mg_config_oidc *config, const char *url, mg_view form, int *out_status, struct mg_json **out_answer,
                      struct mg_diag *diag)
{
    const struct mg_ask question = {.method = "POST", .url = url, .ca = config->ca, .body = form, .whom = "the identity provider",
                                    .headers = MG_VIEW("accept: application/json\r\ncontent-type: application/x-www-form-urlencoded\r\n")};
    return ask(&question, out_status, out_answer, diag);
}

/* ---- discovery ------------------------------------------------------------------------------- */

static bool is_safe(const struct mg_config_oidc *config, mg_view url)
{
    for (size_t i = 0; i < url.len; i++)
        if (url.ptr[i] <= ' ' || url.ptr[i] >= 0x7f)
            return false;              /* it goes into a request line */
    return mg_ask_is_private(url) && (!mg_ask_is_here(url) || mg_ask_is_here(mg_view_cstr(config->issuer)));
}

/* What is missing becomes "". */
static bool read_endpoint(const struct mg_config_oidc *config, const struct mg_json *document, const char *name,
                          char out[MG_ISSUER_URL_BYTES])
{
    mg_view url = mg_json_string(mg_json_get(document, name));
    snprintf(out, MG_ISSUER_URL_BYTES, "%.*s", MG_FMT(url));
    return url.len == 0 || (url.len < MG_ISSUER_URL_BYTES && is_safe(config, url));
}

static mg_err read_document(const struct mg_config_oidc *config, const struct mg_json *document, struct mg_issuer *out_issuer,
                            struct mg_diag *diag)
{
    struct mg_issuer issuer = {
        .names_itself = mg_json_bool(mg_json_get(document, "authorization_response_iss_parameter_supported"), false)};
    mg_view named = mg_json_string(mg_json_get(document, "issuer"));
    if (!mg_view_eq(named, mg_view_cstr(config->issuer)))
        return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "admin.oidc.issuer is \"%s\" but the provider there calls itself \"%.*s\"",
                           config->issuer, MG_FMT(named));
    if (!read_endpoint(config, document, "jwks_uri", issuer.jwks) ||
        !read_endpoint(config, document, "authorization_endpoint", issuer.authorization) ||
        !read_endpoint(config, document, "token_endpoint", issuer.token) ||
        !read_endpoint(config, document, "device_authorization_endpoint", issuer.device))
        return unfit(diag, "one of its endpoints is not https");
    if (!*issuer.jwks)
        return unfit(diag, "it does not say where its keys are (jwks_uri)");
    *out_issuer = issuer;
    return MG_OK;
}

mg_err mg_issuer_discover(const struct mg_config_oidc *config, const atomic_bool *cancel, struct mg_issuer *out_issuer,
                          struct mg_diag *diag)
{
    struct mg_json *document;
    MG_TRY(get(config, config->issuer, MG_VIEW(DISCOVERY), cancel, &document, diag));
    mg_err err = read_document(config, document, out_issuer, diag);
    mg_json_free(document);
    return err;
}

mg_err mg_issuer_keys(const struct mg_config_oidc *config, const struct mg_issuer *issuer, const atomic_bool *cancel,
                      struct mg_jwks **out_keys, struct mg_diag *diag)
{
    const char *why = "";
    struct mg_json *set;
    MG_TRY(get(config, issuer->jwks, MG_VIEW_NONE, cancel, &set, diag));
    mg_err err = mg_jwks_read(set, out_keys, &why);
    mg_json_free(set);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the keys of the identity provider at %s: %s", issuer->jwks, why);
}
