--- mistral.lua - Mistral. Content is a list of pieces where a model thinks; usage comes unasked.
return {
  name = "mistral",
  extends = "openai_chat",
  base_url = "https://api.mistral.ai/v1",
  operations = { completions = false },
  speaks = {
    {
      extends = "openai_media",
      operations = {
        moderations = "/moderations",
        audio_transcriptions = "/audio/transcriptions",
        files = "/files",
        file = "/files/{id}",
        file_content = "/files/{id}/content",
      },
    },
  },
  usage_opt_in = { always = true },
  edits = {
    { fields = { "seed" }, rename = "random_seed" },
    { fields = { "max_completion_tokens" }, rename = "max_tokens" },
    { fields = { "stream_options", "logit_bias", "user" } },
  },
  usage = {
    cached_read = {
      "usage.prompt_tokens_details.cached_tokens", "usage.prompt_token_details.cached_tokens", "usage.num_cached_tokens",
    },
  },
  answer = {
    content = { "choices[*].message.content", "choices[*].message.content[*].text" },
    reasoning = { "choices[*].message.reasoning_content", "choices[*].message.content[*].thinking[*].text" },
  },
  chunk = {
    content = { "choices[*].delta.content", "choices[*].delta.content[*].text" },
    reasoning = { "choices[*].delta.reasoning_content", "choices[*].delta.content[*].thinking[*].text" },
  },
}
