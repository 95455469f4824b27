--- part.lua - parts of a neutral conversation as blocks of a message for Cohere: texts and images are all it reads.
local dialect = require "moongate.dialect"

local find = string.find

local IMAGES = { ["image/jpeg"] = true, ["image/png"] = true, ["image/gif"] = true, ["image/webp"] = true }

local part = {}

local function refuse(writer, why)
  writer.ctx.refuse(dialect.spelt(writer.chat, "messages"), "has a part that " .. why)
end

local function text_of(text)
  return find(text, "%S") and { type = "text", text = text } or nil
end

local WRITE = {
  text = function(of)
    return text_of(of.text)
  end,

  image = function(of, writer)
    if of.data and not IMAGES[of.mime or ""] then
      return refuse(writer, "is an image of a format that Cohere does not read")
    end
    local url = of.url or dialect.to_data_url(of.mime, of.data)
    if not find(url, "^https?://") and not of.data then
      return refuse(writer, "is an image at an address that Cohere does not fetch")
    end
    local detail = (of.detail == "low" or of.detail == "high") and of.detail or nil
    return { type = "image_url", image_url = { url = url, detail = detail } }
  end,

  document = function(of, writer)
    local text = dialect.spoken_document(of)
    return text and text_of(text) or refuse(writer, "is a document that is no text, which Cohere does not read")
  end,

  audio = function(_, writer)
    return refuse(writer, "is audio, which Cohere does not hear")
  end,

  video = function(_, writer)
    return refuse(writer, "is a video, which Cohere does not see")
  end,

  file = function(_, writer)
    return refuse(writer, "is a file kept by another vendor")
  end,

  vendor = function(of, writer)
    writer.ctx.drop(of.type or of.dialect)
  end,
}
WRITE.refusal = WRITE.text

--- A block of a message, or nil when there is nothing to say.
function part.block(of, writer)
  return WRITE[of.kind](of, writer)
end

--- What can be cited: what it is called, and what it says.
function part.source(of, id)
  return { id = id, data = { title = of.name, text = dialect.document_text(of) } }
end

return part
