--- tasks.lua - what is asked of Anthropic besides a conversation: how many tokens one has.
local dialect = require "moongate.dialect"
local read = require "dialects.anthropic.read"
local write = require "dialects.anthropic.write"

-- of a request, what its count is about
local COUNTED = { "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "mcp_servers" }

local function write_request(chat, ctx)
  return dialect.only(write(chat, ctx), COUNTED)
end

return {
  count = {
    read_request = read.request,
    write_request = write_request,
    read_answer = function(body)
      return { tokens = body.input_tokens }
    end,
    write_answer = function(answer)
      return { input_tokens = answer.tokens }
    end,
  },
}
