--- What a tap declares and what its dialect reads must be the same: answers of the pages in tests/wire, told by both.
---
--- Anthropic's cache of an hour, audio and service tiers are told by the tap alone.
local t = require "t"
local world = require "support.world"

-- Pages of the adapters that are a dialect's own.
local PAGES = { "openai_chat", "anthropic", "openai_responses", "gemini", "bedrock", "cohere" }
local COUNTERS = { input = "input", output = "output", cached = "cached_read", written = "cached_write", reasoning = "reasoning" }
local ENDS = { cut = "length", filtered = "filtered", refused = "filtered" }

local function answers(page)
  local text, at = t.read_file("tests/wire/" .. page .. ".md"), 1
  return function()
    local _, stop, body, tap = text:find("\n```answer\n(.-)\n```\n\n```tap\n(.-)\n```\n", at)
    at = stop
    return body, tap
  end
end

-- "usage input 5 output 9" → { input = 5, output = 9 }
local function counts(tap)
  local line, found = ("\n" .. tap):match("\nusage([^\n]*)"), {}
  for name, count in (line or ""):gmatch("(%S+) (%d+)") do
    if COUNTERS[name] then
      found[COUNTERS[name]] = tonumber(count)
    end
  end
  return line and found
end

local function text_of(answer)
  local pieces = {}
  for _, part in ipairs(answer.choices[1].parts) do
    if part.kind == "text" then
      pieces[#pieces + 1] = part.text
    end
  end
  return table.concat(pieces)
end

local function compare(name, body, tap)
  local of = world.dialect(name)
  local answer = of.read_answer(world.decode(body, of.raw.answer), world.ctx({ provider = name, client = name, model = "m" }))
  t.eq(text_of(answer), tap:match("^text (.-)\n[ue][sn][ad]") or "", body)
  for counter, count in pairs(counts(tap) or {}) do
    t.eq(tonumber(answer.usage[counter]), count, counter .. " of " .. body)
  end
  local wanted = ENDS[tap:match("end (%S+)")]
  if wanted then
    t.eq(answer.choices[1].finish, wanted, body)
  end
end

for _, name in ipairs(PAGES) do
  t.test(name .. ": tap and dialect read the same in an answer", function()
    local seen = 0
    for body, tap in answers(name) do
      -- neither counts nor vectors nor failures are conversations
      if not tap:find("end none", 1, true) and not tap:find("error", 1, true) and not tap:find("end good queued", 1, true) then
        compare(name, body, tap)
        seen = seen + 1
      end
    end
    t.ok(seen > 0, "the page has no answers")
  end)
end
