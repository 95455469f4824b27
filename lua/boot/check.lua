--- check.lua - hold a value against a node of schema.lua: defaults filled in, every mistake reported.
---
--- A place is { up = place, key = key }; the root is { }. Messages read `key.path: expected …, found …`.
local formats, refs = ...
local check = {}

local concat, sort = table.concat, table.sort
local byte, find, format, match, sub = string.byte, string.find, string.format, string.match, string.sub
local floor, huge, min = math.floor, math.huge, math.min

local MAX_JSON_DEPTH, MAX_JSON_VALUES = 32, 20000

---- places

function check.at(place, key)
  return { up = place, key = key }
end

function check.keys(place)
  local keys = {}
  while place.up do
    table.insert(keys, 1, place.key)
    place = place.up
  end
  return keys
end

--- "workflows.chat.targets[2].weight"
function check.path(place)
  local parts = {}
  for i, key in ipairs(check.keys(place)) do
    if type(key) == "number" then
      parts[i] = format("[%d]", key)
    elseif find(key, "^[%a_][%w_]*$") then
      parts[i] = (i > 1 and "." or "") .. key
    else
      parts[i] = format('["%s"]', key)
    end
  end
  return concat(parts)
end

--- Reports a mistake at a place; reading goes on, so that all of them are seen at once.
function check.fail(ctx, place, ...)
  local text, path = format(...), check.path(place)
  local line = ctx.where(check.keys(place))
  ctx.errors[#ctx.errors + 1] = { file = ctx.file, line = line, text = path == "" and text or path .. ": " .. text }
end
local fail = check.fail

---- words

--- Changes (insert, drop, replace, swap neighbours) that turn a into b.
local function distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local last = row
    row = { [0] = i }
    for j = 1, #b do
      local same = sub(a, i, i) == sub(b, j, j) and 0 or 1
      row[j] = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + same)
      if i > 1 and j > 1 and sub(a, i, i) == sub(b, j - 1, j - 1) and sub(a, i - 1, i - 1) == sub(b, j, j) then
        row[j] = min(row[j], before[j - 2] + 1)
      end
    end
    before = last
  end
  return row[#b]
end

--- `; did you mean "…"?` and the word, or "" and nil.
function check.suggest(word, known)
  local best, least = nil, min(3, floor(#word / 3) + 1) + 1
  for _, candidate in ipairs(known) do
    local d = #word <= 64 and distance(word, candidate) or huge
    if d < least then
      best, least = candidate, d
    end
  end
  return best and format("; did you mean %q?", best) or "", best
end

local function quoted(list)
  local words = {}
  for i, word in ipairs(list) do
    words[i] = format("%q", word)
  end
  return concat(words, ", ")
end

local function range(node, unit)
  if node.min and node.max then
    return format(" from %s to %s%s", node.min, node.max, unit)
  end
  return node.min and format(" of at least %s%s", node.min, unit) or ""
end

local EXPECTED = {
  boolean = "true or false", ["function"] = 'a function or file "…"', json = "plain data", list = "a list",
  map = "a table", record = "a table", shares = "a list of names, or names with shares", hold = 'a number of characters up to 4096 or "auto"',
}

local function expected(node)
  if node.enum then
    return "one of " .. quoted(node.enum) .. (node.or_function and ' or a function or file "…"' or "")
  elseif node.format then
    return formats[node.format].expected
  elseif node.type == "integer" then
    return "a whole number" .. range(node, node.unit and " " .. node.unit or "") .. (node.word and format(" or %q", node.word) or "")
  elseif node.type == "number" then
    return (node.millionths and "a number of whole millionths" or "a number") .. range(node, "")
  elseif node.short and node.type == "record" then
    return "a table or a bare value for " .. node.short
  end
  return EXPECTED[node.type] or node.max and format("a text of at most %d bytes", node.max) or "a text"
end

local function short_text(value)
  local shown = #value > 40 and sub(value, 1, 37) .. "…" or value
  return (format("%q", shown):gsub("%c", "?"))
end

--- What stands there, in words; never a secret.
local function found(ctx, node, value, origin)
  if origin then
    return "the value of " .. origin
  elseif type(value) == "string" then
    return node.secret and "a text" or short_text(value)
  elseif type(value) == "number" or type(value) == "boolean" then
    return tostring(value)
  elseif ctx.placeholder(value) then
    return "something of the `moongate` library, which only functions may use"
  end
  return "a " .. type(value)
end

local function mismatch(ctx, place, node, value, origin, why)
  local note = why and " (" .. why .. ")" or ""
  fail(ctx, place, "expected %s, found %s%s", expected(node), found(ctx, node, value, origin), note)
end

---- values

local readers = {}

--- Whether a bare value stands for something inside, which knows better what to do with a reference.
local function hands_down(node)
  return node.type == "function" or node.or_function or node.type == "json" or node.type == "record" and node.short or node.single
end

--- The value as it is used, or nil (absent or, after a report, wrong).
function check.read(ctx, node, value, place)
  local origin
  if refs.kind(value) and not hands_down(node) then
    value, origin = refs.resolve(ctx, value, place, node)
    if value == nil then
      return nil
    end
  end
  return readers[node.type](ctx, node, value, place, origin)
end
local read = check.read

--- An env behind a word is the word.
local function resolved(ctx, node, value, place)
  if refs.kind(value) and refs.kind(value) ~= "file" then
    return refs.resolve(ctx, value, place, node)
  end
  return value
end

function readers.string(ctx, node, value, place, origin)
  if node.or_function then
    if type(value) == "function" or refs.kind(value) == "file" then
      return readers["function"](ctx, node, value, place)
    end
    value, origin = resolved(ctx, node, value, place)
    if value == nil then
      return nil
    end
  end
  if type(value) ~= "string" or find(value, "%z") or node.max and #value > node.max then
    return mismatch(ctx, place, node, value, origin)
  end
  if node.secret and origin and byte(value) == 1 then
    return value -- ciphertext: checked where it was made
  end
  if node.enum then
    for _, word in ipairs(node.enum) do
      if word == value then
        return value
      end
    end
    return mismatch(ctx, place, node, value, origin, match(check.suggest(value, node.enum), "^; (.+)$"))
  elseif node.format then
    local result, why = formats[node.format].read(value, ctx)
    if result == nil then
      local names = formats[node.format].names
      why = why or names and match(check.suggest(value, names), "^; (.+)$")
      return mismatch(ctx, place, node, value, origin, why)
    end
    return result
  elseif node.secret and (value == "" or find(value, "[%c]") or #value > 8192) then
    local what = value == "" and "an empty one" or "one with control characters"
    return fail(ctx, place, "expected a secret of printable text, found %s", what)
  end
  return value
end

local function in_range(node, value)
  return (not node.min or value >= node.min) and (not node.max or value <= node.max)
end

local function is_millionths(number)
  local millionths = number * 1e6
  return math.abs(millionths - floor(millionths + 0.5)) <= 1e-4
end

function readers.number(ctx, node, value, place, origin)
  local number = origin and tonumber(value) or value
  if type(number) ~= "number" or number ~= number or not in_range(node, number) or math.abs(number) == huge or
    node.millionths and not is_millionths(number) then
    return mismatch(ctx, place, node, value, origin)
  end
  return number
end

function readers.integer(ctx, node, value, place, origin)
  if node.word and value == node.word then
    return value
  end
  local number = origin and tonumber(value) or value
  if type(number) ~= "number" or number ~= floor(number) or not in_range(node, number) then
    return mismatch(ctx, place, node, value, origin)
  end
  return number
end

local WORDS = { ["true"] = true, ["1"] = true, ["false"] = false, ["0"] = false }
function readers.boolean(ctx, node, value, place, origin)
  if origin and WORDS[value] ~= nil then
    return WORDS[value]
  elseif type(value) ~= "boolean" then
    return mismatch(ctx, place, node, value, origin)
  end
  return value
end

function readers.hold(ctx, node, value, place, origin)
  if value == "auto" then
    return value
  elseif type(value) ~= "number" or value < 0 or value > 4096 or value ~= floor(value) then
    return mismatch(ctx, place, node, value, origin)
  end
  return value
end

readers["function"] = function(ctx, node, value, place)
  if refs.kind(value) == "file" then
    return ctx.load_function(value, place)
  elseif type(value) ~= "function" then
    return mismatch(ctx, place, node, value)
  end
  return true
end

---- plain data, as JSON text

local json

local function json_number(value)
  if value == floor(value) and math.abs(value) < 2 ^ 53 then
    return format("%d", value)
  end
  return format("%.17g", value)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
local function json_string(value)
  return '"' .. value:gsub('[%c"\\]', function(c)
    return ESCAPES[c] or format("\\u%04x", c:byte())
  end) .. '"'
end
check.json_string = json_string

local function json_table(ctx, value, place, depth)
  local parts, keys, n = {}, {}, 0
  for key in next, value do
    n = n + 1
    keys[n] = key
    if type(key) ~= "string" and type(key) ~= "number" then
      return fail(ctx, place, "expected text keys or a list, found a key that is a %s", type(key))
    end
  end
  if n > 0 and n == #value then
    for i = 1, n do
      parts[i] = json(ctx, value[i], check.at(place, i), depth)
    end
    return "[" .. concat(parts, ",") .. "]"
  end
  for _, key in ipairs(keys) do
    if type(key) == "number" then
      return fail(ctx, place, "expected text keys or a list without gaps, found the key %s among others", tostring(key))
    end
  end
  sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = json_string(key) .. ":" .. (json(ctx, value[key], check.at(place, key), depth) or "null")
  end
  return "{" .. concat(parts, ",") .. "}"
end

function json(ctx, value, place, depth)
  ctx.json_values = ctx.json_values + 1
  if depth > MAX_JSON_DEPTH or ctx.json_values > MAX_JSON_VALUES then
    return fail(ctx, place, "expected at most %d values nested at most %d deep", MAX_JSON_VALUES, MAX_JSON_DEPTH)
  end
  if refs.kind(value) == "secret" then
    return '{"$secret":' .. json_string(refs.name(value)) .. "}"
  elseif refs.kind(value) == "env" then
    value = refs.resolve(ctx, value, place, {})
    return value ~= nil and json(ctx, value, place, depth) or "null"
  end
  local kind = type(value)
  if kind == "string" and ctx.host.utf8(value) then
    return json_string(value)
  elseif kind == "number" and value == value and math.abs(value) ~= huge then
    return json_number(value)
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "table" and not refs.kind(value) and not ctx.placeholder(value) then
    return json_table(ctx, value, place, depth + 1) or "null"
  end
  return mismatch(ctx, place, { type = "json" }, kind == "string" and "bytes that are not UTF-8" or value)
end

function readers.json(ctx, _, value, place)
  ctx.json_values = 0
  return json(ctx, value, place, 0)
end

---- tables

local function plain_table(ctx, node, value, place, origin)
  if type(value) ~= "table" or ctx.placeholder(value) or refs.kind(value) then
    mismatch(ctx, place, node, value, origin)
    return false
  end
  return true
end

local function check_size(ctx, node, place, n)
  if not in_range(node, n) then
    local most = node.max and n > node.max
    local bound = most and node.max or node.min
    fail(ctx, place, "expected at %s %d %s, found %d", most and "most" or "least", bound, bound == 1 and "entry" or "entries", n)
  end
end

--- A bare element, or a table with names only, is a list of one where the schema says `single`.
local function is_single(node, value)
  if not node.single then
    return false
  end
  return type(value) ~= "table" or refs.kind(value) ~= nil or rawget(value, 1) == nil and next(value) ~= nil
end

function readers.list(ctx, node, value, place, origin)
  if is_single(node, value) then
    return { read(ctx, node.of, value, place) }
  elseif not plain_table(ctx, node, value, place, origin) then
    return nil
  end
  local out = {}
  for i = 1, #value do
    out[#out + 1] = read(ctx, node.of, rawget(value, i), check.at(place, i))
  end
  for key in next, value do
    if type(key) ~= "number" or key < 1 or key > #value or key ~= floor(key) then
      local at = check.at(place, type(key) == "number" and key or tostring(key))
      fail(ctx, at, "expected a list, found a name among its entries")
    end
  end
  check_size(ctx, node, place, #value)
  return out
end

--- A list of { key, value, at } in the order of the file.
function readers.map(ctx, node, value, place, origin)
  if not plain_table(ctx, node, value, place, origin) then
    return nil
  end
  local keys, order = {}, {}
  for key in next, value do
    local place_of_key = check.at(place, type(key) == "number" and key or tostring(key))
    if type(key) ~= "string" then
      fail(ctx, place_of_key, "expected named entries, found one with the key %s", tostring(key))
    elseif not formats[node.key].read(key, ctx) then
      local row = formats[node.key]
      local hint = row.names and check.suggest(key, row.names) or ""
      fail(ctx, place_of_key, "this key should be %s%s", row.expected, hint)
    else
      keys[#keys + 1] = key
      order[key] = select(2, ctx.where(check.keys(place_of_key)))
    end
  end
  sort(keys, function(a, b)
    return order[a] < order[b] or order[a] == order[b] and a < b
  end)
  check_size(ctx, node, place, #keys)
  local out = {}
  for _, key in ipairs(keys) do
    local at = check.at(place, key)
    out[#out + 1] = { key = key, value = read(ctx, node.of, rawget(value, key), at), at = at }
  end
  return out
end

--- Names in a list, or names with a number above 0, or both: a list of { name, share } in the order of the file.
function readers.shares(ctx, node, value, place, origin)
  if not plain_table(ctx, node, value, place, origin) then
    return nil
  end
  local out, seen, n = {}, {}, 0
  local function add(name, share, at)
    if not formats[node.key].read(name, ctx) then
      fail(ctx, at, "expected %s, found %s", formats[node.key].expected, short_text(name))
    elseif type(share) ~= "number" or not (share > 0 and share <= 1000000) then
      fail(ctx, at, "expected a share above 0, found %s", found(ctx, node, share))
    elseif seen[name] then
      fail(ctx, at, "%q stands there twice", name)
    else
      seen[name] = true
      out[#out + 1] = { name = name, share = share, order = select(2, ctx.where(check.keys(at))) }
    end
  end
  for key, item in next, value do
    local at = check.at(place, type(key) == "number" and key or tostring(key))
    n = n + 1
    if type(key) == "string" then
      add(key, item, at)
    elseif type(key) == "number" and type(item) == "string" then
      add(item, 1, at)
    else
      mismatch(ctx, at, { type = "string" }, item)
    end
  end
  sort(out, function(a, b)
    return a.order < b.order or a.order == b.order and a.name < b.name
  end)
  check_size(ctx, { min = 1, max = node.max }, place, n)
  return out
end

---- records

--- The value a missing field has: its variable's, or the default.
local function default_of(ctx, field)
  local from = field.env and ctx.host.env(field.env)
  if from and from ~= "" then
    return refs.env(field.env)
  elseif field.default == "cores" then
    return ctx.host.cores()
  end
  return field.default
end

--- `how` says: fill (in defaults), unnamed (its value stood there without a name), misspelt (and reported as such).
local function read_field(ctx, field, value, place, how)
  local name, node = field[1], field[2]
  local at = how.unnamed and place or check.at(place, name)
  local given = rawget(value, name)
  local second = field.also and rawget(value, field.also)
  if given ~= nil and second ~= nil then
    return fail(ctx, at, "give this or %q, not both", field.also)
  elseif given == nil and second ~= nil then
    given, at = second, check.at(place, field.also)
  end
  if given == nil and field.required then
    return not how.misspelt and fail(ctx, place, "%q is missing; expected %s", name, expected(node)) or nil
  elseif given == nil and how.fill then
    given = default_of(ctx, field)
  end
  if given == nil then
    return nil
  end
  if field.inherit then
    ctx.bare = (ctx.bare or 0) + 1
  end
  local result = read(ctx, node, given, at)
  ctx.bare = field.inherit and ctx.bare - 1 or ctx.bare
  return result
end

local function field_names(node)
  local names, known = {}, {}
  for _, field in ipairs(node.fields) do
    names[#names + 1] = field[1]
    known[field[1]] = true
    if field.also then
      known[field.also] = true
    end
  end
  return names, known
end

--- Reports keys that the node does not have; returns the set of those that were probably meant.
local function check_unknown(ctx, node, value, place)
  local names, known = field_names(node)
  local meant = {}
  for key in next, value do
    local at = check.at(place, type(key) == "number" and key or tostring(key))
    if type(key) == "string" and not known[key] then
      local hint, name = check.suggest(key, names)
      meant[name or ""] = true
      fail(ctx, at, "there is no such key here%s", hint ~= "" and hint or "; known are " .. concat(names, ", "))
    elseif type(key) ~= "string" then
      fail(ctx, at, "expected named keys only, found a value without a name")
    end
  end
  return meant
end

--- { "x", a = 1 } is { short = "x", a = 1 }; where `short` is a list, it takes all values without a name.
local function unfold(ctx, node, value, place)
  local first = node.short and rawget(value, 1)
  if first == nil then
    return value, false
  elseif rawget(value, node.short) ~= nil then
    fail(ctx, place, "%q stands there twice: by name and without one", node.short)
  end
  local takes_all = node.fields[1][2].type == "list"
  local out, unnamed = {}, {}
  for key, item in next, value do
    if type(key) == "number" and (takes_all or key == 1) then
      unnamed[key] = item
    else
      out[key] = item
    end
  end
  out[node.short] = takes_all and unnamed or first
  return out, true
end

function readers.record(ctx, node, value, place, origin)
  if value == false and node.off then
    return false
  end
  local reference = node.short and refs.kind(value)
  local unnamed = reference or node.short and type(value) ~= "table"
  if unnamed then
    value = { [node.short] = value }
  elseif not plain_table(ctx, node, value, place, origin) then
    return nil
  else
    value, unnamed = unfold(ctx, node, value, place)
  end
  local out, fill = { at = place }, not ctx.bare or ctx.bare == 0
  local meant = check_unknown(ctx, node, value, place)
  for _, field in ipairs(node.fields) do
    local name = field[1]
    local how = { fill = fill, unnamed = unnamed and name == node.short, misspelt = meant[name] }
    out[name] = read_field(ctx, field, value, place, how)
  end
  if reference and out[node.short] == nil then
    return nil -- the variable is not set, and may be missing
  end
  return out
end

return check
