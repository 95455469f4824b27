--- bedrock_anthropic.lua - Anthropic's models at Amazon Bedrock, in their own dialect.
return {
  name = "bedrock_anthropic",
  extends = "anthropic",
  base_url = "https://bedrock-mantle.{region}.api.aws/anthropic/v1",
  auth = { { kind = "header", header = "x-api-key" }, { kind = "sigv4", service = "bedrock-mantle" } },
  vars = { region = "us-east-1" },
  limits = false,
  operations = { models = false },
}
