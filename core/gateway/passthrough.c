#include "gateway/passthrough.h"

#include "base/hash.h"
#include "base/mem.h"
#include "gateway/limiting.h"
#include "gateway/passthrough_path.h"
#include "gateway/surface.h"
#include "http/json_scan.h"
#include "meter/record.h"

/* The model of calls that name none as we know it: their breaker is their own, so that whoever asks for what always fails
 * stops nobody's conversations. */
#define UNKNOWN MG_VIEW("passthrough")

const char *mg_passthrough_guess(struct mg_headers headers)
{
    if (mg_headers_find(headers, MG_VIEW("x-api-key")) || mg_headers_find(headers, MG_VIEW("anthropic-version")))
        return "anthropic";
    return mg_headers_find(headers, MG_VIEW("x-goog-api-key")) ? "gemini" : "openai_chat";
}

/* ---- may it be asked at all? ----------------------------------------------------------------- */

/* In vain: no second try, no other time. */
static bool refuse(struct mg_exchange *x, int status, const char *code, mg_view text)
{
    mg_exchange_refuse_as(x, status, mg_view_cstr(code), text, MG_VIEW_NONE, 0);
    return false;
}

static bool find_provider(struct mg_exchange *x, mg_view *out_rest)
{
    mg_view name;
    const struct mg_routing *routing = x->live->generation->routing;
    if (!mg_passthrough_split(x->request.path, &name, out_rest))
        return refuse(x, 404, "unknown_path", MG_VIEW("A path of a vendor is missing: /providers/NAME/…, where NAME is a provider of this project."));
    int index = mg_routing_provider(routing, name);
    if (index < 0)
        return refuse(x, 404, "unknown_provider", mg_arena_printf(&x->arena, "The project '%.*s' has no provider '%.*s'.", MG_FMT(x->call.project),
                                                                  MG_FMT(mg_view_head(name, 64))));
    x->passthrough->provider_index = index;
    x->passthrough->upstream = mg_routing_upstream(routing, index);
    x->passthrough->provider = x->passthrough->upstream->config;
    return true;
}

static bool is_on(struct mg_exchange *x)
{
    const char *name = x->passthrough->provider->name;
    if (!x->passthrough->provider->passthrough.on)
        return refuse(x, 403, "passthrough_off", mg_arena_printf(&x->arena, "What else '%s' offers is not open to clients of this project. Its "
                                                                 "operator can open it: providers.%s.passthrough = true.", name, name));
    const struct mg_switch *off = mg_switched_find(x->live->off, MG_SWITCH_PROVIDER, mg_view_cstr(name));
    if (off)
        mg_exchange_refuse_disabled(x, off, mg_arena_printf(&x->arena, "The provider '%s'", name).ptr);
    return !off;
}

static bool is_offered(struct mg_exchange *x)
{
    enum mg_http_method method = x->request.method;
    if (mg_headers_find(x->request.headers, MG_VIEW("upgrade")))
        return refuse(x, 501, "upgrade_not_supported", MG_VIEW("Websockets and other upgrades are not passed through. Use the vendor's HTTP API."));
    if (method == MG_HTTP_OTHER || method == MG_HTTP_OPTIONS)
        return refuse(x, 405, "method_not_allowed", mg_arena_printf(&x->arena, "%.*s is not passed through.", MG_FMT(x->request.method_text)));
    return true;
}

static bool may_be_called(struct mg_exchange *x, const struct mg_passthrough_place *place)
{
    const char *why, *decoded = mg_passthrough_decode(&x->arena, place->ruled, &why);
    if (!decoded)
        return refuse(x, 400, "invalid_path", mg_arena_printf(&x->arena, "This path is not passed through: %s.", why));
    why = mg_passthrough_denies(&x->passthrough->provider->passthrough, x->request.method_text, decoded);
    if (!why)
        return true;
    return refuse(x, 403, "path_not_allowed", mg_arena_printf(&x->arena, "%.*s %s may not be called at '%s': %s.", MG_FMT(x->request.method_text),
                                                              mg_arena_strdup(&x->arena, mg_view_head(mg_view_cstr(decoded), 200).ptr), x->passthrough->provider->name, why));
}

/* ---- what is asked --------------------------------------------------------------------------- */

/* Errors are told as this vendor tells them. */
static void take_dialect(struct mg_exchange *x)
{
    const char *dialect = mg_adapter_declaration(x->passthrough->raw.adapter)->dialect;
    x->dialect = mg_dialects_find(x->worker->dialects, dialect);
    x->call.dialect = dialect;
}

static bool scan(struct mg_exchange *x, mg_view body, struct mg_json_error *error)
{
    return mg_request_scan_as(&x->call.request, &x->arena, x->call.dialect, body, error) == MG_OK;
}

/* A known operation says what it wants in JSON, or it is not taken: what we cannot read, its vendor perhaps can. */
static bool read_known(struct mg_exchange *x, const struct mg_passthrough_operation *operation)
{
    struct mg_json_error error = {0, "it is empty"};
    struct mg_raw *raw = &x->passthrough->raw;
    if (!x->body.len || !scan(x, mg_buf_view(&x->body), &error)) {
        mg_exchange_refuse(x, 400, "invalid_json", "The request body is not what this endpoint takes: at byte %zu: %s.", error.offset, error.reason);
        return false;
    }
    x->passthrough->scanned = true;
    if (operation->model.len)
        x->call.request.model = operation->model;
    x->call.request.stream |= operation->stream;
    if (!x->call.request.model.len)
        return refuse(x, 400, "missing_model", MG_VIEW("The field 'model' is missing."));
    raw->known = !x->call.request.background;    /* what that will use is told to nobody who asks now */
    raw->counts = true;
    raw->model = raw->known ? x->call.request.model : UNKNOWN;
    return true;
}

/* Hooks see what there is to see. */
static void read_unknown(struct mg_exchange *x)
{
    struct mg_json_error error;
    mg_view body = mg_buf_view(&x->body);
    bool posts = x->request.method == MG_HTTP_POST;
    x->passthrough->scanned = body.len > 0 && body.ptr[0] == '{' && scan(x, body, &error);
    if (!x->passthrough->scanned && !scan(x, MG_VIEW("{}"), &error))
        x->call.request = (struct mg_request){.arena = &x->arena, .body = MG_VIEW("{}")};
    x->passthrough->raw.model = UNKNOWN;
    x->passthrough->raw.counts = posts && x->passthrough->scanned;
}

/* `allowed` of a key names models: "openai/gpt-5" for that one alone, "openai/ *" (without the blank) for all that there is. */
static bool key_allows(struct mg_exchange *x)
{
    const char *name = x->passthrough->provider->name;
    mg_view all = mg_arena_printf(&x->arena, "%s/*", name);
    mg_view one = mg_arena_printf(&x->arena, "%s/%.*s", name, MG_FMT(x->passthrough->raw.model));
    if (!x->key_allows || mg_key_allows(x->key_allows, all) || (x->passthrough->raw.known && mg_key_allows(x->key_allows, one)))
        return true;
    mg_view text = x->passthrough->raw.known
                       ? mg_arena_printf(&x->arena, "This API key may not use the model '%.*s'. GET /v1/models lists what it may use.",
                                         MG_FMT(mg_view_head(x->passthrough->raw.model, 128)))
                       : mg_arena_printf(&x->arena, "This API key may use some models only, and nobody can tell which one this call is about. "
                                                    "Its owner can allow it '%.*s'.", MG_FMT(all));
    mg_exchange_refuse_as(x, 403, MG_VIEW("model_not_allowed"), text, MG_VIEW("model"), 0);
    return false;
}

static void take_price(struct mg_raw *raw, const struct mg_config_passthrough *rules, enum mg_http_method method)
{
    bool reads = method == MG_HTTP_GET || method == MG_HTTP_HEAD;
    raw->priced = rules->priced;
    raw->fixed_microusd = reads ? rules->read_microusd : rules->request_microusd;
    raw->megabyte_microusd = rules->megabyte_microusd;
}

static void fill_raw(struct mg_exchange *x, const struct mg_passthrough_place *place, bool known)
{
    struct mg_passthrough *pass = x->passthrough;
    mg_view query = mg_passthrough_query(&x->arena, x->request.query, pass->upstream->query);
    pass->raw.method = x->request.method_text;
    pass->raw.target = query.len ? mg_arena_printf(&x->arena, "%.*s?%.*s", MG_FMT(place->path), MG_FMT(query)) : place->path;
    pass->raw.head = x->request.method == MG_HTTP_HEAD;
    pass->raw.once = !known && (x->request.method == MG_HTTP_POST || x->request.method == MG_HTTP_PATCH);
    take_price(&pass->raw, &pass->provider->passthrough, x->request.method);
}

/* "openai/gpt-5" may be disabled by hand under that name, as any workflow. */
static bool model_is_on(struct mg_exchange *x)
{
    const char *name = x->route->workflow->name;
    const struct mg_switch *off = mg_switched_find(x->live->off, MG_SWITCH_WORKFLOW, mg_view_cstr(name));
    if (off)
        mg_exchange_refuse_disabled(x, off, mg_arena_printf(&x->arena, "The model '%s'", name).ptr);
    return !off;
}

bool mg_passthrough_resolve(struct mg_exchange *x)
{
    mg_view rest;
    struct mg_passthrough_place place;
    struct mg_passthrough_operation operation = {.row = NULL};
    struct mg_passthrough *pass = x->passthrough = mg_arena_new(&x->arena, struct mg_passthrough);
    if (!find_provider(x, &rest) || !is_on(x))
        return false;
    mg_passthrough_place(&x->arena, pass->upstream->base_path, rest, &place);
    bool known = mg_passthrough_find(&x->arena, pass->upstream, x->request.method_text, place.below, &operation);
    pass->raw.adapter = known ? operation.adapter : pass->upstream->adapter;
    take_dialect(x);
    if (!is_offered(x) || !may_be_called(x, &place))
        return false;
    if (!known)
        read_unknown(x);
    else if (!read_known(x, &operation))
        return false;
    x->free = known && strcmp(operation.row->surface, "count_tokens") == 0;
    if (!key_allows(x))
        return false;
    fill_raw(x, &place, known);
    if (pass->raw.model.len <= MG_RECORD_MODEL)
        x->route = mg_routing_direct(x->live->generation->routing, pass->provider_index, pass->raw.model, &x->arena);
    return x->route ? model_is_on(x) : refuse(x, 400, "invalid_model", MG_VIEW("The model's name cannot be sent."));
}

bool mg_passthrough_is_unguarded(struct mg_exchange *x)
{
    const struct mg_script *script = x->live->script;
    bool sees = script && (mg_script_has(script, MG_HOOK_ON_CHUNK, &x->call) || mg_script_has(script, MG_HOOK_ON_RESPONSE, &x->call));
    if (!sees || x->passthrough->provider->passthrough.unfiltered)
        return true;
    return refuse(x, 403, "passthrough_guarded", mg_arena_printf(&x->arena, "A plugin of this project sees answers before they are sent, and what is passed "
                      "through it would not see. Its operator can allow that: providers.%s.passthrough = { unfiltered = true }.", x->passthrough->provider->name));
}

/* ---- addresses ------------------------------------------------------------------------------- */

static bool holds_address(mg_view name)
{
    static const char *const names[] = {"location", "content-location", "operation-location", "x-goog-upload-url", "x-goog-upload-control-url"};
    for (size_t i = 0; i < MG_COUNT(names); i++)
        if (mg_view_ieq(name, mg_view_cstr(names[i])))
            return true;
    return false;
}

/* The path of an address at the vendor; empty: it is somewhere else. */
static mg_view path_there(const struct mg_upstream *upstream, mg_view address)
{
    struct mg_url url;
    if (address.len && address.ptr[0] == '/')
        return mg_view_starts(address, MG_VIEW("//")) ? MG_VIEW_NONE : address;
    size_t begin = mg_view_find(address, "/") + 2;
    if (!mg_url_parse(mg_view_head(address, mg_view_find(address, "?#")), &url) || !mg_view_ieq(url.host, mg_view_cstr(upstream->endpoint.host)) ||
        url.port != upstream->endpoint.port || begin >= address.len)
        return MG_VIEW_NONE;
    return mg_view_skip(address, begin + mg_view_find(mg_view_skip(address, begin), "/"));
}

mg_view mg_passthrough_address(struct mg_exchange *x, const struct mg_header *header)
{
    if (!holds_address(header->name))
        return MG_VIEW_NONE;
    mg_view path = path_there(x->passthrough->upstream, header->value);
    mg_view host = mg_headers_get(x->request.headers, MG_VIEW("host"));
    const char *scheme = x->client && mg_stream_is_tls(x->client->stream) ? "https" : "http";
    return path.len ? mg_arena_printf(&x->arena, "%s://%.*s/providers/%s%.*s", scheme, MG_FMT(host), x->passthrough->provider->name, MG_FMT(path))
                    : MG_VIEW_NONE;
}

/* ---- the call -------------------------------------------------------------------------------- */

void mg_passthrough_plan(struct mg_exchange *x)
{
    x->candidates = mg_arena_array(&x->arena, struct mg_candidate, 1);
    *x->candidates = *x->route->candidates;
    x->plan = mg_arena_new(&x->arena, struct mg_plan);
    x->plan->entries[0] = (struct mg_plan_entry){
        .choices = {{0, 1}}, .choice_count = 1, .timeouts = x->candidates->target->timeouts, .tries = 1};
    x->plan->count = 1;
    x->plan->max_attempts = 1;
    x->plan->deadline_ms = UINT32_MAX;
    x->plan->explain = MG_VIEW("passed through");
    x->timeline->explain = x->plan->explain;
}

static bool has_no_body(const struct mg_exchange *x, int status)
{
    return x->passthrough->raw.head || status == 204 || status == 304;
}

static void on_head(void *arg, int status, struct mg_headers headers)
{
    struct mg_exchange *x = arg;
    uint64_t length;
    x->upstream_headers = headers;
    if (has_no_body(x, status) && !x->passthrough->raw.head)
        return;                        /* answered when it has ended */
    mg_timeline_phase(x->timeline, MG_PHASE_commit, mg_exchange_now(x));
    mg_relay_committed(&x->relay);
    x->sent_status = status;
    bool known = !mg_headers_find(headers, MG_VIEW("transfer-encoding")) && mg_view_u64(mg_headers_get(headers, MG_VIEW("content-length")), &length);
    if (mg_answer_commit(&x->answer, status, mg_exchange_lines(x, true), known ? length : UINT64_MAX) == MG_E_AGAIN)
        mg_relay_pause(&x->relay, true);
}

static void on_body(void *arg, mg_view bytes)
{
    struct mg_exchange *x = arg;
    mg_err added = mg_answer_add(&x->answer, bytes), flushed = mg_answer_flush(&x->answer);
    if (added == MG_E_AGAIN || flushed == MG_E_AGAIN)
        mg_relay_pause(&x->relay, true);
}

static void on_done(void *arg)
{
    struct mg_exchange *x = arg;
    const struct mg_relay_result *result = &x->relay.result;
    if (x->answer.committed)
        mg_exchange_finish(x, x->sent_status, result->ok);
    else if (result->ok)
        mg_exchange_answer(x, result->status, mg_exchange_lines(x, true), MG_VIEW_NONE);
    else if (!mg_limiting_refuse(x))
        mg_exchange_refuse_as(x, result->status, result->code, result->message, MG_VIEW_NONE, result->retry_after_ms);
}

/* Whoever brings a key against repetition knows what it repeats. */
static bool is_set(const struct mg_exchange *x, mg_view name)
{
    const char *idempotency = x->passthrough->provider->idempotency_header;
    return !(idempotency && mg_view_ieq(name, mg_view_cstr(idempotency))) && mg_upstream_sets(x->passthrough->upstream, name);
}

/* What the configuration sets, what carries keys, and what would make another request of this one stays here. */
static mg_view forwarded(struct mg_exchange *x)
{
    struct mg_headers headers = x->request.headers;
    mg_buf_clear(&x->lines);
    for (size_t i = 0; i < headers.count; i++) {
        const struct mg_header *header = &headers.items[i];
        if (header->traits & (MG_HEADER_HOP | MG_HEADER_NOT_UPSTREAM) || mg_passthrough_keeps(header->name) || is_set(x, header->name))
            continue;
        if (mg_http_put_line(&x->lines, header) != MG_OK)
            break;                     /* the parser bounded them below this buffer's size */
    }
    return mg_arena_dup(&x->arena, mg_buf_view(&x->lines));
}

static void on_attempt(void *arg)
{
    (void)arg;                         /* there is only one */
}

static bool may_call(void *arg, int candidate, struct mg_refusal *out_refusal)
{
    return mg_limiting_may_call(arg, candidate, out_refusal);
}

static void on_settled(void *arg, int candidate, const struct mg_attempt_record *attempt)
{
    mg_limiting_settled(arg, candidate, attempt);
}

static const struct mg_relay_ops ops = {
    .on_attempt = on_attempt, .on_head = on_head, .on_body = on_body, .may_call = may_call, .on_settled = on_settled, .on_done = on_done};

void mg_passthrough_start(struct mg_exchange *x, struct mg_relay_call *call)
{
    struct mg_passthrough *pass = x->passthrough;
    pass->raw.body = pass->scanned ? x->call.request.body : mg_buf_view(&x->body);
    x->timeline->body_hash = mg_fingerprint(pass->raw.body);
    call->raw = &pass->raw;
    call->forwarded = forwarded(x);
    call->ops = &ops;
}
