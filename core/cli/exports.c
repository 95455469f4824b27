/* moongate exports: where usage events are handed on to, what waits, and what a sink last complained of.
 *
 * The running gateway answers; without one the store says how far each sink has got. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/history.h"
#include "cli/place.h"
#include "watch/exports.h"
#include "watch/logs.h"

enum { NAME_COLUMN = 20, TO_COLUMN = 40 };

static mg_err from_store(const void *arg, struct mg_db *db, struct mg_buf *out)
{
    (void)arg;
    return mg_exports_json(db, NULL, 0, out);
}

static uint64_t number(const struct mg_json *row, const char *name)
{
    int64_t value;
    return mg_json_i64(mg_json_get(row, name), &value) && value > 0 ? (uint64_t)value : 0;
}

static const char *age(char out[MG_TIME_TEXT], uint64_t since_us)
{
    uint64_t now_us = mg_wall_us();
    return since_us ? mg_history_time(out, now_us > since_us ? now_us - since_us : 0, true) : "-";
}

static const char *health(const struct mg_json *row)
{
    if (!mg_json_bool(mg_json_get(row, "running"), false))
        return "stopped";
    return number(row, "failed_in_row") > 0 ? "failing" : "ok";
}

static void print_export(const struct mg_json *row)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    char waited[MG_TIME_TEXT], taken[MG_TIME_TEXT];
    mg_view to = mg_json_string(mg_json_get(row, "to")), error = mg_json_string(mg_json_get(row, "error"));
    mg_history_pad(stdout, mg_json_string(mg_json_get(row, "name")), NAME_COLUMN);
    putchar(' ');
    mg_history_pad(stdout, to.len ? to : MG_VIEW("-"), TO_COLUMN);
    printf(" %-8s %9" PRIu64 " %8s %11" PRIu64 " %8" PRIu64 " %8s\n", health(row), number(row, "waiting"),
           age(waited, number(row, "waiting_since_us")), number(row, "events"), number(row, "failures"), age(taken, number(row, "taken_us")));
    if (error.len > 0) {
        printf("  %s", paint->yellow);
        mg_history_put(stdout, error, 0);
        printf("%s\n", paint->off);
    }
}

static int print_all(const struct mg_json *answer, bool json)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    struct mg_buf line;
    mg_buf_init(&line, MG_LOGS_JSON_BYTES);
    mg_err err = json ? mg_json_print(answer, &line) : MG_OK;
    if (json)
        printf("%.*s\n", MG_FMT(mg_buf_view(&line)));
    mg_buf_fini(&line);
    if (json)
        return err == MG_OK ? MG_EXIT_OK : mg_cli_complain(MG_EXIT_FAILED, "exports", "%s", mg_err_text(err));

    const struct mg_json *row = mg_json_first(mg_json_get(answer, "exports"));
    if (!row)
        fprintf(stderr, "usage events are not handed on to anybody (exports in gateway.lua)\n");
    else
        printf("%s%-*s %-*s %-8s %9s %8s %11s %8s %8s%s\n", paint->dim, NAME_COLUMN, "sink", TO_COLUMN, "to", "state", "waiting",
               "oldest", "events", "failures", "last", paint->off);
    for (; row; row = mg_json_next(row))
        print_export(row);
    return MG_EXIT_OK;
}

int mg_cli_exports(int argc, char **argv)
{
    static struct mg_history history;
    const char *data = NULL, *config = NULL;
    bool json = false;
    struct mg_diag diag = {.line = 0};
    struct mg_json *answer = NULL;
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &config, "the configuration that names the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
    if (end != MG_CLI_GO)
        return end;
    history = (struct mg_history){.path = "/admin/v1/exports", .offline = from_store};
    if (mg_place_data(data, config, history.data_dir, &diag) != MG_OK || mg_history_ask(&history, &answer, &diag) != MG_OK)
        return mg_cli_failed("exports", &diag);
    end = print_all(answer, json);
    mg_json_free(answer);
    return end;
}
