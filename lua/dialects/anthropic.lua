--- anthropic.lua - Anthropic Messages.
---
--- Blocks of an answer follow one another, each open alone; input that is cached is counted beside `input_tokens`; a
--- tool's input is an object; reasoning is signed and comes back unchanged or not at all. What other vendors need to
--- get back travels where these clients echo it: the `signature` of a thinking block and the `data` of a redacted one,
--- packed by dialect.pack().
local answer = require "dialects.anthropic.answer"
local fields = require "dialects.anthropic.fields"
local read = require "dialects.anthropic.read"
local stream = require "dialects.anthropic.stream"
local write = require "dialects.anthropic.write"

return {
  name = "anthropic",
  label = "Anthropic Messages",
  raw = {
    request = {
      "tools[*].input_schema", "messages[*].content[*].input", "messages[*].content[*].citations",
      "output_config.format.schema", "output_format.schema",
    },
    answer = { "content[*].input" },
    event = {},
  },
  request = { messages = "messages", system = "system", content = "content", texts = { "text" } },
  headers = { "anthropic-", "x-stainless-" },
  references = { "container", "messages[*].content[*].source.file_id" }, -- what only the account has that made it
  fields = fields,
  read_request = read.request,
  write_request = write,
  read_answer = answer.read,
  write_answer = answer.write,
  tasks = require "dialects.anthropic.tasks",
  finish_reasons = answer.finish_reasons,
  read_event = answer.read_event,
  stream = stream.writer,
  error = stream.error,
}
