/*     key ──open──▶ JSON ──▶ form of the request ──mg_ask──▶ {"access_token", "expires_in"} ──seal──▶ token
 *
 * Buffers that hold something of a key are taken at their full size at once, so that growing leaves no copies, and are wiped. */
#include "relay/token_make.h"

#include <mbedtls/base64.h>
#include <mbedtls/pk.h>
#include <mbedtls/sha256.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/json_members.h"
#include "http/json_scan.h"
#include "io/tls_parts.h"
#include "vault/ask.h"

enum { FORM_BYTES = 16384, ANSWER_BYTES = 32768, TEXT_BYTES = 8192, SIGNATURE_BYTES = 1024, ASK_MS = 10000 };

/* What a clock may be ahead of the endpoint's, and how long an assertion is good. */
enum { SKEW_S = 10, ASSERTION_S = 3600 };

/* A token whose end is not told, and the longest that is believed. */
enum { UNSAID_S = 300, LONGEST_S = 86400 };

#define GOOGLE_URL "https://oauth2.googleapis.com/token"
#define METADATA_URL "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
#define ENTRA_URL "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"

struct making {
    const struct mg_token_spec *spec;
    const atomic_bool *cancel;
    mg_view key;                       /* the JSON text, in locked memory */
    struct mg_buf url, form, answer, text;       /* text: one value of the key, unescaped */
    struct mg_token_fault *fault;
};

__attribute__((format(printf, 3, 4))) static mg_err give_up(struct making *making, enum mg_class class_, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    making->fault->class_ = class_;
    vsnprintf(making->fault->text, sizeof making->fault->text, fmt, args);
    va_end(args);
    return MG_E_DENIED;
}

static mg_err full_buf(struct mg_buf *buf, size_t size)
{
    mg_buf_init(buf, size);
    return mg_buf_reserve(buf, size);
}

static void wipe_buf(struct mg_buf *buf)
{
    if (buf->ptr)
        mg_wipe(buf->ptr, buf->cap);
    mg_buf_fini(buf);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static mg_err put_base64url(struct mg_buf *out, const void *bytes, size_t size)
{
    size_t len, room = 4 * (size + 2) / 3 + 4;
    MG_TRY(mg_buf_reserve(out, room));
    char *at = mg_buf_tail(out);
    if (mbedtls_base64_encode((unsigned char *)at, room, &len, bytes, size) != 0)
        return MG_E_TOO_LARGE;
    while (len > 0 && at[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++)
        at[i] = at[i] == '+' ? '-' : at[i] == '/' ? '_' : at[i];
    mg_buf_grew(out, len);
    return MG_OK;
}

/* application/x-www-form-urlencoded */
static mg_err put_field(struct mg_buf *out, const char *name, mg_view value)
{
    MG_TRY(mg_buf_putf(out, "%s%s=", out->len ? "&" : "", name));
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
        MG_TRY(plain ? mg_buf_putc(out, (char)c) : mg_buf_putf(out, "%%%02X", c));
    }
    return MG_OK;
}

/* The text of a member under any of its names, in `text` until the next call; empty: there is none. */
static mg_view member(struct making *making, const char *const *names)
{
    mg_view value = MG_VIEW_NONE;
    for (int i = 0; names[i] && !value.len; i++)
        value = mg_json_member(making->key, mg_view_cstr(names[i]));
    mg_buf_clear(&making->text);
    return value.len && mg_json_unescape(value, &making->text) == MG_OK ? mg_buf_view(&making->text) : MG_VIEW_NONE;
}

#define MEMBER(making, ...) member((making), (const char *const[]){__VA_ARGS__, NULL})

bool mg_token_is_key(mg_view text)
{
    return mg_view_starts(mg_view_trim(text), MG_VIEW("{"));
}

/* ---- Google: a signed assertion -------------------------------------------------------------- */

static mg_err put_part(struct mg_buf *out, const char *start, struct mg_buf *json)
{
    MG_TRY(mg_buf_put(out, mg_view_cstr(start)));
    MG_TRY(put_base64url(out, json->ptr, json->len));
    mg_buf_clear(json);
    return MG_OK;
}

static mg_err put_member(struct mg_buf *json, const char *name, mg_view text)
{
    MG_TRY(mg_buf_putf(json, "%c\"%s\":\"", json->len ? ',' : '{', name));
    MG_TRY(mg_buf_put_json(json, text));
    return mg_buf_putc(json, '"');
}

static mg_err put_claims(const struct mg_token_claims *claims, struct mg_buf *json, struct mg_buf *out)
{
    uint64_t from_s = claims->now_s - SKEW_S;
    MG_TRY(put_member(json, "alg", MG_VIEW("RS256")));
    MG_TRY(put_member(json, "typ", MG_VIEW("JWT")));
    if (claims->key_id.len)
        MG_TRY(put_member(json, "kid", claims->key_id));
    MG_TRY(mg_buf_putc(json, '}'));
    MG_TRY(put_part(out, "", json));
    MG_TRY(put_member(json, "iss", claims->issuer));
    MG_TRY(put_member(json, "scope", claims->scope));
    MG_TRY(put_member(json, "aud", claims->audience));
    MG_TRY(mg_buf_putf(json, ",\"iat\":%llu,\"exp\":%llu}", (unsigned long long)from_s, (unsigned long long)(from_s + ASSERTION_S)));
    return put_part(out, ".", json);
}

static mg_err sign(const char *pem, size_t pem_size, mg_view text, unsigned char *out, size_t *out_len)
{
    unsigned char hash[32];
    mbedtls_pk_context key;
    mbedtls_pk_init(&key);
    mg_tls_start_library();
    int code = mbedtls_pk_parse_key(&key, (const unsigned char *)pem, pem_size, NULL, 0, mg_tls_random, NULL);
    if (code == 0 && (mbedtls_pk_get_type(&key) != MBEDTLS_PK_RSA || mbedtls_pk_get_len(&key) > SIGNATURE_BYTES))
        code = MBEDTLS_ERR_PK_KEY_INVALID_FORMAT;
    if (code == 0)
        code = mbedtls_sha256((const unsigned char *)text.ptr, text.len, hash, 0);
    if (code == 0)
        code = mbedtls_pk_sign(&key, MBEDTLS_MD_SHA256, hash, sizeof hash, out, SIGNATURE_BYTES, out_len, mg_tls_random, NULL);
    mbedtls_pk_free(&key);
    return code == 0 ? MG_OK : MG_E_BAD_REQUEST;
}

mg_err mg_token_assertion(const struct mg_token_claims *claims, const char *pem, size_t pem_size, struct mg_buf *out)
{
    unsigned char signature[SIGNATURE_BYTES];
    size_t at = out->len, len = 0;
    struct mg_buf json;
    mg_buf_init(&json, TEXT_BYTES);
    mg_err err = put_claims(claims, &json, out);
    mg_buf_fini(&json);
    MG_TRY(err);
    MG_TRY(sign(pem, pem_size, mg_view_of(out->ptr + at, out->len - at), signature, &len));
    MG_TRY(mg_buf_putc(out, '.'));
    return put_base64url(out, signature, len);
}

/* Google's own endpoints, whatever path; so that nobody's key file sends us elsewhere. */
static bool is_googles(mg_view url)
{
    mg_view rest = mg_view_skip(url, strlen("https://")), host = mg_view_head(rest, mg_view_find(rest, "/?#"));
    return mg_view_starts(url, MG_VIEW("https://")) && mg_view_find(host, "@:") == host.len &&
           (mg_view_ends(host, MG_VIEW(".googleapis.com")) || mg_view_eq(host, MG_VIEW("accounts.google.com")));
}

static mg_err choose_google(struct making *making, struct mg_buf *audience)
{
    mg_view named = MEMBER(making, "token_uri");
    if (!named.len)
        named = MG_VIEW(GOOGLE_URL);
    if (!making->spec->url && !is_googles(named))
        return give_up(making, MG_CLASS_auth,
                       "the key names a token endpoint that is none of Google's: give the provider its token_url, if that is meant");
    MG_TRY(mg_buf_put(audience, named));
    return mg_buf_put(&making->url, making->spec->url ? mg_view_cstr(making->spec->url) : named);
}

static mg_err copy_member(struct making *making, const char *name, struct mg_buf *out)
{
    mg_view value = MEMBER(making, name);
    return value.len ? mg_buf_put(out, value) : MG_OK;
}

/* The values of a service account that the assertion is made of, each in a buffer of its own. */
struct account {
    struct mg_buf issuer, key_id, audience, assertion;
};

static mg_err assert_account(struct making *making, struct account *account)
{
    MG_TRY(choose_google(making, &account->audience));
    MG_TRY(copy_member(making, "client_email", &account->issuer));
    MG_TRY(copy_member(making, "private_key_id", &account->key_id));
    mg_view pem = MEMBER(making, "private_key");
    if (!account->issuer.len || !pem.len)
        return give_up(making, MG_CLASS_auth, "the key is no key file of a service account: client_email or private_key is missing");
    MG_TRY(mg_buf_putc(&making->text, '\0'));
    struct mg_token_claims claims = {mg_buf_view(&account->issuer), mg_buf_view(&account->key_id), mg_view_cstr(making->spec->scope),
                                     mg_buf_view(&account->audience), mg_wall_us() / 1000000u};
    if (mg_token_assertion(&claims, making->text.ptr, making->text.len, &account->assertion) != MG_OK)
        return give_up(making, MG_CLASS_auth, "the private_key of the service account is no RSA key in PEM that can sign");
    MG_TRY(put_field(&making->form, "grant_type", MG_VIEW("urn:ietf:params:oauth:grant-type:jwt-bearer")));
    return put_field(&making->form, "assertion", mg_buf_view(&account->assertion));
}

static mg_err prepare_account(struct making *making)
{
    struct account account;
    mg_buf_init(&account.issuer, 512);
    mg_buf_init(&account.key_id, 512);
    mg_buf_init(&account.audience, 1024);
    mg_err err = full_buf(&account.assertion, TEXT_BYTES);
    if (err == MG_OK)
        err = assert_account(making, &account);
    mg_buf_fini(&account.issuer);
    mg_buf_fini(&account.key_id);
    mg_buf_fini(&account.audience);
    wipe_buf(&account.assertion);
    return err;
}

static mg_err prepare_google(struct making *making)
{
    mg_view type = MEMBER(making, "type");
    if (mg_view_eq(type, MG_VIEW("service_account")))
        return prepare_account(making);
    if (!mg_view_eq(type, MG_VIEW("metadata_server")))
        return give_up(making, MG_CLASS_auth, "the key is neither the key file of a service account nor {\"type\": \"metadata_server\"}");
    if (!making->spec->operators)
        return give_up(making, MG_CLASS_auth,
                       "the identity of this machine is for accounts of gateway.lua only: a project would act as the whole gateway");
    return mg_buf_put(&making->url, mg_view_cstr(making->spec->url ? making->spec->url : METADATA_URL));
}

/* ---- Microsoft Entra: client credentials ----------------------------------------------------- */

static bool is_tenant(mg_view text)
{
    bool good = text.len > 0;
    for (size_t i = 0; i < text.len && good; i++) {
        char c = text.ptr[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
    }
    return good;
}

static mg_err put_entra_url(struct making *making)
{
    mg_view url = mg_view_cstr(making->spec->url ? making->spec->url : ENTRA_URL), mark = MG_VIEW("{tenant}");
    size_t at = mg_view_search(url, mark);
    MG_TRY(mg_buf_put(&making->url, mg_view_head(url, at)));
    if (at == url.len)
        return MG_OK;
    mg_view tenant = MEMBER(making, "tenant", "tenant_id", "tenantId");
    if (!is_tenant(tenant))
        return give_up(making, MG_CLASS_auth, "the key is no application of Entra: its tenant is missing, or no tenant's name");
    MG_TRY(mg_buf_put(&making->url, tenant));
    return mg_buf_put(&making->url, mg_view_skip(url, at + mark.len));
}

static mg_err prepare_entra(struct making *making)
{
    MG_TRY(put_entra_url(making));
    MG_TRY(put_field(&making->form, "grant_type", MG_VIEW("client_credentials")));
    MG_TRY(put_field(&making->form, "scope", mg_view_cstr(making->spec->scope)));
    mg_view id = MEMBER(making, "client_id", "appId", "clientId");
    MG_TRY(put_field(&making->form, "client_id", id));
    bool has_id = id.len > 0;
    mg_view secret = MEMBER(making, "client_secret", "password", "clientSecret");
    if (!has_id || !secret.len)
        return give_up(making, MG_CLASS_auth, "the key is no application of Entra: client_id or client_secret is missing");
    return put_field(&making->form, "client_secret", secret);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* A word of the answer for people: no control characters, and nothing of what was sent. */
static void take_words(struct making *making, const char *name, char *out, size_t size)
{
    mg_view value = mg_json_member(mg_buf_view(&making->answer), mg_view_cstr(name));
    out[0] = '\0';
    mg_buf_clear(&making->text);
    if (!value.len || mg_json_unescape(value, &making->text) != MG_OK)
        return;
    mg_view words = mg_view_head(mg_buf_view(&making->text), mg_view_find(mg_buf_view(&making->text), "\r\n"));
    words = mg_view_head(words, mg_view_utf8_floor(mg_view_head(words, size - 1)));
    if (!mg_view_has_controls(words))
        snprintf(out, size, "%.*s", MG_FMT(words));
}

/* Whether one of the key's secret members stands in the text. */
static bool tells_secret(struct making *making, const char *text)
{
    mg_view secret = MEMBER(making, "client_secret", "password", "clientSecret");
    return secret.len >= 8 && mg_view_search(mg_view_cstr(text), mg_view_head(secret, 8)) < strlen(text);
}

static mg_err refused(struct making *making, int status)
{
    char code[64] = "", words[160] = "";
    bool theirs = status == 408 || status == 429 || status >= 500;
    if (mg_json_check(mg_buf_view(&making->answer), NULL) == MG_OK) {
        take_words(making, "error", code, sizeof code);
        take_words(making, "error_description", words, sizeof words);
    }
    if (tells_secret(making, words) || tells_secret(making, code))
        code[0] = words[0] = '\0';
    return give_up(making, theirs ? MG_CLASS_server_error : MG_CLASS_auth, "the token endpoint %s with status %d%s%s%s%s%s",
                   theirs ? "failed" : "refused the key", status, *code ? ": " : "", code, *words ? ": " : "", words,
                   strcmp(code, "invalid_grant") == 0 ? " (is this machine's clock right?)" : "");
}

static mg_err take_token(struct making *making, struct mg_token_made *out)
{
    mg_view answer = mg_buf_view(&making->answer), text;
    struct mg_seal_place place = {MG_VIEW_NONE, MG_VIEW("token"), 0};
    if (mg_json_check(answer, NULL) != MG_OK)
        return give_up(making, MG_CLASS_server_error, "the token endpoint answered with something else than JSON");
    mg_buf_clear(&making->text);
    if (mg_json_span_text(mg_json_member(answer, MG_VIEW("access_token")), &making->text, &text) != MG_OK || !text.len ||
        mg_view_has_controls(text))
        return give_up(making, MG_CLASS_server_error, "the token endpoint answered without an access_token");
    if (mg_sealed_from(mg_seal_key_process(), &place, text, &out->token) != MG_OK)
        return give_up(making, MG_CLASS_server_error, "the token endpoint's token is too long");
    mg_view lasts = mg_json_member(answer, MG_VIEW("expires_in")), plain = mg_json_plain(lasts);
    if (!mg_json_span_u64(plain.len ? plain : lasts, &out->lasts_s))
        out->lasts_s = UNSAID_S;
    out->lasts_s = MG_MIN(out->lasts_s, (uint64_t)LONGEST_S);
    return MG_OK;
}

static mg_err ask(struct making *making, struct mg_token_made *out)
{
    bool get = !making->form.len;
    struct mg_diag diag = {.line = 0};
    int status = 0;
    struct mg_ask ask = {
        .method = get ? "GET" : "POST", .url = mg_buf_cstr(&making->url), .whom = "the token endpoint", .ca = making->spec->ca,
        .headers = get ? MG_VIEW("metadata-flavor: Google\r\n")
                       : MG_VIEW("content-type: application/x-www-form-urlencoded\r\naccept: application/json\r\n"),
        .body = mg_buf_view(&making->form), .total_ms = ASK_MS, .cancel = making->cancel};
    mg_err err = mg_ask(&ask, &status, &making->answer, &diag);
    if (err == MG_E_CANCELLED)
        return err;
    if (err != MG_OK)
        return give_up(making, err == MG_E_TIMEOUT ? MG_CLASS_timeout_connect : MG_CLASS_network, "%s", diag.text);
    return status == 200 ? take_token(making, out) : refused(making, status);
}

static mg_err make(struct making *making, struct mg_token_made *out)
{
    MG_TRY(full_buf(&making->url, 2048));
    MG_TRY(full_buf(&making->form, FORM_BYTES));
    MG_TRY(full_buf(&making->answer, ANSWER_BYTES));
    MG_TRY(full_buf(&making->text, ANSWER_BYTES));
    if (mg_json_check(making->key, NULL) != MG_OK)
        return give_up(making, MG_CLASS_auth, "the key is no valid JSON: store the whole file again");
    mg_err err = making->spec->kind == MG_AUTH_gcp ? prepare_google(making) : prepare_entra(making);
    if (err == MG_E_TOO_LARGE)
        return give_up(making, MG_CLASS_auth, "the key has a longer value than any of its kind");
    MG_TRY(err);
    return ask(making, out);
}

mg_err mg_token_make(const struct mg_token_spec *spec, const struct mg_sealed *key, const atomic_bool *cancel,
                     struct mg_token_made *out_made, struct mg_token_fault *out_fault)
{
    struct making making = {.spec = spec, .cancel = cancel, .fault = out_fault};
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_sealed_open(key, plain);
    making.key = mg_view_trim(mg_view_of(plain->ptr, plain->len));
    err = err == MG_OK ? make(&making, out_made) : give_up(&making, MG_CLASS_auth, "a secret of the provider does not open");
    mg_locked_give(plain);
    wipe_buf(&making.url);
    wipe_buf(&making.form);
    wipe_buf(&making.answer);
    wipe_buf(&making.text);
    return err == MG_OK || err == MG_E_CANCELLED || err == MG_E_DENIED
               ? err : give_up(&making, MG_CLASS_server_error, "the token endpoint: %s", mg_err_text(err));
}
