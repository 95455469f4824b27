/* fairness.h - who is served first when a worker has more than it can take.
 *
 * Up to `in_flight` exchanges run, and no more than the journal has room for: whatever the operator sets, it is this queue
 * that meets the rush and not the journal. Running costs two additions each. Past it they wait, and whoever ends lets the next one in:
 * the oldest of the project that runs least for its weight. The queue is bounded: when it is full, the project that waits
 * most for its weight is turned away, be it the one that comes or the newest one of the one that fills it. So a project
 * that floods the gateway fills its own part of the queue, and another one's request is next as soon as anybody ends.
 *
 * One per worker; loop thread only, but for the counters. */
#ifndef MG_GATEWAY_FAIRNESS_H
#define MG_GATEWAY_FAIRNESS_H

#include "base/map.h"
#include "config/config.h"
#include "io/loop.h"
#include "store/journal.h"

struct mg_fair_share {                 /* of one project on one worker; as old as the worker */
    double weight;
    uint32_t running, waiting;
    size_t record_bytes;               /* of the journal, that one exchange of it may take; 0: not known */
    struct mg_list line;               /* struct mg_fair_wait, oldest first */
    struct mg_list link;               /* among those with somebody waiting */
};

struct mg_fair {
    const struct mg_config_overload *rules;      /* borrowed; process life */
    struct mg_loop *loop;              /* borrowed */
    const struct mg_journal *journal;  /* borrowed; NULL: none */
    struct mg_map shares;              /* project → struct mg_fair_share; owned */
    struct mg_list lines;              /* shares with somebody waiting */
    uint32_t running, waiting;
    struct mg_defer serve;
};

struct mg_fair_wait;
/* Let in or, too late or for somebody else's sake, not. From the loop, never from inside mg_fair_enter(). */
typedef void (*mg_fair_cb)(struct mg_fair_wait *wait, bool entered);

struct mg_fair_wait {                  /* embedded in who asks; zeroed before the first use */
    struct mg_list link;
    struct mg_fair_share *share;
    struct mg_timer patience;
    struct mg_fair *fair;
    mg_fair_cb cb;
    enum { MG_FAIR_OUT, MG_FAIR_WAITING, MG_FAIR_RUNNING } state;
};

void mg_fair_init(struct mg_fair *fair, const struct mg_config_overload *rules, struct mg_loop *loop,
                  const struct mg_journal *journal);
void mg_fair_fini(struct mg_fair *fair);         /* nobody runs or waits any more */

/* The project's, made on first use. */
struct mg_fair_share *mg_fair_share(struct mg_fair *fair, mg_view project);

/* The slow half of the next one: has the journal no room because of those that run? */
bool mg_fair_must_wait(const struct mg_fair *fair, const struct mg_fair_share *share);

/* May one more run, for all the journal cares? A journal that is full of what the store does not take is no reason to wait:
 * nobody who leaves would change it. */
static inline bool mg_fair_has_room(const struct mg_fair *fair, const struct mg_fair_share *share)
{
    return !fair->journal || mg_journal_spare(fair->journal) >= share->record_bytes || !mg_fair_must_wait(fair, share);
}

/* For the exchange that finds more than `in_flight` running. False: there is no room to wait either. */
bool mg_fair_wait(struct mg_fair *fair, struct mg_fair_share *share, struct mg_fair_wait *wait, mg_fair_cb cb);

/* True: it runs. Else mg_fair_wait() decides. */
static inline bool mg_fair_enter(struct mg_fair *fair, struct mg_fair_share *share, struct mg_fair_wait *wait)
{
    if (fair->running >= fair->rules->in_flight || fair->waiting || !mg_fair_has_room(fair, share))
        return false;
    fair->running++;
    share->running++;
    wait->fair = fair;
    wait->share = share;
    wait->state = MG_FAIR_RUNNING;
    return true;
}

void mg_fair_left(struct mg_fair_wait *wait);    /* the slow half of the next one */

/* It runs or waits no more. Harmless when it did neither. */
static inline void mg_fair_leave(struct mg_fair_wait *wait)
{
    if (wait->state == MG_FAIR_RUNNING && !wait->fair->waiting) {
        wait->fair->running--;
        wait->share->running--;
        wait->state = MG_FAIR_OUT;
    } else if (wait->state != MG_FAIR_OUT) {
        mg_fair_left(wait);
    }
}

#endif
