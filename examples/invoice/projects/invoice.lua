return {
  providers = { sim = { kind = "simulated", models = { small = {}, large = {} } } },
  workflows = {
    chat = { targets = { { "sim/small", price_usd = { input = 1, output = 4 } } } },
    best = { targets = { { "sim/large", price_usd = { input = 10, output = 40 } } } },
  },
  charge = "serving", -- what failed or lost a race is ours to pay
}
