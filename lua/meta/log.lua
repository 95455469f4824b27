---@meta moongate.log

--- Lines in the gateway's log, with project, instance and request; above debug also in the request's timeline. An instance
--- has 50 a second, the rest is dropped. `print` is `log.info`.
---@class moongate.log
local log = {}

--- Phases: anywhere
--- Since: 1
---@param message string
---@param fields? table  written as JSON
function log.debug(message, fields) end

--- Phases: anywhere
--- Since: 1
---@param message string
---@param fields? table
function log.info(message, fields) end

--- Phases: anywhere
--- Since: 1
---@param message string
---@param fields? table
function log.warn(message, fields) end

--- Phases: anywhere
--- Since: 1
---@param message string
---@param fields? table
function log.error(message, fields) end

return log
