#include "gateway/routing.h"

#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "relay/rows.h"
#include "script/script.h"

struct mg_routing {
    struct mg_arena arena;             /* owns routes and adapter declarations */
    const struct mg_config_project *config;
    struct mg_adapter **adapters;      /* owned; by provider */
    struct mg_adapter *(*spoken)[MG_ADAPTER_SPEAKS];       /* owned; by provider: what it speaks besides */
    struct mg_upstream **upstreams;    /* owned; by provider */
    const struct mg_config_account **accounts;   /* borrowed from the gateway's; by provider; NULL: its own keys */
    struct mg_route *routes;           /* by workflow */
    struct mg_map by_name;             /* workflow name → struct mg_route */
};

static mg_err give_vars(const struct mg_config_provider *provider, struct mg_adapter_decl *decl, struct mg_diag *diag)
{
    for (int i = 0; i < provider->var_count; i++)
        if (!mg_adapter_give(decl, provider->var_names[i], provider->var_values[i]))
            return mg_diag_set(diag, MG_E_CONFIG, NULL, provider->line, "providers.%s.vars: more than its adapter can take", provider->name);
    return MG_OK;
}

static mg_err load_adapter(struct mg_routing *routing, int i, struct mg_diag *diag)
{
    const char *name = routing->config->providers[i].adapter;
    struct mg_adapter_decl *decl = mg_arena_new(&routing->arena, struct mg_adapter_decl);
    MG_TRY(mg_adapter_load(name, &routing->arena, decl, diag));
    MG_TRY(give_vars(&routing->config->providers[i], decl, diag));
    MG_TRY(mg_adapter_new(decl, &routing->adapters[i], diag));
    for (int s = 0; s < decl->speaks_count; s++) {
        struct mg_adapter_decl *spoken = mg_arena_new(&routing->arena, struct mg_adapter_decl);
        MG_TRY(mg_adapter_load_spoken(name, s, &routing->arena, spoken, diag));
        MG_TRY(give_vars(&routing->config->providers[i], spoken, diag));
        MG_TRY(mg_adapter_new(spoken, &routing->spoken[i][s], diag));
    }
    return MG_OK;
}

/* A shared account is only for projects it was granted to. */
static mg_err load_account(struct mg_routing *routing, int i, const struct mg_config_gateway *gateway, struct mg_diag *diag)
{
    const struct mg_config_provider *provider = &routing->config->providers[i];
    if (!provider->account)
        return MG_OK;
    for (int a = 0; gateway && a < gateway->account_count; a++)
        if (strcmp(gateway->accounts[a].name, provider->account) == 0)
            routing->accounts[i] = &gateway->accounts[a];
    const struct mg_config_account *account = routing->accounts[i];
    for (int g = 0; account && g < account->grant_count; g++)
        if (strcmp(account->grants[g].project, routing->config->name) == 0)
            return MG_OK;
    return mg_diag_set(diag, MG_E_CONFIG, routing->config->path, provider->line,
                       account ? "providers.%s.account: gateway.lua does not grant the account \"%s\" to this project"
                               : "providers.%s.account: gateway.lua has no account \"%s\"",
                       provider->name, provider->account);
}

static bool is_of_same_dialect(const struct mg_routing *routing, int i, int s)
{
    return strcmp(mg_adapter_declaration(routing->spoken[i][s])->dialect, mg_adapter_declaration(routing->adapters[i])->dialect) == 0;
}

static mg_err load_provider(struct mg_routing *routing, int i, const struct mg_routing_options *options,
                            struct mg_diag *diag)
{
    const struct mg_config_provider *provider = &routing->config->providers[i];
    bool simulated = strcmp(provider->kind, "simulated") == 0;
    const char *base_url = NULL;
    MG_TRY(load_adapter(routing, i, diag));
    MG_TRY(load_account(routing, i, options->gateway, diag));
    if (simulated) {
        base_url = options->sim_url
                       ? options->sim_url(options->sim_arg, routing->config, provider, &routing->arena, diag) : NULL;
        if (!base_url)
            return MG_E_CONFIG;
    }
    MG_TRY(mg_upstream_new(routing->config->name, provider, routing->adapters[i], routing->accounts[i], base_url, options->default_proxy,
                           &routing->upstreams[i], diag));
    bool vendors_own = !simulated && !provider->base_url;  /* whoever is compatible with one dialect may have no other */
    for (int s = 0; s < MG_ADAPTER_SPEAKS && routing->spoken[i][s]; s++)
        if (vendors_own || is_of_same_dialect(routing, i, s))
            mg_upstream_speaks(routing->upstreams[i], routing->spoken[i][s]);
    return MG_OK;
}

/* health: what breakers and benches know it as; the target itself, or one that stands for many. */
static void set_candidate(const struct mg_routing *routing, struct mg_route *route, int at,
                          const struct mg_config_target *target, const struct mg_config_target *health, const char *arm,
                          double weight, const char *figures)
{
    const struct mg_config_provider *provider = &routing->config->providers[target->provider];
    route->candidates[at] = (struct mg_candidate){
        .target = target,
        .provider = provider->name,
        .vendor = provider->vendor,
        .arm = arm ? arm : target->id,
        .weight = weight,
        .state = "closed",
    };
    route->upstreams[at] = routing->upstreams[target->provider];
    mg_reach_init(&route->reaches[at], routing->config->name, provider, health, figures, routing->accounts[target->provider],
                  &mg_adapter_declaration(routing->adapters[target->provider])->limits);
    route->repairs[at] = mg_repair_memory(mg_view_cstr(routing->config->name), mg_view_cstr(figures));
}

static void init_route(struct mg_route *route, struct mg_arena *arena, const struct mg_config_project *config, const struct mg_config_workflow *workflow, int count)
{
    *route = (struct mg_route){
        .config = config,
        .workflow = workflow,
        .candidates = mg_arena_array(arena, struct mg_candidate, (size_t)count),
        .upstreams = mg_arena_array(arena, const struct mg_upstream *, (size_t)count),
        .reaches = mg_arena_array(arena, struct mg_reach, (size_t)count),
        .repairs = mg_arena_array(arena, struct mg_repair_memory *, (size_t)count),
        .count = count,
    };
}

static void build_routes(struct mg_routing *routing)
{
    const struct mg_config_project *config = routing->config;
    routing->routes = mg_arena_array(&routing->arena, struct mg_route, (size_t)config->workflow_count);
    for (int i = 0; i < config->workflow_count; i++) {
        const struct mg_config_workflow *workflow = &config->workflows[i];
        struct mg_route *route = &routing->routes[i];
        init_route(route, &routing->arena, config, workflow, workflow->arm_count);
        for (int a = 0; a < workflow->arm_count; a++)
            set_candidate(routing, route, a, &config->targets[workflow->arms[a].target],
                          &config->targets[workflow->arms[a].target], workflow->arms[a].name,
                          workflow->arms[a].weight, config->targets[workflow->arms[a].target].id);
        mg_map_put(&routing->by_name, mg_view_cstr(workflow->name), route);
    }
}

mg_err mg_routing_new(const struct mg_config_project *config, const struct mg_routing_options *options,
                      struct mg_routing **out_routing, struct mg_diag *diag)
{
    struct mg_routing *routing = mg_new(struct mg_routing);
    mg_arena_init(&routing->arena, 8192);
    mg_map_init(&routing->by_name);
    routing->config = config;
    routing->adapters = mg_arena_array(&routing->arena, struct mg_adapter *, (size_t)config->provider_count);
    routing->spoken = (struct mg_adapter *(*)[MG_ADAPTER_SPEAKS])mg_arena_array(
        &routing->arena, struct mg_adapter *, (size_t)config->provider_count * MG_ADAPTER_SPEAKS);
    routing->upstreams = mg_arena_array(&routing->arena, struct mg_upstream *, (size_t)config->provider_count);
    routing->accounts = mg_arena_array(&routing->arena, const struct mg_config_account *, (size_t)config->provider_count);
    for (int i = 0; i < config->provider_count; i++) {
        mg_err err = load_provider(routing, i, options, diag);
        if (err != MG_OK) {
            mg_routing_free(routing);
            return err;
        }
    }
    build_routes(routing);
    *out_routing = routing;
    return MG_OK;
}

void mg_routing_free(void *arg)
{
    struct mg_routing *routing = arg;
    if (!routing)
        return;
    for (int i = 0; i < routing->config->provider_count; i++) {
        mg_upstream_free(routing->upstreams[i]);
        mg_adapter_free(routing->adapters[i]);
        for (int s = 0; s < MG_ADAPTER_SPEAKS; s++)
            mg_adapter_free(routing->spoken[i][s]);
    }
    mg_map_fini(&routing->by_name);
    mg_arena_fini(&routing->arena);
    mg_free(routing);
}

static int find_provider(const struct mg_config_project *config, mg_view name)
{
    for (int i = 0; i < config->provider_count; i++)
        if (mg_view_eq(name, mg_view_cstr(config->providers[i].name)))
            return i;
    return -1;
}

static const struct mg_config_target *declared_target(const struct mg_config_project *config, mg_view id)
{
    for (int i = 0; i < config->target_count; i++)
        if (mg_view_eq(id, mg_view_cstr(config->targets[i].id)))
            return &config->targets[i];
    return NULL;
}

/* What is known of a model that only a client named is kept apart as long as there is room for such names; later ones
 * share what is known of the provider at any model. */
static const struct mg_config_target *health_of(const struct mg_routing *routing, const struct mg_config_target *target,
                                                struct mg_arena *arena)
{
    static struct mg_rows names = {.size = sizeof(struct mg_row)};
    mg_view scope = mg_view_cstr(routing->config->name), id = mg_view_cstr(target->id);
    bool room = atomic_load_explicit(&names.count, memory_order_relaxed) < MG_MAX_DIRECT_TARGETS;
    if (room ? mg_rows_find(&names, scope, id) != NULL : mg_rows_peek(&names, scope, id) != NULL)
        return target;
    struct mg_config_target *any = mg_arena_new(arena, struct mg_config_target);
    *any = *target;
    any->model = "*";
    return any;
}

/* "provider/model": the declared target of that name, or one made for this request. */
static const struct mg_route *direct_to(const struct mg_routing *routing, int provider, mg_view id, mg_view model, struct mg_arena *arena)
{
    const struct mg_config_target *target = declared_target(routing->config, id);
    const struct mg_config_target *health = target;
    const char *figures = target ? target->id : NULL;
    if (!target) {
        struct mg_config_target *made = mg_arena_new(arena, struct mg_config_target);
        *made = (struct mg_config_target){
            .id = mg_arena_dup(arena, id).ptr,
            .provider = provider,
            .model = mg_arena_dup(arena, model).ptr,
            .timeouts = routing->config->direct_timeouts,
            .gate = routing->config->providers[provider].gate,
        };
        target = made;
        health = health_of(routing, made, arena);
        figures = mg_arena_printf(arena, "%s/*", routing->config->providers[provider].name).ptr;   /* kept for ever */
    }
    struct mg_config_workflow *workflow = mg_arena_new(arena, struct mg_config_workflow);
    *workflow = (struct mg_config_workflow){
        .name = target->id, .deadline_ms = routing->config->direct_deadline_ms,
        .max_attempts = routing->config->direct_max_attempts, .max_hedges = 0,
        .retry_budget = routing->config->retry_budget};
    struct mg_route *route = mg_arena_new(arena, struct mg_route);
    init_route(route, arena, routing->config, workflow, 1);
    set_candidate(routing, route, 0, target, health, NULL, 1, figures);
    return route;
}

static const struct mg_route *direct(const struct mg_routing *routing, mg_view model, struct mg_arena *arena)
{
    mg_view rest = model;
    mg_view provider_name = mg_view_cut(&rest, '/');
    int provider = rest.len ? find_provider(routing->config, provider_name) : -1;
    return provider < 0 ? NULL : direct_to(routing, provider, model, rest, arena);
}

const struct mg_route *mg_routing_direct(const struct mg_routing *routing, int provider, mg_view model, struct mg_arena *arena)
{
    if (memchr(model.ptr, 0, model.len))
        return NULL;
    mg_view id = mg_arena_printf(arena, "%s/%.*s", routing->config->providers[provider].name, MG_FMT(model));
    return direct_to(routing, provider, id, model, arena);
}

int mg_routing_provider(const struct mg_routing *routing, mg_view name)
{
    return find_provider(routing->config, name);
}

const struct mg_upstream *mg_routing_upstream(const struct mg_routing *routing, int provider)
{
    return routing->upstreams[provider];
}

bool mg_routing_offers(const struct mg_routing *routing, int provider, const char *surface)
{
    const struct mg_adapter *adapter = mg_upstream_adapter(routing->upstreams[provider], "openai_chat", surface);
    return mg_adapter_operation(adapter, surface) != NULL;
}

const struct mg_route *mg_routing_find(const struct mg_routing *routing, mg_view model, struct mg_arena *arena)
{
    if (memchr(model.ptr, 0, model.len))
        return NULL;                   /* what follows the NUL would be lost on the way upstream */
    const struct mg_route *route = mg_map_get(&routing->by_name, model);
    if (!route && routing->config->allow_direct)
        route = direct(routing, model, arena);
    if (route)
        return route;
    int glob = mg_config_match(routing->config, model);
    return glob >= 0 ? &routing->routes[glob] : NULL;
}

int mg_routing_index(const struct mg_routing *routing, const struct mg_route *route)
{
    bool ours = route >= routing->routes && route < routing->routes + routing->config->workflow_count;
    return ours ? (int)(route - routing->routes) : -1;
}

bool mg_routing_is_declared(const struct mg_routing *routing, const struct mg_route *route)
{
    return mg_routing_index(routing, route) >= 0 ||
           declared_target(routing->config, mg_view_cstr(route->workflow->name)) == route->candidates[0].target;
}

int mg_routing_count(const struct mg_routing *routing)
{
    return routing->config->workflow_count;
}
