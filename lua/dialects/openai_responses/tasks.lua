--- tasks.lua - what is asked besides a response: how many tokens its input has.
local dialect = require "moongate.dialect"
local read = require "dialects.openai_responses.read"
local write = require "dialects.openai_responses.write"

local COUNTED = { "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation" }

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
      return { object = "response.input_tokens", input_tokens = answer.tokens }
    end,
  },
}
