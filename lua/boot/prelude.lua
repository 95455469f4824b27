--- prelude.lua - what runs first in every Lua state: it builds the environments that plugins live in.
---
--- The host gives its own functions and the globals of a fresh state. From them come copies that cannot reach the
--- system, leak addresses, run for ever in C or swallow what must end a call. In a project state the globals are then
--- emptied, so that whoever finds the real table finds nothing. Functions here are seen by hostile code: no value of
--- the host may be reachable from what they return.
local host, globals = ...
local prelude = {}

local error, next, rawequal, rawget, rawset, select, tonumber, type =
  globals.error, globals.next, globals.rawequal, globals.rawget, globals.rawset, globals.select, globals.tonumber, globals.type
local raw_getmetatable, raw_pcall, raw_setmetatable, raw_tostring, setfenv =
  globals.getmetatable, globals.pcall, globals.setmetatable, globals.tostring, globals.setfenv
local raw_create, raw_resume, raw_running, raw_status, raw_yield = globals.coroutine.create, globals.coroutine.resume,
  globals.coroutine.running, globals.coroutine.status, globals.coroutine.yield
local raw_insert, concat, floor = globals.table.insert, globals.table.concat, globals.math.floor
local fatal, raise, load, view_iterator, raw_ipairs = host.fatal, host.raise, host.load, host.view_iterator, globals.ipairs
local TAG, MAX_COROUTINES = host.tag, host.max_coroutines
local trusted = host.trusted

---- errors: what must end the call cannot be caught

local function caught(ok, ...)
  if not ok and fatal() then
    raise()
  end
  return ok, ...
end

local function pcall(f, ...)
  return caught(raw_pcall(f, ...))
end

--- The handler runs after the unwind, so that a deadline reaches it too.
local function handled(handler, ok, ...)
  if ok then
    return true, ...
  elseif fatal() then
    raise()
  end
  return false, select(2, caught(raw_pcall(handler, ...)))
end

local function xpcall(f, handler, ...)
  return handled(handler, raw_pcall(f, ...))
end

---- coroutines: a wait inside travels up to the host, and only their owner resumes them

local known = raw_setmetatable({}, { __mode = "k" }) -- coroutine → "idle" or "busy"
local depth = 0

local again

local function settled(co, level, ok, first, ...)
  depth = level
  if ok and first == TAG then
    return again(co, level, raw_yield(TAG, ...))
  end
  known[co] = "idle"
  if not ok and fatal() then
    raise()
  end
  return ok, first, ...
end

function again(co, level, ...)
  depth = level + 1
  return settled(co, level, raw_resume(co, ...))
end

local function resume(co, ...)
  if known[co] ~= "idle" then
    if type(co) ~= "thread" then
      error("bad argument #1 to 'resume' (coroutine expected)", 2)
    end
    return false, "cannot resume a coroutine that runs or waits"
  elseif depth >= MAX_COROUTINES then
    return false, "coroutines nest deeper than " .. MAX_COROUTINES
  end
  known[co] = "busy"
  return again(co, depth, ...)
end

local function create(f)
  local co = raw_create(f)
  known[co] = "idle"
  return co
end

local function unwrapped(ok, first, ...)
  if not ok then
    error(first, 0)
  end
  return first, ...
end

local coroutine = {
  create = create,
  resume = resume,
  yield = raw_yield,
  wrap = function(f)
    local co = create(f)
    return function(...)
      return unwrapped(resume(co, ...))
    end
  end,
  status = function(co)
    return known[co] and raw_status(co) or error("bad argument #1 to 'status' (coroutine expected)", 2)
  end,
  running = function()
    local co = raw_running()
    return known[co] and co or nil
  end,
}

--- After a call that ended by an error: nothing is nested any more.
function prelude.reset()
  depth = 0
end

---- values as text, without addresses

local numbers = raw_setmetatable({}, { __mode = "k" })
local last_number = 0

local function tostring(value)
  local kind = type(value)
  if kind ~= "table" and kind ~= "function" and kind ~= "thread" and kind ~= "userdata" then
    return raw_tostring(value)
  end
  if host.prints_itself(value) then
    return raw_tostring(value)
  end
  if not numbers[value] then
    last_number = last_number + 1
    numbers[value] = last_number
  end
  return kind .. ": #" .. numbers[value]
end

---- the libraries

local function copy(from, names)
  local out = {}
  for name in names:gmatch "%S+" do
    out[name] = rawget(from, name)
  end
  return out
end

--- A position far below 1 would keep the stock function busy for minutes.
local function insert(list, a, ...)
  if select("#", ...) == 0 then
    return raw_insert(list, a)
  end
  local at = tonumber(a)
  if type(list) ~= "table" or not at or at < 1 or at > #list + 1 then
    error("bad argument #2 to 'insert' (position out of bounds)", 2)
  end
  return raw_insert(list, floor(at), (...))
end

local string = copy(globals.string, "byte char find format gmatch gsub len lower match rep reverse sub upper")
local table = copy(globals.table, "concat insert maxn move remove sort")
local math = copy(globals.math, "abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min modf pi pow rad random sin sinh sqrt tan tanh")
local bit = copy(globals.bit, "arshift band bnot bor bswap bxor lshift rol ror rshift tobit tohex")
local os = copy(globals.os, "clock date difftime time")

if not trusted then
  string.find, string.match, string.gmatch, string.gsub = host.find, host.match, host.gmatch, host.gsub
  string.format = host.format(globals.string.format, tostring)
  table.insert, table.sort = insert, host.sort
end

local base = copy(globals, "assert error ipairs next pairs rawequal rawget rawset select tonumber type unpack _VERSION")
base.pcall, base.xpcall, base.tostring = pcall, xpcall, tostring

function base.getmetatable(value)
  if type(value) == "table" then
    return raw_getmetatable(value)
  end
end

function base.setmetatable(value, meta)
  if type(value) ~= "table" then
    error("bad argument #1 to 'setmetatable' (table expected)", 2)
  end
  return raw_setmetatable(value, meta)
end

--- Lists that the host keeps, such as req.messages, are walked like tables.
function base.ipairs(list)
  if type(list) == "userdata" then
    return view_iterator(list)
  end
  return raw_ipairs(list)
end

local function clone(from)
  local out = {}
  for key, value in next, from do
    out[key] = value
  end
  return out
end

---- moongate: its modules are copied into an environment when they are first used

local FEATURES = { ["stream.hold"] = true, ["hooks.on_log"] = true }

local library_env

--- The functions of a module as a fresh table, with what lua/moongate/<name>.lua adds.
local function make_module(name)
  local functions = host.modules[name]
  local source = host.library(name)
  if not functions and not source then
    return nil
  end
  local module = functions and clone(functions) or {}
  if source then
    module = load(source, "=moongate/" .. name .. ".lua", library_env)(name, module) or module
  end
  return module
end

local function make_moongate(about)
  local moongate = clone(about)
  moongate.api_version = 1
  function moongate.has(feature)
    return FEATURES[feature] == true or host.modules[feature] ~= nil
  end
  return raw_setmetatable(moongate, {
    __metatable = false,
    __index = function(self, name)
      local module = type(name) == "string" and make_module(name) or nil
      rawset(self, name, module)
      return module
    end,
  })
end

local function make_print(env)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do
      parts[i] = tostring((select(i, ...)))
    end
    local log = env.moongate.log
    return log and log.info(concat(parts, "\t"))
  end
end

--- `require` of an environment: its plugin's own files and the library, nothing else.
local function make_require(env, source_of)
  local loaded = {}
  return function(name)
    if type(name) ~= "string" then
      error("bad argument #1 to 'require' (a name expected)", 2)
    elseif name == "moongate" then
      return env.moongate
    elseif loaded[name] ~= nil then
      return loaded[name]
    end
    local module = name:match "^moongate%.([%w_]+)$"
    module = module and env.moongate[module]
    if module == nil then
      local text, chunk = source_of(name)
      if not text then
        error("there is no module '" .. name .. "' here", 2)
      end
      module = load(text, chunk, env)(name)
      if module == nil then
        module = true
      end
    end
    loaded[name] = module
    return module
  end
end

--- A fresh set of globals. `about` has the facts for moongate.project and its like, `source_of(name)` gives text and
--- chunk name of a file of the plugin, or nil.
function prelude.environment(about, source_of)
  local env = clone(base)
  env._G = env
  env.string, env.table, env.math, env.bit, env.os = clone(string), clone(table), clone(math), clone(bit), clone(os)
  env.coroutine = clone(coroutine)
  env.moongate = make_moongate(about)
  env.print = make_print(env)
  env.require = make_require(env, source_of)
  return env
end

library_env = prelude.environment({}, function() end)

--- In the trusted state a new global is a mistake of ours.
function prelude.strict(env)
  return raw_setmetatable(env, {
    __metatable = false,
    __newindex = function(_, name)
      error("assignment to the undeclared global " .. tostring(name), 2)
    end,
  })
end

---- project files: evaluated again here, for their functions; the data was taken by the configuration

local references = raw_setmetatable({}, { __mode = "k" })

local function reference(kind)
  return function(name)
    local ref = raw_setmetatable({}, { __metatable = false })
    references[ref] = { kind = kind, name = name }
    return ref
  end
end

--- The names that only a project file sees.
function prelude.project_environment(about)
  local env = prelude.environment(about, function() end)
  env.env, env.secret, env.file = reference "env", reference "secret", reference "file"
  return env
end

--- The value at a path of keys: "function" and it, "file" and its name, or nil.
function prelude.pick(value, ...)
  for i = 1, select("#", ...) do
    if type(value) ~= "table" or references[value] then
      return nil
    end
    value = rawget(value, (select(i, ...)))
  end
  local ref = references[value]
  if ref and ref.kind == "file" and type(ref.name) == "string" then
    return "file", ref.name
  elseif type(value) == "function" then
    return "function", value
  end
end

--- The object that hooks get as `self` when the plugin has no `new` of its own.
function prelude.plain_self(module, config)
  return raw_setmetatable({ config = config }, { __index = module })
end

---- the end of the real globals

local strings = raw_getmetatable ""
strings.__index, strings.__metatable = clone(string), false

if not trusted then
  local names = {}
  for name in next, globals do
    names[#names + 1] = name
  end
  for i = 1, #names do
    globals[names[i]] = nil
  end
end

return prelude
