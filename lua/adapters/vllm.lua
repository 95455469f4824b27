--- vllm.lua - vLLM.
return {
  name = "vllm",
  extends = "openai_chat",
  base_url = "http://localhost:8000/v1",
  operations = { rerank = "/rerank", audio_transcriptions = "/audio/transcriptions" },
}
