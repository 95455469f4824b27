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
    uint32_t inflight;                 /* attempts on the target, of all workers */
    uint64_t ewma_us;                  /* of the time to the first token; 0: no call yet */
    double error_rate;                 /* of recent attempts, 0..1 */
    const char *state;                 /* "closed" "open" "half_open" "ramp" "benched", of its best credential */
    const char *vendor;                /* whose prices it has besides its provider's; NULL: nobody can tell */
    bool rated, priced;                /* its rates were looked up; and are known (relay/rates.h) */
    double price_in_microusd, price_out_microusd;          /* for a million tokens */
};

enum mg_pick { MG_PICK_WEIGHTED, MG_PICK_HASH, MG_PICK_LEAST_INFLIGHT, MG_PICK_P2C, MG_PICK_CHEAPEST };

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
    uint32_t hedge_after_ms;           /* no first content by then: the next entry is started beside it; 0: never;
                                          MG_HEDGE_P95: at the target's own p95 */
    uint32_t latency_bound_ms;         /* of MG_PICK_CHEAPEST: targets slower than that come last; 0: none */
    mg_view patch;                     /* JSON object of top-level fields to set; empty: none */
};

struct mg_plan {
    struct mg_plan_entry entries[MG_MAX_PLAN_ATTEMPTS];
    int count;
    uint32_t deadline_ms;              /* can only tighten the request's; UINT32_MAX: does not */
    uint32_t max_attempts;
    uint32_t max_hedges;
    uint64_t max_cost_microusd;        /* 0: no limit; can only tighten the workflow's */
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
    const char *phase;                 /* "token" "dns" "connect" "tls" "headers" "first_token" "stream" "body" */
    const char *timeout;               /* "connect" "first_token" "idle" "total"; NULL: none fired */
    bool out_of_time;                  /* the deadline cut the timer that fired short */
    const char *transport;             /* "reset" "closed" "dns" "tls" …; NULL: the exchange of bytes was fine */
    int status;                        /* 0: no answer */
    const struct mg_headers *headers;  /* NULL: no answer */
    mg_view error_type, error_code, error_message;
    mg_view body_head;                 /* first 4 KiB of an answer that was not relayed */
    mg_view credential;                /* name of the API key; empty: none */
    uint64_t tokens_in;                /* estimate of the request's input */
    mg_view repair;                    /* name of the adapter's one-shot repair that fits this error; empty: none */
    bool larger_window_left;           /* a later target of the plan has a larger context window than this one */
    bool repeatable;                   /* false: the request has side effects (`store`, `background`) and may have run */
    enum mg_class hint;                /* what the core and the adapter's rules propose */
    uint64_t retry_after_ms;
    uint64_t elapsed_ms;
    uint64_t bytes_to_client;          /* > 0: content was committed, nothing can be tried again */
    bool in_stream;                    /* the failure came inside a 200 */
};

enum mg_penalty_scope { MG_PENALTY_NONE, MG_PENALTY_TARGET, MG_PENALTY_PROVIDER, MG_PENALTY_REGION, MG_PENALTY_CREDENTIAL,
                        MG_PENALTY_CREDENTIAL_MODEL };

struct mg_penalty {
    enum mg_penalty_scope scope;
    uint64_t for_ms;                   /* ≤ MG_MAX_PENALTY_MS; 0: no bench */
    double weight;                     /* what the breaker counts, 0..1; < 0: the class's own */
    mg_view reason;
};

struct mg_verdict {
    enum mg_class class_;
    enum mg_action action;
    uint64_t delay_ms;                 /* before a retry; the class's own least pause and Retry-After hold on top */
    mg_view repair;                    /* with retry: name of the adapter's one-shot repair; empty: none */
    struct mg_penalty penalise;
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

/* What is known when nothing answered, for an offline answer. */
struct mg_exhausted {
    enum mg_class class_;
    int status;                        /* that the client would see */
    mg_view code, message;
    uint32_t attempts;
};

struct mg_policy_ops {
    /* Errors: MG_E_SCRIPT with a note in the call's timeline; the caller then asks the default policy. */
    mg_err (*route)(void *policy, struct mg_call *call, const struct mg_candidate *candidates, int count,
                    struct mg_plan *out_plan);
    mg_err (*on_attempt)(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                         struct mg_attempt_patch *out_patch);
    mg_err (*classify)(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts,
                       struct mg_verdict *out_verdict);
    /* Of a complete good answer that was not sent yet, when the workflow has `accept` or `expect`. MG_E_DENIED: *out_reason
     * says why not (the attempt is then a schema_mismatch). NULL: everything is accepted. */
    mg_err (*accept)(void *policy, struct mg_call *call, const struct mg_call_response *response, mg_view *out_reason);
    /* The text of the workflow's `offline.answer`; MG_E_NOT_FOUND: it gave none. NULL: there is no function. */
    mg_err (*offline)(void *policy, struct mg_call *call, const struct mg_exhausted *exhausted, mg_view *out_text);
};

#endif
