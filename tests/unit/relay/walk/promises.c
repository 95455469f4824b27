#include "unit/relay/walk/walk.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

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
            walk_broken(world, "%s was called twice within a second though its breaker is %s", target->id,
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
            walk_broken(world, "two probes at once of %s", target->id);
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

void walk_check_start(struct world *world, struct play *play)
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
        walk_broken(world, "%u attempts at once at %s, whose cap is %u", running, target->id, target->config.gate.max);
    if (mine > 1 + x->plan.max_hedges)
        walk_broken(world, "#%d: %u attempts at once", x->index, mine);
    if (++x->played > most || lane->number > most)
        walk_broken(world, "#%d: attempt %u of a budget of %llu", x->index, lane->number, (unsigned long long)most);
    if (world->loop.now_us >= x->relay.deadline_us)
        walk_broken(world, "#%d: an attempt begins after the deadline", x->index);
    if (lane->reason == MG_REASON_hedge && x->relay.hedges > x->plan.max_hedges)
        walk_broken(world, "#%d: hedge %u of at most %u", x->index, x->relay.hedges, x->plan.max_hedges);
    if (x->committed && lane->reason != MG_REASON_rescue)
        walk_broken(world, "#%d: %s after the answer began", x->index, mg_reason_name(lane->reason));
    if (x->over)
        walk_broken(world, "#%d: an attempt begins after the end", x->index);
    check_probes(world, play);
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

/* Would this target have answered, had it been asked now? What was learned of it this very moment may have come too late
 * for a walk that ended this moment as well. */
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
    bool free_place = !gate.limit || gate.inflight < gate.limit;
    bool budget = now + WELL_MS * 1000u < x->relay.deadline_us && x->played < x->relay.max_attempts;
    return timers && wide && free_place && budget && world->targets[target].told_us < now && !x->used_keys[target] &&
           walk_mood_at(world, target, now) == WELL && has_usable_key(world, target);
}

void walk_check_failure(struct exchange *x)
{
    struct world *world = x->world;
    bool may_end = x->final_word || (x->committed && (x->workflow.rescue != MG_RESCUE_RESUME || x->diverged || !x->relay.rescue));
    for (int i = 0; i < world->target_count && !may_end; i++) {
        if (x->committed && world->targets[i].other_words)
            continue;                  /* it would have said something else */
        if (would_answer(x, i))
            walk_broken(world, "#%d fails with %s though %s would have answered", x->index, mg_class_name(x->relay.result.class_),
                   world->targets[i].id);
    }
}

void walk_check_success(const struct exchange *x)
{
    char words[TEXT];
    bool whole = false;
    for (int i = 0; i < x->world->target_count; i++) {
        walk_words(x, i, words);
        whole |= strcmp(x->got, words) == 0;
    }
    whole |= !x->workflow.has_accept && strcmp(x->got, "useless ") == 0;
    whole |= x->prefilled && strcmp(x->got, x->expected) == 0;
    if (!whole)
        walk_broken(x->world, "#%d: a success that is no whole answer: \"%s\"", x->index, x->got);
    if (x->stream && !(x->finish && x->done_event))
        walk_broken(x->world, "#%d: a stream without its end is a success", x->index);
}

/* What the client has of an answer that broke off is the beginning of one text. */
void walk_check_beginning(const struct exchange *x)
{
    char words[TEXT];
    size_t len = strlen(x->got);
    bool one = strncmp(x->got, "useless ", len) == 0 || (x->prefilled && strncmp(x->got, x->expected, len) == 0);
    for (int i = 0; i < x->world->target_count; i++) {
        walk_words(x, i, words);
        one |= strncmp(x->got, words, len) == 0;
    }
    if (!one)
        walk_broken(x->world, "#%d: two texts in one answer: \"%s\"", x->index, x->got);
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

void walk_drain(struct world *world)
{
    unsigned count = 1;
    while (count > 0)
        if (mg_journal_read(walk_journal, on_record, world, 1000, &count) != MG_OK) {
            walk_broken(world, "the journal cannot be read");
            return;
        }
    mg_journal_free_to(walk_journal, mg_journal_tell(walk_journal));
}

void walk_check_journal(struct world *world)
{
    walk_drain(world);
    for (int i = 0; i < world->exchange_count; i++) {
        const struct exchange *x = &world->exchanges[i];
        for (uint32_t n = 1; n <= MG_MAX_ATTEMPTS; n++) {
            int want = n <= x->played;
            if (x->started[n] != want || x->settled[n] != want)
                walk_broken(world, "#%d attempt %u of %u: %d started and %d settled records", i, n, x->played, x->started[n], x->settled[n]);
        }
    }
}

/* Nothing runs any more: every place is free and nobody believes in a probe that nobody makes. */
void walk_check_rest(struct world *world)
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
            walk_broken(world, "%s: %u places taken, %u waiting, %u in flight, and nobody is there", target->id, gate.inflight, gate.waiting,
                   figures.inflight);
        for (int k = 0; k < MG_MAX(reach->credential_count, 1); k++) {
            struct mg_breaker_permit permit = mg_breaker_admit(reach->breakers[k], rules, world->loop.now_us, 0, false);
            if (!permit.allowed && permit.state == MG_BREAKER_HALF_OPEN)
                walk_broken(world, "%s: a probe of key %d that nobody makes", target->id, k);
        }
    }
    if (world->loop.wheel.armed)
        walk_broken(world, "%u timers are left", world->loop.wheel.armed);
}

void walk_check_budgets(struct world *world)
{
    double may_hedge = 0, trickle = walk_ms(world->loop.now_us) / 10000;
    for (int i = 0; i < world->exchange_count; i++)
        may_hedge += world->exchanges[i].begun && world->exchanges[i].plan.max_hedges > 0;
    for (int i = 0; i < world->target_count; i++) {
        const struct target *target = &world->targets[i];
        /* a hedge that is considered and not made has brought in its share as well */
        double most = world->budget.burst + world->budget.share * ((double)target->first_calls + may_hedge) + trickle + 1;
        if ((double)target->paid_calls > most)
            walk_broken(world, "%s: %llu repeats and hedges for %llu first calls (at most %.1f)", target->id,
                   (unsigned long long)target->paid_calls, (unsigned long long)target->first_calls, most);
    }
}
