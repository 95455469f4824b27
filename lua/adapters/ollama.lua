--- ollama.lua - Ollama on this machine. It takes the older name of the length limit only, and ignores the newer one.
return {
  name = "ollama",
  extends = "openai_chat",
  base_url = "http://localhost:11434/v1",
  speaks = { "openai_responses", { extends = "anthropic", operations = { count_tokens = false } } },
  edits = { { fields = { "max_completion_tokens" }, rename = "max_tokens" } },
}
