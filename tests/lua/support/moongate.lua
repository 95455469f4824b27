--- moongate.lua - the little of the trusted state that dialects need, for a bare luajit. Not a test of the real one:
--- unit.script.dialects runs the same cases in it.
local json, sha256 = require "support.json", require "support.sha256"

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(data)
  local out = {}
  for i = 1, #data, 3 do
    local a, b, c = data:byte(i, i + 2)
    local number = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 3, 0, -1 do
      local digit = math.floor(number / 64 ^ k) % 64
      out[#out + 1] = k < 2 - (b and 1 or 0) - (c and 1 or 0) and "=" or ALPHABET:sub(digit + 1, digit + 1)
    end
  end
  return table.concat(out)
end

local function unbase64(text)
  if #text % 4 ~= 0 or text:find "[^%w+/=]" then
    return nil, { code = "invalid" }
  end
  local out = {}
  for quad in text:gmatch "...." do
    local number, kept = 0, 3
    for k = 1, 4 do
      local digit = ALPHABET:find(quad:sub(k, k), 1, true)
      kept = digit and kept or kept - 1
      number = number * 64 + (digit and digit - 1 or 0)
    end
    out[#out + 1] = string.char(math.floor(number / 65536), math.floor(number / 256) % 256, number % 256):sub(1, kept)
  end
  return table.concat(out)
end

local crypto = {
  base64 = base64,
  unbase64 = unbase64,
  sha256 = function(text)
    return { hex = sha256(text) }
  end,
  hex = function(digest)
    return digest.hex
  end,
}

package.loaded["moongate.json"], package.loaded["moongate.crypto"] = json, crypto
moongate = { json = json, crypto = crypto } -- luacheck: ignore
package.loaded["moongate"] = moongate -- luacheck: ignore
return json
