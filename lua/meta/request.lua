---@meta moongate.Request

--- A client's request: a view that lives as long as the hook that got it. Later uses raise "request is finished".
---
--- Reading or changing content (texts, tools, lists and objects in `params`) needs the permission `content:request`; without
--- it a plugin sees roles, sizes, counts and hashes. Changes are spliced into the body: what nobody touched stays byte for
--- byte, so provider-side prompt caches stay warm. Every change stands in the timeline with the instance's name.
---@class moongate.Request
---@field id string  as in `x-request-id`
---@field workflow string
---@field model string?  what the client asked for
---@field dialect string  "openai"
---@field surface string  "chat", "completions" or "embeddings"
---@field stream boolean  the client wants a stream
---@field key_id string?  the project key it came with
---@field key_metadata table  metadata of that key; a copy
---@field metadata table  metadata of the request; a copy
---@field session string?  from `x-moongate-session`
---@field deadline_ms number  what is left of the deadline
---@field tokens_in_est number  estimated input tokens
---@field headers moongate.Headers
---@field params moongate.Params
---@field messages moongate.Messages
---@field tools table?  as in the body; a copy
local Request = {}

--- Answers the request without any provider.
---
--- Phases: on_request
--- Since: 1
---@param answer { text?: string, body?: table|string, status?: integer }  text of the assistant, or a whole body (a table or JSON)
---@return moongate.Outcome  return it from the hook
function Request:respond(answer) end

--- Refuses the request.
---
--- Phases: on_request
--- Since: 1
---@param reason? { status?: integer, code?: string, message?: string }  403, "denied" and a sentence when omitted
---@return moongate.Outcome  return it from the hook
function Request:deny(reason) end

--- Header fields by name, in any case: `req.headers["x-team"]`. Credentials are not there.
---@class moongate.Headers
---@field [string] string?

--- Top-level fields of the body but for model, stream and messages: `req.params.temperature = 0.2`, nil removes. Writing is
--- for on_request, at most 32 different fields.
---@class moongate.Params
---@field [string] any

--- The messages: `#req.messages`, `req.messages[1]`, `for i, message in ipairs(req.messages)`.
---@class moongate.Messages
---@field [integer] moongate.Message?
local Messages = {}

--- Replaces the content of message i by a text; its other fields stay.
---
--- Phases: on_request
--- Since: 1
---@param i integer
---@param text string
function Messages:set(i, text) end

--- Inserts a message before message i; `#req.messages + 1` appends.
---
--- Phases: on_request
--- Since: 1
---@param i integer
---@param message { role: string, text: string }
function Messages:insert(i, message) end

--- Phases: on_request
--- Since: 1
---@param i integer
function Messages:remove(i) end

--- Adds to what the model is told: at the end of the leading system message, or as a new one when there is none (or its
--- content is a list of parts).
---
--- Phases: on_request
--- Since: 1
---@param text string
function Messages:append_system(text) end

--- One message, by position: after an insertion before it, it is the one that stands there now.
---@class moongate.Message
---@field role string?
---@field index integer
---@field bytes number  length of its content in the body
---@field hash string  fingerprint of its content, 16 hex digits; equal contents have equal ones
local Message = {}

--- The text: of a string, or of all text parts joined.
---
--- Phases: hooks
--- Since: 1
---@return string
function Message:text() end

--- The content as it is: a string, a list of parts, `moongate.json.null`, or nil.
---
--- Phases: hooks
--- Since: 1
---@return any
function Message:json() end
