#include "gateway/limiting.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "chat/asked.h"
#include "gateway/passthrough.h"
#include "gateway/surface.h"
#include "http/json_scan.h"
#include "relay/rates.h"

enum { LANES = MG_MAX_HEDGES + 1, UNKNOWN_ANSWER = 256 };

/* What one attempt has reserved. */
struct reservation {
    bool open;
    int candidate;
    struct mg_limit_hold *holds;       /* one for each use */
};

struct mg_limiting {
    struct mg_limit_use *uses;
    int count;
    bool entered;                      /* counts as in flight */
    bool per_attempt;                  /* tokens or money are limited */
    bool money;
    bool refused;                      /* the last one that was asked for; `refusal` says why */
    bool answered;                     /* … and the client is told so, in vain or not */
    const char *unpriced;              /* a target that a budget could not count; NULL: none */
    struct mg_limit_refusal refusal;
    struct reservation lanes[LANES];
};

/* ---- words ------------------------------------------------------------------------------------ */

/* What a key has of its own stands in its row and in no file. */
static bool is_keys_own(const struct mg_exchange *x, const struct mg_limit_use *use, enum mg_limit_kind kind, enum mg_period period)
{
    struct mg_limit_figures figures;
    return x->key_limits && mg_limit_row_scope(use->row) == MG_SCOPE_KEY && !*mg_limit_row_workflow(use->row) &&
           mg_limit_read(NULL, x->key_limits, mg_limit_slot(kind, period), 0, 0, &figures);
}

/* The key of the configuration: "workflows.chat.limits.per_metadata.user.requests_per_minute". */
static mg_view key_path(struct mg_exchange *x, const struct mg_limit_refusal *refusal)
{
    char path[MG_LIMIT_PATH_BYTES];
    const struct mg_limit_use *use = &x->limiting->uses[refusal->use];
    if (is_keys_own(x, use, refusal->kind, refusal->period))
        return mg_arena_printf(&x->arena, "key.limits.%s", mg_limit_kind_name(refusal->kind));
    mg_limit_path(path, mg_limit_row_workflow(use->row), mg_limit_row_scope(use->row), mg_limit_row_field(use->row), refusal->kind);
    return mg_arena_dup(&x->arena, mg_view_cstr(path));
}

/* Whose limit: the caller's own value is its own to read; those of others are never here. */
static mg_view whose(struct mg_exchange *x, const struct mg_limit_row *row)
{
    const char *workflow = mg_limit_row_workflow(row), *value = mg_limit_row_value(row);
    mg_view of = *workflow ? mg_arena_printf(&x->arena, " in workflow '%s'", workflow) : MG_VIEW("");
    switch (mg_limit_row_scope(row)) {
    case MG_SCOPE_PROJECT: return mg_arena_printf(&x->arena, "project '%.*s'", MG_FMT(x->call.project));
    case MG_SCOPE_WORKFLOW: return mg_arena_printf(&x->arena, "workflow '%s'", workflow);
    case MG_SCOPE_KEY: return mg_arena_printf(&x->arena, "this API key (%.*s)%.*s", MG_FMT(x->call.key_id), MG_FMT(of));
    case MG_SCOPE_METADATA: break;
    }
    if (mg_limit_row_is_shared(row))
        return mg_arena_printf(&x->arena, "all values of metadata '%s'%.*s beyond the %d that are counted one by one",
                               mg_limit_row_field(row), MG_FMT(of), MG_MAX_LIMIT_VALUES);
    if (!*value)
        return mg_arena_printf(&x->arena, "requests without metadata '%s'%.*s", mg_limit_row_field(row), MG_FMT(of));
    return mg_arena_printf(&x->arena, "metadata '%s' = '%s'%.*s", mg_limit_row_field(row), value, MG_FMT(of));
}

static mg_view amount(struct mg_exchange *x, const struct mg_limit_refusal *refusal)
{
    switch (refusal->kind) {
    case MG_LIMIT_REQUESTS: return mg_arena_printf(&x->arena, "%" PRIu64 " requests per minute", refusal->limit);
    case MG_LIMIT_TOKENS:
        return mg_arena_printf(&x->arena, "%" PRIu64 " tokens per minute, and this request may need %" PRIu64, refusal->limit,
                               refusal->wanted);
    case MG_LIMIT_CONCURRENCY: return mg_arena_printf(&x->arena, "%" PRIu64 " requests at once", refusal->limit);
    case MG_LIMIT_BUDGET: break;
    }
    return mg_arena_printf(&x->arena, "$%.2f per %s, and this request may cost $%.6f", (double)refusal->limit / 1e6,
                           mg_limit_period_name(refusal->period), (double)refusal->wanted / 1e6);
}

static mg_view when(struct mg_exchange *x, const struct mg_limit_refusal *refusal)
{
    if (refusal->never)
        return MG_VIEW("It is more than the limit ever allows: ask for less.");
    if (refusal->kind == MG_LIMIT_CONCURRENCY)
        return MG_VIEW("Try again when one of them has ended.");
    if (refusal->kind != MG_LIMIT_BUDGET)
        return mg_arena_printf(&x->arena, "Try again in %.3f s.", (double)refusal->free_in_us / 1e6);
    char text[40];
    struct tm tm;
    time_t at = (time_t)((x->timeline->start_wall_us + refusal->free_in_us + 500000) / 1000000);
    gmtime_r(&at, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return mg_arena_printf(&x->arena, "It is renewed at %s.", text);
}

static mg_view sentence(struct mg_exchange *x, const struct mg_limit_refusal *refusal)
{
    const struct mg_limit_use *use = &x->limiting->uses[refusal->use];
    return mg_arena_printf(&x->arena, "Limit reached for %.*s: %.*s (%.*s). %.*s", MG_FMT(whose(x, use->row)),
                           MG_FMT(amount(x, refusal)), MG_FMT(key_path(x, refusal)), MG_FMT(when(x, refusal)));
}

/* OpenAI's codes where it has one, so that its SDKs and agents on top of them know what to do. */
static mg_view code_of(const struct mg_limit_refusal *refusal)
{
    switch (refusal->kind) {
    case MG_LIMIT_BUDGET: return MG_VIEW("insufficient_quota");
    case MG_LIMIT_CONCURRENCY: return MG_VIEW("concurrency_limit_exceeded");
    default: return MG_VIEW("rate_limit_exceeded");
    }
}

static uint64_t retry_after_ms(const struct mg_limit_refusal *refusal)
{
    if (refusal->never)
        return 0;
    return refusal->kind == MG_LIMIT_CONCURRENCY ? 1000 : MG_MAX((refusal->free_in_us + 999) / 1000, UINT64_C(1));
}

static void answer(struct mg_exchange *x)
{
    const struct mg_limit_refusal *refusal = &x->limiting->refusal;
    x->limiting->answered = true;
    mg_limit_count_refusal(x->limiting->uses[refusal->use].row, refusal->kind, refusal->period);
    mg_timeline_note(x->timeline, mg_exchange_now(x), "limit", "%.*s", MG_FMT(key_path(x, refusal)));
    mg_exchange_refuse_as(x, 429, code_of(refusal), sentence(x, refusal), key_path(x, refusal), retry_after_ms(refusal));
}

/* ---- requests and concurrency ----------------------------------------------------------------- */

static void see_kinds(struct mg_limiting *limiting)
{
    for (int i = 0; i < limiting->count; i++) {
        const struct mg_limit_set *set = limiting->uses[i].set;
        for (int p = 0; p < MG_PERIOD_COUNT; p++)
            limiting->money |= set->budget_microusd[p] > 0;
        limiting->per_attempt |= set->tokens_per_minute > 0;
    }
    limiting->per_attempt |= limiting->money;
}

static bool find_rows(struct mg_exchange *x, const struct mg_limit_ask *ask)
{
    struct mg_limit_use uses[MG_MAX_LIMIT_USES];
    const char *too_long;
    int count = mg_limiter_uses(x->live->generation->limiter, ask, &x->arena, mg_exchange_now(x), x->timeline->start_wall_us, uses,
                                &too_long);
    if (count < 0) {
        mg_exchange_refuse(x, 400, "invalid_metadata", "The metadata field '%s' has a limit in this project: its value may have "
                           "at most %d bytes.", too_long, MG_MAX_LIMIT_VALUE_BYTES);
        return false;
    }
    x->limiting = mg_arena_new(&x->arena, struct mg_limiting);
    x->limiting->uses = mg_arena_array(&x->arena, struct mg_limit_use, (size_t)count + 1);
    x->limiting->count = count;
    memcpy(x->limiting->uses, uses, (size_t)count * sizeof *uses);
    see_kinds(x->limiting);
    return true;
}

bool mg_limiting_begin(struct mg_exchange *x)
{
    struct mg_limit_ask ask = {
        .workflow = x->route->workflow,
        .key_id = x->key_origin,
        .key_set = x->key_limits,
        .metadata = x->call.metadata,
        .key_metadata = x->call.key_metadata,
    };
    if (mg_limiter_is_idle(x->live->generation->limiter, &ask))
        return true;
    if (!find_rows(x, &ask))
        return false;
    struct mg_limiting *limiting = x->limiting;
    limiting->entered = mg_limits_enter(limiting->uses, limiting->count, mg_exchange_now(x), &limiting->refusal);
    if (limiting->entered)
        return true;
    limiting->refused = true;
    answer(x);
    return false;
}

void mg_limiting_end(struct mg_exchange *x)
{
    struct mg_limiting *limiting = x->limiting;
    if (!limiting)
        return;
    for (int i = 0; i < LANES; i++)    /* the relay settles each; none is left, or a limit would leak */
        if (limiting->lanes[i].open)
            mg_limiting_settled(x, limiting->lanes[i].candidate, NULL);
    if (limiting->entered)
        mg_limits_leave(limiting->uses, limiting->count);
    mg_limiter_leave(limiting->uses, limiting->count);
    x->limiting = NULL;
}

/* ---- tokens and money ------------------------------------------------------------------------- */

/* As the attempt will be charged (relay/lane.c). False: nobody knows its price. */
static bool cost_of(const struct mg_prices *prices, const struct mg_config_project *config,
                    const struct mg_config_target *target, mg_view model, const struct mg_usage *usage, uint64_t *out_microusd)
{
    struct mg_price own;
    struct mg_price_call call = {
        .project = mg_view_cstr(config->name),
        .provider = mg_view_cstr(config->providers[target->provider].name),
        .vendor = mg_view_cstr(config->providers[target->provider].vendor),
        .model = model,
        .own = mg_target_price(target, &own),
        .at_us = mg_wall_us(),
    };
    const struct mg_price *price = mg_prices_find(prices, &call);
    if (price)
        *out_microusd = mg_microusd(mg_price_cost(price, usage, MG_VIEW_NONE));
    return price != NULL;
}

/* What counts the money of a workflow; NULL: nothing does. */
static const char *counts_money(const struct mg_config_project *config, const struct mg_config_workflow *workflow)
{
    if (mg_limiter_has_budget(config, workflow))
        return "a budget";
    return workflow->max_cost_microusd ? "max_cost_usd" : NULL;
}

/* Money that is counted beside a target without a price would bound nothing. What model "*" is only a request tells. */
mg_err mg_limiting_check(const struct mg_config_project *config, const struct mg_prices *prices, struct mg_diag *diag)
{
    struct mg_usage usage = {.input_tokens = 1};
    uint64_t cost;
    for (int w = 0; w < config->workflow_count; w++) {
        const struct mg_config_workflow *workflow = &config->workflows[w];
        const char *counter = counts_money(config, workflow);
        for (int a = 0; counter && a < workflow->arm_count; a++) {
            const struct mg_config_target *target = &config->targets[workflow->arms[a].target];
            if (strcmp(target->model, "*") != 0 &&
                !cost_of(prices, config, target, mg_view_cstr(target->model), &usage, &cost))
                return mg_diag_set(diag, MG_E_CONFIG, config->path, workflow->line,
                                   "workflows.%s: %s counts what %s costs, and nobody knows its price: give its target "
                                   "price_usd (0 where it costs nothing)", workflow->name, counter, target->id);
        }
    }
    return MG_OK;
}

/* What is sent to the target: its own parameters go before the client's. */
static struct mg_asked asked_of(const struct mg_exchange *x, int candidate)
{
    const char *params = x->route->candidates[candidate].target->params;
    const struct mg_adapter *adapter = mg_upstream_adapter(x->route->upstreams[candidate], x->call.dialect, x->surface->name);
    struct mg_asked asked = mg_asked_of(x->call.dialect, x->call.request.body);
    struct mg_asked set = mg_asked_of(mg_adapter_declaration(adapter)->dialect, mg_view_cstr(params));
    if (set.tokens)
        asked.tokens = set.tokens;
    asked.answers = MG_MAX(asked.answers, set.answers);
    return asked;
}

/* The most it may answer: what it asks for, else what answers there usually are. */
static uint64_t answer_tokens(const struct mg_exchange *x, int candidate, const struct mg_estimate *estimate)
{
    const struct mg_config_target *target = x->route->candidates[candidate].target;
    if (strcmp(x->surface->name, "embeddings") == 0 || x->surface->task)
        return 0;                      /* nothing is written */
    struct mg_asked asked = asked_of(x, candidate);
    uint64_t tokens = asked.tokens ? asked.tokens : mg_estimate_answer(estimate);
    if (!tokens)
        tokens = UNKNOWN_ANSWER;
    if (target->max_output)
        tokens = MG_MIN(tokens, (uint64_t)target->max_output);
    return tokens * asked.answers;
}

/* What others wrote stands last in a line of the log, and between quotes, so that it can neither forge a field nor push one
 * out. */
static mg_view quoted(struct mg_exchange *x, const char *text)
{
    struct mg_buf out;
    mg_buf_init(&out, 8 * MG_MAX_LIMIT_VALUE_BYTES);
    mg_view escaped = mg_buf_put_json(&out, mg_view_cstr(text)) == MG_OK ? mg_arena_dup(&x->arena, mg_buf_view(&out)) : MG_VIEW("…");
    mg_buf_fini(&out);
    return mg_arena_printf(&x->arena, "\"%.*s\"", MG_FMT(escaped));
}

static void on_threshold(void *arg, const struct mg_limit_threshold *at)
{
    struct mg_exchange *x = arg;
    const struct mg_limit_row *row = x->limiting->uses[at->use].row;
    mg_log_warn(at->stop ? "budget.exhausted" : "budget.soft",
                "project=%.*s scope=%s workflow=%s field=%s per=%s spent_usd=%.6f budget_usd=%.6f value=%.*s", MG_FMT(x->call.project),
                mg_limit_scope_name(mg_limit_row_scope(row)), mg_limit_row_workflow(row), mg_limit_row_field(row),
                mg_limit_period_name(at->period), (double)at->spent_microusd / 1e6, (double)at->limit_microusd / 1e6,
                MG_FMT(quoted(x, mg_limit_row_value(row))));
}

/* NULL: more run at once than there are lanes, which cannot be. */
static struct reservation *free_lane(struct mg_limiting *limiting)
{
    for (int i = 0; i < LANES; i++)
        if (!limiting->lanes[i].open)
            return &limiting->lanes[i];
    return NULL;
}

/* A call that only its vendor understands, at the price that the configuration gives it. False: it gives none. */
static bool cost_of_call(const struct mg_exchange *x, const struct mg_raw *raw, uint64_t *out_microusd)
{
    *out_microusd = mg_microusd(mg_raw_cost_picousd(raw, x->body.len));
    return raw->priced;
}

/* False: nobody knows. */
static bool may_cost(const struct mg_exchange *x, const struct mg_config_target *target, const struct mg_usage *usage, uint64_t *out_microusd)
{
    const struct mg_raw *raw = x->passthrough ? &x->passthrough->raw : NULL;
    mg_view model = strcmp(target->model, "*") == 0 ? x->call.request.model : mg_view_cstr(target->model);
    if ((!raw || raw->known) &&
        cost_of(mg_price_book_now(x->worker->prices), x->live->generation->config, target, model, usage, out_microusd))
        return true;
    return raw && cost_of_call(x, raw, out_microusd);
}

static bool refuse_unpriced(struct mg_limiting *limiting, const struct mg_config_target *target, struct mg_refusal *out_refusal)
{
    limiting->unpriced = target->id;
    snprintf(out_refusal->text, sizeof out_refusal->text, "a budget holds and nobody knows the price of %.40s", target->id);
    return false;
}

bool mg_limiting_may_call(struct mg_exchange *x, int candidate, struct mg_refusal *out_refusal)
{
    struct mg_limiting *limiting = x->limiting;
    if (!limiting || !limiting->per_attempt || x->free)
        return true;
    const struct mg_config_target *target = x->route->candidates[candidate].target;
    const struct mg_estimate *estimate = mg_stats_estimate(x->route->reaches[candidate].stats);
    struct mg_usage usage = {.input_tokens = mg_estimate_input(estimate, x->call.request.body.len),
                             .output_tokens = answer_tokens(x, candidate, estimate)};
    uint64_t cost = 0;
    if (x->passthrough && !x->passthrough->raw.counts)
        usage = (struct mg_usage){.input_tokens = 0};
    if (limiting->money && !may_cost(x, target, &usage, &cost))
        return refuse_unpriced(limiting, target, out_refusal);
    struct reservation *lane = free_lane(limiting);
    if (!lane)
        return false;
    if (!lane->holds)
        lane->holds = mg_arena_array(&x->arena, struct mg_limit_hold, (size_t)limiting->count);
    lane->open = mg_limits_reserve(limiting->uses, limiting->count, usage.input_tokens + usage.output_tokens, cost, mg_exchange_now(x), mg_wall_us(),
                                   lane->holds, &limiting->refusal, on_threshold, x);
    lane->candidate = candidate;
    limiting->refused = !lane->open;
    if (limiting->refused) {
        snprintf(out_refusal->text, sizeof out_refusal->text, "limit reached: %.*s", MG_FMT(key_path(x, &limiting->refusal)));
    }
    return lane->open;
}

void mg_limiting_settled(struct mg_exchange *x, int candidate, const struct mg_attempt_record *attempt)
{
    struct mg_limiting *limiting = x->limiting;
    uint64_t tokens = attempt ? attempt->usage.input_tokens + attempt->usage.output_tokens : 0;
    uint64_t cost = attempt ? attempt->cost_microusd : 0;
    for (int i = 0; limiting && i < LANES; i++) {
        struct reservation *lane = &limiting->lanes[i];
        if (!lane->open || lane->candidate != candidate)
            continue;
        lane->open = false;
        mg_limits_settle(limiting->uses, limiting->count, lane->holds, tokens, cost, mg_exchange_now(x), on_threshold, x);
        return;
    }
}

/* Nothing that waiting or the caller could mend: whoever runs the gateway reads it in the log, at most once a second. */
static void answer_unpriced(struct mg_exchange *x)
{
    static _Atomic uint64_t told_s;
    uint64_t before = atomic_load_explicit(&told_s, memory_order_relaxed), now_s = mg_mono_us() / 1000000;
    x->limiting->answered = true;
    if (before != now_s && atomic_compare_exchange_strong(&told_s, &before, now_s))
        mg_log_error("budget.unpriced", "project=%.*s target=%s; its requests are refused: give it price_usd, or import a catalogue that has it",
                     MG_FMT(x->call.project), x->limiting->unpriced);
    if (x->passthrough)
        mg_exchange_refuse(x, 403, "passthrough_unpriced", "A budget holds for this request, and nobody can tell what it costs. The operator of this "
                           "gateway can say it: providers.%s.passthrough.price_usd.", x->passthrough->provider->name);
    else
        mg_exchange_refuse(x, 500, "target_unpriced", "A budget holds for this request, and nobody knows the price of %s. The operator of "
                       "this gateway has to set it.", x->limiting->unpriced);
}

bool mg_limiting_refuse(struct mg_exchange *x)
{
    const struct mg_limiting *limiting = x->limiting;
    if (!limiting || x->timeline->attempt_count || (!limiting->refused && !limiting->unpriced))
        return false;
    if (limiting->refused)
        answer(x);
    else
        answer_unpriced(x);
    return true;
}

/* ---- headers ---------------------------------------------------------------------------------- */

/* "1s", "6m0s", "20ms": as OpenAI writes it. */
static void put_span(char out[32], uint64_t us)
{
    uint64_t ms = (us + 999) / 1000, s = ms / 1000;
    if (s >= 60)
        snprintf(out, 32, "%" PRIu64 "m%" PRIu64 "s", s / 60, s % 60);
    else if (s > 0 && ms % 1000)
        snprintf(out, 32, "%.3fs", (double)ms / 1000);
    else if (s > 0)
        snprintf(out, 32, "%" PRIu64 "s", s);
    else
        snprintf(out, 32, "%" PRIu64 "ms", ms);
}

static mg_err put_left(struct mg_buf *lines, const char *what, const struct mg_limit_left *left)
{
    char name[64], span[32];
    snprintf(name, sizeof name, "x-ratelimit-limit-%s", what);
    MG_TRY(mg_http_put_header_u64(lines, mg_view_cstr(name), left->limit));
    snprintf(name, sizeof name, "x-ratelimit-remaining-%s", what);
    MG_TRY(mg_http_put_header_u64(lines, mg_view_cstr(name), left->left));
    snprintf(name, sizeof name, "x-ratelimit-reset-%s", what);
    put_span(span, left->full_in_us);
    return mg_http_put_header(lines, mg_view_cstr(name), mg_view_cstr(span));
}

/* Of several limits the one of which least is left. */
static bool nearest(const struct mg_limit_use *uses, int count, enum mg_limit_kind kind, uint64_t now_us,
                    struct mg_limit_left *out_left)
{
    bool any = false;
    for (int i = 0; i < count; i++) {
        struct mg_limit_left left;
        bool tokens = kind == MG_LIMIT_TOKENS;
        if (!(tokens ? uses[i].set->tokens_per_minute : uses[i].set->requests_per_minute))
            continue;
        if (tokens)
            mg_limit_tokens_left(&uses[i], now_us, &left);
        else
            mg_limit_requests_left(&uses[i], now_us, &left);
        if (!any || left.left < out_left->left)
            *out_left = left;
        any = true;
    }
    return any;
}

static mg_err put_nearest(struct mg_exchange *x, const struct mg_limit_use *uses, int count, struct mg_buf *lines)
{
    struct mg_limit_left left;
    if (nearest(uses, count, MG_LIMIT_REQUESTS, mg_exchange_now(x), &left))
        MG_TRY(put_left(lines, "requests", &left));
    if (nearest(uses, count, MG_LIMIT_TOKENS, mg_exchange_now(x), &left))
        MG_TRY(put_left(lines, "tokens", &left));
    return MG_OK;
}

/* It ended before it was known what it is held to: of its project and its key there are figures all the same. */
static mg_err put_early(struct mg_exchange *x, struct mg_buf *lines)
{
    struct mg_limit_use uses[MG_MAX_LIMIT_USES];
    struct mg_limit_ask ask = {.early = true, .key_id = x->key_origin, .key_set = x->key_limits};
    const struct mg_limiter *limiter = x->live->generation->limiter;
    const char *too_long;
    if (mg_limiter_is_idle(limiter, &ask))
        return MG_OK;
    int count = mg_limiter_uses(limiter, &ask, &x->arena, mg_exchange_now(x), x->timeline->start_wall_us, uses, &too_long);
    mg_err err = put_nearest(x, uses, count, lines);
    mg_limiter_leave(uses, count);
    return err;
}

mg_err mg_limiting_put(struct mg_exchange *x, struct mg_buf *lines)
{
    const struct mg_limiting *limiting = x->limiting;
    if (!limiting)
        return put_early(x, lines);
    MG_TRY(put_nearest(x, limiting->uses, limiting->count, lines));
    bool in_vain = limiting->answered && (!limiting->refused || limiting->refusal.kind == MG_LIMIT_BUDGET || limiting->refusal.never);
    return in_vain ? mg_http_put_own(lines, MG_VIEW("x-should-retry"), MG_VIEW("false")) : MG_OK;
}

bool mg_limiting_replaces(const struct mg_exchange *x, mg_view header)
{
    mg_view prefix = MG_VIEW("x-ratelimit-");
    return x->limiting && header.len > prefix.len && mg_view_ieq(mg_view_head(header, prefix.len), prefix);
}
