--- taxonomy.lua - the default failure taxonomy: what kind of failure an attempt was, and what to do about it.
---
--- It runs for every attempt that did not end well, when the project has no `classify` of its own or that one returned
--- nil. To change it, copy this file to `projects/policies/classify.lua` and write `classify = file "policies/classify.lua"`
--- into the project or a workflow.
---
--- Provider faults move on to another target; the client's own faults are told to the client, because every other
--- target would refuse them too. `att.hint` is the class that the core and the adapter's rules (status, type, code, text)
--- propose: it is right unless something below knows better.
---
---   retry     the same target again if the plan gives it more tries, else the next one
---   fallback  the next target
---   fail      nothing more is tried
---   accept    the answer stands

local ACTIONS = {
  -- the connection or the machine behind it: worth another try
  network = "retry", timeout_connect = "retry", overloaded = "retry", server_error = "retry", rate_limited = "retry",
  conflict = "retry",
  -- the answer was no answer
  empty_response = "retry", truncated_stream = "retry", invalid_json = "retry", schema_mismatch = "retry",
  -- slow: trying the same again would cost the same time again
  timeout_ttft = "fallback", timeout_idle = "fallback", timeout_total = "fallback",
  -- our account there: another one may do
  quota_billing = "fallback", auth = "fallback", permission = "fallback", model_not_found = "fallback",
  -- the request itself
  invalid_request = "fail", context_length = "fail", payload_too_large = "fail", content_filter = "fail", state_lost = "fail",
  cancelled = "fail",
  -- the model declined, and said so: that is an answer
  refusal = "accept",
}

--- A provider that asks for a longer pause is left alone instead.
local MAX_PAUSE_MS = 60000

--- What the rules cannot say in one row: what a header or two facts together mean.
---@param att moongate.Attempt
---@return string class
local function class_of(att)
  local class = att.hint
  if att.timeout then
    return class
  end
  -- Vendors answer 429 for a spent budget too. Those answers name no time at which to come back.
  if class == "rate_limited" and att.headers["x-ratelimit-remaining-requests"] == "0" and (att.retry_after_ms or 0) > MAX_PAUSE_MS then
    return "quota_billing"
  end
  return class
end

---@param att moongate.Attempt
---@return moongate.Verdict
return function(att)
  local class = class_of(att)
  local action = ACTIONS[class] or "fallback"
  local pause_ms = att.retry_after_ms or 0

  -- The vendor's own word on whether to come back wins over the table, for faults that are not the client's.
  local should_retry = att.headers["x-should-retry"]
  if should_retry == "false" and action == "retry" then
    action = "fallback"
  end
  if action == "retry" and pause_ms > MAX_PAUSE_MS then
    action, pause_ms = "fallback", 0
  end
  return { class = class, action = action, delay_ms = action == "retry" and pause_ms or 0 }
end
