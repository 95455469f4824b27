/* targets.h - what is known of the targets of the live generations, for people, and how they make it
 * forgotten.
 *
 * Which targets there are, the configuration says; how they are, the tables of relay/, which outlive
 * every generation. Models that only clients named count together, as PROVIDER/ and a star; one whose
 * breaker is not closed is there by its own name too, up to MG_TARGETS_DIRECT a provider. Any thread
 * but a worker's; nothing waits. */
#ifndef MG_GATEWAY_TARGETS_H
#define MG_GATEWAY_TARGETS_H

#include "gateway/builder.h"
#include "watch/targets.h"

enum { MG_TARGETS_DIRECT = 64 };

typedef void (*mg_targets_cb)(void *arg, const struct mg_target_row *row);

/* Calls back for each target of each project, or of the named one (empty: all). False: there is no such project. */
bool mg_targets_each(struct mg_builder *builder, const struct mg_config_gateway *gateway, mg_view project,
                     mg_targets_cb cb, void *arg);

/* The same for one configuration. */
void mg_targets_of(const struct mg_config_project *config, const struct mg_config_gateway *gateway, mg_targets_cb cb,
                   void *arg);

struct mg_targets_reset {
    const char *project;               /* "": the one that has such a target, if it is only one */
    const char *target;                /* "provider/model", or "provider" for all of its targets */
    const char *credential;            /* "": all */
};

/* Closes breakers and ends benches, and forgets limits that were said. What is shared with other projects is reset for
 * them too. *out_count is the number of target × credential. MG_E_NOT_FOUND, MG_E_BAD_REQUEST (several projects have
 * it): the diag says what there is. */
MG_MUST_USE mg_err mg_targets_reset(struct mg_builder *builder, const struct mg_config_gateway *gateway,
                                    const struct mg_targets_reset *what, unsigned *out_count, struct mg_diag *diag);

/* The secret of this slot is another now: whatever was held against the credentials that had the old one is forgotten. */
void mg_targets_forgive(struct mg_builder *builder, const struct mg_config_gateway *gateway,
                        const struct mg_secret_slot *slot);

#endif
