--- anthropic.lua - the Anthropic Messages dialect, as Anthropic and those who serve its models speak it.
---
--- Data only, as openai_chat.lua explains. Sources: the vendor's own SDK types and API description.
return {
  name = "anthropic",
  dialect = "anthropic",
  base_url = "https://api.anthropic.com/v1",
  auth = { { kind = "header", header = "x-api-key" }, { kind = "bearer" } },

  -- The version before sampling parameters were taken away: who needs the newer one says so, with its own header.
  headers = { ["anthropic-version"] = "2023-06-01" },
  forward = { "anthropic-version", "anthropic-beta", "anthropic-workspace-id", "anthropic-user-profile-id" },

  limits = {
    requests_left = "anthropic-ratelimit-requests-remaining",
    requests_reset = "anthropic-ratelimit-requests-reset",
    tokens_left = "anthropic-ratelimit-tokens-remaining",
    tokens_reset = "anthropic-ratelimit-tokens-reset",
  },

  converse = "messages",
  operations = {
    messages = "/messages",
    count_tokens = "/messages/count_tokens",
    models = "/models",
  },

  -- The input leaves out what the cache had or got. A stream tells the input first and the output last, and the last
  -- figure of each counts: they are cumulative.
  usage = {
    object = { "usage", "message.usage" },
    input = { "usage.input_tokens", "message.usage.input_tokens" },
    output = { "usage.output_tokens", "message.usage.output_tokens" },
    cached_read = { "usage.cache_read_input_tokens", "message.usage.cache_read_input_tokens" },
    cached_write = { "usage.cache_creation_input_tokens", "message.usage.cache_creation_input_tokens" },
    cached_write_long = {
      "usage.cache_creation.ephemeral_1h_input_tokens", "message.usage.cache_creation.ephemeral_1h_input_tokens",
    },
    reasoning = {
      "usage.output_tokens_details.thinking_tokens", "message.usage.output_tokens_details.thinking_tokens",
    },
    model = { "model", "message.model" },
    tier = { "usage.service_tier", "message.usage.service_tier" },
    excludes = { "cached_read", "cached_write" },
    partial = true,
  },

  -- Calls of tools that the provider runs itself look like the others but for their type: nobody has to answer them.
  answer = {
    item = { "content" },
    content = { "content[*].text" },
    reasoning = { "content[*].thinking" },
    data = { "content[*].tool_use_id", "input_tokens" },
    finish = { "stop_reason" },
    blocked = { "stop_details.category" },
    typed = {
      {
        path = "content[*].id",
        tag = "content[*].type",
        by = { tool_use = "tool_call", server_tool_use = "data", mcp_tool_use = "data" },
      },
    },
  },

  chunk = {
    type = { "type" },
    block = { "index" },
    item = { "message", "delta" },
    content = { "delta.text", "content_block.text" },
    reasoning = { "delta.thinking", "content_block.thinking" },
    tool_arguments = { "delta.partial_json" },
    data = { "content_block.tool_use_id" },
    finish = { "delta.stop_reason" },
    blocked = { "delta.stop_details.category" },
    typed = {
      { path = "content_block.name", tag = "content_block.type", by = { tool_use = "tool_name" } },
      {
        path = "content_block.id",
        tag = "content_block.type",
        by = { tool_use = "tool_id", server_tool_use = "data", mcp_tool_use = "data" },
      },
    },
    rare = {
      "delta.signature", "content_block.signature", "content_block.data", "delta.citation", "delta.stop_sequence",
    },
  },

  error = {
    object = { "error" },
    type = { "error.type" },
    code = { "error.details.error_code", "error.code" },
    message = { "error.message", "message" },
    retry_texts = { "try again in ", "retry in ", "retry after " },
    events = { "error" },
  },

  done_events = { "message_stop" },

  finish_cut = { "max_tokens", "model_context_window_exceeded" },
  finish_refused = { "refusal" },

  -- first match wins: see openai_chat.lua
  rules = {
    -- money, in whatever status it comes
    { type = "billing_error", class = "quota_billing" },
    { status = 402, class = "quota_billing" },
    { code = "enforced_spend_limit_reached", class = "quota_billing" },
    { code = "contract_spend_limit_reached", class = "quota_billing" },
    { status = 400, text = "credit balance is too low", class = "quota_billing" },
    { status = 400, text = "reached your specified api usage limits", class = "quota_billing" },
    { code = "organization_on_hold", class = "permission" },

    -- rate and load
    { code = "ramp_limit_exceeded", class = "overloaded" },
    { type = "overloaded_error", class = "overloaded" },
    { code = "compaction_unavailable", class = "overloaded" },
    { code = "cmek_context_unavailable", class = "server_error" },
    { code = "cmek_key_unreachable", class = "server_error" },
    { status = 429, text = "extra usage is required for long context", class = "permission" },
    { type = "rate_limit_error", class = "rate_limited" },

    { type = "request_too_large", class = "payload_too_large" },
    { status = 413, class = "payload_too_large" },
    { type = "authentication_error", class = "auth" },
    { type = "permission_error", class = "permission" },
    { type = "not_found_error", class = "model_not_found" },

    { status = 400, text = "prompt is too long", class = "context_length" },
    { status = 400, text = "exceed context limit", class = "context_length" },
    { status = 400, text = "output blocked by content filtering policy", class = "content_filter" },

    { type = "api_error", class = "server_error" },
    { type = "timeout_error", class = "timeout_total" },
    { type = "conflict_error", class = "conflict" },
    { status = 503, class = "overloaded" },
    { status = 529, class = "overloaded" },
    { status = 400, type = "invalid_request_error", class = "invalid_request" },
  },

  -- what newer models no longer take, and no answer depends on
  repairs = {
    {
      name = "drop_field",
      status = 400,
      fields = { "temperature", "top_p", "top_k" },
      codes = { "extra_forbidden" },
      texts = {
        "extra inputs are not permitted", "is deprecated for this model", "not supported", "does not support",
        "cannot both be specified", "may only be set to 1",
      },
    },
    {
      name = "drop_hint",
      status = 400,
      fields = { "service_tier", "metadata", "speed", "inference_geo" },
      codes = { "extra_forbidden" },
      texts = { "extra inputs are not permitted", "not supported", "does not support" },
    },
  },
}
