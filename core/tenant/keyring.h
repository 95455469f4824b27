/* keyring.h - which key belongs to which project: an immutable snapshot, one lookup per request.
 *
 * A key looks like `mg-<project>-<43 characters of base62>` (256 random bits) and is shown once; what is kept is
 * BLAKE2b-256 (RFC 7693) keyed with a 32-byte secret of this gateway (<data>/key.secret, created 0600 at the first start). A
 * snapshot is built from rows off the loops, is ref-counted and read by all workers; whoever changes keys builds a new
 * one and swaps it in on each worker. */
#ifndef MG_TENANT_KEYRING_H
#define MG_TENANT_KEYRING_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/view.h"
#include "config/config.h"

enum { MG_KEY_HASH_BYTES = 32, MG_KEY_TEXT_BYTES = 160, MG_KEY_ID_BYTES = 40 };

struct mg_key {
    char id[MG_KEY_ID_BYTES];          /* "key_…"; not a secret */
    char project[72];
    char name[72];
    unsigned char hash[MG_KEY_HASH_BYTES];
    uint64_t created_us, expires_us, revoked_us, last_used_us;   /* wall clock; 0: never */
    char replaces[MG_KEY_ID_BYTES], replaced_by[MG_KEY_ID_BYTES];    /* ids, of a rotation; "": none */
    bool disabled;                     /* by hand, when the row was read */
    /* JSON texts; owned by the keyring, else borrowed. NULL: none */
    const char *metadata;              /* object */
    const char *workflows;             /* array: the only models this key may name; NULL: all of its project */
    const char *limits;                /* object; see mg_key_limits_read() */
    /* Compiled from them by mg_keyring_new(); owned by it. */
    char origin[MG_KEY_ID_BYTES];      /* id of the first key of its line of rotations, what limits count it by; else its own */
    const char *allowed;               /* each name between two '\n'; NULL: all */
    const struct mg_limit_set *limit_set;        /* NULL: none of its own */
};

/* The server's secret, from <data>/key.secret, which is made when it is missing. */
struct mg_key_secret {
    unsigned char bytes[32];
};
MG_MUST_USE mg_err mg_key_secret_load(const char *data_dir, struct mg_key_secret *out_secret, struct mg_diag *diag);

/* A new key for the project: its text (wipe it after showing) and the row to store. name may be empty, metadata NULL. */
MG_MUST_USE mg_err mg_key_issue(const struct mg_key_secret *secret, const char *project, const char *name,
                                uint64_t expires_us, const char *metadata, char out_text[MG_KEY_TEXT_BYTES],
                                struct mg_key *out_key);

/* A token for a person or machine that administers, `mga-<43 characters>`, and what is kept of it. */
MG_MUST_USE mg_err mg_key_issue_token(const struct mg_key_secret *secret, char out_text[MG_KEY_TEXT_BYTES],
                                      unsigned char out_hash[MG_KEY_HASH_BYTES]);
void mg_key_hash(const struct mg_key_secret *secret, mg_view text, unsigned char out_hash[MG_KEY_HASH_BYTES]);

/* May it name this model: a workflow as it is configured, or "provider/model"? `allowed` as in struct mg_key. */
bool mg_key_allows(const char *allowed, mg_view name);

struct mg_keyring;

/* Copies the rows, which come oldest first as mg_keystore_load() gives them. MG_E_TOO_LARGE past MG_MAX_KEYS. One reference is the caller's. */
MG_MUST_USE mg_err mg_keyring_new(const struct mg_key_secret *secret, const struct mg_key *keys, size_t count,
                                  struct mg_keyring **out_keyring);
struct mg_keyring *mg_keyring_ref(struct mg_keyring *keyring);
void mg_keyring_unref(struct mg_keyring *keyring);           /* any thread; NULL is a no-op */
size_t mg_keyring_count(const struct mg_keyring *keyring);
const struct mg_key *mg_keyring_at(const struct mg_keyring *keyring, size_t index);    /* as they were given; index < count */

/* The valid key that `presented` is; NULL when unknown, revoked or expired (*out_why, if given, says which, for the
 * log; clients are told the same for all). One hash and one lookup; borrowed from the keyring. Any thread. */
const struct mg_key *mg_keyring_find(const struct mg_keyring *keyring, mg_view presented, uint64_t now_wall_us,
                                     const char **out_why);

#endif
