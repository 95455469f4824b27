/* What attempts hand on, on its way to the client: held until the first content, then committed and
 * streamed event by event; a whole answer is held to its end. */
#include "gateway/counting.h"
#include "gateway/filtering.h"
#include "gateway/keeping.h"
#include "gateway/limiting.h"
#include "gateway/offline.h"
#include "gateway/surface.h"
#include "http/json.h"

static void commit(struct mg_exchange *x);

static const struct mg_config_workflow *workflow(const struct mg_exchange *x)
{
    return x->route->workflow;
}

static bool wants_accept(const struct mg_exchange *x)
{
    return workflow(x)->has_accept || workflow(x)->expect_schema;
}

/* Nothing is sent before the end: a plugin, `accept` or the workflow's rescue wants it so. */
static bool holds(const struct mg_exchange *x)
{
    return mg_filtering_buffers(x) || workflow(x)->rescue == MG_RESCUE_HOLD || wants_accept(x);
}

/* A refusal the workflow wants to route around is no reason to let go yet. */
static bool is_content(const struct mg_exchange *x, const struct mg_tap_event *seen)
{
    bool around = workflow(x)->route_around >> MG_CLASS_refusal & 1;
    return seen->content && !(seen->refusal && around);
}

/* More than can be held came for a plugin that wants to see it whole. */
static void outgrown(struct mg_exchange *x)
{
    mg_relay_cancel(&x->relay, MG_CLASS_server_error);
    mg_answer_forget(&x->answer);
    mg_exchange_refuse(x, 502, "answer_too_large", "A plugin or `accept` of this project must see whole answers, and this one "
                       "has more than the %d bytes that can be held back.", MG_MAX_BUFFERED_BYTES);
}

/* Slow clients slow the upstream: reading stops until the socket has drained. */
static void watch(struct mg_exchange *x, mg_err err)
{
    if (err == MG_E_AGAIN)
        mg_relay_pause(&x->relay, true);
    else if (err == MG_E_TOO_LARGE && !x->answer.committed)
        outgrown(x);
}

/* A held stream that outgrows what can be held is let go: from there on a failure is told. */
static void let_go_in_time(struct mg_exchange *x, size_t more)
{
    bool only_rescue = !mg_filtering_buffers(x) && !wants_accept(x) && workflow(x)->rescue == MG_RESCUE_HOLD;
    if (!only_rescue || x->answer.committed || x->answer.held.len + more <= MG_MAX_BUFFERED_BYTES)
        return;
    mg_timeline_note(x->timeline, mg_exchange_now(x), "hold", "let go after %zu bytes", x->answer.held.len);
    commit(x);
}

static void on_attempt(void *arg)
{
    struct mg_exchange *x = arg;
    mg_answer_forget(&x->answer);
    x->sent_events = 0;
    if (x->filtering)
        mg_filtering_restart(x);
    x->upstream_headers = (struct mg_headers){0};
    x->whole = MG_VIEW_NONE;
    mg_buf_clear(&x->text);
}

static void on_head(void *arg, int status, struct mg_headers headers)
{
    struct mg_exchange *x = arg;
    (void)status;
    x->upstream_headers = headers;
}

static void commit(struct mg_exchange *x)
{
    const struct mg_attempt *attempt = mg_relay_attempt(&x->relay);
    mg_timeline_phase(x->timeline, MG_PHASE_commit, mg_exchange_now(x));
    mg_relay_committed(&x->relay);
    x->sent_status = attempt->facts.status;
    x->events = attempt->event_stream;
    watch(x, mg_answer_commit(&x->answer, x->sent_status, mg_exchange_lines(x, true), UINT64_MAX));
}

/* Did the client ask for usage, or has its dialect no way to ask? */
bool mg_exchange_keeps_usage(const struct mg_exchange *x)
{
    return x->call.request.wants_usage || !mg_adapter_declaration(mg_relay_answer_adapter(&x->relay))->usage_opt_in_field;
}

/* The usage chunk was asked for by us, not by this client: it gets the event without it. */
static void add_event(struct mg_exchange *x, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    bool asked = mg_exchange_keeps_usage(x);
    if (seen->usage_only && !asked)
        return;
    if (asked || !seen->cut_len || !event->data_in_raw) {
        watch(x, mg_answer_add(&x->answer, event->raw));
        return;
    }
    size_t cut = (size_t)(event->data.ptr - event->raw.ptr) + seen->cut_offset;
    watch(x, mg_answer_add(&x->answer, mg_view_head(event->raw, cut)));
    watch(x, mg_answer_add(&x->answer, mg_view_skip(event->raw, cut + seen->cut_len)));
}

/* Bytes are with the client: the error goes in-band and the end is no clean one. */
static void break_stream_with(struct mg_exchange *x, int status, mg_view code, mg_view message)
{
    x->timeline->error_code = mg_arena_dup(&x->arena, code);
    if (x->events) {
        mg_view name = x->dialect->error_event ? mg_view_cstr(x->dialect->error_event) : MG_VIEW_NONE;
        mg_view error = mg_exchange_error(x, status, code, message, MG_VIEW_NONE);
        if (x->filtering)
            mg_deliver_ops.on_flush(x);          /* what passed before goes out before */
        mg_buf_clear(&x->rewritten);
        if (mg_sse_put_event(&x->rewritten, name, error) == MG_OK)
            watch(x, mg_answer_add(&x->answer, mg_buf_view(&x->rewritten)));
        watch(x, mg_answer_flush(&x->answer));
    }
    mg_exchange_finish(x, x->sent_status, false);
}

/* A guard stopped the stream: the upstream is closed, the client is told in-band or as a whole answer. */
static void stop_stream(struct mg_exchange *x, const struct mg_hook_outcome *outcome)
{
    int status = outcome->status ? outcome->status : 403;
    mg_view code = outcome->code.len ? outcome->code : MG_VIEW("stopped_by_plugin");
    mg_view message = outcome->message.len ? outcome->message : MG_VIEW("A plugin of this project stopped the answer.");
    mg_relay_cancel(&x->relay, MG_CLASS_content_filter);
    if (x->answer.committed) {
        break_stream_with(x, status, code, message);
    } else {
        mg_answer_forget(&x->answer);
        mg_exchange_refuse_as(x, status, code, message, MG_VIEW_NONE, 0);
    }
}

/* What `accept` will be shown of a stream; past what can be held, the stream is too large anyway. */
static void keep_text(struct mg_exchange *x, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_buf piece;
    for (int i = 0; i < seen->text_count; i++) {
        const struct mg_tap_text *at = &seen->texts[i];
        mg_view text = MG_VIEW_NONE, span = mg_view_head(mg_view_skip(event->data, at->offset), at->len);
        if (at->reasoning || at->choice != 0)
            continue;
        mg_buf_init(&piece, MG_MAX_SSE_EVENT_BYTES);
        if (mg_json_span_text(span, &piece, &text) == MG_OK && mg_buf_put(&x->text, text) != MG_OK)
            mg_timeline_note(x->timeline, mg_exchange_now(x), "accept", "the text is longer than what can be shown");
        mg_buf_fini(&piece);
    }
}

static void filter_event(struct mg_exchange *x, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_hook_outcome outcome = {.message = MG_VIEW("The answer could not be filtered.")};
    if (mg_filtering_event(x, event, seen, &outcome) != MG_OK)
        stop_stream(x, &outcome);
}

/* The end of a stream that is kept: the client reads it when it can go on from it. */
static void hold_event(struct mg_exchange *x, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    size_t before = x->rewritten.len;
    if (!x->filtering) {
        mg_keeping_hold(x, event->raw);
        return;
    }
    filter_event(x, event, seen);
    if (x->state != MG_EXCHANGE_RELAYING)
        return;                        /* it was stopped */
    mg_keeping_hold(x, mg_view_skip(mg_buf_view(&x->rewritten), before));
    x->rewritten.len = before;
}

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct mg_exchange *x = arg;
    struct mg_sse_event room;
    if (seen->malformed) {
        x->skipped_events++;
        return;
    }
    if (event->is_comment && x->dialect->no_comments)
        return;
    if (seen->done && !mg_relay_tap(&x->relay)->finished && !x->relay.call.plain)
        return;                        /* "[DONE]" of an answer that never finished: a success it is not */
    if (x->keeping)
        event = mg_keeping_tell(x, event, &room);
    if (is_content(x, seen) && !x->answer.committed && !holds(x))
        commit(x);
    let_go_in_time(x, event->raw.len);
    x->sent_events += !event->is_comment;
    if (wants_accept(x))
        keep_text(x, event, seen);
    if (x->keeping && mg_keeping_holds(x, event))
        hold_event(x, event, seen);
    else if (x->filtering)
        filter_event(x, event, seen);
    else
        add_event(x, event, seen);
}

static void on_flush(void *arg)
{
    struct mg_exchange *x = arg;
    if (x->filtering)
        watch(x, mg_answer_add(&x->answer, mg_buf_view(&x->rewritten)));
    watch(x, mg_answer_flush(&x->answer));
    if (x->filtering)
        mg_buf_clear(&x->rewritten);
}

/* Once with the whole answer; or, when it outgrew what is held, with each piece of it. */
static void on_body(void *arg, mg_view bytes)
{
    struct mg_exchange *x = arg;
    if (!mg_relay_attempt(&x->relay)->streaming_body) {
        x->whole = bytes;
        return;
    }
    if (!x->answer.committed)
        commit(x);
    watch(x, mg_answer_add(&x->answer, bytes));
    watch(x, mg_answer_flush(&x->answer));
}

/* ---- the end --------------------------------------------------------------------------------- */

static void deliver_whole(struct mg_exchange *x)
{
    int status = mg_relay_attempt(&x->relay)->facts.status;
    mg_timeline_phase(x->timeline, MG_PHASE_commit, mg_exchange_now(x));
    mg_exchange_answer(x, status, mg_exchange_lines(x, true), x->whole);
}

static void deliver_stream_end(struct mg_exchange *x)
{
    if (!x->answer.committed)
        commit(x);                     /* held to its end; or complete and rightly empty: all budget went into thinking */
    mg_exchange_finish(x, x->sent_status, true);
}

static void deliver_error(struct mg_exchange *x)
{
    const struct mg_relay_result *result = &x->relay.result;
    mg_answer_forget(&x->answer);
    if (mg_limiting_refuse(x) || mg_counting_estimate(x) || mg_offline_answer(x))
        return;
    if (!result->body.len) {
        mg_exchange_refuse_as(x, result->status, result->code, result->message, result->param, result->retry_after_ms);
        return;
    }
    x->timeline->error_code = result->code;
    mg_answer_json(x, result->status, result->body);
}

static void deliver_kept(struct mg_exchange *x)
{
    if (x->keeping)
        watch(x, mg_keeping_let_go(x));
    mg_offline_keep(x);
    if (mg_relay_attempt(&x->relay)->streaming_body || mg_relay_attempt(&x->relay)->event_stream)
        deliver_stream_end(x);
    else
        deliver_whole(x);
}

static void deliver_success(struct mg_exchange *x)
{
    if (!x->keeping || mg_keeping_save(x, deliver_kept)) {
        deliver_kept(x);
        return;
    }
    if (x->state == MG_EXCHANGE_RELAYING)
        mg_exchange_set_state(x, MG_EXCHANGE_FILTERING);
}

static void replace_whole(struct mg_exchange *x, const struct mg_hook_outcome *outcome);

static void try_again(struct mg_exchange *x, mg_view reason)
{
    if (x->answer.committed) {
        deliver_success(x);            /* the runtime refuses it then; nothing can be taken back */
        return;
    }
    mg_exchange_set_state(x, MG_EXCHANGE_RELAYING);
    mg_relay_again(&x->relay, reason);
}

static void on_response_done(void *arg, const struct mg_hook_outcome *outcome)
{
    struct mg_exchange *x = arg;
    x->hook = NULL;
    switch (outcome->kind) {
    case MG_HOOK_DENY:
        mg_exchange_refuse_as(x, outcome->status ? outcome->status : 403, outcome->code.len ? outcome->code : MG_VIEW("denied"),
                              outcome->message, MG_VIEW_NONE, 0);
        break;
    case MG_HOOK_RESPOND:
    case MG_HOOK_REPLACE: replace_whole(x, outcome); break;
    case MG_HOOK_RETRY: try_again(x, outcome->message); break;
    case MG_HOOK_GO_ON: deliver_success(x); break;
    }
}

/* The answer with another text: the content string of the first choice is spliced. */
static void replace_whole(struct mg_exchange *x, const struct mg_hook_outcome *outcome)
{
    const struct mg_adapter *adapter = mg_relay_answer_adapter(&x->relay);
    if (mg_filtering_buffers(x) && mg_relay_attempt(&x->relay)->event_stream) {
        mg_view text = outcome->body.len ? mg_tap_text_of(adapter, &x->arena, outcome->body) : outcome->text;
        if (mg_filtering_replace(x, text) != MG_OK) {
            outgrown(x);
            return;
        }
    } else if (outcome->body.len) {
        x->whole = outcome->body;
    } else {
        x->whole = mg_tap_replace_text(adapter, &x->arena, x->whole, outcome->text);
    }
    deliver_success(x);
}

static void fill_response(struct mg_exchange *x, struct mg_call_response *response)
{
    const struct mg_attempt_record *last = mg_relay_record(&x->relay);
    const struct mg_tap *tap = mg_relay_tap(&x->relay);
    const struct mg_adapter *adapter = mg_relay_answer_adapter(&x->relay);
    *response = (struct mg_call_response){
        .status = mg_relay_attempt(&x->relay)->facts.status,
        .target = last->target,
        .body = x->whole,
        .text = x->whole.len ? mg_tap_text_of(adapter, &x->arena, x->whole)
                : mg_filtering_buffers(x) ? mg_filtering_text(x) : mg_buf_view(&x->text),
        .finish = mg_view_cstr(tap->finish),
        .attempts = x->timeline->attempt_count,
        .usage = last->usage,
        .streamed = mg_relay_attempt(&x->relay)->event_stream,
        .sent = x->answer.committed,
    };
}

static bool wants_on_response(const struct mg_exchange *x)
{
    return x->live->script && mg_script_has(x->live->script, MG_HOOK_ON_RESPONSE, &x->call);
}

static void on_done(void *arg)
{
    struct mg_exchange *x = arg;
    if (!x->relay.result.ok) {
        if (x->answer.committed)
            break_stream_with(x, x->relay.result.status, x->relay.result.code, x->relay.result.message);
        else
            deliver_error(x);
        return;
    }
    if (!wants_on_response(x)) {
        deliver_success(x);
        return;
    }
    mg_exchange_set_state(x, MG_EXCHANGE_FILTERING);
    struct mg_call_response *response = mg_arena_new(&x->arena, struct mg_call_response);
    fill_response(x, response);
    struct mg_hook_run *run = mg_script_on_response(x->live->script, &x->call, response, on_response_done, x);
    if (run)
        x->hook = run;
}

/* Is a complete answer what the workflow asked for? */
static mg_err on_good(void *arg, mg_view *out_reason)
{
    struct mg_exchange *x = arg;
    struct mg_call_response response;
    if (!x->live->policy->accept || x->surface->task)
        return MG_OK;
    fill_response(x, &response);
    return x->live->policy->accept(x->live->policy_arg, &x->call, &response, out_reason);
}

/* A comment marks the place where another target went on: parsers skip it, people find it. */
static void on_seam(void *arg, uint64_t bytes)
{
    struct mg_exchange *x = arg;
    const struct mg_attempt_record *now = mg_relay_record(&x->relay);
    if (x->dialect->no_comments)
        return;
    mg_view comment = mg_arena_printf(&x->arena, ": moongate: resumed by %.*s after %llu bytes of text\n\n", MG_FMT(now->target),
                                      (unsigned long long)bytes);
    watch(x, mg_answer_add(&x->answer, comment));
}

static bool is_off(void *arg, int candidate, mg_view *out_why)
{
    struct mg_exchange *x = arg;
    const struct mg_switch *off =
        mg_switched_find(x->live->off, MG_SWITCH_PROVIDER, mg_view_cstr(x->candidates[candidate].provider));
    if (off)
        *out_why = mg_arena_printf(&x->arena, "disabled by hand%s%s", *off->message ? ": " : "", off->message);
    return off;
}

static bool may_call(void *arg, int candidate, struct mg_refusal *out_refusal)
{
    return mg_limiting_may_call(arg, candidate, out_refusal);
}

static void on_settled(void *arg, int candidate, const struct mg_attempt_record *attempt)
{
    mg_limiting_settled(arg, candidate, attempt);
}

const struct mg_relay_ops mg_deliver_ops = {
    .on_attempt = on_attempt, .on_head = on_head, .on_event = on_event, .on_flush = on_flush, .on_body = on_body,
    .on_good = on_good, .is_off = is_off, .may_call = may_call, .on_settled = on_settled, .on_seam = on_seam, .on_done = on_done};
