local t = require "t"
local dialect = require "moongate.dialect"

t.test("a name that fits stays, another is replaced by one that depends on it alone", function()
  t.eq(dialect.plain_name("get_weather-2", 64), "get_weather-2")
  local sent = dialect.plain_name("maps.search:v1", 64)
  t.ok(sent:find "^maps_search_v1_%x%x%x%x%x%x%x%x$", sent)
  t.eq(dialect.plain_name("maps.search:v1", 64), sent)
  t.ok(dialect.plain_name("maps:search.v1", 64) ~= sent, "another name, the same replacement")
  t.eq(#dialect.plain_name(("x"):rep(200), 64), 64)
end)

t.test("the digest is the one everybody computes", function()
  local crypto = require "moongate.crypto"
  t.eq(crypto.hex(crypto.sha256 "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
end)

t.test("data URLs are read strictly", function()
  local function read(url)
    return { dialect.data_url(url) }
  end
  t.eq(read "https://example.com/a.png", {})
  t.eq(read "data:image/jpg;base64,/9j/AAAA", { "image/jpeg", "/9j/AAAA" })
  t.eq(read "data:;base64,iVBORw0KGgoA", { "image/png", "iVBORw0KGgoA" })
  t.eq(read "data:text/plain;charset=utf-8;base64,aGk=", { "text/plain", "aGk=" })
  t.eq({ select(2, dialect.data_url "data:image/png,abc") }, { "must be a data URL in base64" })
  t.eq({ select(2, dialect.data_url "data:image/png;base64,a b") }, { "is not base64" })
end)

t.test("packed state comes back with who wrote it and for which call", function()
  t.eq({ dialect.unpack(dialect.pack("gemini", "ab:c==", "call_1")) }, { "gemini", "ab:c==", "call_1" })
  t.eq({ dialect.unpack(dialect.pack("openai_responses", "x")) }, { "openai_responses", "x" })
  t.eq({ dialect.unpack "EqQBCgIYAhIM1gbcDa9GJwZA2b3h" }, {})
end)
