--- azure_deployments.lua - the older address of OpenAI's models at Azure: the deployment and a version stand in the path.
return {
  name = "azure_deployments",
  extends = "azure",
  base_url = "https://{resource}.openai.azure.com/openai",
  vars = { api_version = "2024-10-21" },
  speaks = {
    { extends = "openai_responses", operations = { responses = "/responses?api-version={api_version}" } },
    {
      extends = "openai_media",
      operations = {
        chat = "/deployments/{model}/chat/completions?api-version={api_version}",
        images = "/deployments/{model}/images/generations?api-version={api_version}",
        image_edits = "/deployments/{model}/images/edits?api-version={api_version}",
        audio_speech = "/deployments/{model}/audio/speech?api-version={api_version}",
        audio_transcriptions = "/deployments/{model}/audio/transcriptions?api-version={api_version}",
        audio_translations = "/deployments/{model}/audio/translations?api-version={api_version}",
        files = "/files?api-version={api_version}",
        file = "/files/{id}?api-version={api_version}",
        file_content = "/files/{id}/content?api-version={api_version}",
      },
    },
  },
  operations = {
    chat = "/deployments/{model}/chat/completions?api-version={api_version}",
    completions = "/deployments/{model}/completions?api-version={api_version}",
    embeddings = "/deployments/{model}/embeddings?api-version={api_version}",
    models = "/models?api-version={api_version}",
  },
}
