--- routing.lua - the default routing policy: which targets a request tries, in which order.
---
--- It runs when the project has no `route` of its own or that one returned nil. To change it, copy this file to
--- `projects/policies/route.lua` and write `route = file "policies/route.lua"` into the project or a workflow.
---
---   * The workflow's `balance` says how the first target is chosen, and each fallback among those that have not failed
---     yet. `auto` goes in the order of the file until an arm has a weight other than 1; then it draws by weight.
---   * An arm with weight 0 is never drawn, only fallen back to.
---   * While another target is left, a failure moves on at once: that costs nothing, works when the target is down and not
---     only when it stumbled, and with four attempts reaches four targets. The last one has nobody behind it and is tried
---     up to three times, with backoff. (A pooled connection that turns out to be dead is replaced before that counts.)
---   * Targets that are left alone (open breaker, no usable key) are skipped by the core and cost no attempt.
---
--- The plan depends on nothing but the workflow, so the core may use it again for a while without asking. What it picks by
--- figures of the moment it picks anew for each request.

local MAX_ENTRIES = 8   -- of a plan
local MAX_CHOICES = 16  -- of a group
local LAST_TRIES = 3
local CACHE_MS = 1000

local PICKS = { weighted = "weighted", least_inflight = "least_inflight", p2c = "p2c", sticky = "hash", cheapest = "cheapest" }
local WORDS = {
  weighted = "drawn by weight", least_inflight = "the least busy", p2c = "the faster of two", sticky = "by session",
  cheapest = "the cheapest",
}

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
local function in_groups(candidates, pick, bound_ms)
  local group, rest = {}, {}
  for _, candidate in ipairs(candidates) do
    if candidate.weight > 0 and #group < MAX_CHOICES then
      group[#group + 1] = { target = candidate.id, weight = candidate.weight }
    else
      rest[#rest + 1] = { target = candidate.id }
    end
  end

  local attempts = {}
  for _ = 1, math.min(#group, MAX_ENTRIES - math.min(#rest, MAX_ENTRIES - 1)) do
    attempts[#attempts + 1] = { pick = pick, of = group, latency_bound_ms = bound_ms }
  end
  for _, entry in ipairs(rest) do
    if #attempts < MAX_ENTRIES then
      attempts[#attempts + 1] = entry
    end
  end
  return attempts
end

--- How to choose: a key of PICKS, or nil for the order of the file.
local function rule_of(candidates, flow)
  local balance = flow and flow.balance or "auto"
  if #candidates == 1 or balance == "order" then
    return nil
  elseif balance == "auto" then
    return has_weights(candidates) and "weighted" or nil
  end
  return balance
end

---@param req moongate.Request
---@param candidates moongate.Candidate[]
---@param flow moongate.Flow
---@return moongate.Plan
return function(req, candidates, flow)
  local rule = rule_of(candidates, flow)
  local bound_ms = rule == "cheapest" and flow.latency_bound_ms or nil
  local attempts = rule and in_groups(candidates, PICKS[rule], bound_ms) or in_order(candidates)
  attempts[#attempts].tries = LAST_TRIES
  local hedge_ms = flow and flow.hedge_after_ms
  for i = 1, hedge_ms and #attempts - 1 or 0 do
    attempts[i].hedge_after_ms = hedge_ms
  end
  return {
    attempts = attempts,
    budget = hedge_ms and { max_hedges = flow.max_hedges } or nil,
    cache = { key = "default:" .. req.workflow, ttl_ms = CACHE_MS },
    explain = "default policy: " .. (rule and WORDS[rule] or "in order"),
  }
end
