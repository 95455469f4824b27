/* relay.h - [attempt → classify]*: walks the plan until an answer is good or nothing is left to try.
 *
 * Every attempt is built from the one transformed request of its exchange. The owner holds back
 * what it is handed until mg_relay_committed(): before that, any failure moves on to the next
 * target and on_attempt tells the owner to forget what it holds; after it, a failure is final.
 * Seams of the failover issue: breakers and budgets answer in may_attempt(), hedges start a second
 * attempt beside the first, rescue replaces the final failure after commitment. Loop thread only. */
#ifndef MG_RELAY_RELAY_H
#define MG_RELAY_RELAY_H

#include "relay/attempt.h"
#include "relay/plan.h"
#include "relay/stats.h"
#include "store/journal.h"

/* One workflow of one generation with what it needs to be called. Immutable, shared by workers. */
struct mg_route {
    const struct mg_config_workflow *workflow;
    struct mg_candidate *candidates;   /* the static parts; figures are filled per request */
    const struct mg_upstream **upstreams;        /* by candidate */
    struct mg_stats **stats;           /* by candidate; rows live as long as the process */
    int count;
};

struct mg_relay_ops {
    void (*on_attempt)(void *arg);     /* another one starts: what was held is void */
    void (*on_head)(void *arg, int status, struct mg_headers headers);
    void (*on_event)(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen);
    void (*on_flush)(void *arg);
    void (*on_body)(void *arg, mg_view bytes);
    void (*on_done)(void *arg);        /* once, last touch; never from inside mg_relay_start() */
};

struct mg_relay_call {                 /* borrowed until on_done */
    struct mg_call *call;
    struct mg_pool *pool;
    struct mg_journal *journal;
    const struct mg_route *route;
    struct mg_candidate *candidates;   /* of this exchange, figures filled; same order as the route's */
    const struct mg_plan *plan;
    const struct mg_policy_ops *policy;
    void *policy_arg;
    const char *surface;               /* "chat" … */
    mg_view forwarded;                 /* header lines of the client that go upstream */
    const struct mg_relay_ops *ops;
    void *arg;
};

struct mg_relay_result {
    bool ok;
    enum mg_class class_;
    int status;                        /* for the client */
    mg_view code, message;             /* for the client; in the exchange's arena */
    mg_view body;                      /* an upstream's own error answer that the client should see as it is; else empty */
    uint64_t retry_after_ms;           /* 0: none */
};

struct mg_relay {                      /* caller-owned memory, zeroed before the first use */
    struct mg_relay_call call;
    struct mg_attempt attempt;
    struct mg_buf head;                /* of the current attempt; memory is kept */
    struct mg_body body;
    struct mg_timer backoff;
    struct mg_defer done;
    int entry;                         /* of the plan */
    int candidate;                     /* of the current attempt */
    uint32_t tries;                    /* made on this entry */
    uint32_t made;                     /* attempts so far */
    uint64_t tried;                    /* bitmap of candidates */
    uint64_t max_attempts, deadline_us;
    enum mg_reason reason;             /* of the next attempt */
    bool committed;
    bool running;
    struct mg_relay_result result;     /* valid in on_done */
};

void mg_relay_start(struct mg_relay *relay, const struct mg_relay_call *call);

/* From now on bytes are with the client. */
void mg_relay_committed(struct mg_relay *relay);

/* After a good on_done with nothing sent: a hook wants another answer. Goes on with the plan as after a failure of class
 * schema_mismatch; ends in on_done again. */
void mg_relay_again(struct mg_relay *relay, mg_view reason);

void mg_relay_pause(struct mg_relay *relay, bool paused);

/* The client left, or a hook stopped the answer: upstream is closed at once and the attempt is
 * settled as `class_` with the usage seen so far. on_done does not come. Harmless when not running. */
void mg_relay_cancel(struct mg_relay *relay, enum mg_class class_);

void mg_relay_fini(struct mg_relay *relay);

/* The tap of the current attempt, for finish reason and usage. */
const struct mg_tap *mg_relay_tap(const struct mg_relay *relay);

#endif
