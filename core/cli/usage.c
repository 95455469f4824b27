/* moongate usage: what was used and what it costs, by any dimension; its events; a bill made of them by a script or a plugin; and
 * `reprice` for the past.
 *
 * The running gateway answers, or the store when none runs: the same JSON either way, which is then printed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/history.h"
#include "cli/place.h"
#include "cli/reprice.h"
#include "script/bill.h"
#include "script/script.h"
#include "watch/logs.h"
#include "watch/usage.h"

enum { PATH_BYTES = 4096, MONEY_COLUMN = 16 };

/* The parameters of watch/usage.h, as options. */
#define PARAMETER_LIST(X)                                                                          \
    X(by, "--by", "NAMES", "count by these, with commas: project,key,workflow,arm,provider,model,day,metadata.NAME...") \
    X(where, "--where", "NAME=VALUE", "only what has it; with commas for more: metadata.tier=gold,class=none") \
    X(project, "--project", "NAME", "of this project")                                             \
    X(key, "--key", "ID", "with this key")                                                         \
    X(workflow, "--workflow", "NAME", "for this workflow")                                         \
    X(provider, "--provider", "NAME", "at this provider")                                          \
    X(model, "--model", "NAME", "of this model, as it was asked for")                              \
    X(from, "--from", "TIME", "that settled since: 30d ago, or 2026-11-01 (UTC)")                  \
    X(to, "--to", "TIME", "that settled before this")

enum parameter {
#define X(name, option, value, help) PARAMETER_##name,
    PARAMETER_LIST(X)
#undef X
        PARAMETER_COUNT
};

static const char *const names[] = {
#define X(name, option, value, help) #name,
    PARAMETER_LIST(X)
#undef X
};

struct arguments {
    const char *values[PARAMETER_COUNT];
    const char *prices, *data, *config;
    bool json, csv, dry_run;
    const char *verb;                  /* "events", "bill", "reprice"; NULL: sums */
    const char *script;                /* of bill */
    const char *plugin;                /* of bill, in its place */
};

struct asking {
    struct arguments *arguments;
    struct mg_usage_query query;
    char path[PATH_BYTES];
    struct mg_history history;
};

static int parse(int argc, char **argv, struct arguments *a);
static int run_sums(struct asking *asking);
static int run_events(struct asking *asking);
static int run_bill(struct asking *asking);
static int run_reprice(struct asking *asking);
static void print_table(const struct mg_json *answer);
static void print_csv(const struct mg_json *answer);
static int print_tree(const struct mg_json *tree);

int mg_cli_usage(int argc, char **argv)
{
    static struct asking asking;
    struct arguments a = {.json = false};
    struct mg_diag diag = {.line = 0};
    int end = parse(argc, argv, &a);
    if (end != MG_CLI_GO)
        return end;
    asking = (struct asking){.arguments = &a};
    for (int i = 0; i < PARAMETER_COUNT; i++)
        if (a.values[i] &&
            mg_usage_set(&asking.query, mg_view_cstr(names[i]), mg_view_cstr(a.values[i]), &diag) != MG_OK)
            return mg_cli_complain(MG_EXIT_USAGE, "usage", "%s", diag.text);
    if (mg_place_data(a.data, a.config, asking.history.data_dir, &diag) != MG_OK)
        return mg_cli_failed("usage", &diag);
    if (!a.verb)
        return run_sums(&asking);
    if (strcmp(a.verb, "events") == 0)
        return run_events(&asking);
    return strcmp(a.verb, "bill") == 0 ? run_bill(&asking) : run_reprice(&asking);
}

static int parse(int argc, char **argv, struct arguments *a)
{
    const struct mg_option options[] = {
#define X(name, option, value, help) {option, NULL, value, MG_OPTION_TEXT, &a->values[PARAMETER_##name], help},
        PARAMETER_LIST(X)
#undef X
            {"--json", NULL, NULL, MG_OPTION_FLAG, &a->json, "print JSON"},
        {"--csv", NULL, NULL, MG_OPTION_FLAG, &a->csv, "print comma-separated values"},
        {"--plugin", NULL, "NAME", MG_OPTION_TEXT, &a->plugin, "bill: made by this plugin of --project instead of a script"},
        {"--prices", NULL, "FILE", MG_OPTION_TEXT, &a->prices, "reprice: by this catalogue instead of the one in force"},
        {"--dry-run", NULL, NULL, MG_OPTION_FLAG, &a->dry_run, "reprice: only say the difference"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a->data, "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a->config, "the configuration that names the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    a->verb = argc > 1 ? argv[1] : NULL;
    a->script = argc > 2 ? argv[2] : NULL;
    bool reprice = a->verb && strcmp(a->verb, "reprice") == 0;
    bool bill = a->verb && strcmp(a->verb, "bill") == 0;
    if (a->verb && !reprice && !bill && strcmp(a->verb, "events") != 0)
        return mg_cli_complain(MG_EXIT_USAGE, "usage", "there are \"events\", \"bill\" and \"reprice\", not \"%s\"", a->verb);
    if (!bill && (a->script || a->plugin))
        return mg_cli_complain(MG_EXIT_USAGE, "usage", a->script ? "one argument too many" : "--plugin is for bill");
    if (bill && !a->script == !a->plugin)
        return mg_cli_complain(MG_EXIT_USAGE, "usage", "bill needs a Lua file, or --plugin and --project");
    if (a->plugin && !a->values[PARAMETER_project])
        return mg_cli_complain(MG_EXIT_USAGE, "usage", "--plugin needs --project: whose plugin it is");
    if (!reprice && (a->prices || a->dry_run))
        return mg_cli_complain(MG_EXIT_USAGE, "usage", "--prices and --dry-run are for reprice");
    for (int i = 0; a->verb && i < PARAMETER_from; i++)
        if (a->values[i] && (reprice || i != PARAMETER_project))
            return mg_cli_complain(MG_EXIT_USAGE, "usage", "--%s is for sums: %s takes --from and --to%s", names[i], a->verb,
                                   reprice ? "" : " and --project");
    return MG_CLI_GO;
}

/* ---- asking */

static mg_err put_path(struct asking *asking, const char *path, uint64_t after)
{
    struct mg_buf out;
    mg_buf_init(&out, PATH_BYTES - 1);
    mg_err err = mg_buf_putf(&out, "%s?after=%" PRIu64, path, after);
    for (int i = 0; i < PARAMETER_COUNT && err == MG_OK; i++) {
        if (!asking->arguments->values[i])
            continue;
        err = mg_buf_putf(&out, "&%s=", names[i]);
        if (err == MG_OK)
            err = mg_control_put_escaped(&out, asking->arguments->values[i]);
    }
    if (err == MG_OK)
        snprintf(asking->path, sizeof asking->path, "%s", mg_buf_cstr(&out));
    mg_buf_fini(&out);
    return err;
}

static mg_err sums_offline(const void *arg, struct mg_db *db, struct mg_buf *out)
{
    return mg_usage_report_json(db, arg, out);
}

static mg_err events_offline(const void *arg, struct mg_db *db, struct mg_buf *out)
{
    return mg_usage_events_json(db, arg, out);
}

static mg_err ask(struct asking *asking, const char *path, uint64_t after, struct mg_json **out_answer, struct mg_diag *diag)
{
    if (put_path(asking, path, after) != MG_OK)
        return mg_diag_set(diag, MG_E_TOO_LARGE, "", 0, "the options are too long");
    asking->query.range.from_us = MG_MAX(asking->query.range.from_us, after);
    asking->history.path = asking->path;
    asking->history.arg = &asking->query;
    return mg_history_ask(&asking->history, out_answer, diag);
}

static int run_sums(struct asking *asking)
{
    struct mg_diag diag = {.line = 0};
    struct mg_json *answer;
    int exit_code = MG_EXIT_OK;
    asking->history.offline = sums_offline;
    if (ask(asking, "/admin/v1/usage", 0, &answer, &diag) != MG_OK)
        return mg_cli_failed("usage", &diag);
    if (asking->arguments->json)
        exit_code = print_tree(answer);
    else if (asking->arguments->csv)
        print_csv(answer);
    else
        print_table(answer);
    int64_t requests = 0;
    bool none = mg_json_i64(mg_json_path(answer, "total.requests"), &requests) && requests == 0;
    mg_json_free(answer);
    return none && exit_code == MG_EXIT_OK
               ? mg_history_known(&asking->history, "usage", asking->arguments->values[PARAMETER_project], asking->arguments->values[PARAMETER_key])
               : exit_code;
}

/* Page by page, oldest first. The first error ends it. */
static mg_err each_event(struct asking *asking, mg_err (*each)(void *arg, const struct mg_json *event, struct mg_diag *diag),
                         void *arg, struct mg_diag *diag)
{
    int64_t next = 0;
    mg_err err = MG_OK;
    asking->history.offline = events_offline;
    do {
        struct mg_json *answer;
        MG_TRY(ask(asking, "/admin/v1/usage/events", (uint64_t)next, &answer, diag));
        const struct mg_json *event = mg_json_first(mg_json_get(answer, "events"));
        for (; event && err == MG_OK; event = mg_json_next(event))
            err = each(arg, event, diag);
        if (!mg_json_i64(mg_json_get(answer, "next"), &next))
            next = 0;
        mg_json_free(answer);
    } while (next > 0 && err == MG_OK && !ferror(stdout));
    return err;
}

static mg_err print_event(void *arg, const struct mg_json *event, struct mg_diag *diag)
{
    return print_tree(event) == MG_EXIT_OK ? MG_OK : mg_diag_set(diag, MG_E_IO, "", 0, "an event could not be printed");
}

/* One object a line, as the exports write them. */
static int run_events(struct asking *asking)
{
    struct mg_diag diag = {.line = 0};
    return each_event(asking, print_event, NULL, &diag) == MG_OK ? MG_EXIT_OK : mg_cli_failed("usage", &diag);
}

static mg_err bill_event(void *arg, const struct mg_json *event, struct mg_diag *diag)
{
    return mg_bill_event(arg, event, diag);
}

static mg_err make_bill(struct asking *asking, struct mg_bill *bill, struct mg_diag *diag)
{
    struct mg_buf text;
    mg_buf_init(&text, MG_BILL_TEXT_BYTES);
    mg_err err = each_event(asking, bill_event, bill, diag);
    if (err == MG_OK)
        err = mg_bill_invoice(bill, &text, diag);
    if (err == MG_OK)
        printf("%.*s", MG_FMT(mg_buf_view(&text)));
    mg_buf_fini(&text);
    return err;
}

static mg_err bill_by_script(struct asking *asking, struct mg_diag *diag)
{
    struct mg_bill *bill;
    MG_TRY(mg_bill_open(asking->arguments->script, &bill, diag));
    mg_err err = make_bill(asking, bill, diag);
    mg_bill_close(bill);
    return err;
}

/* projects/NAME.lua beside gateway.lua. */
static mg_err load_project(const struct arguments *a, struct mg_config_project **out_project, struct mg_diag *diag)
{
    struct mg_arena arena;
    char path[PATH_BYTES];
    mg_arena_init(&arena, 4096);
    const char *gateway = mg_place_config(a->config, &arena), *slash = gateway ? strrchr(gateway, '/') : NULL;
    int folder = slash ? (int)(slash - gateway) : 1;
    bool fits = snprintf(path, sizeof path, "%.*s/projects/%s.lua", folder, slash ? gateway : ".", a->values[PARAMETER_project]) < (int)sizeof path;
    mg_arena_fini(&arena);
    if (!fits || strchr(a->values[PARAMETER_project], '/'))
        return mg_diag_set(diag, MG_E_NOT_FOUND, "", 0, "\"%s\" is no project's name", a->values[PARAMETER_project]);
    return mg_config_load_project(path, out_project, diag);
}

static mg_err bill_by_plugin(struct asking *asking, struct mg_diag *diag)
{
    struct mg_config_project *project;
    struct mg_bill *bill = NULL;
    MG_TRY(load_project(asking->arguments, &project, diag));
    mg_err err = mg_script_init(diag);
    if (err == MG_OK) {
        err = mg_bill_open_plugin(project, asking->arguments->plugin, &bill, diag);
        if (err == MG_OK)
            err = make_bill(asking, bill, diag);
        mg_bill_close(bill);
        mg_script_fini();
    }
    mg_config_project_free(project);
    return err;
}

static int run_bill(struct asking *asking)
{
    struct mg_diag diag = {.line = 0};
    mg_err err = asking->arguments->plugin ? bill_by_plugin(asking, &diag) : bill_by_script(asking, &diag);
    return err == MG_OK ? MG_EXIT_OK : mg_cli_failed("usage", &diag);
}

/* ---- printing */

static int print_tree(const struct mg_json *tree)
{
    struct mg_buf line;
    mg_buf_init(&line, MG_LOGS_JSON_BYTES);
    mg_err err = mg_json_print(tree, &line);
    if (err == MG_OK)
        printf("%.*s\n", MG_FMT(mg_buf_view(&line)));
    mg_buf_fini(&line);
    return err == MG_OK ? MG_EXIT_OK : mg_cli_complain(MG_EXIT_FAILED, "usage", "%s", mg_err_text(err));
}

static uint64_t number(const struct mg_json *row, const char *name)
{
    int64_t value;
    return mg_json_i64(mg_json_get(row, name), &value) ? (uint64_t)value : 0;
}

/* Exact, without the zeros that say nothing: at least two decimals. */
static mg_view dollars(const struct mg_json *row, const char *name)
{
    mg_view text = mg_json_string(mg_json_get(row, name));
    size_t point = mg_view_find(text, ".");
    while (text.len > point + 3 && text.ptr[text.len - 1] == '0')
        text.len--;
    return text;
}

static unsigned columns_of(mg_view text)
{
    unsigned columns = 0;
    for (size_t i = 0; i < text.len; i++)
        columns += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return columns;
}

static mg_view value_of(const struct mg_json *row, const struct mg_json *name)
{
    for (const struct mg_json *member = mg_json_first(row); member; member = mg_json_next(member))
        if (mg_view_eq(mg_json_key(member), mg_json_string(name)) && mg_json_string(member).ptr)
            return mg_json_string(member);
    return MG_VIEW("-");
}

static unsigned width_of(const struct mg_json *answer, const struct mg_json *name)
{
    unsigned width = columns_of(mg_json_string(name));
    for (const struct mg_json *row = mg_json_first(mg_json_get(answer, "rows")); row; row = mg_json_next(row))
        width = MG_MAX(width, columns_of(value_of(row, name)));
    return MG_MAX(MG_MIN(width, 40u), 5u);
}

static void print_sums(const struct mg_json *row)
{
    printf("%9" PRIu64 " %9" PRIu64 " %13" PRIu64 " %13" PRIu64 " %13" PRIu64 " %*.*s %*.*s\n", number(row, "requests"),
           number(row, "attempts"), number(row, "input_tokens"), number(row, "cached_read_tokens"),
           number(row, "output_tokens"), MONEY_COLUMN, MG_FMT(dollars(row, "cost_usd")), MONEY_COLUMN,
           MG_FMT(dollars(row, "charged_usd")));
}

static void print_notes(const struct mg_json *total)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    if (number(total, "estimated") > 0)
        printf("%s%" PRIu64 " attempts did not report their tokens: %" PRIu64 " tokens are estimates%s\n", paint->yellow,
               number(total, "estimated"), number(total, "estimated_tokens"), paint->off);
    if (number(total, "unpriced") > 0)
        printf("%s%" PRIu64 " attempts have no price and are not in the cost (moongate prices list)%s\n", paint->yellow,
               number(total, "unpriced"), paint->off);
}

static void print_table(const struct mg_json *answer)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    const struct mg_json *by = mg_json_get(answer, "by"), *total = mg_json_get(answer, "total");
    unsigned indent = 0;
    printf("%s", paint->dim);
    for (const struct mg_json *name = mg_json_first(by); name; name = mg_json_next(name)) {
        unsigned width = width_of(answer, name);
        mg_history_pad(stdout, mg_json_string(name), width);
        putchar(' ');
        indent += width + 1;
    }
    printf("%9s %9s %13s %13s %13s %*s %*s%s\n", "requests", "attempts", "input", "cached", "output", MONEY_COLUMN, "cost $",
           MONEY_COLUMN, "charged $", paint->off);
    for (const struct mg_json *row = mg_json_first(mg_json_get(answer, "rows")); row && mg_json_first(by); row = mg_json_next(row)) {
        for (const struct mg_json *name = mg_json_first(by); name; name = mg_json_next(name)) {
            mg_history_pad(stdout, value_of(row, name), width_of(answer, name));
            putchar(' ');
        }
        print_sums(row);
    }
    printf("%s", paint->bold);
    if (indent > 0)
        printf("%-*s", (int)indent, "total");
    print_sums(total);
    printf("%s", paint->off);
    print_notes(total);
}

static void print_cell(mg_view text)
{
    if (mg_view_find(text, ",\"\r\n") == text.len) {
        printf("%.*s", MG_FMT(text));
        return;
    }
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        putchar(text.ptr[i]);
        if (text.ptr[i] == '"')
            putchar('"');
    }
    putchar('"');
}

/* The members of a row as columns, in their order; what is null is empty. */
static void print_csv(const struct mg_json *answer)
{
    const struct mg_json *rows = mg_json_get(answer, "rows");
    struct mg_buf text;
    mg_buf_init(&text, 4096);
    for (const struct mg_json *row = mg_json_first(rows); row; row = mg_json_next(row)) {
        for (const struct mg_json *name = mg_json_first(row); name && row == mg_json_first(rows); name = mg_json_next(name)) {
            print_cell(mg_json_key(name));
            putchar(mg_json_next(name) ? ',' : '\n');
        }
        for (const struct mg_json *cell = mg_json_first(row); cell; cell = mg_json_next(cell)) {
            mg_buf_clear(&text);
            bool is_text = mg_json_is(cell, MG_JSON_STRING), is_null = mg_json_is(cell, MG_JSON_NULL);
            if (!is_text && !is_null && mg_json_print(cell, &text) != MG_OK)
                mg_buf_clear(&text);
            print_cell(is_text ? mg_json_string(cell) : mg_buf_view(&text));
            putchar(mg_json_next(cell) ? ',' : '\n');
        }
    }
    mg_buf_fini(&text);
}

/* ---- reprice */

static int run_reprice(struct asking *asking)
{
    const struct arguments *a = asking->arguments;
    struct mg_diag diag = {.line = 0};
    struct mg_cli_repriced sum = {0};
    char prices[PATH_BYTES], before[MG_USAGE_USD], after[MG_USAGE_USD];
    if (a->prices && !realpath(a->prices, prices))
        return mg_cli_complain(MG_EXIT_FAILED, "usage", "cannot find the price catalogue %s", a->prices);
    if (mg_cli_reprice(asking->history.data_dir, a->prices ? prices : NULL, &asking->query.range, a->dry_run, &sum, &diag) != MG_OK)
        return mg_cli_failed("usage", &diag);
    mg_usage_usd(before, sum.before_picousd);
    mg_usage_usd(after, sum.after_picousd);
    bool more = sum.after_picousd >= sum.before_picousd;
    char difference[MG_USAGE_USD];
    mg_usage_usd(difference, more ? sum.after_picousd - sum.before_picousd : sum.before_picousd - sum.after_picousd);
    if (a->json) {
        printf("{\"exchanges\":%" PRIu64 ",\"attempts\":%" PRIu64 ",\"changed\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"unpriced\":%" PRIu64
               ",\"before_usd\":\"%s\",\"after_usd\":\"%s\",\"difference_usd\":\"%s%s\",\"dry_run\":%s}\n",
               sum.exchanges, sum.attempts, sum.changed, sum.kept, sum.unpriced, before, after, more ? "" : "-", difference,
               a->dry_run ? "true" : "false");
        return MG_EXIT_OK;
    }
    printf("%" PRIu64 " requests, %" PRIu64 " attempts: %" PRIu64 " %s, %" PRIu64 " keep their target's own price, %" PRIu64
           " have no price\n",
           sum.exchanges, sum.attempts, sum.changed, a->dry_run ? "would change" : "changed", sum.kept, sum.unpriced);
    printf("before      $ %s\nafter       $ %s\ndifference  $ %s%s\n", before, after, more ? "+" : "-", difference);
    return MG_EXIT_OK;
}
