--- cohere.lua - version 2 of Cohere's Chat API.
---
--- It is a provider's only, as bedrock.lua is. Messages are like OpenAI's, and what stands beside them is not: documents to
--- cite from, a schema without a name, thoughts as blocks, plans of calls as `tool_plan`, and no state that would have to
--- come back.
local answer = require "dialects.cohere.answer"

return {
  name = "cohere",
  label = "Cohere Chat",
  raw = { request = {}, answer = {}, event = {} },
  fields = require "dialects.cohere.fields",
  write_request = require "dialects.cohere.write",
  read_answer = answer.read,
  finish_reasons = answer.finish_reasons,
  read_event = answer.read_event,
}
