-- Calls and headers that have one home or none.
package.path = "tests/tools/?.lua;" .. package.path
local source = require("source")

local rules = {
    {
        calls = { "strcpy", "strcat", "sprintf", "vsprintf", "atoi", "atol", "strtok", "alloca", "gets" },
        why = "is unbounded or hides errors",
    },
    {
        calls = { "malloc", "calloc", "realloc", "free", "strdup", "strndup", "asprintf" },
        only = "^core/base/",
        why = "belongs to core/base: use base/mem.h",
    },
    { word = "cJSON", only = "^core/http/json[%w_]*%.[ch]$", why = "stays inside core/http/json*.c" },
    {
        include = { "lua%.h", "lauxlib%.h", "lualib%.h", "luajit%.h" },
        only = { "^core/script/", "^core/config/" },
        why = "is for core/script and core/config",
    },
}

local function allowed(rule, path)
    local only = type(rule.only) == "table" and rule.only or { rule.only }
    for _, pattern in ipairs(only) do
        if path:find(pattern) then
            return true
        end
    end
    return false
end

local function line_breaks(rule, line, raw)
    for _, call in ipairs(rule.calls or {}) do
        if (" " .. line):find("[^%w_.>]" .. call .. "%s*%(") then
            return call
        end
    end
    for _, header in ipairs(rule.include or {}) do
        if raw:find("^%s*#%s*include%s*[<\"]" .. header) then
            return (header:gsub("%%", ""))
        end
    end
    return rule.word and line:find(rule.word, 1, true) and rule.word
end

local complaints = {}
for _, path in ipairs(source.files("core", "-name '*.[ch]'")) do
    local text, number = source.read(path), 0
    local raw = (text .. "\n"):gmatch("(.-)\n")
    for line in (source.code_only(text) .. "\n"):gmatch("(.-)\n") do
        local raw_line = raw()
        number = number + 1
        for _, rule in ipairs(rules) do
            local found = not allowed(rule, path) and line_breaks(rule, line, raw_line)
            if found then
                complaints[#complaints + 1] = ("%s:%d: %s %s"):format(path, number, found, rule.why)
            end
        end
    end
end

-- A test file that nobody starts would pass without testing anything.
for _, path in ipairs(source.files("tests/e2e", "-name '*_test.py'")) do
    if not source.read(path):find("__main__", 1, true) then
        complaints[#complaints + 1] = path .. ": does not run itself (if __name__ == \"__main__\")"
    end
end
source.report(complaints)
