/* moongate trace: one request as a waterfall, as wide as the terminal within reason; what changes
 * with it is the length of the bars.
 *
 *     label (24)              │ bar                                            │ time and outcome
 *     decision        when    │ what was decided, and why
 *
 * A bar is time: what was waited for is shaded, what was received is solid. All bars have one
 * scale, so attempts that ran beside each other stand above each other. Decisions (targets passed
 * over, pauses, hedges, rescues) stand between the attempts they led from and to. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/history.h"
#include "cli/place.h"
#include "watch/trace.h"

enum { ONE_WALK_US = 1000 };
enum { LABEL = 24, USUAL = 100, WIDTH = 120, NARROW = 72, INDENT = 4 };
/* What stands beside a bar: label, edges, duration, and the longest verdict. */
enum { BESIDE = LABEL + 2 + 8 + 23, BAR = WIDTH - BESIDE };

enum shade { NOTHING, PAUSED, CONNECTING, WAITING, RECEIVING, WORKING, FAILED, LOST, SHADES };

struct glyphs {
    const char *shades[SHADES];
    const char *edge, *separator, *arrow;
};

static const struct glyphs unicode = {{" ", "┄", "░", "▒", "█", "█", "✗", "◂"}, "│", " · ", "→"};
static const struct glyphs ascii = {{" ", "-", ".", "=", "#", "#", "x", "<"}, "|", ", ", "->"};

struct canvas {
    const struct glyphs *glyphs;
    const struct mg_paint *paint;
    uint64_t total_us; /* what the width of a bar stands for; not 0 */
    unsigned bar;      /* its width, at most BAR */
    unsigned width;    /* of the lines, at most WIDTH */
    unsigned used;     /* bitmap of the shades that were printed */
    enum shade cells[BAR];
};

static void draw(const struct mg_timeline *timeline, bool interrupted);

/* ---- asking */

static mg_err from_store(const void *arg, struct mg_db *db, struct mg_buf *out)
{
    struct mg_search *search = mg_search_new(db);
    mg_err err = mg_watch_trace_json(search, mg_view_cstr(arg), out);
    mg_search_free(search);
    return err;
}

/* The id in a path, or the help that nothing else can be one. */
static mg_err put_path(char *out, size_t size, const char *id, struct mg_diag *diag)
{
    for (const char *c = id; *c; c++)
        if (!((*c >= '0' && *c <= '9') || ((*c | 0x20) >= 'a' && (*c | 0x20) <= 'z') ||
              strchr("-_.:", *c)))
            return mg_diag_set(
                diag, MG_E_BAD_REQUEST, "", 0,
                "\"%s\" is no request id; x-request-id and `moongate logs` have them", id);
    if ((size_t)snprintf(out, size, "/admin/v1/requests/%s", id) >= size)
        return mg_diag_set(diag, MG_E_BAD_REQUEST, "", 0, "that is too long for a request id");
    return MG_OK;
}

static int show(const struct mg_json *answer, bool json)
{
    bool interrupted;
    struct mg_timeline *timeline = mg_new(struct mg_timeline);
    struct mg_buf line;
    int end = MG_EXIT_OK;
    mg_buf_init(&line, MG_TRACE_JSON_BYTES);
    if (json && mg_json_print(answer, &line) == MG_OK)
        printf("%.*s\n", MG_FMT(mg_buf_view(&line)));
    else if (!json && mg_watch_timeline_parse(answer, timeline, &interrupted) == MG_OK)
        draw(timeline, interrupted);
    else
        end = mg_cli_complain(MG_EXIT_FAILED, "trace", "the answer is no timeline");
    mg_buf_fini(&line);
    mg_free(timeline);
    return end;
}

int mg_cli_trace(int argc, char **argv)
{
    char path[256];
    bool json = false;
    const char *data = NULL, *config = NULL;
    struct mg_json *answer;
    struct mg_diag diag = {.line = 0};
    const struct mg_option options[] = {
        {"--json", NULL, NULL, MG_OPTION_FLAG, &json, "print JSON"},
        {"--data", NULL, "DIR", MG_OPTION_TEXT, &data,
         "the data folder instead of the configuration's"},
        {"--config", "-c", "FILE", MG_OPTION_TEXT, &config,
         "the configuration that names the data folder"},
    };
    int end = mg_cli_parse(&argc, argv, options, MG_COUNT(options), 1);
    if (end != MG_CLI_GO)
        return end;
    if (argc < 2)
        return mg_cli_complain(MG_EXIT_USAGE, "trace",
                               "which request? (its id is in x-request-id and in `moongate logs`)");

    struct mg_history history = {.path = path, .offline = from_store, .arg = argv[1]};
    if (put_path(path, sizeof path, argv[1], &diag) != MG_OK)
        return mg_cli_complain(MG_EXIT_USAGE, "trace", "%s", diag.text);
    if (mg_place_data(data, config, history.data_dir, &diag) != MG_OK ||
        mg_history_ask(&history, &answer, &diag) != MG_OK)
        return mg_cli_failed("trace", &diag);
    end = show(answer, json);
    mg_json_free(answer);
    return end;
}

/* ---- bars */

static void clear_bar(struct canvas *canvas)
{
    memset(canvas->cells, 0, sizeof canvas->cells);
}

/* Whatever took time at all is seen. */
static void shade(struct canvas *canvas, uint64_t from_us, uint64_t to_us, enum shade with)
{
    if (to_us <= from_us)
        return;
    uint64_t from = MG_MIN(from_us * canvas->bar / canvas->total_us, (uint64_t)canvas->bar - 1);
    uint64_t to = MG_MIN((to_us * canvas->bar + canvas->total_us - 1) / canvas->total_us,
                         (uint64_t)canvas->bar);
    for (uint64_t i = from; i < MG_MAX(to, from + 1); i++)
        canvas->cells[i] = with;
}

static const char *colour(const struct canvas *canvas, enum shade with)
{
    switch (with) {
    case CONNECTING:
        return canvas->paint->cyan;
    case WAITING:
        return canvas->paint->yellow;
    case RECEIVING:
        return canvas->paint->green;
    case FAILED:
        return canvas->paint->red;
    case PAUSED:
    case LOST:
        return canvas->paint->dim;
    default:
        return "";
    }
}

static void put_bar(struct canvas *canvas)
{
    const struct glyphs *glyphs = canvas->glyphs;
    const struct mg_paint *paint = canvas->paint;
    enum shade now = NOTHING;
    printf("%s%s%s", paint->dim, glyphs->edge, paint->off);
    for (unsigned i = 0; i < canvas->bar; i++) {
        if (canvas->cells[i] != now)
            printf("%s%s", paint->off, colour(canvas, canvas->cells[i]));
        now = canvas->cells[i];
        canvas->used |= 1u << now;
        fputs(glyphs->shades[now], stdout);
    }
    printf("%s%s%s%s", paint->off, paint->dim, glyphs->edge, paint->off);
}

static void put_label(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void put_label(const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mg_history_pad(stdout, mg_view_of(text, MG_MIN((size_t)len, sizeof text - 1)), LABEL);
}

static void put_duration(uint64_t us)
{
    char text[MG_TIME_TEXT];
    mg_view view = mg_view_cstr(mg_history_time(text, us, false));
    size_t columns = us < 1000 && mg_history_utf8() ? view.len - 1 : view.len;
    printf(" %*s%s", (int)(columns < 7 ? 7 - columns : 0), "", text);
}

/* ---- the axis: ticks at round times */

static uint64_t round_step(uint64_t total_us)
{
    static const unsigned steps[] = {1, 2, 5};
    for (uint64_t power = 1;; power *= 10)
        for (size_t i = 0; i < MG_COUNT(steps); i++)
            if (power * steps[i] * 5 >= total_us)
                return power * steps[i];
}

static unsigned columns_of(mg_view text)
{
    unsigned columns = 0;
    for (size_t i = 0; i < text.len; i++)
        columns += ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
    return columns;
}

static void put_axis(const struct canvas *canvas)
{
    char text[MG_TIME_TEXT];
    uint64_t step = round_step(canvas->total_us);
    unsigned at = 0; /* columns printed */
    printf("%*s %s", LABEL, "", canvas->paint->dim);
    for (uint64_t us = 0; us < canvas->total_us; us += step) {
        unsigned column = (unsigned)(us * canvas->bar / canvas->total_us);
        mg_view label = us ? mg_view_cstr(mg_history_time(text, us, true)) : MG_VIEW("0");
        if ((us > 0 && column < at + 2) || column + columns_of(label) > canvas->bar)
            continue;
        printf("%*s%.*s", (int)(column - at), "", MG_FMT(label));
        at = column + columns_of(label);
    }
    printf("%s\n", canvas->paint->off);
}

/* ---- words below the bars: pieces with dots between them, on as many lines as it takes */

struct words {
    const struct canvas *canvas;
    char line[WIDTH * 6];
    size_t len; /* bytes */
    unsigned columns;
    const char *colour;
};

/* The first bytes of text that fit `width` columns, cut at a blank when there is one. */
static size_t fitting(mg_view text, unsigned width)
{
    unsigned columns = 0;
    size_t blank = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool begins = ((unsigned char)text.ptr[i] & 0xc0) != 0x80;
        if (begins && columns++ == width)
            return blank ? blank : i;
        if (text.ptr[i] == ' ')
            blank = i;
    }
    return text.len;
}

/* Cuts a line off the front of *text. */
static mg_view cut_line(mg_view *text, unsigned width)
{
    mg_view line = mg_view_head(*text, fitting(*text, width));
    *text = mg_view_skip(*text, line.len);
    if (text->len > 0 && text->ptr[0] == ' ')
        *text = mg_view_skip(*text, 1);
    return line;
}

static void flush_words(struct words *words)
{
    mg_view text = mg_view_of(words->line, words->len);
    while (text.len > 0) {
        printf("%*s%s", INDENT, "", words->colour);
        mg_history_put(stdout, cut_line(&text, words->canvas->width - INDENT), 0);
        printf("%s\n", words->canvas->paint->off);
    }
    words->len = words->columns = 0;
}

static void word(struct words *words, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void word(struct words *words, const char *fmt, ...)
{
    char text[WIDTH * 5];
    mg_view separator = mg_view_cstr(words->canvas->glyphs->separator);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mg_view view = mg_view_of(text, MG_MIN((size_t)n, sizeof text - 1));
    unsigned columns = columns_of(view);
    if (words->columns > 0 && words->columns + 3 + columns > words->canvas->width - INDENT)
        flush_words(words);
    if (words->len > 0) {
        memcpy(words->line + words->len, separator.ptr, separator.len);
        words->len += separator.len;
        words->columns += columns_of(separator);
    }
    memcpy(words->line + words->len, view.ptr, view.len);
    words->len += view.len;
    words->columns += columns;
}

/* ---- the front: who asked for what, and how it ended */

/* "$0.000412", "$0.0412", "$41.20": what is left of small sums is seen, large ones stay short. */
static const char *cost_text(char out[MG_TIME_TEXT], uint64_t microusd)
{
    int digits = microusd < 10000 ? 6 : microusd < 1000000 ? 4 : 2;
    snprintf(out, MG_TIME_TEXT, "$%.*f", digits, (double)microusd / 1e6);
    return out;
}

static uint64_t cost_of(const struct mg_timeline *timeline)
{
    uint64_t cost = 0;
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        cost += timeline->attempts[i].cost_microusd;
    return cost;
}

static const char *end_colour(const struct mg_paint *paint, const struct mg_timeline *timeline,
                              bool interrupted)
{
    if (interrupted || !timeline->clean || timeline->status >= 500)
        return paint->red;
    return timeline->status >= 400 || timeline->offline ? paint->yellow : paint->green;
}

static void put_outcome(const struct canvas *canvas, const struct mg_timeline *timeline,
                        bool interrupted)
{
    const struct mg_paint *paint = canvas->paint;
    char total[MG_TIME_TEXT];
    printf("%s%s%s  %s", paint->bold, timeline->id, paint->off,
           end_colour(paint, timeline, interrupted));
    if (interrupted)
        printf("interrupted: the gateway died before it ended%s\n", paint->off);
    else
        printf("%u%s%s%s%s  %s in all%s\n", timeline->status,
               timeline->offline ? " offline answer" : "",
               timeline->class_ != MG_CLASS_none ? " " : "",
               timeline->class_ != MG_CLASS_none ? mg_class_name(timeline->class_) : "",
               timeline->clean          ? ""
               : timeline->status < 400 ? ", cut short"
                                        : "",
               mg_history_time(total, mg_timeline_duration_us(timeline), false), paint->off);
}

static void put_front(const struct canvas *canvas, const struct mg_timeline *timeline,
                      bool interrupted)
{
    struct words words = {.canvas = canvas, .colour = ""};
    char when[64], one[MG_TIME_TEXT], two[MG_TIME_TEXT];
    time_t seconds = (time_t)(timeline->start_wall_us / 1000000u);
    struct tm tm;
    uint64_t first_token = mg_timeline_first_token_us(timeline);
    uint64_t total = mg_timeline_duration_us(timeline);

    put_outcome(canvas, timeline, interrupted);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %Z", localtime_r(&seconds, &tm));
    word(&words, "%s", when);
    if (timeline->path.len > 0)
        word(&words, "%.*s%s", MG_FMT(timeline->path), timeline->stream ? ", streamed" : "");
    word(&words, "project %.*s", MG_FMT(timeline->project));
    if (timeline->workflow.len > 0)
        word(&words, "workflow %.*s", MG_FMT(timeline->workflow));
    word(&words, "generation %u", timeline->generation);
    if (timeline->key_id.len > 0)
        word(&words, "key %.*s", MG_FMT(timeline->key_id));
    if (timeline->session.len > 0)
        word(&words, "session %.*s", MG_FMT(timeline->session));
    if (timeline->client.len > 0)
        word(&words, "from %.*s", MG_FMT(timeline->client));
    if (timeline->user_agent.len > 0)
        word(&words, "%.*s", MG_FMT(timeline->user_agent));
    if (timeline->bytes_in + timeline->bytes_out > 0)
        word(&words, "%sB in, %sB out", mg_history_count(one, timeline->bytes_in),
             mg_history_count(two, timeline->bytes_out));
    if (!interrupted)
        word(&words, "overhead %s",
             mg_history_time(one, total - MG_MIN(total, timeline->upstream_us), false));
    if (timeline->plugin_us > 0)
        word(&words, "plugins %s", mg_history_time(one, timeline->plugin_us, false));
    if (cost_of(timeline) > 0)
        word(&words, "cost %s", cost_text(one, cost_of(timeline)));
    if (first_token > 0)
        word(&words, "first token %s", mg_history_time(one, first_token, false));
    flush_words(&words);

    words.colour = canvas->paint->cyan;
    if (timeline->explain.len > 0)
        word(&words, "plan: %.*s", MG_FMT(timeline->explain));
    flush_words(&words);
    words.colour = canvas->paint->red;
    if (timeline->error_code.len > 0 && !interrupted)
        word(&words, "the client was told: %.*s", MG_FMT(timeline->error_code));
    flush_words(&words);
}

/* ---- the gateway's own phases */

static void put_phase_bar(struct canvas *canvas, const char *label, uint64_t from_us,
                          uint64_t to_us, enum shade with)
{
    if (to_us <= from_us)
        return;
    clear_bar(canvas);
    shade(canvas, from_us, to_us, with);
    put_label("  %s", label);
    put_bar(canvas);
    put_duration(to_us - from_us);
    putchar('\n');
}

/* The last mark that was reached among the phases up to `last`. */
static uint64_t reached(const struct mg_timeline *timeline, enum mg_phase last)
{
    uint64_t at = 0;
    for (unsigned i = 0; i <= (unsigned)last; i++)
        at = MG_MAX(at, timeline->phase_us[i]);
    return at;
}

static void put_phases(struct canvas *canvas, const struct mg_timeline *timeline)
{
    struct words words = {.canvas = canvas, .colour = canvas->paint->dim};
    char text[MG_TIME_TEXT];
    uint64_t before = timeline->phase_us[MG_PHASE_parse];
    put_phase_bar(canvas, "read the request", 0, before, WORKING);
    put_phase_bar(canvas, "prepare", before, reached(timeline, MG_PHASE_route), WORKING);
    for (unsigned i = MG_PHASE_authenticate; i <= MG_PHASE_route; i++) {
        if (timeline->phase_us[i] <= before)
            continue; /* not reached, or within the same turn of the loop */
        word(&words, "%s %s", mg_phase_name((enum mg_phase)i),
             mg_history_time(text, timeline->phase_us[i] - before, false));
        before = timeline->phase_us[i];
    }
    flush_words(&words);
}

/* ---- attempts */

static bool overlap(const struct mg_attempt_record *a, const struct mg_attempt_record *b)
{
    return a != b && a->start_us < b->start_us + b->end_us && b->start_us < a->start_us + a->end_us;
}

/* Cancelled because the other of two that ran beside each other was first. A client that leaves
 * cancels both at once. */
static bool has_lost(const struct mg_timeline *timeline, const struct mg_attempt_record *attempt)
{
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        const struct mg_attempt_record *other = &timeline->attempts[i];
        bool hedged = attempt->reason == MG_REASON_hedge || other->reason == MG_REASON_hedge;
        bool went_on = other->class_ != MG_CLASS_cancelled ||
                       other->start_us + other->end_us > attempt->start_us + attempt->end_us;
        if (attempt->class_ == MG_CLASS_cancelled && hedged && went_on && overlap(attempt, other))
            return true;
    }
    return false;
}

static void put_attempt_bar(struct canvas *canvas, const struct mg_attempt_record *attempt,
                            bool lost)
{
    const uint64_t *mark = attempt->mark_us;
    uint64_t start = attempt->start_us, end = start + attempt->end_us;
    uint64_t connected =
        MG_MAX(mark[MG_MARK_dns], MG_MAX(mark[MG_MARK_connect], mark[MG_MARK_tls]));
    uint64_t token = mark[MG_MARK_first_token];
    if (token == 0 && attempt->class_ == MG_CLASS_none)
        token = mark[MG_MARK_first_byte];
    clear_bar(canvas);
    shade(canvas, start - MG_MIN(start, attempt->waited_us), start, PAUSED);
    shade(canvas, start, end, WAITING);
    shade(canvas, start, start + connected, CONNECTING);
    if (token > 0)
        shade(canvas, start + token, end, RECEIVING);
    uint64_t last = canvas->bar - 1;
    if (attempt->class_ != MG_CLASS_none && end > 0)
        canvas->cells[MG_MIN((end - 1) * canvas->bar / canvas->total_us, last)] =
            lost ? LOST : FAILED;
}

static void put_verdict(const struct canvas *canvas, const struct mg_attempt_record *attempt,
                        bool lost)
{
    const struct mg_paint *paint = canvas->paint;
    bool failed = attempt->class_ != MG_CLASS_none;
    if (lost) {
        printf("  %slost, cancelled%s", paint->dim, paint->off);
        return;
    }
    printf("  %s", failed ? paint->red : paint->green);
    if (attempt->status > 0)
        printf("%u ", attempt->status);
    printf("%s%s",
           failed            ? mg_class_name(attempt->class_)
           : attempt->status ? "ok"
                             : "",
           paint->off);
}

static void put_marks(struct words *words, const struct mg_attempt_record *attempt)
{
    static const char *const labels[] = {"dns",        "connect",     "tls", "sent",
                                         "first byte", "first token", "end"};
    char text[MG_TIME_TEXT];
    if (attempt->reused)
        word(words,
             attempt->redialed ? "warm connection was dead, dialled again" : "warm connection");
    for (unsigned i = 0; i < MG_MARK_COUNT; i++)
        if (attempt->mark_us[i] > 0)
            word(words, "%s %s", labels[i], mg_history_time(text, attempt->mark_us[i], false));
}

static void put_traffic(struct words *words, const struct mg_attempt_record *attempt)
{
    const struct mg_usage *usage = &attempt->usage;
    char one[MG_TIME_TEXT], two[MG_TIME_TEXT];
    if (attempt->address.len > 0)
        word(words, "%.*s", MG_FMT(attempt->address));
    word(words, "%sB sent, %sB received", mg_history_count(one, attempt->bytes_sent),
         mg_history_count(two, attempt->bytes_received));
    if (attempt->cost_microusd > 0)
        word(words, "%s", cost_text(one, attempt->cost_microusd));
    if (usage->input_tokens + usage->output_tokens == 0)
        return;
    word(words, "%s tokens in, %s out%s", mg_history_count(one, usage->input_tokens),
         mg_history_count(two, usage->output_tokens), usage->reported ? "" : " (estimated)");
    if (usage->cached_read_tokens > 0)
        word(words, "%s of them cached", mg_history_count(one, usage->cached_read_tokens));
    if (usage->cached_write_tokens > 0)
        word(words, "%s written to the cache", mg_history_count(one, usage->cached_write_tokens));
    if (usage->reasoning_tokens > 0)
        word(words, "%s for reasoning", mg_history_count(one, usage->reasoning_tokens));
}

/* What the answer says of itself, where it is not what was asked for. */
static void put_served(struct words *words, const struct mg_attempt_record *attempt)
{
    if (attempt->served.len > 0 && !mg_view_eq(attempt->served, attempt->model))
        word(words, "served by %.*s", MG_FMT(attempt->served));
    if (attempt->tier.len > 0 && !mg_view_eq(attempt->tier, MG_VIEW("default")))
        word(words, "tier %.*s", MG_FMT(attempt->tier));
    if (attempt->arm.len > 0 && !mg_view_eq(attempt->arm, attempt->target))
        word(words, "arm %.*s", MG_FMT(attempt->arm));
}

/* Why it was made, and with what. What the plan says stands at the top and is not said again. */
static void put_reason(struct words *words, const struct mg_timeline *timeline,
                       const struct mg_attempt_record *attempt)
{
    char text[MG_TIME_TEXT];
    mg_view reason = mg_view_cstr(mg_reason_name(attempt->reason));
    bool says_why = mg_view_starts(attempt->why, reason); /* "retry after …" */
    if (attempt->reason == MG_REASON_first)
        word(words, attempt->entry == 0 ? "first choice" : "first that could be asked");
    else
        word(words, "%.*s", MG_FMT(says_why ? attempt->why : reason));
    for (unsigned i = 0; attempt->reason == MG_REASON_hedge && i < timeline->attempt_count; i++)
        if (&timeline->attempts[i] < attempt && overlap(&timeline->attempts[i], attempt))
            word(words, "beside %u", timeline->attempts[i].number);
    if (attempt->resumed_bytes > 0)
        word(words, "resumed after %" PRIu64 " bytes", attempt->resumed_bytes);
    if (attempt->waited_us > 0)
        word(words, "waited %s", mg_history_time(text, attempt->waited_us, false));
    if (attempt->credential.len > 0)
        word(words, "credential %.*s", MG_FMT(attempt->credential));
    put_served(words, attempt);
    if (attempt->why.len > 0 && !says_why && !mg_view_eq(attempt->why, timeline->explain))
        word(words, "%.*s", MG_FMT(attempt->why));
    flush_words(words);
}

/* A broken stream cannot be tried again, but it may be gone on with. */
static const char *what_followed(const struct mg_timeline *timeline,
                                 const struct mg_attempt_record *attempt)
{
    const struct mg_attempt_record *next = attempt + 1;
    const struct mg_attempt_record *end = timeline->attempts + timeline->attempt_count;
    while (next < end && next->start_us < attempt->start_us + attempt->end_us)
        next++;
    if (next < end && next->reason == MG_REASON_rescue)
        return "rescue";
    return attempt->action == MG_ACTION_next_key ? "next key" : mg_action_name(attempt->action);
}

static void put_attempt(struct canvas *canvas, const struct mg_timeline *timeline,
                        const struct mg_attempt_record *attempt)
{
    const struct mg_paint *paint = canvas->paint;
    struct words words = {.canvas = canvas, .colour = ""};
    bool lost = has_lost(timeline, attempt);
    put_label("%u %.*s", attempt->number, MG_FMT(attempt->target));
    put_attempt_bar(canvas, attempt, lost);
    put_bar(canvas);
    put_duration(attempt->end_us);
    put_verdict(canvas, attempt, lost);
    putchar('\n');

    put_reason(&words, timeline, attempt);
    words.colour = paint->red;
    if (attempt->error.len > 0)
        word(&words, "\"%.*s\"", MG_FMT(attempt->error));
    flush_words(&words);
    words.colour = paint->dim;
    put_marks(&words, attempt);
    flush_words(&words);
    put_traffic(&words, attempt);
    flush_words(&words);
    words.colour = paint->yellow;
    if (attempt->class_ != MG_CLASS_none && !lost)
        word(&words, "%s %s", canvas->glyphs->arrow, what_followed(timeline, attempt));
    flush_words(&words);
}

/* ---- notes: decisions stand between the attempts, the rest below */

struct note {
    uint64_t at_us;
    mg_view kind, text;
    bool decision;
};

static bool cut_note(mg_view *rest, struct note *out_note)
{
    static const char *const decisions[] = {"route",  "skip",  "wait",    "hedge",
                                            "rescue", "relay", "offline", "exhausted"};
    if (rest->len == 0)
        return false;
    mg_view line = mg_view_cut(rest, '\n');
    *out_note = (struct note){.at_us = 0};
    mg_view_u64(mg_view_cut(&line, ' '), &out_note->at_us);
    out_note->kind = mg_view_cut(&line, ' ');
    out_note->text = line;
    for (size_t i = 0; i < MG_COUNT(decisions); i++)
        out_note->decision |= mg_view_eq(out_note->kind, mg_view_cstr(decisions[i]));
    return true;
}

static const char *note_colour(const struct mg_paint *paint, mg_view kind)
{
    if (mg_view_eq(kind, MG_VIEW("exhausted")))
        return paint->red;
    bool against = mg_view_eq(kind, MG_VIEW("skip")) || mg_view_eq(kind, MG_VIEW("wait"));
    return against ? paint->yellow : paint->cyan;
}

/* What and when under the labels, why under the bars, on as many lines as it takes. */
static void put_decision(const struct canvas *canvas, const struct note *note)
{
    const struct mg_paint *paint = canvas->paint;
    const char *edge = canvas->glyphs->edge;
    mg_view text = note->text;
    printf("  %s", note_colour(paint, note->kind));
    mg_history_pad(stdout, note->kind, LABEL - 2 - 9);
    printf("%s", paint->off);
    put_duration(note->at_us);
    printf(" %s%s%s ", paint->dim, edge, paint->off);
    mg_history_put(stdout, cut_line(&text, canvas->width - LABEL - 2), 0);
    putchar('\n');
    while (text.len > 0) {
        printf("%*s%s%s%s ", LABEL, "", paint->dim, edge, paint->off);
        mg_history_put(stdout, cut_line(&text, canvas->width - LABEL - 2), 0);
        putchar('\n');
    }
}

/* A walk that goes over the plan twice at once says the same twice. */
static bool was_said(const struct mg_timeline *timeline, const struct note *note)
{
    struct note before;
    mg_view rest = mg_view_of(timeline->note, timeline->note_bytes);
    while (cut_note(&rest, &before) && before.text.ptr != note->text.ptr)
        if (before.at_us + ONE_WALK_US >= note->at_us && mg_view_eq(before.kind, note->kind) &&
            mg_view_eq(before.text, note->text))
            return true;
    return false;
}

/* Those that are due before `until_us`; *rest goes on behind them. */
static void put_decisions(const struct canvas *canvas, const struct mg_timeline *timeline,
                          mg_view *rest, uint64_t until_us)
{
    struct note note;
    for (mg_view next = *rest; cut_note(&next, &note) && note.at_us <= until_us; *rest = next)
        if (note.decision && !was_said(timeline, &note))
            put_decision(canvas, &note);
}

static void put_attempts(struct canvas *canvas, const struct mg_timeline *timeline)
{
    mg_view notes = mg_view_of(timeline->note, timeline->note_bytes);
    for (unsigned i = 0; i < timeline->attempt_count; i++) {
        put_decisions(canvas, timeline, &notes, timeline->attempts[i].start_us);
        put_attempt(canvas, timeline, &timeline->attempts[i]);
    }
    put_decisions(canvas, timeline, &notes, UINT64_MAX);
}

static void put_notes(const struct canvas *canvas, const struct mg_timeline *timeline)
{
    mg_view rest = mg_view_of(timeline->note, timeline->note_bytes);
    struct note note;
    bool any = false;
    while (cut_note(&rest, &note)) {
        if (note.decision)
            continue;
        printf("%s%s", any ? "" : "\nnotes\n", canvas->paint->dim);
        any = true;
        put_duration(note.at_us);
        printf("%s  %s", canvas->paint->off, canvas->paint->cyan);
        mg_history_pad(stdout, note.kind, 9);
        printf("%s ", canvas->paint->off);
        mg_history_put(stdout, note.text, 0);
        putchar('\n');
    }
}

static void put_legend(const struct canvas *canvas)
{
    static const struct {
        enum shade shade;
        const char *text;
    } rows[] = {
        {PAUSED, "held back"},    {CONNECTING, "connecting"}, {WAITING, "waiting for the answer"},
        {RECEIVING, "receiving"}, {FAILED, "failed"},         {LOST, "lost"}};
    unsigned at = LABEL;
    printf("%*s", LABEL, "");
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        unsigned columns = 4 + (unsigned)strlen(rows[i].text);
        if (!(canvas->used & 1u << rows[i].shade))
            continue;
        if (at + columns > canvas->width)
            at = (unsigned)printf("\n%*s", LABEL, "") - 1;
        printf("  %s%s%s %s%s%s", colour(canvas, rows[i].shade),
               canvas->glyphs->shades[rows[i].shade], canvas->paint->off, canvas->paint->dim,
               rows[i].text, canvas->paint->off);
        at += columns;
    }
    putchar('\n');
}

static void draw(const struct mg_timeline *timeline, bool interrupted)
{
    unsigned width =
        MG_MIN(MG_MAX(mg_history_columns(stdout, USUAL), (unsigned)NARROW), (unsigned)WIDTH);
    struct canvas canvas = {
        .width = width,
        .bar = width - BESIDE,
        .glyphs = mg_history_utf8() ? &unicode : &ascii,
        .paint = mg_cli_paint(stdout),
        .total_us = MG_MAX(mg_timeline_duration_us(timeline), (uint64_t)1),
    };
    put_front(&canvas, timeline, interrupted);
    putchar('\n');
    put_axis(&canvas);
    put_phases(&canvas, timeline);
    put_attempts(&canvas, timeline);
    put_phase_bar(&canvas, "answer the client", timeline->phase_us[MG_PHASE_commit],
                  timeline->phase_us[MG_PHASE_commit] ? reached(timeline, MG_PHASE_relay) : 0,
                  RECEIVING);
    if (timeline->attempt_count > 0)
        put_legend(&canvas);
    put_notes(&canvas, timeline);
}
