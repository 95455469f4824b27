--- invoicing: what each customer owes for a period.
---
--- It is given the usage events of a period, oldest first, and makes an invoice of those the project pays for (`charge`). The
--- same events and settings give the same invoice: there is no clock and no chance in it.
---
--- Money is counted in picodollars, which is what events have: as whole microdollars and a rest, so that no addition is
--- rounded. What is free, and a discount, is rounded once for each event or invoice, to a picodollar.
local MICRO, MILLION = 1000000, 1000000
local floor, max, min = math.floor, math.max, math.min

---@class invoicing : moongate.Plugin
local M = {}
M.__index = M

--- A sum of money: micro × 10⁻⁶ + pico × 10⁻¹² dollars.
local function add(sum, picousd)
  local whole = floor(picousd / MICRO)
  sum.micro, sum.pico = sum.micro + whole, sum.pico + (picousd - whole * MICRO)
  if sum.pico >= MICRO then
    sum.micro, sum.pico = sum.micro + 1, sum.pico - MICRO
  end
end

local function usd(sum)
  return string.format("%d.%06d%06d", floor(sum.micro / MICRO), sum.micro % MICRO, sum.pico)
end

local function merged(rates, default)
  local out = {}
  for _, name in ipairs { "margin_percent", "free_tokens", "input_usd", "output_usd" } do
    out[name] = rates and rates[name]
    if out[name] == nil and default then
      out[name] = default[name]
    end
  end
  return out
end

local function check_volume(steps)
  local before = -1
  for _, step in ipairs(steps) do
    if step.above_usd <= before then
      return nil, "volume: the steps must grow"
    end
    before = step.above_usd
  end
  return true
end

function M.validate(config)
  return check_volume(config.volume or {})
end

function M.new(config)
  return setmetatable({ config = config, customers = {}, rates = {} }, M)
end

function M:rates_of(name)
  local rates = self.rates[name]
  if not rates then
    rates = merged((self.config.customers or {})[name], self.config.default)
    self.rates[name] = rates
  end
  return rates
end

function M:customer_of(event)
  local name = event.metadata and event.metadata[self.config.customer]
  name = (name == nil or name == moongate.json.null) and "nobody" or type(name) == "table" and "nobody" or tostring(name)
  local customer = self.customers[name]
  if not customer then
    customer = { name = name, attempts = 0, input = 0, output = 0, free = 0, unpriced = 0, estimated = 0, sum = { micro = 0, pico = 0 } }
    self.customers[name] = customer
  end
  return customer
end

--- What an event costs its customer before what is free, in picodollars: by rates of the contract, which are microdollars for a
--- million tokens and so picodollars for one, or as the provider bills it, with the margin. nil: nobody knows.
local function price(event, rates)
  if rates.input_usd or rates.output_usd then
    return floor((rates.input_usd or 0) * MILLION + 0.5) * event.input_tokens + floor((rates.output_usd or 0) * MILLION + 0.5) * event.output_tokens
  end
  local cost = event.cost_picousd
  return cost and floor(cost * (100 + (rates.margin_percent or 0)) / 100 + 0.5)
end

--- How many of the event's tokens its customer has for nothing.
local function take_free(customer, tokens, rates)
  local free = max(0, min(tokens, (rates.free_tokens or 0) - customer.free))
  customer.free = customer.free + free
  return free
end

---@param event moongate.UsageEvent
function M:on_bill(event)
  if not event.charged then
    return
  end
  local customer = self:customer_of(event)
  local rates, tokens = self:rates_of(customer.name), event.input_tokens + event.output_tokens
  customer.attempts = customer.attempts + 1
  customer.input, customer.output = customer.input + event.input_tokens, customer.output + event.output_tokens
  customer.estimated = customer.estimated + (event.tokens == "estimated" and tokens or 0)
  if tokens == 0 then
    return
  end
  local amount = price(event, rates)
  if not amount then -- told, not given away unseen
    customer.unpriced = customer.unpriced + 1
    return
  end
  add(customer.sum, floor(amount * (tokens - take_free(customer, tokens, rates)) / tokens + 0.5))
end

--- The discount on a sum: of each part by its own step.
function M:discount(sum)
  local dollars, off = sum.micro / MICRO, { micro = 0, pico = 0 }
  local steps = self.config.volume or {}
  for i, step in ipairs(steps) do
    local top = steps[i + 1] and steps[i + 1].above_usd or math.huge
    local part = max(0, min(dollars, top) - step.above_usd)
    off.micro = off.micro + floor(part * MICRO * step.discount_percent / 100 + 0.5)
  end
  return off
end

local function less(sum, off)
  return { micro = sum.micro - off.micro, pico = sum.pico }
end

function M:lines()
  local out = {}
  for name, customer in pairs(self.customers) do
    local off = self:discount(customer.sum)
    out[#out + 1] = {
      customer = name, attempts = customer.attempts, input_tokens = customer.input, output_tokens = customer.output,
      free_tokens = customer.free, estimated_tokens = customer.estimated, unpriced = customer.unpriced,
      sum_usd = usd(customer.sum), discount_usd = usd(off), amount_usd = usd(less(customer.sum, off)),
    }
  end
  table.sort(out, function(a, b) return a.customer < b.customer end)
  return out
end

local COLUMNS = { "customer", "attempts", "input_tokens", "output_tokens", "free_tokens", "estimated_tokens", "unpriced", "sum_usd",
  "discount_usd", "amount_usd" }

local function cell(value)
  local text = tostring(value)
  return text:find('[,"\r\n]') and '"' .. text:gsub('"', '""') .. '"' or text
end

local formats = {}

function formats.json(lines)
  return moongate.json.encode { invoices = moongate.json.array(lines) } .. "\n"
end

function formats.csv(lines)
  local out = { table.concat(COLUMNS, ",") }
  for _, line in ipairs(lines) do
    local cells = {}
    for i, column in ipairs(COLUMNS) do
      cells[i] = cell(line[column])
    end
    out[#out + 1] = table.concat(cells, ",")
  end
  return table.concat(out, "\n") .. "\n"
end

function formats.text(lines)
  local out = {}
  for _, line in ipairs(lines) do
    local notes = line.unpriced > 0 and string.format("  and %d calls without a price", line.unpriced) or ""
    notes = notes .. (line.estimated_tokens > 0 and string.format("  %d tokens are estimates", line.estimated_tokens) or "")
    out[#out + 1] = string.format("%-20s %8d calls %12d tokens in %12d out %12d free  $ %s - %s = $ %s%s\n",
      (line.customer:gsub("%c", "?")), line.attempts, line.input_tokens, line.output_tokens, line.free_tokens, line.sum_usd, line.discount_usd,
      line.amount_usd, notes)
  end
  return table.concat(out)
end

function M:on_invoice()
  return formats[self.config.format](self:lines())
end

return M
