--- gemini_answer.lua - an answer as generateContent gives it, whole or a piece of one.
local check = require "validators.check"
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
    index = "integer?", finishReason = optional(one_of(REASONS)), groundingMetadata = "object?", logprobsResult = "object?",
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

return function(value, at)
  object(value, RESPONSE, at)
end
