/* limit_list.h - every limit of the live generations, what is left of it and whose it is, for people and metrics.
 *
 * Which limits there are, configuration and keys say; what was used of them, the rows of tenant/limits.h, which outlive every
 * generation. A limit of a whole project or workflow, and of each key, is there before anybody used it; of metadata there are
 * the values that clients have sent. Any thread but a worker's; nothing waits. */
#ifndef MG_GATEWAY_LIMIT_LIST_H
#define MG_GATEWAY_LIMIT_LIST_H

#include "gateway/builder.h"
#include "gateway/keys.h"
#include "watch/limits.h"

typedef void (*mg_limits_cb)(void *arg, const struct mg_limit_item *item);

/* Calls back for each limit of each project, or of the named one (empty: all), in no order. What an item points to lives
 * until the call returns, rows that are held for longer. False: there is no such project. */
bool mg_limits_each(struct mg_builder *builder, struct mg_keys *keys, mg_view project, mg_limits_cb cb, void *arg);

/* The same for configurations and a keyring (NULL: none). */
void mg_limits_of(const struct mg_config_project *const *configs, size_t count, const struct mg_keyring *ring, mg_limits_cb cb,
                  void *arg);

/* {"limits":[…],"left_out":N}: by project, whole before workflows, keys and values; of those that count the same the ones
 * that have used most. At most `most`; those that used least are left out. MG_E_NOT_FOUND: there is no such project. */
enum { MG_LIMITS_MOST = 10000 };
MG_MUST_USE mg_err mg_limits_put(struct mg_builder *builder, struct mg_keys *keys, mg_view project, size_t most,
                                 struct mg_buf *out);

#endif
