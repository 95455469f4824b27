--- fireworks.lua - Fireworks. Its models are called "accounts/fireworks/models/…".
return {
  name = "fireworks",
  extends = "openai_chat",
  base_url = "https://api.fireworks.ai/inference/v1",
  speaks = { { extends = "openai_media", operations = { rerank = "/rerank" } } },
  forward = { "x-session-affinity" },
}
