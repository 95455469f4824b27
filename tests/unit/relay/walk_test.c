/* Random faults over random configurations, through the real walk, breakers, gates, keys, budgets and rescue.
 *
 *     world ── a seed: targets with their keys, rules and moods over time, and exchanges with their plans
 *       │ a clock of its own: it jumps from one event to the next, nothing waits
 *       ▼
 *     mg_relay_start() … mg_attempt_start() is defined here: an attempt plays a script instead of opening a connection
 *
 * What must hold in every world is written down where it is looked at: broken() names it. A world that breaks something
 * is made smaller (fewer exchanges, calmer targets) and then told line by line.
 *
 *     MOONGATE_WALK_SEED=0x… unit.relay.walk       that world alone
 *     MOONGATE_WALK_WORLDS=2500 unit.relay.walk    so many, from a random seed; the rows of one process last no longer */
#include "relay/relay.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "check.h"
#include "meter/record.h"
#include "script/script.h"

enum {
    TARGETS = 4,
    KEYS = 3,
    MOODS = 12,                        /* of a target, one after the other */
    EXCHANGES = 40,
    TOKENS = 12,                       /* of an answer */
    STEPS = TOKENS + 5,
    TEXT = 160,
    PLAYS = 4 * EXCHANGES,
    SLOT_MS = MG_WHEEL_SLOT_US / 1000,
    TTFT_MAX_MS = 300,                 /* of a target that is well */
    GAP_MAX_MS = 20,
    WELL_MS = TTFT_MAX_MS + GAP_MAX_MS * (TOKENS + 2) + SLOT_MS,
    WORLDS = 600,                      /* of a run of the suite: 24,000 exchanges */
    WORLDS_MAX = 2500,
};

enum { START_US = 1000000000 };        /* the clock's first time */

enum mood { WELL, ERROR, REFUSED, NO_CONNECTION, HANGS, LATE, STALLS, CUT, EMPTY, USELESS, MOOD_COUNT };
static const char *const mood_names[] = {"well", "error", "refused", "no_connection", "hangs", "late",
                                         "stalls", "cut", "empty", "useless"};

struct phase {
    uint64_t from_us;
    enum mood mood;
    enum mg_class class_;              /* of ERROR */
    uint32_t late_ms, retry_after_ms;
};

struct target {
    struct mg_config_provider provider;
    struct mg_config_target config;
    struct mg_config_credential keys[KEYS];
    struct mg_upstream upstream;
    bool dead[KEYS];                   /* keys the provider refuses */
    char name[32], id[48];
    struct phase phases[MOODS];
    bool other_words;                  /* answers with a text of its own */
    uint64_t first_calls, paid_calls, early_at_ms[KEYS];
};

enum step_kind { HEAD, ROLE, CHUNK, FINISH, DONE, END };
struct step {
    uint64_t at_us;
    enum step_kind kind;
    size_t from, to;                   /* of the text */
};

/* One attempt as it will go, decided when it starts. */
struct play {
    bool active;
    struct exchange *x;
    struct mg_attempt *attempt;
    const struct mg_lane *lane;
    int target, key;
    struct step steps[STEPS];
    int step_count, next;
    char text[TEXT];
    int tokens;                        /* of the text */
    enum mg_class hint;                /* none: it ends well */
    const char *timeout, *transport;
    int status;
    uint64_t retry_after_ms;
    uint64_t began_us;
    struct mg_breaker *probing;        /* whose fate it decides; NULL: none */
    uint32_t opened;                   /* how often that one was opened before */
};

struct exchange {
    struct world *world;
    int index;
    uint64_t at_us, leaves_us;         /* when it comes, and when the client goes away; 0: it stays */
    bool begun, over;
    bool stream, asks_again;
    int tokens;
    struct mg_arena arena;
    struct mg_call call;
    struct mg_timeline timeline;
    struct mg_headers headers;
    struct mg_plan plan;
    struct mg_config_workflow workflow;
    struct mg_route route;
    struct mg_candidate candidates[TARGETS];
    struct mg_relay relay;
    struct mg_relay_call relay_call;
    size_t reserved;
    uint32_t used_keys[TARGETS];       /* bitmaps */
    uint32_t played;
    bool final_word;                   /* an attempt failed in a way that ends the exchange */
    bool prefilled, diverged;
    /* the client's side */
    char held[TEXT * 2], got[TEXT * 2];
    char expected[TEXT * 2];           /* after a prefill: what was sent and what goes on from it */
    bool committed, finish, done_event;
    int dones;
    uint8_t started[MG_MAX_ATTEMPTS + 1], settled[MG_MAX_ATTEMPTS + 1], exchanges;
};

struct world {
    uint64_t seed, random;
    uint64_t left_out;                 /* bitmap of exchanges that do not come */
    uint32_t calm;                     /* bitmap of targets that are always well */
    bool loud;
    struct mg_loop loop;
    char project[32];
    int target_count, exchange_count;
    struct mg_config_retry_budget budget;
    struct target targets[TARGETS];
    struct mg_reach reaches[TARGETS];
    struct exchange exchanges[EXCHANGES];
    struct play plays[PLAYS];
    char broken[512];                  /* the first thing that must not be; empty: none */
    const char *promise;               /* which of them: the text before it was filled in */
};

/* What a run came across: a walk that meets nothing proves nothing. */
static struct {
    uint64_t exchanges, good, failed, left, attempts, retries, fallbacks, hedges, rescues, prefills, seams, probes, early_calls, waited,
        committed, again;
} seen_so_far;

static struct mg_adapter *adapter;
static struct mg_journal *journal;
static int runs;                       /* worlds so far: each has rows of its own */
static uint64_t entropy;               /* what getrandom() gives, so that a world always goes the same way */

/* ---- helpers ----------------------------------------------------------------------------------- */

/* The dice of the code under test: in place of the C library's. */
ssize_t getrandom(void *buffer, size_t length, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < length; i++)
        ((char *)buffer)[i] = (char)(mg_fingerprint(mg_view_of((const char *)&entropy, sizeof entropy)) >> 8 * (i % 8));
    entropy++;
    return (ssize_t)length;
}

static uint64_t dice(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t between(struct world *world, uint64_t low, uint64_t high)
{
    return low + dice(&world->random) % (high - low + 1);
}

static bool chance(struct world *world, unsigned percent)
{
    return dice(&world->random) % 100 < percent;
}

__attribute__((format(printf, 2, 3))) static void broken(struct world *world, const char *fmt, ...)
{
    if (world->broken[0])
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(world->broken, sizeof world->broken, fmt, args);
    va_end(args);
    world->promise = fmt;
    if (world->loud)
        printf("  ^ BROKEN: %s\n", world->broken);
}

static double ms_of(uint64_t us)
{
    return us > START_US ? (double)(us - START_US) / 1000 : 0;
}

__attribute__((format(printf, 2, 3))) static void tell(const struct world *world, const char *fmt, ...)
{
    if (!world->loud)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%10.1f  ", ms_of(world->loop.now_us));
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

static const struct phase *phase_at(const struct world *world, int target, uint64_t now_us)
{
    const struct target *t = &world->targets[target];
    int at = 0;
    for (int i = 1; i < MOODS && t->phases[i].from_us <= now_us; i++)
        at = i;
    return &t->phases[at];
}

static enum mood mood_at(const struct world *world, int target, uint64_t now_us)
{
    return world->calm >> target & 1 ? WELL : phase_at(world, target, now_us)->mood;
}

/* ---- a world ----------------------------------------------------------------------------------- */

static void make_phases(struct world *world, struct target *target, bool sound)
{
    static const enum mg_class classes[] = {
        MG_CLASS_rate_limited, MG_CLASS_quota_billing, MG_CLASS_overloaded, MG_CLASS_server_error, MG_CLASS_auth,
        MG_CLASS_permission, MG_CLASS_model_not_found, MG_CLASS_conflict, MG_CLASS_context_length,
        MG_CLASS_payload_too_large, MG_CLASS_invalid_json, MG_CLASS_invalid_request, MG_CLASS_content_filter};
    uint64_t at = START_US;
    for (int i = 0; i < MOODS; i++) {
        struct phase *phase = &target->phases[i];
        phase->from_us = at;
        phase->mood = sound || chance(world, 40) ? WELL : (enum mood)between(world, WELL + 1, MOOD_COUNT - 1);
        phase->class_ = classes[between(world, 0, MG_COUNT(classes) - (chance(world, 90) ? 3 : 1))];
        phase->late_ms = (uint32_t)between(world, 400, 9000);
        phase->retry_after_ms = chance(world, 50) ? (uint32_t)between(world, 1, 8000) : 0;
        at += between(world, 200, 6000) * 1000;
    }
}

static struct mg_config_breaker make_breaker(struct world *world)
{
    return (struct mg_config_breaker){
        .off = chance(world, 10),
        .window_ms = (uint32_t)between(world, 500, 30000),
        .min_calls = (uint32_t)between(world, 1, 12),
        .failure_share = (double)between(world, 1, 10) / 10,
        .consecutive = (uint32_t)between(world, 0, 6),
        .open_ms = (uint32_t)between(world, 50, 5000),
        .max_open_ms = (uint32_t)between(world, 50, 20000),
        .probe_ms = (uint32_t)between(world, 100, 10000),
        .ramp_ms = (uint32_t)between(world, 0, 5000),
        .slow_factor = chance(world, 30) ? 3 : 0,
        .slow_min_ms = (uint32_t)between(world, 50, 500),
    };
}

static struct mg_config_gate make_gate(struct world *world)
{
    if (chance(world, 50))
        return (struct mg_config_gate){.max = 0};
    return (struct mg_config_gate){
        .max = (uint32_t)between(world, 1, 6),
        .adaptive = chance(world, 25),
        .queue = (uint32_t)between(world, 0, 6),
        .queue_ms = (uint32_t)between(world, 0, 2000),
    };
}

static void make_target(struct world *world, int index)
{
    static const char *const key_names[KEYS] = {"first", "second", "third"};
    struct target *target = &world->targets[index];
    snprintf(target->name, sizeof target->name, "p%d", index);
    snprintf(target->id, sizeof target->id, "p%d/m", index);
    target->provider = (struct mg_config_provider){
        .name = target->name, .adapter = "openai", .kind = "http", .breaker = make_breaker(world), .credentials = target->keys};
    target->provider.credential_count = (int)between(world, 0, KEYS);
    for (int i = 0; i < target->provider.credential_count; i++) {
        target->keys[i] = (struct mg_config_credential){.name = key_names[i], .secret = "sk-secret"};
        target->dead[i] = chance(world, 10);
    }
    target->config = (struct mg_config_target){
        .id = target->id, .provider = index, .model = "m", .gate = make_gate(world), .prefill = chance(world, 60)};
    target->config.context_window = chance(world, 50) ? (uint32_t)between(world, 1, 3) * 1000 : 0;
    target->other_words = chance(world, 30);
    target->upstream = (struct mg_upstream){.config = &target->provider,
                                            .adapter = adapter,
                                            .base_path = MG_VIEW("/v1"),
                                            .fixed_head = MG_VIEW("host: x\r\n"),
                                            .credentials = target->keys,
                                            .credential_count = target->provider.credential_count};
    for (int i = 0; i < KEYS; i++)
        target->upstream.credential_line[i] = MG_VIEW("authorization: Bearer sk-secret\r\n");
    make_phases(world, target, index > 0 && chance(world, 30));
    mg_reach_init(&world->reaches[index], world->project, &target->provider, &target->config, target->id, NULL,
                  &mg_adapter_declaration(adapter)->limits);
}

/* ---- an exchange ------------------------------------------------------------------------------- */

static void make_entry(struct world *world, struct mg_plan_entry *entry, const int *order, int first, int count)
{
    *entry = (struct mg_plan_entry){
        .choice_count = count,
        .pick = (enum mg_pick)between(world, MG_PICK_WEIGHTED, MG_PICK_CHEAPEST),
        .timeouts = {.connect_ms = (uint32_t)between(world, 20, 3000),
                     .first_token_ms = (uint32_t)between(world, 100, 8000),
                     .idle_ms = (uint32_t)between(world, 15, 4000),
                     .total_ms = (uint32_t)between(world, 400, 20000)},
        .tries = (uint32_t)between(world, 1, 3),
        .backoff_base_ms = (uint32_t)between(world, 0, 500),
        .backoff_max_ms = (uint32_t)between(world, 0, 4000),
        .backoff_jitter = 1,
    };
    if (chance(world, 25))
        entry->hedge_after_ms = chance(world, 20) ? MG_HEDGE_P95 : (uint32_t)between(world, 1, 400);
    for (int i = 0; i < count; i++)
        entry->choices[i] = (struct mg_plan_choice){.candidate = order[first + i], .weight = (double)between(world, 1, 5)};
}

/* Targets in a random order, some of them in groups. Like the default policy, a group stands there once for each of its
 * members. */
static void make_plan(struct world *world, struct mg_plan *plan)
{
    int order[TARGETS], count = world->target_count;
    for (int i = 0; i < count; i++)
        order[i] = i;
    for (int i = count - 1; i > 0; i--) {
        int k = (int)between(world, 0, (uint64_t)i), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    *plan = (struct mg_plan){.deadline_ms = chance(world, 20) ? (uint32_t)between(world, 100, 20000) : UINT32_MAX,
                             .max_attempts = (uint32_t)between(world, 1, 10),
                             .max_hedges = (uint32_t)between(world, 0, 3),
                             .explain = MG_VIEW("random")};
    for (int first = 0; first < count;) {
        int size = chance(world, 70) ? 1 : (int)between(world, 1, (uint64_t)(count - first));
        for (int i = 0; i < size && plan->count < MG_MAX_PLAN_ATTEMPTS; i++)
            make_entry(world, &plan->entries[plan->count++], order, first, size);
        first += size;
    }
}

static void make_workflow(struct world *world, struct mg_config_workflow *flow)
{
    *flow = (struct mg_config_workflow){
        .name = "chat",
        .rescue = (enum mg_config_rescue)between(world, MG_RESCUE_ERROR, MG_RESCUE_RESUME),
        .retry_budget = world->budget,
        .has_accept = chance(world, 15),
    };
}

static void on_attempt(void *arg);
static void on_head(void *arg, int status, struct mg_headers headers);
static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen);
static void on_flush(void *arg);
static void on_body(void *arg, mg_view bytes);
static mg_err on_good(void *arg, mg_view *out_reason);
static void on_seam(void *arg, uint64_t bytes);
static void on_done(void *arg);

static const struct mg_relay_ops client_ops = {
    .on_attempt = on_attempt, .on_head = on_head, .on_event = on_event, .on_flush = on_flush, .on_body = on_body,
    .on_good = on_good, .on_seam = on_seam, .on_done = on_done};

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

static void make_exchange(struct world *world, int index, uint64_t at_us)
{
    struct exchange *x = &world->exchanges[index];
    uint64_t rest = world->random;
    world->random = world->seed ^ (uint64_t)(index + 1) * 0x2545f4914f6cdd1du;     /* whatever else comes */
    x->world = world;
    x->index = index;
    x->at_us = at_us;
    x->leaves_us = chance(world, 8) ? at_us + between(world, 0, 3000000) : 0;
    x->stream = chance(world, 70);
    x->asks_again = chance(world, 5);
    x->tokens = (int)between(world, 1, TOKENS);
    make_plan(world, &x->plan);
    make_workflow(world, &x->workflow);
    x->call = (struct mg_call){.default_max_attempts = (uint32_t)between(world, 1, MG_MAX_ATTEMPTS),
                               .default_deadline_ms = (uint32_t)between(world, 50, 40000)};
    world->random = rest;
}

static void begin(struct world *world, struct exchange *x)
{
    struct mg_json_error error;
    unsigned char id[10] = {(unsigned char)x->index};
    mg_view body = x->stream ? MG_VIEW("{\"model\":\"chat\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}")
                             : MG_VIEW("{\"model\":\"chat\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    x->begun = true;
    seen_so_far.exchanges++;
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
        broken(world, "the request does not scan");
    x->reserved = mg_record_worst_case(MG_MAX_ATTEMPTS);
    if (!mg_journal_reserve(journal, x->reserved))
        broken(world, "no room in the journal");
    x->relay_call = (struct mg_relay_call){.call = &x->call,
                                           .journal = journal,
                                           .route = &x->route,
                                           .candidates = x->candidates,
                                           .plan = &x->plan,
                                           .policy = &policy,
                                           .surface = "chat",
                                           .ops = &client_ops,
                                           .arg = x};
    tell(world, "#%d comes: %s, rescue %d%s, deadline %u ms, %u attempts, %d entries", x->index, x->stream ? "stream" : "whole",
         x->workflow.rescue, x->workflow.has_accept ? ", accept" : "", x->call.default_deadline_ms,
         MG_MIN(x->plan.max_attempts, x->call.default_max_attempts), x->plan.count);
    mg_relay_start(&x->relay, &x->relay_call);
    if (x->dones)
        broken(world, "#%d: on_done came from inside mg_relay_start()", x->index);
}

static void forget_exchange(struct exchange *x)
{
    x->over = true;
    mg_journal_unreserve(journal, x->reserved);
}

/* ---- attempts play scripts --------------------------------------------------------------------- */

static void append(char *text, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void append(char *text, size_t size, const char *fmt, ...)
{
    size_t len = strlen(text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + len, size - len, fmt, args);
    va_end(args);
}

/* What a target says to an exchange: all the same, or words of its own after a common beginning. */
static void words_of(const struct exchange *x, int target, char out[TEXT])
{
    bool own = x->world->targets[target].other_words;
    out[0] = '\0';
    for (int i = 0; i < x->tokens; i++)
        append(out, TEXT, "w%d.%d%c ", x->index, i, own && i * 3 >= x->tokens ? 'a' + (char)target : '_');
}

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
        for (int more = (int)between(world, 1, 3); more > 0 && to < len && told < tokens; more--, told++)
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
    uint64_t now = play->began_us, gap_us = between(world, 1, GAP_MAX_MS) * 1000, first = now + between(world, 2, TTFT_MAX_MS) * 1000;
    int some = (int)between(world, 0, (uint64_t)play->tokens);
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
    add_step(play, chance(world, 50) ? first : now + 1000, HEAD);
    if (chance(world, 50))
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

static void check_start(struct world *world, const struct play *play);

static void count_start(const struct play *play)
{
    const struct mg_lane *lane = play->lane;
    enum mg_breaker_state state = lane->pass.permit.state;
    seen_so_far.attempts++;
    seen_so_far.retries += lane->reason == MG_REASON_retry;
    seen_so_far.fallbacks += lane->reason == MG_REASON_fallback;
    seen_so_far.hedges += lane->reason == MG_REASON_hedge;
    seen_so_far.rescues += lane->reason == MG_REASON_rescue;
    seen_so_far.prefills += lane->relay->prefill != NULL;
    seen_so_far.probes += lane->pass.permit.probe;
    seen_so_far.early_calls += !lane->pass.permit.probe && (state == MG_BREAKER_OPEN || state == MG_BREAKER_HALF_OPEN);
    seen_so_far.waited += mg_lane_record(lane)->waited_us > 0;
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
        broken(world, "more attempts than there can be");
        abort();
    }
    *play = (struct play){.active = true, .x = x, .attempt = attempt, .lane = lane, .target = lane->candidate,
                          .key = lane->credential, .began_us = now, .tokens = x->tokens};
    world->random = world->seed ^ now ^ (uint64_t)x->index << 48 ^ (uint64_t)lane->number << 56;
    const struct phase *phase = phase_at(world, play->target, now);
    enum mood mood = mood_at(world, play->target, now);
    struct phase refusal = {.class_ = MG_CLASS_auth};
    if (play->key >= 0 && world->targets[play->target].dead[play->key]) {
        mood = ERROR;
        phase = &refusal;
    }
    words_of(x, play->target, play->text);
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
    tell(world, "#%d attempt %u (%s) at %s key %d: %s", x->index, lane->number, mg_reason_name(lane->reason),
         world->targets[play->target].id, play->key, mood == ERROR ? mg_class_name(phase->class_) : mood_names[mood]);
    check_start(world, play);
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
    tell(world_of(attempt), "#%d attempt %u is cancelled", play->x->index, play->lane->number);
    play->active = false;
    play->x->diverged |= play->lane->reason == MG_REASON_rescue;
    mg_loop_defer_cancel(&attempt->end);
    attempt->state = MG_ATTEMPT_IDLE;
}

void mg_attempt_pause(struct mg_attempt *attempt, bool paused)
{
    attempt->paused = paused;
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
    tell(world, "#%d attempt %u ends: %s", play->x->index, play->lane->number, mg_class_name(play->hint));
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

static void play_step(struct play *play)
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

/* ---- what must hold ---------------------------------------------------------------------------- */

static void check_probes(struct world *world, struct play *play)
{
    const struct mg_breaker_permit *permit = &play->lane->pass.permit;
    struct target *target = &world->targets[play->target];
    int key = MG_MAX(play->key, 0);
    uint64_t now_ms = world->loop.now_us / 1000;
    if (target->provider.breaker.off)
        return;
    if (!permit->probe && (permit->state == MG_BREAKER_OPEN || permit->state == MG_BREAKER_HALF_OPEN)) {
        if (target->early_at_ms[key] && now_ms < target->early_at_ms[key] + 1000)
            broken(world, "%s was called twice within a second though its breaker is %s", target->id,
                   mg_breaker_state_name(permit->state));
        target->early_at_ms[key] = now_ms;
    }
    if (!permit->probe)
        return;
    struct mg_breaker_view view;
    play->probing = world->reaches[play->target].breakers[key];
    mg_breaker_read(play->probing, &target->provider.breaker, world->loop.now_us, &view);
    play->opened = view.opened;
    for (int i = 0; i < PLAYS; i++) {
        const struct play *other = &world->plays[i];
        /* one that was overtaken, by an early call that went well, decides nothing any more */
        bool expired = now_ms >= other->began_us / 1000 + target->provider.breaker.probe_ms || other->opened != play->opened;
        if (other != play && other->active && other->probing == play->probing && !expired)
            broken(world, "two probes at once of %s", target->id);
    }
}

/* Repeats and hedges are paid from what first calls brought in; another key and a prefill are free. */
static void check_repeats(struct world *world, const struct play *play)
{
    struct exchange *x = play->x;
    struct target *target = &world->targets[play->target];
    uint32_t key = 1u << MG_MAX(play->key, 0), used = x->used_keys[play->target];
    bool free_once = play->lane->reason == MG_REASON_rescue && play->lane->relay->prefill;
    x->used_keys[play->target] |= key;
    target->first_calls += !used;
    target->paid_calls += play->lane->reason == MG_REASON_hedge || (used & key && !free_once);
}

static void check_start(struct world *world, const struct play *play)
{
    struct exchange *x = play->x;
    const struct mg_lane *lane = play->lane;
    const struct target *target = &world->targets[play->target];
    uint32_t running = 0, mine = 0;
    uint64_t most = MG_MIN(x->plan.max_attempts, x->call.default_max_attempts);
    for (int i = 0; i < PLAYS; i++) {
        running += world->plays[i].active && world->plays[i].target == play->target;
        mine += world->plays[i].active && world->plays[i].x == x;
    }
    if (target->config.gate.max && running > target->config.gate.max)
        broken(world, "%u attempts at once at %s, whose cap is %u", running, target->id, target->config.gate.max);
    if (mine > 1 + x->plan.max_hedges)
        broken(world, "#%d: %u attempts at once", x->index, mine);
    if (++x->played > most || lane->number > most)
        broken(world, "#%d: attempt %u of a budget of %llu", x->index, lane->number, (unsigned long long)most);
    if (world->loop.now_us >= x->relay.deadline_us)
        broken(world, "#%d: an attempt begins after the deadline", x->index);
    if (lane->reason == MG_REASON_hedge && x->relay.hedges > x->plan.max_hedges)
        broken(world, "#%d: hedge %u of at most %u", x->index, x->relay.hedges, x->plan.max_hedges);
    if (x->committed && lane->reason != MG_REASON_rescue)
        broken(world, "#%d: %s after the answer began", x->index, mg_reason_name(lane->reason));
    if (x->over)
        broken(world, "#%d: an attempt begins after the end", x->index);
    check_probes(world, (struct play *)play);
    check_repeats(world, play);
}

/* The plan would come to it: alone in an entry, or in a group that stands there once for each member. */
static const struct mg_plan_entry *entry_of(const struct mg_plan *plan, int target)
{
    for (int e = 0; e < plan->count; e++)
        for (int c = 0; c < plan->entries[e].choice_count; c++)
            if (plan->entries[e].choices[c].candidate == target)
                return &plan->entries[e];
    return NULL;
}

static bool has_usable_key(struct world *world, int target)
{
    const struct mg_reach *reach = &world->reaches[target];
    uint64_t now = world->loop.now_us;
    for (int k = 0; k < MG_MAX(reach->credential_count, 1); k++) {
        struct mg_breaker_view view;
        mg_breaker_read(reach->breakers[k], &reach->provider->breaker, now, &view);
        bool closed = view.state == MG_BREAKER_CLOSED || view.state == MG_BREAKER_RAMP;
        if (closed && !world->targets[target].dead[k] && mg_credential_usable_at(reach->keys[k], 1, now) == 0 &&
            mg_credential_usable_at(reach->model_keys[k], 1, now) == 0)
            return true;
    }
    return false;
}

/* Would this target have answered, had it been asked now? */
static bool would_answer(const struct exchange *x, int target)
{
    struct world *world = x->world;
    const struct mg_plan_entry *entry = entry_of(&x->plan, target);
    const struct mg_config_target *config = &world->targets[target].config;
    struct mg_gate_view gate;
    uint64_t now = world->loop.now_us;
    mg_gate_read(world->reaches[target].gate, &config->gate, &gate);
    bool timers = entry && entry->timeouts.first_token_ms > WELL_MS && entry->timeouts.idle_ms > GAP_MAX_MS + SLOT_MS &&
                  entry->timeouts.total_ms > WELL_MS;
    bool wide = !x->relay.window_above || config->context_window > x->relay.window_above;
    return timers && wide && !x->used_keys[target] && mood_at(world, target, now) == WELL && (!gate.limit || gate.inflight < gate.limit) &&
           now + WELL_MS * 1000u < x->relay.deadline_us && x->played < x->relay.max_attempts && has_usable_key(world, target);
}

static void check_failure(struct exchange *x)
{
    struct world *world = x->world;
    bool may_end = x->final_word || (x->committed && (x->workflow.rescue != MG_RESCUE_RESUME || x->diverged || !x->relay.rescue));
    for (int i = 0; i < world->target_count && !may_end; i++) {
        if (x->committed && world->targets[i].other_words)
            continue;                  /* it would have said something else */
        if (would_answer(x, i))
            broken(world, "#%d fails with %s though %s would have answered", x->index, mg_class_name(x->relay.result.class_),
                   world->targets[i].id);
    }
}

static void check_success(const struct exchange *x)
{
    char words[TEXT];
    bool whole = false;
    for (int i = 0; i < x->world->target_count; i++) {
        words_of(x, i, words);
        whole |= strcmp(x->got, words) == 0;
    }
    whole |= !x->workflow.has_accept && strcmp(x->got, "useless ") == 0;
    whole |= x->prefilled && strcmp(x->got, x->expected) == 0;
    if (!whole)
        broken(x->world, "#%d: a success that is no whole answer: \"%s\"", x->index, x->got);
    if (x->stream && !(x->finish && x->done_event))
        broken(x->world, "#%d: a stream without its end is a success", x->index);
}

/* What the client has of an answer that broke off is the beginning of one text. */
static void check_beginning(const struct exchange *x)
{
    char words[TEXT];
    size_t len = strlen(x->got);
    bool one = strncmp(x->got, "useless ", len) == 0 || (x->prefilled && strncmp(x->got, x->expected, len) == 0);
    for (int i = 0; i < x->world->target_count; i++) {
        words_of(x, i, words);
        one |= strncmp(x->got, words, len) == 0;
    }
    if (!one)
        broken(x->world, "#%d: two texts in one answer: \"%s\"", x->index, x->got);
}

/* ---- the client's side, as gateway/deliver.c is it ---------------------------------------------- */

static bool holds(const struct exchange *x)
{
    return x->workflow.rescue == MG_RESCUE_HOLD || x->workflow.has_accept;
}

static void on_attempt(void *arg)
{
    struct exchange *x = arg;
    if (x->committed)
        broken(x->world, "#%d: told to forget what the client has", x->index);
    x->held[0] = '\0';
    x->finish = x->done_event = false;
}

static void on_head(void *arg, int status, struct mg_headers headers)
{
    (void)headers;
    struct exchange *x = arg;
    if (status != 200 || x->over)
        broken(x->world, "#%d: a head of status %d", x->index, status);
}

static void let_go(struct exchange *x)
{
    append(x->got, sizeof x->got, "%s", x->held);
    x->held[0] = '\0';
}

static void on_event(void *arg, const struct mg_sse_event *event, const struct mg_tap_event *seen)
{
    struct exchange *x = arg;
    if (x->over)
        broken(x->world, "#%d: an event after the end", x->index);
    if (!mg_view_starts(event->data, MG_VIEW("{\"choices\"")) && !mg_view_eq(event->data, MG_VIEW("[DONE]")))
        broken(x->world, "#%d: an event whose bytes are gone: %.*s", x->index, MG_FMT(event->data));
    for (int i = 0; i < seen->text_count; i++) {
        mg_view text = mg_view_head(mg_view_skip(event->data, seen->texts[i].offset), seen->texts[i].len);
        append(x->held, sizeof x->held, "%.*s", text.len > 2 ? (int)text.len - 2 : 0, text.len > 2 ? text.ptr + 1 : "");
    }
    x->finish |= seen->finish;
    x->done_event |= seen->done;
    if (seen->content && !x->committed && !holds(x)) {
        x->committed = true;
        mg_relay_committed(&x->relay);
    }
    if (x->committed)
        let_go(x);
    check_beginning(x);
}

static void on_flush(void *arg)
{
    struct exchange *x = arg;
    if (x->over)
        broken(x->world, "#%d: a flush after the end", x->index);
}

static void on_body(void *arg, mg_view bytes)
{
    struct exchange *x = arg;
    mg_view text = mg_tap_text_of(adapter, &x->arena, bytes);
    snprintf(x->held, sizeof x->held, "%.*s", MG_FMT(text));
}

static mg_err on_good(void *arg, mg_view *out_reason)
{
    const struct exchange *x = arg;
    *out_reason = MG_VIEW("useless");
    return strncmp(x->held, "useless", 7) == 0 ? MG_E_DENIED : MG_OK;
}

static void on_seam(void *arg, uint64_t bytes)
{
    struct exchange *x = arg;
    tell(x->world, "#%d goes on after %llu bytes", x->index, (unsigned long long)bytes);
    seen_so_far.seams++;
    if (!x->committed || bytes != strlen(x->got))
        broken(x->world, "#%d: a seam after %llu bytes, the client has %zu", x->index, (unsigned long long)bytes, strlen(x->got));
}

static void on_done(void *arg)
{
    struct exchange *x = arg;
    struct world *world = x->world;
    const struct mg_relay_result *result = &x->relay.result;
    uint64_t late_us = world->loop.now_us > x->relay.deadline_us ? world->loop.now_us - x->relay.deadline_us : 0;
    tell(world, "#%d done: %s (%s), %u attempts%s", x->index, result->ok ? "ok" : "failed", mg_class_name(result->class_), x->played,
         x->committed ? ", committed" : "");
    if (world->loud)
        printf("%.*s", (int)x->timeline.note_bytes, x->timeline.note);
    if (late_us > (SLOT_MS + 1) * 1000)
        broken(world, "#%d ends %.1f ms after its deadline", x->index, (double)late_us / 1000);
    if (x->over)
        broken(world, "#%d is done twice", x->index);
    if (x->timeline.attempt_count != x->played)
        broken(world, "#%d: %u attempts played, %u recorded", x->index, x->played, x->timeline.attempt_count);
    if (result->ok && x->asks_again && !x->committed) {
        x->asks_again = false;
        seen_so_far.again++;
        mg_relay_again(&x->relay, MG_VIEW("once more"));
        return;
    }
    x->dones++;
    seen_so_far.good += result->ok;
    seen_so_far.failed += !result->ok;
    seen_so_far.committed += x->committed;
    if (result->ok) {
        let_go(x);
        check_success(x);
    } else {
        check_failure(x);
        check_beginning(x);
    }
    forget_exchange(x);
}

/* ---- time -------------------------------------------------------------------------------------- */

static void run_deferred(struct world *world)
{
    struct mg_loop *loop = &world->loop;
    int rounds = 0;
    for (struct mg_list *item; (item = mg_list_pop_front(&loop->deferred));) {
        struct mg_defer *defer = mg_container_of(item, struct mg_defer, link);
        defer->run(defer);
        if (++rounds > 10000) {
            broken(world, "work is deferred for ever");
            return;
        }
    }
}

static uint64_t next_time(struct world *world)
{
    uint64_t next = mg_wheel_next_us(&world->loop.wheel);
    for (int i = 0; i < world->exchange_count; i++) {
        const struct exchange *x = &world->exchanges[i];
        if (!x->begun && !x->over)
            next = MG_MIN(next, x->at_us);
        else if (!x->over && x->leaves_us)
            next = MG_MIN(next, x->leaves_us);
    }
    for (int i = 0; i < PLAYS; i++)
        if (world->plays[i].active && world->plays[i].next < world->plays[i].step_count)
            next = MG_MIN(next, world->plays[i].steps[world->plays[i].next].at_us);
    return next;
}

static void leave(struct exchange *x)
{
    tell(x->world, "#%d leaves", x->index);
    seen_so_far.left++;
    mg_relay_cancel(&x->relay, MG_CLASS_cancelled);
    forget_exchange(x);
}

static void live(struct world *world)
{
    uint64_t now = world->loop.now_us;
    mg_wheel_advance(&world->loop.wheel, now);
    run_deferred(world);
    for (int i = 0; i < PLAYS; i++) {
        struct play *play = &world->plays[i];
        while (play->active && play->next < play->step_count && play->steps[play->next].at_us <= now && !world->broken[0]) {
            play_step(play);
            run_deferred(world);
        }
    }
    for (int i = 0; i < world->exchange_count; i++) {
        struct exchange *x = &world->exchanges[i];
        if (!x->begun && !x->over && x->at_us <= now)
            begin(world, x);
        else if (x->begun && !x->over && x->leaves_us && x->leaves_us <= now)
            leave(x);
        run_deferred(world);
    }
}

/* ---- after it all ------------------------------------------------------------------------------ */

static mg_err on_record(void *arg, const struct mg_journal_record *record)
{
    struct world *world = arg;
    struct mg_started started;
    struct mg_attempt_record settled;
    char id[40];
    bool begins = record->type == MG_JOURNAL_STARTED;
    mg_err err = begins ? mg_record_decode_started(record->payload, &started) : mg_record_decode_settled(record->payload, id, &settled);
    if (err != MG_OK)
        return err;
    for (int i = 0; i < world->exchange_count; i++) {
        struct exchange *x = &world->exchanges[i];
        if (strcmp(begins ? started.id : id, x->timeline.id) != 0)
            continue;
        if (begins)
            x->started[MG_MIN(started.number, MG_MAX_ATTEMPTS)]++;
        else
            x->settled[MG_MIN(settled.number, MG_MAX_ATTEMPTS)]++;
    }
    return MG_OK;
}

static void drain(struct world *world)
{
    unsigned count = 1;
    while (count > 0)
        if (mg_journal_read(journal, on_record, world, 1000, &count) != MG_OK) {
            broken(world, "the journal cannot be read");
            return;
        }
    mg_journal_free_to(journal, mg_journal_tell(journal));
}

static void check_journal(struct world *world)
{
    drain(world);
    for (int i = 0; i < world->exchange_count; i++) {
        const struct exchange *x = &world->exchanges[i];
        for (uint32_t n = 1; n <= MG_MAX_ATTEMPTS; n++) {
            int want = n <= x->played;
            if (x->started[n] != want || x->settled[n] != want)
                broken(world, "#%d attempt %u of %u: %d started and %d settled records", i, n, x->played, x->started[n], x->settled[n]);
        }
    }
}

/* Nothing runs any more: every place is free and nobody believes in a probe that nobody makes. */
static void check_rest(struct world *world)
{
    for (int i = 0; i < world->target_count; i++) {
        const struct mg_reach *reach = &world->reaches[i];
        const struct mg_config_breaker *rules = &reach->provider->breaker;
        const struct target *target = &world->targets[i];
        struct mg_stats_figures figures;
        struct mg_gate_view gate;
        mg_gate_read(reach->gate, &target->config.gate, &gate);
        mg_stats_read(reach->stats, &figures);
        if (gate.inflight || gate.waiting || figures.inflight)
            broken(world, "%s: %u places taken, %u waiting, %u in flight, and nobody is there", target->id, gate.inflight, gate.waiting,
                   figures.inflight);
        for (int k = 0; k < MG_MAX(reach->credential_count, 1); k++) {
            struct mg_breaker_permit permit = mg_breaker_admit(reach->breakers[k], rules, world->loop.now_us, 0, false);
            if (!permit.allowed && permit.state == MG_BREAKER_HALF_OPEN)
                broken(world, "%s: a probe of key %d that nobody makes", target->id, k);
        }
    }
    if (world->loop.wheel.armed)
        broken(world, "%u timers are left", world->loop.wheel.armed);
}

static void check_budgets(struct world *world)
{
    double may_hedge = 0, trickle = ms_of(world->loop.now_us) / 10000;
    for (int i = 0; i < world->exchange_count; i++)
        may_hedge += world->exchanges[i].begun && world->exchanges[i].plan.max_hedges > 0;
    for (int i = 0; i < world->target_count; i++) {
        const struct target *target = &world->targets[i];
        /* a hedge that is considered and not made has brought in its share as well */
        double most = world->budget.burst + world->budget.share * ((double)target->first_calls + may_hedge) + trickle + 1;
        if ((double)target->paid_calls > most)
            broken(world, "%s: %llu repeats and hedges for %llu first calls (at most %.1f)", target->id,
                   (unsigned long long)target->paid_calls, (unsigned long long)target->first_calls, most);
    }
}

/* ---- running worlds ---------------------------------------------------------------------------- */

static void make_world(struct world *world)
{
    world->random = world->seed;
    snprintf(world->project, sizeof world->project, "walk%d", ++runs);
    mg_loop_init(&world->loop);
    mg_wheel_init(&world->loop.wheel, START_US);
    world->loop.now_us = START_US;
    world->budget = (struct mg_config_retry_budget){.share = (double)between(world, 0, 5) / 10, .burst = (uint32_t)between(world, 0, 10)};
    world->target_count = (int)between(world, 1, TARGETS);
    for (int i = 0; i < world->target_count; i++)
        make_target(world, i);
    world->exchange_count = EXCHANGES;
    uint64_t at = START_US, gap = between(world, 1, 1500);
    for (int i = 0; i < EXCHANGES; i++) {
        at += between(world, 0, 2 * gap) * 1000;
        make_exchange(world, i, at);
        world->exchanges[i].over = world->left_out >> i & 1;
    }
}

static void tell_world(const struct world *world)
{
    for (int i = 0; i < world->target_count && world->loud; i++) {
        const struct target *target = &world->targets[i];
        const struct mg_config_breaker *breaker = &target->provider.breaker;
        printf("%s: %d keys%s%s%s, cap %u%s queue %u for %u ms%s%s, breaker%s %u ms window, %u calls %.1f, %u in a row, open %u-%u ms, "
               "probe %u, ramp %u\n   ", target->id, target->provider.credential_count, target->dead[0] ? ", 0 dead" : "",
               target->dead[1] ? ", 1 dead" : "", target->dead[2] ? ", 2 dead" : "", target->config.gate.max,
               target->config.gate.adaptive ? " adaptive" : "", target->config.gate.queue, target->config.gate.queue_ms,
               target->config.prefill ? ", prefill" : "", target->other_words ? ", other words" : "", breaker->off ? " off" : "",
               breaker->window_ms, breaker->min_calls, breaker->failure_share, breaker->consecutive, breaker->open_ms,
               breaker->max_open_ms, breaker->probe_ms, breaker->ramp_ms);
        for (int k = 0; k < MOODS && !(world->calm >> i & 1); k++)
            printf(" %.0f: %s", ms_of(target->phases[k].from_us),
                   target->phases[k].mood == ERROR ? mg_class_name(target->phases[k].class_) : mood_names[target->phases[k].mood]);
        printf("\n");
    }
}

static void end_world(struct world *world)
{
    for (int i = 0; i < world->exchange_count; i++) {
        struct exchange *x = &world->exchanges[i];
        if (x->begun && !x->over)
            leave(x);
        if (x->begun) {
            mg_relay_fini(&x->relay);
            mg_arena_fini(&x->arena);
        }
    }
    mg_loop_fini(&world->loop);
}

static void *world_main(void *arg)
{
    struct world *world = arg;
    int turns = 0;
    make_world(world);
    tell_world(world);
    for (uint64_t next; !world->broken[0] && (next = next_time(world)) != UINT64_MAX;) {
        world->loop.now_us = MG_MAX(world->loop.now_us, next);
        live(world);
        if (++turns > 500000)
            broken(world, "time does not pass");
    }
    for (int i = 0; i < world->exchange_count; i++)
        if (world->exchanges[i].begun && !world->exchanges[i].over)
            broken(world, "#%d never ends", i);
    if (!world->broken[0]) {
        check_journal(world);
        check_rest(world);
        check_budgets(world);
    }
    end_world(world);
    drain(world);
    return NULL;
}

/* On a thread of its own, whose dice begin anew. Which promise was broken; NULL: all held. */
static const char *run_world(uint64_t seed, uint64_t left_out, uint32_t calm, bool loud, char out_broken[512])
{
    static struct world world;
    pthread_t thread;
    memset(&world, 0, sizeof world);
    world.seed = seed;
    world.left_out = left_out;
    world.calm = calm;
    world.loud = loud;
    entropy = seed;
    CHECK(pthread_create(&thread, NULL, world_main, &world) == 0);
    pthread_join(thread, NULL);
    memcpy(out_broken, world.broken, 512);
    return world.promise;
}

static uint64_t current_seed;

static void on_abort(int number)
{
    (void)number;
    char line[96];
    int len = snprintf(line, sizeof line, "aborted in MOONGATE_WALK_SEED=0x%016" PRIx64 "\n", current_seed);
    if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
        _exit(1);
}

/* As few exchanges and troubled targets as break the same promise. */
static void explain(uint64_t seed, const char *promise)
{
    char broken_by[512];
    uint64_t left_out = 0;
    uint32_t calm = 0;
    for (int i = 0; i < EXCHANGES; i++)
        if (run_world(seed, left_out | 1ull << i, calm, false, broken_by) == promise)
            left_out |= 1ull << i;
    for (int i = 0; i < TARGETS; i++)
        if (run_world(seed, left_out, calm | 1u << i, false, broken_by) == promise)
            calm |= 1u << i;
    run_world(seed, left_out, calm, true, broken_by);
    printf("MOONGATE_WALK_SEED=0x%016" PRIx64 ": %s\n", seed, broken_by);
}

static void open_journal(char path[64])
{
    struct mg_diag diag = {.line = 0};
    snprintf(path, 64, "/tmp/moongate-walk-XXXXXX");
    int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    unlink(path);
    CHECK_OK(mg_journal_open(path, 16 << 20, 0, 1, &journal, &diag));
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

static void tell_what_was_seen(void)
{
    printf("%" PRIu64 " exchanges: %" PRIu64 " good, %" PRIu64 " failed, %" PRIu64 " left; %" PRIu64 " attempts: %" PRIu64 " retries, %" PRIu64
           " fallbacks, %" PRIu64 " hedges, %" PRIu64 " rescues (%" PRIu64 " seams, %" PRIu64 " prefills), %" PRIu64 " probes, %" PRIu64
           " early, %" PRIu64 " waited; %" PRIu64 " committed, %" PRIu64 " asked again\n",
           seen_so_far.exchanges, seen_so_far.good, seen_so_far.failed, seen_so_far.left, seen_so_far.attempts, seen_so_far.retries,
           seen_so_far.fallbacks, seen_so_far.hedges, seen_so_far.rescues, seen_so_far.seams, seen_so_far.prefills, seen_so_far.probes,
           seen_so_far.early_calls, seen_so_far.waited, seen_so_far.committed, seen_so_far.again);
}

TEST(whatever_fails_the_walk_keeps_its_promises)
{
    static struct mg_adapter_decl decl;
    struct mg_arena arena;
    struct mg_diag diag = {.line = 0};
    char path[64], broken_by[512];
    mg_arena_init(&arena, 4096);
    CHECK_OK(mg_adapter_load("openai", &arena, &decl, &diag));
    CHECK_OK(mg_adapter_new(&decl, &adapter, &diag));
    open_journal(path);
    (void)mg_hash(MG_VIEW("x"));       /* what is seeded once per process is seeded now */
    (void)signal(SIGABRT, on_abort);

    uint64_t only = from_env("MOONGATE_WALK_SEED", 0), worlds = only ? 1 : MG_MIN(from_env("MOONGATE_WALK_WORLDS", WORLDS), WORLDS_MAX);
    uint64_t seeds = getenv("MOONGATE_WALK_WORLDS") ? mg_mono_us() : 1;
    int failures = 0;
    for (uint64_t i = 0; i < worlds && failures < 3; i++) {
        current_seed = only ? only : dice(&seeds) | 1;
        const char *promise = run_world(current_seed, 0, 0, false, broken_by);
        if (!promise)
            continue;
        failures++;
        printf("MOONGATE_WALK_SEED=0x%016" PRIx64 ": %s\n", current_seed, broken_by);
        explain(current_seed, promise);
    }
    (void)signal(SIGABRT, SIG_DFL);
    mg_journal_close(journal);
    unlink(path);
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
    tell_what_was_seen();
    CHECK_INT(failures, 0);
    const uint64_t *seen = (const uint64_t *)&seen_so_far;
    for (size_t i = 0; i < sizeof seen_so_far / sizeof *seen && worlds >= WORLDS; i++)
        CHECK(seen[i] >= worlds / 60);
}

MG_TEST_MAIN()
