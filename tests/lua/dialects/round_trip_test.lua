--- What a client got comes back with its next request: the provider must find its own state as it gave it.
local t = require "t"
local json = require "moongate.json"
local machine = require "support.machine"
local world = require "support.world"

local ANTHROPIC = [[{"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [
  {"type": "thinking", "thinking": "Let me think.", "signature": "EqQBCgIYAhIM"}, {"type": "redacted_thinking", "data": "ErUBKkYIBxgC"},
  {"type": "text", "text": "So:"},
  {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1.0, "a": [2, "ä"]}}, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}],
  "stop_reason": "tool_use", "usage": {"input_tokens": 9, "output_tokens": 12}}]]

local TOOLS = {
  openai_chat = [["tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}] ]],
  anthropic = [["max_tokens": 100, "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object"}}] ]],
}

--- The client's next request: what was said, the answer as it got it, the results.
local CLIENTS = {}

function CLIENTS.openai_chat(answer)
  local message = answer.choices[1].message
  message.annotations = nil
  local results = {}
  for i, call in ipairs(message.tool_calls) do
    results[i] = json.encode { role = "tool", tool_call_id = call.id, content = "ok" }
  end
  return ([[{"model": "chat", "messages": [{"role": "user", "content": "Hi"}, %s, %s], %s}]]):format(json.encode(message),
    table.concat(results, ","), TOOLS.openai_chat)
end

function CLIENTS.anthropic(answer)
  local results = json.array {}
  for _, block in ipairs(answer.content) do
    if block.type == "tool_use" then
      table.insert(results, { type = "tool_result", tool_use_id = block.id, content = "ok" })
    end
  end
  return ([[{"model": "chat", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": %s}, {"role": "user", "content": %s}], %s}]])
    :format(json.encode(answer.content), json.encode(results), TOOLS.anthropic)
end

t.test("what Anthropic signed comes back through a Chat Completions client", function()
  local answer = world.decode((world.answer("anthropic", "openai_chat", ANTHROPIC)))
  local body = world.decode((world.request("openai_chat", "anthropic", CLIENTS.openai_chat(answer))))
  t.eq(body.messages[2].content, world.decode(ANTHROPIC).content)
  require "validators.anthropic_request"(body)
end)

t.test("what Anthropic signed comes back from a streamed answer, put together piece by piece", function()
  local text = machine("anthropic", "openai_chat", {
    { kind = "reasoning", text = "Let me " }, { kind = "reasoning", text = "think." },
    { kind = "signature", text = "EqQBCgIYAhIM", dialect = "anthropic" }, { kind = "redacted", data = "ErUBKkYIBxgC", dialect = "anthropic" },
    { kind = "text", text = "So:" },
    { kind = "tool", tool = 3, id = "toolu_1", name = "f" }, { kind = "tool", tool = 3, arguments = '{"b": 1.0, "a": [2, "ä"]}' },
    { kind = "tool", tool = 4, id = "toolu_2", name = "g" }, { kind = "finish", reason = "tool" },
  })
  local choice = require "validators.openai_chat_stream"(text).choices[0]
  local calls = {}
  for i = 0, choice.called - 1 do
    local call = choice.calls[i]
    calls[i + 1] = { id = call.id, type = "function", ["function"] = { name = call.name, arguments = call.text } }
  end
  local answer = { choices = { { message = { role = "assistant", content = choice.content, reasoning_content = choice.reasoning_content,
                                             reasoning_details = choice.details, tool_calls = calls } } } }
  local body = world.decode((world.request("openai_chat", "anthropic", CLIENTS.openai_chat(answer))))
  t.eq(body.messages[2].content, world.decode(ANTHROPIC).content)
end)

local OPENROUTER = [[{"id": "gen-1", "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": "So:",
  "reasoning": "Let me think.", "reasoning_details": [
    {"type": "reasoning.text", "text": "Let me think.", "signature": "EqQB", "format": "anthropic-claude-v1", "index": 0, "id": null},
    {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1", "index": 1, "id": "rs_1"}],
  "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}}]}]]

t.test("details of a compatible vendor come back to it through an Anthropic client, and to nobody else", function()
  local answer = world.decode((world.answer("openai_chat", "anthropic", OPENROUTER, { vendor = "openrouter" })))
  t.eq(answer.content[1].thinking, "Let me think.")
  local next_request = CLIENTS.anthropic(answer)
  local body = world.decode((world.request("anthropic", "openai_chat", next_request, { vendor = "openrouter", model = "anthropic/claude" })))
  t.eq(body.messages[2].reasoning_details, world.decode(OPENROUTER).choices[1].message.reasoning_details)

  local other = world.decode((world.request("anthropic", "openai_chat", next_request, { vendor = "openai" })))
  t.ok(other.messages[2].reasoning_details == nil, "another vendor got them")
end)

t.test("what Gemini signed a call with comes back through both kinds of clients", function()
  local neutral = { choices = { { finish = "tool", parts = {
    { kind = "tool_call", id = "call_1", name = "f", arguments = "{}", signature = "c2ln", signed_by = "gemini" },
    { kind = "tool_call", id = "call_2", name = "g", arguments = "{}" } } } } }
  for _, client in ipairs { "openai_chat", "anthropic" } do
    local ctx = world.ctx { model = "m" }
    local answer = world.decode(json.encode(world.dialect(client).write_answer(neutral, ctx)))
    local chat = world.dialect(client).read_request(world.decode(CLIENTS[client](answer), world.dialect(client).raw.request), world.ctx())
    local parts = chat.turns[2].parts
    t.eq({ parts[1].kind, parts[1].id, parts[1].signature }, { "tool_call", "call_1", "c2ln" }, client)
    t.eq({ parts[2].kind, parts[2].id, parts[2].signature }, { "tool_call", "call_2" }, client)
  end
end)

t.test("names that a provider refuses go out changed and come back as the client gave them", function()
  local name = "mcp__" .. ("server"):rep(12) .. "__tool"
  local request = ([[{"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}],
    "tools": [{"name": "%s", "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": "%s"}}]]):format(name, name)
  local text, _, memo = world.request("anthropic", "openai_chat", request)
  local body = world.decode(text)
  local sent = body.tools[1]["function"].name
  t.ok(#sent == 64 and sent ~= name, sent)
  t.eq(body.tool_choice["function"].name, sent)
  require "validators.openai_chat_request"(body)

  local answer = ([[{"choices": [{"message": {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "%s", "arguments": ""}}]}}]}]]):format(sent)
  t.eq(world.decode((world.answer("openai_chat", "anthropic", answer, { memo = memo }))).content[1].name, name)
  local stream = machine("openai_chat", "anthropic", { { kind = "tool", tool = 0, id = "c", name = sent }, { kind = "finish", reason = "tool" } }, { memo = memo })
  t.eq(require "validators.anthropic_stream"(stream).content[1].name, name)
end)

t.test("a free-form tool that was called through a schema is free-form for its client", function()
  local request = [[{"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "custom", "custom": {"name": "run"}}]}]]
  local _, _, memo = world.request("openai_chat", "anthropic", request)
  local answer = [[{"content": [{"type": "tool_use", "id": "toolu_1", "name": "run", "input": {"input": "print(\"a\")\n"}}], "stop_reason": "tool_use"}]]
  t.eq(world.decode((world.answer("anthropic", "openai_chat", answer, { memo = memo }))).choices[1].message.tool_calls,
    { { id = "toolu_1", type = "custom", custom = { name = "run", input = 'print("a")\n' } } })

  local stream = machine("anthropic", "openai_chat", {
    { kind = "tool", tool = 0, id = "toolu_1", name = "run" }, { kind = "tool", tool = 0, arguments = '{"input": "print(\\"a' },
    { kind = "tool", tool = 0, arguments = '\\")\\n"}' }, { kind = "finish", reason = "tool" } }, { memo = memo })
  local call = require "validators.openai_chat_stream"(stream).choices[0].calls[0]
  t.eq({ call.kind, call.name, call.text }, { "custom", "run", 'print("a")\n' })
end)

t.test("the same request is the same bytes, and a longer conversation begins with them", function()
  local function request(more)
    return [[{"model": "chat", "messages": [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}, {"role": "assistant", "tool_calls":
      [{"id": "weird id", "type": "function", "function": {"name": "z.y", "arguments": "{\"b\":1,\"a\":2}"}}]}, {"role": "tool", "tool_call_id": "weird id", "content": "C"}]]
      .. more .. [[], "tools": [{"type": "function", "function": {"name": "z.y"}}, {"type": "function", "function": {"name": "a"}}, {"type": "function", "function": {"name": "m"}}]}]]
  end
  local first = world.request("openai_chat", "anthropic", request "")
  t.eq(first, (world.request("openai_chat", "anthropic", request "")))
  local names = {}
  for i, tool in ipairs(world.decode(first).tools) do
    names[i] = tool.name
  end
  t.eq({ names[2], names[3] }, { "a", "m" }, "tools keep their order")

  local longer = world.request("openai_chat", "anthropic", request [[, {"role": "assistant", "content": "D"}, {"role": "user", "content": "E"}]])
  local said = first:match '"messages":%[(.*)%],"model"'
  t.ok(longer:find(said, 1, true), "the prefix changed:\n" .. said .. "\n" .. longer)
end)

t.test("a request read and written in its own dialect stays what it was", function()
  local anthropic = [[{"model": "claude-opus-4-5", "max_tokens": 100, "system": [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "B"}, {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}}]},
      {"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "EqQB"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"z": 1.50, "a": 2}}]},
      {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}], "is_error": true}]}],
    "tools": [{"name": "f", "description": "F", "input_schema": {"type": "object", "properties": {"z": {"type": "number"}}}, "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}, "temperature": 0.5, "stop_sequences": ["a"]}]]
  t.eq(world.decode((world.request("anthropic", "anthropic", anthropic, { model = "claude-opus-4-5" }))), world.decode(anthropic))
  t.ok(world.request("anthropic", "anthropic", anthropic):find('{"z": 1.50, "a": 2}', 1, true), "the spelling of arguments")

  local chat = [[{"model": "gpt-4o", "messages": [{"role": "system", "content": "A"}, {"role": "user", "content": [{"type": "text", "text": "B"},
      {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}]},
      {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"z\": 1.50}"}}]},
      {"role": "tool", "tool_call_id": "call_1", "content": "x"}, {"role": "developer", "content": "C"}, {"role": "user", "content": "D"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"z": {"type": "number"}}}, "strict": true}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false, "n": 2, "seed": 5, "logprobs": true, "top_logprobs": 2,
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": false}}, "stop": ["a", "b"],
    "max_completion_tokens": 7, "temperature": 0.1, "logit_bias": {"50256": -100}, "metadata": {"a": "b"}, "store": true, "service_tier": "flex"}]]
  t.eq(world.decode((world.request("openai_chat", "openai_chat", chat))), world.decode(chat))
end)

t.test("arguments in several lines stay in one event", function()
  local asked = { tools = { { type = "function", name = "f", parameters = json.raw '{\n  "type": "object"\n}' } } }
  for _, client in ipairs { "openai_chat", "openai_responses", "anthropic", "gemini" } do
    local text = machine("other", client, {
      { kind = "tool", tool = 0, id = "call_1", name = "f" }, { kind = "tool", tool = 0, arguments = '{\n  "k": "a\\nb"\r\n}' },
      { kind = "finish", reason = "tool" } }, { memo = { asked = asked } })
    require("validators." .. client .. "_stream")(text)
  end
end)

t.test("thoughts between a text and calls go back to where they stood, whatever client kept them", function()
  local said = [[{"id":"msg_01","type":"message","role":"assistant","model":"m","stop_reason":"tool_use","stop_sequence":null,"content":[
    {"type":"thinking","thinking":"One.","signature":"S1"},{"type":"redacted_thinking","data":"R1"},{"type":"text","text":"Look."},
    {"type":"thinking","thinking":"Two.","signature":"S2"},{"type":"tool_use","id":"c1","name":"f","input":{}},
    {"type":"thinking","thinking":"Three.","signature":"S3"},{"type":"redacted_thinking","data":"R2"},
    {"type":"tool_use","id":"c2","name":"f","input":{}}],"usage":{"input_tokens":1,"output_tokens":1}}]]
  local want = "S1 R1 text S2 c1 S3 R2 c2"
  local function order(body)
    local found = {}
    for _, block in ipairs(body.messages[2].content) do
      found[#found + 1] = block.signature or block.data or block.id or block.type
    end
    return table.concat(found, " ")
  end
  local message = json.encode(json.decode((world.answer("anthropic", "openai_chat", said))).choices[1].message)
  local asked = [[{"model":"m","messages":[{"role":"user","content":"x"},]] .. message
    .. [[,{"role":"tool","tool_call_id":"c1","content":"1"},{"role":"tool","tool_call_id":"c2","content":"2"}]}]]
  t.eq(order(json.decode(world.request("openai_chat", "anthropic", asked))), want)

  local items = json.encode(json.decode((world.answer("anthropic", "openai_responses", said))).output):sub(2, -2)
  asked = [[{"model":"m","input":[{"role":"user","content":"x"},]] .. items
    .. [[,{"type":"function_call_output","call_id":"c1","output":"1"},{"type":"function_call_output","call_id":"c2","output":"2"}]}]]
  t.eq(order(json.decode(world.request("openai_responses", "anthropic", asked))), want)

  local content = json.encode(json.decode((world.answer("anthropic", "gemini", said))).candidates[1].content)
  asked = [[{"contents":[{"role":"user","parts":[{"text":"x"}]},]] .. content
    .. [[,{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","response":{}}},{"functionResponse":{"id":"c2","name":"f","response":{}}}]}]}]]
  t.eq(order(json.decode(world.request("gemini", "anthropic", asked))), want)
end)

t.test("a streamed thought says behind what it comes", function()
  local text = machine("anthropic", "openai_chat", { { kind = "reasoning", text = "One." }, { kind = "signature", text = "S1", dialect = "anthropic" },
    { kind = "text", text = "Look." }, { kind = "reasoning", text = "Two." }, { kind = "signature", text = "S2", dialect = "anthropic" },
    { kind = "tool", tool = 0, id = "c1", name = "f", arguments = "{}" }, { kind = "redacted", data = "R2", dialect = "anthropic" },
    { kind = "finish", reason = "tool" } })
  local places = {}
  for detail in text:gmatch '"reasoning_details":%[(.-)%]' do
    local item = json.decode(detail)
    places[#places + 1] = (item.signature or item.data or item.text) .. "@" .. (item.after or 0)
  end
  t.eq(places, { "One.@0", "S1@0", "Two.@1", "S2@1", "R2@2" })
end)
