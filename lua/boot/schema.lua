--- schema.lua - every key of gateway.lua and projects/<name>.lua, declared once.
---
--- From these tables come the checks and their messages, the defaults, `docs/reference/configuration.md` and the test
--- that keeps `config/` complete. A node is a table:
---
---   type      "string" "integer" "number" "boolean" "function" "json" "list" "map" "record"
---   format    of a string: a row of boot/formats.lua; `enum` lists the only values; `secret` is never shown
---   min max   of a number; of the length of a list or map; `word` is a text that may stand in an integer's place;
---             `unit` is named by the message where the key does not name it
---   of        what a list or map holds; `key` is the format of a map's keys
---   fields    of a record, in the order of the reference: { name, node, default, doc }
---   short     of a record: the field that a bare value, or the value at [1], stands for
---   single    of a list: one bare element may stand for a list of one
---   off       of a record: `false` switches it off
---
--- A field may add: required; also (a second name); env (a variable that takes the place of the default); example.
--- Durations are integers in milliseconds and end in `_ms`, sizes end in `_bytes`.
local schema = {}

local function with(type_name)
  return function(node)
    node.type = type_name
    return node
  end
end

local text, integer, number = with("string"), with("integer"), with("number")
local list, map, record = with("list"), with("map"), with("record")
local boolean, json, func = { type = "boolean" }, { type = "json" }, { type = "function" }

local name = text { format = "name" }
-- A certificate of the gateway may be made after its file; a project's files are read when it is built.
local path, file = text { format = "path" }, text { format = "file" }
local secret = text { secret = true }
local ms = integer { min = 1, max = 86400000 }
local bytes = integer { min = 1024, max = 1099511627776 }
local tokens = integer { min = 1, max = 100000000 }
local wait = integer { min = 0, max = 86400000 }
local rate = number { min = 0, max = 1000000, millionths = true } -- what is finer would be rounded, to nothing in the end

---- both files: API keys

local api_keys = list { single = true, max = 16, of = record {
  short = "key",
  fields = {
    { "key", secret, required = true, doc = "The secret itself." },
    { "name", name, doc = "What logs, records and `moongate targets` call it; by default `key1`, `key2` …" },
  },
} }

---- gateway.lua

local listener = record {
  short = "address",
  fields = {
    { "address", text { format = "address" }, required = true,
      doc = '`"host:port"`, `":port"` for all addresses, or `"unix:/path"`; port 0 takes any free one.' },
    { "cert", path,
      doc = "PEM file with the certificate chain; with `key` it makes this a TLS listener. It is read again " ..
        "when it changes." },
    { "key", path, doc = "PEM file with the private key of `cert`." },
    { "client_ca", path, doc = "PEM file: clients must show a certificate signed by it (mTLS)." },
  },
}

local account = record { fields = {
  { "api_key", secret, example = 'env "OPENAI_API_KEY"', doc = "The credential." },
  { "api_keys", api_keys, example = '{ env "KEY_A", env "KEY_B" }', doc = "Several in its place, the preferred first." },
  { "projects", { type = "shares", key = "name", max = 64 }, required = true,
    doc = "Which projects may use it: a list of names, or names with shares: `{ support = 2, search = 1 }`. They share its " ..
      "keys, breakers and caps. While a cap is full each project keeps its share of it; what one does not use the others " ..
      "may have." },
} }

local oidc = record { fields = {
  { "issuer", text { format = "issuer" }, required = true,
    doc = "The provider of identities, exactly as its tokens name it (`iss`). Its keys are found through its discovery document and " ..
      "read again by themselves." },
  { "client_id", text { format = "header", max = 255 }, required = true,
    doc = "What the provider calls Moongate: a public (native) client, allowed the device grant or the redirect " ..
      "`http://127.0.0.1/callback` at any port. ID tokens are for it." },
  { "audience", list { of = text { format = "header", max = 255 }, single = true, min = 1, max = 8 },
    example = '"https://moongate.example.com"',
    doc = "What a token must be for (`aud`), one of these; by default the `client_id`, which is what ID tokens are for. Name the " ..
      "API beside it to take access tokens (JWT) too, or alone to take nothing else." },
  { "scopes", text { format = "header", max = 512 }, default = "openid",
    doc = 'What `moongate login` asks for; the claims below may need more, such as `"openid email groups"`.' },
  { "name", text { format = "header", max = 128 }, default = "sub",
    doc = "The claim that names its bearer in the log and the audit log, behind `oidc:`. `sub` cannot be chosen by its bearer; " ..
      "`email` reads better." },
  { "max_age_ms", ms, example = "3600000",
    doc = "Tokens that were issued longer ago are refused, however long they say they last: so long a lost one is of use." },
  { "ca", path, doc = "PEM bundle to trust in place of the system's when asking the provider." },
  { "roles", list { of = record { fields = {
      { "claim", text { format = "header", max = 128 }, required = true, example = '"groups"',
        doc = "A claim of the token; `a.b` also looks inside. `scope` is a list of words." },
      { "value", text { format = "header", max = 255 }, required = true, example = '"gateway-*"',
        doc = "What it, or one of its values, must be; `*` stands for anything." },
      { "role", text { enum = { "owner", "operator", "viewer", "secret-writer" } }, required = true,
        doc = "What its bearer then is …" },
      { "project", name, doc = "… in this project; without it in all." },
    } }, min = 1, max = 256 }, required = true,
    doc = "Who may do what. Every rule that fits counts; a token that none fits is refused." },
} }

local export = record { short = "file", fields = {
  { "file", path, doc = "Events are appended to this file, a JSON object a line. It may be moved away at any time." },
  { "webhook", text { format = "url" }, example = '"https://billing.example.com/usage"',
    doc = "Events are sent here, as `application/x-ndjson`; a 2xx answer means that they arrived." },
  { "token", secret, doc = "Of a webhook: sent as a bearer token." },
  { "signing_key", secret, example = 'env "USAGE_SIGNING_KEY"',
    doc = "Of a webhook: each batch is signed with it, as Standard Webhooks has it. A text of 16 to 256 bytes, or `whsec_` and their base64." },
  { "batch", integer { min = 1, max = 10000 }, default = 500, doc = "The most requests whose events are handed on at once." },
} }

local master = record { short = "kind", fields = {
  { "kind", text { enum = { "file", "env", "aws_kms", "gcp_kms", "transit" } }, default = "file",
    doc = "`file`: a file of its own, made at the first start. `env`: the variable that `variable` names. `aws_kms`, `gcp_kms` and " ..
      "`transit` (HashiCorp Vault, OpenBao): a key service, which never gives the key away." },
  { "path", path, doc = "Of `file`: where it is, by default `master.key` in `data_dir`. 64 hexadecimal digits, mode 0600." },
  { "variable", text { max = 128 }, default = "MOONGATE_MASTER_KEY",
    doc = "Of `env`: the variable with 64 hexadecimal digits. It is overwritten in the environment once it was read." },
  { "key_id", text { max = 2048 }, example = '"alias/moongate"',
    doc = "Of a service: its name for the key. AWS: id, ARN or alias; GCP: `projects/P/locations/L/keyRings/R/cryptoKeys/K`; " ..
      "transit: the key's name." },
  { "region", text { format = "name" }, example = '"eu-central-1"', doc = "Of `aws_kms`." },
  { "url", text { format = "url" }, example = '"https://vault.internal:8200"',
    doc = "Of a service: where it answers; by default the public one of `aws_kms` and `gcp_kms`." },
  { "mount", text { max = 128 }, default = "transit", doc = "Of `transit`: where the engine is mounted." },
  { "ca", path, doc = "Of a service: PEM bundle to trust in place of the system's." },
  { "token", secret, example = 'env "VAULT_TOKEN"', doc = "Of `transit` and `gcp_kms`: the bearer token." },
  { "access_key", secret, example = 'env "AWS_ACCESS_KEY_ID"', doc = "Of `aws_kms`." },
  { "secret_key", secret, example = 'env "AWS_SECRET_ACCESS_KEY"', doc = "Of `aws_kms`." },
  { "session_token", secret, example = 'env("AWS_SESSION_TOKEN", false)', doc = "Of `aws_kms`, with temporary keys." },
} }

schema.gateway = record {
  fields = {
    { "listen", list { of = listener, single = true, min = 1, max = 16 },
      default = "127.0.0.1:8080", env = "MOONGATE_LISTEN",
      doc = 'Where clients connect: one listener or a list of them. `":8080"` opens it to the network.' },
    { "admin", record { off = true, short = "address", fields = {
        { "address", text { format = "address" }, default = "127.0.0.1:8081", env = "MOONGATE_ADMIN",
          doc = "Where health, metrics and the admin API answer. Keep it on loopback." },
        { "token", secret, example = 'env("MOONGATE_ADMIN_TOKEN", false)',
          doc = "What the admin API asks for as a bearer token; without one it answers health and metrics only." },
        { "cert", path, doc = "PEM file with the certificate chain of the admin listener." },
        { "key", path, doc = "PEM file with the private key of `cert`." },
        { "client_ca", path, doc = "PEM file: admin clients must show a certificate signed by it." },
        { "oidc", oidc, doc = "Lets people and machines in with tokens of an OpenID Connect provider: `moongate login`." },
      } }, default = {},
        doc = "The admin plane; `false` switches it off. The command line uses a socket in `data_dir` and needs " ..
          "no token." },
    { "data_dir", path, default = "data", env = "MOONGATE_DATA",
      doc = "Folder of the journal, the store and the key secret, relative to this file." },
    { "adapters_dir", path, example = '"adapters"',
      doc = "Folder of adapters of your own, a file each, in front of those that ship; relative to this file." },
    { "workers", integer { min = 1, max = 256 }, default = "cores", env = "MOONGATE_WORKERS",
      doc = "Worker threads; by default one for each core this process may use." },
    { "drain_ms", ms, default = 30000,
      doc = "After SIGTERM: how long exchanges in flight may take before they are cut off." },
    { "proxy", text { format = "proxy" }, example = '"http://proxy.internal:3128"',
      doc = 'HTTP proxy towards the providers; without it `HTTPS_PROXY` and `NO_PROXY` decide, and `""` means none.' },
    { "log", record { fields = {
        { "level", text { enum = { "debug", "info", "warn", "error", "off" } }, default = "info", env = "MOONGATE_LOG",
          doc = "The least important lines that are written to stderr." },
      } }, default = {}, doc = "The process's own log." },
    { "journal", record { fields = {
        { "bytes", integer { min = 1048576, max = 17179869184 }, default = 67108864,
          doc = "Size of each worker's usage journal. It is allocated at start, so that a full disk shows then." },
      } }, default = {}, doc = "The usage journal." },
    { "requests", record { fields = {
        { "keep_days", integer { min = 0, max = 36500 }, default = 0,
          doc = "Requests that ended longer ago are deleted from the log, and from usage reports; 0 keeps them for ever. Budgets of " ..
            "a month need 32 days to be restored after a start. What an export has not sent yet stays." },
        { "keep_bytes", integer { min = 0, max = 1125899906842624 }, default = 0,
          doc = "When the files of older requests take more, the oldest go; 0: however much." },
      } }, default = {}, doc = "How long the request log keeps what it has." },
    { "cors", record { fields = {
        { "origins", list { of = text { format = "origin" }, single = true, max = 256 },
          default = {}, example = '{ "https://app.example.com" }',
          doc = 'Exact origins whose browsers may call the data plane, or `"*"`; empty switches CORS off.' },
      } }, default = {}, doc = "Calls from browsers." },
    { "accounts", map { of = account, key = "name", max = 256 }, default = {},
      doc = "Provider accounts of several projects, by a name that their providers give as `account`. An account that is not " ..
        "here belongs to one project." },
    { "exports", map { of = export, key = "name", max = 8 }, default = {},
      doc = "Where usage events are handed on to, by a name that keeps its place: in order, each at least once, also after a " ..
        "restart. A new name begins with what comes from then on." },
    { "overload", record { fields = {
        { "in_flight", integer { min = 1, max = 1000000 }, default = 12288,
          doc = "Requests that one worker has in flight; more of them wait. Whatever stands here, no more run than " ..
            "journal.bytes has room for, each with all the attempts its project allows: it is the fair queue that meets a rush." },
        { "queue", integer { min = 0, max = 1000000 }, default = 1024,
          doc = "How many may wait, of all projects; when it is full, the project furthest over its share is turned away with " ..
            "503. Enough for the wave of a second, too few to answer anybody long after they left." },
        { "queue_ms", ms, default = 2000,
          doc = "How long each waits before it is turned away: less than a client's own patience, so that it hears of it." },
        { "shares", { type = "shares", key = "name", max = 1024 }, example = '{ support = 3 }',
          doc = "Weights of projects while a worker is over its bound; a project that is not here has 1." },
      } }, default = {}, doc = "When more comes than a worker can take: projects get weighted shares of it, the rest is shed." },
    { "vault", record { fields = {
        { "master", master, default = {},
          doc = "Who holds the master key, which wraps the data key of each project. A bare text is its kind." },
        { "previous", master, example = '{ kind = "file", path = "/old/master.key" }',
          doc = "The master key before, while `moongate vault rewrap` has not wrapped everything again." },
        { "audit_uses", number { min = 0, max = 1 }, default = 0,
          doc = "Share of the spans of 10 s for which the use of a secret is entered in the audit log: 0 none, 1 all. Acts " ..
            "always are." },
      } }, default = {}, doc = "Where secrets are kept: `moongate secret`." },
    { "limits", record { fields = {
        { "body_bytes", bytes, default = 33554432, doc = "Largest request body; above it the answer is 413." },
        { "upload_bytes", bytes, default = 536870912,
          doc = "Largest body of a form with files (pictures, sound, `/v1/files`); above it the answer is 413. It is handed on as it " ..
            "comes and never held." },
        { "form_bytes", integer { min = 4096, max = 67108864 }, default = 1048576,
          doc = "So much of the beginning of such a form is held: `model` must stand in it, and a form that fits in it can be sent " ..
            "to another target when one fails." },
        { "header_bytes", integer { min = 1024, max = 1048576 }, default = 65536,
          doc = "Largest request header; above it the answer is 431." },
        { "connections", integer { min = 1, max = 1000000 }, default = 16384,
          doc = "Open client connections of one worker." },
        { "header_ms", ms, default = 10000, doc = "A client's time to send its header." },
        { "body_ms", ms, default = 30000, doc = "A client's time between two pieces of its body." },
        { "idle_ms", ms, default = 75000, doc = "How long an idle keep-alive connection stays open." },
        { "write_ms", ms, default = 60000, doc = "How long a client may take no byte of its answer." },
      } }, default = {}, doc = "What one client may ask of the gateway." },
  },
}

---- projects/<name>.lua

local timeouts = record { fields = {
  { "connect", ms, default = 2000,
    doc = "Attempt start until TCP and TLS are ready. A lost first packet is sent again after one second, so 2 " ..
      "s survive one loss, and a dead host costs no more." },
  { "first_token", ms, default = 30000,
    doc = "Request sent until the first content token; reasoning counts, pings and role-only chunks do not. " ..
      "Models that think before they speak need 10 to 20 s. Without streaming `total` holds instead, since such " ..
      "an answer comes whole." },
  { "idle", ms, default = 45000,
    doc = "Any byte of the answer until the next. Some servers send a keep-alive comment every 30 s; a stream " ..
      "that is silent for longer is dead." },
  { "total", ms, default = 600000,
    doc = "Attempt start until its end. The vendors' SDKs wait 600 s, so nothing that works without the gateway " ..
      "is cut here." },
} }

local stream = record { fields = {
  { "mode", text { enum = { "observe", "filter", "buffer", "reject" } }, default = "filter",
    doc = "`observe` changes nothing, `filter` sees a sliding window, `buffer` holds the whole answer, `reject` " ..
      "refuses `stream: true`." },
  { "hold", { type = "hold" }, default = "auto",
    doc = 'Characters held back so that a match may span chunks, or `"auto"`: as many as could still become a match.' },
  { "max_hold_ms", integer { min = 1, max = 60000 }, default = 400,
    doc = "After that long a transform lets go of what it holds." },
  { "channels", list { of = text { enum = { "content", "reasoning" } }, min = 1, max = 2 },
    default = { "content", "reasoning" },
    doc = "Which outputs `on_chunk` sees." },
} }

local fail_mode = text { enum = { "open", "closed" } }
local grant = list { of = text { format = "grant" }, max = 64 }
local fail = map { of = fail_mode, key = "hook", max = 16 }

local hooks = {
  on_request = { "on_request", func,
    doc = "`function(req)`: may edit, answer or deny a request before it is routed; may wait." },
  route = { "route", func, doc = "`function(req, candidates)`: returns the plan of attempts; nil asks the next one." },
  on_attempt = { "on_attempt", func,
    doc = "`function(req, att)`: may change model, parameters and headers of one attempt." },
  classify = { "classify", func, doc = "`function(att)`: says what a failed attempt means; nil asks the next one." },
  on_chunk = { "on_chunk", func, doc = "`function(c)`: sees and may replace streamed text." },
  on_response = { "on_response", func,
    doc = "`function(res)`: may replace, deny or retry a complete answer; may wait." },
  on_log = { "on_log", func,
    doc = "`function(rec)`: may edit what is recorded of an exchange; false drops its content." },
}

local function own_fields(fields, ...)
  for _, hook in ipairs { ... } do
    fields[#fields + 1] = hooks[hook]
  end
  return fields
end

local fault = record {
  short = "fault",
  fields = {
    { "fault", text { format = "fault" }, required = true, doc = "What goes wrong: a name from the list of faults." },
    { "every", integer { min = 0, max = 1000000 }, default = 0,
      doc = "Each how-many-th call is hit; 1 hits all, 0 leaves it to `probability`." },
    { "after", integer { min = 0, max = 1000000 }, default = 0, doc = "Calls that pass before the first is hit." },
    { "count", integer { min = 0, max = 1000000 }, default = 0, doc = "How many calls are hit; 0 has no end." },
    { "probability", number { min = 0, max = 1 }, default = 0,
      doc = "The share of calls that are hit when `every` is 0." },
    { "value", integer { min = 0, max = 86400000 }, default = 0,
      doc = "The fault's own number (status, milliseconds, bytes); 0 takes its default." },
    { "key", text { format = "header" }, example = '"sk-dead*"',
      doc = "Glob of the API keys whose calls are hit; by default all." },
  },
}

local phase = record { fields = {
  { "for_ms", integer { min = 0, max = 86400000 }, default = 0, doc = "How long it lasts; 0 is not counted." },
  { "for_calls", integer { min = 0, max = 1000000 }, default = 0,
    doc = "How many calls it lasts; when `for_ms` is 0 too it stays." },
  { "fault", text { format = "fault" }, doc = "What goes wrong meanwhile; by default `status`." },
  { "value", integer { min = 0, max = 86400000 }, default = 0, doc = "The fault's own number; 0 takes its default." },
  { "error_share", number { min = 0, max = 1 },
    doc = "The share of calls that suffer it; by default all when `fault` is given, else none." },
  { "ttft_ms", integer { min = 0, max = 600000 }, doc = "Time to the first token meanwhile; by default the model's." },
  { "tokens_per_s", integer { min = 1, max = 100000 }, doc = "Pace meanwhile; by default the model's." },
  { "requests", integer { min = 0, max = 1000000 }, default = 0,
    doc = "So many requests are allowed to each API key per window, then 429; 0 is no limit." },
  { "window_ms", ms, default = 60000, doc = "Length of that window." },
} }

local sim_model = record { fields = {
  { "ttft_ms", integer { min = 0, max = 600000 }, default = 200, doc = "Time to the first token." },
  { "tokens_per_s", integer { min = 1, max = 100000 }, default = 50, doc = "Pace of the stream." },
  { "output_tokens", integer { min = 1, max = 1000000 }, default = 60,
    doc = "Length of an answer; the request's own limit shortens it." },
  { "faults", list { of = fault, max = 16 }, default = {}, doc = "What goes wrong, and when." },
  { "phases", list { of = phase, max = 32 }, default = {},
    doc = "How it is for a while, one phase after the other: outages, slow times, tighter limits. After the last it is as " ..
      "described above." },
  { "loop", boolean, default = false, doc = "Begins with the first phase again after the last, which must all have an end." },
} }

---- what may be used

local budget = record { fields = {
  { "per", text { enum = { "day", "week", "month" } }, default = "month",
    doc = "Which calendar it follows, in UTC; weeks begin on Monday. A month, since that is what providers bill." },
  { "usd", number { min = 0.000001, max = 10000000 }, required = true,
    doc = "US dollars; nothing more is begun that would exceed them. Counted by the prices of the targets, each of which must have one." },
  { "soft", number { min = 0, max = 1 }, default = 0.8,
    doc = "From this share on it is told, once per period, in the log. At 0.8 of an even month six days are left to act; 0 says nothing." },
} }

local function limits_of(more)
  local fields = {
    { "requests_per_minute", integer { min = 1, max = 10000000 },
      doc = "Requests that may come; more get 429 and when to come back. Without it there is no limit, here and below." },
    { "burst", integer { min = 1, max = 10000000 },
      doc = "How many of them may come at once after a pause. By default a sixth of them, ten seconds' worth: a page that " ..
        "asks several things at once passes, and no minute ever sees more than 7/6 of the limit." },
    { "tokens_per_minute", integer { min = 1, max = 1000000000 },
      doc = "Tokens of requests and answers together. Each attempt reserves its estimate and settles what it really used." },
    { "concurrency", integer { min = 1, max = 1000000 }, doc = "Requests that may be in flight at once." },
    { "budget", list { of = budget, single = true, max = 3 }, example = '{ per = "month", usd = 100, soft = 0.8 }',
      doc = "Money, for up to three periods: a budget or a list of them." },
  }
  for _, entry in ipairs(more or {}) do
    fields[#fields + 1] = entry
  end
  return record { fields = fields }
end

local limits = limits_of {
  { "per_key", limits_of(), doc = "The same for each key by itself. What a key has of its own goes before this." },
  { "per_metadata", map { of = limits_of(), key = "any", max = 8 }, example = '{ user = { requests_per_minute = 20 } }',
    doc = "The same for each value of a metadata field by itself: of the key's metadata, else of the request's. Requests " ..
      "without the field count as one value." },
}

---- when targets fail

local breaker = record { off = true, fields = {
  { "window_ms", integer { min = 1000, max = 600000 }, default = 30000,
    doc = "Calls older than that are forgotten. Long enough for 10 calls of a quiet target, short enough that a fault of a " ..
      "minute ago says nothing." },
  { "min_calls", integer { min = 1, max = 100000 }, default = 10,
    doc = "Calls in the window before their share means anything: of 10, half is no accident any more." },
  { "failure_share", number { min = 0.01, max = 1 }, default = 0.5,
    doc = "It opens when more than this share of the window failed, and by more than chance: half is 8 of 10 or 58 of 100. " ..
      "Below half, a retry is likelier to succeed than to fail, and that is what retries are for." },
  { "consecutive", integer { min = 1, max = 1000 }, default = 5,
    doc = "So many failures in a row open it, and more where so many would be an accident among the calls before: a target " ..
      "with 12 % errors is not left alone for a bad run. At half failing five come by chance once in 32 runs, and then it is right." },
  { "open_ms", integer { min = 10, max = 3600000 }, default = 5000,
    doc = "How long it is left alone at first. Restarts and failovers of a provider take seconds; a shorter pause would only " ..
      "meet them." },
  { "max_open_ms", integer { min = 10, max = 3600000 }, default = 60000,
    doc = "The pause doubles each time a probe fails, up to this. After a recovery nobody waits longer than a minute." },
  { "probe_ms", integer { min = 10, max = 3600000 }, default = 15000,
    doc = "A probe nobody reported on expires then, and the next call may be one. Half the default first-token timer: a " ..
      "target that needs longer is not well yet." },
  { "ramp_ms", wait, default = 10000,
    doc = "After a good probe: how long until all traffic is back. One probe says that it answers, not what it bears; caches " ..
      "and autoscalers need seconds. 0 lets everything back at once." },
  { "slow_factor", number { min = 0, max = 1000 }, default = 3,
    doc = "A first token this many times later than the target's own past and than its fastest peer counts as a failure. " ..
      "Prompts of different lengths differ by two; 0 switches it off." },
  { "slow_min_ms", ms, default = 1000, doc = "No call faster than that is slow: nobody falls back from a second." },
} }

local gate = record { off = true, short = "max", fields = {
  { "max", integer { min = 1, max = 1000000 },
    doc = "Attempts that may run there at once, over all workers; without it there is no cap, since only you know what the " ..
      "account bears." },
  { "adaptive", boolean, default = false,
    doc = "Finds the cap itself, between 1 and `max`: it grows while the first token comes as fast as it used to, and shrinks " ..
      "when it comes later. Off, since a latency that follows prompt lengths can mislead it." },
  { "queue", integer { min = 0, max = 4096 }, default = 64,
    doc = "How many may wait for a place. A wave of fallbacks comes in one moment, and most calls end in seconds; who comes " ..
      "after those goes to the next target." },
  { "queue_ms", wait, default = 500,
    doc = "How long each waits before the next target: less than a first token usually takes, so waiting is never the worse " ..
      "choice." },
} }

local function retry_budget(inherited)
  return { "retry_budget", record { fields = {
    { "share", number { min = 0, max = 10 }, default = 0.2,
      doc = "What each first call brings in: 0.2 pays one repeat for five calls, so an outage multiplies the traffic of a " ..
        "target by no more than 1.2." },
    { "burst", integer { min = 0, max = 10000 }, default = 10,
      doc = "The most that is saved, and what a target begins with: a handful of unlucky calls in a quiet hour can all be " ..
        "repeated." },
  } }, inherit = true, doc = inherited }
end

---- what of a vendor no surface of ours offers

local passthrough = record { short = "on", fields = {
  { "on", boolean, default = true, doc = "Whether there is one: `passthrough = true` is enough." },
  { "allow", list { of = text { format = "call" }, single = true, max = 64 }, default = {}, example = '{ "/v1/files*", "GET /v1/batches*" }',
    doc = "Calls that may be made, as a path below `/providers/NAME` with `*`, a method before it; empty: all that nothing denies." },
  { "deny", list { of = text { format = "call" }, single = true, max = 64 }, default = {}, example = '"DELETE *"',
    doc = "Calls that may not, whatever `allow` says." },
  { "administration", boolean, default = false,
    doc = "Also paths that look like the administration of an account: organisations, members, keys, billing." },
  { "unfiltered", boolean, default = false,
    doc = "Answers pass `on_chunk` and `on_response` by. Otherwise a request that one of these would see is refused: nobody walks " ..
      "around a guard." },
  { "price_usd", record { short = "request", fields = {
      { "request", rate, required = true, doc = "US dollars for each call that is not refused by the provider." },
      { "read", rate, default = 0, doc = "The same for `GET` and `HEAD`." },
      { "megabyte", rate, default = 0, doc = "US dollars for a million bytes of request and answer, on top." },
    } }, example = "{ request = 0.02 }",
    doc = "What is counted for a call whose tokens nobody can read. Without it such calls are refused where a budget holds." },
} }

local provider = record { fields = {
  { "adapter", text { format = "adapter" }, default = "openai",
    doc = "The dialect it speaks: a file of `lua/adapters`." },
  { "kind", text { enum = { "http", "simulated" } }, default = "http",
    doc = "`simulated` answers from inside the gateway: for demos and tests." },
  { "base_url", text { format = "url" }, example = '"http://127.0.0.1:9000/v1"',
    doc = "Where it is; by default where the adapter says. The operation's path is appended." },
  { "vars", map { of = text { format = "name" }, key = "name", max = 8 }, default = {},
    doc = "What stands for the {names} in the adapter's addresses, such as the `resource` of Azure: `moongate provider show " ..
      "ADAPTER` has them." },
  { "api_key", secret, example = 'env "OPENAI_API_KEY"', doc = "The credential; without one none is sent." },
  { "api_keys", api_keys, example = '{ env "KEY_A", { name = "spare", key = env "KEY_B" } }',
    doc = "Several in its place. A conversation stays with one while it works; one that is out of quota, rejected or about " ..
      "to be is left alone until its reset, and the others are used." },
  { "auth", text { enum = { "bearer", "header", "query", "sigv4", "gcp", "entra", "none" } }, example = '"bearer"',
    doc = "How a key is shown, where the adapter knows several ways: `moongate provider show ADAPTER` has them. By default " ..
      "the first. A key of AWS for `sigv4` is `ACCESS_KEY_ID:SECRET`, with `:SESSION_TOKEN` behind it for a temporary one. One for `gcp` or `entra` " ..
      "is a key file, of which tokens are made, or a token: [the guide](../guide/clouds.md)." },
  { "token_url", text { format = "url" }, example = '"https://login.microsoftonline.us/{tenant}/oauth2/v2.0/token"',
    doc = "Where tokens are made of the keys for `gcp` and `entra`, https or a port of this machine; by default Google's and Microsoft's own " ..
      "endpoints. A key file that names another one is refused unless it stands here. `tls.ca` is trusted there, too." },
  { "account", name, example = '"openai"',
    doc = "Keys, breakers and caps are those of this account of `gateway.lua`, which must grant it to this project." },
  { "caller_keys", text { enum = { "refuse", "accept", "require" } }, default = "refuse",
    doc = "Whether a request may bring a key of its own for this provider, in the header `x-moongate-key-PROVIDER`. " ..
      "`require`: without one the provider is not called." },
  { "idempotency_header", text { format = "header_name" }, example = '"idempotency-key"',
    doc = "Header in which each attempt carries the same key, for providers that answer a repeated request only once." },
  { "passthrough", passthrough, example = "true",
    doc = "Whether clients reach everything else of this vendor at `/providers/NAME/…`, by its own paths. Off unless it stands here." },
  { "breaker", breaker, default = {},
    doc = "When a target is left alone, and how it comes back: one breaker for each model, region and key. `false` never " ..
      "leaves one alone." },
  { "concurrency", gate, inherit = true,
    doc = "Cap of each target of this provider. `false`: none." },
  { "organization", text { format = "header" }, doc = "OpenAI's organization header." },
  { "project", text { format = "header" }, doc = "OpenAI's project header." },
  { "headers", map { of = text { format = "header", secret = true }, key = "header_name", max = 32 }, default = {},
    doc = "Headers sent with each attempt." },
  { "tls", record { fields = {
      { "ca", file, doc = "PEM bundle to trust in place of the system's." },
      { "cert", file, doc = "PEM file with a client certificate (mTLS)." },
      { "key", file, doc = "PEM file with the private key of `cert`." },
      { "verify", boolean, default = true, doc = "Whether the provider's certificate is checked. Leave it on." },
    } }, default = {}, doc = "TLS towards this provider." },
  { "proxy", text { format = "proxy" },
    doc = 'HTTP proxy of this provider; by default the gateway\'s, `""` means none.' },
  { "models", map { of = sim_model, key = "model", max = 64 }, default = {},
    doc = "Of a simulated provider: how each model (name or glob) behaves." },
} }

local target = record {
  short = "target",
  fields = {
    { "target", text { format = "target" }, required = true,
      doc = '`"provider/model"`; the model `*` means: as the client asked.' },
    { "weight", number { min = 0, max = 1000000 }, default = 1,
      doc = "Share of the traffic: as soon as one target has a weight other than 1, the default policy draws " ..
        "instead of going in order; 0 is only fallen back to." },
    { "name", name, doc = "Name of this arm in records and experiments; by default the target." },
    { "params", map { of = json, key = "any", max = 32 },
      doc = "Top-level fields of the request that are set for this target." },
    { "timeouts_ms", timeouts, inherit = true,
      doc = "Timers of an attempt here; what is missing comes from the workflow." },
    { "context_window", tokens, doc = "Tokens it can read, for policies and for requests that were too long elsewhere; what is missing " ..
      "says the catalogue of models (`moongate models`)." },
    { "max_output", tokens, doc = "Tokens it can write, for policies, reservations and translation; what is missing says the catalogue." },
    { "known_as", name, example = '"gpt-6-sol"', doc = "The model of the catalogue that this one is, where the provider has another name for it: a " ..
      "deployment, a fine-tune." },
    { "region", name, doc = "Where it runs: targets of different regions fail apart, so each has its own breaker." },
    { "prefill", boolean, default = false,
      doc = "Whether the model goes on from an assistant message at the end of the conversation, as if it had written it. Then " ..
        "`rescue = \"resume\"` can continue a broken answer here. Most do not, and start anew." },
    { "price_usd", record { fields = {
        { "input", rate, required = true, doc = "US dollars for a million tokens of the request, in whole millionths." },
        { "output", rate, doc = "US dollars for a million tokens of the answer; by default the input's. 0 for what writes nothing, as embeddings." },
        { "cached_read", rate, doc = "US dollars for a million tokens of the request that came out of the prompt cache; by default the input's." },
        { "cached_write", rate, doc = "US dollars for a million tokens of the request that were written into the prompt cache; by default the input's." },
        { "image", rate, doc = "US dollars for each picture that is made." },
        { "audio_minute", rate, doc = "US dollars for a minute of sound that is listened to, where the provider says how long it was." },
        { "characters", rate, doc = "US dollars for a million characters that are spoken." },
        { "search", rate, doc = "US dollars for each search unit of a reranker." },
      } }, example = "{ input = 2.5, output = 10 }",
      doc = 'What it costs, for `balance = "cheapest"`, `max_cost_usd` and records; without it the price catalogue says.' },
    { "concurrency", gate, inherit = true,
      doc = "Cap of this target; what is missing comes from the provider. `false`: none." },
  },
}

local MODALITIES = { "text", "image", "document", "audio", "video" }

local function modalities()
  return list { of = text { enum = MODALITIES }, single = true, min = 1, max = 5 }
end

local known_model = record { fields = {
  { "context_window", tokens, doc = "Tokens it can read." },
  { "max_output", tokens, doc = "Tokens it can write." },
  { "input", modalities(), doc = "What it reads. A request with something else is not sent to it." },
  { "output", modalities(), doc = "What it writes." },
  { "tools", boolean, doc = "Whether it calls tools." },
  { "structured_output", boolean, doc = "Whether it keeps to a schema." },
  { "reasoning", boolean, doc = "Whether it reasons before it answers." },
  { "caching", boolean, doc = "Whether prompts are cached." },
  { "prefill", boolean, doc = "Whether it goes on from an assistant's turn at the end." },
  { "refuses", list { of = text { format = "word" }, single = true, max = 32 },
    doc = "What is left out of a translated request: the words of [the catalogue](models.md), or names of parameters." },
  { "deprecated", text { format = "date" }, example = '"2027-01-01"', doc = "Since when." },
  { "retires", text { format = "date" }, example = '"2027-06-01"', doc = "When it is gone." },
} }

local workflow = record {
  short = "targets",
  fields = own_fields({
    { "targets", list { of = target, single = true, min = 1, max = 64 }, also = "arms", required = true,
      doc = "The models behind this name: tried in this order by the default policy, or drawn by weight when " ..
        "there are weights." },
    { "deadline_ms", ms, default = 600000,
      doc = "Wall clock over all attempts together; each timer shortens to what is left. The SDKs' own limit, " ..
        "so that a long answer is not cut; lower it where people wait." },
    { "max_attempts", integer { min = 1, max = 16 }, default = 4,
      doc = "Upstream calls over all targets together: enough for one retry here and two elsewhere, too few for " ..
        "a storm." },
    { "timeouts_ms", timeouts, inherit = true,
      doc = "Timers of each attempt; what is missing comes from the project." },
    { "stream", stream, doc = "How `on_chunk` beside it treats streams; without it answers are buffered." },
    { "balance", text { enum = { "auto", "order", "weighted", "least_inflight", "p2c", "sticky", "cheapest" } },
      default = "auto",
      doc = "How the default policy chooses. `auto`: by weight when a target has one, else in order, which is what the list " ..
        "looks like. `p2c` draws two and takes the faster; `sticky` keeps a session where its prompt cache is; " ..
        "`least_inflight` and `cheapest` say it themselves." },
    { "latency_bound_ms", ms,
      doc = "Of `cheapest`: targets whose first token usually comes later come last. Without it only the price counts." },
    { "rescue", text { enum = { "error", "hold", "resume" } }, default = "error",
      doc = "When an answer breaks off after its beginning was sent. `error` says so in the stream and does not end it " ..
        "cleanly: the default, since it costs nothing and surprises nobody. `hold` sends nothing before the end, so failures " ..
        "stay invisible and so does the stream. `resume` lets another target go on, which is paid twice." },
    { "hedge", record { short = "after_ms", fields = {
        { "after_ms", integer { min = 1, max = 86400000, unit = "ms", word = "p95" }, required = true,
          doc = 'No content by then: the next target is asked beside it, and the first to answer wins. `"p95"`: what 95 % of ' ..
            "the target's calls take, so that one call in twenty is hedged." },
        { "max", integer { min = 1, max = 3 }, default = 1,
          doc = "Hedges of one request. A second one helps only when two targets are slow at once, and is paid each time." },
      } }, doc = "Asks twice when the first is slow; off, since every hedge is paid. The retry budget pays for it." },
    { "max_cost_usd", number { min = 0.0001, max = 1000000 },
      doc = "US dollars over all attempts of one request, by the prices of the targets: `price_usd`, or the price catalogue's. An " ..
        "attempt that would exceed them, or whose price nobody knows, is not begun." },
    { "adaptive_first_token", record { short = "factor", fields = {
        { "factor", number { min = 1, max = 1000 }, default = 2,
          doc = "The first-token timer becomes this many times the target's observed p99: one call in a hundred is that late, " ..
            "and twice that is no call that still comes." },
        { "min_ms", ms, default = 1000, doc = "… but never less than this: below a second the network is what is measured." },
      } }, doc = "Learns the first-token timer from the target; never above the fixed one, which holds until enough is known." },
    { "slow_factor", number { min = 1, max = 1000 },
      doc = "The total timer becomes this many times the target's observed p99 of whole answers; off, since a long answer is " ..
        "no fault." },
    { "expect", record { fields = {
        { "json_schema", json, required = true, example = '{ type = "object", required = { "name" } }',
          doc = 'A JSON Schema that the text of an answer must satisfy, or `"request"`: the one in the request\'s own ' ..
            "`response_format`." },
      } }, doc = "What an answer must be; one that is not counts as `schema_mismatch` and the next attempt is made. The answer is " ..
        "held until it is complete." },
    { "accept", func,
      doc = "`function(res)`: false, or false and why, rejects a complete answer before it is sent; it counts as " ..
        "`schema_mismatch`. The answer is held until then." },
    { "route_around", list { of = text { enum = { "refusal", "content_filter" } }, single = true, max = 2 }, default = {},
      doc = "What the model or its filter declined is the answer, unless it stands here: then the next target is asked." },
    retry_budget("What repeats and hedges of this workflow are paid from; what is missing comes from the project."),
    { "limits", limits, doc = "What may be used through this workflow, on top of the project's limits." },
    { "offline", record { short = "text", fields = {
        { "text", text { max = 65536 }, example = '"We are having trouble. Please try again in a few minutes."',
          doc = "The answer itself." },
        { "last_good_ms", ms,
          doc = "Before that: the last good answer to exactly this request, if it is not older. Off, since an answer can " ..
            "become wrong." },
        { "answer", func,
          doc = "Before the text: `function(req, failure)` returns one, or nil." },
      } }, doc = "What is answered when every target failed, marked as such in headers and body; without it the error is." },
  }, "on_request", "route", "classify", "on_chunk", "on_response"),
}

local plugin = record { fields = own_fields({
  { "use", text { format = "plugin" },
    doc = "Name of a plugin; an entry without it is an inline plugin, whose hooks take `self` first." },
  { "as", name, doc = "Name of this instance; by default the plugin's last word, or `inline<position>`." },
  { "config", json, default = {}, doc = "The plugin's own settings." },
  { "grant", grant, default = {}, doc = "Permissions it gets." },
  { "fail", fail, default = {},
    doc = 'Per hook: `"open"` goes on without it when it fails, `"closed"` ends the request.' },
  { "when", record { fields = {
      { "workflows", list { of = text { format = "model" }, single = true, min = 1, max = 64 },
        doc = "Globs of workflow names." },
      { "stream", boolean, doc = "Only streamed requests, or only others." },
    } }, default = {}, doc = "Which requests it sees; by default all." },
  { "stream", stream, doc = "How an inline `on_chunk` treats streams; without it answers are buffered." },
}, "on_request", "route", "on_attempt", "classify", "on_chunk", "on_response", "on_log") }

schema.project = record {
  fields = own_fields({
    { "providers", map { of = provider, key = "name", min = 1, max = 64 }, required = true,
      doc = "Who answers, by a name of your choice." },
    { "workflows", map { of = workflow, key = "model", max = 256 }, default = {},
      doc = 'What clients put into `model`. `["*"]` takes any name that nothing else has, `["gpt-*"]` those ' ..
        'that match.' },
    { "models", map { of = known_model, key = "model", max = 256 }, default = {},
      example = '{ ["openai/gpt-5"] = { context_window = 272000, refuses = "sampling" } }',
      doc = "What this project knows of models better than the catalogue (`moongate models`), by `provider/model`, or by the model's name at " ..
        "whatever provider. What is not said stays as the catalogue has it." },
    { "allow_direct", boolean, default = false, doc = 'Whether clients may also ask for `"provider/model"`.' },
    { "charge", text { enum = { "all", "serving" }, or_function = true }, default = "all",
      doc = "Which attempts this project pays for, in `moongate usage` and in the events: `all` of them, so that what is charged is " ..
        "the provider's invoice, or only those `serving` the client; retries, lost hedges and failed attempts are the operator's " ..
        "then. What they cost is counted either way. `function(attempt)` says true or false of each; nil, or a fault, leaves it to " ..
        "`serving`." },
    { "responses", record { short = "store", fields = {
        { "store", text { enum = { "moongate", "provider", "off", "refuse" } }, default = "moongate",
          doc = "Who keeps the answers of the Responses API that clients want stored, which is all but those with `store = false`. " ..
            "`moongate`: this gateway, encrypted, so that `previous_response_id` works over any provider; providers are told to keep " ..
            "nothing. `provider`: the provider alone, within its account: nothing of this is looked at here. `off`: nobody; who asks " ..
            "for it in so many words reads `dropped=store` in `x-moongate-warning`. `refuse`: nobody, and who asks for it is refused." },
        { "per", text { enum = { "key", "project" } }, default = "key",
          doc = "Who may go on from a kept answer, fetch and delete it: the `key` that it was made with (and those it was rotated to), or " ..
            "every key of the `project`, as at OpenAI." },
        { "max_age_ms", integer { min = 60000, max = 31536000000 }, default = 2592000000,
          doc = "How long a conversation is kept after its last answer; 30 days, as at OpenAI." },
        { "max_count", integer { min = 1, max = 10000000 }, default = 100000,
          doc = "Answers that the project keeps; above it the conversation that would be forgotten next makes room." },
        { "max_bytes", bytes, default = 1073741824, doc = "The same in bytes of what is kept." },
      } }, default = {}, doc = "What is kept for the Responses API: `store`, `previous_response_id`." },
    { "max_deadline_ms", ms, default = 600000, doc = "The most that a client's `x-moongate-deadline-ms` can ask for." },
    { "timeouts_ms", timeouts, inherit = true, doc = "Timers of each attempt in this project." },
    retry_budget("What repeats on a target and hedges are paid from."),
    { "limits", limits, doc = "What this project may use: as a whole, per key, per metadata value." },
    { "plugins", list { of = plugin, max = 32 }, default = {}, doc = "Plugins, in the order in which they run." },
    { "inline", record { fields = {
        { "grant", list { of = text { format = "grant" }, max = 64 },
          doc = "Network origins and secrets that functions in this file may use." },
        { "fail", fail, doc = 'Per hook: `"open"` or `"closed"`, as for a plugin.' },
      } }, default = {}, doc = "Permissions and fail modes of the functions in this file." },
    { "stream", stream, doc = "How `on_chunk` beside it treats streams; without it answers are buffered." },
  }, "on_request", "route", "on_attempt", "classify", "on_chunk", "on_response", "on_log"),
}

return schema
