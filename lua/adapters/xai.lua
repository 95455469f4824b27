--- xai.lua - xAI, whose newer models speak Responses. Its sums leave reasoning out, and sometimes what the cache had.
return {
  name = "xai",
  extends = "openai_chat",
  base_url = "https://api.x.ai/v1",
  speaks = {
    { extends = "openai_responses", usage = { may_exclude = { "cached_read" } } },
    { extends = "openai_media", operations = { images = "/images/generations" } },
  },
  usage = { excludes = { "reasoning" }, may_exclude = { "cached_read" } },
  forward = { "x-grok-conv-id" },
}
