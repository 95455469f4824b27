--- write.lua - neutral conversations as generateContent requests.
local json, dialect, schema = require "moongate.json", require "moongate.dialect", require "moongate.schema"
local fields = require "dialects.gemini.fields"
local part_of = require "dialects.gemini.part"
local thinking = require "dialects.gemini.thinking"

local NAME = "gemini"
--- Takes the place of a signature that got lost, or that another vendor's model never made; newer models refuse a call of
--- the current turn that has none.
local NO_SIGNATURE = "skip_thought_signature_validator"
local array = json.array
local find, format, insert = string.find, string.format, table.insert

---@class gemini.Writer
---@field contents table[]
---@field results integer  responses at the beginning of the last content
---@field names table<string, string>  id of a call → name of its tool
---@field ids boolean  calls and responses have ids
---@field model { generation: number, pro: boolean, vertex: boolean }
---@field chat table
---@field ctx table

local function refuse(writer, why)
  writer.ctx.refuse(dialect.spelt(writer.chat, "messages"), "a part " .. why)
end

---- parts

--- A name begins with a letter or `_`.
local function sent_name(chat, name)
  if find(name, "^[%a_]") then
    return dialect.sent_name(chat, name, 64)
  end
  local sent = dialect.plain_name("_" .. name, 64)
  chat.renamed = chat.renamed or {}
  chat.renamed[sent] = name
  return sent
end

local LEVELS = { low = "MEDIA_RESOLUTION_LOW", high = "MEDIA_RESOLUTION_HIGH" }

local function blob(part, mime)
  return { inlineData = { mimeType = mime, data = part.data } }
end

--- Google's storage is within Vertex's reach alone.
local function file(part, writer)
  local uri = part.url or part.id
  if find(uri, "^gs://") and not writer.model.vertex then
    return refuse(writer, "is in a bucket, which only Vertex reads")
  end
  return { fileData = { fileUri = uri, mimeType = part.mime or part_of.guessed_type(uri) } }
end

local PARTS = {
  text = function(part)
    return { text = part.text }
  end,

  image = function(part, writer)
    local out = part.data and blob(part, part.mime or "image/jpeg") or file(part, writer)
    local level = LEVELS[part.detail]
    if out and level and writer.model.generation >= 3 then
      out.mediaResolution = { level = level }
    end
    return out
  end,

  document = function(part, writer)
    if part.text then
      return { text = part.name and part.name .. "\n\n" .. part.text or part.text }
    end
    return part.data and blob(part, part.mime or "application/pdf") or file(part, writer)
  end,

  audio = function(part, writer)
    return part.data and blob(part, part.mime or "audio/" .. (part.format or "wav")) or file(part, writer)
  end,

  video = function(part, writer)
    return part.data and blob(part, part.mime or "video/mp4") or file(part, writer)
  end,

  file = function(part, writer)
    if part.dialect ~= NAME then
      return refuse(writer, "is a file kept by another vendor")
    end
    return file(part, writer)
  end,

  vendor = function(part, writer)
    if part.dialect ~= NAME then
      return writer.ctx.drop(part.type or part.dialect)
    end
    return part.json
  end,
}
PARTS.refusal = PARTS.text

--- Only what Gemini signed itself. A signature without text belongs to the text before it.
function PARTS.reasoning(part, writer)
  if part.dialect ~= NAME or not part.text and not part.signature then
    return
  elseif part.text then
    return { text = part.text, thought = true, thoughtSignature = part.signature }
  end
  local parts = writer.contents[#writer.contents].parts
  local last = parts[#parts]
  if last and last.text and not last.thought and not last.thoughtSignature then
    last.thoughtSignature = part.signature
    return
  end
  return { text = "", thoughtSignature = part.signature }
end

function PARTS.tool_call(part, writer)
  local id = dialect.id(part.id or "call")
  writer.names[id] = part.name
  writer.calls = writer.calls + 1
  writer.places[id] = writer.calls
  local args = part.custom and json.encode { input = part.arguments } or dialect.object_text(part.arguments)
  return {
    functionCall = { id = writer.ids and id or nil, name = sent_name(writer.chat, part.name), args = json.raw(args) },
    thoughtSignature = (part.signed_by or NAME) == NAME and part.signature or nil,
  }
end

--- Responses are objects: a text that is one goes as it is.
local function response_of(part)
  local text = dialect.texts(part.parts, "text", "\n\n") or ""
  if part.error then
    return { error = text }
  elseif find(text, "^%s*{") then
    local value = json.decode(text)
    if type(value) == "table" then
      return json.raw(text)
    end
  end
  return { output = text }
end

--- Responses stand first, in the order of their calls: where those have no ids, that is how they are matched.
local function put_response(writer, parts, id, response)
  local placed, at = writer.placed, #writer.placed + 1
  local place = writer.places[id] or writer.calls + 1
  while at > 1 and placed[at - 1] > place do
    at = at - 1
  end
  insert(placed, at, place)
  insert(parts, at, { functionResponse = response })
end

--- A response, and what it holds besides text: newer models take that inside, older ones after it.
local function write_result(part, writer, parts)
  local id = dialect.id(part.id or "call")
  local name = writer.names[id] or part.name or "tool"
  local response = { id = writer.ids and id or nil, name = sent_name(writer.chat, name), response = response_of(part) }
  local media = array {}
  for _, inner in ipairs(part.parts) do
    if inner.kind ~= "text" then
      media[#media + 1] = PARTS[inner.kind](inner, writer)
    end
  end
  put_response(writer, parts, id, response)
  if #media > 0 and writer.model.generation >= 3 then
    response.parts = media
  else
    for i = 1, #media do
      parts[#parts + 1] = media[i]
    end
  end
end

---- turns

--- The parts that a role's turn adds to: turns of one role are one content.
local function parts_for(writer, role)
  local contents = writer.contents
  local last = contents[#contents]
  if not last or last.role ~= role then
    last = { role = role, parts = array {} }
    contents[#contents + 1] = last
    writer.placed = {}
  end
  return last.parts
end

local function write_turn(turn, role, writer)
  local parts = parts_for(writer, role)
  for _, part in ipairs(turn.parts) do
    if part.kind == "tool_result" then
      write_result(part, writer, parts)
    elseif part.text ~= "" or part.signature then
      parts[#parts + 1] = PARTS[part.kind](part, writer)
    end
  end
  if #parts == 0 then
    writer.contents[#writer.contents] = nil
  end
end

local function holds_responses(content)
  local first = content.parts[1]
  return first ~= nil and first.functionResponse ~= nil
end

--- Newer models want their calls of the current turn signed, the first of each step. The turn began with what the user
--- said last, responses aside.
local function sign_calls(contents)
  for i = #contents, 1, -1 do
    local content = contents[i]
    if content.role == "user" and not holds_responses(content) then
      return
    end
    for _, part in ipairs(content.parts) do
      if part.functionCall then
        part.thoughtSignature = part.thoughtSignature or NO_SIGNATURE
        break
      end
    end
  end
end

local function is_system(turn)
  return turn.role == "system" or turn.role == "developer"
end

--- Before the first turn it is the system's; later it stays where it stands, as the user's.
local function write_contents(chat, body, writer)
  local system = array {}
  for _, turn in ipairs(chat.turns) do
    if is_system(turn) and #writer.contents == 0 then
      for _, part in ipairs(turn.parts) do
        system[#system + 1] = part.text ~= "" and PARTS[part.kind](part, writer) or nil
      end
    else
      write_turn(turn, turn.role == "assistant" and "model" or "user", writer)
    end
    if turn.name then
      writer.ctx.drop "name"
    end
  end
  if #writer.contents == 0 then
    writer.contents[1], system = { role = "user", parts = system }, array {}
  end
  if #writer.contents[1].parts == 0 then
    writer.ctx.refuse(dialect.spelt(chat, "messages"), "say nothing", true)
  end
  if writer.model.generation >= 3 then
    sign_calls(writer.contents)
  end
  body.contents = writer.contents
  body.systemInstruction = #system > 0 and { parts = system } or nil
end

---- tools

local function write_function(tool, chat)
  local name = sent_name(chat, tool.name)
  if tool.kind == "custom" then
    return { name = name, description = dialect.custom_description(tool), parametersJsonSchema = json.raw(dialect.CUSTOM_SCHEMA) }
  end
  local text = tool.schema and dialect.text(tool.schema)
  return { name = name, description = tool.description, parametersJsonSchema = text and json.raw(schema.without_const(text)) or nil }
end

--- All functions are in one tool, where the first of them stands.
local function write_tools(chat, body, ctx)
  local tools, functions = array {}, nil
  for i, tool in ipairs(dialect.list(chat.tools)) do
    if tool.kind ~= "vendor" then
      if not functions then
        functions = array {}
        tools[#tools + 1] = { functionDeclarations = functions }
      end
      functions[#functions + 1] = write_function(tool, chat)
    elseif tool.dialect == NAME then
      tools[#tools + 1] = tool.json
    else
      ctx.refuse(format("tools[%d]", i - 1), "is a tool that only its own vendor has")
    end
  end
  body.tools = #tools > 0 and tools or nil
  return functions ~= nil
end

local MODES = { auto = "AUTO", none = "NONE", required = "ANY", tool = "ANY" }

local function any_strict(chat)
  for _, tool in ipairs(chat.tools) do
    if tool.strict then
      return true
    end
  end
end

local function write_tool_choice(chat, body, ctx)
  local choice = chat.tool_choice or {}
  local mode, names = MODES[choice.mode], nil
  local allowed = choice.mode == "tool" and { choice.name } or choice.allowed
  if allowed then
    names = array {}
    for i, name in ipairs(allowed) do
      names[i] = sent_name(chat, name)
    end
  end
  if (mode or "AUTO") == "AUTO" and (names or any_strict(chat)) then
    mode = "VALIDATED"
  end
  if mode then
    body.toolConfig = { functionCallingConfig = { mode = mode, allowedFunctionNames = names } }
  end
  if chat.parallel_tools == false then
    ctx.drop(dialect.spelt(chat, "parallel_tools"))
  end
end

---- settings

local function write_output(chat, config)
  local output = chat.output
  if output then
    config.responseMimeType = "application/json"
    config.responseJsonSchema = output.schema and json.raw(schema.without_const(dialect.text(output.schema))) or nil
  end
end

--- Its one format of speech is raw PCM.
local function write_audio(chat, config, ctx)
  local audio = chat.params.audio
  if audio and ctx.stream then
    return ctx.refuse("audio", "cannot be translated in a stream")
  elseif type(audio) ~= "table" then
    return
  elseif audio.format ~= "pcm16" then
    return ctx.refuse("audio.format", "is another than pcm16, the only one that this provider has")
  end
  config.speechConfig = { voiceConfig = { prebuiltVoiceConfig = { voiceName = audio.voice } } }
end

--- Refused by models before the third generation, except at Vertex.
local PENALTIES = { { "presencePenalty", "presence_penalty" }, { "frequencyPenalty", "frequency_penalty" } }

local function write_config(chat, body, writer)
  local config, ctx, model = body.generationConfig or {}, writer.ctx, writer.model
  local modalities = config.responseModalities
  if modalities then
    config.responseModalities = array {}
    for i, name in ipairs(modalities) do
      config.responseModalities[i] = tostring(name):upper()
    end
  end
  if model.generation < 3 and not model.vertex then
    for _, penalty in ipairs(PENALTIES) do
      if config[penalty[1]] then
        ctx.drop(dialect.spelt(chat, penalty[2]))
        config[penalty[1]] = nil
      end
    end
  end
  if body.labels and not model.vertex then
    ctx.drop(dialect.spelt(chat, "metadata"))
    body.labels = nil
  end
  write_audio(chat, config, ctx)
  write_output(chat, config)
  config.thinkingConfig = thinking.config(chat, model, ctx)
  body.generationConfig = next(config) and config or nil
end

return function(chat, ctx)
  local body, model = {}, thinking.model(ctx)
  local writer = { contents = array {}, placed = {}, places = {}, calls = 0, names = {}, model = model,
                   ids = model.generation >= 3 and not model.vertex,
                   chat = chat, ctx = ctx }
  dialect.write_fields(fields, chat, body, ctx)
  write_contents(chat, body, writer)
  if write_tools(chat, body, ctx) then
    write_tool_choice(chat, body, ctx)
  end
  write_config(chat, body, writer)
  return body, dialect.memo(chat, true)
end
