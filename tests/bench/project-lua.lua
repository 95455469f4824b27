-- The same provider under a routing policy and a request hook of the usual size.
return {
  providers = {
    mock = { base_url = "http://127.0.0.1:@MOCK@/v1", api_key = "sk-bench" },
    spare = { base_url = "http://127.0.0.1:@MOCK@/v1", api_key = "sk-bench" },
  },
  workflows = {
    bench = { "mock/bench", "spare/bench" },
  },
  on_request = function(req)
    if #req.messages > 1000 then
      return req:deny { status = 400, code = "too_many_messages", message = "a conversation has at most 1000 messages" }
    end
  end,
  route = function(req, candidates)
    local attempts = {}
    for i = 1, #candidates do
      if candidates[i].state ~= "open" then
        attempts[#attempts + 1] = { target = candidates[i].id }
      end
    end
    return { attempts = attempts, explain = req.stream and "in order, streamed" or "in order" }
  end,
}
