/* Configured models: copies of them, which one a name means, and when their faults are due. */
#include <string.h>

#include "base/mem.h"
#include "sim/sim_parts.h"
#include "sim/text.h"

static bool same_model(const struct mg_config_sim_model *a, const struct mg_config_sim_model *b);
static bool same_phases(const struct mg_config_sim_model *a, const struct mg_config_sim_model *b);
static bool same_text(const char *a, const char *b);
static bool is_due(const struct mg_config_fault *fault, uint64_t call, uint64_t fired,
                   uint64_t *random);
static const struct mg_config_sim_phase *copy_phases(struct mg_arena *arena,
                                                     const struct mg_config_sim_model *from);
static void copy(struct mg_arena *arena, const struct mg_config_sim_model *from,
                 struct mg_sim_model *to);

struct mg_sim_models *mg_sim_models_new(const struct mg_config_sim_model *models, int count)
{
    struct mg_sim_models *copies = mg_new(struct mg_sim_models);
    mg_arena_init(&copies->arena, 1024);
    copies->list = mg_arena_array(&copies->arena, struct mg_sim_model, (size_t)count);
    copies->count = count;
    for (int i = 0; i < count; i++)
        copy(&copies->arena, &models[i], &copies->list[i]);
    return copies;
}

void mg_sim_models_free(struct mg_sim_models *models)
{
    if (!models)
        return;
    mg_arena_fini(&models->arena);
    mg_free(models);
}

bool mg_sim_models_equal(const struct mg_sim_models *a, const struct mg_sim_models *b)
{
    if (a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++) {
        if (!same_model(a->list[i].config, b->list[i].config))
            return false;
    }
    return true;
}

static bool same_model(const struct mg_config_sim_model *a, const struct mg_config_sim_model *b)
{
    if (strcmp(a->model, b->model) != 0 || a->ttft_ms != b->ttft_ms ||
        a->tokens_per_s != b->tokens_per_s || a->output_tokens != b->output_tokens ||
        a->fault_count != b->fault_count)
        return false;
    if (!same_phases(a, b))
        return false;
    for (int i = 0; i < a->fault_count; i++) {
        const struct mg_config_fault *x = &a->faults[i], *y = &b->faults[i];
        if (strcmp(x->name, y->name) != 0 || x->every != y->every || x->after != y->after ||
            x->count != y->count || x->probability != y->probability || x->value != y->value ||
            !same_text(x->key, y->key))
            return false;
    }
    return true;
}

static bool same_phases(const struct mg_config_sim_model *a, const struct mg_config_sim_model *b)
{
    if (a->phase_count != b->phase_count || a->loop != b->loop)
        return false;
    for (int i = 0; i < a->phase_count; i++) {
        const struct mg_config_sim_phase *x = &a->phases[i], *y = &b->phases[i];
        if (!same_text(x->fault, y->fault) || x->for_ms != y->for_ms ||
            x->for_calls != y->for_calls || x->error_share != y->error_share ||
            x->value != y->value || x->ttft_ms != y->ttft_ms ||
            x->tokens_per_s != y->tokens_per_s || x->requests != y->requests ||
            x->window_ms != y->window_ms)
            return false;
    }
    return true;
}

/* NULL is a text of its own. */
static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

struct mg_sim_model *mg_sim_models_find(struct mg_sim_models *models, mg_view name)
{
    for (int i = 0; i < models->count; i++) {
        if (mg_view_glob(mg_view_cstr(models->list[i].config->model), name))
            return &models->list[i];
    }
    return NULL;
}

enum mg_sim_fault mg_sim_model_fault(struct mg_sim_model *model, mg_view key, uint64_t *random,
                                     int *out_value)
{
    const struct mg_config_sim_model *config = model->config;
    model->calls++;
    for (int i = 0; i < config->fault_count; i++) {
        const struct mg_config_fault *fault = &config->faults[i];
        enum mg_sim_fault found = mg_sim_fault_find(mg_view_cstr(fault->name));
        if (fault->key && !mg_view_glob(mg_view_cstr(fault->key), key))
            continue;
        if (found == MG_SIM_FAULT_NONE || !is_due(fault, model->calls, model->fired[i], random))
            continue;
        model->fired[i]++;
        *out_value = fault->value ? fault->value : mg_sim_faults[found].value;
        return found;
    }
    return MG_SIM_FAULT_NONE;
}

/* Calls count from 1. With every = 3 and after = 0 calls 3, 6, 9 … fail; with every = 1 and after =
 * 5 call 6 and all later ones. */
static bool is_due(const struct mg_config_fault *fault, uint64_t call, uint64_t fired,
                   uint64_t *random)
{
    uint64_t passed = (uint64_t)MG_MAX(fault->after, 0);
    if (call <= passed || (fault->count > 0 && fired >= (uint64_t)fault->count))
        return false;
    if (fault->every > 0)
        return (call - passed) % (uint64_t)fault->every == 0;
    return (double)(mg_sim_random(random) % 1000000) < fault->probability * 1000000;
}

static const struct mg_config_sim_phase *copy_phases(struct mg_arena *arena,
                                                     const struct mg_config_sim_model *from)
{
    size_t count = (size_t)MG_MAX(from->phase_count, 0);
    struct mg_config_sim_phase *phases = mg_arena_array(arena, struct mg_config_sim_phase, count);
    for (size_t i = 0; i < count; i++) {
        phases[i] = from->phases[i];
        if (from->phases[i].fault)
            phases[i].fault = mg_arena_strdup(arena, from->phases[i].fault);
    }
    return phases;
}

static void copy(struct mg_arena *arena, const struct mg_config_sim_model *from,
                 struct mg_sim_model *to)
{
    struct mg_config_sim_model *config = mg_arena_new(arena, struct mg_config_sim_model);
    size_t count = (size_t)MG_MAX(from->fault_count, 0);
    struct mg_config_fault *faults = mg_arena_array(arena, struct mg_config_fault, count);
    *config = *from;
    config->model = mg_arena_strdup(arena, from->model);
    for (size_t i = 0; i < count; i++) {
        faults[i] = from->faults[i];
        faults[i].name = mg_arena_strdup(arena, from->faults[i].name);
        if (from->faults[i].key)
            faults[i].key = mg_arena_strdup(arena, from->faults[i].key);
    }
    config->faults = faults;
    config->phases = copy_phases(arena, from);
    to->config = config;
    to->fired = mg_arena_array(arena, uint64_t, count);
}
