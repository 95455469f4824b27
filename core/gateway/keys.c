#include "gateway/keys.h"

#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tenant/keystore.h"
#include "tenant/switchstore.h"
#include "vault/desk.h"

struct mg_keys {
    struct mg_recorder *recorder;      /* borrowed */
    struct mg_desk *desk;              /* borrowed */
    struct mg_worker *workers;         /* borrowed */
    unsigned worker_count;
    struct mg_key_secret secret;
    pthread_mutex_t lock;              /* one change at a time */
    pthread_mutex_t ring_lock;         /* of `ring`, for a moment */
    struct mg_keyring *ring;           /* the last one given to workers; one reference */
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
    struct mg_switch *switches;
    size_t count;                      /* of whichever was read */
};

static mg_err load_keys(void *arg, struct mg_db *db)
{
    struct load *load = arg;
    return mg_keystore_load(db, &load->arena, &load->keys, &load->count);
}

static mg_err load_switches(void *arg, struct mg_db *db)
{
    struct load *load = arg;
    return mg_switchstore_load(db, &load->arena, &load->switches, &load->count);
}

static mg_err load(struct mg_keys *keys, mg_write_fn read, struct load *out_load)
{
    *out_load = (struct load){.count = 0};
    mg_arena_init(&out_load->arena, 65536);
    return mg_recorder_write_wait(keys->recorder, read, out_load);
}

/* ---- telling the workers --------------------------------------------------------------------- */

static void keep_ring(struct mg_keys *keys, struct mg_keyring *ring)
{
    pthread_mutex_lock(&keys->ring_lock);
    struct mg_keyring *before = keys->ring;
    keys->ring = ring;
    pthread_mutex_unlock(&keys->ring_lock);
    mg_keyring_unref(before);
}

struct mg_keyring *mg_keys_ring(struct mg_keys *keys)
{
    pthread_mutex_lock(&keys->ring_lock);
    struct mg_keyring *ring = keys->ring ? mg_keyring_ref(keys->ring) : NULL;
    pthread_mutex_unlock(&keys->ring_lock);
    return ring;
}

static mg_err publish_keys(struct mg_keys *keys)
{
    struct load rows;
    struct mg_keyring *keyring = NULL;
    mg_err err = load(keys, load_keys, &rows);
    if (err == MG_OK)
        err = mg_keyring_new(&keys->secret, rows.keys, rows.count, &keyring);
    mg_arena_fini(&rows.arena);
    MG_TRY(err);
    struct mg_wait_all wait;
    mg_wait_all_init(&wait, keys->worker_count);
    for (unsigned i = 0; i < keys->worker_count; i++)
        mg_worker_set_keyring(&keys->workers[i], mg_keyring_ref(keyring), &wait.ack);
    mg_wait_all(&wait);
    keep_ring(keys, keyring);
    return MG_OK;
}

static mg_err publish_switches(struct mg_keys *keys)
{
    struct load rows;
    mg_err err = load(keys, load_switches, &rows);
    struct mg_switches *switches = err == MG_OK ? mg_switches_new(rows.switches, rows.count) : NULL;
    mg_arena_fini(&rows.arena);
    MG_TRY(err);
    struct mg_wait_all wait;
    mg_wait_all_init(&wait, keys->worker_count);
    for (unsigned i = 0; i < keys->worker_count; i++)
        mg_worker_set_switches(&keys->workers[i], mg_switches_ref(switches), &wait.ack);
    mg_wait_all(&wait);
    mg_switches_unref(switches);
    return MG_OK;
}

mg_err mg_keys_start(const char *data_dir, struct mg_recorder *recorder, struct mg_desk *desk, struct mg_worker *workers,
                     unsigned worker_count, struct mg_keys **out_keys, struct mg_diag *diag)
{
    struct mg_keys *keys = mg_new(struct mg_keys);
    *keys = (struct mg_keys){.recorder = recorder, .desk = desk, .workers = workers, .worker_count = worker_count};
    pthread_mutex_init(&keys->lock, NULL);
    pthread_mutex_init(&keys->ring_lock, NULL);
    mg_err err = mg_key_secret_load(data_dir, &keys->secret, diag);
    if (err == MG_OK)
        err = publish_keys(keys);
    if (err == MG_OK)
        err = publish_switches(keys);
    if (err != MG_OK && diag && !*diag->text)
        mg_diag_set(diag, err, data_dir, 0, "keys and switches could not be read from the store: %s", mg_err_text(err));
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
    mg_keyring_unref(keys->ring);
    pthread_mutex_destroy(&keys->ring_lock);
    mg_wipe(&keys->secret, sizeof keys->secret);
    pthread_mutex_destroy(&keys->lock);
    mg_free(keys);
}

/* ---- changes --------------------------------------------------------------------------------- */

/* One change of the store. It runs on the recorder thread while its caller waits. */
struct change {
    mg_write_fn write;
    struct mg_act_entry entry;         /* of the audit log: actor and act are set, the write sets the rest */
    const struct mg_key_secret *secret;
    const struct mg_keys_spec *spec;
    const struct mg_switch *row;
    const char *id;
    uint64_t overlap_s;
    struct mg_arena *arena;
    char *out_text;
    struct mg_key *out_key;
};

static mg_err create(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    MG_TRY(mg_keystore_create(db, change->secret, change->spec, change->out_text, change->out_key));
    mg_act_entry_say(&change->entry, change->out_key->project, change->out_key->id, "%s", change->out_key->name);
    return MG_OK;
}

static mg_err end_key(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    struct mg_arena arena;
    struct mg_key key;
    mg_arena_init(&arena, 1024);
    mg_err err = mg_keystore_revoke(db, change->id, mg_wall_us());
    if (err == MG_OK)
        err = mg_keystore_find(db, change->id, &arena, &key);
    if (err == MG_OK)
        mg_act_entry_say(&change->entry, key.project, change->id, "%s", key.name);
    mg_arena_fini(&arena);
    return err;
}

static mg_err rotate(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    uint64_t until_us = change->overlap_s ? mg_wall_us() + change->overlap_s * 1000000 : 0;
    MG_TRY(mg_keystore_rotate(db, change->secret, change->id, until_us, change->arena, change->out_text, change->out_key));
    mg_act_entry_say(&change->entry, change->out_key->project, change->id, "to %s, both for %llu s", change->out_key->id,
                     (unsigned long long)change->overlap_s);
    return MG_OK;
}

static mg_err update(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    MG_TRY(mg_keystore_change(db, change->id, change->spec, change->arena, change->out_key));
    mg_act_entry_say(&change->entry, change->out_key->project, change->id, "%s", change->out_key->name);
    return MG_OK;
}

static void say_switch(struct change *change)
{
    mg_act_entry_say(&change->entry, change->row->project, change->row->name, "%s", mg_switch_kind_name(change->row->kind));
}

static mg_err disable(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    say_switch(change);
    return mg_switchstore_put(db, change->row);
}

static mg_err enable(void *arg, struct mg_db *db)
{
    struct change *change = arg;
    say_switch(change);
    return mg_switchstore_remove(db, change->row->kind, change->row->project, change->row->name);
}

/* On disk first, with its entry in the audit log, then obeyed everywhere. */
static mg_err commit(struct mg_keys *keys, struct change *change, mg_err (*publish)(struct mg_keys *keys))
{
    change->secret = &keys->secret;
    pthread_mutex_lock(&keys->lock);
    mg_err err = mg_desk_act(keys->desk, &change->entry, change->write, change);
    if (err == MG_OK)
        err = publish(keys);
    pthread_mutex_unlock(&keys->lock);
    return err;
}

struct question {
    const char *id;
    char text[256];
};

static mg_err why(void *arg, struct mg_db *db)
{
    struct question *question = arg;
    mg_keystore_explain(db, question->id, question->text, sizeof question->text);
    return MG_OK;
}

static mg_err explain(struct mg_keys *keys, mg_err err, const char *id, struct mg_diag *diag)
{
    struct question question = {.id = id};
    if (err == MG_E_NOT_FOUND && mg_recorder_write_wait(keys->recorder, why, &question) == MG_OK)
        return mg_diag_set(diag, err, NULL, 0, "%s", question.text);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the key could not be stored: %s", mg_err_text(err));
}

mg_err mg_keys_create(struct mg_keys *keys, mg_view actor, const struct mg_keys_spec *spec, char out_text[MG_KEY_TEXT_BYTES],
                      struct mg_key *out_key, struct mg_diag *diag)
{
    struct change change = {.write = create, .entry = {actor, "key.create"}, .spec = spec, .out_text = out_text, .out_key = out_key};
    return explain(keys, commit(keys, &change, publish_keys), "", diag);
}

mg_err mg_keys_revoke(struct mg_keys *keys, mg_view actor, const char *id, struct mg_diag *diag)
{
    struct change change = {.write = end_key, .entry = {actor, "key.revoke"}, .id = id};
    return explain(keys, commit(keys, &change, publish_keys), id, diag);
}

mg_err mg_keys_rotate(struct mg_keys *keys, mg_view actor, const char *id, uint64_t overlap_s, struct mg_arena *arena,
                      char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag)
{
    struct change change = {.write = rotate, .entry = {actor, "key.rotate"}, .id = id, .overlap_s = overlap_s, .arena = arena,
                            .out_text = out_text, .out_key = out_key};
    return explain(keys, commit(keys, &change, publish_keys), id, diag);
}

mg_err mg_keys_change(struct mg_keys *keys, mg_view actor, const char *id, const struct mg_keys_spec *spec,
                      struct mg_arena *arena, struct mg_key *out_key, struct mg_diag *diag)
{
    struct change change = {.write = update, .entry = {actor, "key.change"}, .id = id, .spec = spec, .arena = arena,
                            .out_key = out_key};
    return explain(keys, commit(keys, &change, publish_keys), id, diag);
}

static mg_err explain_switch(mg_err err, const struct mg_switch *row, struct mg_diag *diag)
{
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "the %s %s of project %s is not disabled; `moongate disabled` shows what is",
                           mg_switch_kind_name(row->kind), row->name, row->project);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the switch could not be stored: %s", mg_err_text(err));
}

mg_err mg_keys_disable(struct mg_keys *keys, const struct mg_switch *row, struct mg_diag *diag)
{
    struct change change = {.write = disable, .entry = {mg_view_cstr(row->actor), "switch.disable"}, .row = row};
    return explain_switch(commit(keys, &change, publish_switches), row, diag);
}

mg_err mg_keys_enable(struct mg_keys *keys, const struct mg_switch *row, struct mg_diag *diag)
{
    struct change change = {.write = enable, .entry = {mg_view_cstr(row->actor), "switch.enable"}, .row = row};
    return explain_switch(commit(keys, &change, publish_switches), row, diag);
}

/* ---- lists ----------------------------------------------------------------------------------- */

mg_err mg_keys_list(struct mg_keys *keys, void (*each)(void *arg, const struct mg_key *key), void *arg,
                    struct mg_diag *diag)
{
    struct load rows;
    mg_err err = load(keys, load_keys, &rows);
    for (size_t i = 0; err == MG_OK && i < rows.count; i++)
        each(arg, &rows.keys[i]);
    mg_arena_fini(&rows.arena);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the keys could not be read: %s", mg_err_text(err));
}

mg_err mg_keys_disabled(struct mg_keys *keys, void (*each)(void *arg, const struct mg_switch *row), void *arg,
                        struct mg_diag *diag)
{
    struct load rows;
    mg_err err = load(keys, load_switches, &rows);
    for (size_t i = 0; err == MG_OK && i < rows.count; i++)
        each(arg, &rows.switches[i]);
    mg_arena_fini(&rows.arena);
    return err == MG_OK ? MG_OK : mg_diag_set(diag, err, NULL, 0, "the switches could not be read: %s", mg_err_text(err));
}
