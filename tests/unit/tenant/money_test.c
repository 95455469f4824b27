/* What was spent in a period, while the clock goes on, steps ahead, and steps back. Days are made up. */
#include <pthread.h>

#include "check.h"

#include "tenant/money.h"

enum { LIMIT = 100 };

static struct mg_money money;
static uint16_t counted_in;

static bool spend(uint16_t day, uint64_t microusd)
{
    return mg_money_debit(&money, day, microusd, LIMIT, &counted_in);
}

static void begin(void)
{
    money = (struct mg_money){{0}};
}

TEST(each_period_begins_with_nothing_and_ends_with_what_it_was)
{
    begin();
    for (uint16_t day = 10; day < 20; day++) {
        CHECK_INT(mg_money_spent(&money, day), 0);
        CHECK(spend(day, 60));
        CHECK_INT(counted_in, day);
        CHECK(!spend(day, 41));
        CHECK(spend(day, 40));
        CHECK_INT(mg_money_spent(&money, day), 100);
    }
}

TEST(a_clock_that_was_ahead_finds_the_period_as_it_left_it)
{
    begin();
    CHECK(spend(10, 100));
    CHECK(spend(13, 30));              /* three days ahead, for one call */
    CHECK(!spend(10, 1));              /* right again: the hard stop holds */
    CHECK_INT(mg_money_spent(&money, 10), 100);
    for (uint16_t day = 11; day < 13; day++) {
        CHECK(spend(day, 100));        /* days that nobody has had yet */
        CHECK(!spend(day, 1));
    }
    CHECK(spend(13, 70));              /* what was spent by mistake counts when its day comes */
    CHECK(!spend(13, 1));
    CHECK(spend(14, 100));
}

TEST(a_clock_that_steps_back_over_midnight_makes_no_budget_new)
{
    begin();
    CHECK(spend(10, 100));
    CHECK(!spend(9, 1));               /* the only day that is known counts */
    CHECK(spend(11, 90));
    CHECK(!spend(10, 1));              /* yesterday is as it was */
    for (uint16_t day = 9; day > 1; day--)
        CHECK(!spend(day, 1));         /* earlier than anything known: no fresh budget, however far */
    CHECK(spend(11, 10));
    CHECK(!spend(11, 1));
}

TEST(what_is_counted_in_another_period_is_settled_there)
{
    begin();
    CHECK(spend(10, 50));
    CHECK(spend(7, 50));
    CHECK_INT(counted_in, 10);
    mg_money_correct(&money, counted_in, 20, 50);
    CHECK_INT(mg_money_spent(&money, 10), 70);
    CHECK_INT(mg_money_spent(&money, 7), 70);
    mg_money_correct(&money, 9, 1000, 0);        /* a period that nobody knows */
    CHECK_INT(mg_money_spent(&money, 10), 70);
    mg_money_correct(&money, 10, 0, 1000);
    CHECK_INT(mg_money_spent(&money, 10), 0);
}

TEST(a_period_that_is_over_is_let_be_and_the_one_before_can_still_be_settled)
{
    begin();
    CHECK(spend(10, 50));
    CHECK(spend(11, 50));
    mg_money_correct(&money, 10, 10, 50);
    CHECK_INT(mg_money_spent(&money, 10), 10);
    CHECK(spend(12, 50));              /* takes the place of 10 */
    mg_money_correct(&money, 10, 0, 10);
    CHECK_INT(mg_money_spent(&money, 11), 50);
    CHECK_INT(mg_money_spent(&money, 12), 50);
}

TEST(money_of_a_later_period_keeps_a_row_busy)
{
    begin();
    CHECK(mg_money_is_idle(&money, 10));
    CHECK(spend(13, 1));
    CHECK(!mg_money_is_idle(&money, 10));
    CHECK(!mg_money_is_idle(&money, 13));
    CHECK(mg_money_is_idle(&money, 14));
}

/* ---- many threads whose clocks turn at different moments --------------------------------------- */

enum { THREADS = 4, CALLS = 20000, SHARED = 50000 };

static _Atomic uint64_t passed[3];

static void *race(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (int i = 0; i < CALLS; i++) {
        seed = seed * 1103515245 + 12345;
        int turn = i * 2 / CALLS, behind = (int)(seed >> 20 & 1);
        uint16_t day;
        if (mg_money_debit(&money, (uint16_t)(20 + turn - (turn && behind)), 1, SHARED, &day))
            passed[day - 20]++;
    }
    return NULL;
}

TEST(threads_on_both_sides_of_midnight_spend_no_more_than_each_day_has)
{
    pthread_t threads[THREADS];
    begin();
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, race, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uint16_t i = 0; i < 2; i++) {
        CHECK(passed[i] <= SHARED);
        CHECK_INT(mg_money_spent(&money, (uint16_t)(20 + i)), passed[i]);
    }
    CHECK(passed[0] + passed[1] > SHARED);
}

MG_TEST_MAIN()
