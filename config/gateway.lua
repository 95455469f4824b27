-- gateway.lua - the process: where it listens, where it keeps its data, what one client may ask for.
--
-- Every key of the file stands here with its default, so that this file does the same as an empty one. Keys without a
-- default are commented out with an example. docs/reference/configuration.md says the same in tables.
return {
  -- Where clients connect: "host:port", ":port" for all addresses, "unix:/path", or a list of them. The variable
  -- MOONGATE_LISTEN takes the place of this default. With TLS a listener is a table:
  --   listen = { { address = ":8443", cert = "tls/cert.pem", key = "tls/key.pem", client_ca = "tls/clients.pem" } },
  -- cert and key are PEM files that are read again when they change; client_ca asks clients for a certificate.
  listen = { { address = env("MOONGATE_LISTEN", "127.0.0.1:8080") } },

  -- Health, metrics and the admin API; `admin = false` switches it off. It takes cert, key and client_ca as above.
  admin = {
    address = env("MOONGATE_ADMIN", "127.0.0.1:8081"), -- keep it on loopback
    token = env("MOONGATE_ADMIN_TOKEN", false),        -- of the admin API; without one, members' tokens and those of oidc
    -- People sign in with `moongate login`, machines bring access tokens; claims say what they may do.
    --   oidc = {
    --     issuer = "https://login.example.com", client_id = "moongate",
    --     audience = "moongate", scopes = "openid email groups", name = "email", ca = "/etc/ssl/login.pem",
  --     max_age_ms = 3600000, -- of a token, however long it says it lasts
    --     roles = {
    --       { claim = "groups", value = "platform", role = "owner" },
    --       { claim = "groups", value = "search-*", role = "operator", project = "search" },
    --     },
    --   },
  },

  data_dir = env("MOONGATE_DATA", "data"), -- journal, store and key secret; relative to this file
  -- adapters_dir = "adapters",            -- files of adapters of your own, in front of those that ship
  -- workers = 4,                          -- threads; by default one a core (MOONGATE_WORKERS)
  drain_ms = 30000,                        -- after SIGTERM: time for exchanges in flight
  -- proxy = "http://proxy.internal:3128", -- towards providers; by default HTTPS_PROXY and NO_PROXY decide, "" is none

  log = { level = env("MOONGATE_LOG", "info") }, -- "debug", "info", "warn", "error" or "off"
  journal = { bytes = 67108864 },                -- each worker's usage journal, allocated at start
  requests = { keep_days = 0, keep_bytes = 0 },  -- how long the request log keeps what it has; 0: for ever, however much
  cors = { origins = {} },                       -- exact origins, or "*"; empty: browsers may not call

  -- Provider accounts that several projects share: their keys, breakers and caps are one. A provider says `account =
  -- "openai"` in place of a key. `projects` is a list of names, or names with their shares of a cap that is full.
  --   accounts = {
  --     openai = {
  --       api_key = secret "openai", -- or api_keys = { secret "openai", { name = "spare", key = secret "openai-2" } }
  --       projects = { support = 2, search = 1 },
  --     },
  --   },
  accounts = {},

  -- Usage events, handed on to files and webhooks: in order, each at least once. A bare text is a file.
  --   exports = {
  --     archive = { file = "usage.ndjson" },
  --     billing = { webhook = "https://billing.example.com/usage", token = secret "billing", batch = 500,
  --                 signing_key = secret "billing_signature" }, -- as Standard Webhooks has it
  --   },
  exports = {},

  -- Where the secrets of `moongate secret` lie encrypted: in the store, under data keys that the master key wraps.
  --   master = { kind = "file", path = "/safe/master.key" } -- or
  --   master = { kind = "env", variable = "MOONGATE_MASTER_KEY" } -- 64 hexadecimal digits; or a service:
  --   master = { kind = "transit", url = "https://vault.internal:8200", mount = "transit", key_id = "moongate",
  --     token = env "VAULT_TOKEN", ca = "/etc/ssl/vault.pem" },
  --   master = { kind = "aws_kms", key_id = "alias/moongate", region = "eu-central-1", access_key = env "AWS_ACCESS_KEY_ID",
  --     secret_key = env "AWS_SECRET_ACCESS_KEY", session_token = env("AWS_SESSION_TOKEN", false) },
  --   previous = { kind = "file" }, -- the master before, until `moongate vault rewrap` is done
  vault = {
    master = { kind = "file" }, -- <data_dir>/master.key, made at the first start: move it to another disk
    audit_uses = 0,             -- share of the uses of secrets that the audit log records; acts it always does
  },

  -- When more comes than a worker can take, projects get weighted shares of it and the rest is turned away with 503.
  overload = {
    in_flight = 12288, -- requests of one worker; more of them wait
    queue = 1024,      -- how many may wait
    queue_ms = 2000,   -- how long each
    -- shares = { support = 3 }, -- weights of projects; 1 for those that are not here
  },

  -- What one client may ask for.
  limits = {
    body_bytes = 33554432, -- request body; above it the answer is 413
    upload_bytes = 536870912, -- body of a form with files, which is never held; above it the answer is 413
    form_bytes = 1048576, -- beginning of such a form that is held; `model` must stand in it
    header_bytes = 65536,  -- request header; above it the answer is 431
    connections = 16384,   -- open connections of one worker
    header_ms = 10000,     -- to send the header
    body_ms = 30000,       -- between two pieces of the body
    idle_ms = 75000,       -- of an idle connection
    write_ms = 60000,      -- without taking a byte of the answer
  },
}
