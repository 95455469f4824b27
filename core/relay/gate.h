/* gate.h - how many attempts of one target may run at once, over all workers, and who waits.
 *
 * A static cap, or one found from latency by gradient: it grows while the first token comes as fast as it used to and
 * shrinks when queueing at the target makes it later. A full gate queues a bounded number for a bounded time, so that a
 * stand-in is not drowned by those who fled to it. When an account is granted to several projects they share one gate:
 * each keeps its share of it when it is full, and what one does not use the others may have; one that was turned away
 * while it had less than its share has a claim to the next place for five seconds.
 *
 * Entering and leaving are for any thread (atomics). Waiting belongs to a loop: places freed by the same worker are
 * given in order of arrival at once, unless somebody of another worker has waited for longer; a place freed or left by
 * another worker is found within 20 ms. */
#ifndef MG_RELAY_GATE_H
#define MG_RELAY_GATE_H

#include "config/config.h"
#include "io/loop.h"

struct mg_gate;

struct mg_gate *mg_gate_find(mg_view scope, mg_view name);       /* NULL: the table is full; then nothing is capped */
struct mg_gate *mg_gate_peek(mg_view scope, mg_view name);
/* The project's part of a shared gate, 0 … MG_MAX_ACCOUNT_PROJECTS - 1; weight is its share. 0 of a gate of one project. */
int mg_gate_share(struct mg_gate *gate, mg_view project, double weight);

bool mg_gate_enter(struct mg_gate *gate, const struct mg_config_gate *rules, int share);
/* latency_us: to the first token, 0: unknown; ok: the attempt was good. Gives the place to a waiter of this thread. */
void mg_gate_leave(struct mg_gate *gate, const struct mg_config_gate *rules, int share, uint64_t latency_us, bool ok,
                   uint64_t now_us);

/* cb exactly once, from the loop, never from inside mg_gate_wait(): entered (the place is the caller's) or not (its time
 * is up). */
struct mg_gate_wait;
typedef void (*mg_gate_cb)(struct mg_gate_wait *wait, bool entered);
struct mg_gate_wait {                  /* caller-owned, zeroed before the first use; fields belong to gate.c */
    struct mg_list link;
    struct mg_timer timer;
    struct mg_defer turn;
    struct mg_loop *loop;
    struct mg_gate *gate;
    const struct mg_config_gate *rules;
    int share;
    uint64_t since_us, until_us;
    bool entered;
    mg_gate_cb cb;
};
/* False: the queue is full (or has no room at all): nothing waits. */
bool mg_gate_wait(struct mg_gate *gate, const struct mg_config_gate *rules, int share, struct mg_loop *loop,
                  struct mg_gate_wait *wait, uint64_t until_us, mg_gate_cb cb);
void mg_gate_cancel(struct mg_gate_wait *wait);                  /* harmless when nothing waits; a given place goes back */

struct mg_gate_view {
    uint32_t inflight, limit, waiting; /* limit 0: no cap; adaptive: as it stands now */
};
void mg_gate_read(const struct mg_gate *gate, const struct mg_config_gate *rules, struct mg_gate_view *out_view);

#endif
