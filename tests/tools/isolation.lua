-- What serves a request cannot name a project (docs/internals/isolation.md): projects are looked up in one place, by the
-- key that was presented, and everything else hangs off the generation found there.
package.path = "tests/tools/?.lua;" .. package.path
local source = require("source")

-- Looks a project up by its name, or walks over all of them: who may.
local lookups = {
    mg_worker_project = { ["core/gateway/authenticate.c"] = { mg_exchange_authenticate = true }, ["core/gateway/worker.c"] = true },
    project_names = { ["core/gateway/worker.c"] = true },
    mg_builder_live = { ["core/gateway/builder.c"] = true, ["core/gateway/gateway.c"] = true, ["core/gateway/targets.c"] = true,
        ["core/gateway/switches.c"] = true, ["core/gateway/budgets.c"] = true, ["core/gateway/limit_list.c"] = { take_live = true } },
    take_live = { ["core/gateway/targets.c"] = true, ["core/gateway/limit_list.c"] = true },
    mg_limits_each = { ["core/gateway/limit_list.c"] = true, ["core/cli/operate.c"] = true },
    mg_limits_put = { ["core/gateway/limit_list.c"] = true, ["core/cli/operate.c"] = true },
    mg_builder_list = { ["core/gateway/builder.c"] = true, ["core/gateway/gateway.c"] = true, ["core/cli/"] = true },
    mg_switches_of = { ["core/gateway/worker.c"] = true, ["core/tenant/switches.c"] = true },
    mg_fair_share = { ["core/gateway/worker.c"] = true, ["core/gateway/fairness.c"] = true },
    mg_keyring_find = { ["core/gateway/authenticate.c"] = { find_key = true }, ["core/tenant/keyring.c"] = true },
    mg_config_load_project = { ["core/config/"] = true, ["core/cli/"] = true, ["core/gateway/builder.c"] = true },
}

-- Takes a project's name: these find rows of the process when a generation is built or by the request's own project, which
-- is the one of its generation. A function that is not here takes none.
local named = {
    ["core/gateway/"] = { mg_builder_live = true, weight_of = true, mg_fair_share = true, on_report = true,
        mg_gateway_secret_changed = true, mg_last_good_key = true, fits = true, note = true, take_live = true,
        mg_limits_each = true, mg_limits_put = true },
    ["core/relay/"] = { find_share = true, mg_gate_share = true, share_of = true, init_gate = true, mg_reach_init = true,
        mg_retry_budget_find = true, mg_stats_peek = true, mg_stats_find = true, fill = true, mg_upstream_new = true,
        mg_repair_memory = true },
    ["core/chat/"] = {},
    ["core/script/"] = { mg_account_ref = true, mg_kv_space = true, mg_sandbox_open = true },
}

-- … and these are called with a name on the request path: it must be that of the call.
local own = { mg_last_good_key = "call%.project", mg_stats_peek = "call%->project" }

local complaints = {}
local function complain(path, number, ...)
    complaints[#complaints + 1] = ("%s:%d: "):format(path, number) .. table.concat({ ... })
end

local function allowed(where, path, inside)
    for place, functions in pairs(where) do
        local fits = place == path or (place:sub(-1) == "/" and path:sub(1, #place) == place)
        if fits and (functions == true or functions[inside]) then
            return true
        end
    end
    return false
end

local function rules_for(path)
    for folder, functions in pairs(named) do
        if path:sub(1, #folder) == folder then
            return functions
        end
    end
end

local function check(path)
    local inside, number, takers = "", 0, rules_for(path)
    for line in (source.code_only(source.read(path)) .. "\n"):gmatch("(.-)\n") do
        number = number + 1
        local heading = line:match("^%a[^;=]-([%w_]+)%(")
        inside = heading or inside
        for name, where in pairs(lookups) do
            if line:find("%f[%w_]" .. name .. "%f[^%w_]") and not allowed(where, path, inside) then
                complain(path, number, name, " in ", inside, ": only authentication finds a project")
            end
        end
        local taken = line:match("[%(,]%s*mg_view project%f[^%w_]") or line:match("[%(,]%s*const char %*project%f[^%w_]")
        if takers and taken and not takers[inside] then
            complain(path, number, inside, " takes the name of a project: hang what it needs off the generation")
        end
        for name, argument in pairs(own) do
            local serves = path ~= "core/gateway/targets.c" and not (heading == name or line:find(name .. "%(mg_view"))
            if line:find("%f[%w_]" .. name .. "%(") and serves and not line:find(argument) and not line:find("peek%(project") then
                complain(path, number, name, " must be asked about the request's own project")
            end
        end
    end
end

for _, path in ipairs(source.files("core/gateway core/relay core/chat core/script core/cli", "-name '*.c'")) do
    check(path)
end
source.report(complaints)
