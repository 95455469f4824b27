#include "script/crypto.h"

#include <mbedtls/md.h>
#include <sodium.h>
#include <stdio.h>

#include "base/mem.h"

enum { STEP_BYTES = 65536 };

mg_err mg_crypto_init(void)
{
    return sodium_init() < 0 ? MG_E_SYSTEM : MG_OK;
}

static const mbedtls_md_info_t *algorithm_of(mg_view name)
{
    static const struct {
        const char *name;
        mbedtls_md_type_t type;
    } rows[] = {{"sha256", MBEDTLS_MD_SHA256}, {"sha384", MBEDTLS_MD_SHA384}, {"sha512", MBEDTLS_MD_SHA512}};
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        if (mg_view_eq(name, mg_view_cstr(rows[i].name)))
            return mbedtls_md_info_from_type(rows[i].type);
    return NULL;
}

static const uint8_t *bytes_of(mg_view v)
{
    return (const uint8_t *)(v.ptr ? v.ptr : "");
}

/* Feeds the data in steps; a digest and an HMAC differ in the function alone. */
static mg_err feed(mbedtls_md_context_t *md, int (*update)(mbedtls_md_context_t *, const unsigned char *, size_t),
                   mg_view data, const atomic_int *stop)
{
    for (; data.len > 0; data = mg_view_skip(data, STEP_BYTES)) {
        mg_view step = mg_view_head(data, STEP_BYTES);
        if (stop && *stop)
            return MG_E_TIMEOUT;
        if (update(md, bytes_of(step), step.len) != 0)
            return MG_E_SYSTEM;
    }
    return MG_OK;
}

static mg_err start(mbedtls_md_context_t *md, mg_view algorithm, bool hmac)
{
    const mbedtls_md_info_t *info = algorithm_of(algorithm);
    if (!info)
        return MG_E_NOT_FOUND;
    return mbedtls_md_setup(md, info, hmac) == 0 ? MG_OK : MG_E_SYSTEM;
}

mg_err mg_crypto_digest(mg_view algorithm, mg_view data, const atomic_int *stop,
                        uint8_t out[MG_DIGEST_BYTES], size_t *out_len)
{
    mbedtls_md_context_t md;
    mbedtls_md_init(&md);
    mg_err err = start(&md, algorithm, false);
    if (err == MG_OK && mbedtls_md_starts(&md) != 0)
        err = MG_E_SYSTEM;
    if (err == MG_OK)
        err = feed(&md, mbedtls_md_update, data, stop);
    if (err == MG_OK && mbedtls_md_finish(&md, out) != 0)
        err = MG_E_SYSTEM;
    if (err == MG_OK)
        *out_len = mbedtls_md_get_size(mbedtls_md_info_from_ctx(&md));
    mbedtls_md_free(&md);
    return err;
}

mg_err mg_crypto_hmac(mg_view algorithm, mg_view key, mg_view data, const atomic_int *stop,
                      uint8_t out[MG_DIGEST_BYTES], size_t *out_len)
{
    mbedtls_md_context_t md;
    mbedtls_md_init(&md);
    mg_err err = start(&md, algorithm, true);
    if (err == MG_OK && mbedtls_md_hmac_starts(&md, bytes_of(key), key.len) != 0)
        err = MG_E_SYSTEM;
    if (err == MG_OK)
        err = feed(&md, mbedtls_md_hmac_update, data, stop);
    if (err == MG_OK && mbedtls_md_hmac_finish(&md, out) != 0)
        err = MG_E_SYSTEM;
    if (err == MG_OK)
        *out_len = mbedtls_md_get_size(mbedtls_md_info_from_ctx(&md));
    mbedtls_md_free(&md);
    return err;
}

void mg_crypto_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void mg_crypto_uuid(char out[MG_UUID_BYTES])
{
    uint8_t b[16];
    randombytes_buf(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, MG_UUID_BYTES, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
             b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

bool mg_crypto_ed25519_verify(mg_view public_key, mg_view message, mg_view signature)
{
    return public_key.len == crypto_sign_PUBLICKEYBYTES && signature.len == crypto_sign_BYTES &&
           crypto_sign_verify_detached(bytes_of(signature), bytes_of(message), message.len, bytes_of(public_key)) == 0;
}

/* ---- encodings: libsodium writes a NUL behind the text, which the buffer does not count */

mg_err mg_crypto_base64(mg_view data, bool url, struct mg_buf *out)
{
    int variant = url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING : sodium_base64_VARIANT_ORIGINAL;
    size_t size = sodium_base64_encoded_len(data.len, variant);
    MG_TRY(mg_buf_reserve(out, size));
    sodium_bin2base64(mg_buf_tail(out), size, bytes_of(data), data.len, variant);
    mg_buf_grew(out, size - 1);
    return MG_OK;
}

mg_err mg_crypto_unbase64(mg_view text, bool url, struct mg_buf *out)
{
    int variant = url ? sodium_base64_VARIANT_URLSAFE_NO_PADDING : sodium_base64_VARIANT_ORIGINAL;
    size_t len = 0, size = text.len / 4 * 3 + 3;
    const char *end = text.ptr;
    MG_TRY(mg_buf_reserve(out, size));
    if (text.len == 0)
        return MG_OK;
    if (sodium_base642bin((uint8_t *)mg_buf_tail(out), size, text.ptr, text.len, NULL, &len, &end, variant) != 0 ||
        end != text.ptr + text.len)
        return MG_E_BAD_REQUEST;
    mg_buf_grew(out, len);
    return MG_OK;
}

mg_err mg_crypto_hex(mg_view data, struct mg_buf *out)
{
    size_t size = data.len * 2 + 1;
    MG_TRY(mg_buf_reserve(out, size));
    sodium_bin2hex(mg_buf_tail(out), size, bytes_of(data), data.len);
    mg_buf_grew(out, size - 1);
    return MG_OK;
}

mg_err mg_crypto_unhex(mg_view text, struct mg_buf *out)
{
    size_t len = 0;
    const char *end = text.ptr;
    MG_TRY(mg_buf_reserve(out, text.len / 2 + 1));
    if (text.len == 0)
        return MG_OK;
    if (text.len % 2 || sodium_hex2bin((uint8_t *)mg_buf_tail(out), text.len / 2, text.ptr, text.len, NULL, &len, &end) != 0 ||
        end != text.ptr + text.len)
        return MG_E_BAD_REQUEST;
    mg_buf_grew(out, len);
    return MG_OK;
}
