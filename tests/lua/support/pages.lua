--- pages.lua - tests/wire/dialects/*.md: each section is one translated call, and a test.
---
---   ## A sentence that names the test
---   Prose. `Model:`, `Vendor:`, `Options:` (lenient, stream, no-usage) and `Max output:` lines set the scene.
---   ```json openai_chat request        what comes in
---   ```json anthropic request          what goes out
---   Told: `seed`, `temperature=1`      what the client hears of
---   Refused: `n`                       instead of what goes out
---   ```deltas anthropic                what a provider's stream says, one delta a line
---   ```sse openai_chat                 the client's stream
local json = require "moongate.json"
local machine = require "support.machine"
local t = require "t"
local world = require "support.world"

local pages = {}

local function read_options(section)
  local options = {}
  for _, line in ipairs(section.lines) do
    local word, value = line:match "^(%u[%a ]+): (.+)$"
    local inner = value and value:match "^`(.*)`$"
    if word == "Model" or word == "Vendor" then
      options[word:lower()] = inner
    elseif word == "Max output" then
      options.caps = { max_output = tonumber(value) }
    elseif word == "Options" then
      for each in value:gmatch "[%w-]+" do
        options[each:gsub("-", "_")] = true
      end
    elseif word == "Told" or word == "Refused" then
      section[word:lower()] = {}
      for each in value:gmatch "`([^`]*)`" do
        table.insert(section[word:lower()], each)
      end
    end
  end
  options.include_usage = not options.no_usage
  return options
end

local function read_page(text)
  local sections, section, block = {}, nil, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if block then
      if line == "```" then
        block.text, block = table.concat(block.text, "\n"), nil
      else
        table.insert(block.text, line)
      end
    elseif line:find "^## " then
      section = { name = line:sub(4), lines = {}, blocks = {} }
      table.insert(sections, section)
    elseif section then
      local kind, name, what = line:match "^```(%w+) ([%w_]+) ?(%w*)$"
      if kind then
        block = { kind = kind, dialect = name, what = what, text = {} }
        table.insert(section.blocks, block)
      else
        table.insert(section.lines, line)
      end
    end
  end
  return sections
end

local function validator(name)
  local ok, check = pcall(require, "validators." .. name)
  if not ok and not check:find "not found" and not check:find "no module" then
    error(check, 0)
  end
  return ok and check or function() end
end

local function check_request(section, from, to, options)
  local ok, text, told = pcall(world.request, from.dialect, to and to.dialect or section.target, from.text, options)
  if section.refused then
    t.ok(not ok, "was not refused, but written: " .. tostring(text))
    t.ok(type(text) == "table", tostring(text))
    t.eq({ text.refused }, section.refused)
    return
  elseif not ok then
    error(type(text) == "table" and "refused: " .. tostring(text.refused) .. " " .. tostring(text.message) or text, 0)
  end
  t.eq(world.decode(text), world.decode(to.text))
  t.eq(json.array(told), json.array(section.told or {}), "told")
  if not section.raw then
    validator(to.dialect .. "_request")(world.decode(text), options)
  end
end

local function check_answer(from, to, options)
  local text = world.answer(from.dialect, to.dialect, from.text, options)
  t.eq(world.decode(text), world.decode(to.text))
  validator(to.dialect .. "_answer")(world.decode(text), "answer")
end

local function check_stream(from, to, options)
  local deltas = {}
  for line in from.text:gmatch "[^\n]+" do
    table.insert(deltas, world.decode(line))
  end
  local text = machine(from.dialect, to.dialect, deltas, options)
  validator(to.dialect .. "_stream")(text, options)
  if text ~= to.text .. "\n\n" and text ~= to.text .. "\n" then
    error("\n  got\n" .. text .. "\n  want\n" .. to.text, 0)
  end
end

local function check(section)
  local options = read_options(section)
  local from, to = section.blocks[1], section.blocks[2]
  for _, line in ipairs(section.lines) do
    section.target = section.target or line:match "^To: `([%w_]+)`$"
    section.raw = section.raw or line == "Not OpenAI's own format."
  end
  if from.kind == "deltas" then
    check_stream(from, to, options)
  elseif from.what == "answer" then
    check_answer(from, to, options)
  else
    check_request(section, from, to, options)
  end
end

--- Declares a test for each section.
function pages.declare(name, text)
  for _, section in ipairs(read_page(text)) do
    t.test(name .. ": " .. section.name, function()
      check(section)
    end)
  end
end

return pages
