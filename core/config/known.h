/* known.h - what the catalogue of models knows of a project's targets. */
#ifndef MG_CONFIG_KNOWN_H
#define MG_CONFIG_KNOWN_H

#include "config/config.h"
#include "meter/models.h"

/* By the name that its file gives it, else by `model`, which is what the provider is asked for. NULL: nobody knows it. */
const struct mg_model *mg_target_known(const struct mg_config_target *target, mg_view model);

/* Each target of a workflow whose model is gone, or will be within MG_MODEL_SOON_DAYS; `text` says so. */
typedef void (*mg_config_ending_cb)(void *arg, const char *workflow, const struct mg_config_target *target, const char *text);
void mg_config_ending(const struct mg_config_project *config, uint64_t now_us, mg_config_ending_cb cb, void *arg);

#endif
