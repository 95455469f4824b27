#include "watch/targets.h"

#include "check.h"

static const uint64_t NOW = 5000000, WALL = 1764000000000000u;

static struct mg_target_credential a_credential(const char *name)
{
    return (struct mg_target_credential){.name = name,
                                         .breaker = {.state = MG_BREAKER_CLOSED, .ramp = 1}};
}

static struct mg_target_row a_target(void)
{
    return (struct mg_target_row){
        .project = "acme",
        .target = "openai/gpt-5",
        .provider = "openai",
        .model = "gpt-5",
        .figures = {.ewma_us = 250000,
                    .p50_us = 200000,
                    .p95_us = 900000,
                    .p99_us = 1200000,
                    .error_rate = 0.25,
                    .calls = 40,
                    .failures = 10,
                    .inflight = 3},
        .estimate = {.calls = 30,
                     .input_bytes_per_token = 3.75,
                     .output_bytes_per_token = 4.5,
                     .input_error = 0.125,
                     .output_error = 0.25,
                     .answer_tokens = 180},
        .gate = {.inflight = 3, .limit = 8, .waiting = 2},
        .retry_tokens = 7.5,
        .retry_burst = 10,
        .credentials = {a_credential("main")},
        .credential_count = 1,
        .now_us = NOW,
        .wall_us = WALL,
    };
}

static void open_breaker(struct mg_target_credential *credential, uint64_t until_us)
{
    credential->breaker = (struct mg_breaker_view){.state = MG_BREAKER_OPEN,
                                                   .until_us = until_us,
                                                   .calls = 9,
                                                   .failures = 5.5,
                                                   .consecutive = 5,
                                                   .opened = 2,
                                                   .ramp = 0,
                                                   .reason = "5 failures in a row"};
}

static const char *json_of(const struct mg_target_row *row)
{
    static struct mg_buf out;
    mg_buf_fini(&out);
    mg_buf_init(&out, 1 << 20);
    CHECK_OK(mg_target_row_json(row, &out));
    return mg_buf_cstr(&out);
}

static const char *metrics_of(const struct mg_target_row *rows, size_t count)
{
    static struct mg_buf out;
    struct mg_targets_scrape scrape;
    mg_buf_fini(&out);
    mg_buf_init(&out, 16 << 20);
    mg_targets_scrape_init(&scrape);
    for (size_t i = 0; i < count; i++)
        mg_targets_scrape_add(&scrape, &rows[i]);
    CHECK_OK(mg_targets_scrape_end(&scrape, &out));
    return mg_buf_cstr(&out);
}

#define CHECK_HAS(text, line) CHECK(strstr((text), line "\n") != NULL)

TEST(a_credential_is_as_bad_as_the_worst_that_is_known_of_it)
{
    struct mg_target_credential credential = a_credential("main");
    struct mg_target_health health;

    mg_target_credential_health(&credential, NOW, &health);
    CHECK_STR(health.state, "closed");
    CHECK_STR(health.why, "");

    open_breaker(&credential, NOW + 3200000);
    mg_target_credential_health(&credential, NOW, &health);
    CHECK_STR(health.state, "open");
    CHECK_STR(health.why, "5 failures in a row");
    CHECK_INT(health.until_us, NOW + 3200000);

    credential.model =
        (struct mg_credential_view){.requests_known = true, .requests_reset_us = NOW + 60000000};
    mg_target_credential_health(&credential, NOW, &health);
    CHECK_STR(health.state, "limited");
    CHECK_STR(health.why, "no requests left");

    credential.key =
        (struct mg_credential_view){.benched_until_us = UINT64_MAX, .why = MG_CLASS_auth};
    mg_target_credential_health(&credential, NOW, &health);
    CHECK_STR(health.state, "benched");
    CHECK_STR(health.why, "auth");
    CHECK(health.until_us == UINT64_MAX);
}

TEST(what_is_over_is_not_held_against_a_credential)
{
    struct mg_target_credential credential = a_credential("main");
    struct mg_target_health health;
    credential.key = (struct mg_credential_view){.benched_until_us = NOW,
                                                 .why = MG_CLASS_rate_limited,
                                                 .tokens_known = true,
                                                 .tokens_reset_us = NOW};

    mg_target_credential_health(&credential, NOW, &health);

    CHECK_STR(health.state, "closed");
}

TEST(a_target_is_as_good_as_the_best_of_its_credentials)
{
    struct mg_target_row row = a_target();
    struct mg_target_health health;
    open_breaker(&row.credentials[0], NOW + 1000);
    row.credentials[1] = a_credential("spare");
    row.credentials[1].breaker.state = MG_BREAKER_RAMP;
    row.credential_count = 2;

    mg_target_row_health(&row, &health);
    CHECK_STR(health.state, "ramp");

    row.credentials[1].key.benched_until_us = UINT64_MAX;
    mg_target_row_health(&row, &health);
    CHECK_STR(health.state, "open");
}

TEST(a_target_is_printed_with_stable_names_and_moments_on_the_wall_clock)
{
    struct mg_target_row row = a_target();
    open_breaker(&row.credentials[0], NOW + 3200000);
    row.credentials[0].model = (struct mg_credential_view){.requests_known = true,
                                                           .requests_left = 12,
                                                           .requests_reset_us = NOW + 1000000,
                                                           .tokens_known = true,
                                                           .tokens_left = 5,
                                                           .tokens_reset_us = NOW - 1};
    row.credentials[1] = a_credential("spare");
    row.credentials[1].key =
        (struct mg_credential_view){.benched_until_us = UINT64_MAX, .why = MG_CLASS_auth};
    row.credential_count = 2;

    CHECK_STR(
        json_of(&row),
        "{\"project\":\"acme\",\"target\":\"openai/"
        "gpt-5\",\"provider\":\"openai\",\"model\":\"gpt-5\","
        "\"region\":null,\"account\":null,\"state\":\"open\",\"why\":\"5 failures in a row\","
        "\"until_us\":1764000003200000,\"inflight\":3,\"limit\":8,\"waiting\":2,\"calls\":40,"
        "\"failures\":10,\"error_rate\":0.250,\"ewma_us\":250000,\"p50_us\":200000,"
        "\"p95_us\":900000,\"p99_us\":1200000,\"estimate\":{\"calls\":30,"
        "\"input_bytes_per_token\":3.750,\"input_error\":0.125,\"output_bytes_per_token\":4.500,"
        "\"output_error\":0.250,\"answer_tokens\":180},\"retry_tokens\":7.500,\"retry_burst\":10,"
        "\"credentials\":["
        "{\"name\":\"main\",\"state\":\"open\",\"why\":\"5 failures in a row\","
        "\"until_us\":1764000003200000,\"breaker\":{\"state\":\"open\","
        "\"until_us\":1764000003200000,\"reason\":\"5 failures in a row\",\"ramp\":0.000,"
        "\"window_calls\":9,\"window_failures\":5.500,\"consecutive\":5,\"opened\":2},"
        "\"benches\":[],\"limits\":[{\"of\":\"requests\",\"left\":12,"
        "\"reset_us\":1764000001000000}]},"
        "{\"name\":\"spare\",\"state\":\"benched\",\"why\":\"auth\",\"until_us\":null,"
        "\"breaker\":{\"state\":\"closed\",\"until_us\":0,\"reason\":null,\"ramp\":1.000,"
        "\"window_calls\":0,\"window_failures\":0.000,\"consecutive\":0,\"opened\":0},"
        "\"benches\":[{\"scope\":\"key\",\"class\":\"auth\",\"until_us\":null}],\"limits\":[]}]}");
}

TEST(metrics_are_of_targets_and_of_their_credentials)
{
    struct mg_target_row rows[] = {a_target(), a_target()};
    rows[1].target = "house/\"q\"";
    rows[1].credentials[0] = a_credential("");
    rows[1].gate = (struct mg_gate_view){.limit = 0};
    rows[1].estimate.calls = 0;
    open_breaker(&rows[0].credentials[0], NOW + 1);
    rows[0].credentials[0].model.benched_until_us = NOW + 5;
    rows[0].credentials[0].model.why = MG_CLASS_rate_limited;

    const char *text = metrics_of(rows, 2);

    CHECK_HAS(text, "moongate_target_usable{project=\"acme\",target=\"openai/gpt-5\"} 0");
    CHECK_HAS(text, "moongate_target_usable{project=\"acme\",target=\"house/\\\"q\\\"\"} 1");
    CHECK_HAS(text, "moongate_target_inflight{project=\"acme\",target=\"openai/gpt-5\"} 3");
    CHECK_HAS(text, "moongate_target_limit{project=\"acme\",target=\"openai/gpt-5\"} 8");
    CHECK_HAS(text, "moongate_target_waiting{project=\"acme\",target=\"openai/gpt-5\"} 2");
    CHECK_HAS(text, "moongate_retry_budget_tokens{project=\"acme\",target=\"openai/gpt-5\"} 7.5");
    CHECK_HAS(text, "moongate_estimate_input_error{project=\"acme\",target=\"openai/gpt-5\"} 0.125");
    CHECK_HAS(text, "moongate_estimate_output_error{project=\"acme\",target=\"openai/gpt-5\"} 0.25");
    CHECK(!strstr(text, "moongate_estimate_input_error{project=\"acme\",target=\"house/"));
    CHECK_HAS(
        text,
        "moongate_breaker_state{project=\"acme\",target=\"openai/gpt-5\",credential=\"main\"} 3");
    CHECK_HAS(text, "moongate_breaker_state{project=\"acme\",target=\"house/"
                    "\\\"q\\\"\",credential=\"\"} 0");
    CHECK_HAS(text, "moongate_breaker_opened_total{project=\"acme\",target=\"openai/"
                    "gpt-5\",credential=\"main\"} 2");
    CHECK_HAS(text, "moongate_credential_benched{project=\"acme\",target=\"openai/"
                    "gpt-5\",credential=\"main\",reason=\"rate_limited\"} 1");
    CHECK(strstr(text, "credential_benched{project=\"acme\",target=\"house") == NULL);
    CHECK_HAS(text, "moongate_targets_not_shown 0");
}

TEST(targets_past_the_bound_are_only_counted)
{
    static struct mg_target_row rows[MG_TARGETS_SHOWN + 3];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        rows[i] = a_target();
    rows[MG_TARGETS_SHOWN].target = "one/too-many";

    const char *text = metrics_of(rows, sizeof rows / sizeof rows[0]);

    CHECK(strstr(text, "too-many") == NULL);
    CHECK_HAS(text, "moongate_targets_not_shown 3");
}

MG_TEST_MAIN()
