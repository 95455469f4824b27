/* The table of kept responses: chains, walls between projects and owners, room, age, erasure. */
#include "store/responses.h"

#include "base/limits.h"
#include "check.h"
#include "folder.h"

static const struct mg_response_limits plenty = {.max_age_us = 1000, .max_count = 1000000, .max_bytes = INT64_MAX / 2};

struct world {
    struct mg_db *db;
    struct mg_arena arena;
    uint64_t now_us, gone;
};

static void start(struct world *w)
{
    *w = (struct world){.now_us = 100};
    CHECK_OK(mg_db_open(check_fresh_path("moongate.db"), MG_DB_WRITE, &w->db, NULL));
    mg_arena_init(&w->arena, 1024);
}

static void end(struct world *w)
{
    mg_arena_fini(&w->arena);
    mg_db_close(w->db);
}

static mg_err put_as(struct world *w, const char *project, const char *owner, const char *id, int64_t parent, const char *text,
                     const struct mg_response_limits *limits)
{
    struct mg_response_row row = {mg_view_cstr(project), mg_view_cstr(id), mg_view_cstr(owner), parent, w->now_us, mg_view_cstr(text)};
    return mg_responses_put(w->db, &row, limits, w->now_us, &w->gone);
}

static void put(struct world *w, const char *id, int64_t parent, const char *text)
{
    CHECK_OK(put_as(w, "p", "k", id, parent, text, &plenty));
}

static mg_err find(struct world *w, const char *id, struct mg_response_chain *out)
{
    return mg_responses_find(w->db, &w->arena, MG_VIEW("p"), MG_VIEW("k"), mg_view_cstr(id), true, 1 << 20, w->now_us, out);
}

static int64_t seq(struct world *w, const char *id)
{
    struct mg_response_chain chain;
    CHECK_OK(find(w, id, &chain));
    return chain.links[chain.count - 1].seq;
}

/* "a b c": the contents of a chain, first to last. */
static const char *told(struct world *w, const char *id)
{
    static char text[256];
    struct mg_response_chain chain;
    size_t len = 0;
    text[0] = '\0';
    if (find(w, id, &chain) != MG_OK)
        return "-";
    for (size_t i = 0; i < chain.count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", i ? " " : "", MG_FMT(chain.links[i].sealed));
    return text;
}

static void on_sum(void *arg, const struct mg_response_sum *sum)
{
    char *text = arg;
    snprintf(text + strlen(text), 128 - strlen(text), "%.*s %lld %lld;", MG_FMT(sum->project), (long long)sum->count, (long long)sum->bytes);
}

static const char *sums(struct world *w)
{
    static char text[128];
    text[0] = '\0';
    CHECK_OK(mg_responses_sums(w->db, on_sum, text));
    return text;
}

TEST(a_chain_is_told_from_its_beginning_and_branches_where_it_was_left)
{
    struct world w;
    start(&w);
    put(&w, "a", 0, "one");
    put(&w, "b", seq(&w, "a"), "two");
    put(&w, "c", seq(&w, "b"), "three");
    put(&w, "d", seq(&w, "a"), "other");
    CHECK_STR(told(&w, "c"), "one two three");
    CHECK_STR(told(&w, "d"), "one other");
    CHECK_STR(told(&w, "a"), "one");
    CHECK_STR(sums(&w), "p 4 16;");
    end(&w);
}

TEST(nobody_finds_what_another_project_or_owner_keeps)
{
    struct world w;
    struct mg_response_chain chain;
    const struct { const char *project, *owner; mg_err err; } rows[] = {
        {"p", "k", MG_OK}, {"p", "", MG_OK}, {"p", "k2", MG_E_NOT_FOUND}, {"q", "k", MG_E_NOT_FOUND}, {"q", "", MG_E_NOT_FOUND},
        {"", "", MG_E_NOT_FOUND}, {"P", "k", MG_E_NOT_FOUND}, {"%", "%", MG_E_NOT_FOUND}, {"p' OR 1=1 --", "k", MG_E_NOT_FOUND},
    };
    start(&w);
    put(&w, "a", 0, "one");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mg_view project = mg_view_cstr(rows[i].project), owner = mg_view_cstr(rows[i].owner);
        CHECK_INT(mg_responses_find(w.db, &w.arena, project, owner, MG_VIEW("a"), true, 100, w.now_us, &chain), rows[i].err);
        if (rows[i].err != MG_OK)
            CHECK_INT(mg_responses_delete(w.db, project, owner, MG_VIEW("a"), w.now_us), rows[i].err);
    }
    CHECK_STR(told(&w, "a"), "one");
    end(&w);
}

TEST(a_parent_of_another_project_is_none)
{
    struct world w;
    start(&w);
    CHECK_OK(put_as(&w, "q", "k", "a", 0, "theirs", &plenty));
    put(&w, "b", 1, "mine");           /* 1 is the seq of the other one */
    CHECK_STR(told(&w, "b"), "-");
    end(&w);
}

TEST(an_id_that_is_taken_goes_to_the_new_response_and_what_followed_the_old_one_still_does)
{
    struct world w;
    start(&w);
    put(&w, "same", 0, "one");
    put(&w, "same", seq(&w, "same"), "two");
    put(&w, "same", seq(&w, "same"), "three");
    CHECK_STR(told(&w, "same"), "one two three");
    CHECK_OK(put_as(&w, "q", "k", "same", 0, "theirs", &plenty));
    CHECK_STR(told(&w, "same"), "one two three");
    end(&w);
}

TEST(nothing_goes_on_from_what_followed_a_deleted_response_but_it_can_be_fetched)
{
    struct world w;
    struct mg_response_chain chain;
    start(&w);
    put(&w, "a", 0, "one");
    put(&w, "b", seq(&w, "a"), "two");
    int64_t last = seq(&w, "b");
    CHECK_OK(mg_responses_delete(w.db, MG_VIEW("p"), MG_VIEW("k"), MG_VIEW("a"), w.now_us));
    CHECK_INT(mg_responses_delete(w.db, MG_VIEW("p"), MG_VIEW("k"), MG_VIEW("a"), w.now_us), MG_E_NOT_FOUND);
    CHECK_STR(told(&w, "b"), "-");
    CHECK_OK(mg_responses_find(w.db, &w.arena, MG_VIEW("p"), MG_VIEW_NONE, MG_VIEW("b"), false, 100, w.now_us, &chain));
    CHECK_INT(chain.count, 1);
    CHECK_OK(mg_responses_delete(w.db, MG_VIEW("p"), MG_VIEW("k"), MG_VIEW("b"), w.now_us));
    put(&w, "c", last, "three");       /* its number is that of the deleted one: it must not follow itself */
    CHECK_STR(told(&w, "c"), "-");
    put(&w, "d", 0, "alone");
    CHECK_STR(told(&w, "d"), "alone");
    CHECK_STR(sums(&w), "p 2 10;");
    end(&w);
}

TEST(the_thread_that_would_be_forgotten_next_makes_room_as_a_whole)
{
    struct world w;
    struct mg_response_limits three = {.max_age_us = 1000, .max_count = 3, .max_bytes = 1000};
    start(&w);
    CHECK_OK(put_as(&w, "p", "k", "a", 0, "one", &three));
    w.now_us++;
    CHECK_OK(put_as(&w, "p", "k", "x", 0, "other", &three));
    w.now_us++;
    CHECK_OK(put_as(&w, "p", "k", "b", seq(&w, "a"), "two", &three));
    w.now_us++;
    CHECK_OK(put_as(&w, "p", "k", "y", 0, "new", &three));           /* "x" is the oldest now: "a" was gone on from */
    CHECK_INT(w.gone, 1);
    CHECK_STR(told(&w, "x"), "-");
    CHECK_STR(told(&w, "b"), "one two");
    CHECK_OK(put_as(&w, "p", "k", "c", seq(&w, "b"), "three", &three));      /* its own thread stays */
    CHECK_STR(told(&w, "y"), "-");
    CHECK_STR(told(&w, "c"), "one two three");
    CHECK_INT(put_as(&w, "p", "k", "d", seq(&w, "c"), "four", &three), MG_E_TOO_LARGE);
    CHECK_STR(told(&w, "c"), "one two three");
    CHECK_OK(put_as(&w, "q", "k", "z", 0, "theirs", &three));        /* another project's room is its own */
    CHECK_STR(sums(&w), "p 3 11;q 1 6;");
    end(&w);
}

TEST(bytes_are_bounded_to_the_last_one)
{
    struct world w;
    struct mg_response_limits ten = {.max_age_us = 1000, .max_count = 100, .max_bytes = 10};
    start(&w);
    CHECK_OK(put_as(&w, "p", "k", "a", 0, "0123456789", &ten));
    CHECK_INT(put_as(&w, "p", "k", "b", 0, "0123456789x", &ten), MG_E_TOO_LARGE);
    CHECK_STR(told(&w, "a"), "0123456789");
    CHECK_OK(put_as(&w, "p", "k", "b", 0, "x", &ten));
    CHECK_STR(told(&w, "a"), "-");
    CHECK_STR(sums(&w), "p 1 1;");
    end(&w);
}

TEST(a_thread_is_kept_as_long_as_its_newest_response_and_then_swept_away)
{
    struct world w;
    bool more;
    start(&w);
    put(&w, "a", 0, "one");
    put(&w, "x", 0, "other");
    w.now_us += 900;
    put(&w, "b", seq(&w, "a"), "two");
    w.now_us += 900;
    CHECK_STR(told(&w, "x"), "-");
    CHECK_STR(told(&w, "b"), "one two");
    CHECK_OK(mg_responses_sweep(w.db, w.now_us, 10, &w.gone, &more));
    CHECK_INT(w.gone, 1);
    CHECK(!more);
    CHECK_STR(sums(&w), "p 2 6;");
    w.now_us += 900;
    CHECK_OK(mg_responses_sweep(w.db, w.now_us, 1, &w.gone, &more));
    CHECK_INT(w.gone, 2);
    CHECK(more);
    CHECK_OK(mg_responses_sweep(w.db, w.now_us, 1, &w.gone, &more));
    CHECK(!more);
    CHECK_STR(sums(&w), "");
    end(&w);
}

TEST(a_chain_that_is_too_long_or_too_large_is_refused_before_it_is_read)
{
    struct world w;
    struct mg_response_chain chain;
    char id[16];
    int64_t parent = 0;
    start(&w);
    CHECK_OK(mg_db_begin(w.db, MG_DB_NORMAL));
    for (int i = 0; i <= MG_MAX_RESPONSE_CHAIN; i++) {
        snprintf(id, sizeof id, "r%d", i);
        put(&w, id, parent, "x");
        parent = i + 1;
    }
    CHECK_OK(mg_db_commit(w.db));
    snprintf(id, sizeof id, "r%d", MG_MAX_RESPONSE_CHAIN - 1);
    CHECK_OK(find(&w, id, &chain));
    CHECK_INT(chain.count, MG_MAX_RESPONSE_CHAIN);
    snprintf(id, sizeof id, "r%d", MG_MAX_RESPONSE_CHAIN);
    CHECK_INT(find(&w, id, &chain), MG_E_TOO_LARGE);
    CHECK_OK(mg_responses_find(w.db, &w.arena, MG_VIEW("p"), MG_VIEW_NONE, MG_VIEW("r9"), true, 10, w.now_us, &chain));
    CHECK_INT(mg_responses_find(w.db, &w.arena, MG_VIEW("p"), MG_VIEW_NONE, MG_VIEW("r9"), true, 9, w.now_us, &chain), MG_E_TOO_LARGE);
    end(&w);
}

TEST(a_chain_that_somebody_bent_into_a_circle_ends)
{
    struct world w;
    start(&w);
    put(&w, "a", 0, "one");
    put(&w, "b", seq(&w, "a"), "two");
    CHECK_OK(mg_db_exec(w.db, "UPDATE responses SET parent = 2, depth = 500 WHERE id = 'a'; UPDATE responses SET depth = 501 WHERE id = 'b'"));
    CHECK_STR(told(&w, "b"), "-");
    CHECK_STR(told(&w, "a"), "-");
    end(&w);
}

TEST(erasure_takes_all_of_a_project_or_of_one_owner)
{
    struct world w;
    start(&w);
    CHECK_OK(put_as(&w, "p", "k1", "a", 0, "one", &plenty));
    CHECK_OK(put_as(&w, "p", "k2", "b", 1, "two", &plenty));
    CHECK_OK(put_as(&w, "p", "k2", "c", 0, "three", &plenty));
    CHECK_OK(put_as(&w, "q", "k1", "d", 0, "four", &plenty));
    CHECK_OK(mg_responses_erase(w.db, MG_VIEW("p"), MG_VIEW("nobody"), &w.gone));
    CHECK_INT(w.gone, 0);
    CHECK_OK(mg_responses_erase(w.db, MG_VIEW("p"), MG_VIEW("k2"), &w.gone));
    CHECK_INT(w.gone, 2);
    CHECK_STR(sums(&w), "p 1 3;q 1 4;");
    CHECK_OK(mg_responses_erase(w.db, MG_VIEW("p"), MG_VIEW_NONE, &w.gone));
    CHECK_INT(w.gone, 1);
    CHECK_STR(sums(&w), "q 1 4;");
    end(&w);
}

static mg_err item(struct world *w, const char *project, const char *owner, const char *id)
{
    struct mg_response_link link;
    return mg_responses_find_item(w->db, &w->arena, mg_view_cstr(project), mg_view_cstr(owner), mg_view_cstr(id), w->now_us, &link);
}

static void put_items(struct world *w, const char *id, const char *first, const char *second)
{
    mg_view items[] = {mg_view_cstr(first), mg_view_cstr(second)};
    struct mg_response_row row = {MG_VIEW("p"), mg_view_cstr(id), MG_VIEW("k"), 0, w->now_us, MG_VIEW("x"), items, 2};
    CHECK_OK(mg_responses_put(w->db, &row, &plenty, w->now_us, &w->gone));
}

TEST(an_item_is_found_by_its_owner_as_long_as_its_response)
{
    struct world w;
    bool more;
    start(&w);
    put_items(&w, "a", "msg_1", "rs_1");
    put_items(&w, "b", "msg_2", "msg_1");          /* a name that comes again is the newer one's */
    CHECK_OK(item(&w, "p", "k", "msg_1"));
    CHECK_OK(item(&w, "p", "", "rs_1"));
    CHECK_INT(item(&w, "p", "k2", "msg_1"), MG_E_NOT_FOUND);
    CHECK_INT(item(&w, "q", "k", "msg_1"), MG_E_NOT_FOUND);
    CHECK_INT(item(&w, "p", "k", "msg_9"), MG_E_NOT_FOUND);
    CHECK_OK(mg_responses_delete(w.db, MG_VIEW("p"), MG_VIEW("k"), MG_VIEW("b"), w.now_us));
    CHECK_INT(item(&w, "p", "k", "msg_2"), MG_E_NOT_FOUND);
    CHECK_OK(item(&w, "p", "k", "rs_1"));
    w.now_us += 2000;
    CHECK_INT(item(&w, "p", "k", "rs_1"), MG_E_NOT_FOUND);
    CHECK_OK(mg_responses_sweep(w.db, w.now_us, 10, &w.gone, &more));
    put_items(&w, "c", "msg_3", "msg_4");
    CHECK_OK(mg_responses_erase(w.db, MG_VIEW("p"), MG_VIEW("k"), &w.gone));
    CHECK_INT(item(&w, "p", "k", "msg_3"), MG_E_NOT_FOUND);
    CHECK_OK(mg_db_exec(w.db, "CREATE TABLE left_over (n INTEGER CHECK (n = 0)); INSERT INTO left_over SELECT count(*) FROM response_items"));
    end(&w);
}

MG_TEST_MAIN()
