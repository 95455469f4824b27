/* master.h - who holds the master key: one small interface, and what stands behind it.
 *
 * A data key is wrapped once, when it is made, and unwrapped when a gateway starts; no request waits for a master. Calls may
 * wait for a network: never on a worker's loop, never inside a transaction. One thread at a time. */
#ifndef MG_VAULT_MASTER_H
#define MG_VAULT_MASTER_H

#include "base/buf.h"
#include "vault/secret.h"

enum { MG_MASTER_ID_BYTES = 160, MG_WRAPPED_BYTES = 16384 };

/* As gateway.lua says it; what a kind does not use is NULL. */
struct mg_master_spec {
    const char *kind;                  /* "file" "env" "aws_kms" "gcp_kms" "transit" */
    const char *path;                  /* file: absolute; NULL: <data>/master.key */
    const char *variable;              /* env: NULL: MOONGATE_MASTER_KEY */
    const char *key_id;                /* the key's name, as its service calls it */
    const char *region;                /* aws_kms */
    const char *url;                   /* of the service; NULL: its public one */
    const char *mount;                 /* transit: NULL: "transit" */
    const char *ca;                    /* PEM file; NULL: the system's */
    const struct mg_secret *token;     /* transit, gcp_kms */
    const struct mg_secret *access_key, *secret_key, *session_token;   /* aws_kms */
};

struct mg_master;

struct mg_master_ops {
    /* Appends the wrapped key. The diag says what a human must do. */
    mg_err (*wrap)(struct mg_master *master, const unsigned char key[MG_SEAL_KEY_BYTES], mg_view project, struct mg_buf *out,
                   struct mg_diag *diag);
    mg_err (*unwrap)(struct mg_master *master, mg_view wrapped, mg_view project, unsigned char out_key[MG_SEAL_KEY_BYTES],
                     struct mg_diag *diag);
    void (*free)(struct mg_master *master);
};

struct mg_master {
    const struct mg_master_ops *ops;
    /* Which master key this is: stored beside what it wrapped, so that a rewrap knows what is left to do. Never the key. */
    char id[MG_MASTER_ID_BYTES];
};

/* spec NULL: a file. `may_create` makes a missing file's key; it is false when something was wrapped already. */
MG_MUST_USE mg_err mg_master_open(const struct mg_master_spec *spec, const char *data_dir, bool may_create,
                                  struct mg_master **out_master, struct mg_diag *diag);
void mg_master_close(struct mg_master *master);               /* NULL is a no-op */

/* ---- the kinds; each in a file of its own */
MG_MUST_USE mg_err mg_master_file(const struct mg_master_spec *spec, const char *data_dir, bool may_create,
                                  struct mg_master **out_master, struct mg_diag *diag);
MG_MUST_USE mg_err mg_master_env(const struct mg_master_spec *spec, struct mg_master **out_master, struct mg_diag *diag);
MG_MUST_USE mg_err mg_master_service(const struct mg_master_spec *spec, struct mg_master **out_master, struct mg_diag *diag);

#endif
