--- openai.lua - OpenAI itself: Chat Completions, and under the same address Responses, pictures, sound and files.
return {
  name = "openai",
  extends = "openai_chat",
  base_url = "https://api.openai.com/v1",
  speaks = {
    "openai_responses",
    {
      extends = "openai_media",
      operations = {
        images = "/images/generations",
        image_edits = "/images/edits",
        image_variations = "/images/variations",
        audio_speech = "/audio/speech",
        audio_transcriptions = "/audio/transcriptions",
        audio_translations = "/audio/translations",
        moderations = "/moderations",
        rerank = "/rerank", -- of those that are compatible: OpenAI itself has none
        files = "/files",
        file = "/files/{id}",
        file_content = "/files/{id}/content",
      },
    },
  },
}
