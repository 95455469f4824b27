/* moongate logs: a line a request, the newest at the bottom; -f goes on as they come. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/history.h"
#include "cli/logs_groups.h"
#include "cli/place.h"
#include "watch/logs.h"
#include "watch/search.h"
#include "watch/sums_json.h"

enum { POLL_MS = 500, PATH_BYTES = 4096, WIDE = 120, NARROW = 100 };

/* The filters of watch/logs.h, as options. */
#define FILTER_LIST(X)                                                                             \
    X(project, "--project", "NAME", "of this project")                                             \
    X(workflow, "--workflow", "NAME", "for this workflow")                                         \
    X(key, "--key", "ID", "with this key")                                                         \
    X(provider, "--provider", "NAME", "with an attempt at this provider")                          \
    X(model, "--model", "NAME", "with an attempt at this model")                                   \
    X(session, "--session", "ID", "of this x-moongate-session")                                    \
    X(status, "--status", "STATUS", "that ended so: 200, 5xx, or error for all that went wrong")   \
    X(class, "--class", "CLASS", "of this failure class: rate_limited, timeout_ttft, ...")         \
    X(min_latency, "--min-latency", "TIME", "that took at least so long: 250ms, 2s")               \
    X(user, "--user", "NAME", "of this end user: user, user_id or end_user of their metadata")     \
    X(sort, "--sort", "WHAT", "the largest first: latency, ttft, cost or tokens")                  \
    X(since, "--since", "TIME", "that ended since: 10m, 2h or 3d ago, or 2026-11-24T10:00 (UTC)")  \
    X(until, "--until", "TIME", "that ended before this")

/* Those that are options without a value. */
#define FLAG_LIST(X)                                                                               \
    X(retried, "--retried", "that needed more than one attempt")                                   \
    X(repeated, "--repeated", "with an attempt that repeated one at the same target")              \
    X(fell_over, "--fell-over", "with an attempt at a next target after one had failed")           \
    X(hedged, "--hedged", "with an attempt that was started beside a slow one")                    \
    X(rescued, "--rescued", "with an attempt that went on with a broken stream")                   \
    X(offline, "--offline", "that got the workflow's offline answer")                              \
    X(stream, "--stream", "that were streamed")

enum filter {
#define X(name, option, value, help) FILTER_##name,
    FILTER_LIST(X)
#undef X
        FILTER_COUNT
};

static const char *const names[] = {
#define X(name, option, value, help) #name,
    FILTER_LIST(X)
#undef X
};

struct arguments {
    const char *filters[FILTER_COUNT];
    const char *query, *by;
    const char *data, *config;
    int count;
#define X(name, option, help) bool name;
    FLAG_LIST(X)
#undef X
    bool follow, json;
};

struct request { /* what is asked: the query of the API and the same as a filter */
    struct arguments *arguments;
    struct mg_query filter;
    char path[PATH_BYTES];
    struct mg_history history;
};

static int parse(int argc, char **argv, struct arguments *a);
static int run(struct request *request);

int mg_cli_logs(int argc, char **argv)
{
    static struct request request;
    struct arguments a = {.count = MG_QUERY_LIMIT};
    struct mg_diag diag = {.line = 0};
    int end = parse(argc, argv, &a);
    if (end != MG_CLI_GO)
        return end;
    request = (struct request){.arguments = &a};
    for (int i = 0; i < FILTER_COUNT; i++)
        if (a.filters[i] && mg_query_set(&request.filter, mg_view_cstr(names[i]),
                                        mg_view_cstr(a.filters[i]), &diag) != MG_OK)
            return mg_cli_complain(MG_EXIT_USAGE, "logs", "%s", diag.text);
    if (a.query && mg_query_parse(&request.filter, mg_view_cstr(a.query), "", &diag) != MG_OK)
        return mg_cli_complain(MG_EXIT_USAGE, "logs", "%s", diag.text);
#define X(name, option, help)                                                                      \
    if (a.name && mg_query_set(&request.filter, MG_VIEW(#name), MG_VIEW("true"), &diag) != MG_OK)  \
        return mg_cli_complain(MG_EXIT_USAGE, "logs", "%s", diag.text);
    FLAG_LIST(X)
#undef X
    if (a.count < 1 || a.count > MG_QUERY_LIMIT_MAX)
        return mg_cli_complain(MG_EXIT_USAGE, "logs", "-n needs a number from 1 to %d",
                               MG_QUERY_LIMIT_MAX);
    if (mg_place_data(a.data, a.config, request.history.data_dir, &diag) != MG_OK)
        return mg_cli_failed("logs", &diag);
    return run(&request);
}

static int parse(int argc, char **argv, struct arguments *a)
{
    const struct mg_option options[] = {
        {"--number", "-n", "N", MG_OPTION_INT, &a->count, "show so many (50)"},
        {"--follow", "-f", NULL, MG_OPTION_FLAG, &a->follow, "go on and show requests as they end"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a->json, "print a JSON object a line"},
#define X(name, option, value, help)                                                               \
    {option, NULL, value, MG_OPTION_TEXT, &a->filters[FILTER_##name], help},
        FILTER_LIST(X)
#undef X
#define X(name, option, help) {option, NULL, NULL, MG_OPTION_FLAG, &a->name, help},
            FLAG_LIST(X)
#undef X
                {"--by", NULL, "FIELD", MG_OPTION_TEXT, &a->by,
                 "show sums and percentiles for each model, project, metadata.team ... instead"},
                {"--query", NULL, "QUERY", MG_OPTION_TEXT, &a->query,
                 "further filters, as the admin API takes them: metadata.team=blue&min_cost=0.05"},
                {"--data", NULL, "DIR", MG_OPTION_TEXT, &a->data,
                 "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a->config,
         "the configuration that names the data folder"},
    };
    return mg_cli_parse(&argc, argv, options, MG_COUNT(options), 0);
}

/* ---- asking */

static mg_err put_filter(struct mg_buf *out, const char *name, const char *value)
{
    MG_TRY(mg_buf_putf(out, "&%s=", name));
    return mg_control_put_escaped(out, value);
}

/* The query, with the page's cursor and size from the filter. */
static mg_err put_path(struct request *request)
{
    const struct arguments *a = request->arguments;
    struct mg_buf path;
    mg_buf_init(&path, PATH_BYTES - 1);
    mg_err err = a->by ? mg_buf_putf(&path, "/admin/v1/requests/groups?top=%u", request->filter.limit)
                       : mg_buf_putf(&path, "/admin/v1/requests?limit=%u", request->filter.limit);
    if (err == MG_OK && a->by)
        err = put_filter(&path, "by", a->by);
    for (int i = 0; i < FILTER_COUNT && err == MG_OK; i++)
        err = a->filters[i] ? put_filter(&path, names[i], a->filters[i]) : MG_OK;
    if (err == MG_OK && a->query)
        err = mg_buf_putf(&path, "&%s", a->query);
#define X(name, option, help)                                                                      \
    if (err == MG_OK && a->name)                                                                   \
        err = mg_buf_put(&path, MG_VIEW("&" #name "=true"));
    FLAG_LIST(X)
#undef X
    if (err == MG_OK && request->filter.after)
        err = mg_buf_putf(&path, "&after=%" PRIu64, request->filter.after);
    if (err == MG_OK)
        snprintf(request->path, sizeof request->path, "%s", mg_buf_cstr(&path));
    mg_buf_fini(&path);
    return err;
}

static mg_err groups_of(struct mg_search *search, const struct request *request, struct mg_buf *out)
{
    MG_TRY(mg_search_refresh(search, NULL));
    return mg_groups_json(search, &request->filter, mg_view_cstr(request->arguments->by), request->filter.limit, out, NULL);
}

static mg_err from_store(const void *arg, struct mg_db *db, struct mg_buf *out)
{
    const struct request *request = arg;
    if (!request->arguments->by)
        return mg_logs_store_json(db, &request->filter, out);
    struct mg_search *search = mg_search_new(db);
    mg_err err = groups_of(search, request, out);
    mg_search_free(search);
    return err;
}

static mg_err ask(struct request *request, struct mg_json **out_answer, struct mg_diag *diag)
{
    if (put_path(request) != MG_OK)
        return mg_diag_set(diag, MG_E_TOO_LARGE, "", 0, "the filters are too long");
    request->history.path = request->path;
    request->history.offline = from_store;
    request->history.arg = request;
    return mg_history_ask(&request->history, out_answer, diag);
}

/* ---- printing */

/* A line of its own where a day begins, but not for today when nothing older was shown. */
static void print_day(const struct tm *tm)
{
    static int last = -1;
    char text[32];
    struct tm today;
    time_t now = time(NULL);
    int day = tm->tm_year * 366 + tm->tm_yday;
    localtime_r(&now, &today);
    bool first_is_today = last < 0 && day == today.tm_year * 366 + today.tm_yday;
    if (day != last && !first_is_today) {
        const struct mg_paint *paint = mg_cli_paint(stdout);
        strftime(text, sizeof text, "%A, %Y-%m-%d", tm);
        printf("%s%s%s\n", paint->dim, text, paint->off);
    }
    last = day;
}

static const char *status_colour(const struct mg_paint *paint, const struct mg_logs_row *row)
{
    if (row->interrupted || row->status >= 500 || row->status == 499 || !row->clean)
        return paint->red;
    return row->status >= 400 ? paint->yellow : paint->green;
}

/* A narrow terminal shows where a request went rather than how long its first token took. */
static bool is_narrow(void)
{
    return mg_history_columns(stdout, WIDE) < NARROW;
}

static void print_header(void)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    printf("%s%-8s %-3s %-30s %3s ", paint->dim, "TIME", "", "REQUEST", "TRY");
    if (is_narrow())
        printf("%6s  ", "TOTAL");
    else
        printf("%6s %6s %9s  ", "TTFT", "TOTAL", "TOKENS");
    printf("%s%s\n", "ROUTE", paint->off);
}

/* What is left of the line: where it went, and why that did not do. */
static void print_route(const struct mg_logs_row *row, unsigned columns)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    char route[512];
    const char *arrow = mg_history_utf8() ? "→" : "->";
    int len = snprintf(route, sizeof route, "%.*s%s%.*s", MG_FMT(row->project),
                       row->workflow.len ? "/" : "", MG_FMT(row->workflow));
    if (row->provider.len > 0)
        len += snprintf(route + len, sizeof route - (size_t)len, " %s %.*s/%.*s", arrow,
                        MG_FMT(row->provider), MG_FMT(row->model));
    bool failed = row->class_.len > 0 && !mg_view_eq(row->class_, MG_VIEW("none"));
    const char *how = row->offline   ? " offline"
                      : row->rescued ? " rescued"
                      : row->hedged  ? " hedged"
                                     : "";
    if (failed && is_narrow())
        how = "";
    unsigned reserve = (failed ? (unsigned)row->class_.len + 1 : 0) + (unsigned)strlen(how);
    mg_view shown = mg_view_of(route, MG_MIN((size_t)len, sizeof route - 1));
    unsigned room = columns > reserve ? columns - reserve : 1;
    size_t hidden = row->provider.len > 0 && mg_history_utf8() ? strlen(arrow) - 1 : 0; /* bytes that take no column */
    if (is_narrow() && row->workflow.len > 0 && shown.len > room + hidden)
        shown = mg_view_skip(shown, row->project.len + 1); /* the workflow says more than its project */
    mg_history_put(stdout, shown, room);
    printf("%s%s%s", *how ? paint->cyan : "", how, *how ? paint->off : "");
    if (failed) {
        printf(" %s", status_colour(paint, row));
        mg_history_put(stdout, row->class_, 0);
        printf("%s", paint->off);
    }
}

/* Six columns and a blank. */
static void print_time(uint64_t us)
{
    char text[MG_TIME_TEXT] = "-";
    if (us > 0)
        mg_history_time(text, us, true);
    bool micro = us > 0 && us < 1000 && mg_history_utf8();
    printf("%*s ", micro ? 7 : 6, text);
}

static void print_row(const struct mg_logs_row *row)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    char when[32], status[16], in[MG_TIME_TEXT], out[MG_TIME_TEXT], tokens[64];
    struct tm tm;
    unsigned columns = mg_history_columns(stdout, WIDE);
    bool utf8 = mg_history_utf8();

    time_t then = (time_t)((row->start_us + row->duration_us) / 1000000u);
    localtime_r(&then, &tm);
    print_day(&tm);
    strftime(when, sizeof when, "%H:%M:%S", &tm);
    snprintf(status, sizeof status, row->interrupted ? "int" : "%d", row->status);
    snprintf(tokens, sizeof tokens, "%s%s%s%s", row->estimated ? "~" : "",
             mg_history_count(in, row->input_tokens), utf8 ? "→" : ">",
             mg_history_count(out, row->output_tokens));
    printf("%-8s %s%-3s%s ", when, status_colour(paint, row), status, paint->off);
    mg_history_pad(stdout, row->id, 30);
    printf(" %s%3u%s ", row->attempts > 1 ? paint->yellow : "", row->attempts,
           row->attempts > 1 ? paint->off : "");
    if (!is_narrow())
        print_time(row->ttft_us);
    print_time(row->interrupted ? 0 : row->duration_us);
    if (!is_narrow())
        printf("%*s", utf8 ? 11 : 9, tokens);
    unsigned used = is_narrow() ? 57 : 75;
    printf("%*s", is_narrow() ? 1 : 2, "");
    print_route(row, columns > used ? columns - used : 25);
    putchar('\n');
}

static void print_object(const struct mg_json *object)
{
    struct mg_buf line;
    mg_buf_init(&line, MG_LOGS_JSON_BYTES);
    if (mg_json_print(object, &line) == MG_OK)
        printf("%.*s\n", MG_FMT(mg_buf_view(&line)));
    mg_buf_fini(&line);
}

static void print_one(const struct request *request, const struct mg_json *object)
{
    struct mg_logs_row row;
    if (request->arguments->json)
        print_object(object);
    else if (mg_logs_row_parse(object, &row) == MG_OK)
        print_row(&row);
}

/* Oldest first, so that the newest stands where the eye is. *out_last is the newest one's cursor.
 */
static size_t print_page(const struct request *request, const struct mg_json *answer,
                         uint64_t *out_last)
{
    const struct mg_json *rows[MG_QUERY_LIMIT_MAX];
    size_t count = 0;
    for (const struct mg_json *row = mg_json_first(mg_json_get(answer, "requests"));
         row && count < MG_QUERY_LIMIT_MAX; row = mg_json_next(row))
        rows[count++] = row;
    for (size_t i = 0; i < count; i++) {
        const struct mg_json *row = rows[request->filter.after ? i : count - 1 - i];
        int64_t at = 0;
        print_one(request, row);
        if (mg_json_i64(mg_json_get(row, "at_us"), &at) && (uint64_t)at > *out_last)
            *out_last = (uint64_t)at;
    }
    fflush(stdout);
    return count;
}

/* A gateway that restarts is waited for; what it left is its own to recover. */
static int follow(struct request *request, uint64_t last)
{
    struct mg_diag diag = {.line = 0};
    request->history.recovered = true;
    for (;;) {
        struct mg_json *answer;
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
        request->filter.after = last ? last : 1;
        request->filter.limit = MG_QUERY_LIMIT_MAX;
        if (ask(request, &answer, &diag) != MG_OK)
            continue;
        print_page(request, answer, &last);
        mg_json_free(answer);
        if (ferror(stdout))
            return MG_EXIT_OK;
    }
}

static int print_nothing(const struct request *request)
{
    if (!request->arguments->json)
        fprintf(stderr, "no such requests in %s\n", request->history.data_dir);
    return mg_history_known(&request->history, "logs", request->arguments->filters[FILTER_project],
                            request->arguments->filters[FILTER_key]);
}

static int run_groups(struct request *request)
{
    struct mg_diag diag = {.line = 0};
    struct mg_json *answer;
    enum mg_field field;
    mg_view key;
    if (mg_groups_by(mg_view_cstr(request->arguments->by), &field, &key, &diag) != MG_OK)
        return mg_cli_complain(MG_EXIT_USAGE, "logs", "%s", diag.text);
    request->filter.limit = (unsigned)request->arguments->count;
    if (ask(request, &answer, &diag) != MG_OK)
        return mg_cli_failed("logs", &diag);
    int end = MG_EXIT_OK;
    if (request->arguments->json)
        print_one(request, answer);
    else if (!mg_logs_print_groups(answer))
        end = print_nothing(request);
    mg_json_free(answer);
    return end;
}

static int run(struct request *request)
{
    struct mg_diag diag = {.line = 0};
    struct mg_json *answer;
    uint64_t last = 0;
    if (request->arguments->by)
        return run_groups(request);
    request->filter.limit = (unsigned)request->arguments->count;
    if (ask(request, &answer, &diag) != MG_OK)
        return mg_cli_failed("logs", &diag);
    bool any = mg_json_first(mg_json_get(answer, "requests"));
    if (!request->arguments->json && (any || request->arguments->follow))
        print_header();
    print_page(request, answer, &last);
    mg_json_free(answer);
    if (request->arguments->follow)
        return follow(request, last);
    return any ? MG_EXIT_OK : print_nothing(request);
}
