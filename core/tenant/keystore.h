/* keystore.h - the rows of keys in the store. For the recorder thread of a running gateway, or a CLI that holds the
 * folder's lock; never on a worker. */
#ifndef MG_TENANT_KEYSTORE_H
#define MG_TENANT_KEYSTORE_H

#include "base/arena.h"
#include "store/db.h"
#include "tenant/keyring.h"

MG_MUST_USE mg_err mg_keystore_insert(struct mg_db *db, const struct mg_key *key);

/* MG_E_NOT_FOUND: no such id. Revoking twice keeps the first time. */
MG_MUST_USE mg_err mg_keystore_revoke(struct mg_db *db, const char *id, uint64_t now_us);
MG_MUST_USE mg_err mg_keystore_expire(struct mg_db *db, const char *id, uint64_t when_us);

/* All rows, oldest first, metadata in the arena. MG_E_TOO_LARGE past MG_MAX_KEYS. */
MG_MUST_USE mg_err mg_keystore_load(struct mg_db *db, struct mg_arena *arena, struct mg_key **out_keys, size_t *out_count);

#endif
