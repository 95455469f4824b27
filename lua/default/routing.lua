--- routing.lua - the default routing policy: which targets a request tries, in which order.
---
--- It runs when the project has no `route` of its own or that one returned nil. To change it, copy this file to
--- `projects/policies/route.lua` and write `route = file "policies/route.lua"` into the project or a workflow.
---
---   * The arms of the workflow are tried in the order they are written.
---   * As soon as an arm has a weight other than 1, traffic is shared instead: the first target is drawn by weight, and
---     so is each fallback, among those that have not failed yet. An arm with weight 0 is never drawn, only fallen back to.
---   * While another target is left, a failure moves on at once. The last one is tried up to three times, with backoff.
---
--- The plan depends on nothing but the workflow, so the core may use it again for a while without asking.

local MAX_ENTRIES = 8  -- of a plan
local LAST_TRIES = 3
local CACHE_MS = 1000

---@param candidates moongate.Candidate[]
---@return boolean  true when somebody gave the arms weights
local function has_weights(candidates)
  for _, candidate in ipairs(candidates) do
    if candidate.weight ~= 1 then
      return true
    end
  end
  return false
end

--- One entry for each arm, in order.
local function in_order(candidates)
  local attempts = {}
  for i = 1, math.min(#candidates, MAX_ENTRIES) do
    attempts[i] = { target = candidates[i].id }
  end
  return attempts
end

--- One draw for each arm that has a weight, then the arms that have none. The core never draws a target twice while
--- another is left, so the same group can stand there several times.
local function by_weight(candidates)
  local group, rest = {}, {}
  for _, candidate in ipairs(candidates) do
    if candidate.weight > 0 then
      group[#group + 1] = { target = candidate.id, weight = candidate.weight }
    else
      rest[#rest + 1] = { target = candidate.id }
    end
  end

  local attempts = {}
  for _ = 1, math.min(#group, MAX_ENTRIES - math.min(#rest, MAX_ENTRIES - 1)) do
    attempts[#attempts + 1] = { pick = "weighted", of = group }
  end
  for _, entry in ipairs(rest) do
    if #attempts < MAX_ENTRIES then
      attempts[#attempts + 1] = entry
    end
  end
  return attempts
end

---@param req moongate.Request
---@param candidates moongate.Candidate[]
---@return moongate.Plan
return function(req, candidates)
  local weighted = #candidates > 1 and has_weights(candidates)
  local attempts = weighted and by_weight(candidates) or in_order(candidates)
  attempts[#attempts].tries = LAST_TRIES
  return {
    attempts = attempts,
    cache = { key = "default:" .. req.workflow, ttl_ms = CACHE_MS },
    explain = weighted and "default policy: drawn by weight" or "default policy: in order",
  }
end
