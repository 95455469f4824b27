--- t.lua - tests of lua/: `t.test(name, function)`, and what they check with. Who runs them gives `host`: { say(text),
--- read_file(path), decode(text, paths that stay text), traceback }.
local t = { failed = 0, count = 0, only = nil }

local json

function t.start(its_json, host, only)
  json, t.only = its_json, only
  t.say, t.read_file, t.decode, t.traceback = host.say, host.read_file, host.decode, host.traceback
end

function t.test(name, body)
  if t.only and not name:find(t.only, 1, true) then
    return
  end
  t.count = t.count + 1
  local ok, why = xpcall(body, function(err)
    return type(err) == "table" and json.encode(err) or t.traceback(tostring(err))
  end)
  if not ok then
    t.failed = t.failed + 1
    t.say("FAIL  " .. name .. "\n" .. why .. "\n")
  end
end

--- Values are compared as JSON, so that lists, objects, null and text that was kept as it is all count.
function t.eq(got, want, what)
  local a, b = json.encode(got), json.encode(want)
  if a ~= b then
    error((what and what .. ": " or "") .. "\n  got  " .. a .. "\n  want " .. b, 2)
  end
end

function t.ok(value, what)
  if not value then
    error(what or "is not so", 2)
  end
end

return t
