/* crypto.h - digests, random bytes and text encodings for plugins: thin calls into mbedTLS and libsodium.
 *
 * Both are started by mg_crypto_init(), which may be called often and from any thread. */
#ifndef MG_SCRIPT_CRYPTO_H
#define MG_SCRIPT_CRYPTO_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/view.h"

enum { MG_DIGEST_BYTES = 64, MG_UUID_BYTES = 37 };

MG_MUST_USE mg_err mg_crypto_init(void);         /* MG_E_SYSTEM */

/* algorithm is "sha256", "sha384" or "sha512"; E_NOT_FOUND for others. *out_len bytes of out are written. E_TIMEOUT:
 * *stop (may be NULL) became true; it is looked at every 64 KiB. */
MG_MUST_USE mg_err mg_crypto_digest(mg_view algorithm, mg_view data, const atomic_int *stop,
                                    uint8_t out[MG_DIGEST_BYTES], size_t *out_len);
MG_MUST_USE mg_err mg_crypto_hmac(mg_view algorithm, mg_view key, mg_view data, const atomic_int *stop,
                                  uint8_t out[MG_DIGEST_BYTES], size_t *out_len);

void mg_crypto_random(void *out, size_t len);
void mg_crypto_uuid(char out[MG_UUID_BYTES]);    /* version 4, with its NUL */

/* True when signature is that of message under the 32-byte public key. */
bool mg_crypto_ed25519_verify(mg_view public_key, mg_view message, mg_view signature);

/* All append to out. Decoders are strict (no blanks, canonical padding; url: '-' and '_', no padding): E_BAD_REQUEST. */
MG_MUST_USE mg_err mg_crypto_base64(mg_view data, bool url, struct mg_buf *out);
MG_MUST_USE mg_err mg_crypto_unbase64(mg_view text, bool url, struct mg_buf *out);
MG_MUST_USE mg_err mg_crypto_hex(mg_view data, struct mg_buf *out);
MG_MUST_USE mg_err mg_crypto_unhex(mg_view text, struct mg_buf *out);

#endif
