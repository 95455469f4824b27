--- One conversation and one answer in every dialect: whichever comes in, each of the others goes out, whole and streamed.
local t = require "t"
local json = require "moongate.json"
local machine = require "support.machine"
local world = require "support.world"

local NAMES = { "openai_chat", "openai_responses", "anthropic", "gemini" }

local MODELS = { openai_chat = "gpt-4o", openai_responses = "gpt-4o", anthropic = "claude-opus-4-6", gemini = "gemini-3.1-pro" }

---- requests

local REQUESTS = {
  openai_chat = [[{"model": "gpt-4o", "max_completion_tokens": 100, "temperature": 0.5, "messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}]},
    {"role": "assistant", "content": "Let me look.", "tool_calls": [
      {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\",\"at\":1.0}"}},
      {"id": "call_b", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "call_a", "content": "rain"}, {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
    {"role": "user", "content": "And?"}],
   "tools": [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": {"type":"object","properties":{"city":{"type":"string"}}}}},
             {"type": "function", "function": {"name": "now", "parameters": {"type":"object","properties":{}}}}],
   "tool_choice": "required"}]],

  openai_responses = [[{"model": "gpt-4o", "store": false, "max_output_tokens": 100, "temperature": 0.5, "input": [
    {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0K", "detail": "auto"}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
    {"type": "function_call", "call_id": "call_a", "name": "weather", "arguments": "{\"city\":\"Paris\",\"at\":1.0}"},
    {"type": "function_call", "call_id": "call_b", "name": "now", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_a", "output": "rain"}, {"type": "function_call_output", "call_id": "call_b", "output": "noon"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And?"}]}],
   "tools": [{"type": "function", "name": "weather", "description": "The weather", "strict": false, "parameters": {"type":"object","properties":{"city":{"type":"string"}}}},
             {"type": "function", "name": "now", "strict": false, "parameters": {"type":"object","properties":{}}}],
   "tool_choice": "required"}]],

  anthropic = [[{"model": "claude-opus-4-6", "max_tokens": 100, "temperature": 0.5, "system": [{"type": "text", "text": "Be brief."}], "messages": [
    {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0K"}}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city":"Paris","at":1.0}},
      {"type": "tool_use", "id": "call_b", "name": "now", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_a", "content": "rain"}, {"type": "tool_result", "tool_use_id": "call_b", "content": "noon"},
      {"type": "text", "text": "And?"}]}],
   "tools": [{"name": "weather", "description": "The weather", "input_schema": {"type":"object","properties":{"city":{"type":"string"}}}},
             {"name": "now", "input_schema": {"type":"object","properties":{}}}],
   "tool_choice": {"type": "any"}}]],

  gemini = [[{"systemInstruction": {"parts": [{"text": "Be brief."}]}, "generationConfig": {"maxOutputTokens": 100, "temperature": 0.5}, "contents": [
    {"role": "user", "parts": [{"text": "See"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0K"}}]},
    {"role": "model", "parts": [{"text": "Let me look."}, {"functionCall": {"id": "call_a", "name": "weather", "args": {"city":"Paris","at":1.0}}, "thoughtSignature": "skip_thought_signature_validator"},
      {"functionCall": {"id": "call_b", "name": "now", "args": {}}}]},
    {"role": "user", "parts": [{"functionResponse": {"id": "call_a", "name": "weather", "response": {"output": "rain"}}},
      {"functionResponse": {"id": "call_b", "name": "now", "response": {"output": "noon"}}}, {"text": "And?"}]}],
   "tools": [{"functionDeclarations": [{"name": "weather", "description": "The weather", "parametersJsonSchema": {"type":"object","properties":{"city":{"type":"string"}}}},
             {"name": "now", "parametersJsonSchema": {"type":"object","properties":{}}}]}],
   "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}]],
}

--- Of dialects that no client speaks.
local PROVIDERS = { "openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "cohere" }
MODELS.bedrock, MODELS.cohere = "eu.anthropic.claude-opus-4-6-v1:0", "command-a-plus-05-2026"

REQUESTS.bedrock = [[{"system": [{"text": "Be brief."}], "inferenceConfig": {"maxTokens": 100, "temperature": 0.5}, "messages": [
    {"role": "user", "content": [{"text": "See"}, {"image": {"format": "png", "source": {"bytes": "iVBORw0K"}}}]},
    {"role": "assistant", "content": [{"text": "Let me look."}, {"toolUse": {"toolUseId": "call_a", "name": "weather", "input": {"city":"Paris","at":1.0}}},
      {"toolUse": {"toolUseId": "call_b", "name": "now", "input": {}}}]},
    {"role": "user", "content": [{"toolResult": {"toolUseId": "call_a", "content": [{"text": "rain"}]}},
      {"toolResult": {"toolUseId": "call_b", "content": [{"text": "noon"}]}}, {"text": "And?"}]}],
   "toolConfig": {"toolChoice": {"any": {}}, "tools": [
      {"toolSpec": {"name": "weather", "description": "The weather", "inputSchema": {"json": {"type":"object","properties":{"city":{"type":"string"}}}}}},
      {"toolSpec": {"name": "now", "inputSchema": {"json": {"type":"object","properties":{}}}}}]}}]]

REQUESTS.cohere = [[{"model": "command-a-plus-05-2026", "max_tokens": 100, "temperature": 0.5, "messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}]},
    {"role": "assistant", "content": "Let me look.", "tool_calls": [
      {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\",\"at\":1.0}"}},
      {"id": "call_b", "type": "function", "function": {"name": "now", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "call_a", "content": "rain"}, {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
    {"role": "user", "content": "And?"}],
   "tools": [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": {"type":"object","properties":{"city":{"type":"string"}}}}},
             {"type": "function", "function": {"name": "now", "parameters": {"type":"object","properties":{}}}}],
   "tool_choice": "REQUIRED"}]]

--- Who says what happens anyway says nothing.
local function plain(text)
  local body = world.decode(text)
  body.store = nil
  return body
end

--- Schemas and arguments keep their text, and whether they did is seen here: decoded they are the same.
local function keeps_spelling(text)
  return text:find('{"type":"object","properties":{"city":{"type":"string"}}}', 1, true) ~= nil
    and (text:find('{"city":"Paris","at":1.0}', 1, true) or text:find('{\\"city\\":\\"Paris\\",\\"at\\":1.0}', 1, true)) ~= nil
end

for _, from in ipairs(NAMES) do
  for _, to in ipairs(PROVIDERS) do
    t.test("matrix: a conversation of " .. from .. " for " .. to, function()
      local text, told = world.request(from, to, REQUESTS[from], { model = MODELS[to] })
      t.eq(plain(text), plain(REQUESTS[to]))
      t.eq(json.array(told), json.array {}, "told")
      t.ok(keeps_spelling(text), "what is kept as text lost its spelling: " .. text)
      require("validators." .. to .. "_request")(world.decode(text), { model = MODELS[to] })
    end)
  end

  for _, to in ipairs(NAMES) do
    t.test("matrix: a conversation of " .. from .. " that went through " .. to .. " comes back as it was", function()
      local there = world.request(from, to, REQUESTS[from], { model = MODELS[to] })
      local back = world.request(to, from, there, { model = MODELS[from] })
      t.eq(plain(back), plain(REQUESTS[from]))
    end)
  end
end

---- answers

local ANSWERS = {
  openai_chat = [[{"id": "chatcmpl-01", "object": "chat.completion", "created": 1795392000, "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls", "logprobs": null,
    "message": {"role": "assistant", "content": "Let me look.", "refusal": null, "reasoning_content": "Hm.",
      "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\",\"at\":1.0}"}}]}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17, "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3}}}]],

  openai_responses = [[{"status": "completed", "model": "m", "output": [
      {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
      {"type": "function_call", "call_id": "call_a", "name": "weather", "arguments": "{\"city\":\"Paris\",\"at\":1.0}"}],
    "usage": {"input_tokens": 10, "output_tokens": 7, "total_tokens": 17, "input_tokens_details": {"cached_tokens": 4}, "output_tokens_details": {"reasoning_tokens": 3}}}]],

  anthropic = [[{"id": "msg_01", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "stop_sequence": null, "stop_details": null, "content": [
      {"type": "thinking", "thinking": "Hm.", "signature": "mg1:::"}, {"type": "text", "text": "Let me look."},
      {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city":"Paris","at":1.0}}],
    "usage": {"input_tokens": 6, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 3}}}]],

  gemini = [[{"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": "Hm.", "thought": true}, {"text": "Let me look."},
      {"functionCall": {"id": "call_a", "name": "weather", "args": {"city":"Paris","at":1.0}}}]}}], "modelVersion": "m", "responseId": "01",
    "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4, "totalTokenCount": 17}}]],
}

ANSWERS.bedrock = [[{"output": {"message": {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}, {"text": "Let me look."},
      {"toolUse": {"toolUseId": "call_a", "name": "weather", "input": {"city":"Paris","at":1.0}}}]}}, "stopReason": "tool_use",
    "usage": {"inputTokens": 6, "cacheReadInputTokens": 4, "outputTokens": 7, "totalTokens": 17}}]]

ANSWERS.cohere = [[{"id": "01", "finish_reason": "TOOL_CALL", "message": {"role": "assistant", "content": [
      {"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Let me look."}],
      "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\",\"at\":1.0}"}}]},
    "usage": {"billed_units": {"input_tokens": 3, "output_tokens": 5}, "tokens": {"input_tokens": 10, "output_tokens": 7}, "cached_tokens": 4}}]]

--- How many of the tokens were thought, and who answered, not every vendor says.
local function without_thoughts(answer)
  local usage = answer.usage or answer.usageMetadata
  for _, name in ipairs { "completion_tokens_details", "output_tokens_details", "thoughtsTokenCount", "candidatesTokenCount" } do
    usage[name] = nil
  end
  answer.model, answer.modelVersion = nil, nil
  return answer
end

--- What is not said by all of them, taken out: numbers of items, repeated settings, counters that are nothing.
local PLAIN = {}

function PLAIN.openai_chat(answer)
  answer.usage.prompt_tokens_details.cache_write_tokens = nil
  return answer
end

function PLAIN.openai_responses(answer)
  for _, item in ipairs(answer.output) do
    item.id, item.status, item.encrypted_content = nil, nil, nil
    for _, part in ipairs(item.content or {}) do
      part.logprobs = nil
    end
  end
  answer.usage.input_tokens_details.cache_write_tokens = nil
  return { status = answer.status, model = answer.model, output = answer.output, usage = answer.usage }
end

function PLAIN.anthropic(answer)
  return answer
end

--- Calls that another vendor's model made say so.
function PLAIN.gemini(answer)
  for _, part in ipairs(answer.candidates[1].content.parts) do
    part.thoughtSignature = nil
  end
  return answer
end

for _, from in ipairs(PROVIDERS) do
  for _, to in ipairs(NAMES) do
    t.test("matrix: an answer of " .. from .. " for a client of " .. to, function()
      local text = world.answer(from, to, ANSWERS[from])
      local got, want = PLAIN[to](world.decode(text)), world.decode(ANSWERS[to])
      if from == "bedrock" or from == "cohere" then
        got, want = without_thoughts(got), without_thoughts(want)
      end
      t.eq(got, want)
      require("validators." .. to .. "_answer")(world.decode(text), "answer")
    end)
  end
end

---- streams

local DELTAS = {
  { kind = "reasoning", text = "H" }, { kind = "reasoning", text = "m." }, { kind = "text", text = "Let me " }, { kind = "text", text = "look." },
  { kind = "tool", tool = 0, id = "call_a", name = "weather" }, { kind = "tool", tool = 0, arguments = '{"city":"Pa' },
  { kind = "tool", tool = 0, arguments = 'ris","at":1.0}' }, { kind = "finish", reason = "tool" },
  { kind = "usage", usage = { input = 10, output = 7, cached_read = 4, reasoning = 3 } },
}

--- What a client puts together from a stream that its validator passed, as an answer.
local COLLECTED = {}

function COLLECTED.openai_chat(state)
  local choice = state.choices[0]
  local call = choice.calls[0]
  return { choice.reasoning_content, choice.content, call.id, call.name, call.text, choice.finish, state.usage.prompt_tokens }
end

function COLLECTED.openai_responses(response)
  local output = response.output
  return { output[1].summary[1].text, output[2].content[1].text, output[3].call_id, output[3].name, output[3].arguments, response.status,
           response.usage.input_tokens }
end

function COLLECTED.anthropic(message)
  local content, usage = message.content, message.usage
  return { content[1].thinking, content[2].text, content[3].id, content[3].name, content[3].input, message.stop_reason,
           usage.input_tokens + usage.cache_read_input_tokens }
end

function COLLECTED.gemini(state)
  local out = { "", "" }
  for _, part in ipairs(state.choices[0].parts) do
    if part.functionCall then
      out[3], out[4], out[5] = part.functionCall.id, part.functionCall.name, part.functionCall.args
    else
      local at = part.thought and 1 or 2
      out[at] = out[at] .. part.text
    end
  end
  out[6], out[7] = state.choices[0].finish, state.usage.promptTokenCount
  return out
end

local ENDS = { openai_chat = "tool_calls", openai_responses = "completed", anthropic = "tool_use", gemini = "STOP" }
local ARGUMENTS = '{"city":"Paris","at":1.0}'

for _, from in ipairs(PROVIDERS) do
  for _, to in ipairs(NAMES) do
    t.test("matrix: a stream of " .. from .. " for a client of " .. to, function()
      local text = machine(from, to, DELTAS, { include_usage = true })
      local got = COLLECTED[to](require("validators." .. to .. "_stream")(text, { include_usage = true }))
      local arguments = (to == "openai_chat" or to == "openai_responses") and ARGUMENTS or json.decode(ARGUMENTS)
      t.eq(got, { "Hm.", "Let me look.", "call_a", "weather", arguments, ENDS[to], 10 })
    end)
  end
end
