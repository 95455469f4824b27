---@meta moongate.kv

--- A dictionary in memory, shared by all workers and kept over reloads, lost when the process ends. Names belong to the
--- instance; those that begin with `shared:` to the project. A space holds at most 10,000 keys and 1 MiB.
---@class moongate.kv
local kv = {}

---@alias moongate.kv.Value string|number|boolean

--- Phases: hooks, new
--- Since: 1
--- Permission: kv
---@param key string  1 to 256 bytes
---@return moongate.kv.Value?  nil when absent or expired
---@return moongate.Error? err
function kv.get(key) end

--- Sets a key; nil deletes it.
---
--- Phases: hooks, new
--- Since: 1
--- Permission: kv
---@param key string
---@param value moongate.kv.Value?  a string of at most 64 KiB
---@param options? { ttl_ms?: integer, nx?: boolean }  nx: only when the key is absent
---@return boolean? done  false when nx found one
---@return moongate.Error? err  `quota`, `too_large`
function kv.set(key, value, options) end

--- Adds to a number, atomically: counters, rate limits.
---
--- Phases: hooks, new
--- Since: 1
--- Permission: kv
---@param key string
---@param n? number  1 when omitted
---@param options? { ttl_ms?: integer, init?: number }  for a key that is absent: where to start, and when it expires
---@return number? value  after the addition
---@return moongate.Error? err  `quota`, `not_a_number`
function kv.incr(key, n, options) end

--- Sets a key if its value is the expected one (nil: absent); nil deletes it.
---
--- Phases: hooks, new
--- Since: 1
--- Permission: kv
---@param key string
---@param expected moongate.kv.Value?
---@param value moongate.kv.Value?
---@param options? { ttl_ms?: integer }
---@return boolean? done
---@return moongate.Error? err  `quota`, `too_large`
function kv.cas(key, expected, value, options) end

--- Phases: hooks, new
--- Since: 1
--- Permission: kv
---@param key string
---@return boolean existed
function kv.del(key) end

--- The first keys with a prefix, sorted.
---
--- Phases: hooks, new
--- Since: 1
--- Permission: kv
---@param prefix string
---@param limit? integer  100 when omitted, at most 1000
---@return string[] keys
function kv.scan(prefix, limit) end

return kv
