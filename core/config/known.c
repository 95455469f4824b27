#include "config/known.h"

#include <stdio.h>
#include <time.h>

const struct mg_model *mg_target_known(const struct mg_config_target *target, mg_view model)
{
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
            const struct mg_model *model = mg_target_known(target, mg_view_cstr(target->model));
            char text[160];
            unsigned days;
            if (!model || !mg_model_ends(model, now_us, &days))
                continue;
            say(model, days, text, sizeof text);
            cb(arg, workflow->name, target, text);
        }
    }
}
