--- anthropic_answer.lua - a whole answer of Anthropic's Messages, as the reference describes it.
local check = require "validators.check"
local fail, object, one_of, optional = check.fail, check.object, check.one_of, check.optional

local BLOCKS = check.by_type {
  text = function(block, at)
    object(block, { type = "string", text = "string", citations = "list|null?" }, at)
  end,
  thinking = function(block, at)
    object(block, { type = "string", thinking = "string", signature = "string" }, at)
  end,
  redacted_thinking = function(block, at)
    object(block, { type = "string", data = "string" }, at)
  end,
  tool_use = function(block, at)
    object(block, { type = "string", id = "string", name = "string", input = "object" }, at)
    if not block.id:find "^[%w_-]+$" then
      fail(at, "the id has characters that are refused when it comes back")
    end
  end,
}

local function usage(value, at)
  object(value, {
    input_tokens = "integer", output_tokens = "integer", cache_creation_input_tokens = "integer|null?",
    cache_read_input_tokens = "integer|null?", service_tier = "string|null?",
    output_tokens_details = optional(function(details, inner)
      object(details, { thinking_tokens = "integer" }, inner)
    end),
  }, at)
end

--- Raises what breaks the format.
return function(body)
  object(body, {
    id = "string", type = one_of "message", role = one_of "assistant", model = "string", usage = usage,
    content = function(content, at)
      check.each(content, at, BLOCKS)
    end,
    stop_reason = one_of "end_turn max_tokens stop_sequence tool_use pause_turn refusal model_context_window_exceeded",
    stop_sequence = "string|null", stop_details = "object|null?",
  }, "answer")
  if not body.id:find "^msg_" then
    fail("answer.id", "does not begin with msg_")
  end
end
