---@meta moongate.stats

--- What the relay knows of the project's targets, over all workers of this process.
---@class moongate.stats
local stats = {}

---@class moongate.TargetStats
---@field ewma_ms number  time to the first token, averaged over the last calls; 0: none yet
---@field p50_ms number
---@field p95_ms number
---@field p99_ms number
---@field total_p99_ms number  of whole answers; 0: none ended well yet
---@field err_rate number  0 to 1
---@field inflight integer
---@field calls number  ended, since the process began
---@field failures number
---@field rate_limit_remaining number?  requests left, as the provider said last

--- A target nobody called yet has zeros.
---
--- Phases: hooks
--- Since: 1
--- Permission: stats
---@param id string  "provider/model"
---@return moongate.TargetStats
function stats.target(id) end

return stats
