--- house-rules: puts a sentence of the house in front of every conversation.
---
--- One splice in the body; the other messages keep their bytes, and with the same rules the same prefix, so that
--- prompt caches stay warm.

---@class house_rules : moongate.Plugin
---@field rules string
local M = {}
M.__index = M

---@param config { rules: string }
function M.new(config)
  return setmetatable({ rules = config.rules }, M)
end

---@param req moongate.Request
function M:on_request(req)
  req.messages:insert(1, { role = "system", text = self.rules })
end

return M
