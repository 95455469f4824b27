--- tasks.lua - what is asked of Bedrock besides a conversation: how many tokens one has.
local write = require "dialects.bedrock.write"

local COUNTED = { "messages", "system", "toolConfig", "additionalModelRequestFields" }

local function write_request(chat, ctx)
  local body, counted = write(chat, ctx), {}
  for _, name in ipairs(COUNTED) do
    counted[name] = body[name]
  end
  return { input = { converse = counted } }
end

return {
  count = {
    write_request = write_request,
    read_answer = function(body)
      return { tokens = body.inputTokens }
    end,
  },
}
