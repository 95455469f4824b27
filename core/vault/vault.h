/* vault.h - secrets in the store: each project has a data key, which the master key wraps, and its secrets are sealed under it.
 *
 *     master key ──wraps──▶ data key of a project ──seals──▶ version n of a secret      (vault/sealed.h)
 *
 * What is in the store is in memory too, as ciphertext, in the slots of vault/secret.h; a request touches no database. Functions
 * that take a mg_db run inside the caller's transaction and touch only the store; the caller publishes what they did once
 * it is committed. One thread at a time. */
#ifndef MG_VAULT_VAULT_H
#define MG_VAULT_VAULT_H

#include "store/db.h"
#include "vault/audit.h"
#include "vault/master.h"

struct mg_vault;

struct mg_vault_options {
    const char *data_dir;
    const struct mg_master_spec *master;         /* borrowed; NULL or without a kind: a file in the data folder */
    const struct mg_master_spec *previous;       /* borrowed; opens what is not wrapped again yet; NULL or without a kind: none */
};

/* What the store has, copied: reading it and opening it are two steps, since the second may ask a network. */
struct mg_vault_rows;
MG_MUST_USE mg_err mg_vault_read(struct mg_db *db, struct mg_vault_rows **out_rows);
void mg_vault_rows_free(struct mg_vault_rows *rows);          /* NULL is a no-op */

/* Opens the master, unwraps every data key and fills the slots. When no key opens that is an error, and the diag says
 * why; when some do, a key or a secret that does not is logged and left out. */
MG_MUST_USE mg_err mg_vault_open(const struct mg_vault_options *options, const struct mg_vault_rows *rows,
                                 struct mg_vault **out_vault, struct mg_diag *diag);
/* The names alone, without a master: for `moongate check`, which wants to know what is there. */
void mg_vault_note_names(const struct mg_vault_rows *rows);
void mg_vault_close(struct mg_vault *vault);                  /* NULL is a no-op; empties the slots */

/* The audit log's; made when there is none yet, and written by the first mg_vault_write() or mg_vault_store_keys(). */
struct mg_audit_key *mg_vault_audit_key(const struct mg_vault *vault);
bool mg_vault_begun(const struct mg_vault *vault);            /* it was in the store and opened */
MG_MUST_USE mg_err mg_vault_store_keys(struct mg_vault *vault, struct mg_db *db);
void mg_vault_keys_stored(struct mg_vault *vault);            /* … and was committed */

/* The data key of a project, one reference; made when there is none yet (which may ask the master), and then to be written by
 * mg_vault_store_keys() before anything that was sealed under it: *out_made. */
MG_MUST_USE mg_err mg_vault_data_key(struct mg_vault *vault, mg_view project, struct mg_seal_key **out_key, bool *out_made,
                                     struct mg_diag *diag);

/* A change: prepared (may ask the master), written in a transaction, then published or dropped. */
struct mg_vault_change;
MG_MUST_USE mg_err mg_vault_prepare(struct mg_vault *vault, mg_view project, mg_view name, mg_view plain,
                                    struct mg_vault_change **out_change, struct mg_diag *diag);
MG_MUST_USE mg_err mg_vault_write(struct mg_vault_change *change, struct mg_db *db);
void mg_vault_publish(struct mg_vault_change *change);        /* the next request uses it */
uint64_t mg_vault_version(const struct mg_vault_change *change);
mg_view mg_vault_change_project(const struct mg_vault_change *change);         /* borrowed */
void mg_vault_change_free(struct mg_vault_change *change);    /* NULL is a no-op */

/* MG_E_NOT_FOUND: there is no such secret. */
MG_MUST_USE mg_err mg_vault_delete(struct mg_db *db, mg_view project, mg_view name);
void mg_vault_forget(mg_view project, mg_view name);          /* publishes it */

struct mg_vault_entry {
    const char *project, *name;
    uint64_t version, created_us, changed_us;
    uint64_t last_used_us;             /* 0: never, as far as the store knows */
};
MG_MUST_USE mg_err mg_vault_list(struct mg_db *db, void (*each)(void *arg, const struct mg_vault_entry *entry), void *arg);
MG_MUST_USE mg_err mg_vault_note_use(struct mg_db *db, const struct mg_secret_use *use);

/* ---- a new master key */

/* What is wrapped from now on is wrapped by this one; takes it. The one before stays for what it wrapped. MG_E_BUSY: keys of
 * a still older one are left. */
MG_MUST_USE mg_err mg_vault_adopt(struct mg_vault *vault, struct mg_master *master, struct mg_diag *diag);

/* Wraps one data key that another master wrapped, and gives its change; *out_change NULL: none is left. Done again and again
 * until then; it can be stopped at any point and goes on from there. */
MG_MUST_USE mg_err mg_vault_rewrap_next(struct mg_vault *vault, struct mg_vault_change **out_change, struct mg_diag *diag);
const char *mg_vault_master_id(const struct mg_vault *vault);

#endif
