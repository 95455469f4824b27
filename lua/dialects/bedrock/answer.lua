--- answer.lua - answers of Converse, whole and as the events of a stream.
local dialect = require "moongate.dialect"

local list, string_of = dialect.list, dialect.string
local ipairs, type = ipairs, type

local NAME = "bedrock"

local FINISH = {
  end_turn = "stop", stop_sequence = "stop_sequence", max_tokens = "length", model_context_window_exceeded = "length",
  tool_use = "tool", guardrail_intervened = "filtered", content_filtered = "filtered", malformed_model_output = "error",
  malformed_tool_use = "error",
}

local function count(value)
  return type(value) == "number" and value or 0
end

--- The input leaves out what the cache gave or took.
local function read_usage(usage)
  if type(usage) ~= "table" then
    return
  end
  local cached, stored = count(usage.cacheReadInputTokens), count(usage.cacheWriteInputTokens)
  return { input = count(usage.inputTokens) + cached + stored, output = count(usage.outputTokens), cached_read = cached,
           cached_write = stored }
end

--- The page that a citation names; others say where in a document of the request.
local function read_citation(note)
  local place = type(note) == "table" and list(list(note.location).web)
  local url = place and string_of(place.url)
  return url and { url = url, title = string_of(note.title) }
end

local READ = {
  text = function(text)
    return type(text) == "string" and text ~= "" and { kind = "text", text = text } or nil
  end,

  citationsContent = function(cited)
    local texts, notes = {}, nil
    for _, piece in ipairs(list(list(cited).content)) do
      texts[#texts + 1] = string_of(list(piece).text)
    end
    for _, note in ipairs(list(list(cited).citations)) do
      local page = read_citation(note)
      if page then
        notes = notes or {}
        notes[#notes + 1] = page
      end
    end
    return #texts > 0 and { kind = "text", text = table.concat(texts), annotations = notes } or nil
  end,

  reasoningContent = function(reasoning)
    local spoken = list(list(reasoning).reasoningText)
    local redacted = string_of(list(reasoning).redactedContent)
    if redacted then
      return { kind = "reasoning", redacted = redacted, dialect = NAME }
    end
    return { kind = "reasoning", text = string_of(spoken.text), signature = string_of(spoken.signature), dialect = NAME }
  end,

  toolUse = function(call)
    call = list(call)
    return { kind = "tool_call", id = string_of(call.toolUseId), name = string_of(call.name) or "",
             arguments = call.input ~= nil and dialect.text(call.input) or "{}" }
  end,

  image = function(image)
    local data = string_of(list(list(image).source).bytes)
    return data and { kind = "image", mime = "image/" .. (string_of(image.format) or "png"), data = data } or nil
  end,
}

local function read_answer(body)
  local parts, called = {}, false
  for _, block in ipairs(list(list(list(body.output).message).content)) do
    for kind, reader in pairs(READ) do
      if type(block) == "table" and block[kind] ~= nil then
        local part = reader(block[kind])
        parts[#parts + 1] = part
        called = called or part ~= nil and part.kind == "tool_call"
      end
    end
  end
  local finish = dialect.finish(FINISH[body.stopReason] or "stop", called)
  return { choices = { { parts = parts, finish = finish } }, usage = read_usage(body.usage) }
end

--- Signatures, redacted reasoning and citations: each comes alone.
local function read_event(_, data)
  local delta = list(data.delta)
  local reasoning = list(delta.reasoningContent)
  local note = read_citation(delta.citation)
  if type(reasoning.signature) == "string" then
    return { { kind = "signature", text = reasoning.signature, dialect = NAME } }
  elseif type(reasoning.redactedContent) == "string" then
    return { { kind = "redacted", data = reasoning.redactedContent, dialect = NAME } }
  end
  return note and { { kind = "annotation", url = note.url, title = note.title } } or {}
end

return { finish_reasons = FINISH, read = read_answer, read_event = read_event }
