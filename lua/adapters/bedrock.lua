--- bedrock.lua - the dialect of Amazon Bedrock (Converse). Streams come in frames, whose names say what an event is.
---
--- Data only, as openai_chat.lua explains. Sources: the vendor's own service description.
return {
  name = "bedrock",
  dialect = "bedrock",
  base_url = "https://bedrock-runtime.{region}.amazonaws.com",
  auth = { { kind = "sigv4", service = "bedrock" }, { kind = "bearer" } },
  vars = { region = "us-east-1" },
  framing = "eventstream",

  converse = "converse",
  operations = {
    converse = { path = "/model/{model}/converse", stream_path = "/model/{model}/converse-stream" },
    count_tokens = "/model/{model}/count-tokens",
  },

  -- the input leaves out what the cache had or got
  usage = {
    object = { "usage" },
    input = { "usage.inputTokens" },
    output = { "usage.outputTokens" },
    total = { "usage.totalTokens" },
    cached_read = { "usage.cacheReadInputTokens" },
    cached_write = { "usage.cacheWriteInputTokens" },
    tier = { "serviceTier.type" },
    excludes = { "cached_read", "cached_write" },
  },

  answer = {
    item = { "output" },
    content = { "output.message.content[*].text" },
    reasoning = { "output.message.content[*].reasoningContent.reasoningText.text" },
    tool_call = { "output.message.content[*].toolUse" },
    data = { "output.message.content[*].image", "output.message.content[*].citationsContent", "inputTokens" },
    finish = { "stopReason" },
    typed = {
      { path = "usage.cacheDetails[*].inputTokens", tag = "usage.cacheDetails[*].ttl", by = { ["1h"] = "cached_write_long" } },
    },
  },

  -- Blocks of text and reasoning begin with their first piece, only those of tools say so.
  chunk = {
    block = { "contentBlockIndex" },
    item = { "delta", "start" },
    content = { "delta.text" },
    reasoning = { "delta.reasoningContent.text" },
    tool_id = { "start.toolUse.toolUseId" },
    tool_name = { "start.toolUse.name" },
    tool_arguments = { "delta.toolUse.input" },
    data = { "delta.image" },
    finish = { "stopReason" },
    rare = { "delta.reasoningContent.signature", "delta.reasoningContent.redactedContent", "delta.citation" },
    typed = {
      { path = "usage.cacheDetails[*].inputTokens", tag = "usage.cacheDetails[*].ttl", by = { ["1h"] = "cached_write_long" } },
    },
  },

  error = {
    message = { "message", "Message" },
    type_header = "x-amzn-errortype",
    events = {
      "internalServerException", "modelStreamErrorException", "validationException", "throttlingException",
      "serviceUnavailableException",
    },
  },

  done_events = { "metadata" }, -- behind the one that says why it ended

  finish_cut = { "max_tokens", "model_context_window_exceeded" },
  finish_filtered = { "guardrail_intervened", "content_filtered" },
  finish_failed = { "malformed_model_output", "malformed_tool_use" },

  -- first match wins: see openai_chat.lua
  rules = {
    { code = "malformed_model_output", class = "invalid_json" },
    { code = "malformed_tool_use", class = "invalid_json" },

    { type = "ThrottlingException", text = "too many tokens per day", class = "quota_billing" },
    { type = "throttlingException", text = "too many tokens per day", class = "quota_billing" },
    { type = "ThrottlingException", class = "rate_limited" },
    { type = "throttlingException", class = "rate_limited" },
    { type = "ServiceQuotaExceededException", class = "quota_billing" },
    { type = "ModelNotReadyException", class = "overloaded" },
    { type = "ServiceUnavailableException", class = "overloaded" },
    { type = "serviceUnavailableException", class = "overloaded" },

    { type = "UnrecognizedClientException", class = "auth" },
    { type = "ExpiredTokenException", class = "auth" },
    { type = "InvalidSignatureException", class = "auth" },
    { type = "AccessDeniedException", class = "permission" },
    { type = "ResourceNotFoundException", class = "model_not_found" },
    { type = "ValidationException", text = "on-demand throughput", class = "model_not_found" },

    { type = "ValidationException", text = "input is too long", class = "context_length" },
    { type = "ValidationException", text = "prompt is too long", class = "context_length" },
    { type = "validationException", text = "input is too long", class = "context_length" },
    { type = "validationException", text = "prompt is too long", class = "context_length" },
    { type = "ValidationException", class = "invalid_request" },
    { type = "validationException", class = "invalid_request" },

    { type = "ModelTimeoutException", class = "timeout_total" },
    { type = "ModelErrorException", class = "server_error" },
    { type = "ModelStreamErrorException", class = "server_error" },
    { type = "modelStreamErrorException", class = "server_error" },
    { type = "ConflictException", class = "conflict" },
    { type = "InternalServerException", class = "server_error" },
    { type = "internalServerException", class = "server_error" },
    { status = 424, class = "server_error" },
  },
}
