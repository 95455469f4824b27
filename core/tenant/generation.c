#include "tenant/generation.h"

#include <assert.h>

#include "base/clock.h"
#include "base/mem.h"

struct mg_generation *mg_generation_new(struct mg_config_project *config, uint32_t project,
                                        uint32_t number)
{
    struct mg_generation *generation = mg_new(struct mg_generation);
    atomic_init(&generation->refs, 1);
    generation->number = number;
    generation->project = project;
    generation->config = config;
    generation->built_wall_us = mg_wall_us();
    generation->limiter = mg_limiter_new(config, mg_mono_us(), generation->built_wall_us);
    return generation;
}

struct mg_generation *mg_generation_ref(struct mg_generation *generation)
{
    unsigned before = atomic_fetch_add_explicit(&generation->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return generation;
}

void mg_generation_unref(struct mg_generation *generation)
{
    if (!generation)
        return;
    unsigned before = atomic_fetch_sub_explicit(&generation->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    if (generation->on_free)
        generation->on_free(generation);
    else
        mg_generation_free(generation);
}

void mg_generation_free(struct mg_generation *generation)
{
    assert(atomic_load(&generation->refs) == 0);
    if (generation->free_routing)
        generation->free_routing(generation->routing);
    mg_limiter_free(generation->limiter);
    mg_config_project_free(generation->config);
    mg_free(generation);
}
