--- validate.lua - holds what stands on its input to a vendor's format: `luajit tests/lua/validate.lua anthropic_stream`.
--- Names are files of tests/lua/validators; a second word `no-usage` says that the client asked for none.
package.path = "tests/lua/?.lua;lua/?.lua;" .. package.path
local json = require "support.moongate"

local name, option = arg[1], arg[2]
local text = io.read "*a"
local ok, why
if name:find "_stream$" then
  ok, why = pcall(require("validators." .. name), text, { include_usage = option ~= "no-usage" })
else
  ok, why = pcall(require("validators." .. name), json.decode(text), "document")
end
if not ok then
  io.stderr:write(tostring(why), "\n", text, "\n")
  os.exit(1)
end
