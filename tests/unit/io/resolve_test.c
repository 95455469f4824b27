#include "io/resolve.h"

#include <pthread.h>

#include "world.h"

struct asked {
    struct mg_resolve op;
    int answers;
    mg_err result;
};

static void on_answer(struct mg_resolve *op, mg_err result)
{
    struct asked *asked = mg_container_of(op, struct asked, op);
    asked->answers++;
    asked->result = result;
}

static void ask(struct asked *asked, const char *host)
{
    memset(asked, 0, sizeof(*asked));
    mg_resolve_start(&asked->op, &loop, host, 443, on_answer);
    CHECK_INT(asked->answers, 0);
}

static const char *first(const struct asked *asked)
{
    static char text[64];
    mg_address_text(&asked->op.addresses.list[0].any, text, sizeof(text));
    return text;
}

static void begin(void)
{
    mg_resolve_override(NULL, NULL, 0);
    mg_clock_fake(0);
    mg_loop_init(&loop);
}

TEST(literal_addresses_answer_without_a_lookup_but_not_inline)
{
    static const struct {
        const char *host, *want;
    } rows[] = {
        {"192.0.2.7", "192.0.2.7:443"}, {"2001:db8::1", "[2001:db8::1]:443"}, {"::1", "[::1]:443"}};
    begin();
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct asked asked;
        ask(&asked, rows[i].host);
        UNTIL(asked.answers);
        CHECK_OK(asked.result);
        CHECK_INT(asked.op.addresses.count, 1);
        CHECK_STR(first(&asked), rows[i].want);
    }
    CHECK(!loop.resolve);
    mg_loop_fini(&loop);
}

TEST(a_name_is_looked_up_once_and_then_comes_from_the_cache)
{
    struct asked one, two;
    begin();
    ask(&one, "localhost");
    UNTIL(one.answers);
    CHECK_OK(one.result);
    struct mg_loop *fresh = &loop;
    mg_loop_fini(fresh);
    mg_loop_init(&loop);

    ask(&two, "LOCALHOST");
    UNTIL(two.answers);

    CHECK_OK(two.result);
    CHECK_INT(two.op.addresses.count, one.op.addresses.count);
    CHECK(!loop.resolve);
    mg_loop_fini(&loop);
}

TEST(identical_lookups_of_a_loop_are_one)
{
    struct asked many[5];
    begin();
    for (size_t i = 0; i < MG_COUNT(many); i++)
        ask(&many[i], "localhost");
    CHECK_INT(loop.uv.active_reqs.count, 1);

    for (size_t i = 0; i < MG_COUNT(many); i++) {
        UNTIL(many[i].answers);
        CHECK_OK(many[i].result);
        CHECK_INT(many[i].answers, 1);
    }
    mg_loop_fini(&loop);
}

TEST(a_name_that_does_not_exist_fails)
{
    struct asked asked;
    begin();
    ask(&asked, "no such host");
    UNTIL(asked.answers);

    CHECK_INT(asked.result, MG_E_RESOLVE);
    mg_loop_fini(&loop);
}

TEST(names_that_cannot_be_names_fail)
{
    static char longest[300];
    memset(longest, 'a', sizeof(longest) - 1);
    const char *const rows[] = {"", longest};
    begin();
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        struct asked asked;
        ask(&asked, rows[i]);
        UNTIL(asked.answers);
        CHECK_INT(asked.result, MG_E_RESOLVE);
    }
    mg_loop_fini(&loop);
}

TEST(a_cancelled_lookup_answers_nobody_and_the_asker_may_go)
{
    begin();
    struct asked *asked = mg_new(struct asked), literal;
    ask(asked, "localhost");
    mg_resolve_cancel(&asked->op);
    mg_free(asked);
    ask(&literal, "127.0.0.1");
    mg_resolve_cancel(&literal.op);
    mg_resolve_cancel(&literal.op);

    mg_loop_turn(&loop, 0);

    CHECK_INT(literal.answers, 0);
    mg_loop_fini(&loop);
}

TEST(an_injected_failure_is_answered_later)
{
    struct asked asked;
    begin();
    mg_fault_arm(MG_FAULT_RESOLVE, 1);

    ask(&asked, "127.0.0.1");
    UNTIL(asked.answers);

    CHECK_INT(asked.result, MG_E_RESOLVE);
    mg_loop_fini(&loop);
}

TEST(an_override_answers_with_what_the_test_says)
{
    static const char *const addresses[] = {"192.0.2.1", "2001:db8::2", "nonsense"};
    struct asked asked, none;
    begin();
    mg_resolve_override("api.example", addresses, 3);
    mg_resolve_override("gone.example", NULL, 0);

    ask(&asked, "API.example");
    ask(&none, "gone.example");
    UNTIL(asked.answers && none.answers);

    CHECK_INT(asked.op.addresses.count, 2);
    CHECK_STR(first(&asked), "192.0.2.1:443");
    CHECK_INT(none.result, MG_E_RESOLVE);
    mg_resolve_override(NULL, NULL, 0);
    mg_loop_fini(&loop);
}

TEST(an_old_answer_is_given_at_once_while_one_lookup_refreshes_it)
{
    struct asked old, again, later;
    begin();
    mg_clock_fake(1000000);
    ask(&old, "localhost");
    UNTIL(old.answers);

    mg_clock_fake(60000000);
    mg_loop_turn(&loop, 0);
    ask(&again, "localhost");
    CHECK_INT(loop.uv.active_reqs.count, 1);
    ask(&later, "localhost");
    CHECK_INT(loop.uv.active_reqs.count, 1);
    mg_loop_turn(&loop, 0);
    CHECK_INT(again.answers, 1);
    CHECK_INT(later.answers, 1);
    CHECK_OK(again.result);

    mg_loop_fini(&loop);
    mg_loop_init(&loop);
    mg_clock_fake(120000000);
    ask(&old, "localhost");
    struct mg_loop elsewhere;
    struct asked there = {0};
    mg_loop_init(&elsewhere);
    mg_resolve_start(&there.op, &elsewhere, "localhost", 443, on_answer);
    CHECK_INT(loop.uv.active_reqs.count, 1);
    CHECK_INT(elsewhere.uv.active_reqs.count, 0);
    mg_resolve_cancel(&there.op);
    mg_loop_fini(&elsewhere);
    mg_resolve_cancel(&old.op);

    mg_clock_fake(0);
    mg_loop_fini(&loop);
}

TEST(an_answer_older_than_five_minutes_is_not_given)
{
    struct asked old, again;
    begin();
    mg_clock_fake(1000000);
    ask(&old, "localhost");
    UNTIL(old.answers);

    mg_clock_fake(1000000 + UINT64_C(301) * 1000000);
    mg_loop_turn(&loop, 0);
    ask(&again, "localhost");
    CHECK(mg_list_empty(&again.op.answer.link));
    UNTIL(again.answers);

    CHECK_OK(again.result);
    mg_clock_fake(0);
    mg_loop_fini(&loop);
}

TEST(the_cache_is_bounded)
{
    enum { ASKED = MG_MAX_DNS_ENTRIES + 300 };
    static struct asked asked[ASKED];
    begin();
    /* The old forms of addresses are no literals to us, but getaddrinfo() answers them without
     * asking anybody. */
    for (int i = 0; i < ASKED; i++) {
        char host[32];
        snprintf(host, sizeof(host), "127.0.%d", i + 1);
        ask(&asked[i], host);
    }
    for (int i = 0; i < ASKED; i++)
        UNTIL(asked[i].answers);

    CHECK_OK(asked[ASKED - 1].result);
    CHECK(mg_resolve_cached() <= MG_MAX_DNS_ENTRIES);
    CHECK(mg_resolve_cached() > MG_MAX_DNS_ENTRIES / 2);
    mg_resolve_override(NULL, NULL, 0);
    CHECK_INT(mg_resolve_cached(), 0);
    mg_loop_fini(&loop);
}

TEST(no_more_addresses_are_kept_than_the_limit)
{
    const char *addresses[MG_MAX_DNS_ADDRESSES + 4];
    struct asked asked;
    begin();
    for (size_t i = 0; i < MG_COUNT(addresses); i++)
        addresses[i] = "192.0.2.1";
    mg_resolve_override("many.example", addresses, (int)MG_COUNT(addresses));

    ask(&asked, "many.example");
    UNTIL(asked.answers);

    CHECK_INT(asked.op.addresses.count, MG_MAX_DNS_ADDRESSES);
    mg_resolve_override(NULL, NULL, 0);
    mg_loop_fini(&loop);
}

/* Every thread has its own loop and asks for names that collide in the shared cache. */
static void *ask_much(void *arg)
{
    struct mg_loop mine;
    mg_loop_init(&mine);
    for (int round = 0; round < 200; round++) {
        struct asked asked = {0};
        char host[64];
        snprintf(host, sizeof(host), "no host %d", round % 150); /* fails without asking anybody */
        mg_resolve_start(&asked.op, &mine, round % 3 ? "localhost" : host, 80, on_answer);
        if (round % 7 == 0) {
            mg_resolve_cancel(&asked.op);
            continue;
        }
        while (!asked.answers)
            mg_loop_turn(&mine, 100);
    }
    mg_loop_fini(&mine);
    return arg;
}

TEST(threads_share_the_cache)
{
    pthread_t threads[4];
    mg_resolve_override(NULL, NULL, 0);
    for (size_t i = 0; i < MG_COUNT(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, ask_much, NULL), 0);
    for (size_t i = 0; i < MG_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    mg_resolve_override(NULL, NULL, 0);
}

MG_TEST_MAIN()
