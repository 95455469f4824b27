--- json.lua - for tests that run under a bare luajit: moongate.json as dialects see it, with values kept as text.
local json = {}

json.null = newproxy and newproxy() or {}

local Raw = {}
Raw.__index = Raw
local is_list = setmetatable({}, { __mode = "k" })

function json.array(t)
  t = t or {}
  is_list[t] = true
  return t
end

function json.is_array(value)
  return type(value) == "table" and getmetatable(value) ~= Raw and (is_list[value] or #value > 0) or false
end

function json.raw(text)
  local _, err = json.decode(text)
  if err then
    error("moongate.json.raw: " .. err.message, 2)
  end
  return setmetatable({ json = text }, Raw)
end

local encode

function json.text(value)
  return getmetatable(value) == Raw and value.json or nil
end

---- encode

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or string.format("\\u%04x", c:byte())
  end) .. '"'
end

local function encode_table(value)
  local out = {}
  if json.is_array(value) then
    for i, item in ipairs(value) do
      out[i] = encode(item)
    end
    return "[" .. table.concat(out, ",") .. "]"
  end
  local names = {}
  for name in pairs(value) do
    assert(type(name) == "string", "a table that is neither a list nor an object")
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    out[i] = quote(name) .. ":" .. encode(value[name])
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function encode(value)
  if value == json.null then
    return "null"
  elseif type(value) == "string" then
    return quote(value)
  elseif type(value) == "number" then
    return value == math.floor(value) and string.format("%d", value) or string.format("%.15g", value)
  elseif type(value) == "boolean" then
    return tostring(value)
  elseif getmetatable(value) == Raw then
    return value.json
  end
  assert(type(value) == "table", "a value JSON has no word for: " .. type(value))
  return encode_table(value)
end
json.encode = encode

---- decode

local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64, 0x80 + math.floor(code / 64) % 64,
    0x80 + code % 64)
end

--- From the left, so that what a backslash stands for is nobody else's backslash.
local function unescape(text)
  local out, from = {}, 1
  while true do
    local at = text:find("\\", from, true)
    if not at then
      out[#out + 1] = text:sub(from)
      return table.concat(out)
    end
    out[#out + 1] = text:sub(from, at - 1)
    local high, low = text:match("^\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", at)
    local hex = text:match("^\\u(%x%x%x%x)", at)
    if high then
      out[#out + 1] = utf8(0x10000 + (tonumber(high, 16) - 0xd800) * 1024 + tonumber(low, 16) - 0xdc00)
    else
      local letter = text:sub(at + 1, at + 1)
      out[#out + 1] = hex and utf8(tonumber(hex, 16)) or UNESCAPES[letter] or letter
    end
    from = at + (high and 12 or hex and 6 or 2)
  end
end

local decode_value

local function fail(at, why)
  error({ at = at, why = why }, 0)
end

local function blanks(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local function decode_string(text, at)
  local last = at + 1
  while true do
    last = text:find('["\\]', last) or fail(at, "a string that does not end")
    if text:sub(last, last) == '"' then
      break
    end
    last = last + 2
  end
  local inner = text:sub(at + 1, last - 1)
  if inner:find("%c") then
    fail(at, "a control character")
  end
  return inner:find("\\", 1, true) and unescape(inner) or inner, last + 1
end

local function matches(pattern, path)
  if #pattern ~= #path then
    return false
  end
  for i, step in ipairs(pattern) do
    if step ~= "*" and step ~= path[i] then
      return false
    end
  end
  return true
end

local function decode_member(text, at, path, step, patterns)
  local inner = {}
  for i, name in ipairs(path) do
    inner[i] = name
  end
  inner[#inner + 1] = step
  at = blanks(text, at)
  local value, after = decode_value(text, at, inner, patterns)
  for _, pattern in ipairs(patterns) do
    if value ~= json.null and matches(pattern, inner) then
      return setmetatable({ json = text:sub(at, after - 1) }, Raw), after
    end
  end
  return value, after
end

local function decode_container(text, at, path, patterns)
  local is_object = text:sub(at, at) == "{"
  local out, close = is_object and {} or json.array(), is_object and "}" or "]"
  at = blanks(text, at + 1)
  while text:sub(at, at) ~= close do
    local name = #out + 1
    if is_object then
      if text:sub(at, at) ~= '"' then
        fail(at, "a name expected")
      end
      name, at = decode_string(text, at)
      at = blanks(text, at)
      if text:sub(at, at) ~= ":" or out[name] ~= nil then
        fail(at, "':' expected, or a name given twice")
      end
      at = at + 1
    end
    out[name], at = decode_member(text, at, path, is_object and name or "*", patterns)
    at = blanks(text, at)
    if text:sub(at, at) == "," then
      at = blanks(text, at + 1)
      if text:sub(at, at) == close then
        fail(at, "a comma too many")
      end
    elseif text:sub(at, at) ~= close then
      fail(at, "',' or '" .. close .. "' expected")
    end
  end
  return out, at + 1
end

local WORDS = { ["true"] = true, ["false"] = false, null = json.null }

function decode_value(text, at, path, patterns)
  local first = text:sub(at, at)
  if first == "{" or first == "[" then
    return decode_container(text, at, path, patterns)
  elseif first == '"' then
    return decode_string(text, at)
  end
  local word = text:match("^[%w.+-]+", at) or fail(at, "a value expected")
  local value = WORDS[word]
  if value == nil then
    value = word:find("^-?%d") and tonumber(word) or nil
    if value and math.abs(value) >= 2 ^ 53 then
      value = setmetatable({ json = word }, Raw)
    end
  end
  if value == nil then
    fail(at, "a value expected")
  end
  return value, at + #word
end

--- `raw`: paths of values that stay text, such as "tools[*].input_schema".
function json.decode(text, raw)
  local patterns = {}
  for i, path in ipairs(raw or {}) do
    patterns[i] = {}
    for step in path:gsub("%[%*%]", ".*"):gmatch "[^.]+" do
      table.insert(patterns[i], step)
    end
  end
  local ok, value, after = pcall(decode_value, text, blanks(text, 1), {}, patterns)
  if not ok then
    return nil, type(value) == "table" and { code = "invalid_json", message = "at byte " .. value.at .. ": " .. value.why } or error(value, 0)
  elseif blanks(text, after) <= #text then
    return nil, { code = "invalid_json", message = "more after the value" }
  end
  return value
end

return json
