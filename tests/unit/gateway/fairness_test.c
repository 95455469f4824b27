/* Who is served first on a worker that is full. */
#include "check.h"
#include "folder.h"

#include "base/mem.h"
#include "gateway/fairness.h"

enum { CALLS = 64 };

struct call {
    struct mg_fair_wait wait;
    int told;                          /* 1: entered, -1: turned away */
};

static struct mg_loop loop;
static struct mg_fair fair;
static struct call calls[CALLS];
static const struct mg_config_grant grants[] = {{"big", 3}};
static struct mg_config_overload rules;
static struct mg_journal *journal;      /* NULL: whoever runs needs no room in one */

static void on_told(struct mg_fair_wait *wait, bool entered)
{
    mg_container_of(wait, struct call, wait)->told = entered ? 1 : -1;
}

static void begin(uint32_t in_flight, uint32_t queue, uint32_t queue_ms)
{
    memset(calls, 0, sizeof calls);
    rules = (struct mg_config_overload){in_flight, queue, queue_ms, grants, 1};
    mg_loop_init(&loop);
    mg_fair_init(&fair, &rules, &loop, journal);
}

static void end(void)
{
    for (int i = 0; i < CALLS; i++)
        mg_fair_leave(&calls[i].wait);
    CHECK_INT(fair.running, 0);
    CHECK_INT(fair.waiting, 0);
    mg_loop_turn(&loop, 0);
    mg_fair_fini(&fair);
    mg_loop_fini(&loop);
}

/* 1: runs, 0: waits, -1: turned away. */
static int come(int i, const char *project)
{
    struct mg_fair_share *share = mg_fair_share(&fair, mg_view_cstr(project));
    if (mg_fair_enter(&fair, share, &calls[i].wait))
        return calls[i].told = 1;
    return mg_fair_wait(&fair, share, &calls[i].wait, on_told) ? 0 : -1;
}

static void leave(int i)
{
    mg_fair_leave(&calls[i].wait);
    mg_loop_turn(&loop, 0);
}

TEST(below_the_bound_everybody_runs_at_once)
{
    begin(3, 2, 1000);
    for (int i = 0; i < 3; i++)
        CHECK_INT(come(i, "a"), 1);
    CHECK_INT(come(3, "a"), 0);
    leave(0);
    CHECK_INT(calls[3].told, 1);
    CHECK_INT(fair.running, 3);
    end();
}

TEST(the_project_that_runs_least_is_next_however_many_of_the_other_wait)
{
    begin(4, 32, 1000);
    for (int i = 0; i < 20; i++)
        (void)come(i, "noisy");
    CHECK_INT(come(30, "quiet"), 0);
    leave(0);
    CHECK_INT(calls[30].told, 1);
    CHECK_INT(calls[4].told, 0);
    leave(1);
    CHECK_INT(calls[4].told, 1);       /* in the order they came */
    end();
}

TEST(weights_share_the_places_out)
{
    begin(8, 48, 1000);
    for (int i = 0; i < 8; i++)
        CHECK_INT(come(i, "first"), 1);
    for (int i = 8; i < 20; i++)
        CHECK_INT(come(i, "small"), 0);
    for (int i = 20; i < 32; i++)
        CHECK_INT(come(i, "big"), 0);
    for (int i = 0; i < 8; i++)
        leave(i);
    CHECK_INT(mg_fair_share(&fair, MG_VIEW("big"))->running, 6);
    CHECK_INT(mg_fair_share(&fair, MG_VIEW("small"))->running, 2);
    end();
}

TEST(a_full_queue_turns_away_whom_it_is_full_of)
{
    begin(1, 4, 1000);
    CHECK_INT(come(0, "noisy"), 1);
    for (int i = 1; i <= 4; i++)
        CHECK_INT(come(i, "noisy"), 0);
    CHECK_INT(come(5, "noisy"), -1);
    CHECK_INT(come(6, "quiet"), 0);
    CHECK_INT(calls[4].told, -1);      /* the newest of the noisy ones made room */
    CHECK_INT(calls[1].told, 0);
    CHECK_INT(fair.waiting, 4);
    end();
}

TEST(no_queue_at_all_turns_everybody_away)
{
    begin(1, 0, 1000);
    CHECK_INT(come(0, "a"), 1);
    CHECK_INT(come(1, "b"), -1);
    end();
}

TEST(nobody_waits_longer_than_said_and_who_leaves_the_queue_is_forgotten)
{
    begin(1, 8, 20);
    CHECK_INT(come(0, "a"), 1);
    CHECK_INT(come(1, "a"), 0);
    CHECK_INT(come(2, "a"), 0);
    mg_fair_leave(&calls[1].wait);
    for (int i = 0; i < 100 && !calls[2].told; i++)
        mg_loop_turn(&loop, 5);
    CHECK_INT(calls[1].told, 0);
    CHECK_INT(calls[2].told, -1);
    leave(0);
    CHECK_INT(fair.running, 0);
    end();
}

TEST(who_comes_while_others_wait_does_not_overtake_them)
{
    begin(1, 8, 1000);
    CHECK_INT(come(0, "a"), 1);
    CHECK_INT(come(1, "a"), 0);
    mg_fair_leave(&calls[0].wait);     /* the place is free, the next one is called at the end of this turn */
    CHECK_INT(come(2, "a"), 0);
    mg_loop_turn(&loop, 0);
    CHECK_INT(calls[1].told, 1);
    CHECK_INT(calls[2].told, 0);
    end();
}

/* Every one that runs has reserved so much. */
enum { RECORD_BYTES = 50000 };

static void on_told_and_recorded(struct mg_fair_wait *wait, bool entered)
{
    on_told(wait, entered);
    if (entered && !mg_journal_reserve(journal, RECORD_BYTES))
        mg_container_of(wait, struct call, wait)->told = 2;
}

/* As come(): and 2 when the journal refused it. */
static int come_to_journal(int i)
{
    struct mg_fair_share *share = mg_fair_share(&fair, MG_VIEW("a"));
    share->record_bytes = RECORD_BYTES;
    if (!mg_fair_enter(&fair, share, &calls[i].wait))
        return mg_fair_wait(&fair, share, &calls[i].wait, on_told_and_recorded) ? 0 : -1;
    on_told_and_recorded(&calls[i].wait, true);
    return calls[i].told;
}

static void leave_journal(int i)
{
    mg_journal_unreserve(journal, RECORD_BYTES);
    leave(i);
}

static int begin_with_journal(void)
{
    CHECK_OK(mg_journal_open(check_fresh_path("journal"), 262144, 0, 1, &journal, NULL));
    begin(1000, 32, 1000);
    return (int)(mg_journal_spare(journal) / RECORD_BYTES);
}

static void end_with_journal(void)
{
    end();
    mg_journal_close(journal);
    journal = NULL;
}

TEST(no_more_run_than_the_journal_has_room_for_and_who_leaves_makes_it)
{
    int room = begin_with_journal();
    CHECK(room > 2 && room < 10);
    for (int i = 0; i < room; i++)
        CHECK_INT(come_to_journal(i), 1);
    for (int i = room; i < room + 10; i++)
        CHECK_INT(come_to_journal(i), 0);        /* it waits, though in_flight allows a thousand */
    for (int i = 0; i < 10; i++)
        leave_journal(i);
    for (int i = 0; i < room + 10; i++)
        CHECK_INT(calls[i].told, 1);   /* each had its turn, and the journal refused none */
    for (int i = 10; i < room + 10; i++)
        leave_journal(i);
    end_with_journal();
}

TEST(a_journal_full_of_what_nobody_stores_is_nothing_to_wait_for)
{
    static char bytes[8000];
    (void)begin_with_journal();
    CHECK_INT(come_to_journal(0), 1);
    while (mg_journal_append(journal, MG_JOURNAL_EXCHANGE, mg_view_of(bytes, sizeof bytes)) == MG_OK)
        ;
    CHECK_INT(come_to_journal(1), 0);  /* the first one's reservation may still be enough */
    CHECK_OK(mg_journal_append(journal, MG_JOURNAL_EXCHANGE, mg_view_of(bytes, 10)));
    leave_journal(0);
    CHECK_INT(calls[1].told, 2);       /* let in, to be told that the journal is full */
    CHECK_INT(come_to_journal(2), 2);
    end_with_journal();
}

MG_TEST_MAIN()
