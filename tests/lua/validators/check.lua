--- check.lua - what validators of vendors' formats are written with: a shape per object, unknown members are errors.
local json = require "moongate.json"
local check = {}

local function fail(at, why, ...)
  error(at .. " " .. why:format(...), 0)
end
check.fail = fail

local function kind_of(value)
  if value == json.null then
    return "null"
  elseif type(value) == "table" then
    return json.is_array(value) and "list" or "object"
  end
  return type(value)
end
check.kind_of = kind_of

--- `kind` is a Lua type, "integer", "list", "object", "null", "any", or several with `|`.
function check.is(value, kind, at)
  local got = kind_of(value)
  for word in kind:gmatch "[^|]+" do
    if word == "any" or word == got or word == "integer" and got == "number" and value == math.floor(value)
      or got == "object" and word == "list" and next(value) == nil then
      return value
    end
  end
  fail(at, "is %s, must be %s", got, kind)
end

--- Members by name: "string", "string?" when it may be missing, or a function(value, at); `["?"]` in front makes that
--- optional, too: { content = { "?", function … } }.
function check.object(value, shape, at)
  check.is(value, "object", at)
  for name in pairs(value) do
    if shape[name] == nil then
      fail(at, "has the unknown member '%s'", name)
    end
  end
  for name, rule in pairs(shape) do
    local member, inner = value[name], at .. "." .. name
    local optional = type(rule) == "table" or type(rule) == "string" and rule:sub(-1) == "?"
    if member == nil then
      if not optional then
        fail(at, "lacks '%s'", name)
      end
    elseif type(rule) == "table" then
      rule[2](member, inner)
    elseif type(rule) == "function" then
      rule(member, inner)
    else
      check.is(member, (rule:gsub("%?$", "")), inner)
    end
  end
  return value
end

function check.each(value, at, rule)
  check.is(value, "list", at)
  for i, item in ipairs(value) do
    rule(item, ("%s[%d]"):format(at, i - 1), i)
  end
end

function check.one_of(words)
  return function(value, at)
    if not (" " .. words .. " "):find(" " .. tostring(value) .. " ", 1, true) then
      fail(at, "is '%s', must be one of: %s", tostring(value), words)
    end
  end
end

function check.optional(rule)
  return { "?", rule }
end

--- A rule by the member `type`.
function check.by_type(rules)
  return function(value, at, ...)
    check.is(value, "object", at)
    local rule = rules[value.type] or fail(at, "has the unknown type '%s'", tostring(value.type))
    rule(value, at, ...)
  end
end

return check
