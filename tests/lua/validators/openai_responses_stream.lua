--- openai_responses_stream.lua - the events of a Responses stream, as the reference describes them: numbered without a gap,
--- one item after the other, every part opened, told and closed, and all of it once more in the last event.
local check = require "validators.check"
local json = require "moongate.json"
local shapes = require "validators.openai_responses_shapes"
local sse = require "validators.sse"
local fail, is, object, one_of = check.fail, check.is, check.object, check.one_of

local EMPTY = function(value, at)
  is(value, "list", at)
  if #value > 0 then
    fail(at, "must be empty")
  end
end

local item, content_part, annotation, response = shapes.item, shapes.content_part, shapes.annotation, shapes.response

local PREFIXES = { message = "^msg_", reasoning = "^rs_", function_call = "^fc_", custom_tool_call = "^ctc_" }

local handlers = {}

local function lifecycle(state, data, status)
  object(data, { type = "string", sequence_number = "integer", response = response }, data.type)
  if data.response.status ~= status then
    fail(data.type, "the status is %s", data.response.status)
  elseif state.id and data.response.id ~= state.id then
    fail(data.type, "another id")
  end
  state.id = data.response.id
end

handlers["response.created"] = function(state, data)
  lifecycle(state, data, "in_progress")
  EMPTY(data.response.output, "output")
  state.created = true
end

handlers["response.in_progress"] = function(state, data)
  lifecycle(state, data, "in_progress")
  if state.in_progress or #state.items > 0 then
    fail("response.in_progress", "comes late")
  end
  state.in_progress = true
end

local function needs_open(state, data, kind)
  if not state.item then
    fail(data.type, "while no item is open")
  elseif data.output_index ~= #state.items then
    fail(data.type, "output_index %d, must be %d", data.output_index, #state.items)
  elseif data.item_id ~= state.item.id then
    fail(data.type, "item_id %s, must be %s", data.item_id, state.item.id)
  elseif kind and state.item.type ~= kind then
    fail(data.type, "in an item of type %s", state.item.type)
  end
end

handlers["response.output_item.added"] = function(state, data)
  object(data, { type = "string", sequence_number = "integer", output_index = "integer", item = item }, data.type)
  if state.item then
    fail(data.type, "while another item is open")
  elseif data.output_index ~= #state.items then
    fail(data.type, "output_index %d, must be %d", data.output_index, #state.items)
  elseif not data.item.id:find(PREFIXES[data.item.type]) then
    fail(data.type, "the id is %s", data.item.id)
  elseif state.ids[data.item.id] then
    fail(data.type, "the id %s is not new", data.item.id)
  elseif data.item.status ~= "in_progress" then
    fail(data.type, "the status is %s", data.item.status)
  end
  state.item, state.parts, state.text, state.notes, state.ids[data.item.id] = data.item, 0, nil, {}, true
end

local function ids(more)
  local shape = { type = "string", sequence_number = "integer", item_id = "string", output_index = "integer" }
  for name, rule in pairs(more) do
    shape[name] = rule
  end
  return shape
end

local function part_added(kind, place, rule)
  return function(state, data)
    object(data, ids { [place] = "integer", part = rule }, data.type)
    needs_open(state, data, kind)
    if state.part or data[place] ~= state.parts then
      fail(data.type, "%s %d", place, data[place])
    elseif (data.part.text or data.part.refusal) ~= "" then
      fail(data.type, "the part does not begin empty")
    end
    state.part, state.text, state.text_done = data.part, "", false
  end
end

local summary_part = function(value, at)
  object(value, { type = one_of "summary_text", text = "string" }, at)
end
handlers["response.content_part.added"] = part_added("message", "content_index", content_part)
handlers["response.reasoning_summary_part.added"] = part_added("reasoning", "summary_index", summary_part)

local function delta(kind, more)
  return function(state, data)
    more.delta = "string"
    object(data, ids(more), data.type)
    needs_open(state, data, kind)
    if kind == "function_call" or kind == "custom_tool_call" then
      state.text = state.text or ""
    elseif not state.part then
      fail(data.type, "while no part is open")
    end
    if state.text_done then
      fail(data.type, "after its done")
    end
    state.text = state.text .. data.delta
  end
end
handlers["response.output_text.delta"] = delta("message", { content_index = "integer", logprobs = "list" })
handlers["response.refusal.delta"] = delta("message", { content_index = "integer" })
handlers["response.reasoning_summary_text.delta"] = delta("reasoning", { summary_index = "integer" })
handlers["response.function_call_arguments.delta"] = delta("function_call", {})
handlers["response.custom_tool_call_input.delta"] = delta("custom_tool_call", {})

local function text_done(kind, member, more)
  return function(state, data)
    more[member] = "string"
    object(data, ids(more), data.type)
    needs_open(state, data, kind)
    if state.text_done then
      fail(data.type, "comes twice")
    elseif data[member] ~= (state.text or "") then
      fail(data.type, "is another text than its deltas: %s", data[member])
    end
    state.text, state.text_done = data[member], true
  end
end
handlers["response.output_text.done"] = text_done("message", "text", { content_index = "integer", logprobs = "list" })
handlers["response.refusal.done"] = text_done("message", "refusal", { content_index = "integer" })
handlers["response.reasoning_summary_text.done"] = text_done("reasoning", "text", { summary_index = "integer" })
handlers["response.function_call_arguments.done"] = text_done("function_call", "arguments", { name = "string" })
handlers["response.custom_tool_call_input.done"] = text_done("custom_tool_call", "input", {})

handlers["response.output_text.annotation.added"] = function(state, data)
  object(data, ids { content_index = "integer", annotation_index = "integer", annotation = annotation }, data.type)
  needs_open(state, data, "message")
  if data.annotation_index ~= #state.notes then
    fail(data.type, "annotation_index %d", data.annotation_index)
  end
  state.notes[#state.notes + 1] = data.annotation.url
end

local function part_done(kind, place, rule)
  return function(state, data)
    object(data, ids { [place] = "integer", part = rule }, data.type)
    needs_open(state, data, kind)
    if not state.text_done or (data.part.text or data.part.refusal) ~= state.text then
      fail(data.type, "is another text than what was told")
    elseif data.part.annotations and #data.part.annotations ~= #state.notes then
      fail(data.type, "has other annotations than what was told")
    end
    state.part, state.parts, state.last = nil, state.parts + 1, data.part
  end
end
handlers["response.content_part.done"] = part_done("message", "content_index", content_part)
handlers["response.reasoning_summary_part.done"] = part_done("reasoning", "summary_index", summary_part)

handlers["response.output_item.done"] = function(state, data)
  object(data, { type = "string", sequence_number = "integer", output_index = "integer", item = item }, data.type)
  local done = data.item
  if not state.item or state.part then
    fail(data.type, "while no item, or one of its parts, is open")
  elseif data.output_index ~= #state.items or done.id ~= state.item.id or done.type ~= state.item.type then
    fail(data.type, "is of another item")
  elseif done.status == "in_progress" then
    fail(data.type, "the status is in_progress")
  elseif done.type == "function_call" or done.type == "custom_tool_call" then
    if not state.text_done or (done.arguments or done.input) ~= state.text then
      fail(data.type, "has another text than what was told")
    elseif done.call_id ~= state.item.call_id or done.name ~= state.item.name then
      fail(data.type, "is another call")
    end
    if done.arguments and not json.decode(done.arguments) then
      fail(data.type, "the arguments are no JSON: %s", done.arguments)
    end
  elseif #(done.content or done.summary) ~= state.parts then
    fail(data.type, "has another number of parts")
  elseif state.parts > 0 and json.encode((done.content or done.summary)[1]) ~= json.encode(state.last) then
    fail(data.type, "has another part than what was told")
  end
  state.items[#state.items + 1] = done
  state.item, state.text_done = nil, nil
end

local function terminal(status)
  return function(state, data)
    lifecycle(state, data, status)
    if state.item then
      fail(data.type, "while an item is open")
    elseif json.encode(data.response.output) ~= json.encode(json.array(state.items)) then
      fail(data.type, "the output is another than what was told")
    end
    state.over, state.response = true, data.response
  end
end
handlers["response.completed"], handlers["response.incomplete"], handlers["response.failed"] =
  terminal "completed", terminal "incomplete", terminal "failed"

handlers["error"] = function(state, data)
  object(data, { type = "string", sequence_number = "integer", code = "string|null", message = "string", param = "string|null" }, "error")
  state.over, state.error = true, data
end

--- Raises what breaks the format; gives the response of the last event, or the error.
return function(text)
  local state = { items = {}, ids = {} }
  for i, event in ipairs(sse(text)) do
    local data = json.decode(event.data) or fail("data", "is no JSON: %s", event.data)
    if event.name ~= data.type then
      fail("event", "is named '%s' and has type '%s'", tostring(event.name), tostring(data.type))
    elseif state.over then
      fail("event", "%s after the end", event.name)
    elseif data.sequence_number ~= i - 1 then
      fail("event", "%s has number %s, must be %d", event.name, tostring(data.sequence_number), i - 1)
    elseif (event.name == "response.created") ~= (i == 1) and event.name ~= "error" then
      fail("event", "%s in place %d", event.name, i)
    end
    local handler = handlers[event.name] or fail("event", "is unknown: %s", event.name)
    handler(state, data)
  end
  if not state.over then
    fail("stream", "ends without a terminal event")
  end
  return state.response or state.error
end
