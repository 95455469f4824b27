--- write.lua - neutral conversations as requests of Cohere's Chat API.
local dialect = require "moongate.dialect"
local fields = require "dialects.cohere.fields"
local json = require "moongate.json"
local part_of = require "dialects.cohere.part"
local schema = require "moongate.schema"

local array = json.array
local find, format, ipairs, lower = string.find, string.format, ipairs, string.lower

---@class cohere.Writer
---@field messages table[]
---@field documents table[]  what can be cited
---@field cites boolean  texts of documents stand beside the conversation, not in it
---@field thinks boolean  the model takes thoughts back
---@field ids { [string]: string }  of the client's calls → as they were sent last
---@field sent { [string]: integer }  ids that were sent, and how often they came
---@field chat table
---@field ctx table

local NAME_LENGTH = 64

--- Letters, digits and `_`; no digit in front.
local function plain_name(name, max)
  if #name <= max and find(name, "^[%a_][%w_]*$") then
    return name
  end
  return ("_" .. name:gsub("[^%w_]", "_")):sub(find(name, "^[%a_]") and 2 or 1):sub(1, max - 9) .. "_" .. dialect.digest(name, 8)
end

local function sent_name(chat, name)
  return dialect.sent_name(chat, name, NAME_LENGTH, plain_name)
end

---- turns

--- Turns of one role are one message.
local function message_for(writer, role)
  local messages = writer.messages
  local last = messages[#messages]
  if not last or last.role ~= role then
    last = { role = role, content = array {} }
    messages[#messages + 1] = last
  end
  return last
end

local function say(writer, role, block)
  local content = message_for(writer, role).content
  content[#content + 1] = block
end

--- Results follow the calls at once: what was said between them comes behind.
local function put_result(message, messages)
  local last, before = messages[#messages], messages[#messages - 1]
  local interrupted = last and last.role == "user" and before and (before.role == "tool" or before.tool_calls)
  table.insert(messages, interrupted and #messages or #messages + 1, message)
end

--- Results are texts. What else is in one follows as the user's.
local function write_result(part, writer, later)
  local content = array {}
  for _, inner in ipairs(part.parts) do
    if inner.kind == "text" then
      content[#content + 1] = part_of.block(inner, writer)
    elseif inner.kind == "document" and dialect.document_text(inner) then
      content[#content + 1] = { type = "document", document = part_of.source(inner) }
    else
      later[#later + 1] = { kind = "text", text = "Result of tool call " .. part.id .. ":" }
      later[#later + 1] = inner
    end
  end
  if part.error then
    table.insert(content, 1, { type = "text", text = "Error:" })
  end
  if #content == 0 then
    content[1] = { type = "text", text = #later > 0 and "The result follows in the next message." or "{}" }
  end
  local id = part.id or "call"
  put_result({ role = "tool", tool_call_id = writer.ids[id] or dialect.id(id), content = content }, writer.messages)
end

local function write_document(part, writer)
  if writer.cites and dialect.document_text(part) then
    local documents = writer.documents
    documents[#documents + 1] = part_of.source(part, format("doc:%d", #documents))
    return { type = "text", text = format("[%s]", part.name or documents[#documents].id) }
  end
  return part_of.block(part, writer)
end

--- Results first, then what the user said beside them.
local function write_user(turn, writer)
  local later = {}
  for _, part in ipairs(turn.parts) do
    if part.kind == "tool_result" then
      write_result(part, writer, later)
    end
  end
  for _, part in ipairs(later) do
    say(writer, "user", part_of.block(part, writer))
  end
  for _, part in ipairs(turn.parts) do
    local block
    if part.kind == "document" then
      block = write_document(part, writer)
    elseif part.kind ~= "tool_result" then
      block = part_of.block(part, writer)
    end
    if block then
      say(writer, "user", block)
    end
  end
end

--- No id may come twice, though some clients count their calls anew in each turn.
local function id_of_call(id, writer)
  local sent = dialect.id(id)
  local times = (writer.sent[sent] or 0) + 1
  writer.sent[sent] = times
  writer.ids[id] = times == 1 and sent or dialect.id(sent .. "_" .. times)
  return writer.ids[id]
end

local function write_call(part, writer)
  local arguments = part.custom and json.encode { input = part.arguments } or dialect.object_text(part.arguments)
  return { id = id_of_call(part.id or "call", writer), type = "function",
           ["function"] = { name = sent_name(writer.chat, part.name), arguments = arguments } }
end

--- What a signature belongs to is another vendor's. A model that does not think planned its calls.
local function write_thought(part, message, writer, calls)
  local text = part.text or ""
  if part.signature or part.redacted or not find(text, "%S") then
    return
  elseif writer.thinks then
    message.content[#message.content + 1] = { type = "thinking", thinking = text }
  elseif calls then
    message.tool_plan = (message.tool_plan or "") .. text
  end
end

local function has_calls(turn)
  for _, part in ipairs(turn.parts) do
    if part.kind == "tool_call" then
      return true
    end
  end
  return false
end

local function write_assistant(turn, writer)
  local message, calls = message_for(writer, "assistant"), has_calls(turn)
  for _, part in ipairs(turn.parts) do
    if part.kind == "tool_call" then
      message.tool_calls = message.tool_calls or array {}
      table.insert(message.tool_calls, write_call(part, writer))
    elseif part.kind == "reasoning" then
      write_thought(part, message, writer, calls)
    else
      local block = part_of.block(part, writer)
      message.content[#message.content + 1] = block
    end
  end
  if #message.content == 0 and not message.tool_calls then
    table.remove(writer.messages)
  end
end

--- Later it stays where it stands, as the user's: elsewhere it would mean another thing.
local function write_system(turn, writer, system)
  for _, part in ipairs(turn.parts) do
    if part.kind == "text" and find(part.text, "%S") then
      if #writer.messages == 0 then
        system[#system + 1] = part.text
      else
        say(writer, "user", { type = "text", text = "<system>\n" .. part.text .. "\n</system>" })
      end
    end
  end
end

--- One text is a string; an assistant that only calls says nothing.
local function settle_content(messages)
  for _, message in ipairs(messages) do
    local content = message.content
    if #content == 0 then
      message.content = nil
    elseif #content == 1 and content[1].type == "text" then
      message.content = content[1].text
    end
  end
end

local function check_end(writer)
  local last, field = writer.messages[#writer.messages], dialect.spelt(writer.chat, "messages")
  if not last then
    writer.ctx.refuse(field, "say nothing", true)
  elseif last.role == "assistant" then
    writer.ctx.refuse(field, "end with a turn of the assistant, which Cohere does not continue")
    table.remove(writer.messages)
  end
end

local function write_messages(chat, body, writer, system)
  for _, turn in ipairs(chat.turns) do
    if turn.name then
      writer.ctx.drop "name"
    end
    if turn.role == "user" then
      write_user(turn, writer)
    elseif turn.role == "assistant" then
      write_assistant(turn, writer)
    else
      write_system(turn, writer, system)
    end
  end
  check_end(writer)
  settle_content(writer.messages)
  if #system > 0 then
    table.insert(writer.messages, 1, { role = "system", content = table.concat(system, "\n\n") })
  end
  body.messages = writer.messages
  if #writer.documents > 0 then
    body.documents = writer.documents
  end
end

---- tools

local function parameters_of(tool, strict)
  local text = dialect.schema_text(tool)
  return dialect.raw(strict and schema.for_cohere(text) or text)
end

local function write_tool(tool, chat, strict)
  local custom = tool.kind == "custom"
  return { type = "function", ["function"] = {
    name = sent_name(chat, tool.name), description = dialect.description(tool),
    parameters = custom and dialect.raw(dialect.CUSTOM_SCHEMA) or parameters_of(tool, strict),
  } }
end

--- Whether a tool is among those that may be called.
local function offered(choice, name)
  if choice and choice.mode == "tool" then
    return choice.name == name
  end
  for _, other in ipairs(choice and choice.allowed or {}) do
    if other == name then
      return true
    end
  end
  return not (choice and choice.allowed)
end

local function all_strict(tools)
  for _, tool in ipairs(tools) do
    if not tool.strict then
      return false
    end
  end
  return #tools > 0
end

local CHOICES = { none = "NONE", required = "REQUIRED", tool = "REQUIRED" }

local function write_tools(chat, body, ctx)
  local tools, given, choice = array {}, dialect.list(chat.tools), chat.tool_choice
  local strict = all_strict(given)
  for i, tool in ipairs(given) do
    if tool.kind == "vendor" then
      ctx.refuse(format("tools[%d]", i - 1), "is a tool that only its own vendor has")
    elseif offered(choice, tool.name) then
      tools[#tools + 1] = write_tool(tool, chat, strict)
    end
  end
  if #tools == 0 then
    return
  end
  body.tools, body.strict_tools = tools, strict or nil
  body.tool_choice = choice and CHOICES[choice.mode]
  if chat.parallel_tools == false then
    ctx.drop(dialect.spelt(chat, "parallel_tools"))
  end
end

---- settings

local function speaks_of_json(chat)
  for _, turn in ipairs(chat.turns) do
    for _, part in ipairs(turn.parts) do
      if part.text and find(lower(part.text), "json", 1, true) then
        return true
      end
    end
  end
  return false
end

--- Without a word about JSON the model may never end.
local function write_output(chat, body, system, ctx)
  local output = chat.output
  if not output then
    return
  elseif body.tools then
    ctx.refuse(dialect.spelt(chat, "output"), "cannot stand beside tools at this provider")
  else
    local text = output.kind == "json_schema" and output.schema and dialect.text(output.schema)
    body.response_format = { type = "json_object", json_schema = text and dialect.raw(schema.for_cohere(text)) or nil }
  end
  if not speaks_of_json(chat) then
    system[#system + 1] = "Answer with one JSON object and nothing else."
  end
end

local function thinks(ctx)
  if ctx.caps and ctx.caps.reasoning ~= nil then
    return ctx.caps.reasoning
  end
  local model = ctx.model or ""
  return find(model, "reasoning", 1, true) ~= nil or find(model, "command-a-plus", 1, true) ~= nil
end

local MOST_THOUGHT, ANSWER = 31000, 1000

--- Models that think do so unless they are told otherwise; much of it is best left without a limit.
local function write_thinking(chat, body, writer)
  local wanted = chat.reasoning
  if not wanted or not (wanted.effort or wanted.budget) then
    return
  elseif not writer.thinks then
    if wanted.effort ~= "none" then
      writer.ctx.drop(dialect.spelt(chat, "reasoning"))
    end
  elseif wanted.effort == "none" or wanted.budget == 0 then
    body.thinking = { type = "disabled" }
  else
    local rank = dialect.efforts[wanted.effort]
    local limit = math.min(MOST_THOUGHT, (body.max_tokens or MOST_THOUGHT + ANSWER) - ANSWER)
    local budget = wanted.budget or rank and rank < dialect.efforts.high and dialect.budget(wanted.effort, limit) or nil
    body.thinking = { type = "enabled", token_budget = budget and math.max(1, math.min(budget, limit)) }
  end
end

local function write_limit(chat, body, ctx)
  local most = ctx.caps and ctx.caps.max_output
  if body.max_tokens and most and body.max_tokens > most then
    ctx.warn(format("%s=%d", dialect.spelt(chat, "max_tokens"), most))
    body.max_tokens = most
  end
end

return function(chat, ctx)
  local body, system = { model = ctx.model }, {}
  local writer = { messages = array {}, documents = array {}, chat = chat, ctx = ctx, thinks = thinks(ctx), ids = {}, sent = {},
                   cites = not chat.output and #dialect.list(chat.tools) == 0 }
  dialect.write_fields(fields, chat, body, ctx)
  write_limit(chat, body, ctx)
  write_tools(chat, body, ctx)
  write_output(chat, body, system, ctx)
  write_thinking(chat, body, writer)
  write_messages(chat, body, writer, system)
  body.stream = ctx.stream or nil
  return body, dialect.memo(chat, true)
end
