--- world.lua - one translated call, as the core would make it: what is told to the client, refused, written.
local json = require "moongate.json"
local t = require "t"
local world = {}

world.dialects = {}

--- A dialect by name.
function world.dialect(name)
  world.dialects[name] = world.dialects[name] or require("dialects." .. name)
  return world.dialects[name]
end

--- What the client is told comes in order: "seed", "temperature=1".
function world.ctx(options)
  local ctx = {}
  for name, value in pairs(options or {}) do
    ctx[name] = value
  end
  ctx.id, ctx.created, ctx.told = ctx.id or "01", ctx.created or 1795392000, {}
  function ctx.drop(field)
    ctx.told[#ctx.told + 1] = field
  end
  ctx.warn = ctx.drop
  function ctx.refuse(param, message, always)
    if ctx.lenient and not always then
      return ctx.drop(param)
    end
    error({ refused = param, message = message }, 0)
  end
  return ctx
end

local MODELS = { openai_chat = "gpt-4o", anthropic = "claude-opus-4-6", openai_responses = "gpt-4o", gemini = "gemini-2.5-pro",
  bedrock = "amazon.nova-pro-v1:0", cohere = "command-a-03-2025" }

--- With `raw` as dialects get their documents, without as everybody else does.
function world.decode(text, raw)
  local decode = raw and t.decode or json.decode
  local value, err = decode(text, raw)
  if value == nil then
    error("not JSON: " .. err.message .. "\n" .. text, 2)
  end
  return value
end

--- A request of `from` as the provider of `to` gets it, as text; what the client is told; the memo. Raises
--- { refused, message }.
function world.request(from, to, text, options)
  local reader, writer = world.dialect(from), world.dialect(to)
  local ctx = world.ctx(options)
  ctx.client, ctx.provider, ctx.vendor, ctx.model = from, to, ctx.vendor or to, ctx.model or MODELS[to]
  local chat = reader.read_request(world.decode(text, reader.raw.request), ctx)
  local body, memo = writer.write_request(chat, ctx)
  return json.encode(body), ctx.told, memo, chat
end

--- An answer of the provider `from` as the client of `to` gets it.
function world.answer(from, to, text, options)
  local reader, writer = world.dialect(from), world.dialect(to)
  local ctx = world.ctx(options)
  ctx.client, ctx.provider, ctx.vendor, ctx.model = to, from, ctx.vendor or from, ctx.model or MODELS[from]
  local answer = reader.read_answer(world.decode(text, reader.raw.answer), ctx)
  return json.encode(writer.write_answer(answer, ctx)), answer
end

return world
