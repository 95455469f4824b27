/* limits.h - what a project, key, workflow or metadata value may still ask for: rows of the process, debited exactly.
 *
 * A row is found by (project, workflow, scope, field, value) and shared by all workers and generations. It keeps what was
 * used, never the limit: that comes with each call, so a reload that changes a limit forgets nothing.
 *
 *   requests     GCRA with a stated burst: in any span of time no more than burst + span × rate pass
 *   tokens       the same with the minute's tokens as burst: reserved before an attempt, settled after it
 *   concurrency  exchanges in flight
 *   money        micro-dollars of this day, week and month (UTC; weeks begin on Monday): reserved and settled too
 *
 * Debits take no lock: each is one compare-and-swap on one word. Over several rows they are all or nothing: all are
 * looked at first, then debited one by one; when one fails after all, what was taken is given back exactly (a bucket that
 * was full again in between needs nothing back, and a count in its word tells). Finding a row takes one of 256 locks for
 * a bounded number of steps.
 *
 * How many rows there can be is bounded, since clients choose metadata: LIMIT_VALUES of a project, of which the first
 * LIMIT_VALUES_OWN always find room and the rest share LIMIT_ROWS with other projects'. So no other project's clients can
 * take a project's room away. A row that says nothing any more (nobody in flight, buckets full, no money in this period) is forgotten when
 * its place is wanted. When there is none, all further values of the field share one row: they are held to one limit
 * together, which is stricter and never laxer, and refusals say so.
 *
 * A wall clock that goes back never makes a budget new: see tenant/money.h.
 *
 * Time is passed in: now_us monotonic, wall_us since 1970. Clocks of two workers may differ: who is behind is held back
 * longer, never less. A bucket word is good for 4 years after its row was made. Any
 * thread. */
#ifndef MG_TENANT_LIMITS_H
#define MG_TENANT_LIMITS_H

#include <stdatomic.h>

#include "base/limits.h"
#include "config/config.h"

enum mg_limit_scope { MG_SCOPE_PROJECT, MG_SCOPE_WORKFLOW, MG_SCOPE_KEY, MG_SCOPE_METADATA };
enum mg_limit_kind { MG_LIMIT_REQUESTS, MG_LIMIT_TOKENS, MG_LIMIT_CONCURRENCY, MG_LIMIT_BUDGET };
/* Each kind, and a budget for each period: what one set may hold. */
enum { MG_LIMIT_SLOTS = 3 + MG_PERIOD_COUNT };

const char *mg_limit_scope_name(enum mg_limit_scope scope);     /* "project" "workflow" "key" "metadata" */
const char *mg_limit_kind_name(enum mg_limit_kind kind);        /* the key of the configuration: "requests_per_minute" … */

const char *mg_limit_period_name(enum mg_period period);        /* "day" "week" "month" */

static inline int mg_limit_slot(enum mg_limit_kind kind, enum mg_period period)
{
    return kind == MG_LIMIT_BUDGET ? MG_LIMIT_BUDGET + (int)period : (int)kind;
}

static inline enum mg_limit_kind mg_limit_slot_kind(int slot)
{
    return slot < MG_LIMIT_BUDGET ? (enum mg_limit_kind)slot : MG_LIMIT_BUDGET;
}

static inline enum mg_period mg_limit_slot_period(int slot)
{
    return slot < MG_LIMIT_BUDGET ? MG_PERIOD_DAY : (enum mg_period)(slot - MG_LIMIT_BUDGET);
}

struct mg_limit_id {
    mg_view project;
    mg_view workflow;                  /* whose rule it is; empty: the project's */
    enum mg_limit_scope scope;
    mg_view field;                     /* of MG_SCOPE_METADATA; else empty */
    mg_view value;                     /* id of a key's origin or metadata value; empty: of the whole, or of those who sent none */
};

enum { MG_MAX_LIMIT_USES = 4 + 2 * MG_MAX_LIMIT_FIELDS };      /* rows of one exchange */

struct mg_limit_row;

/* The row, made on first use, with one reference. When there is no room for another value it is the shared row of all
 * values that found none. */
struct mg_limit_row *mg_limit_row_take(const struct mg_limit_id *id, uint64_t now_us, uint64_t wall_us);
void mg_limit_row_drop(struct mg_limit_row *row);              /* NULL is a no-op */
bool mg_limit_row_is_shared(const struct mg_limit_row *row);   /* by values that found no room */
enum mg_limit_scope mg_limit_row_scope(const struct mg_limit_row *row);
/* NUL-terminated; they live as long as the reference. */
const char *mg_limit_row_workflow(const struct mg_limit_row *row);
const char *mg_limit_row_field(const struct mg_limit_row *row);
const char *mg_limit_row_value(const struct mg_limit_row *row);

/* One row that an exchange is held to. */
struct mg_limit_use {
    struct mg_limit_row *row;          /* one reference when `owned`; else borrowed from the generation's limiter */
    const struct mg_limit_set *set;    /* borrowed: outlives the exchange */
    bool owned;
};

struct mg_limit_refusal {
    int use;                           /* index: whose limit it was */
    enum mg_limit_kind kind;
    enum mg_period period;             /* of MG_LIMIT_BUDGET */
    uint64_t limit;                    /* as configured: requests, tokens, exchanges or micro-dollars */
    uint64_t wanted;                   /* tokens or micro-dollars that were asked for */
    uint64_t free_in_us;               /* until the same would pass; 0: waiting does not help, or nobody can know */
    bool never;                        /* it asks for more than the limit ever holds */
};

/* One request more, and one in flight more, on all rows; or nothing. True is followed by mg_limits_leave(). */
bool mg_limits_enter(const struct mg_limit_use *uses, int count, uint64_t now_us, struct mg_limit_refusal *out_refusal);
void mg_limits_leave(const struct mg_limit_use *uses, int count);

/* What an attempt has reserved on one row. */
struct mg_limit_hold {
    uint64_t token_units;              /* of the bucket's clock */
    uint16_t token_mark;               /* of the bucket when it was debited */
    uint16_t day[MG_PERIOD_COUNT];     /* first day of the period that was debited; 0: no budget */
    uint64_t microusd;
};

struct mg_limit_threshold {            /* of a budget; each is told once per period */
    int use;
    enum mg_period period;
    bool stop;                         /* what is asked for does not fit any more; else the soft threshold was reached */
    uint64_t spent_microusd, limit_microusd;     /* spent: settled, without what attempts in flight have reserved */
};
typedef void (*mg_limit_threshold_cb)(void *arg, const struct mg_limit_threshold *threshold);

/* Tokens and money of one attempt on all rows; or nothing. True is followed by mg_limits_settle() with the same holds (one
 * for each use). `on_threshold` may be NULL. */
bool mg_limits_reserve(const struct mg_limit_use *uses, int count, uint64_t tokens, uint64_t microusd, uint64_t now_us,
                       uint64_t wall_us, struct mg_limit_hold *out_holds, struct mg_limit_refusal *out_refusal,
                       mg_limit_threshold_cb on_threshold, void *arg);
/* What it really was: the rest is given back, or more is taken, even past the limit. Money belongs to the period in which
 * the attempt was reserved. */
void mg_limits_settle(const struct mg_limit_use *uses, int count, const struct mg_limit_hold *holds, uint64_t tokens,
                      uint64_t microusd, uint64_t now_us, mg_limit_threshold_cb on_threshold, void *arg);

/* ---- what came of it ------------------------------------------------------------------------------------------ */

/* A rule as the operator wrote it: whom it counts, and how often it said no. One for each (project, workflow, scope, field)
 * of which there was a row; it lives as long as the process, so the counts go on over reloads and forgotten rows. */
struct mg_limit_rule {
    const struct mg_limit_rule *next;  /* of limit_rules.c */
    const char *project, *workflow, *field;      /* "": none; NUL-terminated, behind the rule */
    enum mg_limit_scope scope;
    _Atomic uint64_t refused[MG_LIMIT_SLOTS];    /* requests that were answered 429 because of it */
    _Atomic uint64_t soft[MG_PERIOD_COUNT], stopped[MG_PERIOD_COUNT];    /* thresholds that were told */
};
const struct mg_limit_rule *mg_limit_row_rule(const struct mg_limit_row *row);
const struct mg_limit_rule *mg_limit_rule_of(const struct mg_limit_id *id);    /* made on first use; the value does not matter */
/* Of all projects, the newest first. */
typedef void (*mg_limit_rule_cb)(void *arg, const struct mg_limit_rule *rule);
void mg_limit_rules_each(mg_limit_rule_cb cb, void *arg);

/* A request was refused because of it. */
void mg_limit_count_refusal(struct mg_limit_row *row, enum mg_limit_kind kind, enum mg_period period);

/* One limit of a row as it stands now, in its own unit: requests, tokens, exchanges or micro-dollars. */
struct mg_limit_figures {
    uint64_t limit;                    /* as configured */
    uint64_t room;                     /* what may pass at once when nothing is used: the burst; else the limit */
    uint64_t used, left;               /* of the room; more than the room may be used of tokens and money */
    uint64_t reserved;                 /* micro-dollars, by attempts in flight; neither used nor left */
    uint64_t soft;                     /* micro-dollars; 0: no such threshold */
    uint64_t free_in_us;               /* until something passes, when nothing is left; UINT64_MAX: when one of them ends */
    uint64_t full_in_us;               /* until all of the room is there again; of a budget: until its period ends */
    uint64_t refused;                  /* since the row was made */
};
/* False: the set has no such limit. row NULL: nobody has used it yet. */
bool mg_limit_read(const struct mg_limit_row *row, const struct mg_limit_set *set, int slot, uint64_t now_us, uint64_t wall_us,
                   struct mg_limit_figures *out_figures);

struct mg_limit_row *mg_limit_row_hold(const struct mg_limit_row *row);        /* one more reference; NULL is a no-op */
/* The row with one reference, if there is one; NULL: it was never used, or says nothing any more. */
struct mg_limit_row *mg_limit_row_peek(const struct mg_limit_id *id);
/* Calls back for the rows of keys and of metadata values, of all projects. No lock is held then; the row is borrowed. */
typedef void (*mg_limit_row_cb)(void *arg, const struct mg_limit_row *row);
void mg_limit_rows_each(mg_limit_row_cb cb, void *arg);

/* The key of the configuration: "workflows.chat.limits.per_metadata.user.requests_per_minute". Cut to size. */
enum { MG_LIMIT_PATH_BYTES = 320 };
void mg_limit_path(char out[MG_LIMIT_PATH_BYTES], const char *workflow, enum mg_limit_scope scope, const char *field,
                   enum mg_limit_kind kind);

/* ---- for headers, tests and restoring ------------------------------------------------------------------------ */

struct mg_limit_left {
    uint64_t limit, left;              /* per minute, and what would pass now */
    uint64_t full_in_us;               /* until all of the burst is there again */
};
void mg_limit_requests_left(const struct mg_limit_use *use, uint64_t now_us, struct mg_limit_left *out_left);
void mg_limit_tokens_left(const struct mg_limit_use *use, uint64_t now_us, struct mg_limit_left *out_left);
uint64_t mg_limit_spent(const struct mg_limit_row *row, enum mg_period period, uint64_t wall_us);    /* and reserved */
uint32_t mg_limit_in_flight(const struct mg_limit_row *row);

/* Only what attempts in flight have reserved is left of the period: for restoring what may have been counted in part. */
void mg_limit_forget_spent(struct mg_limit_row *row, enum mg_period period, uint64_t wall_us);
/* Adds what was spent before this process began. Thresholds that are passed with it are not told again. */
void mg_limit_restore(struct mg_limit_row *row, const struct mg_limit_set *set, enum mg_period period, uint64_t microusd,
                      uint64_t wall_us);

/* When the period that holds wall_us began, and when the next one begins. */
uint64_t mg_period_start_us(enum mg_period period, uint64_t wall_us);
uint64_t mg_period_end_us(enum mg_period period, uint64_t wall_us);

/* Rows of the process, and metadata values of one project. */
uint32_t mg_limit_rows(void);
uint32_t mg_limit_values(mg_view project);

#endif
