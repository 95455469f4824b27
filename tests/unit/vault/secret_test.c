/* Handles give what is newest, and the environment gives what it has once. */
#include "vault/secret.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "check.h"

static void check_gives(const struct mg_secret *secret, const char *wanted)
{
    struct mg_sealed *sealed = mg_secret_get(secret);
    CHECK((sealed != NULL) == (wanted != NULL));
    if (!sealed)
        return;
    struct mg_locked *plain = mg_locked_take();
    CHECK_OK(mg_sealed_open(sealed, plain));
    CHECK(mg_view_eq(mg_view_of(plain->ptr, plain->len), mg_view_cstr(wanted)));
    mg_locked_give(plain);
    mg_sealed_unref(sealed);
}

static void put_version(const char *name, uint64_t version, const char *text)
{
    struct mg_sealed *sealed;
    struct mg_seal_place place = {MG_VIEW("red"), mg_view_cstr(name), version};
    CHECK_OK(mg_sealed_from(mg_seal_key_process(), &place, mg_view_cstr(text), &sealed));
    mg_secret_slot_set(mg_secret_slot_of(MG_VIEW("red"), mg_view_cstr(name)), sealed);
}

static const struct mg_secret *handle(struct mg_arena *arena, mg_view name, mg_view plain)
{
    struct mg_buf printed;
    const struct mg_secret *secret;
    mg_buf_init(&printed, 1000);
    if (plain.len)
        CHECK_OK(mg_secret_print(MG_VIEW("red"), name, plain, &printed));
    else
        CHECK_OK(mg_secret_print_name(MG_VIEW("red"), name, &printed));
    CHECK(mg_secret_is_printed(mg_buf_view(&printed)));
    CHECK_OK(mg_secret_read(mg_buf_view(&printed), arena, &secret));
    mg_buf_fini(&printed);
    return secret;
}

TEST(the_vault_goes_before_the_file_and_its_newest_version_is_used)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 1000);
    const struct mg_secret *secret = handle(&arena, MG_VIEW("openai"), MG_VIEW("from-file"));

    check_gives(secret, "from-file");
    put_version("openai", 1, "first");
    check_gives(secret, "first");
    put_version("openai", 2, "second");
    check_gives(secret, "second");
    mg_secret_slots_clear();
    check_gives(secret, "from-file");

    mg_arena_fini(&arena);
}

TEST(a_name_that_only_the_vault_may_have_gives_nothing_without_it)
{
    struct mg_arena arena;
    mg_arena_init(&arena, 1000);
    const struct mg_secret *secret = handle(&arena, MG_VIEW("later"), MG_VIEW_NONE);

    CHECK(!mg_secret_is_there(secret) && !mg_secret_known(MG_VIEW("red"), MG_VIEW("later")));
    check_gives(secret, NULL);
    put_version("later", 1, "here");
    CHECK(mg_secret_is_there(secret) && mg_secret_known(MG_VIEW("red"), MG_VIEW("later")));
    CHECK(!mg_secret_known(MG_VIEW("blue"), MG_VIEW("later")));
    check_gives(secret, "here");

    mg_secret_slots_clear();
    mg_arena_fini(&arena);
}

TEST(what_is_no_printable_text_is_no_secret)
{
    static const char *const bad[] = {"", "a\nb", "tab\t", "\177"};
    struct mg_arena arena;
    struct mg_buf printed;
    const struct mg_secret *secret;
    mg_arena_init(&arena, 1000);
    mg_buf_init(&printed, 1000);
    for (size_t i = 0; i < MG_COUNT(bad); i++) {
        CHECK(mg_secret_print(MG_VIEW("red"), MG_VIEW("x"), mg_view_cstr(bad[i]), &printed) == MG_E_BAD_REQUEST);
        CHECK(mg_secret_read(mg_view_cstr(bad[i]), &arena, &secret) == MG_E_BAD_REQUEST);
    }
    CHECK_OK(mg_secret_read(MG_VIEW("literal"), &arena, &secret));
    check_gives(secret, "literal");
    mg_buf_fini(&printed);
    mg_arena_fini(&arena);
}

TEST(a_variable_is_taken_out_of_the_environment)
{
    char *variable = mg_strdup("MG_TEST_SECRET=from-the-environment");
    CHECK(putenv(variable) == 0);
    struct mg_secret secret = {.own = mg_secret_from_env("MG_TEST_SECRET")};

    check_gives(&secret, "from-the-environment");
    CHECK_STR(variable, "MG_TEST_SECRET=");
    for (size_t i = 0; i < sizeof "from-the-environment"; i++)
        CHECK(variable[sizeof "MG_TEST_SECRET=" - 1 + i] == 0);

    CHECK(mg_secret_env_is_set("MG_TEST_SECRET") && !mg_secret_env_is_set("MG_TEST_NOTHING"));
    CHECK(mg_secret_from_env("MG_TEST_NOTHING") == NULL);
    mg_sealed_unref(secret.own);
    secret.own = mg_secret_from_env("MG_TEST_SECRET");
    check_gives(&secret, "from-the-environment");
    mg_sealed_unref(secret.own);
    unsetenv("MG_TEST_SECRET");
    mg_free(variable);
}

static void count_use(void *arg, const struct mg_secret_use *use)
{
    CHECK_STR(use->project, "red");
    CHECK_STR(use->name, "counted");
    CHECK(use->version == 4 && use->last_used_us > 0);
    *(uint64_t *)arg += use->count;
}

TEST(uses_of_a_name_are_counted_once)
{
    struct mg_arena arena;
    uint64_t count = 0;
    mg_arena_init(&arena, 1000);
    const struct mg_secret *secret = handle(&arena, MG_VIEW("counted"), MG_VIEW_NONE);
    put_version("counted", 4, "here");
    check_gives(secret, "here");
    check_gives(secret, "here");

    mg_secret_each_used(count_use, &count);
    CHECK(count == 2);
    mg_secret_each_used(count_use, &count);
    CHECK(count == 2);

    mg_secret_slots_clear();
    mg_arena_fini(&arena);
}

MG_TEST_MAIN()
