/* lane.h - one attempt of a relay with all it holds: its place in the plan, its pass, its bytes, its record.
 *
 *    FREE ──mg_lane_start()──▶ BUSY ──on_end──▶ (mg_lane_settle) ──▶ FREE
 *                                └────mg_lane_cancel()────────────────▲
 *
 * A relay has one lane, and others beside it while it hedges. A lane knows how to build what goes upstream, how to start it
 * and how to settle it everywhere (record, journal, breaker, statistics); what is tried next is relay.c's. */
#ifndef MG_RELAY_LANE_H
#define MG_RELAY_LANE_H

#include "chat/weave.h"
#include "relay/attempt.h"
#include "relay/reach.h"
#include "relay/repair.h"

struct mg_relay;

/* An event that came before this lane's first content while another lane answered. In the exchange's arena. */
struct mg_held_event {
    struct mg_held_event *next;
    struct mg_sse_event event;
    struct mg_tap_event seen;
};

struct mg_relay_translated;

struct mg_lane {
    struct mg_relay *relay;            /* borrowed */
    const struct mg_adapter *adapter;  /* what the target is spoken to with */
    const struct mg_request *request;  /* what the body was made from */
    struct mg_relay_translated *translated;      /* NULL: the target speaks the client's dialect */
    struct mg_weave *weave;            /* owned; of a stream that is translated */
    struct mg_attempt attempt;
    struct mg_pass pass;               /* held while busy */
    mg_view model;                     /* asked of it */
    struct mg_buf head;                /* request head; memory is kept */
    struct mg_body body;
    struct mg_body_change change;      /* how it was made from the request; views into the arena */
    mg_repairs repairs;                /* of this attempt */
    int repair;                        /* row that fits the error it got; -1: none */
    int entry;                         /* of the plan */
    int candidate;
    int credential;                    /* index; -1: none */
    uint32_t try_number;               /* on this entry, from 1 */
    uint32_t number;                   /* of the exchange, from 1: attempts[number - 1] is its record */
    enum mg_reason reason;
    bool busy;
    bool goes_on;                      /* of a rescue: the seam was passed */
    struct mg_held_event *held, **held_end;      /* oldest first */
};

struct mg_lane_start {
    int entry, candidate;
    uint32_t try_number;
    enum mg_reason reason;
    struct mg_pass pass;               /* the lane's from now on */
    mg_view why;                       /* for the record */
    mg_repairs repairs;                /* beside those the target is known to need */
    uint64_t waited_us;                /* before it */
    const struct mg_request *request;  /* the transformed one, or with a prefill */
    const struct mg_attempt_ops *ops;  /* their argument is the lane */
};

/* Builds and sends. An error: nothing went upstream, the record says so, the pass is given back, the lane is free. */
MG_MUST_USE mg_err mg_lane_start(struct mg_lane *lane, const struct mg_lane_start *start);

struct mg_attempt_record *mg_lane_record(const struct mg_lane *lane);

/* Completes attempt.facts for a verdict. */
void mg_lane_facts(struct mg_lane *lane);

/* The lane is `arg`: what is sent a second time is in the journal before it leaves. */
void mg_lane_redialed(void *arg);

/* After on_end: record, journal, breaker and figures. The lane is free; its answer stays readable until the next start. */
void mg_lane_settle(struct mg_lane *lane, enum mg_class class_, enum mg_action action, const struct mg_penalty *penalty);

/* Closes the upstream at once and settles with what was seen. Harmless when free. */
void mg_lane_cancel(struct mg_lane *lane, enum mg_class class_, enum mg_action action);

void mg_lane_fini(struct mg_lane *lane);

#endif
