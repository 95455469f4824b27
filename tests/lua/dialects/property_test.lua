--- Conversations that nobody thought of. Each is written as a client of each dialect would send it, and then
---
---   is read and written again in that dialect: the bytes are the same;
---   is read and written for every provider: what comes out is what the provider takes, or it was refused by name.
local t = require "t"
local json = require "moongate.json"
local world = require "support.world"

local CLIENTS = { "openai_chat", "openai_responses", "anthropic", "gemini" }
local PROVIDERS = { "openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "cohere" }
local MODELS = {
  openai_chat = "gpt-4o", openai_responses = "gpt-4o", anthropic = "claude-opus-4-6", gemini = "gemini-3.1-pro",
  bedrock = "eu.anthropic.claude-opus-4-6-v1:0", cohere = "command-a-plus-05-2026",
}
local CONVERSATIONS = 50

local seed = 20261124
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n + 1
end

local function sometimes(value)
  return random(3) == 1 and value or nil
end

local function one_of(list)
  return list[random(#list)]
end

---- conversations

local WORDS = { "Hi", "wörld 🎈", "a\nb\ttab", '"quoted" \\ back', "JSON, please", "<b>&amp;", "0", " leading", "\226\128\168" }
local NAMES = { "f", "get_weather", "mcp__server__tool", "a-b", "x1" }
local ARGUMENTS = { "{}", '{"k":1}', '{"b":1.50,"a":[2,"ä"]}', '{"s":"\\u00e9\\n\\"","n":null}', '{"deep":{"e":{"r":[]}}}' }
local SCHEMAS = {
  '{"type":"object","properties":{}}', '{"type":"object","properties":{"k":{"type":"integer"}},"required":["k"]}',
  '{"type":"object","properties":{"z":{"type":"string","description":"last","maxLength":9},"a":{"type":"array","items":{"type":"number"}}}}',
  '{"type":"object","properties":{"e":{"enum":["a","b"]},"o":{"anyOf":[{"type":"string"},{"type":"null"}]}},"additionalProperties":false}',
}

local function text()
  return { kind = "text", text = one_of(WORDS) }
end

local USER_PARTS = {
  text, text, text,
  function()
    return { kind = "image", mime = "image/png", data = "iVBORw0KGgo=", detail = nil }
  end,
  function()
    return { kind = "image", url = "https://example.com/a.png" }
  end,
  function()
    return { kind = "document", mime = "application/pdf", data = "JVBERi0xLjQ=", name = "a.pdf" }
  end,
}

local function user(parts)
  for _ = 1, random(3) do
    parts[#parts + 1] = one_of(USER_PARTS)()
  end
  parts[#parts + 1] = text()
  return { role = "user", parts = parts }
end

local function results_of(calls)
  local parts = {}
  for _, call in ipairs(calls) do
    local inner = random(4) > 1 and { { kind = "text", text = one_of(WORDS) } } or {}
    table.insert(parts, { kind = "tool_result", id = call.id, name = call.name, parts = inner, error = nil })
  end
  return parts
end

--- Ids that no call had before, as vendors make them.
local function assistant(names, counter)
  local parts, calls = { sometimes(text()) }, {}
  if #names > 0 and random(2) == 1 then
    for _ = 1, random(3) do
      counter.calls = counter.calls + 1
      local call = { kind = "tool_call", id = "call_" .. counter.calls, name = one_of(names), arguments = one_of(ARGUMENTS) }
      table.insert(parts, call)
      table.insert(calls, call)
    end
  end
  if #parts == 0 then
    parts[1] = text()
  end
  return { role = "assistant", parts = parts }, calls
end

local function tools()
  local out, names = {}, {}
  for _, name in ipairs(NAMES) do
    if random(3) == 1 then
      table.insert(names, name)
      table.insert(out, { kind = "function", name = name, description = sometimes "A tool.", schema = json.raw(one_of(SCHEMAS)) })
    end
  end
  return #out > 0 and out or nil, names
end

local function choice(names)
  local mode = one_of { "auto", "required", "none", "tool" }
  return { mode = mode, name = mode == "tool" and one_of(names) or nil }
end

local function params()
  return {
    max_tokens = sometimes(100 + random(1000)), temperature = sometimes(random(10) / 10), top_p = sometimes(random(9) / 10),
    stop = sometimes { "END", "\n\nHuman:" }, seed = sometimes(random(100)), presence_penalty = sometimes(0.5),
  }
end

--- A conversation in its neutral form.
local function conversation()
  local chat = { dialect = "probe", turns = {}, params = params(), spelt = {}, vendor = {} }
  local names, counter, calls = {}, { calls = 0 }, {}
  chat.tools, names = tools()
  if chat.tools then
    chat.tool_choice, chat.parallel_tools = sometimes(choice(names)), random(5) ~= 1 and nil
  elseif random(4) == 1 then
    chat.output = { kind = "json_schema", name = "out", strict = random(2) == 1, schema = json.raw(SCHEMAS[2]) }
  end
  if random(4) == 1 then
    chat.reasoning = { effort = one_of { "none", "low", "high" }, visible = true }
    chat.params.max_tokens = 6000
  end
  for _ = 1, random(3) - 1 do
    table.insert(chat.turns, { role = "system", parts = { text() } })
  end
  for _ = 1, random(4) do
    table.insert(chat.turns, user(results_of(calls)))
    local turn
    turn, calls = assistant(names, counter)
    table.insert(chat.turns, turn)
  end
  table.insert(chat.turns, user(results_of(calls)))
  return chat
end

---- what is checked

local function written(chat, client)
  local ctx = world.ctx { lenient = true, model = MODELS[client], vendor = client, provider = client, client = client }
  return json.encode((world.dialect(client).write_request(chat, ctx)))
end

local function with_seed(from, check)
  return function()
    for i = 1, CONVERSATIONS do
      seed = i * 7919
      local ok, err = pcall(check, written(conversation(), from))
      if not ok then
        error(("conversation %d: %s"):format(i, type(err) == "table" and json.encode(err) or tostring(err)), 0)
      end
    end
  end
end

for _, from in ipairs(CLIENTS) do
  t.test("property: what " .. from .. " says is the same bytes after it was read", with_seed(from, function(request)
    local again = world.request(from, from, request, { model = MODELS[from] })
    t.ok(again == request, "\n" .. request .. "\n" .. again)
  end))

  for _, to in ipairs(PROVIDERS) do
    t.test("property: what " .. from .. " says is taken by " .. to .. ", or refused by name", with_seed(from, function(request)
      local ok, body = pcall(world.request, from, to, request, { model = MODELS[to], lenient = random(2) == 1, stream = random(2) == 1 })
      if not ok then
        return t.ok(type(body) == "table" and body.refused, tostring(body))
      end
      local good, why = pcall(require("validators." .. to .. "_request"), world.decode(body), { model = MODELS[to] })
      t.ok(good, tostring(why) .. "\n" .. request .. "\n" .. body)
    end))
  end
end
