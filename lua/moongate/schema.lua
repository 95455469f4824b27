--- schema.lua - JSON Schemas rewritten from one vendor's spelling to another's.
---
--- Works on JSON text: members keep their order and numbers their spelling, because both are part of what a model is
--- shown and of what a provider caches. Only places where a schema can stand are touched; `default`, `enum`, `example`
--- and their like are data and stay as they are.
local schema = {}

local concat, find, sub, lower = table.concat, string.find, string.sub, string.lower

---- ordered JSON: an object is { keys = { … }, of = { [key] = node } }, a list is { list = { … } }, else it is text

local read

local function skip(text, at)
  return find(text, "[^ \t\r\n]", at)
end

--- Behind the string that begins at `at`.
local function string_end(text, at)
  local from = at + 1
  while true do
    local stop = find(text, '["\\]', from)
    if sub(text, stop, stop) == '"' then
      return stop + 1
    end
    from = stop + 2
  end
end

local function read_object(text, at)
  local node = { keys = {}, of = {} }
  at = skip(text, at + 1)
  while sub(text, at, at) ~= "}" do
    local stop = string_end(text, at)
    local key = sub(text, at + 1, stop - 2)
    node.keys[#node.keys + 1] = key
    at = skip(text, skip(text, stop) + 1) -- behind the colon
    node.of[key], at = read(text, at)
    at = skip(text, at)
    if sub(text, at, at) == "," then
      at = skip(text, at + 1)
    end
  end
  return node, at + 1
end

local function read_list(text, at)
  local node = { list = {} }
  at = skip(text, at + 1)
  while sub(text, at, at) ~= "]" do
    node.list[#node.list + 1], at = read(text, at)
    at = skip(text, at)
    if sub(text, at, at) == "," then
      at = skip(text, at + 1)
    end
  end
  return node, at + 1
end

function read(text, at)
  local first = sub(text, at, at)
  if first == "{" then
    return read_object(text, at)
  elseif first == "[" then
    return read_list(text, at)
  end
  local stop = first == '"' and string_end(text, at) or find(text, "[%s,%]}]", at) or #text + 1
  return sub(text, at, stop - 1), stop
end

local function put(node, out)
  if type(node) == "string" then
    out[#out + 1] = node
  elseif node.list then
    for i = 1, #node.list do
      out[#out + 1] = i == 1 and "[" or ","
      put(node.list[i], out)
    end
    out[#out + 1] = #node.list == 0 and "[]" or "]"
  else
    local is_first = true
    for i = 1, #node.keys do
      local value = node.of[node.keys[i]]
      if value then
        out[#out + 1] = (is_first and '{"' or ',"') .. node.keys[i] .. '":'
        put(value, out)
        is_first = false
      end
    end
    out[#out + 1] = is_first and "{}" or "}"
  end
end

local function set(node, key, value)
  if not node.of[key] then
    node.keys[#node.keys + 1] = key
  end
  node.of[key] = value
end

--- The member under another name, at the same place.
local function rename(node, key, name)
  for i = 1, #node.keys do
    if node.keys[i] == key then
      node.keys[i] = name
    end
  end
  node.of[name], node.of[key] = node.of[key], nil
end

---- where schemas stand in schemas

local ONE = { "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames" }
local MANY = { "anyOf", "allOf", "oneOf", "prefixItems" }
local NAMED = { "properties", "patternProperties", "$defs", "definitions", "dependentSchemas" }

local function walk(node, visit)
  if type(node) == "string" or node.list then
    return
  end
  for i = 1, #ONE do
    local inner = node.of[ONE[i]]
    if inner then
      walk(inner, visit)
    end
  end
  for i = 1, #MANY do
    local inner = node.of[MANY[i]]
    for k = 1, inner and inner.list and #inner.list or 0 do
      walk(inner.list[k], visit)
    end
  end
  for i = 1, #NAMED do
    local inner = node.of[NAMED[i]]
    for k = 1, inner and inner.keys and #inner.keys or 0 do
      walk(inner.of[inner.keys[k]], visit)
    end
  end
  visit(node)
end

local function rewrite(text, visit)
  local node = read(text, skip(text, 1))
  local out = {}
  walk(node, visit)
  put(node, out)
  return concat(out)
end

---- Gemini

local COUNTS = { "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties" }

--- Properties in the order that `propertyOrdering` gives; those it leaves out follow.
local function order_properties(properties, order)
  local keys, seen = {}, {}
  for i = 1, #order.list do
    local key = type(order.list[i]) == "string" and sub(order.list[i], 2, -2)
    if key and properties.of[key] and not seen[key] then
      keys[#keys + 1], seen[key] = key, true
    end
  end
  for i = 1, #properties.keys do
    if not seen[properties.keys[i]] then
      keys[#keys + 1] = properties.keys[i]
    end
  end
  properties.keys = keys
end

local function to_json_schema(node)
  local of = node.of
  if type(of.type) == "string" then
    of.type = lower(of.type)
  end
  if of.nullable == "true" and type(of.type) == "string" then
    of.type = { list = { of.type, '"null"' } }
    if of.enum and of.enum.list then
      of.enum.list[#of.enum.list + 1] = "null"
    end
  end
  of.nullable = nil
  for i = 1, #COUNTS do
    local count = of[COUNTS[i]]
    if type(count) == "string" then
      of[COUNTS[i]] = count:match '^"(%d+)"$' or count
    end
  end
  local order = of.propertyOrdering
  if order and order.list and of.properties and of.properties.keys then
    order_properties(of.properties, order)
  end
  of.propertyOrdering = nil
  if of.example then
    set(node, "examples", { list = { of.example } })
    of.example = nil
  end
end

--- Gemini's subset of OpenAPI (types in capitals, `nullable`, counts as strings) as JSON Schema.
function schema.from_openapi(text)
  return rewrite(text, to_json_schema)
end

local function const_to_enum(node)
  if node.of.const then
    rename(node, "const", "enum")
    node.of.enum = { list = { node.of.enum } }
  end
end

--- JSON Schema without `const`, which Gemini does not know.
function schema.without_const(text)
  return find(text, '"const"', 1, true) and rewrite(text, const_to_enum) or text
end

---- Anthropic's structured output

local function words(text, around)
  local set = {}
  for word in text:gmatch "%S+" do
    set[around and around .. word .. around or word] = true
  end
  return set
end

local KEPT = words "$defs $ref enum const anyOf allOf type properties required items format description title"
local FORMATS = words("date-time time date duration email hostname uri ipv4 ipv6 uuid", '"')
local RENAMED = { oneOf = "anyOf", definitions = "$defs" }

local function anthropic_keeps(key, value)
  if key == "format" then
    return FORMATS[value]
  elseif key == "minItems" then
    return value == "0" or value == "1"
  end
  return KEPT[key]
end

--- A value as the inside of a JSON string; a string is that already.
local function inner_text(node)
  if type(node) == "string" then
    return sub(node, 1, 1) == '"' and sub(node, 2, -2) or node
  end
  local out = {}
  put(node, out)
  return (concat(out):gsub('[\\"]', "\\%0"))
end

--- What the schema cannot say is said in words.
local function move_to_description(node, moved)
  if #moved > 0 then
    local said = node.of.description
    local speaks = type(said) == "string" and #said > 2 and sub(said, 1, 1) == '"'
    local before = speaks and sub(said, 2, -2) .. "\\n\\n" or ""
    set(node, "description", '"' .. before .. "(" .. concat(moved, ", ") .. ')"')
  end
end

--- What is not kept becomes a part of the description; of two spellings the newer one stays.
local function keep(node, is_kept)
  local of, moved = node.of, {}
  for from, to in next, RENAMED do
    if of[from] and not of[to] then
      rename(node, from, to)
    end
  end
  for i = 1, #node.keys do
    local key = node.keys[i]
    local value = of[key]
    if value and key ~= "additionalProperties" and not is_kept(key, value) then
      moved[#moved + 1] = key .. ": " .. inner_text(value)
      of[key] = nil
    end
  end
  move_to_description(node, moved)
  if type(of["$ref"]) == "string" then
    of["$ref"] = of["$ref"]:gsub("#/definitions/", "#/$defs/")
  end
end

local function to_output_format(node)
  local of = node.of
  keep(node, anthropic_keeps)
  if of.type == '"object"' or of.properties then
    set(node, "additionalProperties", "false")
  else
    of.additionalProperties = nil
  end
end

--- The subset that Anthropic's structured output takes: limits move into descriptions, objects take nothing further.
function schema.for_anthropic(text)
  return rewrite(text, to_output_format)
end

---- Cohere's structured output

local COHERE_KEPT = words "$defs $ref enum const anyOf type properties required items description title"
local COHERE_FORMATS = words("date-time date time uuid", '"')

local function cohere_keeps(key, value)
  if key == "format" then
    return COHERE_FORMATS[value]
  elseif key == "pattern" then
    return not find(value, "[%^%$]") and not find(value, "?[=!]")
  end
  return COHERE_KEPT[key]
end

local function to_cohere(node)
  keep(node, cohere_keeps)
  local required, properties = node.of.required, node.of.properties
  local first = properties and properties.keys and properties.keys[1]
  if first and not (required and required.list and required.list[1]) then
    set(node, "required", { list = { '"' .. first .. '"' } })
  end
end

--- The subset that Cohere enforces: limits move into descriptions, and an object has at least one member.
function schema.for_cohere(text)
  return rewrite(text, to_cohere)
end

return schema
