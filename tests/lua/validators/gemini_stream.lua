--- gemini_stream.lua - the events of streamGenerateContent, as the reference describes them: pieces of one answer.
local check = require "validators.check"
local json = require "moongate.json"
local sse = require "validators.sse"
local answer = require "validators.gemini_answer"
local fail = check.fail

local function add(state, value)
  local index = value.index or 0
  local choice = state.choices[index] or { parts = {} }
  state.choices[index] = choice
  if choice.finish then
    fail("candidate", "%d goes on after its finishReason", index)
  end
  for _, each_part in ipairs(value.content and value.content.parts or {}) do
    table.insert(choice.parts, each_part)
  end
  choice.finish, choice.grounding = value.finishReason, value.groundingMetadata
end

--- Raises what breaks the format; gives the candidates as a client would put them together, and the usage.
return function(text)
  local state = { choices = {} }
  for _, event in ipairs(sse(text)) do
    if event.name then
      fail("event", "has the name %s", event.name)
    end
    local data = json.decode(event.data) or fail("data", "is no JSON: %s", event.data)
    answer(data, "event")
    state.usage = data.usageMetadata or state.usage
    for _, value in ipairs(data.candidates or {}) do
      add(state, value)
    end
  end
  if not next(state.choices) then
    fail("stream", "has no candidate")
  end
  for index, choice in pairs(state.choices) do
    if not choice.finish then
      fail("candidate", "%d has no finishReason", index)
    end
  end
  return state
end
