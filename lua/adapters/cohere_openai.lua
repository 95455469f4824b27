--- cohere_openai.lua - Cohere's models as their vendor offers them in the OpenAI dialect.
---
--- Its own dialect is cohere.lua, and says more: documents, citations, budgets of thought.
return {
  name = "cohere_openai",
  extends = "openai_chat",
  base_url = "https://api.cohere.ai/compatibility/v1",
  operations = { completions = false, moderations = false },

  -- first match wins: see openai_chat.lua
  rules = {
    { status = 400, text = "max tokens must be less", class = "invalid_request" },
    { status = 400, text = "too many tokens", class = "context_length" },
    { status = 429, text = "calls / month", class = "quota_billing" },
    { status = 498, class = "auth" },
  },
}
