--- openai.lua - the OpenAI Chat Completions dialect, as OpenAI and the vendors compatible with it speak it.
---
--- Data only: the core compiles it once and never runs Lua for a request or an answer. Paths are those of the JSON span
--- scanner (`a.b`, `choices[*].x`); where several mean the same, all are looked at, because vendors differ. Where they
--- come from: the vendors' own SDKs and API descriptions.
return {
  name = "openai",
  base_url = "https://api.openai.com/v1",
  auth = { header = "authorization", prefix = "Bearer " },

  -- the header in which an answer says how many requests are left before the provider's limit
  requests_left = "x-ratelimit-remaining-requests",

  -- appended to the base URL; the names are the surfaces of the gateway
  operations = {
    chat = "/chat/completions",
    completions = "/completions",
    embeddings = "/embeddings",
    models = "/models",
  },

  -- A stream reports its usage only when the request asks for it: the core asks, and cuts the figures out again for a
  -- client who did not.
  usage_opt_in = { field = "stream_options", member = "include_usage" },

  usage = {
    object = { "usage", "x_groq.usage" },
    input = { "usage.prompt_tokens", "x_groq.usage.prompt_tokens" },
    output = { "usage.completion_tokens", "x_groq.usage.completion_tokens" },
    total = { "usage.total_tokens" },
    cached_read = { "usage.prompt_tokens_details.cached_tokens", "usage.prompt_cache_hit_tokens" },
    cached_write = { "usage.prompt_tokens_details.cache_write_tokens" },
    reasoning = { "usage.completion_tokens_details.reasoning_tokens" },
  },

  -- a whole answer
  answer = {
    item = { "choices[*]", "data[*]" },
    content = { "choices[*].message.content", "choices[*].text" },
    reasoning = { "choices[*].message.reasoning_content", "choices[*].message.reasoning" },
    tool_call = { "choices[*].message.tool_calls", "choices[*].message.function_call", "choices[*].message.audio" },
    refusal = { "choices[*].message.refusal" },
    finish = { "choices[*].finish_reason" },
    data = { "data[*].embedding" },
  },

  -- one event of a stream
  chunk = {
    item = { "choices[*]" },
    index = { "choices[*].index" },
    content = { "choices[*].delta.content", "choices[*].text" },
    reasoning = { "choices[*].delta.reasoning_content", "choices[*].delta.reasoning" },
    tool_call = { "choices[*].delta.tool_calls", "choices[*].delta.function_call", "choices[*].delta.audio" },
    refusal = { "choices[*].delta.refusal" },
    finish = { "choices[*].finish_reason" },
  },

  -- an error, alone or inside a stream whose status was 200
  error = {
    object = { "error", "x_groq.error" },
    type = { "error.type", "type" },
    code = { "error.code", "code" },
    message = { "error.message", "message", "detail" },
    event = "error",
  },

  done = "[DONE]",

  -- finish reasons that mean the answer broke off (OpenRouter and Mistral; DeepSeek)
  finish_failed = { "error", "insufficient_system_resource", "aborted" },

  -- What an error is, first match wins: status, then the error's own type and code, its text last. What no row matches
  -- is decided by the status alone. An error inside a stream has no status and is matched by the rest.
  rules = {
    -- money and quotas: 429 here does not mean "later"
    { type = "insufficient_quota", class = "quota_billing" },
    { code = "insufficient_quota", class = "quota_billing" },
    { code = "billing_hard_limit_reached", class = "quota_billing" },
    { code = "credit_balance_exhausted", class = "quota_billing" },
    { code = "organization_spend_limit_exceeded", class = "quota_billing" },
    { code = "project_spend_limit_exceeded", class = "quota_billing" },
    { code = "organization_usage_limit_exceeded", class = "quota_billing" },
    { code = "enforced_spend_limit_reached", class = "quota_billing" },
    { status = 429, text = "exceeded your current quota", class = "quota_billing" },
    { status = 402, class = "quota_billing" },
    { status = 400, text = "credit balance is too low", class = "quota_billing" },
    { status = 429, text = "too many tokens per day", class = "quota_billing" },

    -- the request is larger than a limit that waiting does not change
    { status = 429, text = "request too large for", class = "payload_too_large" },
    { status = 413, class = "payload_too_large" },

    -- rate and load
    { code = "slow_down", class = "overloaded" },
    { code = "server_is_overloaded", class = "overloaded" },
    { code = "capacity_exceeded", class = "overloaded" },
    { type = "overloaded_error", class = "overloaded" },
    { type = "service_unavailable_error", class = "overloaded" },
    { type = "unavailable_error", class = "overloaded" },
    { status = 429, text = "currently experiencing high demand", class = "overloaded" },
    { code = "insufficient_system_resource", class = "overloaded" },
    { code = "aborted", class = "overloaded" },
    { code = "rate_limit_exceeded", class = "rate_limited" },
    { type = "rate_limit_error", class = "rate_limited" },
    { type = "rate_limit_exceeded", class = "rate_limited" },
    { type = "tokens", class = "rate_limited" },
    { type = "requests", class = "rate_limited" },

    -- the key and what it may do
    { code = "invalid_api_key", class = "auth" },
    { type = "authentication_error", class = "auth" },
    { code = "ip_not_authorized", class = "auth" },
    { text = "incorrect api key", class = "auth" },
    { code = "unsupported_country_region_territory", class = "permission" },
    { type = "permission_error", class = "permission" },

    -- the model
    { code = "model_not_found", class = "model_not_found" },
    { code = "DeploymentNotFound", class = "model_not_found" },
    { type = "not_found_error", class = "model_not_found" },

    -- too long: codes first; the texts stand in errors without one. `string_above_max_length` speaks of another field.
    { code = "string_above_max_length", class = "invalid_request" },
    { code = "context_length_exceeded", class = "context_length" },
    { type = "exceed_context_size_error", class = "context_length" },
    { status = 400, text = "maximum context length is", class = "context_length" },
    { status = 400, text = "exceed context limit", class = "context_length" },
    { status = 400, text = "model's maximum context limit", class = "context_length" },
    { status = 400, text = "is longer than the model's context length", class = "context_length" },
    { status = 400, text = "prompt is too long", class = "context_length" },
    { status = 400, text = "input is too long", class = "context_length" },
    { status = 400, text = "input tokens exceed the configured limit", class = "context_length" },
    { status = 400, text = "exceeds the maximum number of tokens allowed", class = "context_length" },
    { status = 400, text = "exceeds the available context size", class = "context_length" },
    { status = 400, text = "maximum input length is", class = "context_length" },
    { status = 500, text = "too large to process", class = "context_length" },

    -- what the provider's policy does not allow
    { code = "content_policy_violation", class = "content_filter" },
    { code = "content_filter", class = "content_filter" },
    { code = "moderation_blocked", class = "content_filter" },
    { code = "invalid_prompt", class = "content_filter" },
    { code = "cyber_policy_violation", class = "content_filter" },
    { text = "violating our usage policy", class = "content_filter" },

    -- what only the account that made it knows
    { code = "invalid_encrypted_content", class = "state_lost" },
    { code = "previous_response_not_found", class = "state_lost" },

    -- the model did not manage what was asked of it (Groq)
    { code = "tool_use_failed", class = "schema_mismatch" },
    { code = "json_validate_failed", class = "schema_mismatch" },

    -- the vendor's own faults, and the rest by type
    { type = "server_error", class = "server_error" },
    { code = "server_error", class = "server_error" },
    { type = "api_error", class = "server_error" },
    { type = "internal_server_error", class = "server_error" },
    { type = "timeout_error", class = "timeout_total" },
    { type = "conflict_error", class = "conflict" },
    { status = 400, type = "invalid_request_error", class = "invalid_request" },
    { status = 400, type = "BadRequestError", class = "invalid_request" },
  },
}
