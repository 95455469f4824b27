--- write.lua - requests in Anthropic Messages, written.
local dialect = require "moongate.dialect"
local fields = require "dialects.anthropic.fields"
local json = require "moongate.json"
local refusals_of = require "dialects.anthropic.models"
local schema = require "moongate.schema"

local format, insert, ipairs, type = string.format, table.insert, ipairs, type

local DEFAULT_MAX_TOKENS = 32000 -- every model since 4.1 writes as much

---- requests: neutral → this dialect

local MAX_MARKS = 4

--- Lifetimes of other vendors are longer or nothing: half an hour and more is an hour here.
local function mark(part, block, writer)
  local cache = part.cache
  if cache then
    local ttl = cache.ttl
    block.cache_control = { type = "ephemeral", ttl = ttl and ttl ~= "5m" and "1h" or nil }
    writer.marked[#writer.marked + 1] = block
  end
  return block
end

local IMAGES = { ["image/jpeg"] = true, ["image/png"] = true, ["image/gif"] = true, ["image/webp"] = true }

local WRITE_BLOCK = {
  text = function(part)
    return { type = "text", text = part.text }
  end,

  image = function(part)
    if part.url and part.url:find "^https?://" then
      return { type = "image", source = { type = "url", url = part.url } }
    elseif not part.data then
      return nil, "is an image at an address Anthropic does not fetch"
    elseif not IMAGES[part.mime or ""] then
      return nil, "is an image that is neither JPEG, PNG, GIF nor WebP"
    end
    return { type = "image", source = { type = "base64", media_type = part.mime, data = part.data } }
  end,

  document = function(part)
    local source
    local text = dialect.document_text(part)
    if text then
      source = { type = "text", media_type = "text/plain", data = text }
    elseif part.url then
      source = { type = "url", url = part.url }
    elseif part.mime == "application/pdf" then
      source = { type = "base64", media_type = part.mime, data = part.data }
    else
      return nil, "is a document that is neither PDF nor text"
    end
    return { type = "document", source = source, title = part.name }
  end,

  file = function(part)
    if part.dialect ~= "anthropic" then
      return nil, "is a file kept by another vendor"
    end
    return { type = "document", source = { type = "file", file_id = part.id } }
  end,

  audio = function()
    return nil, "is audio, which Anthropic does not take"
  end,

  video = function()
    return nil, "is video, which Anthropic does not take"
  end,

  tool_call = function(part, writer)
    local arguments = part.custom and json.encode { input = part.arguments } or dialect.object_text(part.arguments)
    writer.calls = true
    return { type = "tool_use", id = dialect.id(part.id or "call"), input = dialect.raw(arguments),
             name = dialect.sent_name(writer.chat, part.name, 128) }
  end,

  --- Only what Anthropic signed itself: it refuses a foreign signature.
  reasoning = function(part)
    if part.dialect ~= "anthropic" then
      return
    elseif part.redacted then
      return { type = "redacted_thinking", data = part.redacted }
    elseif part.signature then
      return { type = "thinking", thinking = part.text or "", signature = part.signature }
    end
  end,
}
WRITE_BLOCK.refusal = WRITE_BLOCK.text

--- Anthropic refuses texts that are empty or blank.
local function says_nothing(part)
  return part.text ~= nil and (part.kind == "text" or part.kind == "refusal") and not part.text:find "%S"
end

local write_result

--- One block, or nothing and why not.
local function write_block(part, writer, ctx)
  if part.kind == "tool_result" then
    return write_result(part, writer, ctx)
  elseif part.kind == "vendor" then
    if part.dialect == "anthropic" then
      return part.json
    end
    ctx.drop(part.type or part.dialect)
    return
  end
  local block, why = WRITE_BLOCK[part.kind](part, writer)
  if block and part.kind ~= "reasoning" then
    mark(part, block, writer)
  end
  return block, why
end

local function refuse_part(writer, ctx, why)
  ctx.refuse(dialect.spelt(writer.chat, "messages"), "has a part that " .. why)
end

function write_result(part, writer, ctx)
  local content = {}
  for _, inner in ipairs(part.parts) do
    if not says_nothing(inner) then
      local block, why = write_block(inner, writer, ctx)
      if why then
        refuse_part(writer, ctx, why)
      end
      content[#content + 1] = block
    end
  end
  local first = content[1]
  local plain = #content == 1 and first.type == "text" and not first.cache_control and first.text
  local block = { type = "tool_result", tool_use_id = dialect.id(part.id), is_error = part.error,
                  content = plain or first and content or nil }
  return mark(part, block, writer)
end

--- The message that what follows belongs to: turns of one role are one message.
local function message_for(writer, role)
  local messages = writer.messages
  local last = messages[#messages]
  if not last and role == "assistant" then
    messages[1] = { role = "user", content = { { type = "text", text = dialect.OPENING } } }
  end
  if not last or last.role ~= role then
    last = { role = role, content = {} }
    messages[#messages + 1] = last
    writer.results = 0
  end
  return last.content
end

--- Results stand first in their message, in the order in which they came.
local function put_block(writer, role, block)
  local content = message_for(writer, role)
  if block.type == "tool_result" then
    writer.results = writer.results + 1
    insert(content, writer.results, block)
  else
    content[#content + 1] = block
  end
end

local function write_turn(turn, writer, ctx)
  for _, part in ipairs(turn.parts) do
    if not says_nothing(part) then
      local block, why = write_block(part, writer, ctx)
      if why then
        refuse_part(writer, ctx, why)
      elseif block then
        put_block(writer, turn.role, block)
      end
    end
  end
end

--- Before the first turn it is the system's; later it stays where it stands, because elsewhere it would mean another
--- thing.
local function write_system(turn, writer, system)
  for _, part in ipairs(turn.parts) do
    if part.kind == "text" and not says_nothing(part) then
      local block = { type = "text", text = part.text }
      if #writer.messages == 0 then
        system[#system + 1] = mark(part, block, writer)
      else
        block.text = "<system>\n" .. part.text .. "\n</system>"
        put_block(writer, "user", mark(part, block, writer))
      end
    end
  end
end

--- An assistant's turn at the end is the beginning of the answer. Anthropic refuses blanks at its end.
local function end_with_user(writer, ctx)
  local last = writer.messages[#writer.messages]
  if not last or last.role ~= "assistant" then
    return
  end
  local block = last.content[#last.content]
  if block.type == "text" then
    block.text = block.text:gsub("%s+$", "")
  end
  if refusals_of(ctx).prefill and not (ctx.caps and ctx.caps.prefill) then
    ctx.refuse(dialect.spelt(writer.chat, "messages"),
      "end with a turn of the assistant, which this model does not continue")
    writer.messages[#writer.messages] = nil
  elseif block.type == "text" and block.text == "" then
    last.content[#last.content] = nil
    if #last.content == 0 then
      writer.messages[#writer.messages] = nil
    end
  end
end

local function write_messages(chat, body, writer, ctx)
  local system = {}
  for _, turn in ipairs(chat.turns) do
    if turn.role == "system" or turn.role == "developer" then
      write_system(turn, writer, system)
    else
      if turn.name then
        ctx.drop "name"
      end
      write_turn(turn, writer, ctx)
    end
  end
  end_with_user(writer, ctx)
  if #writer.messages == 0 then
    ctx.refuse(dialect.spelt(chat, "messages"), "say nothing", true)
  end
  body.messages = writer.messages
  body.system = #system > 0 and system or nil
end

local NO_ARGUMENTS = dialect.raw(dialect.NO_ARGUMENTS)
local ANY_ARGUMENTS = dialect.raw '{"type":"object"}'
local CUSTOM_SCHEMA = dialect.raw(dialect.CUSTOM_SCHEMA)

--- What Anthropic asks of a schema: an object at the top.
local function input_schema(tool)
  local text = dialect.schema_text(tool)
  if text == dialect.NO_ARGUMENTS then
    return NO_ARGUMENTS
  elseif text:find '^%s*{%s*"type"%s*:%s*"object"' or json.decode(text).type ~= nil then
    return tool.schema
  end
  return dialect.raw('{"type":"object",' .. text:match "^%s*{(.*)$")
end

--- Rewritten once for each text, if it is no monster: clients send the same schema with every request.
local MOST_SCHEMAS, MOST_BYTES = 64, 65536
local schemas, schema_count = {}, 0

local function strict_schema(raw)
  local text = dialect.text(raw)
  local known = schemas[text]
  if known then
    return known
  end
  known = dialect.raw(schema.for_anthropic(text))
  if #text <= MOST_BYTES then
    if schema_count == MOST_SCHEMAS then
      schemas, schema_count = {}, 0
    end
    schemas[text], schema_count = known, schema_count + 1
  end
  return known
end

local function write_tool(tool, chat)
  local name = dialect.sent_name(chat, tool.name, 128)
  if tool.kind == "custom" then
    return { name = name, description = dialect.custom_description(tool), input_schema = CUSTOM_SCHEMA }
  end
  local its_schema = input_schema(tool)
  return { name = name, description = tool.description, strict = tool.strict,
           input_schema = tool.strict and strict_schema(its_schema) or its_schema }
end

--- A conversation with calls in it needs their tools, even when nothing may be called any more.
local function recalled_tools(chat, body)
  local tools, seen = {}, {}
  for _, turn in ipairs(chat.turns) do
    for _, part in ipairs(turn.parts) do
      if part.kind == "tool_call" and not seen[part.name] then
        seen[part.name] = true
        tools[#tools + 1] = { name = dialect.sent_name(chat, part.name, 128), input_schema = ANY_ARGUMENTS }
      end
    end
  end
  body.tools, body.tool_choice = tools, { type = "none" }
end

local function allowed(choice, name)
  if not choice or not choice.allowed then
    return true
  end
  for _, other in ipairs(choice.allowed) do
    if other == name then
      return true
    end
  end
  return false
end

local function write_tools(chat, body, writer, ctx)
  local tools, choice = {}, chat.tool_choice
  for i, tool in ipairs(chat.tools or {}) do
    if tool.kind == "vendor" then
      if tool.dialect == "anthropic" then
        tools[#tools + 1] = tool.json
      else
        ctx.refuse(format("tools[%d]", i - 1), "is a tool that only its own vendor has")
      end
    elseif allowed(choice, tool.name) then
      tools[#tools + 1] = mark(tool, write_tool(tool, chat), writer)
    end
  end
  if #tools > 0 then
    body.tools = tools
  elseif writer.calls then
    recalled_tools(chat, body)
  end
end

--- Forced calls are refused by newer models. Told so, a lenient client gets a request instead.
local function write_tool_choice(chat, body, ctx, say)
  local choice = chat.tool_choice
  if not body.tools or body.tool_choice then
    return
  end
  local mode = choice and choice.mode or "auto"
  local out = { type = mode == "required" and "any" or mode }
  if mode == "tool" then
    out.name = dialect.sent_name(chat, choice.name or "", 128)
  end
  if (out.type == "any" or out.type == "tool") and refusals_of(ctx).forced then
    ctx.refuse(dialect.spelt(chat, "tool_choice"), "this model does not take a forced choice of tools")
    say(out.name and "Call the tool " .. out.name .. " now." or "Call one of the tools now.")
    out = { type = "auto" }
  end
  if chat.parallel_tools == false and mode ~= "none" then
    out.disable_parallel_tool_use = true
  end
  if choice or out.disable_parallel_tool_use then
    body.tool_choice = out
  end
end

local function write_output(chat, body, say)
  local output = chat.output
  if not output then
    return
  elseif output.kind == "json_schema" and output.schema then
    body.output_config = body.output_config or {}
    body.output_config.format = { type = "json_schema", schema = strict_schema(output.schema) }
  else
    say "Answer with one JSON object and nothing else."
  end
end

local function forced(body)
  local kind = body.tool_choice and body.tool_choice.type
  return kind == "any" or kind == "tool"
end

--- With a budget of reasoning, a turn that called a tool must begin with the reasoning it came from.
local function lacks_reasoning(writer)
  local messages = writer.messages
  for i = #messages, 1, -1 do
    if messages[i].role == "assistant" then
      local first, called = messages[i].content[1], false
      for _, block in ipairs(messages[i].content) do
        called = called or block.type == "tool_use"
      end
      return called and first.type ~= "thinking" and first.type ~= "redacted_thinking"
    elseif messages[i].content[1].type ~= "tool_result" then
      return false
    end
  end
end

local function write_budget(chat, body, writer, ctx)
  local reasoning = chat.reasoning
  if reasoning.effort == "none" then
    return
  elseif refusals_of(ctx).reasoning or forced(body) or lacks_reasoning(writer) then
    return ctx.drop(dialect.spelt(chat, "reasoning"))
  end
  local budget = reasoning.budget or dialect.budget(reasoning.effort or "medium", body.max_tokens)
  if budget >= body.max_tokens then
    local most = ctx.caps and ctx.caps.max_output or budget + body.max_tokens
    body.max_tokens = math.min(budget + body.max_tokens, most)
    budget = math.min(budget, body.max_tokens - 1)
  end
  if budget < 1024 then
    return ctx.drop(dialect.spelt(chat, "reasoning"))
  end
  body.thinking = { type = "enabled", budget_tokens = budget }
end

local EFFORTS = { minimal = "low", low = "low", medium = "medium", high = "high", xhigh = "xhigh", max = "max" }

--- What was asked for as effort is effort on models that weigh by themselves, and a budget on those before them.
local function write_reasoning(chat, body, writer, ctx)
  local reasoning, refused = chat.reasoning, refusals_of(ctx)
  if not reasoning or not (reasoning.effort or reasoning.budget or reasoning.adaptive or reasoning.visible) then
    return
  elseif refused.adaptive then
    return write_budget(chat, body, writer, ctx)
  elseif reasoning.effort == "none" then
    if refused.off then
      body.output_config = body.output_config or {}
      body.output_config.effort = "low"
      return ctx.warn(dialect.spelt(chat, "reasoning") .. "=low")
    end
    body.thinking = { type = "disabled" }
    return
  end
  local effort = reasoning.effort or reasoning.budget and dialect.effort(reasoning.budget)
  if effort then
    body.output_config = body.output_config or {}
    body.output_config.effort = EFFORTS[effort] or effort
  end
  body.thinking = { type = "adaptive", display = reasoning.visible and "summarized" or nil }
end

--- What does not go together with reasoning on older models, and what newer ones refuse at all.
local function write_sampling(chat, body, ctx)
  local refused = refusals_of(ctx)
  local thinks = body.thinking and body.thinking.type ~= "disabled"
  for _, param in ipairs { "temperature", "top_p", "top_k" } do
    local keeps = param == "top_p" and (body.top_p or 0) >= 0.95
    if body[param] and (refused.sampling or thinks and not keeps) then
      ctx.drop(dialect.spelt(chat, param))
      body[param] = nil
    end
  end
  if body.temperature and body.top_p and not thinks then
    ctx.drop(dialect.spelt(chat, "top_p"))
    body.top_p = nil
  end
end

--- Anthropic takes no request without a limit. The model's own is the one that cuts nothing off.
local function write_limit(body, ctx)
  local most = ctx.caps and ctx.caps.max_output or refusals_of(ctx).most
  if not body.max_tokens then
    body.max_tokens = most or DEFAULT_MAX_TOKENS
  elseif most and body.max_tokens > most then
    ctx.warn("max_tokens=" .. format("%d", most))
    body.max_tokens = most
  end
end

--- More than four marks are refused; the last ones reach furthest.
local function drop_marks(writer)
  local marked = writer.marked
  for i = 1, #marked - MAX_MARKS do
    marked[i].cache_control = nil
  end
end

local function write_stop(body)
  local kept = {}
  for _, sequence in ipairs(body.stop_sequences or {}) do
    if type(sequence) == "string" and sequence:find "%S" then
      kept[#kept + 1] = sequence
    end
  end
  body.stop_sequences = #kept > 0 and kept or nil
end

local function write_request(chat, ctx)
  local body = { model = ctx.model, stream = ctx.stream or nil }
  local writer = { messages = {}, marked = {}, chat = chat, results = 0, calls = false }
  local function say(text)
    body.system = body.system or {}
    body.system[#body.system + 1] = { type = "text", text = text }
  end
  dialect.write_fields(fields, chat, body, ctx)
  write_limit(body, ctx)
  write_stop(body)
  if body.metadata then
    body.metadata.user_id = dialect.hashed(body.metadata.user_id)
  end
  write_messages(chat, body, writer, ctx)
  write_tools(chat, body, writer, ctx)
  write_tool_choice(chat, body, ctx, say)
  write_output(chat, body, say)
  write_reasoning(chat, body, writer, ctx)
  write_sampling(chat, body, ctx)
  drop_marks(writer)
  return body, dialect.memo(chat, true)
end


return write_request
