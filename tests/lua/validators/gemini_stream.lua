--- gemini_stream.lua - the events of streamGenerateContent, as the reference describes them: pieces of one answer.
local check = require "validators.check"
local json = require "moongate.json"
local sse = require "validators.sse"
local fail, is, object, each, one_of, optional = check.fail, check.is, check.object, check.each, check.one_of, check.optional

local function signature(value, at)
  is(value, "string", at)
  if #value % 4 ~= 0 or value:find "[^%w+/=]" then
    fail(at, "is no base64, which clients decode: %s", value)
  end
end

local PART = {
  text = "string?", thought = "boolean?", thoughtSignature = optional(signature),
  inlineData = optional(function(value, at)
    object(value, { mimeType = "string", data = "string" }, at)
  end),
  functionCall = optional(function(value, at)
    object(value, { id = "string?", name = "string", args = "object" }, at)
  end),
}

local function part(value, at)
  object(value, PART, at)
  local count = (value.text and 1 or 0) + (value.functionCall and 1 or 0) + (value.inlineData and 1 or 0)
  if count ~= 1 then
    fail(at, "has %d data members", count)
  end
end

local REASONS = "STOP MAX_TOKENS SAFETY RECITATION OTHER BLOCKLIST PROHIBITED_CONTENT SPII MALFORMED_FUNCTION_CALL"

local function candidate(value, at)
  object(value, {
    index = "integer?", finishReason = optional(one_of(REASONS)), groundingMetadata = "object?",
    content = optional(function(content, inner)
      object(content, { role = one_of "model", parts = "list" }, inner)
      each(content.parts, inner .. ".parts", part)
    end),
  }, at)
end

local USAGE = {
  promptTokenCount = "integer", candidatesTokenCount = "integer?", thoughtsTokenCount = "integer?",
  cachedContentTokenCount = "integer?", totalTokenCount = "integer",
}

local function usage(value, at)
  object(value, USAGE, at)
  local sum = value.promptTokenCount + (value.candidatesTokenCount or 0) + (value.thoughtsTokenCount or 0)
  if value.totalTokenCount ~= sum then
    fail(at, "totalTokenCount is not the sum")
  end
end

local RESPONSE = {
  candidates = optional(function(value, at)
    each(value, at, candidate)
  end),
  usageMetadata = optional(usage), modelVersion = "string", responseId = "string",
}

--- One answer, or one piece of one.
local function response(value, at)
  object(value, RESPONSE, at or "response")
end

local function add(state, value)
  local index = value.index or 0
  local choice = state.choices[index] or { parts = {} }
  state.choices[index] = choice
  if choice.finish then
    fail("candidate", "%d goes on after its finishReason", index)
  end
  for _, each_part in ipairs(value.content and value.content.parts or {}) do
    table.insert(choice.parts, each_part)
  end
  choice.finish, choice.grounding = value.finishReason, value.groundingMetadata
end

--- Raises what breaks the format; gives the candidates as a client would put them together, and the usage.
return function(text)
  local state = { choices = {} }
  for _, event in ipairs(sse(text)) do
    if event.name then
      fail("event", "has the name %s", event.name)
    end
    local data = json.decode(event.data) or fail("data", "is no JSON: %s", event.data)
    response(data)
    state.usage = data.usageMetadata or state.usage
    for _, value in ipairs(data.candidates or {}) do
      add(state, value)
    end
  end
  if not next(state.choices) then
    fail("stream", "has no candidate")
  end
  for index, choice in pairs(state.choices) do
    if not choice.finish then
      fail("candidate", "%d has no finishReason", index)
    end
  end
  return state
end
