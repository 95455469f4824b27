#include "cli/retiring.h"

#include <glob.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "config/known.h"

enum { PATH_BYTES = 4096 };

struct listing {
    const struct mg_config_project *project;
    bool json;
    size_t count;
};

static void on_end(void *arg, const char *workflow, const struct mg_config_target *target, const char *text)
{
    struct listing *listing = arg;
    const char *project = listing->project->name;
    listing->count++;
    if (listing->json)
        printf("{\"project\":\"%s\",\"workflow\":\"%s\",\"target\":\"%s\",\"text\":\"%s\"}\n", project, workflow, target->id, text);
    else
        printf("%s  %s  %s: %s\n", project, workflow, target->id, text);
}

static mg_err list_project(const char *path, struct listing *listing, struct mg_diag *diag)
{
    struct mg_config_project *project = NULL;
    MG_TRY(mg_config_load_project(path, &project, diag));
    listing->project = project;
    mg_config_ending(project, mg_wall_us(), on_end, listing);
    mg_config_project_free(project);
    return MG_OK;
}

static mg_err list_all(const char *config, struct listing *listing, struct mg_diag *diag)
{
    char folder[PATH_BYTES], pattern[PATH_BYTES + 16];
    glob_t found = {0};
    mg_err err = MG_OK;
    snprintf(folder, sizeof folder, "%s", config);
    snprintf(pattern, sizeof pattern, "%s/projects/*.lua", dirname(folder));
    if (glob(pattern, 0, NULL, &found) != 0)
        err = mg_diag_set(diag, MG_E_NOT_FOUND, pattern, 0, "there is no project");
    for (size_t i = 0; i < found.gl_pathc && err == MG_OK; i++)
        err = list_project(found.gl_pathv[i], listing, diag);
    globfree(&found);
    return err;
}

int mg_retiring_list(const char *config, bool json)
{
    struct listing listing = {.json = json};
    struct mg_diag diag = {.line = 0};
    struct mg_arena arena;
    mg_arena_init(&arena, 1024);
    const char *path = mg_place_config(config, &arena);
    mg_err err = path ? list_all(path, &listing, &diag)
                      : mg_diag_set(&diag, MG_E_NOT_FOUND, "", 0, "there is no configuration here: say where with -c");
    mg_arena_fini(&arena);
    if (err != MG_OK)
        return mg_cli_failed("models", &diag);
    if (listing.count == 0 && !json)
        printf("no workflow calls a model that is known to be gone, or to go within %d days\n", MG_MODEL_SOON_DAYS);
    return listing.count ? MG_EXIT_FAILED : MG_EXIT_OK;
}
