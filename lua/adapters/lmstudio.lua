--- lmstudio.lua - LM Studio. It takes the older name of the length limit only.
return {
  name = "lmstudio",
  extends = "openai_chat",
  base_url = "http://localhost:1234/v1",
  edits = { { fields = { "max_completion_tokens" }, rename = "max_tokens" } },
}
