/* moongate targets: how every target and its API keys are, and `reset` to let one back in by hand.
 *
 * A line a target; below it a line for each credential of which there is something to say. The
 * state lives in the gateway's memory, so only a running one can be asked. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/history.h"
#include "cli/place.h"

enum { USUAL = 100, WIDE = 94, WIDER = 102, PATH_BYTES = 512, TEXT = 200 };

struct arguments {
    const char *project, *credential, *data, *config;
    bool json;
    const char *target; /* of reset; NULL: list */
    char data_dir[MG_FOLDER_PATH_BYTES];
};

static int parse(int argc, char **argv, struct arguments *a);
static int run(struct arguments *a);
static void print_targets(const struct mg_json *answer);

int mg_cli_targets(int argc, char **argv)
{
    struct arguments a = {.project = "", .credential = ""};
    struct mg_diag diag = {.line = 0};
    int end = parse(argc, argv, &a);
    if (end != MG_CLI_GO)
        return end;
    if (mg_place_data(a.data, a.config, a.data_dir, &diag) != MG_OK)
        return mg_cli_failed("targets", &diag);
    return run(&a);
}

static int parse(int argc, char **argv, struct arguments *a)
{
    const struct mg_option options[] = {
        {"--project", NULL, "NAME", MG_OPTION_TEXT, &a->project,
         "of this project; reset needs it when several have the target"},
        {"--credential", NULL, "NAME", MG_OPTION_TEXT, &a->credential,
         "reset: only this API key of it"},
        {"--json", NULL, NULL, MG_OPTION_FLAG, &a->json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &a->data,
         "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &a->config,
         "the configuration that names the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 2);
    if (end != MG_CLI_GO)
        return end;
    if (argc > 1 && strcmp(argv[1], "reset") != 0)
        return mg_cli_complain(MG_EXIT_USAGE, "targets",
                               "\"%s\" is nothing it can do: it lists, or does reset TARGET",
                               argv[1]);
    if (argc == 2)
        return mg_cli_complain(MG_EXIT_USAGE, "targets",
                               "reset which target? \"PROVIDER/MODEL\", or \"PROVIDER\" for all of "
                               "its targets (see: moongate targets)");
    if (argc < 3 && *a->credential)
        return mg_cli_complain(MG_EXIT_USAGE, "targets", "--credential is for reset");
    a->target = argc == 3 ? argv[2] : NULL;
    return MG_CLI_GO;
}

/* ---- asking */

static mg_err put_member(struct mg_buf *out, const char *front, const char *value)
{
    MG_TRY(mg_buf_putf(out, "%s\"", front));
    MG_TRY(mg_buf_put_json(out, mg_view_cstr(value)));
    return mg_buf_putc(out, '"');
}

static mg_err put_order(const struct arguments *a, struct mg_buf *out)
{
    MG_TRY(put_member(out, "{\"target\":", a->target));
    if (*a->project)
        MG_TRY(put_member(out, ",\"project\":", a->project));
    if (*a->credential)
        MG_TRY(put_member(out, ",\"credential\":", a->credential));
    return mg_buf_putc(out, '}');
}

static mg_err ask(const struct arguments *a, struct mg_buf *out, int *out_status,
                  struct mg_diag *diag)
{
    struct mg_buf path, body;
    mg_buf_init(&path, PATH_BYTES);
    mg_buf_init(&body, MG_MAX_ADMIN_BODY_BYTES);
    mg_err err = mg_buf_put(&path, a->target ? MG_VIEW("/admin/v1/targets/reset")
                                             : MG_VIEW("/admin/v1/targets"));
    if (err == MG_OK && a->target)
        err = put_order(a, &body);
    else if (err == MG_OK && *a->project) {
        err = mg_buf_put(&path, MG_VIEW("?project="));
        if (err == MG_OK)
            err = mg_control_put_escaped(&path, a->project);
    }
    if (err == MG_OK)
        err = mg_control_request(a->data_dir, a->target ? "POST" : "GET", mg_buf_cstr(&path),
                                 mg_buf_view(&body), out_status, out, diag);
    else
        mg_diag_set(diag, err, NULL, 0, "that is too long for a name");
    mg_buf_fini(&path);
    mg_buf_fini(&body);
    if (err == MG_E_NOT_FOUND)
        mg_diag_set(diag, err, NULL, 0,
                    "no gateway runs in %s, and how targets are is known only while one does "
                    "(-c or --data says where to look)",
                    a->data_dir);
    return err;
}

static int show(const struct arguments *a, int status, const struct mg_buf *answer)
{
    struct mg_json *json = NULL;
    int end = MG_EXIT_OK;
    int64_t count = 0;
    if (mg_json_parse(mg_buf_view(answer), MG_MAX_RESPONSE_BODY_BYTES, &json, NULL) != MG_OK)
        return mg_cli_complain(MG_EXIT_FAILED, "targets", "the gateway's answer is not JSON");
    if (status >= 400) {
        mg_view message = mg_json_string(mg_json_path(json, "error.message"));
        end = mg_cli_complain(MG_EXIT_FAILED, "targets", "%.*s", MG_FMT(message));
    } else if (a->json) {
        printf("%.*s\n", MG_FMT(mg_buf_view(answer)));
    } else if (a->target) {
        mg_json_i64(mg_json_get(json, "reset"), &count);
        printf("%s is let back in (%" PRId64 " %s reset)\n", a->target, count,
               count == 1 ? "breaker and key" : "breakers and keys");
    } else {
        print_targets(json);
    }
    mg_json_free(json);
    return end;
}

static int run(struct arguments *a)
{
    struct mg_diag diag = {.line = 0};
    struct mg_buf answer;
    int status = 0;
    mg_buf_init(&answer, MG_MAX_RESPONSE_BODY_BYTES);
    mg_err err = ask(a, &answer, &status, &diag);
    int end = err == MG_OK ? show(a, status, &answer) : mg_cli_failed("targets", &diag);
    mg_buf_fini(&answer);
    return end;
}

/* ---- reading members */

static uint64_t number(const struct mg_json *object, const char *member)
{
    int64_t value = 0;
    return mg_json_i64(mg_json_get(object, member), &value) && value > 0 ? (uint64_t)value : 0;
}

static double real(const struct mg_json *object, const char *member)
{
    return mg_json_double(mg_json_get(object, member), 0);
}

static mg_view text(const struct mg_json *object, const char *member)
{
    return mg_json_string(mg_json_get(object, member));
}

/* How long until the moment; "" when it is not known. */
static const char *until(char out[MG_TIME_TEXT], const struct mg_json *object, const char *member)
{
    uint64_t moment = number(object, member), now = mg_wall_us();
    out[0] = '\0';
    return moment > 0 ? mg_history_time(out, moment > now ? moment - now : 0, false) : out;
}

/* ---- a line a target */

static const char *state_colour(const struct mg_paint *paint, mg_view state)
{
    if (mg_view_eq(state, MG_VIEW("closed")))
        return paint->green;
    bool soon = mg_view_eq(state, MG_VIEW("ramp")) || mg_view_eq(state, MG_VIEW("half_open"));
    return soon ? paint->yellow : paint->red;
}

/* "half_open" is a name; people read words. */
static const char *state_words(char out[16], mg_view state)
{
    snprintf(out, 16, "%.*s", MG_FMT(state));
    for (char *c = out; *c; c++)
        *c = *c == '_' ? ' ' : *c;
    return out;
}

static void put_right(const char *value, unsigned columns)
{
    unsigned bytes = (unsigned)strlen(value), shown = 0;
    for (unsigned i = 0; i < bytes; i++)
        shown += ((unsigned char)value[i] & 0xc0) != 0x80;
    printf(" %*s%s", (int)(columns > shown ? columns - shown : 0), "", value);
}

static void put_latency(const struct mg_json *row, const char *member)
{
    char value[MG_TIME_TEXT] = "-";
    if (number(row, member) > 0)
        mg_history_time(value, number(row, member), true);
    put_right(value, 6);
}

/* "3", of at most eight "3/8", and with two that wait "8/8 +2". */
static void put_running(const struct mg_json *row)
{
    char value[64];
    uint64_t limit = number(row, "limit"), waiting = number(row, "waiting");
    int len = snprintf(value, sizeof value, "%" PRIu64, number(row, "inflight"));
    if (limit > 0)
        len += snprintf(value + len, sizeof value - (size_t)len, "/%" PRIu64, limit);
    if (waiting > 0)
        snprintf(value + len, sizeof value - (size_t)len, " +%" PRIu64, waiting);
    put_right(value, 9);
}

static bool is_wide(void)
{
    return mg_history_columns(stdout, USUAL) >= WIDE;
}

static void put_head(const struct mg_paint *paint)
{
    printf("%s%-28s %-9s %6s %5s %9s %6s %6s", paint->dim, "TARGET", "STATE", "CALLS", "FAIL",
           "RUNNING", "P50", "P95");
    if (is_wide())
        printf(" %6s %8s", "P99", "RETRIES");
    if (mg_history_columns(stdout, USUAL) >= WIDER)
        printf(" %7s", "EST OFF");
    printf("%s\n", paint->off);
}

/* How far off the estimates are that limits reserve by; the worse of prompt and answer. */
static void put_estimate_error(const struct mg_json *row)
{
    char value[MG_TIME_TEXT] = "-";
    const struct mg_json *estimate = mg_json_get(row, "estimate");
    double in = real(estimate, "input_error"), out = real(estimate, "output_error");
    if (number(estimate, "calls") > 0)
        snprintf(value, sizeof value, "%.0f%%", (in > out ? in : out) * 100);
    put_right(value, 7);
}

/* The average of the last calls says nothing before there were some. */
static double failure_share(const struct mg_json *row)
{
    enum { FEW = 16 };
    double calls = (double)number(row, "calls");
    return calls > FEW || calls <= 0 ? real(row, "error_rate")
                                     : (double)number(row, "failures") / calls;
}

static void put_target(const struct mg_json *row)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    char value[320], count[MG_TIME_TEXT];
    mg_view state = text(row, "state"), region = text(row, "region");
    snprintf(value, sizeof value, "%.*s%s%.*s", MG_FMT(text(row, "target")), region.len ? "@" : "",
             MG_FMT(region));
    mg_history_pad(stdout, mg_view_cstr(value), 28);
    printf(" %s%-9s%s", state_colour(paint, state), state_words(value, state), paint->off);
    put_right(mg_history_count(count, number(row, "calls")), 6);
    snprintf(value, sizeof value, "%.0f%%", failure_share(row) * 100);
    put_right(value, 5);
    put_running(row);
    put_latency(row, "p50_us");
    put_latency(row, "p95_us");
    if (is_wide()) {
        put_latency(row, "p99_us");
        snprintf(value, sizeof value, "%.1f/%" PRIu64, real(row, "retry_tokens"),
                 number(row, "retry_burst"));
        put_right(value, 8);
    }
    if (mg_history_columns(stdout, USUAL) >= WIDER)
        put_estimate_error(row);
    putchar('\n');
}

/* ---- a line a credential, in words */

struct sentence {
    char text[4 * TEXT];
    size_t len;
};

static void say(struct sentence *sentence, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct sentence *sentence, const char *fmt, ...)
{
    size_t room = sizeof sentence->text - sentence->len;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(sentence->text + sentence->len, room, fmt, args);
    va_end(args);
    sentence->len += MG_MIN((size_t)MG_MAX(n, 0), room - 1);
}

/* The next of the things that are to be said; the first one has nothing before it. */
static void say_next(struct sentence *sentence)
{
    if (sentence->len > 0)
        say(sentence, "; ");
}

static void say_breaker(struct sentence *sentence, const struct mg_json *breaker)
{
    char time[MG_TIME_TEXT];
    mg_view state = text(breaker, "state"), reason = text(breaker, "reason");
    if (mg_view_eq(state, MG_VIEW("closed")))
        return;
    say_next(sentence);
    if (mg_view_eq(state, MG_VIEW("open")))
        say(sentence, "open for %s more", until(time, breaker, "until_us"));
    else if (mg_view_eq(state, MG_VIEW("half_open")))
        say(sentence, "half open, the next call is a probe");
    else
        say(sentence, "let in again, now %.0f%%, all in %s", real(breaker, "ramp") * 100,
            until(time, breaker, "until_us"));
    if (reason.len > 0)
        say(sentence, ": %.*s", MG_FMT(reason));
    say(sentence, ", opened %" PRIu64 " time%s", number(breaker, "opened"),
        number(breaker, "opened") == 1 ? "" : "s");
}

static void say_window(struct sentence *sentence, const struct mg_json *breaker)
{
    double failures = real(breaker, "window_failures");
    if (failures <= 0)
        return;
    say_next(sentence);
    say(sentence, "%.*f of %" PRIu64 " calls failed lately", failures == (int)failures ? 0 : 1,
        failures, number(breaker, "window_calls"));
}

static void say_benches(struct sentence *sentence, const struct mg_json *benches)
{
    char time[MG_TIME_TEXT];
    for (const struct mg_json *b = mg_json_first(benches); b; b = mg_json_next(b)) {
        bool forever = mg_json_is(mg_json_get(b, "until_us"), MG_JSON_NULL);
        bool all = mg_view_eq(text(b, "scope"), MG_VIEW("key"));
        say_next(sentence);
        say(sentence, "benched%s ", all ? "" : " for this model");
        if (forever)
            say(sentence, "until somebody resets it");
        else
            say(sentence, "for %s more", until(time, b, "until_us"));
        say(sentence, ": %.*s", MG_FMT(text(b, "class")));
    }
}

static void say_limits(struct sentence *sentence, const struct mg_json *limits)
{
    char time[MG_TIME_TEXT], left[MG_TIME_TEXT];
    for (const struct mg_json *l = mg_json_first(limits); l; l = mg_json_next(l)) {
        say_next(sentence);
        say(sentence, "%s %.*s left", mg_history_count(left, number(l, "left")),
            MG_FMT(text(l, "of")));
        if (*until(time, l, "reset_us"))
            say(sentence, ", back in %s", time);
    }
}

/* On as many lines as it takes. */
static void put_sentence(mg_view words, unsigned indent)
{
    unsigned width = mg_history_columns(stdout, USUAL);
    width = width > indent + 20 ? width - indent : 20;
    while (words.len > 0) {
        size_t fit = MG_MIN(words.len, (size_t)width), blank = fit;
        while (fit < words.len && blank > 0 && words.ptr[blank] != ' ')
            blank--;
        fit = blank > 0 ? blank : fit;
        mg_history_put(stdout, mg_view_head(words, fit), 0);
        putchar('\n');
        words = mg_view_trim(mg_view_skip(words, fit));
        if (words.len > 0)
            printf("%*s", (int)indent, "");
    }
}

static void put_credential(const struct mg_json *credential)
{
    enum { NAME = 14, INDENT = 4 };
    const struct mg_paint *paint = mg_cli_paint(stdout);
    struct sentence sentence = {.len = 0};
    mg_view name = text(credential, "name");
    say_benches(&sentence, mg_json_get(credential, "benches"));
    say_breaker(&sentence, mg_json_get(credential, "breaker"));
    say_window(&sentence, mg_json_get(credential, "breaker"));
    say_limits(&sentence, mg_json_get(credential, "limits"));
    if (sentence.len == 0)
        say(&sentence, "closed");
    printf("%*s%s", INDENT, "", state_colour(paint, text(credential, "state")));
    mg_history_pad(stdout, name.len > 0 ? name : MG_VIEW("(no key)"), NAME);
    printf("%s ", paint->off);
    put_sentence(mg_view_of(sentence.text, sentence.len), INDENT + NAME + 1);
}

/* One that is as it should be is not worth a line, unless there are others beside it. */
static bool is_quiet(const struct mg_json *credentials)
{
    const struct mg_json *only = mg_json_first(credentials);
    return only && !mg_json_next(only) && mg_view_eq(text(only, "state"), MG_VIEW("closed")) &&
           real(mg_json_get(only, "breaker"), "window_failures") == 0;
}

static void print_targets(const struct mg_json *answer)
{
    const struct mg_paint *paint = mg_cli_paint(stdout);
    const struct mg_json *rows = mg_json_get(answer, "targets");
    mg_view project = MG_VIEW_NONE;
    if (!mg_json_first(rows))
        fprintf(stderr, "no project has a target\n");
    for (const struct mg_json *row = mg_json_first(rows); row; row = mg_json_next(row)) {
        if (!mg_view_eq(project, text(row, "project"))) {
            printf("%sproject %s%.*s%s\n", project.len > 0 ? "\n" : "", paint->bold,
                   MG_FMT(text(row, "project")), paint->off);
            put_head(paint);
        }
        project = text(row, "project");
        put_target(row);
        const struct mg_json *credentials = mg_json_get(row, "credentials");
        for (const struct mg_json *c = is_quiet(credentials) ? NULL : mg_json_first(credentials); c;
             c = mg_json_next(c))
            put_credential(c);
    }
}
