--- read.lua - requests of the Responses API as neutral conversations, and the items that answers are made of, too.
local json, dialect = require "moongate.json", require "moongate.dialect"
local fields = require "dialects.openai_responses.fields"
local items = require "dialects.openai_responses.items"

local NAME = "openai_responses"
local ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
local some, string_of = dialect.some, dialect.string
local concat, format, type = table.concat, string.format, type

---- reading: the parts of a message

--- Whose items the last turn takes: those of the model follow one another into one turn, results into another.
---@class responses.Reader
---@field turns table[]
---@field side "model"|"results"|nil
---@field names table<string, string>  id of a call → name of its tool
---@field seals table<string, table>  id of a call → signature that belongs to it
---@field item integer  the item that is read
---@field ctx table

local function refuse(reader, member, message)
  reader.ctx.refuse(format("input[%d]%s", reader.item - 1, member), message)
end

local function text_of(reader, value, member)
  if type(value) == "string" then
    return value
  end
  refuse(reader, member, "must be a string")
  return ""
end

--- A mark of the prompt cache: the end of a prefix worth keeping.
local function cache_of(part)
  local mark = part.prompt_cache_breakpoint
  return type(mark) == "table" and { ttl = string_of(mark.ttl) } or nil
end

--- What a URL means, a data URL among them, or a file in the provider's account.
local function read_source(reader, out, url, file_id)
  if type(file_id) == "string" then
    out.media = out.kind
    out.kind, out.id, out.dialect = "file", file_id, NAME
    return out
  end
  local mime, data = dialect.data_url(text_of(reader, url, ".content"))
  if data and not mime then
    refuse(reader, ".content", data)
  elseif data then
    out.mime, out.data = mime, data
  else
    out.url = url
  end
  return out
end

--- Where a text is from.
local function read_annotations(annotations)
  local notes
  for _, note in ipairs(dialect.list(annotations)) do
    if type(note) == "table" and note.type == "url_citation" then
      notes = notes or {}
      notes[#notes + 1] = { url = string_of(note.url), title = string_of(note.title) }
    end
  end
  return notes
end

local part_readers = {}

function part_readers.input_text(reader, part)
  return { kind = "text", text = text_of(reader, part.text, ".content"), cache = cache_of(part) }
end

function part_readers.output_text(reader, part)
  return { kind = "text", text = text_of(reader, part.text, ".content"), annotations = read_annotations(part.annotations) }
end

function part_readers.refusal(reader, part)
  return { kind = "refusal", text = text_of(reader, part.refusal, ".content") }
end

function part_readers.input_image(reader, part)
  local out = { kind = "image", detail = part.detail ~= "auto" and string_of(part.detail) or nil, cache = cache_of(part) }
  return read_source(reader, out, part.image_url, part.file_id)
end

function part_readers.input_file(reader, part)
  local out = { kind = "document", name = string_of(part.filename), cache = cache_of(part) }
  return read_source(reader, out, some(part.file_data) or part.file_url, part.file_id)
end

function part_readers.input_audio(reader, part)
  local audio = type(part.input_audio) == "table" and part.input_audio or {}
  return { kind = "audio", data = text_of(reader, audio.data, ".content"), format = string_of(audio.format), cache = cache_of(part) }
end

part_readers.text, part_readers.summary_text = part_readers.output_text, part_readers.input_text

--- What only OpenAI has.
local function vendor_part(value)
  return { kind = "vendor", dialect = NAME, type = type(value) == "table" and string_of(value.type) or nil, json = value }
end

--- Appends what a message or an output holds: a text, or parts. Empty text says nothing, and other vendors refuse it.
local function read_content(reader, content, parts, member)
  if type(content) == "string" then
    parts[#parts + 1] = content ~= "" and { kind = "text", text = content } or nil
  elseif json.is_array(content) then
    for i = 1, #content do
      local part = content[i]
      local read = type(part) == "table" and part_readers[part.type]
      part = read and read(reader, part) or vendor_part(part)
      if part.text ~= "" then
        parts[#parts + 1] = part
      end
    end
  elseif some(content) ~= nil then
    refuse(reader, member, "must be a string or a list of parts")
  end
end

---- reading: items

local function add_turn(reader, role, side)
  local turn = { role = role, parts = {} }
  reader.turns[#reader.turns + 1], reader.side = turn, side
  return turn.parts
end

local function parts_of(reader, role, side)
  return reader.side == side and reader.turns[#reader.turns].parts or add_turn(reader, role, side)
end

local function add_call(reader, item, arguments, custom)
  local id = text_of(reader, string_of(item.call_id) or string_of(item.id), ".call_id")
  local seal = reader.seals[id]
  local parts = parts_of(reader, "assistant", "model")
  local name = text_of(reader, item.name, ".name")
  reader.names[id] = name
  parts[#parts + 1] = {
    kind = "tool_call", id = id, name = name, arguments = arguments, custom = custom,
    signature = seal and seal.signature, signed_by = seal and seal.dialect,
  }
end

local function add_result(reader, item, custom)
  local id = text_of(reader, item.call_id, ".call_id")
  local result = { kind = "tool_result", id = id, name = reader.names[id], parts = {}, custom = custom }
  read_content(reader, item.output, result.parts, ".output")
  local parts = parts_of(reader, "user", "results")
  parts[#parts + 1] = result
end

--- Summaries, or the reasoning itself where a model shows it.
local function reasoning_text(item)
  local texts = {}
  for _, list in ipairs { dialect.list(item.summary), dialect.list(item.content) } do
    for i = 1, #list do
      texts[#texts + 1] = type(list[i]) == "table" and string_of(list[i].text) or nil
    end
  end
  return #texts > 0 and concat(texts, "\n\n") or nil
end

local item_readers = {}

function item_readers.message(reader, item)
  local role = item.role
  if role == "assistant" then
    read_content(reader, item.content, parts_of(reader, role, "model"), ".content")
  elseif role == "user" or role == "system" or role == "developer" then
    read_content(reader, item.content, add_turn(reader, role), ".content")
  else
    refuse(reader, ".role", "must be one of user, assistant, system, developer")
  end
end

function item_readers.function_call(reader, item)
  add_call(reader, item, string_of(item.arguments) or "{}")
end

function item_readers.custom_tool_call(reader, item)
  add_call(reader, item, string_of(item.input) or "", true)
end

function item_readers.function_call_output(reader, item)
  add_result(reader, item)
end

function item_readers.custom_tool_call_output(reader, item)
  add_result(reader, item, true)
end

function item_readers.reasoning(reader, item)
  local part = { kind = "reasoning", id = string_of(item.id), text = reasoning_text(item) }
  local call = dialect.unseal(part, string_of(item.encrypted_content), NAME)
  if call then
    reader.seals[call] = part
    return
  end
  local parts = parts_of(reader, "assistant", "model")
  parts[#parts + 1] = part
end

--- What only OpenAI runs or keeps: searches, shells, compacted conversations, references.
local function read_vendor_item(reader, item)
  local parts = parts_of(reader, "assistant", "model")
  parts[#parts + 1] = vendor_part(item)
end

local function read_input(body, chat, ctx)
  local reader = { turns = chat.turns, names = {}, seals = {}, item = 1, ctx = ctx }
  chat.spelt.messages = "input"
  local instructions = some(body.instructions)
  if instructions then
    chat.turns[1] = { role = "system", parts = {}, instructions = true }
    read_content(reader, instructions, chat.turns[1].parts, "")
  end
  if type(body.input) == "string" then
    read_content(reader, body.input, add_turn(reader, "user"))
  elseif json.is_array(body.input) then
    for i = 1, #body.input do
      local item = body.input[i]
      reader.item = i
      if type(item) == "table" then
        local read = item_readers[string_of(item.type) or "message"] or read_vendor_item
        read(reader, item)
      else
        refuse(reader, "", "must be an object")
      end
    end
  elseif some(body.input) ~= nil then
    ctx.refuse("input", "must be a string or a list of items")
  end
end

---- reading: tools and settings

local function read_tool(tool)
  if tool.type == "function" then
    return {
      kind = "function", name = tool.name, description = string_of(tool.description), strict = tool.strict == true or nil,
      schema = dialect.raw_value(tool.parameters),
    }
  elseif tool.type == "custom" then
    return { kind = "custom", name = tool.name, description = string_of(tool.description), format = dialect.raw_value(tool.format) }
  end
  return vendor_part(tool)
end

local function read_tools(body, chat, ctx)
  local tools = {}
  for i, tool in ipairs(dialect.list(body.tools)) do
    if type(tool) ~= "table" or (tool.type == "function" or tool.type == "custom") and type(tool.name) ~= "string" then
      ctx.refuse(format("tools[%d]", i - 1), "must be a tool with a name")
    else
      tools[#tools + 1] = read_tool(tool)
      if tool.type == "custom" then
        chat.custom = chat.custom or {}
        chat.custom[tool.name] = true
      end
    end
  end
  chat.tools = #tools > 0 and tools or nil
  if body.parallel_tool_calls == false then
    chat.parallel_tools = false
  end
end

local function allowed_names(choice)
  local names = {}
  for _, tool in ipairs(dialect.list(choice.tools)) do
    names[#names + 1] = type(tool) == "table" and string_of(tool.name) or nil
  end
  return names
end

local function read_tool_choice(body, chat, ctx)
  local choice = some(body.tool_choice)
  if choice == "auto" or choice == "none" or choice == "required" then
    chat.tool_choice = { mode = choice }
  elseif type(choice) ~= "table" then
    if choice ~= nil then
      ctx.refuse("tool_choice", "must be auto, none, required or a tool")
    end
  elseif (choice.type == "function" or choice.type == "custom") and type(choice.name) == "string" then
    chat.tool_choice = { mode = "tool", name = choice.name }
  elseif choice.type == "allowed_tools" then
    chat.tool_choice = { mode = choice.mode == "required" and "required" or "auto", allowed = allowed_names(choice) }
  else
    ctx.refuse("tool_choice", "names no tool, or one that only OpenAI runs")
  end
end

local function read_format(body, chat, ctx)
  local form = type(body.text) == "table" and body.text.format
  local kind = type(form) == "table" and form.type or "text"
  if kind == "json_schema" or kind == "json_object" then
    chat.output = {
      kind = kind, name = string_of(form.name), schema = dialect.raw_value(form.schema), strict = dialect.boolean(form.strict),
      description = string_of(form.description),
    }
    chat.spelt.output = "text.format"
  elseif kind ~= "text" then
    ctx.refuse("text.format", "has an unknown type")
  end
end

local function read_reasoning(body, chat)
  local thought = body.reasoning
  if type(thought) == "table" then
    local summary = string_of(thought.summary) or string_of(thought.generate_summary)
    chat.reasoning = { effort = string_of(thought.effort), visible = summary and true or nil, summary = summary }
    chat.spelt.reasoning = "reasoning"
  end
end

local function read_include(body, chat, ctx)
  for _, name in ipairs(dialect.list(body.include)) do
    if name == LOGPROBS then
      chat.params.logprobs, chat.spelt.logprobs = true, "include"
    elseif name ~= ENCRYPTED then
      ctx.drop("include=" .. tostring(name))
    end
  end
end

local function read_request(body, ctx)
  local chat = dialect.chat(NAME)
  read_input(body, chat, ctx)
  read_tools(body, chat, ctx)
  read_tool_choice(body, chat, ctx)
  read_format(body, chat, ctx)
  read_reasoning(body, chat)
  read_include(body, chat, ctx)
  dialect.read_fields(fields, body, chat, ctx)
  chat.asked = items.asked(body)
  return chat
end

--- The parts of an answer's items, whether one of them calls a tool, and the log probabilities of its texts.
local function read_output(output, ctx)
  local reader = { turns = {}, names = {}, seals = {}, item = 1, ctx = ctx }
  local parts, called = parts_of(reader, "assistant", "model"), false
  for i, item in ipairs(dialect.list(output)) do
    reader.item = i
    if type(item) == "table" then
      local read = item_readers[item.type] or read_vendor_item
      read(reader, item)
      called = called or item.type == "function_call" or item.type == "custom_tool_call"
    end
  end
  return parts, called
end

return { request = read_request, output = read_output }
