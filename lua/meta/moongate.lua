---@meta moongate

--- The library of plugins, policies and taxonomies: a global, and `require "moongate"`. Its modules are fields of it and
--- can be required by name, as in `require "moongate.http"`.
---
--- Mistakes raise an error that names function and argument. What can fail although nobody made a mistake returns
--- `nil, err`; test it with `if not value then … err.code`.
---@class moongate
---@field api_version integer  the API this code runs on: 1
---@field project string?  name of the project
---@field plugin string?  name of the plugin; nil for inline code
---@field instance string?  name of the instance: `as` in the project file, `inline`, `inline:<workflow>`
---@field crypto moongate.crypto
---@field http moongate.http
---@field json moongate.json
---@field kv moongate.kv
---@field log moongate.log
---@field re moongate.re
---@field secrets moongate.secrets
---@field stats moongate.stats
---@field text moongate.text
---@field time moongate.time
moongate = {}

--- Whether this gateway has a feature: the name of a module, or one of `stream.hold`, `hooks.on_log`. For code that wants
--- to run on older gateways too.
---
--- Phases: anywhere
--- Since: 1
---@param feature string
---@return boolean
function moongate.has(feature) end

--- What comes second when a function could not do its work.
---@class moongate.Error
---@field code string  a word to decide by: "timeout", "quota", "invalid_json" …
---@field message string  a sentence for people
---@field retryable boolean  the same call may succeed later
