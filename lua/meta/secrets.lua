---@meta moongate.secrets

--- Secrets of the vault (`moongate secret set --project P NAME`), without ever seeing one: a handle says which, and the
--- gateway puts the secret in its place where a header of `moongate.http` is written or `moongate.crypto.hmac` needs a key.
--- It prints as `secret(NAME)`. In a plugin's config, `secret "NAME"` of the project file arrives as such a handle.
---
--- `grant = { "secret:NAME" }` lets an instance use it towards the origins it is granted letter by letter;
--- `"secret:NAME@https://dlp.acme.example"` towards that one alone. A redirect to another origin goes without it, and where
--- an answer repeats it, stars stand in its place.
---@class moongate.secrets
local secrets = {}

--- What stands for a secret.
---@class moongate.Secret

--- Raises when the instance is not granted it. That the vault has it is asked when it is used.
---
--- Phases: anywhere but load
--- Since: 1
--- Permission: secret
---@param name string
---@return moongate.Secret
function secrets.ref(name) end

--- The same behind `Bearer `, for the header Authorization.
---
--- Phases: anywhere but load
--- Since: 1
---@param secret moongate.Secret
---@return moongate.Secret
function secrets.bearer(secret) end

return secrets
