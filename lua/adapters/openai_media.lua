--- openai_media.lua - what OpenAI and the vendors compatible with it have beside conversations: pictures, sound, moderation,
--- reranking, files.
---
--- A vendor that has some of it names it among what it `speaks`, with the operations that it has. Its answers are taken as they
--- come: any JSON that is no error, and whatever is no JSON at all (sound, subtitles, files). What stands here is where usage
--- and the pieces of a stream are.
return {
  name = "openai_media",
  extends = "openai_chat",
  operations = { completions = false, embeddings = false, models = false },
  usage_opt_in = { always = true },

  usage = {
    extends = false,
    object = { "usage" },
    input = { "usage.input_tokens", "usage.prompt_tokens" },
    output = { "usage.output_tokens", "usage.completion_tokens" },
    input_audio = { "usage.input_token_details.audio_tokens", "usage.input_tokens_details.audio_tokens" },
    cached_read = { "usage.input_tokens_details.cached_tokens" },
    seconds = { "usage.seconds" },
    searches = { "meta.billed_units.search_units" },
    model = { "model" },
  },

  answer = {
    extends = false,
    item = { "data[*]", "results[*]", "id" },
    content = { "text" },
    image = { "data[*].b64_json", "data[*].url" },
    data = { "results" },
  },

  -- every event says its type; several megabytes of a picture may stand in one
  chunk = {
    extends = false,
    type = { "type" },
    typed = {
      {
        path = "b64_json",
        by = {
          ["image_generation.partial_image"] = "data",
          ["image_generation.completed"] = "image",
          ["image_edit.partial_image"] = "data",
          ["image_edit.completed"] = "image",
        },
      },
      { path = "audio", by = { ["speech.audio.delta"] = "data" } },
      { path = "delta", by = { ["transcript.text.delta"] = "content" } },
      { path = "text", by = { ["transcript.text.segment"] = "data", ["transcript.text.done"] = "data" } },
    },
  },

  done_events = { "image_generation.completed", "image_edit.completed", "speech.audio.done", "transcript.text.done" },
}
