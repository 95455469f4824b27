#include "script/kv.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/limits.h"
#include "check.h"

static const struct mg_kv_options PLAIN = {0, false};

static struct mg_kv_space *space_of(const char *name)
{
    return mg_kv_space(MG_VIEW("test"), mg_view_cstr(name));
}

static struct mg_kv_value text(const char *s)
{
    return (struct mg_kv_value){MG_KV_STRING, mg_view_cstr(s), 0, false};
}

static struct mg_kv_value number(double n)
{
    return (struct mg_kv_value){MG_KV_NUMBER, MG_VIEW_NONE, n, false};
}

static const struct mg_kv_value NONE = {MG_KV_NONE, {NULL, 0}, 0, false};

static mg_err set(struct mg_kv_space *space, const char *key, struct mg_kv_value value, struct mg_kv_options options)
{
    return mg_kv_set(space, mg_view_cstr(key), &value, options);
}

/* The string lives until the next get. */
static struct mg_kv_value get(struct mg_kv_space *space, const char *key)
{
    static char copy[256];
    struct mg_buf scratch;
    struct mg_kv_value value;
    mg_buf_init(&scratch, MG_MAX_KV_VALUE_BYTES);
    CHECK_OK(mg_kv_get(space, mg_view_cstr(key), &scratch, &value));
    size_t len = value.string.len < sizeof copy ? value.string.len : sizeof copy;
    if (len)
        memcpy(copy, value.string.ptr, len);
    value.string = mg_view_of(copy, value.string.len);
    mg_buf_fini(&scratch);
    return value;
}

TEST(gives_back_what_was_set_with_its_type)
{
    struct mg_kv_space *s = space_of("types");
    struct mg_kv_value yes = {MG_KV_BOOL, MG_VIEW_NONE, 0, true};

    CHECK_OK(set(s, "text", text("a\xc3\xa9"), PLAIN));
    CHECK_OK(set(s, "number", number(1.5), PLAIN));
    CHECK_OK(mg_kv_set(s, MG_VIEW("yes"), &yes, PLAIN));

    CHECK_INT(get(s, "text").type, MG_KV_STRING);
    CHECK_VIEW(get(s, "text").string, MG_VIEW("a\xc3\xa9"));
    CHECK(get(s, "number").type == MG_KV_NUMBER && get(s, "number").number == 1.5);
    CHECK(get(s, "yes").type == MG_KV_BOOL && get(s, "yes").boolean);
    CHECK_INT(get(s, "absent").type, MG_KV_NONE);
}

TEST(spaces_of_other_instances_and_projects_are_apart)
{
    CHECK_OK(set(space_of("one"), "k", number(1), PLAIN));

    CHECK(space_of("one") == space_of("one"));
    CHECK_INT(get(space_of("two"), "k").type, MG_KV_NONE);
    CHECK_INT(get(mg_kv_space(MG_VIEW("test2"), MG_VIEW("one")), "k").type, MG_KV_NONE);
    CHECK(mg_kv_space(MG_VIEW("a"), MG_VIEW("bc")) != mg_kv_space(MG_VIEW("ab"), MG_VIEW("c")));
}

TEST(a_key_expires_and_is_absent_at_once)
{
    struct mg_kv_space *s = space_of("ttl");
    mg_clock_fake(1000000);
    CHECK_OK(set(s, "k", number(1), (struct mg_kv_options){50, false}));

    mg_clock_fake(1049000);
    CHECK_INT(get(s, "k").type, MG_KV_NUMBER);
    mg_clock_fake(1050000);
    CHECK_INT(get(s, "k").type, MG_KV_NONE);
    CHECK(!mg_kv_del(s, MG_VIEW("k")));
    mg_clock_fake(0);
}

TEST(only_new_refuses_a_key_that_is_there_but_not_an_expired_one)
{
    struct mg_kv_space *s = space_of("nx");
    struct mg_kv_options nx = {50, true};
    mg_clock_fake(1000000);
    CHECK_OK(set(s, "k", number(1), nx));

    CHECK_INT(set(s, "k", number(2), nx), MG_E_EXISTS);
    CHECK(get(s, "k").number == 1);
    mg_clock_fake(1060000);
    CHECK_OK(set(s, "k", number(3), nx));
    CHECK(get(s, "k").number == 3);
    mg_clock_fake(0);
}

TEST(counts_from_init_and_keeps_the_first_ttl)
{
    struct mg_kv_space *s = space_of("incr");
    double n = 0;
    mg_clock_fake(1000000);

    CHECK_OK(mg_kv_incr(s, MG_VIEW("n"), 1, 10, 100, &n));
    CHECK(n == 11);
    mg_clock_fake(1090000);
    CHECK_OK(mg_kv_incr(s, MG_VIEW("n"), -1.5, 10, 100, &n));
    CHECK(n == 9.5);
    mg_clock_fake(1100000);
    CHECK_OK(mg_kv_incr(s, MG_VIEW("n"), 1, 0, 100, &n));
    CHECK(n == 1);

    CHECK_OK(set(s, "text", text("x"), PLAIN));
    CHECK_INT(mg_kv_incr(s, MG_VIEW("text"), 1, 0, 0, &n), MG_E_BAD_REQUEST);
    mg_clock_fake(0);
}

TEST(compares_and_swaps)
{
    struct mg_kv_space *s = space_of("cas");
    struct mg_kv_value one = text("one"), two = text("two"), n = number(1);
    bool done = false;

    CHECK_OK(mg_kv_cas(s, MG_VIEW("k"), &one, &two, 0, &done));
    CHECK(!done);
    CHECK_OK(mg_kv_cas(s, MG_VIEW("k"), &NONE, &one, 0, &done));
    CHECK(done);
    CHECK_OK(mg_kv_cas(s, MG_VIEW("k"), &NONE, &two, 0, &done));
    CHECK(!done);
    CHECK_OK(mg_kv_cas(s, MG_VIEW("k"), &n, &two, 0, &done));
    CHECK(!done);
    CHECK_OK(mg_kv_cas(s, MG_VIEW("k"), &one, &two, 0, &done));
    CHECK(done);
    CHECK_VIEW(get(s, "k").string, MG_VIEW("two"));
    CHECK_OK(mg_kv_cas(s, MG_VIEW("k"), &two, &NONE, 0, &done));
    CHECK(done);
    CHECK_INT(get(s, "k").type, MG_KV_NONE);
}

TEST(deletes)
{
    struct mg_kv_space *s = space_of("del");
    size_t keys = 9, bytes = 9;
    CHECK_OK(set(s, "a", number(1), PLAIN));
    CHECK_OK(set(s, "b", number(1), PLAIN));

    CHECK(mg_kv_del(s, MG_VIEW("a")));
    CHECK(!mg_kv_del(s, MG_VIEW("a")));
    CHECK_OK(mg_kv_set(s, MG_VIEW("b"), &NONE, PLAIN));

    mg_kv_used(s, &keys, &bytes);
    CHECK_INT(keys, 0);
    CHECK_INT(bytes, 0);
}

TEST(refuses_keys_and_values_that_are_too_long)
{
    struct mg_kv_space *s = space_of("long");
    static char big[MG_MAX_KV_VALUE_BYTES + 2];
    memset(big, 'x', sizeof big - 1);
    struct mg_kv_value most = {MG_KV_STRING, {big, MG_MAX_KV_VALUE_BYTES}, 0, false};
    struct mg_kv_value more = {MG_KV_STRING, {big, MG_MAX_KV_VALUE_BYTES + 1}, 0, false};

    CHECK_OK(mg_kv_set(s, MG_VIEW("k"), &most, PLAIN));
    CHECK_INT(mg_kv_set(s, MG_VIEW("k"), &more, PLAIN), MG_E_TOO_LARGE);
    CHECK_INT(get(s, "k").string.len, MG_MAX_KV_VALUE_BYTES);
    CHECK_OK(mg_kv_set(s, mg_view_of(big, MG_KV_KEY_BYTES), &NONE, PLAIN));
    struct mg_kv_value n = number(1);
    CHECK_INT(mg_kv_set(s, mg_view_of(big, MG_KV_KEY_BYTES + 1), &n, PLAIN), MG_E_TOO_LARGE);
    CHECK_INT(mg_kv_set(s, MG_VIEW(""), &n, PLAIN), MG_E_BAD_REQUEST);
    CHECK_INT(mg_kv_set(s, MG_VIEW("a\0b"), &n, PLAIN), MG_E_BAD_REQUEST);
}

static size_t scan(struct mg_kv_space *space, const char *prefix, size_t limit, struct mg_buf *out)
{
    size_t count = 0;
    CHECK_OK(mg_kv_scan(space, mg_view_cstr(prefix), limit, out, &count));
    return count;
}

TEST(scans_sorted_by_prefix_up_to_the_limit)
{
    struct mg_kv_space *s = space_of("scan");
    struct mg_buf out;
    char key[16];
    mg_buf_init(&out, MG_MAX_KV_BYTES);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "%c%03d", i % 2 ? 'a' : 'b', i);
        CHECK_OK(set(s, key, number(i), PLAIN));
    }

    CHECK_INT(scan(s, "a", 1000, &out), 150);
    CHECK_INT(scan(s, "", 1000, &out), 300);
    CHECK_INT(scan(s, "c", 1000, &out), 0);
    CHECK_INT(scan(s, "b01", 3, &out), 3);
    CHECK_VIEW(mg_buf_view(&out), MG_VIEW("b010\0b012\0b014\0"));
    mg_buf_fini(&out);
}

TEST(the_quota_of_keys_holds_and_expired_keys_make_room)
{
    struct mg_kv_space *s = space_of("keys");
    char key[16];
    size_t keys = 0, bytes = 0;
    double n = 0;
    mg_clock_fake(1000000);
    for (int i = 0; i < MG_MAX_KV_KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK_OK(set(s, key, number(i), (struct mg_kv_options){i < 100 ? 10 : 0, false}));
    }

    CHECK_INT(set(s, "one more", number(1), PLAIN), MG_E_BUSY);
    CHECK_INT(mg_kv_incr(s, MG_VIEW("one more"), 1, 0, 0, &n), MG_E_BUSY);
    CHECK_OK(set(s, "k500", number(-1), PLAIN));
    CHECK_OK(mg_kv_incr(s, MG_VIEW("k500"), 1, 0, 0, &n));
    CHECK(n == 0);

    mg_clock_fake(1010000);
    CHECK_OK(set(s, "one more", number(1), PLAIN));
    mg_kv_used(s, &keys, &bytes);
    CHECK_INT(keys, MG_MAX_KV_KEYS - 99);
    for (int i = 100; i < MG_MAX_KV_KEYS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        CHECK_INT(get(s, key).type, MG_KV_NUMBER);
    }
    mg_clock_fake(0);
}

TEST(the_quota_of_bytes_holds)
{
    struct mg_kv_space *s = space_of("bytes");
    static char big[MG_MAX_KV_VALUE_BYTES];
    struct mg_kv_value value = {MG_KV_STRING, {big, sizeof big}, 0, false}, small = text("x");
    char key[16];
    int stored = 0;
    size_t keys = 0, bytes = 0;

    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d", i);
        stored += mg_kv_set(s, mg_view_cstr(key), &value, PLAIN) == MG_OK;
    }
    CHECK_INT(stored, 15);
    CHECK_OK(mg_kv_set(s, MG_VIEW("k3"), &small, PLAIN));
    CHECK_OK(mg_kv_set(s, MG_VIEW("k19"), &value, PLAIN));
    mg_kv_used(s, &keys, &bytes);
    CHECK(bytes <= MG_MAX_KV_BYTES);
}

/* Threads that count, swap, come and go in one space. */
static void *hammer(void *arg)
{
    struct mg_kv_space *s = space_of("threads");
    struct mg_buf out;
    char key[16];
    double n = 0;
    size_t count = 0;
    mg_buf_init(&out, MG_MAX_KV_BYTES);
    for (int i = 0; i < 5000; i++) {
        struct mg_kv_value value = number(i);
        CHECK_OK(mg_kv_incr(s, MG_VIEW("total"), 1, 0, 0, &n));
        snprintf(key, sizeof key, "k%d", i % 700);
        CHECK_OK(mg_kv_set(s, mg_view_cstr(key), &value, (struct mg_kv_options){1, false}));
        if (i % 500 == 0)
            CHECK_OK(mg_kv_scan(s, MG_VIEW("k"), 10, &out, &count));
        mg_kv_del(s, mg_view_cstr(key));
    }
    mg_buf_fini(&out);
    return arg;
}

TEST(threads_lose_no_count)
{
    pthread_t threads[4];
    size_t keys = 0, bytes = 0;

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    CHECK(get(space_of("threads"), "total").number == 20000);
    mg_kv_used(space_of("threads"), &keys, &bytes);
    CHECK_INT(keys, 1);
    CHECK_INT(bytes, MG_KV_ENTRY_BYTES + 5);
}

MG_TEST_MAIN()
