--- taxonomy.lua - the default failure taxonomy: what kind of failure an attempt was, and what to do about it.
---
--- It runs for every attempt that did not end well, when the project has no `classify` of its own or that one returned
--- nil. To change it, copy this file to `projects/policies/classify.lua` and write
--- `classify = file "policies/classify.lua"` into the project or a workflow.
---
--- `att.hint` is the class that the core and the adapter's rules (status, type, code, text) propose: it is right unless
--- something below knows better. The table is the whole of the rest, but for what two facts together mean.
---
---   blame     whose fault it is. Only a provider's faults count for its breaker; an account's bench the key; a
---             client's own are told to the client, because every other target would refuse them too
---   action    retry      the same target again if the plan gives it more tries, else the next one
---             next_key   the same target with another key of the account, else as retry after the provider's reset,
---                        else the next target
---             fallback   the next target
---             fail       nothing more is tried
---             accept     the answer stands
---   weight    how much of a failure the breaker counts
---   delay_ms  the least pause before the same target; the plan's backoff and the provider's Retry-After hold on top
---   status    what the client sees when this is the last word; of a client's own fault it is the provider's
---
--- The core knows the last three of each class by itself. A verdict overrules them: `penalise = { weight = 0.2 }`,
--- `delay_ms = 500`, `client = { status = 503 }`.
local CLASSES = {
  --                      blame       action   weight delay_ms status
  none =              { "nobody",   "accept",   0,      0, 200 },
  -- the connection or the machine behind it: worth another try
  network =           { "provider", "retry",    1,     50, 502 },
  timeout_connect =   { "provider", "retry",    1,     50, 504 },
  -- slow: trying the same again would cost the same time again
  timeout_ttft =      { "provider", "fallback", 1,      0, 504 },
  timeout_idle =      { "provider", "fallback", 1,      0, 504 },
  timeout_total =     { "provider", "fallback", 0.5,    0, 504 },
  -- our account there: another key may do, or another account
  rate_limited =      { "account",  "next_key", 0,   1000, 429 },
  quota_billing =     { "account",  "next_key", 0,      0, 429 },
  auth =              { "account",  "next_key", 0,      0, 502 },
  permission =        { "account",  "next_key", 0,      0, 502 },
  model_not_found =   { "account",  "fallback", 0,      0, 404 },
  -- the provider cannot, or is broken
  overloaded =        { "provider", "retry",    1,   1000, 503 },
  server_error =      { "provider", "retry",    1,    250, 502 },
  -- the request itself
  invalid_request =   { "client",   "fail",     0,      0, 400 },
  context_length =    { "client",   "fallback", 0,      0, 400 }, -- only to a larger window
  payload_too_large = { "client",   "fallback", 0,      0, 413 }, -- only to a larger window
  content_filter =    { "client",   "fail",     0,      0, 400 },
  state_lost =        { "client",   "fail",     0,      0, 404 },
  -- the model declined, and said so: that is an answer
  refusal =           { "client",   "accept",   0,      0, 200 },
  -- the answer was no answer
  empty_response =    { "provider", "retry",    0.5,    0, 502 },
  truncated_stream =  { "provider", "retry",    1,      0, 502 },
  invalid_json =      { "provider", "retry",    0.5,    0, 502 },
  schema_mismatch =   { "nobody",   "retry",    0,      0, 502 },
  conflict =          { "nobody",   "retry",    0,    100, 409 },
  cancelled =         { "nobody",   "fail",     0,      0, 499 },
}
local BLAME, ACTION, WEIGHT, DELAY_MS, STATUS = 1, 2, 3, 4, 5

--- Worth one more try, not two: what went wrong twice is the request and the model together, or a dead address.
local ONCE = { timeout_connect = true, empty_response = true, invalid_json = true, schema_mismatch = true }

--- A provider that asks for a longer pause is left alone instead.
local MAX_PAUSE_MS = 60000

--- Models that think before the first word: late is not yet broken.
local THINKERS = { "^o%d", "^gpt%-[5-9]", "reason", "think", "%-r1" }

---@param model string?
local function thinks(model)
  local name = (model or ""):lower():match("[^/]*$")
  for _, pattern in ipairs(THINKERS) do
    if name:find(pattern) then
      return true
    end
  end
  return false
end

--- What the adapter's rules cannot say in one row: what a header or two facts together mean.
---@param att moongate.Attempt
---@return string class
local function class_of(att)
  -- Vendors answer 429 for a day's spent budget too: then no request is left, and the reset is far.
  local used_up = att.hint == "rate_limited" and att.headers["x-ratelimit-remaining-requests"] == "0"
  if used_up and (att.retry_after_ms or 0) > MAX_PAUSE_MS then
    return "quota_billing"
  end
  return att.hint
end

--- Too long for this target. Another window may be larger; another account may have a larger limit per minute.
---@param att moongate.Attempt
local function where_it_fits(att)
  local per_minute = att.status == 429 or att.error.code == "rate_limit_exceeded"
  return (per_minute or att.larger_window_left) and "fallback" or "fail"
end

---@param att moongate.Attempt
---@param class string
---@return string action
local function action_of(att, class)
  local row = CLASSES[class]
  local action = row[ACTION]
  if class == "context_length" or class == "payload_too_large" then
    return where_it_fits(att)
  end
  if class == "content_filter" and att.status == 200 and not att.in_stream then
    return "accept" -- cut by the provider's policy, and marked as such: the client's to judge
  end

  -- The vendor's own word on whether to come back wins over the table, for faults that are its own.
  local should_retry = att.headers["x-should-retry"]
  local enough = should_retry == "false" or (att.retry_after_ms or 0) > MAX_PAUSE_MS or (ONCE[class] and att.try > 1)
  if action == "retry" and enough then
    return "fallback"
  end
  if action == "fallback" and should_retry == "true" and row[BLAME] == "provider" then
    return "retry"
  end
  return action
end

---@param att moongate.Attempt
---@return moongate.Verdict
return function(att)
  local class = class_of(att)
  if att.repair then -- the provider named a field that it does not take: once more without it
    return { class = class, action = "retry", repair = att.repair }
  end
  local row = CLASSES[class]
  local verdict = { class = class, action = action_of(att, class), delay_ms = row[DELAY_MS] }
  if class == "timeout_ttft" and thinks(att.model) then
    verdict.penalise = { weight = row[WEIGHT] / 2 }
  end
  if row[BLAME] == "client" and (att.status == 429 or (att.status or 0) >= 500) then
    -- a status that says "try again" for what no repetition helps
    verdict.client = { status = row[STATUS], message = att.error.message }
  end
  return verdict
end
