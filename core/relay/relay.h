/* relay.h - [attempt → classify]*: walks the plan until an answer is good or nothing is left to try.
 *
 *                 ┌───────── next target, retry, next key ─────────┐
 *                 ▼                                                │
 *    start ──▶ SEEKING ──▶ RUNNING ──failed──▶ verdict ────────────┴──▶ ENDING ──▶ on_done
 *               │    ▲       │  └──good────────────────────────────────▲
 *               ▼    │       └── hedge timer: another lane beside ─────┘ first content wins
 *            WAITING (backoff, or for a place at the target)
 *
 * Every attempt is built from the one transformed request of its exchange. The owner holds back
 * what it is handed until mg_relay_committed(): before that, any failure moves on to the next
 * target and on_attempt tells the owner to forget what it holds; after it, a failure is final unless
 * the workflow resumes (relay/rescue.h). Bounds that no policy can lift: one deadline, one attempt
 * budget, one money budget, breakers, caps and retry budgets. Loop thread only. */
#ifndef MG_RELAY_RELAY_H
#define MG_RELAY_RELAY_H

#include "relay/lane.h"
#include "relay/plan.h"
#include "relay/repair.h"
#include "relay/rescue.h"
#include "relay/sent.h"
#include "store/journal.h"

/* One workflow of one generation with what it needs to be called. Immutable, shared by workers. */
struct mg_route {
    const struct mg_config_project *config;      /* whose it is, for what it knows of models; NULL: the catalogue alone */
    const struct mg_config_workflow *workflow;
    struct mg_candidate *candidates;   /* the static parts; figures are filled per request */
    const struct mg_upstream **upstreams;        /* by candidate */
    struct mg_reach *reaches;          /* by candidate */
    struct mg_repair_memory **repairs; /* by candidate; what its target is known to need */
    int count;
};

struct mg_prices;

/* A request may have to be repaired for several fields in turn; a server that dislikes ever more ends there. */
enum { MG_RELAY_REPAIRS = 3 };

struct mg_relay_ops {
    void (*on_attempt)(void *arg);     /* another one answers from here on: what was held is void */
    void (*on_head)(void *arg, int status, struct mg_headers headers);
    void (*on_event)(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen);
    void (*on_flush)(void *arg);
    void (*on_body)(void *arg, mg_view bytes);
    /* Of a complete answer that was not committed: MG_E_DENIED and *out_reason when it is not what was asked for. */
    mg_err (*on_good)(void *arg, mg_view *out_reason);
    /* Is this candidate's provider disabled by hand? True: *out_why says so, in the exchange's arena, and it is not called.
     * NULL: nobody disables. */
    bool (*is_off)(void *arg, int candidate, mg_view *out_why);
    /* Before each attempt: false when a limit does not let this candidate be called (text says which: noted, and told when
     * nobody else is left). True reserves until on_settled. NULL: no limits. */
    bool (*may_call)(void *arg, int candidate, struct mg_refusal *out_refusal);
    /* After each may_call that was true, once; attempt NULL: it was not made after all. NULL: nobody asks. */
    void (*on_settled)(void *arg, int candidate, const struct mg_attempt_record *attempt);
    void (*on_seam)(void *arg, uint64_t bytes);  /* another target goes on after so many bytes of text */
    void (*on_done)(void *arg);        /* once, last touch; never from inside mg_relay_start() */
};

struct mg_relay_call {                 /* borrowed until on_done */
    struct mg_call *call;
    struct mg_pool *pool;
    struct mg_journal *journal;
    const struct mg_prices *prices;    /* what targets without a price of their own cost; NULL: nobody knows */
    const struct mg_route *route;
    struct mg_candidate *candidates;   /* of this exchange, figures filled; same order as the route's */
    const struct mg_plan *plan;
    const struct mg_policy_ops *policy;
    void *policy_arg;
    const char *surface;               /* "chat" … */
    mg_view method;                    /* empty: POST */
    mg_view id, query;                 /* of what is asked for: {id} of the operation's path; behind its '?'; empty: none */
    mg_view window;                    /* of a form: its beginning, whose fields the request shows */
    struct mg_feed *feed;              /* of a form: what comes behind the window; NULL: nothing */
    bool bodiless;                     /* nothing is sent but the head */
    bool plain;                        /* no conversation: see mg_attempt_call */
    const char *pinned;                /* the only provider that may be asked; NULL: any */
    bool first_key;                    /* only the provider's first key: what it keeps belongs to an account */
    bool converse;                     /* the surface carries a conversation: a target may speak another dialect */
    const char *task;                  /* … or something else that one may be asked for (task.h); NULL: neither */
    bool resumes;                      /* its streams can go on at another target … */
    bool reweaves;                     /* … whose blocks are written on (sent.h) */
    const struct mg_raw *raw;          /* one attempt that goes out as the client made it, and comes back as it is; else NULL */
    bool free;                         /* nobody bills what is asked for */
    bool lenient;                      /* what a target's dialect has no word for is left out instead of refused */
    const struct mg_translator *translator;
    const struct mg_adapter *client_adapter;     /* whose taps read the client's dialect */
    mg_view own_params, own_params_reasoning;    /* JSON objects set in requests to targets of the client's own dialect, to models
                                          that are known to reason; empty: nothing */
    mg_view forwarded;                 /* header lines of the client that go upstream */
    const char *const *vendor_headers; /* how those of them begin that only a vendor of the client's dialect gets; NULL: none */
    unsigned worker;                   /* index */
    bool whole;                        /* a hook must see all of an answer that is not streamed */
    const struct mg_relay_ops *ops;
    void *arg;
};

struct mg_relay_result {
    bool ok;
    enum mg_class class_;
    int status;                        /* for the client */
    mg_view code, message;             /* for the client; in the exchange's arena */
    mg_view param;                     /* the field that is wrong; empty: none, or many */
    mg_view body;                      /* an upstream's own error answer that the client should see as it is; else empty */
    uint64_t retry_after_ms;           /* 0: none */
    bool in_vain;                      /* whoever asks again by itself hears the same: somebody must act, or the provider says so */
};

enum mg_relay_state {
    MG_RELAY_IDLE,                     /* not started, or done */
    MG_RELAY_SEEKING,                  /* looking for a target, within one call */
    MG_RELAY_WAITING,                  /* for the end of a pause, or for a place at a target */
    MG_RELAY_RUNNING,                  /* at least one lane is busy */
    MG_RELAY_ENDING                    /* the result is known and will be told this turn */
};

struct mg_relay {                      /* caller-owned memory, zeroed before the first use */
    struct mg_relay_call call;
    enum mg_relay_state state;
    struct mg_lane first;
    struct mg_lane *beside[MG_MAX_HEDGES];       /* owned; each made when a hedge first needs it */
    struct mg_lane *answering;         /* whose bytes are handed on */
    struct mg_timer pause;             /* backoff */
    struct mg_timer hedge;
    struct mg_gate_wait place;         /* in the queue of a full target */
    struct mg_defer done;
    int entry;                         /* of the plan */
    uint32_t tries;                    /* made on this entry */
    uint32_t made, hedges;             /* attempts so far; those of them that were hedges */
    int again;                         /* candidate that must be asked now (next key, prefill, its place came); -1: draw */
    int free_of;                       /* candidate whose next call is no repeat that must be paid; -1: none */
    int keys_of;                       /* candidate that avoid_keys are of; -1: none */
    int waiting_for;                   /* candidate of `place` */
    bool placed;                       /* the place is held for the next attempt */
    uint64_t tried, refused;           /* bitmaps of candidates: called this round; not allowed to be called */
    uint32_t made_before_round;        /* attempts, when this walk over the refused ones began */
    uint64_t round_us;                 /* when this round over the plan began, from the second on */
    uint64_t called;                   /* called at all: another call is a repeat */
    enum mg_class refused_class;       /* of the last refusal, should nobody be called at all */
    mg_view refused_text;              /* … and its words; in the arena */
    struct mg_relay_translated *translated;      /* requests in other dialects; translated.h */
    uint32_t shown;                    /* media of the request besides text: bits of enum mg_modality */
    bool shown_known;                  /* … were looked for */
    const struct mg_request *looked_through;     /* for other vendors' state; NULL: none yet. And what was found: */
    bool has_state;
    struct mg_translation_report unsayable;      /* why the last of them that was refused was */
    uint32_t avoid_keys;               /* bitmap of credentials of `keys_of` that failed */
    uint32_t window_above;             /* only targets with a larger context window; 0: any */
    uint64_t wait_since_us;            /* when the pause or the queueing before the next attempt began; 0: none */
    uint64_t max_attempts, deadline_us;
    uint64_t spent_microusd;
    uint32_t repaired;                 /* repairs made, at most MG_RELAY_REPAIRS */
    mg_repairs repairs;                /* of the next attempt at `again` */
    enum mg_reason reason;             /* of the next attempt */
    mg_view why;                       /* of the next attempt, for its record */
    bool last_chance;                  /* second round: only what was refused, and breakers let probes through */
    bool committed;
    struct mg_request *prefill;        /* the next attempts go on from the sent text: their request; in the arena; else NULL */
    struct mg_rescue *rescue;          /* of this answer; NULL: none */
    struct mg_sent *sent;              /* … in its place where blocks are written on */
    int rank;                          /* how useful `result` is; see exhausted.c */
    struct mg_relay_result result;     /* valid in on_done */
};

void mg_relay_start(struct mg_relay *relay, const struct mg_relay_call *call);

/* From now on bytes are with the client. */
void mg_relay_committed(struct mg_relay *relay);

/* After a good on_done with nothing sent: a hook wants another answer. Goes on with the plan as after a failure of class
 * schema_mismatch; ends in on_done again. */
void mg_relay_again(struct mg_relay *relay, mg_view reason);

void mg_relay_pause(struct mg_relay *relay, bool paused);

/* A hook stopped the answer, or nobody wants it any more: upstreams are closed at once and attempts are
 * settled as `class_` with the usage seen so far. on_done does not come. Harmless when not running. */
void mg_relay_cancel(struct mg_relay *relay, enum mg_class class_);

/* The client left. Whoever has read a stream to its last event has all of the answer, and it counts as good. */
bool mg_relay_has_answered(const struct mg_relay *relay);
void mg_relay_left(struct mg_relay *relay);

void mg_relay_fini(struct mg_relay *relay);

/* The attempt whose answer is handed on; during and after it, until the next start. */
const struct mg_attempt *mg_relay_attempt(const struct mg_relay *relay);
const struct mg_tap *mg_relay_tap(const struct mg_relay *relay);
mg_view mg_relay_dropped(const struct mg_relay *relay);         /* fields its target's dialect has no word for; empty: none */
const struct mg_adapter *mg_relay_answer_adapter(const struct mg_relay *relay);       /* whose taps read what is handed on */
const struct mg_attempt_record *mg_relay_record(const struct mg_relay *relay);   /* its record; there was one attempt at least */

/* --- exhausted.c: what the client will read if nothing better comes ------------------------------------------- */

/* Keeps the more useful one of what was known and this failure. */
void mg_relay_remember(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict);

/* Nothing more is tried: completes `result` with a summary of the attempts and when to come back. */
void mg_relay_exhausted(struct mg_relay *relay, const char *why);

#endif
