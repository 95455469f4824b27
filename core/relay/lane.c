/* What goes upstream (patch, body, head), and what stays of it (record, journal, breaker, figures). */
#include "relay/lane.h"


#include "base/mem.h"
#include "chat/asked.h"
#include "chat/form.h"
#include "chat/inner.h"
#include "config/known.h"
#include "meter/prices.h"
#include "meter/record.h"
#include "relay/caller_keys.h"
#include "relay/rates.h"
#include "relay/raw.h"
#include "relay/task.h"
#include "relay/relay.h"
#include "relay/translated.h"
#include "relay/units.h"

enum { P99_WANTS_CALLS = 20 };         /* fewer say nothing about a p99 */

static struct mg_timeline *timeline(const struct mg_lane *lane)
{
    return lane->relay->call.call->timeline;
}

static struct mg_arena *arena(const struct mg_lane *lane)
{
    return lane->relay->call.call->arena;
}

static uint64_t now_us(const struct mg_lane *lane)
{
    return mg_loop_now_us(lane->relay->call.call->loop);
}

static const struct mg_candidate *candidate(const struct mg_lane *lane)
{
    return &lane->relay->call.candidates[lane->candidate];
}

static const struct mg_upstream *upstream(const struct mg_lane *lane)
{
    return lane->relay->call.route->upstreams[lane->candidate];
}

static const struct mg_plan_entry *plan_entry(const struct mg_lane *lane)
{
    return &lane->relay->call.plan->entries[lane->entry];
}

struct mg_attempt_record *mg_lane_record(const struct mg_lane *lane)
{
    return &timeline(lane)->attempts[lane->number - 1];
}

/* ---- building -------------------------------------------------------------------------------- */

static mg_view credential_name(const struct mg_lane *lane)
{
    int at = lane->credential;
    if (at == MG_CREDENTIAL_CALLER)
        return MG_VIEW(MG_CALLER_KEY_NAME);
    return at >= 0 ? mg_view_cstr(upstream(lane)->credentials[at].name) : MG_VIEW_NONE;
}

static void open_record(struct mg_lane *lane, const struct mg_lane_start *start)
{
    uint64_t at_us = now_us(lane) - timeline(lane)->start_mono_us;
    *mg_lane_record(lane) = (struct mg_attempt_record){
        .start_us = at_us ? at_us : 1,
        .target = mg_view_cstr(candidate(lane)->target->id),
        .provider = mg_view_cstr(candidate(lane)->provider),
        .model = mg_view_cstr(candidate(lane)->target->model),
        .credential = credential_name(lane),
        .arm = mg_view_cstr(candidate(lane)->arm),
        .vendor = mg_view_cstr(upstream(lane)->config->vendor),
        .dialect = mg_view_cstr(mg_adapter_declaration(lane->adapter)->dialect),
        .why = start->why.len ? start->why : lane->relay->call.plan->explain,
        .reason = lane->reason,
        .number = (uint16_t)lane->number,
        .entry = (uint16_t)lane->entry,
        .waited_us = start->waited_us,
    };
    timeline(lane)->attempt_count = (uint16_t)lane->number;
}

/* Is there a later target that takes more tokens than this one? */
static bool larger_window_left(const struct mg_lane *lane)
{
    const struct mg_plan *plan = lane->relay->call.plan;
    uint32_t window = candidate(lane)->target->context_window;
    for (int e = lane->entry; e < plan->count && window; e++)
        for (int c = 0; c < plan->entries[e].choice_count; c++)
            if (lane->relay->call.candidates[plan->entries[e].choices[c].candidate].target->context_window > window)
                return true;
    return false;
}

/* What was uploaded is kept nowhere. What runs in the background runs twice when it is asked for twice. `store` leaves a copy that nobody reads: that may
 * be repeated. A provider that refused did nothing. */
static bool repeatable(const struct mg_lane *lane)
{
    bool may_run = mg_lane_record(lane)->mark_us[MG_MARK_sent] && lane->attempt.facts.status < 300;
    return !mg_feed_is_gone(lane->relay->call.feed) && (!lane->relay->call.call->request.background || !may_run);
}

static void fill_facts(const struct mg_lane *lane, struct mg_attempt_facts *facts)
{
    const struct mg_relay *relay = lane->relay;
    facts->candidate = candidate(lane);
    facts->model = mg_lane_record(lane)->model;
    facts->number = lane->number;
    facts->try_number = lane->try_number;
    facts->tries = plan_entry(lane)->tries;
    facts->reason = lane->reason;
    facts->bytes_to_client = relay->committed && relay->answering == lane ? timeline(lane)->bytes_out + 1 : 0;
    facts->credential = credential_name(lane);
    facts->tokens_in = mg_request_tokens_estimate(&relay->call.call->request);
    facts->larger_window_left = larger_window_left(lane);
    facts->repeatable = repeatable(lane);
}

/* A repair that fits: each once, and not many in one exchange. */
static void find_repair(struct mg_lane *lane)
{
    const struct mg_relay *relay = lane->relay;
    lane->repair = -1;
    if (relay->committed || relay->call.raw || relay->repaired == MG_RELAY_REPAIRS || lane->attempt.facts.status < 400 || !lane->attempt.facts.repeatable)
        return;
    lane->repair = mg_repair_find(lane->adapter, lane->attempt.facts.status, &lane->attempt.tap, lane->request, &lane->change);
    lane->attempt.facts.repair = mg_repair_name(lane->adapter, lane->repair);
}

void mg_lane_facts(struct mg_lane *lane)
{
    fill_facts(lane, &lane->attempt.facts);
    find_repair(lane);
}

static void ask_patch(struct mg_lane *lane, struct mg_attempt_patch *out_patch)
{
    const struct mg_relay_call *call = &lane->relay->call;
    out_patch->model = out_patch->params = MG_VIEW_NONE;
    out_patch->header_count = 0;       /* and what headers there are not need no zeros */
    if (!call->policy->on_attempt || call->raw)
        return;
    struct mg_attempt_facts facts = {.phase = "start"};
    fill_facts(lane, &facts);
    if (call->policy->on_attempt(call->policy_arg, call->call, &facts, out_patch) != MG_OK)
        *out_patch = (struct mg_attempt_patch){.header_count = 0};
}

/* "*" stands for whatever model the client named. */
static mg_view model_to_send(const struct mg_lane *lane, const struct mg_attempt_patch *patch)
{
    mg_view model = patch->model.len ? patch->model : mg_view_cstr(candidate(lane)->target->model);
    return mg_view_eq(model, MG_VIEW("*")) ? lane->relay->call.call->request.model : model;
}

/* NULL: the provider has no such thing. */
static const struct mg_adapter_operation *operation(const struct mg_lane *lane)
{
    const struct mg_relay_call *call = &lane->relay->call;
    if (!mg_lane_answers_translated(lane))
        return mg_adapter_operation(lane->adapter, call->surface);
    return call->task ? mg_task_operation(lane->adapter, call->task) : mg_adapter_converse(lane->adapter);
}

/* What every conversation with the provider says. */
static mg_view adapter_params(const struct mg_lane *lane)
{
    const char *params = mg_adapter_declaration(lane->adapter)->params;
    return params && operation(lane) == mg_adapter_converse(lane->adapter) ? mg_view_cstr(params) : MG_VIEW_NONE;
}

static mg_err build_raw_body(struct mg_lane *lane, const struct mg_raw *raw)
{
    lane->model = mg_lane_record(lane)->model = raw->model;
    lane->body.parts[0] = raw->body;
    lane->body.count = raw->body.len > 0;
    lane->body.length = raw->body.len;
    return MG_OK;
}

/* What the gateway itself wants said to a provider that speaks the client's dialect. */
static mg_view own_params(const struct mg_lane *lane, mg_view model)
{
    const struct mg_relay_call *call = &lane->relay->call;
    if (!call->own_params.len || mg_lane_answers_translated(lane))
        return MG_VIEW_NONE;
    const struct mg_model *known = mg_target_known(lane->relay->call.route->config, candidate(lane)->target, model);
    return known && known->can[MG_ABILITY_reasoning] == MG_KNOWN_YES ? call->own_params_reasoning : call->own_params;
}

/* Edits of members inside the conversation make another request of it. */
static mg_err leave_out_inner(struct mg_lane *lane)
{
    const char *paths[MG_BODY_EDITS];
    size_t count = 0;
    for (size_t i = 0; i < lane->change.edit_count; i++)
        if (mg_inner_is_path(lane->change.edits[i]->field))
            paths[count++] = lane->change.edits[i]->field;
    return mg_inner_without(lane->request, mg_adapter_declaration(lane->adapter)->dialect, paths, count, arena(lane), &lane->request);
}

static mg_view join(struct mg_arena *a, const struct mg_body *body)
{
    char *text = mg_arena_alloc(a, body->length + 1);
    size_t at = 0;
    for (size_t i = 0; i < body->count; i++) {
        memcpy(text + at, body->parts[i].ptr, body->parts[i].len);
        at += body->parts[i].len;
    }
    return mg_view_of(text, at);
}

/* The fields of the form became a JSON body like any other: back into the form with them. */
static mg_err build_form(struct mg_lane *lane)
{
    const struct mg_relay_call *call = &lane->relay->call;
    mg_view fields = join(arena(lane), &lane->body);
    MG_TRY(mg_form_body(lane->request->form, call->window, fields, arena(lane), &lane->body));
    if (!call->feed || !call->feed->chunked)
        return MG_OK;
    char *head = mg_arena_alloc(arena(lane), MG_HTTP_CHUNK_HEAD);
    memmove(&lane->body.parts[1], &lane->body.parts[0], lane->body.count * sizeof lane->body.parts[0]);
    lane->body.parts[0] = mg_view_of(head, mg_http_chunk_head(head, lane->body.length));
    lane->body.parts[++lane->body.count] = MG_HTTP_CHUNK_TAIL;
    lane->body.count++;
    return MG_OK;
}

static mg_err build_body(struct mg_lane *lane, const struct mg_attempt_patch *patch)
{
    if (lane->relay->call.raw)
        return build_raw_body(lane, lane->relay->call.raw);
    const struct mg_adapter_decl *decl = mg_adapter_declaration(lane->adapter);
    lane->body = (struct mg_body){.count = 0};
    lane->repairs |= mg_repair_known(lane->relay->call.route->repairs[lane->candidate], now_us(lane));
    mg_view model = model_to_send(lane, patch);
    lane->change = (struct mg_body_change){
        .model = model,
        .params = {adapter_params(lane), own_params(lane, model), mg_view_cstr(candidate(lane)->target->params), plan_entry(lane)->patch, patch->params},
        .usage_field = decl->usage_opt_in_field,
        .usage_member = decl->usage_opt_in_member,
    };
    if (lane->relay->call.task)        /* what is set for a target's conversations says nothing to these */
        memset(lane->change.params, 0, sizeof lane->change.params);
    mg_repair_fill(lane->adapter, lane->repairs, &lane->change);
    if (lane->relay->call.bodiless)
        return MG_OK;
    MG_TRY(leave_out_inner(lane));
    lane->model = mg_lane_record(lane)->model = lane->change.model;
    if (strstr(operation(lane)->path, "{model}")) {
        lane->change.model = MG_VIEW_NONE;
        lane->change.drop_model = lane->request->model_span.len > 0;
    }
    MG_TRY(mg_request_for_attempt(lane->request, arena(lane), &lane->change, &lane->body));
    return lane->request->form ? build_form(lane) : MG_OK;
}

static mg_view line_name(mg_view line)
{
    return mg_view_head(line, mg_view_find(line, ":"));
}

static mg_view next_line(mg_view *lines)
{
    mg_view line = mg_view_head(*lines, mg_view_find(*lines, "\n") + 1);
    *lines = mg_view_skip(*lines, line.len);
    return line;
}

static bool has_line(mg_view lines, mg_view name)
{
    while (lines.len > 0)
        if (mg_view_ieq(line_name(next_line(&lines)), name))
            return true;
    return false;
}

/* Of a vendor and its SDKs: they mean nothing to another, or something else. */
static bool is_of_vendor(const struct mg_lane *lane, mg_view name)
{
    for (const char *const *beginning = lane->relay->call.vendor_headers; beginning && *beginning; beginning++)
        if (mg_view_ieq(mg_view_head(name, strlen(*beginning)), mg_view_cstr(*beginning)))
            return true;
    return false;
}

static mg_view forwarded_lines(const struct mg_lane *lane)
{
    mg_view lines = lane->relay->call.forwarded;
    if (!lane->translated || lane->translated->same)
        return lines;
    char *kept = mg_arena_alloc(arena(lane), lines.len + 1);
    size_t len = 0;
    while (lines.len > 0) {
        mg_view line = next_line(&lines);
        if (is_of_vendor(lane, line_name(line)))
            continue;
        memcpy(kept + len, line.ptr, line.len);
        len += line.len;
    }
    return mg_view_of(kept, len);
}

/* A header of the client that a patch sets is the patch's to say. */
static mg_err put_forwarded(struct mg_buf *head, mg_view lines, const struct mg_attempt_patch *patch)
{
    if (patch->header_count == 0)
        return mg_buf_put(head, lines);
    while (lines.len > 0) {
        mg_view line = next_line(&lines), name = line_name(line);
        bool patched = false;
        for (size_t i = 0; i < patch->header_count; i++)
            patched |= mg_view_ieq(name, patch->headers[i].name);
        if (!patched)
            MG_TRY(mg_buf_put(head, line));
    }
    return MG_OK;
}

/* The same key on each attempt of an exchange, where the provider takes one. */
static mg_err put_idempotency(struct mg_buf *head, const struct mg_lane *lane)
{
    const char *name = upstream(lane)->config->idempotency_header;
    if (name && lane->relay->call.raw && has_line(lane->relay->call.forwarded, mg_view_cstr(name)))
        return MG_OK;
    return name ? mg_http_put_header(head, mg_view_cstr(name), mg_view_cstr(timeline(lane)->id)) : MG_OK;
}

/* What the adapter sends with each request, unless the client said it itself. */
static mg_err put_fixed(struct mg_buf *head, const struct mg_lane *lane, mg_view forwarded)
{
    const struct mg_adapter_decl *decl = mg_adapter_declaration(lane->adapter);
    for (int i = 0; i < decl->header_count; i++)
        if (!has_line(forwarded, mg_view_cstr(decl->headers[i].name)))
            MG_TRY(mg_http_put_header(head, mg_view_cstr(decl->headers[i].name), mg_view_cstr(decl->headers[i].value)));
    return MG_OK;
}

static mg_err put_path(struct mg_buf *head, const struct mg_lane *lane)
{
    const struct mg_adapter_operation *op = operation(lane);
    const struct mg_adapter_value values[] = {{"model", lane->model}, {"id", lane->relay->call.id}};
    const char *path = lane->request->stream ? op->stream_path : op->path;
    mg_view unknown, query = lane->relay->call.query;
    MG_TRY(mg_adapter_expand(mg_adapter_declaration(lane->adapter), path, values, MG_COUNT(values), head, &unknown));
    if (query.len == 0)
        return MG_OK;
    MG_TRY(mg_buf_putc(head, strchr(path, '?') ? '&' : '?'));
    return mg_buf_put(head, query);
}

/* Some servers want it of every method that usually has a body. */
static bool says_length(const struct mg_lane *lane)
{
    const struct mg_raw *raw = lane->relay->call.raw;
    return lane->body.length || !raw || mg_view_starts(raw->method, MG_VIEW("P"));
}

static mg_err put_framing(struct mg_buf *head, const struct mg_lane *lane)
{
    const struct mg_feed *feed = lane->relay->call.feed;
    if (lane->relay->call.bodiless || !says_length(lane))
        return MG_OK;
    if (feed && feed->chunked)
        return mg_http_put_own(head, MG_VIEW("transfer-encoding"), MG_VIEW("chunked"));
    return mg_http_put_header_u64(head, MG_VIEW("content-length"), lane->body.length + (feed ? feed->length : 0));
}

static mg_err put_request_line(struct mg_buf *head, const struct mg_lane *lane)
{
    const struct mg_raw *raw = lane->relay->call.raw;
    if (raw)
        return mg_http_put_request_line(head, raw->method, raw->target);
    MG_TRY(mg_buf_put(head, lane->relay->call.method.len ? lane->relay->call.method : MG_VIEW("POST")));
    MG_TRY(mg_buf_putc(head, ' '));
    MG_TRY(mg_buf_put(head, upstream(lane)->base_path));
    MG_TRY(put_path(head, lane));
    return mg_buf_put(head, MG_VIEW(" HTTP/1.1\r\n"));
}

static mg_err build_head(struct mg_lane *lane, const struct mg_attempt_patch *patch)
{
    const struct mg_upstream *up = upstream(lane);
    mg_view forwarded = forwarded_lines(lane);
    struct mg_buf *head = &lane->head;
    if (!head->max)
        mg_buf_init(head, MG_MAX_HEADER_BYTES * 2);
    mg_buf_clear(head);
    MG_TRY(put_request_line(head, lane));
    MG_TRY(mg_buf_put(head, up->fixed_head));
    MG_TRY(put_idempotency(head, lane));
    MG_TRY(put_fixed(head, lane, forwarded));
    MG_TRY(put_forwarded(head, forwarded, patch));
    for (size_t i = 0; i < patch->header_count; i++)
        MG_TRY(mg_http_put_header(head, patch->headers[i].name, patch->headers[i].value));
    MG_TRY(put_framing(head, lane));
    return mg_http_put_end(head);
}

/* ---- what it costs --------------------------------------------------------------------------- */

/* Providers bill no errors. */
static uint64_t call_cost(const struct mg_attempt_record *attempt, const struct mg_raw *raw)
{
    bool refused = attempt->status >= 400 || (!attempt->status && attempt->end_us && !attempt->mark_us[MG_MARK_sent]);
    return refused ? 0 : mg_raw_cost_picousd(raw, attempt->bytes_sent + attempt->bytes_received);
}

static void put_cost(const struct mg_lane *lane, struct mg_attempt_record *attempt, const struct mg_usage *usage)
{
    struct mg_price own;
    struct mg_price_call call = {
        .project = timeline(lane)->project,
        .provider = attempt->provider,
        .vendor = attempt->vendor,
        .model = attempt->model,
        .served = attempt->served,
        .tier = attempt->tier,
        .at_us = timeline(lane)->start_wall_us + attempt->start_us,
        .own = mg_target_price(candidate(lane)->target, &own),
    };
    const struct mg_raw *raw = lane->relay->call.raw;
    const struct mg_price *price = raw && !raw->known ? NULL : mg_prices_find(lane->relay->call.prices, &call);
    bool by_call = raw && raw->priced && !price && !lane->relay->call.free;
    attempt->priced = price != NULL || by_call || lane->relay->call.free;
    attempt->own_price = by_call || (price && price == call.own);
    attempt->cost_picousd = by_call ? call_cost(attempt, raw) : price ? mg_price_cost(price, usage, attempt->tier) : 0;
    attempt->cost_microusd = mg_microusd(attempt->cost_picousd);
}

/* With what it costs should the process die before it settles: a budget counts that too. */
static mg_err record_started(const struct mg_lane *lane)
{
    struct mg_attempt_record *attempt = mg_lane_record(lane);
    const struct mg_estimate *estimate = mg_stats_estimate(lane->relay->call.route->reaches[lane->candidate].stats);
    bool free = lane->relay->call.free || lane->relay->call.plain;
    struct mg_usage sent = {.input_tokens = free ? 0 : mg_estimate_input(estimate, lane->body.length)};
    put_cost(lane, attempt, &sent);
    mg_err err = mg_record_started(lane->relay->call.journal, timeline(lane), attempt, sent.input_tokens);
    attempt->cost_picousd = attempt->cost_microusd = 0;
    return err;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* A timer that follows what the target was seen to do: a multiple of its p99, once that means something. */
static uint32_t adaptive_ms(double factor, uint64_t p99_us, uint32_t at_least_ms, uint32_t fixed_ms)
{
    double wanted_ms = factor * (double)p99_us / 1000;
    return (uint32_t)MG_MIN(MG_MAX(wanted_ms, (double)at_least_ms), (double)fixed_ms);
}

static struct mg_timeouts timers(const struct mg_lane *lane)
{
    const struct mg_config_workflow *workflow = lane->relay->call.route->workflow;
    struct mg_timeouts timeouts = plan_entry(lane)->timeouts;
    if (lane->pass.permit.probe)       /* whoever tries a target that failed does not wait long for it */
        timeouts.first_token_ms = MG_MIN(timeouts.first_token_ms, upstream(lane)->config->breaker.probe_ms);
    if (workflow->first_token_factor <= 0 && workflow->slow_factor <= 0)
        return timeouts;
    struct mg_stats_figures seen;
    mg_stats_read(lane->pass.reach->stats, &seen);
    if (seen.calls < P99_WANTS_CALLS)
        return timeouts;
    if (workflow->first_token_factor > 0 && seen.p99_us)
        timeouts.first_token_ms = adaptive_ms(workflow->first_token_factor, seen.p99_us, workflow->first_token_min_ms,
                                              timeouts.first_token_ms);
    if (workflow->slow_factor > 0 && seen.total_p99_us)
        timeouts.total_ms = adaptive_ms(workflow->slow_factor, seen.total_p99_us, workflow->first_token_min_ms,
                                        timeouts.total_ms);
    return timeouts;
}

static struct mg_sealed *caller_key(const struct mg_lane *lane)
{
    const struct mg_caller_keys *keys = lane->relay->call.call->caller_keys;
    return lane->credential == MG_CREDENTIAL_CALLER ? mg_caller_keys_find(keys, mg_view_cstr(candidate(lane)->provider))->sealed
                                                    : NULL;
}

static void send_off(struct mg_lane *lane, const struct mg_attempt_ops *ops)
{
    const struct mg_config_workflow *workflow = lane->relay->call.route->workflow;
    bool plain = lane->relay->call.plain;
    struct mg_attempt_call call = {
        .loop = lane->relay->call.call->loop,
        .pool = lane->relay->call.pool,
        .upstream = upstream(lane),
        .adapter = lane->adapter,
        .head = mg_buf_view(&lane->head),
        .credential = lane->credential,
        .caller_key = caller_key(lane),
        .body = &lane->body,
        .feed = lane->relay->call.feed,
        .stream = lane->relay->call.call->request.stream && !lane->relay->call.raw,
        .plain = plain,
        .raw = lane->relay->call.raw,
        .free = lane->relay->call.free,
        .once = lane->relay->call.call->request.background || lane->relay->call.feed || (lane->relay->call.raw && lane->relay->call.raw->once),
        .whole = !plain && (workflow->has_accept || workflow->expect_schema || lane->relay->call.whole || mg_lane_answers_translated(lane)),
        .timeouts = timers(lane),
        .deadline_us = lane->relay->deadline_us,
        .record = mg_lane_record(lane),
        .ops = ops,
        .arg = lane,
    };
    lane->busy = true;
    mg_attempt_start(&lane->attempt, &call);
}

static mg_err not_built(struct mg_lane *lane, mg_err err)
{
    struct mg_attempt_record *attempt = mg_lane_record(lane);
    attempt->class_ = MG_CLASS_server_error;
    attempt->action = MG_ACTION_fail;
    attempt->end_us = 1;
    attempt->error = mg_view_cstr(mg_err_text(err));
    mg_reach_abandon(&lane->pass, now_us(lane), lane->relay->call.worker);
    if (lane->relay->call.ops->on_settled)
        lane->relay->call.ops->on_settled(lane->relay->call.arg, lane->candidate, attempt);
    return err;
}

mg_err mg_lane_start(struct mg_lane *lane, const struct mg_lane_start *start)
{
    lane->entry = start->entry;
    lane->candidate = start->candidate;
    lane->try_number = start->try_number;
    lane->reason = start->reason;
    lane->pass = start->pass;
    lane->credential = start->pass.credential;
    lane->goes_on = false;
    lane->repairs = start->repairs;
    lane->repair = -1;
    lane->number = lane->relay->made;
    lane->held = NULL;
    lane->held_end = &lane->held;
    lane->adapter = mg_relay_adapter(lane->relay, start->candidate);
    open_record(lane, start);

    struct mg_attempt_patch patch;
    ask_patch(lane, &patch);
    mg_err err = mg_lane_translate(lane, start->request, &lane->request);
    if (err == MG_OK)
        err = lane->relay->call.raw || operation(lane) ? build_body(lane, &patch) : MG_E_NOT_FOUND;
    if (err == MG_OK)
        err = build_head(lane, &patch);
    if (err == MG_OK)
        err = record_started(lane);
    if (err != MG_OK)
        return not_built(lane, err);
    send_off(lane, start->ops);
    return MG_OK;
}

/* ---- settling -------------------------------------------------------------------------------- */

/* What the answer says of itself, where it differs from what was asked. */
static void note_served(struct mg_lane *lane, struct mg_attempt_record *attempt)
{
    const struct mg_tap *tap = &lane->attempt.tap;
    if (tap->served[0] && !mg_view_eq(mg_view_cstr(tap->served), attempt->model))
        attempt->served = mg_arena_dup(arena(lane), mg_view_cstr(tap->served));
    if (tap->tier[0])
        attempt->tier = mg_arena_dup(arena(lane), mg_view_cstr(tap->tier));
}

/* The fastest of the others: a target is only slow beside one that is not. Looked up only for a call that may be slow. */
static uint64_t fastest_peer_us(const struct mg_lane *lane, uint64_t first_token_us)
{
    const struct mg_config_breaker *rules = &upstream(lane)->config->breaker;
    const struct mg_route *route = lane->relay->call.route;
    uint64_t best = 0;
    if (rules->slow_factor <= 0 || first_token_us < (uint64_t)rules->slow_min_ms * 1000)
        return 0;
    for (int i = 0; i < route->count; i++) {
        struct mg_stats_figures figures;
        mg_stats_read(route->reaches[i].stats, &figures);
        if (i != lane->candidate && figures.ewma_us && (!best || figures.ewma_us < best))
            best = figures.ewma_us;
    }
    return best;
}

/* A token has a byte at least, and a provider makes no more of them than it was asked for. */
static uint64_t most_output(const struct mg_lane *lane, uint64_t bytes)
{
    const struct mg_call *call = lane->relay->call.call;
    struct mg_asked asked = mg_asked_of(call->dialect, call->request.body);
    return asked.tokens ? MG_MIN(bytes, asked.tokens * asked.answers) : bytes;
}

/* A target's provider teaches what its tokens are; what one did not report is estimated by it. */
static void see_usage(const struct mg_lane *lane, struct mg_attempt_record *attempt)
{
    struct mg_estimate *estimate = mg_stats_estimate(lane->relay->call.route->reaches[lane->candidate].stats);
    struct mg_usage *usage = &attempt->usage;
    if (lane->relay->call.plain) {     /* what pictures and sound are in tokens teaches nothing about texts */
        mg_units_count(lane, usage);
        return;
    }
    if (usage->reported) {
        mg_estimate_learn(estimate, attempt->bytes_sent, usage->input_tokens, lane->attempt.tap.content_bytes,
                          usage->output_tokens);
    } else if (usage->input_tokens) {  /* it may be billed, and each token counts four bytes so far */
        usage->input_tokens = mg_estimate_input(estimate, attempt->bytes_sent);
        usage->output_tokens = MG_MIN(mg_estimate_output(estimate, usage->output_tokens * 4), most_output(lane, usage->output_tokens * 4));
    }
}

static void close_record(struct mg_lane *lane, enum mg_class class_, enum mg_action action)
{
    struct mg_attempt_record *attempt = mg_lane_record(lane);
    attempt->class_ = class_;
    attempt->action = action;
    if (lane->attempt.tap.error_message[0] && !attempt->error.len)
        attempt->error = mg_arena_dup(arena(lane), mg_view_cstr(lane->attempt.tap.error_message));
    if (lane->attempt.address[0])
        attempt->address = mg_arena_dup(arena(lane), mg_view_cstr(lane->attempt.address));
    attempt->end_us = now_us(lane) - timeline(lane)->start_mono_us - attempt->start_us + 1;
    see_usage(lane, attempt);
    note_served(lane, attempt);
    put_cost(lane, attempt, &attempt->usage);
    lane->relay->spent_microusd += attempt->cost_microusd;
    timeline(lane)->upstream_us += attempt->end_us;
}

/* How long the target usually needs, or half of what it may take at most while that is not known. */
static uint64_t usual_us(const struct mg_lane *lane, const struct mg_attempt_facts *facts)
{
    const struct mg_timeouts *timeouts = &lane->attempt.call.timeouts;
    bool connects = strcmp(facts->timeout, "connect") == 0, whole = !lane->attempt.call.stream;
    uint32_t most_ms = connects ? timeouts->connect_ms : whole ? timeouts->total_ms : timeouts->first_token_ms;
    struct mg_stats_figures seen = {.calls = 0};
    if (!connects)
        mg_stats_read(lane->pass.reach->stats, &seen);
    uint64_t known_us = seen.calls < P99_WANTS_CALLS ? 0 : whole ? seen.total_p99_us : seen.p99_us;
    return known_us ? known_us : (uint64_t)MG_MIN(most_ms, lane->relay->call.route->workflow->deadline_ms) * 1000 / 2;
}

/* Whoever is in a hurry, or comes last, cuts timers short that a good target would have met: it is not to blame before it
 * took longer than it usually does, nor once it spoke. */
static bool had_no_time(const struct mg_lane *lane, enum mg_class class_)
{
    const struct mg_attempt_facts *facts = &lane->attempt.facts;
    const struct mg_attempt_record *attempt = mg_lane_record(lane);
    if (!facts->out_of_time || mg_class_blame(class_) != MG_BLAME_provider)
        return false;
    uint64_t least_us = (uint64_t)upstream(lane)->config->breaker.slow_min_ms * 1000;
    return attempt->mark_us[MG_MARK_first_token] || attempt->end_us < MG_MAX(usual_us(lane, facts), least_us);
}

static void settle_reach(struct mg_lane *lane, enum mg_class class_, const struct mg_penalty *penalty)
{
    if (had_no_time(lane, class_)) {
        class_ = MG_CLASS_cancelled;
        penalty = NULL;
    }
    const struct mg_attempt_record *attempt = mg_lane_record(lane);
    uint64_t sent = attempt->mark_us[MG_MARK_sent], token = attempt->mark_us[MG_MARK_first_token];
    uint64_t first_token_us = token > sent ? token - sent : 0;
    struct mg_outcome outcome = {
        .class_ = class_,
        .weight = penalty ? penalty->weight : -1,
        .first_token_us = first_token_us,
        .total_us = attempt->end_us,
        .retry_after_ms = lane->attempt.facts.retry_after_ms,
        .peers = lane->relay->call.route->count - 1,
        .peer_ewma_us = fastest_peer_us(lane, first_token_us),
        .headers = lane->attempt.facts.headers,
        .scope = penalty ? penalty->scope : MG_PENALTY_NONE,
        .bench_ms = penalty ? penalty->for_ms : 0,
        .now_us = now_us(lane),
        .wall_us = timeline(lane)->start_wall_us + (now_us(lane) - timeline(lane)->start_mono_us),
        .worker = lane->relay->call.worker,
    };
    mg_reach_settle(&lane->pass, &outcome);
}

void mg_lane_settle(struct mg_lane *lane, enum mg_class class_, enum mg_action action, const struct mg_penalty *penalty)
{
    lane->busy = false;
    mg_weave_free(lane->weave);
    lane->weave = NULL;
    close_record(lane, class_, action);
    settle_reach(lane, class_, penalty);
    if (lane->relay->call.ops->on_settled)
        lane->relay->call.ops->on_settled(lane->relay->call.arg, lane->candidate, mg_lane_record(lane));
    if (mg_record_settled(lane->relay->call.journal, timeline(lane), mg_lane_record(lane)) != MG_OK)
        mg_timeline_note(timeline(lane), now_us(lane), "journal", "a settled record did not fit");
}

void mg_lane_redialed(void *arg)
{
    struct mg_lane *lane = arg;
    if (mg_record_redialed(lane->relay->call.journal, timeline(lane), mg_lane_record(lane)) != MG_OK)
        mg_timeline_note(timeline(lane), now_us(lane), "journal", "a redialed record did not fit");
}

void mg_lane_cancel(struct mg_lane *lane, enum mg_class class_, enum mg_action action)
{
    if (!lane->busy)
        return;
    mg_attempt_cancel(&lane->attempt);
    mg_lane_settle(lane, class_, action, NULL);
}

void mg_lane_fini(struct mg_lane *lane)
{
    mg_attempt_fini(&lane->attempt);
    mg_weave_free(lane->weave);
    mg_buf_fini(&lane->head);
}
