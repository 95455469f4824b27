--- read.lua - requests in Anthropic Messages, read.
local dialect = require "moongate.dialect"
local fields = require "dialects.anthropic.fields"

local list, given, string_of, raw_value = dialect.list, dialect.given, dialect.string, dialect.raw_value
local concat, format, next, type = table.concat, string.format, next, type

--- On reasoning that nobody signed.

local function cache_of(block)
  local mark = block.cache_control
  return type(mark) == "table" and { ttl = string_of(mark.ttl) } or nil
end

--- base64, url, file, text and content sources of images and documents.
local function read_source(block, kind)
  local source = block.source
  if type(source) ~= "table" then
    return nil, "has no source"
  end
  local part = { kind = kind, cache = cache_of(block), name = string_of(block.title) }
  if source.type == "base64" and type(source.data) == "string" then
    part.mime, part.data = dialect.media_type(string_of(source.media_type), source.data), source.data
  elseif source.type == "url" and type(source.url) == "string" then
    part.url = source.url
  elseif source.type == "file" and type(source.file_id) == "string" then
    part.kind, part.id, part.dialect = "file", source.file_id, "anthropic"
  elseif source.type == "text" and type(source.data) == "string" then
    part.text = source.data
  elseif source.type == "content" then
    local texts = {}
    for _, inner in ipairs(list(source.content)) do
      texts[#texts + 1] = type(inner) == "table" and string_of(inner.text) or nil
    end
    part.text = type(source.content) == "string" and source.content or concat(texts, "\n\n")
  else
    return nil, "has an unknown source"
  end
  return part
end

local read_blocks

local READ_BLOCK = {
  text = function(block)
    local text = string_of(block.text)
    return text and { kind = "text", text = text, cache = cache_of(block), citations = raw_value(block.citations) },
      not text and "has no text" or nil
  end,

  image = function(block)
    return read_source(block, "image")
  end,

  document = function(block)
    return read_source(block, "document")
  end,

  search_result = function(block)
    local texts = { string_of(block.title) }
    texts[#texts + 1] = string_of(block.source)
    for _, inner in ipairs(list(block.content)) do
      texts[#texts + 1] = type(inner) == "table" and string_of(inner.text) or nil
    end
    return { kind = "document", text = concat(texts, "\n"), cache = cache_of(block) }
  end,

  tool_use = function(block)
    local input = raw_value(block.input)
    return { kind = "tool_call", id = string_of(block.id), name = string_of(block.name) or "",
             arguments = input and dialect.text(input) or "{}", cache = cache_of(block) }
  end,

  tool_result = function(block, ctx, at)
    local id = string_of(block.tool_use_id)
    if not id then
      return nil, "has no tool_use_id"
    end
    local parts = {}
    read_blocks(block.content, parts, ctx, at .. ".content")
    return { kind = "tool_result", id = id, parts = parts, error = block.is_error == true or nil,
             cache = cache_of(block) }
  end,

  --- Signed by Anthropic, or a text of another vendor with its own state in the signature.
  thinking = function(block)
    local part, signature = { kind = "reasoning", text = string_of(block.thinking) or "" }, string_of(block.signature)
    if signature and signature ~= "" and signature ~= dialect.UNSIGNED then
      dialect.unseal(part, signature, "anthropic")
    end
    return part
  end,

  redacted_thinking = function(block)
    local part, data = { kind = "reasoning" }, string_of(block.data) or ""
    if dialect.unpack(data) then
      part.call = dialect.unseal(part, data)
    else
      part.redacted, part.dialect = data, "anthropic"
    end
    return part
  end,
}

--- Appends the blocks as parts. Those of Anthropic's own tools stay what they are: another vendor cannot use them.
function read_blocks(content, parts, ctx, at)
  if type(content) == "string" then
    if content ~= "" then
      parts[#parts + 1] = { kind = "text", text = content }
    end
    return
  end
  local blocks = list(content)
  for i = 1, #blocks do
    local block = blocks[i]
    local read, part, why = type(block) == "table" and READ_BLOCK[block.type], nil, nil
    if read then
      part, why = read(block, ctx, at)
    elseif type(block) == "table" and type(block.type) == "string" then
      part = { kind = "vendor", dialect = "anthropic", type = block.type, json = block }
    else
      why = "is no block"
    end
    if why then
      ctx.refuse(format("%s[%d]", at, i - 1), why)
    elseif part.text ~= "" or part.signature then
      parts[#parts + 1] = part
    end
  end
end

--- State that was packed for a call goes back to it.
local function return_state(parts)
  local kept = {}
  for _, part in ipairs(parts) do
    if part.call then
      for _, call in ipairs(parts) do
        if call.kind == "tool_call" and call.id == part.call then
          call.signature, call.signed_by = part.signature, part.dialect
        end
      end
    else
      kept[#kept + 1] = part
    end
  end
  return kept
end

local ROLES = { user = "user", assistant = "assistant", system = "system" }

local function read_messages(body, chat, ctx)
  local messages, turns = body.messages, chat.turns
  if type(messages) ~= "table" or #messages == 0 then
    return ctx.refuse("messages", "must be a list of at least one message", true)
  end
  for i = 1, #messages do
    local message = messages[i]
    local role = type(message) == "table" and ROLES[message.role]
    if role then
      local parts, content = {}, message.content
      read_blocks(content, parts, ctx, type(content) == "table" and format("messages[%d].content", i - 1))
      turns[#turns + 1] = { role = role, parts = role == "assistant" and return_state(parts) or parts }
    else
      ctx.refuse(format("messages[%d].role", i - 1), "is none of user, assistant and system")
    end
  end
end

local function read_system(body, chat, ctx)
  local parts = {}
  if given(body.system) then
    read_blocks(body.system, parts, ctx, "system")
  end
  for _, part in ipairs(parts) do
    chat.turns[#chat.turns + 1] = { role = "system", parts = { part } }
  end
end

local function read_tool(tool)
  if (not given(tool.type) or tool.type == "custom") and type(tool.name) == "string" then
    return { kind = "function", name = tool.name, description = string_of(tool.description),
             schema = raw_value(tool.input_schema), strict = tool.strict == true or nil, cache = cache_of(tool) }
  elseif type(tool.type) == "string" then
    return { kind = "vendor", dialect = "anthropic", type = tool.type, json = tool }
  end
end

local CHOICES = { auto = "auto", any = "required", none = "none", tool = "tool" }

local function read_tools(body, chat, ctx)
  for i, tool in ipairs(list(body.tools)) do
    local read = type(tool) == "table" and read_tool(tool)
    chat.tools = chat.tools or {}
    if read then
      chat.tools[#chat.tools + 1] = read
    else
      ctx.refuse(format("tools[%d]", i - 1), "has neither a name nor a type")
    end
  end
  local choice = body.tool_choice
  if type(choice) == "table" then
    local mode = CHOICES[choice.type]
    if not mode then
      ctx.refuse("tool_choice", "is none of auto, any, tool and none")
    elseif mode == "tool" and not string_of(choice.name) then
      ctx.refuse("tool_choice.name", "is missing")
      mode = "auto"
    end
    chat.tool_choice = { mode = mode or "auto", name = string_of(choice.name) }
    if choice.disable_parallel_tool_use == true then
      chat.parallel_tools, chat.spelt.parallel_tools = false, "tool_choice.disable_parallel_tool_use"
    end
  end
end

local function read_thinking(body, chat)
  local thinking = type(body.thinking) == "table" and body.thinking
  local config = type(body.output_config) == "table" and body.output_config
  local out = { effort = config and string_of(config.effort) or nil }
  chat.spelt.reasoning = thinking and "thinking" or "output_config.effort"
  if thinking then
    local kind = thinking.type
    out.adaptive = kind == "adaptive" or nil
    out.budget = kind == "enabled" and type(thinking.budget_tokens) == "number" and thinking.budget_tokens or nil
    out.visible = (kind == "adaptive" or kind == "enabled") and thinking.display ~= "omitted" or nil
    if not out.effort then
      out.effort = kind == "disabled" and "none" or kind == "between_tools" and "low" or nil
    end
  end
  if next(out) then
    chat.reasoning = out
  end
  local wanted = config and config.format or body.output_format
  chat.spelt.output = config and given(config.format) and "output_config.format" or "output_format"
  if type(wanted) == "table" and wanted.type == "json_schema" then
    chat.output = { kind = "json_schema", schema = raw_value(wanted.schema), strict = true }
  end
end

local function read_request(body, ctx)
  local chat = dialect.chat "anthropic"
  dialect.read_fields(fields, body, chat, ctx)
  if chat.params.max_tokens == 0 then
    ctx.refuse("max_tokens", "0 asks only to warm Anthropic's own cache", true)
  end
  read_system(body, chat, ctx)
  read_messages(body, chat, ctx)
  read_tools(body, chat, ctx)
  read_thinking(body, chat)
  return chat
end


return { blocks = READ_BLOCK, request = read_request }
