/* Acting out one call: pace, stages of a stream, and everything that can go wrong on the way.
 *
 *     mg_sim_play ─▶ refused, or an ANSWER fault ──────────────────────────────▶ answered at once
 *                 ─▶ a play: waits until `due_us`, then step() sends what is due, again and again
 *
 *   stream: KEEPALIVE ─▶ ROLE ─▶ CONTENT ─▶ FINISH ─▶ USAGE ─▶ DONE ─▶ END
 *   body:   BODY ─▶ (END)                         anything: SILENT, which waits for the client to
 * leave
 *
 * A play lives exactly as long as its call. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "sim/answer.h"
#include "sim/sim_parts.h"
#include "sim/text.h"
#include "sim/wire.h"

enum stage {
    STAGE_KEEPALIVE,
    STAGE_ROLE,
    STAGE_CONTENT,
    STAGE_FINISH,
    STAGE_USAGE,
    STAGE_DONE,
    STAGE_END,
    STAGE_BODY,
    STAGE_DRIP,
    STAGE_NOISE,
    STAGE_SILENT
};

enum { TRICKLE_MS = 5, NOISE_MS = 50, KEEPALIVE_MS = 20, ARGUMENT_BYTES = 12 };

struct cursor { /* how far one choice has been said */
    mg_view rest;
    bool opened; /* the tool call's first chunk was sent */
};

struct play {
    struct mg_sim *sim;
    struct mg_service_call *call;
    struct mg_arena arena;
    struct mg_sim_request request;
    struct mg_sim_answer answer;
    struct mg_sim_ident ident;
    struct mg_sim_figures *figures;
    struct mg_config_sim_model pace;
    enum mg_sim_fault fault;
    int value;
    enum stage stage;
    uint64_t begin_us; /* monotonic: when the request was here */
    uint64_t due_us;   /* when the next thing happens */
    struct mg_timer timer;
    struct cursor *cursors; /* one per choice */
    mg_view prefix;         /* of every event */
    uint32_t choice;        /* whose turn it is */
    uint32_t pieces;        /* of content sent */
    bool begun;             /* the head of a stream is out */
    bool blocked;           /* the client takes no bytes: wait for on_room */
    bool acted;             /* the fault has happened */
    mg_view drip;           /* bytes left to trickle */
    enum stage after_drip;  /* where the stream goes on; STAGE_BODY: it was the whole answer */
};

enum outcome { GOES_ON, WAITS, OVER }; /* of a fault; OVER: the play is freed */

static void begin(struct play *play);
static bool at_once(struct play *play);
static bool answer_instead(struct play *play);
static void step(struct play *play);
static bool advance(struct play *play);
static bool next_role(struct play *play);
static bool next_content(struct play *play);
static bool next_finish(struct play *play);
static bool next_usage(struct play *play);
static bool next_done(struct play *play);
static bool make_body(struct play *play);
static enum outcome break_stream(struct play *play);
static enum outcome break_with_error(struct play *play);
static void choose_fault(struct play *play, mg_view name);
static void apply_phases(struct play *play, mg_view key);
static void make_ident(struct play *play);
static bool break_body(struct play *play, mg_view body);
static bool start_drip(struct play *play, mg_view head, mg_view body);
static bool drip(struct play *play);
static bool noise(struct play *play);
static bool send_event(struct play *play);
static void open_stream(struct play *play);
static void wait_until(struct play *play, uint64_t due_us);
static bool end_with(struct play *play, void (*how)(struct mg_service_call *call), bool finished);
static void play_free(struct play *play);
static void answer_now(struct play *play, int status, const char *type, mg_err made);
static mg_view headers_of(struct play *play, const char *type, int retry_after_s, bool exhausted);
static mg_view raw_head(struct play *play, const char *type, size_t length, bool chunked);
static void on_timer(struct mg_timer *timer);
static void on_gone(struct mg_service_call *call);
static void on_room(struct mg_service_call *call);

void mg_sim_play(struct mg_sim *sim, struct mg_service_call *call, enum mg_sim_surface surface)
{
    struct play *play = mg_new(struct play);
    struct mg_sim_refusal refusal;
    play->sim = sim;
    play->call = call;
    mg_arena_init(&play->arena, 4096);
    if (mg_sim_request_read(sim->reader, surface, call->body, &play->arena, &play->request,
                            &refusal) != MG_OK) {
        mg_sim_answer_error(sim, call, 400, refusal.message, refusal.param, refusal.code);
        play_free(play);
        return;
    }
    play->figures = mg_sim_figures_of(sim, play->request.model);
    begin(play);
}

static void begin(struct play *play)
{
    play->begin_us = mg_loop_now_us(play->call->loop);
    play->figures->calls++;
    play->figures->running++;
    play->figures->peak = MG_MAX(play->figures->peak, play->figures->running);
    play->figures->streams += play->request.stream;
    make_ident(play);
    choose_fault(play, play->request.model);
    play->figures->faults[play->fault]++;
    play->call->user = play;
    play->call->on_gone = on_gone;
    play->call->on_room = on_room;
    if (!at_once(play) && !answer_instead(play)) {
        uint32_t tokens = play->pace.output_tokens > 0 ? (uint32_t)play->pace.output_tokens
                                                       : MG_SIM_OUTPUT_TOKENS;
        mg_sim_answer_make(&play->arena, &play->request, play->fault, play->value, tokens,
                           &play->answer);
        step(play);
    }
}

/* Who is asked, how fast it is, and what will go wrong. */
static void choose_fault(struct play *play, mg_view name)
{
    struct mg_sim *sim = play->sim;
    struct mg_sim_model *model = mg_sim_models_find(sim->models, name);
    mg_view key = mg_headers_get(play->call->request->headers, MG_VIEW("authorization"));
    if (mg_view_starts(key, MG_VIEW("Bearer ")))
        key = mg_view_skip(key, 7);
    play->pace = model ? *model->config : sim->otherwise;
    bool named = mg_sim_fault_of_model(name, &play->fault, &play->value);
    if (!named && model)
        play->fault = mg_sim_model_fault(model, key, &sim->random, &play->value);
    else if (!named && sim->models->count)
        play->fault = MG_SIM_FAULT_model_not_found;
    apply_phases(play, key);
}

/* What holds for a while comes before what the model does anyway. */
static void apply_phases(struct play *play, mg_view key)
{
    struct mg_sim_effect effect;
    mg_sim_phases_apply(play->sim->phases, play->request.model, key, play->begin_us,
                        &play->sim->random, &effect);
    if (effect.ttft_ms >= 0)
        play->pace.ttft_ms = effect.ttft_ms;
    if (effect.tokens_per_s >= 0)
        play->pace.tokens_per_s = effect.tokens_per_s;
    play->ident.limit = effect.limit;
    play->ident.left = effect.left;
    play->ident.reset_ms = effect.reset_ms;
    if (effect.fault == MG_SIM_FAULT_NONE)
        return;
    play->fault = effect.fault;
    play->value = effect.value;
}

static void make_ident(struct play *play)
{
    uint64_t id = mg_sim_random(&play->sim->random), more = mg_sim_random(&play->sim->random);
    const char *prefix = play->request.surface == MG_SIM_COMPLETIONS ? "cmpl" : "chatcmpl";
    play->ident = (struct mg_sim_ident){
        .created_s = mg_wall_us() / 1000000, .random = id ^ more, .calls = play->sim->calls};
    snprintf(play->ident.id, sizeof(play->ident.id), "%s-%012llx%012llx", prefix,
             (unsigned long long)id, (unsigned long long)more);
    snprintf(play->ident.request_id, sizeof(play->ident.request_id), "req_%012llx%012llx",
             (unsigned long long)more, (unsigned long long)id);
}

/* Faults that need no answer. True: the play is over or waits for ever. */
static bool at_once(struct play *play)
{
    switch (play->fault) {
    case MG_SIM_FAULT_reset_early:
        return !end_with(play, mg_service_reset, false);
    case MG_SIM_FAULT_close_early:
        return !end_with(play, mg_service_close, false);
    case MG_SIM_FAULT_hang:
        play->stage = STAGE_SILENT;
        return true;
    case MG_SIM_FAULT_headers_only:
        open_stream(play);
        play->stage = STAGE_SILENT;
        return true;
    case MG_SIM_FAULT_bad_head:
        mg_service_raw(play->call, MG_VIEW("HTTP/1.1 two hundred\r\n: none\r\n\r\n"));
        return !end_with(play, mg_service_close, false);
    case MG_SIM_FAULT_endless_whitespace:
    case MG_SIM_FAULT_endless_comments:
        play->stage = STAGE_NOISE;
        step(play);
        return true;
    default:
        break;
    }
    play->stage = !play->request.stream || play->request.surface == MG_SIM_EMBEDDINGS ? STAGE_BODY
                  : play->fault == MG_SIM_FAULT_keepalive ? STAGE_KEEPALIVE
                                                          : STAGE_ROLE;
    play->due_us = play->begin_us + (uint64_t)play->pace.ttft_ms * 1000;
    if (play->fault == MG_SIM_FAULT_slow_headers)
        play->due_us = play->begin_us + (uint64_t)play->value * 1000;
    if (play->fault == MG_SIM_FAULT_slow_ttft && play->stage == STAGE_ROLE)
        play->due_us = play->begin_us;
    return false;
}

/* Faults that are another answer. True: it was given. */
static bool answer_instead(struct play *play)
{
    struct mg_buf *out = &play->sim->scratch;
    const struct mg_sim_answer_row *row = mg_sim_answer_find(play->fault);
    bool as_stream = play->stage != STAGE_BODY;
    mg_buf_clear(out);
    if (row) {
        bool own_status =
            play->fault == MG_SIM_FAULT_status || play->fault == MG_SIM_FAULT_html_502;
        int status =
            own_status && play->value >= 200 && play->value <= 999 ? play->value : row->status;
        mg_err made = row->type
                          ? mg_sim_put_error(row->message, row->type, row->param, row->code, out)
                          : mg_sim_put_html(status, row->message, out);
        answer_now(play, status, row->type ? "application/json" : "text/html", made);
        return true;
    }
    mg_err made = mg_sim_put_error("The server had an error while processing your request.",
                                   "server_error", NULL, "server_error", out);
    switch (play->fault) {
    case MG_SIM_FAULT_json_for_stream:
        if (!as_stream)
            return false;
        break;
    case MG_SIM_FAULT_error_first:
    case MG_SIM_FAULT_error_mid:
    case MG_SIM_FAULT_error_event:
    case MG_SIM_FAULT_error_done:
        if (as_stream)
            return false;
        break;
    case MG_SIM_FAULT_error_200:
        break;
    case MG_SIM_FAULT_empty_body:
        mg_buf_clear(out);
        break;
    case MG_SIM_FAULT_invalid_json:
        mg_buf_clear(out);
        made = mg_buf_put(
            out,
            MG_VIEW("{\"id\":\"chatcmpl-cut\",\"object\":\"chat.completion\",\"choices\":[{\"ind"));
        break;
    case MG_SIM_FAULT_html_200:
        mg_buf_clear(out);
        made = mg_sim_put_html(200, "Please wait", out);
        answer_now(play, 200, "text/html", made);
        return true;
    default:
        return false;
    }
    answer_now(play, 200, "application/json", made);
    return true;
}

/* Does what is due, until the client is full, the next thing is in the future, or the play is over.
 */
static void step(struct play *play)
{
    while (!play->blocked) {
        if (play->stage == STAGE_SILENT)
            return;
        if (play->due_us > mg_loop_now_us(play->call->loop)) {
            wait_until(play, play->due_us);
            return;
        }
        if (!advance(play))
            return;
    }
}

/* One thing. False: the play is freed. */
static bool advance(struct play *play)
{
    switch (play->stage) {
    case STAGE_KEEPALIVE:
        open_stream(play);
        play->due_us += KEEPALIVE_MS * 1000;
        if ((int)play->choice++ < play->value) {
            play->blocked = mg_service_send(play->call, MG_VIEW(": keep-alive\n\n")) != MG_OK;
            return true;
        }
        play->choice = 0;
        play->stage = STAGE_ROLE;
        return true;
    case STAGE_ROLE:
        return next_role(play);
    case STAGE_CONTENT:
        return next_content(play);
    case STAGE_FINISH:
        return next_finish(play);
    case STAGE_USAGE:
        return next_usage(play);
    case STAGE_DONE:
        return next_done(play);
    case STAGE_END:
        return end_with(play, mg_service_end, true);
    case STAGE_BODY:
        return make_body(play);
    case STAGE_DRIP:
        return drip(play);
    case STAGE_NOISE:
        return noise(play);
    case STAGE_SILENT:
        break;
    }
    return true;
}

/* The head, then the role chunk of each choice. Completions have none. */
static bool next_role(struct play *play)
{
    open_stream(play);
    if (play->fault == MG_SIM_FAULT_bad_framing) {
        mg_service_raw(play->call, MG_VIEW("zz\r\ndata: {}\n\n\r\n"));
        return end_with(play, mg_service_close, false);
    }
    if (!play->acted &&
        (play->fault == MG_SIM_FAULT_error_first || play->fault == MG_SIM_FAULT_error_done))
        return break_stream(play) == WAITS;
    if (play->request.surface == MG_SIM_CHAT && play->choice < play->request.n) {
        const struct mg_sim_choice *choice = &play->answer.choices[play->choice];
        struct mg_buf delta;
        mg_buf_init(&delta, 256);
        mg_buf_clear(&play->sim->scratch);
        mg_err err = mg_sim_put_role(choice, &delta);
        if (err == MG_OK)
            err = mg_sim_put_chunk(&play->request, &play->ident, play->prefix, play->choice,
                                   mg_buf_view(&delta), NULL, &play->sim->scratch);
        mg_buf_fini(&delta);
        play->choice++;
        return err == MG_OK ? send_event(play) : end_with(play, mg_service_reset, false);
    }
    play->choice = 0;
    play->stage = STAGE_CONTENT;
    if (play->fault == MG_SIM_FAULT_slow_ttft)
        play->due_us = play->begin_us + (uint64_t)play->value * 1000;
    return true;
}

static mg_view next_piece(struct cursor *cursor, const struct mg_sim_choice *choice)
{
    if (choice->said != MG_SIM_SAYS_TOOL)
        return mg_sim_token(&cursor->rest);
    mg_view piece =
        mg_view_head(cursor->rest, mg_view_utf8_floor(mg_view_head(cursor->rest, ARGUMENT_BYTES)));
    cursor->rest = mg_view_skip(cursor->rest, piece.len);
    return piece;
}

/* The next piece of whichever choice has one; choices take turns. */
static bool next_content(struct play *play)
{
    if (!play->acted && (int)play->pieces >= play->value) {
        enum outcome outcome = break_stream(play);
        if (outcome != GOES_ON)
            return outcome == WAITS;
    }
    uint32_t tried = 0;
    for (; tried < play->request.n; tried++, play->choice = (play->choice + 1) % play->request.n) {
        const struct cursor *cursor = &play->cursors[play->choice];
        bool opens = play->answer.choices[play->choice].said == MG_SIM_SAYS_TOOL && !cursor->opened;
        if (cursor->rest.len || opens)
            break;
    }
    if (tried == play->request.n) {
        play->choice = 0;
        play->stage = STAGE_FINISH;
        return play->acted ||
               break_stream(play) != OVER; /* a fault that waits for more pieces happens now */
    }
    const struct mg_sim_choice *choice = &play->answer.choices[play->choice];
    struct cursor *cursor = &play->cursors[play->choice];
    struct mg_buf delta;
    mg_buf_init(&delta, MG_MAX_RESPONSE_BODY_BYTES);
    mg_buf_clear(&play->sim->scratch);
    bool opens = choice->said == MG_SIM_SAYS_TOOL && !cursor->opened;
    mg_err err = opens
                     ? mg_sim_put_tool_open(choice, &play->ident, &delta)
                     : mg_sim_put_piece(&play->request, choice, next_piece(cursor, choice), &delta);
    cursor->opened = true;
    if (err == MG_OK)
        err = mg_sim_put_chunk(&play->request, &play->ident, play->prefix, play->choice,
                               mg_buf_view(&delta), NULL, &play->sim->scratch);
    mg_buf_fini(&delta);
    play->choice = (play->choice + 1) % play->request.n;
    play->pieces++;
    if (play->pace.tokens_per_s > 0)
        play->due_us += 1000000 / (uint64_t)play->pace.tokens_per_s;
    return err == MG_OK ? send_event(play) : end_with(play, mg_service_reset, false);
}

static bool next_finish(struct play *play)
{
    if (play->choice == play->request.n) {
        play->stage = STAGE_USAGE;
        return true;
    }
    bool chat = play->request.surface == MG_SIM_CHAT;
    mg_buf_clear(&play->sim->scratch);
    mg_err err = mg_sim_put_chunk(&play->request, &play->ident, play->prefix, play->choice,
                                  chat ? MG_VIEW("{}") : MG_VIEW("\"\""),
                                  play->answer.choices[play->choice].finish, &play->sim->scratch);
    play->choice++;
    return err == MG_OK ? send_event(play) : end_with(play, mg_service_reset, false);
}

static bool next_usage(struct play *play)
{
    play->stage = STAGE_DONE;
    if (play->fault == MG_SIM_FAULT_no_done_hang) {
        play->stage = STAGE_SILENT;
        play->figures->finished++;
    }
    if (!play->request.include_usage || play->fault == MG_SIM_FAULT_no_usage)
        return true;
    mg_buf_clear(&play->sim->scratch);
    mg_err err =
        mg_sim_put_usage_chunk(&play->request, &play->ident, &play->answer,
                               play->fault == MG_SIM_FAULT_usage_with_choices, &play->sim->scratch);
    return err == MG_OK ? send_event(play) : end_with(play, mg_service_reset, false);
}

static bool next_done(struct play *play)
{
    play->stage = STAGE_END;
    if (play->fault == MG_SIM_FAULT_no_done)
        return true;
    play->blocked = mg_service_send(play->call, MG_VIEW("data: [DONE]\n\n")) != MG_OK;
    return true;
}

/* What goes wrong in the middle of a stream, once. */
static enum outcome break_stream(struct play *play)
{
    struct mg_service_call *call = play->call;
    play->acted = true;
    switch (play->fault) {
    case MG_SIM_FAULT_stall:
        play->stage = STAGE_SILENT;
        return WAITS;
    case MG_SIM_FAULT_cut:
        end_with(play, mg_service_close, false);
        return OVER;
    case MG_SIM_FAULT_cut_clean:
        end_with(play, mg_service_end, false);
        return OVER;
    case MG_SIM_FAULT_reset:
        end_with(play, mg_service_reset, false);
        return OVER;
    case MG_SIM_FAULT_error_event:
    case MG_SIM_FAULT_error_mid:
    case MG_SIM_FAULT_error_first:
    case MG_SIM_FAULT_error_done:
        return break_with_error(play);
    case MG_SIM_FAULT_malformed_event:
        play->blocked =
            mg_service_send(call, MG_VIEW("data: {\"id\":\"chatcmpl-\",\"choices\":[{\"ind\n\n")) !=
            MG_OK;
        return GOES_ON;
    case MG_SIM_FAULT_done_without_finish:
        mg_service_send(call, MG_VIEW("data: [DONE]\n\n"));
        end_with(play, mg_service_end, false);
        return OVER;
    default:
        return GOES_ON;
    }
}

static enum outcome break_with_error(struct play *play)
{
    struct mg_buf *out = &play->sim->scratch;
    bool first = play->fault == MG_SIM_FAULT_error_first;
    mg_buf_clear(out);
    mg_err err = play->fault == MG_SIM_FAULT_error_event
                     ? mg_buf_put(out, MG_VIEW("event: error\n"))
                     : MG_OK;
    if (err == MG_OK)
        err = mg_buf_put(out, MG_VIEW("data: "));
    if (err == MG_OK && first)
        err = mg_sim_put_error("The engine is currently overloaded.", "service_unavailable_error",
                               NULL, "server_is_overloaded", out);
    else if (err == MG_OK)
        err = mg_sim_put_error("The server had an error while processing your request.",
                               "server_error", NULL, "server_error", out);
    if (err == MG_OK)
        err = mg_buf_put(out, MG_VIEW("\n\n"));
    if (err == MG_OK && play->fault == MG_SIM_FAULT_error_done)
        err = mg_buf_put(out, MG_VIEW("data: [DONE]\n\n"));
    mg_service_send(play->call, mg_buf_view(out));
    end_with(play, err == MG_OK ? mg_service_end : mg_service_reset, false);
    return OVER;
}

/* The whole answer at once, after the time it would have taken. */
static bool make_body(struct play *play)
{
    struct mg_buf *out = &play->sim->scratch;
    uint64_t tokens = play->request.surface == MG_SIM_EMBEDDINGS ? 0 : play->answer.output_tokens;
    if (play->pace.tokens_per_s > 0 && play->pieces++ == 0 && tokens) {
        play->due_us += tokens * 1000000 / (uint64_t)play->pace.tokens_per_s;
        return true;
    }
    mg_buf_clear(out);
    play->ident.took_ms = (mg_loop_now_us(play->call->loop) - play->begin_us) / 1000;
    mg_err err;
    if (play->request.surface == MG_SIM_EMBEDDINGS && play->fault == MG_SIM_FAULT_empty_content)
        err = mg_buf_put(out, MG_VIEW("{\"object\":\"list\",\"data\":[],\"model\":\"m\"}"));
    else if (play->request.surface == MG_SIM_EMBEDDINGS)
        err = mg_sim_put_embeddings(&play->request, out);
    else
        err = mg_sim_put_answer(&play->request, &play->ident, &play->answer,
                                play->fault != MG_SIM_FAULT_no_usage, out);
    if (err != MG_OK) {
        mg_sim_answer_error(play->sim, play->call, 400, "'$.input' is invalid.", "input", NULL);
        play_free(play);
        return false;
    }
    return break_body(play, mg_buf_view(out));
}

/* Sends the body, or does to it what shall be done. False: the play is freed. */
static bool break_body(struct play *play, mg_view body)
{
    struct mg_service_call *call = play->call;
    mg_view half = mg_view_head(body, body.len / 2);
    const char *json = "application/json";
    switch (play->fault) {
    case MG_SIM_FAULT_short_body:
        half = mg_view_head(body, body.len - MG_MIN(body.len, (size_t)play->value));
        break;
    case MG_SIM_FAULT_stall:
    case MG_SIM_FAULT_cut:
    case MG_SIM_FAULT_reset:
        break;
    case MG_SIM_FAULT_cut_clean:
        body = half;
        break;
    case MG_SIM_FAULT_trickle:
        return start_drip(play, raw_head(play, json, body.len, false), body);
    case MG_SIM_FAULT_keepalive:
        mg_service_begin(call, 200, headers_of(play, json, -1, false));
        for (int i = 0; i < play->value; i++)
            mg_service_send(call, MG_VIEW("\n"));
        mg_service_send(call, body);
        return end_with(play, mg_service_end, true);
    case MG_SIM_FAULT_bad_framing:
        mg_service_raw(call, raw_head(play, json, 0, true));
        mg_service_raw(call, MG_VIEW("zz\r\n{}\r\n"));
        return end_with(play, mg_service_close, false);
    default:
        break;
    }
    if (play->fault == MG_SIM_FAULT_short_body || play->fault == MG_SIM_FAULT_stall ||
        play->fault == MG_SIM_FAULT_cut || play->fault == MG_SIM_FAULT_reset) {
        mg_service_raw(call, raw_head(play, json, body.len, false));
        mg_service_raw(call, half);
        if (play->fault == MG_SIM_FAULT_stall) {
            play->stage = STAGE_SILENT;
            return true;
        }
        return end_with(
            play, play->fault == MG_SIM_FAULT_reset ? mg_service_reset : mg_service_close, false);
    }
    mg_service_answer(
        call, 200,
        headers_of(play, play->fault == MG_SIM_FAULT_wrong_type ? "text/plain" : json, -1, false),
        body);
    play->figures->finished++;
    play_free(play);
    return false;
}

/* A few bytes at a time, then `after_drip`. */
static bool start_drip(struct play *play, mg_view head, mg_view body)
{
    char *bytes = mg_arena_alloc(&play->arena, head.len + body.len + 1);
    memcpy(bytes, head.ptr, head.len);
    if (body.len)
        memcpy(bytes + head.len, body.ptr, body.len);
    play->drip = mg_view_of(bytes, head.len + body.len);
    play->after_drip = play->stage;
    play->stage = STAGE_DRIP;
    return true;
}

static bool drip(struct play *play)
{
    bool whole = play->after_drip == STAGE_BODY;
    mg_view some = mg_view_head(play->drip, (size_t)MG_MAX(play->value, 1));
    play->drip = mg_view_skip(play->drip, some.len);
    if (some.len) {
        play->due_us = MG_MAX(play->due_us, play->begin_us) + TRICKLE_MS * 1000;
        play->blocked =
            (whole ? mg_service_raw(play->call, some) : mg_service_send(play->call, some)) != MG_OK;
        return true;
    }
    if (whole)
        return end_with(play, mg_service_close, true);
    play->stage = play->after_drip;
    return true;
}

static bool noise(struct play *play)
{
    bool comments = play->fault == MG_SIM_FAULT_endless_comments && play->request.stream;
    open_stream(play);
    play->due_us = mg_loop_now_us(play->call->loop) + NOISE_MS * 1000;
    play->blocked = mg_service_send(play->call, comments ? MG_VIEW(": keep-alive\n\n")
                                                         : MG_VIEW("\n")) != MG_OK;
    return true;
}

/* Sends what is in the scratch buffer as one chunk. Closed counts as blocked: on_gone comes. */
static bool send_event(struct play *play)
{
    mg_view event = mg_buf_view(&play->sim->scratch);
    if (play->fault == MG_SIM_FAULT_trickle)
        return start_drip(play, event, MG_VIEW_NONE);
    play->blocked = mg_service_send(play->call, event) != MG_OK;
    return true;
}

/* The head of a stream and what its events begin with; once. */
static void open_stream(struct play *play)
{
    if (play->begun)
        return;
    play->begun = true;
    const char *type = !play->request.stream ? "application/json"
                       : play->fault == MG_SIM_FAULT_wrong_type
                           ? "text/plain"
                           : "text/event-stream; charset=utf-8";
    play->ident.took_ms = (mg_loop_now_us(play->call->loop) - play->begin_us) / 1000;
    mg_service_begin(play->call, 200, headers_of(play, type, -1, false));
    play->cursors = mg_arena_array(&play->arena, struct cursor, play->request.n);
    for (uint32_t i = 0; play->answer.choices && i < play->request.n; i++)
        play->cursors[i].rest = play->answer.choices[i].text;
    struct mg_buf prefix;
    mg_buf_init(&prefix, 4096);
    if (mg_sim_put_prefix(&play->request, &play->ident, &prefix) == MG_OK)
        play->prefix = mg_arena_dup(&play->arena, mg_buf_view(&prefix));
    mg_buf_fini(&prefix);
}

static void wait_until(struct play *play, uint64_t due_us)
{
    uint64_t now = mg_loop_now_us(play->call->loop);
    uint64_t wait_us = due_us > now ? due_us - now : 0;
    mg_timer_start(play->call->loop, &play->timer, (wait_us + 999) / 1000, on_timer);
}

/* Ends call and play; false, so that callers can return it. */
static bool end_with(struct play *play, void (*how)(struct mg_service_call *call), bool finished)
{
    play->figures->finished += finished;
    how(play->call);
    play_free(play);
    return false;
}

static void answer_now(struct play *play, int status, const char *type, mg_err made)
{
    const struct mg_sim_answer_row *row = mg_sim_answer_find(play->fault);
    bool limited = status == 429 && row && row->retry_after;
    if (made != MG_OK)
        mg_service_reset(play->call);
    else
        mg_service_answer(play->call, status,
                          headers_of(play, type, limited ? play->value : -1, limited),
                          mg_buf_view(&play->sim->scratch));
    play_free(play);
}

/* In the arena: the scratch buffer holds the body. */
static mg_view headers_of(struct play *play, const char *type, int retry_after_s, bool exhausted)
{
    struct mg_buf lines;
    mg_view out = MG_VIEW_NONE;
    mg_buf_init(&lines, 4096);
    if (mg_sim_put_headers(&play->ident, type, retry_after_s, exhausted, &lines) == MG_OK)
        out = mg_arena_dup(&play->arena, mg_buf_view(&lines));
    mg_buf_fini(&lines);
    return out;
}

static mg_view raw_head(struct play *play, const char *type, size_t length, bool chunked)
{
    mg_view headers = headers_of(play, type, -1, false);
    if (chunked)
        return mg_arena_printf(&play->arena,
                               "HTTP/1.1 200 OK\r\n%.*stransfer-encoding: chunked\r\n\r\n",
                               MG_FMT(headers));
    return mg_arena_printf(&play->arena, "HTTP/1.1 200 OK\r\n%.*scontent-length: %zu\r\n\r\n",
                           MG_FMT(headers), length);
}

static void on_timer(struct mg_timer *timer)
{
    step(mg_container_of(timer, struct play, timer));
}

static void on_gone(struct mg_service_call *call)
{
    struct play *play = call->user;
    play->figures->cancelled++;
    play_free(play);
}

static void on_room(struct mg_service_call *call)
{
    struct play *play = call->user;
    if (!play->blocked)
        return;
    play->blocked = false;
    step(play);
}

static void play_free(struct play *play)
{
    if (play->figures)
        play->figures->running--;
    mg_timer_cancel(&play->sim->loop, &play->timer);
    mg_arena_fini(&play->arena);
    mg_free(play);
}
