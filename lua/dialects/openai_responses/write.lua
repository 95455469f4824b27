--- write.lua - neutral conversations as requests of the Responses API.
local json, dialect = require "moongate.json", require "moongate.dialect"
local fields = require "dialects.openai_responses.fields"
local refused_by_name = require "dialects.openai_chat.models"

local NAME = "openai_responses"
local ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
local EMPTY_SCHEMA = json.raw '{"type":"object","properties":{}}'
local array = json.array
local format = string.format

---- writing: items

---@class responses.Writer
---@field items table[]
---@field content table[]?  parts of the message that is being written
---@field role string  whose message it is
---@field marks boolean  the model takes marks of the prompt cache
---@field chat table
---@field ctx table

--- Marks exist since GPT-5.6; older models cache by themselves.
local function marks_cache(model)
  local major, minor = (model or ""):match "gpt%-(%d+)%.?(%d*)"
  major, minor = tonumber(major), tonumber(minor) or 0
  return major ~= nil and (major > 5 or major == 5 and minor >= 6)
end

local function breakpoint_of(part, writer)
  if part.cache and writer.marks then
    return { mode = "explicit", ttl = part.cache.ttl == "12h" and "12h" or nil }
  end
end

local function media_url(part)
  return part.url or dialect.to_data_url(part.mime or "application/octet-stream", part.data)
end

local part_writers = {}

function part_writers.text(part, writer)
  if writer.role == "assistant" then
    return { type = "output_text", text = part.text, annotations = array {} }
  end
  return { type = "input_text", text = part.text, prompt_cache_breakpoint = breakpoint_of(part, writer) }
end

function part_writers.refusal(part)
  return { type = "refusal", refusal = part.text }
end

function part_writers.image(part, writer)
  return { type = "input_image", image_url = media_url(part), detail = part.detail or "auto",
           prompt_cache_breakpoint = breakpoint_of(part, writer) }
end

function part_writers.document(part, writer)
  local mark, text = breakpoint_of(part, writer), dialect.spoken_document(part)
  if text then
    return { type = "input_text", text = text, prompt_cache_breakpoint = mark }
  elseif part.url then
    return { type = "input_file", file_url = part.url, prompt_cache_breakpoint = mark }
  end
  return { type = "input_file", filename = part.name or "document.pdf", file_data = media_url(part),
           prompt_cache_breakpoint = mark }
end

function part_writers.file(part, writer)
  if part.dialect ~= NAME and part.dialect ~= "openai_chat" then
    return nil, "is a file kept by another vendor"
  elseif part.media == "image" then
    return { type = "input_image", file_id = part.id, detail = part.detail or "auto",
             prompt_cache_breakpoint = breakpoint_of(part, writer) }
  end
  return { type = "input_file", file_id = part.id, prompt_cache_breakpoint = breakpoint_of(part, writer) }
end

function part_writers.vendor(part, writer)
  if part.dialect ~= NAME then
    return writer.ctx.drop(part.type or part.dialect)
  end
  return part.json
end

local SAID = { text = true, refusal = true, vendor = true }

--- The part as this dialect has it; nil when it has none and the client can do without.
local function write_part(part, writer)
  local write = part_writers[part.kind]
  local item, why
  if writer.role == "assistant" and not SAID[part.kind] then
    why = "is " .. part.kind .. " of the assistant's, which goes back to no provider of this dialect"
  elseif write then
    item, why = write(part, writer)
  else
    why = "is " .. part.kind .. ", which this provider does not take"
  end
  if why then
    writer.ctx.refuse(dialect.spelt(writer.chat, "messages"), format("a part of turn %d %s", writer.turn, why))
  end
  return item
end

--- Ends the message that is being written.
local function flush(writer)
  if writer.content then
    writer.items[#writer.items + 1] = { type = "message", role = writer.role, content = writer.content }
    writer.content = nil
  end
end

local function add_item(writer, item)
  flush(writer)
  writer.items[#writer.items + 1] = item
end

--- One text as a string, anything else as a list; a failure has no flag and is said in words.
local function output_of(part, writer)
  local parts, out = part.parts, array {}
  if #parts == 0 or #parts == 1 and parts[1].kind == "text" and not (writer.marks and parts[1].cache) then
    local text = parts[1] and parts[1].text or ""
    return part.error and "Error: " .. text or text
  end
  if part.error then
    out[1] = { type = "input_text", text = "Error:" }
  end
  for i = 1, #parts do
    out[#out + 1] = write_part(parts[i], writer)
  end
  return out
end

local kind_writers = {}

function kind_writers.tool_call(part, writer)
  local id = dialect.id(part.id or "call")
  local name = dialect.sent_name(writer.chat, part.name, 64)
  if part.custom then
    writer.free[id] = true
    add_item(writer, { type = "custom_tool_call", call_id = id, name = name, input = part.arguments })
  else
    local arguments = part.arguments ~= "" and part.arguments or "{}"
    add_item(writer, { type = "function_call", call_id = id, name = name, arguments = arguments })
  end
end

function kind_writers.tool_result(part, writer)
  local id = dialect.id(part.id or "call")
  local kind = (part.custom or writer.free[id]) and "custom_tool_call_output" or "function_call_output"
  add_item(writer, { type = kind, call_id = id, output = output_of(part, writer) })
end

--- What a vendor reasoned is of no use to another, and text without its encrypted half is refused.
function kind_writers.reasoning(part, writer)
  if part.dialect == NAME and part.signature then
    add_item(writer, {
      type = "reasoning", id = part.id or "rs_" .. dialect.hashed(part.signature), encrypted_content = part.signature,
      summary = array { part.text and { type = "summary_text", text = part.text } or nil },
    })
  end
end

local function write_turn(turn, writer)
  writer.role = turn.role
  for i = 1, #turn.parts do
    local part = turn.parts[i]
    local write = kind_writers[part.kind]
    if write then
      write(part, writer)
    elseif part.kind == "vendor" and part.dialect == NAME and turn.role == "assistant" then
      add_item(writer, part.json)
    else
      local content = write_part(part, writer)
      if content then
        writer.content = writer.content or array {}
        writer.content[#writer.content + 1] = content
      end
    end
  end
  flush(writer)
end

--- A turn of the assistant at the end is the beginning of the answer. Here it would be a turn that is over.
local function refuse_beginning(chat, ctx)
  local last = chat.turns[#chat.turns]
  local part = last and last.role == "assistant" and last.parts[#last.parts]
  if part and part.kind == "text" and not (ctx.caps and ctx.caps.prefill) then
    ctx.refuse(dialect.spelt(chat, "messages"), "end with a turn of the assistant, which this provider does not continue")
  end
end

local function write_input(chat, body, ctx)
  local writer = { items = array {}, free = {}, marks = marks_cache(ctx.model), chat = chat, ctx = ctx }
  for i, turn in ipairs(chat.turns) do
    writer.turn = i
    if turn.instructions then
      body.instructions = dialect.texts(turn.parts, "text", "\n\n")
    else
      write_turn(turn, writer)
    end
    if turn.name then
      ctx.drop "name"
    end
  end
  refuse_beginning(chat, ctx)
  if #writer.items == 0 then
    ctx.refuse(dialect.spelt(chat, "messages"), "say nothing", true)
  end
  body.input = writer.items
end

---- writing: tools and settings

local function write_tool(tool, chat)
  local name = dialect.sent_name(chat, tool.name, 64)
  if tool.kind == "custom" then
    return { type = "custom", name = name, description = tool.description, format = tool.format }
  end
  return { type = "function", name = name, description = tool.description, strict = tool.strict == true,
           parameters = tool.schema or EMPTY_SCHEMA }
end

local function write_tools(chat, body, ctx)
  local tools = array {}
  for i, tool in ipairs(dialect.list(chat.tools)) do
    if tool.kind ~= "vendor" then
      tools[#tools + 1] = write_tool(tool, chat)
    elseif tool.dialect == NAME then
      tools[#tools + 1] = tool.json
    else
      ctx.refuse(format("tools[%d]", i - 1), "is a tool that only its own vendor has")
    end
  end
  if #tools > 0 then
    body.tools, body.parallel_tool_calls = tools, chat.parallel_tools
  end
end

local function named(chat, name)
  return { type = dialect.is_custom(chat, name) and "custom" or "function", name = dialect.sent_name(chat, name, 64) }
end

local function write_tool_choice(chat, body)
  local choice = chat.tool_choice
  if not choice or not body.tools then
    return
  elseif choice.mode == "tool" then
    body.tool_choice = named(chat, choice.name)
  elseif choice.allowed then
    local tools = array {}
    for i = 1, #choice.allowed do
      tools[i] = named(chat, choice.allowed[i])
    end
    body.tool_choice = { type = "allowed_tools", mode = choice.mode, tools = tools }
  else
    body.tool_choice = choice.mode
  end
end

local function says_json(chat)
  for _, turn in ipairs(chat.turns) do
    for _, part in ipairs(turn.parts) do
      if part.text and part.text:lower():find("json", 1, true) then
        return true
      end
    end
  end
end

local function write_output(chat, body)
  local output = chat.output
  if not output then
    return
  end
  body.text = body.text or {}
  if output.kind == "json_schema" then
    body.text.format = {
      type = "json_schema", name = dialect.plain_name(output.name or "answer", 64), schema = output.schema,
      strict = output.strict, description = output.description,
    }
    return
  end
  body.text.format = { type = output.kind }
  if not says_json(chat) then                       -- the API refuses JSON mode when nobody speaks of JSON
    body.instructions = (body.instructions and body.instructions .. "\n\n" or "") .. "Answer with one JSON object."
  end
end

--- Encrypted reasoning is refused by models that do not reason.
local function reasons(ctx)
  if ctx.caps and ctx.caps.reasoning ~= nil then
    return ctx.caps.reasoning
  end
  local model = ctx.model or ""
  local generation = tonumber(model:match "gpt%-(%d+)")
  return generation and generation >= 5 and not model:find("chat", 1, true) or model:find "^o%d" ~= nil
    or model:find("codex", 1, true) ~= nil or model:find("grok", 1, true) ~= nil
end

local function write_reasoning(chat, body, ctx)
  local wanted = chat.reasoning
  if not wanted then
    return
  end
  local effort = wanted.effort
  if not effort and wanted.budget then
    effort = dialect.effort(wanted.budget)
    ctx.warn(format("%s=%s", dialect.spelt(chat, "reasoning"), effort))
  end
  local visible = wanted.visible and (effort or reasons(ctx))
  if effort or visible then
    body.reasoning = { effort = effort, summary = visible and (wanted.summary or "auto") or nil }
  end
end

local function write_include(chat, body, ctx)
  local include = array {}
  if body.store ~= true and reasons(ctx) then
    include[1] = ENCRYPTED
  end
  if chat.params.logprobs then
    include[#include + 1] = LOGPROBS
  end
  body.include = #include > 0 and include or nil
end

--- The API keeps answers unless told not to; who did not ask for that does not get it.
local function write_request(chat, ctx)
  local body = { model = ctx.model, stream = ctx.stream or nil }
  dialect.strip(chat, refused_by_name(ctx), ctx)
  dialect.write_fields(fields, chat, body, ctx)
  if body.store == nil then
    body.store = false
  end
  if body.safety_identifier then
    body.safety_identifier = dialect.hashed(body.safety_identifier)
  end
  write_input(chat, body, ctx)
  write_tools(chat, body, ctx)
  write_tool_choice(chat, body)
  write_output(chat, body)
  write_reasoning(chat, body, ctx)
  write_include(chat, body, ctx)
  return body, dialect.memo(chat)
end

return write_request
