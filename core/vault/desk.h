/* desk.h - the one place where secrets are changed and the audit log is written, with or without a running gateway.
 *
 * It holds the open vault and knows how to write: through the recorder of a gateway, or with the store of a command that has
 * the folder's lock. Every act and its audit entry are one transaction; only then it is published. Calls may wait (for the
 * store, for a key service) and are serialised; any thread but a worker's and the recorder's. */
#ifndef MG_VAULT_DESK_H
#define MG_VAULT_DESK_H

#include <stdarg.h>

#include "store/recorder.h"
#include "vault/vault.h"

struct mg_desk;

struct mg_desk_options {
    struct mg_vault_options vault;
    /* Runs fn in a transaction that is on the disk when it returns MG_OK. */
    mg_err (*write)(void *arg, mg_write_fn fn, void *fn_arg);
    /* The same without waiting; `done` comes later, on any thread. NULL: there is no such way. */
    void (*post)(void *arg, mg_write_fn fn, mg_write_done done, void *fn_arg);
    void *arg;
    double audit_uses;                 /* share of the spans of use that are entered: 0 none, 1 all */
};

/* Reads the store, opens the vault (vault.h) and writes the keys it made. */
MG_MUST_USE mg_err mg_desk_open(const struct mg_desk_options *options, struct mg_desk **out_desk, struct mg_diag *diag);
void mg_desk_close(struct mg_desk *desk);                     /* notes what was used; NULL is a no-op */

/* Whether a secret may be new, or must be. */
enum mg_desk_set { MG_DESK_SET, MG_DESK_ROTATE /* MG_E_NOT_FOUND when there is none yet */ };
MG_MUST_USE mg_err mg_desk_set(struct mg_desk *desk, mg_view actor, enum mg_desk_set how, mg_view project, mg_view name,
                               mg_view plain, uint64_t *out_version, struct mg_diag *diag);
MG_MUST_USE mg_err mg_desk_remove(struct mg_desk *desk, mg_view actor, mg_view project, mg_view name, struct mg_diag *diag);
MG_MUST_USE mg_err mg_desk_list(struct mg_desk *desk, void (*each)(void *arg, const struct mg_vault_entry *entry), void *arg);

/* Wraps every data key again, by the master of this spec (NULL: the one it has). *out_count: how many were. Stopped in
 * between, it goes on where it was. */
MG_MUST_USE mg_err mg_desk_rewrap(struct mg_desk *desk, mg_view actor, const struct mg_master_spec *to, unsigned *out_count,
                                  struct mg_diag *diag);
const char *mg_desk_master(const struct mg_desk *desk);       /* its id */

/* The data key that seals what a project keeps, one reference; made and stored when there is none yet. */
MG_MUST_USE mg_err mg_desk_data_key(struct mg_desk *desk, mg_view project, struct mg_seal_key **out_key, struct mg_diag *diag);

/* An act of somebody else, who fills what it was done to while it is written. */
struct mg_act_entry {
    mg_view actor;                     /* borrowed */
    const char *act;                   /* borrowed; "key.create" */
    char project[MG_SECRET_NAME_BYTES], subject[256], detail[MG_AUDIT_DETAIL_BYTES];
};
/* Cut to what fits. */
void mg_act_entry_say(struct mg_act_entry *entry, const char *project, const char *subject, const char *detail, ...)
    __attribute__((format(printf, 4, 5)));
void mg_act_entry_say_v(struct mg_act_entry *entry, const char *project, const char *subject, const char *detail, va_list args);

/* Runs fn and enters the act, which fn describes, in one transaction: there is no act without its entry, and no entry without
 * its act. Its error is fn's, or that of the log. */
MG_MUST_USE mg_err mg_desk_act(struct mg_desk *desk, struct mg_act_entry *entry, mg_write_fn fn, void *arg);

/* Within the transaction that carries it out. */
MG_MUST_USE mg_err mg_desk_audit_in(struct mg_desk *desk, struct mg_db *db, const struct mg_audit_entry *entry);
MG_MUST_USE mg_err mg_desk_audit_each(struct mg_desk *desk, uint64_t after, size_t limit,
                                      void (*each)(void *arg, const struct mg_audit_entry *entry), void *arg);
MG_MUST_USE mg_err mg_desk_audit_verify(struct mg_desk *desk, mg_view kept, struct mg_audit_report *out_report);

/* Writes when secrets were last used, and enters sampled uses. To be called every 10 s; waits only without `post`. */
void mg_desk_note_uses(struct mg_desk *desk);

#endif
