--- answer.lua - answers of Cohere's Chat API, whole and as the events of a stream.
local dialect = require "moongate.dialect"

local list, string_of = dialect.list, dialect.string
local ipairs, type = ipairs, type

local FINISH = {
  COMPLETE = "stop", STOP_SEQUENCE = "stop_sequence", MAX_TOKENS = "length", TOOL_CALL = "tool", ERROR = "error", TIMEOUT = "error",
}

local function count(value)
  return type(value) == "number" and value or nil
end

--- What is billed leaves out what the vendor adds to a prompt.
local function read_usage(usage)
  local tokens = list(list(usage).tokens)
  if count(tokens.input_tokens) or count(tokens.output_tokens) then
    return { input = count(tokens.input_tokens), output = count(tokens.output_tokens), cached_read = count(usage.cached_tokens) }
  end
end

--- Where a source says that it is a page.
local function page_of(source)
  local of = list(list(source).document or list(source).tool_output)
  local url = string_of(of.url) or string_of(of.uri)
  if url and url:find "^https?://" then
    return url, string_of(of.title)
  end
end

--- Pages that a citation names; other sources are the client's own.
local function read_citation(citation, notes)
  citation = list(citation)
  for _, source in ipairs(list(citation.sources)) do
    local url, title = page_of(source)
    if url then
      notes[#notes + 1] = { url = url, title = title, from = count(citation.start), to = count(citation["end"]) }
    end
  end
  return notes
end

local READ = {
  text = function(block)
    return string_of(block.text) and block.text ~= "" and { kind = "text", text = block.text } or nil
  end,
  thinking = function(block)
    return string_of(block.thinking) and block.thinking ~= "" and { kind = "reasoning", text = block.thinking } or nil
  end,
}

--- Texts, and which block each was, for the citations.
local function read_content(message, parts)
  local by_index = {}
  for i, block in ipairs(list(message.content)) do
    local read = type(block) == "table" and READ[block.type]
    local part = read and read(block) or nil
    parts[#parts + 1], by_index[i - 1] = part, part
  end
  for _, citation in ipairs(list(message.citations)) do
    local part = by_index[list(citation).content_index or 0]
    local notes = part and part.kind == "text" and read_citation(citation, part.annotations or {})
    if notes and notes[1] then
      part.annotations = notes
    end
  end
end

local function read_calls(message, parts)
  local before = #parts
  for _, call in ipairs(list(message.tool_calls)) do
    local of = list(list(call)["function"])
    if string_of(of.name) then
      parts[#parts + 1] = { kind = "tool_call", id = string_of(call.id), name = of.name, arguments = string_of(of.arguments) or "" }
    end
  end
  return #parts > before
end

--- Chances of pieces, each of one or more tokens: those of a piece belong together.
local function read_logprobs(items)
  local out = {}
  for _, item in ipairs(list(items)) do
    local text, sum = string_of(list(item).text), 0
    for _, each in ipairs(list(list(item).logprobs)) do
      sum = sum + (count(each) or 0)
    end
    out[#out + 1] = text and { token = text, logprob = sum, bytes = { text:byte(1, -1) }, top_logprobs = dialect.array {} }
  end
  return out[1] and out or nil
end

local function read_answer(body)
  local message, parts = list(body.message), {}
  local plan = string_of(message.tool_plan)
  if plan and plan ~= "" then
    parts[1] = { kind = "reasoning", text = plan }
  end
  read_content(message, parts)
  local called = read_calls(message, parts)
  local finish = dialect.finish(FINISH[body.finish_reason] or "stop", called)
  return {
    id = string_of(body.id), usage = read_usage(body.usage),
    choices = { { parts = parts, finish = finish, logprobs = read_logprobs(body.logprobs) } },
  }
end

--- Citations come in events of their own.
local function read_event(_, data)
  local out = {}
  for _, note in ipairs(read_citation(list(list(data.delta).message).citations, {})) do
    out[#out + 1] = { kind = "annotation", url = note.url, title = note.title, from = note.from, to = note.to }
  end
  return out
end

return { finish_reasons = FINISH, read = read_answer, read_event = read_event }
