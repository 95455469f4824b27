#include "unit/relay/walk/walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"

const char *const walk_mood_names[] = {"well", "error", "refused", "no_connection", "hangs", "late", "stalls", "cut", "empty", "useless"};
static int runs;                       /* worlds so far: each has rows of its own */

uint64_t walk_dice(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t walk_between(struct world *world, uint64_t low, uint64_t high)
{
    return low + walk_dice(&world->random) % (high - low + 1);
}

bool walk_chance(struct world *world, unsigned percent)
{
    return walk_dice(&world->random) % 100 < percent;
}

void walk_broken(struct world *world, const char *fmt, ...)
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

double walk_ms(uint64_t us)
{
    return us > START_US ? (double)(us - START_US) / 1000 : 0;
}

void walk_tell(const struct world *world, const char *fmt, ...)
{
    if (!world->loud)
        return;
    va_list args;
    va_start(args, fmt);
    printf("%10.1f  ", walk_ms(world->loop.now_us));
    vprintf(fmt, args);
    printf("\n");
    va_end(args);
}

const struct phase *walk_phase_at(const struct world *world, int target, uint64_t now_us)
{
    const struct target *t = &world->targets[target];
    int at = 0;
    for (int i = 1; i < MOODS && t->phases[i].from_us <= now_us; i++)
        at = i;
    return &t->phases[at];
}

enum mood walk_mood_at(const struct world *world, int target, uint64_t now_us)
{
    return world->calm >> target & 1 ? WELL : walk_phase_at(world, target, now_us)->mood;
}

void walk_append(char *text, size_t size, const char *fmt, ...)
{
    size_t len = strlen(text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + len, size - len, fmt, args);
    va_end(args);
}

void walk_words(const struct exchange *x, int target, char out[TEXT])
{
    bool own = x->world->targets[target].other_words;
    out[0] = '\0';
    for (int i = 0; i < x->tokens; i++)
        walk_append(out, TEXT, "w%d.%d%c ", x->index, i, own && i * 3 >= x->tokens ? 'a' + (char)target : '_');
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
        phase->mood = sound || walk_chance(world, 40) ? WELL : (enum mood)walk_between(world, WELL + 1, MOOD_COUNT - 1);
        phase->class_ = classes[walk_between(world, 0, MG_COUNT(classes) - (walk_chance(world, 90) ? 3 : 1))];
        phase->late_ms = (uint32_t)walk_between(world, 400, 9000);
        phase->retry_after_ms = walk_chance(world, 50) ? (uint32_t)walk_between(world, 1, 8000) : 0;
        at += walk_between(world, 200, 6000) * 1000;
    }
}

static struct mg_config_breaker make_breaker(struct world *world)
{
    return (struct mg_config_breaker){
        .off = walk_chance(world, 10),
        .window_ms = (uint32_t)walk_between(world, 500, 30000),
        .min_calls = (uint32_t)walk_between(world, 1, 12),
        .failure_share = (double)walk_between(world, 1, 10) / 10,
        .consecutive = (uint32_t)walk_between(world, 0, 6),
        .open_ms = (uint32_t)walk_between(world, 50, 5000),
        .max_open_ms = (uint32_t)walk_between(world, 50, 20000),
        .probe_ms = (uint32_t)walk_between(world, 100, 10000),
        .ramp_ms = (uint32_t)walk_between(world, 0, 5000),
        .slow_factor = walk_chance(world, 30) ? 3 : 0,
        .slow_min_ms = (uint32_t)walk_between(world, 50, 500),
    };
}

static struct mg_config_gate make_gate(struct world *world)
{
    if (walk_chance(world, 50))
        return (struct mg_config_gate){.max = 0};
    return (struct mg_config_gate){
        .max = (uint32_t)walk_between(world, 1, 6),
        .adaptive = walk_chance(world, 25),
        .queue = (uint32_t)walk_between(world, 0, 6),
        .queue_ms = (uint32_t)walk_between(world, 0, 2000),
    };
}

/* One for all targets of all worlds. */
static struct mg_secret the_secret;

static void make_secret(void)
{
    if (!the_secret.own)
        CHECK_OK(mg_sealed_from(mg_seal_key_process(), &(struct mg_seal_place){.version = 0}, MG_VIEW("sk-secret"),
                                &the_secret.own));
}

static void make_target(struct world *world, int index)
{
    make_secret();
    static const char *const key_names[KEYS] = {"first", "second", "third"};
    struct target *target = &world->targets[index];
    snprintf(target->name, sizeof target->name, "p%d", index);
    snprintf(target->id, sizeof target->id, "p%d/m", index);
    target->provider = (struct mg_config_provider){
        .name = target->name, .adapter = "openai", .kind = "http", .breaker = make_breaker(world), .credentials = target->keys};
    target->provider.credential_count = (int)walk_between(world, 0, KEYS);
    for (int i = 0; i < target->provider.credential_count; i++) {
        target->keys[i] = (struct mg_config_credential){.name = key_names[i], .secret = &the_secret};
        target->dead[i] = walk_chance(world, 10);
    }
    target->config = (struct mg_config_target){
        .id = target->id, .provider = index, .model = "m", .gate = make_gate(world), .prefill = walk_chance(world, 60)};
    target->config.context_window = walk_chance(world, 50) ? (uint32_t)walk_between(world, 1, 3) * 1000 : 0;
    target->other_words = walk_chance(world, 30);
    target->upstream = (struct mg_upstream){.config = &target->provider,
                                            .adapter = walk_adapter,
                                            .base_path = MG_VIEW("/v1"),
                                            .fixed_head = MG_VIEW("host: x\r\n"),
                                            .credentials = target->keys,
                                            .credential_count = target->provider.credential_count};
    target->upstream.credential_start = MG_VIEW("authorization: Bearer ");
    make_phases(world, target, index > 0 && walk_chance(world, 30));
    mg_reach_init(&world->reaches[index], world->project, &target->provider, &target->config, target->id, NULL,
                  &mg_adapter_declaration(walk_adapter)->limits);
}

/* ---- an exchange ------------------------------------------------------------------------------- */

static void make_entry(struct world *world, struct mg_plan_entry *entry, const int *order, int first, int count)
{
    *entry = (struct mg_plan_entry){
        .choice_count = count,
        .pick = (enum mg_pick)walk_between(world, MG_PICK_WEIGHTED, MG_PICK_CHEAPEST),
        .timeouts = {.connect_ms = (uint32_t)walk_between(world, 20, 3000),
                     .first_token_ms = (uint32_t)walk_between(world, 100, 8000),
                     .idle_ms = (uint32_t)walk_between(world, 15, 4000),
                     .total_ms = (uint32_t)walk_between(world, 400, 20000)},
        .tries = (uint32_t)walk_between(world, 1, 3),
        .backoff_base_ms = (uint32_t)walk_between(world, 0, 500),
        .backoff_max_ms = (uint32_t)walk_between(world, 0, 4000),
        .backoff_jitter = 1,
    };
    if (walk_chance(world, 25))
        entry->hedge_after_ms = walk_chance(world, 20) ? MG_HEDGE_P95 : (uint32_t)walk_between(world, 1, 400);
    for (int i = 0; i < count; i++)
        entry->choices[i] = (struct mg_plan_choice){.candidate = order[first + i], .weight = (double)walk_between(world, 1, 5)};
}

/* Targets in a random order, some of them in groups. Like the default policy, a group stands there once for each of its
 * members. */
static void make_plan(struct world *world, struct mg_plan *plan)
{
    int order[TARGETS], count = world->target_count;
    for (int i = 0; i < count; i++)
        order[i] = i;
    for (int i = count - 1; i > 0; i--) {
        int k = (int)walk_between(world, 0, (uint64_t)i), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    *plan = (struct mg_plan){.deadline_ms = walk_chance(world, 20) ? (uint32_t)walk_between(world, 100, 20000) : UINT32_MAX,
                             .max_attempts = (uint32_t)walk_between(world, 1, 10),
                             .max_hedges = (uint32_t)walk_between(world, 0, 3),
                             .explain = MG_VIEW("random")};
    for (int first = 0; first < count;) {
        int size = walk_chance(world, 70) ? 1 : (int)walk_between(world, 1, (uint64_t)(count - first));
        for (int i = 0; i < size && plan->count < MG_MAX_PLAN_ATTEMPTS; i++)
            make_entry(world, &plan->entries[plan->count++], order, first, size);
        first += size;
    }
}

static void make_workflow(struct world *world, struct mg_config_workflow *flow)
{
    *flow = (struct mg_config_workflow){
        .name = "chat",
        .rescue = (enum mg_config_rescue)walk_between(world, MG_RESCUE_ERROR, MG_RESCUE_RESUME),
        .retry_budget = world->budget,
        .has_accept = walk_chance(world, 15),
    };
}

static void make_exchange(struct world *world, int index, uint64_t at_us)
{
    struct exchange *x = &world->exchanges[index];
    uint64_t rest = world->random;
    world->random = world->seed ^ (uint64_t)(index + 1) * 0x2545f4914f6cdd1du;     /* whatever else comes */
    x->world = world;
    x->index = index;
    x->at_us = at_us;
    x->leaves_us = walk_chance(world, 8) ? at_us + walk_between(world, 0, 3000000) : 0;
    x->stream = walk_chance(world, 70);
    x->asks_again = walk_chance(world, 5);
    x->tokens = (int)walk_between(world, 1, TOKENS);
    make_plan(world, &x->plan);
    make_workflow(world, &x->workflow);
    x->call = (struct mg_call){.default_max_attempts = (uint32_t)walk_between(world, 1, MG_MAX_ATTEMPTS),
                               .default_deadline_ms = (uint32_t)walk_between(world, 50, 40000)};
    world->random = rest;
}

void walk_make_world(struct world *world)
{
    world->random = world->seed;
    snprintf(world->project, sizeof world->project, "walk%d", ++runs);
    mg_loop_init(&world->loop);
    mg_wheel_init(&world->loop.wheel, START_US);
    world->loop.now_us = START_US;
    world->budget = (struct mg_config_retry_budget){.share = (double)walk_between(world, 0, 5) / 10, .burst = (uint32_t)walk_between(world, 0, 10)};
    world->target_count = (int)walk_between(world, 1, TARGETS);
    for (int i = 0; i < world->target_count; i++)
        make_target(world, i);
    world->exchange_count = EXCHANGES;
    uint64_t at = START_US, gap = walk_between(world, 1, 1500);
    for (int i = 0; i < EXCHANGES; i++) {
        at += walk_between(world, 0, 2 * gap) * 1000;
        make_exchange(world, i, at);
        world->exchanges[i].over = world->left_out >> i & 1;
    }
}

void walk_tell_world(const struct world *world)
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
            printf(" %.0f: %s", walk_ms(target->phases[k].from_us),
                   target->phases[k].mood == ERROR ? mg_class_name(target->phases[k].class_) : walk_mood_names[target->phases[k].mood]);
        printf("\n");
    }
}
