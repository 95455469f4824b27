/* admin.h - the admin plane: a thread that answers operators, over TCP on loopback and over a unix socket.
 *
 *     GET    /healthz                        the process lives
 *     GET    /readyz                         200 while it serves, 503 before and while it drains; a second line says what is degraded
 *     GET    /metrics                        Prometheus text
 *     GET    /admin/v1/status                projects, generations, errors of the last reload, workers
 *     POST   /admin/v1/reload                look at all files again
 *     GET    /admin/v1/keys                  never with their secrets
 *     POST   /admin/v1/keys                  as tenant/key_spec.h reads it; answers the key's text, once
 *     PATCH  /admin/v1/keys/{id}             the same without a project: what is given changes
 *     DELETE /admin/v1/keys/{id}             answers when every worker obeys
 *     POST   /admin/v1/keys/{id}/rotate      {"overlap_s"?}; answers the new key's text, once
 *     GET    /admin/v1/disabled              what is disabled by hand
 *     POST   /admin/v1/disable               {"kind", "name", "project"?, "message"?}; answers when every worker obeys
 *     POST   /admin/v1/enable                {"kind", "name", "project"?}; the same
 *     GET    /admin/v1/members               who may administer; POST adds one and answers its token, once
 *     DELETE /admin/v1/members/{id}
 *     GET    /admin/v1/secrets               names, versions, uses; never values
 *     POST   /admin/v1/secrets?project=&name=&rotate=   the body is the value; the next request uses it
 *     DELETE /admin/v1/secrets?project=&name=
 *     POST   /admin/v1/vault/rewrap          every data key again, by the master key of gateway.lua
 *     GET    /admin/v1/audit?after=&limit=   entries, oldest first
 *     GET    /admin/v1/audit/verify?kept=    whether the log is whole
 *     GET    /admin/v1/targets               breakers, keys, limits and figures; ?project=
 *     POST   /admin/v1/targets/reset         {"target", "project"?, "credential"?}
 *     GET    /admin/v1/limits                every limit and what is left of it; ?project=, limit=
 *     GET    /admin/v1/responses             what each project keeps for the Responses API
 *     POST   /admin/v1/responses/erase       {"project", "key"?}
 *     GET    /admin/v1/requests              filters as watch/logs.h has them
 *     GET    /admin/v1/requests/{id}         one timeline
 *     GET    /admin/v1/usage                 sums; by=, where=, from=, to= as watch/usage.h has them
 *     GET    /admin/v1/usage/events          the usage events themselves, a page at a time
 *     POST   /admin/v1/usage/reprice         {"from_us"?, "to_us"?, "prices"?, "dry_run"?}; a piece at a time
 *
 * Over TCP everything under /admin needs `Authorization: Bearer …`: the configured admin.token, which may do everything, the
 * token of a member, which may do what its role (tenant/members.h) allows in its project, or one of the identity provider
 * (gateway/signin.h), whose claims say so. The header x-moongate-project confines a call to one project. The unix socket,
 * <data>/control.sock, is open to whoever may open it (mode 0600) and may do everything. Each act is logged with who did it.
 * Errors are {"error":{"code","message"}}.
 *
 * It knows nothing of workers: it asks the process through mg_admin_ops. What may wait (keys, the store) runs one after
 * the other on a thread of libuv's pool, so that health and metrics always answer. What reads much of the store (requests, usage)
 * has a lane of its own, so that nobody's question keeps a leaked key valid: an op may be called from both lanes at once. */
#ifndef MG_ADMIN_ADMIN_H
#define MG_ADMIN_ADMIN_H

#include "base/buf.h"
#include "config/config.h"
#include "gateway/gateway.h"
#include "gateway/limit_list.h"
#include "meter/export.h"
#include "gateway/targets.h"
#include "meter/reprice.h"
#include "vault/desk.h"

struct mg_admin;

/* What the process answers. `ready`, `metrics` and `store_trouble` are called on the admin thread and must not wait; the others may. */
struct mg_admin_ops {
    bool (*ready)(void *arg);
    mg_err (*metrics)(void *arg, struct mg_buf *out);
    mg_err (*status)(void *arg, struct mg_buf *out);           /* one JSON object */
    void (*store_trouble)(void *arg, struct mg_recorder_trouble *out);   /* on the admin thread too; NULL: there is no store */
    void (*reload)(void *arg);                                 /* starts it, does not wait for the end */
    void (*flush)(void *arg);                                  /* what has settled is in the store when it returns */
    /* Acts are entered in the audit log, with the actor (of a switch: its row's), in the transaction that carries them out. */
    mg_err (*key_create)(void *arg, mg_view actor, const struct mg_keys_spec *spec, char out_text[MG_KEY_TEXT_BYTES],
                         struct mg_key *out_key, struct mg_diag *diag);
    mg_err (*key_revoke)(void *arg, mg_view actor, const char *id, struct mg_diag *diag);
    /* Texts of the rows lie in the arena. */
    mg_err (*key_rotate)(void *arg, mg_view actor, const char *id, uint64_t overlap_s, struct mg_arena *arena,
                         char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag);
    mg_err (*key_change)(void *arg, mg_view actor, const char *id, const struct mg_keys_spec *spec, struct mg_arena *arena,
                         struct mg_key *out_key, struct mg_diag *diag);
    mg_err (*key_list)(void *arg, void (*each)(void *arg, const struct mg_key *key), void *each_arg,
                       struct mg_diag *diag);
    /* on: enable. `only` not empty: nothing outside that project may be meant. */
    mg_err (*switch_set)(void *arg, bool on, const struct mg_switch *row, const char *only, struct mg_switch *out_row,
                         struct mg_diag *diag);
    mg_err (*switch_list)(void *arg, void (*each)(void *arg, const struct mg_switch *row), void *each_arg,
                          struct mg_diag *diag);
    /* Whose token this is; on the admin thread, must not wait. MG_E_DENIED; MG_E_AGAIN: worth another try in a second. *out_why
     * may be set to a better reason, static. */
    mg_err (*identify)(void *arg, mg_view token, struct mg_identity *out_identity, const char **out_why);
    mg_err (*member_add)(void *arg, mg_view actor, struct mg_member *member, char out_text[MG_KEY_TEXT_BYTES], struct mg_diag *diag);
    mg_err (*member_drop)(void *arg, mg_view actor, const char *name, struct mg_diag *diag);
    void (*member_list)(void *arg, void (*each)(void *arg, const struct mg_member *member), void *each_arg);
    /* project empty: all; MG_E_NOT_FOUND: there is no such project. */
    mg_err (*target_list)(void *arg, mg_view project, mg_targets_cb each, void *each_arg);
    /* {"limits", "left_out"}, see gateway/limit_list.h; project and errors as above. */
    mg_err (*limit_list)(void *arg, mg_view project, size_t most, struct mg_buf *out);
    /* How many exports there are, and how they are; at most MG_CONFIG_EXPORTS. */
    int (*export_list)(void *arg, struct mg_export_state *out_states);
    struct mg_desk *(*desk)(void *arg);                        /* secrets and the audit log */
    void (*secret_changed)(void *arg, mg_view project, mg_view name);
    mg_err (*rewrap)(void *arg, mg_view actor, unsigned *out_count, struct mg_diag *diag);
    mg_err (*target_reset)(void *arg, const struct mg_targets_reset *what, unsigned *out_count, struct mg_diag *diag);
    /* One piece (meter/reprice.h), by the catalogue in a file, or the one in force; db reads. */
    mg_err (*reprice)(void *arg, struct mg_db *db, const char *prices, const struct mg_usage_range *range, bool dry_run,
                      struct mg_reprice *out_piece, struct mg_diag *diag);
};

struct mg_admin_options {
    const struct mg_config_listen *listen;       /* copied; NULL or host NULL: no TCP */
    const char *token;       /* copied; NULL: only members have one */
    const char *data_dir;    /* where control.sock is made and the store is read */
    const struct mg_admin_ops *ops;              /* borrowed */
    void *arg;               /* borrowed; of the ops */
};

/* Listens when this returns. The diag says which address failed and why. */
MG_MUST_USE mg_err mg_admin_start(const struct mg_admin_options *options, struct mg_admin **out_admin,
                                  struct mg_diag *diag);
void mg_admin_stop(struct mg_admin *admin);      /* waits for what runs; NULL is a no-op */
int mg_admin_port(const struct mg_admin *admin); /* 0: no TCP */

/* Writes a row of a Markdown table for each line of the API: method, path, who may, what it answers. */
MG_MUST_USE mg_err mg_admin_put_reference(struct mg_buf *out);

/* No key is longer than that as JSON. */
enum { MG_ADMIN_KEY_BYTES = 2 * (MG_MAX_METADATA_BYTES + MG_MAX_KEY_WORKFLOWS_BYTES + MG_MAX_KEY_LIMITS_BYTES) };

/* Secrets and the audit log as the API answers them; also for a command that has the store to itself. */
MG_MUST_USE mg_err mg_admin_put_secrets(struct mg_desk *desk, const char *project, struct mg_buf *out);     /* "": of all */
MG_MUST_USE mg_err mg_admin_put_audit(struct mg_desk *desk, uint64_t after, size_t limit, struct mg_buf *out);
MG_MUST_USE mg_err mg_admin_put_report(const struct mg_audit_report *report, struct mg_buf *out);

/* A key as a JSON object, without its hash; `text` becomes the member "key", NULL leaves it out. */
MG_MUST_USE mg_err mg_admin_put_key(const struct mg_key *key, const char *text, struct mg_buf *out);

#endif
