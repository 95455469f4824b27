--- gemini_request.lua - a request as generateContent takes it: contents, calls and their responses, one thing per part.
local check = require "validators.check"
local fail, is, object, each, one_of, optional = check.fail, check.is, check.object, check.each, check.one_of, check.optional

local function base64(value, at)
  is(value, "string", at)
  if #value % 4 ~= 0 or value:find "[^%w+/=]" then
    fail(at, "Base64 decoding failed")
  end
end

local function signature(value, at)
  if value ~= "skip_thought_signature_validator" then
    base64(value, at)
  end
  if value:find "^bWcxO" then
    fail(at, "Thought signature is not valid.")
  end
end

local function name(value, at)
  is(value, "string", at)
  if not value:find "^[%a_][%w_.:-]*$" or #value > 64 then
    fail(at, "Invalid function name. Must start with a letter or an underscore.")
  end
end

local function mime(value, at)
  is(value, "string", at)
  if not value:find "^[%w-]+/[%w.+-]+$" then
    fail(at, "is no media type")
  end
end

local function blob(value, at)
  object(value, { mimeType = mime, data = base64, displayName = "string?" }, at)
end

local DATA = {
  text = "string",
  inlineData = blob,
  fileData = function(value, at)
    object(value, { mimeType = optional(mime), fileUri = "string" }, at)
  end,
  functionCall = function(value, at)
    object(value, { id = "string?", name = name, args = "object" }, at)
  end,
  functionResponse = function(value, at)
    object(value, { id = "string?", name = name, response = "object", parts = optional(function(parts, inner)
      each(parts, inner, function(part, here)
        object(part, { inlineData = blob }, here)
      end)
    end) }, at)
  end,
  executableCode = "object", codeExecutionResult = "object",
}
local MODIFIERS = { thought = "boolean?", thoughtSignature = optional(signature), mediaResolution = "object?", videoMetadata = "object?" }
local PART = {}
for member, rule in pairs(MODIFIERS) do
  PART[member] = rule
end
for member, rule in pairs(DATA) do
  PART[member] = type(rule) == "string" and rule .. "?" or optional(rule)
end

local function part(value, at)
  object(value, PART, at)
  local count = 0
  for member in pairs(DATA) do
    count = count + (value[member] ~= nil and 1 or 0)
  end
  if count ~= 1 then
    fail(at, "required oneof field 'data' must have one initialized field")
  end
end

--- The calls of a content, and the names that its responses are for.
local function survey(content)
  local calls, responses = {}, {}
  for _, each_part in ipairs(content.parts) do
    if each_part.functionCall then
      table.insert(calls, each_part)
    elseif each_part.functionResponse then
      table.insert(responses, each_part.functionResponse)
    end
  end
  return calls, responses
end

local function check_responses(calls, responses, at)
  if #calls ~= #responses then
    fail(at, "Please ensure that the number of function response parts is equal to the number of function call parts.")
  end
  local used = {}
  for i, response in ipairs(responses) do
    for k, call in ipairs(calls) do
      local of = call.functionCall
      if not used[k] and of.name == response.name and (not response.id or of.id == response.id) then
        used[k], used[i .. ""] = true, true
        break
      end
    end
    if not used[i .. ""] then
      fail(at, "a response for %s, which was not called", response.name)
    end
  end
end

--- Newer models want the calls of the current turn signed: the first of each step.
local function check_signatures(contents, at)
  for i = #contents, 1, -1 do
    local calls, responses = survey(contents[i])
    if contents[i].role == "user" and #responses == 0 then
      return
    elseif #calls > 0 and not calls[1].thoughtSignature then
      fail(("%s[%d]"):format(at, i - 1), "Function call is missing a thought_signature in functionCall parts.")
    end
  end
end

local function check_contents(contents, at)
  local last, calls = nil, {}
  each(contents, at, function(content, here)
    object(content, { role = one_of "user model", parts = "list" }, here)
    each(content.parts, here .. ".parts", part)
    if #content.parts == 0 then
      fail(here, "contents.parts must not be empty.")
    elseif content.role == last then
      fail(here, "roles must alternate")
    end
    last = content.role
    local now, responses = survey(content)
    if content.role == "model" and #responses > 0 or content.role == "user" and #now > 0 then
      fail(here, "Please use a valid role")
    end
    check_responses(calls, responses, here)
    for i = 1, #responses do
      if not content.parts[i].functionResponse then
        fail(here, "responses do not come first, side by side")
      end
    end
    calls = now
  end)
  if #calls > 0 then
    fail(at, "calls without responses at the end")
  elseif #contents == 0 then
    fail(at, "contents is not specified")
  end
end

local function declaration(value, at)
  object(value, { name = name, description = "string?", parametersJsonSchema = "object?", parameters = "object?" }, at)
  if value.parameters and value.parametersJsonSchema then
    fail(at, "only one of parameters and parametersJsonSchema")
  end
end

local function no_const(value, at)
  for member, inner in pairs(type(value) == "table" and value or {}) do
    if member == "const" then
      fail(at, "Unknown name \"const\"")
    end
    no_const(inner, at)
  end
end

local CONFIG = {
  temperature = "number?", topP = "number?", topK = "number?", candidateCount = "integer?", maxOutputTokens = "integer?",
  stopSequences = "list?", seed = "integer?", presencePenalty = "number?", frequencyPenalty = "number?",
  responseMimeType = optional(one_of "text/plain application/json text/x.enum"), responseJsonSchema = optional(no_const),
  responseSchema = "object?", responseLogprobs = "boolean?", logprobs = "integer?", mediaResolution = "string?", speechConfig = "object?",
  responseModalities = optional(function(value, at)
    each(value, at, one_of "TEXT IMAGE AUDIO VIDEO")
  end),
  thinkingConfig = optional(function(value, at)
    object(value, { includeThoughts = "boolean?", thinkingBudget = "integer?",
                    thinkingLevel = optional(one_of "MINIMAL LOW MEDIUM HIGH") }, at)
    if value.thinkingBudget and value.thinkingLevel then
      fail(at, "You can only set only one of thinking budget and thinking level.")
    end
  end),
}

local SHAPE = {
  contents = check_contents,
  systemInstruction = optional(function(value, at)
    object(value, { role = "string?", parts = "list" }, at)
    each(value.parts, at .. ".parts", part)
  end),
  tools = optional(function(value, at)
    local functions = 0
    each(value, at, function(tool, here)
      object(tool, { functionDeclarations = "list?", googleSearch = "object?", codeExecution = "object?", urlContext = "object?" }, here)
      if tool.functionDeclarations then
        functions = functions + 1
        each(tool.functionDeclarations, here .. ".functionDeclarations", declaration)
      end
    end)
    if functions > 1 then
      fail(at, "Multiple tools are supported only when they are all search tools.")
    end
  end),
  toolConfig = optional(function(value, at)
    object(value, { functionCallingConfig = function(config, inner)
      object(config, { mode = one_of "AUTO ANY NONE VALIDATED", allowedFunctionNames = optional(function(names, here)
        each(names, here, name)
      end) }, inner)
      if config.allowedFunctionNames and config.mode ~= "ANY" and config.mode ~= "VALIDATED" then
        fail(inner, "allowed_function_names should only be set when the mode is ANY or VALIDATED")
      end
    end }, at)
  end),
  safetySettings = "list?", cachedContent = "string?", labels = "object?", serviceTier = optional(one_of "flex standard priority"),
  generationConfig = optional(function(value, at)
    object(value, CONFIG, at)
    if value.responseJsonSchema and value.responseMimeType ~= "application/json" then
      fail(at, "response_schema is only allowed with response_mime_type application/json")
    end
  end),
}

--- Raises what the API would refuse. `generation` is the model's.
return function(body, options)
  object(body, SHAPE, "body")
  local config = body.generationConfig or {}
  local thinking = config.thinkingConfig or {}
  local generation = tonumber(((options or {}).model or "gemini-2.5"):match "gemini%-(%d+)")
  if generation >= 3 then
    check_signatures(body.contents, "contents")
  elseif thinking.thinkingLevel then
    fail("generationConfig", "Thinking level is not supported for this model.")
  elseif config.presencePenalty or config.frequencyPenalty then
    fail("generationConfig", "Penalty is not enabled for this model")
  end
end
