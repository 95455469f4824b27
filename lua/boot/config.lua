--- config.lua - read one configuration file: evaluate it in the sandbox, check it, hand plain tables to C.
---
--- The host (core/config/eval.c) gives: module(name, …), load(text, file), env(name), has_env(name), secret_env(name),
--- read(path), secret(path, project, name), file(path), utf8(text), schema(json), adapter(name), cores(). It stops the whole call when it takes too long or too much memory.
local host = ...

local lines = host.module("lines")
local refs = host.module("refs")
local formats = host.module("formats")
local check = host.module("check", formats, refs)
local sandbox = host.module("sandbox", check, refs)
local schema = host.module("schema")
local vendors = host.module("vendors")
local project = host.module("project", check, schema, vendors)

local config = {}

local find, gsub, match = string.find, string.gsub, string.match

---- reports

local function report(ctx, file, line, text)
  ctx.errors[#ctx.errors + 1] = { file = file, line = line, text = text }
end

--- An error of Lua's, whose chunk is named by its number in ctx.chunks.
local function report_lua(ctx, file, message)
  if message == "not enough memory" then
    return report(ctx, file, 0, "reading it takes more than 32 MB of memory")
  end
  message = type(message) == "string" and message or "the file raised a value that is not a text"
  local chunk, line, text = match(message, "^c(%d+):(%d+): (.*)$")
  report(ctx, chunk and ctx.chunks[tonumber(chunk)] or file, tonumber(line) or 0, text or message)
end

---- evaluation

--- Parses and runs a file; true and its value, or false after a report.
local function evaluate(ctx, file, text)
  ctx.chunks[#ctx.chunks + 1] = file
  local chunk, message = host.load(text, file)
  if not chunk then
    report_lua(ctx, file, message)
    return false
  end
  local where, line, literal = lines.map(text)
  if line then
    report(ctx, file, line, "the number " .. literal .. " belongs to the FFI, which is not here")
    return false
  end
  local ok, value = sandbox.call(chunk)
  if not ok then
    report_lua(ctx, file, value)
  end
  return ok, value, where
end

--- Folds "." and ".."; nil when the path climbs out of the root.
local function fold(path)
  local parts = {}
  for part in path:gmatch("[^/]+") do
    if part == ".." then
      if #parts == 0 then
        return nil
      end
      parts[#parts] = nil
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

--- `file "x.lua"` where a function is expected: true, or nil after a report.
local function load_function(ctx, ref, place)
  local name = refs.name(ref)
  local path = not find(name, "^/") and not find(name, "%z") and fold(ctx.dir .. "/" .. name)
  if not path or path:sub(1, #ctx.root + 1) ~= ctx.root .. "/" then
    return check.fail(ctx, place,
      "file %q: expected a path relative to this file that stays inside the configuration folder", name)
  end
  local text, why = host.read(path)
  if not text then
    return check.fail(ctx, place, "file %q: %s", name, why)
  end
  local shown = (match(ctx.file, "^.*/") or "") .. name
  if ctx.functions[path] == nil then
    local ok, value = evaluate(ctx, shown, text)
    ctx.functions[path] = ok and type(value) == "function"
    if ok and type(value) ~= "function" then
      report(ctx, shown, 1, "expected the file to return a function, found a " .. type(value))
    end
  end
  return ctx.functions[path] or nil
end

local function context(file, dir, scope)
  local ctx = { host = host, file = file, dir = dir, scope = scope, errors = {}, chunks = {}, functions = {} }
  ctx.root = gsub(dir, "/projects$", "")
  ctx.fail, ctx.placeholder = check.fail, sandbox.is_placeholder
  ctx.where = function()
    return 0, 0
  end
  ctx.load_function = function(ref, place)
    return load_function(ctx, ref, place)
  end
  return ctx
end

--- The checked table of a file, or nil after reports.
local function read_file(ctx, node, text)
  local ok, value, where = evaluate(ctx, ctx.file, text)
  if not ok then
    return nil
  end
  ctx.where = where
  if type(value) ~= "table" or refs.kind(value) or sandbox.is_placeholder(value) then
    local what = value == nil and "nothing returned" or "a " .. type(value)
    return check.fail(ctx, {}, "expected the file to end in `return { … }`, found %s", what)
  end
  return check.read(ctx, node, value, {})
end

---- what C calls; each returns the flat table (nil when there are errors) and the list of errors

local function finish(ctx, flat)
  return #ctx.errors == 0 and flat or nil, ctx.errors
end

--- A certificate comes with its key, and clients' certificates are asked for over TLS only.
local function check_tls(ctx, listener)
  if (listener.cert == nil) ~= (listener.key == nil) then
    check.fail(ctx, listener.at, 'give both "cert" and "key", or neither')
  elseif listener.client_ca and not listener.cert then
    check.fail(ctx, listener.at, '"client_ca" needs "cert" and "key" beside it')
  end
end

local function check_listeners(ctx, value)
  for _, listener in ipairs(value.listen or {}) do
    check_tls(ctx, listener)
  end
  if value.admin then
    check_tls(ctx, value.admin)
  end
end

--- A token is for its client unless the API has a name of its own.
local function complete_oidc(admin)
  if admin.oidc then
    admin.oidc.audience = admin.oidc.audience or { admin.oidc.client_id }
  end
end

--- The rows of `accounts`, as C keeps them.
local function accounts(ctx, entries)
  local out = {}
  for i, entry in ipairs(entries) do
    local value = entry.value
    out[i] = { name = entry.key, credentials = project.credentials(ctx, value, entry.at), grants = value.projects }
    if not value.api_key and not value.api_keys then
      check.fail(ctx, entry.at, 'expected "api_key" or "api_keys"')
    end
  end
  return out
end

--- Each is a file or a webhook.
local function exports(ctx, entries)
  local out = {}
  for i, entry in ipairs(entries) do
    local value = entry.value
    out[i] = { name = entry.key, file = value.file, webhook = value.webhook, token = value.token,
      signing_key = value.signing_key, batch = value.batch }
    if (value.file == nil) == (value.webhook == nil) then
      check.fail(ctx, entry.at, 'expected either "file" or "webhook"')
    end
  end
  return out
end

--- The text of gateway.lua, or nil for the defaults alone.
function config.gateway(file, dir, text)
  local ctx = context(file, dir, "gateway")
  local value
  if text then
    value = read_file(ctx, schema.gateway, text)
  else
    value = check.read(ctx, schema.gateway, {}, {})
  end
  if value and #ctx.errors == 0 then
    check_listeners(ctx, value)
    value.admin = value.admin or {}
    complete_oidc(value.admin)
    value.accounts = accounts(ctx, value.accounts)
    value.exports = exports(ctx, value.exports)
  end
  return finish(ctx, value)
end

function config.project(file, dir, name, text)
  local ctx = context(file, dir, name)
  if not formats.name.read(name) then
    check.fail(ctx, {}, "the file's name is the project's name: expected %s", formats.name.expected)
  end
  local value = read_file(ctx, schema.project, text)
  return finish(ctx, value and project.flatten(ctx, value))
end

--- The project made of what the environment holds; nil and no errors when it holds nothing.
function config.environment()
  local ctx = context("environment", "/", "default")
  local value = vendors.project(host, refs)
  local checked = value and check.read(ctx, schema.project, value, {})
  return finish(ctx, checked and project.flatten(ctx, checked))
end

--- The reference page.
function config.reference()
  return host.module("reference").page(schema)
end

return config
