--- items.lua - what answers of the Responses API are made of, whole or streamed: the response object and its items.
local json = require "moongate.json"

local array, null = json.array, json.null

local items = {}

--- What a response repeats of its request, and what it says where the request says nothing.
local ECHOED = {
  instructions = null, max_output_tokens = null, max_tool_calls = null, metadata = {}, parallel_tool_calls = true,
  previous_response_id = null, prompt_cache_key = null, reasoning = { effort = null, summary = null },
  safety_identifier = null, service_tier = "default", store = true, temperature = 1, text = { format = { type = "text" } },
  tool_choice = "auto", tools = array {}, top_logprobs = 0, top_p = 1, truncation = "disabled", user = null,
}

--- The members of a request that its response will repeat.
function items.asked(body)
  local asked = {}
  for name in next, ECHOED do
    asked[name] = body[name]
  end
  return asked
end

---- the response object

local function write_usage(usage)
  local input, output = usage.input or 0, usage.output or 0
  return {
    input_tokens = input, output_tokens = output, total_tokens = input + output,
    input_tokens_details = { cached_tokens = usage.cached_read or 0, cache_write_tokens = usage.cached_write or 0 },
    output_tokens_details = { reasoning_tokens = usage.reasoning or 0 },
  }
end

--- The response object before anything was said. `of` has the answer's id, `asked` what it repeats of its request.
function items.response(of, asked)
  local response = { background = false }
  for name, default in next, ECHOED do
    local value = asked and asked[name]
    response[name] = value == nil and default or value
  end
  response.id, response.object, response.created_at = "resp_" .. of.id, "response", of.created
  response.model, response.status, response.output = of.model, "in_progress", array {}
  response.error, response.incomplete_details, response.usage = null, null, null
  return response
end

local INCOMPLETE = { length = "max_output_tokens", filtered = "content_filter" }

--- What became of it.
function items.complete(response, finish, output, usage)
  local reason = INCOMPLETE[finish]
  response.status = reason and "incomplete" or finish == "error" and "failed" or "completed"
  response.incomplete_details = reason and { reason = reason } or null
  response.error = finish == "error" and { code = "server_error", message = "The model could not finish its answer." } or null
  response.output = output
  response.usage = usage and write_usage(usage) or null
end

---- items; `of` has the answer's id

local PREFIXES = { text = "msg_", refusal = "msg_", reasoning = "rs_", tool = "fc_", custom = "ctc_" }

function items.id(of, kind, index)
  return PREFIXES[kind] .. of.id .. "_" .. index
end

--- Positions count characters; not every vendor says where in the text a source is used.
function items.annotations(notes, length)
  local out = array {}
  for _, note in ipairs(notes or {}) do
    if note.url then
      out[#out + 1] = { type = "url_citation", url = note.url, title = note.title or note.url,
                        start_index = note.from or 0, end_index = note.to or length }
    end
  end
  return out
end

function items.text_part(text, annotations)
  return { type = "output_text", text = text, annotations = annotations, logprobs = array {} }
end

function items.message(id, status, part)
  return { type = "message", id = id, role = "assistant", status = status, content = array { part } }
end

function items.reasoning(id, status, text, sealed)
  return { type = "reasoning", id = id, status = status, encrypted_content = sealed or null,
           summary = array { text and { type = "summary_text", text = text } or nil } }
end

function items.call(id, status, call_id, name, arguments)
  return { type = "function_call", id = id, status = status, call_id = call_id, name = name, arguments = arguments }
end

function items.custom(id, status, call_id, name, input)
  return { type = "custom_tool_call", id = id, status = status, call_id = call_id, name = name, input = input }
end

function items.characters(text)
  local _, length = text:gsub("[^\128-\191]", "")
  return length
end

return items
