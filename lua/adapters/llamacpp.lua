--- llamacpp.lua - the server of llama.cpp, which speaks Responses and the Anthropic dialect, too.
return {
  name = "llamacpp",
  extends = "openai_chat",
  base_url = "http://localhost:8080/v1",
  speaks = { "openai_responses", "anthropic", { extends = "openai_media", operations = { rerank = "/rerank" } } },
}
