/* relay_parts.h - what the files of the relay share: relay.c walks, choose.c finds whom to call, hand.c hands answers on
 * and hedges, resume.c goes on with broken streams, exhausted.c says what the client reads. For those only. */
#ifndef MG_RELAY_RELAY_PARTS_H
#define MG_RELAY_RELAY_PARTS_H

#include "base/mem.h"
#include "relay/relay.h"

enum { NO_CANDIDATE = -1 };

static inline struct mg_timeline *timeline(const struct mg_relay *relay)
{
    return relay->call.call->timeline;
}

static inline struct mg_arena *arena(const struct mg_relay *relay)
{
    return relay->call.call->arena;
}

static inline struct mg_loop *loop(const struct mg_relay *relay)
{
    return relay->call.call->loop;
}

static inline uint64_t now_us(const struct mg_relay *relay)
{
    return mg_loop_now_us(loop(relay));
}

static inline const struct mg_config_workflow *workflow(const struct mg_relay *relay)
{
    return relay->call.route->workflow;
}

static inline const struct mg_plan_entry *entry(const struct mg_relay *relay)
{
    return &relay->call.plan->entries[relay->entry];
}

static inline const struct mg_config_target *target_of(const struct mg_relay *relay, int candidate)
{
    return relay->call.candidates[candidate].target;
}

static inline uint64_t bit(int candidate)
{
    return candidate < 64 ? 1ull << candidate : 0;
}

static inline uint64_t left_ms(const struct mg_relay *relay)
{
    uint64_t now = now_us(relay);
    return relay->deadline_us > now ? (relay->deadline_us - now) / 1000 : 0;
}

/* ---- relay.c --------------------------------------------------------------------------------- */

void mg_relay_set_state(struct mg_relay *relay, enum mg_relay_state to);
void mg_relay_next(struct mg_relay *relay);            /* the next attempt, a pause, or the end */
void mg_relay_finish(struct mg_relay *relay);          /* `result` is told this turn */
mg_view mg_relay_words(struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict, const char *what);
void mg_relay_ended(void *lane);                       /* on_end of every lane */

/* ---- choose.c -------------------------------------------------------------------------------- */

/* Whom mg_relay_seek() found. */
struct mg_find {
    struct mg_pass pass;               /* held when found */
    int candidate;
    char full_text[96];                /* … and how full */
    int full;                          /* the first candidate whose gate was full; NO_CANDIDATE: none */
};

const char *mg_relay_spent(const struct mg_relay *relay);      /* why no attempt may be made at all; NULL: one may */
/* Whom of this entry to call now. False: nobody; the timeline says why. */
bool mg_relay_seek(struct mg_relay *relay, struct mg_find *find);
/* Whether its model reads what the request shows. False: *out_text says what not, and `unsayable` is set. */
bool mg_relay_reads(struct mg_relay *relay, int candidate, mg_view *out_text);
const struct mg_caller_key *mg_relay_caller_key(const struct mg_relay *relay, int candidate);      /* NULL: none */
/* As mg_reach_state(), for whoever makes this request. */
const char *mg_relay_reach_state(const struct mg_relay *relay, int candidate, uint64_t *out_until_us);
void mg_relay_skip(struct mg_relay *relay, int candidate, const char *why);
void mg_relay_next_entry(struct mg_relay *relay);
void mg_relay_give_back_place(struct mg_relay *relay); /* the place that was waited for is not used after all */
mg_err mg_relay_start_lane(struct mg_relay *relay, struct mg_lane *lane, const struct mg_find *find);      /* relay.c */

/* ---- hand.c ---------------------------------------------------------------------------------- */

extern const struct mg_attempt_ops mg_relay_attempt_ops;
void mg_relay_end_stream(struct mg_lane *lane);        /* the provider's stream is complete */
struct mg_lane *mg_relay_other(struct mg_relay *relay, const struct mg_lane *lane);      /* the busy one beside it; NULL */
void mg_relay_promote(struct mg_relay *relay, struct mg_lane *lane);       /* its bytes are the answer from now on */
void mg_relay_cancel_other(struct mg_relay *relay, struct mg_lane *lane);  /* this one was first */
void mg_relay_arm_hedge(struct mg_relay *relay, struct mg_lane *lane);

/* ---- resume.c -------------------------------------------------------------------------------- */

bool mg_relay_can_rescue(const struct mg_relay *relay, const struct mg_lane *lane, const struct mg_verdict *verdict);
/* Bytes are with the client and the attempt failed: somebody else goes on. False: nobody can. */
bool mg_relay_rescue(struct mg_relay *relay, struct mg_lane *lane, const struct mg_verdict *verdict);
/* The lane's first event that is new: the seam is told. Of a lane that writes on (sent.h). */
void mg_relay_pass_seam(struct mg_relay *relay, struct mg_lane *lane);
/* A rescue said something else than what was sent: it is stopped, and a prefill tried. */
void mg_relay_diverged(struct mg_relay *relay, struct mg_lane *lane);
/* An event of a rescue. False: nothing of it is handed on. */
bool mg_relay_resume(struct mg_relay *relay, struct mg_lane *lane, const struct mg_sse_event *event,
                     const struct mg_tap_event *seen, struct mg_sse_event *out_event, struct mg_tap_event *out_seen);

#endif
