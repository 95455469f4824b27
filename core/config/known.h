/* known.h - what the catalogue of models, and the project itself, know of its targets. */
#ifndef MG_CONFIG_KNOWN_H
#define MG_CONFIG_KNOWN_H

#include "config/config.h"
#include "meter/models.h"

/* What the project's `models` say, on top of the catalogue; else the catalogue's row of the name that its file gives it, else of
 * `model`, which is what the provider is asked for. NULL: nobody knows it. */
const struct mg_model *mg_target_known(const struct mg_config_project *config, const struct mg_config_target *target, mg_view model);

/* Each target of a workflow whose model is gone, or will be within MG_MODEL_SOON_DAYS; `text` says so. */
typedef void (*mg_config_ending_cb)(void *arg, const char *workflow, const struct mg_config_target *target, const char *text);
void mg_config_ending(const struct mg_config_project *config, uint64_t now_us, mg_config_ending_cb cb, void *arg);

#endif
