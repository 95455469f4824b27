--- Requests and answers that are not what they should be: they are refused with a field's name, or translated; nothing
--- ever breaks. What comes out for a provider is held to its format.
local t = require "t"
local json = require "moongate.json"
local world = require "support.world"

local seed = 20261124
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return math.floor(seed / 65536) % n + 1
end

local VALUES = { json.null, true, false, 0, -1, 1.5, 1e300, "", "x", "data:,", "auto", "tool", "text", json.array {}, {}, { type = "text" },
                 { "a" }, { { } }, { type = "tool_use" }, { text = 5 } }

local function copy(value)
  if type(value) ~= "table" or value == json.null then
    return value
  end
  local out = json.is_array(value) and json.array {} or {}
  for k, v in pairs(value) do
    out[k] = copy(v)
  end
  return out
end

--- Every place in a document: the table, the key, and the path, by which they are put into order.
local function places(value, out, path)
  if type(value) == "table" then
    for k, v in pairs(value) do
      local inner = path .. "/" .. k
      table.insert(out, { value, k, inner })
      places(v, out, inner)
    end
  end
  return out
end

local function mutated(document)
  local value = copy(document)
  for _ = 1, random(3) do
    local all = places(value, {}, "")
    table.sort(all, function(a, b)
      return a[3] < b[3]
    end)
    if #all == 0 then
      break
    end
    local place = all[random(#all)]
    local of, key = place[1], place[2]
    if random(4) == 1 and type(key) == "number" then
      table.remove(of, key)
    elseif random(4) == 1 and type(key) == "string" then
      of[key] = nil
    else
      of[key] = copy(VALUES[random(#VALUES)])
    end
  end
  return value
end

local broken

local function must_not_break(what, ok, err)
  if not ok and not (type(err) == "table" and err.refused) then
    local text = type(err) == "table" and json.encode(err) or tostring(err)
    local place = text:match "^[^\n]*"
    broken[place] = broken[place] or what .. "\n" .. text
  end
end

local function nothing_broke()
  local all = {}
  for _, text in pairs(broken) do
    all[#all + 1] = text
  end
  if #all > 0 then
    error(table.concat(all, "\n\n"), 0)
  end
end

local PAGES = {
  "openai-chat-to-anthropic", "anthropic-to-openai-chat", "openai-responses-to-anthropic", "gemini-to-openai-responses",
  "openai-responses-to-gemini", "gemini-to-openai-chat", "openai-chat-to-gemini", "openai-chat-to-bedrock", "openai-chat-to-cohere",
}
local REQUESTS, ANSWERS = {}, {}
for _, name in ipairs(PAGES) do
  local page = t.read_file("tests/wire/dialects/" .. name .. ".md")
  for from, kind, text in page:gmatch "```json ([%w_]+) (%w+)\n(.-)\n```" do
    if kind ~= "request" or world.dialect(from).read_request then
      table.insert(kind == "request" and REQUESTS or ANSWERS, { from, world.decode(text) })
    end
  end
end

local NAMES = { "openai_chat", "anthropic", "openai_responses", "gemini" }
local PROVIDERS = { "openai_chat", "anthropic", "openai_responses", "gemini", "bedrock", "cohere" }

t.test("no request breaks a dialect", function()
  broken = {}
  for _ = 1, 4000 do
    local of = REQUESTS[random(#REQUESTS)]
    local text, to = json.encode(mutated(of[2])), PROVIDERS[random(#PROVIDERS)]
    local options = { lenient = random(2) == 1, stream = random(2) == 1 }
    must_not_break(of[1] .. " → " .. to .. ": " .. text, xpcall(world.request, function(err)
      return type(err) == "table" and err or t.traceback(err)
    end, of[1], to, text, options))
  end
  nothing_broke()
end)

t.test("no answer breaks a dialect", function()
  broken = {}
  for _ = 1, 2000 do
    local of = ANSWERS[random(#ANSWERS)]
    local text, to = json.encode(mutated(of[2])), NAMES[random(#NAMES)]
    must_not_break(of[1] .. " → " .. to .. ": " .. text, xpcall(world.answer, function(err)
      return type(err) == "table" and err or t.traceback(err)
    end, of[1], to, text))
  end
  nothing_broke()
end)
