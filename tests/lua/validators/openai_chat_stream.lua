--- openai_chat_stream.lua - the chunks of a Chat Completions stream, as the reference describes them.
local check = require "validators.check"
local json = require "moongate.json"
local sse = require "validators.sse"
local fail, is, object, one_of, optional = check.fail, check.is, check.object, check.one_of, check.optional

local function usage(value, at)
  object(value, {
    prompt_tokens = "integer", completion_tokens = "integer", total_tokens = "integer",
    prompt_tokens_details = optional(function(details, inner)
      object(details, { cached_tokens = "integer?", cache_write_tokens = "integer?", audio_tokens = "integer?" }, inner)
    end),
    completion_tokens_details = optional(function(details, inner)
      object(details, { reasoning_tokens = "integer?", audio_tokens = "integer?" }, inner)
    end),
  }, at)
  if value.total_tokens ~= value.prompt_tokens + value.completion_tokens then
    fail(at, "total_tokens is not the sum")
  end
end

local DELTA = {
  role = optional(one_of "assistant"), content = "string|null?", refusal = "string|null?", tool_calls = "list?",
  -- extensions that clients echo
  reasoning_content = "string?", reasoning_details = "list?", annotations = "list?",
}

--- A call opens with id, type and name, and goes on with pieces of arguments alone.
local function check_call(choice, call, at)
  local index = is(call.index, "integer", at .. ".index")
  local open = choice.calls[index]
  local kind = call.custom and "custom" or "function"
  local body = call[kind]
  if call.extra_content then
    if not open and not call.id then
      fail(at, "an extension for a call that is not open")
    end
    if open and not body then
      return
    end
  end
  if open then
    if call.id or call.type or body.name then
      fail(at, "id, type and name come once")
    end
    open.text = open.text .. (body.arguments or body.input)
    return
  end
  object(call, { index = "integer", id = "string", type = one_of(kind), [kind] = "object", extra_content = "object?" }, at)
  object(body, { name = "string", [kind == "custom" and "input" or "arguments"] = "string" }, at .. "." .. kind)
  if index ~= choice.called then
    fail(at, "index %d, must be %d", index, choice.called)
  end
  choice.calls[index] = { id = call.id, kind = kind, name = body.name, text = body.arguments or body.input }
  choice.called = index + 1
end

local function check_delta(choice, delta, at)
  object(delta, DELTA, at)
  if not choice.role then
    if delta.role ~= "assistant" then
      fail(at, "the first chunk must have the role")
    end
    choice.role = true
  elseif delta.role then
    fail(at, "the role comes once")
  end
  for _, member in ipairs { "content", "refusal", "reasoning_content" } do
    if type(delta[member]) == "string" then
      choice[member] = (choice[member] or "") .. delta[member]
    end
  end
  for _, detail in ipairs(delta.reasoning_details or {}) do
    choice.details[#choice.details + 1] = detail
  end
  for i, call in ipairs(delta.tool_calls or {}) do
    check_call(choice, call, ("%s.tool_calls[%d]"):format(at, i - 1))
  end
end

local function check_choice(state, value)
  object(value, { index = "integer", delta = "object", finish_reason = "string|null", logprobs = "any?" }, "choice")
  local choice = state.choices[value.index] or { calls = {}, called = 0, details = {} }
  state.choices[value.index] = choice
  if choice.finish then
    fail("choice", "%d goes on after its finish_reason", value.index)
  end
  check_delta(choice, value.delta, "delta")
  if value.finish_reason ~= json.null then
    one_of "stop length tool_calls content_filter function_call"(value.finish_reason, "finish_reason")
    choice.finish = value.finish_reason
    if next(value.delta) then
      fail("finish", "beside a delta")
    elseif (choice.finish == "tool_calls") ~= (choice.called > 0) and choice.finish == "stop" then
      fail("finish_reason", "is stop after a call")
    end
  end
end

local function check_chunk(state, chunk, options)
  object(chunk, { id = "string", object = one_of "chat.completion.chunk", created = "integer", model = "string", choices = "list",
                  usage = "any?" }, "chunk")
  for _, member in ipairs { "id", "created", "model" } do
    if state[member] ~= nil and state[member] ~= chunk[member] then
      fail("chunk", "%s changes", member)
    end
    state[member] = chunk[member]
  end
  if state.usage then
    fail("chunk", "after the usage")
  end
  if #chunk.choices == 0 then
    usage(chunk.usage, "usage")
    state.usage = chunk.usage
    for index, choice in pairs(state.choices) do
      if not choice.finish then
        fail("usage", "before choice %d ended", index)
      end
    end
  elseif options.include_usage ~= (chunk.usage == json.null) then
    fail("chunk", "usage must be null when asked for, absent when not")
  end
  for _, choice in ipairs(chunk.choices) do
    check_choice(state, choice)
  end
end

--- Raises what breaks the format; gives the choices as a client would put them together, and the usage.
return function(text, options)
  options = options or { include_usage = true }
  local state, over = { choices = {} }, false
  for _, event in ipairs(sse(text)) do
    if over then
      fail("stream", "goes on after [DONE]")
    elseif event.name then
      fail("event", "chunks have no name")
    end
    over = event.data == "[DONE]"
    if not over then
      check_chunk(state, json.decode(event.data) or fail("data", "is no JSON: %s", event.data), options)
    end
  end
  if not over then
    fail("stream", "ends without [DONE]")
  elseif state.usage and not options.include_usage then
    fail("stream", "has usage nobody asked for")
  end
  for index, choice in pairs(state.choices) do
    if not choice.finish then
      fail("choice", "%d has no finish_reason", index)
    end
  end
  return state
end
