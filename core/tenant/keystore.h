/* keystore.h - the rows of keys in the store. For the recorder thread of a running gateway, or a CLI that holds the
 * folder's lock; never on a worker. Each call belongs into one transaction of the caller's. */
#ifndef MG_TENANT_KEYSTORE_H
#define MG_TENANT_KEYSTORE_H

#include "base/arena.h"
#include "store/db.h"
#include "tenant/key_spec.h"
#include "tenant/keyring.h"

/* A new key: its text (wipe it after showing) and its row, whose texts are the spec's. */
MG_MUST_USE mg_err mg_keystore_create(struct mg_db *db, const struct mg_key_secret *secret, const struct mg_keys_spec *spec,
                                      char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key);

/* A second key with all that the first one has, which stays valid until until_us (or its own expiry, if that is earlier);
 * 0: it is revoked.
 * Each row names the other. MG_E_NOT_FOUND: no such id, or not valid any more. Texts of the row lie in the arena. */
MG_MUST_USE mg_err mg_keystore_rotate(struct mg_db *db, const struct mg_key_secret *secret, const char *id, uint64_t until_us,
                                      struct mg_arena *arena, char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key);

/* Sets what spec->given names and reads the row back. MG_E_NOT_FOUND: no such id, or revoked. */
MG_MUST_USE mg_err mg_keystore_change(struct mg_db *db, const char *id, const struct mg_keys_spec *spec,
                                      struct mg_arena *arena, struct mg_key *out_key);

/* MG_E_NOT_FOUND: no such id, or revoked already. */
MG_MUST_USE mg_err mg_keystore_revoke(struct mg_db *db, const char *id, uint64_t now_us);

/* After MG_E_NOT_FOUND, for people: whether there is no such key, or what ended it. Cut to `size` bytes. */
void mg_keystore_explain(struct mg_db *db, const char *id, char *out, size_t size);

/* Texts in the arena. MG_E_NOT_FOUND: no such id. */
MG_MUST_USE mg_err mg_keystore_find(struct mg_db *db, const char *id, struct mg_arena *arena, struct mg_key *out_key);

/* All rows, oldest first, texts in the arena. MG_E_TOO_LARGE past MG_MAX_KEYS. */
MG_MUST_USE mg_err mg_keystore_load(struct mg_db *db, struct mg_arena *arena, struct mg_key **out_keys, size_t *out_count);

#endif
