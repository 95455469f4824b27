-- What the lints share: finding files, and C with its comments and strings blanked out.
local source = {}

function source.files(folders, names)
    local list = {}
    local pipe = assert(io.popen("find " .. folders .. " -type f " .. names .. " 2>/dev/null | sort"))
    for path in pipe:lines() do
        list[#list + 1] = path
    end
    pipe:close()
    return list
end

function source.read(path)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    return text
end

-- Lines stay where they are.
local function blank(text)
    return (text:gsub("[^\n]", " "))
end

function source.code_only(text)
    local out, at = {}, 1
    while true do
        local from = text:find("[/\"']", at)
        if not from then
            break
        end
        local two, last = text:sub(from, from + 1), from
        if two == "/*" then
            last = select(2, text:find("*/", from + 2, true)) or #text
        elseif two == "//" then
            last = (text:find("\n", from, true) or #text + 1) - 1
        elseif two:sub(1, 1) ~= "/" then
            local quote = two:sub(1, 1)
            repeat
                last = text:find("[\\\n" .. quote .. "]", last + 1) or #text
                local escape = text:sub(last, last) == "\\"
                last = escape and last + 1 or last
            until not escape
        end
        out[#out + 1] = text:sub(at, from - 1)
        out[#out + 1] = last == from and text:sub(from, from) or blank(text:sub(from, last))
        at = last + 1
    end
    out[#out + 1] = text:sub(at)
    return table.concat(out)
end

-- Ends the process: 1 when there were complaints.
function source.report(complaints)
    for _, line in ipairs(complaints) do
        io.stderr:write(line, "\n")
    end
    os.exit(#complaints == 0 and 0 or 1)
end

return source
