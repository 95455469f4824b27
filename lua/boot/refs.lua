--- refs.lua - what `env "X"`, `secret "x"` and `file "x.lua"` return: tagged references, resolved by the check.
local refs = {}

local known = setmetatable({}, { __mode = "k" })

local function refuse()
  error('what env, secret and file return is a reference; it can only be handed over as a value', 2)
end

local meta = { __metatable = false, __concat = refuse, __index = refuse, __newindex = refuse, __call = refuse }

local function reference(kind, name, default)
  if type(name) ~= "string" or name == "" then
    error(kind .. " expects a name", 3)
  end
  local ref = setmetatable({}, meta)
  known[ref] = { kind = kind, name = name, default = default }
  return ref
end

--- A missing or empty variable gives the default; `false` as default leaves the setting out.
function refs.env(name, default)
  return reference("env", name, default)
end

function refs.secret(name)
  return reference("secret", name)
end

function refs.file(name)
  return reference("file", name)
end

--- "env", "secret", "file", or nil for anything else.
function refs.kind(value)
  local ref = known[value]
  return ref and ref.kind
end

function refs.name(value)
  return known[value].name
end

--- A secret comes as ciphertext, and leaves the environment.
local function resolve_env(ctx, ref, place, node)
  local value, why
  if node.secret then
    value, why = ctx.host.secret_env(ref.name)
  else
    value = ctx.host.env(ref.name)
  end
  if value and value ~= "" then
    return value, ref.name
  elseif why then
    return ctx.fail(ctx, place, "the environment variable %s: %s", ref.name, why)
  elseif ref.default == nil then
    ctx.fail(ctx, place, "the environment variable %s is not set; export it, or give a default: env(%q, …)",
      ref.name, ref.name)
  elseif ref.default ~= false then
    return ref.default
  end
end

local function resolve_secret(ctx, ref, place, node)
  if not node.secret then
    return ctx.fail(ctx, place, "a secret has no place here")
  end
  if not ref.name:find("^%w[%w_.-]*$") then
    return ctx.fail(ctx, place, "secret %q: expected a name of letters, digits, `_`, `-` and `.`", ref.name)
  end
  local path = ctx.root .. "/secrets/" .. ctx.scope .. "/" .. ref.name
  local value, why = ctx.host.secret(path, ctx.scope, ref.name)
  if not value then
    return ctx.fail(ctx, place, "secret %q: %s: %s; or put it into the vault: moongate secret set --project %s %s",
      ref.name, path, why, ctx.scope, ref.name)
  end
  return value, "the secret " .. ref.name
end

--- The value, and the words for where it came from unless it stands in the file; nil: absent, or reported.
function refs.resolve(ctx, value, place, node)
  local ref = known[value]
  if ref.kind == "env" then
    return resolve_env(ctx, ref, place, node)
  elseif ref.kind == "secret" then
    return resolve_secret(ctx, ref, place, node)
  end
  ctx.fail(ctx, place, "file %q gives a function, and none is expected here", ref.name)
end

return refs
