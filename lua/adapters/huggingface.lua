--- huggingface.lua - the router of Hugging Face: the models of many vendors, as "owner/model" or "owner/model:vendor".
return {
  name = "huggingface",
  extends = "openai_chat",
  base_url = "https://router.huggingface.co/v1",
  operations = { completions = false, embeddings = false },
}
