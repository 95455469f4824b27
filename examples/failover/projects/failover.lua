-- Two providers behind one name. The first one hangs on every call and answers none; the second takes over after the
-- time the first was given, and the application notices nothing but that.
return {
  providers = {
    first = { kind = "simulated", models = { moon = { faults = { { fault = "hang", every = 1 } } } } },
    second = { kind = "simulated", models = { moon = { ttft_ms = 50, tokens_per_s = 200 } } },
  },
  workflows = {
    chat = {
      targets = { "first/moon", "second/moon" },
      deadline_ms = 20000, -- for both together
      timeouts_ms = {
        connect = 1000,    -- until the connection stands
        first_token = 500, -- from there to the first content; without streaming `total` counts
        idle = 5000,       -- between two pieces
        total = 3000,      -- for one attempt
      },
    },
  },
}
