#include "relay/reach.h"

#include "base/mem.h"
#include "check.h"

/* A project of its own for each test, with one provider, one target and up to three keys. */
static const struct mg_config_credential keys[] = {{"main", NULL}, {"spare", NULL}, {"third", NULL}};
static const struct mg_limit_headers limits = {
    "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
    "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
};
static const uint64_t second_us = 1000000, minute_us = 60000000, wall_us = UINT64_C(1780000000) * 1000000;

static struct mg_config_provider provider;
static struct mg_config_target target;
static struct mg_reach reach;
static struct mg_pass pass;
static struct mg_refusal refusal;
static char project[32];
static uint64_t now_us;

static void begin(int key_count)
{
    static int number;
    snprintf(project, sizeof project, "reach%d", number++);
    provider = (struct mg_config_provider){
        .name = "openai",
        .credentials = keys,
        .credential_count = key_count,
        .breaker = {.window_ms = 30000, .min_calls = 10, .failure_share = 0.5, .consecutive = 5, .open_ms = 5000,
                    .max_open_ms = 60000, .probe_ms = 15000, .ramp_ms = 10000, .slow_factor = 3, .slow_min_ms = 1000},
    };
    target = (struct mg_config_target){.id = "openai/gpt", .model = "gpt"};
    now_us = 1000 * second_us;
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);
}

static struct mg_reach_ask ask(void)
{
    return (struct mg_reach_ask){.now_us = now_us, .random = 0.5};
}

static enum mg_reach_why take_as(struct mg_reach_ask asked)
{
    return mg_reach_take(&reach, &asked, &pass, &refusal);
}

static enum mg_reach_why take(void)
{
    return take_as(ask());
}

static struct mg_outcome outcome(enum mg_class class_)
{
    return (struct mg_outcome){.class_ = class_, .weight = -1, .now_us = now_us, .wall_us = wall_us};
}

static void settle(enum mg_class class_)
{
    struct mg_outcome out = outcome(class_);
    mg_reach_settle(&pass, &out);
    CHECK(pass.reach == NULL);
}

/* One call from take to settle; false when it was refused. */
static bool call(enum mg_class class_)
{
    if (take() != MG_REACH_OK)
        return false;
    settle(class_);
    return true;
}

static struct mg_stats_figures figures(void)
{
    struct mg_stats_figures out;
    mg_stats_read(reach.stats, &out);
    return out;
}

static const char *state(void)
{
    return mg_reach_state(&reach, now_us, NULL);
}

static uint64_t until(void)
{
    uint64_t out;
    mg_reach_state(&reach, now_us, &out);
    return out;
}

/* ---- names -------------------------------------------------------------------------------------- */

TEST(what_it_asks_is_named_by_project_or_account)
{
    begin(2);
    mg_view scope = mg_view_cstr(project);
    target.region = "eu";
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);

    CHECK_INT(reach.credential_count, 2);
    CHECK(reach.breakers[1] && reach.breakers[1] == mg_breaker_peek(scope, MG_VIEW("openai/gpt@eu#spare")));
    CHECK(reach.keys[1] && reach.keys[1] == mg_credential_peek(scope, MG_VIEW("openai#spare")));
    CHECK(reach.model_keys[0] && reach.model_keys[0] == mg_credential_peek(scope, MG_VIEW("openai/gpt#main")));
    CHECK(reach.stats == mg_stats_peek(scope, MG_VIEW("openai/gpt")));
    CHECK(reach.gate == NULL);

    struct mg_config_grant grants[] = {{"other", 1}, {project, 3}};
    struct mg_config_account account = {"team", &keys[2], 1, grants, 2};
    target.gate.max = 4;
    mg_reach_init(&reach, project, &provider, &target, target.id, &account, &limits);

    CHECK_INT(reach.credential_count, 1);
    CHECK_STR(reach.names[0], "third");
    CHECK(reach.breakers[0] == mg_breaker_peek(MG_VIEW("account:team"), MG_VIEW("team/gpt@eu#third")));
    CHECK(reach.keys[0] == mg_credential_peek(MG_VIEW("account:team"), MG_VIEW("team#third")));
    CHECK(reach.gate && reach.gate == mg_gate_peek(MG_VIEW("account:team"), MG_VIEW("team/gpt@eu")));
    CHECK(reach.stats == mg_stats_peek(scope, MG_VIEW("openai/gpt")));
}

TEST(a_provider_without_keys_is_called_without_one)
{
    begin(0);

    CHECK(take() == MG_REACH_OK);
    CHECK_INT(pass.credential, -1);
    CHECK_INT(figures().inflight, 1);
    settle(MG_CLASS_none);

    CHECK_INT(figures().inflight, 0);
    CHECK_INT(figures().calls, 1);
    CHECK(reach.breakers[0] == mg_breaker_peek(mg_view_cstr(project), MG_VIEW("openai/gpt")));
}

TEST(what_one_model_without_a_key_refuses_says_nothing_about_the_others)
{
    struct mg_config_target mini = {.id = "openai/mini", .model = "mini"};
    struct mg_reach other;
    begin(0);
    mg_reach_init(&other, project, &provider, &mini, mini.id, NULL, &limits);

    CHECK(call(MG_CLASS_auth));

    CHECK_STR(state(), "benched");
    CHECK_STR(mg_reach_state(&other, now_us, NULL), "closed");
}

/* ---- breaker ------------------------------------------------------------------------------------ */

TEST(failures_of_the_provider_open_it_and_the_refusal_says_so)
{
    begin(1);
    for (int i = 0; i < 5; i++)
        CHECK(call(MG_CLASS_server_error));

    CHECK(take() == MG_REACH_OPEN);
    CHECK_INT(refusal.why, MG_REACH_OPEN);
    CHECK_INT(refusal.until_us, now_us + 5 * second_us);
    CHECK_STR(refusal.text, "breaker open for 5.0 s more (5 failures in a row: server_error)");
    CHECK_STR(state(), "open");
    CHECK_INT(until(), now_us + 5 * second_us);
    CHECK_INT(figures().inflight, 0);
    now_us += 5 * second_us;
    CHECK_STR(state(), "half_open");
    CHECK(take() == MG_REACH_OK && pass.permit.probe);
    struct mg_pass probe = pass;
    CHECK(take() == MG_REACH_OPEN);
    CHECK_INT(refusal.until_us, 0);
    CHECK_STR(refusal.text, "breaker half open, another call probes");
    pass = probe;
    settle(MG_CLASS_none);
    CHECK_STR(state(), "ramp");
}

TEST(what_is_not_the_providers_fault_never_opens_it)
{
    static const enum mg_class classes[] = {
        MG_CLASS_none, MG_CLASS_invalid_request, MG_CLASS_context_length, MG_CLASS_payload_too_large, MG_CLASS_content_filter,
        MG_CLASS_refusal, MG_CLASS_schema_mismatch, MG_CLASS_conflict, MG_CLASS_cancelled, MG_CLASS_state_lost};
    for (size_t c = 0; c < MG_COUNT(classes); c++) {
        begin(1);
        for (int i = 0; i < 50; i++)
            CHECK(call(classes[c]));
        CHECK_STR(state(), "closed");
        struct mg_breaker_view view;
        mg_breaker_read(reach.breakers[0], &provider.breaker, now_us, &view);
        CHECK(view.failures == 0);
    }
}

TEST(rate_limits_and_quotas_bench_the_key_and_leave_the_breaker_alone)
{
    static const enum mg_class classes[] = {MG_CLASS_rate_limited, MG_CLASS_quota_billing, MG_CLASS_auth, MG_CLASS_permission};
    for (size_t c = 0; c < MG_COUNT(classes); c++) {
        begin(1);
        for (int i = 0; i < 20; i++, now_us += 3 * 3600 * second_us) {
            if (take() == MG_REACH_BENCHED) {      /* until a human acts */
                mg_credential_reset(reach.keys[0]);
                CHECK(take() == MG_REACH_OK);
            }
            settle(classes[c]);
            CHECK_STR(state(), "benched");
        }
        struct mg_breaker_view view;
        mg_breaker_read(reach.breakers[0], &provider.breaker, now_us, &view);
        CHECK_INT(view.opened, 0);
        CHECK_INT(view.state, MG_BREAKER_CLOSED);
    }
}

TEST(a_verdicts_weight_counts_for_the_provider_and_never_for_the_client)
{
    begin(1);
    for (int i = 0; i < 20; i++) {
        struct mg_outcome out = outcome(i % 2 ? MG_CLASS_invalid_request : MG_CLASS_server_error);
        out.weight = i % 2 ? 1 : 0;
        CHECK(take() == MG_REACH_OK);
        mg_reach_settle(&pass, &out);
    }
    CHECK_STR(state(), "closed");

    for (int i = 0; i < 5; i++) {
        struct mg_outcome out = outcome(MG_CLASS_schema_mismatch);
        out.weight = 1;
        CHECK(take() == MG_REACH_OK);
        mg_reach_settle(&pass, &out);
    }
    CHECK_STR(state(), "open");
}

TEST(a_probe_that_says_nothing_gives_its_place_to_the_next)
{
    begin(1);
    for (int i = 0; i < 5; i++)
        CHECK(call(MG_CLASS_network));
    now_us += 5 * second_us;

    CHECK(call(MG_CLASS_invalid_request));
    CHECK_STR(state(), "half_open");
    CHECK(call(MG_CLASS_none));

    CHECK_STR(state(), "ramp");
}

TEST(an_abandoned_pass_leaves_no_trace)
{
    begin(1);
    target.gate = (struct mg_config_gate){.max = 1};
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);
    for (int i = 0; i < 5; i++)
        CHECK(call(MG_CLASS_network));
    now_us += 5 * second_us;

    CHECK(take() == MG_REACH_OK && pass.permit.probe && pass.entered);
    mg_reach_abandon(&pass, now_us, 0);
    mg_reach_abandon(&pass, now_us, 0);

    CHECK_INT(figures().inflight, 0);
    CHECK_INT(figures().calls, 5);
    CHECK(take() == MG_REACH_OK && pass.permit.probe);
    settle(MG_CLASS_none);
}

TEST(as_a_last_chance_an_open_target_is_called_once_a_second)
{
    begin(1);
    for (int i = 0; i < 5; i++)
        CHECK(call(MG_CLASS_network));
    struct mg_reach_ask last = ask();
    last.last_chance = true;

    CHECK(take_as(last) == MG_REACH_OK);
    settle(MG_CLASS_network);
    CHECK(take_as(last) == MG_REACH_OPEN);
    now_us += second_us;
    last.now_us = now_us;
    CHECK(take_as(last) == MG_REACH_OK);
    settle(MG_CLASS_none);

    CHECK_STR(state(), "ramp");
}

/* ---- slow --------------------------------------------------------------------------------------- */

static void answers(int count, uint64_t first_token_ms, uint64_t peer_ms)
{
    for (int i = 0; i < count; i++) {
        struct mg_outcome out = outcome(MG_CLASS_none);
        out.first_token_us = first_token_ms * 1000;
        out.total_us = first_token_ms * 2000;
        out.peers = 1;
        out.peer_ewma_us = peer_ms * 1000;
        CHECK(take() == MG_REACH_OK);
        mg_reach_settle(&pass, &out);
    }
}

TEST(a_target_that_turns_slow_is_left_like_one_that_fails)
{
    begin(1);
    answers(100, 800, 800);
    CHECK_STR(state(), "closed");

    answers(5, 6000, 800);

    CHECK_STR(state(), "open");
    CHECK(take() == MG_REACH_OPEN);
    CHECK_STR(refusal.text, "breaker open for 5.0 s more (5 failures in a row: slow)");
    CHECK_INT(figures().failures, 0);
}

TEST(slow_needs_a_past_a_faster_peer_and_a_noticeable_time)
{
    static const struct {
        int past_calls;
        uint64_t past_ms, now_ms, peer_ms;
        double factor;
        bool slow;
    } rows[] = {
        {100, 800, 6000, 800, 3, true},
        {100, 800, 4000, 0, 3, false},         /* nothing is known of the others: its past must say it twice as clearly */
        {100, 800, 6000, 0, 3, true},
        {100, 800, 6000, 2500, 3, false},      /* the others are slow as well */
        {100, 2500, 6000, 800, 3, false},      /* it always was */
        {5, 800, 6000, 800, 3, false},         /* nothing is known of its past */
        {100, 200, 900, 200, 3, false},        /* nobody minds */
        {100, 800, 2300, 700, 3, false},       /* not slow enough */
        {100, 800, 6000, 800, 0, false},       /* switched off */
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin(1);
        provider.breaker.slow_factor = rows[i].factor;
        answers(rows[i].past_calls, rows[i].past_ms, rows[i].peer_ms);
        answers(5, rows[i].now_ms, rows[i].peer_ms);
        CHECK_STR(state(), rows[i].slow ? "open" : "closed");
    }
}

/* ---- keys --------------------------------------------------------------------------------------- */

static int taken_of_1000(int credential)
{
    int count = 0;
    uint32_t seed = 7;
    for (int i = 0; i < 1000; i++) {
        struct mg_reach_ask asked = ask();
        seed = seed * 1664525u + 1013904223u;
        asked.random = (seed >> 8) / 16777216.0;
        CHECK(take_as(asked) == MG_REACH_OK);
        count += pass.credential == credential;
        settle(MG_CLASS_none);
    }
    return count;
}

TEST(calls_are_spread_over_the_keys)
{
    begin(3);
    for (int i = 0; i < 3; i++) {
        int count = taken_of_1000(i);
        CHECK(count > 270 && count < 400);
    }
}

static int key_of(const char *conversation)
{
    struct mg_reach_ask asked = ask();
    asked.sticky = mg_view_cstr(conversation);
    CHECK(take_as(asked) == MG_REACH_OK);
    int credential = pass.credential;
    settle(MG_CLASS_none);
    return credential;
}

TEST(a_conversation_stays_on_its_key_and_only_those_of_a_lost_key_move)
{
    int before[200], moved = 0, on_lost = 0;
    char name[16];
    begin(3);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "talk%d", i);
        before[i] = key_of(name);
        CHECK_INT(key_of(name), before[i]);
    }

    mg_credential_bench(reach.keys[1], now_us + minute_us, MG_CLASS_auth);

    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "talk%d", i);
        on_lost += before[i] == 1;
        moved += key_of(name) != before[i];
    }
    CHECK_INT(moved, on_lost);
    CHECK(on_lost > 40 && on_lost < 95);
}

TEST(a_key_that_failed_this_exchange_is_avoided)
{
    begin(2);
    struct mg_reach_ask asked = ask();
    for (uint32_t avoid = 1; avoid <= 2; avoid++) {
        asked.avoid = avoid;
        CHECK(take_as(asked) == MG_REACH_OK);
        CHECK_INT(pass.credential, avoid == 1 ? 1 : 0);
        settle(MG_CLASS_none);
    }
    asked.avoid = 3;
    CHECK(take_as(asked) == MG_REACH_BENCHED);
    CHECK_INT(refusal.until_us, 0);
    CHECK_STR(refusal.text, "no other key");
}

TEST(a_dead_key_is_benched_and_the_others_are_used)
{
    begin(2);
    mg_reach_take(&reach, &(struct mg_reach_ask){.now_us = now_us, .avoid = 2}, &pass, &refusal);
    settle(MG_CLASS_auth);

    CHECK_INT(taken_of_1000(1), 1000);
    CHECK_STR(state(), "closed");
    mg_reach_take(&reach, &(struct mg_reach_ask){.now_us = now_us}, &pass, &refusal);
    settle(MG_CLASS_quota_billing);
    CHECK(take() == MG_REACH_BENCHED);
    CHECK_INT(refusal.until_us, now_us + 5 * minute_us);
    CHECK_STR(refusal.text, "key main: auth for 300.0 s more");
    CHECK_STR(state(), "benched");
    CHECK_INT(until(), now_us + 5 * minute_us);
}

TEST(how_long_a_key_is_benched)
{
    static const struct {
        enum mg_class class_;
        uint64_t retry_after_ms;
        const char *requests_left, *requests_reset;
        uint64_t bench_ms;
    } rows[] = {
        {MG_CLASS_rate_limited, 0, NULL, NULL, 1000},
        {MG_CLASS_rate_limited, 2500, NULL, NULL, 2500},
        {MG_CLASS_rate_limited, 2500, "0", "6s", 6000},
        {MG_CLASS_rate_limited, 8000, "0", "6s", 8000},
        {MG_CLASS_rate_limited, 2500, "4", "6m0s", 2500},
        {MG_CLASS_rate_limited, UINT64_MAX, NULL, NULL, 24 * 3600000},
        {MG_CLASS_quota_billing, 0, NULL, NULL, 3600000},
        {MG_CLASS_quota_billing, 20000, NULL, NULL, 20000},
        {MG_CLASS_quota_billing, 0, "0", "2h", 7200000},
        {MG_CLASS_permission, 0, NULL, NULL, 600000},
        {MG_CLASS_auth, 0, NULL, NULL, 300000},
        {MG_CLASS_overloaded, 0, NULL, NULL, 0},
        {MG_CLASS_overloaded, 30000, NULL, NULL, 30000},
        {MG_CLASS_overloaded, 600000, NULL, NULL, 60000},
        {MG_CLASS_none, 0, "0", "90s", 90000},
        {MG_CLASS_none, 0, "1", "90s", 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin(1);
        struct mg_header items[] = {
            {mg_view_cstr(limits.requests_left), mg_view_cstr(rows[i].requests_left), 0},
            {mg_view_cstr(limits.requests_reset), mg_view_cstr(rows[i].requests_reset), 0},
        };
        struct mg_headers headers = {items, rows[i].requests_left ? 2 : 0};
        struct mg_outcome out = outcome(rows[i].class_);
        out.retry_after_ms = rows[i].retry_after_ms;
        out.headers = &headers;
        CHECK(take() == MG_REACH_OK);
        mg_reach_settle(&pass, &out);

        enum mg_reach_why why = take();
        CHECK_INT(why, rows[i].bench_ms ? MG_REACH_BENCHED : MG_REACH_OK);
        if (why == MG_REACH_OK)
            mg_reach_abandon(&pass, now_us, 0);
        else
            CHECK_INT(refusal.until_us, now_us + rows[i].bench_ms * 1000);
        CHECK_INT(figures().rate_limit_known, rows[i].requests_left != NULL);
        now_us += rows[i].bench_ms * 1000;
        CHECK(take() == MG_REACH_OK);
        settle(MG_CLASS_none);
        struct mg_credential_view key, model_key;
        mg_credential_read(reach.keys[0], &key);
        mg_credential_read(reach.model_keys[0], &model_key);
        CHECK(key.benched_until_us == 0 && model_key.benched_until_us == 0);
    }
}

TEST(when_all_keys_only_cool_the_refusal_says_when_the_first_is_back)
{
    begin(2);
    for (uint32_t i = 0; i < 2; i++) {
        struct mg_outcome out = outcome(MG_CLASS_rate_limited);
        out.retry_after_ms = 3000 + i * 2000;
        mg_reach_take(&reach, &(struct mg_reach_ask){.now_us = now_us, .avoid = i ? 1 : 2}, &pass, &refusal);
        mg_reach_settle(&pass, &out);
    }

    CHECK(take() == MG_REACH_BENCHED);
    CHECK_INT(refusal.until_us, now_us + 3 * second_us);
    CHECK_STR(refusal.text, "key main: rate_limited for 3.0 s more");
    CHECK_STR(state(), "benched");
    now_us += 3 * second_us;
    CHECK(take() == MG_REACH_OK);
    CHECK_INT(pass.credential, 0);
    settle(MG_CLASS_none);
}

TEST(too_few_tokens_left_refuses_unless_nothing_else_is_left)
{
    begin(1);
    struct mg_header items[] = {
        {mg_view_cstr(limits.tokens_left), MG_VIEW("100"), 0},
        {mg_view_cstr(limits.tokens_reset), MG_VIEW("6s"), 0},
    };
    struct mg_headers headers = {items, 2};
    struct mg_outcome out = outcome(MG_CLASS_none);
    out.headers = &headers;
    CHECK(take() == MG_REACH_OK);
    mg_reach_settle(&pass, &out);
    struct mg_reach_ask asked = ask();
    asked.tokens = 5000;

    CHECK(take_as(asked) == MG_REACH_BENCHED);
    CHECK_STR(refusal.text, "key main: limit used up for 6.0 s more");
    asked.tokens = 100;
    CHECK(take_as(asked) == MG_REACH_OK);
    mg_reach_abandon(&pass, now_us, 0);
    asked.tokens = 5000;
    asked.last_chance = true;
    CHECK(take_as(asked) == MG_REACH_OK);
    mg_reach_abandon(&pass, now_us, 0);
}

TEST(a_key_that_is_nearly_used_up_is_taken_last)
{
    begin(2);
    struct mg_header items[] = {
        {mg_view_cstr(limits.requests_left), MG_VIEW("3"), 0},
        {mg_view_cstr(limits.requests_reset), MG_VIEW("60s"), 0},
    };
    struct mg_headers headers = {items, 2};
    struct mg_outcome out = outcome(MG_CLASS_none);
    out.headers = &headers;
    CHECK(mg_reach_take(&reach, &(struct mg_reach_ask){.now_us = now_us, .avoid = 2}, &pass, &refusal) == MG_REACH_OK);
    mg_reach_settle(&pass, &out);
    struct mg_reach_ask asked = ask();
    int of_first = 0;
    for (int i = 0; i < 100; i++) {
        asked.random = i / 100.0;
        CHECK(take_as(asked) == MG_REACH_OK);
        of_first += pass.credential == 0;
    }
    CHECK_INT(of_first, 3);
    asked.avoid = 2;
    CHECK(take_as(asked) == MG_REACH_OK);
    CHECK_INT(pass.credential, 0);
}

TEST(a_model_that_is_not_there_opens_the_target_for_a_minute)
{
    begin(2);
    CHECK(call(MG_CLASS_model_not_found));
    CHECK(take() == MG_REACH_OPEN);
    CHECK(refusal.until_us > now_us + 59 * second_us && refusal.until_us <= now_us + 61 * second_us);
}

TEST(a_model_that_only_the_client_named_harms_nobody_else)
{
    begin(1);
    target.model = "*";
    mg_reach_init(&reach, project, &provider, &target, "openai/…", NULL, &limits);

    CHECK(call(MG_CLASS_model_not_found));
    CHECK(call(MG_CLASS_permission));

    CHECK_STR(state(), "closed");
}

/* ---- gate --------------------------------------------------------------------------------------- */

TEST(a_full_gate_refuses_and_a_probe_is_not_lost_by_it)
{
    begin(1);
    target.gate = (struct mg_config_gate){.max = 1, .queue = 4};
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);
    CHECK(take() == MG_REACH_OK && pass.entered);
    struct mg_pass first = pass;
    mg_breaker_open(reach.breakers[0], now_us, second_us, "test");
    now_us += 2 * second_us;

    CHECK(take() == MG_REACH_FULL);
    CHECK_INT(refusal.until_us, 0);
    CHECK_STR(refusal.text, "full: 1 of 1 in flight, 0 waiting");
    pass = first;
    settle(MG_CLASS_none);
    CHECK(take() == MG_REACH_OK && pass.permit.probe);
    settle(MG_CLASS_none);
}

TEST(a_place_that_was_waited_for_is_taken_over_or_left_with_the_caller)
{
    begin(1);
    target.gate = (struct mg_config_gate){.max = 1};
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);
    struct mg_gate_view view;
    struct mg_reach_ask asked = ask();
    asked.skip_gate = true;
    CHECK(mg_gate_enter(reach.gate, &target.gate, 0));

    CHECK(take_as(asked) == MG_REACH_OK && pass.entered);
    settle(MG_CLASS_none);
    mg_gate_read(reach.gate, &target.gate, &view);
    CHECK_INT(view.inflight, 0);
    CHECK(mg_gate_enter(reach.gate, &target.gate, 0));
    mg_breaker_open(reach.breakers[0], now_us, second_us, "test");
    CHECK(take_as(asked) == MG_REACH_OPEN);
    mg_gate_read(reach.gate, &target.gate, &view);
    CHECK_INT(view.inflight, 1);
}

TEST(an_adaptive_gate_learns_from_outcomes)
{
    begin(1);
    target.gate = (struct mg_config_gate){.max = 50, .adaptive = true};
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);
    struct mg_gate_view view;

    for (int i = 0; i < 3; i++)
        CHECK(call(MG_CLASS_rate_limited) || (now_us += 2 * second_us));
    mg_gate_read(reach.gate, &target.gate, &view);

    CHECK(view.limit < 16);
}

/* ---- penalties ---------------------------------------------------------------------------------- */

TEST(a_penalty_reaches_as_far_as_its_scope)
{
    static const struct {
        enum mg_penalty_scope scope;
        const char *same_region, *other_region, *other_key, *other_provider;
    } rows[] = {
        {MG_PENALTY_NONE, "closed", "closed", "closed", "closed"},
        {MG_PENALTY_TARGET, "closed", "closed", "open", "closed"},
        {MG_PENALTY_PROVIDER, "open", "open", "open", "closed"},
        {MG_PENALTY_REGION, "open", "closed", "open", "closed"},
        {MG_PENALTY_CREDENTIAL, "closed", "closed", "closed", "closed"},
        {MG_PENALTY_CREDENTIAL_MODEL, "closed", "closed", "closed", "closed"},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin(2);
        struct mg_config_provider second = provider;
        second.name = "openai2";
        struct mg_config_target targets[] = {
            {.id = "a", .model = "gpt", .region = "eu"},
            {.id = "b", .model = "mini", .region = "eu"},
            {.id = "c", .model = "gpt", .region = "us"},
        };
        struct mg_reach near, far, other;
        uint64_t ignored;
        mg_reach_init(&reach, project, &provider, &targets[0], "a", NULL, &limits);
        mg_reach_init(&near, project, &provider, &targets[1], "b", NULL, &limits);
        mg_reach_init(&far, project, &provider, &targets[2], "c", NULL, &limits);
        mg_reach_init(&other, project, &second, &targets[0], "d", NULL, &limits);
        struct mg_outcome out = outcome(MG_CLASS_server_error);
        out.scope = rows[i].scope;
        out.bench_ms = 3600000;
        CHECK(mg_reach_take(&reach, &(struct mg_reach_ask){.now_us = now_us, .avoid = 2}, &pass, &refusal) == MG_REACH_OK);
        mg_reach_settle(&pass, &out);

        CHECK_STR(mg_reach_state(&near, now_us, NULL), rows[i].same_region);
        CHECK_STR(mg_reach_state(&far, now_us, NULL), rows[i].other_region);
        CHECK_STR(mg_breaker_state_name(mg_breaker_look(reach.breakers[1], &provider.breaker, now_us, &ignored)),
                  rows[i].other_key);
        CHECK_STR(mg_reach_state(&other, now_us, NULL), rows[i].other_provider);
        bool key = rows[i].scope == MG_PENALTY_CREDENTIAL, model_key = rows[i].scope == MG_PENALTY_CREDENTIAL_MODEL;
        uint64_t most_us = now_us + UINT64_C(1000) * MG_MAX_PENALTY_MS;
        CHECK_INT(mg_credential_usable_at(reach.keys[0], 0, now_us), key ? most_us : 0);
        CHECK_INT(mg_credential_usable_at(reach.model_keys[0], 0, now_us), model_key ? most_us : 0);
        CHECK_INT(mg_credential_usable_at(reach.keys[1], 0, now_us), 0);
    }
}

TEST(a_penalty_is_never_longer_than_the_limit)
{
    begin(1);
    struct mg_outcome out = outcome(MG_CLASS_server_error);
    out.scope = MG_PENALTY_TARGET;
    out.bench_ms = UINT64_MAX;
    CHECK(take() == MG_REACH_OK);
    mg_reach_settle(&pass, &out);

    CHECK_STR(state(), "open");
    now_us += UINT64_C(1000) * MG_MAX_PENALTY_MS + second_us;
    CHECK_STR(state(), "half_open");
}

/* ---- figures ------------------------------------------------------------------------------------ */

TEST(stats_learn_what_each_outcome_says)
{
    static const struct {
        enum mg_class class_;
        uint64_t first_token_us;
        int calls, failures;
    } rows[] = {
        {MG_CLASS_none, 1000, 1, 0},
        {MG_CLASS_server_error, 0, 1, 1},
        {MG_CLASS_rate_limited, 0, 1, 1},
        {MG_CLASS_invalid_request, 0, 1, 0},
        {MG_CLASS_refusal, 1000, 1, 0},
        {MG_CLASS_cancelled, 0, 0, 0},
        {MG_CLASS_cancelled, 1000, 1, 0},
    };
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin(1);
        struct mg_outcome out = outcome(rows[i].class_);
        out.first_token_us = rows[i].first_token_us;
        out.total_us = 5000;
        CHECK(take() == MG_REACH_OK);
        mg_reach_settle(&pass, &out);

        CHECK_INT(figures().calls, rows[i].calls);
        CHECK_INT(figures().failures, rows[i].failures);
        CHECK_INT(figures().inflight, 0);
        CHECK_INT(figures().ewma_us, rows[i].first_token_us);
        CHECK_INT(figures().total_p99_us > 0, rows[i].class_ == MG_CLASS_none);
    }
}

TEST(without_rows_everything_is_allowed)
{
    begin(1);
    struct mg_reach bare = {.provider = &provider, .target = &target, .limits = limits, .credential_count = 1, .names = {"main"}};
    struct mg_reach_ask asked = ask();
    uint64_t until_us;

    for (int i = 0; i < 20; i++) {
        struct mg_outcome out = outcome(i % 2 ? MG_CLASS_server_error : MG_CLASS_auth);
        out.scope = (enum mg_penalty_scope)(i % 6);
        out.bench_ms = 1000;
        CHECK(mg_reach_take(&bare, &asked, &pass, &refusal) == MG_REACH_OK);
        mg_reach_settle(&pass, &out);
    }

    CHECK_STR(mg_reach_state(&bare, now_us, &until_us), "closed");
    CHECK_INT(until_us, 0);
}

/* ---- keys that clients bring -------------------------------------------------------------------- */

static void begin_with_callers(void)
{
    begin(1);
    provider.caller_keys = MG_CALLER_KEYS_ACCEPT;
    mg_reach_init(&reach, project, &provider, &target, target.id, NULL, &limits);
}

static bool call_by(unsigned bucket, enum mg_class class_)
{
    struct mg_reach_ask asked = ask();
    asked.by_caller = true;
    asked.bucket = bucket;
    if (take_as(asked) != MG_REACH_OK)
        return false;
    CHECK_INT(pass.credential, MG_CREDENTIAL_CALLER);
    settle(class_);
    return true;
}

TEST(whatever_befalls_a_clients_key_is_held_against_no_key_of_the_project)
{
    for (int class_ = 1; class_ < MG_CLASS_COUNT; class_++)
        for (int scope = 0; scope <= MG_PENALTY_CREDENTIAL_MODEL; scope++) {
            begin_with_callers();
            for (int i = 0; i < 12; i++) {
                struct mg_reach_ask asked = ask();
                asked.by_caller = true;
                asked.last_chance = true;
                now_us += 2 * second_us;
                asked.now_us = now_us;
                if (take_as(asked) != MG_REACH_OK)
                    continue;
                struct mg_outcome out = outcome((enum mg_class)class_);
                out.scope = (enum mg_penalty_scope)scope;
                out.bench_ms = 60000;
                mg_reach_settle(&pass, &out);
            }
            CHECK_STR(state(), "closed");
            CHECK(call_by(1, MG_CLASS_none));
            CHECK(call(MG_CLASS_none));
        }
}

TEST(a_clients_key_that_fails_is_left_alone_with_its_bucket)
{
    begin_with_callers();
    int made = 0;
    for (int i = 0; i < 40; i++)
        made += call_by(7, MG_CLASS_server_error);
    CHECK(made < 40);
    CHECK(!call_by(7, MG_CLASS_none));
    CHECK_INT(refusal.why, MG_REACH_OPEN);
    CHECK(strstr(refusal.text, "breaker open") != NULL);
    CHECK(call_by(8, MG_CLASS_none));
    CHECK(call(MG_CLASS_none));
}

TEST(a_benched_key_of_the_project_stops_no_client_with_its_own)
{
    begin_with_callers();
    CHECK(call(MG_CLASS_auth));
    CHECK(!call(MG_CLASS_none));
    CHECK(call_by(0, MG_CLASS_none));
}

TEST(what_a_clients_key_is_to_blame_for_says_nothing_of_the_target)
{
    static const struct {
        enum mg_class class_;
        unsigned calls, failures;
    } rows[] = {{MG_CLASS_none, 1, 0}, {MG_CLASS_auth, 0, 0}, {MG_CLASS_rate_limited, 0, 0}, {MG_CLASS_quota_billing, 0, 0},
                {MG_CLASS_server_error, 1, 1}, {MG_CLASS_cancelled, 0, 0}};
    for (size_t i = 0; i < MG_COUNT(rows); i++) {
        begin_with_callers();
        CHECK(call_by(0, rows[i].class_));
        CHECK_INT(figures().calls, rows[i].calls);
        CHECK_INT(figures().failures, rows[i].failures);
        CHECK_INT(figures().inflight, 0);
    }
}

MG_TEST_MAIN()
