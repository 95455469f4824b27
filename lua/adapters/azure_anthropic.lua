--- azure_anthropic.lua - Anthropic's models at Azure (Foundry). It tells no limits.
return {
  name = "azure_anthropic",
  extends = "anthropic",
  base_url = "https://{resource}.services.ai.azure.com/anthropic/v1",
  auth = {
    { kind = "header", header = "x-api-key" },
    { kind = "header", header = "api-key" },
    { kind = "entra", scope = "https://cognitiveservices.azure.com/.default" },
  },
  limits = false,
  operations = { models = false },
}
