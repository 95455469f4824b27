--- run.lua - runs the tests of lua/ under luajit: `luajit tests/lua/run.lua [words of a test's name]`.
package.path = "tests/lua/?.lua;lua/?.lua;" .. package.path
local json = require "support.moongate"
local t = require "t"

function read_file(path) -- luacheck: ignore
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

t.start(json, arg[1])
for _, name in ipairs(require "files") do
  require(name)
end
print(("%d tests, %d failed"):format(t.count, t.failed))
os.exit(t.failed == 0 and 0 or 1)
