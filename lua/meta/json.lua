---@meta moongate.json

--- JSON. Whole numbers stay whole, empty lists stay lists, and the same value is written the same way every time: keys
--- sorted, no blanks.
---@class moongate.json
---@field null lightuserdata  JSON's null, in both directions
local json = {}

--- Raises for what JSON cannot hold: functions, NaN, lists with holes, tables with keys of both kinds, cycles. Invalid UTF-8
--- becomes U+FFFD.
---
--- Phases: anywhere
--- Since: 1
---@param value any
---@return string? text
---@return moongate.Error? err  `too_large`: over 8 MiB
function json.encode(value) end

--- Strict: RFC 8259, and no key twice in an object. Numbers become Lua numbers, which are exact up to 2^53; use `patch` to
--- keep larger ones.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@param options? { max_depth?: integer, max_bytes?: integer }  128 and 8 MiB when omitted
---@return any value
---@return moongate.Error? err  `invalid_json`, `too_deep`, `too_large`
function json.decode(text, options) end

--- Marks a table (a new one when omitted) as a list, so that it is written as `[]` when empty.
---
--- Phases: anywhere
--- Since: 1
---@param t? table
---@return table t
function json.array(t) end

--- Phases: anywhere
--- Since: 1
---@param value any
---@return boolean  true for lists, and for empty tables that are marked as one
function json.is_array(value) end

--- Sets and removes members by path and leaves every other byte as it is. Paths are `a.b` and `a[*].b` (all elements);
--- a member that is absent is added to its object.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@param changes { [string]: any }  path → value; at most 32 together with removals
---@param removals? string[]  paths
---@return string? text
---@return moongate.Error? err  `invalid_json`, `too_large`, `not_found`: there is no object to put it into
function json.patch(text, changes, removals) end

--- A value that `encode` writes as this text, byte for byte: how members survive whose order of keys or spelling of numbers
--- matters. Raises when it is no JSON.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@return table value
function json.raw(text) end

--- The text of such a value; nil for anything else.
---
--- Phases: anywhere
--- Since: 1
---@param value any
---@return string? text
function json.text(value) end

return json
