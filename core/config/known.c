#include "config/known.h"

#include <stdio.h>
#include <time.h>

/* "provider/model" without joining them. */
static bool is_target(mg_view name, const char *provider, mg_view model)
{
    mg_view owner = mg_view_cstr(provider);
    return mg_view_starts(name, owner) && name.len > owner.len && name.ptr[owner.len] == '/' && mg_view_eq(mg_view_skip(name, owner.len + 1), model);
}

/* What the project itself says goes first: of the target, of the model, of what the target is known as. */
static const struct mg_model *said_of(const struct mg_config_project *config, const struct mg_config_target *target, mg_view model)
{
    const char *provider = config->providers[target->provider].name;
    const struct mg_model *of_model = NULL, *of_known = NULL;
    for (int i = 0; i < config->model_count; i++) {
        mg_view name = mg_view_cstr(config->models[i].name);
        if (is_target(name, provider, model))
            return &config->models[i].model;
        if (mg_view_eq(name, model))
            of_model = &config->models[i].model;
        else if (target->known_as && mg_view_eq(name, mg_view_cstr(target->known_as)))
            of_known = &config->models[i].model;
    }
    return of_model ? of_model : of_known;
}

const struct mg_model *mg_target_known(const struct mg_config_project *config, const struct mg_config_target *target, mg_view model)
{
    const struct mg_model *said = config ? said_of(config, target, model) : NULL;
    if (said)
        return said;
    return mg_model_find(target->known_as ? mg_view_cstr(target->known_as) : model);
}

static void say(const struct mg_model *model, unsigned days, char *out, size_t size)
{
    char date[32] = "";
    time_t second = (time_t)(model->retires_us / 1000000u);
    struct tm tm;
    if (model->retires_us && gmtime_r(&second, &tm))
        strftime(date, sizeof date, " on %Y-%m-%d", &tm);
    if (days == 0)
        snprintf(out, size, "its vendor has retired %s%s", model->name, date);
    else
        snprintf(out, size, "its vendor retires %s%s, in %u day%s", model->name, date, days, days == 1 ? "" : "s");
}

void mg_config_ending(const struct mg_config_project *config, uint64_t now_us, mg_config_ending_cb cb, void *arg)
{
    for (int w = 0; w < config->workflow_count; w++) {
        const struct mg_config_workflow *workflow = &config->workflows[w];
        for (int a = 0; a < workflow->arm_count; a++) {
            const struct mg_config_target *target = &config->targets[workflow->arms[a].target];
            const struct mg_model *model = mg_target_known(config, target, mg_view_cstr(target->model));
            char text[160];
            unsigned days;
            if (!model || !mg_model_ends(model, now_us, &days))
                continue;
            say(model, days, text, sizeof text);
            cb(arg, workflow->name, target, text);
        }
    }
}
