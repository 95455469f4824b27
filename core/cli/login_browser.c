/*     terminal ── address ──▶ person ──▶ browser ──▶ provider ── redirect with a code ──▶ our port ── code, verifier ──▶ tokens
 *
 * The state ties the redirect to this login, the verifier ties the code to this process, and the nonce ties the ID token to both. */
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/control.h"
#include "cli/login.h"
#include "http/service.h"
#include "watch/query.h"

enum { URL_BYTES = 8192, CODE_BYTES = 2048, CONNECTIONS = 8, TURN_MS = 200, PARTING_MS = 200 };

#define PAGE(text) MG_VIEW("<!doctype html><meta charset=utf-8><title>Moongate</title><p>" text "</p>\n")

struct browsing {
    const struct mg_login *login;
    struct mg_loop loop;
    struct mg_service service;
    char redirect[64], state[MG_LOGIN_RANDOM_BYTES], verifier[MG_LOGIN_RANDOM_BYTES];
    char code[CODE_BYTES];
    bool done, stopped;
    mg_err result;
    struct mg_diag *diag;
};

/* ---- the redirect ---------------------------------------------------------------------------- */

struct redirect {
    char code[CODE_BYTES], state[128], issuer[MG_ISSUER_URL_BYTES], error[128];
};

static void read_redirect(mg_view query, struct redirect *out)
{
    char room[CODE_BYTES];
    *out = (struct redirect){.code = ""};
    const struct {
        const char *name;
        char *text;
        size_t size;
    } fields[] = {{"code", out->code, sizeof out->code},
                  {"state", out->state, sizeof out->state},
                  {"iss", out->issuer, sizeof out->issuer},
                  {"error", out->error, sizeof out->error}};
    while (query.len) {
        mg_view value = mg_view_cut(&query, '&'), name = mg_view_cut(&value, '=');
        mg_view text = mg_query_decode(value, room, sizeof room);
        for (size_t i = 0; i < MG_COUNT(fields); i++)
            if (mg_view_eq(name, mg_view_cstr(fields[i].name)))
                snprintf(fields[i].text, fields[i].size, "%.*s", MG_FMT(text));
    }
}

static mg_err judge(struct browsing *browsing, const struct redirect *redirect)
{
    const struct mg_login *login = browsing->login;
    bool named = *redirect->issuer != '\0';
    char room[128];
    if (named ? strcmp(redirect->issuer, login->config->issuer) != 0 : login->issuer.names_itself)
        return mg_diag_set(browsing->diag, MG_E_DENIED, NULL, 0, "the browser came back from another identity provider");
    if (*redirect->error)
        return mg_diag_set(browsing->diag, MG_E_DENIED, NULL, 0, "the identity provider refused: %s",
                           mg_login_shown(mg_view_cstr(redirect->error), room, sizeof room));
    if (!*redirect->code)
        return mg_diag_set(browsing->diag, MG_E_PROTOCOL, NULL, 0, "the browser came back without a code");
    snprintf(browsing->code, sizeof browsing->code, "%s", redirect->code);
    return MG_OK;
}

/* What does not carry our state was sent by somebody else, and ends nothing. */
static void on_call(void *arg, struct mg_service_call *call)
{
    struct browsing *browsing = arg;
    struct redirect redirect;
    read_redirect(call->request->query, &redirect);
    mg_view html = MG_VIEW("content-type: text/html; charset=utf-8\r\nconnection: close\r\n");
    if (call->request->method != MG_HTTP_GET || !mg_view_eq(call->request->path, MG_VIEW("/callback")) || browsing->done ||
        !mg_view_eq_ct(mg_view_cstr(redirect.state), mg_view_cstr(browsing->state))) {
        mg_service_answer(call, 404, html, PAGE("There is nothing here."));
        return;
    }
    browsing->result = judge(browsing, &redirect);
    browsing->done = true;
    mg_service_answer(call, browsing->result == MG_OK ? 200 : 400, html,
                      browsing->result == MG_OK ? PAGE("You are signed in. The terminal goes on, and this window can be closed.")
                                                : PAGE("That did not work. The terminal says why."));
}

static void on_stopped(void *arg)
{
    struct browsing *browsing = arg;
    browsing->stopped = true;
}

/* ---- the address ----------------------------------------------------------------------------- */

static mg_err challenge_of(const char *verifier, char out[MG_LOGIN_RANDOM_BYTES])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, (const unsigned char *)verifier, strlen(verifier));
    return sodium_bin2base64(out, MG_LOGIN_RANDOM_BYTES, hash, sizeof hash, sodium_base64_VARIANT_URLSAFE_NO_PADDING) ? MG_OK
                                                                                                                    : MG_E_SYSTEM;
}

static mg_err put_address(const struct browsing *browsing, struct mg_buf *form)
{
    const struct mg_login *login = browsing->login;
    char challenge[MG_LOGIN_RANDOM_BYTES];
    MG_TRY(challenge_of(browsing->verifier, challenge));
    MG_TRY(mg_login_put(form, "response_type", "code"));
    MG_TRY(mg_login_put(form, "client_id", login->config->client_id));
    MG_TRY(mg_login_put(form, "redirect_uri", browsing->redirect));
    MG_TRY(mg_login_put(form, "scope", login->config->scopes));
    MG_TRY(mg_login_put(form, "state", browsing->state));
    MG_TRY(mg_login_put(form, "nonce", login->nonce));
    MG_TRY(mg_login_put(form, "code_challenge", challenge));
    MG_TRY(mg_login_put(form, "code_challenge_method", "S256"));
    return mg_login_put(form, "resource", login->resource);
}

static mg_err show(const struct browsing *browsing)
{
    const char *endpoint = browsing->login->issuer.authorization;
    struct mg_buf form;
    mg_buf_init(&form, URL_BYTES);
    mg_err err = put_address(browsing, &form);
    if (err == MG_OK)
        fprintf(stderr, "Open this address in a browser on this machine:\n\n    %s%c%s\n\n", endpoint, strchr(endpoint, '?') ? '&' : '?',
                mg_buf_cstr(&form));
    mg_buf_fini(&form);
    return err;
}

/* ---- the wait -------------------------------------------------------------------------------- */

static mg_err listen_here(struct browsing *browsing)
{
    const struct mg_service_options options = {.listen = {.host = "127.0.0.1"}, .body_bytes = 1024, .connections = CONNECTIONS,
                                               .fn = on_call, .arg = browsing};
    MG_TRY(mg_service_start(&browsing->service, &browsing->loop, &options, browsing->diag));
    snprintf(browsing->redirect, sizeof browsing->redirect, "http://127.0.0.1:%d/callback", mg_listen_port(&browsing->service.listener));
    return MG_OK;
}

/* The answer to the browser leaves before the port closes. */
static void wait_for_browser(struct browsing *browsing)
{
    uint64_t until_us = mg_mono_us() + MG_LOGIN_PATIENCE_S * UINT64_C(1000000);
    while (!browsing->done && mg_mono_us() < until_us)
        mg_loop_turn(&browsing->loop, TURN_MS);
    until_us = mg_mono_us() + PARTING_MS * UINT64_C(1000);
    while (browsing->done && browsing->service.count && mg_mono_us() < until_us)
        mg_loop_turn(&browsing->loop, TURN_MS / 10);
    mg_service_stop(&browsing->service, on_stopped, browsing);
    while (!browsing->stopped)
        mg_loop_turn(&browsing->loop, TURN_MS);
    if (!browsing->done)
        browsing->result = mg_diag_set(browsing->diag, MG_E_TIMEOUT, NULL, 0, "no browser came back in %d s", MG_LOGIN_PATIENCE_S);
}

static mg_err fetch_code(struct browsing *browsing)
{
    mg_loop_init(&browsing->loop);
    mg_err err = listen_here(browsing);
    if (err == MG_OK) {
        browsing->result = show(browsing);
        browsing->done = browsing->result != MG_OK;
        wait_for_browser(browsing);
        err = browsing->result;
    }
    mg_loop_fini(&browsing->loop);
    return err;
}

static mg_err put_exchange(const struct browsing *browsing, struct mg_buf *form)
{
    MG_TRY(mg_login_put(form, "grant_type", "authorization_code"));
    MG_TRY(mg_login_put(form, "client_id", browsing->login->config->client_id));
    MG_TRY(mg_login_put(form, "redirect_uri", browsing->redirect));
    MG_TRY(mg_login_put(form, "code", browsing->code));
    MG_TRY(mg_login_put(form, "code_verifier", browsing->verifier));
    return mg_login_put(form, "resource", browsing->login->resource);
}

static mg_err exchange(const struct browsing *browsing, struct mg_json **out_tokens)
{
    const struct mg_login *login = browsing->login;
    struct mg_buf form;
    struct mg_json *answer;
    int status;
    mg_buf_init(&form, URL_BYTES);
    mg_err err = put_exchange(browsing, &form);
    if (err == MG_OK)
        err = mg_issuer_post(login->config, login->issuer.token, mg_buf_view(&form), &status, &answer, browsing->diag);
    if (form.ptr)
        mg_wipe(form.ptr, form.cap);
    mg_buf_fini(&form);
    MG_TRY(err);
    if (status == 200) {
        *out_tokens = answer;
        return MG_OK;
    }
    err = mg_login_refused(answer, browsing->diag);
    mg_json_free(answer);
    return err;
}

mg_err mg_login_browser(struct mg_login *login, struct mg_json **out_tokens, struct mg_diag *diag)
{
    struct browsing *browsing = mg_new(struct browsing);
    browsing->login = login;
    browsing->diag = diag;
    mg_err err = mg_login_random(login->nonce);
    if (err == MG_OK)
        err = mg_login_random(browsing->state);
    if (err == MG_OK)
        err = mg_login_random(browsing->verifier);
    if (err == MG_OK)
        err = fetch_code(browsing);
    if (err == MG_OK)
        err = exchange(browsing, out_tokens);
    mg_wipe(browsing, sizeof *browsing);
    mg_free(browsing);
    return err;
}
