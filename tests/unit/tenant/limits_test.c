/* What a project, key or user may still ask for: exact, all or nothing, and bounded. Time is made up. */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

#include "base/clock.h"
#include "tenant/limits.h"

#define S UINT64_C(1000000)
#define MONDAY (UINT64_C(1767571200) * S)        /* 2026-01-05T00:00:00Z */

static struct mg_limit_refusal no;

static struct mg_limit_row *row_of(const char *project, enum mg_limit_scope scope, const char *field, const char *value)
{
    struct mg_limit_id id = {mg_view_cstr(project), MG_VIEW_NONE, scope, mg_view_cstr(field), mg_view_cstr(value)};
    return mg_limit_row_take(&id, 1, MONDAY);
}

static struct mg_limit_use use_of(const char *project, const char *value, const struct mg_limit_set *set)
{
    return (struct mg_limit_use){row_of(project, MG_SCOPE_METADATA, "user", value), set, true};
}

static bool enter(const struct mg_limit_use *use, uint64_t now_us)
{
    return mg_limits_enter(use, 1, now_us, &no);
}

TEST(a_burst_passes_at_once_and_then_the_rate)
{
    struct mg_limit_set set = {.any = true, .requests_per_minute = 60, .burst = 5};
    struct mg_limit_use use = use_of("burst", "a", &set);
    for (int i = 0; i < 5; i++)
        CHECK(enter(&use, 10 * S));
    CHECK(!enter(&use, 10 * S));
    CHECK_INT(no.kind, MG_LIMIT_REQUESTS);
    CHECK_INT(no.limit, 60);
    CHECK_INT(no.free_in_us, S);
    CHECK(!enter(&use, 11 * S - 1));
    CHECK(enter(&use, 11 * S));
    CHECK(!enter(&use, 11 * S));
    mg_limit_row_drop(use.row);
}

TEST(what_is_left_is_told_with_when_all_of_it_is_back)
{
    struct mg_limit_set set = {.any = true, .requests_per_minute = 7, .burst = 3};
    struct mg_limit_use use = use_of("left", "a", &set);
    struct mg_limit_left left;
    mg_limit_requests_left(&use, S, &left);
    CHECK_INT(left.left, 3);
    CHECK_INT(left.full_in_us, 0);
    CHECK(enter(&use, S));
    mg_limit_requests_left(&use, S, &left);
    CHECK_INT(left.limit, 7);
    CHECK_INT(left.left, 2);
    CHECK(left.full_in_us > 8571428 && left.full_in_us < 8571430);
    mg_limit_row_drop(use.row);
}

TEST(a_long_run_at_ten_times_the_limit_lets_exactly_gcra_pass)
{
    static const uint32_t rates[] = {1, 7, 60, 600, 9999, 600000};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        struct mg_limit_set set = {.any = true, .requests_per_minute = rates[r], .burst = rates[r] / 6 + 1};
        char value[16];
        snprintf(value, sizeof value, "r%zu", r);
        struct mg_limit_use use = use_of("gcra", value, &set);
        uint64_t passed = 0, span = 120 * S, step = 6 * S / rates[r];      /* ten times the rate */
        for (uint64_t now = 0; now <= span; now += step ? step : 1)
            passed += enter(&use, S + now);
        uint64_t most = set.burst + 2 * (uint64_t)rates[r];
        CHECK(passed <= most);
        CHECK(passed + 1 >= most);     /* and no less */
        mg_limit_row_drop(use.row);
    }
}

TEST(a_worker_whose_clock_is_behind_lets_nothing_more_pass)
{
    struct mg_limit_set set = {.any = true, .requests_per_minute = 60, .burst = 2};
    struct mg_limit_use use = use_of("skew", "a", &set);
    CHECK(enter(&use, 100 * S));
    CHECK(!enter(&use, 99 * S));
    uint64_t passed = 0;
    for (int i = 0; i < 100; i++)
        passed += enter(&use, (uint64_t)(100 - i % 3) * S);
    CHECK_INT(passed, 1);
    mg_limit_row_drop(use.row);
}

TEST(limits_may_change_under_a_row_and_what_was_used_stays)
{
    struct mg_limit_set narrow = {.any = true, .concurrency = 1}, wide = {.any = true, .concurrency = 2};
    struct mg_limit_use use = use_of("reload", "a", &narrow);
    CHECK(enter(&use, S));
    CHECK(!enter(&use, S));
    CHECK_INT(no.kind, MG_LIMIT_CONCURRENCY);
    use.set = &wide;
    CHECK(enter(&use, S));
    CHECK(!enter(&use, S));
    mg_limits_leave(&use, 1);
    mg_limits_leave(&use, 1);
    CHECK_INT(mg_limit_in_flight(use.row), 0);
    mg_limit_row_drop(use.row);
}

TEST(a_refused_request_costs_no_other_limit_anything)
{
    struct mg_limit_set open = {.any = true, .requests_per_minute = 600, .burst = 100, .concurrency = 50};
    struct mg_limit_set shut = {.any = true, .requests_per_minute = 1, .burst = 1};
    struct mg_limit_use uses[] = {use_of("all", "a", &open), use_of("all", "b", &shut)};
    struct mg_limit_left before, after;
    CHECK(mg_limits_enter(uses, 2, S, &no));
    mg_limit_requests_left(&uses[0], S, &before);
    for (int i = 0; i < 20; i++)
        CHECK(!mg_limits_enter(uses, 2, S, &no));
    CHECK_INT(no.use, 1);
    mg_limit_requests_left(&uses[0], S, &after);
    CHECK_INT(after.left, before.left);
    CHECK_INT(mg_limit_in_flight(uses[0].row), 1);
    mg_limit_row_drop(uses[0].row);
    mg_limit_row_drop(uses[1].row);
}

/* ---- tokens ----------------------------------------------------------------------------------- */

static bool reserve(const struct mg_limit_use *use, uint64_t tokens, uint64_t microusd, uint64_t now_us, uint64_t wall_us,
                    struct mg_limit_hold *hold)
{
    return mg_limits_reserve(use, 1, tokens, microusd, now_us, wall_us, hold, &no, NULL, NULL);
}

static uint64_t tokens_left(const struct mg_limit_use *use, uint64_t now_us)
{
    struct mg_limit_left left;
    mg_limit_tokens_left(use, now_us, &left);
    return left.left;
}

TEST(reserved_tokens_are_given_back_as_far_as_they_were_not_used)
{
    struct mg_limit_set set = {.any = true, .tokens_per_minute = 1000};
    struct mg_limit_use use = use_of("tokens", "a", &set);
    struct mg_limit_hold one, two;
    CHECK(reserve(&use, 600, 0, S, MONDAY, &one));
    CHECK(!reserve(&use, 600, 0, S, MONDAY, &two));
    CHECK_INT(no.kind, MG_LIMIT_TOKENS);
    CHECK_INT(no.wanted, 600);
    CHECK_INT(no.free_in_us, 12 * S);
    mg_limits_settle(&use, 1, &one, 100, 0, S, NULL, NULL);
    CHECK_INT(tokens_left(&use, S), 900);
    CHECK(reserve(&use, 600, 0, S, MONDAY, &two));
    mg_limits_settle(&use, 1, &two, 1500, 0, S, NULL, NULL);           /* more than was reserved, more than there is */
    CHECK_INT(tokens_left(&use, S), 0);
    CHECK(!reserve(&use, 1, 0, 30 * S, MONDAY, &two));                 /* and the debt is paid in time */
    CHECK(reserve(&use, 1, 0, 38 * S, MONDAY, &two));
    mg_limit_row_drop(use.row);
}

TEST(what_was_reserved_before_the_bucket_was_full_again_is_not_given_back_into_it)
{
    struct mg_limit_set set = {.any = true, .tokens_per_minute = 600};
    struct mg_limit_use use = use_of("fresh", "a", &set);
    struct mg_limit_hold old, hold;
    CHECK(reserve(&use, 600, 0, S, MONDAY, &old));
    CHECK(reserve(&use, 600, 0, 100 * S, MONDAY, &hold));              /* a minute later all is there again, and taken */
    mg_limits_settle(&use, 1, &old, 0, 0, 100 * S, NULL, NULL);
    CHECK_INT(tokens_left(&use, 100 * S), 0);
    mg_limits_settle(&use, 1, &hold, 0, 0, 100 * S, NULL, NULL);
    CHECK_INT(tokens_left(&use, 100 * S), 600);
    mg_limit_row_drop(use.row);
}

TEST(more_tokens_than_the_limit_ever_holds_are_refused_for_good)
{
    struct mg_limit_set set = {.any = true, .tokens_per_minute = 100};
    struct mg_limit_use use = use_of("never", "a", &set);
    struct mg_limit_hold hold;
    CHECK(!reserve(&use, 101, 0, S, MONDAY, &hold));
    CHECK(no.never);
    CHECK_INT(no.free_in_us, 0);
    mg_limit_row_drop(use.row);
}

/* ---- money ------------------------------------------------------------------------------------ */

TEST(periods_follow_the_calendar_in_utc)
{
    uint64_t leap = UINT64_C(1709164800) * S;    /* 2024-02-29 */
    CHECK_INT(mg_period_start_us(MG_PERIOD_WEEK, MONDAY + 6 * 86400 * S + 5), MONDAY);
    CHECK_INT(mg_period_end_us(MG_PERIOD_WEEK, MONDAY), MONDAY + 7 * 86400 * S);
    CHECK_INT(mg_period_start_us(MG_PERIOD_WEEK, MONDAY - 1), MONDAY - 7 * 86400 * S);
    CHECK_INT(mg_period_start_us(MG_PERIOD_MONTH, MONDAY), UINT64_C(1767225600) * S);      /* 2026-01-01 */
    CHECK_INT(mg_period_end_us(MG_PERIOD_MONTH, MONDAY), UINT64_C(1769904000) * S);        /* 2026-02-01 */
    CHECK_INT(mg_period_start_us(MG_PERIOD_MONTH, leap), UINT64_C(1706745600) * S);        /* 2024-02-01 */
    CHECK_INT(mg_period_end_us(MG_PERIOD_MONTH, leap), leap + 86400 * S);                  /* 2024-03-01 */
    CHECK_INT(mg_period_end_us(MG_PERIOD_MONTH, UINT64_C(1798675200) * S), UINT64_C(1798761600) * S);   /* 2026-12-31 */
    CHECK_INT(mg_period_start_us(MG_PERIOD_DAY, MONDAY + 3600 * S), MONDAY);
}

struct told {
    int soft, stop;
    uint64_t spent;
};

static void on_threshold(void *arg, const struct mg_limit_threshold *at)
{
    struct told *told = arg;
    told->soft += !at->stop;
    told->stop += at->stop;
    told->spent = at->spent_microusd;
}

TEST(a_budget_stops_hard_and_tells_each_threshold_once_a_period)
{
    struct mg_limit_set set = {.any = true, .budget_microusd[MG_PERIOD_DAY] = 100, .soft_microusd[MG_PERIOD_DAY] = 80};
    struct mg_limit_use use = use_of("money", "a", &set);
    struct mg_limit_hold hold;
    struct told told = {0};
    for (int i = 0; i < 10; i++) {
        CHECK(mg_limits_reserve(&use, 1, 0, 10, S, MONDAY, &hold, &no, on_threshold, &told));
        mg_limits_settle(&use, 1, &hold, 0, 10, S, on_threshold, &told);
    }
    CHECK_INT(told.soft, 1);
    for (int i = 0; i < 3; i++)
        CHECK(!mg_limits_reserve(&use, 1, 0, 1, S, MONDAY, &hold, &no, on_threshold, &told));
    CHECK_INT(told.stop, 1);
    CHECK_INT(no.kind, MG_LIMIT_BUDGET);
    CHECK_INT(no.limit, 100);
    CHECK_INT(no.free_in_us, 86400 * S);
    CHECK(mg_limits_reserve(&use, 1, 0, 90, S, MONDAY + 86400 * S, &hold, &no, on_threshold, &told));
    CHECK_INT(told.soft, 1);           /* what is only reserved is not spent */
    CHECK(!mg_limits_reserve(&use, 1, 0, 20, S, MONDAY + 86400 * S, &hold, &no, on_threshold, &told));
    CHECK_INT(told.stop, 1);           /* … and refusing for its sake is no end of the budget */
    mg_limits_settle(&use, 1, &hold, 0, 90, S, on_threshold, &told);
    CHECK_INT(told.soft, 2);
    CHECK_INT(mg_limit_spent(use.row, MG_PERIOD_DAY, MONDAY + 86400 * S), 90);
    mg_limit_row_drop(use.row);
}

TEST(an_attempt_that_ends_in_the_next_period_counts_in_the_one_it_began_in)
{
    struct mg_limit_set set = {.any = true, .budget_microusd[MG_PERIOD_DAY] = 100};
    struct mg_limit_use use = use_of("turn", "a", &set);
    struct mg_limit_hold old, hold;
    uint64_t next = MONDAY + 86400 * S;
    CHECK(reserve(&use, 0, 60, S, next - 1, &old));
    CHECK(reserve(&use, 0, 30, S, next, &hold));
    mg_limits_settle(&use, 1, &old, 0, 90, S, NULL, NULL);
    CHECK_INT(mg_limit_spent(use.row, MG_PERIOD_DAY, next), 30);
    mg_limit_row_drop(use.row);
}

TEST(no_clock_that_steps_makes_a_budget_new_be_it_of_a_day_a_week_or_a_month)
{
    static const uint64_t length_us[] = {86400 * S, 7 * 86400 * S, 31 * 86400 * S};
    for (int p = 0; p < MG_PERIOD_COUNT; p++) {
        char value[16];
        struct mg_limit_set set = {.any = true};
        struct mg_limit_hold hold;
        set.budget_microusd[p] = 100;
        snprintf(value, sizeof value, "s%d", p);
        struct mg_limit_use use = use_of("steps", value, &set);
        CHECK(mg_limits_reserve(&use, 1, 0, 100, S, MONDAY, &hold, &no, NULL, NULL));
        CHECK(mg_limits_reserve(&use, 1, 0, 10, S, MONDAY + 3 * length_us[p], &hold, &no, NULL, NULL));      /* ahead, once */
        CHECK(!mg_limits_reserve(&use, 1, 0, 1, S, MONDAY + S, &hold, &no, NULL, NULL));
        CHECK(!mg_limits_reserve(&use, 1, 0, 1, S, MONDAY - length_us[p], &hold, &no, NULL, NULL));
        CHECK(mg_limits_reserve(&use, 1, 0, 100, S, MONDAY + length_us[p] + 86400 * S, &hold, &no, NULL, NULL));  /* time went on */
        mg_limit_row_drop(use.row);
    }
}

TEST(a_budget_that_refuses_gives_the_tokens_and_the_other_budgets_back)
{
    struct mg_limit_set set = {.any = true, .tokens_per_minute = 1000, .budget_microusd = {100, 0, 1000}};
    struct mg_limit_set poor = {.any = true, .budget_microusd[MG_PERIOD_WEEK] = 5};
    struct mg_limit_use uses[] = {use_of("both", "a", &set), use_of("both", "b", &poor)};
    struct mg_limit_hold holds[2];
    CHECK(!mg_limits_reserve(uses, 2, 500, 50, S, MONDAY, holds, &no, NULL, NULL));
    CHECK_INT(no.use, 1);
    CHECK(no.never);
    CHECK_INT(tokens_left(&uses[0], S), 1000);
    CHECK_INT(mg_limit_spent(uses[0].row, MG_PERIOD_DAY, MONDAY), 0);
    CHECK_INT(mg_limit_spent(uses[0].row, MG_PERIOD_MONTH, MONDAY), 0);
    mg_limit_row_drop(uses[0].row);
    mg_limit_row_drop(uses[1].row);
}

TEST(restored_money_counts_and_passed_thresholds_are_not_told_again)
{
    struct mg_limit_set set = {.any = true, .budget_microusd[MG_PERIOD_MONTH] = 100, .soft_microusd[MG_PERIOD_MONTH] = 80};
    struct mg_limit_use use = use_of("restore", "a", &set);
    struct mg_limit_hold hold;
    struct told told = {0};
    mg_limit_restore(use.row, &set, MG_PERIOD_MONTH, 90, MONDAY);
    CHECK(mg_limits_reserve(&use, 1, 0, 5, S, MONDAY, &hold, &no, on_threshold, &told));
    CHECK(!mg_limits_reserve(&use, 1, 0, 6, S, MONDAY, &hold, &no, on_threshold, &told));
    CHECK_INT(told.stop, 0);           /* it may fit again when the five are settled */
    CHECK(!mg_limits_reserve(&use, 1, 0, 11, S, MONDAY, &hold, &no, on_threshold, &told));
    CHECK_INT(told.soft, 0);
    CHECK_INT(told.stop, 1);
    mg_limit_row_drop(use.row);
}

/* ---- rows ------------------------------------------------------------------------------------- */

TEST(projects_workflows_scopes_and_values_have_rows_of_their_own)
{
    struct mg_limit_row *a = row_of("p", MG_SCOPE_METADATA, "user", "x"), *b = row_of("p", MG_SCOPE_METADATA, "tier", "x");
    struct mg_limit_row *c = row_of("q", MG_SCOPE_METADATA, "user", "x"), *d = row_of("p", MG_SCOPE_KEY, "", "x");
    struct mg_limit_row *e = row_of("p", MG_SCOPE_METADATA, "user", "x"), *f = row_of("p", MG_SCOPE_METADATA, "use", "rx");
    CHECK(a == e);
    CHECK(a != b && a != c && a != d && b != c && a != f);
    CHECK_STR(mg_limit_row_value(a), "x");
    struct mg_limit_row *all[] = {a, b, c, d, e, f};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        mg_limit_row_drop(all[i]);
}

TEST(values_that_say_nothing_any_more_make_room_for_new_ones)
{
    struct mg_limit_set set = {.any = true, .requests_per_minute = 60, .burst = 1};
    uint32_t before = mg_limit_values(MG_VIEW("idle"));
    for (int i = 0; i < 4 * MG_MAX_LIMIT_VALUES; i++) {
        char value[24];
        snprintf(value, sizeof value, "u%d", i);
        struct mg_limit_id id = {MG_VIEW("idle"), MG_VIEW_NONE, MG_SCOPE_METADATA, MG_VIEW("user"), mg_view_cstr(value)};
        struct mg_limit_use use = {mg_limit_row_take(&id, (uint64_t)i * S, MONDAY), &set, true};
        CHECK(!mg_limit_row_is_shared(use.row));
        CHECK(enter(&use, (uint64_t)i * S));
        mg_limits_leave(&use, 1);
        mg_limit_row_drop(use.row);
    }
    CHECK_INT(before, 0);
    CHECK(mg_limit_values(MG_VIEW("idle")) <= MG_MAX_LIMIT_VALUES);
}

TEST(values_beyond_the_bound_share_one_row_and_other_projects_do_not_notice)
{
    struct mg_limit_set set = {.any = true, .requests_per_minute = 1, .burst = 1};
    uint64_t now = mg_mono_us();
    struct mg_limit_row *shared = NULL;
    for (int i = 0; i < MG_MAX_LIMIT_VALUES + 100; i++) {
        char value[24];
        snprintf(value, sizeof value, "u%d", i);
        struct mg_limit_id id = {MG_VIEW("flood"), MG_VIEW_NONE, MG_SCOPE_METADATA, MG_VIEW("user"), mg_view_cstr(value)};
        struct mg_limit_use use = {mg_limit_row_take(&id, now, MONDAY), &set, true};
        CHECK(!mg_limit_row_is_shared(use.row) || !shared || use.row == shared);
        if (mg_limit_row_is_shared(use.row))
            shared = use.row;
        bool passed = enter(&use, now);          /* each is busy now, so none can be forgotten */
        CHECK(passed || use.row == shared);
        mg_limit_row_drop(use.row);
    }
    CHECK(shared);
    CHECK_INT(mg_limit_values(MG_VIEW("flood")), MG_MAX_LIMIT_VALUES);
    struct mg_limit_row *other = row_of("quiet", MG_SCOPE_METADATA, "user", "a"), *key = row_of("flood", MG_SCOPE_KEY, "", "k");
    CHECK(!mg_limit_row_is_shared(other));
    CHECK(!mg_limit_row_is_shared(key));         /* keys are the operator's */
    mg_limit_row_drop(other);
    mg_limit_row_drop(key);
}

TEST(what_other_projects_clients_send_takes_no_projects_room_away)
{
    struct mg_limit_set set = {.any = true, .requests_per_minute = 1, .burst = 1};
    uint64_t now = mg_mono_us();
    uint32_t shared = 0, before = mg_limit_values(MG_VIEW("tenth"));
    for (int p = 0; p < 11; p++) {
        char project[16], value[24];
        snprintf(project, sizeof project, p == 10 ? "tenth" : "p%d", p);
        for (int i = 0; i < (p == 10 ? MG_MAX_LIMIT_VALUES_OWN + 1 : MG_MAX_LIMIT_VALUES); i++) {
            snprintf(value, sizeof value, "u%d", i);
            struct mg_limit_id id = {mg_view_cstr(project), MG_VIEW_NONE, MG_SCOPE_METADATA, MG_VIEW("user"), mg_view_cstr(value)};
            struct mg_limit_use use = {mg_limit_row_take(&id, now, MONDAY), &set, true};
            (void)enter(&use, now);    /* busy for a minute: none can be forgotten */
            bool is_shared = mg_limit_row_is_shared(use.row);
            shared += is_shared;
            CHECK(p < 10 || is_shared == (i == MG_MAX_LIMIT_VALUES_OWN));
            mg_limit_row_drop(use.row);
        }
    }
    CHECK_INT(before, 0);
    CHECK(shared > 1000);              /* the pool was really empty */
    CHECK_INT(mg_limit_values(MG_VIEW("tenth")), MG_MAX_LIMIT_VALUES_OWN);
}

/* ---- many threads ----------------------------------------------------------------------------- */

enum { THREADS = 4, CALLS = 40000 };

struct hammer {
    struct mg_limit_use uses[2];
    uint64_t passed;
    unsigned seed;
};

static struct mg_limit_set wide = {.any = true, .requests_per_minute = 600000, .burst = 100000};
static struct mg_limit_set narrow = {.any = true, .requests_per_minute = 60000, .burst = 500};
static _Atomic uint64_t clock_us = 1;

/* Each thread's clock is a little behind the others', as loops' are. */
static uint64_t skewed(struct hammer *h)
{
    uint64_t now = atomic_fetch_add(&clock_us, 10);
    h->seed = h->seed * 1103515245 + 12345;
    return now > 5000 ? now - (h->seed >> 16) % 5000 : now;
}

static void *ask_for_requests(void *arg)
{
    struct hammer *h = arg;
    struct mg_limit_refusal refusal;
    for (int i = 0; i < CALLS; i++)
        if (mg_limits_enter(h->uses, 2, skewed(h), &refusal)) {
            mg_limits_leave(h->uses, 2);
            h->passed++;
        }
    return NULL;
}

static void run_all(struct hammer *hammers, void *(*run)(void *))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, run, &hammers[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

TEST(many_threads_at_many_times_the_limit_never_pass_more_than_gcra)
{
    struct hammer hammers[THREADS];
    struct mg_limit_use w = use_of("hammer", "wide", &wide), n = use_of("hammer", "narrow", &narrow);
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.uses = {w, n}, .seed = (unsigned)i + 1};
    atomic_store(&clock_us, 1);
    run_all(hammers, ask_for_requests);
    uint64_t passed = 0, span = atomic_load(&clock_us);      /* 1.6 s: 1600 at the rate, 160000 asked for */
    for (int i = 0; i < THREADS; i++)
        passed += hammers[i].passed;
    uint64_t most = narrow.burst + span * narrow.requests_per_minute / (60 * S);
    CHECK(passed <= most);
    CHECK(passed >= most - most / 50);
    struct mg_limit_left left;                   /* the wide one was debited exactly as often: nothing leaked either way */
    mg_limit_requests_left(&(struct mg_limit_use){w.row, &wide, false}, span, &left);
    CHECK_INT(mg_limit_in_flight(w.row), 0);
    CHECK_INT(mg_limit_in_flight(n.row), 0);
    CHECK(left.left <= wide.burst);
    mg_limit_row_drop(w.row);
    mg_limit_row_drop(n.row);
}

/* Time stands still: what passes is the burst, and all or nothing is exact to the request. */
static struct mg_limit_set still_wide = {.any = true, .requests_per_minute = 600000, .burst = 100000};
static struct mg_limit_set still_narrow = {.any = true, .requests_per_minute = 60, .burst = 50};

static void *ask_in_one_moment(void *arg)
{
    struct hammer *h = arg;
    struct mg_limit_refusal refusal;
    for (int i = 0; i < CALLS; i++)
        if (mg_limits_enter(h->uses, 2, S, &refusal)) {
            mg_limits_leave(h->uses, 2);
            h->passed++;
        }
    return NULL;
}

TEST(many_threads_in_one_moment_pass_exactly_the_burst_and_debit_the_other_limit_as_often)
{
    struct hammer hammers[THREADS];
    struct mg_limit_use w = use_of("moment", "wide", &still_wide), n = use_of("moment", "narrow", &still_narrow);
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.uses = {w, n}};
    run_all(hammers, ask_in_one_moment);
    uint64_t passed = 0;
    struct mg_limit_left left;
    for (int i = 0; i < THREADS; i++)
        passed += hammers[i].passed;
    CHECK_INT(passed, 50);
    mg_limit_requests_left(&w, S, &left);
    CHECK_INT(left.left, 100000 - 50);
    mg_limit_row_drop(w.row);
    mg_limit_row_drop(n.row);
}

static struct mg_limit_set slots = {.any = true, .concurrency = 3};
static _Atomic int inside, worst;

static void *hold_slots(void *arg)
{
    struct hammer *h = arg;
    struct mg_limit_refusal refusal;
    for (int i = 0; i < CALLS; i++) {
        if (!mg_limits_enter(h->uses, 1, S, &refusal))
            continue;
        int now = atomic_fetch_add(&inside, 1) + 1, before = atomic_load(&worst);
        while (now > before && !atomic_compare_exchange_weak(&worst, &before, now))
            ;
        atomic_fetch_sub(&inside, 1);
        mg_limits_leave(h->uses, 1);
    }
    return NULL;
}

TEST(many_threads_never_hold_more_slots_than_there_are)
{
    struct hammer hammers[THREADS];
    struct mg_limit_use use = use_of("slots", "a", &slots);
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.uses = {use}};
    run_all(hammers, hold_slots);
    CHECK(atomic_load(&worst) <= 3);
    CHECK_INT(mg_limit_in_flight(use.row), 0);
    mg_limit_row_drop(use.row);
}

static struct mg_limit_set purse = {.any = true, .tokens_per_minute = 1000000, .budget_microusd[MG_PERIOD_DAY] = 100000};

static void *spend(void *arg)
{
    struct hammer *h = arg;
    struct mg_limit_refusal refusal;
    struct mg_limit_hold hold;
    for (int i = 0; i < CALLS; i++) {
        if (!mg_limits_reserve(h->uses, 1, 20, 20, S, MONDAY, &hold, &refusal, NULL, NULL))
            continue;
        mg_limits_settle(h->uses, 1, &hold, 7, 7, S, NULL, NULL);
        h->passed++;
    }
    return NULL;
}

TEST(many_threads_spend_no_more_than_the_budget_and_all_of_it_is_accounted_for)
{
    struct hammer hammers[THREADS];
    struct mg_limit_use use = use_of("purse", "a", &purse);
    for (int i = 0; i < THREADS; i++)
        hammers[i] = (struct hammer){.uses = {use}};
    run_all(hammers, spend);
    uint64_t passed = 0, spent = mg_limit_spent(use.row, MG_PERIOD_DAY, MONDAY);
    for (int i = 0; i < THREADS; i++)
        passed += hammers[i].passed;
    CHECK_INT(spent, passed * 7);
    CHECK(spent <= 100000 && spent > 100000 - 20 - THREADS * 20);
    CHECK(1000000 - tokens_left(&use, S) - passed * 7 <= passed);      /* each debit is rounded up by less than a token */
    mg_limit_row_drop(use.row);
}

static void *find_rows(void *arg)
{
    struct hammer *h = arg;
    for (int i = 0; i < CALLS / 4; i++) {
        char value[16];
        snprintf(value, sizeof value, "v%d", i % 97);
        struct mg_limit_use use = use_of("find", value, &slots);
        struct mg_limit_refusal refusal;
        if (mg_limits_enter(&use, 1, S, &refusal)) {
            mg_limits_leave(&use, 1);
            h->passed++;
        }
        mg_limit_row_drop(use.row);
    }
    return NULL;
}

TEST(many_threads_find_one_row_for_one_value)
{
    struct hammer hammers[THREADS] = {0};
    run_all(hammers, find_rows);
    CHECK(mg_limit_values(MG_VIEW("find")) <= 97);
}

MG_TEST_MAIN()
