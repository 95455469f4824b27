-- Reads lua/meta: what the declarations say, for the reference page and for the contract test.
local meta = {}

-- The order of the reference page.
meta.files = {
    "moongate", "hooks", "request", "relay", "response", "http", "kv", "json", "log", "time", "re", "text", "crypto",
    "stats", "secrets",
}

meta.phases = {
    "load", "validate", "new", "on_request", "route", "on_attempt", "classify", "on_chunk", "on_response", "on_log",
    "accept", "offline", "charge", "on_bill", "on_invoice",
}

local function set_of(from)
    local set = {}
    for i = from, #meta.phases do
        set[meta.phases[i]] = true
    end
    return set
end

-- "hooks, new", "anywhere but load", "on_request, on_response; waits" to a set of names, and whether it waits.
local function read_phases(text, place)
    local words, waits = text:gsub("%s*;%s*waits%s*$", "")
    local set = {}
    local all, but = words:match("^(anywhere)%s*(.*)$")
    if all then
        set = set_of(1)
        local without = but:match("^but (.+)$")
        if without then
            set[without] = nil
        end
        return set, waits > 0
    end
    for word in words:gmatch("[^,%s]+") do
        if word == "hooks" then
            for name in pairs(set_of(4)) do
                set[name] = true
            end
        else
            assert(set_of(1)[word], place .. ": no phase is called " .. word)
            set[word] = true
        end
    end
    return set, waits > 0
end

-- Splits a doc comment into prose and the three lines of facts.
local function read_doc(lines, item, place)
    local prose = {}
    for _, line in ipairs(lines) do
        local name, value = line:match("^(%u%l+): (.+)$")
        if name == "Phases" then
            item.phases_text = value
            item.phases, item.waits = read_phases(value, place)
        elseif name == "Since" then
            item.since = value
        elseif name == "Permission" then
            item.permission = value
        else
            prose[#prose + 1] = line
        end
    end
    while prose[1] == "" do
        table.remove(prose, 1)
    end
    while prose[#prose] == "" do
        prose[#prose] = nil
    end
    item.doc = prose
end

-- A type may hold blanks inside brackets; it ends at the first blank outside.
local function take_type(text)
    local depth = 0
    for i = 1, #text do
        local c = text:sub(i, i)
        if c:find("[%[{(<]") then
            depth = depth + 1
        elseif c:find("[%]})>]") then
            depth = depth - 1
        elseif c == " " and depth == 0 and text:sub(i - 1, i - 1) ~= ":" and text:sub(i - 1, i - 1) ~= "," then
            return text:sub(1, i - 1), text:sub(i + 1)
        end
    end
    return text, ""
end

local function read_named(text)
    local name, rest = text:match("^(%S+)%s+(.*)$")
    if text:sub(1, 1) == "[" then
        name, rest = text:match("^(%[[^%]]*%])%s+(.*)$")
    end
    local kind, words = take_type(rest)
    return { name = name, type = kind, doc = (words:gsub("^%s+", "")) }
end

local function read_return(text)
    local kind, rest = take_type(text)
    local name, words = rest:match("^([%a_][%w_]*)%s*(.*)$")
    if not name or text:sub(#kind + 1, #kind + 2) == "  " then
        name, words = nil, rest
    end
    return { name = name, type = kind, doc = (words:gsub("^%s+", "")) }
end

local function new_item(kind, lines, place)
    local item = { kind = kind, fields = {}, params = {}, returns = {} }
    local prose = {}
    for _, line in ipairs(lines) do
        local tag, rest = line:match("^@(%l+)%s*(.*)$")
        if tag == "class" or tag == "alias" then
            item.name = rest:match("^%S+")
            item.alias = tag == "alias" and (rest:match("^%S+%s+(.+)$") or "") or nil
        elseif tag == "field" then
            item.fields[#item.fields + 1] = read_named(rest)
        elseif tag == "param" then
            item.params[#item.params + 1] = read_named(rest)
        elseif tag == "return" then
            item.returns[#item.returns + 1] = read_return(rest)
        elseif line:sub(1, 2) == "| " then
            item.alias = item.alias .. (item.alias == "" and "" or " | ") .. line:sub(3)
        elseif not tag then
            prose[#prose + 1] = (line:gsub("^ ", ""))
        end
    end
    read_doc(prose, item, place)
    return item
end

local function end_function(reader, called, arguments, place)
    local owner, separator, name = called:match("^(.+)([.:])([%w_]+)$")
    local item = new_item("function", reader.block, place)
    item.class, item.method, item.name = reader.class_of[owner], separator == ":", name
    item.shown = (item.method and owner:lower() or owner) .. separator .. name
    item.arguments = arguments
    assert(item.class, place .. ": " .. owner .. " is no class here")
    assert(item.phases and item.since, place .. ": " .. called .. " needs the lines Phases: and Since:")
    reader.items[#reader.items + 1] = item
end

local function end_class(reader, place)
    local item = new_item("class", reader.block, place)
    if item.name then
        item.kind = item.alias and "alias" or "class"
        reader.items[#reader.items + 1] = item
        reader.last_class = item.alias and reader.last_class or item.name
    end
end

local function read_line(reader, line, place)
    local comment = line:match("^%-%-%-(.*)$")
    if comment then
        if not comment:find("^@meta") then
            reader.block[#reader.block + 1] = comment
        end
        return
    end
    local called, arguments = line:match("^function ([%w_.:]+)%((.-)%) end")
    if called then
        end_function(reader, called, arguments, place)
    elseif #reader.block > 0 then
        end_class(reader, place)
    end
    local variable = line:match("^local ([%w_]+) = {}") or line:match("^([%w_]+) = {}")
    if variable then
        reader.class_of[variable] = reader.last_class
    end
    reader.block = {}
end

function meta.read(file)
    local path = "lua/meta/" .. file .. ".lua"
    local reader, number = { items = {}, block = {}, class_of = {} }, 0
    for line in io.lines(path) do
        number = number + 1
        read_line(reader, line, path .. ":" .. number)
    end
    read_line(reader, "", path .. ":" .. number)
    return reader.items
end

-- Everything, in order.
function meta.all()
    local items = {}
    for _, file in ipairs(meta.files) do
        for _, item in ipairs(meta.read(file)) do
            item.file = file
            items[#items + 1] = item
        end
    end
    return items
end

return meta
