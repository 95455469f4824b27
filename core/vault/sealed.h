/* sealed.h - a secret as it lies in memory and in the store: AES-256-GCM ciphertext, bound to where it belongs.
 *
 * The bytes are nonce (12) · ciphertext · tag (16). Project, name and version are authenticated with them, so a ciphertext
 * that was moved to another project, name or version does not open. Keys and sealed secrets are ref-counted, immutable and
 * may be used by any thread. */
#ifndef MG_VAULT_SEALED_H
#define MG_VAULT_SEALED_H

#include <stdint.h>

#include "base/buf.h"
#include "vault/locked.h"

enum {
    MG_SEAL_KEY_BYTES = 32,
    MG_SEAL_EXTRA_BYTES = 12 + 16,     /* what sealing adds */
    MG_SECRET_BYTES = 8192             /* the longest secret */
};

/* A number for a text that is the same as long as the process lives, and says nothing about the text: to sort secrets. */
uint32_t mg_seal_bucket(mg_view text);

/* A data key. It is wiped when the last reference goes. */
struct mg_seal_key;
struct mg_seal_key *mg_seal_key_new(const unsigned char bytes[MG_SEAL_KEY_BYTES]);
struct mg_seal_key *mg_seal_key_ref(struct mg_seal_key *key);
void mg_seal_key_unref(struct mg_seal_key *key);              /* NULL is a no-op */

/* Random, made when it is first asked for and gone with the process: for what files and the environment gave us. */
struct mg_seal_key *mg_seal_key_process(void);                /* borrowed */

/* Where a ciphertext belongs. */
struct mg_seal_place {
    mg_view project, name;
    uint64_t version;
};

/* Appends to out. MG_E_TOO_LARGE when the place or the plaintext is. */
MG_MUST_USE mg_err mg_seal(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view plain, struct mg_buf *out);

/* Appends the plaintext. MG_E_DENIED: altered, sealed under another key, or of another place. */
MG_MUST_USE mg_err mg_unseal(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view sealed,
                             struct mg_locked *out);

/* The same for text of any size, in ordinary memory: what a project keeps of its conversations. */
MG_MUST_USE mg_err mg_seal_text(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view plain, struct mg_buf *out);
MG_MUST_USE mg_err mg_unseal_text(const struct mg_seal_key *key, const struct mg_seal_place *place, mg_view sealed, struct mg_buf *out);

/* ---- one version of one secret */

struct mg_sealed;

/* Copies. The bytes must open: MG_E_DENIED otherwise. */
MG_MUST_USE mg_err mg_sealed_new(struct mg_seal_key *key, const struct mg_seal_place *place, mg_view bytes,
                                 struct mg_sealed **out_sealed);
/* Seals it first. */
MG_MUST_USE mg_err mg_sealed_from(struct mg_seal_key *key, const struct mg_seal_place *place, mg_view plain,
                                  struct mg_sealed **out_sealed);
struct mg_sealed *mg_sealed_ref(struct mg_sealed *sealed);    /* NULL stays NULL */
void mg_sealed_unref(struct mg_sealed *sealed);               /* NULL is a no-op */

mg_view mg_sealed_bytes(const struct mg_sealed *sealed);      /* borrowed */
uint64_t mg_sealed_version(const struct mg_sealed *sealed);
MG_MUST_USE mg_err mg_sealed_open(const struct mg_sealed *sealed, struct mg_locked *out);

/* Writes stars over the secret wherever it stands in the text; with `cut` also over its beginning (from 8 bytes on) where
 * the text ends inside it. Decrypts only when a fingerprint of its first 8 bytes occurs. Secrets below 8 bytes are left
 * alone, or stars would stand all over the answers. True: something was covered. */
bool mg_sealed_hide(const struct mg_sealed *sealed, char *text, size_t len, bool cut);

/* The same also for the secret in base64 (at any offset in what was encoded), as a JSON string has it and as a URL has it: for
 * texts that were not looked through as they came, or that somebody wrote to explain a refusal. */
bool mg_sealed_hide_all_forms(const struct mg_sealed *sealed, char *text, size_t len, bool cut);

/* What a text that comes in pieces, and goes on in pieces, ended with. Zeroed at its begin. */
enum { MG_TELLING_BYTES = 8 };
struct mg_sealed_trail {
    char last[MG_TELLING_BYTES];
    uint8_t count;                     /* of the bytes in last that are there; they are the last ones */
    uint16_t matched;                  /* so much of the secret has come; 0: none */
};
/* Of a secret that is spelt out over several pieces at most its first 7 bytes have gone on before it is noticed: the rest is
 * covered. */
bool mg_sealed_hide_next(const struct mg_sealed *sealed, struct mg_sealed_trail *trail, char *piece, size_t len);

#endif
