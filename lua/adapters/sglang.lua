--- sglang.lua - SGLang.
return {
  name = "sglang",
  extends = "openai_chat",
  base_url = "http://localhost:30000/v1",
}
