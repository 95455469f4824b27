--- openai.lua - OpenAI itself: Chat Completions, and Responses under the same address.
return {
  name = "openai",
  extends = "openai_chat",
  base_url = "https://api.openai.com/v1",
  speaks = { "openai_responses" },
  operations = {
    images = "/images/generations",
    image_edits = "/images/edits",
    audio_speech = "/audio/speech",
    audio_transcriptions = "/audio/transcriptions",
    audio_translations = "/audio/translations",
    files = "/files",
    moderations = "/moderations",
  },
}
