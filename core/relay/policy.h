/* policy.h - what routing policy and failure taxonomy are asked, and what they answer.
 *
 * relay/ knows no Lua: it calls through `struct mg_policy_ops`, which script/ fills. All views are
 * borrowed for the call; answers point into the exchange's arena. Loop thread only. */
#ifndef MG_RELAY_POLICY_H
#define MG_RELAY_POLICY_H

#include "chat/call.h"
#include "config/config.h"
#include "http/headers.h"
#include "meter/failure.h"
#include "meter/timeline.h"

/* Something a plan may name: a target of the workflow that was asked for. */
struct mg_candidate {
    const struct mg_config_target *target;
    const char *provider;              /* name */
    const char *arm;
    double weight;
    uint32_t inflight;                 /* attempts of this worker on the target */
    uint64_t ewma_us;                  /* of the time to the first token; 0: no call yet */
    double error_rate;                 /* of recent attempts, 0..1 */
    const char *state;                 /* "closed": breakers come with the failover issue */
};

enum mg_pick { MG_PICK_WEIGHTED, MG_PICK_HASH, MG_PICK_LEAST_INFLIGHT };

struct mg_plan_choice {
    int candidate;                     /* index */
    double weight;                     /* ≥ 0; not all 0 */
};

/* One step of the plan. Groups (`pick … of …`) stay groups, so that a cached plan still draws anew
 * for each request (relay/plan.c draws); a plain entry is a group of one. */
struct mg_plan_entry {
    struct mg_plan_choice choices[MG_MAX_PLAN_CHOICES];
    int choice_count;                  /* ≥ 1 */
    enum mg_pick pick;
    struct mg_timeouts timeouts;
    uint32_t tries;                    /* of this entry, ≥ 1 */
    uint32_t backoff_base_ms, backoff_max_ms;
    double backoff_jitter;             /* 0..1 */
    uint32_t hedge_after_ms;           /* 0: never; kept for the failover issue, refused until then */
    mg_view patch;                     /* JSON object of top-level fields to set; empty: none */
};

struct mg_plan {
    struct mg_plan_entry entries[MG_MAX_PLAN_ATTEMPTS];
    int count;
    uint32_t deadline_ms;              /* can only tighten the request's; UINT32_MAX: does not */
    uint32_t max_attempts;
    int exhausted_status;              /* 0: the best upstream error */
    mg_view exhausted_code;
    uint32_t exhausted_retry_after_s;
    mg_view sticky;                    /* consistent-hash key of MG_PICK_HASH; empty: the session, else random */
    mg_view cache_key;                 /* empty: the policy is asked each time; else the plan may be used again for
                                          the same workflow and key until the ttl passes */
    uint32_t cache_ttl_ms;
    mg_view explain;
};

/* What is known of an attempt when it ended (or before it starts, for on_attempt). */
struct mg_attempt_facts {
    const struct mg_candidate *candidate;
    mg_view model;
    uint32_t number;                   /* 1 is the first of the exchange */
    uint32_t try_number;               /* 1 is the first on this plan entry */
    uint32_t tries;
    enum mg_reason reason;
    const char *phase;                 /* "dns" "connect" "tls" "headers" "first_token" "stream" "body" */
    const char *timeout;               /* "connect" "first_token" "idle" "total"; NULL: none fired */
    const char *transport;             /* "reset" "closed" "dns" "tls" …; NULL: the exchange of bytes was fine */
    int status;                        /* 0: no answer */
    const struct mg_headers *headers;  /* NULL: no answer */
    mg_view error_type, error_code, error_message;
    mg_view body_head;                 /* first 4 KiB of an answer that was not relayed */
    enum mg_class hint;                /* what the core and the adapter's rules propose */
    uint64_t retry_after_ms;
    uint64_t elapsed_ms;
    uint64_t bytes_to_client;          /* > 0: content was committed, nothing can be tried again */
    bool in_stream;                    /* the failure came inside a 200 */
};

struct mg_verdict {
    enum mg_class class_;
    enum mg_action action;
    uint64_t delay_ms;                 /* before a retry */
    int client_status;                 /* 0: the class's own */
    mg_view client_code, client_message;   /* empty: the core's words */
    mg_view explain;
};

struct mg_attempt_patch {
    mg_view model;                     /* empty: unchanged; only another candidate's of the same provider */
    mg_view params;                    /* JSON object; empty: none */
    struct mg_header headers[8];       /* set on this attempt */
    size_t header_count;
};

struct mg_policy_ops {
    /* Errors: MG_E_SCRIPT with a note in the call's timeline; the caller then asks the default policy. */
    mg_err (*route)(void *policy, struct mg_call *call, const struct mg_candidate *candidates, int count,
                    struct mg_plan *out_plan);
    mg_err (*on_attempt)(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                         struct mg_attempt_patch *out_patch);
    mg_err (*classify)(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                       struct mg_verdict *out_verdict);
};

#endif
