--- What an answer must know of its request: names that were changed, free-form tools, settings that are repeated. It travels
--- as JSON.
local t = require "t"
local json = require "moongate.json"
local machine = require "support.machine"
local world = require "support.world"

--- The memo of a request, as the answer gets it.
local function memo_of(from, to, request, model)
  local _, _, memo = world.request(from, to, request, { model = model })
  return memo and world.decode(json.encode(memo))
end

local CUSTOM = [[{"model": "chat", "instructions": "Be brief.", "input": "Run", "max_output_tokens": 50, "temperature": 0.5, "metadata": {"run": "7"},
  "tools": [{"type": "custom", "name": "shell"}, {"type": "function", "name": "f", "strict": true, "parameters": {"type": "object"}}],
  "tool_choice": "required", "store": false, "reasoning": {"effort": "low"}}]]

local CALLS = {
  { kind = "tool", tool = 0, id = "call_1", name = "shell" }, { kind = "tool", tool = 0, arguments = '{"input":"ls \\"' },
  { kind = "tool", tool = 0, arguments = '-l\\""}' }, { kind = "tool", tool = 1, id = "call_2", name = "f", arguments = "{}" },
  { kind = "finish", reason = "tool" },
}

t.test("a free-form tool that was called through a schema comes out as its one string, whole", function()
  local memo = memo_of("openai_responses", "anthropic", CUSTOM)
  local text = machine("anthropic", "openai_responses", CALLS, { memo = memo })
  local output = require "validators.openai_responses_stream"(text).output
  t.eq({ output[1].type, output[1].call_id, output[1].name, output[1].input }, { "custom_tool_call", "call_1", "shell", 'ls "-l"' })
  t.eq({ output[2].type, output[2].arguments }, { "function_call", "{}" })
  t.eq(select(2, text:gsub("event: response.custom_tool_call_input.delta", "")), 1, "its pieces")
end)

t.test("a free-form tool of a provider that has such tools streams as it comes", function()
  local memo = memo_of("openai_responses", "openai_chat", CUSTOM)
  local text = machine("openai_chat", "openai_responses", {
    { kind = "tool", tool = 0, id = "call_1", name = "shell" }, { kind = "tool", tool = 0, arguments = "ls " },
    { kind = "tool", tool = 0, arguments = "-l" }, { kind = "finish", reason = "tool" },
  }, { memo = memo })
  t.eq(require "validators.openai_responses_stream"(text).output[1].input, "ls -l")
  t.eq(select(2, text:gsub("event: response.custom_tool_call_input.delta", "")), 2, "its pieces")
end)

t.test("a whole answer with a free-form tool", function()
  local memo = memo_of("openai_responses", "anthropic", CUSTOM)
  local text = world.answer("anthropic", "openai_responses", [[{"model": "m", "stop_reason": "tool_use", "content": [
    {"type": "tool_use", "id": "toolu_1", "name": "shell", "input": {"input": "ls -l"}}], "usage": {"input_tokens": 1, "output_tokens": 1}}]], { memo = memo })
  local item = world.decode(text).output[1]
  t.eq({ item.type, item.call_id, item.name, item.input }, { "custom_tool_call", "toolu_1", "shell", "ls -l" })
end)

t.test("a response repeats the settings of its request, in every event that has it and in a whole answer", function()
  local memo = memo_of("openai_responses", "anthropic", CUSTOM)
  local text = machine("anthropic", "openai_responses", { { kind = "text", text = "Hi" }, { kind = "finish", reason = "stop" } }, { memo = memo })
  local streamed = require "validators.openai_responses_stream"(text)
  local whole = world.decode((world.answer("anthropic", "openai_responses",
    [[{"model": "m", "stop_reason": "end_turn", "content": [{"type": "text", "text": "Hi"}]}]], { memo = memo })))
  local asked = world.decode(CUSTOM)
  for _, response in ipairs { streamed, whole } do
    for _, name in ipairs { "instructions", "max_output_tokens", "temperature", "metadata", "tools", "tool_choice", "store", "reasoning" } do
      t.eq(response[name], asked[name], name)
    end
    t.eq({ response.top_p, response.parallel_tool_calls, response.truncation }, { 1, true, "disabled" })
  end
end)

local MAPS = [[{"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 50},
  "tools": [{"functionDeclarations": [{"name": "maps.search:v1"}]}]}]]

t.test("a name that the provider does not take comes back as the client's, whole and streamed", function()
  local body, _, memo = world.request("gemini", "anthropic", MAPS)
  local sent = world.decode(body).tools[1].name
  t.ok(sent:find "^[%w_-]+$", sent)
  memo = world.decode(json.encode(memo))
  local text = machine("anthropic", "gemini", { { kind = "tool", tool = 0, id = "toolu_1", name = sent, arguments = "{}" },
    { kind = "finish", reason = "tool" } }, { memo = memo })
  t.eq(require "validators.gemini_stream"(text).choices[0].parts[1].functionCall.name, "maps.search:v1")
  local whole = world.answer("anthropic", "gemini", ([[{"model": "m", "stop_reason": "tool_use", "content": [
    {"type": "tool_use", "id": "toolu_1", "name": "%s", "input": {}}]}]]):format(sent), { memo = memo })
  t.eq(world.decode(whole).candidates[1].content.parts[1].functionCall.name, "maps.search:v1")
end)
