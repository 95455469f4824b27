#include "script/crypto.h"

#include <mbedtls/md.h>
#include <sodium.h>
#include <stdio.h>

#include "base/mem.h"

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

mg_err mg_crypto_digest(mg_view algorithm, mg_view data, uint8_t out[MG_DIGEST_BYTES], size_t *out_len)
{
    const mbedtls_md_info_t *info = algorithm_of(algorithm);
    if (!info)
        return MG_E_NOT_FOUND;
    if (mbedtls_md(info, bytes_of(data), data.len, out) != 0)
        return MG_E_SYSTEM;
    *out_len = mbedtls_md_get_size(info);
    return MG_OK;
}

mg_err mg_crypto_hmac(mg_view algorithm, mg_view key, mg_view data, uint8_t out[MG_DIGEST_BYTES], size_t *out_len)
{
    const mbedtls_md_info_t *info = algorithm_of(algorithm);
    if (!info)
        return MG_E_NOT_FOUND;
    if (mbedtls_md_hmac(info, bytes_of(key), key.len, bytes_of(data), data.len, out) != 0)
        return MG_E_SYSTEM;
    *out_len = mbedtls_md_get_size(info);
    return MG_OK;
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
