/* The store of last good answers, and the mark that tells an offline answer from a real one. How exchanges use them is
 * tested end to end. */
#include "gateway/offline.h"

#include <stdatomic.h>
#include <uv.h>

#include "base/mem.h"
#include "check.h"
#include "gateway/last_good.h"

enum { HOUR_MS = 3600000, S = 1000000 };

static struct mg_arena arena;

static struct mg_last_good_key key(const char *project, const char *surface, const char *body)
{
    struct mg_last_good_key key;
    mg_last_good_key(mg_view_cstr(project), mg_view_cstr(surface), mg_view_cstr(body), &key);
    return key;
}

static mg_view get(struct mg_last_good_key key, uint64_t now_us, uint64_t max_age_ms)
{
    uint64_t age_ms;
    return mg_last_good_get(&key, now_us, max_age_ms, &arena, &age_ms);
}

static void begin(void)
{
    mg_last_good_clear();
    mg_arena_init(&arena, 4096);
}

TEST(an_answer_is_found_by_the_same_project_with_the_same_request_only)
{
    begin();
    struct mg_last_good_key mine = key("shop", "chat", "{\"model\":\"m\"}");
    mg_last_good_put(&mine, MG_VIEW("{\"id\":1}"), 5 * S, HOUR_MS);

    uint64_t age_ms = 0;
    CHECK_VIEW(mg_last_good_get(&mine, 7 * S, HOUR_MS, &arena, &age_ms), MG_VIEW("{\"id\":1}"));
    CHECK_INT(age_ms, 2000);
    CHECK(!get(key("shop2", "chat", "{\"model\":\"m\"}"), 7 * S, HOUR_MS).len);
    CHECK(!get(key("shop", "completions", "{\"model\":\"m\"}"), 7 * S, HOUR_MS).len);
    CHECK(!get(key("shop", "chat", "{\"model\":\"m\" }"), 7 * S, HOUR_MS).len);
    CHECK(!get(key("sho", "pchat", "{\"model\":\"m\"}"), 7 * S, HOUR_MS).len);
    CHECK(!get(key("", "", ""), 7 * S, HOUR_MS).len);
    mg_arena_fini(&arena);
}

TEST(an_answer_is_young_enough_for_who_wrote_and_who_reads_it)
{
    begin();
    struct mg_last_good_key k = key("p", "chat", "x");
    mg_last_good_put(&k, MG_VIEW("old"), 10 * S, 5000);
    CHECK(get(k, 10 * S, 5000).len == 3);
    CHECK(get(k, 14 * S, 4000).len == 3);
    CHECK(!get(k, 14 * S, 3999).len);
    CHECK(!get(k, 15 * S, HOUR_MS).len);
    CHECK(get(k, 9 * S, 0).len == 3);  /* another worker's clock */

    mg_last_good_put(&k, MG_VIEW("newer"), 20 * S, 5000);
    CHECK_VIEW(get(k, 20 * S, 5000), MG_VIEW("newer"));
    mg_arena_fini(&arena);
}

TEST(one_answer_a_request_is_kept_and_none_that_is_too_large)
{
    begin();
    struct mg_last_good_key k = key("p", "chat", "x"), other = key("p", "chat", "y");
    mg_last_good_put(&k, MG_VIEW("aaaa"), S, HOUR_MS);
    size_t bytes = mg_last_good_bytes();
    mg_last_good_put(&k, MG_VIEW("bbbb"), S, HOUR_MS);
    CHECK_INT(mg_last_good_bytes(), bytes);

    char *large = mg_alloc(MG_LAST_GOOD_ANSWER_BYTES + 1);
    mg_last_good_put(&other, mg_view_of(large, MG_LAST_GOOD_ANSWER_BYTES + 1), S, HOUR_MS);
    CHECK(!get(other, S, HOUR_MS).len);
    mg_last_good_put(&other, mg_view_of(large, MG_LAST_GOOD_ANSWER_BYTES), S, HOUR_MS);
    CHECK_INT(get(other, S, HOUR_MS).len, MG_LAST_GOOD_ANSWER_BYTES);
    mg_last_good_put(&other, MG_VIEW_NONE, S, HOUR_MS);
    CHECK_INT(get(other, S, HOUR_MS).len, MG_LAST_GOOD_ANSWER_BYTES);
    mg_last_good_clear();
    CHECK_INT(mg_last_good_bytes(), 0);
    mg_free(large);
    mg_arena_fini(&arena);
}

static struct mg_last_good_key numbered(int i)
{
    char body[32];
    snprintf(body, sizeof body, "{\"n\":%d}", i);
    return key("p", "chat", body);
}

TEST(memory_is_bounded_and_what_was_not_wanted_for_longest_goes_first)
{
    begin();
    enum { BYTES = 60000, COUNT = 2 * MG_MAX_LAST_GOOD_BYTES / BYTES };
    char *answer = mg_alloc(BYTES);
    for (int i = 0; i < COUNT; i++) {
        struct mg_last_good_key k = numbered(i);
        mg_last_good_put(&k, mg_view_of(answer, BYTES), S, HOUR_MS);
        CHECK(mg_last_good_bytes() <= MG_MAX_LAST_GOOD_BYTES);
        CHECK(get(numbered(0), S, HOUR_MS).len == BYTES);      /* wanted again and again */
        mg_arena_reset(&arena);
    }
    CHECK(mg_last_good_bytes() > MG_MAX_LAST_GOOD_BYTES / 4 * 3);
    CHECK(!get(numbered(1), S, HOUR_MS).len);
    CHECK(get(numbered(COUNT - 1), S, HOUR_MS).len == BYTES);
    mg_free(answer);
    mg_arena_fini(&arena);
}

TEST(what_is_too_old_goes_when_others_come)
{
    begin();
    for (int i = 0; i < 1000; i++) {
        struct mg_last_good_key k = numbered(i);
        mg_last_good_put(&k, MG_VIEW("short-lived"), S, 1000);
    }
    size_t before = mg_last_good_bytes();
    for (int i = 1000; i < 2000; i++) {
        struct mg_last_good_key k = numbered(i);
        mg_last_good_put(&k, MG_VIEW("long-lived!"), 10 * S, HOUR_MS);
    }
    CHECK_INT(mg_last_good_bytes(), before);
    mg_arena_fini(&arena);
}

/* Threads that write and read the same few keys: each answer is one of those that were written for its key. */
static atomic_int wrong;

static void hammer(void *arg)
{
    struct mg_arena own;
    unsigned seed = (unsigned)(uintptr_t)arg;
    mg_arena_init(&own, 4096);
    for (int i = 0; i < 3000; i++) {
        seed = seed * 1103515245u + 12345u;
        int n = (int)(seed >> 16) % 7;
        char answer[64];
        uint64_t age_ms;
        struct mg_last_good_key k = numbered(n);
        int len = snprintf(answer, sizeof answer, "%d says %u", n, seed);
        if (i % 2) {
            mg_last_good_put(&k, mg_view_of(answer, (size_t)len), S, HOUR_MS);
            continue;
        }
        mg_view got = mg_last_good_get(&k, S, HOUR_MS, &own, &age_ms);
        if (got.len && (got.ptr[0] != '0' + n || got.ptr[1] != ' '))
            atomic_fetch_add(&wrong, 1);
        mg_arena_reset(&own);
    }
    mg_arena_fini(&own);
}

TEST(threads_find_whole_answers_of_their_own_key)
{
    begin();
    uv_thread_t threads[4];
    for (uintptr_t i = 0; i < MG_COUNT(threads); i++)
        CHECK(uv_thread_create(&threads[i], hammer, (void *)(i + 1)) == 0);
    for (size_t i = 0; i < MG_COUNT(threads); i++)
        uv_thread_join(&threads[i]);
    CHECK_INT(atomic_load(&wrong), 0);
    mg_last_good_clear();
    CHECK_INT(mg_last_good_bytes(), 0);
    mg_arena_fini(&arena);
}

TEST(the_mark_stands_at_the_top_of_a_body_and_of_the_first_event_of_a_stream)
{
    static const struct {
        const char *answer, *marked;
    } rows[] = {
        {"{\"id\":1}", "{\"m\":2,\"id\":1}"},
        {" \n{ \"id\":1}", " \n{\"m\":2, \"id\":1}"},
        {"{}", "{\"m\":2}"},
        {"{ }", "{\"m\":2 }"},
        {"data: {\"id\":1}\n\ndata: {\"id\":2}\n\n", "data: {\"m\":2,\"id\":1}\n\ndata: {\"id\":2}\n\n"},
        {": data: {\"x\n\nevent: e\r\ndata:{\"id\":1}\r\n\r\n", ": data: {\"x\n\nevent: e\r\ndata:{\"m\":2,\"id\":1}\r\n\r\n"},
        {"data: [DONE]\n\n", "data: [DONE]\n\n"},
        {"data:", "data:"},
        {"data: ", "data: "},
        {"", ""},
        {"[1]", "[1]"},
    };
    mg_arena_init(&arena, 4096);
    for (size_t i = 0; i < MG_COUNT(rows); i++)
        CHECK_VIEW(mg_offline_mark(&arena, mg_view_cstr(rows[i].answer), MG_VIEW("\"m\":2")), mg_view_cstr(rows[i].marked));
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
