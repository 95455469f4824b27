---@meta moongate.re

--- Regular expressions in time linear in the text, whatever pattern and text are. The syntax is PCRE's without captures,
--- back references and look-around; patterns and texts are UTF-8, `.` is any character, line ends included.
---
--- Patterns are compiled while a generation is built: at the top of a file, or in `M.new`.
---@class moongate.re
local re = {}

--- Raises when the pattern is wrong, could match nothing at all, or would take too long to compile.
---
--- Phases: load, validate, new
--- Since: 1
---@param pattern string
---@param options? { caseless?: boolean }
---@return moongate.Regex
function re.compile(pattern, options) end

--- A compiled pattern. Of all matches the leftmost wins, and of those that begin there the longest; matches do not overlap.
--- One that could only begin inside another, wherever it ends, is not seen.
---@class moongate.Regex
local Regex = {}

--- Where the first match is.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@param init? integer  where to begin; `^` and `\b` take it for the start of the text
---@return integer? first  nil when there is none
---@return integer|moongate.Error|nil last
function Regex:find(text, init) end

--- The first match.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@param init? integer
---@return string?
---@return moongate.Error? err  `too_large`
function Regex:match(text, init) end

--- All matches.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@return string[]?
---@return moongate.Error? err  `too_large`
function Regex:matches(text) end

--- Whether there is one; quicker than the others.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@return boolean?
---@return moongate.Error? err  `too_large`
function Regex:test(text) end

--- Replaces matches: by a text as it is, by a table's entry, or by what a function of the match returns (nil or false keeps
--- the match). The function may not wait.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@param replacement string|table|fun(match: string): string|false|nil
---@param n? integer  at most so many
---@return string? text
---@return integer|moongate.Error count
function Regex:gsub(text, replacement, n) end

--- The longest text that can match, in bytes; nil when there is no bound. For the `hold` of streaming filters.
---
--- Phases: anywhere
--- Since: 1
---@return integer?
function Regex:max_length() end

return re
