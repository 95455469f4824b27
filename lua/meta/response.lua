---@meta moongate.Response

--- Token counts.
---@class moongate.Usage
---@field input_tokens number  cached ones included
---@field output_tokens number  reasoning included
---@field cached_read_tokens number
---@field cached_write_tokens number
---@field reasoning_tokens number
---@field estimated boolean  the provider reported none

--- A complete answer. Its content needs the permission `content:response`.
---@class moongate.Response
---@field id string
---@field workflow string
---@field key_id string?
---@field session string?
---@field status integer
---@field target string?  who answered
---@field finish string?  finish reason of the first choice
---@field attempts integer
---@field usage moongate.Usage
---@field streamed boolean
---@field sent boolean  it is on its way to the client: replace, deny and retry fail
---@field bytes number  of the whole body; 0 when it was streamed
local Response = {}

--- The assistant's text of the first choice.
---
--- Phases: on_response, accept
--- Since: 1
---@return string
function Response:text() end

--- The whole body, decoded; nil when it was streamed.
---
--- Phases: on_response, accept
--- Since: 1
---@return table?
function Response:json() end

--- Puts another answer in its place.
---
--- Phases: on_response
--- Since: 1
---@param answer { text?: string, body?: table|string }  a new text for the first choice, or a whole body
---@return moongate.Outcome?  return it from the hook
---@return moongate.Error? err  `sent`
function Response:replace(answer) end

--- Withholds it.
---
--- Phases: on_response
--- Since: 1
---@param reason? { status?: integer, code?: string, message?: string }
---@return moongate.Outcome?
---@return moongate.Error? err  `sent`
function Response:deny(reason) end

--- Throws it away and goes on with the plan.
---
--- Phases: on_response
--- Since: 1
---@param reason { reason: string }  shown in the timeline
---@return moongate.Outcome?
---@return moongate.Error? err  `sent`
function Response:retry(reason) end

--- The record of an exchange, for on_log. Three fields can be rewritten.
---@class moongate.Record
---@field id string
---@field workflow string
---@field key_id string?
---@field session string?
---@field status integer
---@field class string  failure class of the last word; "none" on success
---@field error_code string?
---@field stream boolean
---@field attempts { target: string, status: integer, class: string, action: string, reason: string, why: string?, error: string?, usage: moongate.Usage }[]
---@field metadata table  a copy; assign a table to change it, nil to drop it
---@field explain string?  assign a text or nil
---@field notes string  lines of the timeline; assign a text or nil
