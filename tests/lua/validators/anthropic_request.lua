--- anthropic_request.lua - a request as Anthropic's API takes it: members, order of blocks and results, limits.
local check = require "validators.check"
local fail, is, object, each, one_of, optional = check.fail, check.is, check.object, check.each, check.one_of, check.optional

local marks

local cache_control = optional(function(value, at)
  marks = marks + 1
  object(value, { type = one_of "ephemeral", ttl = optional(one_of "5m 1h") }, at)
end)

local function text_block(value, at)
  object(value, { type = "string", text = "string", cache_control = cache_control, citations = "list|null?" }, at)
  if value.text == "" then
    fail(at, "text content blocks must be non-empty")
  end
end

local function base64(value, at)
  is(value, "string", at)
  if #value % 4 ~= 0 or value:find "[^%w+/=]" then
    fail(at, "is no base64")
  end
end

local image_source = check.by_type {
  base64 = function(value, at)
    object(value, { type = "string", data = base64, media_type = one_of "image/jpeg image/png image/gif image/webp" }, at)
  end,
  url = function(value, at)
    object(value, { type = "string", url = "string" }, at)
    if not value.url:find "^https?://" then
      fail(at, "is no http URL")
    end
  end,
  file = function(value, at)
    object(value, { type = "string", file_id = "string" }, at)
  end,
}

local function image(value, at)
  object(value, { type = "string", source = image_source, cache_control = cache_control }, at)
end

local document_source = check.by_type {
  base64 = function(value, at)
    object(value, { type = "string", data = base64, media_type = one_of "application/pdf" }, at)
  end,
  text = function(value, at)
    object(value, { type = "string", data = "string", media_type = one_of "text/plain" }, at)
  end,
  url = function(value, at)
    object(value, { type = "string", url = "string" }, at)
  end,
  file = function(value, at)
    object(value, { type = "string", file_id = "string" }, at)
  end,
}

local function document(value, at)
  object(value, { type = "string", source = document_source, title = "string?", context = "string?",
                  citations = "object?", cache_control = cache_control }, at)
end

local function call_id(value, at)
  is(value, "string", at)
  if not value:find "^[%w_-]+$" then
    fail(at, "String should match pattern '^[a-zA-Z0-9_-]+$'")
  end
end

local function tool_name(value, at)
  is(value, "string", at)
  if not value:find "^[%w_-]+$" or #value > 128 then
    fail(at, "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
  end
end

local result_content = check.by_type { text = text_block, image = image, document = document }

local user_block = check.by_type {
  text = text_block, image = image, document = document,
  tool_result = function(value, at)
    object(value, { type = "string", tool_use_id = call_id, is_error = "boolean?", cache_control = cache_control,
                    content = optional(function(content, inner)
      if type(content) ~= "string" then
        each(content, inner, result_content)
      end
    end) }, at)
  end,
}

local assistant_block = check.by_type {
  text = text_block,
  thinking = function(value, at)
    object(value, { type = "string", thinking = "string", signature = "string" }, at)
    if value.signature == "" or value.signature:find "^mg1:" then
      fail(at, "Invalid `signature` in `thinking` block")
    end
  end,
  redacted_thinking = function(value, at)
    object(value, { type = "string", data = "string" }, at)
    if value.data:find "^mg1:" then
      fail(at, "Invalid `data` in `redacted_thinking` block")
    end
  end,
  tool_use = function(value, at)
    object(value, { type = "string", id = call_id, name = tool_name, input = "object", cache_control = cache_control }, at)
  end,
}

--- Results come first, one for each call of the turn before, and for no other.
local function check_results(content, at, called)
  local others, answered = false, {}
  for i, block in ipairs(content) do
    if block.type == "tool_result" then
      if others then
        fail(at, "tool_result blocks must come first in the message")
      elseif not called[block.tool_use_id] then
        fail(("%s[%d]"):format(at, i - 1), "unexpected `tool_use_id` found in `tool_result` blocks: %s", block.tool_use_id)
      elseif answered[block.tool_use_id] then
        fail(at, "each tool_use must have a single result")
      end
      answered[block.tool_use_id] = true
    else
      others = true
    end
  end
  for id in pairs(called) do
    if not answered[id] then
      fail(at, "`tool_use` ids were found without `tool_result` blocks immediately after: %s", id)
    end
  end
end

local function check_messages(messages, at)
  is(messages, "list", at)
  local called, last, uses_tools = {}, nil, false
  each(messages, at, function(message, here)
    object(message, { role = one_of "user assistant", content = "string|list" }, here)
    if message.role == last then
      fail(here, "roles must alternate") -- the server merges; a gateway does so itself, to be the same every time
    end
    last = message.role
    local content = message.content
    if type(content) == "string" then
      content = { { type = "text", text = content } }
    end
    if #content == 0 then
      fail(here, "messages must have non-empty content")
    end
    each(content, here .. ".content", message.role == "user" and user_block or assistant_block)
    if message.role == "user" then
      check_results(content, here .. ".content", called)
      called = {}
    else
      for _, block in ipairs(content) do
        uses_tools = uses_tools or block.type == "tool_use"
        called[block.id or false] = block.type == "tool_use" or nil
      end
    end
  end)
  if #messages == 0 then
    fail(at, "at least one message is required")
  elseif messages[1].role ~= "user" then
    fail(at, "first message must use the user role")
  end
  return uses_tools
end

local function check_tool(tool, at)
  object(tool, { name = tool_name, description = "string?", input_schema = "object", strict = "boolean?", type = "string?",
                 cache_control = cache_control }, at)
  if tool.input_schema.type ~= "object" then
    fail(at, "input_schema.type: Field required to be 'object'")
  end
end

local function check_thinking(body)
  local thinking = body.thinking
  if thinking and thinking.type == "enabled" then
    if thinking.budget_tokens < 1024 or thinking.budget_tokens >= body.max_tokens then
      fail("thinking", "budget_tokens must be at least 1024 and less than max_tokens")
    elseif body.temperature or body.top_k or body.top_p and body.top_p < 0.95 then
      fail("thinking", "sampling parameters may not be set when thinking is enabled")
    elseif body.tool_choice and (body.tool_choice.type == "any" or body.tool_choice.type == "tool") then
      fail("thinking", "Thinking may not be enabled when tool_choice forces tool use.")
    end
  end
end

local thinking = check.by_type {
  enabled = function(value, at)
    object(value, { type = "string", budget_tokens = "integer", display = optional(one_of "summarized omitted") }, at)
  end,
  adaptive = function(value, at)
    object(value, { type = "string", display = optional(one_of "summarized omitted") }, at)
  end,
  disabled = function(value, at)
    object(value, { type = "string" }, at)
  end,
  between_tools = function(value, at)
    object(value, { type = "string" }, at)
  end,
}

local KNOWN_KEYWORDS = {}
for word in ("$defs definitions $ref enum const anyOf allOf type properties required additionalProperties items minItems format description title default"):gmatch "%S+" do
  KNOWN_KEYWORDS[word] = true
end

--- The subset of JSON Schema that structured output takes.
local function output_schema(schema, at)
  is(schema, "object", at)
  for name in pairs(schema) do
    if not KNOWN_KEYWORDS[name] then
      fail(at, "For '%s' type, property '%s' is not supported", tostring(schema.type), name)
    end
  end
  if schema.type == "object" and schema.additionalProperties ~= false then
    fail(at, "For 'object' type, 'additionalProperties' must be explicitly set to false")
  elseif schema.minItems and schema.minItems > 1 then
    fail(at, "minItems may be 0 or 1")
  end
  for name, inner in pairs(schema.properties or {}) do
    output_schema(inner, at .. ".properties." .. name)
  end
  for _, name in ipairs { "anyOf", "allOf" } do
    for i, inner in ipairs(schema[name] or {}) do
      output_schema(inner, ("%s.%s[%d]"):format(at, name, i - 1))
    end
  end
  if schema.items then
    output_schema(schema.items, at .. ".items")
  end
end

local SHAPE = {
  model = "string", max_tokens = "integer", messages = "list", stream = "boolean?", temperature = "number?", top_p = "number?",
  top_k = "integer?", stop_sequences = optional(function(value, at)
    each(value, at, function(sequence, inner)
      is(sequence, "string", inner)
      if not sequence:find "%S" then
        fail(inner, "each stop sequence must contain non-whitespace")
      end
    end)
  end),
  system = optional(function(value, at)
    if type(value) ~= "string" then
      each(value, at, check.by_type { text = text_block })
    end
  end),
  metadata = optional(function(value, at)
    object(value, { user_id = "string?" }, at)
  end),
  service_tier = optional(one_of "auto standard_only"),
  tools = optional(function(value, at)
    each(value, at, check_tool)
  end),
  tool_choice = optional(check.by_type {
    auto = function(value, at)
      object(value, { type = "string", disable_parallel_tool_use = "boolean?" }, at)
    end,
    any = function(value, at)
      object(value, { type = "string", disable_parallel_tool_use = "boolean?" }, at)
    end,
    tool = function(value, at)
      object(value, { type = "string", name = tool_name, disable_parallel_tool_use = "boolean?" }, at)
    end,
    none = function(value, at)
      object(value, { type = "string" }, at)
    end,
  }),
  thinking = optional(thinking),
  output_config = optional(function(value, at)
    object(value, { effort = optional(one_of "low medium high xhigh max"), format = optional(function(format, inner)
      object(format, { type = one_of "json_schema", schema = output_schema }, inner)
    end) }, at)
  end),
}

--- Raises what the API would refuse.
return function(body)
  marks = 0
  object(body, SHAPE, "body")
  local uses_tools = check_messages(body.messages, "messages")
  if uses_tools and not body.tools then
    fail("body", "Requests which include `tool_use` or `tool_result` blocks must define tools")
  elseif body.tool_choice and not body.tools then
    fail("tool_choice", "may only be specified while providing tools")
  elseif body.tool_choice and body.tool_choice.type == "tool" then
    local found = false
    for _, tool in ipairs(body.tools) do
      found = found or tool.name == body.tool_choice.name
    end
    if not found then
      fail("tool_choice", "tool '%s' not found in provided tools", body.tool_choice.name)
    end
  end
  if body.max_tokens < 1 then
    fail("max_tokens", "must be at least 1")
  elseif body.temperature and (body.temperature < 0 or body.temperature > 1) then
    fail("temperature", "range: 0..1")
  elseif marks > 4 then
    fail("body", "A maximum of 4 blocks with cache_control may be provided. Found %d.", marks)
  end
  local last = body.messages[#body.messages]
  local text = last.role == "assistant" and (type(last.content) == "string" and last.content or last.content[#last.content].text)
  if text and text:find "%s$" then
    fail("messages", "final assistant content cannot end with trailing whitespace")
  end
  check_thinking(body)
end
