/* Buffers, arenas and maps: what everything else keeps its bytes in. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "check.h"

TEST(a_buffer_never_grows_past_its_maximum_and_refusing_changes_nothing)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 1000);
    for (int i = 0; i < 99; i++)
        CHECK_OK(mg_buf_put(&buf, MG_VIEW("0123456789")));
    CHECK_OK(mg_buf_putf(&buf, "%05d", 7));

    CHECK(mg_buf_put(&buf, MG_VIEW("0123456789")) == MG_E_TOO_LARGE);
    CHECK(mg_buf_putf(&buf, "%1000d", 7) == MG_E_TOO_LARGE);
    CHECK(mg_buf_reserve(&buf, SIZE_MAX) == MG_E_TOO_LARGE);
    CHECK_INT(buf.len, 995);
    CHECK_OK(mg_buf_put(&buf, MG_VIEW("12345")));
    mg_buf_fini(&buf);
}

TEST(a_buffer_for_secrets_leaves_no_copy_behind_when_it_grows)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 100000);
    buf.wiped = true;
    CHECK_OK(mg_buf_put(&buf, MG_VIEW("sk-secret")));
    const char *before = buf.ptr;
    for (int i = 0; i < 5000; i++)
        CHECK_OK(mg_buf_put(&buf, MG_VIEW("0123456789")));
    CHECK(buf.ptr != before);
    CHECK_VIEW(mg_view_head(mg_buf_view(&buf), 12), MG_VIEW("sk-secret012"));
    mg_buf_fini(&buf);
    CHECK(buf.wiped);
}

TEST(consuming_from_the_front_makes_room)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 300);
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(mg_buf_putf(&buf, "%08d", i));
        if (i >= 10)
            mg_buf_consume(&buf, 8);
    }

    CHECK_INT(buf.len, 80);
    CHECK_VIEW(mg_view_head(mg_buf_view(&buf), 8), MG_VIEW("00000990"));
    CHECK_STR(mg_buf_cstr(&buf) + 72, "00000999");
    mg_buf_consume(&buf, 1000);
    CHECK_STR(mg_buf_cstr(&buf), "");
    mg_buf_fini(&buf);
}

TEST(long_formats_are_written_whole)
{
    struct mg_buf buf;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mg_buf_init(&buf, 5000);
    CHECK_OK(mg_buf_putf(&buf, "<%s>", text));

    CHECK_INT(buf.len, 2001);
    CHECK(mg_buf_view(&buf).ptr[2000] == '>');
    mg_buf_fini(&buf);
}

TEST(json_text_is_escaped_and_always_valid_utf8)
{
    struct mg_buf buf;
    mg_buf_init(&buf, 500);
    CHECK_OK(mg_buf_put_json(&buf, mg_view_of("a\"\\\n\t\x01\xc3\xbc\xff\xe2\x82", 11)));

    CHECK_VIEW(mg_buf_view(&buf), MG_VIEW("a\\\"\\\\\\n\\t\\u0001\xc3\xbc\\ufffd\\ufffd\\ufffd"));
    mg_buf_fini(&buf);
}

static void count(void *arg)
{
    ++*(int *)arg;
}

TEST(an_arena_hands_out_zeroed_memory_and_runs_its_cleanups_once)
{
    struct mg_arena arena;
    int cleaned = 0;
    mg_arena_init(&arena, 64);
    for (int round = 0; round < 3; round++) {
        for (size_t size = 0; size < 3000; size += 37) {
            char *bytes = mg_arena_alloc(&arena, size);
            CHECK((uintptr_t)bytes % 16 == 0);
            for (size_t i = 0; i < size; i++)
                CHECK(bytes[i] == 0);
            memset(bytes, 0xab, size);
        }
        mg_arena_cleanup(&arena, count, &cleaned);
        mg_arena_cleanup(&arena, count, &cleaned);
        mg_arena_reset(&arena);
        CHECK_INT(cleaned, (round + 1) * 2);
    }
    CHECK_VIEW(mg_arena_printf(&arena, "%s-%d", "x", 5), MG_VIEW("x-5"));
    mg_arena_fini(&arena);
    CHECK_INT(cleaned, 6);
}

TEST(a_map_keeps_what_was_put_through_growth_and_removal)
{
    struct mg_map map;
    char key[16];
    mg_map_init(&map);
    for (size_t i = 1; i <= 5000; i++) {
        snprintf(key, sizeof key, "k%zu", i);
        CHECK(mg_map_put(&map, mg_view_cstr(key), (void *)i) == NULL);
        if (i % 3 == 0)
            CHECK(mg_map_remove(&map, mg_view_cstr(key)) == (void *)i);
    }
    size_t found = 0, at = 0;
    mg_view name;
    void *value;
    while (mg_map_next(&map, &at, &name, &value))
        found++;

    CHECK_INT(found, 5000 - 5000 / 3);
    CHECK_INT(map.count, found);
    for (size_t i = 1; i <= 5000; i++) {
        snprintf(key, sizeof key, "k%zu", i);
        CHECK(mg_map_get(&map, mg_view_cstr(key)) == (i % 3 ? (void *)i : NULL));
    }
    CHECK(mg_map_put(&map, MG_VIEW("k1"), (void *)9) == (void *)1);
    CHECK(mg_map_remove(&map, MG_VIEW("nope")) == NULL);
    mg_map_fini(&map);
}

TEST(putting_and_removing_for_ever_does_not_grow_a_map)
{
    struct mg_map map;
    char key[24];
    mg_map_init(&map);
    for (size_t i = 1; i <= 20000; i++) {
        snprintf(key, sizeof key, "k%zu", i);
        mg_map_put(&map, mg_view_cstr(key), (void *)i);
        mg_map_remove(&map, mg_view_cstr(key));
    }

    CHECK(map.cap <= 16);
    mg_map_fini(&map);
}

TEST(lists_keep_order_and_survive_removal_while_walking)
{
    struct mg_list head, items[5];
    mg_list_init(&head);
    for (int i = 0; i < 5; i++)
        mg_list_push_back(&head, &items[i]);
    MG_LIST_EACH(item, next, &head)
        if ((item - items) % 2 == 0)
            mg_list_remove(item);
    mg_list_remove(&items[0]);

    CHECK(mg_list_pop_front(&head) == &items[1]);
    CHECK(mg_list_pop_front(&head) == &items[3]);
    CHECK(mg_list_pop_front(&head) == NULL);
    CHECK(mg_list_empty(&head));
}

MG_TEST_MAIN()
