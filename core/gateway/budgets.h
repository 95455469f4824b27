/* budgets.h - what was spent before this process began counts too.
 *
 * When generations are built, what their projects' budgets count is summed up from the store, for all of them in one pass: the exchanges of the periods
 * that still run, by project, workflow, key and metadata value. The recorder has stored what the journal of a dead process
 * held before that, and nobody is served before the first generation is in place. From then on its rows know by themselves,
 * until a generation has the rule no more: when one has it again, or for the first time, its rows are set to what the store
 * says, and what attempts in flight have reserved stays. Calls in flight at that moment that reserved nothing are not in it. A
 * budget that a key is given while the gateway runs begins at nothing until the next start. Builder thread only. */
#ifndef MG_GATEWAY_BUDGETS_H
#define MG_GATEWAY_BUDGETS_H

#include "base/map.h"
#include "config/config.h"

struct mg_recorder;

struct mg_budgets {
    struct mg_map restored;            /* "project workflow scope field period" → number of the last build that had it */
    struct mg_map builds;              /* project → how many there were */
    const char *data_dir;              /* borrowed */
    struct mg_recorder *recorder;      /* borrowed; what it has to store is stored before the store is read. NULL: none */
};

void mg_budgets_init(struct mg_budgets *budgets, const char *data_dir);
void mg_budgets_fini(struct mg_budgets *budgets);

/* For the projects whose next generations go live now. Errors are of the store: what it has cannot be read, and budgets, if
 * there are any, begin at nothing. */
MG_MUST_USE mg_err mg_budgets_restore(struct mg_budgets *budgets, const struct mg_config_project *const *configs, size_t count,
                                      uint64_t now_us, uint64_t wall_us);

#endif
