--- fields.lua - the fields of a Messages request.
local dialect = require "moongate.dialect"

local ONLY_HERE = "is a feature of Anthropic's own that cannot be translated"

return dialect.fields("anthropic", "Anthropic Messages", {
  { "model", quiet = true, doc = "the target's model" },
  { "messages", doc = "turns; results of tools are parts of the user's" },
  { "system", doc = "turns of the system, one per block" },
  { "tools", doc = "tools with an `input_schema`, in order" },
  { "tool_choice", doc = "`auto`, `any`, `tool`, `none`, and whether tools may be called side by side" },
  { "thinking", native = true, doc = "reasoning: a budget, adaptive or none, and whether it is visible" },
  { "output_config", native = true, doc = "`effort` of reasoning, `format` of the answer" },
  { "output_format", doc = "the older name of `output_config.format`" },
  { "stream", quiet = true, doc = "whether the answer is a stream" },
  { "max_tokens", param = "max_tokens", type = "integer" },
  { "temperature", param = "temperature", type = "number", max = 1 },
  { "top_p", param = "top_p", type = "number", max = 1 },
  { "top_k", param = "top_k", type = "integer", native = true },
  { "stop_sequences", param = "stop", type = "list" },
  { "metadata.user_id", param = "user", type = "string" },
  { "service_tier", param = "service_tier", type = "string", unless = "auto", closed = true,
    read = { standard_only = "default" }, write = { default = "standard_only", auto = "auto" } },
  { "speed", drop = true, unless = "standard", native = true },
  { "cache_control", quiet = true, native = true, doc = "other vendors cache by themselves" },
  { "diagnostics", drop = true, native = true },
  { "inference_geo", param = "region", type = "string", native = true },
  { "container", refuse = ONLY_HERE, native = true },
  { "context_management", refuse = ONLY_HERE, native = true },
  { "compaction", refuse = ONLY_HERE, native = true },
  { "mcp_servers", refuse = ONLY_HERE, native = true },
  { "fallbacks", refuse = ONLY_HERE, native = true },
  { "fallback_credit_token", refuse = ONLY_HERE, native = true },
  -- The SDK's tool runner asks for one and goes by the code: it sends the whole conversation instead.
  { "thread", refuse = "is a conversation that Anthropic keeps. Send all its messages without it", always = true,
    code = "thread_unsupported_request", native = true },
  { "billing_policy", refuse = ONLY_HERE, native = true },
  { "anthropic_version", quiet = true, doc = "in the body at other hosts" },
  { "anthropic_beta", quiet = true, doc = "in the body at other hosts" },
  { false, param = "store", keeps = false, doc = "nothing is kept to be fetched later" },
})
