--- Schemas from one vendor's spelling to another's: what is not changed keeps its order and its spelling.
local t = require "t"
local schema = require "moongate.schema"

t.test("Gemini's types, nullable values and counts become JSON Schema's, in the order that the schema gives", function()
  t.eq(schema.from_openapi [[{"type":"OBJECT","properties":{"b":{"type":"STRING","nullable":true,"enum":["X"]},
    "a":{"type":"ARRAY","minItems":"1","items":{"type":"INTEGER","minimum":1.0}},"type":{"type":"STRING"}},
    "required":["b"],"propertyOrdering":["a","b"]}]], '{"type":"object","properties":{"a":{"type":"array","minItems":1,'
    .. '"items":{"type":"integer","minimum":1.0}},"b":{"type":["string","null"],"enum":["X",null]},"type":{"type":"string"}},'
    .. '"required":["b"]}')
end)

t.test("data inside a schema is no schema", function()
  t.eq(schema.from_openapi '{"type":"OBJECT","default":{"type":"STRING","nullable":true},"example":{"type":"OBJECT"}}',
    '{"type":"object","default":{"type":"STRING","nullable":true},"examples":[{"type":"OBJECT"}]}')
  t.eq(schema.without_const '{"anyOf":[{"const":"a","title":"x"},{"properties":{"const":{"default":{"const":1}}}}]}',
    '{"anyOf":[{"enum":["a"],"title":"x"},{"properties":{"const":{"default":{"const":1}}}}]}')
end)

t.test("a schema without what must change is the same text", function()
  local text = '{ "type" : "object", "properties" : { "b" : {}, "a" : { "maximum" : 1e3 } } }'
  t.eq(schema.without_const(text), text)
end)

t.test("strings with quotes and braces in them, empty objects and lists", function()
  t.eq(schema.from_openapi [[{"description":"a \"}\" [","type":"STRING","x":{},"y":[ ],"enum":["\\"]}]],
    [[{"description":"a \"}\" [","type":"string","x":{},"y":[],"enum":["\\"]}]])
end)
