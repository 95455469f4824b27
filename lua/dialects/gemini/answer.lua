--- answer.lua - answers of generateContent, whole and as the events of a provider.
local json, dialect = require "moongate.json", require "moongate.dialect"
local part_of = require "dialects.gemini.part"

local NAME = "gemini"
local array, null = json.array, json.null
local list, string_of = dialect.list, dialect.string

local finish_reasons = {
  STOP = "stop", MAX_TOKENS = "length", CONTINUATION = "length",
  SAFETY = "filtered", RECITATION = "filtered", BLOCKLIST = "filtered", PROHIBITED_CONTENT = "filtered", SPII = "filtered",
  IMAGE_SAFETY = "filtered", IMAGE_PROHIBITED_CONTENT = "filtered", IMAGE_RECITATION = "filtered",
  MODEL_ARMOR = "filtered", JAILBREAK = "filtered",
  MALFORMED_FUNCTION_CALL = "error", UNEXPECTED_TOOL_CALL = "error", TOO_MANY_TOOL_CALLS = "error",
  MALFORMED_RESPONSE = "error", MISSING_THOUGHT_SIGNATURE = "error", ESCALATION = "error",
}

--- Ends for a reason of Gemini's own: what was said until then counts. A prompt may be blocked for one of them, too.
local ODD_ENDS = { LANGUAGE = true, OTHER = true, NO_IMAGE = true, IMAGE_OTHER = true, FINISH_REASON_UNSPECIFIED = true }

local FINISH_OUT = {
  stop = "STOP", stop_sequence = "STOP", tool = "STOP", pause = "STOP", length = "MAX_TOKENS", filtered = "SAFETY",
  error = "OTHER",
}

---- usage

local function count(value)
  return type(value) == "number" and value or 0
end

local function read_usage(usage)
  if type(usage) ~= "table" then
    return
  end
  local thoughts = count(usage.thoughtsTokenCount)
  return {
    input = count(usage.promptTokenCount) + count(usage.toolUsePromptTokenCount),
    output = count(usage.candidatesTokenCount) + thoughts, reasoning = thoughts, cached_read = count(usage.cachedContentTokenCount),
  }
end

--- Counters are absent when they are zero.
local function some_count(value)
  return value and value > 0 and value or nil
end

local function write_usage(usage)
  local input, output, thoughts = usage.input or 0, usage.output or 0, usage.reasoning or 0
  return {
    promptTokenCount = input, candidatesTokenCount = some_count(output - thoughts), thoughtsTokenCount = some_count(thoughts),
    cachedContentTokenCount = some_count(usage.cached_read), totalTokenCount = input + output,
  }
end

---- reading

--- Pages that an answer was grounded in.
local function read_grounding(candidate)
  local notes
  local metadata = type(candidate.groundingMetadata) == "table" and candidate.groundingMetadata or {}
  for _, chunk in ipairs(list(metadata.groundingChunks)) do
    local web = type(chunk) == "table" and chunk.web
    if type(web) == "table" and string_of(web.uri) then
      notes = notes or {}
      notes[#notes + 1] = { url = web.uri, title = string_of(web.title) }
    end
  end
  return notes
end

local function parts_of(candidate)
  return type(candidate.content) == "table" and list(candidate.content.parts) or {}
end

local function read_media(blob)
  local mime, data = string_of(blob.mimeType) or "", string_of(blob.data)
  local kind = mime:match "^(%a+)/"
  return { kind = (kind == "image" or kind == "audio" or kind == "video") and kind or "document", mime = mime, data = data }
end

local function read_token(theirs)
  return { token = string_of(theirs.token) or "", logprob = tonumber(theirs.logProbability) or 0, bytes = null }
end

local function read_logprobs(candidate)
  local result = candidate.logprobsResult
  if type(result) ~= "table" then
    return
  end
  local tokens, tops = array {}, list(result.topCandidates)
  for i, theirs in ipairs(list(result.chosenCandidates)) do
    local token = read_token(type(theirs) == "table" and theirs or {})
    token.top_logprobs = array {}
    for _, other in ipairs(list(type(tops[i]) == "table" and tops[i].candidates)) do
      token.top_logprobs[#token.top_logprobs + 1] = type(other) == "table" and read_token(other) or nil
    end
    tokens[i] = token
  end
  return tokens
end

--- What one candidate said. Calls without an id get one that is no other answer's.
local function read_candidate(candidate, ctx)
  local parts, calls = {}, 0
  for _, theirs in ipairs(parts_of(candidate)) do
    if type(theirs) == "table" then
      if type(theirs.text) == "string" then
        part_of.read_text(theirs, parts, true)
      elseif type(theirs.functionCall) == "table" then
        parts[#parts + 1] = part_of.read_call(theirs, "call_" .. ctx.id .. "_" .. calls)
        calls = calls + 1
      elseif type(theirs.inlineData) == "table" then
        parts[#parts + 1] = read_media(theirs.inlineData)
      elseif next(theirs) ~= nil then
        parts[#parts + 1] = { kind = "vendor", dialect = NAME, type = next(theirs), json = theirs }
      end
    end
  end
  local notes = read_grounding(candidate)
  for i = #parts, 1, -1 do
    if notes and parts[i].kind == "text" then
      parts[i].annotations, notes = notes, nil
    end
  end
  local word = candidate.finishReason
  local reason = finish_reasons[word] or #parts > 0 and ODD_ENDS[word] and "stop" or "error"
  return { parts = parts, finish = dialect.finish(reason, calls > 0), logprobs = read_logprobs(candidate) }
end

local function read_answer(body, ctx)
  local choices = {}
  for i, candidate in ipairs(list(body.candidates)) do
    choices[i] = type(candidate) == "table" and read_candidate(candidate, ctx) or { parts = {}, finish = "error" }
  end
  if #choices == 0 then
    local blocked = type(body.promptFeedback) == "table" and string_of(body.promptFeedback.blockReason)
    choices[1] = { parts = {}, finish = blocked and "filtered" or "error" }
  end
  return { id = string_of(body.responseId), model = string_of(body.modelVersion), choices = choices,
           usage = read_usage(body.usageMetadata) }
end

---- writing

local WRITE = {
  text = function(part)
    return { text = part.text }
  end,

  reasoning = function(part)
    local signature = part_of.signature(part)
    if part.text or part.redacted or part.dialect ~= NAME then
      return (part.text or signature) and { text = part.text or "", thought = true, thoughtSignature = signature } or nil
    end
    return signature and { text = "", thoughtSignature = signature } or nil
  end,

  tool_call = function(part, ctx)
    local signature = part_of.call_signature(part.signature, part.signed_by or ctx.provider)
    local args = part.custom and json.encode { input = part.arguments } or dialect.object_text(part.arguments)
    return { functionCall = { id = part.id, name = dialect.tool_name(ctx.memo, part.name), args = json.raw(args) },
             thoughtSignature = signature }
  end,

  audio = function(part)
    return { inlineData = { mimeType = part.mime or "audio/" .. (part.format or "wav"), data = part.data } }
  end,

  image = function(part)
    return part.data and { inlineData = { mimeType = part.mime or "image/png", data = part.data } } or nil
  end,
}
WRITE.refusal = WRITE.text

--- Sources of a text, as pages it was grounded in.
local function grounding(notes)
  local chunks = array {}
  for _, note in ipairs(notes or {}) do
    if note.url then
      chunks[#chunks + 1] = { web = { uri = note.url, title = note.title } }
    end
  end
  return #chunks > 0 and { groundingChunks = chunks } or nil
end

local function write_logprobs(tokens)
  if not tokens then
    return
  end
  local chosen, tops = array {}, array {}
  for i, token in ipairs(tokens) do
    local candidates = array {}
    token = type(token) == "table" and token or {}
    for _, other in ipairs(list(token.top_logprobs)) do
      candidates[#candidates + 1] = type(other) == "table" and { token = other.token, logProbability = other.logprob } or nil
    end
    chosen[i], tops[i] = { token = token.token, logProbability = token.logprob }, { candidates = candidates }
  end
  return { chosenCandidates = chosen, topCandidates = tops }
end

--- Refusing is a reason to end here, and its words are a text.
local function write_candidate(choice, index, ctx)
  local parts, notes, finish = array {}, {}, choice.finish
  for _, part in ipairs(choice.parts) do
    finish = part.kind == "refusal" and "filtered" or finish
    local write = WRITE[part.kind]
    parts[#parts + 1] = write and write(part, ctx) or nil
    for _, note in ipairs(part.annotations or {}) do
      notes[#notes + 1] = note
    end
  end
  return { content = { role = "model", parts = parts }, finishReason = FINISH_OUT[finish] or "OTHER", index = index,
           groundingMetadata = grounding(notes), logprobsResult = write_logprobs(choice.logprobs) }
end

local function write_answer(answer, ctx)
  local candidates = array {}
  for i, choice in ipairs(answer.choices) do
    candidates[i] = write_candidate(choice, i - 1, ctx)
  end
  return { candidates = candidates, modelVersion = answer.model or ctx.model, responseId = ctx.id,
           usageMetadata = answer.usage and write_usage(answer.usage) or nil }
end

---- the events of a provider

local function read_text_event(theirs, choice, out)
  if theirs.text ~= "" then
    out[#out + 1] = { kind = theirs.thought == true and "reasoning" or "text", text = theirs.text, choice = choice }
  end
  local signature = string_of(theirs.thoughtSignature)
  if signature then
    out[#out + 1] = { kind = "signature", text = signature, dialect = NAME, choice = choice }
  end
end

--- Calls come whole; they are numbered through the stream, and get an id where they have none.
local function read_call_event(theirs, choice, stream)
  stream.calls = (stream.calls or 0) + 1
  local call = part_of.read_call(theirs, "call_" .. stream.id .. "_" .. stream.calls)
  return { kind = "tool", tool = stream.calls, id = call.id, name = call.name, arguments = call.arguments,
           signature = call.signature, choice = choice }
end

local function read_candidate_event(candidate, choice, out, stream)
  for _, theirs in ipairs(parts_of(candidate)) do
    if type(theirs) == "table" and type(theirs.text) == "string" then
      read_text_event(theirs, choice, out)
    elseif type(theirs) == "table" and type(theirs.functionCall) == "table" then
      out[#out + 1] = read_call_event(theirs, choice, stream)
    end
  end
  for _, note in ipairs(read_grounding(candidate) or {}) do
    out[#out + 1] = { kind = "annotation", url = note.url, title = note.title, choice = choice }
  end
end

--- All of an event that has something rare in it: a signature, a call, pages. The end is declared.
local function read_event(_, data, stream)
  local out = {}
  for i, candidate in ipairs(list(data.candidates)) do
    if type(candidate) == "table" then
      local choice = type(candidate.index) == "number" and candidate.index or i - 1
      read_candidate_event(candidate, choice, out, stream)
    end
  end
  return out
end

return {
  finish_reasons = finish_reasons, finish_out = FINISH_OUT, read = read_answer, write = write_answer, read_event = read_event,
  write_usage = write_usage, grounding = grounding,
}
