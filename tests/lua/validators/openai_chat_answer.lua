--- openai_chat_answer.lua - a whole answer of Chat Completions, as the reference describes it.
local check = require "validators.check"
local json = require "moongate.json"
local fail, is, object, one_of, optional = check.fail, check.is, check.object, check.one_of, check.optional

local function call(value, at)
  local kind = value.type == "custom" and "custom" or "function"
  object(value, { id = "string", type = one_of(kind), [kind] = "object", extra_content = "object?" }, at)
  object(value[kind], { name = "string", [kind == "custom" and "input" or "arguments"] = "string" }, at .. "." .. kind)
end

local function annotation(value, at)
  object(value, { type = one_of "url_citation", url_citation = function(of, inner)
    object(of, { url = "string", title = "string", start_index = "integer", end_index = "integer" }, inner)
  end }, at)
end

local function message(value, at)
  object(value, {
    role = one_of "assistant", content = "string|null", refusal = "string|null", audio = "object?",
    tool_calls = optional(function(calls, inner)
      check.each(calls, inner, call)
      if #calls == 0 then
        fail(inner, "is empty")
      end
    end),
    annotations = optional(function(notes, inner)
      check.each(notes, inner, annotation)
    end),
    -- extensions that clients echo
    reasoning_content = "string?", reasoning_details = "list?",
  }, at)
  if value.content == json.null and not value.tool_calls and not value.audio and value.refusal == json.null then
    fail(at, "says nothing")
  end
end

local function usage(value, at)
  is(value, "object", at)
  if value.total_tokens ~= value.prompt_tokens + value.completion_tokens then
    fail(at, "total_tokens is not the sum")
  end
end

--- Raises what breaks the format.
return function(body)
  object(body, {
    id = "string", object = one_of "chat.completion", created = "integer", model = "string", usage = optional(usage),
    choices = function(choices, at)
      check.each(choices, at, function(choice, inner, i)
        object(choice, { index = "integer", message = message, logprobs = "object|null?",
                         finish_reason = one_of "stop length tool_calls content_filter function_call" }, inner)
        if choice.index ~= i - 1 then
          fail(inner, "has the index %d", choice.index)
        end
      end)
    end,
  }, "answer")
end
