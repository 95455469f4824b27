#include "relay/relay.h"

#include <assert.h>

#include "base/mem.h"
#include "meter/record.h"

static void next_attempt(struct mg_relay *relay);
static void finish(struct mg_relay *relay);

static struct mg_timeline *timeline(struct mg_relay *relay)
{
    return relay->call.call->timeline;
}

static struct mg_arena *arena(struct mg_relay *relay)
{
    return relay->call.call->arena;
}

static struct mg_loop *loop(struct mg_relay *relay)
{
    return relay->call.call->loop;
}

static struct mg_attempt_record *record(struct mg_relay *relay)
{
    return &timeline(relay)->attempts[relay->made - 1];
}

static const struct mg_plan_entry *entry(const struct mg_relay *relay)
{
    return &relay->call.plan->entries[relay->entry];
}

/* ---- building an attempt --------------------------------------------------------------------- */

static void open_record(struct mg_relay *relay)
{
    const struct mg_candidate *candidate = &relay->call.candidates[relay->candidate];
    struct mg_attempt_record *attempt = record(relay);
    uint64_t at_us = mg_loop_now_us(loop(relay)) - timeline(relay)->start_mono_us;
    *attempt = (struct mg_attempt_record){
        .start_us = at_us ? at_us : 1,
        .target = mg_view_cstr(candidate->target->id),
        .provider = mg_view_cstr(candidate->provider),
        .model = mg_view_cstr(candidate->target->model),
        .why = relay->call.plan->explain,
        .reason = relay->reason,
        .number = (uint16_t)relay->made,
        .entry = (uint16_t)relay->entry,
    };
    timeline(relay)->attempt_count = (uint16_t)relay->made;
}

static void fill_facts(struct mg_relay *relay, struct mg_attempt_facts *facts)
{
    facts->candidate = &relay->call.candidates[relay->candidate];
    facts->model = record(relay)->model;
    facts->number = relay->made;
    facts->try_number = relay->tries;
    facts->tries = entry(relay)->tries;
    facts->reason = relay->reason;
    facts->bytes_to_client = relay->committed ? timeline(relay)->bytes_out + 1 : 0;
}

static void ask_patch(struct mg_relay *relay, struct mg_attempt_patch *out_patch)
{
    *out_patch = (struct mg_attempt_patch){.header_count = 0};
    if (!relay->call.policy->on_attempt)
        return;
    struct mg_attempt_facts facts = {.phase = "start"};
    fill_facts(relay, &facts);
    if (relay->call.policy->on_attempt(relay->call.policy_arg, relay->call.call, &facts, out_patch) != MG_OK)
        *out_patch = (struct mg_attempt_patch){.header_count = 0};
}

/* "*" stands for whatever model the client named. */
static mg_view model_to_send(struct mg_relay *relay, const struct mg_attempt_patch *patch)
{
    mg_view model = patch->model.len ? patch->model : mg_view_cstr(relay->call.candidates[relay->candidate].target->model);
    return mg_view_eq(model, MG_VIEW("*")) ? relay->call.call->request.model : model;
}

static mg_err build_body(struct mg_relay *relay, const struct mg_attempt_patch *patch)
{
    const struct mg_upstream *upstream = relay->call.route->upstreams[relay->candidate];
    const struct mg_adapter_decl *decl = mg_adapter_declaration(upstream->adapter);
    const struct mg_config_target *target = relay->call.candidates[relay->candidate].target;
    struct mg_body_change change = {
        .model = model_to_send(relay, patch),
        .params = {mg_view_cstr(target->params), entry(relay)->patch, patch->params},
        .usage_field = decl->usage_opt_in_field,
        .usage_member = decl->usage_opt_in_member,
    };
    record(relay)->model = change.model;
    return mg_request_for_attempt(&relay->call.call->request, arena(relay), &change, &relay->body);
}

/* A header of the client that a patch sets is the patch's to say. */
static mg_err put_forwarded(struct mg_buf *head, mg_view lines, const struct mg_attempt_patch *patch)
{
    if (patch->header_count == 0)
        return mg_buf_put(head, lines);
    while (lines.len > 0) {
        mg_view line = mg_view_head(lines, mg_view_find(lines, "\n") + 1);
        mg_view name = mg_view_head(line, mg_view_find(line, ":"));
        bool patched = false;
        for (size_t i = 0; i < patch->header_count; i++)
            patched |= mg_view_ieq(name, patch->headers[i].name);
        if (!patched)
            MG_TRY(mg_buf_put(head, line));
        lines = mg_view_skip(lines, line.len);
    }
    return MG_OK;
}

static mg_err build_head(struct mg_relay *relay, const struct mg_attempt_patch *patch)
{
    const struct mg_upstream *upstream = relay->call.route->upstreams[relay->candidate];
    const char *path = mg_adapter_path(upstream->adapter, relay->call.surface);
    if (!path)
        return MG_E_NOT_FOUND;
    struct mg_buf *head = &relay->head;
    if (!head->max)
        mg_buf_init(head, MG_MAX_HEADER_BYTES * 2);
    mg_buf_clear(head);
    MG_TRY(mg_buf_put(head, MG_VIEW("POST ")));
    MG_TRY(mg_buf_put(head, upstream->base_path));
    MG_TRY(mg_buf_put(head, mg_view_cstr(path)));
    MG_TRY(mg_buf_put(head, MG_VIEW(" HTTP/1.1\r\n")));
    MG_TRY(mg_buf_put(head, upstream->fixed_head));
    MG_TRY(mg_buf_put(head, upstream->credential_line[0]));
    MG_TRY(put_forwarded(head, relay->call.forwarded, patch));
    for (size_t i = 0; i < patch->header_count; i++)
        MG_TRY(mg_http_put_header(head, patch->headers[i].name, patch->headers[i].value));
    MG_TRY(mg_http_put_header_u64(head, MG_VIEW("content-length"), relay->body.length));
    return mg_http_put_end(head);
}

static void on_head(void *arg, int status, struct mg_headers headers)
{
    struct mg_relay *relay = arg;
    relay->call.ops->on_head(relay->call.arg, status, headers);
}

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_relay *relay = arg;
    relay->call.ops->on_event(relay->call.arg, event, seen);
}

static void on_flush(void *arg)
{
    struct mg_relay *relay = arg;
    relay->call.ops->on_flush(relay->call.arg);
}

static void on_body(void *arg, mg_view bytes)
{
    struct mg_relay *relay = arg;
    relay->call.ops->on_body(relay->call.arg, bytes);
}

static void on_attempt_end(void *arg);

static const struct mg_attempt_ops attempt_ops = {
    .on_head = on_head, .on_event = on_event, .on_flush = on_flush, .on_body = on_body, .on_end = on_attempt_end};

static void start_attempt(struct mg_relay *relay)
{
    const struct mg_plan_entry *now = entry(relay);
    struct mg_attempt_call call = {
        .loop = loop(relay),
        .pool = relay->call.pool,
        .upstream = relay->call.route->upstreams[relay->candidate],
        .head = mg_buf_view(&relay->head),
        .body = &relay->body,
        .stream = relay->call.call->request.stream,
        .timeouts = now->timeouts,
        .deadline_us = relay->deadline_us,
        .record = record(relay),
        .ops = &attempt_ops,
        .arg = relay,
    };
    mg_stats_start(relay->call.route->stats[relay->candidate]);
    mg_attempt_start(&relay->attempt, &call);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_deferred_done(struct mg_defer *defer)
{
    struct mg_relay *relay = mg_container_of(defer, struct mg_relay, done);
    relay->running = false;
    relay->call.ops->on_done(relay->call.arg);
}

static void finish(struct mg_relay *relay)
{
    mg_loop_defer(loop(relay), &relay->done, on_deferred_done);
}

static void give_up(struct mg_relay *relay, enum mg_class class_, int status, mg_view code, mg_view message)
{
    relay->result.ok = false;
    relay->result.class_ = class_;
    relay->result.status = status;
    relay->result.code = code;
    relay->result.message = message;
    finish(relay);
}

/* ---- choosing the next attempt --------------------------------------------------------------- */

/* Room for breakers and budgets. Says why not, for the client and the timeline. */
static const char *may_attempt(struct mg_relay *relay)
{
    if (mg_loop_now_us(loop(relay)) >= relay->deadline_us)
        return "the deadline has passed";
    if (relay->made >= relay->max_attempts)
        return "the attempt budget is used up";
    if (relay->entry >= relay->call.plan->count)
        return "no target is left";
    return NULL;
}

/* What the plan or the last failure says when nothing more can be tried. */
static void exhausted(struct mg_relay *relay, const char *why)
{
    const struct mg_plan *plan = relay->call.plan;
    mg_timeline_note(timeline(relay), mg_loop_now_us(loop(relay)), "relay", "gave up: %s", why);
    if (plan->exhausted_status) {
        relay->result.retry_after_ms = (uint64_t)plan->exhausted_retry_after_s * 1000;
        give_up(relay, relay->result.class_, plan->exhausted_status,
                plan->exhausted_code.len ? plan->exhausted_code : MG_VIEW("no_target"),
                mg_arena_printf(arena(relay), "No target could answer: %s.", why));
        return;
    }
    if (relay->made == 0)
        give_up(relay, MG_CLASS_timeout_total, 504, MG_VIEW("deadline_exceeded"),
                mg_arena_printf(arena(relay), "No attempt was made: %s.", why));
    else
        finish(relay);
}

/* Nothing went upstream: the record says so, and nothing is billed. */
static void not_built(struct mg_relay *relay, mg_err err)
{
    record(relay)->class_ = MG_CLASS_server_error;
    record(relay)->action = MG_ACTION_fail;
    record(relay)->end_us = 1;
    record(relay)->error = mg_view_cstr(mg_err_text(err));
    give_up(relay, MG_CLASS_server_error, mg_err_status(err), MG_VIEW("attempt_not_built"),
            mg_arena_printf(arena(relay), "The request to %s could not be built: %s.",
                            relay->call.candidates[relay->candidate].target->id, mg_err_text(err)));
}

static void next_attempt(struct mg_relay *relay)
{
    const char *why_not = may_attempt(relay);
    if (why_not) {
        exhausted(relay, why_not);
        return;
    }
    relay->candidate = mg_plan_draw(entry(relay), relay->call.candidates,
                                    relay->call.plan->sticky.len ? relay->call.plan->sticky : relay->call.call->session,
                                    mg_random_unit(), relay->tried, 0);
    relay->tried |= relay->candidate < 64 ? 1ull << relay->candidate : 0;
    relay->made++;
    relay->tries++;
    open_record(relay);
    if (relay->made > 1)
        relay->call.ops->on_attempt(relay->call.arg);

    struct mg_attempt_patch patch;
    ask_patch(relay, &patch);
    mg_err err = build_body(relay, &patch);
    if (err == MG_OK)
        err = build_head(relay, &patch);
    if (err == MG_OK)
        err = mg_record_started(relay->call.journal, timeline(relay), record(relay),
                                mg_request_tokens_estimate(&relay->call.call->request));
    if (err == MG_OK)
        start_attempt(relay);
    else
        not_built(relay, err);
}

static void on_backoff(struct mg_timer *timer)
{
    next_attempt(mg_container_of(timer, struct mg_relay, backoff));
}

/* ---- after an attempt ------------------------------------------------------------------------ */

static void note_requests_left(struct mg_relay *relay)
{
    const struct mg_upstream *upstream = relay->call.route->upstreams[relay->candidate];
    const char *name = mg_adapter_declaration(upstream->adapter)->limits.requests_left;
    uint64_t left;
    if (name && mg_view_u64(mg_headers_get(relay->attempt.headers, mg_view_cstr(name)), &left))
        mg_stats_rate_limit(relay->call.route->stats[relay->candidate], left);
}

static void settle_attempt(struct mg_relay *relay, enum mg_class class_, enum mg_action action)
{
    struct mg_attempt_record *attempt = record(relay);
    attempt->class_ = class_;
    attempt->action = action;
    if (relay->attempt.tap.error_message[0])
        attempt->error = mg_arena_dup(arena(relay), mg_view_cstr(relay->attempt.tap.error_message));
    if (relay->attempt.address[0])
        attempt->address = mg_arena_dup(arena(relay), mg_view_cstr(relay->attempt.address));
    attempt->end_us = mg_loop_now_us(loop(relay)) - timeline(relay)->start_mono_us - attempt->start_us + 1;
    timeline(relay)->upstream_us += attempt->end_us;

    uint64_t sent = attempt->mark_us[MG_MARK_sent], token = attempt->mark_us[MG_MARK_first_token];
    bool blames_target = class_ != MG_CLASS_none && !mg_class_is_client_fault(class_) && class_ != MG_CLASS_cancelled;
    note_requests_left(relay);
    mg_stats_end(relay->call.route->stats[relay->candidate], token > sent ? token - sent : 0, blames_target);
    if (mg_record_settled(relay->call.journal, timeline(relay), attempt) != MG_OK)
        mg_timeline_note(timeline(relay), mg_loop_now_us(loop(relay)), "journal", "a settled record did not fit");
}

static void classify(struct mg_relay *relay, struct mg_verdict *out_verdict)
{
    struct mg_attempt_facts *facts = &relay->attempt.facts;
    fill_facts(relay, facts);
    *out_verdict = (struct mg_verdict){.class_ = facts->hint, .action = mg_class_action(facts->hint)};
    struct mg_verdict said = *out_verdict;
    if (relay->call.policy->classify(relay->call.policy_arg, relay->call.call, facts, &said) == MG_OK)
        *out_verdict = said;
}

static bool is_json(const struct mg_attempt *attempt)
{
    return attempt->tap.error_message[0] && !attempt->tap.malformed;
}

/* What the client will read if this was the last word. A client's own mistake is told in the
 * provider's words; a provider's failure in ours, naming the target. */
static void remember(struct mg_relay *relay, const struct mg_verdict *verdict)
{
    const struct mg_attempt *attempt = &relay->attempt;
    struct mg_relay_result *result = &relay->result;
    *result = (struct mg_relay_result){
        .class_ = verdict->class_,
        .status = verdict->client_status ? verdict->client_status : mg_class_status(verdict->class_),
        .code = verdict->client_code.len ? verdict->client_code : mg_view_cstr(mg_class_name(verdict->class_)),
        .message = verdict->client_message,
        .retry_after_ms = attempt->facts.retry_after_ms,
    };
    bool theirs = mg_class_is_client_fault(verdict->class_) && attempt->facts.status >= 400 && is_json(attempt) &&
                  !verdict->client_status;
    if (theirs) {
        result->status = attempt->facts.status;
        result->body = mg_arena_dup(arena(relay), mg_buf_view(&attempt->body));
    }
    if (result->message.len)
        return;
    const char *said = attempt->tap.error_message;
    const char *how = attempt->facts.timeout ? attempt->facts.timeout : attempt->facts.transport;
    result->message = mg_arena_printf(
        arena(relay), "%s failed with %s%s%s%s%s%s (attempt %u of %u).", relay->call.candidates[relay->candidate].target->id,
        mg_class_name(verdict->class_), how ? " (" : "", how ? how : "", how ? ")" : "", said[0] ? ": " : "", said,
        relay->made, (unsigned)relay->max_attempts);
}

/* A retry of an entry whose tries are used up, beyond the budget, or after the deadline, is a fallback. */
static enum mg_action effective(struct mg_relay *relay, const struct mg_verdict *verdict, uint64_t *out_wait_ms)
{
    *out_wait_ms = 0;
    if (relay->committed)
        return MG_ACTION_fail;
    if (verdict->action != MG_ACTION_retry)
        return verdict->action;
    uint64_t now = mg_loop_now_us(loop(relay));
    uint64_t left_ms = relay->deadline_us > now ? (relay->deadline_us - now) / 1000 : 0;
    *out_wait_ms = mg_plan_backoff_ms(entry(relay), relay->tries, verdict->delay_ms, mg_random_unit());
    bool may = relay->tries < entry(relay)->tries && relay->made < relay->max_attempts && *out_wait_ms < left_ms;
    return may ? MG_ACTION_retry : MG_ACTION_fallback;
}

static void act(struct mg_relay *relay, enum mg_action action, uint64_t wait_ms)
{
    switch (action) {
    case MG_ACTION_retry:
        relay->reason = MG_REASON_retry;
        if (wait_ms == 0)
            next_attempt(relay);
        else
            mg_timer_start(loop(relay), &relay->backoff, wait_ms, on_backoff);
        break;
    case MG_ACTION_fallback:
        relay->entry++;
        relay->tries = 0;
        relay->reason = MG_REASON_fallback;
        next_attempt(relay);
        break;
    default:
        finish(relay);
    }
}

/* "accept": the operator takes the answer as it is, though the core finds fault with it. */
static bool accepted(struct mg_relay *relay, enum mg_action action)
{
    const struct mg_attempt *attempt = &relay->attempt;
    bool whole = attempt->facts.status >= 200 && attempt->facts.status < 300 && !attempt->facts.timeout &&
                 !attempt->facts.transport;
    if (action != MG_ACTION_accept || !whole)
        return false;
    if (!attempt->event_stream && !attempt->streaming_body)
        relay->call.ops->on_body(relay->call.arg, mg_buf_view(&attempt->body));
    return true;
}

static void on_attempt_end(void *arg)
{
    struct mg_relay *relay = arg;
    if (relay->attempt.ok) {
        relay->result = (struct mg_relay_result){.ok = true, .status = relay->attempt.facts.status};
        settle_attempt(relay, MG_CLASS_none, MG_ACTION_accept);
        finish(relay);
        return;
    }
    struct mg_verdict verdict;
    uint64_t wait_ms;
    classify(relay, &verdict);
    enum mg_action action = effective(relay, &verdict, &wait_ms);
    settle_attempt(relay, verdict.class_, action);
    remember(relay, &verdict);
    if (accepted(relay, action))
        relay->result.ok = true;
    act(relay, action, wait_ms);
}

/* ---- the owner's side ------------------------------------------------------------------------ */

void mg_relay_start(struct mg_relay *relay, const struct mg_relay_call *call)
{
    assert(!relay->running);
    relay->call = *call;
    relay->entry = relay->candidate = 0;
    relay->tries = relay->made = 0;
    relay->tried = 0;
    relay->committed = false;
    relay->running = true;
    relay->reason = MG_REASON_first;
    relay->result = (struct mg_relay_result){.class_ = MG_CLASS_none};
    relay->max_attempts = MG_MIN(MG_MIN(call->plan->max_attempts, call->call->default_max_attempts),
                                  (uint32_t)MG_MAX_ATTEMPTS);   /* the timeline has no room for more */
    relay->deadline_us = MG_MIN(call->call->deadline_us, mg_loop_now_us(loop(relay)) + (uint64_t)call->plan->deadline_ms * 1000);
    next_attempt(relay);
}

void mg_relay_committed(struct mg_relay *relay)
{
    relay->committed = true;
}

void mg_relay_again(struct mg_relay *relay, mg_view reason)
{
    assert(!relay->running && !relay->committed);
    relay->running = true;
    mg_timeline_note(timeline(relay), mg_loop_now_us(loop(relay)), "relay", "a plugin asked for another answer: %.*s",
                     MG_FMT(mg_view_head(reason, 200)));
    relay->result = (struct mg_relay_result){
        .class_ = MG_CLASS_schema_mismatch,
        .status = mg_class_status(MG_CLASS_schema_mismatch),
        .code = mg_view_cstr(mg_class_name(MG_CLASS_schema_mismatch)),
        .message = mg_arena_printf(arena(relay), "No answer satisfied a plugin of this project: %.*s", MG_FMT(mg_view_head(reason, 500))),
    };
    uint64_t wait_ms;
    struct mg_verdict again = {.class_ = MG_CLASS_schema_mismatch, .action = MG_ACTION_retry};
    enum mg_action action = effective(relay, &again, &wait_ms);
    act(relay, action, wait_ms);
}

void mg_relay_pause(struct mg_relay *relay, bool paused)
{
    mg_attempt_pause(&relay->attempt, paused);
}

void mg_relay_cancel(struct mg_relay *relay, enum mg_class class_)
{
    if (!relay->running)
        return;
    relay->running = false;
    mg_timer_cancel(loop(relay), &relay->backoff);
    mg_loop_defer_cancel(&relay->done);
    if (relay->attempt.state == MG_ATTEMPT_IDLE)
        return;
    mg_attempt_cancel(&relay->attempt);
    settle_attempt(relay, class_, MG_ACTION_fail);
}

void mg_relay_fini(struct mg_relay *relay)
{
    mg_attempt_fini(&relay->attempt);
    mg_buf_fini(&relay->head);
}

const struct mg_tap *mg_relay_tap(const struct mg_relay *relay)
{
    return &relay->attempt.tap;
}
