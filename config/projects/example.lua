-- projects/example.lua - one project: its providers, its model names, its rules. The file's name is the project's name.
--
-- Every key stands here. What is optional has its default or an example; a real file is a tenth of this one:
--
--   return {
--     providers = {
--       openai = { api_key = env "OPENAI_API_KEY" },
--       local_llm = { base_url = "http://127.0.0.1:8000/v1" },
--     },
--     workflows = { chat = { "openai/gpt-5-mini", "local_llm/qwen3" } },
--   }

-- How on_chunk treats a stream.
local stream = {
  mode = "filter",                       -- "observe" changes nothing, "buffer" holds all, "reject" refuses
  hold = "auto",                         -- characters held back so that a match may span chunks, or a number
  max_hold_ms = 400,                     -- then a transform lets go of what it holds
  channels = { "content", "reasoning" }, -- which outputs are seen
}

return {
  -- Who answers, by names of your choice.
  providers = {
    openai = {
      adapter = "openai",                         -- the dialect: a file of lua/adapters
      kind = "http",                              -- or "simulated", below
      auth = "bearer",                            -- how a key is shown: by default the first way of the adapter
      -- token_url = "https://…/token",         -- where tokens are made of keys for gcp and entra, if not at the vendor's
      -- account = "openai",                      -- keys, breakers and caps are those of gateway.lua's account
      -- api_key = env("OPENAI_API_KEY", false),  -- or secret "openai": the file secrets/example/openai
      api_keys = {                                -- several in its place, the preferred first
        env("OPENAI_API_KEY", false),
        { name = "spare", key = env("OPENAI_SPARE_KEY", false) },
      },
      caller_keys = "refuse",                     -- or "accept", "require": keys that requests bring for it
      idempotency_header = "idempotency-key",     -- carries one key on all attempts of a request; by default not sent
      passthrough = {                             -- /providers/openai/…: whatever else it offers; `true` is enough, default off
        on = true,
        allow = { "/v1/files*", "GET /v1/batches*" }, -- by default all that nothing denies
        deny = { "DELETE *" },                    -- not that, whatever allow says
        administration = false,                   -- nor what looks like keys, members, billing
        unfiltered = false,                       -- or past on_chunk and on_response
        price_usd = { request = 0.02, read = 0, megabyte = 0 }, -- of a call whose tokens nobody can read, for budgets
      },
      concurrency = {                             -- cap of each of its targets; by default there is none
        max = 200,                                -- attempts that may run at once; a bare number is enough
        adaptive = false,                         -- or found from latency, between 1 and max
        queue = 64,                               -- how many may wait for a place
        queue_ms = 500,                           -- how long each; then the next target
      },
      breaker = {                                 -- when a target is left alone; false: never
        window_ms = 30000,                        -- calls older than that are forgotten
        min_calls = 10,                           -- in the window, before their share counts
        failure_share = 0.5,                      -- opens it
        consecutive = 5,                          -- failures in a row that open it
        open_ms = 5000,                           -- how long it is left alone at first
        max_open_ms = 60000,                      -- doubled up to this while probes fail
        probe_ms = 15000,                         -- a probe nobody reported on expires
        ramp_ms = 10000,                          -- after a good probe, until all traffic is back
        slow_factor = 3,                          -- so many times slower than usual and than its peers is a failure
        slow_min_ms = 1000,                       -- nothing faster than that is slow
      },
      organization = env("OPENAI_ORG_ID", false), -- OpenAI's organization header
      project = env("OPENAI_PROJECT_ID", false),  -- OpenAI's project header
    },
    local_llm = {
      base_url = "http://127.0.0.1:8000/v1",      -- by default where the adapter says
      headers = { ["x-team"] = "support" },       -- sent with each attempt
      vars = {},                                  -- for the {names} of an adapter's addresses: { resource = "my-azure" }
      proxy = "",                                 -- none; by default the gateway's
      tls = {
        verify = true,                            -- leave it on
        -- ca = "tls/private-ca.pem",             -- trusted in place of the system's bundle
        -- cert = "tls/me.pem", key = "tls/me.key", -- client certificate (mTLS)
      },
    },
    sim = {
      kind = "simulated",                         -- answers from inside the gateway: for demos and tests
      models = {                                  -- by name or glob
        ["fast-*"] = {
          ttft_ms = 200,                          -- time to the first token
          tokens_per_s = 50,                      -- pace of the stream
          output_tokens = 60,                     -- length of an answer
          faults = {                              -- what goes wrong, and when
            -- each third call, from the tenth on, five times; value is the fault's own number, 0 its default
            { "rate_limited", every = 3, after = 9, count = 5, value = 0 },
            { fault = "stall", probability = 0.01 }, -- or by chance, when `every` is 0
            { "auth", every = 1, key = "sk-dead*" },  -- or calls with one of these API keys
          },
          phases = {                              -- how it is for a while, one after the other
            { for_ms = 60000, fault = "status", value = 503, error_share = 0.12 },
            { for_calls = 500, ttft_ms = 6000, tokens_per_s = 10 },
            { for_ms = 60000, requests = 60, window_ms = 1000 }, -- allowed to each API key per window
          },
          loop = false,                           -- begins again after the last
        },
      },
    },
  },

  -- What clients put into `model`.
  workflows = {
    chat = {
      targets = {                                 -- `arms` is another name for it; the first is tried first
        "openai/gpt-5-mini",
        {
          target = "local_llm/qwen3",             -- or just the text in first place
          weight = 1,                             -- share, for policies that draw
          name = "house",                         -- in records and experiments; by default the target
          params = { temperature = 0 },           -- fields of the request that are set for this target
          timeouts_ms = { first_token = 20000 },  -- what is missing comes from the workflow
          known_as = "gpt-6-sol",                 -- the model of the catalogue that it is (moongate models)
          context_window = 32768,                 -- tokens it can read
          max_output = 8192,                      -- tokens it can write
          region = "eu",                          -- regions fail apart, so each has its own breaker
          prefill = false,                        -- it goes on from an assistant message at the end
          -- dollars for a million tokens; by default the catalogue's (moongate prices list)
          price_usd = { input = 0, output = 0, cached_read = 0, cached_write = 0, image = 0, audio_minute = 0, characters = 0, search = 0 },
          concurrency = 8,                        -- what is missing comes from the provider
        },
      },
      deadline_ms = 600000,                       -- wall clock over all attempts; lower it where people wait
      max_attempts = 4,                           -- upstream calls over all targets
      timeouts_ms = {},                           -- what is missing comes from the project
      balance = "auto",                           -- "order", "weighted", "least_inflight", "p2c", "sticky", "cheapest"
      -- latency_bound_ms = 1500,                 -- of "cheapest": slower ones come last
      rescue = "error",                           -- a stream that breaks off; or "hold", or "resume"
      hedge = { after_ms = "p95", max = 1 },      -- asks the next beside a slow one; by default not. hedge = 800 will do
      -- max_cost_usd = 0.05,                     -- over all attempts; every target needs a price then, its own or the catalogue's
      adaptive_first_token = {                    -- learns the first-token timer; by default it is fixed
        factor = 2,                               -- times the target's p99
        min_ms = 1000,                            -- never below
      },
      slow_factor = 4,                            -- total timer: times the target's p99 of whole answers; by default not
      expect = { json_schema = { type = "object" } }, -- or "request": the one in the request; by default anything goes
      accept = function(res)                      -- the same in Lua: false and why rejects
        return not res:text():find("As an AI", 1, true), "boilerplate"
      end,
      route_around = {},                          -- "refusal", "content_filter": ask the next target then
      retry_budget = {},                          -- what is missing comes from the project
      offline = {                                 -- when nothing answered; by default the error. A bare text will do
        text = "Please try again in a few minutes.",
        last_good_ms = 3600000,                   -- before that, the last good answer to the same request
        answer = function(req, failure) end,      -- or what this returns
      },
      limits = { requests_per_minute = 600, tokens_per_minute = 200000 }, -- on top of the project's, of the same shape
      -- Functions for this workflow alone; each asks before the project's.
      on_request = function() end,
      route = function() end,
      classify = function() end,
      on_chunk = function() end,
      stream = stream,
      on_response = function() end,
    },
    quick = "sim/fast-1",                         -- one target needs no table
    ["gpt-*"] = "openai/*",                       -- a glob; the model `*` is whatever the client asked for
  },

  models = {                                      -- what this project knows better than the catalogue of models
    ["openai/our-own"] = {                        -- "provider/model", or the model's name at whatever provider
      context_window = 128000, max_output = 8192, -- tokens
      input = { "text", "image" }, output = { "text" },
      tools = true, structured_output = true, reasoning = false, caching = true, prefill = false,
      refuses = { "sampling" },                   -- what is left out of translated requests
      -- deprecated = "2027-01-01", retires = "2027-06-01",
    },
  },

  allow_direct = false,                           -- may clients ask for "provider/model"?
  charge = "all",                                 -- or "serving": failed and lost attempts are the operator's
  responses = {                                   -- what clients of the Responses API want stored
    store = "moongate",                           -- or "provider", "off", "refuse"; a bare `responses = "off"` will do
    per = "key",                                  -- or "project": every key finds what any of them keeps
    max_age_ms = 2592000000,                      -- 30 days after the last answer of a conversation
    max_count = 100000,                           -- answers …
    max_bytes = 1073741824,                       -- … and bytes of them, before the oldest conversation goes
  },
  max_deadline_ms = 600000,                       -- the most that x-moongate-deadline-ms can ask for

  -- What this project may use; by default there are no limits. More gets 429, and when to come back.
  limits = {
    requests_per_minute = 3000,
    burst = 500,               -- of them at once; by default a sixth
    tokens_per_minute = 2000000, -- of requests and answers
    concurrency = 200,         -- requests in flight
    -- budget = { per = "month", usd = 100, soft = 0.8 }, -- UTC; several in a list; every target needs a price then
    per_key = { requests_per_minute = 600, burst = 60 }, -- of each key by itself
    per_metadata = {           -- of each value of a metadata field by itself
      user = { requests_per_minute = 30, burst = 10, concurrency = 4 },
    },
  },

  -- Timers of each attempt. The reference says why they are what they are.
  timeouts_ms = {
    connect = 2000,      -- until TCP and TLS are ready
    first_token = 30000, -- until the first content, reasoning included; without streaming `total` holds instead
    idle = 45000,        -- between any two bytes
    total = 600000,      -- of the whole attempt
  },

  -- What repeats on one target, and hedges, are paid from.
  retry_budget = {
    share = 0.2,         -- each first call brings in so much of a repeat
    burst = 10,          -- the most that is saved
  },

  -- In the order in which they run.
  plugins = {
    {
      -- use = "moongate/pii",                    -- a plugin by name; without it the hooks below, which take `self`
      as = "shorten",                             -- name of this instance
      config = { keep = 40 },                     -- the plugin's own settings
      grant = {},                                 -- permissions
      fail = { on_request = "open" },             -- per hook: go on without it, or "closed": end the request
      when = { workflows = { "*" }, stream = true }, -- which requests it sees
      stream = stream,
      on_request = function() end,
      route = function() end,
      on_attempt = function() end,
      classify = function() end,
      on_chunk = function() end,
      on_response = function() end,
      on_log = function() end,
    },
  },

  -- Functions of the whole project; file "policies/route.lua" takes the one that another file returns.
  on_request = function() end,  -- (req): edit, answer or deny before routing; may wait
  route = function() end,       -- (req, candidates): the plan of attempts; nil asks the next
  on_attempt = function() end,  -- (req, att): model, parameters, headers of one attempt
  classify = function() end,    -- (att): what a failure means; nil asks the next
  on_chunk = function() end,    -- (c): streamed text
  stream = stream,
  on_response = function() end, -- (res): replace, deny or retry a complete answer; may wait
  on_log = function() end,      -- (rec): what is recorded
  inline = {                    -- what these functions may do
    grant = { "net:https://quota.example" },
    fail = { on_request = "closed" },
  },
}
