--- openai_responses.lua - the OpenAI Responses dialect: a flat list of items in, a flat list of items out.
---
--- What a turn of the conversation is, items only imply: messages of the model, its reasoning and its calls follow one
--- another until something of the user's comes. Opaque reasoning has one place here, `reasoning.encrypted_content`;
--- what another vendor signed travels in it packed, and comes back with the items that the client replays.
local answer = require "dialects.openai_responses.answer"
local fields = require "dialects.openai_responses.fields"
local read = require "dialects.openai_responses.read"
local stream = require "dialects.openai_responses.stream"
local write = require "dialects.openai_responses.write"

return {
  name = "openai_responses",
  label = "OpenAI Responses",
  raw = {
    request = { "tools[*].parameters", "tools[*].format", "text.format.schema", "metadata" },
    answer = {},
    event = {},
  },
  request = { messages = "input", system = "instructions", content = "content", texts = { "input_text", "output_text", "text" } },
  headers = { "openai-", "x-stainless-" },
  references = { "prompt.id", "input[*].content[*].file_id" }, -- what only the account has that made it
  fields = fields,
  read_request = read.request,
  write_request = write,
  read_answer = answer.read,
  write_answer = answer.write,
  tasks = require "dialects.openai_responses.tasks",
  finish_reasons = answer.finish_reasons,
  read_event = answer.read_event,
  stream = stream.writer,
  error = stream.error,
}
