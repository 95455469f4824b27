--- openai_chat_request.lua - a request as OpenAI's Chat Completions takes it: members, roles, results after their calls.
local check = require "validators.check"
local fail, is, object, each, one_of, optional = check.fail, check.is, check.object, check.each, check.one_of, check.optional

local breakpoint = optional(function(value, at)
  object(value, { mode = one_of "explicit", ttl = optional(one_of "30m 12h") }, at)
end)

local function text_part(value, at)
  object(value, { type = "string", text = "string", prompt_cache_breakpoint = breakpoint }, at)
end

local function data_url(value, at)
  is(value, "string", at)
  if not value:find "^data:[%w/+.-]+;base64,[%w+/]+=*$" then
    fail(at, "is no data URL")
  end
end

local PARTS = {
  text = text_part,
  image_url = function(value, at)
    object(value, { type = "string", prompt_cache_breakpoint = breakpoint, image_url = function(image, inner)
      object(image, { url = "string", detail = optional(one_of "auto low high original") }, inner)
      if not image.url:find "^https?://" then
        data_url(image.url, inner .. ".url")
      end
    end }, at)
  end,
  input_audio = function(value, at)
    object(value, { type = "string", prompt_cache_breakpoint = breakpoint, input_audio = function(audio, inner)
      object(audio, { data = "string", format = one_of "wav mp3" }, inner)
    end }, at)
  end,
  file = function(value, at)
    object(value, { type = "string", prompt_cache_breakpoint = breakpoint, file = function(file, inner)
      object(file, { file_id = "string?", filename = "string?", file_data = optional(data_url) }, inner)
      if not file.file_id and not (file.file_data and file.filename) then
        fail(inner, "needs file_id, or filename and file_data")
      end
    end }, at)
  end,
}
local user_part, plain_part = check.by_type(PARTS), check.by_type { text = text_part }

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

local call = check.by_type {
  ["function"] = function(value, at)
    object(value, { id = call_id, type = "string", ["function"] = function(of, inner)
      object(of, { name = name, arguments = "string" }, inner)
    end }, at)
  end,
  custom = function(value, at)
    object(value, { id = call_id, type = "string", custom = function(of, inner)
      object(of, { name = name, input = "string" }, inner)
    end }, at)
  end,
}

local MESSAGES = {
  system = { role = "string", content = content(plain_part), name = "string?" },
  developer = { role = "string", content = content(plain_part), name = "string?" },
  user = { role = "string", content = content(user_part), name = "string?" },
  tool = { role = "string", content = content(plain_part), tool_call_id = call_id },
  assistant = {
    role = "string", name = "string?", refusal = "string|null?", audio = "object?", content = optional(function(value, at)
      if check.kind_of(value) ~= "null" then
        content(check.by_type { text = text_part, refusal = function(part, inner)
          object(part, { type = "string", refusal = "string" }, inner)
        end })(value, at)
      end
    end),
    tool_calls = optional(function(value, at)
      each(value, at, call)
      if #value == 0 then
        fail(at, "is empty")
      end
    end),
  },
}

local function check_messages(messages, at)
  local open, any_open = {}, false
  each(messages, at, function(message, here)
    local shape = MESSAGES[message.role] or fail(here, "has the unknown role '%s'", tostring(message.role))
    object(message, shape, here)
    if message.role == "tool" then
      if not open[message.tool_call_id] then
        fail(here, "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'")
      end
      open[message.tool_call_id] = nil
    else
      any_open = next(open)
      if any_open then
        fail(here, "an assistant message with 'tool_calls' must be followed by tool messages responding to each id: %s", any_open)
      end
    end
    for _, each_call in ipairs(message.tool_calls or {}) do
      open[each_call.id] = true
    end
    if message.role == "assistant" and not message.tool_calls and type(message.content) ~= "string"
      and type(message.content) ~= "table" and type(message.refusal) ~= "string" then
      fail(here, "content is required unless tool_calls is specified")
    end
  end)
  if next(open) then
    fail(at, "calls without a result at the end")
  end
end

local tool = check.by_type {
  ["function"] = function(value, at)
    object(value, { type = "string", ["function"] = function(of, inner)
      object(of, { name = name, description = "string?", parameters = "object?", strict = "boolean|null?" }, inner)
    end }, at)
  end,
  custom = function(value, at)
    object(value, { type = "string", custom = function(of, inner)
      object(of, { name = name, description = "string?", format = "object?" }, inner)
    end }, at)
  end,
}

local SHAPE = {
  model = "string", messages = check_messages, stream = "boolean?", temperature = "number?", top_p = "number?",
  max_completion_tokens = "integer?", max_tokens = "integer?", stop = optional(function(value, at)
    if type(value) ~= "string" then
      each(value, at, is and function(item, inner)
        is(item, "string", inner)
      end)
      if #value > 4 then
        fail(at, "array too long. Expected maximum length 4")
      end
    end
  end),
  seed = "integer?", n = "integer?", presence_penalty = "number?", frequency_penalty = "number?", logit_bias = "object?",
  logprobs = "boolean?", top_logprobs = "integer?", safety_identifier = "string?", metadata = "object?",
  service_tier = optional(one_of "auto default flex scale priority fast"), store = "boolean?", prompt_cache_key = "string?",
  prompt_cache_options = "object?", modalities = "list?", audio = "object?", web_search_options = "object?",
  verbosity = optional(one_of "low medium high"),
  reasoning_effort = optional(one_of "none minimal low medium high xhigh max"),
  stream_options = optional(function(value, at)
    object(value, { include_usage = "boolean?", include_obfuscation = "boolean?" }, at)
  end),
  tools = optional(function(value, at)
    each(value, at, tool)
  end),
  tool_choice = optional(function(value, at)
    if type(value) == "string" then
      one_of "none auto required"(value, at)
    else
      one_of "function custom allowed_tools"(value.type, at .. ".type")
    end
  end),
  parallel_tool_calls = "boolean?",
  response_format = optional(check.by_type {
    text = function() end,
    json_object = function(value, at)
      object(value, { type = "string" }, at)
    end,
    json_schema = function(value, at)
      object(value, { type = "string", json_schema = function(of, inner)
        object(of, { name = name, schema = "object?", strict = "boolean|null?", description = "string?" }, inner)
      end }, at)
    end,
  }),
}

--- Raises what the API would refuse.
return function(body)
  object(body, SHAPE, "body")
  if body.stream_options and not body.stream then
    fail("stream_options", "is only allowed when 'stream' is enabled")
  elseif body.parallel_tool_calls ~= nil and not body.tools then
    fail("parallel_tool_calls", "is only allowed when 'tools' are specified")
  elseif body.tool_choice and not body.tools then
    fail("tool_choice", "is only allowed when 'tools' are specified")
  elseif body.max_tokens and body.max_completion_tokens then
    fail("max_tokens", "and max_completion_tokens cannot both be set")
  end
end
