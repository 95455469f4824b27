--- gemini_openai.lua - Gemini as its vendor offers it in the OpenAI dialect.
return {
  name = "gemini_openai",
  extends = "openai_chat",
  base_url = "https://generativelanguage.googleapis.com/v1beta/openai",
  operations = { completions = false },
  speaks = { { extends = "openai_media", operations = { images = "/images/generations" } } },
}
