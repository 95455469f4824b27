#include "relay/rows.h"

#include <pthread.h>

#include "check.h"

struct thing {
    struct mg_row row;
    int made;
    _Atomic uint32_t hits;
};

static void init(void *row)
{
    ((struct thing *)row)->made = 7;
}

static struct mg_rows things = {.size = sizeof(struct thing), .init = init};

TEST(a_row_is_made_once_and_found_by_scope_and_name)
{
    struct thing *thing = mg_rows_find(&things, MG_VIEW("p"), MG_VIEW("a/b"));

    CHECK(thing != NULL);
    CHECK_INT(thing->made, 7);
    CHECK_STR(thing->row.scope, "p");
    CHECK_STR(thing->row.name, "a/b");
    CHECK_INT((uintptr_t)thing % 64, 0);
    CHECK(mg_rows_find(&things, MG_VIEW("p"), MG_VIEW("a/b")) == thing);
    CHECK(mg_rows_find(&things, MG_VIEW("q"), MG_VIEW("a/b")) != thing);
    CHECK(mg_rows_find(&things, MG_VIEW("pa"), MG_VIEW("/b")) != thing);
}

TEST(looking_makes_nothing)
{
    uint32_t count = things.count;

    CHECK(mg_rows_peek(&things, MG_VIEW("p"), MG_VIEW("nobody")) == NULL);
    CHECK_INT(things.count, count);
}

static void count_row(void *arg, void *row)
{
    CHECK_STR(((struct mg_row *)row)->scope, "walk");
    ++*(int *)arg;
}

TEST(walks_the_rows_of_one_scope)
{
    int count = 0;
    mg_rows_find(&things, MG_VIEW("walk"), MG_VIEW("a"));
    mg_rows_find(&things, MG_VIEW("walk"), MG_VIEW("b"));
    mg_rows_find(&things, MG_VIEW("other"), MG_VIEW("a"));

    mg_rows_each(&things, MG_VIEW("walk"), count_row, &count);

    CHECK_INT(count, 2);
}

static void *hammer(void *arg)
{
    char name[16];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "t%d", i % 500);
        struct thing *thing = mg_rows_find(&things, MG_VIEW("threads"), mg_view_cstr(name));
        thing->hits++;
    }
    return arg;
}

TEST(threads_that_make_the_same_row_at_once_agree_on_it)
{
    pthread_t threads[4];
    uint32_t hits = 0, count = things.count;

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", i);
        hits += ((struct thing *)mg_rows_peek(&things, MG_VIEW("threads"), mg_view_cstr(name)))->hits;
    }

    CHECK_INT(hits, 80000);
    CHECK_INT(things.count, count + 500);
}

TEST(a_full_table_answers_null_and_still_finds_what_it_has)
{
    char name[24];
    void *last = NULL;

    for (int i = 0; i <= MG_MAX_HEALTH_ROWS; i++) {
        snprintf(name, sizeof name, "x%d", i);
        last = mg_rows_find(&things, MG_VIEW("full"), mg_view_cstr(name));
    }

    CHECK(last == NULL);
    CHECK_INT(things.count, MG_MAX_HEALTH_ROWS);
    CHECK(mg_rows_peek(&things, MG_VIEW("full"), mg_view_cstr(name)) == NULL);
    CHECK(mg_rows_find(&things, MG_VIEW("full"), MG_VIEW("x0")) != NULL);
}

MG_TEST_MAIN()
