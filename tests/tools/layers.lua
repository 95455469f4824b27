-- A layer of core/ includes only itself and what stands above it in core/CMakeLists.txt.
package.path = "tests/tools/?.lua;" .. package.path
local source = require("source")

local rank, count = {}, 0
for name in source.read("core/CMakeLists.txt"):gmatch("\nmg_layer%((%w+)") do
    count = count + 1
    rank[name] = count
end

local complaints = {}
for _, path in ipairs(source.files("core", "-name '*.[ch]'")) do
    local layer = path:match("^core/(%w+)/")
    for included in source.read(path):gmatch('#%s*include%s+"([^"]+)"') do
        local from = included:match("^(%w+)/")
        if not rank[from or ""] then
            complaints[#complaints + 1] = ('%s: "%s" names no layer (write "layer/file.h")'):format(path, included)
        elseif layer and rank[from] > (rank[layer] or 0) then
            local place = path .. ": " .. layer
            complaints[#complaints + 1] = place .. " stands below " .. from .. " and may not include " .. included
        end
    end
end
assert(count > 0, "core/CMakeLists.txt names no layer")
source.report(complaints)
