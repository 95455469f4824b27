--- lines.lua - where in a Lua source each key of its table constructors stands.
---
--- LuaJIT tables do not remember their lines, so messages about a configuration file need this: one pass over the
--- tokens follows `return { … }`, `local name = { … }` and `name.key = { … }` and builds a tree of keys with lines.
--- It is a guess made for people, not an evaluation: what a function computes has the line of its nearest known parent.
--- The source must have been accepted by the Lua parser before.
local lines = {}

local byte, find, match, sub = string.byte, string.find, string.match, string.sub

local OPENS = {
  ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true, ["{"] = true, ["("] = true, ["["] = true,
}
local CLOSES = { ["end"] = true, ["until"] = true, ["}"] = true, [")"] = true, ["]"] = true }
local ENDS_FIELD = { [","] = true, [";"] = true, ["}"] = true }

local function newlines(text)
  local count, at = 0, 0
  repeat
    at = find(text, "\n", at + 1, true)
    count = at and count + 1 or count
  until not at
  return count
end

--- The end of a long bracket that opens at `at`, or nil when none opens there.
local function long_end(source, at)
  local level = match(source, "^%[(=*)%[", at)
  if not level then
    return nil
  end
  local _, last = find(source, "]" .. level .. "]", at + 2 + #level, true)
  return last or #source, 2 + #level
end

local function short_string_end(source, at)
  local quote = sub(source, at, at)
  while true do
    at = find(source, "[\\" .. quote .. "]", at + 1)
    if not at then
      return #source
    elseif byte(source, at) ~= 92 then -- a backslash hides the next byte
      return at
    end
    at = at + 1
  end
end

local function number_end(source, at)
  local _, last = find(source, "^%.?%d[%w%.]*", at)
  while last and match(source, "^[eEpP][+-]%d", last) and not match(source, "^0[xX][%x%.]*[eE]$", at) do
    _, last = find(source, "^[+-]%d[%w]*", last + 1)
  end
  return last
end

local function operator_end(source, at)
  local _, last = find(source, "^[=~<>]=", at)
  if not last then
    _, last = find(source, "^%.%.%.?", at)
  end
  return last or at
end

--- One token: kind ("name", "string", "number", "op", "blank"), its text (of strings the inside) and its last byte.
local function token(source, at)
  local _, last = find(source, "^%s+", at)
  if last then
    return "blank", "", last
  elseif find(source, "^%-%-", at) then
    last = long_end(source, at + 2)
    return "blank", "", last or (find(source, "\n", at, true) or #source + 1) - 1
  end
  _, last = find(source, "^[%a_\128-\255][%w_\128-\255]*", at)
  if last then
    return "name", sub(source, at, last), last
  end
  last = number_end(source, at)
  if last then
    return "number", sub(source, at, last), last
  elseif find(source, "^[\"']", at) then
    last = short_string_end(source, at)
    return "string", sub(source, at + 1, last - 1), last
  end
  local open
  last, open = long_end(source, at)
  if last then
    return "string", sub(source, at + open, last - open), last
  end
  last = operator_end(source, at)
  return "op", sub(source, at, last), last
end

--- Three arrays of equal length: kinds, texts, lines.
local function tokenize(source)
  local kinds, texts, at_line = {}, {}, {}
  local at, line, n = find(source, "^#") and (find(source, "\n", 1, true) or #source + 1) or 1, 1, 0
  while at <= #source do
    local kind, text, last = token(source, at)
    if kind ~= "blank" then
      n = n + 1
      kinds[n], texts[n], at_line[n] = kind, text, line
    end
    line = line + newlines(sub(source, at, last))
    at = last + 1
  end
  return kinds, texts, at_line
end

local Parser = {}
Parser.__index = Parser

function Parser:node(line)
  self.order = self.order + 1
  return { line = line, order = self.order, children = {} }
end

--- The index of the token that ends the expression at `i`.
function Parser:skip(i)
  local depth = 0
  while self.texts[i] do
    local text = self.kinds[i] ~= "string" and self.texts[i]
    if depth == 0 and ENDS_FIELD[text] then
      return i
    elseif OPENS[text] then
      depth = depth + 1
    elseif CLOSES[text] then
      depth = depth - 1
    end
    i = i + 1
  end
  return i
end

--- Reads the value at `i` into `node`; returns the index behind what it understood.
function Parser:value(node, i)
  if self.texts[i] == "{" and self.kinds[i] == "op" then
    return self:constructor(node, i)
  elseif self.kinds[i] == "name" and ENDS_FIELD[self.texts[i + 1] or ","] then
    node.alias = self.texts[i]
  end
  return i
end

--- The key of the field at `i` (nil for a positional one) and where its value begins.
function Parser:field_key(i)
  local kinds, texts = self.kinds, self.texts
  if kinds[i] == "name" and texts[i + 1] == "=" and kinds[i + 1] == "op" then
    return texts[i], i + 2
  elseif texts[i] == "[" and kinds[i] == "op" and texts[i + 2] == "]" and texts[i + 3] == "=" then
    return kinds[i + 1] == "number" and tonumber(texts[i + 1]) or texts[i + 1], i + 4
  end
  return nil, i
end

--- `{` stands at `i`; returns the index behind its `}`.
function Parser:constructor(node, i)
  local position = 0
  i = i + 1
  while self.texts[i] and not (self.texts[i] == "}" and self.kinds[i] == "op") do
    local line = self.at_line[i]
    local key, from = self:field_key(i)
    if key == nil then
      position = position + 1
      key = position
    end
    local child = self:node(line)
    node.children[key] = child
    i = self:skip(self:value(child, from))
    if self.texts[i] ~= "}" then
      i = i + 1
    end
  end
  return i + 1
end

--- `name.key.key = value` at `i`: reads it when the name is known; returns where to go on, or nil.
function Parser:assignment(i)
  local node = self.kinds[i] == "name" and self.roots[self.texts[i]]
  local j = i + 1
  while node and self.texts[j] == "." and self.kinds[j + 1] == "name" do
    local key = self.texts[j + 1]
    node.children[key] = node.children[key] or self:node(self.at_line[i])
    node = node.children[key]
    j = j + 2
  end
  if node and j > i + 1 and self.texts[j] == "=" and self.kinds[j] == "op" then
    return self:value(node, j + 1)
  end
end

--- A statement that this pass understands, at `i`: where to go on, or nil.
function Parser:statement(i)
  local texts, kinds = self.texts, self.kinds
  if texts[i] == "return" and kinds[i] == "name" then
    self.root.line = self.at_line[i]
    if kinds[i + 1] == "name" and texts[i + 2] == nil then
      self.root.alias = texts[i + 1]
    end
    return texts[i + 1] == "{" and self:constructor(self.root, i + 1) or i + 1
  elseif texts[i] == "local" and kinds[i + 1] == "name" and texts[i + 2] == "=" then
    local node = self:node(self.at_line[i])
    self.roots[texts[i + 1]] = node
    return texts[i + 3] == "{" and self:constructor(node, i + 3) or i + 3
  end
  return self:assignment(i)
end

function Parser:file()
  local i, depth = 1, 0
  while self.texts[i] do
    local text = self.kinds[i] ~= "string" and self.texts[i]
    local follow = depth == 0 and self.kinds[i] == "name" and self:statement(i)
    if OPENS[text] then
      depth = depth + 1
    elseif CLOSES[text] then
      depth = depth - 1
    end
    i = follow or i + 1
  end
end

--- A literal that would load the FFI (1LL, 2ULL, 3i): its line and text, or nil.
local function foreign_number(kinds, texts, at_line)
  for i = 1, #kinds do
    if kinds[i] == "number" and (find(texts[i], "[uU]?[lL][lL]$") or find(texts[i], "[iI]$")) then
      return at_line[i], texts[i]
    end
  end
end

local function step(roots, node, key)
  for _ = 1, 8 do -- an alias of an alias of …
    local child = node.children[key]
    if child or not node.alias then
      return child
    end
    node = roots[node.alias]
    if not node then
      return nil
    end
  end
end

--- Returns `where(keys)`, which gives the line and the place in reading order of a list of keys (its nearest known
--- parent's when the last is unknown); then the line and text of a literal that must be refused, if there is one.
function lines.map(source)
  local kinds, texts, at_line = tokenize(source)
  local parser = setmetatable({ kinds = kinds, texts = texts, at_line = at_line, roots = {}, order = 0 }, Parser)
  parser.root = parser:node(1)
  parser:file()

  local function where(keys)
    local node = parser.root
    for i = 1, #keys do
      local child = step(parser.roots, node, keys[i])
      if not child then
        return node.line, node.order
      end
      node = child
    end
    return node.line, node.order
  end
  return where, foreign_number(kinds, texts, at_line)
end

return lines
