#include "unit/relay/walk/walk.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static void on_attempt(void *arg);
static void on_head(void *arg, int status, struct mg_headers headers);
static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen);
static void on_flush(void *arg);
static void on_body(void *arg, mg_view bytes);
static mg_err on_good(void *arg, mg_view *out_reason);
static bool may_call(void *arg, int candidate, struct mg_refusal *out_refusal);
static void on_settled(void *arg, int candidate, const struct mg_attempt_record *attempt);
static void on_seam(void *arg, uint64_t bytes);
static void on_done(void *arg);

static const struct mg_relay_ops client_ops = {
    .on_attempt = on_attempt, .on_head = on_head, .on_event = on_event, .on_flush = on_flush, .on_body = on_body,
    .on_good = on_good, .may_call = may_call, .on_settled = on_settled, .on_seam = on_seam, .on_done = on_done};

/* The default taxonomy, as far as attempts here fail: what each class's row says. */
static mg_err classify(void *policy, struct mg_call *call, const struct mg_attempt_facts *facts, struct mg_verdict *out)
{
    (void)policy;
    (void)call;
    bool too_long = facts->hint == MG_CLASS_context_length || facts->hint == MG_CLASS_payload_too_large;
    if (too_long && !facts->larger_window_left)
        out->action = MG_ACTION_fail;
    return MG_OK;
}

static const struct mg_policy_ops policy = {.classify = classify};

static void fill_route(struct world *world, struct exchange *x)
{
    static struct mg_repair_memory *no_memory[TARGETS];
    const struct mg_upstream **upstreams = mg_arena_array(&x->arena, const struct mg_upstream *, TARGETS);
    for (int i = 0; i < world->target_count; i++) {
        struct target *target = &world->targets[i];
        upstreams[i] = &target->upstream;
        x->candidates[i] = (struct mg_candidate){
            .target = &target->config, .provider = target->name, .arm = target->id, .weight = 1, .state = "closed"};
    }
    x->route = (struct mg_route){.workflow = &x->workflow,
                                 .candidates = x->candidates,
                                 .upstreams = upstreams,
                                 .reaches = world->reaches,
                                 .repairs = no_memory,
                                 .count = world->target_count};
}

static void forget_exchange(struct exchange *x)
{
    for (int i = 0; i < x->world->target_count; i++)
        if (x->reservations[i])
            walk_broken(x->world, "#%d: what was reserved for %s is kept", x->index, x->candidates[i].target->id);
    x->over = true;
    mg_journal_unreserve(walk_journal, x->reserved);
}

static bool holds(const struct exchange *x)
{
    return x->workflow.rescue == MG_RESCUE_HOLD || x->workflow.has_accept;
}

static void on_attempt(void *arg)
{
    struct exchange *x = arg;
    if (x->committed)
        walk_broken(x->world, "#%d: told to forget what the client has", x->index);
    x->held[0] = '\0';
    x->finish = x->done_event = false;
}

static void on_head(void *arg, int status, struct mg_headers headers)
{
    (void)headers;
    struct exchange *x = arg;
    if (status != 200 || x->over)
        walk_broken(x->world, "#%d: a head of status %d", x->index, status);
}

static void let_go(struct exchange *x)
{
    walk_append(x->got, sizeof x->got, "%s", x->held);
    x->held[0] = '\0';
}

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct exchange *x = arg;
    if (x->over)
        walk_broken(x->world, "#%d: an event after the end", x->index);
    if (!mg_view_starts(event->data, MG_VIEW("{\"choices\"")) && !mg_view_eq(event->data, MG_VIEW("[DONE]")))
        walk_broken(x->world, "#%d: an event whose bytes are gone: %.*s", x->index, MG_FMT(event->data));
    for (int i = 0; i < seen->text_count; i++) {
        mg_view text = mg_view_head(mg_view_skip(event->data, seen->texts[i].offset), seen->texts[i].len);
        walk_append(x->held, sizeof x->held, "%.*s", text.len > 2 ? (int)text.len - 2 : 0, text.len > 2 ? text.ptr + 1 : "");
    }
    x->finish |= seen->finish;
    x->done_event |= seen->done;
    if (seen->content && !x->committed && !holds(x)) {
        x->committed = true;
        mg_relay_committed(&x->relay);
    }
    if (x->committed)
        let_go(x);
    walk_check_beginning(x);
}

static void on_flush(void *arg)
{
    struct exchange *x = arg;
    if (x->over)
        walk_broken(x->world, "#%d: a flush after the end", x->index);
}

static void on_body(void *arg, mg_view bytes)
{
    struct exchange *x = arg;
    mg_view text = mg_tap_text_of(walk_adapter, &x->arena, bytes);
    snprintf(x->held, sizeof x->held, "%.*s", MG_FMT(text));
}

static mg_err on_good(void *arg, mg_view *out_reason)
{
    const struct exchange *x = arg;
    *out_reason = MG_VIEW("useless");
    return strncmp(x->held, "useless", 7) == 0 ? MG_E_DENIED : MG_OK;
}

static bool may_call(void *arg, int candidate, struct mg_refusal *out_refusal)
{
    struct exchange *x = arg;
    (void)out_refusal;
    x->reservations[candidate]++;
    return true;
}

static void on_settled(void *arg, int candidate, const struct mg_attempt_record *attempt)
{
    struct exchange *x = arg;
    (void)attempt;
    if (--x->reservations[candidate] < 0)
        walk_broken(x->world, "#%d: what was reserved for %s is given back twice", x->index, x->candidates[candidate].target->id);
}

static void on_seam(void *arg, uint64_t bytes)
{
    struct exchange *x = arg;
    walk_tell(x->world, "#%d goes on after %llu bytes", x->index, (unsigned long long)bytes);
    walk_seen.seams++;
    if (!x->committed || bytes != strlen(x->got))
        walk_broken(x->world, "#%d: a seam after %llu bytes, the client has %zu", x->index, (unsigned long long)bytes, strlen(x->got));
}

static void on_done(void *arg)
{
    struct exchange *x = arg;
    struct world *world = x->world;
    const struct mg_relay_result *result = &x->relay.result;
    uint64_t late_us = world->loop.now_us > x->relay.deadline_us ? world->loop.now_us - x->relay.deadline_us : 0;
    walk_tell(world, "#%d done: %s (%s), %u attempts%s", x->index, result->ok ? "ok" : "failed", mg_class_name(result->class_), x->played,
         x->committed ? ", committed" : "");
    if (world->loud)
        printf("%.*s", (int)x->timeline.note_bytes, x->timeline.note);
    if (late_us > (SLOT_MS + 1) * 1000)
        walk_broken(world, "#%d ends %.1f ms after its deadline", x->index, (double)late_us / 1000);
    if (x->over)
        walk_broken(world, "#%d is done twice", x->index);
    if (x->timeline.attempt_count != x->played)
        walk_broken(world, "#%d: %u attempts played, %u recorded", x->index, x->played, x->timeline.attempt_count);
    if (result->ok && x->asks_again && !x->committed) {
        x->asks_again = false;
        walk_seen.again++;
        mg_relay_again(&x->relay, MG_VIEW("once more"));
        return;
    }
    x->dones++;
    walk_seen.good += result->ok;
    walk_seen.failed += !result->ok;
    walk_seen.committed += x->committed;
    if (result->ok) {
        let_go(x);
        walk_check_success(x);
    } else {
        walk_check_failure(x);
        walk_check_beginning(x);
    }
    forget_exchange(x);
}

void walk_begin(struct world *world, struct exchange *x)
{
    struct mg_json_error error;
    unsigned char id[10] = {(unsigned char)x->index};
    mg_view body = x->stream ? MG_VIEW("{\"model\":\"chat\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}")
                             : MG_VIEW("{\"model\":\"chat\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    x->begun = true;
    walk_seen.exchanges++;
    mg_arena_init(&x->arena, 4096);
    fill_route(world, x);
    x->timeline = (struct mg_timeline){.start_mono_us = world->loop.now_us, .start_wall_us = world->loop.now_us};
    mg_exchange_id(x->timeline.id, world->loop.now_us, id);
    x->call.arena = &x->arena;
    x->call.loop = &world->loop;
    x->call.timeline = &x->timeline;
    x->call.headers = &x->headers;
    x->call.project = mg_view_cstr(world->project);
    x->call.workflow = MG_VIEW("chat");
    x->call.dialect = "openai";
    x->call.surface = "chat";
    x->call.deadline_us = world->loop.now_us + (uint64_t)x->call.default_deadline_ms * 1000;
    if (mg_request_scan(&x->call.request, &x->arena, body, &error) != MG_OK)
        walk_broken(world, "the request does not scan");
    x->reserved = mg_record_worst_case(MG_MAX_ATTEMPTS);
    if (!mg_journal_reserve(walk_journal, x->reserved))
        walk_broken(world, "no room in the journal");
    x->relay_call = (struct mg_relay_call){.call = &x->call,
                                           .journal = walk_journal,
                                           .route = &x->route,
                                           .candidates = x->candidates,
                                           .plan = &x->plan,
                                           .policy = &policy,
                                           .surface = "chat",
                                           .resumes = true,
                                           .ops = &client_ops,
                                           .arg = x};
    walk_tell(world, "#%d comes: %s, rescue %d%s, deadline %u ms, %u attempts, %d entries", x->index, x->stream ? "stream" : "whole",
         x->workflow.rescue, x->workflow.has_accept ? ", accept" : "", x->call.default_deadline_ms,
         MG_MIN(x->plan.max_attempts, x->call.default_max_attempts), x->plan.count);
    mg_relay_start(&x->relay, &x->relay_call);
    if (x->dones)
        walk_broken(world, "#%d: on_done came from inside mg_relay_start()", x->index);
}

void walk_leave(struct exchange *x)
{
    walk_tell(x->world, "#%d leaves", x->index);
    walk_seen.left++;
    mg_relay_cancel(&x->relay, MG_CLASS_cancelled);
    forget_exchange(x);
}
