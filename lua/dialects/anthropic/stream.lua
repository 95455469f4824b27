--- stream.lua - answers in Anthropic Messages, as a stream for its clients.
local dialect = require "moongate.dialect"
local answer = require "dialects.anthropic.answer"

local quoted, TEXT = dialect.quoted, dialect.TEXT
local FINISH_OUT, write_usage = answer.finish_out, answer.write_usage

local function event(name, data)
  return "event: " .. name .. '\ndata: {"type":"' .. name .. '",' .. data .. "}\n\n"
end

local function start(s)
  s.index, s.called, s.refused = 0, false, false
  return event("message_start", '"message":{"id":' .. quoted("msg_" .. s.id) .. ',"type":"message","role":"assistant"'
    .. ',"model":' .. quoted(s.model) .. ',"content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null'
    .. ',"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}')
end

local function start_block(s, block)
  return event("content_block_start", '"index":' .. s.index .. ',"content_block":' .. block)
end

local function stop_block(s)
  local text = event("content_block_stop", '"index":' .. s.index)
  s.index = s.index + 1
  return text
end

local function whole_block(s, block)
  return start_block(s, block) .. stop_block(s)
end

local function delta_frame(s, kind, member)
  local head = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":' .. s.index
    .. ',"delta":{"type":"' .. kind .. '","' .. member .. '":'
  return { head, TEXT, "}}\n\n" }
end

local function redacted_block(data)
  return '{"type":"redacted_thinking","data":' .. quoted(data) .. "}"
end

--- What the provider signed the call with stands in a block of its own before it.
local function open_tool(s, block)
  local id, before = dialect.id(block.id or "call_" .. s.id .. "_" .. block.tool), ""
  if block.signature then
    before = whole_block(s, redacted_block(dialect.pack(s.provider or "gemini", block.signature, id)))
  end
  s.called = true
  return before .. start_block(s, '{"type":"tool_use","id":' .. quoted(id) .. ',"name":'
    .. quoted(dialect.tool_name(s.memo, block.name)) .. ',"input":{}}')
end

local function open(s, block)
  s.open, s.signature = block.kind, nil
  if block.kind == "reasoning" then
    local text = start_block(s, '{"type":"thinking","thinking":"","signature":""}')
    return text, delta_frame(s, "thinking_delta", "thinking")
  elseif block.kind == "tool" then
    return open_tool(s, block), delta_frame(s, "input_json_delta", "partial_json")
  end
  s.refused = s.refused or block.kind == "refusal"
  return start_block(s, '{"type":"text","text":""}'), delta_frame(s, "text_delta", "text")
end

local function signature_delta(s, signature)
  return event("content_block_delta", '"index":' .. s.index .. ',"delta":{"type":"signature_delta","signature":'
    .. quoted(signature) .. "}")
end

local function close(s)
  local text = ""
  if s.open == "reasoning" then
    text = signature_delta(s, s.signature or dialect.UNSIGNED)
  end
  s.open = nil
  text = text .. stop_block(s)
  for _, data in ipairs(s.waiting or {}) do
    text = text .. whole_block(s, redacted_block(data))
  end
  s.waiting = nil
  return text
end

--- A block of its own, as soon as no other is open.
local function put_redacted(s, data)
  if s.open then
    s.waiting = s.waiting or {}
    s.waiting[#s.waiting + 1] = data
    return ""
  end
  return whole_block(s, redacted_block(data))
end

local function opaque(s, delta)
  local from = delta.dialect or s.provider or ""
  if delta.kind == "signature" and delta.tool then
    return put_redacted(s, dialect.pack(from, delta.text, delta.id and dialect.id(delta.id)))
  elseif delta.kind == "signature" then
    local signature = from == "anthropic" and delta.text or dialect.pack(from, delta.text)
    if s.open == "reasoning" then
      s.signature = signature
      return ""
    end
    return put_redacted(s, signature)
  elseif delta.kind == "stop_sequence" then
    s.stop_sequence = delta.text
  elseif delta.kind == "redacted" then
    return put_redacted(s, from == "anthropic" and delta.data or dialect.pack(from, "redacted." .. delta.data))
  end
  return ""
end

--- What it ended with waits for the counters: they come last from others, and once here.
local function finish(s, of)
  s.reason, s.usage = of.reason, of.usage
  s.stop_sequence = of.stop_sequence or s.stop_sequence
  return ""
end

local function done(s, usage)
  local reason = s.refused and "refusal" or FINISH_OUT[dialect.finish(s.reason, s.called)] or "end_turn"
  local details = reason == "refusal" and '{"type":"refusal","category":null,"explanation":null}' or "null"
  return event("message_delta", '"delta":{"stop_reason":"' .. reason .. '","stop_sequence":' .. quoted(s.stop_sequence)
    .. ',"stop_details":' .. details .. '},"usage":' .. dialect.encode(write_usage(usage or s.usage or {})))
    .. 'event: message_stop\ndata: {"type":"message_stop"}\n\n'
end

local KINDS = { text = "text", thinking = "reasoning", tool_use = "tool" }

--- What a client has of a stream that broke off; `s` is then where this would have been. Nil: nobody can go on with it.
local function resume(s, events)
  local parts, open, ending = {}, nil, nil
  s.index, s.called, s.refused = 0, false, false
  for _, data in ipairs(events) do
    local block, delta = data.content_block, data.delta
    if data.type == "content_block_start" then
      local kind = KINDS[block.type]
      s.index, ending = data.index, nil
      if kind then
        open = { kind = kind, text = block.text or block.thinking or "", id = block.id, name = block.name }
        parts[#parts + 1], s.called = open, s.called or kind == "tool"
      elseif block.type == "redacted_thinking" then
        open, ending = nil, true
      else
        return nil
      end
    elseif data.type == "content_block_delta" and open then
      open.text = open.text .. (delta.text or delta.thinking or delta.partial_json or "")
      ending = ending or delta.type == "signature_delta" -- nothing but its end comes behind it
    elseif data.type == "content_block_stop" then
      s.index, open, ending = data.index + 1, nil, nil
    elseif data.type == "message_delta" then
      return nil
    end
  end
  return { parts = parts, open = open ~= nil and not ending, before = ending and stop_block(s) or nil }
end

local ERROR = {
  body = { '{"type":"error","error":{"type":', dialect.TYPE, ',"message":', dialect.MESSAGE,
    ',"details":{"error_code":', dialect.CODE, '}},"request_id":null}' },
  types = {
    [400] = "invalid_request_error", [401] = "authentication_error", [402] = "billing_error",
    [403] = "permission_error", [404] = "not_found_error", [409] = "conflict_error",
    [413] = "request_too_large", [429] = "rate_limit_error",
    [503] = "overloaded_error", [504] = "timeout_error", [529] = "overloaded_error", default4 = "invalid_request_error",
    default5 = "api_error",
  },
  statuses = { [503] = 529 },
  event = "error",
}

return {
  error = ERROR,
  writer = {
    one_block = true, wants_text = false, start = start, open = open, close = close, opaque = opaque, finish = finish,
    done = done, resume = resume,
  },
}
