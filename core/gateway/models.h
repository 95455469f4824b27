/* models.h - GET /v1/models and /v1/models/{id}: the project's workflows and, where direct targets are allowed, its
 * targets, in the OpenAI shape. */
#ifndef MG_GATEWAY_MODELS_H
#define MG_GATEWAY_MODELS_H

struct mg_exchange;

void mg_models_list(struct mg_exchange *x);
void mg_models_get(struct mg_exchange *x);

#endif
