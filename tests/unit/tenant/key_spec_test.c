/* What a key is to be, and what it then may do. */
#include "check.h"
#include "tenant/keyring.h"
#include "tenant/key_spec.h"

#include "http/json.h"

static bool read_limits(const char *text, struct mg_limit_set *out_set)
{
    struct mg_json *json = NULL;
    const char *bad = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(text), 4096, &json, NULL));
    bool good = mg_key_limits_read(json, out_set, &bad);
    mg_json_free(json);
    return good;
}

TEST(limits_are_read_as_in_the_configuration)
{
    struct mg_limit_set set;
    CHECK(read_limits("{\"requests_per_minute\":60,\"tokens_per_minute\":1000,\"concurrency\":3,"
                      "\"budget\":[{\"usd\":2.5},{\"per\":\"day\",\"usd\":1,\"soft\":0.5}]}", &set));

    CHECK(set.any);
    CHECK_INT(set.requests_per_minute, 60);
    CHECK_INT(set.burst, 10);
    CHECK_INT(set.tokens_per_minute, 1000);
    CHECK_INT(set.concurrency, 3);
    CHECK_INT(set.budget_microusd[MG_PERIOD_MONTH], 2500000);
    CHECK_INT(set.soft_microusd[MG_PERIOD_MONTH], 2000000);
    CHECK_INT(set.budget_microusd[MG_PERIOD_DAY], 1000000);
    CHECK_INT(set.soft_microusd[MG_PERIOD_DAY], 500000);

    CHECK(read_limits("{\"requests_per_minute\":1}", &set));
    CHECK_INT(set.burst, 1);
    CHECK(read_limits("{}", &set));
    CHECK(!set.any);
}

TEST(limits_that_are_none_are_refused)
{
    static const char *const wrong[] = {
        "[]", "{\"requests\":1}", "{\"requests_per_minute\":0}", "{\"requests_per_minute\":-1}", "{\"requests_per_minute\":1.5}",
        "{\"requests_per_minute\":\"60\"}", "{\"burst\":5}", "{\"requests_per_minute\":5,\"burst\":6}",
        "{\"budget\":5}", "{\"budget\":{\"usd\":0}}", "{\"budget\":{\"usd\":1,\"per\":\"year\"}}",
        "{\"budget\":[{\"usd\":1},{\"usd\":2}]}", "{\"budget\":{\"usd\":1,\"soft\":2}}", "{\"tokens_per_minute\":99999999999}"};
    struct mg_limit_set set = {.any = false};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!read_limits(wrong[i], &set));
    CHECK(!set.any);                   /* written only on success */
}

static bool read_spec(const char *text, bool change, struct mg_arena *arena, struct mg_keys_spec *out_spec)
{
    struct mg_json *json = NULL;
    const char *bad = NULL;
    CHECK_OK(mg_json_parse(mg_view_cstr(text), 65536, &json, NULL));
    bool good = mg_key_spec_read(json, change, arena, out_spec, &bad);
    mg_json_free(json);
    return good;
}

TEST(a_change_sets_what_it_names_and_null_takes_away)
{
    struct mg_arena arena;
    struct mg_keys_spec spec;
    mg_arena_init(&arena, 1024);

    CHECK(read_spec("{\"workflows\":[\"a\",\"b\"],\"limits\":null}", true, &arena, &spec));
    CHECK_INT(spec.given, MG_KEY_WORKFLOWS | MG_KEY_LIMITS);
    CHECK_STR(spec.workflows, "[\"a\",\"b\"]");
    CHECK(spec.limits == NULL);

    CHECK(!read_spec("{}", true, &arena, &spec));
    CHECK(!read_spec("{\"name\":\"x\",\"project\":\"p\"}", true, &arena, &spec));
    CHECK(!read_spec("{\"name\":\"x\"}", false, &arena, &spec));
    CHECK(!read_spec("{\"project\":\"p\",\"workflows\":[\"a\\nb\"]}", false, &arena, &spec));
    CHECK(!read_spec("{\"project\":\"p\",\"workflows\":[1]}", false, &arena, &spec));
    CHECK(!read_spec("{\"project\":\"p\",\"workflows\":\"a\"}", false, &arena, &spec));
    CHECK(read_spec("{\"project\":\"p\"}", false, &arena, &spec));
    CHECK(spec.workflows == NULL && spec.limits == NULL && spec.metadata == NULL);
    mg_arena_fini(&arena);
}

static const struct mg_key *only_key(const struct mg_key_secret *secret, const char *workflows, const char *limits,
                                     struct mg_keyring **out_keyring)
{
    struct mg_key key;
    char text[MG_KEY_TEXT_BYTES];
    CHECK_OK(mg_key_issue(secret, "p", "", 0, NULL, text, &key));
    key.workflows = workflows;
    key.limits = limits;
    CHECK_OK(mg_keyring_new(secret, &key, 1, out_keyring));
    return mg_keyring_find(*out_keyring, mg_view_cstr(text), 1, NULL);
}

TEST(a_key_allows_the_names_it_lists_and_no_part_of_them)
{
    struct mg_key_secret secret = {.bytes = {9}};
    struct mg_keyring *keyring;
    const struct mg_key *key = only_key(&secret, "[\"chat\",\"one/moon\"]", NULL, &keyring);

    CHECK(mg_key_allows(key->allowed, MG_VIEW("chat")));
    CHECK(mg_key_allows(key->allowed, MG_VIEW("one/moon")));
    CHECK(!mg_key_allows(key->allowed, MG_VIEW("cha")));
    CHECK(!mg_key_allows(key->allowed, MG_VIEW("chat2")));
    CHECK(!mg_key_allows(key->allowed, MG_VIEW("")));
    CHECK(!mg_key_allows(key->allowed, MG_VIEW("chat\n\none/moon")));
    CHECK(mg_key_allows(NULL, MG_VIEW("anything")));
    mg_keyring_unref(keyring);
}

TEST(a_row_that_cannot_be_read_allows_nothing)
{
    struct mg_key_secret secret = {.bytes = {9}};
    struct mg_keyring *keyring;
    const struct mg_key *key = only_key(&secret, "not json", "not json", &keyring);

    CHECK(!mg_key_allows(key->allowed, MG_VIEW("chat")));
    CHECK_INT(key->limit_set->requests_per_minute, 1);
    mg_keyring_unref(keyring);
    key = only_key(&secret, "[]", "{\"concurrency\":2}", &keyring);
    CHECK(!mg_key_allows(key->allowed, MG_VIEW("chat")));
    CHECK_INT(key->limit_set->concurrency, 2);
    mg_keyring_unref(keyring);
}

MG_TEST_MAIN()
