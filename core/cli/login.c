/* moongate login: a token of the identity provider for a person. It alone goes to standard output. */
#include "cli/login.h"

#include <sodium.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/place.h"
#include "tenant/claims.h"

enum { RANDOM_BYTES = 32 };

struct arguments {
    const char *issuer, *client_id, *scopes, *ca, *config;
    bool browser, access_token;
};

/* ---- shared ---------------------------------------------------------------------------------- */

mg_err mg_login_random(char out[MG_LOGIN_RANDOM_BYTES])
{
    unsigned char bytes[RANDOM_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return MG_E_SYSTEM;
    sodium_bin2base64(out, MG_LOGIN_RANDOM_BYTES, bytes, sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return MG_OK;
}

mg_err mg_login_put(struct mg_buf *form, const char *name, const char *value)
{
    if (!value)
        return MG_OK;
    MG_TRY(mg_buf_putf(form, "%s%s=", form->len ? "&" : "", name));
    return mg_control_put_escaped(form, value);
}

const char *mg_login_shown(mg_view text, char *room, size_t size)
{
    size_t len = MG_MIN(text.len, size - 1);
    for (size_t i = 0; i < len; i++)
        room[i] = text.ptr[i] > ' ' && text.ptr[i] < 0x7f ? text.ptr[i] : text.ptr[i] == ' ' ? ' ' : '?';
    room[len] = '\0';
    return room;
}

mg_err mg_login_refused(const struct mg_json *answer, struct mg_diag *diag)
{
    char error[128], words[512];
    mg_view description = mg_json_string(mg_json_get(answer, "error_description"));
    return mg_diag_set(diag, MG_E_DENIED, NULL, 0, "the identity provider refused: %s%s%s",
                       mg_login_shown(mg_json_string(mg_json_get(answer, "error")), error, sizeof error), description.len ? ": " : "",
                       mg_login_shown(description, words, sizeof words));
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* Nobody shall be shown as somebody by a token that the gateway would refuse. */
static mg_err check(const struct mg_login *login, mg_view token, struct mg_jwt *out_jwt, struct mg_diag *diag)
{
    const char *why = "";
    struct mg_jwks *keys;
    const char *const audience[] = {login->config->client_id};
    struct mg_config_oidc config = *login->config;
    config.audiences = audience;
    config.audience_count = 1;
    if (mg_jwt_read(token, out_jwt, &why) != MG_OK)
        return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider's ID token: %s", why);
    mg_err err = mg_issuer_keys(login->config, &login->issuer, NULL, &keys, diag);
    if (err == MG_OK) {
        err = mg_jwt_verify(out_jwt, keys, &why);
        if (err == MG_OK)
            err = mg_claims_check(&config, out_jwt->claims, mg_wall_us(), *login->nonce ? login->nonce : NULL, &why);
        mg_jwks_free(keys);
        if (err != MG_OK)
            mg_diag_set(diag, err, NULL, 0, "the identity provider's ID token: %s", why);
    }
    if (err != MG_OK)
        mg_jwt_fini(out_jwt);
    return err;
}

static void show_roles(const struct mg_config_oidc *config, const struct mg_json *claims)
{
    const char *why;
    struct mg_identity *identity = mg_new(struct mg_identity);
    mg_err err = mg_claims_identity(config, claims, identity, &why);
    fprintf(stderr, "Signed in as %s", identity->name);
    for (size_t i = 0; i < identity->grant_count; i++)
        fprintf(stderr, "%s %s of %s", i ? "," : ":", mg_role_name(identity->grants[i].role),
                *identity->grants[i].project ? identity->grants[i].project : "all projects");
    fprintf(stderr, "%s.\n", err != MG_OK && config->role_count ? ", who may do nothing here (admin.oidc.roles)" : "");
    mg_free(identity);
}

static void show_end(const struct mg_json *claims)
{
    char when[32];
    struct tm parts;
    time_t end = (time_t)mg_json_double(mg_json_get(claims, "exp"), 0);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M", localtime_r(&end, &parts));
    fprintf(stderr, "The token is good until %s:\n", when);
}

/* The ID token says who it is; it is what is printed, unless the access token was asked for. */
static mg_err deliver(const struct mg_login *login, const struct mg_json *tokens, bool access_token, struct mg_diag *diag)
{
    struct mg_jwt jwt;
    mg_view id_token = mg_json_string(mg_json_get(tokens, "id_token")), access = mg_json_string(mg_json_get(tokens, "access_token"));
    if (!id_token.len || (access_token && !access.len))
        return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider gave no %s token", id_token.len ? "access" : "ID");
    MG_TRY(check(login, id_token, &jwt, diag));
    show_roles(login->config, jwt.claims);
    if (!access_token)
        show_end(jwt.claims);
    mg_jwt_fini(&jwt);
    printf("%.*s\n", MG_FMT(access_token ? access : id_token));
    return MG_OK;
}

/* ---- the command ----------------------------------------------------------------------------- */

static mg_err sign_in(struct mg_login *login, const struct arguments *a, struct mg_json **out_tokens, struct mg_diag *diag)
{
    MG_TRY(mg_issuer_discover(login->config, NULL, &login->issuer, diag));
    if (!*login->issuer.token)
        return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider has no token endpoint");
    if (*login->issuer.device && !a->browser)
        return mg_login_device(login, out_tokens, diag);
    if (!*login->issuer.authorization)
        return mg_diag_set(diag, MG_E_PROTOCOL, NULL, 0, "the identity provider has no authorization endpoint");
    return mg_login_browser(login, out_tokens, diag);
}

/* What the options say goes before what gateway.lua says. */
static mg_err merge(const struct arguments *a, struct mg_config_oidc *oidc, struct mg_diag *diag)
{
    oidc->issuer = a->issuer ? a->issuer : oidc->issuer;
    oidc->client_id = a->client_id ? a->client_id : oidc->client_id;
    oidc->scopes = a->scopes ? a->scopes : oidc->scopes ? oidc->scopes : "openid";
    oidc->ca = a->ca ? a->ca : oidc->ca;
    oidc->name = oidc->name ? oidc->name : "sub";
    if (oidc->issuer && oidc->client_id)
        return MG_OK;
    return mg_diag_set(diag, MG_E_CONFIG, NULL, 0,
                       "gateway.lua has no admin.oidc: say where to sign in with --config, or with --issuer and --client-id");
}

/* The API's own name, when it has one. */
static const char *api_of(const struct mg_config_oidc *oidc)
{
    for (int i = 0; i < oidc->audience_count; i++)
        if (strcmp(oidc->audiences[i], oidc->client_id) != 0)
            return oidc->audiences[i];
    return NULL;
}

/* A gateway whose audiences do not have the client refuses ID tokens. */
static bool takes_id_tokens(const struct mg_config_oidc *oidc)
{
    for (int i = 0; i < oidc->audience_count; i++)
        if (!strcmp(oidc->audiences[i], oidc->client_id))
            return true;
    return !oidc->audience_count;
}

static mg_err run(const struct arguments *a, struct mg_config_gateway *config, struct mg_diag *diag)
{
    struct mg_json *tokens = NULL;
    struct mg_login login = {.config = &config->oidc};
    MG_TRY(merge(a, &config->oidc, diag));
    bool access_token = a->access_token || !takes_id_tokens(&config->oidc);
    login.resource = access_token ? api_of(&config->oidc) : NULL;
    mg_err err = sign_in(&login, a, &tokens, diag);
    if (err == MG_OK)
        err = deliver(&login, tokens, access_token, diag);
    mg_json_free(tokens);
    if (err != MG_OK && !*diag->text)
        mg_diag_set(diag, err, NULL, 0, "%s", mg_err_text(err));
    return err;
}

int mg_cli_login(int argc, char **argv)
{
    struct arguments a = {.issuer = NULL};
    struct mg_arena arena;
    struct mg_config_gateway *config = NULL;
    struct mg_diag diag = {.line = 0};
    const struct mg_option options[] = {
        {"--browser", NULL, NULL, MG_OPTION_FLAG, &a.browser, "sign in with a browser on this machine instead of a code"},
        {"--access-token", NULL, NULL, MG_OPTION_FLAG, &a.access_token, "print the access token instead of the ID token"},
        {"--issuer", NULL, "URL", MG_OPTION_TEXT, &a.issuer, "the identity provider instead of the configuration's"},
        {"--client-id", NULL, "ID", MG_OPTION_TEXT, &a.client_id, "what it calls Moongate"},
        {"--scopes", NULL, "WORDS", MG_OPTION_TEXT, &a.scopes, "what to ask it for (openid)"},
        {"--ca", NULL, "FILE", MG_OPTION_TEXT, &a.ca, "PEM bundle to trust in place of the system's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, whose admin.oidc says the rest"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
    if (end != MG_CLI_GO)
        return end;
    mg_arena_init(&arena, 1024);
    mg_err err = mg_config_load_gateway(mg_place_config(a.config, &arena), &config, &diag);
    if (err == MG_OK)
        err = run(&a, config, &diag);
    mg_config_gateway_free(config);
    mg_arena_fini(&arena);
    return err == MG_OK ? MG_EXIT_OK : mg_cli_failed("login", &diag);
}
