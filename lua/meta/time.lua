---@meta moongate.time

--- Clocks, dates in UTC, and waiting.
---@class moongate.time
local time = {}

--- Milliseconds since 1970.
---
--- Phases: anywhere but load
--- Since: 1
---@return number
function time.now_ms() end

--- A clock that never goes back, for measuring; its zero means nothing.
---
--- Phases: anywhere but load
--- Since: 1
---@return number
function time.mono_ms() end

--- Waits, while everything else goes on.
---
--- Phases: on_request, on_response; waits
--- Since: 1
---@param ms integer  at most 60000; the hook itself has 2000
function time.sleep(ms) end

--- Phases: anywhere
--- Since: 1
---@param text string  RFC 3339
---@return number? ms  since 1970
---@return moongate.Error? err  `invalid_time`
function time.parse(text) end

--- Phases: anywhere
--- Since: 1
---@param ms number  since 1970
---@return string text  RFC 3339 in UTC
function time.format(ms) end

--- When "minute hour day month weekday" (or `@daily` and the like) is due next, in UTC.
---
--- Phases: anywhere
--- Since: 1
---@param expression string
---@param after_ms? number  now when omitted (not at the top of a file)
---@return number? ms
---@return moongate.Error? err  `never`: not within nine years
function time.cron_next(expression, after_ms) end

return time
