/* keys.h - live changes of keys and of what is disabled by hand: write the row, build a new snapshot, swap it in on every
 * worker, then return.
 *
 * Changes are serialised; any thread but a worker's and the recorder's. */
#ifndef MG_GATEWAY_KEYS_H
#define MG_GATEWAY_KEYS_H

#include "gateway/gateway.h"

struct mg_keys;

/* Loads the keyring of the store and puts it on all workers. The desk is borrowed: each change and its entry in the audit log,
 * with the actor who made it, are one transaction. */
MG_MUST_USE mg_err mg_keys_start(const char *data_dir, struct mg_recorder *recorder, struct mg_desk *desk,
                                 struct mg_worker *workers, unsigned worker_count, struct mg_keys **out_keys,
                                 struct mg_diag *diag);
void mg_keys_stop(struct mg_keys *keys);                      /* NULL is a no-op */

MG_MUST_USE mg_err mg_keys_create(struct mg_keys *keys, mg_view actor, const struct mg_keys_spec *spec,
                                  char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag);
MG_MUST_USE mg_err mg_keys_revoke(struct mg_keys *keys, mg_view actor, const char *id, struct mg_diag *diag);
MG_MUST_USE mg_err mg_keys_rotate(struct mg_keys *keys, mg_view actor, const char *id, uint64_t overlap_s, struct mg_arena *arena,
                                  char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag);
MG_MUST_USE mg_err mg_keys_change(struct mg_keys *keys, mg_view actor, const char *id, const struct mg_keys_spec *spec,
                                  struct mg_arena *arena, struct mg_key *out_key, struct mg_diag *diag);
MG_MUST_USE mg_err mg_keys_list(struct mg_keys *keys, void (*each)(void *arg, const struct mg_key *key), void *arg,
                                struct mg_diag *diag);

/* The keyring that workers have, one reference. Waits for nobody. */
struct mg_keyring *mg_keys_ring(struct mg_keys *keys);

/* What is disabled by hand, in the same manner; here `row` is complete, its actor included. mg_keys_enable() fills what was removed. */
MG_MUST_USE mg_err mg_keys_disable(struct mg_keys *keys, const struct mg_switch *row, struct mg_diag *diag);
MG_MUST_USE mg_err mg_keys_enable(struct mg_keys *keys, const struct mg_switch *row, struct mg_diag *diag);
MG_MUST_USE mg_err mg_keys_disabled(struct mg_keys *keys, void (*each)(void *arg, const struct mg_switch *row), void *arg,
                                    struct mg_diag *diag);

/* Waits until all workers have run what `start` posts to each of them. */
struct mg_wait_all {
    struct mg_ack ack;
    uv_sem_t done;
};
void mg_wait_all_init(struct mg_wait_all *wait, unsigned workers);
void mg_wait_all(struct mg_wait_all *wait);                   /* and frees it */

#endif
