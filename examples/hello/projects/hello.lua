-- The smallest project: one provider, one name that applications use.
--
--   moongate key create -c examples/hello --project hello
--   moongate serve -c examples/hello
--
-- For the real thing replace the provider by { api_key = env "OPENAI_API_KEY" } and the target by "openai/gpt-5-mini".
return {
  providers = {
    sim = { kind = "simulated" },
  },
  workflows = {
    chat = "sim/moon",
  },
}
