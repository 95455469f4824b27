/* routing.h - a project's workflows with everything needed to call their targets.
 *
 * Built by the builder, hangs on the generation, immutable, shared by all workers. */
#ifndef MG_GATEWAY_ROUTING_H
#define MG_GATEWAY_ROUTING_H

#include "config/config.h"
#include "relay/relay.h"

struct mg_routing;

/* Where the simulated provider `provider` of this project listens: "http://127.0.0.1:PORT/v1", in `arena`. NULL on
 * failure with diag set. */
typedef const char *(*mg_sim_url_cb)(void *arg, const struct mg_config_project *config,
                                     const struct mg_config_provider *provider, struct mg_arena *arena,
                                     struct mg_diag *diag);

struct mg_routing_options {
    const struct mg_config_gateway *gateway;     /* its `accounts` are what providers may name */
    const char *default_proxy;         /* the gateway's; NULL: the environment decides */
    mg_sim_url_cb sim_url;             /* NULL: simulated providers are refused */
    void *sim_arg;
};

/* Loads adapters, resolves endpoints, compiles routes. config outlives the routing. */
MG_MUST_USE mg_err mg_routing_new(const struct mg_config_project *config, const struct mg_routing_options *options,
                                  struct mg_routing **out_routing, struct mg_diag *diag);
void mg_routing_free(void *routing);                          /* NULL is a no-op */

/* What a client's `model` stands for: a workflow, "provider/model" where the project allows it, or the workflow "*".
 * A route made for this request alone lives in `arena`. NULL: no such model. */
const struct mg_route *mg_routing_find(const struct mg_routing *routing, mg_view model, struct mg_arena *arena);

/* One provider by its name (-1: the project has none of that name), and a route to a model of it whether or not the project lets
 * clients name such; "*" stands for whatever it is. In `arena`; NULL: no such name can be. */
int mg_routing_provider(const struct mg_routing *routing, mg_view name);
const struct mg_upstream *mg_routing_upstream(const struct mg_routing *routing, int provider);
const struct mg_route *mg_routing_direct(const struct mg_routing *routing, int provider, mg_view model, struct mg_arena *arena);
/* Does that provider have an operation of that name? */
bool mg_routing_offers(const struct mg_routing *routing, int provider, const char *surface);

/* Position of a workflow's route, for per-worker tables; -1 for a route made for one request. */
int mg_routing_index(const struct mg_routing *routing, const struct mg_route *route);
/* False when the client named a model of a provider that the configuration does not. */
bool mg_routing_is_declared(const struct mg_routing *routing, const struct mg_route *route);
int mg_routing_count(const struct mg_routing *routing);

#endif
