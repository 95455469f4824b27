/* sim.h - a simulated provider: an HTTP/1.1 server on 127.0.0.1 that speaks OpenAI's wire format.
 *
 * It has a thread and a loop of its own, answers over real sockets, and knows how to fail in every way of
 * sim/faults.h. It serves `kind = "simulated"` providers, the demo, tests and benchmarks.
 *
 *     POST /v1/chat/completions, /v1/completions, /v1/embeddings
 *     GET  /v1/models, /v1/models/{id}
 *     GET  /_sim/stats         what was called and what went wrong, per model; how many run, and the most that ever did
 *     DELETE /_sim/stats       forgets that and the last request; schedules of faults and configured phases start again
 *     GET  /_sim/last          method, target and headers of the last request to /v1, as JSON
 *     GET  /_sim/last/body     its body, byte for byte
 *     POST /_sim/phase         how models are from now on: an outage, a slow time, a tighter limit (see below)
 *     GET  /_sim/phase         where each track of phases stands, and how many of its calls it let fail
 *     DELETE /_sim/phase       forgets what was posted
 *
 * A phase is posted as {"model":"a*","key":"sk-1","error_share":0.12,"status":500,"ttft_ms":800,"for_ms":2000}, or as a
 * track of them, {"model":"a","loop":true,"phases":[{"for_ms":500,"fault":"reset_early"},{"for_ms":500}]}:
 *
 *     model, key               globs: the calls it is for; missing means all
 *     for_ms, for_calls        how long it lasts; without either from now on
 *     fault, value             a row of sim/faults.h; `"status": 503` is short for the fault `status` with that value
 *     error_share              of the calls that suffer it, 0 to 1; missing means all of them
 *     ttft_ms, tokens_per_s    the pace, in place of the model's own
 *     requests, window_ms      so many requests per window (a minute unless it says) and API key; then 429 with
 *                              retry-after, retry-after-ms and x-ratelimit-* that are true
 *
 * A later one for the same model and key takes the place of the earlier; one that says nothing ends it. `loop` begins
 * again after the last phase. Durations begin when it is posted.
 *
 * Any key is accepted. A model named `fault:NAME` or `fault:NAME:VALUE` fails that way each time. */
#ifndef MG_SIM_SIM_H
#define MG_SIM_SIM_H

#include "config/config.h"

struct mg_sim;
struct mg_tls_context;

struct mg_sim_options {
    const struct mg_config_sim_model *models;    /* copied; the first that matches a name counts. None: any name will do */
    int model_count;
    struct mg_config_sim_model otherwise;        /* pace of `fault:` models and, without `models`, of all; its name and
                                                  * faults are not used */
    const char *host;        /* NULL: 127.0.0.1 */
    int port;                /* 0: any free one */
    struct mg_tls_context *tls;                  /* borrowed until mg_sim_stop(); NULL: plain */
};

enum { MG_SIM_OUTPUT_TOKENS = 48 };              /* of a model whose output_tokens is 0 */

/* It listens when this returns. */
MG_MUST_USE mg_err mg_sim_start(const struct mg_sim_options *options, struct mg_sim **out_sim, struct mg_diag *diag);

/* Other models from now on; answers in flight go on as they began. Any thread. Schedules and statistics start again,
 * unless the models are what they were. */
void mg_sim_configure(struct mg_sim *sim, const struct mg_config_sim_model *models, int model_count);

/* Drops all connections, ends the thread and frees. NULL is a no-op. Not from the sim's own thread. */
void mg_sim_stop(struct mg_sim *sim);

int mg_sim_port(const struct mg_sim *sim);

#endif
