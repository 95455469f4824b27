--- tasks.lua - what is asked of Gemini besides a conversation: how many tokens one has, and embeddings.
local dialect = require "moongate.dialect"
local json = require "moongate.json"
local read = require "dialects.gemini.read"
local write = require "dialects.gemini.write"

local list = dialect.list
local concat, format, type = table.concat, string.format, type

---- how many tokens

local SCHEMAS = { "parameters", "parametersJsonSchema", "parameters_json_schema" }
local CONFIG = { "responseSchema", "responseJsonSchema", "response_schema", "response_json_schema", "speechConfig" }

local function keep(value)
  return type(value) == "table" and json.raw(json.encode(value)) or value
end

--- The elements of a list that are objects.
local function objects(value)
  local out = {}
  for _, one in ipairs(list(value)) do
    out[#out + 1] = type(one) == "table" and one or nil
  end
  return out
end

--- Members that are kept as JSON text.
local function keep_all(object, names)
  for _, name in ipairs(type(object) == "table" and names or {}) do
    object[name] = keep(object[name])
  end
end

--- Within a request that stands inside another, what stays text is made text here.
local function keep_texts(body)
  for _, tool in ipairs(objects(body.tools)) do
    for _, one in ipairs(objects(tool.functionDeclarations or tool.function_declarations)) do
      keep_all(one, SCHEMAS)
    end
  end
  for _, content in ipairs(objects(body.contents)) do
    for _, part in ipairs(objects(content.parts)) do
      keep_all(part.functionCall or part.function_call, { "args" })
      keep_all(part.functionResponse or part.function_response, { "response" })
    end
  end
  keep_all(body.generationConfig or body.generation_config, CONFIG)
  return body
end

local function read_count(body, ctx)
  local inner = body.generateContentRequest or body.generate_content_request
  if inner and inner ~= json.null then
    local request = json.decode(json.text(inner))
    if type(request) ~= "table" then
      ctx.refuse("generateContentRequest", "is no object", true)
    end
    body = keep_texts(request)
  end
  return read.request(body, ctx)
end

--- The Gemini API counts a whole request inside this one, Vertex only what stands in this one itself.
local function write_count(chat, ctx)
  local body = write(chat, ctx)
  if ctx.vendor:find "^vertex" then
    return { contents = body.contents, systemInstruction = body.systemInstruction, tools = body.tools }
  end
  body.model = "models/" .. ctx.model
  body.safetySettings = nil
  return { generateContentRequest = body }
end

---- embeddings

local ONE = "outputDimensionality"

local function texts_of(content, place, ctx)
  local texts = {}
  for i, part in ipairs(list(type(content) == "table" and content.parts)) do
    if type(part) ~= "table" or type(part.text) ~= "string" then
      ctx.refuse(format("%scontent.parts[%d]", place, i - 1), "is no text, and that is all that is embedded elsewhere", true)
    end
    texts[#texts + 1] = part.text
  end
  return concat(texts, "\n")
end

--- One size for all: that is all that others can be asked for.
local function read_one(request, place, task, ctx)
  if type(request) ~= "table" then
    ctx.refuse(place .. "content", "is no object", true)
  end
  local dimensions = request[ONE] or request.output_dimensionality
  if #task.inputs > 0 and dimensions ~= task.dimensions then
    ctx.refuse(place .. ONE, "is not that of the others in this request", true)
  end
  for _, name in ipairs { "taskType", "task_type", "title" } do
    if request[name] ~= nil then
      ctx.drop(name)
    end
  end
  task.dimensions = dimensions
  task.inputs[#task.inputs + 1] = texts_of(request.content, place, ctx)
end

local function read_embed(body, ctx)
  local task = { inputs = {} }
  if body.requests == nil then
    read_one(body, "", task, ctx)
    task.memo = { single = true }
    return task
  end
  for i, request in ipairs(list(body.requests)) do
    read_one(request, format("requests[%d].", i - 1), task, ctx)
  end
  return task
end

local function write_embed(answer, ctx)
  local tokens = answer.tokens
  local usage = tokens and { promptTokenCount = tokens, totalTokenCount = tokens } or nil
  if ctx.memo and ctx.memo.single then
    return { embedding = { values = answer.vectors[1] }, usageMetadata = usage }
  end
  local embeddings = json.array {}
  for i, values in ipairs(answer.vectors) do
    embeddings[i] = { values = values }
  end
  return { embeddings = embeddings, usageMetadata = usage }
end

return {
  count = {
    read_request = read_count,
    write_request = write_count,
    read_answer = function(body)
      return { tokens = body.totalTokens }
    end,
    write_answer = function(answer)
      return { totalTokens = answer.tokens }
    end,
  },
  embed = { read_request = read_embed, write_answer = write_embed },
}
