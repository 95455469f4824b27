--- bedrock_request.lua - what Converse takes, from the service's own description, and what the models behind it refuse.
local check = require "validators.check"

local each, fail, is, object, one_of, optional = check.each, check.fail, check.is, check.object, check.one_of, check.optional

local function within(least, most)
  return optional(function(value, at)
    is(value, "number", at)
    if value < least or value > most then
      fail(at, "must be between %s and %s", least, most)
    end
  end)
end

local function matching(pattern, most)
  return function(value, at)
    is(value, "string", at)
    if not value:find("^" .. pattern .. "$") or #value > most then
      fail(at, "must be at most %d of %s, is '%s'", most, pattern, value)
    end
  end
end

local function spoken(value, at)
  is(value, "string", at)
  if not value:find "%S" then
    fail(at, "is blank")
  end
end

--- A union: exactly one member, each with its rule.
local function union(rules)
  return function(value, at)
    is(value, "object", at)
    local name = next(value)
    if not name or next(value, name) then
      fail(at, "must have exactly one member")
    end
    local rule = rules[name] or fail(at, "has the unknown member '%s'", name)
    rule(value[name], at .. "." .. name)
  end
end

local function any_object(value, at)
  is(value, "object", at)
end

local source = union {
  bytes = matching("[%w+/]+=?=?", math.huge),
  s3Location = function(value, at)
    object(value, { uri = matching("s3://.+", 1024), bucketOwner = "string?" }, at)
  end,
}

local function medium(formats, more)
  return function(value, at)
    local shape = { format = one_of(formats), source = source }
    for name, rule in pairs(more or {}) do
      shape[name] = rule
    end
    object(value, shape, at)
  end
end

local MEDIA = {
  text = spoken,
  image = medium "png jpeg gif webp",
  document = medium("pdf csv doc docx xls xlsx html txt md", { name = matching("[%w%s%-%(%)%[%]]+", 200) }),
  video = medium "mkv mov mp4 webm flv mpeg mpg wmv three_gp",
}

local function cache_point(value, at)
  object(value, { type = one_of "default", ttl = optional(one_of "5m 1h") }, at)
end

local call_id, tool_name = matching("[%w_.:-]+", 64), matching("[%w_-]+", 64)
local BLOCKS = {
  cachePoint = cache_point,
  audio = medium "mp3 opus wav aac flac mp4 ogg mkv mka x-aac m4a mpeg mpga pcm webm",
  toolUse = function(value, at)
    object(value, { toolUseId = call_id, name = tool_name, input = "object" }, at)
  end,
  toolResult = function(value, at)
    object(value, { toolUseId = call_id, status = optional(one_of "success error"), content = function(content, inner)
      each(content, inner, union { text = spoken, image = MEDIA.image, document = MEDIA.document, video = MEDIA.video,
                                   json = any_object })
    end }, at)
  end,
  reasoningContent = union {
    reasoningText = function(value, at)
      object(value, { text = "string", signature = spoken }, at)
    end,
    redactedContent = spoken,
  },
}
for name, rule in pairs(MEDIA) do
  BLOCKS[name] = rule
end
local block = union(BLOCKS)

--- Roles alternate; results are the first blocks of their message, and of every call.
local function check_messages(messages, at)
  local asked, waiting, called = {}, 0, false
  each(messages, at, function(message, here, i)
    object(message, { role = one_of(i % 2 == 1 and "user" or "assistant"), content = function(content, inner)
      each(content, inner, block)
    end }, here)
    if #message.content == 0 then
      fail(here, "says nothing")
    end
    local others, document, text, calls, count = false, false, false, {}, 0
    for k, inner in ipairs(message.content) do
      local id = inner.toolResult and inner.toolResult.toolUseId
      if id and (others or not asked[id]) then
        fail(("%s.content[%d]"):format(here, k - 1), "is a result that answers no call before it, or stands behind others")
      elseif id then
        asked[id], waiting = nil, waiting - 1
      else
        others = true
      end
      if inner.toolUse then
        calls[inner.toolUse.toolUseId], count, called = true, count + 1, true
      end
      document, text = document or inner.document, text or inner.text
    end
    if waiting > 0 then
      fail(here, "does not answer all calls")
    elseif document and not text then
      fail(here, "has a document and no text")
    end
    asked, waiting = calls, count
  end)
  if waiting > 0 then
    fail(at, "ends with calls")
  end
  return called
end

local function tool_config(value, at)
  object(value, { tools = function(tools, inner)
    each(tools, inner, union { cachePoint = cache_point, toolSpec = function(of, place)
      object(of, { name = tool_name, description = optional(spoken), strict = "boolean?", inputSchema = union { json = any_object } }, place)
    end })
    if #tools == 0 then
      fail(inner, "is empty")
    end
  end, toolChoice = optional(union { auto = any_object, any = any_object, tool = function(of, inner)
    object(of, { name = tool_name }, inner)
  end }) }, at)
end

local function output_config(value, at)
  object(value, { effort = optional(one_of "low medium high xhigh max"), textFormat = optional(function(of, inner)
    object(of, { type = one_of "json_schema", structure = union { jsonSchema = function(schema, place)
      object(schema, { schema = "string", name = "string?", description = "string?" }, place)
    end } }, inner)
  end) }, at)
end

return function(body)
  local called
  object(body, {
    messages = function(value, at)
      called = check_messages(value, at)
    end,
    system = optional(function(value, at)
      each(value, at, union { text = spoken, cachePoint = cache_point })
    end),
    toolConfig = optional(tool_config), outputConfig = optional(output_config),
    inferenceConfig = optional(function(value, at)
      object(value, { maxTokens = within(1, math.huge), temperature = within(0, 1), topP = within(0, 1), stopSequences = optional(function(list, inner)
        each(list, inner, spoken)
      end) }, at)
    end),
    additionalModelRequestFields = "object?", additionalModelResponseFieldPaths = "list?", guardrailConfig = "object?",
    performanceConfig = "object?", promptVariables = "object?", requestMetadata = "object?",
    serviceTier = optional(function(value, at)
      object(value, { type = one_of "priority default flex reserved" }, at)
    end),
  }, "body")
  if called and not body.toolConfig then
    fail("body", "The toolConfig field must be defined when using toolUse and toolResult content blocks.")
  end
end
