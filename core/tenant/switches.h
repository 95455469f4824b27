/* switches.h - what an operator has disabled by hand: an immutable snapshot, built off the loops and read by all workers.
 *
 * A project, or one key, workflow, provider or plugin of it. Each row carries a message for those who meet it. The snapshot
 * is ref-counted; whoever changes switches builds a new one and swaps it in on each worker, which then points each of its
 * generations at what is disabled of its project. A generation of which nothing is disabled points at NULL, so that a
 * request pays one load. */
#ifndef MG_TENANT_SWITCHES_H
#define MG_TENANT_SWITCHES_H

#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/map.h"

enum mg_switch_kind {
    MG_SWITCH_PROJECT,
    MG_SWITCH_KEY,                     /* name: its id */
    MG_SWITCH_WORKFLOW,
    MG_SWITCH_PROVIDER,
    MG_SWITCH_PLUGIN,                  /* name: of the plugin, or of one instance */
    MG_SWITCH_COUNT
};

const char *mg_switch_kind_name(enum mg_switch_kind kind);    /* "project" … */
bool mg_switch_kind_find(mg_view name, enum mg_switch_kind *out_kind);

enum { MG_SWITCH_NAME_BYTES = 256, MG_SWITCH_PROJECT_BYTES = 72, MG_SWITCH_ACTOR_BYTES = 72 };

struct mg_switch {                     /* one thing that is disabled */
    enum mg_switch_kind kind;
    char project[MG_SWITCH_PROJECT_BYTES];       /* whose it is; of a project itself the same as the name */
    char name[MG_SWITCH_NAME_BYTES];
    char message[MG_MAX_SWITCH_MESSAGE_BYTES];   /* for who meets it; "": the gateway's own words */
    char actor[MG_SWITCH_ACTOR_BYTES];           /* who did it */
    uint64_t since_us;                 /* wall clock */
};

struct mg_switched;                    /* what is disabled of one project */
struct mg_switches;                    /* of all */

/* Copies the rows. One reference is the caller's. NULL when count is 0: nothing is disabled. */
struct mg_switches *mg_switches_new(const struct mg_switch *rows, size_t count);
struct mg_switches *mg_switches_ref(struct mg_switches *switches);           /* NULL stays NULL */
void mg_switches_unref(struct mg_switches *switches);         /* any thread; NULL is a no-op */

/* NULL: nothing of this project is disabled (or `switches` is NULL). Borrowed from the snapshot. */
const struct mg_switched *mg_switches_of(const struct mg_switches *switches, mg_view project);

/* NULL: it is not disabled. Asking for MG_SWITCH_PROJECT needs no name. */
const struct mg_switch *mg_switched_look(const struct mg_switched *switched, enum mg_switch_kind kind, mg_view name);
static inline const struct mg_switch *mg_switched_find(const struct mg_switched *switched, enum mg_switch_kind kind, mg_view name)
{
    return switched ? mg_switched_look(switched, kind, name) : NULL;
}

#endif
