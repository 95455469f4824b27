--- answer.lua - answers in OpenAI Chat Completions, whole and as the events of a provider.
local dialect = require "moongate.dialect"
local READ = require "dialects.openai_chat.read"

local given, list, string_of = dialect.given, dialect.list, dialect.string
local null = dialect.null
local type = type

local FINISH = {
  stop = "stop", length = "length", tool_calls = "tool", function_call = "tool", content_filter = "filtered",
  -- vendors that say it otherwise
  eos = "stop", end_turn = "stop", stop_sequence = "stop_sequence", model_length = "length", max_tokens = "length",
  content_filtered = "filtered", safety = "filtered", error = "error", insufficient_system_resource = "error",
}
local FINISH_OUT = {
  stop = "stop", stop_sequence = "stop", length = "length", tool = "tool_calls", filtered = "content_filter",
  pause = "stop",
}

local function number(value)
  return type(value) == "number" and value or nil
end

local function read_usage(usage)
  if type(usage) ~= "table" then
    return
  end
  local input, output = list(usage.prompt_tokens_details), list(usage.completion_tokens_details)
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

--- Details of a provider are its own state, whoever made it: they go back to it as they came, and to nobody else.
local function owner(ctx)
  return "openai_chat/" .. (ctx.vendor or "")
end

--- A detail, and its JSON text when there is something in it that must come back.
local function detail(raw)
  local text = type(raw) == "table" and dialect.text(raw)
  local item = text and dialect.decode(text)
  if type(item) == "table" then
    return item, (given(item.data) or given(item.signature)) and text or nil
  end
end

local function read_reasoning(message, parts, ctx)
  for _, raw in ipairs(list(message.reasoning_details)) do
    local item, state = detail(raw)
    if item then
      local text = string_of(item.text) or string_of(item.summary)
      if text or state then
        parts[#parts + 1] = { kind = "reasoning", text = text or "", signature = state, dialect = state and owner(ctx) }
      end
    end
  end
  local text = string_of(message.reasoning_content) or string_of(message.reasoning)
  if #parts == 0 and text and text ~= "" then
    parts[1] = { kind = "reasoning", text = text }
  end
end

local function read_choice(choice, ctx)
  local message = type(choice.message) == "table" and choice.message or {}
  local parts = {}
  read_reasoning(message, parts, ctx)
  READ.content(message.content, parts, ctx)
  read_annotations(message, parts)
  if type(message.refusal) == "string" and message.refusal ~= "" then
    parts[#parts + 1] = { kind = "refusal", text = message.refusal }
  end
  local before = #parts
  READ.calls(message, parts, 1)
  local finish = FINISH[choice.finish_reason] or "stop"
  local logprobs = list(choice.logprobs).content
  return { parts = parts, finish = dialect.finish(finish, #parts > before),
           logprobs = type(logprobs) == "table" and logprobs or nil }
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
    return { type = "reasoning.text", text = part.text, signature = part.signature, format = part.dialect, id = part.id,
             index = index }
  end
end

local function annotation_of(note, from, to)
  local of = { url = note.url, title = note.title or note.url, start_index = from, end_index = to }
  return { type = "url_citation", url_citation = of }
end

local function has_annotations(parts)
  for _, part in ipairs(parts) do
    if part.annotations then
      return true
    end
  end
end

--- Citations stand beside the text they belong to; positions count characters.
local function write_annotations(parts)
  local out, at = nil, 0
  if not has_annotations(parts) then
    return
  end
  for _, part in ipairs(parts) do
    if part.kind == "text" then
      local _, length = part.text:gsub("[^\128-\191]", "")
      for _, note in ipairs(part.annotations or {}) do
        if note.url then
          out = out or {}
          out[#out + 1] = annotation_of(note, at + (note.from or 0), at + (note.to or length))
        end
      end
      at = at + length
    end
  end
  return out
end

local function answer_call(part, memo)
  local name = dialect.tool_name(memo, part.name)
  if part.custom or dialect.is_custom(memo, part.name) then
    local input = memo and memo.wrapped and not part.custom and dialect.unwrapped(part.arguments) or part.arguments
    return { id = part.id, type = "custom", custom = { name = name, input = input } }
  end
  local arguments = part.arguments ~= "" and part.arguments or "{}"
  return { id = part.id, type = "function", ["function"] = { name = name, arguments = arguments },
           extra_content = part.signature and { google = { thought_signature = part.signature } } or nil }
end

--- Speech of a provider that has no words beside it.
local function audio_of(part, ctx)
  return { id = "audio_" .. ctx.id, data = part.data, expires_at = ctx.created, transcript = "" }
end

--- A message has a text and calls, in this order: a thought that came behind some of them says behind how many.
local function set_place(detail, after)
  if type(detail) == "table" and after > 0 then
    detail.after = after
  end
end

local function write_message(parts, ctx)
  local calls, details, audio, said
  for _, part in ipairs(parts) do
    if part.kind == "audio" then
      audio = audio_of(part, ctx)
    elseif part.kind == "tool_call" then
      calls = calls or {}
      calls[#calls + 1] = answer_call(part, ctx.memo)
    elseif part.kind == "reasoning" then
      details = details or {}
      details[#details + 1] = detail_of(part, #details)
      set_place(details[#details], (said or 0) + (calls and #calls or 0))
    elseif part.kind == "text" then
      said = 1
    end
  end
  local content, refusal = dialect.texts(parts, "text"), dialect.texts(parts, "refusal")
  return {
    role = "assistant", content = content or (calls or refusal or audio) and null or "", refusal = refusal or null,
    audio = audio,
    tool_calls = calls, annotations = write_annotations(parts), reasoning_content = dialect.texts(parts, "reasoning"),
    reasoning_details = details and details[1] and details or nil,
  }
end

local function write_answer(answer, ctx)
  local choices = {}
  for i, choice in ipairs(answer.choices) do
    choices[i] = { index = i - 1, message = write_message(choice.parts, ctx),
                   logprobs = choice.logprobs and { content = choice.logprobs, refusal = null } or null,
                   finish_reason = FINISH_OUT[choice.finish] or "stop" }
  end
  return { id = "chatcmpl-" .. ctx.id, object = "chat.completion", created = ctx.created,
           model = answer.model or ctx.model, choices = choices,
           usage = answer.usage and write_usage(answer.usage) or nil }
end

---- streams: this dialect as the provider's

--- All of an event that has something rare in it, in its order: texts, extensions, calls. Ends are declared.
local function read_texts(delta, choice, out)
  local reasoning = string_of(delta.reasoning_content) or string_of(delta.reasoning)
  out[#out + 1] = reasoning and { kind = "reasoning", text = reasoning, choice = choice } or nil
  for _, part in ipairs(READ.content(delta.content, {})) do
    out[#out + 1] = { kind = part.kind, text = part.text, choice = choice }
  end
  out[#out + 1] = string_of(delta.refusal) and { kind = "refusal", text = delta.refusal, choice = choice } or nil
end

local function read_details_event(details, out, choice, stream)
  for _, raw in ipairs(details) do
    local _, state = detail(raw)
    if state then
      out[#out + 1] = { kind = "signature", text = state, dialect = owner(stream), choice = choice }
    end
  end
end

local function read_annotations_event(notes, out, choice)
  for _, note in ipairs(notes) do
    local of = type(note) == "table" and note.url_citation
    if type(of) == "table" then
      out[#out + 1] = { kind = "annotation", url = string_of(of.url), title = string_of(of.title), choice = choice }
    end
  end
end

local function read_call_event(call, place, choice)
  local of = list(call["function"] or call.custom)
  return {
    kind = "tool", tool = number(call.index) or place - 1, choice = choice, id = string_of(call.id),
    name = string_of(of.name), arguments = string_of(of.arguments) or string_of(of.input),
    signature = READ.thought_signature(call),
  }
end

local function read_event(_, data, stream)
  local out = {}
  for _, choice in ipairs(list(data.choices)) do
    local delta = type(choice) == "table" and choice.delta
    if type(delta) == "table" then
      local index = type(choice.index) == "number" and choice.index or 0
      read_texts(delta, index, out)
      read_details_event(list(delta.reasoning_details), out, index, stream)
      read_annotations_event(list(delta.annotations), out, index)
      for place, call in ipairs(list(delta.tool_calls)) do
        out[#out + 1] = type(call) == "table" and read_call_event(call, place, index) or nil
      end
      if type(delta.function_call) == "table" then
        out[#out + 1] = read_call_event({ ["function"] = delta.function_call, id = "call_0" }, 1, index)
      end
    end
  end
  return out
end

return {
  finish_reasons = FINISH, finish_out = FINISH_OUT, read = read_answer, write = write_answer, write_usage = write_usage,
  annotation = annotation_of, owner = owner, read_event = read_event,
}
