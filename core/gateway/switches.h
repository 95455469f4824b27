/* switches.h - which project's thing is meant when an operator names it.
 *
 * To disable, it must be there: a name that nobody has would be obeyed by nobody, and its operator would believe it is off.
 * To enable, it must be disabled, whether it is still configured or not. */
#ifndef MG_GATEWAY_SWITCHES_H
#define MG_GATEWAY_SWITCHES_H

#include "gateway/builder.h"
#include "gateway/keys.h"

/* row->project empty: the only project that has such a thing. `only`, NULL or empty for none: nothing outside that project
 * may be meant. MG_E_NOT_FOUND, MG_E_BAD_REQUEST (several projects have it), MG_E_DENIED. Any thread but a worker's. */
MG_MUST_USE mg_err mg_switch_resolve(struct mg_builder *builder, struct mg_keys *keys, const struct mg_switch *row,
                                     const char *only, struct mg_switch *out_row, struct mg_diag *diag);
MG_MUST_USE mg_err mg_switch_resolve_disabled(struct mg_keys *keys, const struct mg_switch *row, const char *only,
                                              struct mg_switch *out_row, struct mg_diag *diag);

#endif
