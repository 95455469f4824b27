/* gateway.h - the process: workers, recorder, builder, keys, listeners; start, drain, stop.
 *
 * The thread that calls mg_gateway_run() accepts connections and hands each to the worker with the
 * fewest. Everything else it does is wait for signals. */
#ifndef MG_GATEWAY_GATEWAY_H
#define MG_GATEWAY_GATEWAY_H

#include "gateway/builder.h"
#include "gateway/members.h"
#include "gateway/routing.h"
#include "gateway/signin.h"
#include "gateway/worker.h"
#include "meter/ledger.h"
#include "store/recorder.h"
#include "tenant/key_spec.h"
#include "tenant/switches.h"

struct mg_gateway;
struct mg_keeper;
struct mg_keys;
struct mg_prices;

struct mg_gateway_options {
    const struct mg_config_gateway *config;      /* borrowed; process life */
    const char *config_path;           /* NULL: none */
    mg_sim_url_cb sim_url;             /* how simulated providers are reached; NULL: refused */
    void *sim_arg;
};

/* Locks the data folder, opens store and journals, builds all projects, starts workers and listeners. */
MG_MUST_USE mg_err mg_gateway_start(const struct mg_gateway_options *options, struct mg_gateway **out_gateway,
                                    struct mg_diag *diag);

/* Serves until SIGTERM, SIGINT or mg_gateway_quit(), then drains: no new connection, exchanges in
 * flight may finish within config->drain_ms. Says what it waits for and what it cut off. SIGHUP reloads. */
void mg_gateway_run(struct mg_gateway *gateway);
void mg_gateway_quit(struct mg_gateway *gateway);             /* any thread */
void mg_gateway_stop(struct mg_gateway *gateway);             /* after run; frees everything */

/* ---- for the admin plane and the CLI; any thread but a worker's --------------------------------------------- */

bool mg_gateway_ready(const struct mg_gateway *gateway);      /* serving, not draining */
int mg_gateway_port(const struct mg_gateway *gateway, int listener);
const char *mg_gateway_address(const struct mg_gateway *gateway, int listener);
struct mg_builder *mg_gateway_builder(struct mg_gateway *gateway);
struct mg_metrics_hub *mg_gateway_metrics(struct mg_gateway *gateway);
struct mg_recorder *mg_gateway_recorder(struct mg_gateway *gateway);
const struct mg_prices *mg_gateway_prices(const struct mg_gateway *gateway);   /* in force; lives as long as the gateway */
struct mg_members *mg_gateway_members(struct mg_gateway *gateway);
struct mg_keys *mg_gateway_keys(struct mg_gateway *gateway);
struct mg_export_state;
/* How many exports there are, and how they are; at most MG_CONFIG_EXPORTS. Any thread. */
int mg_gateway_exports(const struct mg_gateway *gateway, struct mg_export_state *out_states);
struct mg_signin *mg_gateway_signin(struct mg_gateway *gateway);   /* NULL: gateway.lua names no identity provider */

/* Keys. Changes are on disk, with the actor's entry in the audit log, and obeyed by every worker when these return.
 * MG_E_NOT_FOUND: no such key (or project).
 * text is shown once: wipe it. */
MG_MUST_USE mg_err mg_gateway_key_create(struct mg_gateway *gateway, mg_view actor, const struct mg_keys_spec *spec,
                                         char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key, struct mg_diag *diag);
MG_MUST_USE mg_err mg_gateway_key_revoke(struct mg_gateway *gateway, mg_view actor, const char *id, struct mg_diag *diag);
/* A second key with all that the old one has; the old one stays valid for overlap_s seconds. Texts lie in the arena. */
MG_MUST_USE mg_err mg_gateway_key_rotate(struct mg_gateway *gateway, mg_view actor, const char *id, uint64_t overlap_s,
                                         struct mg_arena *arena, char out_text[MG_KEY_TEXT_BYTES], struct mg_key *out_key,
                                         struct mg_diag *diag);
/* Sets what spec->given names. */
MG_MUST_USE mg_err mg_gateway_key_change(struct mg_gateway *gateway, mg_view actor, const char *id, const struct mg_keys_spec *spec,
                                         struct mg_arena *arena, struct mg_key *out_key, struct mg_diag *diag);
/* Calls back for every key, revoked ones included. */
MG_MUST_USE mg_err mg_gateway_key_list(struct mg_gateway *gateway, void (*each)(void *arg, const struct mg_key *key),
                                       void *arg, struct mg_diag *diag);

/* What is disabled by hand. A change is on disk and obeyed by every worker when it returns. row->project may be empty when
 * only one project has such a thing; *out_row is what was stored or removed. MG_E_NOT_FOUND: there is no such thing, or (to
 * enable) it is not disabled; MG_E_BAD_REQUEST: several projects have one. `only` not empty: nothing outside this project
 * may be meant. */
MG_MUST_USE mg_err mg_gateway_disable(struct mg_gateway *gateway, const struct mg_switch *row, const char *only,
                                      struct mg_switch *out_row, struct mg_diag *diag);
MG_MUST_USE mg_err mg_gateway_enable(struct mg_gateway *gateway, const struct mg_switch *row, const char *only,
                                     struct mg_switch *out_row, struct mg_diag *diag);
MG_MUST_USE mg_err mg_gateway_disabled(struct mg_gateway *gateway, void (*each)(void *arg, const struct mg_switch *row),
                                       void *arg, struct mg_diag *diag);

struct mg_keeper *mg_gateway_keeper(struct mg_gateway *gateway);     /* of responses; lives until mg_gateway_stop() */

/* Secrets and the audit log. Lives until mg_gateway_stop(). */
struct mg_desk *mg_gateway_desk(struct mg_gateway *gateway);

/* After a secret changed: benches of keys that had the old one end, and projects that could not be built are tried again. */
void mg_gateway_secret_changed(struct mg_gateway *gateway, mg_view project, mg_view name);

/* `moongate vault rewrap`: by the master key that gateway.lua names now. */
MG_MUST_USE mg_err mg_gateway_rewrap(struct mg_gateway *gateway, mg_view actor, unsigned *out_count, struct mg_diag *diag);

#endif
