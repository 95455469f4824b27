/* stats.h - what is known of each target right now: in flight, latency, failures.
 *
 * One process-wide table, keyed by project and target and read by policies of every worker. It takes no
 * lock: a row is made once, never moves and lives as long as the process, so a pointer to it may be kept.
 * Figures are relaxed atomics; a reader may see a call counted in one figure and not yet in the next.
 *
 * Latency is the time to the first token. Old calls fade: the averages weigh the last 8 (latency) and the
 * last 16 (failures) calls most, and a histogram halves itself every 512 calls. The baseline is the target's own past to
 * measure itself by: it weighs 512 calls, and none counts for more than double, so that some hundred slow calls in a row
 * move it little. Any thread. */
#ifndef MG_RELAY_STATS_H
#define MG_RELAY_STATS_H

#include "base/limits.h"
#include "meter/estimate.h"
#include "base/view.h"

enum { MG_STATS_ROWS = MG_MAX_HEALTH_ROWS };     /* targets whose figures are kept; later ones have none */

struct mg_stats;

struct mg_stats_figures {
    uint64_t ewma_us;                  /* of the time to the first token; 0: no call got that far yet */
    uint64_t p50_us, p95_us, p99_us;   /* upper end of their histogram bucket, at most a quarter too much; 0 as above */
    uint64_t total_p99_us;             /* of whole answers, as above; 0: none ended well yet */
    uint64_t baseline_us;              /* long-term time to the first token; 0: fewer than 16 calls, too short a past */
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

/* Of an attempt that says nothing about its target and counts nowhere: instead of mg_stats_end(). */
void mg_stats_drop(struct mg_stats *stats);
/* How long a whole good answer took, from sent to its last byte. */
void mg_stats_total(struct mg_stats *stats, uint64_t total_us);

/* What the provider's rate-limit header said last. */
void mg_stats_rate_limit(struct mg_stats *stats, uint64_t remaining);

/* What bytes are at this target in tokens; NULL for NULL. */
struct mg_estimate *mg_stats_estimate(struct mg_stats *stats);

uint64_t mg_stats_ewma_us(const struct mg_stats *stats);            /* without the cost of all figures */
uint64_t mg_stats_baseline_us(const struct mg_stats *stats);
void mg_stats_read(const struct mg_stats *stats, struct mg_stats_figures *out_figures);   /* zeros for NULL */

#endif
