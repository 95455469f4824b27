/* moongate responses: what projects keep for the Responses API; moongate responses erase PROJECT: its end. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "cli/act.h"
#include "cli/cli.h"
#include "cli/history.h"
#include "store/responses.h"
#include "watch/responses.h"

struct arguments {
    const char *data, *config, *key, *project;
    bool json;
};

static mg_err list_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    (void)arg;
    (void)diag;
    return mg_responses_json(store->db, MG_VIEW_NONE, out);
}

static uint64_t number(const struct mg_json *row, const char *name)
{
    int64_t value;
    return mg_json_i64(mg_json_get(row, name), &value) && value > 0 ? (uint64_t)value : 0;
}

static void print_list(void *arg, const struct mg_json *answer)
{
    const struct mg_json *rows = mg_json_get(answer, "responses");
    (void)arg;
    if (!mg_json_first(rows)) {
        printf("no project keeps responses\n");
        return;
    }
    printf("%-24s %12s %10s %s\n", "PROJECT", "RESPONSES", "BYTES", "OLDEST");
    for (const struct mg_json *row = mg_json_first(rows); row; row = mg_json_next(row)) {
        char bytes[MG_TIME_TEXT], oldest[32];
        mg_view project = mg_json_string(mg_json_get(row, "project"));
        printf("%-24.*s %12llu %10s %s\n", MG_FMT(project), (unsigned long long)number(row, "count"),
               mg_history_count(bytes, number(row, "bytes")), mg_act_when(oldest, mg_json_get(row, "oldest_us"), "-"));
    }
}

static mg_err erase_offline(void *arg, const struct mg_act_store *store, struct mg_buf *out, struct mg_diag *diag)
{
    const struct arguments *a = arg;
    uint64_t gone;
    (void)diag;
    MG_TRY(mg_responses_erase(store->db, mg_view_cstr(a->project), mg_view_cstr(a->key), &gone));
    return mg_buf_putf(out, "{\"erased\":%llu,\"project\":\"%s\"}", (unsigned long long)gone, a->project);
}

static void print_erased(void *arg, const struct mg_json *answer)
{
    const struct arguments *a = arg;
    printf("%llu responses of project %s are erased\n", (unsigned long long)number(answer, "erased"), a->project);
}

static int list(struct arguments *a)
{
    const struct mg_act act = {.command = "responses", .data = a->data, .config = a->config, .method = "GET", .path = "/admin/v1/responses",
                               .json = a->json, .offline = list_offline, .print = print_list, .arg = a};
    return mg_act_run(&act);
}

static mg_err put_body(const struct arguments *a, struct mg_buf *out)
{
    MG_TRY(mg_buf_put(out, MG_VIEW("{\"project\":")));
    MG_TRY(mg_act_put_quoted(out, a->project));
    if (a->key) {
        MG_TRY(mg_buf_put(out, MG_VIEW(",\"key\":")));
        MG_TRY(mg_act_put_quoted(out, a->key));
    }
    return mg_buf_putc(out, '}');
}

static int erase(struct arguments *a)
{
    struct mg_buf body;
    mg_buf_init(&body, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = put_body(a, &body);
    const struct mg_act act = {.command = "responses", .data = a->data, .config = a->config, .method = "POST",
                               .path = "/admin/v1/responses/erase", .body = mg_buf_view(&body), .json = a->json, .audit = "responses.erase",
                               .offline = erase_offline, .print = print_erased, .arg = a};
    int end = err == MG_OK ? mg_act_run(&act) : mg_cli_complain(MG_EXIT_USAGE, act.command, "these arguments are too long");
    mg_buf_fini(&body);
    return end;
}

static bool is_name(const char *text)
{
    return !text || (*text && strlen(text) < 80 && !mg_view_has_controls(mg_view_cstr(text)) && !strpbrk(text, "\"\\"));
}

int mg_cli_responses(int argc, char **argv)
{
    struct arguments a = {.json = false};
    const struct mg_option options[] = {
        {"--key", NULL, "ID", MG_OPTION_TEXT, &a.key, "erase: only what this key keeps; of rotated ones, the first"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a.json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a.data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a.config, "gateway.lua, to find the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    if (argc == 1 && !a.key)
        return list(&a);
    a.project = argc == 3 ? argv[2] : NULL;
    if (argc != 3 || strcmp(argv[1], "erase") != 0 || !is_name(a.project) || !is_name(a.key))
        return mg_cli_complain(MG_EXIT_USAGE, "responses", "say whose: responses erase PROJECT [--key ID]");
    return erase(&a);
}
