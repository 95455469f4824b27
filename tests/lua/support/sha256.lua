--- sha256.lua - for tests that run under a bare luajit.
local bit = require "bit"
local band, bnot, bxor, ror, rshift = bit.band, bit.bnot, bit.bxor, bit.ror, bit.rshift

--- The first 32 bits of the fractional part of a root.
local function fraction(root)
  return bit.tobit(math.floor((root - math.floor(root)) * 4294967296))
end

local K, H = {}, {}
local candidate = 2
while #K < 64 do
  local prime = true
  for divisor = 2, math.floor(math.sqrt(candidate)) do
    prime = prime and candidate % divisor ~= 0
  end
  if prime then
    K[#K + 1] = fraction(candidate ^ (1 / 3))
    H[#H + 1] = #H < 8 and fraction(math.sqrt(candidate)) or nil
  end
  candidate = candidate + 1
end

local function schedule(block)
  local w = {}
  for i = 1, 16 do
    local a, b, c, d = block:byte(i * 4 - 3, i * 4)
    w[i] = bit.bor(bit.lshift(a, 24), bit.lshift(b, 16), bit.lshift(c, 8), d)
  end
  for i = 17, 64 do
    local x, y = w[i - 15], w[i - 2]
    w[i] = bit.tobit(w[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + w[i - 7] + bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
  end
  return w
end

local function compress(state, block)
  local w = schedule(block)
  local a, b, c, d, e, f, g, h = unpack(state)
  for i = 1, 64 do
    local t1 = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + K[i] + w[i]
    local t2 = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
    h, g, f, e, d, c, b, a = g, f, e, bit.tobit(d + t1), c, b, a, bit.tobit(t1 + t2)
  end
  local out = { a, b, c, d, e, f, g, h }
  for i = 1, 8 do
    out[i] = bit.tobit(out[i] + state[i])
  end
  return out
end

--- The digest in hexadecimal.
return function(text)
  local length = #text * 8
  text = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. ("\0"):rep(4)
    .. string.char(rshift(length, 24), band(rshift(length, 16), 255), band(rshift(length, 8), 255), band(length, 255))
  local state = H
  for at = 1, #text, 64 do
    state = compress(state, text:sub(at, at + 63))
  end
  for i = 1, 8 do
    state[i] = bit.tohex(state[i])
  end
  return table.concat(state)
end
