/* Every failure that the wire reference knows of a provider, as its bytes, and the class it is: as its own dialect says it,
 * and as the OpenAI dialect does. */
#include "chat/adapter.h"

#include "check.h"
#include "script/script.h"

static struct mg_arena arena;
static struct mg_adapter *adapter;

static void load(const char *name)
{
    static struct mg_adapter_decl decl;
    struct mg_diag diag = {.line = 0};
    mg_arena_init(&arena, 4096);
    if (mg_adapter_load(name, &arena, &decl, &diag) != MG_OK || mg_adapter_new(&decl, &adapter, &diag) != MG_OK)
        check_failed(__FILE__, __LINE__, "%s", diag.text);
}

static void unload(void)
{
    mg_adapter_free(adapter);
    mg_arena_fini(&arena);
}

#define E(type, code, message) "{\"error\":{\"message\":\"" message "\",\"type\":\"" type "\",\"param\":null,\"code\":\"" code "\"}}"
#define IRE(code, message) E("invalid_request_error", code, message)
#define NOCODE(type, message) "{\"error\":{\"message\":\"" message "\",\"type\":\"" type "\",\"param\":null,\"code\":null}}"
#define ROUTER(code, kind, message) \
    "{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"metadata\":{\"error_type\":\"" kind "\"}}}"
#define GOOGLE(code, status, message, more) \
    "[{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"status\":\"" status "\"" more "}}]"
#define CLAUDE(type, message) "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"}}"
#define DETAILS(inner) ",\"details\":[" inner "]"
#define QUOTA(id) DETAILS("{\"violations\":[{\"quotaId\":\"" id "\"}]},{\"retryDelay\":\"12s\"}")

struct row {
    int status;
    const char *body;
    enum mg_class class_;
};

static const struct row openai[] = {
    {400, NOCODE("invalid_request_error", "Unrecognized request argument supplied: foo"), MG_CLASS_invalid_request},
    {400, IRE("unsupported_parameter", "Unsupported parameter: 'max_tokens'"), MG_CLASS_invalid_request},
    {400, IRE("unsupported_value", "Unsupported value"), MG_CLASS_invalid_request},
    {400, IRE("unknown_parameter", "Unknown parameter"), MG_CLASS_invalid_request},
    {400, IRE("invalid_value", ""), MG_CLASS_invalid_request},
    {400, IRE("missing_required_parameter", ""), MG_CLASS_invalid_request},
    {400, IRE("invalid_type", ""), MG_CLASS_invalid_request},
    {400, IRE("string_above_max_length", "string too long; prompt is too long"), MG_CLASS_invalid_request},
    {400, IRE("integer_below_min_value", ""), MG_CLASS_invalid_request},
    {400, IRE("invalid_image_url", "Timeout while downloading"), MG_CLASS_invalid_request},
    {400, IRE("context_length_exceeded", ""), MG_CLASS_context_length},
    {400, NOCODE("invalid_request_error", "This model's maximum context length is 8192 tokens"), MG_CLASS_context_length},
    {400, NOCODE("invalid_request_error", "Input tokens exceed the configured limit of 272000"), MG_CLASS_context_length},
    {400, IRE("content_policy_violation", ""), MG_CLASS_content_filter},
    {400, IRE("moderation_blocked", ""), MG_CLASS_content_filter},
    {400, IRE("invalid_prompt", "Invalid prompt: your prompt was flagged as potentially violating our usage policy"), MG_CLASS_content_filter},
    {400, IRE("cyber_policy_violation", ""), MG_CLASS_content_filter},
    {400, IRE("invalid_encrypted_content", ""), MG_CLASS_state_lost},
    {400, IRE("previous_response_not_found", ""), MG_CLASS_state_lost},
    {401, IRE("invalid_api_key", "Incorrect API key provided"), MG_CLASS_auth},
    {401, IRE("ip_not_authorized", ""), MG_CLASS_auth},
    {401, NOCODE("invalid_request_error", "You must be a member of an organization"), MG_CLASS_auth},
    {403, IRE("unsupported_country_region_territory", ""), MG_CLASS_permission},
    {403, NOCODE("invalid_request_error", "Project does not have access to model"), MG_CLASS_permission},
    {404, IRE("model_not_found", ""), MG_CLASS_model_not_found},
    {408, NOCODE("timeout", ""), MG_CLASS_timeout_total},
    {409, NOCODE("conflict", ""), MG_CLASS_conflict},
    {413, "", MG_CLASS_payload_too_large},
    {415, "", MG_CLASS_invalid_request},
    {422, "", MG_CLASS_invalid_request},
    {429, E("requests", "rate_limit_exceeded", "Rate limit reached"), MG_CLASS_rate_limited},
    {429, E("tokens", "rate_limit_exceeded", "Rate limit reached for gpt on tokens per min"), MG_CLASS_rate_limited},
    {429, E("tokens", "rate_limit_exceeded", "Request too large for gpt-5 on tokens per min (TPM): Limit 30000"), MG_CLASS_payload_too_large},
    {429, E("insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan"), MG_CLASS_quota_billing},
    {429, E("insufficient_quota", "credit_balance_exhausted", ""), MG_CLASS_quota_billing},
    {429, E("insufficient_quota", "organization_spend_limit_exceeded", ""), MG_CLASS_quota_billing},
    {429, E("x", "project_spend_limit_exceeded", ""), MG_CLASS_quota_billing},
    {429, E("x", "organization_usage_limit_exceeded", ""), MG_CLASS_quota_billing},
    {429, E("x", "billing_hard_limit_reached", ""), MG_CLASS_quota_billing},
    {429, E("rate_limit_error", "slow_down", ""), MG_CLASS_overloaded},
    {500, NOCODE("server_error", ""), MG_CLASS_server_error},
    {500, "", MG_CLASS_server_error},
    {503, E("service_unavailable_error", "server_is_overloaded", ""), MG_CLASS_overloaded},
    {429, NOCODE("requests", "The engine is currently overloaded, please try again later"), MG_CLASS_overloaded},
    {502, "", MG_CLASS_server_error},
    {504, "{}", MG_CLASS_timeout_total},
    {520, "", MG_CLASS_server_error},
    {526, "", MG_CLASS_server_error},
};

static const struct row azure[] = {
    {400, "{\"error\":{\"message\":\"filtered\",\"type\":null,\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,"
          "\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}", MG_CLASS_content_filter},
    {400, "{\"error\":{\"message\":\"filtered\",\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\"}}}", MG_CLASS_content_filter},
    {401, "{\"error\":{\"code\":\"401\",\"message\":\"Access denied due to invalid subscription key or wrong API endpoint\"}}", MG_CLASS_auth},
    {403, "{\"error\":{\"code\":\"403\",\"message\":\"Public access is disabled\"}}", MG_CLASS_permission},
    {404, "{\"error\":{\"code\":\"DeploymentNotFound\",\"message\":\"\"}}", MG_CLASS_model_not_found},
    {404, "{\"error\":{\"code\":\"404\",\"message\":\"Resource not found\"}}", MG_CLASS_model_not_found},
    {408, "", MG_CLASS_timeout_total},
    {429, "{\"error\":{\"code\":\"429\",\"message\":\"exceeded token rate limit of your current AIServices S0 pricing tier\"}}", MG_CLASS_rate_limited},
    {429, "{\"error\":{\"code\":\"429\",\"message\":\"The system is currently experiencing high demand\"}}", MG_CLASS_overloaded},
    {503, "{\"error\":{\"code\":\"503\",\"message\":\"The system is currently experiencing high demand\"}}", MG_CLASS_overloaded},
};

static const struct row anthropic[] = {
    {400, CLAUDE("invalid_request_error", "messages: at least one message is required"), MG_CLASS_invalid_request},
    {400, CLAUDE("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), MG_CLASS_context_length},
    {400, CLAUDE("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 2"), MG_CLASS_context_length},
    {400, CLAUDE("invalid_request_error", "Your credit balance is too low to access the API"), MG_CLASS_quota_billing},
    {400, CLAUDE("invalid_request_error", "You have reached your specified API usage limits"), MG_CLASS_quota_billing},
    {400, CLAUDE("invalid_request_error", "Output blocked by content filtering policy"), MG_CLASS_content_filter},
    {400, CLAUDE("invalid_request_error", "tool_use ids were found without tool_result blocks"), MG_CLASS_invalid_request},
    {401, CLAUDE("authentication_error", "invalid x-api-key"), MG_CLASS_auth},
    {402, CLAUDE("billing_error", ""), MG_CLASS_quota_billing},
    {403, CLAUDE("permission_error", ""), MG_CLASS_permission},
    {404, CLAUDE("not_found_error", "model: claude-9"), MG_CLASS_model_not_found},
    {409, CLAUDE("conflict_error", ""), MG_CLASS_conflict},
    {413, CLAUDE("request_too_large", ""), MG_CLASS_payload_too_large},
    {429, CLAUDE("rate_limit_error", ""), MG_CLASS_rate_limited},
    {429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"code\":\"enforced_spend_limit_reached\"}}", MG_CLASS_quota_billing},
    {429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"code\":\"ramp_limit_exceeded\"}}", MG_CLASS_overloaded},
    {429, CLAUDE("rate_limit_error", "Extra usage is required for long context requests"), MG_CLASS_permission},
    {500, CLAUDE("api_error", ""), MG_CLASS_server_error},
    {504, CLAUDE("timeout_error", ""), MG_CLASS_timeout_total},
    {529, CLAUDE("overloaded_error", "Overloaded"), MG_CLASS_overloaded},
};

#define CLAUDE_CODE(type, code) \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"m\",\"details\":{\"error_code\":\"" code "\"}},\"request_id\":\"r\"}"

/* What only its own dialect has words for. */
static const struct row anthropic_codes[] = {
    {429, CLAUDE_CODE("rate_limit_error", "enforced_spend_limit_reached"), MG_CLASS_quota_billing},
    {429, CLAUDE_CODE("rate_limit_error", "contract_spend_limit_reached"), MG_CLASS_quota_billing},
    {429, CLAUDE_CODE("rate_limit_error", "ramp_limit_exceeded"), MG_CLASS_overloaded},
    {402, CLAUDE_CODE("billing_error", "linked_organization_unpaid"), MG_CLASS_quota_billing},
    {400, CLAUDE_CODE("invalid_request_error", "organization_on_hold"), MG_CLASS_permission},
    {400, CLAUDE_CODE("invalid_request_error", "tool_name_conflict"), MG_CLASS_invalid_request},
    {501, CLAUDE_CODE("api_error", "cmek_context_unavailable"), MG_CLASS_server_error},
    {503, CLAUDE_CODE("api_error", "cmek_key_unreachable"), MG_CLASS_server_error},
    {529, CLAUDE_CODE("overloaded_error", "compaction_unavailable"), MG_CLASS_overloaded},
    {529, "", MG_CLASS_overloaded},
    {499, "", MG_CLASS_cancelled},
    {408, "", MG_CLASS_timeout_total},
    {400, CLAUDE("invalid_request_error", "temperature: Extra inputs are not permitted"), MG_CLASS_invalid_request},
    {400, CLAUDE("invalid_request_error", "messages.1: the user wrote: prompt was too long, overloaded_error"), MG_CLASS_invalid_request},
};

static const struct row gemini[] = {
    {400, GOOGLE("400", "INVALID_ARGUMENT", "bad", ""), MG_CLASS_invalid_request},
    {400, GOOGLE("400", "INVALID_ARGUMENT", "The input token count (5) exceeds the maximum number of tokens allowed (4)", ""), MG_CLASS_context_length},
    {400, GOOGLE("400", "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", DETAILS("{\"reason\":\"API_KEY_INVALID\"}")), MG_CLASS_auth},
    {400, GOOGLE("400", "FAILED_PRECONDITION", "User location is not supported for the API use", ""), MG_CLASS_permission},
    {401, GOOGLE("401", "UNAUTHENTICATED", "", ""), MG_CLASS_auth},
    {403, GOOGLE("403", "PERMISSION_DENIED", "", DETAILS("{\"reason\":\"SERVICE_DISABLED\"}")), MG_CLASS_permission},
    {403, GOOGLE("403", "PERMISSION_DENIED", "", DETAILS("{\"reason\":\"CONSUMER_SUSPENDED\"}")), MG_CLASS_auth},
    {404, GOOGLE("404", "NOT_FOUND", "models/x is not found", ""), MG_CLASS_model_not_found},
    {429, GOOGLE("429", "RESOURCE_EXHAUSTED", "Quota exceeded", QUOTA("GenerateRequestsPerMinutePerProject")), MG_CLASS_rate_limited},
    {429, GOOGLE("429", "RESOURCE_EXHAUSTED", "Quota exceeded", QUOTA("GenerateRequestsPerDayPerProject")), MG_CLASS_quota_billing},
    {429, GOOGLE("429", "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.", ""), MG_CLASS_overloaded},
    {499, GOOGLE("499", "CANCELLED", "", ""), MG_CLASS_cancelled},
    {500, GOOGLE("500", "INTERNAL", "", ""), MG_CLASS_server_error},
    {501, GOOGLE("501", "UNIMPLEMENTED", "", ""), MG_CLASS_invalid_request},
    {503, GOOGLE("503", "UNAVAILABLE", "The model is overloaded", ""), MG_CLASS_overloaded},
    {504, GOOGLE("504", "DEADLINE_EXCEEDED", "", ""), MG_CLASS_timeout_total},
    {409, GOOGLE("409", "ABORTED", "", ""), MG_CLASS_conflict},
    {404, "{\"error\":{\"code\":404,\"message\":\"\",\"status\":\"NOT_FOUND\"}}", MG_CLASS_model_not_found},
};

#define G(code, status, message, more) \
    "{\"error\":{\"code\":" code ",\"message\":\"" message "\",\"status\":\"" status "\"" more "}}"

static const struct row gemini_objects[] = {
    {400, G("400", "INVALID_ARGUMENT", "Function call is missing a thought_signature in functionCall parts", ""), MG_CLASS_invalid_request},
    {400, G("400", "FAILED_PRECONDITION", "Billing is not enabled", ""), MG_CLASS_invalid_request},
    {400, G("400", "OUT_OF_RANGE", "", ""), MG_CLASS_invalid_request},
    {402, G("402", "", "prepay exhausted", ""), MG_CLASS_quota_billing},
    {404, G("404", "NOT_FOUND", "Publisher model `x` was not found or your project does not have access", ""), MG_CLASS_model_not_found},
    {409, G("409", "ALREADY_EXISTS", "", ""), MG_CLASS_conflict},
    {413, "", MG_CLASS_payload_too_large},
    {429, G("429", "RESOURCE_EXHAUSTED", "Quota exceeded", QUOTA("GenerateContentInputTokensPerModelPerMinute")), MG_CLASS_rate_limited},
    {429, G("429", "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", ""), MG_CLASS_overloaded},
    {500, G("500", "UNKNOWN", "", ""), MG_CLASS_server_error},
    {500, G("500", "DATA_LOSS", "", ""), MG_CLASS_server_error},
    {0, G("503", "UNAVAILABLE", "", ""), MG_CLASS_overloaded},
};

/* Google's words, before a request reaches the models of another vendor. */
static const struct row vertex[] = {
    {401, G("401", "UNAUTHENTICATED", "", ""), MG_CLASS_auth},
    {403, G("403", "PERMISSION_DENIED", "", ""), MG_CLASS_permission},
    {404, GOOGLE("404", "NOT_FOUND", "Publisher model was not found", ""), MG_CLASS_model_not_found},
    {429, G("429", "RESOURCE_EXHAUSTED", "Quota exceeded", ""), MG_CLASS_rate_limited},
    {429, G("429", "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.", ""), MG_CLASS_overloaded},
    {503, G("503", "UNAVAILABLE", "", ""), MG_CLASS_overloaded},
};

static const struct row cohere[] = {
    {400, "{\"message\":\"invalid request: message must be at least 1 token long\"}", MG_CLASS_invalid_request},
    {400, "{\"message\":\"too many tokens: total number of tokens in the prompt cannot exceed 4081\"}", MG_CLASS_context_length},
    {400, "{\"message\":\"too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - received 8192.\"}",
     MG_CLASS_invalid_request},
    {401, "{\"message\":\"invalid api token\"}", MG_CLASS_auth},
    {402, "{\"message\":\"Maximum billing reached for this API key as set in your dashboard\"}", MG_CLASS_quota_billing},
    {429, "{\"message\":\"You are using a Trial key, which is limited to 1000 API calls / month.\"}", MG_CLASS_quota_billing},
    {429, "{\"message\":\"You are using a Trial key, which is limited to 40 API calls / minute.\"}", MG_CLASS_rate_limited},
    {498, "{\"message\":\"invalid token\"}", MG_CLASS_auth},
    {499, "{\"message\":\"request cancelled\"}", MG_CLASS_cancelled},
    {404, "{\"message\":\"model 'x' not found\"}", MG_CLASS_model_not_found},
    {422, "{\"message\":\"invalid\"}", MG_CLASS_invalid_request},
    {429, "{\"message\":\"slow down\"}", MG_CLASS_rate_limited},
    {500, "{\"message\":\"internal\"}", MG_CLASS_server_error},
    {503, "", MG_CLASS_overloaded},
};

static const struct row others[] = {
    /* DeepSeek */
    {402, NOCODE("unknown_error", "Insufficient Balance"), MG_CLASS_quota_billing},
    {503, "", MG_CLASS_overloaded},
    /* Groq */
    {400, IRE("tool_use_failed", ""), MG_CLASS_schema_mismatch},
    {400, IRE("json_validate_failed", ""), MG_CLASS_schema_mismatch},
    {498, E("x", "capacity_exceeded", ""), MG_CLASS_overloaded},
    {413, E("tokens", "rate_limit_exceeded", "Request too large for model on tokens per minute"), MG_CLASS_payload_too_large},
    {424, "", MG_CLASS_server_error},
    /* OpenRouter */
    {400, ROUTER("400", "context_length_exceeded", ""), MG_CLASS_context_length},
    {400, ROUTER("400", "string_too_long", ""), MG_CLASS_invalid_request},
    {400, ROUTER("400", "invalid_request", ""), MG_CLASS_invalid_request},
    {401, ROUTER("401", "authentication", ""), MG_CLASS_auth},
    {402, ROUTER("402", "payment_required", ""), MG_CLASS_quota_billing},
    {403, ROUTER("403", "content_policy_violation", ""), MG_CLASS_content_filter},
    {403, "{\"error\":{\"code\":403,\"message\":\"openai/x requires moderation. Your input was flagged\",\"metadata\":{\"reasons\":[\"hate\"]}}}", MG_CLASS_content_filter},
    {403, ROUTER("403", "permission_denied", ""), MG_CLASS_permission},
    {404, ROUTER("404", "not_found", ""), MG_CLASS_model_not_found},
    {408, ROUTER("408", "timeout", ""), MG_CLASS_timeout_total},
    {429, ROUTER("429", "rate_limit_exceeded", ""), MG_CLASS_rate_limited},
    {502, ROUTER("502", "provider_unavailable", ""), MG_CLASS_overloaded},
    {502, ROUTER("502", "server", ""), MG_CLASS_server_error},
    {503, ROUTER("503", "provider_overloaded", ""), MG_CLASS_overloaded},
    {524, ROUTER("524", "unmapped", ""), MG_CLASS_server_error},
    {529, ROUTER("529", "unmapped", ""), MG_CLASS_overloaded},
    /* xAI */
    {429, "{\"code\":\"Some resource has been exhausted\",\"error\":\"Your team has used all available credits\"}", MG_CLASS_quota_billing},
    {403, "{\"code\":\"The caller does not have permission\",\"error\":\"has either used all available credits or reached its monthly spending limit\"}", MG_CLASS_quota_billing},
    {429, "{\"code\":\"resource-exhausted\",\"error\":\"Too many requests for this model\"}", MG_CLASS_rate_limited},
    {400, "{\"code\":\"Client specified an invalid argument\",\"error\":\"Incorrect API key provided: xa***\"}", MG_CLASS_auth},
    {400, "{\"code\":\"Client specified an invalid argument\",\"error\":\"This model's maximum prompt length is 131072\"}", MG_CLASS_context_length},
    {404, "{\"error\":\"The model grok-9 does not exist\"}", MG_CLASS_model_not_found},
    /* Mistral */
    {422, "{\"detail\":[{\"loc\":[\"body\",\"stream_options\"],\"msg\":\"Extra inputs are not permitted\",\"type\":\"extra_forbidden\"}]}", MG_CLASS_invalid_request},
    {429, "{\"object\":\"error\",\"message\":\"Service tier capacity exceeded for this model.\",\"type\":\"service_tier_capacity_exceeded\",\"code\":\"3505\"}", MG_CLASS_rate_limited},
    {401, "{\"message\":\"Unauthorized\",\"request_id\":\"x\"}", MG_CLASS_auth},
    /* Together, Fireworks, Bedrock's and Cohere's compatible endpoints */
    {503, NOCODE("service_unavailable", "The server is overloaded or not ready yet."), MG_CLASS_overloaded},
    {529, "", MG_CLASS_overloaded},
    {412, "", MG_CLASS_overloaded},
    {422, NOCODE("x", "`inputs` tokens + `max_new_tokens` must be <= 4097"), MG_CLASS_context_length},
    {429, NOCODE("ThrottlingException", "Too many tokens per day, please wait"), MG_CLASS_quota_billing},
    {400, NOCODE("ValidationException", "Input is too long for requested model."), MG_CLASS_context_length},
    /* Ollama */
    {404, NOCODE("not_found_error", "model 'x' not found"), MG_CLASS_model_not_found},
    {503, NOCODE("api_error", "server busy, please try again. maximum pending requests exceeded"), MG_CLASS_overloaded},
    {500, NOCODE("api_error", "server busy, please try again."), MG_CLASS_overloaded},
    /* vLLM, old and new; llama.cpp */
    {400, "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens.\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}", MG_CLASS_context_length},
    {404, "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"type\":\"NotFoundError\",\"param\":null,\"code\":404}", MG_CLASS_model_not_found},
    {500, "{\"error\":{\"message\":\"EngineCore died\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}", MG_CLASS_server_error},
    {503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}", MG_CLASS_overloaded},
    {400, "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":9,\"n_ctx\":8}}", MG_CLASS_context_length},
    {500, "{\"error\":{\"code\":500,\"message\":\"input is too large to process. increase the physical batch size\",\"type\":\"server_error\"}}", MG_CLASS_context_length},
    {501, "{\"error\":{\"code\":501,\"message\":\"\",\"type\":\"not_supported_error\"}}", MG_CLASS_invalid_request},
};

/* People's words are repeated in errors; what they say is not what happened. */
static const struct row echoes[] = {
    {400, NOCODE("invalid_request_error", "Invalid value: 'HTTP 429 rate limit exceeded, slow_down'"), MG_CLASS_invalid_request},
    {400, NOCODE("invalid_request_error", "Invalid content: 'insufficient_quota: you exceeded your current quota, please check your plan'"), MG_CLASS_invalid_request},
    {400, NOCODE("invalid_request_error", "Invalid content: 'the engine is currently overloaded'"), MG_CLASS_invalid_request},
    {400, NOCODE("invalid_request_error", "Invalid content: 'spending limit'"), MG_CLASS_invalid_request},
    {422, NOCODE("invalid_request_error", "Invalid content: 'violating our usage policy'"), MG_CLASS_invalid_request},
    {422, NOCODE("x", "Invalid content: 'incorrect api key provided'"), MG_CLASS_invalid_request},
    {404, NOCODE("x", "Invalid content: 'prompt is too long'"), MG_CLASS_model_not_found},
};

static void check_rows(const char *name, const char *adapter_name, const struct row *rows, size_t count)
{
    load(adapter_name);
    for (size_t i = 0; i < count; i++) {
        struct mg_tap tap;
        mg_tap_init(&tap, adapter, false);
        mg_tap_body(&tap, mg_view_cstr(rows[i].body));
        enum mg_class got = mg_adapter_hint(adapter, rows[i].status, &tap);
        if (got != rows[i].class_)
            check_failed(__FILE__, __LINE__, "%s in %s: %d %s is %s, want %s", name, adapter_name, rows[i].status, rows[i].body,
                         mg_class_name(got), mg_class_name(rows[i].class_));
    }
    unload();
}

#define CHECK_ROWS_IN(adapter, rows) check_rows(#rows, adapter, rows, sizeof rows / sizeof rows[0])
#define CHECK_ROWS(rows) CHECK_ROWS_IN("openai", rows)

TEST(classifies_what_openai_answers)
{
    CHECK_ROWS(openai);
}

TEST(classifies_what_azure_answers)
{
    CHECK_ROWS(azure);
}

TEST(classifies_what_anthropic_answers_in_this_dialect)
{
    CHECK_ROWS(anthropic);
}

TEST(classifies_what_gemini_answers_in_this_dialect)
{
    CHECK_ROWS(gemini);
}

TEST(classifies_what_the_other_vendors_answer)
{
    CHECK_ROWS(others);
}

TEST(does_not_take_repeated_words_for_what_happened)
{
    CHECK_ROWS(echoes);
    CHECK_ROWS_IN("openai_responses", echoes);
}

TEST(classifies_what_providers_answer_in_their_own_dialect)
{
    CHECK_ROWS_IN("openai_responses", openai);
    CHECK_ROWS_IN("openai_responses", azure);
    CHECK_ROWS_IN("anthropic", anthropic);
    CHECK_ROWS_IN("anthropic", anthropic_codes);
    CHECK_ROWS_IN("gemini", gemini);
    CHECK_ROWS_IN("gemini", gemini_objects);
    CHECK_ROWS_IN("vertex_gemini", gemini_objects);
    CHECK_ROWS_IN("vertex_anthropic", anthropic);
    CHECK_ROWS_IN("vertex_anthropic", vertex);
    CHECK_ROWS_IN("cohere", cohere);
}

/* ---- a type in a header ----------------------------------------------------------------------- */

static const struct {
    int status;
    const char *type, *body;
    enum mg_class class_;
} bedrock[] = {
    {403, "AccessDeniedException", "{\"message\":\"no access to the model\"}", MG_CLASS_permission},
    {403, "UnrecognizedClientException:http://internal.example/", "{\"message\":\"The security token is invalid\"}", MG_CLASS_auth},
    {403, "ExpiredTokenException", "{\"Message\":\"expired\"}", MG_CLASS_auth},
    {400, "ValidationException", "{\"message\":\"messages must not be empty\"}", MG_CLASS_invalid_request},
    {400, "ValidationException", "{\"message\":\"Input is too long for requested model.\"}", MG_CLASS_context_length},
    {400, "ValidationException: x", "{\"message\":\"prompt is too long: 9 > 8\"}", MG_CLASS_context_length},
    {400, "ValidationException", "{\"message\":\"Invocation with on-demand throughput isn't supported\"}", MG_CLASS_model_not_found},
    {404, "ResourceNotFoundException", "{}", MG_CLASS_model_not_found},
    {429, "ThrottlingException", "{\"message\":\"Too many requests\"}", MG_CLASS_rate_limited},
    {429, "ThrottlingException", "{\"message\":\"Too many tokens per day, please wait\"}", MG_CLASS_quota_billing},
    {429, "ModelNotReadyException", "{}", MG_CLASS_overloaded},
    {408, "ModelTimeoutException", "{}", MG_CLASS_timeout_total},
    {424, "ModelErrorException", "{}", MG_CLASS_server_error},
    {400, "ServiceQuotaExceededException", "{}", MG_CLASS_quota_billing},
    {400, "ConflictException", "{}", MG_CLASS_conflict},
    {500, "InternalServerException", "{}", MG_CLASS_server_error},
    {503, "ServiceUnavailableException", "{}", MG_CLASS_overloaded},
    {429, "", "", MG_CLASS_rate_limited},
};

TEST(classifies_what_bedrock_answers_by_its_header)
{
    load("bedrock");
    CHECK_STR(mg_adapter_declaration(adapter)->error_type_header, "x-amzn-errortype");
    for (size_t i = 0; i < sizeof bedrock / sizeof bedrock[0]; i++) {
        struct mg_tap tap;
        mg_tap_init(&tap, adapter, false);
        mg_tap_body(&tap, mg_view_cstr(bedrock[i].body));
        mg_tap_error_header(&tap, mg_view_cstr(bedrock[i].type));
        enum mg_class got = mg_adapter_hint(adapter, bedrock[i].status, &tap);
        if (got != bedrock[i].class_)
            check_failed(__FILE__, __LINE__, "%s %s is %s", bedrock[i].type, bedrock[i].body, mg_class_name(got));
    }
    unload();
}

/* ---- inside a 200 ---------------------------------------------------------------------------- */

static const struct {
    const char *name, *data;
    enum mg_class class_;
} events[] = {
    {"", "{\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"code\":null}}", MG_CLASS_server_error},
    {"", "{\"error\":{\"message\":\"x\",\"type\":\"BadRequestError\",\"param\":null,\"code\":400}}", MG_CLASS_invalid_request},
    {"", "{\"error\":{\"message\":\"x\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}", MG_CLASS_server_error},
    {"", "{\"error\":\"plain text\"}", MG_CLASS_server_error},
    {"", "{\"object\":\"error\",\"message\":\"x\",\"type\":\"InternalServerError\",\"param\":null,\"code\":500}", MG_CLASS_server_error},
    {"", "{\"object\":\"error\",\"message\":\"x\",\"type\":\"invalid_request_error\",\"code\":\"429\"}", MG_CLASS_rate_limited},
    {"error", "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"x\",\"param\":null}", MG_CLASS_rate_limited},
    {"error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}", MG_CLASS_overloaded},
    {"error", "{}", MG_CLASS_server_error},
    {"", "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}", MG_CLASS_server_error},
    {"", "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"insufficient_system_resource\"}]}", MG_CLASS_overloaded},
    {"", "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"aborted\"}]}", MG_CLASS_overloaded},
    {"", "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}],"
         "\"error\":{\"code\":502,\"message\":\"x\",\"metadata\":{\"error_type\":\"provider_overloaded\"}}}", MG_CLASS_overloaded},
    {"", "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\",\"error\":{\"code\":429,\"message\":\"x\"}}]}", MG_CLASS_rate_limited},
    {"", "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"r\",\"error\":\"over capacity\"}}", MG_CLASS_server_error},
    {"", "[{\"error\":{\"code\":503,\"message\":\"x\",\"status\":\"UNAVAILABLE\"}}]", MG_CLASS_overloaded},
    {"", "{\"error\":{\"code\":\"some_timeout\",\"message\":\"x\"}}", MG_CLASS_timeout_total},
    {"", "{\"error\":{\"type\":\"backend_overload\",\"message\":\"x\"}}", MG_CLASS_overloaded},
    {"", "{\"error\":{\"code\":\"bad_request\",\"message\":\"x\"}}", MG_CLASS_invalid_request},
    {"", "{\"error\":{\"code\":\"wrong_api_key\",\"message\":\"x\"}}", MG_CLASS_auth},
    {"", "{\"error\":{\"code\":400,\"message\":\"the user wrote: request too large for, server busy\"}}", MG_CLASS_invalid_request},
};

TEST(classifies_errors_inside_a_stream)
{
    load("openai");
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        struct mg_tap tap;
        struct mg_tap_event seen;
        mg_tap_init(&tap, adapter, true);
        mg_tap_event(&tap, mg_view_cstr(events[i].name), mg_view_cstr(events[i].data), &seen);
        if (!tap.failed || !seen.error)
            check_failed(__FILE__, __LINE__, "%s is no error", events[i].data);
        if (tap.error_class != events[i].class_)
            check_failed(__FILE__, __LINE__, "%s is %s, want %s", events[i].data, mg_class_name(tap.error_class),
                         mg_class_name(events[i].class_));
    }
    unload();
}

TEST(good_events_are_no_errors)
{
    static const char *const rows[] = {
        "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"error\"}}],\"error\":null}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"{\\\"error\\\":{}}\"}}]}",
        "{\"choices\":[],\"code\":\"x\",\"message\":\"y\",\"type\":\"z\"}",
        "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"r\",\"error\":\"\"}}",
    };
    load("openai");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mg_tap tap;
        struct mg_tap_event seen;
        mg_tap_init(&tap, adapter, true);
        mg_tap_event(&tap, MG_VIEW_NONE, mg_view_cstr(rows[i]), &seen);
        if (tap.failed)
            check_failed(__FILE__, __LINE__, "%s is an error", rows[i]);
    }
    unload();
}

TEST(finds_the_words_of_an_error_wherever_they_stand)
{
    struct mg_tap tap;
    load("openai");
    mg_tap_init(&tap, adapter, false);
    mg_tap_body(&tap, MG_VIEW("{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"},\"message\":\"outer\"}"));
    CHECK_STR(tap.error_type, "api_error");
    CHECK_STR(tap.error_message, "m");

    mg_tap_init(&tap, adapter, false);
    mg_tap_body(&tap, MG_VIEW("{\"code\":\"kind\",\"error\":\"what\"}"));
    CHECK_STR(tap.error_code, "kind");
    CHECK_STR(tap.error_message, "what");

    mg_tap_init(&tap, adapter, false);
    mg_tap_body(&tap, MG_VIEW("{\"detail\":[{\"loc\":[\"body\",\"tools\",0,\"name\"],\"msg\":\"too long\",\"type\":\"string_too_long\"}]}"));
    CHECK_STR(tap.error_code, "string_too_long");
    CHECK_STR(tap.error_message, "too long");
    CHECK_STR(tap.error_param, "name");

    mg_tap_init(&tap, adapter, false);
    mg_tap_body(&tap, MG_VIEW("{\"detail\":\"Not Found\"}"));
    CHECK_STR(tap.error_message, "Not Found");
    unload();
}

TEST(reads_when_to_come_back_from_bodies_and_messages)
{
    static const struct {
        const char *body;
        uint64_t ms;
    } rows[] = {
        {GOOGLE("429", "RESOURCE_EXHAUSTED", "x", QUOTA("PerMinute")), 12000},
        {"{\"error\":{\"code\":429,\"message\":\"x\",\"details\":[{\"retryDelay\":\"1.5s\"}]}}", 1500},
        {E("tokens", "rate_limit_exceeded", "Rate limit reached. Please try again in 20ms. Visit us"), 20},
        {E("tokens", "rate_limit_exceeded", "Please try again in 6m0.5s."), 360500},
        {NOCODE("x", "Please retry in 12.3s"), 12300},
        {NOCODE("x", "Please retry after 7 seconds"), 7000},
        {NOCODE("x", "Please try again in a while"), 0},
        {NOCODE("x", "no word of it"), 0},
        {"{\"error\":{\"details\":[{\"retryDelay\":\"soon\"}]}}", 0},
    };
    load("openai");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mg_tap tap;
        mg_tap_init(&tap, adapter, false);
        mg_tap_body(&tap, mg_view_cstr(rows[i].body));
        if (mg_tap_retry_ms(&tap) != rows[i].ms)
            check_failed(__FILE__, __LINE__, "%s is %llu ms", rows[i].body, (unsigned long long)mg_tap_retry_ms(&tap));
    }
    unload();
}

MG_TEST_MAIN()
