--- project.lua - from the checked tables of a project file to the flat rows that C keeps, and what only the whole can
--- tell: names that must exist, names that must be unique, settings that exclude one another. Indices count from 0.
local check, schema, vendors = ...
local project = {}

local fail, at = check.fail, check.at

local HOOKS = { "on_request", "route", "on_attempt", "classify", "on_chunk", "on_response", "on_log" }
local TIMERS = { "connect", "first_token", "idle", "total" }
local FLOW_HOOKS = { "on_request", "route", "classify", "on_chunk", "on_response", "accept" }
local BUDGET, GATE = { "share", "burst" }, { "max", "adaptive", "queue", "queue_ms" }
local MAX_TARGETS = 256
local MICRO = 1000000 -- of a dollar

local function field(node, name)
  for _, entry in ipairs(node.fields) do
    if entry[1] == name then
      return entry
    end
  end
end

--- The declared default of a key of a record, such as field_default(workflow, "deadline_ms").
local function default(node, name)
  return field(node, name).default
end

local provider_node = field(schema.project, "providers")[2].of
local flow_node = field(schema.project, "workflows")[2].of
local gate_node = field(provider_node, "concurrency")[2]
local budget_node = field(schema.project, "retry_budget")[2]

local function line_of(ctx, place)
  return (ctx.where(check.keys(place)))
end

--- Each of the names from the first of the layers that has it; false in a layer ends the search.
local function layered(names, node, ...)
  local out = {}
  for _, name in ipairs(names) do
    for i = 1, select("#", ...) do
      local layer = select(i, ...)
      if layer == false then
        break
      elseif out[name] == nil and layer then
        out[name] = layer[name]
      end
    end
    if out[name] == nil then
      out[name] = default(node, name)
    end
  end
  return out
end

---- providers

local function tls_pair(ctx, place, tls)
  if (tls.cert == nil) ~= (tls.key == nil) then
    fail(ctx, place, 'give both "cert" and "key", or neither')
  end
end

--- -1 stands for the model's own pace.
local function sim_phases(ctx, model, place)
  for i, phase in ipairs(model.phases) do
    if model.loop and phase.for_ms == 0 and phase.for_calls == 0 then
      fail(ctx, at(at(place, "phases"), i), 'with "loop" each phase needs an end: "for_ms" or "for_calls"')
    end
    phase.ttft_ms, phase.tokens_per_s = phase.ttft_ms or -1, phase.tokens_per_s or -1
    phase.error_share = phase.error_share or phase.fault and 1 or 0
    phase.fault = phase.fault or "status"
  end
end

local function sim_models(ctx, models)
  local out = {}
  for i, entry in ipairs(models) do
    out[i] = entry.value
    out[i].model = entry.key
    sim_phases(ctx, entry.value, entry.at)
  end
  return out
end

local function headers(entries)
  local names, values = {}, {}
  for i, entry in ipairs(entries) do
    names[i], values[i] = entry.key, entry.value
  end
  return names, values
end

--- The list of { name, secret } that `api_key` or `api_keys` of this table make. A key that the environment may lack is
--- left out with its variable.
function project.credentials(ctx, value, place)
  if value.api_key and value.api_keys then
    fail(ctx, at(place, "api_keys"), 'give "api_key" or "api_keys", not both')
  elseif value.api_key then
    return { { name = "api_key", secret = value.api_key } }
  end
  local out, taken = {}, {}
  for i, row in ipairs(value.api_keys or {}) do
    local name = row.name or "key" .. i
    if taken[name] then
      fail(ctx, row.at, "two keys are called %q", name)
    elseif row.key then
      out[#out + 1] = { name = name, secret = row.key }
    end
    taken[name] = true
  end
  return out
end

local function check_account(ctx, p, place)
  if p.account and (p.api_key or p.api_keys) then
    fail(ctx, at(place, "account"), "the keys are those of the account in gateway.lua: expected none beside it")
  end
end

local function breaker(ctx, rules, place)
  if not rules then
    return { off = true }
  elseif rules.max_open_ms < rules.open_ms then
    fail(ctx, at(rules.at or place, "max_open_ms"), "expected at least open_ms, which is %d, found %d", rules.open_ms,
      rules.max_open_ms)
  end
  return rules
end

local function gate(ctx, place, ...)
  local out = layered(GATE, gate_node, ...)
  if out.adaptive and not out.max then
    fail(ctx, place, '"adaptive" needs "max" beside it: the most it may grow to')
  end
  return out
end

--- Prices are kept in millionths of a dollar.
local function passthrough(rules)
  if not rules or not rules.on then
    return nil
  end
  local price = rules.price_usd
  rules.price = price and { request = price.request * MICRO, read = price.read * MICRO, megabyte = price.megabyte * MICRO }
  return rules
end

local function provider(ctx, entry)
  local p, place = entry.value, entry.at
  check_account(ctx, p, place)
  if p.kind == "simulated" and p.base_url then
    fail(ctx, at(place, "base_url"), "a simulated provider has no address")
  elseif p.kind == "http" and #p.models > 0 then
    fail(ctx, at(place, "models"), 'these describe a simulated provider; expected kind = "simulated" beside them')
  end
  tls_pair(ctx, at(place, "tls"), p.tls)
  local names, values = headers(p.headers)
  local var_names, var_values = headers(p.vars)
  return {
    var_names = var_names, var_values = var_values,
    name = entry.key, adapter = p.adapter, vendor = vendors.of(p), kind = p.kind, base_url = p.base_url,
    credentials = project.credentials(ctx, p, place), account = p.account, auth = p.auth, token_url = p.token_url,
    caller_keys = p.caller_keys, account_line = p.account and line_of(ctx, at(place, "account")), idempotency_header = p.idempotency_header,
    passthrough = passthrough(p.passthrough),
    breaker = breaker(ctx, p.breaker, at(place, "breaker")),
    gate = gate(ctx, at(place, "concurrency"), p.concurrency),
    organization = p.organization, openai_project = p.project, header_names = names, header_values = values,
    ca = p.tls.ca, client_cert = p.tls.cert, client_key = p.tls.key, verify = p.tls.verify, proxy = p.proxy,
    sim_models = sim_models(ctx, p.models), line = line_of(ctx, place),
  }
end

---- limits

local PERIODS = { "day", "week", "month" }

local function budgets(ctx, list, place)
  local out, soft = {}, {}
  for i, entry in ipairs(list or {}) do
    if out[entry.per] then
      fail(ctx, at(place, i), "there are two budgets per %s", entry.per)
    end
    out[entry.per] = math.floor(entry.usd * MICRO + 0.5)
    soft[entry.per] = math.floor(entry.usd * entry.soft * MICRO + 0.5)
  end
  return out, soft
end

local function limit_set(ctx, limits, place)
  if not limits then
    return {}
  end
  local requests, burst = limits.requests_per_minute, limits.burst
  if burst and not requests then
    fail(ctx, at(place, "burst"), '"burst" needs "requests_per_minute" beside it')
  elseif burst and burst > requests then
    fail(ctx, at(place, "burst"), "expected at most requests_per_minute, which is %d, found %d", requests, burst)
  end
  local row = { requests = requests, burst = requests and (burst or math.max(1, math.floor(requests / 6))),
    tokens = limits.tokens_per_minute, concurrency = limits.concurrency }
  row.any = requests or row.tokens or row.concurrency or limits.budget and #limits.budget > 0
  local money, soft = budgets(ctx, limits.budget, at(place, "budget"))
  for _, per in ipairs(PERIODS) do
    row[per], row["soft_" .. per] = money[per], soft[per]
  end
  return row
end

--- The rules of a project or a workflow, as C keeps them.
local function limit_rules(ctx, limits, place)
  limits = limits or {}
  local rules = { own = limit_set(ctx, limits, place), per_key = limit_set(ctx, limits.per_key, at(place, "per_key")),
    fields = {} }
  for i, entry in ipairs(limits.per_metadata or {}) do
    rules.fields[i] = limit_set(ctx, entry.value, entry.at)
    rules.fields[i].name = entry.key
  end
  return rules
end

---- targets and workflows

local function stream_json(stream)
  if not stream then
    return nil
  end
  local channels = {}
  for i, channel in ipairs(stream.channels or {}) do
    channels[i] = check.json_string(channel)
  end
  local hold = stream.hold == "auto" and '"auto"' or tostring(stream.hold or 0)
  return ('{"mode":%s,"hold":%s,"max_hold_ms":%d,"channels":[%s]}'):format(check.json_string(stream.mode or "filter"),
    hold, stream.max_hold_ms or 0, table.concat(channels, ","))
end

local function params_json(ctx, entries, place)
  local parts = {}
  for i, entry in ipairs(entries or {}) do
    if entry.key == "model" or entry.key == "stream" or entry.key == "messages" then
      fail(ctx, at(at(place, "params"), entry.key), "this field is not a target's to set; a hook may change it")
    end
    parts[i] = check.json_string(entry.key) .. ":" .. (entry.value or "null")
  end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or nil
end

local function timeouts(...)
  local out = {}
  for timer, value in pairs(layered(TIMERS, field(schema.project, "timeouts_ms")[2], ...)) do
    out[timer .. "_ms"] = value
  end
  return out
end

local function prices(price)
  return price and { input = price.input * MICRO, output = (price.output or price.input) * MICRO,
    cached_read = (price.cached_read or price.input) * MICRO, cached_write = (price.cached_write or price.input) * MICRO,
    image = (price.image or 0) * MICRO, audio_minute = (price.audio_minute or 0) * MICRO,
    characters = (price.characters or 0) * MICRO, search = (price.search or 0) * MICRO }
end

---- models

local function json_list(values)
  local parts = {}
  for i, value in ipairs(values) do
    parts[i] = check.json_string(value)
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local FACTS = { "context_window", "max_output", "tools", "structured_output", "reasoning", "caching", "prefill", "deprecated", "retires" }

--- As the catalogue spells it: core/meter/models.c reads it.
local function facts_json(model)
  local parts = {}
  for _, name in ipairs(FACTS) do
    local value = model[name]
    if value ~= nil then
      parts[#parts + 1] = check.json_string(name) .. ":" .. (type(value) == "string" and check.json_string(value) or tostring(value))
    end
  end
  for _, name in ipairs { "input", "output", "refuses" } do
    parts[#parts + 1] = model[name] and check.json_string(name) .. ":" .. json_list(model[name]) or nil
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Where a model is the same for whatever provider, the row of the catalogue is looked up by its own name.
local function model_rows(ctx, entries)
  local rows, by_name = {}, {}
  for i, entry in ipairs(entries) do
    rows[i] = { name = entry.key, facts = facts_json(entry.value), line = line_of(ctx, entry.at) }
    by_name[entry.key] = { value = entry.value, row = rows[i] }
  end
  return rows, by_name
end

local Flat = {}
Flat.__index = Flat

--- The index of this target; equal ones share a row.
function Flat:target(row)
  local t, g, p = row.timeouts, row.gate, row.price or {}
  local key = table.concat({ row.id, row.params or "", t.connect_ms, t.first_token_ms, t.idle_ms, t.total_ms,
    row.context_window or 0, row.max_output or 0, row.known_as or "", row.region or "", tostring(row.prefill), p.input or "", p.output or "",
    p.cached_read or "", p.cached_write or "", p.image or "", p.audio_minute or "", p.characters or "", p.search or "",
    g.max or 0, tostring(g.adaptive), g.queue, g.queue_ms }, "\0")
  if not self.target_index[key] then
    self.targets[#self.targets + 1] = row
    self.target_index[key] = #self.targets - 1
  end
  return self.target_index[key]
end

--- An id that no other arm of the workflow has: two arms may lead to the same model.
local function arm_id(arm, taken, position)
  local id = arm.target.provider .. "/" .. arm.target.model
  if taken[id] then
    id = id .. "#" .. (arm.name or position)
  end
  taken[id] = true
  return id
end

--- What this project says of the model of a target: of the target itself, of the model, or of what it is known as.
function Flat:said_of(arm)
  local by_name, target = self.models_by_name, arm.target
  local said = by_name[target.provider .. "/" .. target.model] or by_name[target.model] or by_name[arm.known_as or 0]
  if said and arm.known_as then
    said.row.base = arm.known_as
  end
  return said and said.value or {}
end

function Flat:arm(flow, arm, position, taken)
  local known, window, most = self.ctx.host.model(arm.known_as or arm.target.model)
  local said = self:said_of(arm)
  known = known or self.models_by_name[arm.known_as or 0] ~= nil
  window, most = said.context_window or window, said.max_output or most
  if arm.known_as and not known then
    fail(self.ctx, at(arm.at, "known_as"), "the catalogue has no such model (moongate models)")
  end
  local row = {
    id = arm_id(arm, taken, position), provider = self.provider_index[arm.target.provider], model = arm.target.model,
    params = params_json(self.ctx, arm.params, arm.at), context_window = arm.context_window or window,
    max_output = arm.max_output or most, known_as = arm.known_as, region = arm.region, prefill = arm.prefill, price = prices(arm.price_usd),
    gate = gate(self.ctx, at(arm.at, "concurrency"), arm.concurrency, self.concurrency[arm.target.provider]),
    timeouts = timeouts(arm.timeouts_ms, flow.timeouts_ms, self.timeouts_ms),
  }
  return { target = self:target(row), weight = arm.weight, name = arm.name }
end

local function check_arms(ctx, flow, place)
  local sum, names = 0, {}
  for _, arm in ipairs(flow.targets) do
    sum = sum + (arm.weight or 0)
    if arm.name and names[arm.name] then
      fail(ctx, at(arm.at, "name"), "two targets of this workflow are called %q", arm.name)
    end
    names[arm.name or 0] = arm.name ~= nil
  end
  if #flow.targets > 0 and sum == 0 then
    fail(ctx, place, "all weights are 0, so nothing could be drawn")
  end
end

--- What only makes sense with something else beside it.
local function check_flow(ctx, flow, place)
  if flow.latency_bound_ms and flow.balance ~= "cheapest" then
    fail(ctx, at(place, "latency_bound_ms"), 'this is for balance = "cheapest"')
  end
  if flow.offline and not (flow.offline.text or flow.offline.last_good_ms or flow.offline.answer) then
    fail(ctx, at(place, "offline"), 'expected "text", "last_good_ms" or "answer"')
  end
end

--- The JSON text of the schema an answer must satisfy, or "request".
local function expected_schema(ctx, expect, place)
  local json, at_schema = expect and expect.json_schema, at(at(place, "expect"), "json_schema")
  if json == '"request"' then
    return "request"
  elseif json and json:sub(1, 1) ~= "{" then
    fail(ctx, at_schema, 'expected a JSON Schema, which is a table, or "request"')
  elseif json then
    local ok, why = ctx.host.schema(json)
    if not ok then
      fail(ctx, at_schema, "%s", why)
    end
  end
  return json
end

--- What happens when targets fail, as the C struct has it.
function Flat:failover(row, flow, place)
  local hedge, adaptive, offline = flow.hedge or {}, flow.adaptive_first_token or {}, flow.offline or {}
  row.balance, row.latency_bound_ms, row.rescue = flow.balance, flow.latency_bound_ms, flow.rescue
  row.max_cost_microusd = flow.max_cost_usd and math.floor(flow.max_cost_usd * MICRO + 0.5)
  row.hedge_p95 = hedge.after_ms == "p95"
  row.hedge_after_ms = not row.hedge_p95 and hedge.after_ms or nil
  row.max_hedges = hedge.max or default(field(flow_node, "hedge")[2], "max")
  row.first_token_factor = adaptive.factor
  row.first_token_min_ms = adaptive.min_ms or default(field(flow_node, "adaptive_first_token")[2], "min_ms")
  row.slow_factor, row.expect_schema = flow.slow_factor, expected_schema(self.ctx, flow.expect, place)
  row.route_around = flow.route_around
  row.retry_budget = layered(BUDGET, budget_node, flow.retry_budget, self.retry_budget)
  row.offline = { text = offline.text, last_good_ms = offline.last_good_ms, has_answer = offline.answer }
  check_flow(self.ctx, flow, place)
end

function Flat:workflow(entry)
  local flow, arms, taken = entry.value, {}, {}
  for position, arm in ipairs(flow.targets) do
    arms[position] = self:arm(flow, arm, position, taken)
  end
  check_arms(self.ctx, flow, entry.at)
  local row = {
    name = entry.key, arms = arms, deadline_ms = flow.deadline_ms, max_attempts = flow.max_attempts,
    chunk_stream = stream_json(flow.stream), line = line_of(self.ctx, entry.at),
  }
  self:failover(row, flow, entry.at)
  row.limits = limit_rules(self.ctx, flow.limits, at(entry.at, "limits"))
  for _, hook in ipairs(FLOW_HOOKS) do
    row["has_" .. hook] = flow[hook] or false
  end
  self.workflows[#self.workflows + 1] = row
end

--- What calls to "provider/model" that no workflow declares go by: one target, so half the attempts.
function Flat:direct()
  self.direct_timeouts, self.direct_deadline_ms = timeouts(self.timeouts_ms), default(flow_node, "deadline_ms")
  self.direct_max_attempts = default(flow_node, "max_attempts") / 2
end

---- plugins


local function json_map(entries)
  local parts = {}
  for i, entry in ipairs(entries) do
    parts[i] = check.json_string(entry.key) .. ":" .. check.json_string(entry.value or "")
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function hook_count(entry)
  local n = 0
  for _, hook in ipairs(HOOKS) do
    n = n + (entry[hook] and 1 or 0)
  end
  return n
end

local function plugin(ctx, entry, index, names)
  local as = entry.as or entry.use and entry.use:match("([%w_.-]+)@?[^/@]*$") or "inline" .. index
  if names[as] then
    fail(ctx, entry.at, 'two plugins are called %q; give one another name with "as"', as)
  elseif not entry.use and hook_count(entry) == 0 then
    fail(ctx, entry.at, 'expected "use" with the name of a plugin, or at least one hook function')
  elseif entry.use and hook_count(entry) > 0 then
    fail(ctx, entry.at, 'a plugin brings its own hooks: expected "use" or hook functions, found both')
  end
  names[as] = true
  if type(entry.config) == "string" and entry.config:sub(1, 1) ~= "{" and entry.config ~= "[]" then
    fail(ctx, at(entry.at, "config"), "expected a table")
  end
  local stream = entry.when.stream
  return {
    use = entry.use, as = as, config = entry.config, grant = json_list(entry.grant), fail = json_map(entry.fail),
    when_workflows = entry.when.workflows and json_list(entry.when.workflows), stream = stream_json(entry.stream),
    when_stream = stream == nil and -1 or stream and 1 or 0, index = index, line = line_of(ctx, entry.at),
  }
end

---- the whole

function Flat:check()
  if #self.workflows == 0 and not self.allow_direct then
    fail(self.ctx, {}, "nothing to serve: give at least one workflow, or allow_direct = true")
  elseif #self.targets > MAX_TARGETS then
    fail(self.ctx, at({}, "workflows"), "expected at most %d different targets, found %d", MAX_TARGETS, #self.targets)
  end
end

--- Targets name providers that exist. Looks at what was read, even when other parts failed.
local function check_providers_exist(ctx, value)
  local names, known = {}, {}
  for i, entry in ipairs(value.providers or {}) do
    names[i], known[entry.key] = entry.key, true
  end
  for _, entry in ipairs(#names > 0 and value.workflows or {}) do
    for _, arm in ipairs(entry.value and entry.value.targets or {}) do
      local wanted = arm.target and arm.target.provider
      if wanted and not known[wanted] then
        fail(ctx, arm.at, "there is no provider %q%s", wanted, check.suggest(wanted, names))
      end
    end
  end
end

function project.flatten(ctx, value)
  check_providers_exist(ctx, value)
  if #ctx.errors > 0 then
    return nil -- rows need what failed
  end
  local flat = setmetatable({ ctx = ctx, providers = {}, provider_index = {}, targets = {}, target_index = {},
    workflows = {}, plugins = {}, timeouts_ms = value.timeouts_ms, concurrency = {},
    retry_budget = layered(BUDGET, budget_node, value.retry_budget) }, Flat)
  for i, entry in ipairs(value.providers) do
    flat.providers[i] = provider(ctx, entry)
    flat.provider_index[entry.key], flat.concurrency[entry.key] = i - 1, entry.value.concurrency
  end
  flat.models, flat.models_by_name = model_rows(ctx, value.models)
  for _, entry in ipairs(value.workflows) do
    flat:workflow(entry)
  end
  flat.allow_direct, flat.max_deadline_ms = value.allow_direct, value.max_deadline_ms
  flat.charge = value.charge == true and "function" or value.charge
  flat.responses = value.responses
  flat.limits = limit_rules(ctx, value.limits, at({}, "limits"))
  flat:direct()
  flat:check()

  local names = {}
  for i, entry in ipairs(value.plugins) do
    flat.plugins[i] = plugin(ctx, entry, i, names)
  end
  for _, hook in ipairs(HOOKS) do
    flat["has_" .. hook] = value[hook] or false
  end
  flat.chunk_stream = stream_json(value.stream)
  flat.inline_grant = value.inline.grant and json_list(value.inline.grant)
  flat.inline_fail = value.inline.fail and json_map(value.inline.fail)
  return flat
end

return project
