-- A failure taxonomy: what an answer means, and what to do about it, for a provider with a habit of its own.
--
-- This one says 418 when it is full. The default taxonomy would call that the client's mistake and give up; here it is
-- an overload, and the next target is tried. What the function does not know it leaves to the default by returning nil.
return {
  providers = {
    odd = { kind = "simulated", models = { moon = { faults = { { fault = "status", value = 418, every = 1 } } } } },
    plain = { kind = "simulated", models = { moon = { ttft_ms = 20, tokens_per_s = 500 } } },
  },
  workflows = {
    chat = { targets = { "odd/moon", "plain/moon" } },
  },
  classify = function(att)
    if att.provider == "odd" and att.status == 418 then
      return { class = "overloaded", action = "fallback" }
    end
  end,
}
