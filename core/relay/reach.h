/* reach.h - may this target be called now, and with which of its credentials?
 *
 * The one place where breaker, bench, limits and gate are asked together and told together. A pass is what an attempt
 * holds while it runs; it is settled exactly once, or abandoned. */
#ifndef MG_RELAY_REACH_H
#define MG_RELAY_REACH_H

#include "relay/breaker.h"
#include "relay/credential.h"
#include "relay/gate.h"
#include "relay/policy.h"
#include "relay/retry_budget.h"
#include "relay/stats.h"

/* Of one candidate; made with the generation, immutable; what it points to lives as long as the process. */
struct mg_reach {
    const struct mg_config_provider *provider;
    const struct mg_config_target *target;
    struct mg_stats *stats;
    struct mg_retry_budget *budget;
    struct mg_gate *gate;              /* NULL: no cap */
    int share;                         /* of the gate */
    struct mg_limit_headers limits;
    int credential_count;              /* 0: the provider needs no key; then index 0 of the arrays stands for none */
    const char *names[MG_MAX_CREDENTIALS];
    struct mg_credential *keys[MG_MAX_CREDENTIALS];          /* all models of the key */
    struct mg_credential *model_keys[MG_MAX_CREDENTIALS];    /* the key at this model */
    struct mg_breaker *breakers[MG_MAX_CREDENTIALS];
    struct mg_breaker *callers[MG_MAX_CALLER_BUCKETS];       /* of keys that clients bring; NULL where they are refused */
};

/* Stands for a key that the client brought, where the index of a credential does. */
enum { MG_CREDENTIAL_CALLER = MG_MAX_CREDENTIALS };

/* Finds or makes all rows. credentials: the provider's, or those of the shared account. `target_id` is the row's name in
 * stats (PROVIDER/… for targets that only a client named). */
void mg_reach_init(struct mg_reach *reach, const char *project, const struct mg_config_provider *provider,
                   const struct mg_config_target *target, const char *target_id, const struct mg_config_account *account,
                   const struct mg_limit_headers *limits);

enum mg_reach_why {
    MG_REACH_OK,
    MG_REACH_OPEN,                     /* breaker */
    MG_REACH_BENCHED,                  /* no credential that is not benched or exhausted */
    MG_REACH_FULL,                     /* gate: mg_gate_wait() may help */
};

struct mg_reach_ask {
    uint64_t now_us;
    double random;
    mg_view sticky;                    /* keeps a conversation on one credential, where its prompt cache is; empty: spread */
    uint64_t tokens;                   /* estimate of the request */
    uint32_t avoid;                    /* bitmap of credentials that failed this exchange already */
    bool by_caller;                    /* with a key that the client brought: the project's keys are not asked */
    unsigned bucket;                   /* of that key */
    bool last_chance;                  /* nothing else is left: see mg_breaker_admit() */
    bool skip_gate;                    /* a place was waited for and is held already: on MG_REACH_OK the pass has it, else
                                          the caller still does */
};

struct mg_pass {
    const struct mg_reach *reach;      /* NULL: holds nothing */
    int credential;                    /* index; -1: the provider needs none; MG_CREDENTIAL_CALLER */
    struct mg_breaker *breaker;        /* the permit's */
    struct mg_breaker_permit permit;
    bool entered;                      /* holds a place in the gate */
    uint64_t start_us;
};

struct mg_refusal {                    /* for the timeline and for Retry-After */
    enum mg_reach_why why;
    uint64_t until_us;                 /* monotonic; 0: unknown; UINT64_MAX: until a human acts */
    enum mg_class class_;              /* what the target was last seen to do: why a key is benched; else overloaded */
    char text[96];                     /* "breaker open for 3.2 s more (5 failures in a row)" */
};

/* On MG_REACH_OK *out_pass is held; else *out_refusal is filled and nothing is held. */
enum mg_reach_why mg_reach_take(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct mg_pass *out_pass,
                                struct mg_refusal *out_refusal);

struct mg_outcome {
    enum mg_class class_;              /* none: it was good */
    double weight;                     /* what the breaker counts, 0..1; < 0: the class's own */
    uint64_t first_token_us;           /* from sent; 0: none came */
    uint64_t total_us;
    uint64_t retry_after_ms;           /* the provider's word, 0: none */
    int peers;                         /* other candidates; a target without any is never slow */
    uint64_t peer_ewma_us;             /* of the fastest of them; 0: none was called yet. For "failing slow" */
    const struct mg_headers *headers;  /* of the answer; NULL: none came */
    enum mg_penalty_scope scope;       /* a taxonomy's penalty, see policy.h */
    uint64_t bench_ms;
    uint64_t now_us, wall_us;
    unsigned worker;                   /* its index */
};
/* Breaker, benches, limits, stats and gate learn how it went. What the core does whatever a verdict says: client
 * faults, rate limits, quotas, conflicts and cancellations say nothing to the breaker, for or against; auth benches the
 * key for 5 min and then longer each time (or until reset by hand), quota_billing for 1 h or until the provider's reset,
 * rate_limited cools the key at this model until its reset (1 s when nobody said), overloaded with a Retry-After too
 * (at most 1 min), permission benches it there for 10 min, model_not_found the target for 1 min. The last two need a target whose model is known: with "*" it is the
 * client that names one. A good answer whose first token came late against the target's own past and its fastest peer
 * weighs 1. A key that the client brought is nobody else's: how it went is told to its own breaker and, when the key had no
 * part in it, to the figures of the target; no bench, no limit and no gate learns from it. */
void mg_reach_settle(struct mg_pass *pass, const struct mg_outcome *outcome);
void mg_reach_abandon(struct mg_pass *pass, uint64_t now_us, unsigned worker);      /* harmless when it holds nothing */

/* The state of the credential that is best off, for candidates: "closed" "ramp" "half_open" "open" "benched", and when the
 * first of those that cannot be used now can be (0: unknown or now; UINT64_MAX: until a human acts). out_until_us may be
 * NULL. A few loads: cheap enough for every request. */
const char *mg_reach_state(const struct mg_reach *reach, uint64_t now_us, uint64_t *out_until_us);

#endif
