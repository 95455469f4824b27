--- openai_chat.lua - OpenAI Chat Completions, as OpenAI and the vendors compatible with it speak it.
---
--- What other vendors need to get back unchanged travels in members that these clients echo:
---
---   message.reasoning_content                          reasoning as text
---   message.reasoning_details[]                        { type = "reasoning.text", text, signature, format } and
---                                                      { type = "reasoning.encrypted", data, format }; format = dialect
---   tool_calls[].extra_content.google.thought_signature   what Gemini signed a call with
local dialect = require "moongate.dialect"
local list, given, string_of, quoted, raw_value = dialect.list, dialect.given, dialect.string, dialect.quoted, dialect.raw_value
local TEXT, null = dialect.TEXT, dialect.null
local concat, find, format, match, type = table.concat, string.find, string.format, string.match, type

local TIERS_READ = { fast = "priority" }
local NEEDS_OTHER = "is a feature of the provider's own that cannot be translated"

local FIELDS = dialect.fields("openai_chat", "OpenAI Chat Completions", {
  { "model", quiet = true, doc = "the target's model" },
  { "messages", doc = "turns; `developer` and `system` keep their places" },
  { "tools", doc = "`function` and `custom` tools, in order" },
  { "tool_choice", doc = "`none`, `auto`, `required`, a named tool, `allowed_tools`" },
  { "functions", doc = "read as `tools`" },
  { "function_call", doc = "read as `tool_choice`" },
  { "parallel_tool_calls", doc = "`false`: at most one call per turn" },
  { "response_format", doc = "`json_schema` and `json_object`" },
  { "reasoning_effort", doc = "effort of reasoning" },
  { "reasoning", doc = "as OpenRouter has it: `effort`, `max_tokens`, `exclude`, `enabled`" },
  { "include_reasoning", doc = "reasoning is to be visible" },
  { "stream", quiet = true, doc = "whether the answer is a stream" },
  { "stream_options", quiet = true, doc = "usage is always asked for; clients who did not do not see it" },
  { "max_completion_tokens", param = "max_tokens", type = "integer" },
  { "max_tokens", param = "max_tokens", type = "integer" },
  { "temperature", param = "temperature", type = "number", max = 2 },
  { "top_p", param = "top_p", type = "number", max = 1 },
  { "stop", doc = "one sequence or up to four" },
  { "seed", param = "seed", type = "integer" },
  { "n", param = "n", type = "integer", unless = 1 },
  { "presence_penalty", param = "presence_penalty", type = "number", unless = 0 },
  { "frequency_penalty", param = "frequency_penalty", type = "number", unless = 0 },
  { "logit_bias", param = "logit_bias" },
  { "logprobs", param = "logprobs", type = "boolean", unless = false },
  { "top_logprobs", param = "top_logprobs", type = "integer" },
  { "modalities", param = "modalities", type = "list", unless = { "text" } },
  { "audio", param = "audio" },
  { "safety_identifier", param = "user", type = "string" },
  { "user", param = "user", type = "string" },
  { "metadata", param = "metadata" },
  { "service_tier", param = "service_tier", type = "string", unless = "auto", read = TIERS_READ },
  { "verbosity", param = "verbosity", type = "string", unless = "medium" },
  { "store", param = "store", type = "boolean" },
  { "prompt_cache_key", param = "cache_key", type = "string" },
  { "prompt_cache_options", param = "cache_options" },
  { "prompt_cache_retention", drop = true },
  { "prediction", drop = true },
  { "moderation", param = "moderation" },
  { "web_search_options", param = "web_search" },
})

---- requests: this dialect → neutral

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
    local part = { kind = "image", detail = type(image) == "table" and string_of(image.detail) or nil, cache = cache_mark(item) }
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
    return { kind = "video", mime = mime, data = mime and data, url = not mime and url or nil, cache = cache_mark(item) }
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

--- Appends the parts of a message's content. Empty text says nothing, and other vendors refuse it.
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
    if why then
      refuse_part(ctx, i, j, why)
    elseif part.text ~= "" then
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
        parts[#parts + 1] = { kind = "reasoning", redacted = item.data, id = string_of(item.id), dialect = from }
      elseif kind == "reasoning.text" or kind == "reasoning.summary" then
        local text = string_of(item.text) or string_of(item.summary)
        if not last or last.index ~= item.index or last.dialect ~= from or last.signature then
          last = { kind = "reasoning", dialect = from, index = item.index, id = string_of(item.id) }
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
    ctx.refuse(format("messages[%d].audio", i - 1), NEEDS_OTHER)
  end
  read_calls(message, parts, i)
  return parts
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
  end
  return { { kind = "tool_result", id = id, name = string_of(message.name), parts = read_content(message.content, {}, ctx, i) } }
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
    if role == "assistant" then
      turns[#turns + 1] = { role = role, parts = read_assistant(message, ctx, i), name = string_of(message.name) }
    elseif role == "tool" or role == "function" then
      turns[#turns + 1] = { role = "user", parts = read_result(message, turns, ctx, i) }
    elseif SPEAKS[role] then
      turns[#turns + 1] = { role = role, parts = read_content(message.content, {}, ctx, i), name = string_of(message.name) }
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
    chat.output = { kind = kind, name = string_of(of.name), schema = raw_value(of.schema), strict = of.strict == true,
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

local function read_stop(body, chat)
  local stop = body.stop
  if type(stop) == "string" then
    stop = { stop }
  end
  if type(stop) == "table" and #stop > 0 then
    chat.params.stop = stop
  end
end

local function read_request(body, ctx)
  local chat = dialect.chat "openai_chat"
  dialect.read_fields(FIELDS, body, chat, ctx)
  read_messages(body, chat, ctx)
  read_tools(body, chat, ctx)
  read_tool_choice(body, chat, ctx)
  read_output(body, chat, ctx)
  read_effort(body, chat, ctx)
  read_stop(body, chat)
  return chat
end

---- requests: neutral → this dialect

--- Marks exist since GPT-5.6; older models cache by themselves.
local function marks_cache(model)
  local major, minor = match(model or "", "gpt%-(%d+)%.?(%d*)")
  major, minor = tonumber(major), tonumber(minor) or 0
  return major ~= nil and (major > 5 or major == 5 and minor >= 6)
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
    if part.text then
      return { type = "text", text = part.name and part.name .. "\n\n" .. part.text or part.text,
               prompt_cache_breakpoint = cache_point(part, writer) }
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
      ctx.drop(format("turn %d: %s", i, part.type or part.dialect))
    end
    if why then
      ctx.refuse("messages", format("part %d of turn %d %s", j, i, why))
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
      if inner.kind == "document" and inner.text then
        text = text .. (text ~= "" and "\n\n" or "") .. inner.text
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
  return { role = "tool", tool_call_id = dialect.id(part.id), content = part.error and "Error: " .. text or text }
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
  local id, name = dialect.id(part.id or "call"), dialect.sent_name(writer.chat, part.name, 64)
  if part.custom then
    return { id = id, type = "custom", custom = { name = name, input = part.arguments } }
  end
  local arguments = part.arguments
  return { id = id, type = "function", ["function"] = { name = name, arguments = arguments ~= "" and arguments or "{}" },
           extra_content = part.signature and writer.google and { google = { thought_signature = part.signature } } or nil }
end

local function write_assistant(turn, writer, i, ctx)
  local said, calls, reasoning = {}, nil, nil
  for _, part in ipairs(turn.parts) do
    local kind = part.kind
    if kind == "tool_call" then
      calls = calls or {}
      calls[#calls + 1] = write_call(part, writer)
    elseif kind == "reasoning" then
      reasoning = writer.replays and part.text and (reasoning or "") .. part.text or reasoning
    else
      said[#said + 1] = part
    end
  end
  local content = dialect.texts(said, "text")
  local refusal = dialect.texts(said, "refusal")
  if #said > 0 and not content and not refusal then
    content = write_content(said, writer, i, ctx)
  end
  if not content and not calls and not refusal then
    return
  end
  writer.messages[#writer.messages + 1] = { role = "assistant", content = content or not refusal and null or nil, tool_calls = calls,
                                            refusal = refusal, reasoning_content = reasoning, name = turn.name }
end

local function write_turns(chat, body, ctx)
  local writer = { messages = {}, chat = chat, marks = marks_cache(ctx.model),
                   replays = find(ctx.model or "", "deepseek", 1, true) ~= nil,
                   google = ctx.vendor == "gemini" or find(ctx.model or "", "gemini", 1, true) ~= nil }
  for i, turn in ipairs(chat.turns) do
    if turn.role == "assistant" then
      write_assistant(turn, writer, i, ctx)
    elseif turn.role == "user" then
      write_user(turn, writer, i, ctx)
    else
      local marked = writer.marks and #turn.parts > 1
      local content = marked and write_content(turn.parts, writer, i, ctx) or dialect.texts(turn.parts, "text", "\n\n")
      if content then
        writer.messages[#writer.messages + 1] = { role = turn.role, content = content, name = turn.name }
      end
    end
  end
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
        tools[#tools + 1] = { type = "custom", custom = { name = name, description = tool.description, format = tool.format } }
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

--- Models of OpenAI's own refuse the old name, and many vendors know no other.
local function is_openai_model(ctx)
  local model = ctx.model or ""
  return find(ctx.vendor or "", "^azure") or find(model, "^gpt%-") or find(model, "^o%d") or find(model, "^chatgpt")
    or find(model, "^ft:") or find(model, "^codex")
end

local function write_request(chat, ctx)
  local body = { model = ctx.model }
  dialect.write_fields(FIELDS, chat, body, ctx)
  if body.max_completion_tokens and not is_openai_model(ctx) then
    body.max_tokens, body.max_completion_tokens = body.max_completion_tokens, nil
  end
  if body.safety_identifier then
    body.safety_identifier = dialect.hashed(body.safety_identifier)
  end
  local stop = chat.params.stop
  if stop and #stop > 4 then
    ctx.refuse(dialect.spelt(chat, "stop"), "has more than four sequences, which is all this provider takes")
    stop = { stop[1], stop[2], stop[3], stop[4] }
  end
  body.stop = stop
  write_turns(chat, body, ctx)
  write_tools(chat, body, ctx)
  write_tool_choice(chat, body)
  write_output(chat, body)
  write_effort(chat, body, ctx)
  if ctx.stream then
    body.stream, body.stream_options = true, { include_usage = true }
  end
  return body
end

---- answers

local FINISH = {
  stop = "stop", length = "length", tool_calls = "tool", function_call = "tool", content_filter = "filtered",
  -- vendors that say it otherwise
  eos = "stop", end_turn = "stop", stop_sequence = "stop_sequence", model_length = "length", max_tokens = "length",
  content_filtered = "filtered", safety = "filtered", error = "error", insufficient_system_resource = "error",
}
local FINISH_OUT = {
  stop = "stop", stop_sequence = "stop", length = "length", tool = "tool_calls", filtered = "content_filter", pause = "stop",
}

local function read_usage(usage)
  if type(usage) ~= "table" then
    return
  end
  local input = type(usage.prompt_tokens_details) == "table" and usage.prompt_tokens_details or {}
  local output = type(usage.completion_tokens_details) == "table" and usage.completion_tokens_details or {}
  local function number(value)
    return type(value) == "number" and value or nil
  end
  return {
    input = number(usage.prompt_tokens), output = number(usage.completion_tokens),
    cached_read = number(input.cached_tokens) or number(usage.prompt_cache_hit_tokens),
    cached_write = number(input.cache_write_tokens), reasoning = number(output.reasoning_tokens),
    input_audio = number(input.audio_tokens), output_audio = number(output.audio_tokens),
  }
end

local function write_usage(usage)
  local input, output = usage.input or 0, usage.output or 0
  return {
    prompt_tokens = input, completion_tokens = output, total_tokens = input + output,
    prompt_tokens_details = { cached_tokens = usage.cached_read or 0, cache_write_tokens = usage.cached_write,
                              audio_tokens = usage.input_audio },
    completion_tokens_details = { reasoning_tokens = usage.reasoning or 0, audio_tokens = usage.output_audio },
  }
end

local function read_annotations(message, parts)
  local notes = {}
  for _, note in ipairs(list(message.annotations)) do
    local of = type(note) == "table" and note.url_citation
    if type(of) == "table" then
      notes[#notes + 1] = { url = string_of(of.url), title = string_of(of.title) }
    end
  end
  local last = parts[#parts]
  if #notes > 0 and last and last.kind == "text" then
    last.annotations = notes
  end
end

local function read_choice(choice, ctx)
  local message = type(choice.message) == "table" and choice.message or {}
  local parts = {}
  read_reasoning(message, parts)
  read_content(message.content, parts, ctx, 1)
  read_annotations(message, parts)
  if type(message.refusal) == "string" and message.refusal ~= "" then
    parts[#parts + 1] = { kind = "refusal", text = message.refusal }
  end
  local before = #parts
  read_calls(message, parts, 1)
  local finish = FINISH[choice.finish_reason] or "stop"
  return { parts = parts, finish = dialect.finish(finish, #parts > before) }
end

local function read_answer(body, ctx)
  local choices = {}
  for i, choice in ipairs(list(body.choices)) do
    choices[i] = type(choice) == "table" and read_choice(choice, ctx) or { parts = {}, finish = "error" }
  end
  return { id = string_of(body.id), model = string_of(body.model), created = body.created, choices = choices,
           usage = read_usage(body.usage) }
end

local function detail_of(part, index)
  if part.redacted then
    return { type = "reasoning.encrypted", data = part.redacted, format = part.dialect, id = part.id, index = index }
  elseif part.signature then
    return { type = "reasoning.text", text = part.text, signature = part.signature, format = part.dialect, id = part.id, index = index }
  end
end

local function annotation_of(note, from, to)
  return { type = "url_citation", url_citation = { url = note.url, title = note.title or note.url, start_index = from, end_index = to } }
end

--- Citations stand beside the text they belong to; positions count characters.
local function write_annotations(parts)
  local out, at = nil, 0
  for _, part in ipairs(parts) do
    if part.kind == "text" then
      local _, length = part.text:gsub("[^\128-\191]", "")
      for _, note in ipairs(part.annotations or {}) do
        if note.url then
          out = out or {}
          out[#out + 1] = annotation_of(note, at, at + length)
        end
      end
      at = at + length
    end
  end
  return out
end

local function answer_call(part, request)
  local name = dialect.tool_name(request, part.name)
  if part.custom or dialect.is_custom(request, part.name) then
    local input = part.custom and part.arguments or dialect.unwrapped(part.arguments)
    return { id = part.id, type = "custom", custom = { name = name, input = input } }
  end
  return { id = part.id, type = "function", ["function"] = { name = name, arguments = part.arguments ~= "" and part.arguments or "{}" },
           extra_content = part.signature and { google = { thought_signature = part.signature } } or nil }
end

local function write_message(parts, ctx)
  local calls, details
  for _, part in ipairs(parts) do
    if part.kind == "tool_call" then
      calls = calls or {}
      calls[#calls + 1] = answer_call(part, ctx.request)
    elseif part.kind == "reasoning" then
      details = details or {}
      details[#details + 1] = detail_of(part, #details)
    end
  end
  return {
    role = "assistant", content = dialect.texts(parts, "text") or (calls or dialect.texts(parts, "refusal")) and null or "",
    refusal = dialect.texts(parts, "refusal") or null, tool_calls = calls, annotations = write_annotations(parts),
    reasoning_content = dialect.texts(parts, "reasoning"), reasoning_details = details and details[1] and details or nil,
  }
end

local function write_answer(answer, ctx)
  local choices = {}
  for i, choice in ipairs(answer.choices) do
    choices[i] = { index = i - 1, message = write_message(choice.parts, ctx), logprobs = null,
                   finish_reason = FINISH_OUT[choice.finish] or "stop" }
  end
  return { id = "chatcmpl-" .. ctx.id, object = "chat.completion", created = ctx.created, model = answer.model or ctx.model,
           choices = choices, usage = answer.usage and write_usage(answer.usage) or nil }
end

---- streams: this dialect as the provider's

--- Only what an extension carries comes here: reasoning_details, annotations, thought signatures.
local function read_details_event(details, out, choice)
  for _, item in ipairs(details) do
    if type(item) == "table" then
      if item.type == "reasoning.encrypted" and type(item.data) == "string" then
        out[#out + 1] = { kind = "redacted", data = item.data, dialect = string_of(item.format), choice = choice }
      elseif type(item.signature) == "string" then
        out[#out + 1] = { kind = "signature", text = item.signature, dialect = string_of(item.format), choice = choice }
      end
    end
  end
end

local function read_event(_, data)
  local out = {}
  for _, choice in ipairs(list(data.choices)) do
    local delta = type(choice) == "table" and choice.delta
    if type(delta) == "table" then
      local index = type(choice.index) == "number" and choice.index or 0
      read_details_event(list(delta.reasoning_details), out, index)
      for _, note in ipairs(list(delta.annotations)) do
        local of = type(note) == "table" and note.url_citation
        if type(of) == "table" then
          out[#out + 1] = { kind = "annotation", url = string_of(of.url), title = string_of(of.title), choice = index }
        end
      end
      for _, call in ipairs(list(delta.tool_calls)) do
        local signature = type(call) == "table" and thought_signature(call)
        if signature then
          out[#out + 1] = { kind = "signature", text = signature, tool = call.index, dialect = "gemini", choice = index }
        end
      end
    end
  end
  return out
end

---- streams: this dialect as the client's

--- A chunk is HEAD choice DELTA delta TAIL; the strings are made once per answer.
local function prepare(s)
  s.head = 'data: {"id":' .. quoted("chatcmpl-" .. s.id) .. ',"object":"chat.completion.chunk","created":' .. format("%d", s.created)
    .. ',"model":' .. quoted(s.model) .. ',"choices":['
  s.tail = s.include_usage and '],"usage":null}\n\n' or "]}\n\n"
  s.roles, s.called, s.details = {}, {}, 0
end

local function chunk(s, choice, delta, finish)
  return s.head .. '{"index":' .. choice .. ',"delta":' .. delta .. ',"finish_reason":' .. (finish or "null") .. "}" .. s.tail
end

local function frame(s, choice, before, after)
  return { s.head .. '{"index":' .. choice .. ',"delta":{' .. before, TEXT, after .. '},"finish_reason":null}' .. s.tail }
end

local function start(s)
  prepare(s)
  return ""
end

--- The first chunk of a choice says who speaks; it waits until it is known whether text follows.
local function role(s, choice, content)
  if s.roles[choice] then
    return ""
  end
  s.roles[choice] = true
  return chunk(s, choice, '{"role":"assistant","content":' .. content .. ',"refusal":null}')
end

--- Signed reasoning is repeated in the extension: a signature is worth something only beside its very text.
local function reasoning_frame(s, choice)
  local out = frame(s, choice, '"reasoning_content":', "")
  if s.from == "anthropic" then
    local last = ',"format":"anthropic","index":' .. s.details .. "}]" .. out[3]
    out[3], out[4], out[5] = ',"reasoning_details":[{"type":"reasoning.text","text":', TEXT, last
  end
  return out
end

local function open_tool(s, block)
  local choice, name = block.choice, quoted(dialect.tool_name(s.request, block.name))
  s.called[choice] = true
  local index = '"tool_calls":[{"index":' .. block.tool
  if dialect.is_custom(s.request, block.name) then
    s.head_of_custom = s.head_of_custom or {}
    s.head_of_custom[block.tool] = index .. ',"id":' .. quoted(block.id) .. ',"type":"custom","custom":{"name":' .. name
    return role(s, choice, "null"), nil
  end
  local extra = block.signature and ',"extra_content":{"google":{"thought_signature":' .. quoted(block.signature) .. "}}" or ""
  local text = role(s, choice, "null") .. chunk(s, choice, "{" .. index .. ',"id":' .. quoted(block.id)
    .. ',"type":"function","function":{"name":' .. name .. ',"arguments":""}' .. extra .. "}]}")
  return text, frame(s, choice, index .. ',"function":{"arguments":', "}}]")
end

local function open(s, block)
  local kind, choice = block.kind, block.choice
  if kind == "tool" then
    return open_tool(s, block)
  elseif kind == "reasoning" then
    return role(s, choice, '""'), reasoning_frame(s, choice)
  elseif kind == "refusal" then
    return role(s, choice, '""'), frame(s, choice, '"refusal":', "")
  end
  return role(s, choice, '""'), frame(s, choice, '"content":', "")
end

--- A free-form tool that was called through a schema comes out when its arguments are complete.
local function close(s, block)
  local custom = block.kind == "tool" and s.head_of_custom and s.head_of_custom[block.tool]
  if not custom then
    if block.kind == "reasoning" then
      s.details = s.details + 1
    end
    return ""
  end
  local input = quoted(dialect.unwrapped(dialect.unquoted(block.json)))
  return chunk(s, block.choice, "{" .. custom .. ',"input":' .. input .. "}}]}")
end

local function detail(s, delta, kind, member, value)
  local from = delta.dialect or s.from
  return chunk(s, delta.choice or 0, '{"reasoning_details":[{"type":"' .. kind .. '","' .. member .. '":' .. quoted(value)
    .. (from and ',"format":' .. quoted(from) or "") .. ',"index":' .. s.details .. "}]}")
end

local function opaque(s, delta)
  local choice = delta.choice or 0
  local before = role(s, choice, '""')
  if delta.kind == "signature" and delta.tool then
    return before .. chunk(s, choice, '{"tool_calls":[{"index":' .. delta.tool .. ',"extra_content":{"google":{"thought_signature":'
      .. quoted(delta.text) .. "}}}]}")
  elseif delta.kind == "signature" then
    return before .. detail(s, delta, "reasoning.text", "signature", delta.text)
  elseif delta.kind == "redacted" then
    local text = detail(s, delta, "reasoning.encrypted", "data", delta.data)
    s.details = s.details + 1
    return before .. text
  elseif delta.kind == "annotation" and delta.url then
    return before .. chunk(s, choice, '{"annotations":[' .. dialect.encode(annotation_of(delta, 0, 0)) .. "]}")
  end
  return ""
end

local function finish(s, of)
  local choice = of.choice or 0
  local reason = FINISH_OUT[dialect.finish(of.reason, s.called[choice])] or "stop"
  return role(s, choice, '""') .. chunk(s, choice, "{}", '"' .. reason .. '"')
end

local function done(s, usage)
  if not s.include_usage or not usage then
    return "data: [DONE]\n\n"
  end
  return s.head .. '],"usage":' .. dialect.encode(write_usage(usage)) .. "}\n\ndata: [DONE]\n\n"
end

local ERROR = {
  body = { '{"error":{"message":', dialect.MESSAGE, ',"type":', dialect.TYPE, ',"param":', dialect.PARAM, ',"code":', dialect.CODE, "}}" },
  types = { [401] = "authentication_error", [403] = "permission_error", [429] = "rate_limit_error",
            default4 = "invalid_request_error", default5 = "api_error" },
  statuses = { [529] = 503 },
}

local function stream_error(_, err)
  return concat { 'data: {"error":{"message":', quoted(err.message), ',"type":', quoted(dialect.error_type(ERROR, err.status)),
                  ',"param":null,"code":', quoted(err.code), "}}\n\n" }
end

return {
  name = "openai_chat",
  label = "OpenAI Chat Completions",
  raw = {
    request = {
      "tools[*].function.parameters", "tools[*].custom.format", "functions[*].parameters", "response_format.json_schema.schema",
      "logit_bias", "metadata",
    },
    answer = {},
    event = {},
  },
  request = { messages = "messages", content = "content", texts = { "text" } },
  fields = FIELDS,
  read_request = read_request,
  write_request = write_request,
  read_answer = read_answer,
  write_answer = write_answer,
  finish_reasons = FINISH,
  read_event = read_event,
  stream = {
    one_block = false, wants_text = false, start = start, open = open, close = close, opaque = opaque, finish = finish,
    done = done, error = stream_error,
  },
  error = ERROR,
}
