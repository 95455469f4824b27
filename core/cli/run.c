#include "cli/run.h"

#include <string.h>

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/operate.h"
#include "cli/place.h"
#include "sim/sim.h"

/* One simulator per provider that is simulated. Only the builder asks, one thread at a time. */
struct simulators {
    struct mg_map by_name; /* "project/provider" → struct mg_sim, owned */
};

static const char *sim_url(void *arg, const struct mg_config_project *config,
                           const struct mg_config_provider *provider, struct mg_arena *arena,
                           struct mg_diag *diag)
{
    struct simulators *simulators = arg;
    mg_view name = mg_arena_printf(arena, "%s/%s", config->name, provider->name);
    struct mg_sim *sim = mg_map_get(&simulators->by_name, name);
    if (sim) {
        mg_sim_configure(sim, provider->sim_models, provider->sim_model_count);
    } else {
        struct mg_sim_options options = {.models = provider->sim_models,
                                         .model_count = provider->sim_model_count};
        if (mg_sim_start(&options, &sim, diag) != MG_OK)
            return NULL;
        mg_map_put(&simulators->by_name, name, sim);
    }
    return mg_arena_printf(arena, "http://127.0.0.1:%d/v1", mg_sim_port(sim)).ptr;
}

static void stop_simulators(struct simulators *simulators)
{
    mg_view name;
    void *sim;
    for (size_t at = 0; mg_map_next(&simulators->by_name, &at, &name, &sim);)
        mg_sim_stop(sim);
    mg_map_fini(&simulators->by_name);
}

static void override(struct mg_config_gateway *config, const struct mg_serve_options *options)
{
    if (options->data_dir)
        config->data_dir = mg_arena_strdup(&config->arena, options->data_dir);
    if (options->port >= 0)
        config->listen[0].port = options->port;
    if (options->admin_port >= 0)
        config->admin.port = options->admin_port;
}

/* The names are checked by the schema. */
static void set_log_level(const char *name)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    for (size_t i = 0; i < MG_COUNT(names); i++) {
        if (!strcmp(names[i], name))
            mg_log_level((enum mg_log_level)i);
    }
}

static mg_err run(const struct mg_serve_options *options, const char *path,
                  struct mg_config_gateway *config, struct simulators *simulators,
                  struct mg_diag *diag)
{
    struct mg_gateway_options gateway_options = {
        .config = config, .config_path = path, .sim_url = sim_url, .sim_arg = simulators};
    struct mg_gateway *gateway;
    MG_TRY(mg_gateway_start(&gateway_options, &gateway, diag));
    struct mg_operate operate = {
        .gateway = gateway, .config = config, .start_wall_us = mg_wall_us()};
    const struct mg_admin_options admin_options = {.listen = &config->admin,
                                                   .token = config->admin_token,
                                                   .data_dir = config->data_dir,
                                                   .ops = &mg_operate_ops,
                                                   .arg = &operate};
    struct mg_admin *admin;
    mg_err err = mg_admin_start(&admin_options, &admin, diag);
    if (err == MG_OK) {
        struct mg_serving serving = {gateway, config, mg_admin_port(admin)};
        if (serving.admin_port)
            mg_log_info("admin", "address=%s:%d", config->admin.host, serving.admin_port);
        if (options->on_ready)
            options->on_ready(options->arg, &serving);
        mg_gateway_run(gateway);
        mg_admin_stop(admin);
        if (options->on_stopping)
            options->on_stopping(options->arg);
    }
    mg_gateway_stop(gateway);
    return err;
}

mg_err mg_serve_run(const struct mg_serve_options *options, struct mg_diag *diag)
{
    struct mg_arena arena;
    struct simulators simulators;
    struct mg_config_gateway *config = NULL;
    mg_arena_init(&arena, 1024);
    mg_map_init(&simulators.by_name);
    const char *path = mg_place_config(options->config_path, &arena);
    mg_err err = mg_config_load_gateway(path, &config, diag);
    if (err == MG_OK) {
        override(config, options);
        set_log_level(config->log_level);
        err = run(options, path, config, &simulators, diag);
    }
    stop_simulators(&simulators);
    mg_config_gateway_free(config);
    mg_arena_fini(&arena);
    return err;
}
