--- What is asked besides a conversation: how many tokens one has, and embeddings. Whichever dialect asks, each of those that
--- can be asked is asked in its words, and its answer comes back in the asker's.
local t = require "t"
local json = require "moongate.json"
local world = require "support.world"

--- As the core does it: the task's functions, the raw paths of the dialect.
local function ask(task, from, to, text, options)
  local reader, writer = world.dialect(from), world.dialect(to)
  local ctx = world.ctx(options)
  ctx.client, ctx.provider, ctx.vendor, ctx.model = from, to, ctx.vendor or to, ctx.model or "m"
  local body, memo = writer.tasks[task].write_request(
    reader.tasks[task].read_request(world.decode(text, reader.raw.request), ctx), ctx)
  return json.encode(body), ctx.told, memo and world.decode(json.encode(memo))
end

local function answer(task, from, to, text, memo)
  local reader, writer = world.dialect(from), world.dialect(to)
  local ctx = world.ctx { client = to, provider = from, vendor = from, model = "m", memo = memo }
  return json.encode(writer.tasks[task].write_answer(reader.tasks[task].read_answer(world.decode(text, reader.raw.answer), ctx), ctx))
end

---- how many tokens

local ASKED = {
  anthropic = [[{"model": "m", "system": "s", "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"b": {}, "a": {}}}}]}]],
  openai_responses = [[{"model": "m", "instructions": "s", "input": "hi",
    "tools": [{"type": "function", "name": "f", "description": "d", "strict": false, "parameters": {"type": "object", "properties": {"b": {}, "a": {}}}}]}]],
  gemini = [[{"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
    "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {"b": {}, "a": {}}}}]}]}]],
}
local COUNTED = {
  anthropic = [[{"input_tokens": 42}]], openai_responses = [[{"object": "response.input_tokens", "input_tokens": 42}]],
  gemini = [[{"totalTokens": 42, "promptTokensDetails": []}]], bedrock = [[{"inputTokens": 42}]],
}
local MAY_HAVE = {
  anthropic = { "messages", "model", "system", "tools", "tool_choice" }, openai_responses = { "input", "instructions", "model", "tools", "tool_choice", "text" },
  gemini = { "generateContentRequest" }, bedrock = { "input" },
}

for _, from in ipairs { "anthropic", "openai_responses", "gemini" } do
  for _, to in ipairs { "anthropic", "openai_responses", "gemini", "bedrock" } do
    t.test(from .. " asks " .. to .. " how many tokens there are", function()
      local text = ask("count", from, to, ASKED[from], { model = "m" })
      local allowed = {}
      for _, name in ipairs(MAY_HAVE[to]) do
        allowed[name] = true
      end
      for name in pairs(world.decode(text)) do
        t.eq(allowed[name], true, "may have " .. name)
      end
      for _, word in ipairs { '"s"', '"hi"', '"f"', '"d"' } do
        t.eq(text:find(word, 1, true) ~= nil, true, word .. " is counted: " .. text)
      end
      t.eq(text:find('"properties":{"b":{},"a":{}}', 1, true) ~= nil or text:find('"properties": {"b": {}, "a": {}}', 1, true) ~= nil, true, "schemas keep their order: " .. text)
      if COUNTED[from] then
        t.eq(answer("count", to, from, COUNTED[to]):find("42", 1, true) ~= nil, true)
      end
    end)
  end
end

t.test("what only an answer needs is not counted", function()
  local text = ask("count", "gemini", "anthropic", [[{"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 0.5, "maxOutputTokens": 7, "stopSequences": ["x"]}}]])
  local body = world.decode(text)
  t.eq({ body.max_tokens or "none", body.temperature or "none", body.stop_sequences or "none" }, { "none", "none", "none" })
end)

t.test("a Gemini request within a request is that request", function()
  local inner = ASKED.gemini:gsub("^{", [[{"model": "models/m", ]])
  t.eq(world.decode((ask("count", "gemini", "anthropic", '{"generateContentRequest": ' .. inner .. "}"))),
    world.decode((ask("count", "gemini", "anthropic", ASKED.gemini))))
end)

t.test("Vertex counts what stands in the request itself", function()
  local body = world.decode(ask("count", "anthropic", "gemini", ASKED.anthropic, { vendor = "vertex_gemini" }))
  t.eq({ body.contents[1].parts[1].text, body.systemInstruction.parts[1].text, body.generateContentRequest or "none" }, { "hi", "s", "none" })
end)

---- embeddings

local VECTORS = [[{"data": [{"index": 1, "embedding": [0.10, 2e-3]}, {"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 5}}]]

t.test("one text and several", function()
  local text, told, memo = ask("embed", "gemini", "openai_chat", [[{"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "X", "outputDimensionality": 2}]])
  t.eq({ text, told[1] }, { '{"dimensions":2,"encoding_format":"float","input":["a\\nb"],"model":"m"}', "taskType" })
  t.eq(answer("embed", "openai_chat", "gemini", VECTORS, memo), '{"embedding":{"values":[1.0]},"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}')

  text, told, memo = ask("embed", "gemini", "openai_chat", [[{"requests": [{"content": {"parts": [{"text": "a"}]}}, {"content": {"parts": [{"text": "b"}]}}]}]])
  t.eq({ text, #told, memo or "none" }, { '{"encoding_format":"float","input":["a","b"],"model":"m"}', 0, "none" })
  t.eq(answer("embed", "openai_chat", "gemini", VECTORS), '{"embeddings":[{"values":[1.0]},{"values":[0.10, 2e-3]}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}')
end)

t.test("spoilt documents are refused or asked, nothing breaks", function()
  for _, text in ipairs { "{}", '{"requests": 1}', '{"requests": [1]}', '{"requests": [{}]}', '{"content": 1}', '{"content": {"parts": 1}}', '{"content": {"parts": [1]}}',
                          '{"content": {"parts": [{}]}}', '{"content": null}', '{"requests": null}', '{"requests": [{"content": {"parts": [{"text": 1}]}}]}',
                          '{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": "x"}' } do
    local ok, err = pcall(ask, "embed", "gemini", "openai_chat", text)
    t.eq(ok or type(err) == "table" and err.refused ~= nil, true, text .. ": " .. tostring(err))
  end
  for _, text in ipairs { '{"generateContentRequest": null}', '{"generateContentRequest": 1}', '{"generateContentRequest": "x"}', '{"generateContentRequest": []}',
                          '{"generateContentRequest": {"contents": 1, "tools": 1, "generationConfig": 1}}', '{"generateContentRequest": {"tools": [1], "contents": [1]}}',
                          '{"generateContentRequest": {"contents": [{"parts": [1]}]}}', "{}" } do
    local ok, err = pcall(ask, "count", "gemini", "anthropic", text)
    t.eq(ok or type(err) == "table" and err.refused ~= nil, true, text .. ": " .. tostring(type(err) == "table" and json.encode(err) or err))
  end
  for _, text in ipairs { "{}", '{"data": 1}', '{"data": [1]}', '{"data": [{"index": "x"}]}', '{"data": [{"index": -5}]}', '{"usage": 1}', '{"data": null, "usage": null}' } do
    t.eq(pcall(answer, "embed", "openai_chat", "gemini", text), true, text)
  end
end)
