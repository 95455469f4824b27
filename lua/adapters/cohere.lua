--- cohere.lua - the dialect of Cohere (version 2 of its Chat API).
---
--- Data only, as openai_chat.lua explains. Sources: the vendor's own SDK types and list of errors. What the vendor offers in
--- OpenAI's dialect is another adapter's: cohere_openai.lua.
return {
  name = "cohere",
  dialect = "cohere",
  base_url = "https://api.cohere.com/v2",
  auth = { kind = "bearer" },

  converse = "chat",
  operations = { chat = "/chat", embed = "/embed", rerank = "/rerank" },

  -- what is billed leaves out what the vendor itself adds to a prompt, so it is not what the model read
  usage = {
    object = { "usage", "delta.usage" },
    input = { "usage.tokens.input_tokens", "delta.usage.tokens.input_tokens" },
    output = { "usage.tokens.output_tokens", "delta.usage.tokens.output_tokens" },
    searches = { "meta.billed_units.search_units" },
    cached_read = { "usage.cached_tokens", "delta.usage.cached_tokens" },
  },

  answer = {
    item = { "message.role", "results[*]", "embeddings" }, -- an error is a `message`, too
    content = { "message.content[*].text" },
    reasoning = { "message.content[*].thinking", "message.tool_plan" },
    tool_call = { "message.tool_calls" },
    tool_arguments = { "message.tool_calls[*].function.arguments" },
    data = { "results", "embeddings.float" },
    finish = { "finish_reason" },
  },

  chunk = {
    type = { "type" },
    block = { "index" },
    item = { "delta" },
    content = { "delta.message.content.text" },
    reasoning = { "delta.message.content.thinking", "delta.message.tool_plan" },
    tool_id = { "delta.message.tool_calls.id" },
    tool_name = { "delta.message.tool_calls.function.name" },
    tool_arguments = { "delta.message.tool_calls.function.arguments" },
    finish = { "delta.finish_reason" },
    rare = { "delta.message.citations" },
  },

  error = {
    object = { "error", "delta.error" },
    message = { "message" },
    retry_texts = { "try again in ", "retry in ", "retry after " },
  },

  done_events = { "message-end" },

  finish_cut = { "MAX_TOKENS" },
  finish_failed = { "ERROR", "TIMEOUT" },

  -- first match wins: see openai_chat.lua
  rules = {
    { code = "ERROR", class = "server_error" },
    { code = "TIMEOUT", class = "server_error" },
    { status = 400, text = "max tokens must be less", class = "invalid_request" },
    { status = 400, text = "too many tokens", class = "context_length" },
    { status = 429, text = "calls / month", class = "quota_billing" }, -- of a trial key
    { status = 498, class = "auth" }, -- a token that is none
  },

  -- see openai_chat.lua
  repairs = {
    { name = "one_penalty", status = 400, fields = { "presence_penalty" }, texts = { "can be specified", "cannot specify both" } },
  },
}
