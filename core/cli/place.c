#include "cli/place.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool has_projects(void)
{
    glob_t found;
    bool any = glob("projects/*.lua", GLOB_NOSORT, NULL, &found) == 0;
    if (any)
        globfree(&found);
    return any;
}

const char *mg_place_config(const char *option, struct mg_arena *arena)
{
    if (!option)
        return exists("gateway.lua") || has_projects() ? "gateway.lua" : NULL;
    bool is_file = mg_view_ends(mg_view_cstr(option), MG_VIEW(".lua")) && !is_folder(option);
    return !is_file ? mg_arena_printf(arena, "%s/gateway.lua", option).ptr : option;
}

mg_err mg_place_data(const char *data, const char *config, char out_path[MG_FOLDER_PATH_BYTES],
                     struct mg_diag *diag)
{
    struct mg_arena arena;
    struct mg_config_gateway *gateway = NULL;
    mg_arena_init(&arena, 1024);
    mg_err err = MG_OK;
    if (!data)
        err = mg_config_load_gateway(mg_place_config(config, &arena), &gateway, diag);
    if (err == MG_OK) {
        const char *path = data ? data : gateway->data_dir;
        if (strlen(path) >= MG_FOLDER_PATH_BYTES)
            err = mg_diag_set(diag, MG_E_TOO_LARGE, NULL, 0,
                              "the path of the data folder is too long");
        else
            snprintf(out_path, MG_FOLDER_PATH_BYTES, "%s", path);
    }
    mg_config_gateway_free(gateway);
    mg_arena_fini(&arena);
    return err;
}

mg_err mg_place_make_folders(char *path, struct mg_diag *diag)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return mg_diag_set(diag, MG_E_SYSTEM, path, 0, "this folder cannot be made: %s",
                               strerror(errno));
        *slash = '/';
    }
    return MG_OK;
}
