/* limiter.h - the limits of one generation: which rows an exchange is held to.
 *
 * Made with the generation; immutable; rows of the whole project and of whole workflows are found once, those of keys and
 * metadata values per exchange. Any thread. */
#ifndef MG_TENANT_LIMITER_H
#define MG_TENANT_LIMITER_H

#include "base/arena.h"
#include "tenant/limits.h"

struct mg_limiter;

/* config outlives it. */
struct mg_limiter *mg_limiter_new(const struct mg_config_project *config, uint64_t now_us, uint64_t wall_us);
void mg_limiter_free(struct mg_limiter *limiter);              /* NULL is a no-op */

/* Does the project count money at all? */
bool mg_limiter_has_budget(const struct mg_config_project *config, const struct mg_config_workflow *workflow);

struct mg_limit_ask {
    const struct mg_config_workflow *workflow;   /* one of the configuration's, or one made for a direct call; NULL when early */
    bool early;                        /* neither workflow nor metadata are known: only what project and key are held to */
    mg_view key_id;                    /* its origin: keys of one line of rotations count together */
    const struct mg_limit_set *key_set;          /* the key's own, from its row; NULL: none. Outlives the exchange */
    mg_view metadata, key_metadata;              /* JSON objects; empty: none. The key's goes first */
};

/* True when nothing of this project, workflow or key is limited: the whole cost of an exchange without limits. */
bool mg_limiter_is_idle(const struct mg_limiter *limiter, const struct mg_limit_ask *ask);

/* Fills at most MG_MAX_LIMIT_USES and returns how many. The rows it owns go with mg_limiter_leave(). *out_too_long is the
 * field whose value is longer than LIMIT_VALUE_BYTES (nothing is taken then, and -1 returned). Sets that had to be put
 * together lie in the arena. */
int mg_limiter_uses(const struct mg_limiter *limiter, const struct mg_limit_ask *ask, struct mg_arena *arena, uint64_t now_us,
                    uint64_t wall_us, struct mg_limit_use *out_uses, const char **out_too_long);
void mg_limiter_leave(struct mg_limit_use *uses, int count);

/* Calls back for each limit in money of the configuration: whose rule, what it is for, and the set. For restoring. */
typedef void (*mg_limiter_budget_cb)(void *arg, const char *workflow, enum mg_limit_scope scope, const char *field,
                                     const struct mg_limit_set *set);
void mg_limiter_budgets(const struct mg_config_project *config, mg_limiter_budget_cb cb, void *arg);

/* What a key is held to: all keys' limits, and its own (NULL: none) before them. */
struct mg_limit_set mg_limiter_key_set(const struct mg_limit_set *all, const struct mg_limit_set *own);

/* The text of a metadata field's value: a string decoded, anything else as it stands; empty when it is not there. In the
 * arena or in the metadata. */
mg_view mg_limiter_value(struct mg_arena *arena, mg_view metadata, mg_view key_metadata, const char *field);

#endif
