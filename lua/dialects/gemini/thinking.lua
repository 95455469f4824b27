--- thinking.lua - how much Gemini models think: levels since the third generation, budgets of tokens before.
local dialect = require "moongate.dialect"

local thinking = {}

local LEVELS = { none = "MINIMAL", minimal = "MINIMAL", low = "LOW", medium = "MEDIUM", high = "HIGH", xhigh = "HIGH", max = "HIGH" }
local PRO_LEVELS = { none = "LOW", minimal = "LOW" }
local BUDGETS = { none = 0, minimal = 512, low = 1024, medium = 8192, high = 24576, xhigh = 32768, max = 32768 }

--- What a model's name says. What has no number is newer than what has one; Gemma is not Gemini.
function thinking.model(ctx)
  local name = ctx.model or ""
  local major, minor = name:match "gemini%-(%d+)%.?(%d*)"
  local generation = tonumber(major) and tonumber(major) + (tonumber(minor) or 0) / 10
  return {
    generation = generation or name:find("gemma", 1, true) and 2 or 3,
    pro = name:find("pro", 1, true) ~= nil, lite = name:find("lite", 1, true) ~= nil,
    vertex = (ctx.vendor or ""):find("vertex", 1, true) ~= nil,
  }
end

local function level_of(effort, model)
  if model.pro and PRO_LEVELS[effort] then
    return PRO_LEVELS[effort]
  elseif model.pro and effort == "medium" and model.generation < 3.1 then
    return "HIGH"
  end
  return LEVELS[effort] or effort:upper()
end

--- Within what the model takes: Pro cannot stop thinking.
local function budget_of(wanted, model)
  local budget = wanted.budget or BUDGETS[wanted.effort]
  if not budget then
    return wanted.adaptive and -1 or nil
  end
  local least = model.pro and 128 or budget > 0 and model.lite and 512 or 0
  return math.max(least, math.min(budget, model.pro and 32768 or 24576))
end

local function thinks(model, ctx)
  if ctx.caps and ctx.caps.reasoning ~= nil then
    return ctx.caps.reasoning
  end
  return model.generation >= 2.5
end

--- The thinkingConfig that comes nearest to what the client asked for, or nil.
function thinking.config(chat, model, ctx)
  local wanted = chat.reasoning
  if not wanted or not (wanted.effort or wanted.budget or wanted.adaptive or wanted.visible) then
    return
  elseif not thinks(model, ctx) then
    if wanted.effort ~= "none" then
      ctx.drop(dialect.spelt(chat, "reasoning"))
    end
    return
  end
  local config = { includeThoughts = wanted.visible }
  if model.generation >= 3 then
    local effort = wanted.effort or wanted.budget and dialect.effort(wanted.budget)
    config.thinkingLevel = effort and level_of(effort, model)
    if effort and not wanted.effort then
      ctx.warn(dialect.spelt(chat, "reasoning") .. "=" .. config.thinkingLevel)
    end
  else
    config.thinkingBudget = budget_of(wanted, model)
  end
  return next(config) and config or nil
end

return thinking
