--- github.lua - GitHub Models, with a token of GitHub.
return {
  name = "github",
  extends = "openai_chat",
  base_url = "https://models.github.ai/inference",
  operations = { completions = false, models = false },
}
