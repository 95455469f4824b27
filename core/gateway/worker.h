/* worker.h - one worker thread: a loop, its connections, and its own reference to everything live.
 *
 * Other threads talk to a worker only by posting: accepted sockets, new generations, new keyrings,
 * the order to drain. Counters read from outside are atomics. */
#ifndef MG_GATEWAY_WORKER_H
#define MG_GATEWAY_WORKER_H

#include <stdatomic.h>
#include <uv.h>

#include "base/list.h"
#include "gateway/fairness.h"
#include "gateway/routing.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/pool.h"
#include "script/script.h"
#include "store/journal.h"
#include "tenant/generation.h"
#include "tenant/keyring.h"
#include "tenant/switches.h"
#include "watch/metrics.h"

struct mg_cached_plan;
struct mg_keeper;

/* A generation as one worker sees it. Retired ones stay until their last exchange is done. */
struct mg_live {
    struct mg_list link;               /* in the worker's list of all of them */
    struct mg_generation *generation;  /* one reference */
    struct mg_script *script;          /* owned; NULL when the project has no Lua */
    const struct mg_policy_ops *policy;
    void *policy_arg;
    struct mg_fair_share *share;       /* the project's on this worker; borrowed from it */
    const struct mg_switched *off;     /* what is disabled of the project by hand, now; NULL: nothing. Borrowed from the
                                          worker's switches: look here again after every wait */
    uint32_t in_flight;                /* exchanges; plain, this thread only */
    bool retired;
    bool tainted;                      /* its Lua state is to be replaced, and the builder knows */
    struct mg_cached_plan **plans;     /* by route index; owned */
};

/* Told when all workers have done something. Runs on the thread of the last one. */
struct mg_ack {
    atomic_uint left;
    void (*done)(struct mg_ack *ack);
};

struct mg_worker {
    struct mg_loop loop;
    uv_thread_t thread;
    unsigned index;
    const struct mg_config_gateway *config;      /* borrowed; process life */
    struct mg_pool pool;
    struct mg_trusted *trusted;        /* owned */
    struct mg_translator translator;   /* over it */
    struct mg_journal *journal;        /* borrowed from the recorder */
    const struct mg_price_book *prices;          /* borrowed; process life */
    const struct mg_dialects *dialects;          /* borrowed; process life */
    struct mg_metrics *metrics;        /* borrowed from the hub */
    struct mg_keyring *keyring;        /* one reference */
    uint32_t keyring_number;           /* how many keyrings there were */
    struct mg_switches *switches;      /* one reference; NULL: nothing is disabled by hand */
    struct mg_list lives;              /* struct mg_live, retired ones too */
    struct mg_live **projects;         /* by project index; owned; NULL entries are gone projects */
    uint32_t project_cap;
    struct mg_map project_names;       /* name → struct mg_live (current) */
    struct mg_fair fair;               /* who runs and who waits when there is too much */
    struct mg_keeper *keeper;          /* borrowed; outlives it. NULL: nothing is kept */
    unsigned keeping;                  /* jobs that the keeper has of it */
    struct mg_list clients;            /* struct mg_client */
    struct mg_list idle_exchanges;     /* recycled, at most 256 */
    unsigned idle_exchange_count;
    struct mg_http_limits http_limits; /* of requests, from the configuration */
    struct mg_buf scratch;             /* for heads and errors; empty between calls */
    char date[40];                     /* of `date_s`, for the Date header */
    uint64_t date_s;
    atomic_uint connections;           /* open, and posted but not yet taken */
    atomic_uint in_flight;             /* exchanges, from the first byte of their request on */
    void (*on_tainted)(void *arg, uint32_t project);   /* a fault spoilt a project's Lua state: rebuild it */
    void *on_tainted_arg;
    bool draining;                     /* each connection ends with the answer to its next request, or soon */
};

/* Starts the thread. journal and metrics are its own. */
MG_MUST_USE mg_err mg_worker_start(struct mg_worker *worker, unsigned index, const struct mg_config_gateway *config,
                                   struct mg_journal *journal, struct mg_metrics *metrics, struct mg_diag *diag);

/* The calls below may come from any thread; they take effect on the worker in the order they were made. */

/* fd (owned from now on) is served; tls NULL: plain. */
void mg_worker_take(struct mg_worker *worker, int fd, struct mg_tls_context *tls);
/* Takes one reference of generation and the script (NULL: none). The one before is retired. */
void mg_worker_install(struct mg_worker *worker, struct mg_generation *generation, struct mg_script *script,
                       struct mg_ack *ack);
void mg_worker_remove(struct mg_worker *worker, uint32_t project, struct mg_ack *ack);
/* Takes one reference. */
void mg_worker_set_keyring(struct mg_worker *worker, struct mg_keyring *keyring, struct mg_ack *ack);
/* The same; NULL: nothing is disabled. Exchanges under way obey at their next step. */
void mg_worker_set_switches(struct mg_worker *worker, struct mg_switches *switches, struct mg_ack *ack);
/* No new connection is taken; those that are open end with the answer to what is on its way, idle ones within
 * MG_DRAIN_GRACE_MS. */
void mg_worker_drain(struct mg_worker *worker);
/* Cancels what is left, ends the loop, waits for the thread, frees. */
void mg_worker_stop(struct mg_worker *worker);

/* On the worker: an exchange began or ended on that generation. */
struct mg_live *mg_worker_project(struct mg_worker *worker, mg_view name);    /* NULL: no such project here */
void mg_live_enter(struct mg_live *live);
void mg_live_leave(struct mg_worker *worker, struct mg_live *live);     /* may free a retired one */
void mg_live_drop_plans(struct mg_live *live);                 /* plans.c: forgets cached plans */

#endif
