#include "watch/targets.h"

#include <stdio.h>

#include "base/mem.h"
#include "watch/json_out.h"
#include "watch/prom_out.h"

enum {
    LABEL = 160,         /* bytes of an escaped label */
    TEXT_BYTES = 8 << 20 /* of one metric */
};

/* From good to bad; a benched key is left alone longer than an open breaker. */
enum rank { CLOSED, RAMP, HALF_OPEN, OPEN, LIMITED, BENCHED };
static const char *const states[] = {"closed", "ramp", "half_open", "open", "limited", "benched"};

/* ---- what is wrong with a credential */

static void worsen(struct mg_target_health *health, enum rank rank, uint64_t until_us,
                   const char *why)
{
    if (health->state && (int)rank <= health->rank)
        return;
    health->rank = rank;
    health->state = states[rank];
    health->until_us = until_us;
    snprintf(health->why, sizeof health->why, "%s", why);
}

static void worsen_by_breaker(struct mg_target_health *health, const struct mg_breaker_view *view)
{
    static const enum rank ranks[] = {[MG_BREAKER_CLOSED] = CLOSED,
                                      [MG_BREAKER_OPEN] = OPEN,
                                      [MG_BREAKER_HALF_OPEN] = HALF_OPEN,
                                      [MG_BREAKER_RAMP] = RAMP};
    worsen(health, ranks[view->state], view->until_us,
           view->state == MG_BREAKER_CLOSED ? "" : view->reason);
}

static void worsen_by_key(struct mg_target_health *health, const struct mg_credential_view *view,
                          uint64_t now_us)
{
    if (view->requests_known && view->requests_left == 0 && view->requests_reset_us > now_us)
        worsen(health, LIMITED, view->requests_reset_us, "no requests left");
    if (view->tokens_known && view->tokens_left == 0 && view->tokens_reset_us > now_us)
        worsen(health, LIMITED, view->tokens_reset_us, "no tokens left");
    if (view->benched_until_us > now_us)
        worsen(health, BENCHED, view->benched_until_us, mg_class_name(view->why));
}

void mg_target_credential_health(const struct mg_target_credential *credential, uint64_t now_us,
                                 struct mg_target_health *out_health)
{
    *out_health = (struct mg_target_health){.state = NULL};
    worsen_by_breaker(out_health, &credential->breaker);
    worsen_by_key(out_health, &credential->key, now_us);
    worsen_by_key(out_health, &credential->model, now_us);
}

void mg_target_row_health(const struct mg_target_row *row, struct mg_target_health *out_health)
{
    mg_target_credential_health(&row->credentials[0], row->now_us, out_health);
    for (int i = 1; i < row->credential_count; i++) {
        struct mg_target_health health;
        mg_target_credential_health(&row->credentials[i], row->now_us, &health);
        if (health.rank < out_health->rank)
            *out_health = health;
    }
}

/* Where there is a limit, what counts against it: with a shared account, all projects' calls. */
static uint32_t running(const struct mg_target_row *row)
{
    return row->gate.limit > 0 ? row->gate.inflight : row->figures.inflight;
}

/* ---- JSON */

static void put_moment(struct mg_json_out *out, const char *key, const struct mg_target_row *row,
                       uint64_t mono_us)
{
    if (mono_us == UINT64_MAX)
        mg_json_out_null(out, key);
    else
        mg_json_out_number(out, key, mono_us == 0 ? 0 : row->wall_us + mono_us - row->now_us);
}

/* A share or a sum of weights. */
static void put_real(struct mg_json_out *out, const char *key, double value)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%.3f", value);
    mg_json_out_key(out, key);
    mg_json_out_raw(out, mg_view_of(text, (size_t)n));
}

static mg_view name_or_none(const char *name)
{
    return name ? mg_view_cstr(name) : MG_VIEW_NONE;
}

static void put_health(struct mg_json_out *out, const struct mg_target_row *row,
                       const struct mg_target_health *health)
{
    mg_json_out_text(out, "state", mg_view_cstr(health->state));
    mg_json_out_text(out, "why", mg_view_cstr(health->why));
    put_moment(out, "until_us", row, health->until_us);
}

static void put_breaker(struct mg_json_out *out, const struct mg_target_row *row,
                        const struct mg_breaker_view *view)
{
    mg_json_out_open(out, "breaker", '{');
    mg_json_out_text(out, "state", mg_view_cstr(mg_breaker_state_name(view->state)));
    put_moment(out, "until_us", row, view->until_us);
    mg_json_out_text(out, "reason", mg_view_cstr(view->reason));
    put_real(out, "ramp", view->ramp);
    mg_json_out_number(out, "window_calls", view->calls);
    put_real(out, "window_failures", view->failures);
    mg_json_out_number(out, "consecutive", view->consecutive);
    mg_json_out_number(out, "opened", view->opened);
    mg_json_out_close(out, '}');
}

static void put_bench(struct mg_json_out *out, const struct mg_target_row *row, const char *scope,
                      const struct mg_credential_view *view)
{
    if (view->benched_until_us <= row->now_us)
        return;
    mg_json_out_open(out, NULL, '{');
    mg_json_out_text(out, "scope", mg_view_cstr(scope));
    mg_json_out_text(out, "class", mg_view_cstr(mg_class_name(view->why)));
    put_moment(out, "until_us", row, view->benched_until_us);
    mg_json_out_close(out, '}');
}

static void put_limit(struct mg_json_out *out, const struct mg_target_row *row, const char *of,
                      bool known, uint64_t left, uint64_t reset_us)
{
    bool is_over = reset_us > 0 && reset_us <= row->now_us; /* what is left since, nobody said */
    if (!known || is_over)
        return;
    mg_json_out_open(out, NULL, '{');
    mg_json_out_text(out, "of", mg_view_cstr(of));
    mg_json_out_number(out, "left", left);
    put_moment(out, "reset_us", row, reset_us);
    mg_json_out_close(out, '}');
}

static void put_limits(struct mg_json_out *out, const struct mg_target_row *row,
                       const struct mg_credential_view *view)
{
    put_limit(out, row, "requests", view->requests_known, view->requests_left,
              view->requests_reset_us);
    put_limit(out, row, "tokens", view->tokens_known, view->tokens_left, view->tokens_reset_us);
}

static void put_credential(struct mg_json_out *out, const struct mg_target_row *row,
                           const struct mg_target_credential *credential)
{
    struct mg_target_health health;
    mg_target_credential_health(credential, row->now_us, &health);
    mg_json_out_open(out, NULL, '{');
    mg_json_out_text(out, "name", mg_view_cstr(credential->name));
    put_health(out, row, &health);
    put_breaker(out, row, &credential->breaker);
    mg_json_out_open(out, "benches", '[');
    put_bench(out, row, "key", &credential->key);
    put_bench(out, row, "model", &credential->model);
    mg_json_out_close(out, ']');
    mg_json_out_open(out, "limits", '[');
    put_limits(out, row, &credential->key);
    put_limits(out, row, &credential->model);
    mg_json_out_close(out, ']');
    mg_json_out_close(out, '}');
}

static void put_figures(struct mg_json_out *out, const struct mg_stats_figures *figures)
{
    mg_json_out_number(out, "calls", figures->calls);
    mg_json_out_number(out, "failures", figures->failures);
    put_real(out, "error_rate", figures->error_rate);
    mg_json_out_number(out, "ewma_us", figures->ewma_us);
    mg_json_out_number(out, "p50_us", figures->p50_us);
    mg_json_out_number(out, "p95_us", figures->p95_us);
    mg_json_out_number(out, "p99_us", figures->p99_us);
}

/* "error" is the mean absolute error of the estimate: 0.1 is ten percent. */
static void put_estimate(struct mg_json_out *out, const struct mg_estimate_figures *estimate)
{
    mg_json_out_open(out, "estimate", '{');
    mg_json_out_number(out, "calls", estimate->calls);
    put_real(out, "input_bytes_per_token", estimate->input_bytes_per_token);
    put_real(out, "input_error", estimate->input_error);
    put_real(out, "output_bytes_per_token", estimate->output_bytes_per_token);
    put_real(out, "output_error", estimate->output_error);
    mg_json_out_number(out, "answer_tokens", estimate->answer_tokens);
    mg_json_out_close(out, '}');
}

mg_err mg_target_row_json(const struct mg_target_row *row, struct mg_buf *out)
{
    struct mg_json_out json = {.buf = out};
    struct mg_target_health health;
    mg_target_row_health(row, &health);
    mg_json_out_open(&json, NULL, '{');
    mg_json_out_text(&json, "project", mg_view_cstr(row->project));
    mg_json_out_text(&json, "target", mg_view_cstr(row->target));
    mg_json_out_text(&json, "provider", mg_view_cstr(row->provider));
    mg_json_out_text(&json, "model", mg_view_cstr(row->model));
    mg_json_out_text(&json, "region", name_or_none(row->region));
    mg_json_out_text(&json, "account", name_or_none(row->account));
    put_health(&json, row, &health);
    mg_json_out_number(&json, "inflight", running(row));
    mg_json_out_number(&json, "limit", row->gate.limit);
    mg_json_out_number(&json, "waiting", row->gate.waiting);
    put_figures(&json, &row->figures);
    put_estimate(&json, &row->estimate);
    put_real(&json, "retry_tokens", row->retry_tokens);
    mg_json_out_number(&json, "retry_burst", row->retry_burst);
    mg_json_out_open(&json, "credentials", '[');
    for (int i = 0; i < row->credential_count; i++)
        put_credential(&json, row, &row->credentials[i]);
    mg_json_out_close(&json, ']');
    mg_json_out_close(&json, '}');
    return mg_json_out_end(&json);
}

/* ---- Prometheus */

/* A figure of a target has `row`, one of a credential `credential`, which may add labels to `more`;
 * a negative figure is not shown. */
struct metric {
    const char *name, *type, *help;
    double (*row)(const struct mg_target_row *row);
    double (*credential)(const struct mg_target_credential *credential, uint64_t now_us,
                         char more[LABEL]);
};

static double usable(const struct mg_target_row *row)
{
    struct mg_target_health health;
    mg_target_row_health(row, &health);
    return health.rank < OPEN;
}

static double inflight(const struct mg_target_row *row)
{
    return running(row);
}

static double limit(const struct mg_target_row *row)
{
    return row->gate.limit;
}

static double waiting(const struct mg_target_row *row)
{
    return row->gate.waiting;
}

static double retry_tokens(const struct mg_target_row *row)
{
    return row->retry_tokens;
}

static double retires_days(const struct mg_target_row *row)
{
    return row->retires_days;
}

/* Of the last calls; before there were any nobody knows. */
static double input_error(const struct mg_target_row *row)
{
    return row->estimate.calls ? row->estimate.input_error : -1;
}

static double output_error(const struct mg_target_row *row)
{
    return row->estimate.calls ? row->estimate.output_error : -1;
}

static double breaker_state(const struct mg_target_credential *credential, uint64_t now_us,
                            char more[LABEL])
{
    struct mg_target_health health = {.state = NULL};
    worsen_by_breaker(&health, &credential->breaker);
    return health.rank;
}

static double opened(const struct mg_target_credential *credential, uint64_t now_us,
                     char more[LABEL])
{
    return credential->breaker.opened;
}

/* A bench of the key for all models is the longer story. */
static double benched(const struct mg_target_credential *credential, uint64_t now_us,
                      char more[LABEL])
{
    const struct mg_credential_view *view =
        credential->key.benched_until_us > now_us ? &credential->key : &credential->model;
    if (view->benched_until_us <= now_us)
        return -1;
    snprintf(more, LABEL, ",reason=\"%s\"", mg_class_name(view->why));
    return 1;
}

static const struct metric metrics[MG_TARGET_METRICS] = {
    {"target_usable", "gauge", "1 while a credential of the target may be used", usable, NULL},
    {"target_inflight", "gauge", "Calls of the target that run", inflight, NULL},
    {"target_limit", "gauge", "How many of them may run at once; 0 is no limit", limit, NULL},
    {"target_waiting", "gauge", "Calls that wait for a place at the target", waiting, NULL},
    {"retry_budget_tokens", "gauge", "Repeats and hedges that may still be made", retry_tokens,
     NULL},
    {"estimate_input_error", "gauge",
     "Mean absolute error of what limits reserve for a prompt; 0.1 is ten percent", input_error, NULL},
    {"estimate_output_error", "gauge",
     "Mean absolute error of what is estimated when an answer's usage is not reported", output_error, NULL},
    {"target_retires_days", "gauge", "Days until the vendor takes the model away, where that is known; 0: it is gone", retires_days, NULL},
    {"breaker_state", "gauge", "0 closed, 1 ramp, 2 half open, 3 open", NULL, breaker_state},
    {"breaker_opened_total", "counter", "How often the breaker opened", NULL, opened},
    {"credential_benched", "gauge", "1 while a key is left alone, with the class that led to it",
     NULL, benched},
};

static void print_credentials(struct mg_prom_out *out, const struct metric *metric,
                              const struct mg_target_row *row, const char *labels)
{
    char label[LABEL], more[LABEL];
    for (int i = 0; i < row->credential_count; i++) {
        more[0] = '\0';
        double figure = metric->credential(&row->credentials[i], row->now_us, more);
        if (figure >= 0)
            mg_prom_print(out, "moongate_%s{%s,credential=\"%s\"%s} %g\n", metric->name, labels,
                          mg_prom_escape(label, sizeof label, row->credentials[i].name), more,
                          figure);
    }
}

void mg_targets_scrape_init(struct mg_targets_scrape *scrape)
{
    *scrape = (struct mg_targets_scrape){.count = 0};
    for (size_t i = 0; i < MG_TARGET_METRICS; i++)
        mg_buf_init(&scrape->metrics[i], TEXT_BYTES);
}

void mg_targets_scrape_add(void *arg, const struct mg_target_row *row)
{
    struct mg_targets_scrape *scrape = arg;
    char project[LABEL], target[LABEL], labels[2 * LABEL + 32];
    if (scrape->count++ >= MG_TARGETS_SHOWN)
        return;
    snprintf(labels, sizeof labels, "project=\"%s\",target=\"%s\"",
             mg_prom_escape(project, sizeof project, row->project),
             mg_prom_escape(target, sizeof target, row->target));
    for (size_t i = 0; i < MG_TARGET_METRICS; i++) {
        struct mg_prom_out out = {&scrape->metrics[i], scrape->err};
        double figure = metrics[i].row ? metrics[i].row(row) : -1;
        if (figure >= 0)
            mg_prom_print(&out, "moongate_%s{%s} %g\n", metrics[i].name, labels, figure);
        else if (metrics[i].credential)
            print_credentials(&out, &metrics[i], row, labels);
        scrape->err = out.err;
    }
}

mg_err mg_targets_scrape_end(struct mg_targets_scrape *scrape, struct mg_buf *out)
{
    struct mg_prom_out prom = {out, scrape->err};
    size_t over = scrape->count - MG_MIN(scrape->count, (size_t)MG_TARGETS_SHOWN);
    for (size_t i = 0; i < MG_TARGET_METRICS; i++) {
        mg_prom_head(&prom, metrics[i].name, metrics[i].type, metrics[i].help);
        if (prom.err == MG_OK)
            prom.err = mg_buf_put(out, mg_buf_view(&scrape->metrics[i]));
        mg_buf_fini(&scrape->metrics[i]);
    }
    mg_prom_head(&prom, "targets_not_shown", "gauge", "Targets left out of these metrics");
    mg_prom_print(&prom, "moongate_targets_not_shown %zu\n", over);
    return prom.err;
}
