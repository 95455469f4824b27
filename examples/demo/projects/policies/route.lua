--- The routing policy of the demo project: returns the plan, an ordered list of attempts.
---
--- Try it: set PREFER to "backup", save, ask again. The new order holds from the next request on, and `moongate trace`
--- shows the words of `explain` beside it.
local PREFER = "primary"

--- Requests with metadata { tier = "cheap" } never see the large model.
local CHEAP = "backup"

return function(req, candidates)
  local first = PREFER
  if req.metadata.tier == "cheap" then
    first = CHEAP
  end

  local attempts = {}
  for _, candidate in ipairs(candidates) do
    local place = candidate.provider == first and 1 or #attempts + 1
    table.insert(attempts, place, { target = candidate.id })
  end
  return { attempts = attempts, explain = first .. " first" }
end
