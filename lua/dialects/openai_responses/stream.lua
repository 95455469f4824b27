--- stream.lua - the Responses API as a client's stream: every event, exact and in order.
---
--- A stream keeps in `s`: the `response`, the items that are `done`, state that waits (`pending`), and of the item that is
--- open its `index`, its id (`item`) and its `kind`.
local json, dialect = require "moongate.json", require "moongate.dialect"
local items, sent = require "dialects.openai_responses.items", require "dialects.openai_responses.resume"

local NAME = "openai_responses"
local array, decode, encode = json.array, json.decode, json.encode

--- An event is one line; schemas of tools are their clients' own text.
local function event(s, name, data)
  data.type, data.sequence_number = name, s.seq
  s.seq = s.seq + 1
  return "event: " .. name .. "\ndata: " .. encode(data):gsub("[\r\n]", " ") .. "\n\n"
end

--- How a piece of text is written: `member` names its place in the item.
local function frame(s, name, member)
  return {
    "event: " .. name .. '\ndata: {"type":"' .. name .. '","sequence_number":', dialect.SEQ,
    ',"item_id":"' .. s.item .. '","output_index":' .. s.index .. member .. ',"delta":', dialect.TEXT, "}\n\n",
  }
end

--- The first two events tell the same response, which has all of the request's settings and tools in it.
local function start(s)
  s.response, s.done, s.pending = items.response(s, s.memo and s.memo.asked), array {}, {}
  local text = json.raw(encode(s.response))
  return event(s, "response.created", { response = text }) .. event(s, "response.in_progress", { response = text })
end

local function begin(s, kind)
  s.index, s.kind = #s.done, kind
  s.item = s.known and s.known[s.index] or items.id(s, kind, s.index)
end

local function added(s, item)
  return event(s, "response.output_item.added", { output_index = s.index, item = item })
end

local function item_done(s, item)
  s.done[#s.done + 1] = item
  return event(s, "response.output_item.done", { output_index = s.index, item = item })
end

local function part_event(s, name, part, member)
  return event(s, name, { item_id = s.item, output_index = s.index, part = part, [member or "content_index"] = 0 })
end

--- An item that only carries state, whole.
local function sealed_item(s, sealed)
  begin(s, "reasoning")
  local text = added(s, items.reasoning(s.item, "in_progress", nil, nil))
    .. item_done(s, items.reasoning(s.item, "completed", nil, sealed))
  s.kind = nil
  return text
end

--- State that came while another item was open.
local function pending_items(s)
  local text = ""
  for i = 1, #s.pending do
    text = text .. sealed_item(s, s.pending[i])
    s.pending[i] = nil
  end
  return text
end

local openers = {}

function openers.text(s)
  begin(s, "text")
  s.notes = nil
  local text = added(s, { type = "message", id = s.item, role = "assistant", status = "in_progress", content = array {} })
    .. part_event(s, "response.content_part.added", items.text_part("", array {}))
  return text, frame(s, "response.output_text.delta", ',"content_index":0,"logprobs":[]')
end

function openers.refusal(s)
  begin(s, "refusal")
  local text = added(s, { type = "message", id = s.item, role = "assistant", status = "in_progress", content = array {} })
    .. part_event(s, "response.content_part.added", { type = "refusal", refusal = "" })
  return text, frame(s, "response.refusal.delta", ',"content_index":0')
end

function openers.reasoning(s)
  begin(s, "reasoning")
  s.sealed = nil
  local text = added(s, items.reasoning(s.item, "in_progress", nil, nil))
    .. part_event(s, "response.reasoning_summary_part.added", { type = "summary_text", text = "" }, "summary_index")
  return text, frame(s, "response.reasoning_summary_text.delta", ',"summary_index":0')
end

--- What a call was signed with goes before it. The text of a free-form tool that was called through a schema comes out
--- when its arguments are complete.
function openers.tool(s, block)
  local before = ""
  if block.signature then
    before = sealed_item(s, dialect.seal({ signature = block.signature, dialect = s.provider }, nil, block.id))
  end
  local name = dialect.tool_name(s.memo, block.name)
  if dialect.is_custom(s.memo, block.name) then
    begin(s, "custom")
    return before .. added(s, items.custom(s.item, "in_progress", block.id, name, "")),
      not s.memo.wrapped and frame(s, "response.custom_tool_call_input.delta", "") or nil
  end
  begin(s, "tool")
  return before .. added(s, items.call(s.item, "in_progress", block.id, name, "")),
    frame(s, "response.function_call_arguments.delta", "")
end

local function open(s, block)
  local before = pending_items(s)
  local text, pieces = openers[block.kind](s, block)
  return before .. text, pieces
end

local closers = {}

function closers.text(s, block)
  local text = json.raw(block.json)
  local part = items.text_part(text, items.annotations(s.notes, s.notes and items.characters(decode(block.json)) or 0))
  local data = { item_id = s.item, output_index = s.index, content_index = 0, text = text, logprobs = array {} }
  return event(s, "response.output_text.done", data) .. part_event(s, "response.content_part.done", part)
    .. item_done(s, items.message(s.item, "completed", part))
end

function closers.refusal(s, block)
  local text = json.raw(block.json)
  local part = { type = "refusal", refusal = text }
  local data = { item_id = s.item, output_index = s.index, content_index = 0, refusal = text }
  return event(s, "response.refusal.done", data) .. part_event(s, "response.content_part.done", part)
    .. item_done(s, items.message(s.item, "completed", part))
end

function closers.reasoning(s, block)
  local text = json.raw(block.json)
  local data = { item_id = s.item, output_index = s.index, summary_index = 0, text = text }
  local part = { type = "summary_text", text = text }
  return event(s, "response.reasoning_summary_text.done", data)
    .. part_event(s, "response.reasoning_summary_part.done", part, "summary_index")
    .. item_done(s, items.reasoning(s.item, "completed", text, s.sealed or dialect.UNSIGNED))
end

--- A call without arguments has empty ones.
function closers.tool(s, block)
  local before, arguments = "", json.raw(block.json)
  if block.json == '""' then
    arguments = "{}"
    before = event(s, "response.function_call_arguments.delta", { item_id = s.item, output_index = s.index, delta = arguments })
  end
  local name = dialect.tool_name(s.memo, block.name)
  local data = { item_id = s.item, output_index = s.index, name = name, arguments = arguments }
  return before .. event(s, "response.function_call_arguments.done", data)
    .. item_done(s, items.call(s.item, "completed", block.id, name, arguments))
end

function closers.custom(s, block)
  local before, input = "", json.raw(block.json)
  if s.memo.wrapped then
    input = dialect.unwrapped(dialect.unquoted(block.json))
    before = event(s, "response.custom_tool_call_input.delta", { item_id = s.item, output_index = s.index, delta = input })
  end
  local name = dialect.tool_name(s.memo, block.name)
  return before .. event(s, "response.custom_tool_call_input.done", { item_id = s.item, output_index = s.index, input = input })
    .. item_done(s, items.custom(s.item, "completed", block.id, name, input))
end

local function close(s, block)
  local text = closers[s.kind](s, block)
  s.kind = nil
  return text
end

--- Sources stand beside the text that is open; state belongs to the reasoning that is open, or is an item of its own.
local function opaque(s, delta)
  if delta.kind == "annotation" then
    if s.kind ~= "text" or not delta.url then
      return ""
    end
    s.notes = s.notes or {}
    s.notes[#s.notes + 1] = { url = delta.url, title = delta.title, from = delta.from, to = delta.to }
    local note = items.annotations({ delta }, 0)[1]
    return event(s, "response.output_text.annotation.added", {
      item_id = s.item, output_index = s.index, content_index = 0, annotation_index = #s.notes - 1, annotation = note })
  end
  if delta.kind ~= "signature" and delta.kind ~= "redacted" then
    return ""
  end
  local part = { signature = delta.text, redacted = delta.data, dialect = delta.dialect or s.provider }
  local sealed = dialect.seal(part, NAME)
  if s.kind == "reasoning" and delta.kind == "signature" then
    s.sealed = sealed
  elseif s.kind then
    s.pending[#s.pending + 1] = sealed
  else
    return sealed_item(s, sealed)
  end
  return ""
end

--- Usage comes last and belongs into the same object, so the end of the stream waits for it.
local function finish(s, of)
  s.reason, s.usage = of.reason, of.usage
  return ""
end

local function done(s, usage)
  local before = pending_items(s)
  items.complete(s.response, s.reason, s.done, usage or s.usage)
  return before .. event(s, "response." .. s.response.status, { response = s.response })
end

---- going on

--- The events that end an item, without those that its client has.
local function rest_of_item(s, part, ends)
  s.seq = s.seq - ends
  local text = closers[s.kind](s, { json = encode(part.text), id = part.id, name = part.name })
  for _ = 1, ends do
    text = text:gsub("^.-\n\n", "", 1)
  end
  s.kind = nil
  return text
end

--- What a client has of a stream that broke off; `s` is then where this would have been. Nil: nobody can go on with it.
local function resume(s, events)
  local at = sent(s, events)
  if not at then
    return nil
  end
  s.done, s.pending, s.seq, s.index = at.done, {}, at.seq, #at.done
  local item, part, before = at.item, at.part, nil
  if item then
    s.item, s.known = item.id, { [s.index] = item.id }
    s.kind = part and part.kind
    if not part then -- it had nothing to show yet
      item.status = "completed"
      before = item_done(s, item)
    elseif at.ends > 0 then
      before = rest_of_item(s, part, at.ends)
    end
    s.kind = nil
  end
  return { parts = at.parts, open = item ~= nil and not before, before = before }
end

---- errors

local ERROR = {
  body = { '{"error":{"message":', dialect.MESSAGE, ',"type":', dialect.TYPE, ',"param":', dialect.PARAM, ',"code":',
           dialect.CODE, "}}" },
  types = { [401] = "authentication_error", [403] = "permission_error", [429] = "rate_limit_error",
            default4 = "invalid_request_error", default5 = "api_error" },
  statuses = { [529] = 503 },
  event = "error",
  stream = { '{"type":"error","sequence_number":', dialect.SEQ, ',"code":', dialect.CODE, ',"message":', dialect.MESSAGE,
             ',"param":', dialect.PARAM, "}" },
}

return {
  writer = {
    one_block = true, wants_text = true, sequence = "sequence_number", start = start, open = open, close = close, opaque = opaque, finish = finish, done = done,
    resume = resume,
  },
  error = ERROR,
}
