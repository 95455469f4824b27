--- run.lua - runs the tests of lua/ under luajit: `luajit tests/lua/run.lua [words of a test's name]`.
---
--- Quick, and without a build; what stands in for the core is in support/. unit.script.dialects runs them in the real one.
package.path = "tests/lua/?.lua;lua/?.lua;" .. package.path
local json = require "support.moongate"
local t = require "t"

local host = { decode = json.decode }

function host.say(text)
  io.stderr:write(text)
end

function host.read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

function host.traceback(text)
  return debug.traceback(text, 2)
end

t.start(json, host, arg[1])
for _, name in ipairs(require "files") do
  require(name)
end
print(("%d tests, %d failed"):format(t.count, t.failed))
os.exit(t.failed == 0 and 0 or 1)
