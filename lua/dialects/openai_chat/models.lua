--- models.lua - what models of OpenAI refuse, for names that the catalogue of models does not know. What it says, or the
--- project does, comes first.
local ALWAYS, REASONED = "sampling penalties logprobs", "sampling penalties logprobs reasoned"

--- From 5.1 on reasoning can be switched off, and then everything is taken.
local function by_name(model)
  local major, minor = model:match "gpt%-(%d+)%.?(%d*)"
  local generation = tonumber(major) and tonumber(major) + (tonumber(minor) or 0) / 10
  if generation and generation >= 5 and not model:find("chat", 1, true) then
    return (generation == 5 or model:find("-pro", 1, true)) and ALWAYS or REASONED
  end
  return (model:find "^o%d" or model:find "/o%d") and ALWAYS or nil
end

--- The words, or nil: nothing is known.
return function(ctx)
  return not (ctx.caps and ctx.caps.refuses) and by_name(ctx.model or "") or nil
end
