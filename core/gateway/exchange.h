/* exchange.h - one client request from accept to settle: the straight line.
 *
 *   accept → parse → authenticate → take turn → admit → resolve → limit → transform → mark → route
 *          → [attempt → classify]* (relay/) → commit → relay → settle
 *
 *   READING ──complete──▶ TRANSFORMING ──▶ RELAYING ──▶ FILTERING ──▶ FLUSHING ──▶ DONE
 *      │                      │ on_request      │          │ on_response     ▲
 *      └──────────────────────┴─── refused ─────┴──────────┴─────────────────┘
 *
 * An answer that is kept waits in FILTERING for the store, and a request that goes on from one in READING.
 *
 * Memory is recycled per worker. Loop thread only. */
#ifndef MG_GATEWAY_EXCHANGE_H
#define MG_GATEWAY_EXCHANGE_H

#include "gateway/answer.h"
#include "gateway/client.h"
#include "gateway/dialects.h"
#include "gateway/fairness.h"
#include "relay/relay.h"

struct mg_surface;
struct mg_filtering;
struct mg_keeping;
struct mg_limiting;
struct mg_passthrough;
struct mg_upload;

enum mg_exchange_state {
    MG_EXCHANGE_READING,               /* head or body is arriving */
    MG_EXCHANGE_TRANSFORMING,          /* on_request hooks run, perhaps waiting */
    MG_EXCHANGE_RELAYING,              /* attempts */
    MG_EXCHANGE_FILTERING,             /* on_response hooks run, perhaps waiting */
    MG_EXCHANGE_FLUSHING,              /* the answer is complete, its last bytes leave */
    MG_EXCHANGE_DONE                   /* settled; recycled this turn */
};

struct mg_exchange {
    struct mg_list link;               /* in the worker's idle list when recycled */
    enum mg_exchange_state state;
    struct mg_worker *worker;          /* borrowed */
    struct mg_client *client;          /* borrowed; NULL once it is gone */
    struct mg_arena arena;             /* the request's memory */
    struct mg_timeline *timeline;      /* `room`, or a whole one in the arena */
    struct mg_call call;
    struct mg_http_request request;    /* views into the client's parser */
    const struct mg_surface *surface;  /* NULL: no such path */
    const struct mg_dialect *dialect;  /* the client's */
    struct mg_live *live;              /* the generation this exchange runs on; entered */
    struct mg_passthrough *passthrough;          /* in the arena; NULL: a surface of ours */
    const struct mg_route *route;
    struct mg_candidate *candidates;
    struct mg_plan *plan;              /* when it was asked for this exchange; in the arena */
    struct mg_cached_plan *cached;     /* else one reference on a cached one */
    struct mg_buf body;                /* of the request; of an upload its window */
    struct mg_upload *upload;          /* in the arena; NULL: the body is no form */
    mg_view kept_id;                   /* of a file that a provider keeps; empty: all of them, or another surface */
    struct mg_buf lines;               /* header lines being built; memory is kept */
    struct mg_relay relay;
    struct mg_answer answer;
    struct mg_headers upstream_headers;          /* of the attempt that is answering */
    mg_view whole;                     /* its body when it was not streamed; borrowed from the attempt */
    struct mg_filtering *filtering;    /* in the arena; NULL: no hook sees this stream */
    struct mg_keeping *keeping;        /* in the arena; NULL: nothing of it is kept or recalled */
    mg_view dropped;                   /* a field of the request that is left out, for a warning; empty: none */
    struct mg_buf rewritten;           /* what goes out of a filtered stream with the next flush */
    struct mg_hook_run *hook;          /* the hook that waits */
    struct mg_defer recycle;
    struct mg_defer wipe_reads;        /* keys of the client stood in what was read: at the end of the turn they do not */
    struct mg_fair_wait turn;          /* runs, or waits for its turn on a worker that is full */
    struct mg_limiting *limiting;      /* in the arena; NULL: nothing limits it */
    const struct mg_limit_set *key_limits;       /* of its key's row, in the arena; NULL: it has none of its own */
    mg_view key_origin;                /* what limits count its key by (struct mg_key), in the arena */
    const char *key_allows;            /* as mg_key.allowed, in the arena; NULL: every model of the project */
    uint32_t keyring_number;           /* the worker's when the key was looked up */
    size_t reserved_bytes;             /* of the journal */
    uint64_t admitted_us;              /* monotonic, not the loop's cached time: overhead is less than a turn */
    uint64_t overhead_us;              /* from there until the first attempt was under way */
    uint32_t skipped_events, sent_events;        /* of the stream: not understood; handed on */
    struct mg_buf text;                /* of choice 0 of a stream that is held for `accept`, decoded */
    int sent_status;                   /* what the committed answer began with */
    bool events;                       /* … and whether it is framed as events */
    int refusal;                       /* status of an answer that waits for the end of the body; 0: none */
    bool recorded;                     /* there is a project to record it for */
    bool disabled;                     /* refused by a switch: nothing of its project runs for it any more */
    bool counted;                      /* in metrics */
    bool free;                         /* nobody bills what it asks for */
    bool has_ours;                     /* the client sent a header x-moongate-… */
    bool relayed;                      /* the relay was started for it: its result is this exchange's */
    struct mg_timeline room;           /* last, and allocated only up to its first few attempts */
};

struct mg_exchange *mg_exchange_new(struct mg_client *client);

/* The parser's events. MG_E_DENIED: answered already, the connection ends. */
MG_MUST_USE mg_err mg_exchange_head(struct mg_exchange *x, const struct mg_http_request *request);
MG_MUST_USE mg_err mg_exchange_body(struct mg_exchange *x, mg_view bytes);
void mg_exchange_complete(struct mg_exchange *x);

/* upload.c: its body is still arriving; of an upload also while it runs. */
bool mg_exchange_takes_body(const struct mg_exchange *x);

/* So much of an upload is there that mg_exchange_complete() is to be called already. */
bool mg_exchange_is_ready(const struct mg_exchange *x);

/* The client sent what is no request; answers with the status of err and `reason`, then closes. */
void mg_exchange_broken(struct mg_exchange *x, mg_err err, const char *reason);

/* The client left. */
void mg_exchange_gone(struct mg_exchange *x);

/* The client's socket took what was queued. */
void mg_exchange_drained(struct mg_exchange *x);

/* Frees a recycled one for good. */
void mg_exchange_free(struct mg_exchange *x);

/* --- steps in other files, called from exchange.c ------------------------------------------------------------ */

/* authenticate.c: the key says whose request it is, and the project's generation is entered. False: answered. */
MG_MUST_USE bool mg_exchange_authenticate(struct mg_exchange *x);
/* authenticate.c: again, when all of the request is there: whoever was revoked, changed or disabled meanwhile is held to what
 * holds now. False: answered. */
MG_MUST_USE bool mg_exchange_may_go_on(struct mg_exchange *x);

/* caller_keys.c: keys that the client brought for providers, sealed before anything else happens; false: *out_why says what
 * is wrong with them. Then, with the project known: does it let the request bring them? With the route known: has it those
 * that it needs? The last two answer when not. */
bool mg_exchange_take_caller_keys(struct mg_exchange *x, const char **out_why);
bool mg_exchange_may_bring_keys(struct mg_exchange *x, const char *why_not);
bool mg_exchange_has_keys_it_needs(struct mg_exchange *x);

/* deliver.c: usage in the events of a stream is the client's to see. */
bool mg_exchange_keeps_usage(const struct mg_exchange *x);

/* refuse.c: an error in the client's dialect. code is stable and documented. */
void mg_exchange_refuse(struct mg_exchange *x, int status, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void mg_exchange_refuse_as(struct mg_exchange *x, int status, mg_view code, mg_view message, mg_view param,
                           uint64_t retry_after_ms);
mg_view mg_exchange_error(struct mg_exchange *x, int status, mg_view code, mg_view message, mg_view param);

/* refuse.c: a whole answer of ours, and the end of the exchange. */
void mg_answer_typed(struct mg_exchange *x, int status, const char *content_type, mg_view body);
void mg_answer_json(struct mg_exchange *x, int status, mg_view body);

/* What a switch refuses is recorded even when its turn to be admitted has not come: who asks in vain is to be found. */
void mg_exchange_record_disabled(struct mg_exchange *x);

/* refuse.c: what was asked for is disabled by hand. `what` begins the sentence: "The workflow 'chat'". */
void mg_exchange_refuse_disabled(struct mg_exchange *x, const struct mg_switch *off, const char *what);

/* respond.c: a hook's own answer, a stream when one was asked for, and the end of the exchange. */
void mg_exchange_respond(struct mg_exchange *x, const struct mg_hook_outcome *outcome);

/* deliver.c: what the relay hands on, filtered and written to the client. */
extern const struct mg_relay_ops mg_deliver_ops;

/* A committed answer is complete: settle it, end it and let the client go on. */
void mg_exchange_finish(struct mg_exchange *x, int status, bool clean);
/* The same for an answer that is sent at once: it is recorded before its first byte leaves. lines: its headers. */
void mg_exchange_answer(struct mg_exchange *x, int status, mg_view lines, mg_view body);

void mg_exchange_set_state(struct mg_exchange *x, enum mg_exchange_state to);
uint64_t mg_exchange_now(const struct mg_exchange *x);

/* plans.c: plans kept for the next request of the same route. */
struct mg_cached_plan {
    uint32_t refs;
    uint64_t until_us;
    struct mg_arena arena;             /* owns the plan's strings */
    struct mg_plan plan;
};
void mg_plan_keep(struct mg_exchange *x, int index);          /* when its policy allows it; index is the route's */
bool mg_plan_use_cached(struct mg_exchange *x, int index);    /* true: x->cached is one, with a reference */
void mg_plan_unref(struct mg_cached_plan *cached);            /* NULL is a no-op */

/* lines.c: time inside the gateway so far, waiting excluded. */
uint64_t mg_exchange_overhead_us(const struct mg_exchange *x);

/* Header lines every answer carries; fills x->lines and returns it. */
mg_view mg_exchange_lines(struct mg_exchange *x, bool with_upstream);

#endif
