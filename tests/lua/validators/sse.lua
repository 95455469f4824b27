--- sse.lua - the events of a stream's text: { name, data }, strictly framed.
return function(text)
  local events, at = {}, 1
  while at <= #text do
    local last = text:find("\n\n", at, true) or error("the last event does not end with a blank line", 0)
    local name, data
    for line in text:sub(at, last):gmatch "([^\n]*)\n" do
      local field, value = line:match "^(%w+): (.*)$"
      if field == "event" and not name and not data then
        name = value
      elseif field == "data" and not data then
        data = value
      else
        error("a line that does not belong here: " .. line, 0)
      end
    end
    events[#events + 1] = { name = name, data = data or error("an event without data", 0) }
    at = last + 2
  end
  return events
end
