--- bedrock_openai.lua - the models of Amazon Bedrock that it offers in the OpenAI dialects.
return {
  name = "bedrock_openai",
  extends = "openai_chat",
  base_url = "https://bedrock-mantle.{region}.api.aws/openai/v1",
  auth = { { kind = "bearer" }, { kind = "sigv4", service = "bedrock-mantle" } },
  vars = { region = "us-east-1" },
  speaks = { "openai_responses" },
  operations = { completions = false, embeddings = false },
}
