-- Functions stop at 60 lines, files at 800.
package.path = "tests/tools/?.lua;" .. package.path
local source = require("source")

local MAX_FUNCTION, MAX_FILE = 60, 800
local complaints = {}

-- A function opens with a brace in the first column and closes with one.
local function check_functions(path, text)
    local number, signature, opened, head = 0, 0, false, ""
    for line in (text .. "\n"):gmatch("(.-)\n") do
        number = number + 1
        if line == "{" then
            opened = true
        elseif opened and line:find("^}") then
            opened = false
            local length = number - signature + 1
            if length > MAX_FUNCTION then
                local place = ("%s:%d: "):format(path, signature)
                complaints[#complaints + 1] = place .. length .. " lines (at most " .. MAX_FUNCTION .. "): " .. head
            end
        elseif not opened and line:find("^%a") then
            signature, head = number, line
        end
    end
end

for _, path in ipairs(source.files("core tests/support tests/fuzz lua", "-name '*.[ch]' -o -name '*.lua'")) do
    local text = source.read(path)
    local _, lines = text:gsub("\n", "")
    if path:find("%.[ch]$") then
        check_functions(path, source.code_only(text))
    end
    if lines > MAX_FILE then
        complaints[#complaints + 1] = ("%s: %d lines (at most %d)"):format(path, lines, MAX_FILE)
    end
end
source.report(complaints)
