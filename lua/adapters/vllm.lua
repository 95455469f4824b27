--- vllm.lua - vLLM.
return {
  name = "vllm",
  extends = "openai_chat",
  base_url = "http://localhost:8000/v1",
  speaks = {
    {
      extends = "openai_media",
      operations = {
        audio_transcriptions = "/audio/transcriptions", audio_translations = "/audio/translations", rerank = "/rerank",
      },
      usage = { input = { "usage.total_tokens" } },
    },
  },
}
