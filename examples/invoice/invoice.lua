--- What each customer owes: our cost and a margin, the first tokens of the month free, less for who uses much.
---
--- Money is counted in picodollars, as events have it: whole numbers, so nothing is lost in adding up. A Lua number
--- holds them exactly up to 9,007 dollars a customer, and to sixteen digits beyond.
local DOLLAR = 1000000000000

local RATES = { -- on top of what the provider takes
  default = { margin = 1.20, free_tokens = 100000 },
  acme = { margin = 1.10, free_tokens = 0 }, -- by contract
}

local VOLUME = { -- the part of a bill above so many dollars is cheaper
  { above = 0, factor = 1 },
  { above = 100, factor = 0.9 },
  { above = 1000, factor = 0.8 },
}

local customers = {}

local function customer_of(event)
  local name = event.metadata and event.metadata.customer or "nobody"
  customers[name] = customers[name] or { name = name, requests = 0, tokens = 0, free = 0, cost = 0, unpriced = 0 }
  return customers[name]
end

--- The part of an event that its customer's free tokens do not cover.
local function paid_share(customer, tokens, rate)
  local free = math.max(0, math.min(tokens, rate.free_tokens - customer.free))
  customer.free = customer.free + free
  return tokens > 0 and (tokens - free) / tokens or 0
end

local function event(e)
  if not e.charged then
    return
  end
  local customer = customer_of(e)
  local rate, tokens = RATES[customer.name] or RATES.default, e.input_tokens + e.output_tokens
  customer.requests, customer.tokens = customer.requests + 1, customer.tokens + tokens
  if not e.cost_picousd then -- nobody knows what it costs: say so instead of giving it away unseen
    customer.unpriced = customer.unpriced + 1
    return
  end
  customer.cost = customer.cost + e.cost_picousd * paid_share(customer, tokens, rate) * rate.margin
end

local function discounted(amount)
  local sum = 0
  for i, step in ipairs(VOLUME) do
    local from, to = step.above * DOLLAR, VOLUME[i + 1] and VOLUME[i + 1].above * DOLLAR or math.huge
    sum = sum + math.max(0, math.min(amount, to) - from) * step.factor
  end
  return sum
end

local function invoice()
  local names, lines = {}, {}
  for name in pairs(customers) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local c = customers[name]
    lines[#lines + 1] = string.format("%-12s %6d requests %9d tokens %9d free  $ %.6f%s\n", name, c.requests, c.tokens, c.free,
      discounted(c.cost) / DOLLAR, c.unpriced > 0 and string.format("  and %d without a price", c.unpriced) or "")
  end
  return table.concat(lines)
end

return { event = event, invoice = invoice }
