--- openrouter.lua - OpenRouter: the models of many vendors. Usage comes unasked.
return {
  name = "openrouter",
  extends = "openai_chat",
  base_url = "https://openrouter.ai/api/v1",
  usage_opt_in = { always = true },
  forward = { "http-referer", "x-openrouter-title", "x-title", "x-session-id" },
}
