--- models.lua - what models of Anthropic refuse; the catalogue of models comes first, and with a name nobody knows everything
--- is tried. What the configuration says of a target comes before both.
local find = string.find

--- name, then what the model refuses: sampling parameters, forced tool choice, a budget of reasoning, no reasoning,
--- adaptive reasoning (it has budgets only), reasoning at all, an assistant's turn as the beginning of the answer; and
--- the most it writes, where that is little.
local MODELS = {
  { "sonnet%-5%-5", "sampling forced budget off prefill" }, { "opus%-5%-5", "sampling forced budget off prefill" },
  { "haiku%-5%-5", "sampling budget prefill" },
  { "fable%-5%-[12]", "sampling forced budget off prefill" }, { "fable%-5", "sampling budget off prefill" },
  { "opus%-5", "sampling prefill" }, { "sonnet%-5", "sampling prefill" },
  { "opus%-4%-[78]", "sampling prefill" }, { "opus%-4%-6", "prefill" }, { "sonnet%-4%-6", "prefill" },
  { "[osh]%a+%-4", "adaptive" }, { "claude%-3%-7", "adaptive" },
  { "claude%-3%-5", "adaptive reasoning", 8192 }, { "claude%-[123i]", "adaptive reasoning", 4096 },
}
local NOTHING = {}
local MOST = 256 -- names of models may be a client's
local refusals, count = {}, 0 -- by model, or by what the catalogue says, made once each

local function set_of(words, most)
  local out = { most = most }
  for word in words:gmatch "%a+" do
    out[word] = true
  end
  return out
end

local function known_refusals(model, catalogue)
  if catalogue then
    return set_of(catalogue)
  end
  model = model:gsub("%.", "-") -- some hosts write 4.6
  for _, row in ipairs(MODELS) do
    if find(model, row[1]) then
      return set_of(row[2], row[3])
    end
  end
  return NOTHING
end

local function refusals_of(ctx)
  local catalogue = ctx.caps and ctx.caps.refuses
  local model = catalogue or ctx.model or ""
  local known = refusals[model]
  if not known then
    if count == MOST then
      refusals, count = {}, 0
    end
    known = known_refusals(model, catalogue)
    refusals[model], count = known, count + 1
  end
  return known
end


return refusals_of
