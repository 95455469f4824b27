/* act.h - one act of an operator: through the running gateway, or in the store when none runs.
 *
 * Both ways give the same JSON, that of the admin API, which is then printed. The gateway knows best: the store is only
 * touched when none runs, under the folder's lock, and an act and its entry in the audit log are one transaction there. */
#ifndef MG_CLI_ACT_H
#define MG_CLI_ACT_H

#include "base/buf.h"
#include "http/json.h"
#include "store/db.h"
#include "store/folder.h"
#include "tenant/keyring.h"

/* What the store is asked when no gateway runs. */
struct mg_act_store {
    struct mg_db *db;        /* in a transaction, committed when MG_OK is returned */
    const struct mg_key_secret *secret;
    struct mg_arena *arena;
    const struct mg_json *body;        /* NULL: there is none */
    const char *actor;       /* who does it; mg_control_actor() */
};

struct mg_act {
    const char *command;     /* for complaints: "key" */
    const char *data, *config;         /* options --data and --config; NULL: not given */
    const char *method, *path;
    mg_view body;            /* JSON object; empty: none */
    bool json;               /* print the answer as it is */
    const char *audit;       /* what the audit log calls it: "key.create"; NULL: it changes nothing */
    mg_err (*offline)(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
    void (*print)(void *arg, const struct mg_json *answer);
    void *arg;
};

/* The exit code. What was answered is wiped: it may hold the text of a key. */
int mg_act_run(const struct mg_act *act);

/* For an answer in JSON that is shown to a person: what could steer a terminal or begin a line becomes '?', in place. */
void mg_act_tame(struct mg_buf *answer);

/* ---- for those who use it -------------------------------------------------------------------- */

/* `"text"` with its quotes. */
MG_MUST_USE mg_err mg_act_put_quoted(struct mg_buf *out, const char *text);

/* A number and one of s, m, h, d, w: "30d". */
bool mg_act_duration(const char *text, uint64_t *out_us);

/* "2026-11-24 10:15" in local time; `never` for 0 and what is no number. */
const char *mg_act_when(char out[32], const struct mg_json *us, const char *never);

#endif
