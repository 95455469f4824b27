/* Whatever is asked of the request log, whether rows are packed or open, the answer is what looking at each row gives. */
#include "watch/search.h"

#include <stdarg.h>

#include "base/mem.h"
#include "http/json_members.h"
#include "meter/ledger.h"
#include "meter/packer.h"
#include "store_world.h"
#include "watch/histogram.h"

enum { ROWS = 1500, QUESTIONS = 400 };

/* What a naive filter knows of a row. */
struct plain {
    struct mg_timeline timeline;
    struct mg_totals totals;
    char session[16], metadata[80], model[16], project[16];
    uint64_t at_us;
};

static struct plain *plains;
static uint64_t state;

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static const char *const providers[] = {"alpha", "beta", "gamma"};

static void draw_attempts(struct plain *plain)
{
    struct mg_timeline *timeline = &plain->timeline;
    for (uint64_t i = 0, count = draw(4); i < count; i++) {
        struct mg_attempt_record *attempt = world_attempt(timeline, providers[draw(3)], plain->model, MG_CLASS_none);
        attempt->reason = i == 0 ? MG_REASON_first : (enum mg_reason)(1 + draw(4));
        attempt->usage = (struct mg_usage){draw(1000), draw(500), draw(100), 0, 0, draw(2)};
        attempt->cost_microusd = draw(5000);
        attempt->start_us = 1000 * i;
        attempt->mark_us[MG_MARK_first_token] = draw(3) ? 1 + draw(90000) : 0;
    }
}

static void draw_row(struct plain *plain, unsigned number)
{
    struct mg_timeline *timeline = &plain->timeline;
    *timeline = world_exchange(number, (unsigned)draw(900));
    snprintf(plain->session, sizeof plain->session, draw(3) ? "s-%u" : "", (unsigned)draw(200));
    snprintf(plain->project, sizeof plain->project, "p%u", (unsigned)draw(4));
    snprintf(plain->model, sizeof plain->model, "m-%u", (unsigned)draw(12));
    snprintf(plain->metadata, sizeof plain->metadata, "{\"team\":\"t%u\",\"n\":%u,\"user\":\"u%u\"}", (unsigned)draw(30), (unsigned)draw(5),
             (unsigned)draw(300));
    timeline->session = mg_view_cstr(plain->session);
    timeline->project = mg_view_cstr(plain->project);
    timeline->metadata = draw(5) ? mg_view_cstr(plain->metadata) : MG_VIEW_NONE;
    timeline->stream = draw(2);
    timeline->clean = draw(10) > 0;
    timeline->status = (uint16_t)(draw(8) ? 200 : 400 + draw(120));
    timeline->class_ = timeline->status < 400 ? MG_CLASS_none : draw(2) ? MG_CLASS_overloaded : MG_CLASS_rate_limited;
    draw_attempts(plain);
    mg_timeline_totals(timeline, &plain->totals);
    plain->at_us = timeline->start_wall_us + plain->totals.duration_us;
}

static void fill(struct world *world)
{
    uint32_t packed;
    world_open(world);
    state = 20261124;
    plains = mg_new_array(struct plain, ROWS);
    for (unsigned i = 0; i < ROWS; i++) {
        draw_row(&plains[i], i);
        world_record(world, &plains[i].timeline);
        if (i % 50 == 49)
            mg_recorder_flush(world->recorder);
    }
    for (int i = 0; i < 3; i++) /* three blocks, and 300 rows that are open */
        CHECK_OK(mg_pack_rows(world->db, world->recorder, 400, 250, &packed, NULL));
}

/* ---- the naive filter */

struct wanted {
    char query[512];
    uint64_t since_us, until_us, min_us, min_ttft_us, min_tokens, max_cost;
    const char *project, *provider, *class_, *session;
    char model[16], metadata_key[8], metadata[8];
    bool not_project, glob_model;
    int error, stream, retried, rescued;
};

static bool has_provider(const struct mg_timeline *timeline, const char *provider)
{
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        if (mg_view_eq(timeline->attempts[i].provider, mg_view_cstr(provider)))
            return true;
    return false;
}

static bool has_model(const struct mg_timeline *timeline, const struct wanted *wanted)
{
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        if (wanted->glob_model ? mg_view_starts(timeline->attempts[i].model, mg_view_cstr(wanted->model))
                               : mg_view_eq(timeline->attempts[i].model, mg_view_cstr(wanted->model)))
            return true;
    return false;
}

static bool has_reason(const struct mg_timeline *timeline, enum mg_reason reason)
{
    for (unsigned i = 0; i < timeline->attempt_count; i++)
        if (timeline->attempts[i].reason == reason)
            return true;
    return false;
}

static bool has_metadata(const struct mg_timeline *timeline, const struct wanted *wanted)
{
    mg_view value = timeline->metadata.len ? mg_json_member(timeline->metadata, mg_view_cstr(wanted->metadata_key)) : MG_VIEW_NONE;
    if (value.len > 1 && value.ptr[0] == '"')
        value = mg_view_of(value.ptr + 1, value.len - 2);
    return mg_view_eq(value, mg_view_cstr(wanted->metadata));
}

static bool is_error(const struct mg_timeline *timeline)
{
    return timeline->status >= 400 || !timeline->clean;
}

static bool chooses(const struct wanted *wanted, const struct plain *plain)
{
    const struct mg_timeline *timeline = &plain->timeline;
    return plain->at_us >= wanted->since_us && (!wanted->until_us || plain->at_us < wanted->until_us) &&
           plain->totals.duration_us >= wanted->min_us && (!wanted->min_ttft_us || plain->totals.ttft_us >= wanted->min_ttft_us) &&
           plain->totals.usage.input_tokens + plain->totals.usage.output_tokens >= wanted->min_tokens &&
           (!wanted->max_cost || plain->totals.cost_microusd <= wanted->max_cost) &&
           (!wanted->project || mg_view_eq(timeline->project, mg_view_cstr(wanted->project)) != wanted->not_project) &&
           (!wanted->provider || has_provider(timeline, wanted->provider)) &&
           (!wanted->class_ || strcmp(mg_class_name(timeline->class_), wanted->class_) == 0) &&
           (!wanted->session || mg_view_eq(timeline->session, mg_view_cstr(wanted->session))) &&
           (!wanted->model[0] || has_model(timeline, wanted)) && (!wanted->metadata[0] || has_metadata(timeline, wanted)) &&
           (wanted->error < 0 || is_error(timeline) == wanted->error) && (wanted->stream < 0 || timeline->stream == wanted->stream) &&
           (wanted->retried < 0 || (timeline->attempt_count > 1) == wanted->retried) &&
           (wanted->rescued < 0 || has_reason(timeline, MG_REASON_rescue) == wanted->rescued);
}

static void add(struct wanted *wanted, const char *fmt, ...)
{
    size_t len = strlen(wanted->query);
    va_list args;
    va_start(args, fmt);
    vsnprintf(wanted->query + len, sizeof wanted->query - len, fmt, args);
    va_end(args);
}

static void draw_texts(struct wanted *wanted)
{
    static const char *const projects[] = {"p0", "p1", "p2", "p3", "p9"}, *const classes[] = {"none", "overloaded"};
    if (draw(3) == 0) {
        wanted->project = projects[draw(5)];
        wanted->not_project = draw(2);
        add(wanted, "&project=%s%s", wanted->not_project ? "!" : "", wanted->project);
    }
    if (draw(4) == 0)
        add(wanted, "&provider=%s", wanted->provider = providers[draw(3)]);
    if (draw(5) == 0)
        add(wanted, "&class=%s", wanted->class_ = classes[draw(2)]);
    if (draw(8) == 0)
        add(wanted, "&session=%s", wanted->session = "s-7");
    if (draw(4) == 0) {
        wanted->glob_model = draw(2);
        snprintf(wanted->model, sizeof wanted->model, wanted->glob_model ? "m-1" : "m-%u", (unsigned)draw(13));
        add(wanted, "&model=%s%s", wanted->model, wanted->glob_model ? "*" : "");
    }
    if (draw(4) == 0) {
        bool number = draw(2);
        snprintf(wanted->metadata_key, sizeof wanted->metadata_key, number ? "n" : "team");
        snprintf(wanted->metadata, sizeof wanted->metadata, number ? "%u" : "t%u", (unsigned)draw(number ? 6 : 32));
        add(wanted, "&metadata.%s=%s", wanted->metadata_key, wanted->metadata);
    }
}

static void draw_figures(struct wanted *wanted)
{
    uint64_t began = BEGAN_S * UINT64_C(1000000);
    if (draw(3) == 0)
        add(wanted, "&since=%llu", (unsigned long long)(wanted->since_us = began + draw(ROWS * UINT64_C(1000000))));
    if (draw(3) == 0)
        add(wanted, "&until=%llu", (unsigned long long)(wanted->until_us = began + draw(ROWS * UINT64_C(1000000))));
    if (draw(4) == 0)
        add(wanted, "&min_latency=%u", (unsigned)((wanted->min_us = draw(900) * 1000) / 1000));
    if (draw(5) == 0)
        add(wanted, "&min_ttft=%ums", (unsigned)((wanted->min_ttft_us = (1 + draw(90)) * 1000) / 1000));
    if (draw(5) == 0)
        add(wanted, "&min_tokens=%u", (unsigned)(wanted->min_tokens = draw(1500)));
    if (draw(6) == 0)
        add(wanted, "&max_cost=0.%06u", (unsigned)(wanted->max_cost = 1 + draw(9000)));
}

static struct wanted draw_question(void)
{
    struct wanted wanted = {.error = -1, .stream = -1, .retried = -1, .rescued = -1};
    draw_texts(&wanted);
    draw_figures(&wanted);
    if (draw(4) == 0) {
        wanted.error = 1;
        add(&wanted, "&status=error");
    }
    if (draw(4) == 0)
        add(&wanted, "&stream=%s", (wanted.stream = (int)draw(2)) ? "true" : "false");
    if (draw(4) == 0)
        add(&wanted, "&retried=%d", wanted.retried = (int)draw(2));
    if (draw(5) == 0)
        add(&wanted, "&rescued=%d", wanted.rescued = (int)draw(2));
    return wanted;
}

/* ---- asking */

static struct mg_query asked;

static const struct mg_query *question(const struct wanted *wanted, const char *more)
{
    char text[640];
    asked = (struct mg_query){0};
    snprintf(text, sizeof text, "%s%s", wanted->query, more);
    CHECK_OK(mg_query_parse(&asked, mg_view_cstr(text), "", NULL));
    return &asked;
}

struct walk {
    const struct wanted *wanted;
    int next;                /* index of the plain row that may come next, and older ones */
    unsigned rows;
};

static mg_err expect_next(void *arg, const struct mg_logs_row *row)
{
    struct walk *walk = arg;
    while (walk->next >= 0 && !chooses(walk->wanted, &plains[walk->next]))
        walk->next--;
    CHECK(walk->next >= 0);
    const struct plain *plain = &plains[walk->next--];
    CHECK_VIEW(row->id, mg_view_cstr(plain->timeline.id));
    CHECK_INT(row->cost_microusd, plain->totals.cost_microusd);
    CHECK_INT(row->ttft_us, plain->totals.ttft_us);
    CHECK_VIEW(row->session, plain->timeline.session);
    walk->rows++;
    return MG_OK;
}

/* Page by page, newest first. Rows that settled in another order than they began are in the order of their ends. */
static unsigned check_pages(struct mg_search *search, const struct wanted *wanted)
{
    struct walk walk = {wanted, ROWS - 1, 0};
    struct mg_search_cursor next;
    char more[64] = "&limit=97";
    do {
        CHECK_OK(mg_search_page(search, question(wanted, more), expect_next, &walk, &next));
        snprintf(more, sizeof more, "&limit=97&before=%llu", (unsigned long long)next.at_us);
    } while (next.at_us);
    while (walk.next >= 0)
        CHECK(!chooses(wanted, &plains[walk.next--]));
    return walk.rows;
}

static int by_number(const void *a, const void *b)
{
    return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b;
}

static void check_percentile(uint64_t *sorted, unsigned count, unsigned thousandths, uint64_t got)
{
    uint64_t want = count ? sorted[(count * thousandths + 999) / 1000 - 1] : 0, off = got > want ? got - want : want - got;
    CHECK(off * 1000 <= want * 16);
}

static void check_summary(const struct mg_summary *got, const struct wanted *wanted, uint64_t since_us, uint64_t until_us)
{
    static uint64_t durations[ROWS];
    struct mg_summary want = {0};
    for (unsigned i = 0; i < ROWS; i++) {
        const struct plain *plain = &plains[i];
        if (!chooses(wanted, plain) || plain->at_us < since_us || plain->at_us >= until_us)
            continue;
        durations[want.count++] = plain->totals.duration_us;
        want.errors += is_error(&plain->timeline);
        want.retried += plain->timeline.attempt_count > 1;
        want.input_tokens += plain->totals.usage.input_tokens;
        want.output_tokens += plain->totals.usage.output_tokens;
        want.cached_read_tokens += plain->totals.usage.cached_read_tokens;
        want.cost_microusd += plain->totals.cost_microusd;
        want.first_us = want.first_us ? want.first_us : plain->at_us;
        want.last_us = plain->at_us;
    }
    qsort(durations, want.count, sizeof durations[0], by_number);
    CHECK_INT(got->count, want.count);
    CHECK_INT(got->errors, want.errors);
    CHECK_INT(got->retried, want.retried);
    CHECK_INT(got->input_tokens, want.input_tokens);
    CHECK_INT(got->output_tokens, want.output_tokens);
    CHECK_INT(got->cached_read_tokens, want.cached_read_tokens);
    CHECK_INT(got->cost_microusd, want.cost_microusd);
    CHECK_INT(got->first_us, want.first_us);
    CHECK_INT(got->last_us, want.last_us);
    check_percentile(durations, (unsigned)want.count, 500, got->duration_us[0]);
    check_percentile(durations, (unsigned)want.count, 990, got->duration_us[3]);
}

static void check_series(struct mg_search *search, const struct wanted *wanted)
{
    static struct mg_summary steps[30];
    uint64_t since_us = BEGAN_S * UINT64_C(1000000) + 100000000, step_us = 50000000;
    CHECK_OK(mg_search_series(search, question(wanted, ""), since_us, step_us, 30, steps));
    for (unsigned i = 0; i < 30; i++)
        check_summary(&steps[i], wanted, since_us + i * step_us, since_us + (i + 1) * step_us);
}

struct groups {
    const struct wanted *wanted;
    uint64_t last_count;
    unsigned rows;
};

static mg_err check_group(void *arg, const struct mg_group *group)
{
    struct groups *groups = arg;
    uint64_t count = 0;
    for (unsigned i = 0; i < ROWS; i++)
        count += chooses(groups->wanted, &plains[i]) && mg_view_eq(plains[i].timeline.session, group->value);
    CHECK_INT(group->summary.count, count);
    CHECK(count > 0 && count <= groups->last_count);
    groups->last_count = count;
    groups->rows += (unsigned)count;
    return MG_OK;
}

struct ranks {
    uint64_t last_cost, last_at;
    unsigned rows;
};

static mg_err check_rank(void *arg, const struct mg_logs_row *row)
{
    struct ranks *ranks = arg;
    CHECK(row->cost_microusd < ranks->last_cost || (row->cost_microusd == ranks->last_cost && row->at_us < ranks->last_at));
    ranks->last_cost = row->cost_microusd;
    ranks->last_at = row->at_us;
    ranks->rows++;
    return MG_OK;
}

static void check_ranking(struct mg_search *search, const struct wanted *wanted, unsigned rows)
{
    struct ranks ranks = {UINT64_MAX, UINT64_MAX, 0};
    struct mg_search_cursor next;
    char more[96] = "&limit=97&sort=cost";
    do {
        CHECK_OK(mg_search_page(search, question(wanted, more), check_rank, &ranks, &next));
        snprintf(more, sizeof more, "&limit=97&sort=cost&before=%lld-%llu", (long long)next.value, (unsigned long long)next.at_us);
    } while (next.at_us);
    CHECK_INT(ranks.rows, rows);
}

TEST(answers_are_what_a_naive_filter_gives)
{
    struct world world;
    struct mg_summary summary;
    fill(&world);
    struct mg_search *search = mg_search_new(world.db);
    CHECK_OK(mg_search_refresh(search, NULL));
    for (int i = 0; i < QUESTIONS; i++) {
        struct wanted wanted = draw_question();
        unsigned rows = check_pages(search, &wanted);
        CHECK_OK(mg_search_summary(search, question(&wanted, ""), &summary));
        check_summary(&summary, &wanted, 0, UINT64_MAX);
        check_series(search, &wanted);
        check_ranking(search, &wanted, rows);
        struct groups groups = {&wanted, UINT64_MAX, 0};
        CHECK_OK(mg_search_groups(search, question(&wanted, ""), MG_FIELD_session, MG_VIEW_NONE, 1000, check_group, &groups));
        CHECK_INT(groups.rows, rows);
    }
    mg_search_free(search);
    mg_free(plains);
    world_stop(&world);
}

static mg_err count_row(void *arg, const struct mg_logs_row *row)
{
    (void)row;
    ++*(unsigned *)arg;
    return MG_OK;
}

TEST(what_is_packed_while_a_search_is_open_is_neither_lost_nor_twice)
{
    struct world world;
    struct mg_search_cursor next;
    uint32_t packed;
    fill(&world);
    struct mg_search *search = mg_search_new(world.db);
    for (unsigned round = 0; round < 4; round++) {
        unsigned rows = 0;
        CHECK_OK(mg_search_refresh(search, NULL));
        CHECK_OK(mg_pack_rows(world.db, world.recorder, 60, 0, &packed, NULL));
        CHECK_INT(packed, 60);
        if (round % 2)
            CHECK_OK(mg_search_refresh(search, NULL));
        asked = (struct mg_query){.limit = 1000};
        CHECK_OK(mg_search_page(search, &asked, count_row, &rows, &next));
        CHECK_INT(rows, 1000);
        asked = (struct mg_query){.limit = 1000, .before = next.at_us};
        CHECK_OK(mg_search_page(search, &asked, count_row, &rows, &next));
        CHECK_INT(rows, ROWS);
    }
    mg_search_free(search);
    mg_free(plains);
    world_stop(&world);
}

TEST(a_histogram_is_at_most_a_sixtieth_off)
{
    static struct mg_histogram histogram;
    for (uint64_t value = 1; value < UINT64_MAX / 3; value = value * 2 + draw(7)) {
        uint64_t got = mg_histogram_value(mg_histogram_bin(value)), off = got > value ? got - value : value - got;
        CHECK(mg_histogram_bin(value) < MG_HISTOGRAM_BINS);
        CHECK(off <= value / 60);
    }
    CHECK(mg_histogram_bin(UINT64_MAX) < MG_HISTOGRAM_BINS);
    CHECK_INT(mg_histogram_at(&histogram, 500), 0);
}

MG_TEST_MAIN()
