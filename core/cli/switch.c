/* moongate project|key|workflow|provider|plugin disable|enable NAME, and moongate disabled: kill switches. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/act.h"
#include "cli/cli.h"
#include "tenant/keystore.h"
#include "tenant/switchstore.h"

struct arguments {
    const char *project, *message, *data, *config;
    bool json;
    const char *name;
    enum mg_switch_kind kind;
    bool on;                 /* enable */
};

static int run(struct arguments *a);
static mg_err offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static void print_done(void *arg, const struct mg_json *answer);
static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag);
static void print_list(void *arg, const struct mg_json *answer);

int mg_cli_switch(int argc, char **argv)
{
    struct arguments a = {.name = NULL};
    const struct mg_option options[] = {
        {"--message", NULL, "TEXT", MG_OPTION_TEXT, &a.message, "disable: what those who meet it are told"},
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a.project, "whose it is, when several projects have one of that name"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder"},
    };
    const char *command = argv[0];
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    a.on = argc > 1 && !strcmp(argv[1], "enable");
    if (!mg_switch_kind_find(mg_view_cstr(command), &a.kind) || argc != 3 || (!a.on && strcmp(argv[1], "disable") != 0))
        return mg_cli_complain(MG_EXIT_USAGE, command, "say which: %s disable NAME, or %s enable NAME", command, command);
    a.name = argv[2];
    if (!*a.name || strlen(a.name) >= MG_SWITCH_NAME_BYTES || (a.project && strlen(a.project) >= MG_SWITCH_PROJECT_BYTES))
        return mg_cli_complain(MG_EXIT_USAGE, command, "nothing has a name like that");
    if (a.message && strlen(a.message) >= MG_MAX_SWITCH_MESSAGE_BYTES)
        return mg_cli_complain(MG_EXIT_USAGE, command, "--message takes at most %d bytes", MG_MAX_SWITCH_MESSAGE_BYTES - 1);
    if (mg_view_has_controls(mg_view_cstr(a.name)) || (a.message && mg_view_has_controls(mg_view_cstr(a.message))))
        return mg_cli_complain(MG_EXIT_USAGE, command, "names and messages have no control characters");
    return run(&a);
}

static mg_err put_body(const struct arguments *a, struct mg_buf *out)
{
    MG_TRY(mg_buf_putf(out, "{\"kind\":\"%s\",\"name\":", mg_switch_kind_name(a->kind)));
    MG_TRY(mg_act_put_quoted(out, a->name));
    if (a->project) {
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"project\":")));
        MG_TRY(mg_act_put_quoted(out, a->project));
    }
    if (a->message) {
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"message\":")));
        MG_TRY(mg_act_put_quoted(out, a->message));
    }
    return mg_buf_putc(out, '}');
}

static int run(struct arguments *a)
{
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = put_body(a, &body);
    struct mg_act act = {.command = mg_switch_kind_name(a->kind), .data = a->data, .config = a->config, .method = "POST",
                         .path = a->on ? "/admin/v1/enable" : "/admin/v1/disable", .body = mg_buf_view(&body), .json = a->json,
                         .audit = a->on ? "switch.enable" : "switch.disable",
                         .offline = offline, .print = print_done, .arg = a};
    int end = err == MG_OK ? mg_act_run(&act) : mg_cli_complain(MG_EXIT_USAGE, act.command, "these arguments are too long");
    mg_buf_fini(&body);
    return end;
}

/* ---- without a gateway ----------------------------------------------------------------------- */

/* Which projects there are is not in the store: only keys say whose they are. */
static mg_err find_project(const struct arguments *a, const struct mg_act_store *store, char *out, struct mg_diag *diag)
{
    struct mg_key key;
    if (a->kind == MG_SWITCH_KEY) {
        if (mg_keystore_find(store->db, a->name, store->arena, &key) != MG_OK)
            return mg_diag_set(diag, MG_E_NOT_FOUND, NULL, 0, "there is no key %s", a->name);
        snprintf(out, MG_SWITCH_PROJECT_BYTES, "%s", key.project);
        return MG_OK;
    }
    const char *project = a->kind == MG_SWITCH_PROJECT ? a->name : a->project;
    if (!project || strlen(project) >= MG_SWITCH_PROJECT_BYTES)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, NULL, 0, "no gateway runs here that could find it: say whose it is with "
                           "--project");
    snprintf(out, MG_SWITCH_PROJECT_BYTES, "%s", project);
    return MG_OK;
}

static mg_err offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    const struct arguments *a = arg;
    struct mg_switch row = {.kind = a->kind, .since_us = mg_wall_us()};
    MG_TRY(find_project(a, store, row.project, diag));
    snprintf(row.name, sizeof(row.name), "%s", a->name);
    snprintf(row.message, sizeof(row.message), "%s", a->message ? a->message : "");
    snprintf(row.actor, sizeof(row.actor), "%s", store->actor);
    mg_err err = a->on ? mg_switchstore_remove(store->db, row.kind, row.project, row.name) : mg_switchstore_put(store->db, &row);
    if (err == MG_E_NOT_FOUND)
        return mg_diag_set(diag, err, NULL, 0, "the %s %s of project %s is not disabled", mg_switch_kind_name(row.kind), row.name,
                           row.project);
    return err == MG_OK ? mg_switch_put_json(&row, out) : err;
}

static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_switch *rows = NULL;
    size_t count = 0;
    (void)arg;
    (void)diag;
    MG_TRY(mg_switchstore_load(store->db, store->arena, &rows, &count));
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"disabled\":[")));
    for (size_t i = 0; i < count; i++) {
        if (i)
            MG_TRY(mg_buf_putc(out, ','));
        MG_TRY(mg_switch_put_json(&rows[i], out));
    }
    return mg_buf_put(out, MG_VIEW("]}"));
}

/* ---- what is shown --------------------------------------------------------------------------- */

static void print_done(void *arg, const struct mg_json *answer)
{
    const struct arguments *a = arg;
    mg_view project = mg_json_string(mg_json_get(answer, "project"));
    if (a->kind == MG_SWITCH_PROJECT)
        printf("project %s is %s\n", a->name, a->on ? "enabled" : "disabled");
    else
        printf("%s %s of project %.*s is %s\n", mg_switch_kind_name(a->kind), a->name, MG_FMT(project),
               a->on ? "enabled" : "disabled");
}

static void print_list(void *arg, const struct mg_json *answer)
{
    char since[32];
    const struct mg_json *rows = mg_json_get(answer, "disabled");
    (void)arg;
    if (!mg_json_first(rows)) {
        printf("nothing is disabled\n");
        return;
    }
    printf("%-9s %-16s %-28s %-17s %-16s %s\n", "KIND", "PROJECT", "NAME", "SINCE", "BY", "MESSAGE");
    for (const struct mg_json *row = mg_json_first(rows); row; row = mg_json_next(row)) {
        mg_view kind = mg_json_string(mg_json_get(row, "kind")), project = mg_json_string(mg_json_get(row, "project"));
        mg_view name = mg_json_string(mg_json_get(row, "name")), by = mg_json_string(mg_json_get(row, "by"));
        mg_view message = mg_json_string(mg_json_get(row, "message"));
        printf("%-9.*s %-16.*s %-28.*s %-17s %-16.*s %.*s\n", MG_FMT(kind), MG_FMT(project), MG_FMT(name),
               mg_act_when(since, mg_json_get(row, "since_us"), "-"), MG_FMT(by), MG_FMT(message));
    }
}

int mg_cli_disabled(int argc, char **argv)
{
    struct arguments a = {.name = NULL};
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
    if (end != MG_CLI_GO)
        return end;
    const struct mg_act act = {.command = "disabled", .data = a.data, .config = a.config, .method = "GET",
                               .path = "/admin/v1/disabled", .json = a.json, .offline = list_offline, .print = print_list,
                               .arg = &a};
    return mg_act_run(&act);
}
