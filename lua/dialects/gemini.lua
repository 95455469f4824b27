--- gemini.lua - Google's generateContent, at the Gemini API and at Vertex.
---
--- A part is what its one data member says. Calls have no id with older models and clients, so results find theirs by
--- name and order. Signatures sit on whatever part the model was at; what other vendors need to get back travels in
--- `thoughtSignature`, too: packed, and in base64, because these clients decode it.
local answer = require "dialects.gemini.answer"
local fields = require "dialects.gemini.fields"
local read = require "dialects.gemini.read"
local stream = require "dialects.gemini.stream"
local write = require "dialects.gemini.write"

return {
  name = "gemini",
  label = "Gemini",
  raw = {
    request = {
      "tools[*].functionDeclarations[*].parameters", "tools[*].functionDeclarations[*].parametersJsonSchema",
      "tools[*].function_declarations[*].parameters", "tools[*].function_declarations[*].parameters_json_schema",
      "contents[*].parts[*].functionCall.args", "contents[*].parts[*].function_call.args",
      "contents[*].parts[*].functionResponse.response", "contents[*].parts[*].function_response.response",
      "generationConfig.responseSchema", "generationConfig.responseJsonSchema",
      "generation_config.response_schema", "generation_config.response_json_schema",
      "generationConfig.speechConfig", "generation_config.speech_config", "safetySettings", "safety_settings", "labels",
      "generateContentRequest", "generate_content_request",
    },
    answer = { "candidates[*].content.parts[*].functionCall.args" },
    event = { "candidates[*].content.parts[*].functionCall.args" },
  },
  request = { messages = "contents", system = "systemInstruction", content = "parts", texts = { "text" } },
  headers = { "x-goog-" },
  references = { "cachedContent" }, -- what only the account has that made it
  fields = fields,
  read_request = read.request,
  write_request = write,
  read_answer = answer.read,
  write_answer = answer.write,
  tasks = require "dialects.gemini.tasks",
  finish_reasons = answer.finish_reasons,
  read_event = answer.read_event,
  stream = stream.writer,
  error = stream.error,
}
