#include "gateway/keys.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tenant/keystore.h"

struct mg_keys {
    struct mg_recorder *recorder;      /* borrowed */
    struct mg_worker *workers;         /* borrowed */
    unsigned worker_count;
    struct mg_key_secret secret;
    pthread_mutex_t lock;              /* one change at a time */
};

/* ---- waiting for workers --------------------------------------------------------------------- */

static void on_all_done(struct mg_ack *ack)
{
    uv_sem_post(&mg_container_of(ack, struct mg_wait_all, ack)->done);
}

void mg_wait_all_init(struct mg_wait_all *wait, unsigned workers)
{
    atomic_init(&wait->ack.left, workers);
    wait->ack.done = on_all_done;
    uv_sem_init(&wait->done, 0);
}

void mg_wait_all(struct mg_wait_all *wait)
{
    uv_sem_wait(&wait->done);
    uv_sem_destroy(&wait->done);
}

/* ---- reading the store, on the recorder thread ----------------------------------------------- */

struct load {
    struct mg_arena arena;
    struct mg_key *keys;
    size_t count;
};

static mg_err load_rows(void *arg, struct mg_db *db)
{
    struct load *load = arg;
    return mg_keystore_load(db, &load->arena, &load->keys, &load->count);
}

static mg_err load(struct mg_keys *keys, struct load *out_load)
{
    mg_arena_init(&out_load->arena, 65536);
    return mg_recorder_write_wait(keys->recorder, load_rows, out_load);
}

static mg_err publish(struct mg_keys *keys)
{
    struct load rows;
    struct mg_keyring *keyring = NULL;
    mg_err err = load(keys, &rows);
    if (err == MG_OK)
        err = mg_keyring_new(&keys->secret, rows.keys, rows.count, &keyring);
    mg_arena_fini(&rows.arena);
    MG_TRY(err);
    struct mg_wait_all wait;
    mg_wait_all_init(&wait, keys->worker_count);
    for (unsigned i = 0; i < keys->worker_count; i++)
        mg_worker_set_keyring(&keys->workers[i], mg_keyring_ref(keyring), &wait.ack);
    mg_wait_all(&wait);
    mg_keyring_unref(keyring);
    return MG_OK;
}

mg_err mg_keys_start(const char *data_dir, struct mg_recorder *recorder, struct mg_worker *workers,
                     unsigned worker_count, struct mg_keys **out_keys, struct mg_diag *diag)
{
    struct mg_keys *keys = mg_new(struct mg_keys);
    *keys = (struct mg_keys){.recorder = recorder, .workers = workers, .worker_count = worker_count};
    pthread_mutex_init(&keys->lock, NULL);
    mg_err err = mg_key_secret_load(data_dir, &keys->secret, diag);
    if (err == MG_OK && (err = publish(keys)) != MG_OK)
        mg_diag_set(diag, err, data_dir, 0, "the keys could not be read from the store: %s", mg_err_text(err));
    if (err != MG_OK) {
        mg_keys_stop(keys);
        return err;
    }
    *out_keys = keys;
    return MG_OK;
}

void mg_keys_stop(struct mg_keys *keys)
{
    if (!keys)
        return;
    mg_wipe(&keys->secret, sizeof keys->secret);
    pthread_mutex_destroy(&keys->lock);
    mg_free(keys);
}

/* ---- changes --------------------------------------------------------------------------------- */

struct change {
    const struct mg_key *insert;       /* NULL: none */
    const char *revoke, *expire;       /* ids; NULL: none */
    uint64_t when_us;
};

static mg_err apply(void *arg, struct mg_db *db)
{
    const struct change *change = arg;
    if (change->revoke)
        MG_TRY(mg_keystore_revoke(db, change->revoke, change->when_us));
    if (change->expire)
        MG_TRY(mg_keystore_expire(db, change->expire, change->when_us));
    return change->insert ? mg_keystore_insert(db, change->insert) : MG_OK;
}

/* On disk first, then obeyed everywhere. */
static mg_err commit(struct mg_keys *keys, struct change *change, struct mg_diag *diag)
{
    mg_err err = mg_recorder_write_wait(keys->recorder, apply, change);
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "there is no key '%s'; `moongate key list` shows all",
                           change->revoke ? change->revoke : change->expire);
    if (err == MG_OK)
        err = publish(keys);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the key could not be stored: %s", mg_err_text(err));
}

mg_err mg_keys_create(struct mg_keys *keys, const struct mg_keys_spec *spec, char out_text[MG_KEY_TEXT_BYTES],
                      struct mg_key *out_key, struct mg_diag *diag)
{
    MG_TRY(mg_key_issue(&keys->secret, spec->project, spec->name, spec->expires_us, spec->metadata, out_text, out_key));
    pthread_mutex_lock(&keys->lock);
    mg_err err = commit(keys, &(struct change){.insert = out_key}, diag);
    pthread_mutex_unlock(&keys->lock);
    return err;
}

mg_err mg_keys_revoke(struct mg_keys *keys, const char *id, struct mg_diag *diag)
{
    pthread_mutex_lock(&keys->lock);
    mg_err err = commit(keys, &(struct change){.revoke = id, .when_us = mg_wall_us()}, diag);
    pthread_mutex_unlock(&keys->lock);
    return err;
}

static const struct mg_key *find(const struct load *rows, const char *id)
{
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->keys[i].id, id) == 0)
            return &rows->keys[i];
    return NULL;
}

static mg_err rotate(struct mg_keys *keys, const struct load *rows, const char *id, uint64_t overlap_s,
                     char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag)
{
    const struct mg_key *old = find(rows, id);
    if (!old || old->revoked_us)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "there is no valid key '%s'; `moongate key list` shows all", id);
    MG_TRY(mg_key_issue(&keys->secret, old->project, old->name, old->expires_us, old->metadata, out_text, out_key));
    uint64_t until = mg_wall_us() + overlap_s * 1000000;
    if (old->expires_us && old->expires_us < until)
        until = old->expires_us;
    return commit(keys, &(struct change){.insert = out_key, .expire = id, .when_us = until}, diag);
}

mg_err mg_keys_rotate(struct mg_keys *keys, const char *id, uint64_t overlap_s, char out_text[MG_KEY_TEXT_BYTES],
                      struct mg_key *out_key, struct mg_diag *diag)
{
    struct load rows;
    pthread_mutex_lock(&keys->lock);
    mg_err err = load(keys, &rows);
    if (err == MG_OK)
        err = rotate(keys, &rows, id, overlap_s, out_text, out_key, diag);
    pthread_mutex_unlock(&keys->lock);
    if (err == MG_OK)
        out_key->metadata = NULL;      /* it stood in the rows */
    mg_arena_fini(&rows.arena);
    return err;
}

mg_err mg_keys_list(struct mg_keys *keys, void (*each)(void *arg, const struct mg_key *key), void *arg,
                    struct mg_diag *diag)
{
    struct load rows;
    mg_err err = load(keys, &rows);
    for (size_t i = 0; err == MG_OK && i < rows.count; i++)
        each(arg, &rows.keys[i]);
    mg_arena_fini(&rows.arena);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the keys could not be read: %s", mg_err_text(err));
}
