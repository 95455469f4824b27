--- fields.lua - the fields of a Converse request.
local dialect = require "moongate.dialect"

return dialect.fields("bedrock", "Bedrock Converse", {
  { "messages", doc = "turns; results of tools are parts of the user's" },
  { "system", doc = "turns of the system before the first other one" },
  { "toolConfig", doc = "tools and whether they must be called; nothing says that they must not be" },
  { "outputConfig", doc = "the schema of the answer, as a text, and how much a model that weighs by itself may think" },
  { "inferenceConfig.maxTokens", param = "max_tokens", type = "integer" },
  { "inferenceConfig.temperature", param = "temperature", type = "number", max = 1 },
  { "inferenceConfig.topP", param = "top_p", type = "number", max = 1 },
  { "inferenceConfig.stopSequences", param = "stop", type = "list" },
  { "additionalModelRequestFields", native = true, doc = "reasoning and `top_k` of Anthropic's models" },
  { false, param = "top_k", doc = "only Anthropic's models" },
  { "serviceTier.type", param = "service_tier", type = "string", closed = true,
    write = { default = "default", flex = "flex", priority = "priority" } },
  { "additionalModelResponseFieldPaths", native = true },
  { "guardrailConfig", native = true },
  { "performanceConfig", native = true },
  { "promptVariables", native = true },
  { "requestMetadata", native = true },
  { false, param = "store", keeps = false, doc = "nothing is kept to be fetched later" },
})
