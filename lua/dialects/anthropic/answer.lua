--- answer.lua - answers in Anthropic Messages, whole and as the events of a provider.
local dialect = require "moongate.dialect"
local json = require "moongate.json"
local read = require "dialects.anthropic.read"

local list, string_of, null = dialect.list, dialect.string, dialect.null
local type = type

local NOTHING = {}
local READ_BLOCK = read.blocks

local FINISH = {
  end_turn = "stop", stop_sequence = "stop_sequence", max_tokens = "length", model_context_window_exceeded = "length",
  tool_use = "tool", pause_turn = "pause", refusal = "filtered", compaction = "stop",
}
local FINISH_OUT = {
  stop = "end_turn", stop_sequence = "stop_sequence", length = "max_tokens", tool = "tool_use", filtered = "refusal",
  pause = "pause_turn",
}

local function number(value)
  return type(value) == "number" and value or nil
end

--- Input is counted without what the cache gave or took; everybody else counts it all.
local function read_usage(usage)
  if type(usage) ~= "table" then
    return
  end
  local cached, stored = number(usage.cache_read_input_tokens) or 0, number(usage.cache_creation_input_tokens) or 0
  local details = usage.output_tokens_details
  return {
    input = (number(usage.input_tokens) or 0) + cached + stored, output = number(usage.output_tokens),
    cached_read = cached, cached_write = stored,
    reasoning = type(details) == "table" and number(details.thinking_tokens) or nil,
  }
end

local function write_usage(usage)
  local cached, stored = usage.cached_read or 0, usage.cached_write or 0
  return {
    input_tokens = math.max(0, (usage.input or 0) - cached - stored), cache_read_input_tokens = cached,
    cache_creation_input_tokens = stored, output_tokens = usage.output or 0,
    output_tokens_details = usage.reasoning and { thinking_tokens = usage.reasoning } or nil,
  }
end

--- Pages a text was taken from; other kinds of citations say where in a document of the request.
local function read_citations(block, part)
  for _, note in ipairs(list(block.citations)) do
    if type(note) == "table" and type(note.url) == "string" then
      part.annotations = part.annotations or {}
      table.insert(part.annotations, { url = note.url, title = string_of(note.title) })
    end
  end
end

local function read_content(content, ctx)
  local parts, called = {}, false
  for _, block in ipairs(list(content)) do
    local reader = type(block) == "table" and READ_BLOCK[block.type]
    local part = reader and reader(block, ctx, "content")
    if part and (part.text ~= "" or part.signature) then
      if part.kind == "text" then
        read_citations(block, part)
        part.citations = nil
      elseif part.kind == "tool_call" then
        called = true
      end
      parts[#parts + 1] = part
    end
  end
  return parts, called
end

--- Why the answer was declined, where nothing else was said.
local function read_refusal(body, parts)
  local details = body.stop_details
  local why = type(details) == "table" and string_of(details.explanation)
  if body.stop_reason == "refusal" and why and #parts == 0 then
    parts[1] = { kind = "refusal", text = why }
  end
end

local function read_answer(body, ctx)
  local parts, called = read_content(body.content, ctx)
  read_refusal(body, parts)
  local finish = dialect.finish(FINISH[body.stop_reason] or "stop", called)
  return {
    id = string_of(body.id), model = string_of(body.model), usage = read_usage(body.usage),
    choices = { { parts = parts, finish = finish, stop_sequence = string_of(body.stop_sequence) } },
  }
end

--- Reasoning of others has no signature Anthropic would know: the mark says so when it comes back.
local function answer_reasoning(part)
  local own = part.dialect == "anthropic"
  if part.redacted then
    return { type = "redacted_thinking", data = own and part.redacted or dialect.seal(part) }
  end
  local signature = dialect.seal(part, "anthropic") or dialect.UNSIGNED
  return { type = "thinking", thinking = part.text or "", signature = signature }
end

local function answer_calls(part, content, memo)
  local id, arguments = dialect.id(part.id or "call"), part.arguments
  if part.signature then
    local data = dialect.pack(part.signed_by or part.dialect or "gemini", part.signature, id)
    content[#content + 1] = { type = "redacted_thinking", data = data }
  end
  content[#content + 1] = {
    type = "tool_use", id = id, name = dialect.tool_name(memo, part.name),
    input = dialect.raw(part.custom and json.encode { input = arguments } or dialect.object_text(arguments)),
  }
end

local function write_content(parts, ctx)
  local content = json.array {}
  for _, part in ipairs(parts) do
    if part.kind == "text" or part.kind == "refusal" then
      content[#content + 1] = part.text ~= "" and { type = "text", text = part.text } or nil
    elseif part.kind == "reasoning" then
      content[#content + 1] = answer_reasoning(part)
    elseif part.kind == "tool_call" then
      answer_calls(part, content, ctx.memo)
    end
  end
  return content
end

local function refused(parts)
  for _, part in ipairs(parts) do
    if part.kind == "refusal" then
      return true
    end
  end
  return false
end

local STOP_DETAILS = { type = "refusal", category = null, explanation = null }

local function write_answer(answer, ctx)
  local choice = answer.choices[1] or { parts = {}, finish = "stop" }
  local reason = refused(choice.parts) and "refusal" or FINISH_OUT[choice.finish] or "end_turn"
  return {
    id = "msg_" .. ctx.id, type = "message", role = "assistant", model = answer.model or ctx.model,
    content = write_content(choice.parts, ctx), stop_reason = reason, stop_sequence = choice.stop_sequence or null,
    stop_details = reason == "refusal" and STOP_DETAILS or null, usage = write_usage(answer.usage or NOTHING),
  }
end

---- streams: this dialect as the provider's

local DELTAS = {
  signature_delta = function(delta)
    local signature = string_of(delta.signature)
    return signature and { kind = "signature", text = signature, dialect = "anthropic" } or nil
  end,
  citations_delta = function(delta)
    local note = type(delta.citation) == "table" and delta.citation or NOTHING
    return type(note.url) == "string" and { kind = "annotation", url = note.url, title = string_of(note.title) } or nil
  end,
}

--- A block of reasoning that begins with something opaque.
local function read_block(block)
  if block.type == "redacted_thinking" and type(block.data) == "string" then
    return { kind = "redacted", data = block.data, dialect = "anthropic" }
  elseif block.type == "thinking" and type(block.signature) == "string" and block.signature ~= "" then
    return { kind = "signature", text = block.signature, dialect = "anthropic" }
  end
end

local function read_event(_, data)
  local delta, block = list(data.delta), list(data.content_block)
  if DELTAS[delta.type] then
    return { DELTAS[delta.type](delta) }
  elseif type(delta.stop_sequence) == "string" then
    return { { kind = "stop_sequence", text = delta.stop_sequence } }
  end
  return { read_block(block) }
end

return {
  finish_reasons = FINISH, finish_out = FINISH_OUT, read = read_answer, write = write_answer, write_usage = write_usage,
  read_event = read_event,
}
