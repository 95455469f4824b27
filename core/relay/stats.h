/* stats.h - what is known of each target right now: in flight, latency, failures.
 *
 * One process-wide table, keyed by project and target and read by policies of every worker. It takes no
 * lock: a row is made once, never moves and lives as long as the process, so a pointer to it may be kept.
 * Figures are relaxed atomics; a reader may see a call counted in one figure and not yet in the next.
 *
 * Latency is the time to the first token. Old calls fade: the averages weigh the last 8 (latency) and the
 * last 16 (failures) calls most, and the histogram halves itself every 512 calls. Any thread. */
#ifndef MG_RELAY_STATS_H
#define MG_RELAY_STATS_H

#include "base/view.h"

enum { MG_STATS_ROWS = 32768 };        /* targets whose figures are kept; later ones have none */

struct mg_stats;

struct mg_stats_figures {
    uint64_t ewma_us;                  /* of the time to the first token; 0: no call got that far yet */
    uint64_t p50_us, p95_us;           /* upper end of their histogram bucket, at most a quarter too much; 0 as above */
    double error_rate;                 /* 0..1 */
    uint64_t calls, failures;          /* ended, since the process began */
    uint32_t inflight;
    bool rate_limit_known;             /* a provider said how many requests are left */
    uint64_t rate_limit_remaining;
};

/* The row, made on first use; NULL when the table is full. All calls below take NULL and do nothing. */
struct mg_stats *mg_stats_find(mg_view project, mg_view target);
/* The row if there is one: for readers, who must not fill the table with names that do not exist. */
struct mg_stats *mg_stats_peek(mg_view project, mg_view target);

/* Around each attempt. first_token_us is measured from the moment the request was sent; 0: none came. `failed` is for
 * faults of the target: not for the client's mistakes or its leaving. */
void mg_stats_start(struct mg_stats *stats);
void mg_stats_end(struct mg_stats *stats, uint64_t first_token_us, bool failed);

/* What the provider's rate-limit header said last. */
void mg_stats_rate_limit(struct mg_stats *stats, uint64_t remaining);

void mg_stats_read(const struct mg_stats *stats, struct mg_stats_figures *out_figures);   /* zeros for NULL */

#endif
