---@meta moongate.text

--- Many patterns at once, and UTF-8. Texts are bounded: 8 MiB, or 1 MiB for sets whose matches have no greatest length.
---@class moongate.text
---@field utf8 moongate.text.utf8
local text = {}

---@class moongate.RedactorSet
---@field patterns? string[]|{ [string]: string }  as in `re.compile`; names give masks: `email = "…"` becomes `[email]`
---@field words? string[]  literal, whole words
---@field mask? string|{ [string]: string }  for all, or by name; `[redacted]` where nothing else is said
---@field caseless? boolean

--- Compiles a set of patterns and words, 1 to 10,000.
---
--- Phases: load, validate, new
--- Since: 1
---@param set moongate.RedactorSet
---@return moongate.Redactor
function text.redactor(set) end

--- Compiles a list of words and phrases to look for: literal, whole words.
---
--- Phases: load, validate, new
--- Since: 1
---@param words string[]  1 to 10,000
---@param options? { caseless?: boolean }  true when omitted
---@return moongate.Matcher
function text.matcher(words, options) end

--- An estimate, today the same for every model: a token per four bytes of ASCII, per two characters of other alphabets and
--- per character of CJK.
---
--- Phases: anywhere
--- Since: 1
---@param model string
---@param s string
---@return number tokens
function text.count_tokens(model, s) end

--- The longest prefix of at most n bytes that does not end inside a character.
---
--- Phases: anywhere
--- Since: 1
---@param s string
---@param n integer
---@return string
function text.truncate(s, n) end

--- Characters instead of bytes. A byte that is not UTF-8 counts as one.
---@class moongate.text.utf8
local utf8 = {}
text.utf8 = utf8

--- Phases: anywhere
--- Since: 1
---@param s string
---@return boolean
---@return integer? bad  the first byte that is wrong
function utf8.valid(s) end

--- Phases: anywhere
--- Since: 1
---@param s string
---@return integer
function utf8.len(s) end

--- As string.sub.
---
--- Phases: anywhere
--- Since: 1
---@param s string
---@param i integer
---@param j? integer
---@return string
function utf8.sub(s, i, j) end

--- A compiled set that hides what it matches.
---@class moongate.Redactor
local Redactor = {}

--- Matches that overlap are hidden as one, under the mask of the leftmost: no matched byte stays.
---
--- With `more`, text follows: the end of this one that is a match which could grow, or the beginning of one, is left as it is,
--- and `hold` tells how long it is. A streaming filter hides and holds just what it must:
---
--- ```lua
--- function M:on_chunk(chunk)
---   local text, _, hold = self.redactor:redact(chunk.text, { more = not chunk.final })
---   chunk:keep(hold or 0)
---   return text
--- end
--- ```
---
--- Phases: anywhere
--- Since: 1
---@param s string
---@param options? { more?: boolean }
---@return string? text
---@return integer|moongate.Error count
---@return integer? hold  characters at the end of `text`; nil without `more`, and for patterns with `^`, inline options or the like: then the filter's own hold counts
function Redactor:redact(s, options) end

--- The longest text that can match, in bytes; nil when there is no bound.
---
--- Phases: anywhere
--- Since: 1
---@return integer?
function Redactor:max_length() end

--- A compiled list of words.
---@class moongate.Matcher
local Matcher = {}

--- The first word that occurs, spelt as in the list, and where.
---
--- Phases: anywhere
--- Since: 1
---@param s string
---@return string? word
---@return integer|moongate.Error|nil first
---@return integer? last
function Matcher:find(s) end

--- Whether one occurs; quicker than `find`.
---
--- Phases: anywhere
--- Since: 1
---@param s string
---@return boolean?
---@return moongate.Error? err  `too_large`
function Matcher:test(s) end

--- How many occurrences there are.
---
--- Phases: anywhere
--- Since: 1
---@param s string
---@return integer?
---@return moongate.Error? err  `too_large`
function Matcher:count(s) end

return text
