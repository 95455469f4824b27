--- deepseek.lua - DeepSeek, which also speaks the Anthropic dialect, in a folder of its own.
return {
  name = "deepseek",
  extends = "openai_chat",
  base_url = "https://api.deepseek.com",
  speaks = {
    {
      extends = "anthropic",
      auth = { kind = "header", header = "x-api-key" },
      operations = { messages = "/anthropic/v1/messages", count_tokens = false, models = false },
    },
  },
  operations = { completions = "/beta/completions", embeddings = false },
  edits = { { fields = { "user" }, rename = "user_id" } },
}
