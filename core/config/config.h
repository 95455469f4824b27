/* config.h - what the Lua configuration files say, as plain structs.
 *
 * mg_config_load_gateway() evaluates gateway.lua, mg_config_load_project() one projects/<name>.lua, in a sandbox (no
 * io, no clock), checks them against the one declared schema (lua/boot/schema.lua) and fills these structs. Everything
 * in a struct lives in its arena, is immutable after loading and may be read by any thread. Defaults are filled in: 0
 * and NULL mean what the field comment says, never "unset". Secrets (env "X", secret "x") become handles that hold
 * ciphertext (vault/secret.h); only the tokens of the admin plane and of exports are kept in clear, and wiped when the arena goes. */
#ifndef MG_CONFIG_CONFIG_H
#define MG_CONFIG_CONFIG_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "meter/models.h"
#include "vault/master.h"

struct mg_config_tls_server {          /* cert NULL: plain */
    const char *cert, *key;            /* PEM files, absolute paths */
    const char *client_ca;             /* PEM file: clients must show a certificate; NULL: none asked */
};

struct mg_config_listen {
    const char *host;                  /* "127.0.0.1", "::" or "unix:/path" */
    int port;                          /* 0: any free one */
    struct mg_config_tls_server tls;
};

struct mg_config_limits {              /* defaults are the rows of base/limits.h */
    uint64_t body_bytes, upload_bytes, form_bytes, header_bytes, connections;
    uint64_t header_ms, body_ms, idle_ms, write_ms;
};

/* ---- what projects, workflows, keys and metadata values may use; counted by tenant/limits.h --------------------- */

enum mg_period { MG_PERIOD_DAY, MG_PERIOD_WEEK, MG_PERIOD_MONTH, MG_PERIOD_COUNT };    /* UTC; weeks begin on Monday */

struct mg_limit_set {                  /* of one scope; zeroed: no limits */
    bool any;                          /* at least one of those below */
    uint32_t requests_per_minute;      /* 0: no limit, here and below */
    uint32_t burst;                    /* requests that may come at once; ≥ 1 beside requests_per_minute */
    uint64_t tokens_per_minute;        /* input and output */
    uint32_t concurrency;              /* exchanges in flight */
    uint64_t budget_microusd[MG_PERIOD_COUNT];
    uint64_t soft_microusd[MG_PERIOD_COUNT];     /* told once per period when reached; 0: not told */
};

struct mg_limit_field {                /* each value of a metadata field has its own count */
    const char *name;
    struct mg_limit_set set;
};

struct mg_limit_rules {                /* of a project or of a workflow */
    struct mg_limit_set own;           /* of the whole */
    struct mg_limit_set per_key;       /* of each key */
    const struct mg_limit_field *fields;
    int field_count;                   /* ≤ MG_MAX_LIMIT_FIELDS */
};

struct mg_config_grant {               /* a project's weight */
    const char *project;
    double share;                      /* > 0 */
};

struct mg_config_overload {            /* of one worker */
    uint32_t in_flight;                /* exchanges; more wait */
    uint32_t queue;                    /* how many may wait, of all projects */
    uint32_t queue_ms;                 /* how long each */
    const struct mg_config_grant *shares;        /* weights of projects; 1 for those that are not here */
    int share_count;
};

struct mg_config_role {                /* who has this claim is that, there */
    const char *claim, *value;         /* value: a glob */
    const char *role;                  /* as tenant/members.h names it */
    const char *project;               /* NULL: all */
};

struct mg_config_oidc {                /* the provider of identities for the admin plane; issuer NULL: none */
    const char *issuer;                /* as its tokens say it */
    const char *client_id;
    const char *const *audiences;      /* a token is for one of them; ≥ 1 */
    int audience_count;
    const char *scopes;                /* that a login asks for */
    const char *name;                  /* the claim that names its bearer */
    uint32_t max_age_ms;               /* of a token; 0: what it says itself */
    const char *ca;                    /* PEM file; NULL: the system's */
    const struct mg_config_role *roles;
    int role_count;                    /* 1 … MG_MAX_OIDC_ROLES */
};

enum { MG_CONFIG_EXPORTS = 8 };
struct mg_config_export {              /* a sink of usage events: a file or a webhook */
    const char *name;                  /* of its cursor */
    const char *file;                  /* absolute; NULL: a webhook */
    const char *webhook;               /* URL */
    const char *token;                 /* secret; NULL: none */
    const char *signing_key;           /* secret of the webhook's signature; NULL: none */
    int batch;                         /* exchanges at once */
};

struct mg_config_gateway {
    struct mg_arena arena;             /* owns everything below */
    const char *dir;                   /* folder of gateway.lua; projects/ is beside it; NULL: there is no file */
    const char *data_dir;              /* absolute */
    const char *adapters_dir;          /* absolute; NULL: only what ships */
    struct mg_config_listen *listen;
    int listen_count;                  /* ≥ 1 */
    struct mg_config_listen admin;     /* loopback by default; port 0 with host NULL: off */
    const char *admin_token;           /* secret; NULL: over TCP only members and oidc have tokens */
    struct mg_config_oidc oidc;
    int workers;                       /* ≥ 1 */
    int drain_ms;                      /* SIGTERM: how long exchanges in flight may take */
    uint64_t journal_bytes;            /* ring of one worker */
    int keep_days;                     /* of requests; 0: for ever */
    uint64_t keep_bytes;               /* of files of older requests; 0: no limit */
    const char *proxy;                 /* outbound HTTP proxy URL; NULL: HTTPS_PROXY decides */
    const char *log_level;
    const char *const *cors_origins;   /* exact origins or "*" */
    int cors_count;                    /* 0: CORS is off */
    const struct mg_config_export *exports;      /* sinks of usage events */
    int export_count;                  /* ≤ MG_CONFIG_EXPORTS */
    const struct mg_config_account *accounts;    /* provider accounts of several projects */
    int account_count;
    struct mg_config_overload overload;
    struct mg_config_limits limits;
    struct mg_master_spec vault_master;          /* who wraps the vault's keys */
    struct mg_master_spec vault_previous;        /* who did before; kind NULL: nobody */
    double vault_audit_uses;           /* share of the uses of secrets that are entered in the audit log, 0..1 */
};

/* When a failing target is left alone, and how it comes back. Every breaker of a provider's targets goes by its
 * provider's row. */
struct mg_config_breaker {
    bool off;                          /* never opens */
    uint32_t window_ms;                /* calls older than that are forgotten */
    uint32_t min_calls;                /* in the window, before a share means anything */
    double failure_share;              /* of the window's calls, 0..1: opens when it is passed by more than chance */
    uint32_t consecutive;              /* failures in a row that open it; more where so many are an accident */
    uint32_t open_ms, max_open_ms;     /* first pause; doubled each time a probe fails, up to the second */
    uint32_t probe_ms;                 /* a probe nobody reported on expires after that */
    uint32_t ramp_ms;                  /* after a good probe: until all traffic is let in again */
    double slow_factor;                /* a first token this many times later than the target's own past and than its
                                          fastest peer is slow, and slow counts as failed; 0: off */
    uint32_t slow_min_ms;              /* no call faster than that is slow */
};

/* How many attempts of one target may run at once. */
struct mg_config_gate {
    uint32_t max;                      /* 0: no cap. Adaptive: the most it may grow to */
    bool adaptive;                     /* found from latency (gradient) between 1 and max */
    uint32_t queue;                    /* how many may wait for a place */
    uint32_t queue_ms;                 /* how long each; then the next target */
};

/* Repeats on the same target and hedges are paid from a bucket that first calls fill. */
struct mg_config_retry_budget {
    double share;                      /* tokens a first call brings: 0.2 means one repeat for five calls */
    uint32_t burst;                    /* the most that can be saved; also what a new bucket holds */
};

struct mg_config_credential {          /* one upstream API key of a provider account */
    const char *name;                  /* for logs, records and `moongate targets`; never the secret */
    const struct mg_secret *secret;
};

/* A provider account that gateway.lua grants to several projects: they share its credentials, breakers and caps. */
struct mg_config_account {
    const char *name;
    const struct mg_config_credential *credentials;
    int credential_count;
    const struct mg_config_grant *grants;
    int grant_count;
};

/* Four timers of an attempt, in milliseconds; each > 0. */
struct mg_timeouts {
    uint32_t connect_ms;               /* attempt start → TCP and TLS ready */
    uint32_t first_token_ms;           /* request sent → first content */
    uint32_t idle_ms;                  /* any byte → the next */
    uint32_t total_ms;                 /* attempt start → end */
};

struct mg_config_fault {               /* simulated providers: what goes wrong, and when */
    const char *name;                  /* a row of sim/faults.h */
    int every, after, count;           /* each `every`th call once `after` have passed, `count` times (0: no end) */
    double probability;                /* 0..1; used when every is 0 */
    int value;                         /* the fault's own number (status, ms, bytes); 0: its default */
    const char *key;                   /* glob of the API keys it is for; NULL: all */
};

struct mg_config_sim_phase {           /* of a simulated model: how it is for a while */
    uint32_t for_ms, for_calls;        /* how long; both 0: from then on */
    double error_share;                /* of the calls that suffer `fault`, 0..1 */
    const char *fault;                 /* a row of sim/faults.h; NULL: none */
    int value;                         /* the fault's own number; 0: its default */
    int ttft_ms, tokens_per_s;         /* -1: as the model has it */
    uint32_t requests, window_ms;      /* so many requests per window and API key, then 429; requests 0: no limit */
};

struct mg_config_sim_model {           /* a model of a `kind = "simulated"` provider */
    const char *model;                 /* name or glob */
    int ttft_ms, tokens_per_s, output_tokens;
    const struct mg_config_fault *faults;
    int fault_count;
    const struct mg_config_sim_phase *phases;    /* one after the other, on top of the faults */
    int phase_count;
    bool loop;                         /* after the last phase the first comes again */
};

enum mg_config_caller_keys { MG_CALLER_KEYS_REFUSE, MG_CALLER_KEYS_ACCEPT, MG_CALLER_KEYS_REQUIRE };

/* Calls of a vendor that no surface offers: `/providers/NAME/…`. */
struct mg_config_passthrough {
    bool on;
    const char *const *allow, *const *deny;      /* "METHOD /path*", or without the method; no allow: everything */
    int allow_count, deny_count;
    bool administration;               /* also what looks like keys, members, billing */
    bool unfiltered;                   /* answers pass hooks by that would see them */
    bool priced;                       /* the prices below were given */
    double request_microusd, read_microusd;      /* of each call; `read`: of GET and HEAD */
    double megabyte_microusd;          /* of a million bytes of request and answer */
};

struct mg_config_provider {
    const char *name;
    const char *adapter;               /* "openai": a file of lua/adapters */
    const char *vendor;                /* whose prices it has, whatever it is called; NULL: nobody can tell */
    const char *kind;                  /* "http" or "simulated" */
    const char *base_url;              /* http(s)://host[:port]/prefix without a trailing slash; NULL: the adapter's */
    const struct mg_config_credential *credentials;   /* its API keys, in order of preference; none: send none */
    int credential_count;              /* ≤ MG_MAX_CREDENTIALS */
    const char *auth;                  /* "bearer": how they are shown, where its adapter knows several ways; NULL: the usual one */
    const char *token_url;             /* where tokens for its keys are made; NULL: where the vendor says */
    const char *account;               /* of gateway.lua: the credentials are that account's; NULL: its own */
    int account_line;                  /* in the project file, for messages */
    enum mg_config_caller_keys caller_keys;      /* whether requests may, or must, bring a key of their own for it */
    const char *idempotency_header;    /* carries the exchange's id on each attempt; NULL: not sent */
    struct mg_config_passthrough passthrough;
    struct mg_config_breaker breaker;
    struct mg_config_gate gate;        /* of targets that no workflow declares */
    const char *organization, *openai_project;   /* optional request headers; NULL: not sent */
    const char *const *header_names, *const *header_values;   /* sent with each attempt; a value is NULL where … */
    const struct mg_secret *const *header_secrets;            /* … the header holds a secret */
    int header_count;
    const char *const *var_names, *const *var_values;         /* for the {names} of the adapter's addresses */
    int var_count;
    const char *ca, *client_cert, *client_key;   /* PEM files; NULL: system bundle, none */
    bool verify;                       /* TLS verification; true unless switched off in so many words */
    const char *proxy;                 /* NULL: the gateway's; "": none */
    const struct mg_config_sim_model *sim_models;
    int sim_model_count;
    int line;                          /* in the project file, for messages */
};

struct mg_config_target {
    const char *id;                    /* "provider/model", unique among the arms of one workflow */
    int provider;                      /* index into providers */
    const char *model;                 /* as the provider calls it; "*": as the client asked */
    const char *known_as;              /* the model of the catalogue that it is; NULL: by its own name, if there is one */
    const char *params;                /* JSON object of top-level fields to set; NULL: none */
    struct mg_timeouts timeouts;
    uint32_t context_window;           /* tokens; 0: unknown */
    uint32_t max_output;               /* tokens; 0: unknown */
    const char *region;                /* NULL: none */
    bool prefill;                      /* goes on from an assistant message that ends the conversation */
    bool priced;                       /* the prices below were given */
    double price_in_microusd, price_out_microusd;     /* per million tokens */
    double price_cached_read_microusd, price_cached_write_microusd;
    double price_image_microusd, price_minute_microusd, price_search_microusd;    /* each */
    double price_characters_microusd;  /* per million */
    struct mg_config_gate gate;
};

struct mg_config_arm {                 /* one weighted choice of a workflow */
    int target;                        /* index into targets */
    double weight;                     /* ≥ 0 */
    const char *name;                  /* NULL: the target's id */
};

/* How the default policy orders or draws the targets of a workflow. */
enum mg_config_balance {
    MG_BALANCE_AUTO,                   /* by weight when somebody gave weights, else in order */
    MG_BALANCE_ORDER,
    MG_BALANCE_WEIGHTED,
    MG_BALANCE_LEAST_INFLIGHT,
    MG_BALANCE_P2C,                    /* two drawn, the faster one taken (EWMA of the first token × in flight) */
    MG_BALANCE_STICKY,                 /* by session, so that a conversation stays where its prompt cache is */
    MG_BALANCE_CHEAPEST                /* the cheapest whose latency is within latency_bound_ms */
};

/* What happens when an answer breaks off after its beginning was sent. */
enum mg_config_rescue {
    MG_RESCUE_ERROR,                   /* a typed in-band error and an end that is none */
    MG_RESCUE_HOLD,                    /* nothing is sent before the end */
    MG_RESCUE_RESUME                   /* another target goes on */
};

enum { MG_HEDGE_P95 = UINT32_MAX };    /* hedge_after_ms: the target's own p95 of the first token */

struct mg_config_offline {             /* the answer when nothing answers; all 0: the error */
    const char *text;                  /* static; NULL: none */
    uint32_t last_good_ms;             /* the last good answer to the same request, if not older; 0: never */
    bool has_answer;                   /* function `offline.answer`, read by script/ under the key path */
};

struct mg_config_workflow {
    const char *name;                  /* what clients put into `model`; with `*` in it a glob */
    const struct mg_config_arm *arms;  /* in order: the first is tried first unless a policy says otherwise */
    int arm_count;
    uint32_t deadline_ms;              /* wall clock over all attempts */
    uint32_t max_attempts;             /* upstream calls over all targets */
    uint64_t max_cost_microusd;        /* over all attempts, by the targets' prices; 0: no limit */
    enum mg_config_balance balance;
    uint32_t latency_bound_ms;         /* of MG_BALANCE_CHEAPEST; 0: none */
    enum mg_config_rescue rescue;
    uint32_t hedge_after_ms;           /* no first token by then: the next target is asked beside; 0: never; MG_HEDGE_P95 */
    uint32_t max_hedges;               /* of one exchange */
    double first_token_factor;         /* first-token timer = this × the target's observed p99; 0: the fixed one */
    uint32_t first_token_min_ms;       /* … but never below this, nor above the fixed one */
    double slow_factor;                /* total timer = this × the target's observed p99 of whole answers; 0: off */
    const char *expect_schema;         /* JSON Schema an answer must satisfy; "request": the request's own; NULL: none */
    uint32_t route_around;             /* bit per class (1 << MG_CLASS_refusal …) that is fallen back from */
    struct mg_config_retry_budget retry_budget;
    struct mg_config_offline offline;
    struct mg_limit_rules limits;      /* of this workflow, on top of the project's */
    bool has_accept;                   /* function `accept` */
    bool has_route, has_classify;      /* functions given inline or by file, read by script/ under the key path */
    bool has_on_request, has_on_chunk, has_on_response;
    const char *chunk_stream;          /* JSON text of the `stream` entry beside its on_chunk; NULL: buffer rule */
    int line;                          /* in the project file, for messages */
};

struct mg_config_plugin {              /* an entry of `plugins`; functions stay in Lua */
    const char *use;                   /* plugin name; NULL: an inline table of hooks */
    const char *as;                    /* instance name */
    const char *config;                /* JSON text for M.new; "{}" when absent; secret "x" is {"$secret":"x"} */
    const char *grant;                 /* JSON array text */
    const char *fail;                  /* JSON object text: hook → "open" | "closed" */
    const char *stream;                /* JSON text of the `stream` beside an inline on_chunk; NULL: buffer rule */
    const char *when_workflows;        /* JSON array of globs; NULL: all */
    int when_stream;                   /* 1, 0, or -1: either */
    int index;                         /* position in `plugins`, from 1: the key path for script/ */
    int line;
};

/* Which attempts a project pays for; meter/charge.h says what serving is. */
enum mg_config_charge { MG_CHARGE_ALL, MG_CHARGE_SERVING, MG_CHARGE_FUNCTION };

/* Who keeps what clients of the Responses API want stored. */
enum mg_config_store {
    MG_STORE_MOONGATE,                 /* this gateway, for any provider; providers are told to keep nothing */
    MG_STORE_PROVIDER,                 /* whoever answers: nothing is looked at here */
    MG_STORE_OFF,                      /* nobody; who asks for it reads that it was dropped */
    MG_STORE_REFUSE                    /* nobody, and who asks for it is refused */
};

struct mg_config_responses {
    enum mg_config_store store;
    bool per_key;                      /* a key finds only what it keeps itself; else what any key of the project does */
    uint64_t max_age_ms, max_bytes;
    uint32_t max_count;
};

struct mg_config_model {               /* what a project knows of a model, on top of the catalogue */
    const char *name;                  /* "provider/model", or the model's at whatever provider */
    struct mg_model model;
};

struct mg_config_project {
    struct mg_arena arena;             /* owns everything below */
    const char *name;
    const char *path;                  /* of the file; "" for the default project from the environment */
    const char *source;                /* its text, evaluated again by each project state that needs functions */
    const struct mg_config_provider *providers;
    int provider_count;
    const struct mg_config_target *targets;
    int target_count;
    const struct mg_config_workflow *workflows;
    int workflow_count;
    const struct mg_config_plugin *plugins;
    int plugin_count;
    const struct mg_config_model *models;
    int model_count;
    enum mg_config_charge charge;
    bool allow_direct;                 /* `model = "provider/model"` is accepted */
    struct mg_timeouts direct_timeouts;          /* of direct targets that no workflow declares: the project's */
    uint32_t direct_deadline_ms, direct_max_attempts;   /* of calls that name a target and no workflow */
    struct mg_config_retry_budget retry_budget;       /* of workflows that say nothing, and of direct calls */
    uint32_t max_deadline_ms;          /* cuts x-moongate-deadline-ms */
    struct mg_config_responses responses;
    struct mg_limit_rules limits;
    bool has_route, has_classify, has_on_request, has_on_attempt, has_on_chunk, has_on_response, has_on_log;
    const char *inline_grant, *inline_fail;       /* JSON texts of `inline.grant`, `inline.fail`; NULL: none */
    const char *chunk_stream;          /* JSON text of the `stream` entry beside inline on_chunk; NULL: buffer rule */
    const char *const *files;          /* every file that was read, for the watcher */
    int file_count;
};

/* Every mistake of one file, sorted by line, and the files its reading depends on. */
enum { MG_CONFIG_DIAGS = 20, MG_CONFIG_FILES = 128 };
struct mg_config_report {
    struct mg_arena arena;             /* owns the paths */
    struct mg_diag diags[MG_CONFIG_DIAGS];
    int count;                         /* of diags */
    int total;                         /* of mistakes; those past MG_CONFIG_DIAGS are only counted */
    const char *files[MG_CONFIG_FILES];/* absolute; what was read or is missing, secrets too; after a failure as well */
    int file_count;
    uint64_t hash;                     /* what mg_config_files_hash() gave when they were read */
};
void mg_config_report_init(struct mg_config_report *report);
void mg_config_report_fini(struct mg_config_report *report);

/* Names, contents and permissions of the files together: while it stays the same, reading again gives the same. */
uint64_t mg_config_files_hash(const char *const *files, int count);

/* As the two below, with every mistake instead of the first. */
MG_MUST_USE mg_err mg_config_check_gateway(const char *path, struct mg_config_gateway **out_config,
                                           struct mg_config_report *report);
MG_MUST_USE mg_err mg_config_check_project(const char *path, struct mg_config_project **out_config,
                                           struct mg_config_report *report);

/* path NULL: no file, everything default; so it is when the file is missing and projects/ stands beside its place. From then
 * on its adapters_dir stands in front of the adapters that ship, for the whole process. */
MG_MUST_USE mg_err mg_config_load_gateway(const char *path, struct mg_config_gateway **out_config,
                                     struct mg_diag *diag);
MG_MUST_USE mg_err mg_config_load_project(const char *path, struct mg_config_project **out_config,
                                     struct mg_diag *diag);
/* The default project, from OPENAI_API_KEY, OPENAI_BASE_URL and their like; MG_E_NOT_FOUND when none is set. */
MG_MUST_USE mg_err mg_config_project_from_env(struct mg_config_project **out_config, struct mg_diag *diag);

/* The workflow whose name is a glob that model matches, the one with the most literal characters first; -1: none. */
int mg_config_match(const struct mg_config_project *config, mg_view model);

/* NULL: gateway.lua has none of that name. */
const struct mg_config_account *mg_config_account_find(const struct mg_config_gateway *config, const char *name);
/* Whether the project may use it; *out_share is then its part of a cap that is full. */
bool mg_config_account_grants(const struct mg_config_account *account, const char *project, double *out_share);
/* Every account that the project names is there and granted to it; else MG_E_CONFIG, and the report has one more line
 * for each that is not. `file` is how the project's file is shown. */
MG_MUST_USE mg_err mg_config_check_accounts(const struct mg_config_gateway *gateway,
                                            const struct mg_config_project *project, const char *file,
                                            struct mg_config_report *report);

void mg_config_gateway_free(struct mg_config_gateway *config);     /* NULL is a no-op */
void mg_config_project_free(struct mg_config_project *config);

/* The reference page (Markdown), generated from the schema. */
MG_MUST_USE mg_err mg_config_reference(struct mg_buf *out);

#endif
