-- A plugin from the folder plugins/, with settings, and one written in place.
return {
  providers = {
    sim = { kind = "simulated", models = { moon = { ttft_ms = 20, tokens_per_s = 500, output_tokens = 20 } } },
  },
  workflows = {
    chat = "sim/moon",
  },
  plugins = {
    -- plugins/house-rules: puts a sentence in front of every conversation.
    { use = "house-rules", grant = { "content:request" }, config = { rules = "Answer in one paragraph." } },

    -- Hooks in place take `self` first. This one refuses requests that name no team.
    {
      as = "team-only",
      on_request = function(_, req)
        if not req.metadata.team then
          return req:deny { status = 403, code = "no_team", message = "say who asks: metadata = { team = … }" }
        end
      end,
    },
  },
}
