--- formats.lua - what strings in the configuration look like.
---
--- Each row has `expected`, the words of the message, and `read(value, ctx)`, which returns the value as it is used,
--- or nil and, where more can be said, why.
local formats = {}

local find, lower, match, sub = string.find, string.lower, string.match, string.sub

local function matching(pattern, max, expected)
  return {
    expected = expected,
    read = function(value)
      return #value <= max and find(value, pattern) and value or nil
    end,
  }
end

formats.name = matching("^%w[%w_.-]*$", 64, "a name of letters, digits, `_`, `-` and `.`")
formats.model = matching("^[%w*][%w_.:/@*+-]*$", 128,
  "a model name (letters, digits and `_ . : / @ + -`) or a glob with `*`")
formats.word = matching("^[a-z][a-z_]*$", 64, "a word of lower-case letters and `_`")
formats.date = matching("^%d%d%d%d%-%d%d%-%d%d$", 10, 'a date such as "2027-06-01"')
formats.header = matching("^[^%c]*$", 8192, "text without control characters")
formats.grant = matching("^[a-z][a-z_]*:?[^%s%c]*$", 256, 'a permission such as "net:https://host" or "secret:name"')
formats.plugin = matching("^%w[%w_./-]*@?[%w^~.<>=*-]*$", 128, 'the name of a plugin, such as "moongate/pii"')
-- "/v1/files*", "GET /v1/models": what `providers.NAME.passthrough` names.
formats.call = {
  expected = 'a path such as "/v1/files*", with a method before it or without',
  read = function(value)
    local method, path = match(value, "^(%u+) ([/*].*)$")
    path = path or value
    return #value <= 256 and find(path, "^[/*][!-~]*$") and not find(path, "[?#%%\\]") and (not method or #method <= 16) and value or nil
  end,
}
formats.any = matching("^[^%c]+$", 128, "a key without control characters")

local function one_of(expected, names)
  return {
    expected = expected,
    names = names,
    read = function(value)
      for _, name in ipairs(names) do
        if name == value then
          return value
        end
      end
    end,
  }
end

formats.hook = one_of("the name of a hook", {
  "on_request", "route", "on_attempt", "classify", "on_chunk", "on_response", "on_log",
})

--- The rows of core/sim/faults.h; a test compares them.
formats.fault = one_of("the name of a fault", {
    "rate_limited", "rate_limited_tokens", "rate_limited_silent", "slow_down", "too_large_for_tpm", "quota_billing",
    "spend_limit", "payment_required", "overloaded", "overloaded_529", "capacity_498", "server_error", "html_502",
    "status", "auth", "permission", "region", "model_not_found", "request_timeout", "conflict", "payload_too_large",
    "unprocessable", "invalid_request", "unsupported_parameter", "context_length", "content_filter",
    "invalid_prompt", "state_lost", "reset_early", "close_early", "hang", "slow_headers", "slow_ttft",
    "headers_only", "stall", "cut", "cut_clean", "reset", "short_body", "bad_framing", "bad_head",
    "endless_whitespace", "endless_comments", "trickle", "keepalive", "error_first", "error_mid", "error_event",
    "error_done", "malformed_event", "no_done", "no_done_hang", "done_without_finish", "finish_error",
    "usage_with_choices", "no_usage", "huge_event", "json_for_stream", "empty_content", "empty_body", "error_200",
    "invalid_json", "html_200", "wrong_type", "bad_tool_arguments", "schema_mismatch", "refusal", "finish_length",
    "finish_content_filter",
})

--- Framing and the connection belong to the gateway.
local OWN_HEADERS = {
  host = true, connection = true, ["content-length"] = true, ["transfer-encoding"] = true, upgrade = true, te = true,
  trailer = true, expect = true,
}
formats.header_name = {
  expected = "the name of a header that the gateway does not set itself",
  read = function(value)
    return find(value, "^[%w!#$&'*+.^_`|~-]+$") and #value <= 128 and not OWN_HEADERS[lower(value)] and value or nil
  end,
}

formats.adapter = {
  expected = "the name of an adapter",
  read = function(value, ctx)
    if find(value, "^[%w_-]+$") and ctx.host.adapter(value) then
      return value
    end
    return nil, "there is no adapter of that name"
  end,
}

local function port(value)
  local n = match(value, "^%d%d?%d?%d?%d?$") and tonumber(value)
  return n and n <= 65535 and n or nil
end

--- Host and port of "host:port", "[v6]:port" or ":port".
local function host_port(value)
  local host, digits = match(value, "^%[([%x:.]+)%]:(%d+)$")
  if not host then
    host, digits = match(value, "^([%w.-]*):(%d+)$")
  end
  return host, digits and port(digits)
end

--- Becomes { host, port }.
formats.address = {
  expected = '"host:port", ":port" or "unix:/path"',
  read = function(value)
    local socket = match(value, "^unix:(/.+)$")
    if socket then
      return #socket <= 100 and { host = value, port = 0 } or nil, "the path of a unix socket has at most 100 bytes"
    end
    local host, number = host_port(value)
    if number then
      return { host = host == "" and "::" or host, port = number }
    end
  end,
}

local function authority(value)
  if find(value, "@", 1, true) then
    return nil, "it must not hold a user or password"
  end
  local host, number = host_port(value)
  if not number then
    host = match(value, "^[%w.-]+$") or match(value, "^%[[%x:.]+%]$")
  end
  return host and host ~= "" and host or nil
end

formats.url = {
  expected = "a URL such as https://host/v1",
  read = function(value)
    local scheme, rest = match(value, "^(https?)://(.+)$")
    if not scheme or find(value, "[%s%c?#]") then
      return nil, scheme and "blanks, `?` and `#` have no place here" or nil
    end
    local host, why = authority(match(rest, "^[^/]*"))
    return host and match(value, "^(.-)/*$") or nil, why
  end,
}

--- Kept as it is: an issuer is compared letter by letter with what its tokens say, a slash at the end included.
formats.issuer = {
  expected = "an https URL such as https://login.example.com",
  read = function(value)
    local scheme, rest = match(value, "^(https?)://(.+)$")
    if not scheme or #value > 255 or find(value, "[%s%c?#\"\\]") then
      return nil
    end
    local host, why = authority(match(rest, "^[^/]*"))
    local loopback = host == "127.0.0.1" or host == "localhost" or host == "[::1]"
    if host and scheme == "http" and not loopback then
      return nil, "plain http is for this machine only: whoever is on the way could sign in as anybody"
    end
    return host and value or nil, why
  end,
}

formats.proxy = {
  expected = 'a proxy such as "http://host:3128", or "" for none',
  read = function(value)
    if value == "" then
      return value
    end
    local rest = match(value, "^http://(.-)/?$")
    if not rest or find(rest, "[/?#%s%c]") then
      return nil
    end
    local place = match(rest, "^[^@]+@(.+)$") or rest -- a proxy may ask for a name and password
    return authority(place) and match(value, "^(.-)/?$") or nil
  end,
}

formats.origin = {
  expected = 'an origin such as "https://app.example.com", or "*"',
  read = function(value)
    if value == "*" then
      return value
    end
    local rest = match(value, "^https?://(.+)$")
    return rest and not find(rest, "[/?#%s%c]") and authority(rest) and lower(value) or nil
  end,
}

formats.path = {
  expected = "the path of a file or folder",
  read = function(value, ctx)
    if value == "" or find(value, "%z") then
      return nil
    end
    return sub(value, 1, 1) == "/" and value or ctx.dir .. "/" .. value
  end,
}

--- A file that is there and can be read; it is watched like the configuration itself.
formats.file = {
  expected = "the path of a file",
  read = function(value, ctx)
    local path = formats.path.read(value, ctx)
    if not path then
      return nil
    end
    local ok, why = ctx.host.file(path)
    return ok and path or nil, why
  end,
}

--- Becomes { provider, model }.
formats.target = {
  expected = '"provider/model"',
  read = function(value)
    local provider, model = match(value, "^(%w[%w_.-]*)/([%w*][%w_.:/@*+-]*)$")
    if not provider or #value > 192 then
      return nil
    elseif find(model, "*", 1, true) and model ~= "*" then
      return nil, "a model is a name or `*` alone"
    end
    return { provider = provider, model = model }
  end,
}

return formats
