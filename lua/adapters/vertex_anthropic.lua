--- vertex_anthropic.lua - Anthropic's models at Google's Vertex AI: the model stands in the path, the version in the body.
return {
  name = "vertex_anthropic",
  extends = "anthropic",
  base_url = "https://{location}-aiplatform.googleapis.com/v1/projects/{project}/locations/{location}/publishers/anthropic",
  auth = { kind = "gcp", scope = "https://www.googleapis.com/auth/cloud-platform" },
  headers = { ["anthropic-version"] = false },
  forward = { "anthropic-beta" },
  limits = false,
  params = { anthropic_version = "vertex-2023-10-16" },
  operations = {
    extends = false,
    messages = { path = "/models/{model}:rawPredict", stream_path = "/models/{model}:streamRawPredict" },
    count_tokens = "/models/count-tokens:rawPredict",
  },
  -- before a request reaches the models, Google answers in its own way
  error = {
    type = { "error.type", "error.status", "[*].error.status" },
    code = { "error.details.error_code", "error.code" },
    message = { "error.message", "[*].error.message", "message" },
  },
  rules = {
    { status = 429, text = "resource exhausted. please try again later", class = "overloaded" },
    { type = "RESOURCE_EXHAUSTED", class = "rate_limited" },
    { type = "UNAVAILABLE", class = "overloaded" },
    { type = "UNAUTHENTICATED", class = "auth" },
    { type = "PERMISSION_DENIED", class = "permission" },
    { type = "NOT_FOUND", class = "model_not_found" },
    { type = "DEADLINE_EXCEEDED", class = "timeout_total" },
    { type = "FAILED_PRECONDITION", class = "invalid_request" },
    { type = "INVALID_ARGUMENT", class = "invalid_request" },
    { type = "INTERNAL", class = "server_error" },
  },
}
