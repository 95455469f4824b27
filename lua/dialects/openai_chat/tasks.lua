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
  local vectors, rows = {}, dialect.list(body.data)
  for place, row in ipairs(rows) do
    local index = type(row) == "table" and tonumber(row.index)
    local inside = index and index >= 0 and index < #rows and index % 1 == 0
    vectors[inside and index + 1 or place] = type(row) == "table" and row.embedding or nil
  end
  local usage = type(body.usage) == "table" and body.usage or {}
  return { vectors = vectors, tokens = usage.prompt_tokens }
end

return { embed = { write_request = write_request, read_answer = read_answer } }
