--- openai_chat.lua - the OpenAI Chat Completions dialect, as OpenAI and the vendors compatible with it speak it.
---
--- The base of them all: a vendor's own file says only what differs. It has no base URL of its own, so it also serves
--- whoever is compatible and has no file here. Data only: the core compiles it once and never runs Lua for a request or an answer. Paths are those of the JSON span
--- scanner (`a.b`, `choices[*].x`); where several mean the same, all are looked at, because vendors differ. Where they
--- come from: the vendors' own SDKs and API descriptions.
return {
  name = "openai_chat",
  dialect = "openai_chat",
  auth = { kind = "bearer" },

  -- the headers in which an answer says what is left before the provider's limits, and until when
  limits = {
    requests_left = "x-ratelimit-remaining-requests",
    requests_reset = "x-ratelimit-reset-requests",
    tokens_left = "x-ratelimit-remaining-tokens",
    tokens_reset = "x-ratelimit-reset-tokens",
  },

  -- appended to the base URL; the names are the surfaces of the gateway, and one of them is the conversation
  converse = "chat",
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
    input_audio = { "usage.prompt_tokens_details.audio_tokens" },
    output_audio = { "usage.completion_tokens_details.audio_tokens" },
    model = { "model" },
    tier = { "service_tier" },
  },

  -- a whole answer
  answer = {
    item = { "choices[*]", "data[*]" },
    content = { "choices[*].message.content", "choices[*].text" },
    reasoning = { "choices[*].message.reasoning_content", "choices[*].message.reasoning" },
    tool_call = { "choices[*].message.tool_calls", "choices[*].message.function_call", "choices[*].message.audio" },
    tool_index = { "choices[*].message.tool_calls[*].index" },
    tool_id = { "choices[*].message.tool_calls[*].id" },
    tool_name = { "choices[*].message.tool_calls[*].function.name", "choices[*].message.function_call.name" },
    tool_arguments = {
      "choices[*].message.tool_calls[*].function.arguments", "choices[*].message.function_call.arguments",
    },
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
    tool_index = { "choices[*].delta.tool_calls[*].index" },
    tool_id = { "choices[*].delta.tool_calls[*].id" },
    tool_name = { "choices[*].delta.tool_calls[*].function.name", "choices[*].delta.function_call.name" },
    tool_arguments = {
      "choices[*].delta.tool_calls[*].function.arguments", "choices[*].delta.function_call.arguments",
    },
    refusal = { "choices[*].delta.refusal" },
    finish = { "choices[*].finish_reason" },
    -- what has no place of its own in the other dialects: the dialect's functions tell what it is
    rare = {
      "choices[*].delta.reasoning_details", "choices[*].delta.annotations", "choices[*].delta.audio",
      "choices[*].delta.function_call", "choices[*].delta.tool_calls[*].custom",
      "choices[*].delta.tool_calls[*].extra_content",
    },
  },

  -- An error, alone or inside a stream whose status was 200. Of several paths the first that says something counts.
  error = {
    -- OpenRouter puts it into the choice, too; Gemini's compatible endpoint puts a list around it
    object = { "error", "x_groq.error", "choices[*].error", "[*].error" },
    type = { "error.type", "error.status", "[*].error.status", "type" },
    code = { "error.code", "choices[*].error.code", "[*].error.code", "code", "detail[*].type" },
    message = {
      "error.message", "x_groq.error.message", "choices[*].error.message", "[*].error.message", "message", "detail",
      "detail[*].msg",
    },
    param = { "error.param", "param", "detail[*].loc[*]" },
    -- OpenRouter: what kind it was upstream; Azure: which policy; Google: reasons and the ids of exhausted quotas
    detail = {
      "error.metadata.error_type", "error.metadata.provider_code", "choices[*].error.metadata.error_type",
      "error.innererror.code",
      "error.details[*].reason", "error.details[*].violations[*].quotaId", "[*].error.details[*].reason",
      "[*].error.details[*].violations[*].quotaId",
    },
    retry_after = { "error.details[*].retryDelay", "[*].error.details[*].retryDelay", "error.metadata.retry_after" },
    retry_texts = { "try again in ", "retry in ", "retry after " },
    -- older vLLM and Mistral: the error's members stand at the top, beside `"object": "error"`
    mark = { "object" },
    events = { "error" },
  },

  done = "[DONE]",

  -- finish reasons that mean the answer broke off (OpenRouter and Mistral; DeepSeek; Cohere)
  finish_failed = { "error", "insufficient_system_resource", "aborted", "abort", "ERROR", "TIMEOUT" },
  -- … that a length limit cut it, tool calls included
  finish_cut = { "length", "model_length", "max_tokens", "MAX_TOKENS" },
  -- … that the provider's policy cut it
  finish_filtered = {
    "content_filter", "content_filtered", "safety", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII",
  },

  -- What an error is, first match wins: status, then the error's own type and code, its text last. What no row matches
  -- is decided by the status alone. An error inside a stream has no status (unless its code is one) and is matched by
  -- the rest. A text never stands alone: errors repeat what people wrote, and a prompt may well say "rate limit".
  rules = {
    -- a field that is too long is not a conversation that is too long
    { code = "string_above_max_length", class = "invalid_request" },
    { detail = "string_too_long", class = "invalid_request" },

    -- OpenRouter says what it was told upstream; it speaks first, because its status is its own
    { detail = "context_length_exceeded", class = "context_length" },
    { detail = "max_tokens_exceeded", class = "context_length" },
    { detail = "token_limit_exceeded", class = "context_length" },
    { detail = "authentication", class = "auth" },
    { detail = "permission_denied", class = "permission" },
    { detail = "payment_required", class = "quota_billing" },
    { detail = "rate_limit_exceeded", class = "rate_limited" },
    { detail = "provider_overloaded", class = "overloaded" },
    { detail = "provider_unavailable", class = "overloaded" },
    { detail = "content_policy_violation", class = "content_filter" },
    { detail = "invalid_prompt", class = "content_filter" },
    { detail = "refusal", class = "content_filter" },
    { detail = "payload_too_large", class = "payload_too_large" },

    -- money and quotas: 429 here does not mean "later"
    { type = "insufficient_quota", class = "quota_billing" },
    { code = "insufficient_quota", class = "quota_billing" },
    { code = "billing_hard_limit_reached", class = "quota_billing" },
    { code = "credit_balance_exhausted", class = "quota_billing" },
    { code = "organization_spend_limit_exceeded", class = "quota_billing" },
    { code = "project_spend_limit_exceeded", class = "quota_billing" },
    { code = "organization_usage_limit_exceeded", class = "quota_billing" },
    { code = "enforced_spend_limit_reached", class = "quota_billing" },
    { type = "billing_error", class = "quota_billing" },
    { status = 402, class = "quota_billing" },
    { status = 429, text = "exceeded your current quota, please check your plan", class = "quota_billing" },
    { status = 429, text = "too many tokens per day", class = "quota_billing" },
    { status = 429, detail = "PerDay", class = "quota_billing" },
    { status = 429, text = "used all available credits", class = "quota_billing" },
    { status = 429, text = "spending limit", class = "quota_billing" },
    { status = 403, text = "used all available credits", class = "quota_billing" },
    { status = 403, text = "spending limit", class = "quota_billing" },
    { status = 400, text = "credit balance is too low", class = "quota_billing" },
    { status = 400, text = "reached your specified api usage limits", class = "quota_billing" },

    -- the request is larger than a limit that waiting does not change
    { status = 429, text = "request too large for", class = "payload_too_large" },
    { status = 413, class = "payload_too_large" },
    { type = "request_too_large", class = "payload_too_large" },

    -- rate and load
    { code = "slow_down", class = "overloaded" },
    { code = "ramp_limit_exceeded", class = "overloaded" },
    { code = "server_is_overloaded", class = "overloaded" },
    { code = "capacity_exceeded", class = "overloaded" },
    { code = "ModelNotReadyException", class = "overloaded" },
    { type = "overloaded_error", class = "overloaded" },
    { type = "service_unavailable_error", class = "overloaded" },
    { type = "unavailable_error", class = "overloaded" },
    { type = "UNAVAILABLE", class = "overloaded" },
    { status = 429, text = "currently experiencing high demand", class = "overloaded" },
    { status = 429, text = "engine is currently overloaded", class = "overloaded" },
    { status = 500, text = "engine is currently overloaded", class = "overloaded" },
    { status = 500, text = "server busy", class = "overloaded" },
    { status = 429, text = "resource exhausted. please try again later", class = "overloaded" },
    { status = 429, text = "resource has been exhausted (e.g. check quota)", class = "overloaded" },
    { code = "insufficient_system_resource", class = "overloaded" },
    { code = "aborted", class = "overloaded" },
    { status = 429, text = "extra usage is required for long context", class = "permission" },
    { code = "rate_limit_exceeded", class = "rate_limited" },
    { type = "rate_limit_error", class = "rate_limited" },
    { type = "rate_limit_exceeded", class = "rate_limited" },
    { type = "RESOURCE_EXHAUSTED", class = "rate_limited" },
    { type = "tokens", class = "rate_limited" },
    { type = "requests", class = "rate_limited" },

    -- the key and what it may do
    { code = "invalid_api_key", class = "auth" },
    { type = "authentication_error", class = "auth" },
    { type = "UNAUTHENTICATED", class = "auth" },
    { code = "ip_not_authorized", class = "auth" },
    { detail = "API_KEY_INVALID", class = "auth" },
    { detail = "CONSUMER_SUSPENDED", class = "auth" },
    { status = 400, text = "api key not valid", class = "auth" },
    { status = 400, text = "incorrect api key provided", class = "auth" },
    { status = 403, text = "incorrect api key provided", class = "auth" },
    { code = "unsupported_country_region_territory", class = "permission" },
    { status = 400, text = "user location is not supported", class = "permission" },
    { type = "permission_error", class = "permission" },
    { type = "PERMISSION_DENIED", class = "permission" },

    -- the model
    { code = "model_not_found", class = "model_not_found" },
    { code = "DeploymentNotFound", class = "model_not_found" },
    { type = "not_found_error", class = "model_not_found" },
    { type = "NOT_FOUND", class = "model_not_found" },
    { type = "NotFoundError", class = "model_not_found" },
    { code = "model_decommissioned", class = "model_not_found" },
    { status = 400, text = "is not a valid model id", class = "model_not_found" },

    -- what the provider's policy does not allow
    { code = "content_policy_violation", class = "content_filter" },
    { code = "content_filter", class = "content_filter" },
    { code = "moderation_blocked", class = "content_filter" },
    { code = "invalid_prompt", class = "content_filter" },
    { code = "cyber_policy_violation", class = "content_filter" },
    { code = "image_content_policy_violation", class = "content_filter" },
    { code = "bio_policy", class = "content_filter" },
    { code = "misalignment_policy_violation", class = "content_filter" },
    { detail = "ResponsibleAIPolicyViolation", class = "content_filter" },
    { status = 400, text = "violating our usage policy", class = "content_filter" },
    { status = 400, text = "output blocked by content filtering policy", class = "content_filter" },
    { status = 403, text = "requires moderation", class = "content_filter" },
    { status = 403, text = "content violates usage guidelines", class = "content_filter" },

    -- what only the account that made it knows
    { code = "invalid_encrypted_content", class = "state_lost" },
    { code = "previous_response_not_found", class = "state_lost" },

    -- too long: codes first, texts for errors without one
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
    { status = 400, text = "`inputs` tokens + `max_new_tokens` must be", class = "context_length" },
    { status = 422, text = "`inputs` tokens + `max_new_tokens` must be", class = "context_length" },
    { status = 422, text = "maximum context length is", class = "context_length" },
    { status = 400, text = "while limit is", class = "context_length" },
    { status = 400, text = "maximum input length is", class = "context_length" },
    { status = 400, text = "maximum prompt length is", class = "context_length" },
    { status = 400, text = "too many total text bytes", class = "context_length" },
    { status = 400, text = "reduce the length of the messages", class = "context_length" },
    { status = 500, text = "too large to process", class = "context_length" },

    -- the model did not manage what was asked of it (Groq)
    { code = "tool_use_failed", class = "schema_mismatch" },
    { code = "json_validate_failed", class = "schema_mismatch" },

    -- the vendor's own faults, and the rest by type
    { status = 503, class = "overloaded" },
    { status = 529, class = "overloaded" },
    { type = "server_error", class = "server_error" },
    { code = "server_error", class = "server_error" },
    { type = "api_error", class = "server_error" },
    { type = "internal_server_error", class = "server_error" },
    { type = "InternalServerError", class = "server_error" },
    { type = "INTERNAL", class = "server_error" },
    { type = "timeout_error", class = "timeout_total" },
    { type = "DEADLINE_EXCEEDED", class = "timeout_total" },
    { type = "conflict_error", class = "conflict" },
    { type = "ABORTED", class = "conflict" },
    { type = "CANCELLED", class = "cancelled" },
    { status = 400, type = "invalid_request_error", class = "invalid_request" },
    { status = 400, type = "BadRequestError", class = "invalid_request" },
    { status = 400, type = "INVALID_ARGUMENT", class = "invalid_request" },
  },

  -- One-shot repairs: the answer names a field it does not take, the request is sent once more without it, and the
  -- target is remembered for an hour, unless `once` says that it depended on this request. A row fits when the error is
  -- about one of `fields` (its `param`, else its message) and has one of `codes` (as code or type) or `texts`.
  -- Nothing is dropped that changes what was asked: sampling, hints and bookkeeping are; `tools`, `n`, `stop`, `seed`,
  -- `logprobs`, `store` and `parallel_tool_calls` are not.
  repairs = {
    {
      name = "rename_max_tokens",
      status = 400,
      fields = { "max_tokens" },
      texts = { "max_completion_tokens" },
      codes = { "unsupported_parameter" },
      rename = "max_completion_tokens",
    },
    {
      name = "rename_max_completion_tokens",
      fields = { "max_completion_tokens" },
      codes = { "unsupported_parameter", "unknown_parameter", "extra_forbidden" },
      texts = {
        "unrecognized request argument", "extra inputs are not permitted", "unknown field", "not supported",
        "unsupported",
      },
      rename = "max_tokens",
    },
    {
      name = "drop_large_limit", -- the provider's own maximum is less than was asked for
      status = 400,
      fields = { "max_tokens", "max_completion_tokens" },
      texts = { "is too large", "supports at most", "in the completion", "exceed context limit" },
      once = true,
    },
    {
      name = "drop_stream_options", -- usage is estimated then
      fields = { "stream_options" },
      codes = { "unsupported_parameter", "unknown_parameter", "extra_forbidden" },
      texts = {
        "unrecognized request argument", "extra inputs are not permitted", "extra fields not permitted",
        "unknown field", "unknown parameter", "not supported", "unsupported", "does not support",
      },
    },
    {
      name = "plain_json", -- what a schema would have enforced, the workflow's `expect` can check
      status = 400,
      fields = { "response_format" },
      texts = {
        "type 'json_schema' is not supported", "'json_schema' is not supported", "json_schema is not supported",
        "response_format type is unavailable", "does not support response_format", "does not support json_schema",
        "unsupported response_format", "must be 'text' or 'json_object'",
      },
      set = { type = "json_object" },
    },
    {
      name = "drop_field",
      fields = {
        "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "logit_bias",
        "reasoning_effort", "verbosity", "metadata", "user", "safety_identifier", "service_tier", "prompt_cache_key",
        "prompt_cache_retention", "prompt_cache_options", "prediction",
      },
      codes = { "unsupported_parameter", "unknown_parameter", "extra_forbidden" },
      texts = {
        "unrecognized request argument", "extra inputs are not permitted", "extra fields not permitted",
        "not supported on this model", "not supported with this model", "does not support parameter", "unknown field",
        "unknown name", "only the default", "is deprecated for this model",
      },
    },
    {
      name = "drop_member", -- what other vendors' answers left in the conversation
      status = 400,
      fields = {
        "messages[*].reasoning_content", "messages[*].reasoning_details", "messages[*].reasoning",
        "messages[*].tool_calls[*].extra_content",
      },
      codes = { "unsupported_parameter", "unknown_parameter", "extra_forbidden" },
      texts = {
        "extra inputs are not permitted", "extra fields not permitted", "unknown field", "unknown name", "not supported",
        "unsupported", "does not support",
      },
    },
    {
      name = "drop_value", -- another value may do
      status = 400,
      fields = {
        "temperature", "top_p", "presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity",
        "service_tier", "prompt_cache_retention", "prompt_cache_options",
      },
      codes = { "unsupported_value" },
      texts = { "not supported", "does not support" },
      once = true,
    },
  },
}
