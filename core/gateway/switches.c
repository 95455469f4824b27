#include "gateway/switches.h"

#include <stdio.h>

#include "base/mem.h"

struct looking {
    const struct mg_switch *row;       /* what was asked for */
    struct mg_switch found;            /* the first that fits */
    unsigned count;                    /* of those that fit */
    char names[256];                   /* of their projects, for a sentence */
    size_t len;
};

static bool fits(const struct looking *looking, const char *project)
{
    return !*looking->row->project || strcmp(looking->row->project, project) == 0;
}

static void note(struct looking *looking, const char *project)
{
    int n = snprintf(looking->names + looking->len, sizeof looking->names - looking->len, "%s%s", looking->count ? ", " : "",
                     project);
    looking->len = MG_MIN(looking->len + (size_t)n, sizeof looking->names - 1);
    if (looking->count++)
        return;
    looking->found = *looking->row;
    snprintf(looking->found.project, sizeof looking->found.project, "%s", project);
}

/* ---- what is configured ---------------------------------------------------------------------- */

static bool has_workflow(const struct mg_config_project *config, const char *name)
{
    for (int i = 0; i < config->workflow_count; i++)
        if (strcmp(config->workflows[i].name, name) == 0)
            return true;
    for (int i = 0; config->allow_direct && i < config->target_count; i++)
        if (strcmp(config->targets[i].id, name) == 0)
            return true;
    return false;
}

static bool has_provider(const struct mg_config_project *config, const char *name)
{
    for (int i = 0; i < config->provider_count; i++)
        if (strcmp(config->providers[i].name, name) == 0)
            return true;
    return false;
}

static bool has_plugin(const struct mg_config_project *config, const char *name)
{
    for (int i = 0; i < config->plugin_count; i++) {
        const struct mg_config_plugin *plugin = &config->plugins[i];
        if (strcmp(plugin->as, name) == 0 || (plugin->use && strcmp(plugin->use, name) == 0))
            return true;
    }
    return false;
}

static bool has(const struct mg_config_project *config, const struct mg_switch *row)
{
    switch (row->kind) {
    case MG_SWITCH_PROJECT: return strcmp(config->name, row->name) == 0;
    case MG_SWITCH_WORKFLOW: return has_workflow(config, row->name);
    case MG_SWITCH_PROVIDER: return has_provider(config, row->name);
    case MG_SWITCH_PLUGIN: return has_plugin(config, row->name);
    default: return false;
    }
}

static void look_at_projects(struct looking *looking, struct mg_builder *builder)
{
    struct mg_generation **generations = mg_new_array(struct mg_generation *, MG_MAX_PROJECTS);
    size_t count = mg_builder_live(builder, mg_view_cstr(looking->row->project), generations, MG_MAX_PROJECTS);
    for (size_t i = 0; i < count; i++) {
        if (has(generations[i]->config, looking->row))
            note(looking, generations[i]->config->name);
        mg_generation_unref(generations[i]);
    }
    mg_free(generations);
}

static void look_at_key(void *arg, const struct mg_key *key)
{
    struct looking *looking = arg;
    if (strcmp(key->id, looking->row->name) == 0 && fits(looking, key->project))
        note(looking, key->project);
}

static void look_at_switch(void *arg, const struct mg_switch *row)
{
    struct looking *looking = arg;
    if (row->kind == looking->row->kind && strcmp(row->name, looking->row->name) == 0 && fits(looking, row->project))
        note(looking, row->project);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static mg_err decide(const struct looking *looking, const char *missing, struct mg_switch *out_row, struct mg_diag *diag)
{
    const struct mg_switch *row = looking->row;
    const char *kind = mg_switch_kind_name(row->kind);
    if (looking->count == 0 && *row->project && row->kind != MG_SWITCH_PROJECT)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "project %s has no %s %s%s", row->project, kind, row->name, missing);
    if (looking->count == 0)
        return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "there is no %s %s%s", kind, row->name, missing);
    if (looking->count > 1)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0, "several projects have a %s %s, say which with a project: %s", kind,
                           row->name, looking->names);
    *out_row = looking->found;
    return MG_OK;
}

/* Who may act in one project only asks about that one, so that nothing is learnt of the others. */
static mg_err narrow(const struct mg_switch *row, const char *only, struct mg_switch *out_row, struct mg_diag *diag)
{
    *out_row = *row;
    if (row->kind == MG_SWITCH_PROJECT)
        memcpy(out_row->project, row->name, MG_MIN(sizeof out_row->project, strlen(row->name) + 1));
    out_row->project[sizeof out_row->project - 1] = '\0';
    if (!only || !*only)
        return MG_OK;
    if (*out_row->project && strcmp(out_row->project, only) != 0)
        return mg_diag_set(diag, MG_E_DENIED, NULL, 0, "your role ends at project %s", only);
    snprintf(out_row->project, sizeof out_row->project, "%s", only);
    return MG_OK;
}

mg_err mg_switch_resolve(struct mg_builder *builder, struct mg_keys *keys, const struct mg_switch *row, const char *only,
                         struct mg_switch *out_row, struct mg_diag *diag)
{
    struct mg_switch asked;
    MG_TRY(narrow(row, only, &asked, diag));
    struct looking looking = {.row = &asked};
    if (asked.kind == MG_SWITCH_KEY)
        MG_TRY(mg_keys_list(keys, look_at_key, &looking, diag));
    else
        look_at_projects(&looking, builder);
    return decide(&looking, "", out_row, diag);
}

mg_err mg_switch_resolve_disabled(struct mg_keys *keys, const struct mg_switch *row, const char *only,
                                  struct mg_switch *out_row, struct mg_diag *diag)
{
    struct mg_switch asked;
    MG_TRY(narrow(row, only, &asked, diag));
    struct looking looking = {.row = &asked};
    MG_TRY(mg_keys_disabled(keys, look_at_switch, &looking, diag));
    return decide(&looking, " that is disabled; `moongate disabled` shows what is", out_row, diag);
}
