--- answer.lua - answers of the Responses API, whole and as the events of a provider.
local json, dialect = require "moongate.json", require "moongate.dialect"
local items, read = require "dialects.openai_responses.items", require "dialects.openai_responses.read"

local NAME = "openai_responses"
local array, some = json.array, dialect.some

local finish_reasons = {
  completed = "stop", max_output_tokens = "length", max_messages = "length", content_filter = "filtered",
  steered = "pause", failed = "error", cancelled = "error",
}

---- whole answers

local function count(value)
  return type(value) == "number" and value or nil
end

local function read_usage(usage)
  if type(usage) ~= "table" then
    return
  end
  local input = type(usage.input_tokens_details) == "table" and usage.input_tokens_details or {}
  local output = type(usage.output_tokens_details) == "table" and usage.output_tokens_details or {}
  return {
    input = count(usage.input_tokens), output = count(usage.output_tokens), reasoning = count(output.reasoning_tokens),
    cached_read = count(input.cached_tokens), cached_write = count(input.cache_write_tokens),
  }
end

--- Why an answer ended, in this dialect's words.
local function reason_of(body)
  local details = body.incomplete_details
  return body.status == "incomplete" and type(details) == "table" and details.reason or body.status
end

--- The log probabilities of all texts, one after the other.
local function read_logprobs(output)
  local tokens
  for _, item in ipairs(dialect.list(output)) do
    for _, part in ipairs(dialect.list(type(item) == "table" and item.content)) do
      for _, token in ipairs(dialect.list(type(part) == "table" and part.logprobs)) do
        tokens = tokens or array {}
        tokens[#tokens + 1] = token
      end
    end
  end
  return tokens
end

local function read_answer(body, ctx)
  local parts, called = read.output(body.output, ctx)
  local finish = dialect.finish(finish_reasons[reason_of(body)] or "error", called)
  return { id = dialect.string(body.id), model = dialect.string(body.model), created = count(body.created_at),
           choices = { { parts = parts, finish = finish, logprobs = read_logprobs(body.output) } }, usage = read_usage(body.usage) }
end

local answer_writers = {}

function answer_writers.text(part, of, index)
  local notes = items.annotations(part.annotations, part.annotations and items.characters(part.text))
  return items.message(items.id(of, "text", index), "completed", items.text_part(part.text, notes))
end

function answer_writers.refusal(part, of, index)
  return items.message(items.id(of, "refusal", index), "completed", { type = "refusal", refusal = part.text })
end

function answer_writers.reasoning(part, of, index)
  return items.reasoning(items.id(of, "reasoning", index), "completed", part.text, dialect.seal(part, NAME) or dialect.UNSIGNED)
end

function answer_writers.tool_call(part, of, index, memo)
  local name = dialect.tool_name(memo, part.name)
  if part.custom or dialect.is_custom(memo, part.name) then
    local input = memo.wrapped and not part.custom and dialect.unwrapped(part.arguments) or part.arguments
    return items.custom(items.id(of, "custom", index), "completed", part.id, name, input)
  end
  local arguments = part.arguments ~= "" and part.arguments or "{}"
  return items.call(items.id(of, "tool", index), "completed", part.id, name, arguments)
end

--- Texts that follow one another are one message's: where a provider cut them has no meaning here.
local function joined(parts)
  local out = {}
  for _, part in ipairs(parts) do
    local last = out[#out]
    if part.kind == "text" and last and last.kind == "text" and not part.annotations and not last.annotations then
      out[#out] = { kind = "text", text = last.text .. part.text }
    else
      out[#out + 1] = part
    end
  end
  return out
end

local function write_answer(answer, ctx)
  local choice = answer.choices[1] or { parts = {}, finish = "error" }
  local memo = ctx.memo or {}
  local response, output = items.response(ctx, memo.asked), array {}
  response.model = answer.model or ctx.model
  local logprobs = choice.logprobs
  for _, part in ipairs(joined(choice.parts)) do
    local write = answer_writers[part.kind]
    if part.kind == "tool_call" and part.signature then
      local sealed = dialect.seal({ signature = part.signature, dialect = part.signed_by or "gemini" }, nil, part.id)
      output[#output + 1] = items.reasoning(items.id(ctx, "reasoning", #output), "completed", nil, sealed)
    end
    output[#output + 1] = write and write(part, ctx, #output, memo) or nil
    if part.kind == "text" and logprobs then -- nobody says which text a token is of
      output[#output].content[1].logprobs, logprobs = logprobs, nil
    end
  end
  items.complete(response, choice.finish, output, answer.usage)
  return response
end

---- streams: this dialect as the provider's

--- Texts, calls of functions and the end are declared; here is the rest, and what an extension carries.
local event_readers = {}

event_readers["response.output_item.added"] = function(data)
  local item = data.item
  if type(item) == "table" and item.type == "custom_tool_call" then
    return { kind = "tool", tool = data.output_index, id = some(item.call_id), name = some(item.name), choice = 0 }
  end
end

event_readers["response.custom_tool_call_input.delta"] = function(data)
  return { kind = "tool", tool = data.output_index, arguments = some(data.delta), choice = 0 }
end

event_readers["response.output_item.done"] = function(data)
  local item = data.item
  if type(item) == "table" and item.type == "reasoning" and type(item.encrypted_content) == "string" then
    return { kind = "signature", text = item.encrypted_content, id = some(item.id), dialect = NAME, choice = 0 }
  end
end

event_readers["response.output_text.annotation.added"] = function(data)
  local note = data.annotation
  if type(note) == "table" and note.type == "url_citation" then
    return { kind = "annotation", url = some(note.url), title = some(note.title), choice = 0 }
  end
end

local function read_event(name, data)
  local reader = event_readers[some(data.type) or name]
  return { reader and reader(data) or nil }
end

return { finish_reasons = finish_reasons, read = read_answer, write = write_answer, read_event = read_event }
