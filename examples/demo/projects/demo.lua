--- A project: a tenant with its own keys, providers and rules. Edit, save, and the next request obeys. A mistake keeps
--- the old version serving and is shown where the gateway runs, with file, line and what was expected.
return {

  --- Who answers. These two are simulated: they speak OpenAI's wire format over real sockets and fail on demand.
  --- For the real thing add, say, openai = { api_key = env "OPENAI_API_KEY" } and the target "openai/gpt-5-mini" below.
  providers = {
    primary = {
      kind = "simulated",
      models = {
        ["moon-large"] = {
          ttft_ms = 250,        -- until the first token
          tokens_per_s = 30,
          output_tokens = 48,
          faults = {
            -- Every second call is answered with 503. Other things to try: "rate_limited", "hang", "cut", "reset_early",
            -- "empty_content", "error_first", "html_502", "stall"; `moongate sim --faults` lists them all.
            { fault = "overloaded", every = 2 },
          },
        },
      },
    },
    backup = {
      kind = "simulated",
      models = { ["moon-small"] = { ttft_ms = 120, tokens_per_s = 60, output_tokens = 48 } },
    },
  },

  --- What applications put into `model`. They name the work, this file names the models.
  workflows = {
    chat = {
      targets = { "primary/moon-large", "backup/moon-small" },
      deadline_ms = 30000,                               -- for all attempts together
      timeouts_ms = { first_token = 5000, idle = 5000 }, -- for each attempt; a silent provider is not waited for
    },
  },

  --- Which target a request tries first. Without this line the order above decides.
  route = file "policies/route.lua",
}
