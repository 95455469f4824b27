--- groq.lua - Groq. It refuses some hints that others ignore.
return {
  name = "groq",
  extends = "openai_chat",
  base_url = "https://api.groq.com/openai/v1",
  operations = {
    completions = false,
    audio_speech = "/audio/speech",
    audio_transcriptions = "/audio/transcriptions",
    audio_translations = "/audio/translations",
  },
  edits = { { fields = { "logit_bias" } } },
}
