--- fields.lua - the fields of a request of Cohere's Chat API.
local dialect = require "moongate.dialect"

return dialect.fields("cohere", "Cohere Chat", {
  { "model", doc = "the target's" },
  { "messages", doc = "turns; results of tools are messages of their own" },
  { "stream", quiet = true },
  { "documents", native = true, doc = "documents that are text, unless there are tools or a schema, beside which they stay in the turn" },
  { "tools", doc = "functions; a free-form tool has one string" },
  { "strict_tools", doc = "when every tool is strict" },
  { "tool_choice", doc = "`REQUIRED`, `NONE`, or nothing; one that must be called, or some that may be, are all that is offered" },
  { "response_format", doc = "a schema without a name; refused beside tools" },
  { "thinking", doc = "`disabled`, or how many tokens it may take" },
  { "max_tokens", param = "max_tokens", type = "integer" },
  { "temperature", param = "temperature", type = "number", max = 1 },
  { "p", param = "top_p", type = "number", min = 0.01, max = 0.99 },
  { "k", param = "top_k", type = "integer", max = 500 },
  { "stop_sequences", param = "stop", type = "list", most = 5 },
  { "seed", param = "seed", type = "integer" },
  { "frequency_penalty", param = "frequency_penalty", type = "number", min = 0, max = 1 },
  { "presence_penalty", param = "presence_penalty", type = "number", min = 0, max = 1 },
  { "logprobs", param = "logprobs", type = "boolean" },
  { "citation_options", native = true },
  { "safety_mode", native = true },
  { "priority", native = true },
  { false, param = "store", keeps = false, doc = "nothing is kept to be fetched later" },
})
