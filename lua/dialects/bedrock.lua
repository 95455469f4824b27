--- bedrock.lua - Converse of Amazon Bedrock, one dialect for the models of many makers.
---
--- It is a provider's only: no surface takes it from clients, so there is nothing here to read a request or write an
--- answer with. A call's input and a result's json are objects; media come as bytes or out of S3; what only one maker's
--- models know goes into `additionalModelRequestFields`.
local answer = require "dialects.bedrock.answer"

return {
  name = "bedrock",
  label = "Bedrock Converse",
  raw = { request = {}, answer = { "output.message.content[*].toolUse.input" }, event = {} },
  fields = require "dialects.bedrock.fields",
  write_request = require "dialects.bedrock.write",
  read_answer = answer.read,
  tasks = require "dialects.bedrock.tasks",
  finish_reasons = answer.finish_reasons,
  read_event = answer.read_event,
}
