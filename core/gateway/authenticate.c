#include "base/log.h"
#include "base/mem.h"
#include "gateway/exchange.h"

/* Where the official SDKs put the key. */
static mg_view presented_key(const struct mg_exchange *x)
{
    mg_view value = mg_headers_get(x->request.headers, MG_VIEW("authorization"));
    if (value.len > 7 && mg_view_ieq(mg_view_head(value, 7), MG_VIEW("bearer ")))
        return mg_view_trim(mg_view_skip(value, 7));
    static const char *const names[] = {"x-api-key", "x-goog-api-key", "api-key"};
    for (size_t i = 0; i < MG_COUNT(names); i++) {
        value = mg_headers_get(x->request.headers, mg_view_cstr(names[i]));
        if (value.len)
            return value;
    }
    return MG_VIEW_NONE;
}

static void refuse_key(struct mg_exchange *x, mg_view presented, const char *why)
{
    mg_log_info("authenticate.refused", "client=%.*s why=%s", MG_FMT(x->timeline->client), why);
    if (presented.len)
        mg_exchange_refuse(x, 401, "invalid_api_key", "Incorrect API key provided: it is unknown, expired or revoked. "
                           "`moongate key list` shows the keys of this gateway.");
    else
        mg_exchange_refuse(x, 401, "missing_api_key", "No API key was sent. Put a key of this gateway into the header "
                           "'Authorization: Bearer …'; `moongate key create` makes one.");
}

/* NULL: it was refused. */
static const struct mg_key *find_key(struct mg_exchange *x)
{
    const char *why = "no key was sent";
    mg_view presented = presented_key(x);
    const struct mg_key *key = presented.len && x->worker->keyring
                                   ? mg_keyring_find(x->worker->keyring, presented, x->timeline->start_wall_us, &why) : NULL;
    x->keyring_number = x->worker->keyring_number;
    if (!key)
        refuse_key(x, presented, why);
    return key;
}

/* The keyring may be replaced while the exchange runs. */
static void take_key(struct mg_exchange *x, const struct mg_key *key)
{
    x->call.key_id = mg_arena_dup(&x->arena, mg_view_cstr(key->id));
    x->key_origin = *key->replaces ? mg_arena_dup(&x->arena, mg_view_cstr(key->origin)) : x->call.key_id;
    x->call.key_metadata = key->metadata ? mg_arena_dup(&x->arena, mg_view_cstr(key->metadata)) : MG_VIEW_NONE;
    x->key_allows = key->allowed ? mg_arena_strdup(&x->arena, key->allowed) : NULL;
    x->key_limits = NULL;
    if (!key->limit_set)
        return;
    struct mg_limit_set *set = mg_arena_new(&x->arena, struct mg_limit_set);
    *set = *key->limit_set;
    x->key_limits = set;
}

/* The whole project, or this key of it. */
static bool is_switched_on(struct mg_exchange *x)
{
    const struct mg_switched *off = x->live->off;
    if (!off)
        return true;
    const struct mg_switch *project = mg_switched_find(off, MG_SWITCH_PROJECT, MG_VIEW_NONE);
    const struct mg_switch *key = mg_switched_find(off, MG_SWITCH_KEY, x->call.key_id);
    if (project)
        mg_exchange_refuse_disabled(x, project, "This project");
    else if (key)
        mg_exchange_refuse_disabled(x, key, "This API key");
    return !project && !key;
}

bool mg_exchange_authenticate(struct mg_exchange *x)
{
    const struct mg_key *key = find_key(x);
    if (!key)
        return false;
    x->live = mg_worker_project(x->worker, mg_view_cstr(key->project));
    if (!x->live) {
        mg_exchange_refuse(x, 403, "project_unavailable", "The project '%s' of this key is not configured here.", key->project);
        return false;
    }
    mg_live_enter(x->live);
    take_key(x, key);
    x->call.project = mg_view_cstr(x->live->generation->config->name);
    x->timeline->key_id = x->call.key_id;
    x->timeline->project = x->call.project;
    x->timeline->charges_all = x->live->generation->config->charge == MG_CHARGE_ALL;
    x->timeline->generation = x->live->generation->number;
    mg_timeline_phase(x->timeline, MG_PHASE_authenticate, mg_exchange_now(x));
    return is_switched_on(x);
}

bool mg_exchange_may_go_on(struct mg_exchange *x)
{
    if (x->keyring_number != x->worker->keyring_number) {
        const struct mg_key *key = find_key(x);
        if (!key)
            return false;
        take_key(x, key);
    }
    return is_switched_on(x);
}
