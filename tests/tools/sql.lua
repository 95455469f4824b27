-- SQL that PostgreSQL would not take as it is (docs/internals/store.md): outside the driver and the schema, statements are
-- written so that both engines do.
package.path = "tests/tools/?.lua;" .. package.path
local source = require("source")

local refused = {
    { "ON CONFLICT DO", "names no columns: ON CONFLICT (…) DO" },
    { "INSERT OR ", "is SQLite's: ON CONFLICT (…) DO, or mg_db_prepare_rows()" },
    { "REPLACE INTO", "is SQLite's: ON CONFLICT (…) DO" },
    { "WHERE 1[^%d]", "is no boolean: WHERE TRUE" },
    { "PRAGMA ", "is SQLite's: core/store/sqlite.c" },
    { "%f[%w]rowid%f[%W]", "is SQLite's: name a column" },
    { "sqlite_", "is SQLite's" },
    { "AUTOINCREMENT", "is SQLite's" },
    { " GLOB ", "is SQLite's: LIKE" },
    { "%f[%w]instr%(", "is SQLite's: replace(text, part, '') <> text" },
    { "%f[%w]ifnull%(", "is SQLite's: coalesce()" },
    { "%f[%w]strftime%('", "is SQLite's: reckon with microseconds" },
    { "%f[%w]json_extract%(", "is SQLite's" },
    { "%f[%w]max%([^()]*%b()?[^()]*,", "with two arguments is SQLite's: CASE, or a condition" },
    { "%f[%w]max%(%w+%b(),", "with two arguments is SQLite's: CASE, or a condition" },
    { "%f[%w]min%([%w_]+,", "with two arguments is SQLite's: CASE, or a condition" },
}
local driver = { ["core/store/sqlite.c"] = true, ["core/store/migrations.h"] = true }

local complaints = {}
for _, path in ipairs(source.files("core", "-name '*.[ch]'")) do
    local number = 0
    for line in (driver[path] and "" or source.read(path) .. "\n"):gmatch("(.-)\n") do
        number = number + 1
        for literal in line:gmatch('"([^"]*)"') do
            for _, rule in ipairs(refused) do
                local found = (literal .. " "):match(rule[1])
                if found then
                    complaints[#complaints + 1] = ("%s:%d: \"%s\" %s"):format(path, number, found, rule[2])
                end
            end
        end
    end
end
source.report(complaints)
