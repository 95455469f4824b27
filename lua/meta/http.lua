---@meta moongate.http

--- HTTP calls of a hook. They wait without holding anything up. The origin of every URL (and redirect) must be granted:
--- `grant = { "net:https://dlp.acme.example" }`, or with `*` in the host for public addresses. Private addresses are reached
--- only through an origin that is granted letter by letter, link-local ones only through an address that is.
---
--- Where the environment names a proxy, calls go through it, and it resolves names. A hook makes at most 8 calls, 4 at a
--- time.
---@class moongate.http
local http = {}

---@class moongate.HttpRequest
---@field url string  http or https
---@field method? string  POST when there is a body, else GET
---@field headers? { [string]: string|moongate.Secret }  not host, length, framing or accept-encoding
---@field body? string  at most 1 MiB
---@field json? any  encoded as the body, with its content type
---@field timeout_ms? integer  over everything, redirects included; 1500 when omitted, at most 30000
---@field max_bytes? integer  of the answer's body; 1 MiB when omitted

---@class moongate.HttpResponse
---@field status integer
---@field headers { [string]: string }  names in lower case; several of one name joined by ", "
---@field body string
---@field error moongate.Error?  only in the list of `http.all`, instead of the rest

--- One call. Up to 3 redirects are followed; credentials stay with the first origin.
---
--- `err.code` is one of `invalid_url invalid_header denied resolve connect tls timeout closed protocol too_large redirects secret
--- limit`.
---
--- Phases: on_request, on_response; waits
--- Since: 1
--- Permission: net
---@param request moongate.HttpRequest
---@return moongate.HttpResponse? response
---@return moongate.Error? err
function http.request(request) end

--- Several calls at once; the list of answers has their order.
---
--- Phases: on_request, on_response; waits
--- Since: 1
--- Permission: net
---@param requests moongate.HttpRequest[]  1 to 8
---@return moongate.HttpResponse[]? responses
---@return moongate.Error? err  `limit`
function http.all(requests) end

--- Several calls at once; the first complete answer, whatever its status, ends the others.
---
--- Phases: on_request, on_response; waits
--- Since: 1
--- Permission: net
---@param requests moongate.HttpRequest[]  1 to 8
---@return moongate.HttpResponse? response  nil when all failed
---@return integer|moongate.Error|nil index_or_err  which one it was
function http.race(requests) end

return http
