--- groq.lua - Groq. It refuses some hints that others ignore.
return {
  name = "groq",
  extends = "openai_chat",
  base_url = "https://api.groq.com/openai/v1",
  operations = { completions = false },
  speaks = {
    {
      extends = "openai_media",
      operations = {
        audio_speech = "/audio/speech",
        audio_transcriptions = "/audio/transcriptions",
        audio_translations = "/audio/translations",
        files = "/files",
        file = "/files/{id}",
        file_content = "/files/{id}/content",
      },
    },
  },
  edits = { { fields = { "logit_bias" } } },
}
