/* Copies the flat tables of lua/boot/config.lua and lua/boot/project.lua into the structs of
 * config.h. Everything runs under mg_eval_run()'s protected call and allocates in the
 * configuration's arena only, so a raised error leaks nothing. A missing field is NULL, 0 or false;
 * the Lua side has filled in the defaults. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/eval.h"
#include "meter/failure.h"

/* The table on top of the stack, and where its strings go. */
struct row {
    lua_State *L;
    struct mg_arena *arena;
};

struct clear_text {
    char *text;
    size_t size;
};

static const char *text(const struct row *row, const char *key)
{
    lua_getfield(row->L, -1, key);
    size_t size;
    const char *value = lua_isstring(row->L, -1) ? lua_tolstring(row->L, -1, &size) : NULL;
    const char *copy = value ? mg_arena_dup(row->arena, mg_view_of(value, size)).ptr : NULL;
    lua_pop(row->L, 1);
    return copy;
}

static void wipe(void *arg)
{
    struct clear_text *clear = arg;
    mg_wipe(clear->text, clear->size);
}

/* The text on top of the stack, as a handle. */
static const struct mg_secret *top_secret(const struct row *row)
{
    size_t size;
    const struct mg_secret *secret;
    const char *value = lua_tolstring(row->L, -1, &size);
    if (mg_secret_read(mg_view_of(value, size), row->arena, &secret) != MG_OK)
        luaL_error(row->L, "a secret is empty, too long or has control characters");
    return secret;
}

static const struct mg_secret *secret(const struct row *row, const char *key)
{
    lua_getfield(row->L, -1, key);
    const struct mg_secret *handle = lua_isstring(row->L, -1) ? top_secret(row) : NULL;
    lua_pop(row->L, 1);
    return handle;
}

/* A secret that must be compared in clear; wiped when the arena goes. */
static const char *clear_secret(const struct row *row, const char *key)
{
    const struct mg_secret *handle = secret(row, key);
    struct mg_sealed *sealed = handle ? mg_secret_get(handle) : NULL;
    if (!sealed)
        return NULL;
    struct mg_locked *plain = mg_locked_take();
    struct clear_text *clear = NULL;
    if (mg_sealed_open(sealed, plain) == MG_OK) {
        clear = mg_arena_new(row->arena, struct clear_text);
        clear->text = (char *)mg_arena_dup(row->arena, mg_view_of(plain->ptr, plain->len)).ptr;
        clear->size = plain->len;
        mg_arena_cleanup(row->arena, wipe, clear);
    }
    mg_locked_give(plain);
    mg_sealed_unref(sealed);
    return clear ? clear->text : NULL;
}

static double number(const struct row *row, const char *key)
{
    lua_getfield(row->L, -1, key);
    double value = lua_tonumber(row->L, -1);
    lua_pop(row->L, 1);
    return value;
}

static int integer(const struct row *row, const char *key)
{
    return (int)number(row, key);
}

static uint32_t u32(const struct row *row, const char *key)
{
    return (uint32_t)number(row, key);
}

static uint64_t u64(const struct row *row, const char *key)
{
    return (uint64_t)number(row, key);
}

static bool flag(const struct row *row, const char *key)
{
    lua_getfield(row->L, -1, key);
    bool value = lua_toboolean(row->L, -1);
    lua_pop(row->L, 1);
    return value;
}

/* Pushes the table at key (an empty one when there is none) and returns its length; pop it with
 * leave(). */
static int enter(const struct row *row, const char *key)
{
    luaL_checkstack(row->L, 8, "configuration");
    lua_getfield(row->L, -1, key);
    if (!lua_istable(row->L, -1)) {
        lua_pop(row->L, 1);
        lua_newtable(row->L);
    }
    return (int)lua_objlen(row->L, -1);
}

static void leave(const struct row *row)
{
    lua_pop(row->L, 1);
}

/* Calls copy(row, index, item) for each table of the list at key, with that table on top. */
static void each(const struct row *row, const char *key,
                 void (*copy)(const struct row *row, int index, void *items), void *items)
{
    int count = enter(row, key);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(row->L, -1, i + 1);
        copy(row, i, items);
        lua_pop(row->L, 1);
    }
    leave(row);
}

static int length(const struct row *row, const char *key)
{
    int count = enter(row, key);
    leave(row);
    return count;
}

static const char *const *texts(const struct row *row, const char *key, int *out_count)
{
    int count = enter(row, key);
    const char **out = mg_arena_array(row->arena, const char *, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(row->L, -1, i + 1);
        size_t size;
        const char *value = luaL_checklstring(row->L, -1, &size);
        out[i] = mg_arena_dup(row->arena, mg_view_of(value, size)).ptr;
        lua_pop(row->L, 1);
    }
    leave(row);
    *out_count = count;
    return out;
}

/* The position of the text at key in a list that ends with NULL. */
static int word(const struct row *row, const char *key, const char *const *words)
{
    lua_getfield(row->L, -1, key);
    const char *value = luaL_checkstring(row->L, -1);
    int found = 0;
    while (words[found] && strcmp(words[found], value) != 0)
        found++;
    if (!words[found])
        luaL_error(row->L, "%s: there is no %s", key, value);
    lua_pop(row->L, 1);
    return found;
}

/* ---- API keys */

static void copy_credential(const struct row *row, int index, void *items)
{
    ((struct mg_config_credential *)items)[index] = (struct mg_config_credential){
        .name = text(row, "name"), .secret = secret(row, "secret")};
}

/* The list of API keys on top of the stack's table. */
static const struct mg_config_credential *copy_credentials(const struct row *row, int *out_count)
{
    *out_count = length(row, "credentials");
    struct mg_config_credential *credentials =
        mg_arena_array(row->arena, struct mg_config_credential, (size_t)*out_count + 1);
    each(row, "credentials", copy_credential, credentials);
    return credentials;
}

/* ---- gateway */

static void copy_listen(const struct row *row, int index, void *items)
{
    struct mg_config_listen *listen = (struct mg_config_listen *)items + index;
    enter(row, "address");
    listen->host = text(row, "host");
    listen->port = integer(row, "port");
    leave(row);
    listen->tls = (struct mg_config_tls_server){
        .cert = text(row, "cert"), .key = text(row, "key"), .client_ca = text(row, "client_ca")};
}

static void copy_limits(const struct row *row, struct mg_config_limits *limits)
{
    enter(row, "limits");
    *limits = (struct mg_config_limits){.body_bytes = u64(row, "body_bytes"),
                                        .upload_bytes = u64(row, "upload_bytes"),
                                        .form_bytes = u64(row, "form_bytes"),
                                        .header_bytes = u64(row, "header_bytes"),
                                        .connections = u64(row, "connections"),
                                        .header_ms = u64(row, "header_ms"),
                                        .body_ms = u64(row, "body_ms"),
                                        .idle_ms = u64(row, "idle_ms"),
                                        .write_ms = u64(row, "write_ms")};
    leave(row);
}

static void copy_grant(const struct row *row, int index, void *items)
{
    ((struct mg_config_grant *)items)[index] =
        (struct mg_config_grant){.project = text(row, "name"), .share = number(row, "share")};
}

static void copy_account(const struct row *row, int index, void *items)
{
    struct mg_config_account *account = (struct mg_config_account *)items + index;
    *account = (struct mg_config_account){.name = text(row, "name"),
                                          .grant_count = length(row, "grants")};
    account->credentials = copy_credentials(row, &account->credential_count);
    struct mg_config_grant *grants =
        mg_arena_array(row->arena, struct mg_config_grant, (size_t)account->grant_count + 1);
    each(row, "grants", copy_grant, grants);
    account->grants = grants;
}

static void copy_overload(const struct row *row, struct mg_config_overload *overload)
{
    enter(row, "overload");
    *overload = (struct mg_config_overload){.in_flight = u32(row, "in_flight"),
                                            .queue = u32(row, "queue"),
                                            .queue_ms = u32(row, "queue_ms"),
                                            .share_count = length(row, "shares")};
    struct mg_config_grant *shares = mg_arena_array(row->arena, struct mg_config_grant, (size_t)overload->share_count + 1);
    each(row, "shares", copy_grant, shares);
    overload->shares = shares;
    leave(row);
}

static void copy_accounts(const struct row *row, struct mg_config_gateway *config)
{
    config->account_count = length(row, "accounts");
    struct mg_config_account *accounts =
        mg_arena_array(row->arena, struct mg_config_account, (size_t)config->account_count + 1);
    each(row, "accounts", copy_account, accounts);
    config->accounts = accounts;
}

static struct mg_master_spec copy_master(const struct row *row, const char *key)
{
    enter(row, key);
    struct mg_master_spec spec = {.kind = text(row, "kind"),
                                  .path = text(row, "path"),
                                  .variable = text(row, "variable"),
                                  .key_id = text(row, "key_id"),
                                  .region = text(row, "region"),
                                  .url = text(row, "url"),
                                  .mount = text(row, "mount"),
                                  .ca = text(row, "ca"),
                                  .token = secret(row, "token"),
                                  .access_key = secret(row, "access_key"),
                                  .secret_key = secret(row, "secret_key"),
                                  .session_token = secret(row, "session_token")};
    leave(row);
    return spec;
}

static void copy_vault(const struct row *row, struct mg_config_gateway *config)
{
    enter(row, "vault");
    config->vault_master = copy_master(row, "master");
    config->vault_previous = copy_master(row, "previous");
    config->vault_audit_uses = number(row, "audit_uses");
    leave(row);
}

static void copy_export(const struct row *row, int index, void *items)
{
    ((struct mg_config_export *)items)[index] = (struct mg_config_export){.name = text(row, "name"),
                                                                          .file = text(row, "file"),
                                                                          .webhook = text(row, "webhook"),
                                                                          .token = clear_secret(row, "token"),
                                                                          .signing_key = clear_secret(row, "signing_key"),
                                                                          .batch = integer(row, "batch")};
}

static void copy_exports(const struct row *row, struct mg_config_gateway *config)
{
    config->export_count = length(row, "exports");
    struct mg_config_export *exports = mg_arena_array(row->arena, struct mg_config_export, (size_t)config->export_count + 1);
    each(row, "exports", copy_export, exports);
    config->exports = exports;
}

static void copy_role(const struct row *row, int index, void *items)
{
    ((struct mg_config_role *)items)[index] = (struct mg_config_role){
        .claim = text(row, "claim"), .value = text(row, "value"), .role = text(row, "role"), .project = text(row, "project")};
}

static void copy_oidc(const struct row *row, struct mg_config_oidc *oidc)
{
    enter(row, "oidc");
    *oidc = (struct mg_config_oidc){.issuer = text(row, "issuer"),
                                    .client_id = text(row, "client_id"),
                                    .scopes = text(row, "scopes"),
                                    .name = text(row, "name"),
                                    .max_age_ms = u32(row, "max_age_ms"),
                                    .ca = text(row, "ca"),
                                    .role_count = length(row, "roles")};
    oidc->audiences = texts(row, "audience", &oidc->audience_count);
    struct mg_config_role *roles = mg_arena_array(row->arena, struct mg_config_role, (size_t)oidc->role_count + 1);
    each(row, "roles", copy_role, roles);
    oidc->roles = roles;
    leave(row);
}

void mg_config_fill_gateway(struct mg_eval *eval, lua_State *L, int index)
{
    struct mg_config_gateway *config = eval->out;
    struct row row = {L, eval->arena};
    lua_pushvalue(L, index);
    config->listen_count = length(&row, "listen");
    config->listen =
        mg_arena_array(row.arena, struct mg_config_listen, (size_t)config->listen_count);
    each(&row, "listen", copy_listen, config->listen);
    enter(&row, "admin");
    copy_listen(&row, 0, &config->admin);
    config->admin_token = clear_secret(&row, "token");
    copy_oidc(&row, &config->oidc);
    leave(&row);
    config->data_dir = text(&row, "data_dir");
    config->adapters_dir = text(&row, "adapters_dir");
    config->workers = integer(&row, "workers");
    config->drain_ms = integer(&row, "drain_ms");
    config->proxy = text(&row, "proxy");
    enter(&row, "log");
    config->log_level = text(&row, "level");
    leave(&row);
    enter(&row, "journal");
    config->journal_bytes = u64(&row, "bytes");
    leave(&row);
    enter(&row, "requests");
    config->keep_days = integer(&row, "keep_days");
    config->keep_bytes = u64(&row, "keep_bytes");
    leave(&row);
    enter(&row, "cors");
    config->cors_origins = texts(&row, "origins", &config->cors_count);
    leave(&row);
    copy_accounts(&row, config);
    copy_exports(&row, config);
    copy_overload(&row, &config->overload);
    copy_vault(&row, config);
    copy_limits(&row, &config->limits);
    lua_pop(L, 1);
}

/* ---- project */

static void copy_fault(const struct row *row, int index, void *items)
{
    ((struct mg_config_fault *)items)[index] =
        (struct mg_config_fault){.name = text(row, "fault"),
                                 .every = integer(row, "every"),
                                 .after = integer(row, "after"),
                                 .count = integer(row, "count"),
                                 .probability = number(row, "probability"),
                                 .value = integer(row, "value"),
                                 .key = text(row, "key")};
}

static void copy_phase(const struct row *row, int index, void *items)
{
    ((struct mg_config_sim_phase *)items)[index] =
        (struct mg_config_sim_phase){.for_ms = u32(row, "for_ms"),
                                     .for_calls = u32(row, "for_calls"),
                                     .error_share = number(row, "error_share"),
                                     .fault = text(row, "fault"),
                                     .value = integer(row, "value"),
                                     .ttft_ms = integer(row, "ttft_ms"),
                                     .tokens_per_s = integer(row, "tokens_per_s"),
                                     .requests = u32(row, "requests"),
                                     .window_ms = u32(row, "window_ms")};
}

static void copy_sim_model(const struct row *row, int index, void *items)
{
    struct mg_config_sim_model *model = (struct mg_config_sim_model *)items + index;
    *model = (struct mg_config_sim_model){.model = text(row, "model"),
                                          .ttft_ms = integer(row, "ttft_ms"),
                                          .tokens_per_s = integer(row, "tokens_per_s"),
                                          .output_tokens = integer(row, "output_tokens"),
                                          .fault_count = length(row, "faults"),
                                          .phase_count = length(row, "phases"),
                                          .loop = flag(row, "loop")};
    struct mg_config_fault *faults =
        mg_arena_array(row->arena, struct mg_config_fault, (size_t)model->fault_count + 1);
    each(row, "faults", copy_fault, faults);
    model->faults = faults;
    struct mg_config_sim_phase *phases =
        mg_arena_array(row->arena, struct mg_config_sim_phase, (size_t)model->phase_count + 1);
    each(row, "phases", copy_phase, phases);
    model->phases = phases;
}

static struct mg_config_breaker copy_breaker(const struct row *row)
{
    enter(row, "breaker");
    struct mg_config_breaker breaker = {.off = flag(row, "off"),
                                        .window_ms = u32(row, "window_ms"),
                                        .min_calls = u32(row, "min_calls"),
                                        .failure_share = number(row, "failure_share"),
                                        .consecutive = u32(row, "consecutive"),
                                        .open_ms = u32(row, "open_ms"),
                                        .max_open_ms = u32(row, "max_open_ms"),
                                        .probe_ms = u32(row, "probe_ms"),
                                        .ramp_ms = u32(row, "ramp_ms"),
                                        .slow_factor = number(row, "slow_factor"),
                                        .slow_min_ms = u32(row, "slow_min_ms")};
    leave(row);
    return breaker;
}

static struct mg_config_gate copy_gate(const struct row *row)
{
    enter(row, "gate");
    struct mg_config_gate gate = {.max = u32(row, "max"),
                                  .adaptive = flag(row, "adaptive"),
                                  .queue = u32(row, "queue"),
                                  .queue_ms = u32(row, "queue_ms")};
    leave(row);
    return gate;
}

static struct mg_config_retry_budget copy_retry_budget(const struct row *row)
{
    enter(row, "retry_budget");
    struct mg_config_retry_budget budget = {number(row, "share"), u32(row, "burst")};
    leave(row);
    return budget;
}

/* What stands in the file is no secret; what env and secret give is. */
static void copy_header_values(const struct row *row, struct mg_config_provider *provider)
{
    int count = enter(row, "header_values");
    const char **values = mg_arena_array(row->arena, const char *, (size_t)count + 1);
    const struct mg_secret **secrets =
        mg_arena_array(row->arena, const struct mg_secret *, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(row->L, -1, i + 1);
        size_t size;
        const char *value = luaL_checklstring(row->L, -1, &size);
        if (mg_secret_is_printed(mg_view_of(value, size)))
            secrets[i] = top_secret(row);
        else
            values[i] = mg_arena_dup(row->arena, mg_view_of(value, size)).ptr;
        lua_pop(row->L, 1);
    }
    leave(row);
    provider->header_values = values;
    provider->header_secrets = secrets;
    provider->header_count = count;
}

static struct mg_config_passthrough copy_passthrough(const struct row *row)
{
    enter(row, "passthrough");
    struct mg_config_passthrough rules = {
        .on = flag(row, "on"), .administration = flag(row, "administration"), .unfiltered = flag(row, "unfiltered"), .priced = flag(row, "price")};
    rules.allow = texts(row, "allow", &rules.allow_count);
    rules.deny = texts(row, "deny", &rules.deny_count);
    enter(row, "price");
    rules.request_microusd = number(row, "request");
    rules.read_microusd = number(row, "read");
    rules.megabyte_microusd = number(row, "megabyte");
    leave(row);
    leave(row);
    return rules;
}

static void copy_provider(const struct row *row, int index, void *items)
{
    static const char *const caller_keys[] = {"refuse", "accept", "require", NULL};
    struct mg_config_provider *provider = (struct mg_config_provider *)items + index;
    *provider = (struct mg_config_provider){.name = text(row, "name"),
                                            .adapter = text(row, "adapter"),
                                            .vendor = text(row, "vendor"),
                                            .kind = text(row, "kind"),
                                            .base_url = text(row, "base_url"),
                                            .auth = text(row, "auth"),
                                            .token_url = text(row, "token_url"),
                                            .account = text(row, "account"),
                                            .account_line = integer(row, "account_line"),
                                            .caller_keys = (enum mg_config_caller_keys)word(row, "caller_keys", caller_keys),
                                            .idempotency_header = text(row, "idempotency_header"),
                                            .passthrough = copy_passthrough(row),
                                            .breaker = copy_breaker(row),
                                            .gate = copy_gate(row),
                                            .organization = text(row, "organization"),
                                            .openai_project = text(row, "openai_project"),
                                            .ca = text(row, "ca"),
                                            .client_cert = text(row, "client_cert"),
                                            .client_key = text(row, "client_key"),
                                            .verify = flag(row, "verify"),
                                            .proxy = text(row, "proxy"),
                                            .sim_model_count = length(row, "sim_models"),
                                            .line = integer(row, "line")};
    provider->credentials = copy_credentials(row, &provider->credential_count);
    provider->header_names = texts(row, "header_names", &provider->header_count);
    copy_header_values(row, provider);
    provider->var_names = texts(row, "var_names", &provider->var_count);
    provider->var_values = texts(row, "var_values", &provider->var_count);
    struct mg_config_sim_model *models = mg_arena_array(row->arena, struct mg_config_sim_model,
                                                        (size_t)provider->sim_model_count + 1);
    each(row, "sim_models", copy_sim_model, models);
    provider->sim_models = models;
}

static struct mg_timeouts copy_timeouts(const struct row *row, const char *key)
{
    enter(row, key);
    struct mg_timeouts timeouts = {u32(row, "connect_ms"), u32(row, "first_token_ms"),
                                   u32(row, "idle_ms"), u32(row, "total_ms")};
    leave(row);
    return timeouts;
}

static void copy_price(const struct row *row, struct mg_config_target *target)
{
    target->priced = flag(row, "price");
    enter(row, "price");
    target->price_in_microusd = number(row, "input");
    target->price_out_microusd = number(row, "output");
    target->price_cached_read_microusd = number(row, "cached_read");
    target->price_cached_write_microusd = number(row, "cached_write");
    target->price_image_microusd = number(row, "image");
    target->price_minute_microusd = number(row, "audio_minute");
    target->price_characters_microusd = number(row, "characters");
    target->price_search_microusd = number(row, "search");
    leave(row);
}

static void copy_target(const struct row *row, int index, void *items)
{
    struct mg_config_target *target = (struct mg_config_target *)items + index;
    *target = (struct mg_config_target){.id = text(row, "id"),
                                        .provider = integer(row, "provider"),
                                        .model = text(row, "model"),
                                        .known_as = text(row, "known_as"),
                                        .params = text(row, "params"),
                                        .timeouts = copy_timeouts(row, "timeouts"),
                                        .context_window = u32(row, "context_window"),
                                        .max_output = u32(row, "max_output"),
                                        .region = text(row, "region"),
                                        .prefill = flag(row, "prefill"),
                                        .gate = copy_gate(row)};
    copy_price(row, target);
}

static void copy_arm(const struct row *row, int index, void *items)
{
    ((struct mg_config_arm *)items)[index] =
        (struct mg_config_arm){.target = integer(row, "target"),
                               .weight = number(row, "weight"),
                               .name = text(row, "name")};
}

/* In the order of the enums in config.h. */
static const char *const charges[] = {"all", "serving", "function", NULL};
static const char *const balances[] = {"auto", "order", "weighted", "least_inflight", "p2c", "sticky", "cheapest", NULL};
static const char *const rescues[] = {"error", "hold", "resume", NULL};

/* A bit for each class of the list. */
static uint32_t copy_classes(const struct row *row, const char *key)
{
    int count;
    uint32_t bits = 0;
    const char *const *names = texts(row, key, &count);
    for (int i = 0; i < count; i++) {
        enum mg_class class_;
        if (mg_class_find(mg_view_cstr(names[i]), &class_))
            bits |= 1u << class_;
    }
    return bits;
}

static const char *const stores[] = {"moongate", "provider", "off", "refuse", NULL};
static const char *const pers[] = {"project", "key", NULL};

static struct mg_config_responses copy_responses(const struct row *row)
{
    enter(row, "responses");
    struct mg_config_responses responses = {.store = (enum mg_config_store)word(row, "store", stores),
                                            .per_key = word(row, "per", pers) == 1,
                                            .max_age_ms = u64(row, "max_age_ms"),
                                            .max_count = u32(row, "max_count"),
                                            .max_bytes = u64(row, "max_bytes")};
    leave(row);
    return responses;
}

static struct mg_config_offline copy_offline(const struct row *row)
{
    enter(row, "offline");
    struct mg_config_offline offline = {.text = text(row, "text"),
                                        .last_good_ms = u32(row, "last_good_ms"),
                                        .has_answer = flag(row, "has_answer")};
    leave(row);
    return offline;
}

/* The table on top of the stack. */
static struct mg_limit_set copy_limit_set(const struct row *row)
{
    static const char *const periods[] = {"day", "week", "month"}, *const softs[] = {"soft_day", "soft_week", "soft_month"};
    struct mg_limit_set set = {.any = flag(row, "any"),
                               .requests_per_minute = u32(row, "requests"),
                               .burst = u32(row, "burst"),
                               .tokens_per_minute = u64(row, "tokens"),
                               .concurrency = u32(row, "concurrency")};
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        set.budget_microusd[p] = u64(row, periods[p]);
        set.soft_microusd[p] = u64(row, softs[p]);
    }
    return set;
}

static void copy_limit_field(const struct row *row, int index, void *items)
{
    ((struct mg_limit_field *)items)[index] = (struct mg_limit_field){.name = text(row, "name"), .set = copy_limit_set(row)};
}

static struct mg_limit_set copy_limit_set_at(const struct row *row, const char *key)
{
    enter(row, key);
    struct mg_limit_set set = copy_limit_set(row);
    leave(row);
    return set;
}

static struct mg_limit_rules copy_limit_rules(const struct row *row)
{
    enter(row, "limits");
    struct mg_limit_rules rules = {.own = copy_limit_set_at(row, "own"),
                                   .per_key = copy_limit_set_at(row, "per_key"),
                                   .field_count = length(row, "fields")};
    struct mg_limit_field *fields = mg_arena_array(row->arena, struct mg_limit_field, (size_t)rules.field_count + 1);
    each(row, "fields", copy_limit_field, fields);
    rules.fields = fields;
    leave(row);
    return rules;
}

static void copy_failover(const struct row *row, struct mg_config_workflow *workflow)
{
    workflow->max_cost_microusd = u64(row, "max_cost_microusd");
    workflow->balance = (enum mg_config_balance)word(row, "balance", balances);
    workflow->latency_bound_ms = u32(row, "latency_bound_ms");
    workflow->rescue = (enum mg_config_rescue)word(row, "rescue", rescues);
    workflow->hedge_after_ms = flag(row, "hedge_p95") ? MG_HEDGE_P95 : u32(row, "hedge_after_ms");
    workflow->max_hedges = u32(row, "max_hedges");
    workflow->first_token_factor = number(row, "first_token_factor");
    workflow->first_token_min_ms = u32(row, "first_token_min_ms");
    workflow->slow_factor = number(row, "slow_factor");
    workflow->expect_schema = text(row, "expect_schema");
    workflow->route_around = copy_classes(row, "route_around");
    workflow->retry_budget = copy_retry_budget(row);
    workflow->offline = copy_offline(row);
    workflow->has_accept = flag(row, "has_accept");
    workflow->limits = copy_limit_rules(row);
}

static void copy_workflow(const struct row *row, int index, void *items)
{
    struct mg_config_workflow *workflow = (struct mg_config_workflow *)items + index;
    *workflow = (struct mg_config_workflow){.name = text(row, "name"),
                                            .arm_count = length(row, "arms"),
                                            .deadline_ms = u32(row, "deadline_ms"),
                                            .max_attempts = u32(row, "max_attempts"),
                                            .has_route = flag(row, "has_route"),
                                            .has_classify = flag(row, "has_classify"),
                                            .has_on_request = flag(row, "has_on_request"),
                                            .has_on_chunk = flag(row, "has_on_chunk"),
                                            .has_on_response = flag(row, "has_on_response"),
                                            .chunk_stream = text(row, "chunk_stream"),
                                            .line = integer(row, "line")};
    struct mg_config_arm *arms =
        mg_arena_array(row->arena, struct mg_config_arm, (size_t)workflow->arm_count + 1);
    each(row, "arms", copy_arm, arms);
    workflow->arms = arms;
    copy_failover(row, workflow);
}

static void copy_plugin(const struct row *row, int index, void *items)
{
    ((struct mg_config_plugin *)items)[index] =
        (struct mg_config_plugin){.use = text(row, "use"),
                                  .as = text(row, "as"),
                                  .config = text(row, "config"),
                                  .grant = text(row, "grant"),
                                  .fail = text(row, "fail"),
                                  .stream = text(row, "stream"),
                                  .when_workflows = text(row, "when_workflows"),
                                  .when_stream = integer(row, "when_stream"),
                                  .index = integer(row, "index"),
                                  .line = integer(row, "line")};
}

static void copy_model(const struct row *row, int index, void *items)
{
    struct mg_config_model *model = (struct mg_config_model *)items + index;
    struct mg_diag diag = {.line = 0};
    const char *base = text(row, "base");
    model->name = text(row, "name");
    mg_err err = mg_model_read(mg_view_cstr(text(row, "facts")), model->name, mg_model_find(mg_view_cstr(base ? base : model->name)), row->arena,
                               &model->model, &diag);
    if (err != MG_OK)
        luaL_error(row->L, "models: %s", diag.text);
}

static void copy_hooks(const struct row *row, struct mg_config_project *config)
{
    config->has_route = flag(row, "has_route");
    config->has_classify = flag(row, "has_classify");
    config->has_on_request = flag(row, "has_on_request");
    config->has_on_attempt = flag(row, "has_on_attempt");
    config->has_on_chunk = flag(row, "has_on_chunk");
    config->has_on_response = flag(row, "has_on_response");
    config->has_on_log = flag(row, "has_on_log");
    config->inline_grant = text(row, "inline_grant");
    config->inline_fail = text(row, "inline_fail");
    config->chunk_stream = text(row, "chunk_stream");
}

/* Copies the list at key into a fresh array. */
#define LIST(row, config, field, type, copy)                                                       \
    do {                                                                                           \
        (config)->field##_count = length((row), #field "s");                                       \
        struct type *items_ =                                                                      \
            mg_arena_array((row)->arena, struct type, (size_t)(config)->field##_count + 1);        \
        each((row), #field "s", (copy), items_);                                                   \
        (config)->field##s = items_;                                                               \
    } while (0)

void mg_config_fill_project(struct mg_eval *eval, lua_State *L, int index)
{
    struct mg_config_project *config = eval->out;
    struct row row = {L, eval->arena};
    lua_pushvalue(L, index);
    LIST(&row, config, provider, mg_config_provider, copy_provider);
    LIST(&row, config, target, mg_config_target, copy_target);
    LIST(&row, config, workflow, mg_config_workflow, copy_workflow);
    LIST(&row, config, model, mg_config_model, copy_model);
    LIST(&row, config, plugin, mg_config_plugin, copy_plugin);
    config->allow_direct = flag(&row, "allow_direct");
    config->charge = (enum mg_config_charge)word(&row, "charge", charges);
    config->direct_timeouts = copy_timeouts(&row, "direct_timeouts");
    config->direct_deadline_ms = u32(&row, "direct_deadline_ms");
    config->direct_max_attempts = u32(&row, "direct_max_attempts");
    config->retry_budget = copy_retry_budget(&row);
    config->max_deadline_ms = u32(&row, "max_deadline_ms");
    config->limits = copy_limit_rules(&row);
    config->responses = copy_responses(&row);
    copy_hooks(&row, config);
    lua_pop(L, 1);
}
