/* metrics.h - counters that a worker writes with plain relaxed stores, summed when somebody asks.
 *
 * Each worker owns one mg_metrics: settling an exchange is a lookup and some additions, no lock, no
 * formatting. A scrape reads them from another thread and prints Prometheus text; figures of one
 * scrape may be a few requests apart. Label sets are bounded: what is over the bound is counted
 * under "other". */
#ifndef MG_WATCH_METRICS_H
#define MG_WATCH_METRICS_H

#include "base/buf.h"
#include "meter/timeline.h"
#include "store/recorder.h"

enum {
    MG_METRICS_WORKFLOWS = 512,        /* project × workflow pairs of one worker */
    MG_METRICS_PROVIDERS = 256,        /* project × provider pairs of one worker */
    MG_METRICS_BYTES = 4 << 20,        /* what a scrape's buffer should be allowed */
};

struct mg_metrics;                     /* of one worker */
struct mg_metrics_hub;                 /* of the process */

/* Lives as long as the process's workers. recorder may be NULL (no journal figures then). */
struct mg_metrics_hub *mg_metrics_hub_new(unsigned workers, struct mg_recorder *recorder);
void mg_metrics_hub_free(struct mg_metrics_hub *hub);
struct mg_metrics *mg_metrics_worker(struct mg_metrics_hub *hub, unsigned worker);

/* ---- on the worker */

void mg_metrics_begin(struct mg_metrics *metrics);           /* an exchange is in flight */
void mg_metrics_settle(struct mg_metrics *metrics, const struct mg_timeline *timeline);     /* and is no more */
void mg_metrics_connections(struct mg_metrics *metrics, int delta);                         /* clients connected */
void mg_metrics_shed(struct mg_metrics *metrics);            /* an exchange was refused with 503 for want of room */

/* ---- any thread */

/* A project's generation went live (ok) or was refused (the old one stays). */
void mg_metrics_generation(struct mg_metrics_hub *hub, mg_view project, uint32_t generation, bool ok);

/* Exchanges in flight over all workers. */
uint64_t mg_metrics_in_flight(const struct mg_metrics_hub *hub);

/* Prometheus text exposition format 0.0.4. */
MG_MUST_USE mg_err mg_metrics_render(struct mg_metrics_hub *hub, struct mg_buf *out);

#endif
