/* generation.h - one immutable loaded configuration of one project.
 *
 * Built off the loops, installed on every worker, freed by the builder when the last reference is
 * gone. What higher layers need of it (adapters, routes) hangs in `routing`, opaque here. A worker
 * holds one reference per live generation and counts its exchanges on it without atomics. */
#ifndef MG_TENANT_GENERATION_H
#define MG_TENANT_GENERATION_H

#include <stdatomic.h>

#include "tenant/limiter.h"

struct mg_generation {
    atomic_uint refs;
    uint32_t number;                   /* 1 is the project's first; grows with each reload */
    uint32_t project;                  /* index of the project in this process; never used again for another */
    struct mg_config_project *config;  /* owned */
    struct mg_limiter *limiter;        /* owned; made with it */
    uint64_t built_wall_us;
    void *routing;                     /* owned; gateway/routing.h */
    void (*free_routing)(void *routing);
    void (*on_free)(struct mg_generation *generation);   /* called instead of freeing on the thread that let go last;
                                                            the builder's; NULL: freed at once */
    void *on_free_arg;
};

/* One reference is the caller's. Takes the config. */
struct mg_generation *mg_generation_new(struct mg_config_project *config, uint32_t project, uint32_t number);
struct mg_generation *mg_generation_ref(struct mg_generation *generation);
void mg_generation_unref(struct mg_generation *generation);  /* any thread; NULL is a no-op */
void mg_generation_free(struct mg_generation *generation);   /* for on_free: really frees */

#endif
