--- write.lua - neutral conversations as Converse requests.
local dialect = require "moongate.dialect"
local fields = require "dialects.bedrock.fields"
local json = require "moongate.json"
local refusals_of = require "dialects.anthropic.models"
local schema = require "moongate.schema"
local write_part = require "dialects.bedrock.part"

local array = json.array
local find, format, insert, ipairs, type = string.find, string.format, table.insert, ipairs, type

---@class bedrock.Writer
---@field messages table[]
---@field results integer  results at the beginning of the last message
---@field calls boolean  the conversation has calls in it
---@field claude boolean  the model is one of Anthropic's
---@field marks integer  how many cache points may still be set
---@field chat table
---@field ctx table

local MAX_MARKS = 4

--- Models that take cache points.
local function marks_of(model)
  return (find(model, "anthropic.claude", 1, true) or find(model, "amazon.nova", 1, true)) and MAX_MARKS or 0
end

--- A cache point stands behind what it keeps.
local function put_mark(part, list, writer)
  if part.cache and writer.marks > 0 then
    local ttl = part.cache.ttl
    writer.marks = writer.marks - 1
    list[#list + 1] = { cachePoint = { type = "default", ttl = writer.claude and ttl and ttl ~= "5m" and "1h" or nil } }
  end
end

---- turns

--- Turns of one role are one message.
local function content_for(writer, role)
  local messages = writer.messages
  local last = messages[#messages]
  if not last and role == "assistant" then
    messages[1] = { role = "user", content = array { { text = dialect.OPENING } } }
  end
  if not last or last.role ~= role then
    last = { role = role, content = array {} }
    messages[#messages + 1] = last
    writer.results = 0
  end
  return last.content
end

local function write_turn(turn, role, writer)
  for _, part in ipairs(turn.parts) do
    local block = write_part(part, writer)
    if block then
      local content = content_for(writer, role)
      if block.toolResult then
        writer.results = writer.results + 1
        insert(content, writer.results, block)
      else
        content[#content + 1] = block
        put_mark(part, content, writer)
      end
    end
  end
end

--- Later it stays where it stands, as the user's: elsewhere it would mean another thing.
local function write_system(turn, writer, system)
  for _, part in ipairs(turn.parts) do
    if part.kind == "text" and find(part.text, "%S") then
      if #writer.messages == 0 then
        system[#system + 1] = { text = part.text }
        put_mark(part, system, writer)
      else
        local content = content_for(writer, "user")
        content[#content + 1] = { text = "<system>\n" .. part.text .. "\n</system>" }
      end
    end
  end
end

--- A document needs a text beside it.
local function accompany(messages)
  for _, message in ipairs(messages) do
    local document, spoken
    for _, block in ipairs(message.content) do
      document, spoken = document or block.document, spoken or block.text
    end
    if document and not spoken then
      message.content[#message.content + 1] = { text = document.name }
    end
  end
end

--- The beginning of an answer may not end in blanks.
local function trim_prefill(messages)
  local last = messages[#messages]
  local block = last.role == "assistant" and last.content[#last.content]
  if block and block.text then
    block.text = block.text:gsub("%s+$", "")
  end
end

local function write_messages(chat, body, writer, system)
  for _, turn in ipairs(chat.turns) do
    if turn.name then
      writer.ctx.drop "name"
    end
    if turn.role == "system" or turn.role == "developer" then
      write_system(turn, writer, system)
    else
      write_turn(turn, turn.role, writer)
    end
  end
  if #writer.messages == 0 then
    writer.ctx.refuse(dialect.spelt(chat, "messages"), "say nothing", true)
  end
  accompany(writer.messages)
  trim_prefill(writer.messages)
  body.messages = writer.messages
end

---- tools

local function input_schema(tool, claude)
  local text = dialect.schema_text(tool)
  return dialect.raw(tool.strict and claude and schema.for_anthropic(text) or text)
end

local function write_tool(tool, writer)
  local custom = tool.kind == "custom"
  return { toolSpec = {
    name = dialect.sent_name(writer.chat, tool.name, 64),
    description = dialect.description(tool),
    inputSchema = { json = custom and dialect.raw(dialect.CUSTOM_SCHEMA) or input_schema(tool, writer.claude) },
    strict = tool.strict and writer.claude or nil,
  } }
end

local function allowed(choice, name)
  for _, other in ipairs(choice and choice.allowed or {}) do
    if other == name then
      return true
    end
  end
  return not (choice and choice.allowed)
end

--- A conversation with calls in it needs their tools, even when none is offered any more.
local function recalled_tools(chat)
  local tools, seen = array {}, {}
  for _, turn in ipairs(chat.turns) do
    for _, part in ipairs(turn.parts) do
      if part.kind == "tool_call" and not seen[part.name] then
        seen[part.name] = true
        tools[#tools + 1] = { toolSpec = { name = dialect.sent_name(chat, part.name, 64),
                                           inputSchema = { json = dialect.raw(dialect.NO_ARGUMENTS) } } }
      end
    end
  end
  return tools
end

local function offered_tools(chat, writer)
  local tools = array {}
  for i, tool in ipairs(dialect.list(chat.tools)) do
    if tool.kind == "vendor" then
      writer.ctx.refuse(format("tools[%d]", i - 1), "is a tool that only its own vendor has")
    elseif allowed(chat.tool_choice, tool.name) then
      tools[#tools + 1] = write_tool(tool, writer)
      put_mark(tool, tools, writer)
    end
  end
  return tools
end

local function choice_of(chat)
  local choice = chat.tool_choice
  if not choice then
    return
  elseif choice.mode == "tool" then
    return { tool = { name = dialect.sent_name(chat, choice.name or "", 64) } }
  elseif choice.mode == "required" then
    return { any = {} }
  end
  return { auto = {} }
end

--- There is no way to forbid calls but to offer no tools; where the conversation has calls, they must be offered.
local function write_tools(chat, body, writer)
  local ctx, forbidden = writer.ctx, chat.tool_choice and chat.tool_choice.mode == "none"
  local tools = forbidden and not writer.calls and array {} or offered_tools(chat, writer)
  if forbidden and writer.calls then
    ctx.refuse(dialect.spelt(chat, "tool_choice"), "cannot forbid the tools of a conversation that has calls in it")
  end
  if #tools > 0 then
    body.toolConfig = { tools = tools, toolChoice = choice_of(chat) }
  elseif writer.calls then
    body.toolConfig = { tools = recalled_tools(chat) }
  end
  if chat.parallel_tools == false and #tools > 0 then
    ctx.drop(dialect.spelt(chat, "parallel_tools"))
  end
end

---- settings

local function write_output(chat, body, writer, system)
  local output = chat.output
  if not output then
    return
  elseif output.kind ~= "json_schema" or not output.schema then
    system[#system + 1] = { text = "Answer with one JSON object and nothing else." }
    return
  end
  local text = dialect.text(output.schema)
  body.outputConfig = { textFormat = { type = "json_schema", structure = { jsonSchema = {
    schema = writer.claude and schema.for_anthropic(text) or text,
    name = output.name and dialect.plain_name(output.name, 64) or nil, description = output.description,
  } } } }
end

--- Which models have budgets, and which weigh by themselves, is Anthropic's to know.
local function thinking_of(reasoning, refused, limit)
  if reasoning.effort == "none" then
    return not refused.off and not refused.adaptive and { type = "disabled" } or nil
  elseif not refused.adaptive then
    return { type = "adaptive", display = reasoning.visible and "summarized" or nil }
  end
  local budget = reasoning.budget or dialect.budget(reasoning.effort or "medium", limit or 4096)
  return budget >= 1024 and budget < (limit or budget + 1) and { type = "enabled", budget_tokens = budget } or nil
end

local function forced(body)
  local choice = body.toolConfig and body.toolConfig.toolChoice
  return choice and (choice.any or choice.tool)
end

local EFFORTS = { minimal = "low", low = "low", medium = "medium", high = "high", xhigh = "xhigh", max = "max" }

local function write_effort(reasoning, body)
  local effort = reasoning.effort or reasoning.budget and dialect.effort(reasoning.budget)
  if EFFORTS[effort] then
    body.outputConfig = body.outputConfig or {}
    body.outputConfig.effort = EFFORTS[effort]
  end
end

local function write_reasoning(chat, body, writer, extra)
  local reasoning, refused = chat.reasoning, refusals_of(writer.ctx)
  if not reasoning or not (reasoning.effort or reasoning.budget or reasoning.adaptive or reasoning.visible) then
    return
  end
  local limit = body.inferenceConfig and body.inferenceConfig.maxTokens
  extra.thinking = writer.claude and not refused.reasoning and not forced(body) and thinking_of(reasoning, refused, limit) or nil
  if not extra.thinking and reasoning.effort ~= "none" then
    writer.ctx.drop(dialect.spelt(chat, "reasoning"))
  elseif extra.thinking and extra.thinking.type == "adaptive" then
    write_effort(reasoning, body)
  end
end

--- Anthropic's models refuse sampling beside a budget of reasoning, some at all, and two ways of it at once.
local function write_sampling(chat, body, writer, extra)
  local ctx, config = writer.ctx, body.inferenceConfig or {}
  if chat.params.top_k and not writer.claude then
    ctx.drop(dialect.spelt(chat, "top_k"))
  else
    extra.top_k = chat.params.top_k
  end
  if not writer.claude then
    return
  end
  local banned = refusals_of(ctx).sampling or extra.thinking and extra.thinking.type ~= "disabled"
  for _, row in ipairs { { config, "temperature", "temperature" }, { config, "topP", "top_p" }, { extra, "top_k", "top_k" } } do
    local both = row[2] == "topP" and config.temperature
    if row[1][row[2]] and (banned or both) then
      ctx.drop(dialect.spelt(chat, row[3]))
      row[1][row[2]] = nil
    end
  end
end

local function write_config(body, ctx)
  local config, most = body.inferenceConfig or {}, ctx.caps and ctx.caps.max_output
  if config.maxTokens and most and config.maxTokens > most then
    ctx.warn("max_tokens=" .. format("%d", most))
    config.maxTokens = most
  end
  local kept = array {}
  for _, sequence in ipairs(dialect.list(config.stopSequences)) do
    kept[#kept + 1] = type(sequence) == "string" and find(sequence, "%S") and sequence or nil
  end
  config.stopSequences = #kept > 0 and kept or nil
  body.inferenceConfig = next(config) and config or nil
end

return function(chat, ctx)
  local body, system, extra, model = {}, array {}, {}, ctx.model or ""
  local writer = { messages = array {}, results = 0, calls = false, marks = marks_of(model), chat = chat, ctx = ctx,
                   claude = find(model, "anthropic.claude", 1, true) ~= nil }
  dialect.write_fields(fields, chat, body, ctx)
  write_messages(chat, body, writer, system)
  write_tools(chat, body, writer)
  write_output(chat, body, writer, system)
  write_reasoning(chat, body, writer, extra)
  write_sampling(chat, body, writer, extra)
  write_config(body, ctx)
  body.system = #system > 0 and system or nil
  if next(extra) then
    body.additionalModelRequestFields = body.additionalModelRequestFields or extra
  end
  return body, dialect.memo(chat, true)
end
