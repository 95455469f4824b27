--- vertex_gemini.lua - Gemini at Google's Vertex AI. The address is that of a region; for `global` and the multi-regions
--- the provider's `base_url` says it.
return {
  name = "vertex_gemini",
  extends = "gemini",
  base_url = "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/google",
  auth = {
    { kind = "gcp", scope = "https://www.googleapis.com/auth/cloud-platform" },
    { kind = "header", header = "x-goog-api-key" },
  },
  operations = { embed = "/models/{model}:predict", batch_embed = false },
  usage = { tier = { "usageMetadata.serviceTier", "usageMetadata.trafficType" } },
}
