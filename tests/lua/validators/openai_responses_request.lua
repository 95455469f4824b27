--- openai_responses_request.lua - a request as the Responses API takes it: items, their order, calls and their outputs.
local check = require "validators.check"
local fail, is, object, each, one_of, optional = check.fail, check.is, check.object, check.each, check.one_of, check.optional

local breakpoint = optional(function(value, at)
  object(value, { mode = one_of "explicit", ttl = optional(one_of "30m 12h") }, at)
end)

local function url(value, at)
  is(value, "string", at)
  if not value:find "^https?://" and not value:find "^data:[%w/+.-]+;base64,[%w+/]+=*$" then
    fail(at, "Expected a valid URL or a base64-encoded data URL")
  end
end

local INPUT = {
  input_text = function(value, at)
    object(value, { type = "string", text = "string", prompt_cache_breakpoint = breakpoint }, at)
  end,
  input_image = function(value, at)
    object(value, { type = "string", image_url = optional(url), file_id = "string?", prompt_cache_breakpoint = breakpoint,
                    detail = optional(one_of "auto low high original") }, at)
    if not value.image_url == not value.file_id then
      fail(at, "needs one of image_url and file_id")
    end
  end,
  input_file = function(value, at)
    object(value, { type = "string", file_id = "string?", file_url = "string?", filename = "string?", file_data = optional(url),
                    prompt_cache_breakpoint = breakpoint }, at)
    if not (value.file_id or value.file_url or value.filename and value.file_data) then
      fail(at, "needs file_id, file_url, or filename and file_data")
    end
  end,
}
local OUTPUT = {
  output_text = function(value, at)
    object(value, { type = "string", text = "string", annotations = "list?", logprobs = "list?" }, at)
  end,
  refusal = function(value, at)
    object(value, { type = "string", refusal = "string" }, at)
  end,
}
local input_part, output_part = check.by_type(INPUT), check.by_type(OUTPUT)

local function content(rule)
  return function(value, at)
    if type(value) ~= "string" then
      each(value, at, rule)
      if #value == 0 then
        fail(at, "must not be empty")
      end
    end
  end
end

local function name(value, at)
  is(value, "string", at)
  if not value:find "^[%w_-]+$" or #value > 64 then
    fail(at, "must match '^[a-zA-Z0-9_-]{1,64}$'")
  end
end

local function call_id(value, at)
  is(value, "string", at)
  if value == "" or #value > 64 then
    fail(at, "string too long. Expected a string with maximum length 64")
  end
end

local ITEMS = {
  message = function(value, at)
    object(value, { type = "string?", role = one_of "user system developer assistant", id = "string?", status = "string?",
                    content = content(value.role == "assistant" and output_part or input_part) }, at)
  end,
  function_call = function(value, at)
    object(value, { type = "string", id = "string?", status = "string?", call_id = call_id, name = name, arguments = "string" }, at)
  end,
  function_call_output = function(value, at)
    object(value, { type = "string", call_id = call_id, output = content(input_part) }, at)
  end,
  custom_tool_call = function(value, at)
    object(value, { type = "string", id = "string?", call_id = call_id, name = name, input = "string" }, at)
  end,
  custom_tool_call_output = function(value, at)
    object(value, { type = "string", call_id = call_id, output = content(input_part) }, at)
  end,
  reasoning = function(value, at)
    object(value, { type = "string", id = "string", encrypted_content = "string", summary = function(list, inner)
      each(list, inner, function(part, here)
        object(part, { type = one_of "summary_text", text = "string" }, here)
      end)
    end }, at)
    if not value.id:find "^rs_" then
      fail(at, "Invalid 'id': Expected an ID that begins with 'rs'.")
    elseif value.encrypted_content:find "^mg1:" then
      fail(at, "The encrypted content could not be verified.")
    end
  end,
}

local FOLLOWS = { message = true, function_call = true, custom_tool_call = true, reasoning = true }

local function check_input(input, at)
  if type(input) == "string" then
    return
  end
  local open = {}
  each(input, at, function(item, here, i)
    local kind = item.type or "message"
    local rule = ITEMS[kind] or fail(here, "Invalid value: '%s'", tostring(kind))
    rule(item, here)
    local opened = kind:match "^(.*)_call$" or kind:match "^(custom_tool)_call$"
    if kind:find "_output$" then
      if open[item.call_id] ~= kind:gsub("_output$", "") then
        fail(here, "No tool call found for %s with call_id %s.", kind, item.call_id)
      end
      open[item.call_id] = nil
    elseif opened then
      if open[item.call_id] then
        fail(here, "the call_id %s is used twice", item.call_id)
      end
      open[item.call_id] = kind
    elseif kind == "reasoning" then
      local next_item = input[i + 1]
      if not next_item or not FOLLOWS[next_item.type or "message"] or next_item.role and next_item.role ~= "assistant" then
        fail(here, "Item '%s' of type 'reasoning' was provided without its required following item.", item.id)
      end
    end
  end)
  local id = next(open)
  if id then
    fail(at, "No tool output found for function call %s.", id)
  elseif #input == 0 then
    fail(at, "must not be empty")
  end
end

local tool = check.by_type {
  ["function"] = function(value, at)
    object(value, { type = "string", name = name, description = "string?", strict = "boolean", parameters = "object" }, at)
  end,
  custom = function(value, at)
    object(value, { type = "string", name = name, description = "string?", format = "object?" }, at)
  end,
}

local function tool_choice(value, at)
  if type(value) == "string" then
    return one_of "none auto required"(value, at)
  elseif value.type == "allowed_tools" then
    object(value, { type = "string", mode = one_of "auto required", tools = "list" }, at)
    each(value.tools, at .. ".tools", function(one, inner)
      object(one, { type = one_of "function custom", name = name }, inner)
    end)
  else
    object(value, { type = one_of "function custom", name = name }, at)
  end
end

local SHAPE = {
  model = "string", input = check_input, instructions = "string|null?", stream = "boolean?", store = "boolean",
  max_output_tokens = optional(function(value, at)
    is(value, "integer", at)
    if value < 16 then
      fail(at, "integer below minimum value. Expected a value >= 16")
    end
  end),
  temperature = "number?", top_p = "number?", top_logprobs = "integer?", safety_identifier = "string?", metadata = "object?",
  service_tier = optional(one_of "auto default flex scale priority fast ultrafast"), prompt_cache_key = "string?",
  prompt_cache_options = "object?", parallel_tool_calls = "boolean?", max_tool_calls = "integer?",
  truncation = optional(one_of "auto disabled"),
  include = optional(function(value, at)
    each(value, at, one_of "reasoning.encrypted_content message.output_text.logprobs")
  end),
  tools = optional(function(value, at)
    each(value, at, tool)
  end),
  tool_choice = optional(tool_choice),
  reasoning = optional(function(value, at)
    object(value, { effort = "string?", summary = optional(one_of "auto concise detailed") }, at) -- models have words of their own
  end),
  text = optional(function(value, at)
    object(value, { verbosity = optional(one_of "low medium high"), format = optional(check.by_type {
      text = function() end,
      json_object = function(form, inner)
        object(form, { type = "string" }, inner)
      end,
      json_schema = function(form, inner)
        object(form, { type = "string", name = name, schema = "object", strict = "boolean|null?", description = "string?" }, inner)
      end,
    }) }, at)
  end),
}

local function says_json(value)
  if type(value) == "string" then
    return value:lower():find("json", 1, true) ~= nil
  end
  for _, inner in pairs(type(value) == "table" and value or {}) do
    if says_json(inner) then
      return true
    end
  end
  return false
end

--- Raises what the API would refuse.
return function(body)
  object(body, SHAPE, "body")
  local form = body.text and body.text.format
  if form and form.type == "json_object" and not says_json(body.input) and not says_json(body.instructions) then
    fail("input", "must contain the word 'json' in some form to use 'text.format' of type 'json_object'.")
  elseif body.tool_choice and not body.tools then
    fail("tool_choice", "is only allowed when 'tools' are specified.")
  elseif body.parallel_tool_calls ~= nil and not body.tools then
    fail("parallel_tool_calls", "is only allowed when 'tools' are specified.")
  end
  for _, included in ipairs(body.include or {}) do
    if included == "reasoning.encrypted_content" and body.model:find "^gpt%-4" then
      fail("include", "Encrypted content is not supported with this model.")
    end
  end
end
