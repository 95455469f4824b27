/* lua/adapters/openai.lua as the core reads it. */
#include "check.h"

#include "script/script.h"

static struct mg_arena arena;
static struct mg_adapter *adapter;

static void load_openai(void)
{
    static struct mg_adapter_decl decl;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&arena, 4096);
    if (mg_adapter_load("openai", &arena, &decl, &diag) != MG_OK || mg_adapter_new(&decl, &adapter, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
}

static void done(void)
{
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
}

TEST(declares_the_openai_dialect)
{
    load_openai();
    const struct mg_adapter_decl *decl = mg_adapter_declaration(adapter);

    CHECK_STR(decl->base_url, "https://api.openai.com/v1");
    CHECK_STR(decl->auth[0].header, "authorization");
    CHECK_STR(decl->auth[0].prefix, "Bearer ");
    CHECK_STR(mg_adapter_path(adapter, "chat"), "/chat/completions");
    CHECK_STR(mg_adapter_path(adapter, "completions"), "/completions");
    CHECK_STR(mg_adapter_path(adapter, "embeddings"), "/embeddings");
    CHECK_STR(mg_adapter_path(adapter, "models"), "/models");
    CHECK_STR(decl->limits.requests_left, "x-ratelimit-remaining-requests");
    CHECK_STR(decl->usage_opt_in_field, "stream_options");
    CHECK_STR(decl->usage_opt_in_member, "include_usage");
    CHECK_STR(decl->done, "[DONE]");
    done();
}

static void tap_event(struct mg_tap *tap, const char *data, struct mg_tap_event *event)
{
    mg_tap_event(tap, MG_VIEW_NONE, mg_view_cstr(data), event);
}

TEST(reads_a_stream)
{
    struct mg_tap tap;
    struct mg_tap_event event;
    load_openai();
    mg_tap_init(&tap, adapter, true);

    tap_event(&tap, "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}", &event);
    CHECK(!event.content && !tap.content);
    tap_event(&tap, "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}", &event);
    CHECK(event.content && event.text_count == 1 && event.texts[0].reasoning);
    tap_event(&tap, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}", &event);
    CHECK(event.content && event.text_count == 1 && !event.texts[0].reasoning);
    tap_event(&tap, "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0}]},\"finish_reason\":\"tool_calls\"}]}", &event);
    CHECK(event.content && event.finish && strcmp(tap.finish, "tool_calls") == 0);
    tap_event(&tap,
              "{\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":4},"
              "\"completion_tokens_details\":{\"reasoning_tokens\":3}}}",
              &event);
    CHECK(event.usage_only);
    CHECK_INT(tap.usage.input_tokens, 11);
    CHECK_INT(tap.usage.output_tokens, 7);
    CHECK_INT(tap.usage.cached_read_tokens, 4);
    CHECK_INT(tap.usage.reasoning_tokens, 3);
    tap_event(&tap, "[DONE]", &event);
    CHECK(event.done && tap.done && !tap.failed);
    done();
}

TEST(reads_whole_answers_of_every_surface)
{
    static const char *const answers[] = {
        "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5}}",
        "{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"x\"}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":5}}",
        "{\"choices\":[{\"text\":\"hi\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5}}",
        "{\"data\":[{\"embedding\":[0.1,0.2]}],\"usage\":{\"prompt_tokens\":5}}",
        "{\"data\":[{\"embedding\":\"AAAA\"}],\"usage\":{\"prompt_tokens\":5}}",
    };
    load_openai();
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct mg_tap tap;
        mg_tap_init(&tap, adapter, false);
        mg_tap_body(&tap, mg_view_cstr(answers[i]));
        if (!tap.content || tap.failed || tap.usage.input_tokens != 5)
            check_failed(__FILE__, __LINE__, "misread %s", answers[i]);
    }
    done();
}

static enum mg_class hint(int status, const char *type, const char *code, const char *message)
{
    struct mg_tap said;
    mg_tap_init(&said, adapter, false);
    snprintf(said.error_type, sizeof said.error_type, "%s", type);
    snprintf(said.error_code, sizeof said.error_code, "%s", code);
    snprintf(said.error_message, sizeof said.error_message, "%s", message);
    return mg_adapter_hint(adapter, status, &said);
}

TEST(knows_what_errors_mean)
{
    static const struct {
        int status;
        const char *type, *code, *message;
        enum mg_class class_;
    } rows[] = {
        {400, "invalid_request_error", "unsupported_parameter", "Unsupported parameter: 'max_tokens'", MG_CLASS_invalid_request},
        {400, "invalid_request_error", "context_length_exceeded", "", MG_CLASS_context_length},
        {400, "invalid_request_error", "", "This model's maximum context length is 8192 tokens.", MG_CLASS_context_length},
        {400, "invalid_request_error", "string_above_max_length", "prompt is too long", MG_CLASS_invalid_request},
        {400, "", "content_filter", "", MG_CLASS_content_filter},
        {400, "invalid_request_error", "", "your request looks like rate limit 429", MG_CLASS_invalid_request},
        {401, "invalid_request_error", "invalid_api_key", "", MG_CLASS_auth},
        {401, "", "", "", MG_CLASS_auth},
        {402, "", "", "Insufficient Balance", MG_CLASS_quota_billing},
        {403, "", "unsupported_country_region_territory", "", MG_CLASS_permission},
        {404, "invalid_request_error", "model_not_found", "", MG_CLASS_model_not_found},
        {408, "", "", "", MG_CLASS_timeout_total},
        {409, "", "", "", MG_CLASS_conflict},
        {413, "", "", "", MG_CLASS_payload_too_large},
        {422, "", "", "", MG_CLASS_invalid_request},
        {429, "tokens", "rate_limit_exceeded", "Rate limit reached", MG_CLASS_rate_limited},
        {429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota", MG_CLASS_quota_billing},
        {429, "tokens", "rate_limit_exceeded", "Request too large for gpt-5", MG_CLASS_payload_too_large},
        {429, "", "slow_down", "", MG_CLASS_overloaded},
        {498, "", "capacity_exceeded", "", MG_CLASS_overloaded},
        {500, "server_error", "", "", MG_CLASS_server_error},
        {502, "", "", "", MG_CLASS_server_error},
        {503, "service_unavailable_error", "server_is_overloaded", "Slow Down", MG_CLASS_overloaded},
        {529, "", "", "", MG_CLASS_overloaded},
        {0, "server_error", "", "", MG_CLASS_server_error},
        {0, "", "rate_limit_exceeded", "", MG_CLASS_rate_limited},
        {0, "", "503", "", MG_CLASS_overloaded},
        {0, "", "error", "", MG_CLASS_server_error},
        {0, "", "insufficient_system_resource", "", MG_CLASS_overloaded},
    };
    load_openai();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum mg_class got = hint(rows[i].status, rows[i].type, rows[i].code, rows[i].message);
        if (got != rows[i].class_)
            check_failed(__FILE__, __LINE__, "%d %s %s \"%s\" is %s, want %s", rows[i].status, rows[i].type, rows[i].code,
                         rows[i].message, mg_class_name(got), mg_class_name(rows[i].class_));
    }
    done();
}

TEST(names_the_adapters_there_are)
{
    struct mg_adapter_decl decl;
    struct mg_diag diag;

    CHECK(mg_adapter_load("opennai", &arena, &decl, &diag) == MG_E_CONFIG);
    CHECK(strstr(diag.text, "opennai") && strstr(diag.text, "openai"));
    CHECK(mg_adapter_load("../boot/prelude", &arena, &decl, &diag) == MG_E_CONFIG);
}

MG_TEST_MAIN()
