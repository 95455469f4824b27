/* moongate limits: every limit, what is used and left of it, when something passes again, and what it refused.
 *
 * The counts live in the gateway's memory, so only a running one can be asked. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/history.h"
#include "cli/place.h"
#include "gateway/limit_list.h"

enum { FEW = 200, PATH_BYTES = 512, TEXT = 160, NAME_COLUMN = 46, WHOSE_COLUMN = 22, FIGURE_COLUMN = 10 };

struct arguments {
    const char *project, *data, *config;
    bool json, all;
    char data_dir[MG_FOLDER_PATH_BYTES];
};

static int parse(int argc, char **argv, struct arguments *a);
static int run(const struct arguments *a);
static void print_limits(const struct mg_json *answer);

int mg_cli_limits(int argc, char **argv)
{
    struct arguments a = {.project = ""};
    struct mg_diag diag = {.line = 0};
    int end = parse(argc, argv, &a);
    if (end != MG_CLI_GO)
        return end;
    if (mg_place_data(a.data, a.config, a.data_dir, &diag) != MG_OK)
        return mg_cli_failed("limits", &diag);
    return run(&a);
}

static int parse(int argc, char **argv, struct arguments *a)
{
    const struct mg_option options[] = {
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a->project, "of this project"},
        {"--all", NULL, NULL, MG_OPTION_FLAG, &a->all, "up to ten thousand, not only the 200 of which most is used"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a->json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a->data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a->config, "the configuration that names the data folder"},
    };
    return mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
}

/* ---- asking */

static mg_err put_path(const struct arguments *a, struct mg_buf *path)
{
    MG_TRY(mg_buf_putf(path, "/admin/v1/limits?limit=%d", a->all ? MG_LIMITS_MOST : FEW));
    if (!*a->project)
        return MG_OK;
    MG_TRY(mg_buf_put(path, MG_VIEW("&project=")));
    return mg_control_put_escaped(path, a->project);
}

static mg_err ask(const struct arguments *a, int *out_status, struct mg_buf *out, struct mg_diag *diag)
{
    struct mg_buf path;
    mg_buf_init(&path, PATH_BYTES);
    mg_err err = put_path(a, &path);
    if (err == MG_OK)
        err = mg_control_request(a->data_dir, "GET", mg_buf_cstr(&path), MG_VIEW_NONE, out_status, out, diag);
    else
        mg_diag_set(diag, err, NULL, 0, "that is too long for a name");
    mg_buf_fini(&path);
    if (err == MG_E_NOT_FOUND)
        mg_diag_set(diag, err, NULL, 0, "no gateway runs in %s, and what is left of limits is known only while one does "
                    "(-c or --data says where to look)", a->data_dir);
    return err;
}

static int show(const struct arguments *a, int status, const struct mg_buf *answer)
{
    struct mg_json *json = NULL;
    int end = MG_EXIT_OK;
    if (mg_json_parse(mg_buf_view(answer), MG_MAX_RESPONSE_BODY_BYTES, &json, NULL) != MG_OK)
        return mg_cli_complain(MG_EXIT_FAILED, "limits", "the gateway's answer is not JSON");
    if (status >= 400) {
        mg_view message = mg_json_string(mg_json_path(json, "error.message"));
        end = mg_cli_complain(MG_EXIT_FAILED, "limits", "%.*s", MG_FMT(message));
    } else if (a->json) {
        printf("%.*s\n", MG_FMT(mg_buf_view(answer)));
    } else {
        print_limits(json);
    }
    mg_json_free(json);
    return end;
}

static int run(const struct arguments *a)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf answer;
    int status = 0;
    mg_buf_init(&answer, MG_MAX_RESPONSE_BODY_BYTES);
    mg_err err = ask(a, &status, &answer, &diag);
    int end = err == MG_OK ? show(a, status, &answer) : mg_cli_failed("limits", &diag);
    mg_buf_fini(&answer);
    return end;
}

/* ---- a line a limit */

static uint64_t number(const struct mg_json *object, const char *member)
{
    int64_t value = 0;
    return mg_json_i64(mg_json_get(object, member), &value) && value > 0 ? (uint64_t)value : 0;
}

static mg_view text(const struct mg_json *object, const char *member)
{
    return mg_json_string(mg_json_get(object, member));
}

static bool is_money(const struct mg_json *limit)
{
    return mg_view_eq(text(limit, "kind"), MG_VIEW("budget"));
}

static void put_right(const char *value, int columns)
{
    printf(" %*s", columns, value);
}

static void put_amount(const struct mg_json *limit, const char *member)
{
    char value[TEXT], count[MG_TIME_TEXT];
    if (is_money(limit))
        snprintf(value, sizeof value, "$%.2f", (double)number(limit, member) / 1e6);
    else
        snprintf(value, sizeof value, "%s", mg_history_count(count, number(limit, member)));
    put_right(value, FIGURE_COLUMN);
}

/* "600/min", "50", "$300/month" */
static void put_max(const struct mg_json *limit)
{
    char value[TEXT], count[MG_TIME_TEXT];
    bool per_minute = mg_view_ends(text(limit, "kind"), MG_VIEW("_per_minute"));
    if (is_money(limit))
        snprintf(value, sizeof value, "$%.6g/%.*s", (double)number(limit, "max") / 1e6, MG_FMT(text(limit, "per")));
    else
        snprintf(value, sizeof value, "%s%s", mg_history_count(count, number(limit, "max")), per_minute ? "/min" : "");
    put_right(value, FIGURE_COLUMN + 3);
}

static const char *whose(char out[TEXT], const struct mg_json *limit)
{
    mg_view scope = text(limit, "scope"), name = text(limit, "name"), value = text(limit, "value");
    if (mg_json_bool(mg_json_get(limit, "shared"), false))
        snprintf(out, TEXT, "(all others)");
    else if (mg_view_eq(scope, MG_VIEW("metadata")))
        snprintf(out, TEXT, "%.*s", MG_FMT(value.len ? value : MG_VIEW("(without)")));
    else if (mg_view_eq(scope, MG_VIEW("key")))
        snprintf(out, TEXT, "%.*s", MG_FMT(name.len ? name : value));
    else
        snprintf(out, TEXT, "%s", "-");
    return out;
}

/* When something passes again; "-": now. */
static void put_again(const struct mg_json *limit)
{
    char time[MG_TIME_TEXT] = "-";
    uint64_t moment = number(limit, "free_us"), now = mg_wall_us();
    if (mg_json_is(mg_json_get(limit, "free_us"), MG_JSON_NULL))
        snprintf(time, sizeof time, "one ends");
    else if (moment)
        mg_history_time(time, moment > now ? moment - now : 0, true);
    put_right(time, FIGURE_COLUMN);
}

static const char *colour(const struct mg_paint *paint, const struct mg_json *limit)
{
    uint64_t used = number(limit, "used"), soft = number(limit, "soft");
    if (number(limit, "left") == 0)
        return paint->red;
    return soft && used >= soft ? paint->yellow : "";
}

static void put_head(const struct mg_paint *paint)
{
    printf("%s%-*s %-*s %*s %*s %*s %*s %*s%s\n", paint->dim, NAME_COLUMN, "LIMIT", WHOSE_COLUMN, "WHOSE", FIGURE_COLUMN + 3, "MAX",
           FIGURE_COLUMN, "USED", FIGURE_COLUMN, "LEFT", FIGURE_COLUMN, "AGAIN IN", FIGURE_COLUMN - 2, "REFUSED", paint->off);
}

static void put_limit(const struct mg_json *limit)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    char value[TEXT], count[MG_TIME_TEXT];
    mg_history_pad(stdout, text(limit, "limit"), NAME_COLUMN);
    putchar(' ');
    mg_history_pad(stdout, mg_view_cstr(whose(value, limit)), WHOSE_COLUMN);
    put_max(limit);
    printf("%s", colour(paint, limit));
    put_amount(limit, "used");
    put_amount(limit, "left");
    printf("%s", paint->off);
    put_again(limit);
    put_right(mg_history_count(count, number(limit, "refused")), FIGURE_COLUMN - 2);
    putchar('\n');
}

static void print_limits(const struct mg_json *answer)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    const struct mg_json *limits = mg_json_get(answer, "limits");
    mg_view project = MG_VIEW_NONE;
    if (!mg_json_first(limits))
        fprintf(stderr, "nothing is limited\n");
    for (const struct mg_json *limit = mg_json_first(limits); limit; limit = mg_json_next(limit)) {
        if (!mg_view_eq(project, text(limit, "project"))) {
            printf("%sproject %s%.*s%s\n", project.len ? "\n" : "", paint->bold, MG_FMT(text(limit, "project")), paint->off);
            put_head(paint);
        }
        project = text(limit, "project");
        put_limit(limit);
    }
    if (number(answer, "left_out"))
        fprintf(stderr, "%" PRIu64 " more, of which less is used, are not shown (--all)\n", number(answer, "left_out"));
}
