#include "relay/upstream.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/headers.h"
#include "io/tls.h"
#include "vault/ask.h"

/* Client contexts are shared by all generations: parsing the system's certificates takes
 * milliseconds and most providers trust the same ones. Entries live as long as the process. */
enum { TLS_CACHE = 64 };

static struct tls_entry {
    char *identity;          /* owned; "ca|cert|key|verify" */
    struct mg_tls_context *context;    /* one reference */
} tls_cache[TLS_CACHE];
static int tls_cached;
static pthread_mutex_t tls_lock = PTHREAD_MUTEX_INITIALIZER;

bool mg_url_parse(mg_view url, struct mg_url *out_url)
{
    struct mg_url parts = {.https = mg_view_starts(url, MG_VIEW("https://"))};
    if (!parts.https && !mg_view_starts(url, MG_VIEW("http://")))
        return false;
    mg_view rest = mg_view_skip(url, parts.https ? 8 : 7);
    mg_view authority = mg_view_head(rest, mg_view_find(rest, "/?#"));
    parts.path = mg_view_skip(rest, authority.len);
    while (mg_view_ends(parts.path, MG_VIEW("/")))
        parts.path.len--;

    bool bracketed = mg_view_starts(authority, MG_VIEW("["));
    parts.host = bracketed ? mg_view_head(mg_view_skip(authority, 1), mg_view_find(authority, "]") - 1)
                           : mg_view_head(authority, mg_view_find(authority, ":"));
    mg_view port = mg_view_skip(authority, parts.host.len + (bracketed ? 2 : 0));
    uint64_t number = parts.https ? 443 : 80;
    if (port.len && (port.ptr[0] != ':' || !mg_view_u64(mg_view_skip(port, 1), &number) || number == 0 || number > 65535))
        return false;
    parts.port = (int)number;
    if (parts.host.len == 0 || mg_view_find(parts.path, "?#") < parts.path.len)
        return false;
    *out_url = parts;
    return true;
}

static struct mg_tls_context *find_context(const char *identity)
{
    for (int i = 0; i < tls_cached; i++)
        if (strcmp(tls_cache[i].identity, identity) == 0)
            return mg_tls_ref(tls_cache[i].context);
    return NULL;
}

static mg_err client_context(const struct mg_config_provider *config, struct mg_arena *arena,
                             struct mg_tls_context **out_context, struct mg_diag *diag)
{
    const char *identity = mg_arena_printf(arena, "%s|%s|%s|%d", config->ca ? config->ca : "",
                                           config->client_cert ? config->client_cert : "",
                                           config->client_key ? config->client_key : "", config->verify).ptr;
    struct mg_tls_client_options options = {
        .ca_file = config->ca,
        .insecure = !config->verify,
        .cert_file = config->client_cert,
        .key_file = config->client_key,
    };
    bool own_files = config->ca || config->client_cert;   /* read again at each reload: they may have changed */
    pthread_mutex_lock(&tls_lock);
    struct mg_tls_context *context = own_files ? NULL : find_context(identity);
    bool cached = context != NULL;
    mg_err err = context ? MG_OK : mg_tls_client_new(&options, &context, diag);
    if (err == MG_OK && !own_files && tls_cached < TLS_CACHE && !cached)
        tls_cache[tls_cached++] = (struct tls_entry){mg_strdup(identity), mg_tls_ref(context)};
    pthread_mutex_unlock(&tls_lock);
    if (err == MG_OK)
        *out_context = context;
    return err;
}

static mg_err refuse(const struct mg_config_provider *config, struct mg_diag *diag, const char *what)
{
    return mg_diag_set(diag, MG_E_CONFIG, NULL, config->line, "providers.%s: %s", config->name, what);
}

static mg_err choose_proxy(struct mg_upstream *upstream, bool https, const char *default_proxy, struct mg_diag *diag)
{
    const char *url = upstream->config->proxy ? upstream->config->proxy : default_proxy;
    bool use = false;
    if (url && *url) {
        use = mg_proxy_parse(mg_view_cstr(url), &upstream->proxy);
        if (!use)
            return refuse(upstream->config, diag, "proxy must be http://host:port");
    } else if (!url) {
        use = mg_proxy_from_env(https, upstream->endpoint.host, upstream->endpoint.port, &upstream->proxy);
    }
    if (use)
        upstream->endpoint.proxy = &upstream->proxy;
    return MG_OK;
}

static mg_err put_optional(struct mg_buf *head, const char *name, const char *value)
{
    return value ? mg_http_put_header(head, mg_view_cstr(name), mg_view_cstr(value)) : MG_OK;
}

/* Takes the reference. */
static mg_err put_sealed(struct mg_sealed *sealed, struct mg_locked *out, struct mg_sealed **out_used)
{
    if (!sealed)
        return MG_E_NOT_FOUND;
    mg_err err = mg_sealed_open(sealed, out);
    if (err == MG_OK && out_used)
        *out_used = sealed;
    else
        mg_sealed_unref(sealed);
    return err;
}

static mg_err put_secret_headers(const struct mg_config_provider *config, struct mg_locked *out)
{
    for (int i = 0; i < config->header_count; i++) {
        if (!config->header_secrets || !config->header_secrets[i])
            continue;
        MG_TRY(mg_locked_put(out, mg_view_cstr(config->header_names[i])));
        MG_TRY(mg_locked_put(out, MG_VIEW(": ")));
        MG_TRY(put_sealed(mg_secret_get(config->header_secrets[i]), out, NULL));
        MG_TRY(mg_locked_put(out, MG_VIEW("\r\n")));
    }
    return MG_OK;
}

/* Only the token of a session is sent as it is: the rest of the key nobody can repeat. */
static mg_err prove_aws(const struct mg_upstream *upstream, mg_view head, const struct mg_body *body, struct mg_locked *out,
                        size_t at, struct mg_sealed **used)
{
    struct mg_sealed *token;
    struct mg_sign sign = {upstream->region, upstream->service, head, body, mg_wall_us()};
    mg_err err = mg_sign_aws(&sign, out, at, &token);
    if (token) {
        mg_sealed_unref(*used);
        *used = token;
    }
    return err;
}

/* What stands before the credential, and what becomes of it. */
static mg_err put_credential(const struct mg_upstream *upstream, struct mg_sealed *sealed, mg_view head, const struct mg_body *body,
                             struct mg_locked *out, struct mg_sealed **out_used)
{
    size_t at = out->len;
    mg_err err = mg_locked_put(out, upstream->credential_start);
    if (err != MG_OK)
        mg_sealed_unref(sealed);
    else
        err = put_sealed(sealed, out, out_used);
    if (err == MG_OK && upstream->auth == MG_AUTH_sigv4)
        err = prove_aws(upstream, head, body, out, at, out_used);
    else if (err == MG_OK && upstream->query)
        err = mg_sign_query(upstream->query, head, out, at);
    else if (err == MG_OK)
        err = mg_locked_put(out, MG_VIEW("\r\n"));
    return err;
}

mg_err mg_upstream_put_secrets(const struct mg_upstream *upstream, int credential, struct mg_sealed *given, mg_view head,
                               const struct mg_body *body, struct mg_locked *out, struct mg_upstream_secrets *out_secrets)
{
    struct mg_sealed *used = NULL;
    bool ours = !given && credential >= 0 && credential < upstream->credential_count;
    bool asked = upstream->credential_start.len || upstream->query || upstream->auth == MG_AUTH_sigv4;
    mg_err err = MG_OK;
    *out_secrets = (struct mg_upstream_secrets){.used = NULL};
    if (asked && (ours || given))
        err = put_credential(upstream, given ? mg_sealed_ref(given) : mg_secret_get(upstream->credentials[credential].secret), head,
                             body, out, &used);
    size_t query = upstream->query ? out->len : 0;
    if (err == MG_OK && upstream->config)
        err = put_secret_headers(upstream->config, out);
    if (err != MG_OK) {
        mg_sealed_unref(used);
        return err;
    }
    *out_secrets = (struct mg_upstream_secrets){mg_view_of(out->ptr, query), mg_view_of(out->ptr + query, out->len - query), used};
    return MG_OK;
}

static mg_err put_fixed(struct mg_buf *head, const struct mg_upstream *upstream, const struct mg_url *url)
{
    bool plain_port = url->port == (url->https ? 443 : 80);
    bool v6 = mg_view_find(url->host, ":") < url->host.len;
    char host[300], port[16] = "";
    if (!plain_port)
        snprintf(port, sizeof port, ":%d", url->port);
    snprintf(host, sizeof host, "%s%.*s%s%s", v6 ? "[" : "", MG_FMT(url->host), v6 ? "]" : "", port);
    MG_TRY(mg_http_put_header(head, MG_VIEW("host"), mg_view_cstr(host)));
    MG_TRY(mg_http_put_header(head, MG_VIEW("accept-encoding"), MG_VIEW("identity")));
    MG_TRY(put_optional(head, "openai-organization", upstream->config->organization));
    MG_TRY(put_optional(head, "openai-project", upstream->config->openai_project));
    for (int i = 0; i < upstream->config->header_count; i++)
        MG_TRY(put_optional(head, upstream->config->header_names[i], upstream->config->header_values[i]));
    return MG_OK;
}

static mg_err write_head(struct mg_upstream *upstream, const struct mg_url *url)
{
    struct mg_buf head;
    mg_buf_init(&head, MG_MAX_HEADER_BYTES);
    mg_err err = put_fixed(&head, upstream, url);
    if (err == MG_OK)
        upstream->fixed_head = mg_arena_dup(&upstream->arena, mg_buf_view(&head));
    mg_buf_fini(&head);
    return err;
}

/* The address with the provider's vars in it; NULL: one is missing. */
static const char *expand(struct mg_upstream *upstream, const char *base_url, struct mg_diag *diag)
{
    struct mg_buf whole;
    mg_view missing = MG_VIEW_NONE;
    mg_buf_init(&whole, MG_MAX_HEADER_BYTES);
    mg_err err = mg_adapter_expand(mg_adapter_declaration(upstream->adapter), base_url, NULL, 0, &whole, &missing);
    const char *expanded = err == MG_OK ? mg_arena_dup(&upstream->arena, mg_buf_view(&whole)).ptr : NULL;
    mg_buf_fini(&whole);
    if (!expanded)
        err = mg_diag_set(diag, MG_E_CONFIG, NULL, upstream->config->line,
                          "providers.%s: its adapter's address needs vars = { %.*s = … }, or give it a base_url", upstream->config->name,
                          MG_FMT(missing));
    return expanded;
}

/* The usual kind of the adapter, or the one that the configuration names. */
static const struct mg_adapter_auth *find_auth(const struct mg_upstream *upstream)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(upstream->adapter);
    const char *wanted = upstream->config->auth;
    for (int i = 0; i < decl->auth_count; i++)
        if (!wanted || strcmp(mg_auth_kind_name(decl->auth[i].kind), wanted) == 0)
            return &decl->auth[i];
    return NULL;
}

static mg_err choose_auth(struct mg_upstream *upstream, struct mg_diag *diag)
{
    const struct mg_adapter_auth *auth = find_auth(upstream);
    if (!auth)
        return refuse(upstream->config, diag, "its adapter has no authentication of that kind: see `moongate provider show`");
    upstream->auth = auth->kind;
    upstream->query = auth->query;
    upstream->service = auth->service;
    if (auth->kind == MG_AUTH_sigv4)
        return (upstream->region = expand(upstream, "{region}", diag)) ? MG_OK : MG_E_CONFIG;
    if (auth->header[0])
        upstream->credential_start = mg_arena_printf(&upstream->arena, "%s: %s", auth->header, auth->prefix);
    upstream->credential_header = mg_arena_dup(&upstream->arena, mg_view_cstr(auth->header));
    return MG_OK;
}

/* Each credential has a source of its own; one of a shared account is the same for all its projects. */
static mg_err find_tokens(struct mg_upstream *upstream, const char *scope, const struct mg_config_account *account, struct mg_diag *diag)
{
    const struct mg_config_provider *config = upstream->config;
    const struct mg_adapter_auth *auth = find_auth(upstream);
    if (auth->kind != MG_AUTH_gcp && auth->kind != MG_AUTH_entra)
        return MG_OK;
    if (config->token_url && !mg_ask_is_private(mg_view_cstr(config->token_url)))
        return refuse(config, diag, "token_url must be https, or a port of this machine: keys are sent there");
    struct mg_token_spec spec = {auth->kind, auth->scope, config->token_url, config->token_url ? config->ca : NULL, account != NULL};
    upstream->tokens = mg_arena_array(&upstream->arena, struct mg_token_source *, (size_t)upstream->credential_count + 1);
    for (int i = 0; i < upstream->credential_count; i++) {
        mg_view name = mg_arena_printf(&upstream->arena, "%s#%s", account ? account->name : config->name, upstream->credentials[i].name);
        upstream->tokens[i] = mg_token_source_find(mg_view_cstr(scope), name, &spec);
        if (!upstream->tokens[i])
            return refuse(config, diag, "there are more keys for tokens than this process can have: start it anew");
    }
    return MG_OK;
}

mg_err mg_upstream_take_token(const struct mg_upstream *upstream, int credential, struct mg_sealed **out_token,
                              struct mg_token_fault *out_fault)
{
    *out_token = NULL;
    if (!upstream->tokens || credential < 0 || credential >= upstream->credential_count)
        return MG_OK;
    struct mg_sealed *key = mg_secret_get(upstream->credentials[credential].secret);
    mg_err err = key ? mg_token_take(upstream->tokens[credential], key, out_token, out_fault) : MG_OK;
    mg_sealed_unref(key);
    return err;
}

static mg_err fill(struct mg_upstream *upstream, const char *project, const char *base_url, const char *default_proxy, struct mg_diag *diag)
{
    const struct mg_config_provider *config = upstream->config;
    if (!base_url)
        base_url = config->base_url ? config->base_url : mg_adapter_declaration(upstream->adapter)->base_url;
    struct mg_url url;
    if (base_url && !(base_url = expand(upstream, base_url, diag)))
        return MG_E_CONFIG;
    MG_TRY(choose_auth(upstream, diag));
    if (!base_url || !mg_url_parse(mg_view_cstr(base_url), &url))
        return refuse(config, diag, "base_url must be http(s)://host[:port][/path]");
    upstream->base_path = mg_arena_dup(&upstream->arena, url.path);
    upstream->endpoint = (struct mg_endpoint){
        .host = mg_arena_dup(&upstream->arena, url.host).ptr,
        .port = url.port,
    };
    MG_TRY(choose_proxy(upstream, url.https, default_proxy, diag));
    upstream->endpoint.key = mg_arena_printf(&upstream->arena, "%s: %s://%s:%d via %s:%d", project,
                                             url.https ? "https" : "http", upstream->endpoint.host, url.port,
                                             upstream->proxy.host, upstream->proxy.port).ptr;
    if (url.https)
        MG_TRY(client_context(config, &upstream->arena, &upstream->endpoint.tls, diag));
    if (write_head(upstream, &url) != MG_OK)
        return refuse(config, diag, "a header holds a control character, or they are too long");
    return MG_OK;
}

mg_err mg_upstream_new(const char *project, const struct mg_config_provider *config, const struct mg_adapter *adapter,
                       const struct mg_config_account *account, const char *base_url, const char *default_proxy,
                       struct mg_upstream **out_upstream, struct mg_diag *diag)
{
    struct mg_upstream *upstream = mg_new(struct mg_upstream);
    mg_arena_init(&upstream->arena, 1024);
    upstream->config = config;
    upstream->adapter = adapter;
    upstream->credentials = account ? account->credentials : config->credentials;
    upstream->credential_count = account ? account->credential_count : config->credential_count;
    const char *scope = account ? mg_arena_printf(&upstream->arena, "account:%s", account->name).ptr : project;
    mg_err err = fill(upstream, project, base_url, default_proxy, diag);
    if (err == MG_OK)
        err = find_tokens(upstream, scope, account, diag);
    if (err != MG_OK) {
        mg_upstream_free(upstream);
        return err;
    }
    *out_upstream = upstream;
    return MG_OK;
}

void mg_upstream_free(struct mg_upstream *upstream)
{
    if (!upstream)
        return;
    mg_tls_unref(upstream->endpoint.tls);
    mg_wipe(&upstream->proxy, sizeof upstream->proxy);
    mg_arena_fini(&upstream->arena);
    mg_free(upstream);
}

void mg_upstream_speaks(struct mg_upstream *upstream, const struct mg_adapter *adapter)
{
    assert(upstream->spoken_count < MG_ADAPTER_SPEAKS);
    upstream->spoken[upstream->spoken_count++] = adapter;
}

const struct mg_adapter *mg_upstream_adapter(const struct mg_upstream *upstream, const char *dialect, const char *surface)
{
    if (strcmp(mg_adapter_declaration(upstream->adapter)->dialect, dialect) == 0 && mg_adapter_operation(upstream->adapter, surface))
        return upstream->adapter;
    for (int i = 0; i < upstream->spoken_count; i++)
        if (strcmp(mg_adapter_declaration(upstream->spoken[i])->dialect, dialect) == 0 &&
            mg_adapter_operation(upstream->spoken[i], surface))
            return upstream->spoken[i];
    return upstream->adapter;
}

bool mg_upstream_sets(const struct mg_upstream *upstream, mg_view name)
{
    const char *idempotency = upstream->config->idempotency_header;
    mg_view key = upstream->credential_header;
    for (int i = 0; i < upstream->config->header_count; i++)
        if (mg_view_ieq(name, mg_view_cstr(upstream->config->header_names[i])))
            return true;
    return (key.len && mg_view_ieq(name, key)) || (idempotency && mg_view_ieq(name, mg_view_cstr(idempotency)));
}
