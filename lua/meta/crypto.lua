---@meta moongate.crypto

--- Digests, random bytes, encodings. All of them speak in bytes: `crypto.hex(crypto.sha256(s))`. What is encoded or verified
--- has at most 1 MiB, a key 64 KiB.
---@class moongate.crypto
local crypto = {}

--- Phases: anywhere
--- Since: 1
---@param data string
---@return string digest  32 bytes
function crypto.sha256(data) end

--- Phases: anywhere
--- Since: 1
---@param algorithm "sha256"|"sha384"|"sha512"
---@param key string|moongate.Secret
---@param data string
---@return string? digest
---@return moongate.Error? err  `secret`: the vault does not have it
function crypto.hmac(algorithm, key, data) end

--- Phases: anywhere but load
--- Since: 1
---@param n integer  1 to 1024
---@return string bytes
function crypto.random(n) end

--- A random UUID.
---
--- Phases: anywhere but load
--- Since: 1
---@return string
function crypto.uuid() end

--- Phases: anywhere
--- Since: 1
---@param data string
---@param options? { url?: boolean }  the URL-safe alphabet without padding
---@return string? text
---@return moongate.Error? err
function crypto.base64(data, options) end

--- Strict: no blanks, padding as it must be.
---
--- Phases: anywhere
--- Since: 1
---@param text string
---@param options? { url?: boolean }
---@return string? data
---@return moongate.Error? err  `invalid`
function crypto.unbase64(text, options) end

--- Phases: anywhere
--- Since: 1
---@param data string
---@return string? text  lower case
---@return moongate.Error? err
function crypto.hex(data) end

--- Phases: anywhere
--- Since: 1
---@param text string
---@return string? data
---@return moongate.Error? err  `invalid`
function crypto.unhex(text) end

--- Compares in a time that depends on the lengths alone: for tokens and signatures.
---
--- Phases: anywhere
--- Since: 1
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

--- Phases: anywhere
--- Since: 1
---@param public_key string  32 bytes
---@param message string
---@param signature string  64 bytes
---@return boolean
function crypto.ed25519_verify(public_key, message, signature) end

return crypto
