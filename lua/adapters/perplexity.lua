--- perplexity.lua - Perplexity, whose answers name what was searched. Usage comes unasked.
return {
  name = "perplexity",
  extends = "openai_chat",
  base_url = "https://api.perplexity.ai",
  usage_opt_in = { always = true },
  operations = { completions = false, embeddings = false, models = false },
}
