#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/embed.h"
#include "base/limits.h"
#include "base/mem.h"
#include "config/eval.h"
#include "config/file.h"
#include "store/folder.h"
#include "vault/secret.h"

/* Where a file is: the folder is absolute, the name has no ".lua". All in the report's arena. */
struct place {
    const char *dir, *path, *name;
};

static mg_err find_place(const char *path, struct mg_config_report *report,
                         struct place *out_place);
static mg_err read_text(const char *shown, const char *path, struct mg_buf *text,
                        struct mg_config_report *report);
static bool is_left_out(const struct place *place);
static mg_err check_name(const char *path, const char *name, struct mg_config_report *report);
static mg_err refuse(struct mg_config_report *report, const char *file, int line, const char *text);
static mg_err first_of(struct mg_config_report *report, mg_err err, struct mg_diag *diag);
static const char *default_dir(struct mg_arena *arena);

/* ---- gateway.lua */

mg_err mg_config_check_gateway(const char *path, struct mg_config_gateway **out_config,
                               struct mg_config_report *report)
{
    struct mg_config_gateway *config = mg_new(struct mg_config_gateway);
    struct mg_buf text;
    struct place place = {NULL, NULL, NULL};
    mg_arena_init(&config->arena, 4096);
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);

    mg_err err = path ? find_place(path, report, &place) : MG_OK;
    bool has_text = !err && path && !is_left_out(&place);
    if (has_text)
        err = read_text(path, place.path, &text, report);
    if (!err) {
        const char *dir = path ? place.dir : default_dir(&config->arena);
        config->dir = path ? mg_arena_strdup(&config->arena, dir) : NULL;
        struct mg_eval eval = {.function = "gateway",
                               .file = path ? path : "the built-in configuration",
                               .dir = dir,
                               .text = has_text ? mg_buf_cstr(&text) : NULL,
                               .arena = &config->arena,
                               .report = report,
                               .fill = mg_config_fill_gateway,
                               .out = config};
        err = mg_eval_run(&eval);
        if (!path)
            config->data_dir = dir;
    }
    mg_buf_fini(&text);
    if (err) {
        mg_config_gateway_free(config);
        return err;
    }
    mg_embedded_folder("adapters/", config->adapters_dir);     /* projects name adapters, and are read after this */
    *out_config = config;
    return MG_OK;
}

mg_err mg_config_load_gateway(const char *path, struct mg_config_gateway **out_config,
                              struct mg_diag *diag)
{
    struct mg_config_report *report = mg_new(struct mg_config_report);
    mg_config_report_init(report);
    return first_of(report, mg_config_check_gateway(path, out_config, report), diag);
}

void mg_config_gateway_free(struct mg_config_gateway *config)
{
    if (!config)
        return;
    mg_arena_fini(&config->arena);
    mg_free(config);
}

/* Without a file the folder is the one that the command line takes too. */
static const char *default_dir(struct mg_arena *arena)
{
    char path[MG_FOLDER_PATH_BYTES];
    mg_folder_default(path);
    return mg_arena_strdup(arena, path);
}

/* ---- projects/<name>.lua */

static struct mg_config_project *project_new(void)
{
    struct mg_config_project *config = mg_new(struct mg_config_project);
    mg_arena_init(&config->arena, 8192);
    return config;
}

static void keep_files(struct mg_config_project *config, const struct mg_config_report *report)
{
    const char **files =
        mg_arena_array(&config->arena, const char *, (size_t)report->file_count + 1);
    for (int i = 0; i < report->file_count; i++)
        files[i] = mg_arena_strdup(&config->arena, report->files[i]);
    config->files = files;
    config->file_count = report->file_count;
}

/* Runs eval and hands the project out, or frees it. */
static mg_err finish_project(struct mg_eval *eval, struct mg_config_project **out_config)
{
    struct mg_config_project *config = eval->out;
    mg_err err = mg_eval_run(eval);
    if (!err && eval->absent)
        err = MG_E_NOT_FOUND;
    if (err) {
        mg_config_project_free(config);
        return err;
    }
    keep_files(config, eval->report);
    *out_config = config;
    return MG_OK;
}

mg_err mg_config_check_project(const char *path, struct mg_config_project **out_config,
                               struct mg_config_report *report)
{
    struct place place;
    struct mg_buf text;
    MG_TRY(find_place(path, report, &place));
    mg_buf_init(&text, MG_MAX_LUA_SOURCE_BYTES);
    mg_err err = read_text(path, place.path, &text, report);
    if (!err)
        err = check_name(path, place.name, report);
    if (!err) {
        struct mg_config_project *config = project_new();
        config->name = mg_arena_strdup(&config->arena, place.name);
        config->path = mg_arena_strdup(&config->arena, place.path);
        config->source = mg_arena_dup(&config->arena, mg_buf_view(&text)).ptr;
        struct mg_eval eval = {.function = "project",
                               .file = path,
                               .dir = place.dir,
                               .name = place.name,
                               .text = mg_buf_cstr(&text),
                               .arena = &config->arena,
                               .report = report,
                               .fill = mg_config_fill_project,
                               .out = config};
        err = finish_project(&eval, out_config);
    }
    mg_buf_fini(&text);
    return err;
}

mg_err mg_config_load_project(const char *path, struct mg_config_project **out_config,
                              struct mg_diag *diag)
{
    struct mg_config_report *report = mg_new(struct mg_config_report);
    mg_config_report_init(report);
    return first_of(report, mg_config_check_project(path, out_config, report), diag);
}

mg_err mg_config_project_from_env(struct mg_config_project **out_config, struct mg_diag *diag)
{
    struct mg_config_report *report = mg_new(struct mg_config_report);
    mg_config_report_init(report);
    struct mg_config_project *config = project_new();
    config->name = "default";
    config->path = config->source = "";
    struct mg_eval eval = {.function = "environment",
                           .file = "environment",
                           .dir = "/",
                           .name = "default",
                           .arena = &config->arena,
                           .report = report,
                           .fill = mg_config_fill_project,
                           .out = config};
    return first_of(report, finish_project(&eval, out_config), diag);
}

void mg_config_project_free(struct mg_config_project *config)
{
    if (!config)
        return;
    mg_arena_fini(&config->arena);
    mg_free(config);
}

int mg_config_match(const struct mg_config_project *config, mg_view model)
{
    int best = -1;
    size_t most = 0;
    for (int i = 0; i < config->workflow_count; i++) {
        mg_view name = mg_view_cstr(config->workflows[i].name);
        if (mg_view_find(name, "*") == name.len || !mg_view_glob(name, model))
            continue;
        if (best >= 0 && name.len <= most)
            continue;
        best = i;
        most = name.len;
    }
    return best;
}

/* ---- accounts */

const struct mg_config_account *mg_config_account_find(const struct mg_config_gateway *config, const char *name)
{
    for (int i = 0; i < config->account_count; i++)
        if (strcmp(config->accounts[i].name, name) == 0)
            return &config->accounts[i];
    return NULL;
}

bool mg_config_account_grants(const struct mg_config_account *account, const char *project, double *out_share)
{
    for (int i = 0; i < account->grant_count; i++) {
        if (strcmp(account->grants[i].project, project) != 0)
            continue;
        *out_share = account->grants[i].share;
        return true;
    }
    return false;
}

static mg_err check_account(const struct mg_config_gateway *gateway, const struct mg_config_provider *provider,
                            const char *project, struct mg_diag *out_diag)
{
    const struct mg_config_account *account = mg_config_account_find(gateway, provider->account);
    double share;
    if (!account)
        return mg_diag_set(out_diag, MG_E_CONFIG, "", provider->account_line,
                           "providers.%s.account: gateway.lua has no account \"%s\"; add it to its `accounts`, with \"%s\" in its `projects` (read at the start)",
                           provider->name, provider->account, project);
    if (!mg_config_account_grants(account, project, &share))
        return mg_diag_set(out_diag, MG_E_CONFIG, "", provider->account_line,
                           "providers.%s.account: gateway.lua does not grant the account \"%s\" to this project; "
                           "add \"%s\" to its `projects` (read at the start)",
                           provider->name, provider->account, project);
    return MG_OK;
}

mg_err mg_config_check_accounts(const struct mg_config_gateway *gateway, const struct mg_config_project *project,
                                const char *file, struct mg_config_report *report)
{
    mg_err err = MG_OK;
    for (int i = 0; i < project->provider_count; i++) {
        struct mg_diag diag = {"", 0, ""};
        if (!project->providers[i].account ||
            check_account(gateway, &project->providers[i], project->name, &diag) == MG_OK)
            continue;
        err = refuse(report, file, diag.line, diag.text);
    }
    return err;
}

/* ---- the reference page */

static void fill_text(struct mg_eval *eval, lua_State *L, int index)
{
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    if (!text || mg_buf_put(eval->out, mg_view_of(text, size)) != MG_OK)
        (void)refuse(eval->report, "reference", 0, "the page does not fit");
}

mg_err mg_config_reference(struct mg_buf *out)
{
    struct mg_config_report *report = mg_new(struct mg_config_report);
    mg_config_report_init(report);
    struct mg_eval eval = {.function = "reference",
                           .file = "reference",
                           .dir = "/",
                           .name = "",
                           .report = report,
                           .fill = fill_text,
                           .out = out};
    mg_err err = mg_eval_run(&eval);
    if (!err && report->total > 0)
        err = MG_E_TOO_LARGE;
    return first_of(report, err, NULL);
}

/* ---- reports */

void mg_config_report_init(struct mg_config_report *report)
{
    memset(report, 0, sizeof *report);
    mg_arena_init(&report->arena, 1024);
}

void mg_config_report_fini(struct mg_config_report *report)
{
    mg_arena_fini(&report->arena);
}

/* Frees the report of a call that tells the first mistake only. */
static mg_err first_of(struct mg_config_report *report, mg_err err, struct mg_diag *diag)
{
    if (err && diag && report->count > 0)
        *diag = report->diags[0];
    else if (err)
        (void)mg_diag_set(diag, err, "", 0, "%s", mg_err_text(err));
    mg_config_report_fini(report);
    mg_free(report);
    return err;
}

/* A project's name stands in its keys, in log lines, in metrics and in the vault, where "gateway" is whose secrets gateway.lua
 * names. */
static mg_err check_name(const char *path, const char *name, struct mg_config_report *report)
{
    if (strcmp(name, MG_SECRETS_OF_GATEWAY) == 0)
        return refuse(report, path, 1, "no project may be called gateway: that is whose secrets gateway.lua names; name the file otherwise");
    if (mg_secret_name_is_good(mg_view_cstr(name)))
        return MG_OK;
    return refuse(report, path, 1, "a project is called as its file: at most 71 letters, digits, `_`, `-` and `.`, a letter or digit first");
}

static mg_err refuse(struct mg_config_report *report, const char *file, int line, const char *text)
{
    if (report->count < MG_CONFIG_DIAGS)
        (void)mg_diag_set(&report->diags[report->count++], MG_E_CONFIG, file, line, "%s", text);
    report->total++;
    return MG_E_CONFIG;
}

/* ---- files */

static mg_err find_place(const char *path, struct mg_config_report *report, struct place *out_place)
{
    char folder[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    int n = slash ? snprintf(folder, sizeof folder, "%.*s/", (int)(slash - path), path)
                  : snprintf(folder, sizeof folder, ".");
    size_t size = strlen(base);
    if (n >= (int)sizeof folder || !realpath(folder, real))
        return refuse(report, path, 0,
                      n >= (int)sizeof folder ? "the path is too long" : strerror(errno));
    if (size <= 4 || strcmp(base + size - 4, ".lua") != 0)
        return refuse(report, path, 0, "expected a file whose name ends in .lua");

    struct mg_arena *arena = &report->arena;
    *out_place = (struct place){
        .dir = mg_arena_strdup(arena, real),
        .path = mg_arena_printf(arena, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base).ptr,
        .name = mg_arena_dup(arena, mg_view_of(base, size - 4)).ptr,
    };
    report->files[report->file_count++] = out_place->path;
    return MG_OK;
}

/* Where there are projects, the file beside them may be missing: all it says has a default. */
static bool is_left_out(const struct place *place)
{
    char projects[PATH_MAX];
    int n = snprintf(projects, sizeof projects, "%s/projects", place->dir);
    return n < (int)sizeof projects && access(place->path, F_OK) != 0 && errno == ENOENT &&
           access(projects, F_OK) == 0;
}

/* `shown` is the path as the user gave it. */
static mg_err read_text(const char *shown, const char *path, struct mg_buf *text,
                        struct mg_config_report *report)
{
    const char *why = mg_config_file_read(path, false, text, &report->hash);
    mg_view bytes = mg_buf_view(text);
    if (!why && bytes.len > 0 && memchr(bytes.ptr, '\0', bytes.len))
        why = "expected Lua text, found a NUL byte (bytecode is refused)";
    return why ? refuse(report, shown, 0, why) : MG_OK;
}
