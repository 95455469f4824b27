--- gemini.lua - the Gemini dialect (generateContent), as the Developer API speaks it.
---
--- Data only, as openai_chat.lua explains. Sources: the vendor's own SDK types.

-- What a word beside it tells of a value, in whole answers and in chunks.
local TYPED = {
  {
    path = "candidates[*].content.parts[*].text",
    tag = "candidates[*].content.parts[*].thought",
    by = { ["true"] = "reasoning" },
    otherwise = "content",
  },
  {
    path = "usageMetadata.promptTokensDetails[*].tokenCount",
    tag = "usageMetadata.promptTokensDetails[*].modality",
    by = { AUDIO = "input_audio" },
  },
  {
    path = "usageMetadata.candidatesTokensDetails[*].tokenCount",
    tag = "usageMetadata.candidatesTokensDetails[*].modality",
    by = { AUDIO = "output_audio" },
  },
}

return {
  name = "gemini",
  dialect = "gemini",
  base_url = "https://generativelanguage.googleapis.com/v1beta",
  auth = {
    { kind = "header", header = "x-goog-api-key" },
    { kind = "query", query = "key" },
    { kind = "gcp", scope = "https://www.googleapis.com/auth/cloud-platform" },
  },
  forward = { "x-goog-user-project" },

  converse = "generate",
  operations = {
    generate = {
      path = "/models/{model}:generateContent",
      stream_path = "/models/{model}:streamGenerateContent?alt=sse", -- without it the answer is one long list
    },
    count_tokens = "/models/{model}:countTokens",
    embed = "/models/{model}:embedContent",
    batch_embed = "/models/{model}:batchEmbedContents",
    models = "/models",
  },

  -- Every chunk has all the figures so far. The output leaves the thoughts out; what tools added to the input stands
  -- beside it.
  usage = {
    object = { "usageMetadata" },
    input = { "usageMetadata.promptTokenCount" },
    input_more = { "usageMetadata.toolUsePromptTokenCount" },
    output = { "usageMetadata.candidatesTokenCount" },
    total = { "usageMetadata.totalTokenCount" },
    cached_read = { "usageMetadata.cachedContentTokenCount" },
    reasoning = { "usageMetadata.thoughtsTokenCount" },
    model = { "modelVersion" },
    tier = { "usageMetadata.serviceTier" },
    excludes = { "reasoning" },
  },

  answer = {
    item = { "candidates[*]", "promptFeedback" },
    tool_call = { "candidates[*].content.parts[*].functionCall" },
    data = {
      "candidates[*].content.parts[*].inlineData", "candidates[*].content.parts[*].fileData",
      "candidates[*].content.parts[*].executableCode", "candidates[*].content.parts[*].codeExecutionResult",
      "candidates[*].content.parts[*].toolCall", "embedding.values", "embeddings[*].values", "totalTokens",
    },
    finish = { "candidates[*].finishReason" },
    blocked = { "promptFeedback.blockReason" },
    typed = TYPED,
  },

  -- Chunks are answers of their own, each with the parts that are new. Calls come whole and without numbers.
  chunk = {
    item = { "candidates[*]", "promptFeedback" },
    index = { "candidates[*].index" },
    tool_call = { "candidates[*].content.parts[*].functionCall" },
    tool_id = { "candidates[*].content.parts[*].functionCall.id" },
    tool_name = { "candidates[*].content.parts[*].functionCall.name" },
    tool_arguments = { "candidates[*].content.parts[*].functionCall.args" },
    data = {
      "candidates[*].content.parts[*].inlineData", "candidates[*].content.parts[*].fileData",
      "candidates[*].content.parts[*].executableCode", "candidates[*].content.parts[*].codeExecutionResult",
      "candidates[*].content.parts[*].toolCall",
    },
    finish = { "candidates[*].finishReason" },
    blocked = { "promptFeedback.blockReason" },
    typed = TYPED,
    rare = {
      "candidates[*].content.parts[*].thoughtSignature", "candidates[*].content.parts[*].functionCall",
      "candidates[*].content.parts[*].inlineData", "candidates[*].content.parts[*].executableCode",
      "candidates[*].content.parts[*].codeExecutionResult", "candidates[*].citationMetadata",
      "candidates[*].groundingMetadata",
    },
  },

  error = {
    object = { "error", "[*].error" }, -- where a list was asked for, an error is one too
    type = { "error.status", "[*].error.status" },
    code = { "error.code", "[*].error.code" },
    message = { "error.message", "[*].error.message" },
    detail = {
      "error.details[*].reason", "error.details[*].violations[*].quotaId", "[*].error.details[*].reason",
      "[*].error.details[*].violations[*].quotaId",
    },
    retry_after = { "error.details[*].retryDelay", "[*].error.details[*].retryDelay" },
    retry_texts = { "try again in ", "retry in ", "retry after " },
    events = { "error" },
  },

  -- A reason that is in no list here is one that nobody knows yet, and no success.
  finish_done = { "STOP", "FINISH_REASON_UNSPECIFIED", "LANGUAGE", "OTHER", "NO_IMAGE", "IMAGE_OTHER" },
  finish_cut = { "MAX_TOKENS", "CONTINUATION" },
  finish_filtered = {
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
  },
  finish_failed = {
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
  },

  -- first match wins: see openai_chat.lua
  rules = {
    -- ends of an answer that are none
    { code = "MALFORMED_FUNCTION_CALL", class = "empty_response" },
    { code = "UNEXPECTED_TOOL_CALL", class = "empty_response" },
    { code = "TOO_MANY_TOOL_CALLS", class = "empty_response" },
    { code = "MALFORMED_RESPONSE", class = "empty_response" },
    { code = "MISSING_THOUGHT_SIGNATURE", class = "invalid_request" },

    { status = 402, class = "quota_billing" },
    { status = 429, detail = "PerDay", class = "quota_billing" },
    { status = 429, text = "resource exhausted. please try again later", class = "overloaded" },
    { status = 429, text = "resource has been exhausted (e.g. check quota)", class = "overloaded" },
    { type = "RESOURCE_EXHAUSTED", class = "rate_limited" },
    { type = "UNAVAILABLE", class = "overloaded" },
    { status = 503, class = "overloaded" },

    { detail = "API_KEY_INVALID", class = "auth" },
    { detail = "CONSUMER_SUSPENDED", class = "auth" },
    { status = 400, text = "api key not valid", class = "auth" },
    { type = "UNAUTHENTICATED", class = "auth" },
    { status = 400, text = "user location is not supported", class = "permission" },
    { type = "PERMISSION_DENIED", class = "permission" },
    { type = "NOT_FOUND", class = "model_not_found" },

    { status = 413, class = "payload_too_large" },
    { status = 400, text = "exceeds the maximum number of tokens allowed", class = "context_length" },

    { type = "ABORTED", class = "conflict" },
    { type = "ALREADY_EXISTS", class = "conflict" },
    { type = "CANCELLED", class = "cancelled" },
    { type = "DEADLINE_EXCEEDED", class = "timeout_total" },
    { type = "UNIMPLEMENTED", class = "invalid_request" },
    { type = "FAILED_PRECONDITION", class = "invalid_request" },
    { type = "OUT_OF_RANGE", class = "invalid_request" },
    { type = "INVALID_ARGUMENT", class = "invalid_request" },
    { type = "INTERNAL", class = "server_error" },
    { type = "UNKNOWN", class = "server_error" },
    { type = "DATA_LOSS", class = "server_error" },
  },
}
