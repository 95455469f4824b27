--- anthropic_stream.lua - the events of a Messages stream, as the reference describes them: message_start, blocks one after
--- the other with running indexes, message_delta, message_stop.
local check = require "validators.check"
local json = require "moongate.json"
local sse = require "validators.sse"
local fail, object, one_of, optional = check.fail, check.object, check.one_of, check.optional

local USAGE = {
  input_tokens = "integer", output_tokens = "integer", cache_creation_input_tokens = "integer|null?",
  cache_read_input_tokens = "integer|null?", output_tokens_details = optional(function(value, at)
    object(value, { thinking_tokens = "integer" }, at)
  end),
}
local function usage(value, at)
  object(value, USAGE, at)
  for name, count in pairs(value) do
    if type(count) == "number" and count < 0 then
      fail(at, "%s is negative", name)
    end
  end
end

local REASONS = "end_turn max_tokens stop_sequence tool_use pause_turn refusal model_context_window_exceeded"

local BLOCKS = check.by_type {
  text = function(block, at)
    object(block, { type = "string", text = one_of "" }, at)
  end,
  thinking = function(block, at)
    object(block, { type = "string", thinking = one_of "", signature = one_of "" }, at)
  end,
  redacted_thinking = function(block, at)
    object(block, { type = "string", data = "string" }, at)
  end,
  tool_use = function(block, at)
    object(block, { type = "string", id = "string", name = "string", input = "object" }, at)
    if next(block.input) then
      fail(at, "input must begin empty")
    elseif not block.id:find "^[%w_-]+$" then
      fail(at, "the id has characters that are refused when it comes back")
    end
  end,
}

local DELTAS = {
  text_delta = { block = "text", member = "text" },
  thinking_delta = { block = "thinking", member = "thinking" },
  input_json_delta = { block = "tool_use", member = "partial_json" },
  signature_delta = { block = "thinking", member = "signature" },
}

local handlers = {}

function handlers.message_start(state, data)
  object(data, { type = "string", message = "object" }, "message_start")
  object(data.message, { id = "string", type = one_of "message", role = one_of "assistant", model = "string", content = "list",
                         stop_reason = "null", stop_sequence = "null", stop_details = "null?", usage = usage }, "message")
  if state.started then
    fail("message_start", "comes twice")
  elseif not data.message.id:find "^msg_" then
    fail("message.id", "does not begin with msg_")
  end
  state.started, state.message = true, data.message
end

function handlers.content_block_start(state, data)
  object(data, { type = "string", index = "integer", content_block = BLOCKS }, "content_block_start")
  if state.open then
    fail("content_block_start", "while block %d is open", state.index)
  elseif data.index ~= state.index then
    fail("content_block_start", "has index %d, must be %d", data.index, state.index)
  end
  state.open, state.text = data.content_block, ""
  state.content[#state.content + 1] = data.content_block
end

function handlers.content_block_delta(state, data)
  object(data, { type = "string", index = "integer", delta = "object" }, "content_block_delta")
  local rule = DELTAS[data.delta.type] or fail("delta", "has the unknown type '%s'", tostring(data.delta.type))
  if not state.open or data.index ~= state.index then
    fail("content_block_delta", "for block %d, which is not open", data.index)
  elseif state.open.type ~= rule.block then
    fail("content_block_delta", "%s in a block of type %s", data.delta.type, state.open.type)
  elseif state.signed then
    fail("content_block_delta", "after the signature")
  end
  object(data.delta, { type = "string", [rule.member] = "string" }, "delta")
  state.signed = data.delta.type == "signature_delta" or nil
  if state.signed then
    state.open.signature = data.delta.signature
  else
    state.text = state.text .. data.delta[rule.member]
  end
end

function handlers.content_block_stop(state, data)
  object(data, { type = "string", index = "integer" }, "content_block_stop")
  if not state.open or data.index ~= state.index then
    fail("content_block_stop", "for block %d, which is not open", data.index)
  end
  local block = state.open
  if block.type == "tool_use" then
    block.input = json.decode(state.text)
    check.is(block.input, "object", "the input of a call")
  elseif block.type == "text" then
    block.text = state.text
    if state.text == "" then
      fail("content_block_stop", "of an empty text block, which is refused when it comes back")
    end
  elseif block.type == "thinking" then
    block.thinking = state.text
    if block.signature == "" then
      fail("content_block_stop", "of a thinking block without a signature")
    end
  end
  state.open, state.signed, state.index = nil, nil, state.index + 1
end

function handlers.message_delta(state, data)
  object(data, { type = "string", usage = usage, delta = function(delta, at)
    object(delta, { stop_reason = one_of(REASONS), stop_sequence = "string|null", stop_details = "object|null?" }, at)
  end }, "message_delta")
  if state.open then
    fail("message_delta", "while block %d is open", state.index)
  elseif state.ended then
    fail("message_delta", "comes twice")
  end
  state.ended = true
  local called = false
  for _, block in ipairs(state.content) do
    called = called or block.type == "tool_use"
  end
  if (data.delta.stop_reason == "tool_use") ~= called and data.delta.stop_reason ~= "max_tokens" and data.delta.stop_reason ~= "refusal" then
    fail("message_delta", "stop_reason %s, with%s a call", data.delta.stop_reason, called and "" or "out")
  end
  state.message.stop_reason, state.message.usage = data.delta.stop_reason, data.usage
end

function handlers.message_stop(state, data)
  object(data, { type = "string" }, "message_stop")
  if not state.ended then
    fail("message_stop", "before message_delta")
  end
  state.over = true
end

function handlers.ping(_, data)
  object(data, { type = "string" }, "ping")
end

--- Raises what breaks the format; gives the message as an SDK would put it together.
return function(text)
  local state = { index = 0, content = {} }
  for _, event in ipairs(sse(text)) do
    local data = json.decode(event.data) or fail("data", "is no JSON: %s", event.data)
    if event.name ~= data.type then
      fail("event", "is named '%s' and has type '%s'", tostring(event.name), tostring(data.type))
    elseif state.over then
      fail("event", "%s after message_stop", event.name)
    elseif not state.started and event.name ~= "message_start" then
      fail("event", "%s before message_start", event.name)
    elseif state.ended and event.name ~= "message_stop" then
      fail("event", "%s after message_delta", event.name)
    end
    local handler = handlers[event.name] or fail("event", "is unknown: %s", event.name)
    handler(state, data)
  end
  if not state.over then
    fail("stream", "ends without message_stop")
  end
  state.message.content = json.array(state.content)
  return state.message
end
