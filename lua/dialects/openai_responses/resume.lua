--- resume.lua - a stream of the Responses API that broke off, read back: what its client has, and where it is.
local json = require "moongate.json"
local items = require "dialects.openai_responses.items"

local KINDS = { function_call = "tool", message = "message", reasoning = "reasoning" }
--- The part of an item that an event is about, by what comes behind "response.".
local BEGINS = { output_text = "text", refusal = "refusal", summary_text = "reasoning" }
local GROWS = {
  ["output_text.delta"] = true, ["refusal.delta"] = true, ["reasoning_summary_text.delta"] = true,
  ["function_call_arguments.delta"] = true,
}
--- The events between the last piece and the end of the item.
local ENDS = {
  ["output_text.done"] = true, ["refusal.done"] = true, ["content_part.done"] = true, ["reasoning_summary_text.done"] = true,
  ["reasoning_summary_part.done"] = true, ["function_call_arguments.done"] = true,
}
local QUIET = { ["in_progress"] = true, ["queued"] = true, ["output_text.annotation.added"] = true }

local on = {}

on["created"] = function(at, data)
  at.response = data.response
end

on["output_item.added"] = function(at, data)
  local item = data.item
  at.item, at.part, at.ends, at.many = item, nil, 0, false
  if item.type == "function_call" then
    at.part = { kind = "tool", id = item.call_id, name = item.name, text = item.arguments or "" }
    at.parts[#at.parts + 1] = at.part
  end
  return KINDS[item.type] ~= nil and data.output_index == #at.done
end

on["output_item.done"] = function(at, data)
  local item = data.item
  if item.type == "reasoning" then
    item.encrypted_content = item.encrypted_content or json.null
  end
  at.done[#at.done + 1] = item
  at.item, at.part = nil, nil
end

on["content_part.added"] = function(at, data)
  at.many = at.part ~= nil
  at.part = { kind = BEGINS[data.part.type], text = data.part.text or "" }
  at.parts[#at.parts + 1] = at.part
  return at.part.kind ~= nil
end
on["reasoning_summary_part.added"] = on["content_part.added"]

local function step(at, data)
  local name = data.type:gsub("^response%.", "")
  at.seq = data.sequence_number + 1
  if GROWS[name] and at.part then
    at.part.text = at.part.text .. data.delta
  elseif ENDS[name] and at.item then
    at.ends = at.ends + 1
  elseif on[name] then
    return on[name](at, data)
  else
    return QUIET[name] or false
  end
end

--- What is known of it, or nil: nobody can go on with it. `item`, `part`: those that the client waits for the end of;
--- `ends`: how many of the events that end that item it has.
return function(s, events)
  local at = { done = json.array {}, parts = {}, seq = 0 }
  for _, data in ipairs(events) do
    if step(at, data) == false or not at.response or (at.many and at.item) then
      return nil
    end
  end
  s.response = items.response(s, nil)
  for name, value in next, at.response do
    s.response[name] = value
  end
  return at
end
