/* builder.h - the thread that turns edited files into new generations, off the loops.
 *
 * It watches gateway.lua's folder, projects/ and every file a project read; a change (or SIGHUP, or
 * the admin plane) rebuilds only the projects concerned. A build that fails changes nothing: the old
 * generation keeps serving and the error stands in the log, the status and the metrics until a later
 * build succeeds. Saves within MG_BUILDER_COALESCE_MS are one reload. */
#ifndef MG_GATEWAY_BUILDER_H
#define MG_GATEWAY_BUILDER_H

#include "script/script.h"
#include "tenant/generation.h"

enum { MG_BUILDER_COALESCE_MS = 250 };

struct mg_builder;

struct mg_builder_ops {
    /* Hangs the routing on a new generation (generation->routing, ->free_routing). */
    mg_err (*route)(void *arg, struct mg_generation *generation, struct mg_diag *diag);
    /* Puts the generation on every worker and returns when all have it. Takes one reference and the scripts:
     * scripts[i] is worker i's, NULL entries when the project has no Lua. */
    void (*install)(void *arg, struct mg_generation *generation, struct mg_script **scripts);
    /* The project's file is gone: takes it off every worker; exchanges in flight finish on theirs. */
    void (*remove)(void *arg, uint32_t project);
    /* ok: the generation is live. Else number is the one that stays (0: none) and diag says what is wrong. */
    void (*report)(void *arg, const char *project, uint32_t number, bool ok, const struct mg_diag *diag);
    /* Of all that one look has built, before any is installed: no build can fail any more. NULL: there is nothing to do. */
    void (*restore)(void *arg, struct mg_generation *const *generations, size_t count);
};

struct mg_builder_options {
    const struct mg_config_gateway *config;      /* borrowed; projects/ is in its `dir`; dir NULL: the environment's */
    const char *config_path;           /* gateway.lua; NULL: none. Changes to it are reported as needing a restart */
    unsigned workers;
    const struct mg_builder_ops *ops;  /* borrowed */
    void *arg;
};

/* Builds every project, then starts watching. Fails only when nothing could be built at all: the diag is the first
 * project's. All ops are called on the builder's thread. */
MG_MUST_USE mg_err mg_builder_start(const struct mg_builder_options *options, struct mg_builder **out_builder,
                                    struct mg_diag *diag);
void mg_builder_reload(struct mg_builder *builder);           /* all projects; any thread; returns at once */
/* One project, whose Lua state a fault has tainted; any thread; returns at once, and many orders are one build. */
void mg_builder_rebuild(struct mg_builder *builder, uint32_t project);
void mg_builder_stop(struct mg_builder *builder);             /* NULL is a no-op; frees retired generations */

/* One row a project, for `status` and the console. Any thread. */
struct mg_builder_status {
    char project[72];
    uint32_t number;                   /* live generation; 0: none */
    uint64_t built_wall_us;            /* when it went live */
    char path[256];
    char error[1024];                  /* of the last build; empty: it succeeded */
    uint64_t error_wall_us;
};
/* Returns how many there are; fills at most max. */
size_t mg_builder_list(struct mg_builder *builder, struct mg_builder_status *out_rows, size_t max);

/* One reference to the live generation of each project, sorted by name, or of the named one (empty: all). At most max;
 * returns how many. Any thread. */
size_t mg_builder_live(struct mg_builder *builder, mg_view project, struct mg_generation **out_generations, size_t max);

#endif
