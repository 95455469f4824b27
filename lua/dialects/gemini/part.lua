--- part.lua - what requests and answers of Gemini have in common: parts, signatures, media.
local json, crypto, dialect = require "moongate.json", require "moongate.crypto", require "moongate.dialect"

local NAME = "gemini"
local PACKED = "bWcxO" -- how what dialect.pack() made begins in base64
local string_of = dialect.string
local find, sub = string.find, string.sub

local part = {}

---- base64

--- In the plain alphabet, padded: some of Google's clients write the one for URLs.
function part.plain_base64(text)
  if find(text, "[-_]") then
    text = text:gsub("-", "+"):gsub("_", "/")
  end
  local over = #text % 4
  return over == 0 and text or text .. ("="):rep(4 - over)
end

---- signatures

--- Reads a part's signature as that of a reasoning part.
function part.read_signature(theirs, out)
  local text = string_of(theirs.thoughtSignature)
  if not text or text == "" then
    return out
  end
  local packed = sub(text, 1, #PACKED) == PACKED and crypto.unbase64(part.plain_base64(text))
  if packed then
    dialect.unseal(out, packed, NAME)
  else
    out.signature, out.dialect = text, NAME
  end
  return out
end

--- The signature of a reasoning part for a client of this dialect; nil when it has none.
function part.signature(of)
  local sealed = dialect.seal(of, NAME)
  return sealed and sub(sealed, 1, 4) == "mg1:" and crypto.base64(sealed) or sealed
end

--- The signature of a call for a client of this dialect. One that another vendor's model made has none: then it says
--- whose it is, so that Gemini, who would refuse a bare call, is told of it when the conversation goes on there.
function part.call_signature(signature, from)
  if signature or not from or from == NAME then
    return signature and part.signature { signature = signature, dialect = from or NAME }
  end
  return crypto.base64(dialect.pack(from))
end

---- texts

--- What was streamed in pieces, clients send back in pieces: here it is one again.
local function add_thought(theirs, parts)
  local thought = part.read_signature(theirs, { kind = "reasoning", text = theirs.text ~= "" and theirs.text or nil })
  local last = parts[#parts]
  if last and last.kind == "reasoning" and last.text and not last.signature and not thought.redacted then
    last.text = last.text .. (thought.text or "")
    last.signature, last.dialect = thought.signature, thought.dialect
  elseif thought.text or thought.signature or thought.redacted then
    parts[#parts + 1] = thought
  end
end

--- Appends a part with text. A signature on what is no thought stands behind the text, without one of its own.
function part.read_text(theirs, parts, joins)
  if theirs.thought == true then
    return add_thought(theirs, parts)
  end
  local last = parts[#parts]
  if joins and last and last.kind == "text" then
    last.text = last.text .. theirs.text
  elseif theirs.text ~= "" then
    parts[#parts + 1] = { kind = "text", text = theirs.text }
  end
  local signed = part.read_signature(theirs, { kind = "reasoning" })
  if signed.signature or signed.redacted then
    parts[#parts + 1] = signed
  end
end

---- calls

--- Reads a part with a call; `id` is what it gets when it has none.
function part.read_call(theirs, id)
  local call = theirs.functionCall
  local args = dialect.raw_value(call.args)
  local out = part.read_signature(theirs, {
    kind = "tool_call", id = string_of(call.id) or id, name = string_of(call.name) or "",
    arguments = args and dialect.text(args) or "{}",
  })
  out.signed_by, out.dialect = out.dialect, nil
  out.signature = out.signature ~= "" and out.signature or nil
  return out
end

--- The text of an object with one member of that name; nil for anything else.
function part.lone_text(text, name)
  if not find(text, '^%s*{%s*"' .. name .. '"%s*:%s*"') then
    return
  end
  local value = json.decode(text)
  local inner = type(value) == "table" and value[name]
  return type(inner) == "string" and next(value, next(value)) == nil and inner or nil
end

---- media

local EXTENSIONS = {
  png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", webp = "image/webp", gif = "image/gif", heic = "image/heic",
  pdf = "application/pdf", txt = "text/plain", html = "text/html", csv = "text/csv", mp3 = "audio/mp3", wav = "audio/wav",
  mp4 = "video/mp4", mov = "video/mov", webm = "video/webm",
}

--- The media type that an address's ending speaks of.
function part.guessed_type(url)
  local ending = url:match "^[^?#]*%.(%w+)$" or url:match "^[^?#]*%.(%w+)[?#]"
  return ending and EXTENSIONS[ending:lower()]
end

return part
