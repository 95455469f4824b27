-- A routing policy in the project file: who pays goes to the large model, everybody else to the small one.
--
-- The metadata is the request's own (its `metadata` field or the header x-moongate-metadata), or that of the key:
--
--   moongate key create -c examples/policy --project policy --metadata '{"tier":"pro"}'
local LARGE, SMALL = "sim/moon-large", "sim/moon-small"

return {
  providers = {
    sim = { kind = "simulated", models = { ["moon-*"] = { ttft_ms = 20, tokens_per_s = 500 } } },
  },
  workflows = {
    chat = {
      targets = { LARGE, SMALL },
      route = function(req)
        local pro = req.metadata.tier == "pro" or req.key_metadata.tier == "pro"
        return {
          attempts = pro and { { target = LARGE }, { target = SMALL } } or { { target = SMALL } },
          explain = pro and "pro: large first" or "not pro: small only", -- shown by moongate trace
        }
      end,
    },
  },
}
