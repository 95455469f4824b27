--- tasks.lua - what is asked of Bedrock besides a conversation: how many tokens one has.
local dialect = require "moongate.dialect"
local write = require "dialects.bedrock.write"

local COUNTED = { "messages", "system", "toolConfig", "additionalModelRequestFields" }

local function write_request(chat, ctx)
  return { input = { converse = dialect.only(write(chat, ctx), COUNTED) } }
end

return {
  count = {
    write_request = write_request,
    read_answer = function(body)
      return { tokens = body.inputTokens }
    end,
  },
}
