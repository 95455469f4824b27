--- moongate.lua - the little of the trusted state that dialects need, for a bare luajit. Not a test of the real one:
--- unit.script.dialects runs the same cases in it.
local json, sha256 = require "support.json", require "support.sha256"

local crypto = {
  sha256 = function(text)
    return { hex = sha256(text) }
  end,
  hex = function(digest)
    return digest.hex
  end,
}

package.loaded["moongate.json"], package.loaded["moongate.crypto"] = json, crypto
moongate = { json = json, crypto = crypto } -- luacheck: ignore
package.loaded["moongate"] = moongate -- luacheck: ignore
return json
