/* Rows: vault_keys (one per project: its wrapped data key) and secrets (the newest version of each). A secret's versions
 * count on after it was removed: its row stays without ciphertext, so that no two ciphertexts ever share a place. */
#include "vault/vault.h"

#include <psa/crypto.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

struct key_row {
    struct key_row *next;
    mg_view project, wrapped, master;  /* in the rows' arena */
};

struct secret_row {
    struct secret_row *next;
    mg_view project, name, sealed;     /* likewise; sealed empty: removed */
    uint64_t version;
};

struct mg_vault_rows {
    struct mg_arena arena;
    struct key_row *keys;
    struct secret_row *secrets;
};

/* A data key in memory. */
struct data_key {
    struct data_key *next;
    char project[MG_SECRET_NAME_BYTES];
    struct mg_seal_key *key;
    struct mg_buf wrapped;
    char master[MG_MASTER_ID_BYTES];   /* who wrapped it */
    bool stored;
};

struct mg_vault {
    struct mg_vault_options options;
    struct mg_master *master;
    struct mg_master *previous;        /* NULL: nothing is left that it wrapped */
    struct data_key *keys;
    struct mg_audit_key *audit;
};

struct mg_vault_change {
    struct mg_vault *vault;            /* borrowed */
    struct data_key *key;              /* borrowed from the vault */
    struct mg_buf wrapped;             /* of a rewrap; empty: none */
    char master[MG_MASTER_ID_BYTES];
    char project[MG_SECRET_NAME_BYTES], name[MG_SECRET_NAME_BYTES];    /* name empty: a rewrap */
    struct mg_sealed *draft;           /* the new value, under the process's key until its version is known */
    struct mg_sealed *sealed;          /* … and then under the project's */
    uint64_t version;
};

static mg_err make_data_key(struct mg_vault *vault, mg_view project, struct data_key **out_key, struct mg_diag *diag);

/* ---- reading --------------------------------------------------------------------------------- */

static mg_err read_keys(struct mg_db *db, struct mg_vault_rows *rows)
{
    struct mg_stmt *stmt;
    bool row;
    mg_err err;
    MG_TRY(mg_db_prepare(db, "SELECT project, wrapped, master FROM vault_keys", &stmt));
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        struct key_row *key = mg_arena_new(&rows->arena, struct key_row);
        *key = (struct key_row){rows->keys, mg_arena_dup(&rows->arena, mg_stmt_text(stmt, 0)),
                                mg_arena_dup(&rows->arena, mg_stmt_blob(stmt, 1)),
                                mg_arena_dup(&rows->arena, mg_stmt_text(stmt, 2))};
        rows->keys = key;
    }
    mg_stmt_free(stmt);
    return err;
}

static mg_err read_secrets(struct mg_db *db, struct mg_vault_rows *rows)
{
    struct mg_stmt *stmt;
    bool row;
    mg_err err;
    MG_TRY(mg_db_prepare(db, "SELECT project, name, version, sealed FROM secrets WHERE sealed IS NOT NULL", &stmt));
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        struct secret_row *secret = mg_arena_new(&rows->arena, struct secret_row);
        *secret = (struct secret_row){.next = rows->secrets,
                                      .project = mg_arena_dup(&rows->arena, mg_stmt_text(stmt, 0)),
                                      .name = mg_arena_dup(&rows->arena, mg_stmt_text(stmt, 1)),
                                      .version = (uint64_t)mg_stmt_int(stmt, 2),
                                      .sealed = mg_arena_dup(&rows->arena, mg_stmt_blob(stmt, 3))};
        rows->secrets = secret;
    }
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_vault_read(struct mg_db *db, struct mg_vault_rows **out_rows)
{
    struct mg_vault_rows *rows = mg_new(struct mg_vault_rows);
    mg_arena_init(&rows->arena, 4096);
    mg_err err = read_keys(db, rows);
    if (err == MG_OK)
        err = read_secrets(db, rows);
    if (err == MG_OK)
        *out_rows = rows;
    else
        mg_vault_rows_free(rows);
    return err;
}

void mg_vault_rows_free(struct mg_vault_rows *rows)
{
    if (!rows)
        return;
    mg_arena_fini(&rows->arena);
    mg_free(rows);
}

/* ---- opening --------------------------------------------------------------------------------- */

static struct data_key *find_key(const struct mg_vault *vault, mg_view project)
{
    struct data_key *key = vault->keys;
    while (key && !mg_view_eq(mg_view_cstr(key->project), project))
        key = key->next;
    return key;
}

static struct data_key *add_key(struct mg_vault *vault, mg_view project, const unsigned char bytes[MG_SEAL_KEY_BYTES])
{
    struct data_key *key = mg_new(struct data_key);
    snprintf(key->project, sizeof key->project, "%.*s", MG_FMT(project));
    key->key = mg_seal_key_new(bytes);
    mg_buf_init(&key->wrapped, MG_WRAPPED_BYTES);
    key->next = vault->keys;
    vault->keys = key;
    return key;
}

/* Whoever wrapped it. */
static struct mg_master *master_of(const struct mg_vault *vault, const char *id)
{
    if (strcmp(id, vault->master->id) == 0)
        return vault->master;
    return vault->previous && strcmp(id, vault->previous->id) == 0 ? vault->previous : NULL;
}

static mg_err unwrap(struct mg_vault *vault, const char *master_id, mg_view wrapped, mg_view project,
                     unsigned char out[MG_SEAL_KEY_BYTES], struct mg_diag *diag)
{
    struct mg_master *master = master_of(vault, master_id);
    if (!master)
        return mg_diag_set(diag, MG_E_DENIED, NULL, 0,
                           "the key of project '%.*s' was wrapped by the master key %s, and vault.master in gateway.lua is %s: "
                           "name the old one as vault.previous, then run `moongate vault rewrap`",
                           MG_FMT(project), master_id, vault->master->id);
    return master->ops->unwrap(master, wrapped, project, out, diag);
}

/* The key without a project is the audit log's. */
static void note_audit_key(struct mg_vault *vault, mg_view project, const unsigned char bytes[MG_SEAL_KEY_BYTES])
{
    if (project.len == 0 && !vault->audit)
        vault->audit = mg_audit_key_new(bytes);
}

static mg_err unwrap_row(struct mg_vault *vault, const struct key_row *row, struct mg_diag *diag)
{
    unsigned char bytes[MG_SEAL_KEY_BYTES];
    mg_err err = unwrap(vault, row->master.ptr, row->wrapped, row->project, bytes, diag);
    if (err == MG_OK) {
        note_audit_key(vault, row->project, bytes);
        struct data_key *key = add_key(vault, row->project, bytes);
        err = mg_buf_put(&key->wrapped, row->wrapped);
        snprintf(key->master, sizeof key->master, "%.*s", MG_FMT(row->master));
        key->stored = true;
    }
    mg_wipe(bytes, sizeof bytes);
    return err;
}

/* A key that was damaged or moved is left out, with the secrets under it, when others show that the master is the right one. */
static mg_err unwrap_rows(struct mg_vault *vault, const struct mg_vault_rows *rows, struct mg_diag *diag)
{
    unsigned good = 0;
    for (const struct key_row *row = rows->keys; row; row = row->next) {
        struct mg_diag why = {.line = 0};
        mg_err err = unwrap_row(vault, row, &why);
        good += err == MG_OK;
        if (err == MG_OK)
            continue;
        if (err != MG_E_DENIED || !master_of(vault, row->master.ptr) || (!good && !row->next)) {
            *diag = why;
            return err;
        }
        mg_log_error("vault.broken_key", "%s", why.text);
    }
    return MG_OK;
}

static mg_err open_row(struct mg_vault *vault, const struct secret_row *row, struct mg_diag *diag)
{
    struct data_key *key = find_key(vault, row->project);
    struct mg_seal_place place = {row->project, row->name, row->version};
    struct mg_secret_slot *slot = mg_secret_slot_of(row->project, row->name);
    struct mg_sealed *sealed;
    mg_err err = key ? mg_sealed_new(key->key, &place, row->sealed, &sealed) : MG_E_DENIED;
    if (err != MG_OK || !slot)
        return mg_diag_set(diag, err == MG_OK ? MG_E_TOO_LARGE : err, NULL, 0,
                           "secret %.*s of project %.*s does not open: its row was changed or moved here; `moongate secret "
                           "set` puts a good one in its place", MG_FMT(row->name), MG_FMT(row->project));
    mg_secret_slot_set(slot, sealed);
    return MG_OK;
}

mg_err mg_vault_open(const struct mg_vault_options *options, const struct mg_vault_rows *rows, struct mg_vault **out_vault,
                     struct mg_diag *diag)
{
    struct mg_vault *vault = mg_new(struct mg_vault);
    vault->options = *options;
    bool has_previous = options->previous && options->previous->kind;
    mg_err err = mg_master_open(options->master, options->data_dir, rows->keys == NULL || has_previous, &vault->master, diag);
    if (err == MG_OK && has_previous)
        err = mg_master_open(options->previous, options->data_dir, false, &vault->previous, diag);
    if (err == MG_OK)
        err = unwrap_rows(vault, rows, diag);
    for (const struct secret_row *row = rows->secrets; row && err == MG_OK; row = row->next) {
        struct mg_diag why = {.line = 0};
        if (open_row(vault, row, &why) != MG_OK)
            mg_log_error("vault.broken_secret", "%s", why.text);      /* the others are good */
    }
    struct data_key *audit_key;
    if (err == MG_OK && !vault->audit)
        err = make_data_key(vault, MG_VIEW_NONE, &audit_key, diag);
    if (err == MG_OK)
        *out_vault = vault;
    else
        mg_vault_close(vault);
    return err;
}

void mg_vault_note_names(const struct mg_vault_rows *rows)
{
    for (const struct secret_row *row = rows->secrets; row; row = row->next) {
        struct mg_secret_slot *slot = mg_secret_slot_of(row->project, row->name);
        struct mg_sealed *name_only;
        if (slot && mg_sealed_from(mg_seal_key_process(), &(struct mg_seal_place){.version = row->version}, MG_VIEW("?"),
                                   &name_only) == MG_OK)
            mg_secret_slot_set(slot, name_only);
    }
}

void mg_vault_close(struct mg_vault *vault)
{
    if (!vault)
        return;
    mg_secret_slots_clear();
    for (struct data_key *key = vault->keys, *next; key; key = next) {
        next = key->next;
        mg_seal_key_unref(key->key);
        mg_buf_fini(&key->wrapped);
        mg_free(key);
    }
    mg_audit_key_free(vault->audit);
    mg_master_close(vault->previous);
    mg_master_close(vault->master);
    mg_free(vault);
}

struct mg_audit_key *mg_vault_audit_key(const struct mg_vault *vault)
{
    return vault->audit;
}

bool mg_vault_begun(const struct mg_vault *vault)
{
    return find_key(vault, MG_VIEW_NONE)->stored;
}

/* ---- changing -------------------------------------------------------------------------------- */

static mg_err make_data_key(struct mg_vault *vault, mg_view project, struct data_key **out_key, struct mg_diag *diag)
{
    unsigned char bytes[MG_SEAL_KEY_BYTES];
    struct mg_buf wrapped;
    (void)mg_seal_key_process();       /* starts the library */
    if (psa_generate_random(bytes, sizeof bytes) != PSA_SUCCESS)
        return mg_diag_set(diag, MG_E_SYSTEM, NULL, 0, "there are no random numbers for a data key");
    mg_buf_init(&wrapped, MG_WRAPPED_BYTES);
    mg_err err = vault->master->ops->wrap(vault->master, bytes, project, &wrapped, diag);
    if (err == MG_OK) {
        note_audit_key(vault, project, bytes);
        *out_key = add_key(vault, project, bytes);
        (*out_key)->wrapped = wrapped;
        snprintf((*out_key)->master, sizeof (*out_key)->master, "%s", vault->master->id);
    } else {
        mg_buf_fini(&wrapped);
    }
    mg_wipe(bytes, sizeof bytes);
    return err;
}

mg_err mg_vault_data_key(struct mg_vault *vault, mg_view project, struct mg_seal_key **out_key, bool *out_made,
                         struct mg_diag *diag)
{
    struct data_key *key = find_key(vault, project);
    if (!key && !mg_secret_name_is_good(project))
        return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0, "'%.*s' is no name of a project", MG_FMT(project));
    if (!key)
        MG_TRY(make_data_key(vault, project, &key, diag));
    *out_key = mg_seal_key_ref(key->key);
    *out_made = !key->stored;
    return MG_OK;
}

static struct mg_vault_change *change_new(struct mg_vault *vault, struct data_key *key)
{
    struct mg_vault_change *change = mg_new(struct mg_vault_change);
    change->vault = vault;
    change->key = key;
    mg_buf_init(&change->wrapped, MG_WRAPPED_BYTES);
    snprintf(change->project, sizeof change->project, "%s", key->project);
    return change;
}

mg_err mg_vault_prepare(struct mg_vault *vault, mg_view project, mg_view name, mg_view plain,
                        struct mg_vault_change **out_change, struct mg_diag *diag)
{
    struct mg_buf printed;             /* the check of what may be a secret is there */
    if (!mg_secret_name_is_good(project) || !mg_secret_name_is_good(name))
        return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0,
                           "expected names of at most %d letters, digits, `_`, `-` and `.`, a letter or digit first",
                           MG_SECRET_NAME_BYTES - 1);
    mg_buf_init(&printed, MG_LOCKED_BYTES);
    mg_err err = mg_secret_print(MG_VIEW_NONE, MG_VIEW_NONE, plain, &printed);
    mg_buf_fini(&printed);
    if (err != MG_OK)
        return mg_diag_set(diag, err, NULL, 0,
                           "expected a secret of printable text, found an empty one, one with control characters or one "
                           "above %d bytes", MG_SECRET_BYTES);
    struct data_key *key = find_key(vault, project);
    if (!key)
        MG_TRY(make_data_key(vault, project, &key, diag));
    struct mg_vault_change *change = change_new(vault, key);
    snprintf(change->name, sizeof change->name, "%.*s", MG_FMT(name));
    struct mg_buf flat;
    mg_buf_init(&flat, MG_SECRET_BYTES);
    err = mg_sealed_from(mg_seal_key_process(), &(struct mg_seal_place){.version = 0}, mg_secret_flat(plain, &flat), &change->draft);
    mg_secret_flat_fini(&flat);
    if (err != MG_OK) {
        mg_vault_change_free(change);
        return mg_diag_set(diag, err, NULL, 0, "the secret cannot be sealed: %s", mg_err_text(err));
    }
    *out_change = change;
    return MG_OK;
}

static mg_err store_key(struct mg_db *db, const struct data_key *key, mg_view wrapped, const char *master)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "INSERT INTO vault_keys (project, wrapped, master, created_us) VALUES (?, ?, ?, ?) "
                             "ON CONFLICT (project) DO UPDATE SET wrapped = excluded.wrapped, master = excluded.master", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(key->project));
    mg_stmt_bind_blob(stmt, 2, wrapped);
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(master));
    mg_stmt_bind_int(stmt, 4, (int64_t)mg_wall_us());
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

static mg_err next_version(struct mg_db *db, const struct mg_vault_change *change, uint64_t *out_version)
{
    struct mg_stmt *stmt;
    bool row;
    MG_TRY(mg_db_prepare(db, "SELECT version FROM secrets WHERE project = ? AND name = ?", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(change->project));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(change->name));
    mg_err err = mg_stmt_step(stmt, &row);
    if (err == MG_OK)
        *out_version = row ? (uint64_t)mg_stmt_int(stmt, 0) + 1 : 1;
    mg_stmt_free(stmt);
    return err;
}

static mg_err seal_draft(struct mg_vault_change *change)
{
    struct mg_seal_place place = {mg_view_cstr(change->project), mg_view_cstr(change->name), change->version};
    struct mg_locked *plain = mg_locked_take();
    mg_err err = mg_sealed_open(change->draft, plain);
    mg_sealed_unref(change->sealed);   /* of a transaction that failed */
    change->sealed = NULL;
    if (err == MG_OK)
        err = mg_sealed_from(change->key->key, &place, mg_view_of(plain->ptr, plain->len), &change->sealed);
    mg_locked_give(plain);
    return err;
}

static mg_err store_secret(struct mg_db *db, const struct mg_vault_change *change)
{
    struct mg_stmt *stmt;
    int64_t now_us = (int64_t)mg_wall_us();
    MG_TRY(mg_db_prepare(db, "INSERT INTO secrets (project, name, version, sealed, created_us, changed_us) VALUES (?, ?, ?, ?, ?, ?) "
                             "ON CONFLICT (project, name) DO UPDATE SET version = excluded.version, sealed = excluded.sealed, "
                             "changed_us = excluded.changed_us", &stmt));
    mg_stmt_bind_text(stmt, 1, mg_view_cstr(change->project));
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(change->name));
    mg_stmt_bind_int(stmt, 3, (int64_t)change->version);
    mg_stmt_bind_blob(stmt, 4, mg_sealed_bytes(change->sealed));
    mg_stmt_bind_int(stmt, 5, now_us);
    mg_stmt_bind_int(stmt, 6, now_us);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_vault_store_keys(struct mg_vault *vault, struct mg_db *db)
{
    for (const struct data_key *key = vault->keys; key; key = key->next)
        if (!key->stored)
            MG_TRY(store_key(db, key, mg_buf_view(&key->wrapped), key->master));
    return MG_OK;
}

void mg_vault_keys_stored(struct mg_vault *vault)
{
    for (struct data_key *key = vault->keys; key; key = key->next)
        key->stored = true;
}

mg_err mg_vault_write(struct mg_vault_change *change, struct mg_db *db)
{
    if (!*change->name)
        return store_key(db, change->key, mg_buf_view(&change->wrapped), change->master);
    MG_TRY(mg_vault_store_keys(change->vault, db));
    MG_TRY(next_version(db, change, &change->version));
    MG_TRY(seal_draft(change));
    return store_secret(db, change);
}

static void publish_rewrap(struct mg_vault_change *change)
{
    struct data_key *key = change->key;
    mg_buf_fini(&key->wrapped);
    key->wrapped = change->wrapped;
    mg_buf_init(&change->wrapped, MG_WRAPPED_BYTES);
    snprintf(key->master, sizeof key->master, "%s", change->master);
}

void mg_vault_publish(struct mg_vault_change *change)
{
    if (!*change->name) {
        publish_rewrap(change);
        return;
    }
    mg_vault_keys_stored(change->vault);
    struct mg_secret_slot *slot = mg_secret_slot_of(mg_view_cstr(change->project), mg_view_cstr(change->name));
    if (slot)
        mg_secret_slot_set(slot, mg_sealed_ref(change->sealed));
}

uint64_t mg_vault_version(const struct mg_vault_change *change)
{
    return change->version;
}

mg_view mg_vault_change_project(const struct mg_vault_change *change)
{
    return mg_view_cstr(change->project);
}

void mg_vault_change_free(struct mg_vault_change *change)
{
    if (!change)
        return;
    mg_buf_fini(&change->wrapped);
    mg_sealed_unref(change->draft);
    mg_sealed_unref(change->sealed);
    mg_free(change);
}

mg_err mg_vault_delete(struct mg_db *db, mg_view project, mg_view name)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "UPDATE secrets SET sealed = NULL, version = version + 1 "
                             "WHERE project = ? AND name = ? AND sealed IS NOT NULL", &stmt));
    mg_stmt_bind_text(stmt, 1, project);
    mg_stmt_bind_text(stmt, 2, name);
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err == MG_OK && mg_db_changes(db) == 0 ? MG_E_NOT_FOUND : err;
}

void mg_vault_forget(mg_view project, mg_view name)
{
    struct mg_secret_slot *slot = mg_secret_slot_of(project, name);
    if (slot)
        mg_secret_slot_set(slot, NULL);
}

/* ---- looking --------------------------------------------------------------------------------- */

mg_err mg_vault_list(struct mg_db *db, void (*each)(void *arg, const struct mg_vault_entry *entry), void *arg)
{
    struct mg_stmt *stmt;
    bool row;
    mg_err err;
    MG_TRY(mg_db_prepare(db, "SELECT project, name, version, created_us, changed_us, last_used_us FROM secrets "
                             "WHERE sealed IS NOT NULL ORDER BY project, name", &stmt));
    while ((err = mg_stmt_step(stmt, &row)) == MG_OK && row) {
        char project[MG_SECRET_NAME_BYTES], name[MG_SECRET_NAME_BYTES];
        snprintf(project, sizeof project, "%.*s", MG_FMT(mg_stmt_text(stmt, 0)));
        snprintf(name, sizeof name, "%.*s", MG_FMT(mg_stmt_text(stmt, 1)));
        each(arg, &(struct mg_vault_entry){project, name, (uint64_t)mg_stmt_int(stmt, 2), (uint64_t)mg_stmt_int(stmt, 3),
                                           (uint64_t)mg_stmt_int(stmt, 4), (uint64_t)mg_stmt_int(stmt, 5)});
    }
    mg_stmt_free(stmt);
    return err;
}

mg_err mg_vault_note_use(struct mg_db *db, const struct mg_secret_use *use)
{
    struct mg_stmt *stmt;
    MG_TRY(mg_db_prepare(db, "UPDATE secrets SET last_used_us = ? WHERE project = ? AND name = ?", &stmt));
    mg_stmt_bind_int(stmt, 1, (int64_t)use->last_used_us);
    mg_stmt_bind_text(stmt, 2, mg_view_cstr(use->project));
    mg_stmt_bind_text(stmt, 3, mg_view_cstr(use->name));
    mg_err err = mg_stmt_run(stmt);
    mg_stmt_free(stmt);
    return err;
}

/* ---- a new master key ------------------------------------------------------------------------ */

const char *mg_vault_master_id(const struct mg_vault *vault)
{
    return vault->master->id;
}

static struct data_key *left_behind(const struct mg_vault *vault)
{
    struct data_key *key = vault->keys;
    while (key && strcmp(key->master, vault->master->id) == 0)
        key = key->next;
    return key;
}

mg_err mg_vault_adopt(struct mg_vault *vault, struct mg_master *master, struct mg_diag *diag)
{
    if (strcmp(master->id, vault->master->id) == 0) {
        mg_master_close(master);       /* the one we have */
        return MG_OK;
    }
    if (left_behind(vault)) {
        mg_master_close(master);
        return mg_diag_set(diag, MG_E_BUSY, NULL, 0,
                           "the change to the master key %s is not finished: go back to it in gateway.lua and run `moongate "
                           "vault rewrap` first", vault->master->id);
    }
    mg_master_close(vault->previous);
    vault->previous = vault->master;
    vault->master = master;
    return MG_OK;
}

/* The old master says what the key is: PSA's store does not give it out again. */
static mg_err wrap_again(struct mg_vault *vault, const struct data_key *key, struct mg_buf *out, struct mg_diag *diag)
{
    unsigned char bytes[MG_SEAL_KEY_BYTES];
    mg_view project = mg_view_cstr(key->project);
    mg_err err = unwrap(vault, key->master, mg_buf_view(&key->wrapped), project, bytes, diag);
    if (err == MG_OK)
        err = vault->master->ops->wrap(vault->master, bytes, project, out, diag);
    mg_wipe(bytes, sizeof bytes);
    return err;
}

mg_err mg_vault_rewrap_next(struct mg_vault *vault, struct mg_vault_change **out_change, struct mg_diag *diag)
{
    struct data_key *key = left_behind(vault);
    *out_change = NULL;
    if (!key)
        return MG_OK;
    struct mg_vault_change *change = change_new(vault, key);
    snprintf(change->master, sizeof change->master, "%s", vault->master->id);
    mg_err err = wrap_again(vault, key, &change->wrapped, diag);
    if (err == MG_OK)
        *out_change = change;
    else
        mg_vault_change_free(change);
    return err;
}
