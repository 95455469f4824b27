-- docs/reference/lua-api.md from lua/meta. Without an argument: fails when the page is not what it would write;
-- `write` writes it.
package.path = "tests/tools/?.lua;" .. package.path
local meta = require("meta")

local PAGE = "docs/reference/lua-api.md"
local TITLES = {
    moongate = "The library", hooks = "Hooks", request = "Requests", relay = "Routing and failures",
    response = "Answers and records",
    http = "moongate.http", kv = "moongate.kv", secrets = "moongate.secrets", json = "moongate.json", log = "moongate.log", time = "moongate.time",
    re = "moongate.re", text = "moongate.text", crypto = "moongate.crypto", stats = "moongate.stats",
}

local out = {}
local function put(line)
    out[#out + 1] = line or ""
end

local function put_all(lines)
    for _, line in ipairs(lines) do
        put(line)
    end
end

local function code(text)
    return "`" .. text:gsub("|", "\\|") .. "`"
end

local function put_fields(fields)
    if #fields == 0 then
        return
    end
    put()
    put("| field | type | |")
    put("|---|---|---|")
    for _, field in ipairs(fields) do
        put("| `" .. field.name .. "` | " .. code(field.type) .. " | " .. field.doc:gsub("|", "\\|") .. " |")
    end
end

local function put_class(item)
    put()
    put("### " .. item.name)
    put()
    put_all(item.doc)
    put_fields(item.fields)
end

local function put_alias(item)
    put()
    put("### " .. item.name)
    put()
    put_all(item.doc)
    put("One of " .. code(item.alias) .. ".")
end

local function facts(item)
    local text = "Phases: " .. item.phases_text
    if item.permission then
        text = text .. " · permission `" .. item.permission .. "`"
    end
    return "<sub>" .. text .. " · since " .. item.since .. "</sub>"
end

local function put_function(item)
    put()
    put("#### `" .. item.shown .. "(" .. item.arguments .. ")`")
    put()
    if #item.doc > 0 then
        put_all(item.doc)
        put()
    end
    for _, param in ipairs(item.params) do
        put("- `" .. param.name .. "` " .. code(param.type) .. (param.doc ~= "" and ": " .. param.doc or ""))
    end
    for _, result in ipairs(item.returns) do
        local name = result.name and " `" .. result.name .. "`" or ""
        put("- returns" .. name .. " " .. code(result.type) .. (result.doc ~= "" and ": " .. result.doc or ""))
    end
    if #item.params + #item.returns > 0 then
        put()
    end
    put(facts(item))
end

local function put_intro()
    put("# The Lua API")
    put()
    put("Generated from `lua/meta` by `luajit tests/tools/lua_api.lua write`. The same files make an editor complete")
    put("and check plugins and policies: point its Lua language server at the folder.")
    put()
    put("*Phases* say where a function may be called: `load` is the top of a file; `validate` and `new` run while")
    put("a generation is built; the others are hooks. Elsewhere the call raises and says so. `hooks` are all hooks,")
    put("`waits` marks functions that wait: their hook is put aside meanwhile. *Permissions* are granted in the")
    put("project file; inline code has all but `net` and `secret`.")
    put()
    for _, file in ipairs(meta.files) do
        put("- [" .. TITLES[file] .. "](#" .. TITLES[file]:lower():gsub("[^%w ]", ""):gsub(" ", "-") .. ")")
    end
end

put_intro()
local last
for _, item in ipairs(meta.all()) do
    if item.file ~= last then
        last = item.file
        put()
        put("## " .. TITLES[last])
    end
    local writers = { class = put_class, alias = put_alias, ["function"] = put_function }
    writers[item.kind](item)
end
local page = table.concat(out, "\n") .. "\n"

if arg[1] == "write" then
    local file = assert(io.open(PAGE, "wb"))
    file:write(page)
    file:close()
    return
end
local file = io.open(PAGE, "rb")
local found = file and file:read("*a")
if found ~= page then
    io.stderr:write(PAGE .. " is not what lua/meta says: luajit tests/tools/lua_api.lua write\n")
    os.exit(1)
end
