--- azure.lua - OpenAI's models at Azure, under the address without versions. The model is the name of a deployment.
return {
  name = "azure",
  extends = "openai_chat",
  base_url = "https://{resource}.openai.azure.com/openai/v1",
  speaks = {
    "openai_responses",
    {
      extends = "openai_media",
      operations = {
        images = "/images/generations",
        image_edits = "/images/edits",
        audio_speech = "/audio/speech",
        audio_transcriptions = "/audio/transcriptions",
        audio_translations = "/audio/translations",
        files = "/files",
        file = "/files/{id}",
        file_content = "/files/{id}/content",
      },
    },
  },
  auth = {
    { kind = "header", header = "api-key" },
    { kind = "entra", scope = "https://cognitiveservices.azure.com/.default" },
  },
}
