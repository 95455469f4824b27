/* The names are those of AWS's description: canonical request, string to sign, signing key. */
#include "vault/sigv4.h"

#include <psa/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"

enum { HASH_BYTES = 32, KEY_TEXT_BYTES = 256 };

#define CONTENT_TYPE "application/x-amz-json-1.1"

typedef unsigned char hash_bytes[HASH_BYTES];

static void sha256(mg_view text, hash_bytes out)
{
    size_t len;
    if (psa_hash_compute(PSA_ALG_SHA_256, (const unsigned char *)text.ptr, text.len, out, HASH_BYTES, &len) != PSA_SUCCESS)
        abort();
}

static void hmac(mg_view key, mg_view text, hash_bytes out)
{
    psa_key_id_t id;
    size_t len;
    psa_key_attributes_t attributes = PSA_KEY_ATTRIBUTES_INIT;
    psa_set_key_usage_flags(&attributes, PSA_KEY_USAGE_SIGN_MESSAGE);
    psa_set_key_algorithm(&attributes, PSA_ALG_HMAC(PSA_ALG_SHA_256));
    psa_set_key_type(&attributes, PSA_KEY_TYPE_HMAC);
    if (psa_import_key(&attributes, (const unsigned char *)key.ptr, key.len, &id) != PSA_SUCCESS ||
        psa_mac_compute(id, PSA_ALG_HMAC(PSA_ALG_SHA_256), (const unsigned char *)text.ptr, text.len, out, HASH_BYTES, &len) !=
            PSA_SUCCESS)
        abort();
    (void)psa_destroy_key(id);
}

static mg_view hash_view(const hash_bytes hash)
{
    return mg_view_of((const char *)hash, HASH_BYTES);
}

static void print_hex(const hash_bytes hash, char out[2 * HASH_BYTES + 1])
{
    for (int i = 0; i < HASH_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static mg_err put_canonical(const struct mg_sigv4 *r, const char *stamp, struct mg_buf *out)
{
    hash_bytes hash;
    char hex[2 * HASH_BYTES + 1];
    sha256(r->body, hash);
    print_hex(hash, hex);
    MG_TRY(mg_buf_putf(out, "POST\n/\n\ncontent-type:%s\nhost:%s\nx-amz-date:%s\n", CONTENT_TYPE, r->host, stamp));
    if (r->session_token.len)
        MG_TRY(mg_buf_putf(out, "x-amz-security-token:%.*s\n", MG_FMT(r->session_token)));
    return mg_buf_putf(out, "x-amz-target:%s\n\ncontent-type;host;x-amz-date;%sx-amz-target\n%s", r->target,
                       r->session_token.len ? "x-amz-security-token;" : "", hex);
}

static mg_err sign(const struct mg_sigv4 *r, const char *stamp, const char *scope, const struct mg_buf *canonical,
                   char out_signature[2 * HASH_BYTES + 1])
{
    hash_bytes hash, key;
    char hex[2 * HASH_BYTES + 1], text[512], first[KEY_TEXT_BYTES];
    sha256(mg_buf_view(canonical), hash);
    print_hex(hash, hex);
    int len = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, hex);
    int first_len = snprintf(first, sizeof first, "AWS4%.*s", MG_FMT(r->secret_key));
    if (len >= (int)sizeof text || first_len >= (int)sizeof first)
        return MG_E_TOO_LARGE;
    hmac(mg_view_of(first, (size_t)first_len), mg_view_of(stamp, 8), key);
    mg_wipe(first, sizeof first);
    hmac(hash_view(key), mg_view_cstr(r->region), key);
    hmac(hash_view(key), mg_view_cstr(r->service), key);
    hmac(hash_view(key), MG_VIEW("aws4_request"), key);
    hmac(hash_view(key), mg_view_of(text, (size_t)len), hash);
    mg_wipe(key, sizeof key);
    print_hex(hash, out_signature);
    return MG_OK;
}

static mg_err put_lines(const struct mg_sigv4 *r, const char *stamp, const char *scope, const char *signature, struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(out, "content-type: %s\r\nx-amz-date: %s\r\nx-amz-target: %s\r\n", CONTENT_TYPE, stamp, r->target));
    if (r->session_token.len)
        MG_TRY(mg_buf_putf(out, "x-amz-security-token: %.*s\r\n", MG_FMT(r->session_token)));
    return mg_buf_putf(out,
                       "authorization: AWS4-HMAC-SHA256 Credential=%.*s/%s, SignedHeaders=content-type;host;x-amz-date;%s"
                       "x-amz-target, Signature=%s\r\n",
                       MG_FMT(r->access_key), scope, r->session_token.len ? "x-amz-security-token;" : "", signature);
}

mg_err mg_sigv4_put(const struct mg_sigv4 *request, struct mg_buf *out)
{
    char stamp[32], scope[256], signature[2 * HASH_BYTES + 1];
    struct tm parts;
    struct mg_buf canonical;
    time_t seconds = (time_t)(request->now_us / 1000000);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", gmtime_r(&seconds, &parts));
    if (snprintf(scope, sizeof scope, "%.8s/%s/%s/aws4_request", stamp, request->region, request->service) >= (int)sizeof scope)
        return MG_E_TOO_LARGE;
    mg_buf_init(&canonical, 16384);
    mg_err err = mg_buf_reserve(&canonical, 16384);
    if (err == MG_OK)
        err = put_canonical(request, stamp, &canonical);
    if (err == MG_OK)
        err = sign(request, stamp, scope, &canonical, signature);
    if (err == MG_OK)
        err = put_lines(request, stamp, scope, signature, out);
    if (canonical.ptr)
        mg_wipe(canonical.ptr, canonical.cap);
    mg_buf_fini(&canonical);
    return err;
}
