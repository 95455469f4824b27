--- stream.lua - answers in OpenAI Chat Completions, as a stream for its clients.
local dialect = require "moongate.dialect"
local answer = require "dialects.openai_chat.answer"

local quoted, TEXT = dialect.quoted, dialect.TEXT
local FINISH_OUT, annotation_of, write_usage = answer.finish_out, answer.annotation, answer.write_usage
local concat, format = table.concat, string.format

--- A chunk is HEAD choice DELTA delta TAIL; the strings are made once per answer.
local function prepare(s)
  s.head = format('data: {"id":%s,"object":"chat.completion.chunk","created":%d,"model":%s,"choices":[',
    quoted("chatcmpl-" .. s.id), s.created, quoted(s.model))
  s.tail = s.include_usage and '],"usage":null}\n\n' or "]}\n\n"
  s.roles, s.called, s.details, s.said, s.calls = {}, {}, 0, {}, {}
end

local function chunk(s, choice, delta, finish)
  return s.head .. '{"index":' .. choice .. ',"delta":' .. delta .. ',"finish_reason":' .. (finish or "null") .. "}"
    .. s.tail
end

local function frame(s, choice, before, after)
  local head = s.head .. '{"index":' .. choice .. ',"delta":{' .. before
  return { head, TEXT, after .. '},"finish_reason":null}' .. s.tail }
end

local function start(s)
  prepare(s)
  return ""
end

--- The first chunk of a choice says who speaks; it waits until it is known whether text follows.
local function role(s, choice, content)
  if s.roles[choice] then
    return ""
  end
  s.roles[choice] = true
  return chunk(s, choice, '{"role":"assistant","content":' .. content .. ',"refusal":null}')
end

--- Behind how many of a text and calls a thought comes, as answer.lua has it.
local function place(s, choice)
  local after = (s.said[choice] or 0) + (s.calls[choice] or 0)
  return after > 0 and ',"after":' .. after or ""
end

--- Signed reasoning is repeated in the extension: a signature is worth something only beside its very text.
local function reasoning_frame(s, choice)
  local out = frame(s, choice, '"reasoning_content":', "")
  if s.provider == "anthropic" then
    local last = ',"format":"anthropic","index":' .. s.details .. place(s, choice) .. "}]" .. out[3]
    out[3], out[4], out[5] = ',"reasoning_details":[{"type":"reasoning.text","text":', TEXT, last
  end
  return out
end

local function id_of(s, block)
  return quoted(block.id or "call_" .. s.id .. "_" .. block.tool)
end

--- Calls of a free-form tool are text when the provider knows such tools; where it was called through a schema, they
--- come out when the arguments are complete.
local function open_custom(s, block, index, name)
  local choice = block.choice
  local custom = index .. ',"id":' .. id_of(s, block) .. ',"type":"custom","custom":{"name":' .. name .. ',"input":'
  if s.memo.wrapped then
    s.custom = s.custom or {}
    s.custom[block.tool] = custom
    return role(s, choice, "null")
  end
  local text = role(s, choice, "null") .. chunk(s, choice, "{" .. custom .. '""}}]}')
  return text, frame(s, choice, index .. ',"custom":{"input":', "}}]")
end

--- What Gemini signed a call with, where its own endpoint for these clients puts it.
local function signed(signature)
  return '"extra_content":{"google":{"thought_signature":' .. quoted(signature) .. "}}"
end

local function open_tool(s, block)
  local choice, name = block.choice, quoted(dialect.tool_name(s.memo, block.name))
  local index = '"tool_calls":[{"index":' .. block.tool
  s.called[choice], s.calls[choice] = true, (s.calls[choice] or 0) + 1
  if dialect.is_custom(s.memo, block.name) then
    return open_custom(s, block, index, name)
  end
  local extra = block.signature and "," .. signed(block.signature) or ""
  local call = concat { "{", index, ',"id":', id_of(s, block), ',"type":"function","function":{"name":', name,
                        ',"arguments":""}', extra, "}]}" }
  local text = role(s, choice, "null") .. chunk(s, choice, call)
  return text, frame(s, choice, index .. ',"function":{"arguments":', "}}]")
end

local function open(s, block)
  local kind, choice = block.kind, block.choice
  if kind == "tool" then
    return open_tool(s, block)
  elseif kind == "reasoning" then
    return role(s, choice, '""'), reasoning_frame(s, choice)
  elseif kind == "refusal" then
    return role(s, choice, '""'), frame(s, choice, '"refusal":', "")
  end
  s.said[choice] = 1
  return role(s, choice, '""'), frame(s, choice, '"content":', "")
end

local function close(s, block)
  local custom = block.kind == "tool" and s.custom and s.custom[block.tool]
  if custom then
    return chunk(s, block.choice, "{" .. custom .. quoted(dialect.unwrapped(dialect.unquoted(block.json))) .. "}}]}")
  elseif block.kind == "reasoning" then
    s.details = s.details + 1
  end
  return ""
end

local function detail(s, delta, kind, member, value)
  local from = delta.dialect or s.provider
  return chunk(s, delta.choice or 0, concat {
    '{"reasoning_details":[{"type":"', kind, '","', member, '":', quoted(value),
    from and ',"format":' .. quoted(from) or "", delta.id and ',"id":' .. quoted(delta.id) or "", ',"index":',
    s.details, place(s, delta.choice or 0), "}]}" })
end

local function opaque(s, delta)
  local choice = delta.choice or 0
  local before = role(s, choice, '""')
  if delta.kind == "signature" and delta.tool then
    return before .. chunk(s, choice, '{"tool_calls":[{"index":' .. delta.tool .. "," .. signed(delta.text) .. "}]}")
  elseif delta.kind == "signature" then
    return before .. detail(s, delta, "reasoning.text", "signature", delta.text)
  elseif delta.kind == "redacted" then
    local text = detail(s, delta, "reasoning.encrypted", "data", delta.data)
    s.details = s.details + 1
    return before .. text
  elseif delta.kind == "annotation" and delta.url then
    return before .. chunk(s, choice, '{"annotations":[' .. dialect.encode(annotation_of(delta, delta.from or 0, delta.to or 0)) .. "]}")
  end
  return ""
end

local function finish(s, of)
  local choice = of.choice or 0
  local reason = FINISH_OUT[dialect.finish(of.reason, s.called[choice])] or "stop"
  return role(s, choice, '""') .. chunk(s, choice, "{}", '"' .. reason .. '"')
end

local function done(s, usage)
  if not s.include_usage or not usage then
    return "data: [DONE]\n\n"
  end
  return s.head .. '],"usage":' .. dialect.encode(write_usage(usage)) .. "}\n\ndata: [DONE]\n\n"
end

local ERROR = {
  body = { '{"error":{"message":', dialect.MESSAGE, ',"type":', dialect.TYPE, ',"param":', dialect.PARAM, ',"code":',
           dialect.CODE, "}}" },
  types = { [401] = "authentication_error", [403] = "permission_error", [429] = "rate_limit_error",
            default4 = "invalid_request_error", default5 = "api_error" },
  statuses = { [529] = 503 },
}

return {
  error = ERROR,
  writer = {
    one_block = false, wants_text = false, start = start, open = open, close = close, opaque = opaque, finish = finish,
    done = done,
  },
}
