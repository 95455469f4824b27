--- part.lua - a part of a neutral conversation as a block of Converse.
local dialect = require "moongate.dialect"
local json = require "moongate.json"

local NAME = "bedrock"
local find, ipairs = string.find, ipairs

local IMAGES = { ["image/jpeg"] = "jpeg", ["image/png"] = "png", ["image/gif"] = "gif", ["image/webp"] = "webp" }
local DOCUMENTS = {
  ["application/pdf"] = "pdf", ["text/csv"] = "csv", ["text/html"] = "html", ["text/plain"] = "txt", ["text/markdown"] = "md",
  ["application/msword"] = "doc", ["application/vnd.openxmlformats-officedocument.wordprocessingml.document"] = "docx",
  ["application/vnd.ms-excel"] = "xls", ["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"] = "xlsx",
}
local VIDEOS = {
  ["video/mp4"] = "mp4", ["video/quicktime"] = "mov", ["video/x-matroska"] = "mkv", ["video/webm"] = "webm",
  ["video/x-flv"] = "flv", ["video/mpeg"] = "mpeg", ["video/x-ms-wmv"] = "wmv", ["video/3gpp"] = "three_gp",
}

local function refuse(writer, why)
  writer.ctx.refuse(dialect.spelt(writer.chat, "messages"), "has a part that " .. why)
end

--- Bytes, or a place in the account's own storage: nothing else is fetched.
local function source_of(part)
  if part.data then
    return { bytes = part.data }
  elseif part.url and find(part.url, "^s3://") then
    return { s3Location = { uri = part.url } }
  end
end

local function media(part, writer, kind, what, formats, usual)
  local source = source_of(part)
  local its_format = formats[part.mime or (not part.data and usual) or ""]
  if not source then
    return refuse(writer, "is " .. what .. " at an address, which Bedrock does not fetch")
  elseif not its_format then
    return refuse(writer, "is " .. what .. " of a format that Bedrock does not take")
  end
  return { [kind] = { format = its_format, source = source } }
end

--- Letters, digits, single blanks and a few signs.
local function document_name(name)
  local plain = (name or ""):gsub("[^%w%s%-%(%)%[%]]", "-"):gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  return plain ~= "" and plain:sub(1, 200) or "document"
end

local WRITE
local RESULTS = { text = true, image = true, document = true, video = true }

WRITE = {
  text = function(part)
    return find(part.text, "%S") and { text = part.text } or nil
  end,

  image = function(part, writer)
    return media(part, writer, "image", "an image", IMAGES, "image/png")
  end,

  document = function(part, writer)
    if part.text then
      return { text = part.name and part.name .. "\n\n" .. part.text or part.text }
    end
    local block = media(part, writer, "document", "a document", DOCUMENTS, "application/pdf")
    if block then
      block.document.name = document_name(part.name)
    end
    return block
  end,

  audio = function(part, writer)
    if not part.data then
      return refuse(writer, "is audio at an address, which Bedrock does not fetch")
    end
    return { audio = { format = part.format or "wav", source = { bytes = part.data } } }
  end,

  video = function(part, writer)
    return media(part, writer, "video", "a video", VIDEOS, "video/mp4")
  end,

  file = function(_, writer)
    return refuse(writer, "is a file kept by another vendor")
  end,

  tool_call = function(part, writer)
    local input = part.custom and json.encode { input = part.arguments } or dialect.object_text(part.arguments)
    writer.calls = true
    return { toolUse = { toolUseId = dialect.id(part.id or "call"), input = dialect.raw(input),
                         name = dialect.sent_name(writer.chat, part.name, 64) } }
  end,

  tool_result = function(part, writer)
    local content = json.array {}
    for _, inner in ipairs(part.parts) do
      if RESULTS[inner.kind] then
        content[#content + 1] = WRITE[inner.kind](inner, writer)
      else
        refuse(writer, "is in a result, where Bedrock does not take it")
      end
    end
    if #content == 0 then
      content[1] = { json = {} }
    end
    writer.calls = true
    return { toolResult = { toolUseId = dialect.id(part.id or "call"), content = content,
                            status = part.error and "error" or nil } }
  end,

  --- Only what came through Bedrock: the models behind it refuse a foreign signature.
  reasoning = function(part)
    if part.dialect ~= NAME then
      return
    elseif part.redacted then
      return { reasoningContent = { redactedContent = part.redacted } }
    elseif part.signature then
      return { reasoningContent = { reasoningText = { text = part.text or "", signature = part.signature } } }
    end
  end,

  vendor = function(part, writer)
    writer.ctx.drop(part.type or part.dialect)
  end,
}
WRITE.refusal = WRITE.text

return function(part, writer)
  return WRITE[part.kind](part, writer)
end
