#include "gateway/targets.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/known.h"
#include "relay/reach.h"

enum { DIRECT_BYTES = 256 };

/* ---- the targets of a configuration, each once: workflows name the same one with other timers */

typedef void (*reach_cb)(void *arg, const struct mg_config_project *config,
                         const struct mg_reach *reach);

static const struct mg_config_account *account_of(const struct mg_config_gateway *gateway,
                                                  const struct mg_config_provider *provider)
{
    for (int i = 0; provider->account && i < gateway->account_count; i++)
        if (strcmp(gateway->accounts[i].name, provider->account) == 0)
            return &gateway->accounts[i];
    return NULL;
}

static bool is_same(const struct mg_config_target *a, const struct mg_config_target *b)
{
    const char *a_region = a->region ? a->region : "", *b_region = b->region ? b->region : "";
    return strcmp(a->id, b->id) == 0 && strcmp(a_region, b_region) == 0;
}

static bool is_first(const struct mg_config_project *config, int at)
{
    for (int i = 0; i < at; i++)
        if (is_same(&config->targets[i], &config->targets[at]))
            return false;
    return true;
}

static void call_with_reach(const struct mg_config_project *config,
                            const struct mg_config_gateway *gateway,
                            const struct mg_config_target *target, const char *figures, reach_cb cb,
                            void *arg)
{
    const struct mg_config_provider *provider = &config->providers[target->provider];
    const struct mg_limit_headers none = {.requests_left = NULL};
    struct mg_reach reach;
    mg_reach_init(&reach, config->name, provider, target, figures, account_of(gateway, provider),
                  &none);
    cb(arg, config, &reach);
}

/* Models that only clients named: together they have figures, as PROVIDER/ and a star, and each has
 * a breaker of its own, which is of interest while it is not closed. */

struct direct {
    const struct mg_config_project *config;
    const struct mg_config_provider *provider;
    const char *owner; /* of the rows: the provider, or the account its keys are shared in */
    uint64_t now_us;
    char ids[MG_TARGETS_DIRECT][DIRECT_BYTES]; /* "provider/model" */
    int count;
};

static bool is_listed(const struct direct *direct, const char *id)
{
    for (int i = 0; i < direct->count; i++)
        if (strcmp(direct->ids[i], id) == 0)
            return true;
    for (int i = 0; i < direct->config->target_count; i++) {
        const struct mg_config_target *target = &direct->config->targets[i];
        char name[DIRECT_BYTES];
        snprintf(name, sizeof name, "%s%s%s", target->id, target->region ? "@" : "",
                 target->region ? target->region : "");
        if (strcmp(name, id) == 0)
            return true;
    }
    return false;
}

/* Rows are called OWNER/MODEL#KEY. */
static void note_direct(void *arg, struct mg_breaker *breaker)
{
    struct direct *direct = arg;
    const struct mg_row *row = mg_breaker_row(breaker);
    struct mg_breaker_view view;
    char id[DIRECT_BYTES];
    mg_view name = mg_view_of(row->name, row->name_len);
    mg_view owner = mg_view_cut(&name, '/');
    mg_view model = mg_view_cut(&name, '#');
    mg_breaker_read(breaker, &direct->provider->breaker, direct->now_us, &view);
    if (view.state == MG_BREAKER_CLOSED || !mg_view_eq(owner, mg_view_cstr(direct->owner)) ||
        direct->count == MG_TARGETS_DIRECT)
        return;
    int len = snprintf(id, sizeof id, "%s/%.*s", direct->provider->name, MG_FMT(model));
    if (len < (int)sizeof id && !is_listed(direct, id))
        memcpy(direct->ids[direct->count++], id, sizeof id);
}

static void call_with_directs(const struct mg_config_project *config,
                              const struct mg_config_gateway *gateway, int provider, reach_cb cb,
                              void *arg)
{
    const struct mg_config_account *account = account_of(gateway, &config->providers[provider]);
    char scope[DIRECT_BYTES], figures[DIRECT_BYTES];
    struct direct *direct = mg_new(struct direct);
    direct->config = config;
    direct->provider = &config->providers[provider];
    direct->owner = account ? account->name : direct->provider->name;
    direct->now_us = mg_mono_us();
    snprintf(figures, sizeof figures, "%s/*", direct->provider->name);
    if (mg_stats_peek(mg_view_cstr(config->name), mg_view_cstr(figures)))
        memcpy(direct->ids[direct->count++], figures, sizeof figures);
    snprintf(scope, sizeof scope, "%s%s", account ? "account:" : "",
             account ? account->name : config->name);
    mg_breaker_each(mg_view_cstr(scope), note_direct, direct);
    for (int i = 0; i < direct->count; i++) {
        const struct mg_config_target target = {.id = direct->ids[i],
                                                .provider = provider,
                                                .model = strchr(direct->ids[i], '/') + 1,
                                                .gate = direct->provider->gate};
        call_with_reach(config, gateway, &target, figures, cb, arg);
    }
    mg_free(direct);
}

static void each_reach(const struct mg_config_project *config,
                       const struct mg_config_gateway *gateway, reach_cb cb, void *arg)
{
    for (int i = 0; i < config->target_count; i++)
        if (is_first(config, i))
            call_with_reach(config, gateway, &config->targets[i], config->targets[i].id, cb, arg);
    for (int i = 0; config->allow_direct && i < config->provider_count; i++)
        call_with_directs(config, gateway, i, cb, arg);
}

/* ---- reading */

/* The rules of the first workflow that has the target; the project's for who has none. */
static const struct mg_config_retry_budget *budget_of(const struct mg_config_project *config,
                                                      const struct mg_config_target *target)
{
    for (int w = 0; w < config->workflow_count; w++)
        for (int a = 0; a < config->workflows[w].arm_count; a++)
            if (is_same(&config->targets[config->workflows[w].arms[a].target], target))
                return &config->workflows[w].retry_budget;
    return &config->retry_budget;
}

static void read_credential(const struct mg_reach *reach, int at, uint64_t now_us,
                            struct mg_target_credential *out_credential)
{
    bool keyless = reach->credential_count == 0;
    out_credential->name = keyless ? "" : reach->names[at];
    mg_breaker_read(reach->breakers[at], &reach->provider->breaker, now_us,
                    &out_credential->breaker);
    mg_credential_read(keyless ? NULL : reach->keys[at], &out_credential->key);
    mg_credential_read(reach->model_keys[at], &out_credential->model);
}

static double retires_days(const struct mg_config_project *config, const struct mg_config_target *target)
{
    const struct mg_model *known = mg_target_known(config, target, mg_view_cstr(target->model));
    unsigned days;
    if (!known)
        return -1;
    bool soon = mg_model_ends(known, mg_wall_us(), &days);
    return soon || known->retires_us ? (double)days : -1;
}

struct reading {
    mg_targets_cb cb;
    void *arg;
};

static void read_row(void *arg, const struct mg_config_project *config,
                     const struct mg_reach *reach)
{
    const struct reading *reading = arg;
    const struct mg_config_retry_budget *budget = budget_of(config, reach->target);
    struct mg_target_row row = {
        .project = config->name,
        .target = reach->target->id,
        .provider = reach->provider->name,
        .model = reach->target->model,
        .region = reach->target->region,
        .account = reach->provider->account,
        .retires_days = retires_days(config, reach->target),
        .retry_tokens = mg_retry_budget_left(reach->budget, budget),
        .retry_burst = budget->burst,
        .credential_count = MG_MAX(reach->credential_count, 1),
        .now_us = mg_mono_us(),
        .wall_us = mg_wall_us(),
    };
    mg_stats_read(reach->stats, &row.figures);
    mg_estimate_read(mg_stats_estimate(reach->stats), &row.estimate);
    mg_gate_read(reach->gate, &reach->target->gate, &row.gate);
    for (int i = 0; i < row.credential_count; i++)
        read_credential(reach, i, row.now_us, &row.credentials[i]);
    reading->cb(reading->arg, &row);
}

void mg_targets_of(const struct mg_config_project *config, const struct mg_config_gateway *gateway,
                   mg_targets_cb cb, void *arg)
{
    struct reading reading = {cb, arg};
    each_reach(config, gateway, read_row, &reading);
}

/* Every live generation asked for, one reference each. */
static size_t take_live(struct mg_builder *builder, mg_view project,
                        struct mg_generation ***out_generations)
{
    size_t max = project.len > 0 ? 1 : MG_MAX_PROJECTS;
    *out_generations = mg_new_array(struct mg_generation *, max);
    return mg_builder_live(builder, project, *out_generations, max);
}

static void let_live_go(struct mg_generation **generations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mg_generation_unref(generations[i]);
    mg_free(generations);
}

bool mg_targets_each(struct mg_builder *builder, const struct mg_config_gateway *gateway,
                     mg_view project, mg_targets_cb cb, void *arg)
{
    struct mg_generation **generations;
    size_t count = take_live(builder, project, &generations);
    for (size_t i = 0; i < count; i++)
        mg_targets_of(generations[i]->config, gateway, cb, arg);
    let_live_go(generations, count);
    return count > 0 || project.len == 0;
}

/* ---- making it forgotten */

struct resetting {
    const struct mg_targets_reset *what;
    bool really;             /* else it is only counted */
    unsigned targets, count; /* that match; of them × credentials */
    unsigned projects;       /* that have such a target */
    char names[256];         /* of the projects, for a sentence */
    size_t len;
};

static bool is_meant(const struct mg_targets_reset *what, const struct mg_reach *reach)
{
    return strcmp(what->target, reach->target->id) == 0 ||
           strcmp(what->target, reach->provider->name) == 0;
}

static void reset_slot(const struct mg_reach *reach, int i)
{
    mg_breaker_reset(reach->breakers[i], mg_mono_us());
    mg_credential_reset(reach->keys[i]);
    mg_credential_reset(reach->model_keys[i]);
}

static void reset_reach(void *arg, const struct mg_config_project *config,
                        const struct mg_reach *reach)
{
    struct resetting *resetting = arg;
    const char *wanted = resetting->what->credential;
    if (!is_meant(resetting->what, reach))
        return;
    resetting->targets++;
    for (int i = 0; i < MG_MAX(reach->credential_count, 1); i++) {
        const char *name = reach->credential_count ? reach->names[i] : "";
        if (*wanted && strcmp(wanted, name) != 0)
            continue;
        resetting->count++;
        if (resetting->really)
            reset_slot(reach, i);
    }
    for (int i = 0; i < MG_MAX_CALLER_BUCKETS && resetting->really && !*wanted; i++)
        mg_breaker_reset(reach->callers[i], mg_mono_us());
}

static void note_project(struct resetting *resetting, const char *name)
{
    int n = snprintf(resetting->names + resetting->len, sizeof resetting->names - resetting->len,
                     "%s%s", resetting->projects ? ", " : "", name);
    resetting->len = MG_MIN(resetting->len + (size_t)n, sizeof resetting->names - 1);
    resetting->projects++;
}

static mg_err check_meaning(const struct resetting *resetting, struct mg_diag *diag)
{
    const struct mg_targets_reset *what = resetting->what;
    if (resetting->targets == 0 && *what->project)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "project %s has no target %s",
                           what->project, what->target);
    if (resetting->targets == 0)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "no project has a target %s",
                           what->target);
    if (resetting->projects > 1)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0,
                           "several projects have a target %s, say which: %s", what->target,
                           resetting->names);
    if (resetting->count == 0)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "%s has no credential %s", what->target,
                           what->credential);
    return MG_OK;
}

static void go_over(struct resetting *resetting, struct mg_generation **generations, size_t count,
                    const struct mg_config_gateway *gateway)
{
    for (size_t i = 0; i < count; i++) {
        unsigned before = resetting->targets;
        each_reach(generations[i]->config, gateway, reset_reach, resetting);
        if (resetting->targets > before)
            note_project(resetting, generations[i]->config->name);
    }
}

mg_err mg_targets_reset(struct mg_builder *builder, const struct mg_config_gateway *gateway,
                        const struct mg_targets_reset *what, unsigned *out_count,
                        struct mg_diag *diag)
{
    struct resetting looked = {.what = what}, done = {.what = what, .really = true};
    struct mg_generation **generations;
    size_t count = take_live(builder, mg_view_cstr(what->project), &generations);
    mg_err err = MG_OK;
    if (count == 0 && *what->project)
        err = mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "there is no project %s", what->project);
    go_over(&looked, generations, count, gateway);
    if (err == MG_OK)
        err = check_meaning(&looked, diag);
    if (err == MG_OK) {
        go_over(&done, generations, count, gateway);
        *out_count = done.count;
    }
    let_live_go(generations, count);
    return err;
}

/* ---- another secret */

struct forgiving {
    const struct mg_config_gateway *gateway;
    const struct mg_secret_slot *slot;
};

static void forgive_reach(void *arg, const struct mg_config_project *config,
                          const struct mg_reach *reach)
{
    const struct forgiving *forgiving = arg;
    const struct mg_config_provider *provider = reach->provider;
    const struct mg_config_account *account =
        provider->account ? mg_config_account_find(forgiving->gateway, provider->account) : NULL;
    const struct mg_config_credential *credentials =
        account ? account->credentials : provider->credentials;
    for (int i = 0; i < reach->credential_count; i++)
        if (credentials[i].secret->slot == forgiving->slot)
            reset_slot(reach, i);
}

void mg_targets_forgive(struct mg_builder *builder, const struct mg_config_gateway *gateway,
                        const struct mg_secret_slot *slot)
{
    struct forgiving forgiving = {gateway, slot};
    struct mg_generation **generations;
    size_t count = take_live(builder, MG_VIEW_NONE, &generations);
    for (size_t i = 0; i < count; i++)
        each_reach(generations[i]->config, gateway, forgive_reach, &forgiving);
    let_live_go(generations, count);
}
