--- stream.lua - generateContent as a client's stream: every event is a piece of an answer, and a call is whole in one.
---
--- A stream keeps in `s`: `tail`, what follows the candidates in every event; `notes`: by choice, sources to be told at its
--- end; and `refused`: the choices that were a refusal.
local dialect = require "moongate.dialect"
local answer, part_of = require "dialects.gemini.answer", require "dialects.gemini.part"

local encode, quoted = dialect.encode, dialect.quoted

local function start(s)
  s.tail = ',"modelVersion":' .. quoted(s.model) .. ',"responseId":' .. quoted(s.id) .. "}\n\n"
  s.notes, s.refused = {}, {}
  return ""
end

local function head(choice)
  return 'data: {"candidates":[{"index":' .. choice .. ',"content":{"role":"model","parts":['
end

local function event(s, choice, part)
  return head(choice) .. part .. "]}}]" .. s.tail
end

local function open(s, block)
  if block.kind == "tool" then
    return ""
  end
  s.refused[block.choice] = s.refused[block.choice] or block.kind == "refusal"
  local thought = block.kind == "reasoning" and ',"thought":true' or ""
  return "", { head(block.choice) .. '{"text":', dialect.TEXT, thought .. "}]}}]" .. s.tail }
end

local function close(s, block)
  if block.kind ~= "tool" then
    return ""
  end
  local signature = part_of.call_signature(block.signature, s.provider)
  local args = dialect.object_text(dialect.unquoted(block.json)):gsub("[\r\n]", " ") -- an event is one line
  local call = '{"functionCall":{' .. (block.id and '"id":' .. quoted(block.id) .. "," or "") .. '"name":'
    .. quoted(dialect.tool_name(s.memo, block.name)) .. ',"args":' .. args .. "}"
  return event(s, block.choice, call .. (signature and ',"thoughtSignature":' .. quoted(signature) or "") .. "}")
end

--- State goes into a thought without text: only Gemini's own may belong to a text, and that is for nobody else.
local function opaque(s, delta)
  local choice = delta.choice or 0
  if delta.kind == "annotation" then
    s.notes[choice] = s.notes[choice] or {}
    table.insert(s.notes[choice], delta)
    return ""
  elseif delta.kind ~= "signature" and delta.kind ~= "redacted" then
    return ""
  end
  local from = delta.dialect or s.provider
  local signature = part_of.signature { signature = delta.text, redacted = delta.data, dialect = from }
  return event(s, choice, '{"text":"","thought":true,"thoughtSignature":' .. quoted(signature) .. "}")
end

local function finish(s, of)
  local grounding = answer.grounding(s.notes[of.choice])
  local reason = s.refused[of.choice] and "filtered" or of.reason
  s.usage = s.usage or of.usage
  return 'data: {"candidates":[{"index":' .. of.choice .. ',"content":{"role":"model","parts":[{"text":""}]},"finishReason":"'
    .. (answer.finish_out[reason] or "OTHER") .. '"' .. (grounding and ',"groundingMetadata":' .. encode(grounding) or "") .. "}]"
    .. (of.usage and ',"usageMetadata":' .. encode(answer.write_usage(of.usage)) or "") .. s.tail
end

--- Counters that came with the last candidate were told with it.
local function done(s, usage)
  if not usage or s.usage then
    return ""
  end
  return 'data: {"usageMetadata":' .. encode(answer.write_usage(usage)) .. s.tail
end

local function add_part(parts, part)
  local last = parts[#parts]
  if part.functionCall then
    local call = part.functionCall
    parts[#parts + 1] = { kind = "tool", id = call.id, name = call.name, text = call.args and dialect.text(call.args) or "{}" }
  elseif not part.text then
    return false
  elseif part.text ~= "" then
    local kind = part.thought and "reasoning" or "text"
    if last and last.kind == kind then
      last.text = last.text .. part.text
    else
      parts[#parts + 1] = { kind = kind, text = part.text }
    end
  end
  return true
end

--- What a client has of a stream that broke off; `s` is then where this would have been. Nil: nobody can go on with it.
local function resume(s, events)
  local parts = {}
  s.model, s.id = events[1].modelVersion or s.model, events[1].responseId or s.id
  start(s)
  for _, data in ipairs(events) do
    for _, candidate in ipairs(data.candidates or {}) do
      if (candidate.index or 0) ~= 0 or candidate.finishReason then
        return nil
      end
      for _, part in ipairs(candidate.content and candidate.content.parts or {}) do
        if not add_part(parts, part) then
          return nil
        end
      end
    end
  end
  local last = parts[#parts]
  return { parts = parts, open = last ~= nil and last.kind ~= "tool" }
end

return {
  writer = {
    one_block = true, wants_text = false, comments = false, start = start, open = open, close = close, opaque = opaque, finish = finish, done = done,
    resume = resume,
  },
  error = {
    body = { '{"error":{"code":', dialect.STATUS, ',"message":', dialect.MESSAGE, ',"status":', dialect.TYPE, "}}" },
    types = {
      [401] = "UNAUTHENTICATED", [403] = "PERMISSION_DENIED", [404] = "NOT_FOUND", [409] = "ABORTED", [429] = "RESOURCE_EXHAUSTED",
      [499] = "CANCELLED", [501] = "UNIMPLEMENTED", [502] = "UNAVAILABLE", [503] = "UNAVAILABLE", [504] = "DEADLINE_EXCEEDED",
      default4 = "INVALID_ARGUMENT", default5 = "INTERNAL",
    },
    statuses = { [402] = 429, [529] = 503 },
  },
}
