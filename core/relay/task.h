/* task.h - what is asked of a model besides a conversation, and may be asked of a provider of another dialect all the same.
 *
 * A dialect says in `tasks` how it asks and answers; here stands only which operations of an adapter are of which task. Pure
 * functions; any thread. */
#ifndef MG_RELAY_TASK_H
#define MG_RELAY_TASK_H

#include "relay/upstream.h"

#define MG_TASK_COUNT "count"          /* of tokens, of a request that is not made */
#define MG_TASK_EMBED "embed"

/* How an adapter is asked for it; NULL: it cannot be. */
const struct mg_adapter_operation *mg_task_operation(const struct mg_adapter *adapter, const char *task);

/* The adapter to ask a provider with: one of that dialect that offers the surface, else any that can be asked, else its own. */
const struct mg_adapter *mg_task_adapter(const struct mg_upstream *upstream, const char *dialect, const char *surface, const char *task);

#endif
