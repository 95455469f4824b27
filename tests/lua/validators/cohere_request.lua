--- cohere_request.lua - what Cohere's Chat API (version 2) takes, from its published schema and its list of errors.
local check = require "validators.check"

local each, fail, is, object, one_of, optional = check.each, check.fail, check.is, check.object, check.one_of, check.optional

local function within(least, most)
  return optional(function(value, at)
    is(value, "number", at)
    if value < least or value > most then
      fail(at, "must be between %s and %s inclusive", least, most)
    end
  end)
end

local function filled(value, at)
  is(value, "string", at)
  if not value:find "%S" then
    fail(at, "must not be empty in a turn")
  end
end

local function text_block(value, at)
  object(value, { type = "string", text = filled }, at)
end

local function image(value, at)
  object(value, { type = "string", image_url = function(of, inner)
    object(of, { detail = optional(one_of "auto low high"), url = function(url, place)
      is(url, "string", place)
      if not url:find "^https?://" and not url:find "^data:image/[a-z]+;base64,[%w+/=]+$" then
        fail(place, "is neither an address nor a data URL of an image")
      end
    end }, inner)
  end }, at)
end

local function document(value, at)
  object(value, { id = "string?", data = function(data, inner)
    is(data, "object", inner)
    if next(data) == nil then
      fail(inner, "cannot be empty")
    end
  end }, at)
end

local function content_of(rules)
  local block = check.by_type(rules)
  return function(value, at)
    if type(value) == "string" then
      return filled(value, at)
    end
    each(value, at, block)
    if #value == 0 then
      fail(at, "must not be empty in a turn")
    end
  end
end

local function tool_name(value, at)
  is(value, "string", at)
  if not value:find "^[%a_][%w_]*$" then
    fail(at, "tool names can only contain certain characters (A-Za-z0-9_) and can't begin with a digit (provided name: '%s')", value)
  end
end

local function call(value, at)
  object(value, { id = filled, type = one_of "function", ["function"] = function(of, inner)
    object(of, { name = tool_name, arguments = function(text, place)
      is(text, "string", place)
      if not text:find "^%s*{" then
        fail(place, "is no JSON object")
      end
    end }, inner)
  end }, at)
end

local MESSAGES = {
  system = { role = "string", content = content_of { text = text_block } },
  user = { role = "string", content = content_of { text = text_block, image_url = image } },
  tool = { role = "string", tool_call_id = filled, content = content_of { text = text_block, document = function(value, at)
    object(value, { type = "string", document = document }, at)
  end } },
  assistant = {
    role = "string", tool_plan = "string?", citations = "list?",
    tool_calls = optional(function(value, at)
      each(value, at, call)
    end),
    content = optional(content_of { text = text_block, thinking = function(value, at)
      object(value, { type = "string", thinking = filled }, at)
    end }),
  },
}

--- Calls are answered at once, each and no other.
local function check_calls(messages, at)
  local open, waiting, seen = {}, 0, {}
  for i, message in ipairs(messages) do
    local here = ("%s[%d]"):format(at, i - 1)
    if message.role == "tool" then
      if not open[message.tool_call_id] then
        fail(here, "tool call id not found in previous tool calls")
      end
      open[message.tool_call_id], waiting = nil, waiting - 1
    elseif waiting > 0 then
      fail(here, "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'")
    end
    for _, each_call in ipairs(message.tool_calls or {}) do
      if seen[each_call.id] then
        fail(here, "cannot have duplicate tool ids")
      end
      open[each_call.id], seen[each_call.id], waiting = true, true, waiting + 1
    end
  end
  if waiting > 0 then
    fail(at, "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'")
  end
end

local function check_messages(messages, at)
  each(messages, at, function(message, here, i)
    is(message, "object", here)
    object(message, MESSAGES[message.role] or fail(here, "has the unknown role '%s'", tostring(message.role)), here)
    if message.role == "system" and i > 1 then
      fail(here, "system turn must be the first in the list")
    elseif message.role == "assistant" and not message.content and not message.tool_calls then
      fail(here, "all elements in history must have a message")
    end
  end)
  local last = messages[#messages]
  if not last or last.role ~= "user" and last.role ~= "tool" then
    fail(at, "must end with the user's or a tool's")
  end
  check_calls(messages, at)
end

local function tool(value, at)
  object(value, { type = one_of "function", ["function"] = function(of, inner)
    object(of, { name = tool_name, description = "string?", parameters = "object" }, inner)
  end }, at)
end

--- What is enforced has an object at its root, and a member that must be there in every object.
local UNKNOWN = { "allOf", "oneOf", "not", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength" }

local function enforced(value, at)
  is(value, "object", at)
  for _, word in ipairs(UNKNOWN) do
    if value[word] ~= nil then
      fail(at, "has '%s', which is not supported", word)
    end
  end
  if value.properties and next(value.properties) and not (value.required and value.required[1]) then
    fail(at, "required field name not found in properties")
  end
  for name, inner in pairs(value.properties or {}) do
    enforced(inner, at .. "." .. name)
  end
  if value.items then
    enforced(value.items, at .. ".items")
  end
end

local function response_format(value, at)
  object(value, { type = one_of "text json_object", json_schema = optional(function(of, inner)
    if of.type ~= "object" then
      fail(inner, "schema must be an object")
    end
    enforced(of, inner)
  end) }, at)
end

return function(body)
  object(body, {
    model = "string", messages = check_messages, stream = "boolean?", tools = optional(function(value, at)
      each(value, at, tool)
    end),
    strict_tools = "boolean?", tool_choice = optional(one_of "REQUIRED NONE"), response_format = optional(response_format),
    documents = optional(function(value, at)
      each(value, at, document)
      if #value == 0 then
        fail(at, "list of documents must not be empty")
      end
    end),
    thinking = optional(function(value, at)
      object(value, { type = one_of "enabled disabled", token_budget = within(1, 1e6) }, at)
    end),
    citation_options = "object?", safety_mode = optional(one_of "CONTEXTUAL STRICT OFF"), priority = "integer?",
    max_tokens = "integer?", temperature = within(0, 1), p = within(0.01, 0.99), k = within(0, 500), seed = "integer?",
    frequency_penalty = within(0, 1), presence_penalty = within(0, 1), logprobs = "boolean?",
    stop_sequences = optional(function(value, at)
      each(value, at, function(sequence, here)
        is(sequence, "string", here)
        if sequence == "" then
          fail(here, "contains an element that is the empty string")
        end
      end)
      if #value > 5 then
        fail(at, "has more than 5")
      end
    end),
  }, "body")
  if body.response_format and (body.tools or body.documents) then
    fail("body", "invalid request: response_format is not supported with RAG")
  elseif body.tool_choice and not body.tools then
    fail("body.tool_choice", "needs tools")
  end
end
