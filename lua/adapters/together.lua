--- together.lua - Together. Usage comes unasked; a chunk says its text twice, and once is enough.
return {
  name = "together",
  extends = "openai_chat",
  base_url = "https://api.together.xyz/v1",
  usage_opt_in = { always = true },
  speaks = {
    {
      extends = "openai_media",
      operations = {
        images = "/images/generations",
        audio_speech = "/audio/speech",
        audio_transcriptions = "/audio/transcriptions",
        audio_translations = "/audio/translations",
        rerank = "/rerank",
        files = "/files",
        file = "/files/{id}",
        file_content = "/files/{id}/content",
      },
    },
  },
  usage = { cached_read = { "usage.prompt_tokens_details.cached_tokens", "usage.cached_tokens" } },
  chunk = { content = { "choices[*].delta.content" }, data = { "choices[*].text" } },
}
