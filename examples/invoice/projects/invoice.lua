return {
  providers = { sim = { kind = "simulated", models = { small = {}, large = {} } } },
  workflows = {
    chat = { targets = { { "sim/small", price_usd = { input = 1, output = 4 } } } },
    best = { targets = { { "sim/large", price_usd = { input = 10, output = 40 } } } },
  },
  charge = "serving", -- what failed or lost a race is ours to pay
  plugins = {
    { use = "moongate/invoicing", config = {
      customer = "customer",                                       -- the metadata field that says whose a request is
      default = { margin_percent = 20, free_tokens = 100000 },
      customers = {
        acme = { margin_percent = 10, free_tokens = 0 },           -- by contract
        initech = { input_usd = 2, output_usd = 6, free_tokens = 0 }, -- own rates, for a million tokens
      },
      volume = { { above_usd = 100, discount_percent = 10 }, { above_usd = 1000, discount_percent = 20 } },
    } },
  },
}
