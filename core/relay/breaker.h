/* breaker.h - the circuit breaker of one target at one credential: left alone while it fails, let back in with care.
 *
 *              failures reach a rule             open_ms passed
 *    CLOSED ──────────────────────────▶ OPEN ───────────────────▶ HALF_OPEN (one probe at a time)
 *      ▲                                 ▲  probe or ramp failed        │
 *      │ ramp_ms passed                  ├──────────────────────────────┤ probe answered well
 *      └──────────── RAMP ◀──────────────┼──────────────────────────────┘
 *                      └─────────────────┘
 *
 * State, epoch and probe lease are one 64-bit word that changes by compare-and-swap; each change of state and each
 * probe begin a new epoch, and what an attempt of an older epoch reports is ignored. Calls are counted in shards, one
 * per worker, so that a healthy call touches no line another worker writes. A probe nobody reports on expires. Time is
 * always passed in (monotonic microseconds), so that tests own the clock. Any thread, no locks; all calls take NULL
 * and then allow.
 *
 * Neither rule takes chance for an outage. A run of failures opens it when it is as long as `consecutive` says and
 * longer than the failure share of the calls before it makes likely: five in a row are an outage of a target that never
 * failed, and nothing to speak of at one that has served ten thousand calls with 12 % errors. The share must be passed
 * by the more the fewer calls it was seen in: half is 8 of 10, 58 of 100, 524 of 1000. In the ramp half of `consecutive`
 * and of `min_calls` is enough. */
#ifndef MG_RELAY_BREAKER_H
#define MG_RELAY_BREAKER_H

#include "config/config.h"
#include "relay/rows.h"

struct mg_breaker;

enum mg_breaker_state { MG_BREAKER_CLOSED, MG_BREAKER_OPEN, MG_BREAKER_HALF_OPEN, MG_BREAKER_RAMP };

struct mg_breaker_permit {
    bool allowed;
    bool probe;                        /* this attempt decides over the half-open breaker: it must be settled or abandoned */
    uint32_t epoch;
    enum mg_breaker_state state;       /* as the attempt found it */
    uint64_t retry_at_us;              /* when not allowed: not before then; 0: unknown (another one probes, or the ramp) */
};

struct mg_breaker_view {               /* for people and policies */
    enum mg_breaker_state state;
    uint64_t until_us;                 /* OPEN: when it half-opens; RAMP: when it closes; else 0. A breaker whose time is
                                          up is shown in the state its next call will find */
    uint32_t calls;                    /* in the window */
    double failures;                   /* in the window, weighed */
    uint32_t consecutive;              /* failures in a row */
    uint32_t opened;                   /* how often, since the process began */
    double ramp;                       /* share that is let in, 0..1; 1 when closed */
    char reason[48];                   /* of the last opening: "5 failures in a row", "slow", "by hand" … */
};

/* scope: the project, or "account:NAME"; name: "provider/model@region#credential". NULL when the table is full. */
struct mg_breaker *mg_breaker_find(mg_view scope, mg_view name);
struct mg_breaker *mg_breaker_peek(mg_view scope, mg_view name);

/* May a call be made now? `random` 0..1 decides during the ramp. `last_chance`: nothing else is left, so an open (or
 * probed) breaker lets one early call a second through, of which only success counts, and a ramp lets everything in. */
struct mg_breaker_permit mg_breaker_admit(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t now_us,
                                          double random, bool last_chance);

/* An attempt ended. weight: 0 it was good, up to 1 a failure; `shard` is the worker's index; `what` says in a word what
 * went wrong, for the reason (NULL: nothing to say). */
void mg_breaker_report(struct mg_breaker *breaker, const struct mg_config_breaker *rules,
                       const struct mg_breaker_permit *permit, uint64_t now_us, unsigned shard, double weight,
                       const char *what);
/* It says nothing about the target (the client left, the request was at fault): a probe's lease goes back. */
void mg_breaker_abandon(struct mg_breaker *breaker, const struct mg_breaker_permit *permit);

/* Opens it for that long, whatever its figures (a taxonomy's penalty); one that is open for longer stays so. reason is
 * copied. */
void mg_breaker_open(struct mg_breaker *breaker, uint64_t now_us, uint64_t for_us, const char *reason);
/* By hand: closed, window forgotten. */
void mg_breaker_reset(struct mg_breaker *breaker, uint64_t now_us);

void mg_breaker_read(const struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t now_us,
                     struct mg_breaker_view *out_view);
/* The state the next call will find, and its until_us as in the view: one load, for every request. NULL is closed. */
enum mg_breaker_state mg_breaker_look(const struct mg_breaker *breaker, const struct mg_config_breaker *rules,
                                      uint64_t now_us, uint64_t *out_until_us);
/* Calls back for every breaker of the scope (empty: all), in no order. */
void mg_breaker_each(mg_view scope, void (*cb)(void *arg, struct mg_breaker *breaker), void *arg);
const struct mg_row *mg_breaker_row(const struct mg_breaker *breaker);   /* its names */
const char *mg_breaker_state_name(enum mg_breaker_state state);      /* "closed" "open" "half_open" "ramp" */

#endif
