/* A worker's series are found in its own maps and published to scrapes in arrays that only grow:
 *
 *     worker:  look up or append, then add to counters       scrape: reads count, then that many
 *
 * Counters have one writer, so a relaxed load and store add to them. */
#include "watch/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "meter/record.h"
#include "watch/prom_out.h"

typedef _Atomic uint64_t counter;

static const uint64_t latency_us[] = {5000,     10000,    25000,    50000,    100000,
                                      250000,   500000,   1000000,  2500000,  5000000,
                                      10000000, 30000000, 60000000, 120000000};
static const uint64_t overhead_us[] = {25,   50,   100,   250,   500,   1000,
                                       2500, 5000, 10000, 50000, 250000};

enum { BUCKETS = MG_COUNT(latency_us) + 1, LABEL = 64, GENERATIONS = MG_MAX_PROJECTS };

struct histogram {
    counter buckets[BUCKETS]; /* not cumulative; the last used one is +Inf */
    counter sum_us;
};

#define STATUS_LIST(X) X(2xx) X(3xx) X(4xx) X(5xx) X(499) X(other)
enum status {
#define X(name) STATUS_##name,
    STATUS_LIST(X)
#undef X
        STATUS_COUNT
};

/*    field           metric                       help */
#define FLOW_LIST(X)                                                                               \
    X(retried, "retried_requests", "Requests that needed more than one upstream call")             \
    X(offline, "offline_answers", "Requests that got the workflow's offline answer")               \
    X(unclean, "unclean_ends", "Requests whose answer did not end as it should")                   \
    X(input_tokens, "input_tokens", "Input tokens of all attempts, cached ones included")          \
    X(output_tokens, "output_tokens", "Output tokens of all attempts")                             \
    X(cached_tokens, "cached_read_tokens", "Input tokens that were read from a prompt cache")      \
    X(bytes_in, "received_bytes", "Body bytes from clients")                                       \
    X(bytes_out, "sent_bytes", "Body bytes to clients")                                            \
    X(plugin_us, "plugin_microseconds", "CPU time in Lua hooks")                                   \
    X(waited_us, "waited_microseconds", "Time attempts waited for a pause or a place before them") \
    X(cost, "cost_microusd",                                                                       \
      "Cost of all attempts by the targets' prices, in millionths of a dollar")

struct flow { /* one project × workflow */
    char project[LABEL], workflow[LABEL];
    counter status[STATUS_COUNT];
    struct histogram latency, ttft, overhead;
#define X(field, metric, help) counter field;
    FLOW_LIST(X)
#undef X
};

/* How an attempt ended that was made beside or after another one. */
enum outcome { OUTCOME_GOOD, OUTCOME_CANCELLED, OUTCOME_FAILED, OUTCOME_COUNT };

struct upstream { /* one project × provider */
    char project[LABEL], provider[LABEL];
    counter class_[MG_CLASS_COUNT];
    counter reused;
    counter retries, fallbacks;
    counter hedges[OUTCOME_COUNT], rescues[OUTCOME_COUNT];
    struct histogram ttft;
};

struct mg_metrics {
    struct mg_map flow_map, upstream_map; /* the worker's */
    _Atomic unsigned flow_count, upstream_count;
    struct flow *flows[MG_METRICS_WORKFLOWS];         /* owned */
    struct upstream *upstreams[MG_METRICS_PROVIDERS]; /* owned */
    counter begun, settled, connections, shed;
};

struct generation {
    char project[LABEL];
    uint32_t live;
    uint64_t loaded, refused;
};

struct mg_metrics_hub {
    struct mg_metrics *workers; /* owned */
    unsigned count;
    struct mg_recorder *recorder;   /* borrowed; may be NULL */
    pthread_mutex_t lock;           /* of the generations */
    struct generation *generations; /* owned */
    unsigned generation_count;
};

static void add(counter *to, uint64_t delta)
{
    atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + delta,
                          memory_order_relaxed);
}

static uint64_t get(const counter *from)
{
    return atomic_load_explicit(from, memory_order_relaxed);
}

struct mg_metrics_hub *mg_metrics_hub_new(unsigned workers, struct mg_recorder *recorder)
{
    struct mg_metrics_hub *hub = mg_new(struct mg_metrics_hub);
    hub->workers = mg_new_array(struct mg_metrics, workers);
    hub->count = workers;
    hub->recorder = recorder;
    hub->generations = mg_new_array(struct generation, GENERATIONS);
    pthread_mutex_init(&hub->lock, NULL);
    for (unsigned i = 0; i < workers; i++) {
        mg_map_init(&hub->workers[i].flow_map);
        mg_map_init(&hub->workers[i].upstream_map);
    }
    return hub;
}

void mg_metrics_hub_free(struct mg_metrics_hub *hub)
{
    if (!hub)
        return;
    for (unsigned i = 0; i < hub->count; i++) {
        struct mg_metrics *metrics = &hub->workers[i];
        for (unsigned k = 0; k < metrics->flow_count; k++)
            mg_free(metrics->flows[k]);
        for (unsigned k = 0; k < metrics->upstream_count; k++)
            mg_free(metrics->upstreams[k]);
        mg_map_fini(&metrics->flow_map);
        mg_map_fini(&metrics->upstream_map);
    }
    pthread_mutex_destroy(&hub->lock);
    mg_free(hub->generations);
    mg_free(hub->workers);
    mg_free(hub);
}

struct mg_metrics *mg_metrics_worker(struct mg_metrics_hub *hub, unsigned worker)
{
    return &hub->workers[worker];
}

/* ---- on the worker */

static void observe(struct histogram *histogram, const uint64_t *bounds, unsigned count,
                    uint64_t value_us)
{
    unsigned i = 0;
    while (i < count && value_us > bounds[i])
        i++;
    add(&histogram->buckets[i], 1);
    add(&histogram->sum_us, value_us);
}

/* Two labels and a NUL between them; names are short, what is longer is cut. */
static mg_view join(char room[2 * LABEL], mg_view a, mg_view b)
{
    a = mg_view_head(a, LABEL - 1);
    b = mg_view_head(b, LABEL - 1);
    if (a.len > 0)
        memcpy(room, a.ptr, a.len);
    room[a.len] = '\0';
    if (b.len > 0)
        memcpy(room + a.len + 1, b.ptr, b.len);
    return mg_view_of(room, a.len + 1 + b.len);
}

static void split(mg_view joined, char a[LABEL], char b[LABEL])
{
    size_t cut = strlen(joined.ptr);
    memcpy(a, joined.ptr, cut + 1);
    memcpy(b, joined.ptr + cut + 1, joined.len - cut - 1);
    b[joined.len - cut - 1] = '\0';
}

/* The last place is for what is over the bound. */
static struct flow *flow_of(struct mg_metrics *metrics, mg_view project, mg_view workflow)
{
    char room[2 * LABEL];
    mg_view key = join(room, project, workflow);
    struct flow *flow = mg_map_get(&metrics->flow_map, key);
    if (flow)
        return flow;
    unsigned count = atomic_load_explicit(&metrics->flow_count, memory_order_relaxed);
    if (count == MG_METRICS_WORKFLOWS)
        return metrics->flows[count - 1];
    if (count == MG_METRICS_WORKFLOWS - 1)
        key = join(room, MG_VIEW("other"), MG_VIEW("other"));
    flow = mg_new(struct flow);
    split(key, flow->project, flow->workflow);
    metrics->flows[count] = flow;
    mg_map_put(&metrics->flow_map, key, flow);
    atomic_store_explicit(&metrics->flow_count, count + 1, memory_order_release);
    return flow;
}

static struct upstream *upstream_of(struct mg_metrics *metrics, mg_view project, mg_view provider)
{
    char room[2 * LABEL];
    mg_view key = join(room, project, provider);
    struct upstream *upstream = mg_map_get(&metrics->upstream_map, key);
    if (upstream)
        return upstream;
    unsigned count = atomic_load_explicit(&metrics->upstream_count, memory_order_relaxed);
    if (count == MG_METRICS_PROVIDERS)
        return metrics->upstreams[count - 1];
    if (count == MG_METRICS_PROVIDERS - 1)
        key = join(room, MG_VIEW("other"), MG_VIEW("other"));
    upstream = mg_new(struct upstream);
    split(key, upstream->project, upstream->provider);
    metrics->upstreams[count] = upstream;
    mg_map_put(&metrics->upstream_map, key, upstream);
    atomic_store_explicit(&metrics->upstream_count, count + 1, memory_order_release);
    return upstream;
}

void mg_metrics_begin(struct mg_metrics *metrics)
{
    add(&metrics->begun, 1);
}

void mg_metrics_connections(struct mg_metrics *metrics, int delta)
{
    add(&metrics->connections, (uint64_t)(int64_t)delta);
}

void mg_metrics_shed(struct mg_metrics *metrics)
{
    add(&metrics->shed, 1);
}

static enum status status_of(unsigned status)
{
    if (status == 499)
        return STATUS_499;
    return status >= 200 && status < 600 ? (enum status)(STATUS_2xx + status / 100 - 2)
                                         : STATUS_other;
}

/* `expected`: it may be cancelled without having failed. */
static enum outcome outcome_of(const struct mg_attempt_record *attempt, bool expected)
{
    if (attempt->class_ == MG_CLASS_none)
        return OUTCOME_GOOD;
    bool cancelled = attempt->class_ == MG_CLASS_cancelled && expected;
    return cancelled ? OUTCOME_CANCELLED : OUTCOME_FAILED;
}

/* A hedge is cancelled when the other was first; a rescue when the client leaves, or else because
 * the texts differ. */
static void count_reason(struct upstream *upstream, const struct mg_timeline *timeline,
                         const struct mg_attempt_record *attempt)
{
    bool left = timeline->class_ == MG_CLASS_cancelled;
    add(&upstream->retries, attempt->reason == MG_REASON_retry);
    add(&upstream->fallbacks, attempt->reason == MG_REASON_fallback);
    if (attempt->reason == MG_REASON_hedge)
        add(&upstream->hedges[outcome_of(attempt, true)], 1);
    if (attempt->reason == MG_REASON_rescue)
        add(&upstream->rescues[outcome_of(attempt, left)], 1);
}

static void count_attempt(struct mg_metrics *metrics, struct flow *flow,
                          const struct mg_timeline *timeline,
                          const struct mg_attempt_record *attempt)
{
    struct upstream *upstream = upstream_of(metrics, timeline->project, attempt->provider);
    add(&upstream->class_[attempt->class_], 1);
    add(&upstream->reused, attempt->reused);
    count_reason(upstream, timeline, attempt);
    if (attempt->mark_us[MG_MARK_first_token] > 0)
        observe(&upstream->ttft, latency_us, MG_COUNT(latency_us),
                attempt->mark_us[MG_MARK_first_token]);
    add(&flow->input_tokens, attempt->usage.input_tokens);
    add(&flow->output_tokens, attempt->usage.output_tokens);
    add(&flow->cached_tokens, attempt->usage.cached_read_tokens);
    add(&flow->waited_us, attempt->waited_us);
    add(&flow->cost, attempt->cost_microusd);
}

void mg_metrics_settle(struct mg_metrics *metrics, const struct mg_timeline *timeline)
{
    struct flow *flow = flow_of(metrics, timeline->project, timeline->workflow);
    uint64_t duration = mg_timeline_duration_us(timeline);
    uint64_t first_token = mg_timeline_first_token_us(timeline);

    add(&metrics->settled, 1);
    add(&flow->status[status_of(timeline->status)], 1);
    add(&flow->retried, timeline->attempt_count > 1);
    add(&flow->unclean, !timeline->clean);
    add(&flow->offline, timeline->offline);
    add(&flow->bytes_in, timeline->bytes_in);
    add(&flow->bytes_out, timeline->bytes_out);
    add(&flow->plugin_us, timeline->plugin_us);
    observe(&flow->latency, latency_us, MG_COUNT(latency_us), duration);
    observe(&flow->overhead, overhead_us, MG_COUNT(overhead_us),
            duration - MG_MIN(duration, timeline->upstream_us));
    if (first_token > 0)
        observe(&flow->ttft, latency_us, MG_COUNT(latency_us), first_token);
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        count_attempt(metrics, flow, timeline, &timeline->attempts[i]);
}

/* ---- any thread */

void mg_metrics_generation(struct mg_metrics_hub *hub, mg_view project, uint32_t generation,
                           bool ok)
{
    unsigned i = 0;
    project = mg_view_head(project, LABEL - 1);
    pthread_mutex_lock(&hub->lock);
    while (i < hub->generation_count &&
           !mg_view_eq(mg_view_cstr(hub->generations[i].project), project))
        i++;
    if (i == hub->generation_count && i < GENERATIONS) {
        hub->generation_count++;
        snprintf(hub->generations[i].project, LABEL, "%.*s", MG_FMT(project));
    }
    if (i < GENERATIONS) {
        if (ok)
            hub->generations[i].live = generation;
        hub->generations[i].loaded += ok;
        hub->generations[i].refused += !ok;
    }
    pthread_mutex_unlock(&hub->lock);
}

static uint64_t in_flight(const struct mg_metrics *metrics)
{
    uint64_t settled = get(&metrics->settled), begun = get(&metrics->begun);
    return begun > settled ? begun - settled : 0;
}

uint64_t mg_metrics_in_flight(const struct mg_metrics_hub *hub)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < hub->count; i++)
        sum += in_flight(&hub->workers[i]);
    return sum;
}

/* ---- a scrape: the series of all workers, summed by their labels */

struct sums {
    struct mg_map flow_map, upstream_map;
    struct flow **flows;         /* owned, with what they point to */
    struct upstream **upstreams; /* owned, likewise */
    unsigned flow_count, upstream_count;
};

/* All that is behind the labels are counters: sum them as an array. */
static void sum_counters(counter *to, const counter *from, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(counter); i++)
        add(&to[i], get(&from[i]));
}

static void sum_flow(struct sums *sums, const struct flow *from)
{
    char room[2 * LABEL];
    mg_view key = join(room, mg_view_cstr(from->project), mg_view_cstr(from->workflow));
    struct flow *to = mg_map_get(&sums->flow_map, key);
    if (!to) {
        to = mg_new(struct flow);
        split(key, to->project, to->workflow);
        mg_map_put(&sums->flow_map, key, to);
        sums->flows[sums->flow_count++] = to;
    }
    sum_counters(to->status, from->status, sizeof *to - offsetof(struct flow, status));
}

static void sum_upstream(struct sums *sums, const struct upstream *from)
{
    char room[2 * LABEL];
    mg_view key = join(room, mg_view_cstr(from->project), mg_view_cstr(from->provider));
    struct upstream *to = mg_map_get(&sums->upstream_map, key);
    if (!to) {
        to = mg_new(struct upstream);
        split(key, to->project, to->provider);
        mg_map_put(&sums->upstream_map, key, to);
        sums->upstreams[sums->upstream_count++] = to;
    }
    sum_counters(to->class_, from->class_, sizeof *to - offsetof(struct upstream, class_));
}

static void sums_init(struct sums *sums, struct mg_metrics_hub *hub)
{
    *sums = (struct sums){0};
    mg_map_init(&sums->flow_map);
    mg_map_init(&sums->upstream_map);
    sums->flows = mg_new_array(struct flow *, (size_t)hub->count * MG_METRICS_WORKFLOWS + 1);
    sums->upstreams =
        mg_new_array(struct upstream *, (size_t)hub->count * MG_METRICS_PROVIDERS + 1);
    for (unsigned i = 0; i < hub->count; i++) {
        struct mg_metrics *metrics = &hub->workers[i];
        unsigned flows = atomic_load_explicit(&metrics->flow_count, memory_order_acquire);
        unsigned upstreams = atomic_load_explicit(&metrics->upstream_count, memory_order_acquire);
        for (unsigned k = 0; k < flows; k++)
            sum_flow(sums, metrics->flows[k]);
        for (unsigned k = 0; k < upstreams; k++)
            sum_upstream(sums, metrics->upstreams[k]);
    }
}

static void sums_fini(struct sums *sums)
{
    for (unsigned i = 0; i < sums->flow_count; i++)
        mg_free(sums->flows[i]);
    for (unsigned i = 0; i < sums->upstream_count; i++)
        mg_free(sums->upstreams[i]);
    mg_map_fini(&sums->flow_map);
    mg_map_fini(&sums->upstream_map);
    mg_free(sums->flows);
    mg_free(sums->upstreams);
}

/* ---- printing */

/* project="a",second="b" */
static const char *labels(char room[6 * LABEL], const char *project, const char *second,
                          const char *value)
{
    char a[2 * LABEL], b[2 * LABEL];
    snprintf(room, 6 * LABEL, "project=\"%s\",%s=\"%s\"", mg_prom_escape(a, sizeof a, project),
             second, mg_prom_escape(b, sizeof b, value));
    return room;
}

static void print_histogram(struct mg_prom_out *printer, const char *name, const char *where,
                            const struct histogram *histogram, const uint64_t *bounds,
                            unsigned count)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= count; i++) {
        sum += get(&histogram->buckets[i]);
        if (i < count)
            mg_prom_print(printer, "moongate_%s_bucket{%s,le=\"%g\"} %" PRIu64 "\n", name, where,
                          (double)bounds[i] / 1e6, sum);
        else
            mg_prom_print(printer, "moongate_%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, where,
                          sum);
    }
    mg_prom_print(printer, "moongate_%s_sum{%s} %.6f\n", name, where,
                  (double)get(&histogram->sum_us) / 1e6);
    mg_prom_print(printer, "moongate_%s_count{%s} %" PRIu64 "\n", name, where, sum);
}

static void print_flow_counter(struct mg_prom_out *printer, const struct sums *sums,
                               const char *name, const char *help, size_t offset)
{
    char room[6 * LABEL], total[80];
    snprintf(total, sizeof total, "%s_total", name);
    mg_prom_head(printer, total, "counter", help);
    for (unsigned i = 0; i < sums->flow_count; i++) {
        const struct flow *flow = sums->flows[i];
        mg_prom_print(printer, "moongate_%s{%s} %" PRIu64 "\n", total,
                      labels(room, flow->project, "workflow", flow->workflow),
                      get((const counter *)(const void *)((const char *)flow + offset)));
    }
}

static void print_flow_histogram(struct mg_prom_out *printer, const struct sums *sums,
                                 const char *name, const char *help, size_t offset,
                                 const uint64_t *bounds, unsigned count)
{
    char room[6 * LABEL];
    mg_prom_head(printer, name, "histogram", help);
    for (unsigned i = 0; i < sums->flow_count; i++) {
        const struct flow *flow = sums->flows[i];
        print_histogram(printer, name, labels(room, flow->project, "workflow", flow->workflow),
                        (const struct histogram *)(const void *)((const char *)flow + offset),
                        bounds, count);
    }
}

static void print_flows(struct mg_prom_out *printer, const struct sums *sums)
{
    static const char *const status[] = {
#define X(name) #name,
        STATUS_LIST(X)
#undef X
    };
    char room[6 * LABEL];
    mg_prom_head(printer, "requests_total", "counter",
                 "Requests that have settled, by the status the client saw");
    for (unsigned i = 0; i < sums->flow_count; i++) {
        const struct flow *flow = sums->flows[i];
        for (unsigned k = 0; k < STATUS_COUNT; k++)
            if (get(&flow->status[k]) > 0)
                mg_prom_print(printer, "moongate_requests_total{%s,status=\"%s\"} %" PRIu64 "\n",
                              labels(room, flow->project, "workflow", flow->workflow), status[k],
                              get(&flow->status[k]));
    }
#define X(field, metric, help)                                                                     \
    print_flow_counter(printer, sums, metric, help, offsetof(struct flow, field));
    FLOW_LIST(X)
#undef X
    print_flow_histogram(printer, sums, "request_seconds",
                         "From the first byte of a request to its end",
                         offsetof(struct flow, latency), latency_us, MG_COUNT(latency_us));
    print_flow_histogram(printer, sums, "time_to_first_token_seconds",
                         "From the first byte of a request to the first token",
                         offsetof(struct flow, ttft), latency_us, MG_COUNT(latency_us));
    print_flow_histogram(printer, sums, "overhead_seconds",
                         "Time inside the gateway, waiting for upstreams excluded",
                         offsetof(struct flow, overhead), overhead_us, MG_COUNT(overhead_us));
}

static void print_upstream_counter(struct mg_prom_out *printer, const struct sums *sums,
                                   const char *name, const char *help, size_t offset)
{
    char room[6 * LABEL];
    mg_prom_head(printer, name, "counter", help);
    for (unsigned i = 0; i < sums->upstream_count; i++) {
        const struct upstream *upstream = sums->upstreams[i];
        mg_prom_print(printer, "moongate_%s{%s} %" PRIu64 "\n", name,
                      labels(room, upstream->project, "provider", upstream->provider),
                      get((const counter *)(const void *)((const char *)upstream + offset)));
    }
}

static void print_outcomes(struct mg_prom_out *printer, const struct sums *sums, const char *name,
                           const char *help, size_t offset,
                           const char *const outcomes[OUTCOME_COUNT])
{
    char room[6 * LABEL];
    mg_prom_head(printer, name, "counter", help);
    for (unsigned i = 0; i < sums->upstream_count; i++) {
        const struct upstream *upstream = sums->upstreams[i];
        const counter *counts = (const counter *)(const void *)((const char *)upstream + offset);
        for (unsigned k = 0; k < OUTCOME_COUNT; k++)
            if (get(&counts[k]) > 0)
                mg_prom_print(printer, "moongate_%s{%s,outcome=\"%s\"} %" PRIu64 "\n", name,
                              labels(room, upstream->project, "provider", upstream->provider),
                              outcomes[k], get(&counts[k]));
    }
}

/* Why calls were made that a healthy provider would not have got. */
static void print_reasons(struct mg_prom_out *printer, const struct sums *sums)
{
    static const char *const hedges[OUTCOME_COUNT] = {"won", "lost", "failed"};
    static const char *const rescues[OUTCOME_COUNT] = {"resumed", "cancelled", "failed"};
    print_upstream_counter(printer, sums, "retries_total",
                           "Calls that repeated one at the same target",
                           offsetof(struct upstream, retries));
    print_upstream_counter(printer, sums, "fallbacks_total",
                           "Calls made because another target had failed or could not be asked",
                           offsetof(struct upstream, fallbacks));
    print_outcomes(printer, sums, "hedges_total",
                   "Calls started beside a slow one, by which of them answered",
                   offsetof(struct upstream, hedges), hedges);
    print_outcomes(printer, sums, "rescues_total", "Calls that went on with a broken stream",
                   offsetof(struct upstream, rescues), rescues);
}

static void print_upstreams(struct mg_prom_out *printer, const struct sums *sums)
{
    char room[6 * LABEL];
    mg_prom_head(printer, "attempts_total", "counter",
                 "Upstream calls, by failure class; none is success");
    for (unsigned i = 0; i < sums->upstream_count; i++) {
        const struct upstream *upstream = sums->upstreams[i];
        for (unsigned k = 0; k < MG_CLASS_COUNT; k++)
            if (get(&upstream->class_[k]) > 0)
                mg_prom_print(printer, "moongate_attempts_total{%s,class=\"%s\"} %" PRIu64 "\n",
                              labels(room, upstream->project, "provider", upstream->provider),
                              mg_class_name((enum mg_class)k), get(&upstream->class_[k]));
    }
    print_upstream_counter(printer, sums, "attempts_on_warm_connections_total",
                           "Upstream calls that needed no new connection",
                           offsetof(struct upstream, reused));
    print_reasons(printer, sums);
    mg_prom_head(printer, "attempt_time_to_first_token_seconds", "histogram",
                 "From the start of an upstream call to its first token");
    for (unsigned i = 0; i < sums->upstream_count; i++)
        print_histogram(
            printer, "attempt_time_to_first_token_seconds",
            labels(room, sums->upstreams[i]->project, "provider", sums->upstreams[i]->provider),
            &sums->upstreams[i]->ttft, latency_us, MG_COUNT(latency_us));
}

static void print_workers(struct mg_prom_out *printer, const struct mg_metrics_hub *hub)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset; /* of the counter; SIZE_MAX: in flight */
    } rows[] = {
        {"requests_in_flight", "gauge", "Requests that have begun and not settled", SIZE_MAX},
        {"client_connections", "gauge", "Open connections of clients",
         offsetof(struct mg_metrics, connections)},
        {"shed_requests_total", "counter", "Requests refused with 503 for want of room",
         offsetof(struct mg_metrics, shed)},
    };
    for (unsigned r = 0; r < MG_COUNT(rows); r++) {
        mg_prom_head(printer, rows[r].name, rows[r].type, rows[r].help);
        for (unsigned i = 0; i < hub->count; i++) {
            const struct mg_metrics *metrics = &hub->workers[i];
            uint64_t value =
                rows[r].offset == SIZE_MAX
                    ? in_flight(metrics)
                    : get((const counter *)(const void *)((const char *)metrics + rows[r].offset));
            mg_prom_print(printer, "moongate_%s{worker=\"%u\"} %" PRIu64 "\n", rows[r].name, i,
                          value);
        }
    }
}

static void print_journals(struct mg_prom_out *printer, const struct mg_metrics_hub *hub)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
    } rows[] = {
        {"journal_bytes", "gauge", "Size of a worker's usage journal",
         offsetof(struct mg_journal_stats, size)},
        {"journal_used_bytes", "gauge", "Bytes of it that are not yet safe in the store",
         offsetof(struct mg_journal_stats, used)},
        {"journal_reserved_bytes", "gauge", "Bytes of it set aside by requests in flight",
         offsetof(struct mg_journal_stats, reserved)},
        {"journal_records_total", "counter", "Records appended",
         offsetof(struct mg_journal_stats, records)},
        {"journal_refused_total", "counter", "Reservations refused because it was full",
         offsetof(struct mg_journal_stats, shed)},
    };
    for (unsigned r = 0; hub->recorder && r < MG_COUNT(rows); r++) {
        mg_prom_head(printer, rows[r].name, rows[r].type, rows[r].help);
        for (unsigned i = 0; i < hub->count; i++) {
            struct mg_journal_stats stats;
            uint64_t value;
            mg_journal_stats(mg_recorder_journal(hub->recorder, i), &stats);
            memcpy(&value, (const char *)&stats + rows[r].offset, sizeof value);
            mg_prom_print(printer, "moongate_%s{worker=\"%u\"} %" PRIu64 "\n", rows[r].name, i,
                          value);
        }
    }
}

static void print_one(struct mg_prom_out *printer, const char *name, const char *help,
                      uint64_t value)
{
    mg_prom_head(printer, name, "counter", help);
    mg_prom_print(printer, "moongate_%s %" PRIu64 "\n", name, value);
}

static void print_recorder(struct mg_prom_out *printer, const struct mg_metrics_hub *hub)
{
    struct mg_recorder_stats stats;
    print_one(printer, "log_lines_dropped_total",
              "Log lines dropped because the log's ring was full", mg_log_dropped());
    print_one(printer, "explanations_cut_total",
              "Journal records without their explanations because the ring was nearly full",
              mg_record_cut());
    if (!hub->recorder)
        return;
    mg_recorder_stats(hub->recorder, &stats);
    struct mg_recorder_trouble trouble;
    mg_recorder_trouble(hub->recorder, &trouble);
    mg_prom_head(printer, "store_degraded", "gauge",
                 "1 while the store cannot be written and records wait in the journal");
    mg_prom_print(printer, "moongate_store_degraded %d\n", trouble.since_us != 0);
    print_one(printer, "recorder_records_total", "Records stored", stats.records);
    print_one(printer, "recorder_failures_total", "Transactions that failed and were repeated",
              stats.failures);
    print_one(printer, "recorder_recovered_total", "Records an earlier run left, stored at start",
              stats.recovered);
    mg_prom_head(printer, "recorder_cpu_seconds_total", "counter",
                 "CPU time of the recorder thread");
    mg_prom_print(printer, "moongate_recorder_cpu_seconds_total %.6f\n",
                  (double)stats.cpu_us / 1e6);
}

static void print_generations(struct mg_prom_out *printer, struct mg_metrics_hub *hub)
{
    char room[2 * LABEL];
    pthread_mutex_lock(&hub->lock);
    mg_prom_head(printer, "generation", "gauge", "Number of the configuration a project runs");
    for (unsigned i = 0; i < hub->generation_count; i++)
        mg_prom_print(printer, "moongate_generation{project=\"%s\"} %" PRIu32 "\n",
                      mg_prom_escape(room, sizeof room, hub->generations[i].project),
                      hub->generations[i].live);
    mg_prom_head(printer, "reloads_total", "counter", "Configurations that were loaded or refused");
    for (unsigned i = 0; i < hub->generation_count; i++) {
        const struct generation *generation = &hub->generations[i];
        mg_prom_print(printer, "moongate_reloads_total{project=\"%s\",result=\"ok\"} %" PRIu64 "\n",
                      mg_prom_escape(room, sizeof room, generation->project), generation->loaded);
        mg_prom_print(printer,
                      "moongate_reloads_total{project=\"%s\",result=\"refused\"} %" PRIu64 "\n",
                      room, generation->refused);
    }
    pthread_mutex_unlock(&hub->lock);
}

mg_err mg_metrics_render(struct mg_metrics_hub *hub, struct mg_buf *out)
{
    struct mg_prom_out printer = {out, MG_OK};
    struct sums sums;
    sums_init(&sums, hub);
    mg_prom_head(&printer, "build_info", "gauge", "The version that runs");
    mg_prom_print(&printer, "moongate_build_info{version=\"%s\"} 1\n", MG_VERSION);
    print_flows(&printer, &sums);
    print_upstreams(&printer, &sums);
    print_workers(&printer, hub);
    print_journals(&printer, hub);
    print_recorder(&printer, hub);
    print_generations(&printer, hub);
    sums_fini(&sums);
    return printer.err;
}
