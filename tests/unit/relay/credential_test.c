#include "relay/credential.h"

#include <pthread.h>

#include "base/mem.h"
#include "check.h"

static const uint64_t now_us = 5000000000, wall_us = UINT64_C(1780000000) * 1000000;
static const uint64_t second_us = 1000000, minute_us = 60000000;
static const struct mg_limit_headers names = {
    "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
};

static struct mg_credential *one(void)
{
    static int number;
    char name[32];
    snprintf(name, sizeof name, "p/m#k%d", number++);
    return mg_credential_find(MG_VIEW("test"), mg_view_cstr(name));
}

static struct mg_credential_view view(const struct mg_credential *credential)
{
    struct mg_credential_view out;
    mg_credential_read(credential, &out);
    return out;
}

static void note(struct mg_credential *credential, const char *requests_left, const char *requests_reset,
                 const char *tokens_left, const char *tokens_reset)
{
    const char *const values[] = {requests_left, requests_reset, tokens_left, tokens_reset};
    const char *const keys[] = {names.requests_left, names.requests_reset, names.tokens_left, names.tokens_reset};
    struct mg_header items[4];
    size_t count = 0;
    for (int i = 0; i < 4; i++)
        if (values[i])
            items[count++] = (struct mg_header){mg_view_cstr(keys[i]), mg_view_cstr(values[i]), 0};
    mg_credential_note(credential, &names, (struct mg_headers){items, count}, now_us, wall_us);
}

TEST(a_new_key_is_usable_and_nothing_is_known_of_its_limits)
{
    struct mg_credential *key = one();

    CHECK_INT(mg_credential_usable_at(key, 100000, now_us), 0);
    CHECK(!view(key).requests_known && !view(key).tokens_known);
    CHECK_INT(view(key).benched_until_us, 0);
}

TEST(the_longer_of_two_benches_holds)
{
    struct mg_credential *key = one();

    mg_credential_bench(key, now_us + minute_us, MG_CLASS_quota_billing);
    mg_credential_bench(key, now_us + second_us, MG_CLASS_rate_limited);

    CHECK_INT(mg_credential_usable_at(key, 0, now_us), now_us + minute_us);
    CHECK_INT(view(key).why, MG_CLASS_quota_billing);
    CHECK_INT(mg_credential_usable_at(key, 0, now_us + minute_us), 0);
}

TEST(a_refused_key_is_benched_longer_each_time_and_then_until_a_human_acts)
{
    static const uint64_t minutes[] = {5, 30, 120};
    struct mg_credential *key = one();
    uint64_t at_us = now_us;

    for (size_t i = 0; i < MG_COUNT(minutes); i++) {
        for (int same = 0; same < 10; same++)
            mg_credential_strike(key, MG_CLASS_auth, at_us + same);
        CHECK_INT(mg_credential_usable_at(key, 0, at_us), at_us + minutes[i] * minute_us);
        at_us += minutes[i] * minute_us;
    }
    mg_credential_strike(key, MG_CLASS_auth, at_us);
    CHECK(mg_credential_usable_at(key, 0, at_us) == UINT64_MAX);

    mg_credential_reset(key);
    CHECK_INT(mg_credential_usable_at(key, 0, at_us), 0);
    mg_credential_strike(key, MG_CLASS_auth, at_us);
    CHECK_INT(mg_credential_usable_at(key, 0, at_us), at_us + 5 * minute_us);
}

TEST(a_key_that_worked_again_has_nothing_held_against_it)
{
    struct mg_credential *key = one();
    mg_credential_strike(key, MG_CLASS_auth, now_us);

    mg_credential_worked(key, now_us - second_us);
    CHECK(mg_credential_usable_at(key, 0, now_us) != 0);
    mg_credential_worked(key, now_us + 5 * minute_us);

    CHECK_INT(view(key).benched_until_us, 0);
    CHECK_INT(view(key).why, MG_CLASS_none);
    mg_credential_strike(key, MG_CLASS_auth, now_us + 6 * minute_us);
    CHECK_INT(view(key).benched_until_us, now_us + 11 * minute_us);
}

TEST(a_refused_key_that_is_cooling_is_benched_for_the_refusal)
{
    struct mg_credential *key = one();
    mg_credential_bench(key, now_us + second_us, MG_CLASS_rate_limited);

    mg_credential_strike(key, MG_CLASS_auth, now_us);

    CHECK_INT(view(key).why, MG_CLASS_auth);
    CHECK_INT(view(key).benched_until_us, now_us + 5 * minute_us);
}

TEST(a_key_without_requests_left_is_not_usable_until_its_reset)
{
    static const struct {
        const char *reset;
        uint64_t after_us;
    } rows[] = {
        {"6m0s", 360000000},
        {"1.5s", 1500000},
        {"300ms", 300000},
        {"12", 12000000},
        {"2m59.56s", 179560000},
        {"1h2m3s", 3723000000},
        {"1780000042", 42000000},
        {"1780000042000", 42000000},
        {"2026-05-28T20:27:30Z", 50000000},
        {"Thu, 28 May 2026 20:27:30 GMT", 50000000},
        {"soon", 1000000},
        {NULL, 1000000},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_credential *key = one();

        note(key, "0", rows[i].reset, "5000", "1s");

        CHECK_INT(mg_credential_usable_at(key, 0, now_us), now_us + rows[i].after_us);
        CHECK_INT(mg_credential_reset_at(key, now_us), now_us + rows[i].after_us);
        CHECK_INT(mg_credential_usable_at(key, 0, now_us + rows[i].after_us), 0);
        CHECK_INT(mg_credential_reset_at(key, now_us + rows[i].after_us), 0);
    }
}

TEST(a_key_with_too_few_tokens_left_is_usable_for_small_requests_only)
{
    struct mg_credential *key = one();

    note(key, "10", "1s", "500", "6s");

    CHECK_INT(mg_credential_usable_at(key, 500, now_us), 0);
    CHECK_INT(mg_credential_usable_at(key, 501, now_us), now_us + 6 * second_us);
    CHECK_INT(view(key).requests_left, 10);
    CHECK_INT(view(key).tokens_left, 500);
    CHECK_INT(view(key).tokens_reset_us, now_us + 6 * second_us);
}

TEST(what_went_out_since_the_last_answer_makes_a_key_low)
{
    struct mg_credential *key = one();
    mg_credential_spend(key, 100);
    CHECK(!mg_credential_is_low(key, 100, now_us));
    note(key, "3", "1m0s", "1000", "6s");
    CHECK(!mg_credential_is_low(key, 1000, now_us));

    for (int i = 0; i < 3; i++) {
        CHECK(!mg_credential_is_low(key, 0, now_us));
        mg_credential_spend(key, 300);
    }

    CHECK(mg_credential_is_low(key, 0, now_us));
    CHECK_INT(mg_credential_usable_at(key, 100, now_us), 0);
    CHECK(!mg_credential_is_low(key, 0, now_us + minute_us));
    note(key, "9", "1m0s", "1000", "6s");
    CHECK(!mg_credential_is_low(key, 1000, now_us));
    mg_credential_spend(key, 300);
    CHECK(!mg_credential_is_low(key, 700, now_us));
    CHECK(mg_credential_is_low(key, 701, now_us));
}

TEST(the_last_answer_counts)
{
    struct mg_credential *key = one();

    note(key, "0", "1m0s", NULL, NULL);
    note(key, "7", "1m0s", NULL, NULL);

    CHECK_INT(mg_credential_usable_at(key, 0, now_us), 0);
}

TEST(what_is_no_number_says_nothing)
{
    static const char *const rows[] = {"", "-1", "many", "0x10", "18446744073709551616", "18446744073709551615", "1,000"};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct mg_credential *key = one();

        note(key, rows[i], "1s", rows[i], "1s");

        CHECK(!view(key).requests_known && !view(key).tokens_known);
        CHECK_INT(mg_credential_usable_at(key, 1, now_us), 0);
    }
}

TEST(a_provider_that_names_no_headers_says_nothing)
{
    struct mg_credential *key = one();
    struct mg_limit_headers none = {0};
    struct mg_header item = {MG_VIEW("x-ratelimit-remaining-requests"), MG_VIEW("0"), 0};

    mg_credential_note(key, &none, (struct mg_headers){&item, 1}, now_us, wall_us);

    CHECK(!view(key).requests_known);
}

TEST(without_a_row_everything_is_allowed)
{
    mg_credential_bench(NULL, UINT64_MAX, MG_CLASS_auth);
    mg_credential_strike(NULL, MG_CLASS_auth, now_us);
    mg_credential_worked(NULL, now_us);
    mg_credential_reset(NULL);
    note(NULL, "0", "1s", NULL, NULL);
    CHECK_INT(mg_credential_usable_at(NULL, 1, now_us), 0);
    CHECK_INT(mg_credential_reset_at(NULL, now_us), 0);
    mg_credential_spend(NULL, 1);
    CHECK(!mg_credential_is_low(NULL, 1, now_us));
    CHECK_INT(view(NULL).benched_until_us, 0);
}

static struct mg_credential *shared;

static void *hammer(void *arg)
{
    for (uint64_t i = 0; i < 20000; i++) {
        mg_credential_strike(shared, MG_CLASS_auth, now_us + i);
        mg_credential_worked(shared, now_us + i);
        note(shared, i % 2 ? "0" : "9", "1s", "3", "2s");
        mg_credential_usable_at(shared, 5, now_us + i);
        mg_credential_spend(shared, 5);
        mg_credential_is_low(shared, 5, now_us + i);
        view(shared);
    }
    return arg;
}

TEST(threads_that_are_refused_together_bench_the_key_once)
{
    pthread_t threads[4];
    shared = one();

    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, hammer, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);

    CHECK(view(shared).benched_until_us < now_us + 6 * minute_us);
}

MG_TEST_MAIN()
