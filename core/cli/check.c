#include "cli/check.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/clock.h"
#include "config/known.h"
#include "store/folder.h"
#include "vault/vault.h"
#include "cli/cli.h"
#include "cli/place.h"
#include "config/config.h"
#include "script/script.h"

/* What the checking thread is told and gives back. */
struct check {
    const char *path;
    FILE *out;
    struct mg_check_totals *totals;
    const char *project;               /* the file at hand */
    struct mg_config_gateway *gateway; /* for the accounts that projects name; NULL: it has mistakes itself */
};

static void complain(FILE *out, const char *file, int line, const char *text)
{
    const struct mg_paint *paint = mg_cli_paint(out);
    if (*file)
        fprintf(out, "%s%s%s:", paint->bold, file, paint->off);
    if (line > 0)
        fprintf(out, "%s%d%s:", paint->cyan, line, paint->off);
    fprintf(out, "%s%s\n", *file || line > 0 ? " " : "", text);
}

static void print_report(FILE *out, const struct mg_config_report *report,
                         struct mg_check_totals *totals)
{
    for (int i = 0; i < report->count; i++)
        complain(out, report->diags[i].file, report->diags[i].line, report->diags[i].text);
    if (report->total > report->count)
        fprintf(out, "… and %d more in that file\n", report->total - report->count);
    totals->mistakes += report->total;
}

static void count_project(const struct mg_config_project *config, struct mg_check_totals *totals)
{
    totals->projects++;
    totals->workflows += config->workflow_count;
    totals->providers += config->provider_count;
}

/* Builds what a worker would run, and throws it away. */
static void check_scripts(const struct mg_config_project *config, const char *path, FILE *out,
                          struct mg_check_totals *totals)
{
    struct mg_script *script = NULL;
    struct mg_diag diag = {"", 0, ""};
    if (mg_script_needed(config) && mg_script_build(config, &script, &diag) != MG_OK) {
        complain(out, *diag.file ? diag.file : path, diag.line, diag.text);
        totals->mistakes++;
    }
    mg_script_free(script);
}

/* Advice, not a mistake. */
static void complain_of_end(void *arg, const char *workflow, const struct mg_config_target *target, const char *text)
{
    const struct check *check = arg;
    char line[320];
    snprintf(line, sizeof line, "warning: workflow %s: %s: %s", workflow, target->id, text);
    complain(check->out, check->project, 0, line);
}

static void check_project(struct check *check, const char *path)
{
    FILE *out = check->out;
    struct mg_check_totals *totals = check->totals;
    struct mg_config_report *report = mg_new(struct mg_config_report);
    struct mg_config_project *config = NULL;
    mg_config_report_init(report);
    if (mg_config_check_project(path, &config, report) == MG_OK) {
        count_project(config, totals);
        mg_err err =
            check->gateway ? mg_config_check_accounts(check->gateway, config, path, report) : MG_OK;
        (void)err; /* every mistake stands in the report */
        check_scripts(config, path, out, totals);
        check->project = path;
        mg_config_ending(config, mg_wall_us(), complain_of_end, check);
    }
    print_report(out, report, totals);
    mg_config_project_free(config);
    mg_config_report_fini(report);
    mg_free(report);
}

static bool is_project(const char *name)
{
    size_t len = strlen(name);
    return len > 4 && name[0] != '.' && strcmp(name + len - 4, ".lua") == 0;
}

static int only_projects(const struct dirent *entry)
{
    return is_project(entry->d_name);
}

static void check_projects(struct check *check, const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, only_projects, alphasort);
    if (count <= 0) {
        complain(check->out, folder, 0, "there is no project here; write one as NAME.lua");
        check->totals->mistakes++;
    }
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name) < (int)sizeof path)
            check_project(check, path);
        mg_free(entries[i]);
    }
    mg_free(entries);
}

static void check_environment(FILE *out, struct mg_check_totals *totals)
{
    struct mg_config_project *config = NULL;
    struct mg_diag diag = {"", 0, ""};
    mg_err err = mg_config_project_from_env(&config, &diag);
    if (err == MG_OK) {
        count_project(config, totals);
    } else {
        const char *nothing =
            "there is no gateway.lua here and no provider's key in the environment";
        complain(out, "", 0, err == MG_E_NOT_FOUND ? nothing : diag.text);
        totals->mistakes++;
    }
    mg_config_project_free(config);
}

static void check_folder(struct check *check)
{
    const char *path = check->path;
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int len = slash ? (int)(slash - path) + 1 : 0;
    if (snprintf(folder, sizeof folder, "%.*s", len, path) < (int)sizeof folder && len > 0 &&
        access(folder, F_OK) != 0)
        return; /* it was missed already, with the gateway.lua in it */
    if (snprintf(folder, sizeof folder, "%.*sprojects", len, path) < (int)sizeof folder)
        check_projects(check, folder);
}

static void check_gateway(struct check *check)
{
    struct mg_config_report *report = mg_new(struct mg_config_report);
    mg_config_report_init(report);
    mg_err err = mg_config_check_gateway(check->path, &check->gateway, report);
    (void)err; /* every mistake stands in the report */
    print_report(check->out, report, check->totals);
    mg_config_report_fini(report);
    mg_free(report);
}

/* What the vault has, so that projects may name it. A store that is not there yet, or not of this version, has nothing. */
static void note_secrets(const struct mg_config_gateway *gateway)
{
    char path[MG_FOLDER_PATH_BYTES];
    struct mg_vault_rows *rows = NULL;
    struct mg_db *db = NULL;
    if (mg_folder_path(gateway->data_dir, "moongate.db", path) == MG_OK &&
        mg_db_open(path, MG_DB_READ, &db, NULL) == MG_OK && mg_vault_read(db, &rows) == MG_OK)
        mg_vault_note_names(rows);
    mg_vault_rows_free(rows);
    mg_db_close(db);
}

/* What was imported is known, too. */
static void use_models(struct check *check)
{
    struct mg_diag diag = {.line = 0};
    if (mg_models_use_folder(check->gateway->data_dir, &diag) == MG_OK)
        return;
    complain(check->out, diag.file, diag.line, diag.text);
    check->totals->mistakes++;
}

static void run(void *arg)
{
    struct check *check = arg;
    struct mg_diag diag = {"", 0, ""};
    bool scripts = mg_script_init(&diag) == MG_OK;
    if (!scripts)
        complain(check->out, diag.file, diag.line, diag.text);
    check->totals->mistakes += !scripts;
    check_gateway(check);
    if (check->gateway) {
        note_secrets(check->gateway);
        use_models(check);
        mg_check_adapters(check->out, check->totals);
    }
    if (check->path)
        check_folder(check);
    else
        check_environment(check->out, check->totals);
    mg_config_gateway_free(check->gateway);
    mg_secret_slots_clear();
    mg_models_release();
    if (scripts)
        mg_script_fini();
}

/* On a thread of its own: functions of projects need more C stack than the main thread may have. */
void mg_check(const char *path, FILE *out, struct mg_check_totals *out_totals)
{
    struct check check = {.path = path, .out = out, .totals = out_totals};
    uv_thread_t thread;
    uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                   .stack_size = MG_MAX_LUA_STACK_BYTES};
    *out_totals = (struct mg_check_totals){0};
    if (uv_thread_create_ex(&thread, &options, run, &check) != 0) {
        complain(out, "", 0, "no thread could be started");
        out_totals->mistakes = 1;
        return;
    }
    uv_thread_join(&thread);
}

static void put_count(int count, const char *word, const char *behind)
{
    printf("%d %s%s%s", count, word, count == 1 ? "" : "s", behind);
}

int mg_cli_check(int argc, char **argv)
{
    const char *option = NULL;
    const struct mg_option options[] = {
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &option,
         "gateway.lua or its folder; without it ./gateway.lua, or the environment"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 1);
    if (end != MG_CLI_GO)
        return end;

    struct mg_arena arena;
    struct mg_check_totals totals;
    mg_arena_init(&arena, 1024);
    mg_check(mg_place_config(argc > 1 ? argv[1] : option, &arena), stderr, &totals);
    mg_arena_fini(&arena);
    if (totals.mistakes > 0) {
        fprintf(stderr, "%d mistake%s\n", totals.mistakes, totals.mistakes == 1 ? "" : "s");
        return MG_EXIT_FAILED;
    }
    printf("ok: ");
    put_count(totals.projects, "project", ", ");
    put_count(totals.workflows, "workflow", ", ");
    put_count(totals.providers, "provider", "\n");
    return MG_EXIT_OK;
}
