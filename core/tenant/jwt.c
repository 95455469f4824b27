/* A key is imported for each signature and destroyed after it: the library has 32 places for keys, and the vault's are among
 * them. That costs microseconds beside the milliseconds of the signature. */
#include "tenant/jwt.h"

#include <psa/crypto.h>
#include <sodium.h>

#include "base/limits.h"
#include "base/mem.h"

enum {
    KID_BYTES = 256,
    RSA_MIN_BITS = 2048,
    RSA_MAX_BITS = 4096,               /* PSA_VENDOR_RSA_MAX_KEY_BITS */
    POINT_BYTES = 32,                  /* a coordinate of P-256 */
    NUMBER_BYTES = RSA_MAX_BITS / 8,
    MATERIAL_BYTES = NUMBER_BYTES + 32,          /* as DER, with the exponent */
    PART_BYTES = MG_MAX_OIDC_TOKEN_BYTES,
};

struct key {
    char kid[KID_BYTES];               /* "": it has none */
    enum mg_jwt_alg alg;
    unsigned char material[MATERIAL_BYTES];      /* as the library imports it */
    size_t material_len;
};

struct mg_jwks {
    size_t count;
    struct key keys[MG_MAX_OIDC_KEYS];
};

/* ---- texts ----------------------------------------------------------------------------------- */

/* base64url without padding, strictly; nothing is not something. */
static bool decode(mg_view text, unsigned char *out, size_t size, size_t *out_len)
{
    const char *end;
    return text.len && sodium_base642bin(out, size, text.ptr, text.len, NULL, out_len, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           end == text.ptr + text.len;
}

static bool is_text(const struct mg_json *value, const char *text)
{
    return mg_view_eq(mg_json_string(value), mg_view_cstr(text));
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* A positive INTEGER of DER. */
static size_t put_integer(unsigned char *out, const unsigned char *bytes, size_t len)
{
    size_t at = 0;
    bool high = (bytes[0] & 0x80) != 0;
    size_t size = len + high;
    out[at++] = 0x02;
    if (size > 0x7f)
        out[at++] = size > 0xff ? 0x82 : 0x81;
    if (size > 0xff)
        out[at++] = (unsigned char)(size >> 8);
    out[at++] = (unsigned char)size;
    if (high)
        out[at++] = 0;
    memcpy(out + at, bytes, len);
    return at + len;
}

/* RSAPublicKey of RFC 8017: SEQUENCE { n, e }. Of 2048 bits or more, its length always takes two bytes. */
static void put_rsa(struct key *key, const unsigned char *n, size_t n_len, const unsigned char *e, size_t e_len)
{
    size_t body = put_integer(key->material + 4, n, n_len);
    body += put_integer(key->material + 4 + body, e, e_len);
    key->material[0] = 0x30;
    key->material[1] = 0x82;
    key->material[2] = (unsigned char)(body >> 8);
    key->material[3] = (unsigned char)body;
    key->material_len = body + 4;
}

/* Spelt without leading zeros, as RFC 7518 has it; an exponent is odd and at least 3. */
static bool read_rsa(const struct mg_json *json, struct key *key)
{
    unsigned char n[NUMBER_BYTES], e[8];
    size_t n_len, e_len;
    if (!decode(mg_json_string(mg_json_get(json, "n")), n, sizeof n, &n_len) ||
        !decode(mg_json_string(mg_json_get(json, "e")), e, sizeof e, &e_len))
        return false;
    if (n_len < RSA_MIN_BITS / 8 || !(n[0] & 0x80) || !(n[n_len - 1] & 1))
        return false;
    if (e_len == 0 || !e[0] || !(e[e_len - 1] & 1) || (e_len == 1 && e[0] < 3))
        return false;
    key->alg = MG_JWT_RS256;
    put_rsa(key, n, n_len, e, e_len);
    return true;
}

/* The library checks that the point is one of the curve when it imports it. */
static bool read_ec(const struct mg_json *json, struct key *key)
{
    size_t x_len, y_len;
    if (!is_text(mg_json_get(json, "crv"), "P-256") ||
        !decode(mg_json_string(mg_json_get(json, "x")), key->material + 1, POINT_BYTES, &x_len) ||
        !decode(mg_json_string(mg_json_get(json, "y")), key->material + 1 + POINT_BYTES, POINT_BYTES, &y_len))
        return false;
    key->alg = MG_JWT_ES256;
    key->material[0] = 0x04;
    key->material_len = 1 + 2 * POINT_BYTES;
    return x_len == POINT_BYTES && y_len == POINT_BYTES;
}

static bool may_verify(const struct mg_json *json)
{
    const struct mg_json *use = mg_json_get(json, "use"), *ops = mg_json_get(json, "key_ops");
    bool verifies = !ops;
    for (const struct mg_json *op = mg_json_first(ops); op; op = mg_json_next(op))
        verifies = verifies || is_text(op, "verify");
    return verifies && (!use || is_text(use, "sig"));
}

static psa_status_t import(const struct key *key, psa_key_id_t *out_id)
{
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    bool rsa = key->alg == MG_JWT_RS256;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_VERIFY_MESSAGE);
    psa_set_key_algorithm(&attributes, rsa ? PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256) : PSA_ALG_ECDSA(PSA_ALG_SHA_256));
    psa_set_key_type(&attributes, rsa ? PSA_KEY_TYPE_RSA_PUBLIC_KEY : PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1));
    return psa_import_key(&attributes, key->material, key->material_len, out_id);
}

static bool read_material(const struct mg_json *json, struct key *key)
{
    const struct mg_json *kty = mg_json_get(json, "kty");
    if (is_text(kty, "RSA"))
        return read_rsa(json, key);
    return is_text(kty, "EC") && read_ec(json, key);
}

/* False: it is of no use here. */
static bool read_key(const struct mg_json *json, struct key *key)
{
    mg_view kid = mg_json_string(mg_json_get(json, "kid"));
    const struct mg_json *alg = mg_json_get(json, "alg");
    psa_key_id_t id;
    *key = (struct key){.material_len = 0};
    if (kid.len >= sizeof key->kid || !may_verify(json))
        return false;
    memcpy(key->kid, kid.ptr ? kid.ptr : "", kid.len);
    if (!read_material(json, key))
        return false;
    if (alg && !is_text(alg, key->alg == MG_JWT_RS256 ? "RS256" : "ES256"))
        return false;
    if (import(key, &id) != PSA_SUCCESS)
        return false;
    (void)psa_destroy_key(id);
    return true;
}

static mg_err read_set(const struct mg_json *json, struct mg_jwks *keys, const char **out_why)
{
    const struct mg_json *list = mg_json_get(json, "keys");
    *out_why = "it is no set of keys";
    if (!mg_json_is(list, MG_JSON_ARRAY))
        return MG_E_BAD_REQUEST;
    for (const struct mg_json *item = mg_json_first(list); item; item = mg_json_next(item)) {
        struct key key;
        if (!read_key(item, &key))
            continue;
        *out_why = "it has more keys than are kept";
        if (keys->count == MG_MAX_OIDC_KEYS)
            return MG_E_TOO_LARGE;
        keys->keys[keys->count++] = key;
    }
    *out_why = "none of its keys is for RS256 (2048 to 4096 bits) or ES256";
    return keys->count ? MG_OK : MG_E_BAD_REQUEST;
}

mg_err mg_jwks_read(const struct mg_json *set, struct mg_jwks **out_keys, const char **out_why)
{
    *out_why = "the library for signatures does not start";
    if (psa_crypto_init() != PSA_SUCCESS)
        return MG_E_SYSTEM;
    struct mg_jwks *keys = mg_new(struct mg_jwks);
    mg_err err = read_set(set, keys, out_why);
    if (err == MG_OK)
        *out_keys = keys;
    else
        mg_jwks_free(keys);
    return err;
}

void mg_jwks_free(struct mg_jwks *keys)
{
    mg_free(keys);
}

size_t mg_jwks_count(const struct mg_jwks *keys)
{
    return keys->count;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* A part of a token as the JSON object it must be; NULL: it is none. */
static struct mg_json *read_part(mg_view text)
{
    struct mg_json *json = NULL;
    unsigned char *bytes = mg_alloc(PART_BYTES);
    size_t len;
    if (decode(text, bytes, PART_BYTES, &len) &&
        mg_json_parse(mg_view_of((const char *)bytes, len), PART_BYTES, &json, NULL) == MG_OK && !mg_json_is(json, MG_JSON_OBJECT)) {
        mg_json_free(json);
        json = NULL;
    }
    mg_free(bytes);
    return json;
}

static bool read_alg(const struct mg_json *value, enum mg_jwt_alg *out_alg)
{
    *out_alg = is_text(value, "ES256") ? MG_JWT_ES256 : MG_JWT_RS256;
    return *out_alg == MG_JWT_ES256 || is_text(value, "RS256");
}

/* ID tokens are "JWT" or say nothing, access tokens "at+jwt" (RFC 9068). What else a provider signs with the same keys, such
 * as logout tokens, opens nothing. */
static bool is_typ(const struct mg_json *value)
{
    mg_view typ = mg_json_string(value);
    return !value || mg_view_ieq(typ, MG_VIEW("JWT")) || mg_view_ieq(typ, MG_VIEW("at+jwt")) ||
           mg_view_ieq(typ, MG_VIEW("application/at+jwt"));
}

static mg_err read_head(struct mg_jwt *jwt, const char **out_why)
{
    *out_why = "its head is no JSON object in base64url";
    if (!jwt->head)
        return MG_E_BAD_REQUEST;
    *out_why = "it must be signed with RS256 or ES256";
    if (!read_alg(mg_json_get(jwt->head, "alg"), &jwt->alg))
        return MG_E_BAD_REQUEST;
    *out_why = "it is no ID token and no access token";
    if (!is_typ(mg_json_get(jwt->head, "typ")))
        return MG_E_BAD_REQUEST;
    *out_why = "its head has \"crit\", which is not known here";
    if (mg_json_get(jwt->head, "crit"))
        return MG_E_BAD_REQUEST;
    jwt->kid = mg_json_string(mg_json_get(jwt->head, "kid"));
    return MG_OK;
}

static mg_err read_rest(struct mg_jwt *jwt, mg_view claims, mg_view signature, const char **out_why)
{
    *out_why = "its signature is no base64url of a fitting length";
    if (!decode(signature, jwt->signature, sizeof jwt->signature, &jwt->signature_len))
        return MG_E_BAD_REQUEST;
    *out_why = "its claims are no JSON object in base64url";
    jwt->claims = read_part(claims);
    return jwt->claims ? MG_OK : MG_E_BAD_REQUEST;
}

mg_err mg_jwt_read(mg_view text, struct mg_jwt *out_jwt, const char **out_why)
{
    mg_view rest = text;
    *out_why = "it is too long";
    if (text.len > MG_MAX_OIDC_TOKEN_BYTES)
        return MG_E_TOO_LARGE;
    mg_view head = mg_view_cut(&rest, '.'), claims = mg_view_cut(&rest, '.');
    *out_why = "it is no token of three parts";
    if (!rest.ptr || mg_view_find(rest, ".") != rest.len)
        return MG_E_BAD_REQUEST;
    struct mg_jwt jwt = {.signed_part = mg_view_head(text, head.len + 1 + claims.len), .head = read_part(head)};
    mg_err err = read_head(&jwt, out_why);
    if (err == MG_OK)
        err = read_rest(&jwt, claims, rest, out_why);
    if (err == MG_OK)
        *out_jwt = jwt;
    else
        mg_jwt_fini(&jwt);
    return err;
}

void mg_jwt_fini(struct mg_jwt *jwt)
{
    mg_json_free(jwt->head);
    mg_json_free(jwt->claims);
    jwt->head = jwt->claims = NULL;
}

/* By its name; a token without one is for a set that has a single key of its kind. */
static const struct key *find(const struct mg_jwks *keys, const struct mg_jwt *jwt)
{
    const struct key *found = NULL;
    for (size_t i = 0; i < keys->count; i++) {
        const struct key *key = &keys->keys[i];
        if (key->alg != jwt->alg || (jwt->kid.len && !mg_view_eq(jwt->kid, mg_view_cstr(key->kid))))
            continue;
        if (found)
            return jwt->kid.len ? found : NULL;
        found = key;
    }
    return found;
}

mg_err mg_jwt_verify(const struct mg_jwt *jwt, const struct mg_jwks *keys, const char **out_why)
{
    psa_key_id_t id;
    const struct key *key = find(keys, jwt);
    *out_why = "the provider has no key of that name";
    if (!key)
        return MG_E_NOT_FOUND;
    *out_why = "its signature is wrong";
    if (import(key, &id) != PSA_SUCCESS)
        return MG_E_DENIED;
    psa_status_t status = psa_verify_message(id, key->alg == MG_JWT_RS256 ? PSA_ALG_RSA_PKCS1V15_SIGN(PSA_ALG_SHA_256)
                                                                          : PSA_ALG_ECDSA(PSA_ALG_SHA_256),
                                             (const unsigned char *)jwt->signed_part.ptr, jwt->signed_part.len, jwt->signature,
                                             jwt->signature_len);
    (void)psa_destroy_key(id);
    return status == PSA_SUCCESS ? MG_OK : MG_E_DENIED;
}
