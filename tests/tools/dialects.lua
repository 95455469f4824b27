-- docs/reference/dialects.md from lua/dialects: the tables of fields, and what becomes of a part, found by translating
-- one.
-- Without an argument: fails when the page is not what it would write; `write` writes it.
package.path = "tests/lua/?.lua;lua/?.lua;" .. package.path
local json = require("support.moongate")
local dialect = require("moongate.dialect")

local PAGE = "docs/reference/dialects.md"
local CLIENTS = { "openai_chat", "openai_responses", "anthropic", "gemini" }
local PROVIDERS = { "openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "cohere" }
local MODELS = {
    openai_chat = "gpt-5", openai_responses = "gpt-5", anthropic = "claude-opus-4-6", gemini = "gemini-2.5-pro",
    bedrock = "anthropic.claude-opus-4-6-v1:0", cohere = "command-a-reasoning-08-2025",
}

local dialects = {}
for _, name in ipairs(PROVIDERS) do
    dialects[name] = require("dialects." .. name)
end

local out = {}
local function put(line, ...)
    out[#out + 1] = select("#", ...) > 0 and line:format(...) or line or ""
end

local function code(text)
    return "`" .. text:gsub("|", "\\|") .. "`"
end

local function put_row(cells)
    put("| " .. table.concat(cells, " | ") .. " |")
end

local function put_head(first, names)
    local cells, rule = { first }, { "---" }
    for _, name in ipairs(names) do
        cells[#cells + 1], rule[#rule + 1] = dialects[name].label, "---"
    end
    put_row(cells)
    put("|" .. table.concat(rule, "|") .. "|")
end

---- fields

local CLASSES = {}
for _, row in ipairs(dialect.params) do
    CLASSES[row[1]] = row[2]
end

local LOST = { hint = "dropped", shape = "**refused**", security = "**refused**, always" }

local function words_of(row, value)
    local words = {}
    for word in pairs(row.write or {}) do
        words[#words + 1] = tostring(word)
    end
    table.sort(words)
    return row.closed and " (" .. table.concat(words, ", ") .. "; others dropped)" or value
end

-- What becomes of a parameter in another dialect.
local function written(target, param)
    local row = target.fields.by_param[param]
    if not row then
        return LOST[CLASSES[param]]
    elseif row.keeps ~= nil then
        return ("only `%s`, else dropped"):format(tostring(row.keeps))
    elseif not row[1] then
        return row.doc or ""
    end
    local limit = row.max and "; at most " .. row.max or row.min and "; at least " .. row.min
        or row.most and "; at most " .. row.most .. " of them" or ""
    return code(row[1]) .. limit .. words_of(row, "")
end

local function put_field(name, row, targets)
    local cells = { code(row[1]) }
    for _, target in ipairs(targets) do
        if row.refuse then
            cells[#cells + 1] = row.always and LOST.security or LOST.shape
        elseif row.drop then
            cells[#cells + 1] = LOST.hint
        elseif row.param then
            cells[#cells + 1] = written(dialects[target], row.param)
        end
    end
    put_row(cells)
end

local function put_fields(name)
    local its, targets = dialects[name], {}
    for _, other in ipairs(PROVIDERS) do
        if other ~= name then
            targets[#targets + 1] = other
        end
    end
    put()
    put("## From clients of %s", its.label)
    put()
    put_head("field", targets)
    for _, row in ipairs(its.fields) do
        if row[1] and (row.refuse or row.drop or row.param) then
            put_field(name, row, targets)
        end
    end
    put()
    put("| field | becomes |")
    put("|---|---|")
    for _, row in ipairs(its.fields) do
        if row[1] and row.doc and not (row.refuse or row.drop or row.param) then
            put_row({ code(row[1]), row.doc })
        end
    end
    for _, row in ipairs(its.fields) do
        if row.refuse then
            put()
            put("%s %s.", code(row[1]), row.refuse)
        end
    end
end

-- Fields of dialects that no client speaks: where each comes from.
local function put_own_fields()
    for _, name in ipairs(PROVIDERS) do
        local its = dialects[name]
        if not its.read_request then
            put()
            put("## To providers of %s", its.label)
            put()
            put("No surface takes it from clients. `native` fields come from clients who address such a provider by its own words.")
            put()
            put("| field | is written from |")
            put("|---|---|")
            for _, row in ipairs(its.fields) do
                if row[1] and not row.quiet then
                    local from = { row.param and code(row.param) or row.doc }
                    from[#from + 1] = row.native and "`native`" or nil
                    put_row({ code(row[1]), table.concat(from, "; ") })
                end
            end
        end
    end
end

---- parts, tools and the rest, by trying

local function ctx_for(name)
    local ctx = { model = MODELS[name], vendor = name, dialect = name, id = "01", created = 1795392000, lost = {} }
    function ctx.drop(field)
        ctx.lost[#ctx.lost + 1] = field
    end
    ctx.warn = ctx.drop
    function ctx.refuse(_, message)
        error({ message = message }, 0)
    end
    return ctx
end

-- Where the last thing that was said stands.
local LAST = {
    openai_chat = function(body)
        local message = body.messages[#body.messages]
        if message.tool_calls then
            return message.tool_calls[1]
        end
        local content = message.content
        if content == nil then
            return message
        end
        return type(content) == "table" and content ~= json.null and #content == 1 and content[1]
            or message.role == "tool" and message or content
    end,
    openai_responses = function(body)
        local item = body.input[#body.input]
        return type(item.content) == "table" and item.content[1] or item.content or item
    end,
    anthropic = function(body)
        local content = body.messages[#body.messages].content
        return content[#content]
    end,
    gemini = function(body)
        local parts = body.contents[#body.contents].parts
        return parts[#parts]
    end,
    bedrock = function(body)
        local content = body.messages[#body.messages].content
        return content[#content]
    end,
    cohere = function(body)
        local message = body.messages[#body.messages]
        if body.documents then
            return { documents = body.documents, content = message.content }
        end
        return message.tool_calls and message.tool_calls[1] or message.role == "tool" and message or message.content
    end,
}

local function chat_of(members)
    local chat = { dialect = "probe", turns = {}, params = {}, spelt = {}, vendor = {} }
    for key, value in pairs(members) do
        chat[key] = value
    end
    return chat
end

local function tried(name, members, pick)
    local ctx = ctx_for(name)
    local ok, body = pcall(dialects[name].write_request, chat_of(members), ctx)
    if not ok then
        if type(body) ~= "table" then
            error(body, 0)
        end
        return "**refused**: " .. body.message
    end
    local value = pick(body)
    local text = value ~= nil and code(json.encode(value)) or "left out"
    return #ctx.lost > 0 and text .. ", warned" or text
end

local USER = { role = "user", parts = { { kind = "text", text = "Hi" } } }
local CALL = { kind = "tool_call", id = "call_1", name = "f", arguments = '{"a":1}' }
local SCHEMA = json.raw('{"type":"object","properties":{}}')
local TOOL = { kind = "function", name = "f", description = "F", schema = SCHEMA }

local PARTS = {
    { "text", { kind = "text", text = "Hi" } },
    { "image by URL", { kind = "image", url = "https://e.org/a.png", detail = "high" } },
    { "image", { kind = "image", mime = "image/png", data = "iVBO" } },
    { "image of another kind", { kind = "image", mime = "image/tiff", data = "SUkq" } },
    { "PDF", { kind = "document", mime = "application/pdf", data = "JVBE", name = "a.pdf" } },
    { "document by URL", { kind = "document", url = "https://e.org/a.pdf" } },
    { "document of text", { kind = "document", text = "abc", name = "Notes" } },
    { "audio", { kind = "audio", data = "UklG", format = "wav" } },
    { "video by URL", { kind = "video", url = "https://e.org/a.mp4" } },
    { "file of another vendor", { kind = "file", id = "file-1", dialect = "other" } },
}

local SAID = {
    { "text", { kind = "text", text = "Hi" } },
    { "refusal", { kind = "refusal", text = "No." } },
    { "call of a function", CALL },
    { "call of a free-form tool", { kind = "tool_call", id = "call_1", name = "f", arguments = "x", custom = true } },
}

local function put_tried(title, rows, members_of, picks)
    put()
    put("| %s | %s |", title, table.concat(PROVIDERS, " | "))
    put("|---" .. ("|---"):rep(#PROVIDERS) .. "|")
    for _, row in ipairs(rows) do
        local cells = { row[1] }
        for _, name in ipairs(PROVIDERS) do
            cells[#cells + 1] = tried(name, members_of(row[2]), picks[name])
        end
        put_row(cells)
    end
end

local function member(...)
    local names = { ... }
    return function(body)
        local picked
        for _, name in ipairs(names) do
            if body[name] ~= nil then
                picked = picked or {}
                picked[name] = body[name]
            end
        end
        return picked
    end
end

local function put_parts()
    put()
    put("## Parts of a conversation")
    put()
    put("What a user's part becomes at a provider of each dialect, found by translating one:")
    put_tried("part", PARTS, function(part)
        return { turns = { { role = "user", parts = { part } } } }
    end, LAST)
    put()
    put("What the assistant said, when it comes back with the next request:")
    put_tried("part", SAID, function(part)
        local result = { kind = "tool_result", id = "call_1", name = "f", parts = { { kind = "text", text = "ok" } } }
        local answer = part.kind == "tool_call" and { role = "user", parts = { result } } or USER
        local chat = { turns = { USER, { role = "assistant", parts = { part } }, answer }, tools = { TOOL } }
        if part.custom then
            chat.tools, chat.custom = { { kind = "custom", name = "f", description = "F" } }, { f = true }
        end
        return chat
    end, {
        openai_chat = function(body)
            return LAST.openai_chat({ messages = { body.messages[2] } })
        end,
        openai_responses = function(body)
            return LAST.openai_responses({ input = { body.input[2] } })
        end,
        anthropic = function(body)
            return LAST.anthropic({ messages = { body.messages[2] } })
        end,
        gemini = function(body)
            return LAST.gemini({ contents = { body.contents[2] } })
        end,
        bedrock = function(body)
            return LAST.bedrock({ messages = { body.messages[2] } })
        end,
        cohere = function(body)
            return LAST.cohere({ messages = { body.messages[2] } })
        end,
    })
    put()
    put("Results of tools:")
    put_tried("result", {
        { "text", { kind = "tool_result", id = "call_1", name = "f", parts = { { kind = "text", text = "ok" } } } },
        { "an error",
          { kind = "tool_result", id = "call_1", name = "f", error = true,
            parts = { { kind = "text", text = "no" } } } },
    }, function(part)
        local turns = { USER, { role = "assistant", parts = { CALL } }, { role = "user", parts = { part } } }
        return { tools = { TOOL }, turns = turns }
    end, LAST)
end

local function put_settings()
    put()
    put("## Tools, form and reasoning")
    put_tried("choice of tools", {
        { "auto", { mode = "auto" } }, { "none", { mode = "none" } }, { "required", { mode = "required" } },
        { "one by name", { mode = "tool", name = "f" } }, { "some of them", { mode = "auto", allowed = { "f" } } },
    }, function(choice)
        return { turns = { USER }, tools = { TOOL }, tool_choice = choice }
    end, {
        openai_chat = member("tool_choice"), openai_responses = member("tool_choice"),
        anthropic = member("tool_choice"), gemini = member("toolConfig"), cohere = member("tool_choice"),
        bedrock = function(body)
            return body.toolConfig and body.toolConfig.toolChoice
        end,
    })
    put()
    put_tried("form of the answer", {
        { "JSON", { kind = "json_object" } },
        { "a schema", { kind = "json_schema", name = "x", strict = true, schema = SCHEMA } },
    }, function(output)
        return { turns = { USER }, output = output }
    end, {
        openai_chat = member("response_format"), openai_responses = member("text", "instructions"),
        anthropic = member("output_config", "system"), gemini = member("generationConfig"),
        bedrock = member("outputConfig", "system"), cohere = member("response_format", "messages"),
    })
    put()
    local efforts = {}
    for _, effort in ipairs({ "none", "minimal", "low", "medium", "high", "xhigh", "max" }) do
        efforts[#efforts + 1] = { effort, { effort = effort } }
    end
    efforts[#efforts + 1] = { "a budget of 6000", { budget = 6000, visible = true } }
    put_tried("reasoning", efforts, function(reasoning)
        return { turns = { USER }, reasoning = reasoning, params = { max_tokens = 20000 } }
    end, {
        openai_chat = member("reasoning_effort"), openai_responses = member("reasoning"),
        anthropic = member("thinking", "output_config"), gemini = function(body)
            return body.generationConfig and body.generationConfig.thinkingConfig
        end,
        bedrock = member("additionalModelRequestFields", "outputConfig"), cohere = member("thinking"),
    })
    put()
    put("The models these were tried with: %s. Others differ; what a model refuses is known to its dialect.",
        table.concat({ code(MODELS.openai_chat), code(MODELS.anthropic), code(MODELS.gemini), code(MODELS.bedrock),
            code(MODELS.cohere) }, ", "))
end

---- reasons and errors

local REASONS = { "stop", "stop_sequence", "length", "tool", "filtered", "pause", "error" }

local function put_reasons()
    put()
    put("## Why an answer ended")
    put()
    put_head("reason", PROVIDERS)
    for _, reason in ipairs(REASONS) do
        local cells = { reason }
        for _, name in ipairs(PROVIDERS) do
            local words = {}
            for word, neutral in pairs(dialects[name].finish_reasons) do
                if neutral == reason then
                    words[#words + 1] = code(word)
                end
            end
            table.sort(words)
            cells[#cells + 1] = table.concat(words, " ")
        end
        put_row(cells)
    end
    put()
    put("A call of a tool decides: an answer that called one ended for that reason, whatever its provider says.")
end

local function put_errors()
    put()
    put("## Errors")
    put()
    put_head("status", CLIENTS)
    for _, status in ipairs({ 400, 401, 402, 403, 404, 409, 413, 429, 500, 502, 503, 504 }) do
        local cells = { tostring(status) }
        for _, name in ipairs(CLIENTS) do
            local rows = dialects[name].error
            local seen = (rows.statuses or {})[status]
            local word = rows.types[seen or status] or (status < 500 and rows.types.default4 or rows.types.default5)
            cells[#cells + 1] = (word and code(tostring(word)) or "") .. (seen and " as " .. seen or "")
        end
        put_row(cells)
    end
end

put("# Dialects")
put()
put("<!-- Generated from lua/dialects by `luajit tests/tools/dialects.lua write`: change those files. -->")
put()
put("A client keeps the SDK it has. When the provider of a target speaks the same dialect, bytes pass as they are, and")
put("nothing on this page applies. Otherwise the request is translated, field by field, and so is the answer.")
put()
put("- **dropped**: a hint the provider has no word for. The answer's header `x-moongate-warning` names it.")
put("- **refused**: the answer would be another one. The client gets 400 and the name of its field. With the header")
put("  `x-moongate-lenient: true` it is dropped instead, unless it says *always*.")
put("- A field that no dialect knows is dropped; one of the provider's own reaches it.")
put("- `store` and `previous_response_id` of the Responses API are kept by the gateway, over any provider, unless a project says")
put("  otherwise ([answers that are kept](../guide/point-an-sdk-at-it.md#answers-that-are-kept)): what stands here is for those.")
for _, name in ipairs(CLIENTS) do
    put_fields(name)
end
put_own_fields()
put_parts()
put_settings()
put_reasons()
put_errors()

local page = table.concat(out, "\n") .. "\n"
if arg[1] == "write" then
    local file = assert(io.open(PAGE, "wb"))
    file:write(page)
    file:close()
    return
end
local file = io.open(PAGE, "rb")
if not file or file:read("*a") ~= page then
    io.stderr:write(PAGE .. " is not what lua/dialects says: luajit tests/tools/dialects.lua write\n")
    os.exit(1)
end
