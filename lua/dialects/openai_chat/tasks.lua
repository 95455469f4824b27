--- tasks.lua - what is asked in OpenAI's way besides a conversation: embeddings.
local dialect = require "moongate.dialect"
local json = require "moongate.json"

local function write_request(task, ctx)
  local input = json.array {}
  for i, text in ipairs(task.inputs) do
    input[i] = text
  end
  return { model = ctx.model, input = input, dimensions = task.dimensions, encoding_format = "float" }, task.memo
end

--- In the order of their numbers, whatever order they came in.
local function read_answer(body)
  local vectors = {}
  for place, row in ipairs(dialect.list(body.data)) do
    vectors[(tonumber(row.index) or place - 1) + 1] = row.embedding
  end
  local usage = type(body.usage) == "table" and body.usage or {}
  return { vectors = vectors, tokens = usage.prompt_tokens }
end

return { embed = { write_request = write_request, read_answer = read_answer } }
