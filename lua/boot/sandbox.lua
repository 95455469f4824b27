--- sandbox.lua - the names a configuration file sees while it is read.
---
--- No io, clock, random, coroutine, bytecode or metatables of anything but tables. What could run for long outside the
--- reach of the instruction hook (patterns) or deep on the C stack (callbacks) is bounded here. Names of the plugin
--- library stand for themselves: they may be looked up, called and kept by functions, but have no value yet.
local check, refs = ...
local sandbox = {}

-- Taken now: while a file is read, methods of strings are the bounded ones.
local find, format, gsub = string.find, string.format, string.gsub

local MAX_DEPTH = 32         -- callbacks in one another
local MAX_PATTERN_STEPS = 1e7

---- bounded library functions

local depth = 0

local function leave(ok, ...)
  depth = depth - 1
  if not ok then
    error((...), 0)
  end
  return ...
end

--- The function, refusing to nest deeper than the C stack likes.
local function shallow(fn)
  return function(...)
    if depth >= MAX_DEPTH then
      error("callbacks nest too deeply", 2)
    end
    depth = depth + 1
    return leave(pcall(fn, ...))
  end
end

--- Steps a backtracking match may take at worst: each quantifier multiplies.
local function pattern_steps(subject_bytes, pattern)
  local _, quantifiers = gsub(pattern, "[*+?%-]", "")
  local _, balanced = gsub(pattern, "%%[bf%d]", "")
  local steps = subject_bytes + 1
  for i = 1, quantifiers + balanced do
    steps = steps * (subject_bytes + i) / i
  end
  return steps
end

local function cheap(fn)
  return function(subject, pattern, ...)
    local s = type(subject) == "number" and "" .. subject or subject
    local p = type(pattern) == "number" and "" .. pattern or pattern
    local is_plain = fn == find and select(2, ...)
    if type(s) == "string" and type(p) == "string" and not is_plain and pattern_steps(#s, p) > MAX_PATTERN_STEPS then
      error("this pattern may take too long on so long a text while a configuration file is read", 2)
    end
    return fn(subject, pattern, ...)
  end
end

--- Without an address, so that a file reads the same each time.
local function to_string(value)
  local kind = type(value)
  local is_bare = (kind == "function" or kind == "table") and not (getmetatable(value) or {}).__tostring
  return is_bare and kind or tostring(value)
end

local function copy(library, ...)
  local out = {}
  for _, name in ipairs { ... } do
    out[name] = library[name]
  end
  return out
end

local function string_library()
  local out = copy(string, "byte", "char", "len", "lower", "rep", "reverse", "sub", "upper")
  out.find, out.match, out.gmatch = cheap(find), cheap(string.match), cheap(string.gmatch)
  out.gsub, out.format = cheap(shallow(gsub)), shallow(format)
  return out
end

local function table_library()
  local out = copy(table, "concat", "insert", "remove")
  out.sort = shallow(table.sort)
  return out
end

---- names of the plugin library

local inert = setmetatable({}, { __mode = "k" })

local function refuse_use()
  error("the moongate library has no values while the file is read; use it inside a function", 2)
end

local placeholder
local inert_meta = {
  __metatable = false, __newindex = refuse_use, __concat = refuse_use, __len = refuse_use, __add = refuse_use,
  __sub = refuse_use, __mul = refuse_use, __div = refuse_use, __unm = refuse_use, __lt = refuse_use, __le = refuse_use,
  __index = function()
    return placeholder()
  end,
  __call = function()
    return placeholder()
  end,
}

function placeholder()
  local object = setmetatable({}, inert_meta)
  inert[object] = true
  return object
end

function sandbox.is_placeholder(value)
  return inert[value] == true
end

---- the environment

local KNOWN_LATER = { "moongate", "log", "json", "kv", "http", "time", "re", "text", "crypto", "secrets", "stats", "coroutine" }
local ABSENT = {
  io = "files", debug = "the debugger", package = "packages", ffi = "the FFI", jit = "the compiler",
  load = "loading code", loadstring = "loading code", loadfile = "loading code", dofile = "loading code",
  getfenv = "environments", setfenv = "environments", newproxy = "proxies", collectgarbage = "the collector",
  module = "modules", print = "printing",
}

--- The clock is for functions: it may be kept, and has no value yet. Nothing else of `os` is ever there.
local CLOCK = { time = true, clock = true, date = true, difftime = true }
local function os_library()
  return setmetatable({}, {
    __metatable = false,
    __index = function(_, name)
      if CLOCK[name] then
        return placeholder()
      end
      local hint = name == "getenv" and '; take a variable\'s value with env "X"' or ""
      error(format("os.%s is not here%s", tostring(name), hint), 2)
    end,
  })
end

local function base_library()
  local out = copy(_G, "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
    "tonumber", "type", "unpack", "xpcall")
  out.tostring = shallow(to_string)
  out.setmetatable = function(value, meta)
    if type(value) ~= "table" then
      error("setmetatable takes tables only", 2)
    end
    return setmetatable(value, meta)
  end
  out.getmetatable = function(value)
    return type(value) == "table" and getmetatable(value) or nil
  end
  return out
end

local function require_name(name)
  if type(name) == "string" and (name == "moongate" or find(name, "^moongate%.[%w_.]+$")) then
    return placeholder()
  end
  error('require finds only "moongate.…"; a function of another file is handed over with file "x.lua"', 2)
end

--- A new environment; reading a name it does not have is an error that says what was meant.
function sandbox.environment()
  local env = base_library()
  env.string, env.table = string_library(), table_library()
  env.bit = copy(bit, "band", "bor", "bxor", "bnot", "lshift", "rshift", "tobit", "tohex")
  env.math = copy(math, "abs", "ceil", "floor", "fmod", "huge", "log", "max", "min", "modf", "pi", "pow", "sqrt", "exp")
  env.os = os_library()
  env.env, env.secret, env.file, env.require = refs.env, refs.secret, refs.file, require_name
  for _, name in ipairs(KNOWN_LATER) do
    env[name] = placeholder()
  end
  env._G = env

  local names = { "return", "local", "function" }
  for name in next, env do
    names[#names + 1] = name
  end
  return setmetatable(env, {
    __metatable = false,
    __index = function(_, name)
      if ABSENT[name] then
        error(format("%q is not here: configuration files have no access to %s", name, ABSENT[name]), 2)
      end
      error(format("unknown name %q%s", tostring(name), type(name) == "string" and check.suggest(name, names) or ""), 2)
    end,
  })
end

local method_owner = getmetatable("")

--- Calls a chunk of a configuration file: while it runs, methods of strings are the bounded ones too.
function sandbox.call(chunk)
  setfenv(chunk, sandbox.environment())
  depth = 0
  method_owner.__index = string_library()
  local ok, value = pcall(chunk)
  method_owner.__index = string
  return ok, value
end

return sandbox
