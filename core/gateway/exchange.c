#include "gateway/exchange.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/cors.h"
#include "gateway/files.h"
#include "gateway/filtering.h"
#include "gateway/keeping.h"
#include "gateway/limiting.h"
#include "gateway/models.h"
#include "gateway/offline.h"
#include "gateway/ours.h"
#include "gateway/passthrough.h"
#include "gateway/pinning.h"
#include "gateway/surface.h"
#include "gateway/upload.h"
#include "http/json.h"
#include "meter/charge.h"
#include "meter/prices.h"
#include "meter/record.h"
#include "meter/usage.h"
#include "relay/caller_keys.h"

enum { ARENA_BYTES = 4096, KEEP_BODY_BYTES = 65536, KEEP_EXCHANGES = 256, USUAL_ATTEMPTS = 4, MAX_MODEL_BYTES = 256 };

static bool step_parse(struct mg_exchange *x);
static bool step_take_turn(struct mg_exchange *x);
static bool step_admit(struct mg_exchange *x);
static bool step_resolve(struct mg_exchange *x);
static bool step_limit(struct mg_exchange *x);
static void step_transform(struct mg_exchange *x);
static bool step_mark(struct mg_exchange *x);
static bool step_route(struct mg_exchange *x);
static void step_relay(struct mg_exchange *x);
static void step_settle(struct mg_exchange *x);

static void my_turn(struct mg_exchange *x);

uint64_t mg_exchange_now(const struct mg_exchange *x)
{
    return mg_loop_now_us(&x->worker->loop);
}

static void mark(struct mg_exchange *x, enum mg_phase phase)
{
    mg_timeline_phase(x->timeline, phase, mg_exchange_now(x));
}

void mg_exchange_set_state(struct mg_exchange *x, enum mg_exchange_state to)
{
    static const unsigned char before[] = {
        [MG_EXCHANGE_READING] = 0,
        [MG_EXCHANGE_TRANSFORMING] = 1 << MG_EXCHANGE_READING,
        [MG_EXCHANGE_RELAYING] = 1 << MG_EXCHANGE_TRANSFORMING | 1 << MG_EXCHANGE_FILTERING,
        [MG_EXCHANGE_FILTERING] = 1 << MG_EXCHANGE_RELAYING,
        [MG_EXCHANGE_FLUSHING] = 1 << MG_EXCHANGE_READING | 1 << MG_EXCHANGE_TRANSFORMING | 1 << MG_EXCHANGE_RELAYING |
                                 1 << MG_EXCHANGE_FILTERING,
        [MG_EXCHANGE_DONE] = 1 << MG_EXCHANGE_FLUSHING,
    };
    assert(before[to] & 1 << x->state);
    x->state = to;
}

/* ---- birth and death ------------------------------------------------------------------------- */

/* "req_" and 26 characters of Crockford's base32: 48 bits of milliseconds, 80 random bits (the ULID layout), so that
 * ids sort by time. */
static void draw_id(char out[40])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t now_ms = mg_wall_us() / 1000;
    memcpy(out, "req_", 4);
    for (int i = 0; i < 10; i++)
        out[4 + i] = digits[now_ms >> (45 - 5 * i) & 31];
    uint64_t bits[2] = {(uint64_t)(mg_random_unit() * 0x1p53), (uint64_t)(mg_random_unit() * 0x1p53)};
    for (int i = 0; i < 16; i++)
        out[14 + i] = digits[bits[i / 8] >> 5 * (i % 8) & 31];
    out[30] = '\0';
}

static struct mg_exchange *recycled(struct mg_worker *worker)
{
    struct mg_list *link = mg_list_pop_front(&worker->idle_exchanges);
    if (!link)
        return NULL;
    worker->idle_exchange_count--;
    return mg_container_of(link, struct mg_exchange, link);
}

/* Most exchanges make few attempts: `room` ends after USUAL_ATTEMPTS of them, and a workflow that may make more gets a
 * whole timeline in the arena (see fit_attempts). */
static struct mg_exchange *fresh(void)
{
    struct mg_exchange *x = mg_alloc(offsetof(struct mg_exchange, room.attempts) +
                                     USUAL_ATTEMPTS * sizeof(struct mg_attempt_record));
    mg_arena_init(&x->arena, ARENA_BYTES);
    mg_buf_init(&x->lines, MG_MAX_HEADER_BYTES * 2);
    mg_buf_init(&x->rewritten, MG_MAX_SSE_EVENT_BYTES * 2);
    return x;
}

static void reset_timeline(struct mg_timeline *timeline, uint64_t now_us)
{
    memset(timeline, 0, offsetof(struct mg_timeline, attempts));
    draw_id(timeline->id);
    timeline->start_mono_us = now_us;
    timeline->start_wall_us = mg_wall_us();
}

struct mg_exchange *mg_exchange_new(struct mg_client *client)
{
    struct mg_worker *worker = client->worker;
    struct mg_exchange *x = recycled(worker);
    if (!x)
        x = fresh();
    mg_list_init(&x->link);
    x->state = MG_EXCHANGE_READING;
    x->worker = worker;
    x->client = client;
    x->timeline = &x->room;
    reset_timeline(x->timeline, mg_loop_now_us(&worker->loop));
    mg_buf_init(&x->body, worker->config->limits.body_bytes);
    mg_buf_init(&x->text, MG_MAX_HELD_BYTES);
    x->sent_status = 0;
    x->events = x->relayed = false;
    mg_answer_init(&x->answer, client->stream, &worker->scratch);
    x->call = (struct mg_call){.arena = &x->arena, .loop = &worker->loop, .timeline = x->timeline};
    x->dialect = mg_dialects_find(worker->dialects, NULL);
    x->request = (struct mg_http_request){.method = MG_HTTP_OTHER};
    x->timeline->client = mg_arena_dup(&x->arena, mg_view_cstr(mg_stream_peer(client->stream)));
    atomic_fetch_add_explicit(&worker->in_flight, 1, memory_order_relaxed);
    mark(x, MG_PHASE_accept);
    return x;
}

static void on_recycle(struct mg_defer *defer)
{
    struct mg_exchange *x = mg_container_of(defer, struct mg_exchange, recycle);
    struct mg_worker *worker = x->worker;
    mg_loop_defer_cancel(&x->wipe_reads);
    mg_arena_reset(&x->arena);
    mg_answer_fini(&x->answer);
    mg_buf_fini(&x->body);
    mg_buf_fini(&x->text);
    mg_buf_shrink(&x->lines, 4096);
    mg_buf_shrink(&x->rewritten, 4096);
    x->surface = NULL;
    x->passthrough = NULL;
    x->upload = NULL;
    x->kept_id = MG_VIEW_NONE;
    x->live = NULL;
    x->route = NULL;
    x->candidates = NULL;
    x->plan = NULL;
    x->filtering = NULL;
    x->keeping = NULL;
    x->dropped = MG_VIEW_NONE;
    x->key_limits = NULL;
    x->key_allows = NULL;
    x->upstream_headers = (struct mg_headers){0};
    x->whole = MG_VIEW_NONE;
    x->skipped_events = x->sent_events = 0;
    x->admitted_us = x->overhead_us = 0;
    x->refusal = 0;
    x->recorded = x->counted = x->disabled = false;
    if (worker->idle_exchange_count < KEEP_EXCHANGES) {
        worker->idle_exchange_count++;
        mg_list_push_front(&worker->idle_exchanges, &x->link);
    } else {
        mg_exchange_free(x);
    }
}

void mg_exchange_free(struct mg_exchange *x)
{
    mg_relay_fini(&x->relay);
    mg_arena_fini(&x->arena);
    mg_buf_fini(&x->lines);
    mg_buf_fini(&x->rewritten);
    mg_free(x);
}

/* ---- the line -------------------------------------------------------------------------------- */

static bool has_body(const struct mg_http_request *request)
{
    return request->chunked || (request->has_length && request->content_length > 0);
}

mg_err mg_exchange_head(struct mg_exchange *x, const struct mg_http_request *request)
{
    x->request = *request;
    x->call.headers = &x->request.headers;
    x->answer.old_client = request->version_minor == 0;
    x->answer.head_only = request->method == MG_HTTP_HEAD;
    x->answer.keep_alive = false;      /* refused here, the body is not read and the connection ends */
    const char *bad_key;
    (void)mg_exchange_take_caller_keys(x, &bad_key);
    if (!step_parse(x) || !mg_upload_fits(x) || !mg_exchange_authenticate(x) || !mg_exchange_may_bring_keys(x, bad_key))
        return MG_E_DENIED;
    x->answer.keep_alive = request->keep_alive;
    if (request->expect_continue && has_body(request)) {
        mg_view go_on = MG_VIEW("HTTP/1.1 100 Continue\r\n\r\n");
        return mg_stream_write(x->client->stream, &go_on, 1) == MG_E_CLOSED ? MG_E_CLOSED : MG_OK;
    }
    return MG_OK;
}

mg_err mg_exchange_body(struct mg_exchange *x, mg_view bytes)
{
    if (x->upload)
        return mg_upload_body(x, bytes);
    if (x->body.cap == 0 && x->request.has_length)
        MG_TRY(mg_buf_reserve(&x->body, (size_t)x->request.content_length));
    x->timeline->bytes_in += bytes.len;
    return mg_buf_put(&x->body, bytes);
}

void mg_exchange_complete(struct mg_exchange *x)
{
    if (x->upload && !mg_upload_begins(x))
        return;
    if (step_take_turn(x))
        my_turn(x);                    /* else it comes later, or never */
}

static void my_turn(struct mg_exchange *x)
{
    if (mg_exchange_may_go_on(x) && step_admit(x) && step_resolve(x) && step_limit(x) && mg_keeping_recall(x, step_transform))
        step_transform(x);             /* goes on in transformed(), perhaps later */
}

static void transformed(struct mg_exchange *x)
{
    if (step_mark(x) && step_route(x))
        step_relay(x);                 /* goes on in deliver.c and ends in mg_exchange_finish() */
}

/* ---- parse --------------------------------------------------------------------------------- */

static bool step_parse(struct mg_exchange *x)
{
    bool other_method = false;
    x->surface = mg_surface_find(x->request.method, x->request.path, &other_method);
    x->dialect = mg_dialects_find(x->worker->dialects, x->surface ? mg_surface_dialect_of(x->surface, x->request.headers)
                                                                   : mg_surface_dialect(x->request.path));
    x->call.dialect = x->dialect->name;
    x->has_ours = mg_asks_ours(x->request.headers);
    x->timeline->path = x->request.path;
    x->timeline->user_agent = mg_headers_get(x->request.headers, MG_VIEW("user-agent"));
    mark(x, MG_PHASE_parse);
    if (x->request.method == MG_HTTP_OPTIONS && mg_cors_preflight(x))
        return false;
    if (x->surface) {
        x->call.surface = x->surface->name;
        x->call.prices = mg_price_book_now(x->worker->prices);
        return true;
    }
    if (other_method)
        mg_exchange_refuse(x, 405, "method_not_allowed", "%.*s does not take %.*s.", MG_FMT(mg_view_head(x->request.path, 128)),
                           MG_FMT(x->request.method_text));
    else
        mg_exchange_refuse(x, 404, "unknown_path", "There is no %.*s here. Offered are /v1/chat/completions, /v1/responses, "
                           "/v1/messages, /v1beta/models/MODEL:generateContent, /v1/completions, /v1/embeddings, /v1/images/…, /v1/audio/…, "
                           "/v1/moderations, /v1/rerank, /v1/files, /v1/models and /providers/NAME/….", MG_FMT(mg_view_head(x->request.path, 128)));
    return false;
}

/* ---- admit, resolve -------------------------------------------------------------------------- */

static bool reserve(struct mg_exchange *x, size_t bytes)
{
    if (!mg_journal_reserve(x->worker->journal, bytes))
        return false;
    x->reserved_bytes += bytes;
    return true;
}

static bool shed(struct mg_exchange *x, const char *code, const char *why)
{
    mg_metrics_shed(x->worker->metrics);
    mg_exchange_refuse(x, 503, code, "%s Try again in a second.", why);
    return false;
}

static void on_turn(struct mg_fair_wait *wait, bool entered)
{
    struct mg_exchange *x = mg_container_of(wait, struct mg_exchange, turn);
    if (entered)
        my_turn(x);
    else
        (void)shed(x, "overloaded", "This gateway has more to do than it can take, and no room was found in time.");
}

/* On a worker that is full, projects take turns; see fairness.h. */
static bool step_take_turn(struct mg_exchange *x)
{
    if (mg_fair_enter(&x->worker->fair, x->live->share, &x->turn))
        return true;
    if (!mg_fair_wait(&x->worker->fair, x->live->share, &x->turn, on_turn))
        (void)shed(x, "overloaded", "This gateway has more to do than it can take, and this project fills its share of the queue.");
    return false;
}

static bool begin_record(struct mg_exchange *x)
{
    if (!reserve(x, mg_record_worst_case(0)))
        return false;
    x->recorded = true;
    x->counted = true;
    mg_metrics_begin(x->worker->metrics);
    return true;
}

void mg_exchange_record_disabled(struct mg_exchange *x)
{
    x->disabled = true;
    if (!x->recorded)
        (void)begin_record(x);         /* without room it is refused all the same */
}

static bool step_admit(struct mg_exchange *x)
{
    if (!begin_record(x))
        return shed(x, "journal_full", "The usage journal is full.");
    x->admitted_us = mg_mono_us();
    mark(x, MG_PHASE_admit);
    return true;
}

static bool refuse_body(struct mg_exchange *x, mg_err err, const struct mg_json_error *error)
{
    if (err == MG_E_TOO_LARGE)
        mg_exchange_refuse(x, 400, "too_many_messages", "The request has more than %d messages or keys.", MG_MAX_JSON_SPANS);
    else
        mg_exchange_refuse(x, 400, "invalid_json", "The request body is not what this endpoint takes: at byte %zu: %s.",
                           error->offset, error->reason);
    return false;
}

static uint32_t deadline_ms(const struct mg_exchange *x)
{
    uint64_t asked, limit = x->route->workflow->deadline_ms;
    const struct mg_config_project *config = x->live->generation->config;
    if (mg_view_u64(mg_asked_ours(x, MG_VIEW("x-moongate-deadline-ms")), &asked) && asked > 0)
        limit = asked;
    if (config->max_deadline_ms)
        limit = MG_MIN(limit, (uint64_t)config->max_deadline_ms);
    return (uint32_t)MG_MIN(limit, (uint64_t)UINT32_MAX);
}

/* Metadata is recorded as JSON, from the header or the dialect's own field. */
static mg_view metadata(const struct mg_exchange *x)
{
    mg_view header = mg_asked_ours(x, MG_VIEW("x-moongate-metadata"));
    mg_view found = header.len ? header : x->call.request.metadata;
    return found.len <= MG_MAX_METADATA_BYTES ? found : MG_VIEW_NONE;
}

static void fill_call(struct mg_exchange *x)
{
    struct mg_call *call = &x->call;
    call->workflow = mg_view_cstr(x->route->workflow->name);
    call->session = mg_asked_ours(x, MG_VIEW("x-moongate-session"));
    call->metadata = metadata(x);
    call->default_deadline_ms = deadline_ms(x);
    call->default_max_attempts = x->route->workflow->max_attempts;
    call->flow = x->route->workflow;
    call->deadline_us = x->timeline->start_mono_us + (uint64_t)call->default_deadline_ms * 1000;
    call->finished = false;
    x->timeline->workflow = call->workflow;
    x->timeline->session = call->session;
    x->timeline->metadata = call->metadata;
    x->timeline->redacted = x->live->script && mg_script_has(x->live->script, MG_HOOK_ON_LOG, call);
    x->timeline->stream = call->request.stream;
}

static void fit_attempts(struct mg_exchange *x)
{
    if (x->call.default_max_attempts <= USUAL_ATTEMPTS)
        return;
    struct mg_timeline *whole = mg_arena_new(&x->arena, struct mg_timeline);
    memcpy(whole, x->timeline, offsetof(struct mg_timeline, attempts));
    x->timeline = x->call.timeline = whole;
}

/* The same words whether there is such a model or not: a key that may not use it learns nothing about it. */
static bool refuse_model(struct mg_exchange *x)
{
    mg_view text = mg_arena_printf(&x->arena, "This API key may not use the model '%.*s'. GET /v1/models lists what it may use.",
                                   MG_FMT(mg_view_head(x->call.request.model, 128)));
    x->route = NULL;
    mg_exchange_refuse_as(x, 403, MG_VIEW("model_not_allowed"), text, MG_VIEW("model"), 0);
    return false;
}

static bool workflow_is_on(struct mg_exchange *x)
{
    const struct mg_switch *off =
        mg_switched_find(x->live->off, MG_SWITCH_WORKFLOW, mg_view_cstr(x->route->workflow->name));
    if (!off)
        return true;
    x->timeline->workflow = mg_view_cstr(x->route->workflow->name);
    mg_exchange_refuse_disabled(x, off, mg_arena_printf(&x->arena, "The workflow '%s'", off->name).ptr);
    return false;
}

static bool resolve_model(struct mg_exchange *x)
{
    mg_view model = x->call.request.model;
    if (!model.len) {
        mg_exchange_refuse_as(x, 400, MG_VIEW("missing_model"), MG_VIEW("The field 'model' is missing: name a workflow of this project."),
                              MG_VIEW("model"), 0);
        return false;
    }
    if (model.len <= MAX_MODEL_BYTES)
        x->route = mg_routing_find(x->live->generation->routing, model, &x->arena);
    if (x->key_allows && !(x->route && mg_key_allows(x->key_allows, mg_view_cstr(x->route->workflow->name))))
        return refuse_model(x);
    if (x->route)
        return workflow_is_on(x);
    mg_view text = mg_arena_printf(&x->arena, "The model '%.*s' is no workflow of project '%.*s'%s. GET /v1/models lists them.",
                                   MG_FMT(mg_view_head(model, 128)), MG_FMT(x->call.project),
                                   x->live->generation->config->allow_direct ? " and no provider/model of it" : "");
    mg_exchange_refuse_as(x, 404, MG_VIEW("model_not_found"), text, MG_VIEW("model"), 0);
    return false;
}

/* Metadata that cannot be recorded would be missing from the bill it was sent for. */
static bool check_metadata(struct mg_exchange *x)
{
    mg_view header = mg_asked_ours(x, MG_VIEW("x-moongate-metadata"));
    mg_view found = header.len ? header : x->call.request.metadata;
    bool well_formed = !header.len || (header.ptr[0] == '{' && mg_json_check(header, NULL) == MG_OK);
    bool has_none = found.len == 0, can_be_read = has_none || mg_json_can_be_part(found, MG_USAGE_METADATA_DEPTH);
    if (well_formed && can_be_read && found.len <= MG_MAX_METADATA_BYTES)
        return true;
    mg_view text = mg_arena_printf(&x->arena, "The %s is no JSON object of at most %d bytes and %d levels without \\u0000.",
                                   header.len ? "header x-moongate-metadata" : "field 'metadata'", MG_MAX_METADATA_BYTES, MG_USAGE_METADATA_DEPTH);
    mg_exchange_refuse_as(x, 400, MG_VIEW("invalid_metadata"), text, header.len ? MG_VIEW_NONE : MG_VIEW("metadata"), 0);
    return false;
}

/* A deadline that is no number would silently become the longest one. */
static bool check_deadline(struct mg_exchange *x)
{
    uint64_t asked;
    mg_view header = mg_asked_ours(x, MG_VIEW("x-moongate-deadline-ms"));
    if (!header.len || (mg_view_u64(header, &asked) && asked > 0))
        return true;
    mg_exchange_refuse_as(x, 400, MG_VIEW("invalid_deadline"), MG_VIEW("The header x-moongate-deadline-ms is no number of milliseconds above 0."),
                          MG_VIEW_NONE, 0);
    return false;
}

/* "/v1beta/models/gemini-3:streamGenerateContent": what stands where the pattern has its star. */
static void take_path(struct mg_exchange *x)
{
    mg_view pattern = mg_view_cstr(x->surface->path), path = x->request.path;
    size_t before = mg_view_find(pattern, "*"), after = pattern.len - before - 1;
    x->call.request.model = mg_models_name(&x->arena, mg_view_head(mg_view_skip(path, before), path.len - before - after));
    x->call.request.stream = x->surface->stream;
}

static bool read_request(struct mg_exchange *x)
{
    struct mg_json_error error = {0, "it is empty"};
    mg_err err = mg_upload_scan(x, &error);
    if (err != MG_OK)
        return refuse_body(x, err, &error);
    if (x->surface->model_in_path)
        take_path(x);
    return x->surface->kept ? mg_files_resolve(x) : resolve_model(x);
}

static bool step_resolve(struct mg_exchange *x)
{
    if (x->surface->answer) {
        x->surface->answer(x);
        return false;
    }
    x->free = x->surface->free;
    if (!(x->surface->passthrough ? mg_passthrough_resolve(x) : read_request(x)) || !mg_exchange_has_keys_it_needs(x) || !check_deadline(x) || !check_metadata(x))
        return false;
    fill_call(x);
    if (x->passthrough && !mg_passthrough_is_unguarded(x))
        return false;
    fit_attempts(x);
    if (!reserve(x, mg_record_worst_case(x->call.default_max_attempts) - mg_record_worst_case(0) +
                        mg_record_metadata_room(x->call.metadata.len)))
        return shed(x, "journal_full", "The usage journal is full.");
    mark(x, MG_PHASE_resolve);
    return true;
}

/* ---- limit ----------------------------------------------------------------------------------- */

/* Requests and concurrency; tokens and money are asked for before each attempt. */
static bool step_limit(struct mg_exchange *x)
{
    return mg_limiting_begin(x);
}

/* ---- transform, mark ------------------------------------------------------------------------- */

static void on_request_done(void *arg, const struct mg_hook_outcome *outcome)
{
    struct mg_exchange *x = arg;
    x->hook = NULL;
    if (outcome->kind == MG_HOOK_RESPOND)
        mg_exchange_respond(x, outcome);
    else if (outcome->kind == MG_HOOK_DENY)
        mg_exchange_refuse_as(x, outcome->status ? outcome->status : 403, outcome->code.len ? outcome->code : MG_VIEW("denied"),
                              outcome->message, MG_VIEW_NONE, 0);
    else
        transformed(x);
}

static void step_transform(struct mg_exchange *x)
{
    mg_exchange_set_state(x, MG_EXCHANGE_TRANSFORMING);
    struct mg_script *script = x->live->script;
    if (!script || !mg_script_has(script, MG_HOOK_ON_REQUEST, &x->call)) {
        transformed(x);
        return;
    }
    struct mg_hook_run *run = mg_script_on_request(script, &x->call, on_request_done, x);
    if (run)
        x->hook = run;
}

/* The body is final from here on: every attempt is built from these bytes. */
static bool step_mark(struct mg_exchange *x)
{
    struct mg_json_error error;
    mg_err err = mg_request_render(&x->call.request, &error);
    if (err != MG_OK) {
        mg_exchange_refuse(x, 500, "transform_failed", "A plugin left a request that cannot be sent: %s.", mg_err_text(err));
        return false;
    }
    if (x->keeping)
        mg_keeping_mark(x);
    x->timeline->body_hash = mg_fingerprint(x->call.request.body);
    mark(x, MG_PHASE_transform);
    mark(x, MG_PHASE_mark);            /* prompt-cache marks belong to the prompt-cache issue: nothing to place yet */
    return true;
}

/* ---- route ----------------------------------------------------------------------------------- */

static void fill_figures(struct mg_exchange *x)
{
    x->candidates = mg_arena_array(&x->arena, struct mg_candidate, (size_t)x->route->count);
    memcpy(x->candidates, x->route->candidates, (size_t)x->route->count * sizeof *x->candidates);
    for (int i = 0; i < x->route->count; i++) {
        struct mg_stats_figures figures;
        mg_stats_read(x->route->reaches[i].stats, &figures);
        bool off = mg_switched_find(x->live->off, MG_SWITCH_PROVIDER, mg_view_cstr(x->candidates[i].provider));
        bool own_key = mg_caller_keys_find(x->call.caller_keys, mg_view_cstr(x->candidates[i].provider));
        x->candidates[i].state = off ? "open" : own_key ? "closed" : mg_reach_state(&x->route->reaches[i], mg_exchange_now(x), NULL);
        x->candidates[i].inflight = figures.inflight;
        x->candidates[i].ewma_us = figures.ewma_us;
        x->candidates[i].error_rate = figures.error_rate;
    }
}

static bool step_route(struct mg_exchange *x)
{
    int index = mg_routing_index(x->live->generation->routing, x->route);
    if (x->passthrough) {
        mg_passthrough_plan(x);
    } else if (!mg_plan_use_cached(x, index)) {
        fill_figures(x);
        x->plan = mg_arena_new(&x->arena, struct mg_plan);
        mg_err err = x->live->policy->route(x->live->policy_arg, &x->call, x->candidates, x->route->count, x->plan);
        if (err != MG_OK || x->plan->count == 0) {
            mg_exchange_refuse(x, 500, "no_plan", "The routing policy of project '%.*s' gave no plan; `moongate trace %s` shows why.",
                               MG_FMT(x->call.project), x->timeline->id);
            return false;
        }
        mg_plan_keep(x, index);
    } else if (mg_plan_wants_figures(&x->cached->plan)) {
        fill_figures(x);
    }
    x->timeline->explain = x->cached ? x->cached->plan.explain : x->plan->explain;
    mark(x, MG_PHASE_route);
    return true;
}

/* ---- relay ----------------------------------------------------------------------------------- */

/* What the configuration sets for one provider of a route, the client sets for none of them. */
static bool is_configured(const struct mg_route *route, mg_view name)
{
    for (int i = 0; i < route->count; i++)
        if (mg_upstream_sets(route->upstreams[i], name))
            return true;
    return false;
}

/* End-to-end headers of the client, as they came. */
static mg_view forwarded_lines(struct mg_exchange *x)
{
    struct mg_buf *lines = &x->lines;
    struct mg_headers headers = x->request.headers;
    mg_buf_clear(lines);
    for (size_t i = 0; i < headers.count; i++) {
        const struct mg_header *header = &headers.items[i];
        if (header->traits & (MG_HEADER_HOP | MG_HEADER_NOT_UPSTREAM) || is_configured(x->route, header->name))
            continue;
        if (mg_http_put_line(lines, header) != MG_OK)
            break;                     /* the parser bounded them below this buffer's size */
    }
    return mg_arena_dup(&x->arena, mg_buf_view(lines));
}

static void step_relay(struct mg_exchange *x)
{
    if (!x->passthrough && !mg_filtering_begin(x))
        return;
    mg_exchange_set_state(x, MG_EXCHANGE_RELAYING);
    struct mg_relay_call call = {
        .call = &x->call,
        .pool = &x->worker->pool,
        .journal = x->worker->journal,
        .prices = x->call.prices,
        .route = x->route,
        .candidates = x->candidates,
        .plan = x->cached ? &x->cached->plan : x->plan,
        .policy = x->live->policy,
        .policy_arg = x->live->policy_arg,
        .surface = x->surface->name,
        .converse = x->surface->converse,
        .task = x->surface->task,
        .resumes = x->surface->resumes,
        .reweaves = x->surface->reweaves,
        .lenient = mg_view_ieq(mg_asked_ours(x, MG_VIEW("x-moongate-lenient")), MG_VIEW("true")),
        .translator = &x->worker->translator,
        .client_adapter = x->dialect->adapter,
        .own_params = x->keeping ? x->keeping->params : MG_VIEW_NONE,
        .own_params_reasoning = x->keeping ? x->keeping->params_reasoning : MG_VIEW_NONE,
        .vendor_headers = mg_dialects_headers(x->worker->dialects),
        .forwarded = x->passthrough ? MG_VIEW_NONE : forwarded_lines(x),
        .free = x->free,
        .worker = x->worker->index,
        .whole = x->live->script && mg_script_has(x->live->script, MG_HOOK_ON_RESPONSE, &x->call),
        .ops = &mg_deliver_ops,
        .arg = x,
    };
    mg_pinning_call(x, &call);
    mg_upload_call(x, &call);
    if (x->passthrough)
        mg_passthrough_start(x, &call);
    else
        mg_offline_begin(x);
    x->relayed = true;
    mg_relay_start(&x->relay, &call);
    x->overhead_us = mg_mono_us() - x->admitted_us;
}

/* ---- settle ---------------------------------------------------------------------------------- */

/* A stream that broke off was answered with 200, and failed all the same. */
static enum mg_class last_class(const struct mg_exchange *x, int status, bool clean)
{
    if (status == 499)
        return MG_CLASS_cancelled;
    if ((status < 400 && clean) || !x->relayed)
        return MG_CLASS_none;
    return x->relay.result.ok && !x->passthrough ? MG_CLASS_none : x->relay.result.class_;
}

/* on_log said so, or failed to say what may stay. */
static void drop_content(struct mg_exchange *x)
{
    x->timeline->metadata = x->timeline->explain = MG_VIEW_NONE;
    x->timeline->note_bytes = 0;
    mg_timeline_note(x->timeline, mg_exchange_now(x), "plugin", "on_log dropped metadata, explanation and notes");
}

/* The gateway's own time is measured with the clock; the rest was waiting, for the client or for upstreams. */
static void settle_times(struct mg_exchange *x)
{
    uint64_t now_us = mg_mono_us(), overhead_us = mg_exchange_overhead_us(x);
    mg_timeline_phase(x->timeline, MG_PHASE_settle, now_us);
    uint64_t total_us = mg_timeline_duration_us(x->timeline);
    x->timeline->upstream_us = total_us > overhead_us ? total_us - overhead_us : 0;
}

/* Models that only the client named share one series of their provider, or it could make as many as it has names. */
static void count(struct mg_exchange *x)
{
    mg_view workflow = x->timeline->workflow;
    bool made = x->route && !mg_routing_is_declared(x->live->generation->routing, x->route);
    if (made)
        x->timeline->workflow = mg_arena_printf(&x->arena, "%s/*", x->route->candidates[0].provider);
    mg_metrics_settle(x->worker->metrics, x->timeline);
    x->timeline->workflow = workflow;
}

/* Which attempts the project pays for. */
static void charge(struct mg_exchange *x)
{
    if (x->live && x->live->generation->config->charge == MG_CHARGE_FUNCTION)
        mg_script_charge(x->live->script, &x->call);
    else if (!x->timeline->charges_all)
        x->timeline->uncharged = mg_charge_serving(x->timeline);
}

static void step_settle(struct mg_exchange *x)
{
    settle_times(x);
    if (x->keeping)
        mg_keeping_end(x);
    if (x->skipped_events)
        mg_timeline_note(x->timeline, mg_exchange_now(x), "stream", "%u malformed events were skipped", x->skipped_events);
    if (x->recorded) {
        if (x->live->script && !x->disabled && mg_script_has(x->live->script, MG_HOOK_ON_LOG, &x->call) &&
            !mg_script_on_log(x->live->script, &x->call))
            drop_content(x);
        charge(x);
        if (mg_record_exchange(x->worker->journal, x->timeline) != MG_OK)
            mg_log_error("journal.refused", "exchange=%s", x->timeline->id);
        mg_journal_unreserve(x->worker->journal, x->reserved_bytes);
        x->reserved_bytes = 0;
    }
    if (x->counted)
        count(x);
    mg_limiting_end(x);
    mg_fair_leave(&x->turn);
    atomic_fetch_sub_explicit(&x->worker->in_flight, 1, memory_order_relaxed);
    x->call.finished = true;
    mg_plan_unref(x->cached);
    x->cached = NULL;
    if (x->live)
        mg_live_leave(x->worker, x->live);
}

/* Recorded before the client has its last byte. */
static void settle(struct mg_exchange *x, int status, bool clean, uint64_t bytes_out)
{
    mg_exchange_set_state(x, MG_EXCHANGE_FLUSHING);
    x->timeline->status = (uint16_t)status;
    x->timeline->clean = clean;
    x->timeline->class_ = last_class(x, status, clean);
    x->timeline->bytes_out = bytes_out;
    mark(x, MG_PHASE_relay);
    step_settle(x);
}

/* Recycled at the end of this turn; the client may go on. */
static void done(struct mg_exchange *x, bool clean)
{
    mg_exchange_set_state(x, MG_EXCHANGE_DONE);
    struct mg_client *client = x->client;
    x->client = NULL;
    mg_loop_defer(&x->worker->loop, &x->recycle, on_recycle);
    if (client)
        mg_client_done(client, x->answer.keep_alive && clean);
}

void mg_exchange_finish(struct mg_exchange *x, int status, bool clean)
{
    settle(x, status, clean, x->answer.bytes);
    mg_answer_end(&x->answer, clean);
    done(x, clean);
}

void mg_exchange_answer(struct mg_exchange *x, int status, mg_view lines, mg_view body)
{
    settle(x, status, true, body.len);
    mg_answer_whole(&x->answer, status, lines, body);
    done(x, true);
}

void mg_exchange_gone(struct mg_exchange *x)
{
    x->client = NULL;
    x->answer.stream = NULL;
    if (x->hook)
        mg_hook_cancel(x->hook);
    x->hook = NULL;
    bool has_all = x->state == MG_EXCHANGE_RELAYING && mg_relay_has_answered(&x->relay);
    mg_relay_left(&x->relay);
    mg_exchange_finish(x, has_all ? x->sent_status : 499, has_all);
}

void mg_exchange_drained(struct mg_exchange *x)
{
    if (x->state == MG_EXCHANGE_RELAYING)
        mg_relay_pause(&x->relay, false);
}
