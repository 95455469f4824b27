--- read.lua - requests in OpenAI Chat Completions, read.
local dialect = require "moongate.dialect"
local fields = require "dialects.openai_chat.fields"

local list, given, string_of, raw_value = dialect.list, dialect.given, dialect.string, dialect.raw_value
local concat, format, type = table.concat, string.format, type

local function refuse_part(ctx, i, j, why)
  ctx.refuse(format("messages[%d].content[%d]", i - 1, j - 1), why)
end

--- { mode = "explicit", ttl } on a part: the end of a prefix worth keeping.
local function cache_mark(item)
  local mark = item.prompt_cache_breakpoint
  return type(mark) == "table" and { ttl = string_of(mark.ttl) } or nil
end

local READ_PART = {
  text = function(item)
    return type(item.text) == "string" and { kind = "text", text = item.text, cache = cache_mark(item) } or nil
  end,

  refusal = function(item)
    return type(item.refusal) == "string" and { kind = "refusal", text = item.refusal } or nil
  end,

  image_url = function(item)
    local image = item.image_url
    local url = type(image) == "table" and image.url or image
    if type(url) ~= "string" then
      return nil, "has no url"
    end
    local detail = type(image) == "table" and string_of(image.detail) or nil
    local part = { kind = "image", detail = detail, cache = cache_mark(item) }
    local mime, data = dialect.data_url(url)
    if data and not mime then
      return nil, data
    elseif data then
      part.mime, part.data = mime, data
    else
      part.url = url
    end
    return part
  end,

  video_url = function(item)
    local url = type(item.video_url) == "table" and string_of(item.video_url.url)
    if not url then
      return nil, "has no url"
    end
    local mime, data = dialect.data_url(url)
    return { kind = "video", mime = mime, data = mime and data, url = not mime and url or nil,
             cache = cache_mark(item) }
  end,

  input_audio = function(item)
    local audio = item.input_audio
    if type(audio) ~= "table" or type(audio.data) ~= "string" then
      return nil, "has no data"
    end
    return { kind = "audio", data = audio.data, format = string_of(audio.format) or "wav", cache = cache_mark(item) }
  end,

  file = function(item)
    local file = item.file
    if type(file) ~= "table" then
      return nil, "has no file"
    elseif type(file.file_data) == "string" then
      local mime, data = dialect.data_url(file.file_data)
      if not mime then
        return nil, data or "needs a data URL in file_data"
      end
      return { kind = "document", mime = mime, data = data, name = string_of(file.filename), cache = cache_mark(item) }
    elseif type(file.file_id) == "string" then
      return { kind = "file", id = file.file_id, dialect = "openai_chat", cache = cache_mark(item) }
    end
    return nil, "has neither file_data nor file_id"
  end,
}
READ_PART.input_text, READ_PART.output_text = READ_PART.text, READ_PART.text

--- As Mistral shows what its models thought.
function READ_PART.thinking(item)
  local texts = {}
  for _, inner in ipairs(list(item.thinking)) do
    texts[#texts + 1] = type(inner) == "table" and string_of(inner.text) or nil
  end
  return { kind = "reasoning", text = string_of(item.thinking) or concat(texts) }
end

--- Appends the parts of a message's content. Empty text says nothing, and other vendors refuse it. Without `i` it is
--- the content of an answer, where nothing is refused: what is unknown is left out.
local function read_content(content, parts, ctx, i)
  if type(content) == "string" then
    if content ~= "" then
      parts[#parts + 1] = { kind = "text", text = content }
    end
    return parts
  end
  local items = list(content)
  for j = 1, #items do
    local item = items[j]
    local read = type(item) == "table" and READ_PART[item.type]
    local part, why
    if read then
      part, why = read(item)
      why = why or not part and "has no " .. item.type
    else
      why = format("has the unknown type %s", type(item) == "table" and tostring(item.type) or type(item))
    end
    if why and i then
      refuse_part(ctx, i, j, why)
    elseif part and part.text ~= "" then
      parts[#parts + 1] = part
    end
  end
  return parts
end

--- Pieces of a stream that a client collected one by one belong together by their index.
local function read_details(details, parts, chat_text)
  local last
  for i = 1, #details do
    local item = details[i]
    if type(item) == "table" then
      local from, kind = string_of(item.format), item.type
      if kind == "reasoning.encrypted" and type(item.data) == "string" then
        last = nil
        parts[#parts + 1] = { kind = "reasoning", redacted = item.data, id = string_of(item.id), dialect = from, after = item.after }
      elseif kind == "reasoning.text" or kind == "reasoning.summary" then
        local text = string_of(item.text) or string_of(item.summary)
        if not last or last.index ~= item.index or last.dialect ~= from or last.signature then
          last = { kind = "reasoning", dialect = from, index = item.index, id = string_of(item.id), after = item.after }
          parts[#parts + 1] = last
        end
        last.text = (last.text or "") .. (text or "")
        last.signature = string_of(item.signature)
      end
    end
  end
  if last and #parts == 1 and last.text == "" then
    last.text = chat_text
  end
end

--- What the assistant thought comes first: that is where it stood.
local function read_reasoning(message, parts)
  local text = string_of(message.reasoning_content) or string_of(message.reasoning)
  local details = list(message.reasoning_details)
  if #details > 0 then
    read_details(details, parts, text)
  end
  if #parts == 0 and text and text ~= "" then
    parts[1] = { kind = "reasoning", text = text }
  end
end

--- Thoughts that came behind a text or calls go back there: `after` tells behind how many of them.
local function put_back(parts)
  local out, late = {}, {}
  for _, part in ipairs(parts) do
    local after = part.kind == "reasoning" and part.after
    if type(after) == "number" and after > 0 then
      late[#late + 1] = part
    else
      out[#out + 1] = part
    end
  end
  for k = #late, 1, -1 do
    local at, left = 0, late[k].after
    while left > 0 and at < #out do
      at = at + 1
      left = left - (out[at].kind == "reasoning" and 0 or 1)
    end
    table.insert(out, at + 1, late[k])
  end
  return #late > 0 and out or parts
end

local function thought_signature(call)
  local extra = call.extra_content
  local google = type(extra) == "table" and extra.google
  return type(google) == "table" and string_of(google.thought_signature) or nil
end

local function read_call(call)
  local of = call["function"]
  if type(of) == "table" then
    return { kind = "tool_call", id = string_of(call.id), name = string_of(of.name) or "",
             arguments = string_of(of.arguments) or "", signature = thought_signature(call) }
  end
  of = call.custom
  if type(of) == "table" then
    return { kind = "tool_call", id = string_of(call.id), name = string_of(of.name) or "",
             arguments = string_of(of.input) or "", custom = true }
  end
end

local function read_calls(message, parts, i)
  local calls = list(message.tool_calls)
  for k = 1, #calls do
    parts[#parts + 1] = type(calls[k]) == "table" and read_call(calls[k]) or nil
  end
  local old = message.function_call
  if type(old) == "table" then
    parts[#parts + 1] = { kind = "tool_call", id = "call_" .. i, name = string_of(old.name) or "",
                          arguments = string_of(old.arguments) or "" }
  end
end

local function read_assistant(message, ctx, i)
  local parts = {}
  read_reasoning(message, parts)
  read_content(message.content, parts, ctx, i)
  if type(message.refusal) == "string" and message.refusal ~= "" then
    parts[#parts + 1] = { kind = "refusal", text = message.refusal }
  end
  if given(message.audio) then
    ctx.refuse(format("messages[%d].audio", i - 1), "is speech of an earlier answer, which only its own provider has")
  end
  read_calls(message, parts, i)
  return put_back(parts)
end

--- A result of the old `function` role has no id: it answers the call before it.
local function last_call(turns)
  local turn = turns[#turns]
  local part = turn and turn.parts[#turn.parts]
  return part and part.kind == "tool_call" and part.id or "call_0"
end

local function read_result(message, turns, ctx, i)
  local id = string_of(message.tool_call_id)
  if message.role == "function" then
    id = last_call(turns)
  elseif not id then
    ctx.refuse(format("messages[%d].tool_call_id", i - 1), "is missing")
    id = last_call(turns)
  end
  local parts = read_content(message.content, {}, ctx, i)
  return { { kind = "tool_result", id = id, name = string_of(message.name), parts = parts } }
end

local SPEAKS = { system = "system", developer = "developer", user = "user" }

local function read_messages(body, chat, ctx)
  local messages, turns = body.messages, chat.turns
  if type(messages) ~= "table" or #messages == 0 then
    return ctx.refuse("messages", "must be a list of at least one message", true)
  end
  for i = 1, #messages do
    local message = messages[i]
    local role = type(message) == "table" and message.role
    local name = role and string_of(message.name)
    if role == "assistant" then
      turns[#turns + 1] = { role = role, parts = read_assistant(message, ctx, i), name = name }
    elseif role == "tool" or role == "function" then
      turns[#turns + 1] = { role = "user", parts = read_result(message, turns, ctx, i) }
    elseif SPEAKS[role] then
      turns[#turns + 1] = { role = role, parts = read_content(message.content, {}, ctx, i), name = name }
    else
      ctx.refuse(format("messages[%d].role", i - 1), "is none of system, developer, user, assistant and tool")
    end
  end
end

local function read_function(of)
  return { kind = "function", name = of.name, description = string_of(of.description),
           schema = raw_value(of.parameters), strict = of.strict == true or nil }
end

local function read_tool(tool, chat)
  local of = tool["function"]
  if tool.type == "function" and type(of) == "table" and type(of.name) == "string" then
    return read_function(of)
  end
  of = tool.custom
  if tool.type == "custom" and type(of) == "table" and type(of.name) == "string" then
    chat.custom = chat.custom or {}
    chat.custom[of.name] = true
    return { kind = "custom", name = of.name, description = string_of(of.description), format = raw_value(of.format) }
  end
end

local function read_tools(body, chat, ctx)
  local tools = list(body.tools)
  for i = 1, #tools do
    local tool = type(tools[i]) == "table" and read_tool(tools[i], chat)
    if tool then
      chat.tools = chat.tools or {}
      chat.tools[#chat.tools + 1] = tool
    else
      ctx.refuse(format("tools[%d]", i - 1), "is neither a function nor a custom tool")
    end
  end
  local old = list(body.functions)
  for i = 1, #old do
    if type(old[i]) == "table" and type(old[i].name) == "string" then
      chat.tools = chat.tools or {}
      chat.tools[#chat.tools + 1] = read_function(old[i])
    end
  end
end

local MODES = { none = "none", auto = "auto", required = "required" }

local function tool_name_of(choice)
  local of = choice["function"] or choice.custom or choice
  return type(of) == "table" and string_of(of.name) or nil
end

local function read_allowed(choice, chat)
  local of = type(choice.allowed_tools) == "table" and choice.allowed_tools or choice
  local allowed = {}
  local tools = list(of.tools)
  for i = 1, #tools do
    allowed[#allowed + 1] = type(tools[i]) == "table" and tool_name_of(tools[i]) or nil
  end
  chat.tool_choice = { mode = MODES[of.mode] or "auto", allowed = allowed }
end

local function read_tool_choice(body, chat, ctx)
  local choice, field = body.tool_choice, "tool_choice"
  if not given(choice) then
    choice, field = body.function_call, "function_call"
  end
  if given(choice) then
    chat.spelt.tool_choice = field
    if MODES[choice] then
      chat.tool_choice = { mode = choice }
    elseif type(choice) == "table" and choice.type == "allowed_tools" then
      read_allowed(choice, chat)
    elseif type(choice) == "table" and tool_name_of(choice) then
      chat.tool_choice = { mode = "tool", name = tool_name_of(choice) }
    else
      ctx.refuse(field, "is neither a mode nor the name of a tool")
    end
  end
  if body.parallel_tool_calls == false then
    chat.parallel_tools, chat.spelt.parallel_tools = false, "parallel_tool_calls"
  end
end

local function read_output(body, chat, ctx)
  local wanted = body.response_format
  local kind = type(wanted) == "table" and wanted.type
  chat.spelt.output = "response_format"
  if kind == "json_object" then
    chat.output = { kind = kind }
  elseif kind == "json_schema" and type(wanted.json_schema) == "table" then
    local of = wanted.json_schema
    chat.output = { kind = kind, name = string_of(of.name), schema = raw_value(of.schema), strict = dialect.boolean(of.strict),
                    description = string_of(of.description) }
  elseif kind and kind ~= "text" then
    ctx.refuse("response_format", "has an unknown type")
  end
end

local function read_effort(body, chat, ctx)
  local effort, reasoning = string_of(body.reasoning_effort), body.reasoning
  local out = { effort = effort, visible = body.include_reasoning == true or nil }
  chat.spelt.reasoning = "reasoning_effort"
  if type(reasoning) == "table" then
    chat.spelt.reasoning = effort and "reasoning_effort" or "reasoning"
    out.effort = effort or string_of(reasoning.effort)
    out.budget = type(reasoning.max_tokens) == "number" and reasoning.max_tokens or nil
    out.visible = reasoning.exclude ~= true
    if not out.effort and not out.budget then
      out.effort = reasoning.enabled == true and "medium" or reasoning.enabled == false and "none" or nil
    end
  elseif given(body.reasoning_effort) and not effort then
    ctx.refuse("reasoning_effort", "must be a string")
  end
  if out.effort or out.budget or out.visible then
    chat.reasoning = out
  end
end

local function read_request(body, ctx)
  local chat = dialect.chat "openai_chat"
  dialect.read_fields(fields, body, chat, ctx)
  read_messages(body, chat, ctx)
  read_tools(body, chat, ctx)
  read_tool_choice(body, chat, ctx)
  read_output(body, chat, ctx)
  read_effort(body, chat, ctx)
  return chat
end


return {
  request = read_request, content = read_content, reasoning = read_reasoning, calls = read_calls,
  thought_signature = thought_signature,
}
