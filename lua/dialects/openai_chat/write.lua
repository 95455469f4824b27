--- write.lua - requests in OpenAI Chat Completions, written.
local dialect = require "moongate.dialect"
local answer = require "dialects.openai_chat.answer"
local fields = require "dialects.openai_chat.fields"
local refused_by_name = require "dialects.openai_chat.models"

local null = dialect.null
local find, format, match = string.find, string.format, string.match

--- Models of OpenAI's own refuse the old name, and many vendors know no other.
local function is_openai_model(ctx)
  local model = ctx.model or ""
  return find(ctx.vendor or "", "^azure") or find(model, "^gpt%-") or find(model, "^o%d") or find(model, "^chatgpt")
    or find(model, "^ft:") or find(model, "^codex")
end

--- Marks exist since GPT-5.6; older models cache by themselves.
local function marks_cache(model)
  local major, minor = match(model, "gpt%-(%d+)%.?(%d*)")
  major, minor = tonumber(major), tonumber(minor) or 0
  return major ~= nil and (major > 5 or major == 5 and minor >= 6)
end

--- Mistral's ids are nine letters and digits.
local function mistral_id(id)
  return find(id, "^%w%w%w%w%w%w%w%w%w$") and id or dialect.digest(id, 9)
end

local function cache_point(part, writer)
  if part.cache and writer.marks then
    return { mode = "explicit", ttl = part.cache.ttl == "12h" and "12h" or nil }
  end
end

local function media_url(part)
  return part.url or dialect.to_data_url(part.mime or "application/octet-stream", part.data)
end

local WRITE_PART = {
  text = function(part, writer)
    return { type = "text", text = part.text, prompt_cache_breakpoint = cache_point(part, writer) }
  end,
  image = function(part, writer)
    return { type = "image_url", image_url = { url = media_url(part), detail = part.detail },
             prompt_cache_breakpoint = cache_point(part, writer) }
  end,
  video = function(part)
    return { type = "video_url", video_url = { url = media_url(part) } }
  end,
  audio = function(part)
    return { type = "input_audio", input_audio = { data = part.data, format = part.format } }
  end,
  document = function(part, writer)
    local text = dialect.spoken_document(part)
    if text then
      return { type = "text", text = text, prompt_cache_breakpoint = cache_point(part, writer) }
    elseif part.data then
      return { type = "file", file = { filename = part.name or "document.pdf", file_data = media_url(part) },
               prompt_cache_breakpoint = cache_point(part, writer) }
    end
    return nil, "is a document by URL, which this provider does not fetch"
  end,
  file = function(part)
    if part.dialect == "openai_chat" or part.dialect == "openai_responses" then
      return { type = "file", file = { file_id = part.id } }
    end
    return nil, "is a file kept by another vendor"
  end,
}
WRITE_PART.refusal = WRITE_PART.text

--- Content as one string where it can be: many compatible vendors take nothing else.
local function write_content(parts, writer, i, ctx)
  local first = parts[1]
  if #parts == 1 and (first.kind == "text" or first.kind == "refusal") and not (first.cache and writer.marks) then
    return first.text
  end
  local out = {}
  for j = 1, #parts do
    local part = parts[j]
    local write = WRITE_PART[part.kind]
    local item, why
    if write then
      item, why = write(part, writer)
    elseif part.kind == "vendor" then
      ctx.drop(part.type or part.dialect)
    end
    if why then
      ctx.refuse(dialect.spelt(writer.chat, "messages"), format("part %d of turn %d %s", j, i, why))
    end
    out[#out + 1] = item
  end
  return #out > 0 and out or nil
end

--- Tool messages are text alone. What else a result holds follows in a message of the user.
local function write_result(part, writer, later)
  local text, others = dialect.texts(part.parts, "text", "\n\n") or "", 0
  for _, inner in ipairs(part.parts) do
    if inner.kind ~= "text" then
      local document = inner.kind == "document" and dialect.document_text(inner)
      if document then
        text = text .. (text ~= "" and "\n\n" or "") .. document
      else
        others = others + 1
        if others == 1 then
          later[#later + 1] = { kind = "text", text = "Result of tool call " .. part.id .. ":" }
        end
        later[#later + 1] = inner
      end
    end
  end
  if others > 0 and text == "" then
    text = "The result follows in the next message."
  end
  return { role = "tool", tool_call_id = writer.id(part.id), content = part.error and "Error: " .. text or text }
end

--- Results first, each a message of its own, then what the user said beside them.
local function write_user(turn, writer, i, ctx)
  local later, messages = {}, writer.messages
  for _, part in ipairs(turn.parts) do
    if part.kind == "tool_result" then
      messages[#messages + 1] = write_result(part, writer, later)
    end
  end
  local rest = later
  for _, part in ipairs(turn.parts) do
    if part.kind ~= "tool_result" then
      rest[#rest + 1] = part
    end
  end
  local content = #rest > 0 and write_content(rest, writer, i, ctx)
  if content then
    messages[#messages + 1] = { role = "user", content = content, name = turn.name }
  end
end

local function write_call(part, writer)
  local id, name = writer.id(part.id or "call"), dialect.sent_name(writer.chat, part.name, 64)
  if part.custom then
    return { id = id, type = "custom", custom = { name = name, input = part.arguments } }
  end
  local arguments, signature = part.arguments ~= "" and part.arguments or "{}", writer.google and part.signature
  return { id = id, type = "function", ["function"] = { name = name, arguments = arguments },
           extra_content = signature and { google = { thought_signature = signature } } or nil }
end

--- A detail as its provider gave it; a client that streams keeps the text beside it.
local function own_detail(part)
  local item = dialect.decode(part.signature)
  if type(item) == "table" and item.type == "reasoning.text" and not item.text and part.text ~= "" then
    item.text = part.text
    return item
  end
  return type(item) == "table" and dialect.raw(part.signature) or nil
end

--- What was thought goes back where it came from: as details, or as text to those who want it.
local function write_reasoning(part, message, writer)
  if part.signature and part.dialect == writer.owner then
    message.reasoning_details = message.reasoning_details or {}
    table.insert(message.reasoning_details, own_detail(part))
  elseif writer.replays and part.text and part.text ~= "" then
    message.reasoning_content = (message.reasoning_content or "") .. part.text
  end
end

local function write_assistant(turn, writer, i, ctx)
  local said, message = {}, { role = "assistant", name = turn.name }
  for _, part in ipairs(turn.parts) do
    if part.kind == "vendor" then
      ctx.drop(part.type or part.dialect)
    elseif part.kind == "tool_call" then
      message.tool_calls = message.tool_calls or {}
      table.insert(message.tool_calls, write_call(part, writer))
    elseif part.kind == "reasoning" then
      write_reasoning(part, message, writer)
    else
      said[#said + 1] = part
    end
  end
  message.content, message.refusal = dialect.texts(said, "text"), dialect.texts(said, "refusal")
  if #said > 0 and not message.content and not message.refusal then
    message.content = write_content(said, writer, i, ctx)
  end
  if not message.content and not message.tool_calls and not message.refusal then
    return
  end
  message.content = message.content or not message.refusal and null or nil
  writer.messages[#writer.messages + 1] = message
end

--- Those in front are one message: many templates of open models take no second one.
local function write_system(turn, writer, i, ctx)
  local marked, messages = false, writer.messages
  for _, part in ipairs(turn.parts) do
    marked = marked or writer.marks and part.cache ~= nil
  end
  local content = marked and write_content(turn.parts, writer, i, ctx) or dialect.texts(turn.parts, "text", "\n\n")
  local role = writer.developer and turn.role or "system"
  local last = messages[#messages]
  if not content then
    return
  elseif #messages == 1 and last.role == role and not writer.marks then
    last.content = last.content .. "\n\n" .. content
  else
    messages[#messages + 1] = { role = role, content = content, name = turn.name }
  end
end

--- A turn of the assistant at the end is, for its own vendor, the beginning of the answer. Others answer it.
local function check_end(writer, ctx)
  local last = writer.messages[#writer.messages]
  if not last then
    ctx.refuse(dialect.spelt(writer.chat, "messages"), "say nothing", true)
  elseif last.role == "assistant" and not (ctx.caps and ctx.caps.prefill) then
    ctx.refuse(dialect.spelt(writer.chat, "messages"),
      "end with a turn of the assistant, which this provider does not continue")
  end
end

--- OpenAI's own limit; the Responses API and others take longer ones.
local function short_id(text)
  return dialect.plain_name(text, 40)
end

local function write_turns(chat, body, ctx)
  local model = ctx.model or ""
  local writer = {
    messages = {}, chat = chat, marks = marks_cache(model), replays = find(model, "deepseek", 1, true) ~= nil,
    google = find(model, "gemini", 1, true) ~= nil, developer = is_openai_model(ctx) ~= nil, owner = answer.owner(ctx),
    id = ctx.vendor == "mistral" and mistral_id or short_id,
  }
  for i, turn in ipairs(chat.turns) do
    if turn.role == "assistant" then
      write_assistant(turn, writer, i, ctx)
    elseif turn.role == "user" then
      write_user(turn, writer, i, ctx)
    else
      write_system(turn, writer, i, ctx)
    end
  end
  check_end(writer, ctx)
  body.messages = writer.messages
end

local function write_tools(chat, body, ctx)
  local tools = {}
  for i, tool in ipairs(chat.tools or {}) do
    if tool.kind == "vendor" then
      ctx.refuse(format("tools[%d]", i - 1), "is a tool that only its own vendor has")
    else
      local name = dialect.sent_name(chat, tool.name, 64)
      if tool.kind == "custom" then
        local custom = { name = name, description = tool.description, format = tool.format }
        tools[#tools + 1] = { type = "custom", custom = custom }
      else
        tools[#tools + 1] = { type = "function", ["function"] = { name = name, description = tool.description,
                                                                  parameters = tool.schema, strict = tool.strict } }
      end
    end
  end
  if #tools == 0 then
    return
  end
  body.tools = tools
  body.parallel_tool_calls = chat.parallel_tools
end

local function named(chat, name)
  local kind = dialect.is_custom(chat, name) and "custom" or "function"
  return { type = kind, [kind] = { name = dialect.sent_name(chat, name, 64) } }
end

local function write_tool_choice(chat, body)
  local choice = chat.tool_choice
  if not choice or not body.tools then
    return
  elseif choice.mode == "tool" then
    body.tool_choice = named(chat, choice.name)
  elseif choice.allowed then
    local allowed = {}
    for i, name in ipairs(choice.allowed) do
      allowed[i] = named(chat, name)
    end
    body.tool_choice = { type = "allowed_tools", allowed_tools = { mode = choice.mode, tools = allowed } }
  else
    body.tool_choice = choice.mode
  end
end

local function write_output(chat, body)
  local output = chat.output
  if not output then
    return
  elseif output.kind == "json_object" then
    body.response_format = { type = "json_object" }
  else
    body.response_format = { type = "json_schema", json_schema = {
      name = dialect.plain_name(output.name or "answer", 64), schema = output.schema, strict = output.strict,
      description = output.description } }
  end
end

--- GPT-5.6 refuses tools beside any effort but none on this endpoint.
local function write_effort(chat, body, ctx)
  local reasoning = chat.reasoning
  if not reasoning then
    return
  end
  local effort = reasoning.effort
  if not effort and reasoning.budget then
    effort = dialect.effort(reasoning.budget)
    ctx.warn(format("%s=%s", dialect.spelt(chat, "reasoning"), effort))
  end
  if effort and body.tools and find(ctx.model or "", "gpt-5.6", 1, true) and effort ~= "none" then
    ctx.drop(dialect.spelt(chat, "reasoning"))
    effort = "none"
  end
  body.reasoning_effort = effort
end

local function write_request(chat, ctx)
  local body = { model = ctx.model }
  dialect.strip(chat, refused_by_name(ctx), ctx)
  dialect.write_fields(fields, chat, body, ctx)
  if body.max_completion_tokens and not is_openai_model(ctx) then
    body.max_tokens, body.max_completion_tokens = body.max_completion_tokens, nil
  end
  if body.safety_identifier then
    body.safety_identifier = dialect.hashed(body.safety_identifier)
  end
  write_turns(chat, body, ctx)
  write_tools(chat, body, ctx)
  write_tool_choice(chat, body)
  write_output(chat, body)
  write_effort(chat, body, ctx)
  if ctx.stream then
    body.stream, body.stream_options = true, { include_usage = true }
  end
  return body, dialect.memo(chat)
end


return write_request
