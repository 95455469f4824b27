#include "tenant/claims.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>

#include "base/mem.h"

enum { LEEWAY_S = 60, HASH_DIGITS = 16 };

/* ---- is it for us, now? ---------------------------------------------------------------------- */

/* NAN: it is not there, or no number. */
static double time_of(const struct mg_json *claims, const char *name)
{
    const struct mg_json *value = mg_json_get(claims, name);
    return mg_json_is(value, MG_JSON_NUMBER) ? mg_json_double(value, (double)NAN) : (double)NAN;
}

/* What is there and no time has not come yet. */
static bool has_come(const struct mg_json *claims, const char *name, double now_s)
{
    return !mg_json_get(claims, name) || time_of(claims, name) <= now_s + LEEWAY_S;
}

static bool is_audience(const struct mg_config_oidc *config, mg_view text)
{
    for (int i = 0; i < config->audience_count; i++)
        if (text.len && mg_view_eq(text, mg_view_cstr(config->audiences[i])))
            return true;
    return false;
}

/* One text, or a list of them. */
static bool is_for_us(const struct mg_config_oidc *config, const struct mg_json *claims)
{
    const struct mg_json *aud = mg_json_get(claims, "aud");
    mg_view client = mg_view_cstr(config->client_id);
    bool by_client = false;
    if (!mg_json_is(aud, MG_JSON_ARRAY))
        return is_audience(config, mg_json_string(aud));
    for (const struct mg_json *one = mg_json_first(aud); one; one = mg_json_next(one)) {
        bool ours = is_audience(config, mg_json_string(one));
        by_client = by_client || (ours && mg_view_eq(mg_json_string(one), client));
        if (ours && !mg_view_eq(mg_json_string(one), client))
            return true;
    }
    return by_client && (mg_json_count(aud) == 1 || mg_view_eq(mg_json_string(mg_json_get(claims, "azp")), client));
}

mg_err mg_claims_check(const struct mg_config_oidc *config, const struct mg_json *claims, uint64_t now_us, const char *nonce,
                       const char **out_why)
{
    double now_s = (double)now_us / 1e6;
    *out_why = "it is of another issuer than admin.oidc.issuer";
    if (!mg_view_eq(mg_json_string(mg_json_get(claims, "iss")), mg_view_cstr(config->issuer)))
        return MG_E_DENIED;
    *out_why = "it is for another audience than admin.oidc.audience";
    if (!is_for_us(config, claims))
        return MG_E_DENIED;
    *out_why = "it has expired, or does not say when it does";
    if (!(now_s < time_of(claims, "exp") + LEEWAY_S))
        return MG_E_DENIED;
    *out_why = "it is not valid yet";
    if (!has_come(claims, "nbf", now_s) || !has_come(claims, "iat", now_s))
        return MG_E_DENIED;
    *out_why = "it was issued too long ago, or does not say when (admin.oidc.max_age_ms)";
    if (config->max_age_ms && !(now_s < time_of(claims, "iat") + config->max_age_ms / 1e3 + LEEWAY_S))
        return MG_E_DENIED;
    *out_why = "it does not say whose it is (sub)";
    if (!mg_json_string(mg_json_get(claims, "sub")).len)
        return MG_E_DENIED;
    *out_why = "it is bound to a key (cnf), which is not supported";
    if (mg_json_get(claims, "cnf"))
        return MG_E_DENIED;
    *out_why = "it is no ID token and no access token";
    if (mg_json_get(claims, "events"))
        return MG_E_DENIED;
    *out_why = "it answers another login (nonce)";
    if (nonce && !mg_view_eq(mg_json_string(mg_json_get(claims, "nonce")), mg_view_cstr(nonce)))
        return MG_E_DENIED;
    return MG_OK;
}

/* ---- who is it? ------------------------------------------------------------------------------ */

/* Some providers spell it as a text. */
static bool is_doubtful(const struct mg_json *verified)
{
    return verified && !mg_json_bool(verified, false) && !mg_view_eq(mg_json_string(verified), MG_VIEW("true"));
}

/* A claim of that very name, else a path: "realm_access.roles". NULL: it is not there, or not to be believed. */
static const struct mg_json *claim_of(const struct mg_json *claims, const char *name)
{
    if (!strcmp(name, "email") && is_doubtful(mg_json_get(claims, "email_verified")))
        return NULL;
    const struct mg_json *value = mg_json_get(claims, name);
    return value ? value : mg_json_path(claims, name);
}

static bool is_plain(char c)
{
    char low = (char)(c | 0x20);
    return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || (c && strchr("-_.@+", c));
}

/* Whole characters only. False: it was cut. */
static bool put_escaped(char *out, size_t size, mg_view text)
{
    size_t at = 0;
    for (size_t i = 0; i < text.len; i++) {
        size_t need = is_plain(text.ptr[i]) ? 1 : 3;
        if (at + need >= size)
            return false;
        if (need == 1)
            out[at++] = text.ptr[i];
        else
            at += (size_t)snprintf(out + at, size - at, "%%%02X", (unsigned char)text.ptr[i]);
        out[at] = '\0';
    }
    return true;
}

static void put_name(mg_view text, char out[MG_MEMBER_NAME_BYTES])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char digits[HASH_DIGITS + 1], *name = out + snprintf(out, MG_MEMBER_NAME_BYTES, "oidc:");
    size_t size = MG_MEMBER_NAME_BYTES - strlen(out);
    if (put_escaped(name, size, text))
        return;
    crypto_hash_sha256(hash, (const unsigned char *)text.ptr, text.len);
    sodium_bin2hex(digits, sizeof digits, hash, HASH_DIGITS / 2);
    (void)put_escaped(name, size - HASH_DIGITS - 1, text);
    snprintf(name + strlen(name), size - strlen(name), "~%s", digits);
}

/* ---- what may it do? ------------------------------------------------------------------------- */

static bool fits_text(const struct mg_json *value, mg_view pattern)
{
    mg_view text = mg_json_string(value);
    if (mg_json_is(value, MG_JSON_BOOL))
        text = mg_json_bool(value, false) ? MG_VIEW("true") : MG_VIEW("false");
    return text.ptr && mg_view_glob(pattern, text);
}

static bool fits_word(mg_view words, mg_view pattern)
{
    while (words.len) {
        mg_view word = mg_view_cut(&words, ' ');
        if (word.len && mg_view_glob(pattern, word))
            return true;
    }
    return false;
}

static bool fits(const struct mg_config_role *rule, const struct mg_json *claims)
{
    const struct mg_json *value = claim_of(claims, rule->claim);
    mg_view pattern = mg_view_cstr(rule->value);
    if (!strcmp(rule->claim, "scope") && mg_json_is(value, MG_JSON_STRING))
        return fits_word(mg_json_string(value), pattern);
    if (!mg_json_is(value, MG_JSON_ARRAY))
        return fits_text(value, pattern);
    for (const struct mg_json *one = mg_json_first(value); one; one = mg_json_next(one))
        if (fits_text(one, pattern))
            return true;
    return false;
}

static void add_grant(struct mg_identity *identity, const struct mg_config_role *rule)
{
    struct mg_grant grant = {.role = MG_ROLE_VIEWER};
    if (!mg_role_find(mg_view_cstr(rule->role), &grant.role) || identity->grant_count == MG_COUNT(identity->grants))
        return;
    snprintf(grant.project, sizeof grant.project, "%s", rule->project ? rule->project : "");
    identity->grants[identity->grant_count++] = grant;
}

mg_err mg_claims_identity(const struct mg_config_oidc *config, const struct mg_json *claims, struct mg_identity *out_identity,
                          const char **out_why)
{
    mg_view name = mg_json_string(claim_of(claims, config->name));
    put_name(name.len ? name : mg_json_string(mg_json_get(claims, "sub")), out_identity->name);
    out_identity->grant_count = 0;
    for (int i = 0; i < config->role_count; i++)
        if (fits(&config->roles[i], claims))
            add_grant(out_identity, &config->roles[i]);
    *out_why = "none of admin.oidc.roles fits it";
    return out_identity->grant_count ? MG_OK : MG_E_DENIED;
}
