/* The word:
 *
 *    63   62 61          42 41     38 37                                 0
 *   ┌───────┬──────────────┬─────────┬────────────────────────────────────┐
 *   │ state │    epoch     │ backoff │ at_ms (monotonic)                  │
 *   └───────┴──────────────┴─────────┴────────────────────────────────────┘
 *
 *   state      at_ms says
 *   CLOSED     since when (0: since the beginning): soon after a failure, the next pause is a longer one
 *   OPEN       when it half-opens
 *   HALF_OPEN  when the probe's lease expires (0: nobody probes)
 *   RAMP       when the ramp began
 *
 * backoff is how often the pause was doubled. A bucket of the window carries its time and its epoch, so that a new
 * epoch begins with an empty window and nobody has to wipe the old one. */
#include "relay/breaker.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"

enum {
    SHARDS = 8,
    BUCKETS = 8,
    WEIGHT_SCALE = 16,                 /* a failure of weight 1 */
    COUNT_MAX = (1 << 20) - 1,         /* of calls or weighed failures in a bucket or run; then they stay */
    EPOCH_BITS = 20,
    BACKOFF_MAX = 15,
    AT_BITS = 38,                      /* eight years */
    EARLY_MS = 1000,
    RAMP_FLOOR_PERCENT = 10,
    REASON_WORDS = 6,
};

#define EPOCH_MASK ((UINT32_C(1) << EPOCH_BITS) - 1)
#define AT_MAX ((UINT64_C(1) << AT_BITS) - 1)

/* How unlikely a run of failures must be, given the calls before it: once in so many windows. */
static const double RUN_ODDS = 1e5;

/* By how much a share must be passed, times the root of the calls. At 12 % errors half of ten calls fail in one window of
 * three hundred, eight of ten in none of half a million. */
static const double SHARE_MARGIN = 0.75;

/* The word, taken apart. */
struct word {
    enum mg_breaker_state state;
    uint32_t epoch, backoff;
    uint64_t at_ms;
};

/* tag (24: 8 of the epoch, 16 of the time) | calls (20) | weighed failures (20). Written by one worker, or by few. */
struct shard {
    _Alignas(64) _Atomic uint64_t buckets[BUCKETS];
};

struct mg_breaker {
    struct mg_row row;
    _Atomic uint64_t word;
    _Atomic uint64_t run;              /* epoch (20) | failures in a row (22) | their weight (22) */
    _Atomic uint64_t early_ms;         /* of the last early probe */
    _Atomic uint32_t opened;
    _Atomic uint32_t reason_version;   /* odd while the reason is written */
    _Atomic uint64_t reason[REASON_WORDS];
    struct shard shards[SHARDS];
};

struct counts {
    double calls, failures;
};

static struct mg_rows breakers = {.size = sizeof(struct mg_breaker)};

static struct word split(uint64_t word);
static uint64_t join(struct word word);
static struct mg_breaker_permit allow(struct word word, bool probe);
static struct mg_breaker_permit refuse(struct word word, uint64_t retry_at_us);
static bool change(struct mg_breaker *breaker, uint64_t *observed, struct word from, enum mg_breaker_state state,
                   uint64_t at_ms, struct word *out_word);
static bool early(struct mg_breaker *breaker, uint64_t now_ms);
static double ramp_share(const struct mg_config_breaker *rules, struct word word, uint64_t now_ms);
static void count(struct mg_breaker *breaker, const struct mg_config_breaker *rules, struct word word, uint64_t now_ms,
                  unsigned shard, uint32_t weight);
static struct counts sum(const struct mg_breaker *breaker, const struct mg_config_breaker *rules, struct word word,
                         uint64_t now_ms);
static void report_probe(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t observed,
                         uint64_t now_ms, uint32_t weight, const char *what);
static void report_call(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t observed,
                        uint64_t now_ms, unsigned shard, uint32_t weight, const char *what);
static void set_reason(struct mg_breaker *breaker, const char *reason);
static void get_reason(const struct mg_breaker *breaker, char out[48]);

struct mg_breaker *mg_breaker_find(mg_view scope, mg_view name)
{
    return mg_rows_find(&breakers, scope, name);
}

struct mg_breaker *mg_breaker_peek(mg_view scope, mg_view name)
{
    return mg_rows_peek(&breakers, scope, name);
}

struct each {
    void (*cb)(void *arg, struct mg_breaker *breaker);
    void *arg;
};

static void on_row(void *arg, void *row)
{
    struct each *each = arg;
    each->cb(each->arg, row);
}

void mg_breaker_each(mg_view scope, void (*cb)(void *arg, struct mg_breaker *breaker), void *arg)
{
    struct each each = {cb, arg};
    mg_rows_each(&breakers, scope, on_row, &each);
}

const struct mg_row *mg_breaker_row(const struct mg_breaker *breaker)
{
    return &breaker->row;
}

const char *mg_breaker_state_name(enum mg_breaker_state state)
{
    static const char *const names[] = {"closed", "open", "half_open", "ramp"};
    return names[state];
}

struct mg_breaker_permit mg_breaker_admit(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t now_us,
                                          double random, bool last_chance)
{
    if (!breaker)
        return (struct mg_breaker_permit){.allowed = true};
    uint64_t observed = atomic_load_explicit(&breaker->word, memory_order_acquire), now_ms = now_us / 1000;
    for (;;) {
        struct word word = split(observed), next;
        if (word.state == MG_BREAKER_CLOSED || rules->off)
            return allow(word, false);
        if (word.state == MG_BREAKER_RAMP && now_ms >= word.at_ms + rules->ramp_ms) {
            if (change(breaker, &observed, word, MG_BREAKER_CLOSED, now_ms, &next))
                return allow(next, false);
        } else if (word.state == MG_BREAKER_RAMP) {
            return last_chance || random < ramp_share(rules, word, now_ms) ? allow(word, false) : refuse(word, 0);
        } else if (now_ms >= word.at_ms) {
            if (change(breaker, &observed, word, MG_BREAKER_HALF_OPEN, now_ms + MG_MAX(rules->probe_ms, 1), &next))
                return allow(next, true);
        } else if (last_chance && early(breaker, now_ms)) {
            return allow(word, false);
        } else {
            return refuse(word, word.state == MG_BREAKER_OPEN ? word.at_ms * 1000 : 0);
        }
    }
}

void mg_breaker_report(struct mg_breaker *breaker, const struct mg_config_breaker *rules,
                       const struct mg_breaker_permit *permit, uint64_t now_us, unsigned shard, double weight,
                       const char *what)
{
    if (!breaker || rules->off)
        return;
    uint64_t observed = atomic_load_explicit(&breaker->word, memory_order_acquire);
    struct word word = split(observed);
    if (word.epoch != permit->epoch)
        return;
    uint32_t scaled = weight <= 0 ? 0 : MG_MAX((uint32_t)(MG_MIN(weight, 1.0) * WEIGHT_SCALE + 0.5), 1u);
    if (word.state == MG_BREAKER_CLOSED || word.state == MG_BREAKER_RAMP)
        report_call(breaker, rules, observed, now_us / 1000, shard, scaled, what);
    else if (permit->probe || scaled == 0)
        report_probe(breaker, rules, observed, now_us / 1000, scaled, what);
}

void mg_breaker_abandon(struct mg_breaker *breaker, const struct mg_breaker_permit *permit)
{
    if (!breaker || !permit->probe)
        return;
    uint64_t observed = atomic_load_explicit(&breaker->word, memory_order_acquire);
    struct word word = split(observed);
    if (word.state != MG_BREAKER_HALF_OPEN || word.epoch != permit->epoch)
        return;
    word.at_ms = 0;
    atomic_compare_exchange_strong_explicit(&breaker->word, &observed, join(word), memory_order_acq_rel,
                                            memory_order_relaxed);
}

void mg_breaker_open(struct mg_breaker *breaker, uint64_t now_us, uint64_t for_us, const char *reason)
{
    if (!breaker || for_us == 0)
        return;
    uint64_t until_ms = MG_MIN(now_us / 1000 + MG_MIN(for_us / 1000 + 1, AT_MAX), AT_MAX);
    uint64_t observed = atomic_load_explicit(&breaker->word, memory_order_acquire);
    struct word word, next;
    do {
        word = split(observed);
        if (word.state == MG_BREAKER_OPEN && word.at_ms >= until_ms)
            return;
    } while (!change(breaker, &observed, word, MG_BREAKER_OPEN, until_ms, &next));
    set_reason(breaker, reason);
    if (word.state != MG_BREAKER_OPEN)
        atomic_fetch_add_explicit(&breaker->opened, 1, memory_order_relaxed);
}

void mg_breaker_reset(struct mg_breaker *breaker, uint64_t now_us)
{
    if (!breaker)
        return;
    (void)now_us;
    uint64_t observed = atomic_load_explicit(&breaker->word, memory_order_acquire);
    struct word word, next;
    do {
        word = split(observed);
        word.backoff = 0;
    } while (!change(breaker, &observed, word, MG_BREAKER_CLOSED, 0, &next));
}

/* What the next call will find. */
static enum mg_breaker_state state_at(const struct mg_config_breaker *rules, struct word word, uint64_t now_ms)
{
    if (rules->off)
        return MG_BREAKER_CLOSED;
    if (word.state == MG_BREAKER_OPEN && now_ms >= word.at_ms)
        return MG_BREAKER_HALF_OPEN;
    if (word.state == MG_BREAKER_RAMP && now_ms >= word.at_ms + rules->ramp_ms)
        return MG_BREAKER_CLOSED;
    return word.state;
}

static uint64_t until_us(const struct mg_config_breaker *rules, struct word word, enum mg_breaker_state state)
{
    if (state == MG_BREAKER_OPEN)
        return word.at_ms * 1000;
    return state == MG_BREAKER_RAMP ? (word.at_ms + rules->ramp_ms) * 1000 : 0;
}

enum mg_breaker_state mg_breaker_look(const struct mg_breaker *breaker, const struct mg_config_breaker *rules,
                                      uint64_t now_us, uint64_t *out_until_us)
{
    *out_until_us = 0;
    if (!breaker)
        return MG_BREAKER_CLOSED;
    struct word word = split(atomic_load_explicit(&breaker->word, memory_order_acquire));
    enum mg_breaker_state state = state_at(rules, word, now_us / 1000);
    *out_until_us = until_us(rules, word, state);
    return state;
}

void mg_breaker_read(const struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t now_us,
                     struct mg_breaker_view *out)
{
    *out = (struct mg_breaker_view){.ramp = 1};
    if (!breaker)
        return;
    uint64_t now_ms = now_us / 1000;
    struct word word = split(atomic_load_explicit(&breaker->word, memory_order_acquire));
    out->state = state_at(rules, word, now_ms);
    struct counts counts = sum(breaker, rules, word, now_ms);
    out->calls = (uint32_t)counts.calls;
    out->failures = counts.failures;
    uint64_t run = atomic_load_explicit(&breaker->run, memory_order_relaxed);
    out->consecutive = run >> 44 == word.epoch ? (uint32_t)(run >> 22) & 0x3fffff : 0;
    out->opened = atomic_load_explicit(&breaker->opened, memory_order_relaxed);
    out->until_us = until_us(rules, word, out->state);
    if (out->state != MG_BREAKER_CLOSED)
        out->ramp = out->state == MG_BREAKER_RAMP ? ramp_share(rules, word, now_ms) : 0;
    get_reason(breaker, out->reason);
}

/* ---- the word ---------------------------------------------------------------------------------- */

static struct word split(uint64_t word)
{
    return (struct word){
        .state = (enum mg_breaker_state)(word >> 62),
        .epoch = (uint32_t)(word >> 42) & EPOCH_MASK,
        .backoff = (uint32_t)(word >> AT_BITS) & BACKOFF_MAX,
        .at_ms = word & AT_MAX,
    };
}

static uint64_t join(struct word word)
{
    return (uint64_t)word.state << 62 | (uint64_t)word.epoch << 42 | (uint64_t)word.backoff << AT_BITS |
           MG_MIN(word.at_ms, AT_MAX);
}

static struct mg_breaker_permit allow(struct word word, bool probe)
{
    return (struct mg_breaker_permit){.allowed = true, .probe = probe, .epoch = word.epoch, .state = word.state};
}

static struct mg_breaker_permit refuse(struct word word, uint64_t retry_at_us)
{
    return (struct mg_breaker_permit){.epoch = word.epoch, .state = word.state, .retry_at_us = retry_at_us};
}

/* The only way from one state to another, always with a new epoch. False: another thread was faster, *observed is what
 * it left. `from` may differ from the observed word in its backoff. */
static bool change(struct mg_breaker *breaker, uint64_t *observed, struct word from, enum mg_breaker_state state,
                   uint64_t at_ms, struct word *out_word)
{
    struct word next = {.state = state, .epoch = (from.epoch + 1) & EPOCH_MASK, .backoff = from.backoff, .at_ms = at_ms};
    if (!atomic_compare_exchange_strong_explicit(&breaker->word, observed, join(next), memory_order_acq_rel,
                                                 memory_order_acquire))
        return false;
    *out_word = next;
    return true;
}

static bool early(struct mg_breaker *breaker, uint64_t now_ms)
{
    uint64_t last = atomic_load_explicit(&breaker->early_ms, memory_order_relaxed);
    return (last == 0 || now_ms >= last + EARLY_MS) &&
           atomic_compare_exchange_strong_explicit(&breaker->early_ms, &last, now_ms, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static double ramp_share(const struct mg_config_breaker *rules, struct word word, uint64_t now_ms)
{
    double floor = RAMP_FLOOR_PERCENT / 100.0;
    if (now_ms <= word.at_ms || rules->ramp_ms == 0)
        return rules->ramp_ms == 0 ? 1 : floor;
    return MG_MIN(1.0, floor + (1 - floor) * (double)(now_ms - word.at_ms) / rules->ramp_ms);
}

/* Doubled when it follows a probe or ramp that failed, or a closed period too short to be called one. */
static uint32_t next_backoff(const struct mg_config_breaker *rules, struct word word, uint64_t now_ms)
{
    bool fresh = word.state == MG_BREAKER_CLOSED && (word.at_ms == 0 || now_ms >= word.at_ms + rules->window_ms);
    return fresh ? 0 : MG_MIN(word.backoff + 1, (uint32_t)BACKOFF_MAX);
}

static void open_from(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t observed,
                      uint64_t now_ms, const char *reason)
{
    struct word word = split(observed), next;
    word.backoff = next_backoff(rules, word, now_ms);
    uint64_t pause_ms = MG_MIN((uint64_t)rules->open_ms << word.backoff, (uint64_t)MG_MAX(rules->max_open_ms, rules->open_ms));
    if (!change(breaker, &observed, word, MG_BREAKER_OPEN, now_ms + pause_ms, &next))
        return;
    set_reason(breaker, reason);
    atomic_fetch_add_explicit(&breaker->opened, 1, memory_order_relaxed);
}

/* ---- reports ----------------------------------------------------------------------------------- */

/* Of the probe itself, or the success of an early call. */
static void report_probe(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t observed,
                         uint64_t now_ms, uint32_t weight, const char *what)
{
    char reason[64];
    struct word next;
    if (weight == 0) {
        change(breaker, &observed, split(observed), MG_BREAKER_RAMP, now_ms, &next);
        return;
    }
    snprintf(reason, sizeof reason, "probe failed%s%s", what ? ": " : "", what ? what : "");
    open_from(breaker, rules, observed, now_ms, reason);
}

static void add_to_run(struct mg_breaker *breaker, struct word word, uint32_t weight, struct counts *out_run)
{
    uint64_t old = atomic_load_explicit(&breaker->run, memory_order_relaxed), next;
    uint64_t calls, failures;
    do {
        bool same = old >> 44 == word.epoch;
        calls = MG_MIN((same ? (old >> 22) & 0x3fffff : 0) + 1, (uint64_t)COUNT_MAX);
        failures = MG_MIN((same ? old & 0x3fffff : 0) + weight, (uint64_t)COUNT_MAX);
        next = (uint64_t)word.epoch << 44 | calls << 22 | failures;
    } while (!atomic_compare_exchange_weak_explicit(&breaker->run, &old, next, memory_order_relaxed, memory_order_relaxed));
    *out_run = (struct counts){(double)calls, (double)failures / WEIGHT_SCALE};
}

/* How much a run must weigh: `consecutive`, and more when failures were so frequent before it that such a run is an
 * accident to be expected among that many calls. */
static double run_needed(double consecutive, struct counts window, struct counts run)
{
    double calls = window.calls - run.calls, failures = window.failures - run.failures;
    if (calls <= 0 || failures <= 0)
        return consecutive;
    double share = MG_MIN(failures / calls, 0.9);
    return MG_MAX(consecutive, log(RUN_ODDS * calls) / -log(share));
}

static double share_needed(const struct mg_config_breaker *rules, struct counts window)
{
    return MG_MIN(window.calls, rules->failure_share * window.calls + SHARE_MARGIN * sqrt(window.calls));
}

static bool is_outage(const struct mg_config_breaker *rules, enum mg_breaker_state state, struct counts window,
                      struct counts run, char *reason, size_t size, const char *what)
{
    bool ramp = state == MG_BREAKER_RAMP;
    uint32_t consecutive = ramp ? (rules->consecutive + 1) / 2 : rules->consecutive;
    uint32_t min_calls = ramp ? (rules->min_calls + 1) / 2 : rules->min_calls;
    const char *colon = what ? ": " : "";
    what = what ? what : "";
    if (consecutive && run.failures >= consecutive && run.failures >= run_needed(consecutive, window, run)) {
        snprintf(reason, size, "%.0f failures in a row%s%s", run.calls, colon, what);
        return true;
    }
    if (window.calls >= MG_MAX(min_calls, 1u) && rules->failure_share > 0 && window.failures >= share_needed(rules, window)) {
        snprintf(reason, size, "%.0f of %.0f calls failed%s%s", ceil(window.failures), window.calls, colon, what);
        return true;
    }
    return false;
}

static void report_call(struct mg_breaker *breaker, const struct mg_config_breaker *rules, uint64_t observed,
                        uint64_t now_ms, unsigned shard, uint32_t weight, const char *what)
{
    struct word word = split(observed);
    count(breaker, rules, word, now_ms, shard, weight);
    if (weight == 0) {
        if (atomic_load_explicit(&breaker->run, memory_order_relaxed) != 0)
            atomic_store_explicit(&breaker->run, 0, memory_order_relaxed);
        return;
    }
    char reason[64];
    struct counts run;
    add_to_run(breaker, word, weight, &run);
    if (is_outage(rules, word.state, sum(breaker, rules, word, now_ms), run, reason, sizeof reason, what))
        open_from(breaker, rules, observed, now_ms, reason);
}

/* ---- the window -------------------------------------------------------------------------------- */

static uint64_t slot_of(const struct mg_config_breaker *rules, uint64_t now_ms)
{
    return now_ms / MG_MAX(rules->window_ms / BUCKETS, 1u);
}

static uint64_t tag_of(struct word word, uint64_t slot)
{
    return (uint64_t)(word.epoch & 0xff) << 16 | (slot / BUCKETS & 0xffff);
}

static void count(struct mg_breaker *breaker, const struct mg_config_breaker *rules, struct word word, uint64_t now_ms,
                  unsigned shard, uint32_t weight)
{
    uint64_t slot = slot_of(rules, now_ms), tag = tag_of(word, slot);
    _Atomic uint64_t *bucket = &breaker->shards[shard % SHARDS].buckets[slot % BUCKETS];
    uint64_t old = atomic_load_explicit(bucket, memory_order_relaxed), next;
    do {
        uint64_t calls = old >> 40 == tag ? old >> 20 & COUNT_MAX : 0;
        uint64_t failures = old >> 40 == tag ? old & COUNT_MAX : 0;
        next = tag << 40 | MG_MIN(calls + 1, (uint64_t)COUNT_MAX) << 20 | MG_MIN(failures + weight, (uint64_t)COUNT_MAX);
    } while (!atomic_compare_exchange_weak_explicit(bucket, &old, next, memory_order_relaxed, memory_order_relaxed));
}

static struct counts sum(const struct mg_breaker *breaker, const struct mg_config_breaker *rules, struct word word,
                         uint64_t now_ms)
{
    uint64_t last = slot_of(rules, now_ms), calls = 0, failures = 0;
    for (int i = 0; i < SHARDS; i++)
        for (uint64_t back = 0; back < BUCKETS && back <= last; back++) {
            uint64_t slot = last - back;
            uint64_t bucket = atomic_load_explicit(&breaker->shards[i].buckets[slot % BUCKETS], memory_order_relaxed);
            if (bucket >> 40 != tag_of(word, slot))
                continue;
            calls += bucket >> 20 & COUNT_MAX;
            failures += bucket & COUNT_MAX;
        }
    return (struct counts){(double)calls, (double)failures / WEIGHT_SCALE};
}

/* ---- the reason -------------------------------------------------------------------------------- */

/* A text of several words under a version; whoever comes while it is written lets it be. */
static void set_reason(struct mg_breaker *breaker, const char *reason)
{
    uint64_t words[REASON_WORDS] = {0};
    uint32_t version = atomic_load_explicit(&breaker->reason_version, memory_order_relaxed);
    if (version & 1 || !atomic_compare_exchange_strong_explicit(&breaker->reason_version, &version, version + 1,
                                                                memory_order_acq_rel, memory_order_relaxed))
        return;
    snprintf((char *)words, sizeof words, "%s", reason ? reason : "");
    for (int i = 0; i < REASON_WORDS; i++)
        atomic_store_explicit(&breaker->reason[i], words[i], memory_order_release);
    atomic_store_explicit(&breaker->reason_version, version + 2, memory_order_release);
}

static void get_reason(const struct mg_breaker *breaker, char out[48])
{
    uint64_t words[REASON_WORDS];
    uint32_t version = atomic_load_explicit(&breaker->reason_version, memory_order_acquire);
    for (int i = 0; i < REASON_WORDS; i++)
        words[i] = atomic_load_explicit(&breaker->reason[i], memory_order_acquire);
    bool torn = version & 1 || atomic_load_explicit(&breaker->reason_version, memory_order_acquire) != version;
    memcpy(out, words, sizeof words);
    out[torn ? 0 : 47] = '\0';
}
