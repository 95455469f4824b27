/* models.h - GET /v1/models, /v1beta/models and one of them: the project's workflows and, where direct targets are allowed,
 * its targets, in the dialect of who asks. */
#ifndef MG_GATEWAY_MODELS_H
#define MG_GATEWAY_MODELS_H

#include "base/arena.h"

struct mg_exchange;

void mg_models_list(struct mg_exchange *x);
void mg_models_get(struct mg_exchange *x);

/* A name in a path: SDKs write "openai%2Fgpt" for one with a slash. In the arena. */
mg_view mg_models_name(struct mg_arena *arena, mg_view text);

#endif
