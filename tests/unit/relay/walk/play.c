/* These functions take the place of relay/attempt.c: an executable's own come before a library's. */
#include "unit/relay/walk/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static struct step *add_step(struct play *play, uint64_t at_us, enum step_kind kind)
{
    struct step *step = &play->steps[play->step_count++];
    *step = (struct step){.at_us = at_us, .kind = kind};
    return step;
}

/* Pieces of one to three tokens each, at most `tokens` of them; where they end. */
static uint64_t add_chunks(struct world *world, struct play *play, uint64_t at_us, int tokens, uint64_t gap_us)
{
    size_t from = 0, len = strlen(play->text);
    for (int told = 0; told < tokens && from < len;) {
        size_t to = from;
        for (int more = (int)walk_between(world, 1, 3); more > 0 && to < len && told < tokens; more--, told++)
            to += strcspn(play->text + to, " ") + 1;
        struct step *step = add_step(play, at_us, CHUNK);
        step->from = from;
        step->to = MG_MIN(to, len);
        from = to;
        at_us += gap_us;
    }
    return at_us;
}

static void end_play(struct play *play, uint64_t at_us, enum mg_class hint, int status, const char *timeout, const char *transport)
{
    add_step(play, at_us, END);
    play->hint = hint;
    play->status = status;
    play->timeout = timeout;
    play->transport = transport;
}

static void write_script(struct world *world, struct play *play, const struct phase *phase, enum mood mood)
{
    uint64_t now = play->began_us, gap_us = walk_between(world, 1, GAP_MAX_MS) * 1000, first = now + walk_between(world, 2, TTFT_MAX_MS) * 1000;
    int some = (int)walk_between(world, 0, (uint64_t)play->tokens);
    uint64_t never = UINT64_MAX;
    if (mood == LATE)
        first += phase->late_ms * 1000u;
    switch (mood) {
    case ERROR:
        end_play(play, first, phase->class_, 500, NULL, NULL);
        play->retry_after_ms = phase->retry_after_ms;
        return;
    case REFUSED: end_play(play, now + 1000, MG_CLASS_network, 0, NULL, "connect"); return;
    case NO_CONNECTION: end_play(play, never, MG_CLASS_none, 0, NULL, NULL); return;
    case HANGS: end_play(play, never, MG_CLASS_none, 0, NULL, NULL); return;
    default: break;
    }
    add_step(play, walk_chance(world, 50) ? first : now + 1000, HEAD);
    if (walk_chance(world, 50))
        add_step(play, play->steps[0].at_us, ROLE);
    if (mood == EMPTY) {
        end_play(play, first, MG_CLASS_empty_response, 200, NULL, NULL);
        return;
    }
    bool breaks = mood == STALLS || mood == CUT;
    uint64_t at = add_chunks(world, play, first, breaks ? some : play->tokens, gap_us);
    if (mood == STALLS) {
        end_play(play, never, MG_CLASS_none, 200, NULL, NULL);
    } else if (mood == CUT) {
        end_play(play, at, MG_CLASS_truncated_stream, 200, NULL, "closed");
    } else {
        add_step(play, at, FINISH);
        add_step(play, at + gap_us, DONE);
        end_play(play, at + gap_us, MG_CLASS_none, 200, NULL, NULL);
    }
}

/* The four timers, each cut to the deadline when it begins. */
static uint64_t cut(const struct mg_attempt_call *call, uint64_t from_us, uint32_t timeout_ms)
{
    uint64_t left_ms = call->deadline_us > from_us ? (call->deadline_us - from_us) / 1000 : 0;
    return from_us + MG_MIN((uint64_t)timeout_ms, MG_MAX(left_ms, 1)) * 1000;
}

static void stop_at(struct play *play, int step, uint64_t at_us, enum mg_class hint, const char *timeout)
{
    int status = step > 0 ? 200 : 0;
    play->step_count = step;
    end_play(play, at_us, hint, status, timeout, NULL);
}

static void apply_timers(struct play *play, const struct mg_attempt_call *call, enum mood mood)
{
    uint64_t total = cut(call, play->began_us, call->timeouts.total_ms);
    uint64_t due = cut(call, play->began_us, mood == NO_CONNECTION ? call->timeouts.connect_ms : call->timeouts.first_token_ms);
    enum mg_class hint = mood == NO_CONNECTION ? MG_CLASS_timeout_connect : MG_CLASS_timeout_ttft;
    const char *name = mood == NO_CONNECTION ? "connect" : "first_token";
    if (!call->stream && mood != NO_CONNECTION)
        due = UINT64_MAX;              /* only the total bounds a whole answer */
    for (int i = 0; i < play->step_count; i++) {
        const struct step *step = &play->steps[i];
        if (step->at_us >= MG_MIN(due, total) && step->at_us > play->began_us) {
            bool whole = total <= due;
            stop_at(play, i, MG_MIN(due, total), whole ? MG_CLASS_timeout_total : hint, whole ? "total" : name);
            return;
        }
        if (step->kind == CHUNK && call->stream) {
            due = cut(call, step->at_us, call->timeouts.idle_ms);
            hint = MG_CLASS_timeout_idle;
            name = "idle";
        }
    }
}

static void count_start(const struct play *play)
{
    const struct mg_lane *lane = play->lane;
    enum mg_breaker_state state = lane->pass.permit.state;
    walk_seen.attempts++;
    walk_seen.retries += lane->reason == MG_REASON_retry;
    walk_seen.fallbacks += lane->reason == MG_REASON_fallback;
    walk_seen.hedges += lane->reason == MG_REASON_hedge;
    walk_seen.rescues += lane->reason == MG_REASON_rescue;
    walk_seen.prefills += lane->relay->prefill != NULL;
    walk_seen.probes += lane->pass.permit.probe;
    walk_seen.early_calls += !lane->pass.permit.probe && (state == MG_BREAKER_OPEN || state == MG_BREAKER_HALF_OPEN);
    walk_seen.waited += mg_lane_record(lane)->waited_us > 0;
}

void mg_attempt_start(struct mg_attempt *attempt, const struct mg_attempt_call *call)
{
    const struct mg_lane *lane = call->arg;
    struct exchange *x = lane->relay->call.arg;
    struct world *world = x->world;
    uint64_t rest = world->random, now = mg_loop_now_us(call->loop);
    struct play *play = NULL;
    for (int i = 0; i < PLAYS && !play; i++)
        play = world->plays[i].active ? NULL : &world->plays[i];
    if (!play) {
        walk_broken(world, "more attempts than there can be");
        abort();
    }
    *play = (struct play){.active = true, .x = x, .attempt = attempt, .lane = lane, .target = lane->candidate,
                          .key = lane->credential, .began_us = now, .tokens = x->tokens};
    world->random = world->seed ^ now ^ (uint64_t)x->index << 48 ^ (uint64_t)lane->number << 56;
    const struct phase *phase = walk_phase_at(world, play->target, now);
    enum mood mood = walk_mood_at(world, play->target, now);
    struct phase refusal = {.class_ = MG_CLASS_auth};
    if (play->key >= 0 && world->targets[play->target].dead[play->key]) {
        mood = ERROR;
        phase = &refusal;
    }
    walk_words(x, play->target, play->text);
    if (mood == USELESS)
        snprintf(play->text, TEXT, "useless ");
    if (lane->reason == MG_REASON_rescue && lane->relay->prefill) {
        snprintf(play->text, TEXT, "on%d and on. ", play->target);
        play->tokens = 3;
        snprintf(x->expected, sizeof x->expected, "%.200s%.100s", x->got, play->text);
        x->prefilled = true;
    }
    write_script(world, play, phase, mood);
    apply_timers(play, call, mood);
    world->random = rest;

    attempt->call = *call;
    attempt->start_us = now;
    attempt->state = MG_ATTEMPT_WAITING;
    attempt->ok = attempt->event_stream = attempt->streaming_body = false;
    attempt->facts = (struct mg_attempt_facts){.hint = MG_CLASS_none};
    attempt->headers = (struct mg_headers){0};
    attempt->address[0] = '\0';
    mg_tap_init(&attempt->tap, call->upstream->adapter, call->stream);
    mg_buf_fini(&attempt->body);
    mg_buf_init(&attempt->body, MG_MAX_HELD_BYTES);
    call->record->mark_us[MG_MARK_sent] = 1;
    walk_tell(world, "#%d attempt %u (%s) at %s key %d: %s", x->index, lane->number, mg_reason_name(lane->reason),
         world->targets[play->target].id, play->key, mood == ERROR ? mg_class_name(phase->class_) : walk_mood_names[mood]);
    walk_check_start(world, play);
    count_start(play);
}

static struct play *play_of(struct world *world, const struct mg_attempt *attempt)
{
    for (int i = 0; i < PLAYS; i++)
        if (world->plays[i].active && world->plays[i].attempt == attempt)
            return &world->plays[i];
    return NULL;
}

static struct world *world_of(const struct mg_attempt *attempt)
{
    const struct mg_lane *lane = attempt->call.arg;
    return ((struct exchange *)lane->relay->call.arg)->world;
}

void mg_attempt_cancel(struct mg_attempt *attempt)
{
    if (attempt->state == MG_ATTEMPT_IDLE)
        return;
    struct play *play = play_of(world_of(attempt), attempt);
    walk_tell(world_of(attempt), "#%d attempt %u is cancelled", play->x->index, play->lane->number);
    play->active = false;
    play->x->world->targets[play->target].told_us = play->x->world->loop.now_us;
    play->x->diverged |= play->lane->reason == MG_REASON_rescue;
    mg_loop_defer_cancel(&attempt->end);
    attempt->state = MG_ATTEMPT_IDLE;
}

void mg_attempt_pause(struct mg_attempt *attempt, bool paused)
{
    attempt->paused = paused;
}

void mg_attempt_spoil(struct mg_attempt *attempt, enum mg_class hint, const char *why)
{
    (void)why;
    attempt->ok = false;               /* nothing here speaks another dialect */
    attempt->facts.hint = hint;
}

void mg_attempt_fini(struct mg_attempt *attempt)
{
    mg_attempt_cancel(attempt);
    mg_buf_fini(&attempt->body);
}

static void play_event(struct play *play, const char *data)
{
    struct mg_attempt *attempt = play->attempt;
    struct mg_tap_event seen;
    char raw[TEXT + 128];
    int len = snprintf(raw, sizeof raw, "data: %s\n\n", data);
    struct mg_sse_event event = {
        .raw = mg_view_of(raw, (size_t)len), .data = mg_view_of(raw + 6, (size_t)len - 8), .data_in_raw = true};
    mg_tap_event(&attempt->tap, event.name, event.data, &seen);
    if (seen.content && !attempt->call.record->mark_us[MG_MARK_first_token])
        attempt->call.record->mark_us[MG_MARK_first_token] = play->x->world->loop.now_us - attempt->start_us + 1;
    attempt->call.ops->on_event(attempt->call.arg, &event, &seen);
    if (play->active && play->attempt == attempt && attempt->state == MG_ATTEMPT_READING)
        attempt->call.ops->on_flush(attempt->call.arg);
    memset(raw, '#', sizeof raw);      /* nobody may still look at it */
}

static void on_play_end(struct mg_defer *defer)
{
    struct mg_attempt *attempt = mg_container_of(defer, struct mg_attempt, end);
    struct play *play = play_of(world_of(attempt), attempt);
    play->active = false;
    play->x->world->targets[play->target].told_us = play->x->world->loop.now_us;
    attempt->state = MG_ATTEMPT_IDLE;
    attempt->call.ops->on_end(attempt->call.arg);
}

static void play_end(struct play *play)
{
    struct mg_attempt *attempt = play->attempt;
    struct world *world = play->x->world;
    attempt->facts.hint = play->hint;
    attempt->facts.timeout = play->timeout;
    attempt->facts.transport = play->transport;
    attempt->facts.phase = "stream";
    attempt->facts.status = play->status;
    attempt->facts.retry_after_ms = play->retry_after_ms;
    attempt->ok = play->hint == MG_CLASS_none;
    walk_tell(world, "#%d attempt %u ends: %s", play->x->index, play->lane->number, mg_class_name(play->hint));
    if (attempt->ok && !play->x->stream) {
        attempt->call.record->mark_us[MG_MARK_first_token] = world->loop.now_us - attempt->start_us + 1;
        mg_view body = mg_arena_printf(&play->x->arena, "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
                                       "\"%s\"},\"finish_reason\":\"stop\"}]}", play->text);
        mg_tap_body(&attempt->tap, body);
        if (mg_buf_put(&attempt->body, body) == MG_OK)
            attempt->call.ops->on_body(attempt->call.arg, mg_buf_view(&attempt->body));
    }
    if (attempt->state == MG_ATTEMPT_IDLE)
        return;
    bool final = mg_class_action(play->hint) == MG_ACTION_fail || play->hint == MG_CLASS_context_length ||
                 play->hint == MG_CLASS_payload_too_large;
    play->x->final_word |= !attempt->ok && final;
    attempt->state = MG_ATTEMPT_ENDING;
    mg_loop_defer(&world->loop, &attempt->end, on_play_end);
}

void walk_play_step(struct play *play)
{
    struct mg_attempt *attempt = play->attempt;
    const struct step *step = &play->steps[play->next++];
    char data[TEXT + 100];
    switch (step->kind) {
    case HEAD:
        attempt->state = MG_ATTEMPT_READING;
        attempt->facts.status = 200;
        attempt->facts.headers = &attempt->headers;
        attempt->call.record->status = 200;
        attempt->event_stream = play->x->stream;
        attempt->call.ops->on_head(attempt->call.arg, 200, attempt->headers);
        break;
    case ROLE:
        if (play->x->stream)
            play_event(play, "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}");
        break;
    case CHUNK:
        snprintf(data, sizeof data, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%.*s\"},\"finish_reason\":null}]}",
                 (int)(step->to - step->from), play->text + step->from);
        if (play->x->stream)
            play_event(play, data);
        break;
    case FINISH:
        if (play->x->stream)
            play_event(play, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}");
        break;
    case DONE:
        if (play->x->stream)
            play_event(play, "[DONE]");
        break;
    case END: play_end(play); break;
    }
}
