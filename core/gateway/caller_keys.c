/* Keys that the client brought for providers: only where the project lets it, and there they must be. */
#include "base/mem.h"
#include "gateway/exchange.h"
#include "relay/caller_keys.h"

static const struct mg_config_provider *provider_named(const struct mg_config_project *config, mg_view name)
{
    for (int i = 0; i < config->provider_count; i++)
        if (mg_view_ieq(name, mg_view_cstr(config->providers[i].name)))
            return &config->providers[i];
    return NULL;
}

static void on_wipe_reads(struct mg_defer *defer)
{
    mg_loop_wipe_reads(&mg_container_of(defer, struct mg_exchange, wipe_reads)->worker->loop);
}

bool mg_exchange_take_caller_keys(struct mg_exchange *x, const char **out_why)
{
    *out_why = NULL;
    mg_err err = mg_caller_keys_take(x->request.headers, &x->arena, &x->call.caller_keys, out_why);
    if (x->call.caller_keys)
        mg_loop_defer(&x->worker->loop, &x->wipe_reads, on_wipe_reads);
    return err == MG_OK;
}

/* The same words for a provider that takes none and one that is not there. */
bool mg_exchange_may_bring_keys(struct mg_exchange *x, const char *why_not)
{
    const struct mg_caller_keys *keys = x->call.caller_keys;
    if (why_not) {
        mg_exchange_refuse(x, 400, "invalid_caller_key", "%s", why_not);
        return false;
    }
    for (int i = 0; keys && i < keys->count; i++) {
        const struct mg_config_provider *provider = provider_named(x->live->generation->config, keys->keys[i].provider);
        if (provider && provider->caller_keys != MG_CALLER_KEYS_REFUSE)
            continue;
        mg_exchange_refuse(x, 403, "caller_key_not_allowed", "This project lets no request bring a key for a provider '%.*s'.",
                           MG_FMT(mg_view_head(keys->keys[i].provider, 64)));
        return false;
    }
    return true;
}

/* Is there a provider that can be called? Some wait for a key that must come with the request. */
bool mg_exchange_has_keys_it_needs(struct mg_exchange *x)
{
    const char *missing = NULL;
    for (int i = 0; i < x->route->count; i++) {
        const struct mg_config_provider *provider = x->route->reaches[i].provider;
        if (provider->caller_keys != MG_CALLER_KEYS_REQUIRE ||
            mg_caller_keys_find(x->call.caller_keys, mg_view_cstr(provider->name)))
            return true;
        missing = provider->name;
    }
    mg_exchange_refuse(x, 401, "caller_key_missing", "The model '%.*s' is called with a key of yours: send it in the header "
                       MG_CALLER_HEADER "%s.", MG_FMT(mg_view_head(x->call.request.model, 128)), missing ? missing : "PROVIDER");
    return false;
}
