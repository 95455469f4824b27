#include "relay/reach.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"

#define SECOND_US UINT64_C(1000000)
#define MINUTE_US (60 * SECOND_US)

static const uint64_t COOL_US = SECOND_US, QUOTA_US = 60 * MINUTE_US, PERMISSION_US = 10 * MINUTE_US, MODEL_US = MINUTE_US;

/* What a provider says can be absurd. */
static const uint64_t LONGEST_US = 24 * 60 * MINUTE_US;

enum { NAME_BYTES = 1024, LONGEST_PAUSE_MS = 60000 };      /* of a target that says it is overloaded */

/* What one outcome says about the target, to its breaker. */
enum says { SAYS_NOTHING, SAYS_GOOD, SAYS_BAD };

/* The credentials that may be asked, and why the others may not. */
struct choice {
    uint32_t usable;                   /* bitmap */
    uint32_t low;                      /* bitmap: those of them to be taken last, their limits are nearly used up */
    uint64_t seed;
    uint64_t benched_until_us;         /* the earliest; 0: none is benched */
    uint64_t open_until_us;            /* the earliest that is known; 0: none */
    int benched, refused;              /* the first one of each kind; -1: none */
};

static int slots_of(const struct mg_reach *reach);
static uint64_t usable_at(const struct mg_reach *reach, int i, uint64_t tokens, uint64_t now_us);
static bool take_ours(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct mg_pass *out_pass,
                      struct mg_refusal *out_refusal);
static bool take_callers(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct mg_pass *out_pass,
                         struct mg_refusal *out_refusal);
static void say_open(const struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t until_us, uint64_t now_us,
                     char out[96]);
static void survey(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct choice *out_choice);
static int admit(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct choice *choice, bool last_chance,
                 struct mg_breaker_permit *out_permit);
static void refuse_keys(const struct mg_reach *reach, const struct choice *choice, uint64_t now_us,
                        struct mg_refusal *out_refusal);
static void refuse_full(const struct mg_reach *reach, struct mg_refusal *out_refusal);
static void tell_breaker(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says);
static void tell_keys(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says);
static void tell_stats(const struct mg_pass *pass, const struct mg_outcome *outcome);
static void tell_gate(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says);
static void penalise(const struct mg_pass *pass, const struct mg_outcome *outcome);
static void settle_callers(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says);
static enum says what_it_says(const struct mg_outcome *outcome);

/* ---- making one --------------------------------------------------------------------------------- */

struct names {
    mg_view scope;
    const char *owner;                 /* the provider, or the account its keys are shared in */
    const char *model, *region;
};

/* "owner/model@region#key"; what is NULL is left out with its sign. */
static mg_view name_of(char out[NAME_BYTES], const char *owner, const char *model, const char *region, const char *key)
{
    snprintf(out, NAME_BYTES, "%s%s%s%s%s%s%s", owner, model ? "/" : "", model ? model : "", region ? "@" : "",
             region ? region : "", key ? "#" : "", key ? key : "");
    return mg_view_cstr(out);
}

static void init_slot(struct mg_reach *reach, int i, const struct names *names, const char *key)
{
    char name[NAME_BYTES];
    reach->names[i] = key;
    reach->model_keys[i] = mg_credential_find(names->scope, name_of(name, names->owner, names->model, NULL, key));
    reach->keys[i] = reach->model_keys[i];       /* no key: what one model refuses says nothing about the others */
    if (key)
        reach->keys[i] = mg_credential_find(names->scope, name_of(name, names->owner, NULL, NULL, key));
    reach->breakers[i] = mg_breaker_find(names->scope, name_of(name, names->owner, names->model, names->region, key));
}

static double share_of(const struct mg_config_account *account, const char *project)
{
    for (int i = 0; i < account->grant_count; i++)
        if (strcmp(account->grants[i].project, project) == 0)
            return account->grants[i].share;
    return 1;
}

static void init_callers(struct mg_reach *reach, const struct names *names)
{
    for (int i = 0; i < MG_MAX_CALLER_BUCKETS && reach->provider->caller_keys != MG_CALLER_KEYS_REFUSE; i++) {
        char name[NAME_BYTES], bucket[24];
        snprintf(bucket, sizeof bucket, "@caller-%d", i);
        reach->callers[i] = mg_breaker_find(names->scope, name_of(name, names->owner, names->model, names->region, bucket));
    }
}

static void init_gate(struct mg_reach *reach, const struct names *names, const char *project,
                      const struct mg_config_account *account)
{
    char name[NAME_BYTES];
    if (reach->target->gate.max == 0)
        return;
    reach->gate = mg_gate_find(names->scope, name_of(name, names->owner, names->model, names->region, NULL));
    if (account)
        reach->share = mg_gate_share(reach->gate, mg_view_cstr(project), share_of(account, project));
}

void mg_reach_init(struct mg_reach *reach, const char *project, const struct mg_config_provider *provider,
                   const struct mg_config_target *target, const char *target_id, const struct mg_config_account *account,
                   const struct mg_limit_headers *limits)
{
    char scope[NAME_BYTES];
    snprintf(scope, sizeof scope, "%s%s", account ? "account:" : "", account ? account->name : project);
    struct names names = {mg_view_cstr(scope), account ? account->name : provider->name, target->model, target->region};
    const struct mg_config_credential *credentials = account ? account->credentials : provider->credentials;
    int count = account ? account->credential_count : provider->credential_count;

    *reach = (struct mg_reach){
        .provider = provider,
        .target = target,
        .stats = mg_stats_find(mg_view_cstr(project), mg_view_cstr(target_id)),
        .budget = mg_retry_budget_find(mg_view_cstr(project), mg_view_cstr(target_id)),
        .limits = *limits,
        .credential_count = MG_MIN(count, (int)MG_MAX_CREDENTIALS),
    };
    init_gate(reach, &names, project, account);
    init_callers(reach, &names);
    for (int i = 0; i < slots_of(reach); i++)
        init_slot(reach, i, &names, reach->credential_count ? credentials[i].name : NULL);
}

static int slots_of(const struct mg_reach *reach)
{
    return MG_MAX(reach->credential_count, 1);
}

/* ---- taking ------------------------------------------------------------------------------------- */

enum mg_reach_why mg_reach_take(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct mg_pass *out_pass,
                                struct mg_refusal *out_refusal)
{
    struct mg_pass pass = {.reach = reach, .entered = reach->gate != NULL, .start_us = ask->now_us};
    bool found = ask->by_caller ? take_callers(reach, ask, &pass, out_refusal) : take_ours(reach, ask, &pass, out_refusal);
    if (!found)
        return out_refusal->why;
    if (!ask->skip_gate && !mg_gate_enter(reach->gate, &reach->target->gate, reach->share)) {
        mg_breaker_abandon(pass.breaker, &pass.permit);
        refuse_full(reach, out_refusal);
        return out_refusal->why;
    }
    *out_pass = pass;
    if (!ask->by_caller)
        mg_credential_spend(reach->model_keys[MG_MAX(pass.credential, 0)], ask->tokens);
    mg_stats_start(reach->stats);
    return MG_REACH_OK;
}

/* The project's key that is best off. */
static bool take_ours(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct mg_pass *out_pass,
                      struct mg_refusal *out_refusal)
{
    struct choice choice;
    survey(reach, ask, &choice);
    int chosen = admit(reach, ask, &choice, false, &out_pass->permit);
    if (chosen < 0 && ask->last_chance)
        chosen = admit(reach, ask, &choice, true, &out_pass->permit);
    if (chosen < 0) {
        refuse_keys(reach, &choice, ask->now_us, out_refusal);
        return false;
    }
    out_pass->credential = reach->credential_count ? chosen : -1;
    out_pass->breaker = reach->breakers[chosen];
    return true;
}

/* The one that came with the request, which the breaker of its bucket may let in. */
static bool take_callers(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct mg_pass *out_pass,
                         struct mg_refusal *out_refusal)
{
    struct mg_breaker *breaker = reach->callers[ask->bucket];
    const struct mg_config_breaker *rules = &reach->provider->breaker;
    out_pass->credential = MG_CREDENTIAL_CALLER;
    out_pass->breaker = breaker;
    out_pass->permit = mg_breaker_admit(breaker, rules, ask->now_us, ask->random, ask->last_chance);
    if (out_pass->permit.allowed)
        return true;
    *out_refusal = (struct mg_refusal){
        .why = MG_REACH_OPEN, .until_us = out_pass->permit.retry_at_us, .class_ = MG_CLASS_overloaded};
    say_open(breaker, rules, out_refusal->until_us, ask->now_us, out_refusal->text);
    return false;
}

static uint64_t usable_at(const struct mg_reach *reach, int i, uint64_t tokens, uint64_t now_us)
{
    uint64_t key_us = mg_credential_usable_at(reach->keys[i], 0, now_us);
    uint64_t model_us = mg_credential_usable_at(reach->model_keys[i], tokens, now_us);
    return MG_MAX(key_us, model_us);
}

/* What a random draw or a conversation turns into: the key with the highest score is asked first, so that a conversation
 * stays on its key and only those of a key that is out move (rendezvous hashing). */
static uint64_t mix(uint64_t bits)
{
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
    return bits ^ bits >> 31;
}

static void survey(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct choice *choice)
{
    *choice = (struct choice){.benched = -1, .refused = -1};
    if (reach->credential_count > 1)
        choice->seed = ask->sticky.len ? mg_fingerprint(ask->sticky) : (uint64_t)(ask->random * 9007199254740992.0);
    for (int i = 0; i < slots_of(reach); i++) {
        if (ask->avoid & (1u << i))
            continue;
        /* Too few tokens left is a guess about this request: with nothing else left it is tried. */
        uint64_t at_us = usable_at(reach, i, ask->last_chance ? 0 : ask->tokens, ask->now_us);
        if (at_us == 0) {
            choice->usable |= 1u << i;
            if (reach->credential_count > 1 && mg_credential_is_low(reach->model_keys[i], ask->tokens, ask->now_us))
                choice->low |= 1u << i;
        } else if (choice->benched < 0 || at_us < choice->benched_until_us) {
            choice->benched = i;
            choice->benched_until_us = at_us;
        }
    }
}

static int best_of(const struct mg_reach *reach, uint32_t usable, uint64_t seed)
{
    if ((usable & (usable - 1)) == 0)
        return __builtin_ctz(usable);
    int best = -1;
    uint64_t best_score = 0;
    for (int i = 0; i < slots_of(reach); i++) {
        if (!(usable & (1u << i)))
            continue;
        uint64_t score = mix(seed ^ mg_fingerprint(mg_view_cstr(reach->names[i])));
        if (best < 0 || score > best_score) {
            best = i;
            best_score = score;
        }
    }
    return best;
}

/* Asks one breaker after the other until one says yes: asking may begin a probe, so never more than needed. */
static int admit(const struct mg_reach *reach, const struct mg_reach_ask *ask, struct choice *choice, bool last_chance,
                 struct mg_breaker_permit *out_permit)
{
    for (uint32_t left = choice->usable; left;) {
        int i = best_of(reach, left & ~choice->low ? left & ~choice->low : left, choice->seed);
        *out_permit = mg_breaker_admit(reach->breakers[i], &reach->provider->breaker, ask->now_us, ask->random, last_chance);
        if (out_permit->allowed)
            return i;
        uint64_t at_us = out_permit->retry_at_us;
        if (choice->refused < 0 || (at_us && (choice->open_until_us == 0 || at_us < choice->open_until_us))) {
            choice->refused = i;
            choice->open_until_us = at_us;
        }
        left &= ~(1u << i);
    }
    return -1;
}

static void say_when(char *out, size_t size, uint64_t until_us, uint64_t now_us)
{
    if (until_us == UINT64_MAX)
        snprintf(out, size, " until it is reset by hand");
    else if (until_us > now_us)
        snprintf(out, size, " for %.1f s more", (double)(until_us - now_us) / 1e6);
    else
        out[0] = '\0';
}

/* A name is cut so that what follows it fits. */
static void say_benched(const struct mg_reach *reach, int i, uint64_t until_us, uint64_t now_us, struct mg_refusal *out)
{
    char when[32];
    struct mg_credential_view key, model;
    mg_credential_read(reach->keys[i], &key);
    mg_credential_read(reach->model_keys[i], &model);
    bool by_key = key.benched_until_us >= until_us, by_model = model.benched_until_us >= until_us;
    const char *why = by_key ? mg_class_name(key.why) : by_model ? mg_class_name(model.why) : "limit used up";
    say_when(when, sizeof when, until_us, now_us);
    out->class_ = by_key ? key.why : by_model ? model.why : MG_CLASS_rate_limited;
    snprintf(out->text, sizeof out->text, "key %.24s: %s%s", reach->names[i] ? reach->names[i] : "(none)", why, when);
}

static void say_open(const struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t until_us, uint64_t now_us,
                     char out[96])
{
    char when[32];
    struct mg_breaker_view view;
    mg_breaker_read(breaker, rules, now_us, &view);
    say_when(when, sizeof when, until_us, now_us);
    if (view.state == MG_BREAKER_OPEN)
        snprintf(out, 96, "breaker open%s (%.44s)", when, view.reason);
    else if (view.state == MG_BREAKER_RAMP)
        snprintf(out, 96, "breaker lets %.0f %% in", view.ramp * 100);
    else
        snprintf(out, 96, "breaker half open, another call probes");
}

static void refuse_keys(const struct mg_reach *reach, const struct choice *choice, uint64_t now_us, struct mg_refusal *out)
{
    *out = (struct mg_refusal){.why = choice->refused >= 0 ? MG_REACH_OPEN : MG_REACH_BENCHED, .class_ = MG_CLASS_overloaded};
    if (choice->refused >= 0) {
        out->until_us = choice->open_until_us;
        say_open(reach->breakers[choice->refused], &reach->provider->breaker, choice->open_until_us, now_us, out->text);
    } else if (choice->benched >= 0) {
        out->until_us = choice->benched_until_us;
        say_benched(reach, choice->benched, choice->benched_until_us, now_us, out);
    } else {
        snprintf(out->text, sizeof out->text, "no other key");
    }
    if (choice->benched >= 0 && out->until_us)
        out->until_us = MG_MIN(out->until_us, choice->benched_until_us);
}

static void refuse_full(const struct mg_reach *reach, struct mg_refusal *out)
{
    struct mg_gate_view view;
    mg_gate_read(reach->gate, &reach->target->gate, &view);
    *out = (struct mg_refusal){.why = MG_REACH_FULL, .class_ = MG_CLASS_overloaded};
    snprintf(out->text, sizeof out->text, "full: %u of %u in flight, %u waiting", view.inflight, view.limit, view.waiting);
}

/* ---- telling ------------------------------------------------------------------------------------ */

void mg_reach_settle(struct mg_pass *pass, const struct mg_outcome *outcome)
{
    if (!pass->reach)
        return;
    enum says says = what_it_says(outcome);
    tell_breaker(pass, outcome, says);
    if (pass->credential == MG_CREDENTIAL_CALLER) {
        settle_callers(pass, outcome, says);
    } else {
        tell_keys(pass, outcome, says);
        tell_gate(pass, outcome, says);
        tell_stats(pass, outcome);
        penalise(pass, outcome);
    }
    pass->reach = NULL;
}

/* What a key that is not ours met says something of the target at most when the provider was to blame. */
static void settle_callers(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says)
{
    const struct mg_reach *reach = pass->reach;
    uint64_t for_us = MG_MIN(outcome->bench_ms, (uint64_t)MG_MAX_PENALTY_MS) * 1000;
    if (pass->entered)
        mg_gate_leave(reach->gate, &reach->target->gate, reach->share, 0, true, outcome->now_us);
    if (says == SAYS_NOTHING) {
        mg_stats_drop(reach->stats);
    } else {
        mg_stats_end(reach->stats, outcome->first_token_us, says == SAYS_BAD);
        if (says == SAYS_GOOD)
            mg_stats_total(reach->stats, outcome->total_us);
    }
    if (for_us && outcome->scope != MG_PENALTY_NONE)
        mg_breaker_open(pass->breaker, outcome->now_us, for_us, mg_class_name(outcome->class_));
}

void mg_reach_abandon(struct mg_pass *pass, uint64_t now_us, unsigned worker)
{
    const struct mg_reach *reach = pass->reach;
    (void)worker;
    if (!reach)
        return;
    mg_breaker_abandon(pass->breaker, &pass->permit);
    mg_stats_drop(reach->stats);
    if (pass->entered)
        mg_gate_leave(reach->gate, &reach->target->gate, reach->share, 0, true, now_us);
    pass->reach = NULL;
}

/* An answer that was complete is good even when its content did not please. */
static enum says what_it_says(const struct mg_outcome *outcome)
{
    enum mg_class class_ = outcome->class_;
    double weight = outcome->weight < 0 ? mg_class_weight(class_) : outcome->weight;
    if (class_ == MG_CLASS_none || class_ == MG_CLASS_refusal)
        return SAYS_GOOD;
    if (class_ == MG_CLASS_schema_mismatch)
        return weight > 0 ? SAYS_BAD : SAYS_GOOD;
    if (mg_class_blame(class_) != MG_BLAME_provider)
        return SAYS_NOTHING;
    return weight > 0 ? SAYS_BAD : SAYS_NOTHING;
}

/* Late against its own past and against the fastest other: both, for a long prompt is late everywhere. */
static bool is_slow(const struct mg_reach *reach, const struct mg_outcome *outcome)
{
    const struct mg_config_breaker *rules = &reach->provider->breaker;
    double took_us = (double)outcome->first_token_us, past_us = (double)mg_stats_baseline_us(reach->stats);
    if (rules->slow_factor <= 0 || past_us <= 0 || outcome->peers == 0 || took_us < rules->slow_min_ms * 1000.0)
        return false;
    if (outcome->peer_ewma_us == 0)    /* the others are unknown: its own past alone must say it twice as clearly */
        return took_us > 2 * rules->slow_factor * past_us;
    return took_us > rules->slow_factor * past_us && took_us > rules->slow_factor * (double)outcome->peer_ewma_us;
}

static void tell_breaker(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says)
{
    const struct mg_reach *reach = pass->reach;
    struct mg_breaker *breaker = pass->breaker;
    bool slow = says == SAYS_GOOD && is_slow(reach, outcome);
    double weight = slow ? 1 : says == SAYS_GOOD ? 0 : outcome->weight < 0 ? mg_class_weight(outcome->class_) : outcome->weight;
    const char *what = slow ? "slow" : says == SAYS_BAD ? mg_class_name(outcome->class_) : NULL;
    if (says == SAYS_NOTHING)
        mg_breaker_abandon(breaker, &pass->permit);
    else
        mg_breaker_report(breaker, &reach->provider->breaker, &pass->permit, outcome->now_us, outcome->worker, weight, what);
}

/* The provider's own word about when, or else a time of ours. */
static uint64_t bench_until(const struct mg_outcome *outcome, uint64_t reset_us, uint64_t unsaid_us)
{
    uint64_t now_us = outcome->now_us;
    uint64_t after_us = outcome->retry_after_ms ? MG_MIN(outcome->retry_after_ms, LONGEST_US / 1000) * 1000 : 0;
    uint64_t said_us = MG_MAX(after_us ? now_us + after_us : 0, MG_MIN(reset_us, now_us + LONGEST_US));
    return said_us ? said_us : now_us + unsaid_us;
}

/* Of any model when only the client knows which. */
static bool is_any_model(const struct mg_reach *reach)
{
    return strcmp(reach->target->model, "*") == 0;
}

static void open_target(const struct mg_reach *reach, uint64_t now_us, uint64_t for_us, enum mg_class why)
{
    for (int i = 0; i < slots_of(reach); i++)
        mg_breaker_open(reach->breakers[i], now_us, for_us, mg_class_name(why));
}

static void tell_keys(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says)
{
    const struct mg_reach *reach = pass->reach;
    struct mg_credential *key = reach->keys[MG_MAX(pass->credential, 0)];
    struct mg_credential *model_key = reach->model_keys[MG_MAX(pass->credential, 0)];
    uint64_t now_us = outcome->now_us, reset_us;
    if (outcome->headers)
        mg_credential_note(model_key, &reach->limits, *outcome->headers, now_us, outcome->wall_us);
    reset_us = mg_credential_reset_at(model_key, now_us);
    if (says == SAYS_GOOD) {
        mg_credential_worked(key, pass->start_us);
        mg_credential_worked(model_key, pass->start_us);
    } else if (outcome->class_ == MG_CLASS_rate_limited) {
        mg_credential_bench(model_key, bench_until(outcome, reset_us, COOL_US), outcome->class_);
    } else if (outcome->class_ == MG_CLASS_overloaded && outcome->retry_after_ms) {
        uint64_t pause_ms = MG_MIN(outcome->retry_after_ms, (uint64_t)LONGEST_PAUSE_MS);
        mg_credential_bench(model_key, now_us + pause_ms * 1000, outcome->class_);     /* it said when, so nobody asks before */
    } else if (outcome->class_ == MG_CLASS_quota_billing) {
        mg_credential_bench(key, bench_until(outcome, reset_us, QUOTA_US), outcome->class_);
    } else if (outcome->class_ == MG_CLASS_auth) {
        mg_credential_strike(key, outcome->class_, now_us);
    } else if (outcome->class_ == MG_CLASS_permission && !is_any_model(reach)) {
        mg_credential_bench(model_key, now_us + PERMISSION_US, outcome->class_);
    } else if (outcome->class_ == MG_CLASS_model_not_found && !is_any_model(reach)) {
        open_target(reach, now_us, MODEL_US, outcome->class_);
    }
}

static void tell_stats(const struct mg_pass *pass, const struct mg_outcome *outcome)
{
    const struct mg_reach *reach = pass->reach;
    enum mg_class class_ = outcome->class_;
    if (class_ == MG_CLASS_cancelled && outcome->first_token_us == 0) {
        mg_stats_drop(reach->stats);
        return;
    }
    bool failed = class_ != MG_CLASS_none && class_ != MG_CLASS_cancelled && !mg_class_is_client_fault(class_);
    mg_stats_end(reach->stats, outcome->first_token_us, failed);
    if (class_ == MG_CLASS_none)
        mg_stats_total(reach->stats, outcome->total_us);
    if (!outcome->headers || !reach->limits.requests_left)
        return;
    struct mg_credential_view view;
    mg_credential_read(reach->model_keys[MG_MAX(pass->credential, 0)], &view);
    if (view.requests_known)
        mg_stats_rate_limit(reach->stats, view.requests_left);
}

/* Only a good answer tells how fast the target is; a failure, or too many calls for it, that it has too much. */
static void tell_gate(const struct mg_pass *pass, const struct mg_outcome *outcome, enum says says)
{
    const struct mg_reach *reach = pass->reach;
    if (!pass->entered)
        return;
    bool ok = says != SAYS_BAD && outcome->class_ != MG_CLASS_rate_limited;
    mg_gate_leave(reach->gate, &reach->target->gate, reach->share, says == SAYS_GOOD ? outcome->first_token_us : 0, ok,
                  outcome->now_us);
}

/* ---- penalties ---------------------------------------------------------------------------------- */

struct sweep {
    mg_view owner;                     /* with its '/' */
    mg_view region;                    /* empty: every one */
    uint64_t now_us, for_us;
    const char *reason;
};

static mg_view region_of(mg_view name)
{
    name = mg_view_head(name, mg_view_find(name, "#"));
    for (size_t i = name.len; i > 0; i--)
        if (name.ptr[i - 1] == '@')
            return mg_view_skip(name, i);
    return MG_VIEW_NONE;
}

static void sweep_breaker(void *arg, struct mg_breaker *breaker)
{
    const struct sweep *sweep = arg;
    const struct mg_row *row = mg_breaker_row(breaker);
    mg_view name = mg_view_of(row->name, row->name_len);
    if (mg_view_starts(name, sweep->owner) && (sweep->region.len == 0 || mg_view_eq(region_of(name), sweep->region)))
        mg_breaker_open(breaker, sweep->now_us, sweep->for_us, sweep->reason);
}

/* All that is named like one of the target's own breakers: of its provider or account, and maybe of its region. */
static void sweep(const struct mg_pass *pass, const struct mg_outcome *outcome, uint64_t for_us)
{
    const struct mg_reach *reach = pass->reach;
    const struct mg_breaker *breaker = pass->breaker;
    if (!breaker)
        return;
    const struct mg_row *row = mg_breaker_row(breaker);
    mg_view name = mg_view_of(row->name, row->name_len);
    struct sweep sweep = {
        .owner = mg_view_head(name, mg_view_find(name, "/") + 1),
        .region = outcome->scope == MG_PENALTY_REGION ? mg_view_cstr(reach->target->region) : MG_VIEW_NONE,
        .now_us = outcome->now_us,
        .for_us = for_us,
        .reason = mg_class_name(outcome->class_),
    };
    mg_breaker_each(mg_view_of(row->scope, row->scope_len), sweep_breaker, &sweep);
}

static void penalise(const struct mg_pass *pass, const struct mg_outcome *outcome)
{
    const struct mg_reach *reach = pass->reach;
    uint64_t for_us = MG_MIN(outcome->bench_ms, (uint64_t)MG_MAX_PENALTY_MS) * 1000, until_us = outcome->now_us + for_us;
    int i = MG_MAX(pass->credential, 0);
    if (for_us == 0)
        return;
    if (outcome->scope == MG_PENALTY_CREDENTIAL)
        mg_credential_bench(reach->keys[i], until_us, outcome->class_);
    else if (outcome->scope == MG_PENALTY_CREDENTIAL_MODEL)
        mg_credential_bench(reach->model_keys[i], until_us, outcome->class_);
    else if (outcome->scope == MG_PENALTY_PROVIDER || (outcome->scope == MG_PENALTY_REGION && reach->target->region))
        sweep(pass, outcome, for_us);
    else if (outcome->scope != MG_PENALTY_NONE)
        open_target(reach, outcome->now_us, for_us, outcome->class_);
}

/* ---- for others --------------------------------------------------------------------------------- */

/* 0 is best: closed, ramp, half open, open, benched. */
static int rank_of(const struct mg_reach *reach, int i, uint64_t now_us, uint64_t *out_until_us)
{
    static const int ranks[] = {[MG_BREAKER_CLOSED] = 0, [MG_BREAKER_RAMP] = 1, [MG_BREAKER_HALF_OPEN] = 2, [MG_BREAKER_OPEN] = 3};
    uint64_t open_until_us, at_us = usable_at(reach, i, 0, now_us);
    enum mg_breaker_state state = mg_breaker_look(reach->breakers[i], &reach->provider->breaker, now_us, &open_until_us);
    if (state != MG_BREAKER_OPEN)
        open_until_us = 0;
    *out_until_us = MG_MAX(at_us, open_until_us);
    return at_us ? 4 : ranks[state];
}

const char *mg_reach_state(const struct mg_reach *reach, uint64_t now_us, uint64_t *out_until_us)
{
    static const char *const names[] = {"closed", "ramp", "half_open", "open", "benched"};
    uint64_t first_us = UINT64_MAX;
    int best = 4;
    for (int i = 0; i < slots_of(reach); i++) {
        uint64_t until_us;
        best = MG_MIN(best, rank_of(reach, i, now_us, &until_us));
        first_us = MG_MIN(first_us, until_us);
    }
    if (out_until_us)
        *out_until_us = first_us;
    return names[best];
}
