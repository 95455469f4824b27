--- dialect.lua - what the files in lua/dialects share: the classes of parameters and what becomes of one that a
--- provider has no word for, the engine behind their `fields` tables, and the small conversions every pair needs.
---
--- A dialect reads a request into the neutral conversation and writes one from it (lua/meta/dialect.lua has both sides'
--- types). What a field means is a row of a table, so that reading, writing, the policy and docs/reference/dialects.md
--- cannot differ:
---
---   { "max_completion_tokens", param = "max_tokens", type = "integer" }   the same thing under another name
---   { "temperature", param = "temperature", max = 1 }                     what is larger is lowered, with a warning
---   { "service_tier", param = "service_tier", read = {…}, write = {…}, closed = true }   words that differ
---   { "background", refuse = "why", unless = false }                      no other dialect can do this
---   { "stop", param = "stop", single = true, most = 4 }                   one or a list; more of them are refused
---   { "prediction", drop = true }                                         a hint nobody else takes
---   { "stream", quiet = true }                                            has no meaning of its own behind the gateway
---   { "messages", doc = "…" }                                             the dialect's own code reads and writes it
---   { false, param = "store", keeps = false, doc = "…" }                  no field: `false` is what it does anyway
---
--- A name with a dot is a member of an object. The first row of a parameter is the one that is written; later ones are
--- further spellings that are only read. `unless` is a value that asks for nothing, as an empty list does. `native = true` also takes the
--- field from clients of other dialects who address this vendor by name.
local dialect = {}

local json, crypto = require "moongate.json", require "moongate.crypto"
local concat, find, floor, format, sub = table.concat, string.find, math.floor, string.format, string.sub
local next, type = next, type

--- Places in frames and in bodies of errors, where the core puts JSON: a piece's text, the running number of an event,
--- and what an error says.
dialect.TEXT, dialect.SEQ = 1, 2
dialect.MESSAGE, dialect.TYPE, dialect.CODE, dialect.PARAM, dialect.STATUS = 3, 4, 5, 6, 7

local null = json.null
dialect.null, dialect.array, dialect.decode, dialect.encode = null, json.array, json.decode, json.encode
dialect.raw, dialect.text = json.raw, json.text

---- parameters

--- In the order in which warnings name them. The class decides what happens when the provider's dialect has no row:
---   hint      dropped, and the client is told in a header
---   shape     refused, because the answer would be another one; dropped for lenient clients
---   security  refused, for lenient clients too
dialect.params = {
  { "max_tokens", "shape", "most tokens of an answer, reasoning included" },
  { "temperature", "hint", "randomness of sampling" },
  { "top_p", "hint", "share of probability that is sampled from" },
  { "top_k", "hint", "number of tokens that are sampled from" },
  { "min_p", "hint", "least probability that is sampled from" },
  { "stop", "shape", "sequences that end the answer" },
  { "seed", "hint", "seed of sampling" },
  { "n", "shape", "number of answers" },
  { "presence_penalty", "hint", "penalty for tokens that occurred" },
  { "frequency_penalty", "hint", "penalty for tokens by how often they occurred" },
  { "logit_bias", "hint", "bias of single tokens" },
  { "logprobs", "shape", "log probabilities of the answer's tokens" },
  { "top_logprobs", "shape", "alternatives per token with their log probabilities" },
  { "modalities", "shape", "kinds of output besides text" },
  { "audio", "shape", "voice and format of spoken output" },
  { "user", "hint", "who the end user is; sent as a digest" },
  { "metadata", "hint", "labels of the client; the gateway's log keeps them" },
  { "service_tier", "hint", "tier of processing" },
  { "verbosity", "hint", "how wordy the answer is" },
  { "store", "security", "whether the provider keeps the answer" },
  { "cache_key", "hint", "what the provider's prompt cache is looked up by" },
  { "cache_options", "hint", "how the provider's prompt cache is used" },
  { "cached_content", "shape", "a cached prompt kept in the provider's account" },
  { "moderation", "security", "moderation of input and output" },
  { "safety", "security", "thresholds of the provider's safety filters" },
  { "region", "security", "where the provider may process the request" },
  { "web_search", "shape", "the provider's own web search" },
  { "truncation", "shape", "what the provider leaves out of an input that is too long" },
  { "max_tool_calls", "shape", "most calls of the provider's own tools" },
  { "media_resolution", "hint", "resolution at which media are read" },
  { "speech", "shape", "voice of spoken output" },
}

local class_of = {}
for _, row in ipairs(dialect.params) do
  class_of[row[1]] = row[2]
end

--- The name of a parameter (or of `output`, `tool_choice`, `reasoning`) in the client's own words.
function dialect.spelt(chat, param)
  return chat.spelt[param] or param
end

--- Has something the target has no word for: by the class of the parameter.
function dialect.unmapped(rows, chat, param, ctx)
  local class = class_of[param]
  if class == "hint" then
    ctx.drop(dialect.spelt(chat, param))
  else
    ctx.refuse(dialect.spelt(chat, param), "has no counterpart in " .. rows.label, class == "security")
  end
end

---- rows of fields

--- What stayed JSON text, such as a number that a double does not hold.
local function raw_text(value)
  return type(value) == "table" and dialect.text(value) or ""
end

local CHECKS = {
  integer = function(value)
    return type(value) == "number" and value == floor(value) or find(raw_text(value), "^%-?%d+$") ~= nil
  end,
  number = function(value)
    return type(value) == "number" or find(raw_text(value), "^%-?%d") ~= nil
  end,
  boolean = function(value)
    return type(value) == "boolean"
  end,
  string = function(value)
    return type(value) == "string"
  end,
  list = json.is_array,
}
local KIND_WORDS = {
  integer = "an integer", number = "a number", boolean = "true or false", string = "a string", list = "a list",
}

--- Prepares a table of rows: `label` is the dialect's name for people.
function dialect.fields(name, label, rows)
  rows.dialect, rows.label, rows.known, rows.by_param, rows.native = name, label, {}, {}, {}
  for _, row in ipairs(rows) do
    if row.param and not class_of[row.param] then
      error("dialect " .. name .. ": there is no parameter " .. row.param)
    end
    local field = row[1]
    if field then
      local object, member = field:match "^([^.]+)%.(.+)$"
      row.object, row.member, row.check = object, member or field, CHECKS[row.type]
      if object then
        rows.known[object] = type(rows.known[object]) == "table" and rows.known[object] or {}
        rows.known[object][member] = true
      else
        rows.known[field] = rows.known[field] or true
      end
      rows.native[field] = row.native
    end
    if row.param then
      rows.by_param[row.param] = rows.by_param[row.param] or row
    end
  end
  return rows
end

local function same(value, other)
  if type(value) == "table" and type(other) == "table" then
    return #value == 1 and #other == 1 and value[1] == other[1]
  end
  return value == other
end

local function is_empty_list(value)
  return json.is_array(value) and #value == 0 or find(raw_text(value), "^%[%s*%]$") ~= nil
end

local function read_row(row, value, chat, ctx)
  local field, param = row[1], row.param
  if row.unless ~= nil and same(value, row.unless) then
    return
  elseif row.check and not row.check(value) then
    ctx.refuse(field, "must be " .. KIND_WORDS[row.type])
  elseif is_empty_list(value) then
    return
  elseif row.refuse then
    ctx.refuse(field, row.refuse, row.always, row.code)
  elseif row.drop then
    ctx.drop(field)
  elseif param and chat.params[param] == nil then
    if row.read then
      value = row.read[value] or value
    end
    if row.single and type(value) ~= "table" then
      value = { value }
    end
    chat.params[param], chat.spelt[param] = value, field
  end
end

local function read_unknown(rows, body, chat)
  for name, value in next, body do
    local known = rows.known[name]
    if not known and value ~= null then
      chat.vendor[name] = value
    elseif type(known) == "table" and type(value) == "table" then
      for member, inner in next, value do
        if not known[member] and inner ~= null then
          chat.vendor[name .. "." .. member] = inner
        end
      end
    end
  end
end

--- An empty conversation.
function dialect.chat(name)
  return { dialect = name, turns = {}, params = {}, spelt = {}, vendor = {} }
end

--- Reads the scalars of a request; fields that no row knows land in `chat.vendor`.
function dialect.read_fields(rows, body, chat, ctx)
  for i = 1, #rows do
    local row = rows[i]
    if row[1] and (row.param or row.refuse or row.drop) then
      local from = body
      if row.object then
        from = body[row.object]
      end
      if type(from) == "table" then
        local value = from[row.member]
        if value ~= nil and value ~= null then
          read_row(row, value, chat, ctx)
        end
      end
    end
  end
  read_unknown(rows, body, chat)
end

local function bounded(row, value, chat, ctx)
  local limit = row.max and value > row.max and row.max or row.min and value < row.min and row.min
  if not limit then
    return value
  end
  ctx.warn(format("%s=%s", dialect.spelt(chat, row.param), limit))
  return limit
end

local function write_row(row, value, chat, body, ctx)
  if row.keeps ~= nil then
    if value ~= row.keeps then
      ctx.drop(dialect.spelt(chat, row.param))
    end
    return
  end
  if row.write then
    local word = row.write[value]
    if word == nil and row.closed then
      return ctx.drop(dialect.spelt(chat, row.param))
    end
    value = word or value
  end
  if type(value) == "number" then
    value = bounded(row, value, chat, ctx)
  elseif row.most and #value > row.most then
    ctx.refuse(dialect.spelt(chat, row.param), format("has more than %d, which is all this provider takes", row.most))
    value = { unpack(value, 1, row.most) }
  end
  if row.object then
    body[row.object] = body[row.object] or {}
    body = body[row.object]
  end
  body[row.member] = value
end

--- What the words of `refuses` of the catalogue of models mean; any other is the name of a parameter, or for a dialect's own
--- ears (docs/reference/models.md).
local REFUSED = {
  sampling = { "temperature", "top_p", "top_k", "min_p" },
  penalties = { "presence_penalty", "frequency_penalty", "logit_bias" },
  logprobs = { "logprobs", "top_logprobs" },
}

local function strip_param(chat, param, ctx)
  local value = chat.params[param]
  if value == nil then
    return
  elseif class_of[param] == "hint" then
    ctx.drop(dialect.spelt(chat, param))
  else
    ctx.refuse(dialect.spelt(chat, param), "this model does not take it")
  end
  chat.params[param] = nil
end

--- Takes away what a model refuses, by the words of the catalogue. `reasoned` among them: only while it reasons.
function dialect.strip(chat, words, ctx)
  if not words or find(words, "reasoned", 1, true) and chat.reasoning and chat.reasoning.effort == "none" then
    return
  end
  for word in words:gmatch "[%w_]+" do
    for _, param in ipairs(REFUSED[word] or { word }) do
      if class_of[param] then
        strip_param(chat, param, ctx)
      end
    end
  end
end

--- Writes the parameters the dialect has rows for, and treats the others by their class.
function dialect.write_fields(rows, chat, body, ctx)
  local params, by_param = chat.params, rows.by_param
  dialect.strip(chat, ctx.caps and ctx.caps.refuses, ctx)
  if params.logprobs and ctx.stream then -- the pieces of a translated stream have no room for them
    ctx.refuse(dialect.spelt(chat, "logprobs"), "cannot be translated in a stream")
    params.logprobs, params.top_logprobs = nil, nil
  end
  for i = 1, #dialect.params do
    local param = dialect.params[i][1]
    local value = params[param]
    if value ~= nil then
      local row = by_param[param]
      if row and (row.member or row.keeps ~= nil) then
        write_row(row, value, chat, body, ctx)
      elseif not row then
        dialect.unmapped(rows, chat, param, ctx)
      end
    end
  end
  dialect.write_vendor(rows, chat, body, ctx)
end

--- What the client's own dialect does not know: for this vendor when it is one of its fields, else dropped.
function dialect.write_vendor(rows, chat, body, ctx)
  if next(chat.vendor) == nil then
    return
  end
  local names = {}
  for name in next, chat.vendor do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if rows.native[name] or chat.dialect == rows.dialect then
      body[name] = chat.vendor[name]
    else
      ctx.drop(name)
    end
  end
end

---- values

--- The string, or nil for anything else (null among it).
function dialect.string(value)
  return type(value) == "string" and value or nil
end

--- The boolean, or nil for anything else.
function dialect.boolean(value)
  if type(value) == "boolean" then
    return value
  end
end

--- A JSON value that says something.
function dialect.given(value)
  return value ~= nil and value ~= null
end

--- The value, or nil for null.
function dialect.some(value)
  if value ~= null then
    return value
  end
end

--- A list to walk; nothing for null and for what is no table.
local NOTHING = {}
function dialect.list(value)
  return type(value) == "table" and value or NOTHING
end

--- A value that was handed over as JSON text; nil for null.
function dialect.raw_value(value)
  if value ~= nil and value ~= null and dialect.text(value) ~= "null" then
    return value
  end
end

--- The opposite direction of a table of words. Where several have the same meaning, `preferred` says which is written.
function dialect.inverse(words, preferred)
  local out = {}
  for theirs, neutral in next, words do
    if out[neutral] == nil or theirs < out[neutral] then
      out[neutral] = theirs
    end
  end
  for neutral, theirs in next, preferred or {} do
    out[neutral] = theirs
  end
  return out
end

---- media

--- Beginnings of files in base64, for data URLs that do not say what they are.
local MAGIC = {
  { "iVBORw0KGgo", "image/png" }, { "/9j/", "image/jpeg" }, { "R0lGOD", "image/gif" }, { "UklGR", "image/webp" },
  { "JVBERi0", "application/pdf" },
}

function dialect.sniffed(data)
  for _, row in ipairs(MAGIC) do
    if sub(data, 1, #row[1]) == row[1] then
      return row[2]
    end
  end
end

--- The type under the name vendors take.
function dialect.media_type(mime, data)
  mime = mime and mime:lower() or ""
  if mime == "" or mime == "application/octet-stream" then
    return dialect.sniffed(data)
  end
  return mime == "image/jpg" and "image/jpeg" or mime
end

--- Type and base64 text of a data URL. Nothing when it is none; nil and why when it is a broken one.
function dialect.data_url(url)
  if sub(url, 1, 5):lower() ~= "data:" then
    return
  end
  local comma = find(url, ",", 6, true)
  local head = comma and sub(url, 6, comma - 1):lower()
  if not head or sub(head, -7) ~= ";base64" then
    return nil, "must be a data URL in base64"
  end
  local data = sub(url, comma + 1)
  if data == "" or #data % 4 == 1 or find(sub(data, 1, 64), "[^%w+/=]") then
    return nil, "is not base64"
  end
  return dialect.media_type(head:match "^[^;]*", data), data
end

function dialect.to_data_url(mime, data)
  return "data:" .. mime .. ";base64," .. data
end

local TEXTS = { ["application/json"] = true, ["application/xml"] = true, ["application/x-yaml"] = true }

--- The text of a document that is one, nil of any other.
function dialect.document_text(part)
  local mime = part.mime or ""
  if part.text then
    return part.text
  elseif part.data and (sub(mime, 1, 5) == "text/" or TEXTS[mime]) then
    return (crypto.unbase64(part.data))
  end
end

--- The same with its name in front, for providers that know no documents.
function dialect.spoken_document(part)
  local text = dialect.document_text(part)
  return text and (part.name and part.name .. "\n\n" .. text or text)
end

---- names and ids

--- The beginning of a text's digest, in hexadecimal.
function dialect.digest(text, length)
  return sub(crypto.hex(crypto.sha256(text)), 1, length)
end

--- An end user's id as a provider may see it: the same for the same user, and nothing else about them.
function dialect.hashed(text)
  return dialect.digest("user\0" .. text, 32)
end

--- A name of at most `max` letters, digits, `_` and `-`. What does not fit is replaced by something that depends on the
--- name alone: the same conversation reads the same the next time, and the prompt cache stays warm.
function dialect.plain_name(text, max)
  if #text <= max and not find(text, "[^%w_-]") and text ~= "" then
    return text
  end
  return sub(text:gsub("[^%w_-]", "_"), 1, max - 9) .. "_" .. dialect.digest(text, 8)
end

function dialect.id(text)
  return dialect.plain_name(text, 64)
end

--- The name under which a tool goes to the provider. `dialect.tool_name` gives the client its own back. `plain` is for
--- providers that take fewer signs than others.
function dialect.sent_name(chat, name, max, plain)
  local sent = (plain or dialect.plain_name)(name, max)
  if sent ~= name then
    chat.renamed = chat.renamed or {}
    chat.renamed[sent] = name
  end
  return sent
end

--- What the answer's side must know of the request, or nil: names that were changed, which tools are free-form, and
--- what an answer of the client's dialect repeats. `wrapped` says that the provider knows no free-form tools and gets
--- them as a schema with one string.
function dialect.memo(chat, wrapped)
  if chat.renamed or chat.custom or chat.asked then
    return { renamed = chat.renamed, custom = chat.custom, asked = chat.asked, wrapped = wrapped or nil }
  end
end

--- The client's name of a tool that the provider called. Takes the memo of the request.
function dialect.tool_name(memo, name)
  local renamed = memo and memo.renamed
  return renamed and renamed[name] or name
end

---- tools

--- Free-form tools, where a provider knows only those with a schema: one string, `input`.
dialect.CUSTOM_SCHEMA = '{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],'
  .. '"additionalProperties":false}'

--- The schema of a tool without arguments, as JSON text: some providers take none that is empty, or none at all.
dialect.NO_ARGUMENTS = '{"type":"object","properties":{}}'

--- A tool's schema as JSON text; NO_ARGUMENTS when it has none, or an empty one.
function dialect.schema_text(tool)
  local text = tool.schema and dialect.text(tool.schema) or ""
  if not find(text, "^%s*{") or find(text, "^%s*{%s*}%s*$") then
    return dialect.NO_ARGUMENTS
  end
  return text
end

--- A description as providers take it: none rather than an empty one, and what a free-form tool must be told.
function dialect.description(tool)
  if tool.kind == "custom" then
    return dialect.custom_description(tool)
  end
  return tool.description ~= "" and tool.description or nil
end

--- The members of a body that are named, and no others.
function dialect.only(body, names)
  local chosen = {}
  for _, name in ipairs(names) do
    chosen[name] = body[name]
  end
  return chosen
end

--- What a model must be told about a free-form tool's format.
function dialect.custom_description(tool)
  local text = tool.description or ""
  local grammar = tool.format and dialect.text(tool.format)
  if grammar and not find(grammar, '"text"', 1, true) then
    text = text .. (text == "" and "" or "\n\n") .. "`input` must have this format: " .. grammar
  end
  return text ~= "" and text or nil
end

--- Whether the client declared the tool as a free-form one. Takes the memo of the request, or the request.
function dialect.is_custom(memo, name)
  local custom = memo and memo.custom
  return custom ~= nil and custom[dialect.tool_name(memo, name)] == true
end

--- The text inside the arguments of a free-form tool that was called through a schema; what is no such object stays.
function dialect.unwrapped(arguments)
  local value = json.decode(arguments)
  local input = type(value) == "table" and value.input
  return type(input) == "string" and input or arguments
end

--- Arguments as a JSON object: empty ones are `{}`; what is no object is kept under `_raw`, so that it is not lost.
function dialect.object_text(arguments)
  if arguments == nil or not find(arguments, "%S") then
    return "{}"
  end
  if find(arguments, "^%s*{") and pcall(json.raw, arguments) then
    return arguments
  end
  return json.encode { _raw = arguments }
end

---- reasoning

dialect.efforts = { none = 0, minimal = 1, low = 2, medium = 3, high = 4, xhigh = 5, max = 6 }

--- Shares of the whole limit, as other gateways have them; vendors say nothing.
local SHARES = { low = 0.15, medium = 0.5, high = 0.8, xhigh = 0.9, max = 1 }
local LEAST_BUDGET, RESERVE = 1024, 1024

--- The budget of an effort, when at most `max_tokens` may be written.
function dialect.budget(effort, max_tokens)
  local budget = floor((SHARES[effort] or 0) * max_tokens)
  return math.max(LEAST_BUDGET, math.min(budget, max_tokens - RESERVE))
end

--- The effort that comes nearest to a budget.
function dialect.effort(budget)
  return budget <= 0 and "none" or budget <= 2048 and "low" or budget <= 8192 and "medium" or "high"
end

--- Opaque state of another vendor in a field that a client sends back: `mg1:dialect:call:text`.
function dialect.pack(from, text, call)
  return "mg1:" .. from .. ":" .. (call or "") .. ":" .. (text or "")
end

--- What stands where a client's own vendor would have signed, and who answered has signed nothing: by it a conversation
--- that goes on at that vendor is known to have come from elsewhere.
dialect.UNSIGNED = dialect.pack ""

--- Dialect, text and call of packed state; nothing when it is not ours.
function dialect.unpack(packed)
  local from, call, text = packed:match "^mg1:([^:]*):([^:]*):(.*)$"
  if from then
    return from, text, call ~= "" and call or nil
  end
end

--- The opaque state of a reasoning part in a field with room for one text; what its own vendor wrote stays as it was.
function dialect.seal(part, own, call)
  if part.redacted then
    return dialect.pack(part.dialect or "", "redacted." .. part.redacted, call)
  elseif part.signature then
    return part.dialect == own and not call and part.signature or dialect.pack(part.dialect or "", part.signature, call)
  end
end

--- Reads such a field into a reasoning part, and gives the id of the call that the state belongs to, if it is one's.
function dialect.unseal(part, text, own)
  if not text or text == dialect.UNSIGNED then
    return
  end
  local from, sealed, call = dialect.unpack(text)
  part.dialect = from or own
  sealed = sealed or text
  local redacted = from and sealed:match "^redacted%.(.*)$"
  if redacted then
    part.redacted = redacted
  else
    part.signature = sealed
  end
  return call
end

---- turns

--- What a user says first where a conversation must not begin with the assistant's words.
dialect.OPENING = "(The conversation begins with your words.)"

---- answers

--- The reason a turn ended with: tool calls decide, not what was said first. A provider that calls a tool and says
--- "stop", or the other way round, is read by what it did.
function dialect.finish(reason, called)
  if called and (reason == "stop" or reason == nil) then
    return "tool"
  elseif reason == "tool" and not called then
    return "stop"
  end
  return reason
end

--- Concatenates the texts of parts of a kind; nil when there is none.
function dialect.texts(parts, kind, between)
  local out, count = nil, 0
  for i = 1, #parts do
    local part = parts[i]
    if part.kind == kind and part.text then
      count = count + 1
      if count == 1 then
        out = part.text
      elseif count == 2 then
        out = { out, part.text }
      else
        out[count] = part.text
      end
    end
  end
  return count > 1 and concat(out, between or "") or out
end

--- The text of a JSON string.
function dialect.unquoted(text)
  return text and json.decode(text) or ""
end

--- JSON of a string, with quotes.
function dialect.quoted(text)
  return text == nil and "null" or json.encode(text)
end

return dialect
