--- openai_responses_shapes.lua - the response object and its items, as the reference describes them.
local check = require "validators.check"
local json = require "moongate.json"
local fail, object, each, one_of, optional = check.fail, check.object, check.each, check.one_of, check.optional

local function annotation(value, at)
  object(value, { type = one_of "url_citation", url = "string", title = "string", start_index = "integer", end_index = "integer" }, at)
end

local output_text = function(value, at)
  object(value, { type = "string", text = "string", logprobs = "list?", annotations = function(list, inner)
    each(list, inner, annotation)
  end }, at)
end

local content_part = check.by_type {
  output_text = output_text,
  refusal = function(value, at)
    object(value, { type = "string", refusal = "string" }, at)
  end,
}

local STATUS = one_of "in_progress completed incomplete"

local item = check.by_type {
  message = function(value, at)
    object(value, { type = "string", id = "string", role = one_of "assistant", status = STATUS, content = function(list, inner)
      each(list, inner, content_part)
    end }, at)
  end,
  reasoning = function(value, at)
    object(value, { type = "string", id = "string", status = optional(STATUS), encrypted_content = "string|null?",
                    summary = function(list, inner)
      each(list, inner, function(part, here)
        object(part, { type = one_of "summary_text", text = "string" }, here)
      end)
    end }, at)
  end,
  function_call = function(value, at)
    object(value, { type = "string", id = "string", status = STATUS, call_id = "string", name = "string", arguments = "string" }, at)
  end,
  custom_tool_call = function(value, at)
    object(value, { type = "string", id = "string", status = STATUS, call_id = "string", name = "string", input = "string" }, at)
  end,
}

local function usage(value, at)
  object(value, {
    input_tokens = "integer", output_tokens = "integer", total_tokens = "integer",
    input_tokens_details = function(details, inner)
      object(details, { cached_tokens = "integer", cache_write_tokens = "integer?" }, inner)
    end,
    output_tokens_details = function(details, inner)
      object(details, { reasoning_tokens = "integer" }, inner)
    end,
  }, at)
  if value.total_tokens ~= value.input_tokens + value.output_tokens then
    fail(at, "total_tokens is not the sum")
  end
end

local RESPONSE = {
  id = "string", object = one_of "response", created_at = "number", model = "string", error = "object|null",
  status = one_of "in_progress completed incomplete failed", incomplete_details = "object|null", instructions = "string|null",
  metadata = "object|null", output = function(list, at)
    each(list, at, item)
  end,
  parallel_tool_calls = "boolean", temperature = "number|null", tool_choice = "string|object", tools = "list", top_p = "number|null",
  background = "boolean|null?", max_output_tokens = "integer|null?", max_tool_calls = "integer|null?",
  previous_response_id = "string|null?", prompt_cache_key = "string|null?", reasoning = "object|null?",
  safety_identifier = "string|null?", service_tier = "string|null?", store = "boolean|null?", text = "object?",
  top_logprobs = "integer|null?", truncation = "string|null?", usage = "any?", user = "string|null?",
}

--- The response object, whole: a document of its own or the member of an event.
local function response(value, at)
  object(value, RESPONSE, at)
  if not value.id:find "^resp_" then
    fail(at .. ".id", "does not begin with resp_")
  elseif (value.status == "incomplete") ~= (value.incomplete_details ~= json.null) then
    fail(at, "incomplete, and why, go together")
  elseif (value.status == "failed") ~= (value.error ~= json.null) then
    fail(at, "failed, and the error, go together")
  end
  if value.usage and value.usage ~= json.null then
    usage(value.usage, at .. ".usage")
  end
end

return { item = item, content_part = content_part, annotation = annotation, response = response }
