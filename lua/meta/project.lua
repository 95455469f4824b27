---@meta moongate.project

--- The words of configuration files. They give references: what stands behind them is read by the gateway, never by Lua.

---@class moongate.Reference

--- The value of an environment variable of the gateway's process.
---@param name string
---@return moongate.Reference
function env(name) end

--- A secret by its name.
---@param name string
---@return moongate.Reference
function secret(name) end

--- A function in a file of its own, which returns it: `route = file "policies/route.lua"`. Relative to this file.
---@param path string
---@return moongate.Reference
function file(path) end
