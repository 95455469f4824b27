--- openai_chat.lua - OpenAI Chat Completions, as OpenAI and the vendors compatible with it speak it.
---
--- What other vendors need to get back unchanged travels in members that these clients echo:
---
---   message.reasoning_content     reasoning as text
---   message.reasoning_details[]   { type = "reasoning.text", text, signature, format } and
---                                 { type = "reasoning.encrypted", data, format }; the format is a dialect
---   tool_calls[].extra_content    .google.thought_signature: what Gemini signed a call with
local answer = require "dialects.openai_chat.answer"
local fields = require "dialects.openai_chat.fields"
local read = require "dialects.openai_chat.read"
local stream = require "dialects.openai_chat.stream"
local write = require "dialects.openai_chat.write"

return {
  name = "openai_chat",
  label = "OpenAI Chat Completions",
  raw = {
    request = {
      "tools[*].function.parameters", "tools[*].custom.format", "functions[*].parameters",
      "response_format.json_schema.schema", "logit_bias", "metadata",
    },
    answer = { "choices[*].message.reasoning_details[*]", "data[*].embedding" },
    event = { "choices[*].delta.reasoning_details[*]" },
  },
  request = { messages = "messages", content = "content", texts = { "text" } },
  headers = { "openai-", "x-stainless-" },
  references = { "messages[*].content[*].file.file_id" }, -- what only the account has that made it
  fields = fields,
  read_request = read.request,
  write_request = write,
  read_answer = answer.read,
  write_answer = answer.write,
  tasks = require "dialects.openai_chat.tasks",
  finish_reasons = answer.finish_reasons,
  read_event = answer.read_event,
  stream = stream.writer,
  error = stream.error,
}
