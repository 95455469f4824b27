--- cerebras.lua - Cerebras.
return {
  name = "cerebras",
  extends = "openai_chat",
  base_url = "https://api.cerebras.ai/v1",
  operations = { embeddings = false },
}
