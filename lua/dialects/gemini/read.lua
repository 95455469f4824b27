--- read.lua - generateContent requests as neutral conversations.
local json, dialect, schema = require "moongate.json", require "moongate.dialect", require "moongate.schema"
local fields = require "dialects.gemini.fields"
local part_of = require "dialects.gemini.part"

local NAME = "gemini"
local null = json.null
local list, raw_value, string_of = dialect.list, dialect.raw_value, dialect.string
local find, format, next, type = string.find, string.format, next, type

---- names

local CAMEL = {}
for name in ([[systemInstruction toolConfig generationConfig safetySettings cachedContent serviceTier continuationToken
  maxOutputTokens topP topK candidateCount stopSequences presencePenalty frequencyPenalty responseModalities speechConfig
  mediaResolution responseLogprobs responseMimeType responseSchema responseJsonSchema thinkingConfig imageConfig
  responseFormat includeThoughts thinkingBudget thinkingLevel functionDeclarations parametersJsonSchema
  functionCallingConfig allowedFunctionNames inlineData fileData mimeType fileUri displayName functionCall
  functionResponse thoughtSignature executableCode codeExecutionResult videoMetadata googleSearch googleSearchRetrieval
  codeExecution urlContext googleMaps fileSearch computerUse]]):gmatch "%a+" do
  CAMEL[name:gsub("%u", function(letter)
    return "_" .. letter:lower()
  end)] = name
end

--- Renames members in place. What is kept as JSON text is none of these tables' business.
local function camel(value)
  if type(value) ~= "table" then
    return
  end
  local renamed
  for name, inner in next, value do
    camel(inner)
    if CAMEL[name] then
      renamed = renamed or {}
      renamed[#renamed + 1] = name
    end
  end
  for i = 1, renamed and #renamed or 0 do
    local name = renamed[i]
    value[CAMEL[name]], value[name] = value[CAMEL[name]] or value[name], nil
  end
end

---- reading: parts

---@class gemini.Reader
---@field open table[]  calls without a result yet: { id, name }
---@field calls integer
---@field turn integer  the turn that is read
---@field ctx table

local function refuse(reader, message)
  reader.ctx.refuse(format("contents[%d].parts", reader.turn - 1), message)
end

local function add(parts, part)
  parts[#parts + 1] = part
end

local KINDS = { image = "image", audio = "audio", video = "video" }
local AUDIO_FORMATS = { mpeg = "mp3", mp3 = "mp3", wav = "wav", ["x-wav"] = "wav", wave = "wav" }

--- Which kind of part a media type makes.
local function media(mime)
  local kind = KINDS[mime:match "^[^/]*"] or "document"
  local out = { kind = kind, mime = mime }
  if kind == "audio" then
    local sub = mime:match "/([^;]*)"
    out.format = AUDIO_FORMATS[sub] or sub
  end
  return out
end

local function read_blob(reader, blob)
  local data = string_of(blob.data)
  local mime = data and dialect.media_type(string_of(blob.mimeType), data)
  if not mime then
    return refuse(reader, "have media without data or mimeType")
  end
  local out = media(mime)
  out.data, out.name = part_of.plain_base64(data), string_of(blob.displayName)
  return out
end

--- Files that Google keeps are only of use to Google.
local function read_file(reader, file)
  local uri = string_of(file.fileUri)
  if not uri then
    return refuse(reader, "have fileData without fileUri")
  elseif find(uri, "^gs://") or find(uri, "^https://[^/]*googleapis%.com/") then
    return { kind = "file", id = uri, dialect = NAME, mime = string_of(file.mimeType) }
  end
  local out = media(string_of(file.mimeType) or part_of.guessed_type(uri) or "")
  out.url = uri
  return out
end

--- Calls without an id get one that depends on their place alone: the conversation reads the same the next time.
local function read_call(reader, theirs)
  reader.calls = reader.calls + 1
  local call = part_of.read_call(theirs, "call_" .. reader.calls)
  reader.open[#reader.open + 1] = call
  return call
end

--- The call that a result answers: by id, else the first of that name that has none.
local function answered(reader, response)
  local id, name = string_of(response.id), string_of(response.name)
  for i, call in ipairs(reader.open) do
    if id and call.id == id or not id and call.name == name then
      return table.remove(reader.open, i)
    end
  end
end

local function read_response(reader, part)
  local response = part.functionResponse
  local call = answered(reader, response)
  local value = raw_value(response.response)
  local text = value and dialect.text(value) or "{}"
  local failure = value and part_of.lone_text(text, "error")
  local out = { kind = "tool_result", id = call and call.id or string_of(response.id) or "call_0",
                name = string_of(response.name), error = failure and true or nil,
                parts = { { kind = "text", text = failure or part_of.lone_text(text, "output") or text } } }
  for _, inner in ipairs(list(response.parts)) do
    local blob = type(inner) == "table" and inner.inlineData
    add(out.parts, type(blob) == "table" and read_blob(reader, blob) or nil)
  end
  return out
end

local function read_part(reader, part, parts, role)
  if type(part.text) == "string" then
    part_of.read_text(part, parts, role == "assistant")
  elseif type(part.functionCall) == "table" then
    add(parts, read_call(reader, part))
  elseif type(part.functionResponse) == "table" then
    add(parts, read_response(reader, part))
  elseif type(part.inlineData) == "table" then
    add(parts, read_blob(reader, part.inlineData))
  elseif type(part.fileData) == "table" then
    add(parts, read_file(reader, part.fileData))
  elseif next(part) ~= nil then
    add(parts, { kind = "vendor", dialect = NAME, type = next(part), json = part })
  end
end

local function read_parts(reader, content, parts, role)
  for _, part in ipairs(list(content.parts)) do
    if type(part) == "table" then
      read_part(reader, part, parts, role)
    else
      refuse(reader, "must be a list of parts")
    end
  end
  return parts
end

---- reading: the conversation, tools, settings

local ROLES = { user = "user", ["function"] = "user", model = "assistant" }

local function read_contents(body, chat, ctx)
  local reader = { open = {}, calls = 0, turn = 1, ctx = ctx }
  chat.spelt.messages = "contents"
  local instruction = body.systemInstruction
  if type(instruction) == "table" then
    chat.turns[1] = { role = "system", parts = read_parts(reader, instruction, {}) }
  elseif type(instruction) == "string" then
    chat.turns[1] = { role = "system", parts = { { kind = "text", text = instruction } } }
  end
  if not json.is_array(body.contents) then
    return ctx.refuse("contents", "must be a list of at least one content", true)
  end
  for i = 1, #body.contents do
    local content = body.contents[i]
    local role = type(content) == "table" and ROLES[content.role ~= null and content.role or "user"]
    reader.turn = i
    local last = chat.turns[#chat.turns]
    if role == "assistant" and last and last.role == role then -- clients keep each piece of a stream as a content
      read_parts(reader, content, last.parts, role)
    elseif role then
      chat.turns[#chat.turns + 1] = { role = role, parts = read_parts(reader, content, {}, role) }
    else
      ctx.refuse(format("contents[%d].role", i - 1), "is none of user and model")
    end
  end
end

local function read_function(of)
  local text = raw_value(of.parametersJsonSchema)
  if not text and raw_value(of.parameters) then
    text = json.raw(schema.from_openapi(json.text(of.parameters)))
  end
  return { kind = "function", name = of.name, description = string_of(of.description), schema = text }
end

local function read_tools(body, chat, ctx)
  local tools = {}
  for i, tool in ipairs(list(body.tools)) do
    for name, value in next, type(tool) == "table" and tool or {} do
      if name ~= "functionDeclarations" then
        add(tools, { kind = "vendor", dialect = NAME, type = name, json = { [name] = value } })
      end
    end
    for _, of in ipairs(list(type(tool) == "table" and tool.functionDeclarations)) do
      if type(of) == "table" and type(of.name) == "string" then
        add(tools, read_function(of))
      else
        ctx.refuse(format("tools[%d].functionDeclarations", i - 1), "have one without a name")
      end
    end
  end
  chat.tools = #tools > 0 and tools or nil
end

local MODES = { AUTO = "auto", ANY = "required", NONE = "none", VALIDATED = "auto" }

local function read_tool_choice(body, chat)
  local config = type(body.toolConfig) == "table" and body.toolConfig.functionCallingConfig
  local mode = type(config) == "table" and MODES[config.mode]
  if not mode then
    return
  end
  local names = {}
  for _, name in ipairs(list(config.allowedFunctionNames)) do
    names[#names + 1] = string_of(name)
  end
  chat.spelt.tool_choice = "toolConfig"
  if mode == "required" and #names == 1 then
    chat.tool_choice = { mode = "tool", name = names[1] }
  else
    chat.tool_choice = { mode = mode, allowed = #names > 0 and names or nil }
  end
end

local function read_output(config, chat, ctx)
  local mime = string_of(config.responseMimeType)
  local text = raw_value(config.responseJsonSchema)
  if not text and raw_value(config.responseSchema) then
    text = json.raw(schema.from_openapi(json.text(config.responseSchema)))
  end
  chat.spelt.output = text and "generationConfig.responseSchema" or "generationConfig.responseMimeType"
  if mime == "application/json" or text and not mime then
    chat.output = { kind = text and "json_schema" or "json_object", schema = text }
  elseif mime and mime ~= "text/plain" then
    ctx.refuse("generationConfig.responseMimeType", "has no counterpart")
  end
end

local function read_thinking(config, chat)
  local thinking = config.thinkingConfig
  if type(thinking) ~= "table" then
    return
  end
  local level, budget = string_of(thinking.thinkingLevel), thinking.thinkingBudget
  chat.spelt.reasoning = "generationConfig.thinkingConfig"
  chat.reasoning = {
    effort = level and level ~= "THINKING_LEVEL_UNSPECIFIED" and level:lower() or budget == 0 and "none" or nil,
    budget = type(budget) == "number" and budget > 0 and budget or nil,
    adaptive = budget == -1 or nil,
    visible = thinking.includeThoughts == true or nil,
  }
end

local function read_request(body, ctx)
  local chat = dialect.chat(NAME)
  camel(body)
  local config = type(body.generationConfig) == "table" and body.generationConfig or {}
  dialect.read_fields(fields, body, chat, ctx)
  local modalities = chat.params.modalities
  for i = 1, modalities and #modalities or 0 do
    modalities[i] = tostring(modalities[i]):lower()
  end
  read_contents(body, chat, ctx)
  read_tools(body, chat, ctx)
  read_tool_choice(body, chat)
  read_output(config, chat, ctx)
  read_thinking(config, chat)
  return chat
end

return { request = read_request }
