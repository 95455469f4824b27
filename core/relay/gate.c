/* Who may enter a gate that is not full:
 *
 *   - a waiter, unless it is over its share and somebody under his waits;
 *   - a newcomer, unless somebody with the same right or a better one waits already;
 *   - nobody over its share when no more is free than what others claim: a project that was turned away while it was
 *     under its share has a claim to the next place for a while, so that one with little to do gets in too.
 *
 * Waiters of a gate stand in one line per loop; a line polls while it is not empty, for places that other threads
 * free. The one who has waited longest of all lines is known (the elder), and the other lines leave the next place to
 * him: so places go in order of arrival, by shares first. */
#include "relay/gate.h"

#include <assert.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/mem.h"
#include "relay/gradient.h"
#include "relay/rows.h"

enum { POLL_MS = 20, SCALE = 1000 };

static const uint64_t CLAIM_US = 5000000, ELDER_US = 50000;    /* how long a word about it holds */

struct share {
    const char *_Atomic project;       /* owned, lives with the gate; NULL: the share is free */
    _Atomic uint32_t weight;           /* times SCALE */
    _Atomic uint32_t inflight, waiting;
    _Atomic uint64_t claim_until_us;   /* turned away while it had less than its part; 0: it was not */
};

struct mg_gate {
    struct mg_row row;
    _Atomic uint32_t inflight, waiting;
    _Atomic uint32_t share_count;
    _Atomic uint64_t weight_sum;       /* of the shares, times SCALE */
    _Atomic uint64_t claims_until_us;  /* the latest of all; 0: nobody ever had one */
    _Atomic uint64_t elder_since_us;   /* when the one arrived who waits longest; 0: nobody */
    _Atomic uint64_t elder_seen_us;    /* when his line said so */
    _Atomic uint32_t limit;            /* adaptive; 0: it has not begun */
    atomic_flag adapting;              /* guards gradient */
    struct mg_gradient gradient;
    struct share shares[MG_MAX_ACCOUNT_PROJECTS];
};

/* The waiters of one gate on one loop; freed when the last one leaves. */
struct line {
    struct mg_list link;               /* in lines */
    struct mg_list waits;              /* struct mg_gate_wait, in order of arrival */
    struct mg_gate *gate;
    struct mg_loop *loop;
    struct mg_timer poll;
};

static void gate_init(void *row);

static struct mg_rows gates = {.size = sizeof(struct mg_gate), .init = gate_init};
static pthread_mutex_t share_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local struct mg_list lines;       /* zeroed until the first line */
static _Thread_local uint32_t waiting_here;

static bool enter(struct mg_gate *gate, const struct mg_config_gate *rules, int share, bool waited);
static uint32_t limit_of(const struct mg_gate *gate, const struct mg_config_gate *rules);
static void adapt(struct mg_gate *gate, const struct mg_config_gate *rules, uint64_t latency_us, bool ok, uint32_t inflight);
static struct line *line_of(struct mg_gate *gate, struct mg_loop *loop);
static void serve(struct line *line);
static void leave_line(struct mg_gate_wait *wait);

struct mg_gate *mg_gate_find(mg_view scope, mg_view name)
{
    return mg_rows_find(&gates, scope, name);
}

struct mg_gate *mg_gate_peek(mg_view scope, mg_view name)
{
    return mg_rows_peek(&gates, scope, name);
}

static void gate_init(void *row)
{
    atomic_flag_clear(&((struct mg_gate *)row)->adapting);
}

/* ---- shares ------------------------------------------------------------------------------------- */

static int find_share(struct mg_gate *gate, mg_view project)
{
    int count = (int)atomic_load(&gate->share_count);
    for (int i = 0; i < count; i++)
        if (mg_view_eq(mg_view_cstr(atomic_load(&gate->shares[i].project)), project))
            return i;
    if (count == MG_MAX_ACCOUNT_PROJECTS)
        return 0;
    atomic_store(&gate->shares[count].project, mg_strndup(project.ptr, project.len));
    atomic_store(&gate->share_count, (uint32_t)count + 1);
    return count;
}

/* Asked for when a generation is made, so a lock is no matter. */
int mg_gate_share(struct mg_gate *gate, mg_view project, double weight)
{
    if (!gate)
        return 0;
    uint32_t scaled = (uint32_t)(MG_MAX(0.001, MG_MIN(weight, 1e6)) * SCALE);
    pthread_mutex_lock(&share_lock);
    int share = find_share(gate, project);
    atomic_store(&gate->shares[share].weight, scaled);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < atomic_load(&gate->share_count); i++)
        sum += atomic_load(&gate->shares[i].weight);
    atomic_store(&gate->weight_sum, sum);
    pthread_mutex_unlock(&share_lock);
    return share;
}

/* Has less than its part of a full gate. Every project has a right to one place. */
static bool under_share(const struct mg_gate *gate, int share, uint32_t limit)
{
    uint64_t inflight = atomic_load_explicit(&gate->shares[share].inflight, memory_order_relaxed);
    uint64_t weight = atomic_load_explicit(&gate->shares[share].weight, memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&gate->weight_sum, memory_order_relaxed);
    return inflight == 0 || sum == 0 || (inflight + 1) * sum <= limit * weight;
}

static bool waits_under_share(const struct mg_gate *gate, int except, uint32_t limit)
{
    int count = (int)atomic_load_explicit(&gate->share_count, memory_order_acquire);
    for (int i = 0; i < count; i++)
        if (i != except && atomic_load_explicit(&gate->shares[i].waiting, memory_order_relaxed) > 0 &&
            under_share(gate, i, limit))
            return true;
    return false;
}

/* ---- entering and leaving ----------------------------------------------------------------------- */

bool mg_gate_enter(struct mg_gate *gate, const struct mg_config_gate *rules, int share)
{
    return !gate || enter(gate, rules, share, false);
}

static bool is_shared(const struct mg_gate *gate)
{
    return atomic_load_explicit(&gate->share_count, memory_order_acquire) > 1;
}

static bool has_right(const struct mg_gate *gate, int share, uint32_t limit, bool waited)
{
    if (atomic_load_explicit(&gate->waiting, memory_order_relaxed) == 0)
        return true;
    if (!is_shared(gate))
        return waited;
    if (under_share(gate, share, limit))
        return waited || !waits_under_share(gate, -1, limit);
    return waited && !waits_under_share(gate, share, limit);
}

/* How many places are kept for others. */
static uint32_t claimed(const struct mg_gate *gate, int share, uint32_t limit)
{
    uint64_t until_us = atomic_load_explicit(&gate->claims_until_us, memory_order_relaxed), now_us;
    if (until_us == 0 || until_us <= (now_us = mg_mono_us()) || under_share(gate, share, limit))
        return 0;
    uint32_t count = 0;
    for (int i = 0; i < (int)atomic_load_explicit(&gate->share_count, memory_order_acquire); i++)
        count += i != share && atomic_load_explicit(&gate->shares[i].claim_until_us, memory_order_relaxed) > now_us &&
                 under_share(gate, i, limit);
    return count;
}

static void claim(struct mg_gate *gate, int share, uint32_t limit)
{
    if (!is_shared(gate) || !under_share(gate, share, limit))
        return;
    uint64_t until_us = mg_mono_us() + CLAIM_US;
    atomic_store_explicit(&gate->shares[share].claim_until_us, until_us, memory_order_relaxed);
    atomic_store_explicit(&gate->claims_until_us, until_us, memory_order_relaxed);
}

static bool enter(struct mg_gate *gate, const struct mg_config_gate *rules, int share, bool waited)
{
    uint32_t limit = limit_of(gate, rules);
    uint32_t inflight = atomic_load_explicit(&gate->inflight, memory_order_relaxed);
    do {
        if (inflight >= limit || !has_right(gate, share, limit, waited) || limit - inflight <= claimed(gate, share, limit)) {
            claim(gate, share, limit);
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&gate->inflight, &inflight, inflight + 1, memory_order_acq_rel,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&gate->shares[share].inflight, 1, memory_order_relaxed);
    if (atomic_load_explicit(&gate->shares[share].claim_until_us, memory_order_relaxed))
        atomic_store_explicit(&gate->shares[share].claim_until_us, 0, memory_order_relaxed);
    return true;
}

void mg_gate_leave(struct mg_gate *gate, const struct mg_config_gate *rules, int share, uint64_t latency_us, bool ok,
                   uint64_t now_us)
{
    if (!gate)
        return;
    (void)now_us;
    atomic_fetch_sub_explicit(&gate->shares[share].inflight, 1, memory_order_relaxed);
    uint32_t before = atomic_fetch_sub_explicit(&gate->inflight, 1, memory_order_acq_rel);
    assert(before > 0);
    if (rules->adaptive && rules->max > 0)
        adapt(gate, rules, latency_us, ok, before);
    struct line *line = atomic_load_explicit(&gate->waiting, memory_order_relaxed) > 0 ? line_of(gate, NULL) : NULL;
    if (line)
        serve(line);
}

static uint32_t limit_of(const struct mg_gate *gate, const struct mg_config_gate *rules)
{
    if (rules->max == 0 || !rules->adaptive)
        return rules->max ? rules->max : UINT32_MAX;
    uint32_t limit = atomic_load_explicit(&gate->limit, memory_order_relaxed);
    return limit ? MG_MIN(limit, rules->max) : mg_gradient_start(rules->max);
}

/* Whoever finds another thread in here lets the call go by: there are many. */
static void adapt(struct mg_gate *gate, const struct mg_config_gate *rules, uint64_t latency_us, bool ok, uint32_t inflight)
{
    if ((ok && latency_us == 0) || atomic_flag_test_and_set_explicit(&gate->adapting, memory_order_acquire))
        return;
    uint32_t limit = mg_gradient_note(&gate->gradient, rules->max, inflight, latency_us, ok);
    atomic_store_explicit(&gate->limit, limit, memory_order_relaxed);
    atomic_flag_clear_explicit(&gate->adapting, memory_order_release);
}

/* ---- waiting ------------------------------------------------------------------------------------ */

/* Of any loop of this thread when loop is NULL. */
static struct line *line_of(struct mg_gate *gate, struct mg_loop *loop)
{
    if (!lines.next)
        mg_list_init(&lines);
    MG_LIST_EACH(item, next, &lines) {
        struct line *line = mg_container_of(item, struct line, link);
        if (line->gate == gate && (!loop || line->loop == loop))
            return line;
    }
    return NULL;
}

static void on_poll(struct mg_timer *timer)
{
    serve(mg_container_of(timer, struct line, poll));
}

static struct line *line_new(struct mg_gate *gate, struct mg_loop *loop)
{
    struct line *line = mg_new(struct line);
    mg_list_init(&line->waits);
    line->gate = gate;
    line->loop = loop;
    mg_list_push_back(&lines, &line->link);
    return line;
}

static void line_free(struct line *line)
{
    mg_timer_cancel(line->loop, &line->poll);
    mg_list_remove(&line->link);
    mg_free(line);
}

static void on_turn(struct mg_defer *turn)
{
    struct mg_gate_wait *wait = mg_container_of(turn, struct mg_gate_wait, turn);
    mg_gate_cb cb = wait->cb;
    wait->cb = NULL;
    cb(wait, wait->entered);
}

static void settle(struct mg_gate_wait *wait, bool entered)
{
    leave_line(wait);
    wait->entered = entered;
    mg_loop_defer(wait->loop, &wait->turn, on_turn);
}

static void on_time_up(struct mg_timer *timer)
{
    struct mg_gate_wait *wait = mg_container_of(timer, struct mg_gate_wait, timer);
    struct line *line = line_of(wait->gate, wait->loop);
    settle(wait, enter(wait->gate, wait->rules, wait->share, true));
    if (line && mg_list_empty(&line->waits))
        line_free(line);
}

/* In another line somebody has waited for longer, and said so of late. A better right is not held up by that. */
static bool yields(const struct mg_gate *gate, const struct mg_gate_wait *wait, uint32_t limit, uint64_t now_us)
{
    uint64_t since_us = atomic_load_explicit(&gate->elder_since_us, memory_order_relaxed);
    uint64_t seen_us = atomic_load_explicit(&gate->elder_seen_us, memory_order_relaxed);
    return since_us != 0 && since_us < wait->since_us && now_us < seen_us + ELDER_US &&
           !(is_shared(gate) && under_share(gate, wait->share, limit));
}

static void stand_out(struct mg_gate *gate, const struct mg_gate_wait *wait, uint64_t now_us)
{
    uint64_t since_us = atomic_load_explicit(&gate->elder_since_us, memory_order_relaxed);
    uint64_t seen_us = atomic_load_explicit(&gate->elder_seen_us, memory_order_relaxed);
    if (since_us != 0 && since_us < wait->since_us && now_us < seen_us + ELDER_US)
        return;
    atomic_store_explicit(&gate->elder_since_us, wait->since_us, memory_order_relaxed);
    atomic_store_explicit(&gate->elder_seen_us, now_us, memory_order_relaxed);
}

/* Those with the better right first, each kind in order of arrival: one who may not enter does not hold up others. */
static void serve(struct line *line)
{
    struct mg_gate *gate = line->gate;
    uint64_t now_us = mg_loop_now_us(line->loop);
    MG_LIST_EACH(item, next, &line->waits) {
        struct mg_gate_wait *wait = mg_container_of(item, struct mg_gate_wait, link);
        uint32_t limit = limit_of(gate, wait->rules);
        bool full = atomic_load_explicit(&gate->inflight, memory_order_relaxed) >= limit;
        if (full)
            stand_out(gate, wait, now_us);
        bool waits = full || yields(gate, wait, limit, now_us);
        if (full || (waits && !is_shared(gate)))
            break;
        if (!waits && enter(gate, wait->rules, wait->share, true))
            settle(wait, true);
    }
    if (mg_list_empty(&line->waits))
        line_free(line);
    else
        mg_timer_start(line->loop, &line->poll, POLL_MS - 5, on_poll);
}

/* A project's part of the queue, by its share, is kept for it beside what is common: else one that asks for too much
 * fills the queue, and the others are turned away at the door. So at most twice the queue waits at a shared gate. */
static bool has_part(const struct mg_gate *gate, const struct mg_config_gate *rules, int share)
{
    uint64_t weight = atomic_load_explicit(&gate->shares[share].weight, memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&gate->weight_sum, memory_order_relaxed);
    uint32_t waiting = atomic_load_explicit(&gate->shares[share].waiting, memory_order_relaxed);
    return is_shared(gate) && sum && rules->queue && waiting < MG_MAX(rules->queue * weight / sum, UINT64_C(1));
}

static bool join(struct mg_gate *gate, const struct mg_config_gate *rules, int share)
{
    uint32_t waiting = atomic_load_explicit(&gate->waiting, memory_order_relaxed);
    do {
        bool room = waiting < rules->queue || has_part(gate, rules, share);
        if (!room || waiting_here >= MG_MAX_GATE_WAITERS)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&gate->waiting, &waiting, waiting + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    atomic_fetch_add_explicit(&gate->shares[share].waiting, 1, memory_order_relaxed);
    waiting_here++;
    return true;
}

bool mg_gate_wait(struct mg_gate *gate, const struct mg_config_gate *rules, int share, struct mg_loop *loop,
                  struct mg_gate_wait *wait, uint64_t until_us, mg_gate_cb cb)
{
    assert(!wait->cb);
    if (!gate || !join(gate, rules, share))
        return false;
    struct line *line = line_of(gate, loop);
    if (!line)
        line = line_new(gate, loop);
    wait->loop = loop;
    wait->gate = gate;
    wait->rules = rules;
    wait->share = share;
    wait->until_us = until_us;
    wait->entered = false;
    wait->cb = cb;
    mg_list_push_back(&line->waits, &wait->link);
    uint64_t now_us = mg_loop_now_us(loop);
    wait->since_us = now_us;
    mg_timer_start(loop, &wait->timer, until_us > now_us ? (until_us - now_us) / 1000 : 0, on_time_up);
    serve(line);
    return true;
}

static void leave_line(struct mg_gate_wait *wait)
{
    mg_list_remove(&wait->link);
    mg_timer_cancel(wait->loop, &wait->timer);
    atomic_fetch_sub_explicit(&wait->gate->shares[wait->share].waiting, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&wait->gate->waiting, 1, memory_order_relaxed);
    waiting_here--;
    uint64_t since_us = wait->since_us;
    atomic_compare_exchange_strong_explicit(&wait->gate->elder_since_us, &since_us, 0, memory_order_relaxed,
                                            memory_order_relaxed);
}

void mg_gate_cancel(struct mg_gate_wait *wait)
{
    if (!wait->cb)
        return;
    wait->cb = NULL;
    if (!mg_list_empty(&wait->link)) {
        struct line *line = line_of(wait->gate, wait->loop);
        leave_line(wait);
        if (mg_list_empty(&line->waits))
            line_free(line);
        return;
    }
    mg_loop_defer_cancel(&wait->turn);
    if (wait->entered)
        mg_gate_leave(wait->gate, wait->rules, wait->share, 0, true, mg_loop_now_us(wait->loop));
}

void mg_gate_read(const struct mg_gate *gate, const struct mg_config_gate *rules, struct mg_gate_view *out)
{
    *out = (struct mg_gate_view){0};
    if (!gate)
        return;
    out->inflight = atomic_load_explicit(&gate->inflight, memory_order_relaxed);
    out->waiting = atomic_load_explicit(&gate->waiting, memory_order_relaxed);
    out->limit = rules->max ? limit_of(gate, rules) : 0;
}
