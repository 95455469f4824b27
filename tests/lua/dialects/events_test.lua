--- Events of a provider's stream that have something rare in them: the dialect's Lua tells all that they say.
local t = require "t"
local json = require "moongate.json"
local machine = require "support.machine"
local world = require "support.world"

local function reads(name, event, want, stream)
  local of = world.dialect(name)
  stream = stream or { id = "01" }
  t.eq(json.array(of.read_event("", world.decode(event, of.raw.event), stream)), json.array(want))
end

t.test("openai_responses: reasoning's opaque half, sources, pieces of a free-form call", function()
  reads("openai_responses", [[{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"rs_1","summary":[],
    "encrypted_content":"gAAAA"}}]], { { kind = "signature", text = "gAAAA", id = "rs_1", dialect = "openai_responses", choice = 0 } })
  reads("openai_responses", [[{"type":"response.output_text.annotation.added","annotation_index":0,"annotation":{"type":"url_citation",
    "url":"https://example.com","title":"Example","start_index":0,"end_index":2}}]],
    { { kind = "annotation", url = "https://example.com", title = "Example", choice = 0 } })
  reads("openai_responses", [[{"type":"response.output_item.added","output_index":2,"item":{"type":"custom_tool_call","call_id":"call_1",
    "name":"shell","input":""}}]], { { kind = "tool", tool = 2, id = "call_1", name = "shell", choice = 0 } })
  reads("openai_responses", [[{"type":"response.custom_tool_call_input.delta","output_index":2,"delta":"ls"}]],
    { { kind = "tool", tool = 2, arguments = "ls", choice = 0 } })
end)

t.test("openai_responses: what nobody else knows is left out", function()
  reads("openai_responses", [[{"type":"response.output_text.annotation.added","annotation":{"type":"file_citation"}}]], {})
  reads("openai_responses", [[{"type":"response.output_item.done","item":{"type":"web_search_call"}}]], {})
  reads("openai_responses", [[{"type":"response.new.thing","annotation":5}]], {})
  reads("openai_responses", [[{}]], {})
end)

t.test("gemini: calls come whole, numbered through the stream, with the signature that came with them", function()
  local stream = { id = "01" }
  reads("gemini", [[{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Look."},
    {"functionCall":{"name":"weather","args":{"city":"Paris","at":1.0}},"thoughtSignature":"QUJD"},
    {"functionCall":{"id":"f2","name":"now"}}]}}]}]], {
    { kind = "text", text = "Look.", choice = 0 },
    { kind = "tool", tool = 1, id = "call_01_1", name = "weather", arguments = '{"city":"Paris","at":1.0}', signature = "QUJD", choice = 0 },
    { kind = "tool", tool = 2, id = "f2", name = "now", arguments = "{}", choice = 0 },
  }, stream)
  reads("gemini", [[{"candidates":[{"content":{"parts":[{"functionCall":{"name":"now"}}]}}]}]],
    { { kind = "tool", tool = 3, id = "call_01_3", name = "now", arguments = "{}", choice = 0 } }, stream)
end)

t.test("gemini: a signature on a thought, on a text, on nothing; pages at the end", function()
  reads("gemini", [[{"candidates":[{"index":1,"content":{"parts":[{"text":"Hm.","thought":true,"thoughtSignature":"QUJD"},
    {"text":"Hi","thoughtSignature":"WFla"},{"text":"","thoughtSignature":"WFla"}]},
    "groundingMetadata":{"groundingChunks":[{"web":{"uri":"https://example.com","title":"Example"}},{"maps":{}}]}}]}]], {
    { kind = "reasoning", text = "Hm.", choice = 1 }, { kind = "signature", text = "QUJD", dialect = "gemini", choice = 1 },
    { kind = "text", text = "Hi", choice = 1 }, { kind = "signature", text = "WFla", dialect = "gemini", choice = 1 },
    { kind = "signature", text = "WFla", dialect = "gemini", choice = 1 },
    { kind = "annotation", url = "https://example.com", title = "Example", choice = 1 },
  })
end)

t.test("openai_chat: beside an extension, the event's texts and calls are told, too", function()
  reads("openai_chat", [[{"choices":[{"index":0,"delta":{"content":"Hi","reasoning":"Hm.",
    "annotations":[{"type":"url_citation","url_citation":{"url":"https://example.com","title":"Example"}}],
    "tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"},
      "extra_content":{"google":{"thought_signature":"QUJD"}}}]}}]}]], {
    { kind = "reasoning", text = "Hm.", choice = 0 }, { kind = "text", text = "Hi", choice = 0 },
    { kind = "annotation", url = "https://example.com", title = "Example", choice = 0 },
    { kind = "tool", tool = 0, id = "call_1", name = "f", arguments = "{}", signature = "QUJD", choice = 0 },
  })
end)

t.test("openai_chat: content in pieces, details of a vendor as their very text, a call of old", function()
  reads("openai_chat", [[{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]},
    {"type":"text","text":"Hi"}],"reasoning_details":[{"type":"reasoning.text","text":"Hm.","index":0},
    {"type":"reasoning.text", "signature":"EqQB","id":null}],"function_call":{"name":"f","arguments":"{"}}}]}]], {
    { kind = "reasoning", text = "Hm.", choice = 0 }, { kind = "text", text = "Hi", choice = 0 },
    { kind = "signature", text = '{"type":"reasoning.text", "signature":"EqQB","id":null}', dialect = "openai_chat/x", choice = 0 },
    { kind = "tool", tool = 0, id = "call_0", name = "f", arguments = "{", choice = 0 },
  }, { id = "01", vendor = "x" })
end)

t.test("cohere and bedrock: pages that a text was taken from; sources that are none are the client's own", function()
  reads("cohere", [[{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":4,"text":"Bern","sources":[
    {"type":"tool","id":"a:0","tool_output":{"url":"https://example.com","title":"Example"}},
    {"type":"document","id":"doc:0","document":{"title":"notes.txt"}}, 5]}}}}]],
    { { kind = "annotation", url = "https://example.com", title = "Example", from = 0, to = 4 } })
  reads("cohere", [[{"type":"citation-start","delta":{"message":{"citations":[]}}}]], {})
  reads("bedrock", [[{"contentBlockIndex":0,"delta":{"citation":{"title":"Example","location":{"web":{"url":"https://example.com"}}}}}]],
    { { kind = "annotation", url = "https://example.com", title = "Example" } })
  reads("bedrock", [[{"contentBlockIndex":0,"delta":{"reasoningContent":{"redactedContent":"AAAA"}}}]],
    { { kind = "redacted", data = "AAAA", dialect = "bedrock" } })
  reads("bedrock", [[{"contentBlockIndex":0,"delta":{"citation":{"location":{"documentPage":{}}}}}]], {})
end)

t.test("cohere: where in a text a page was used is told in a stream of the Responses API", function()
  local text = machine("cohere", "openai_responses", { { kind = "text", text = "Bern is small." },
    { kind = "annotation", url = "https://example.com", title = "Example", from = 0, to = 4 }, { kind = "finish", reason = "stop" } })
  local note = require "validators.openai_responses_stream"(text).output[1].content[1].annotations[1]
  t.eq({ note.url, note.start_index, note.end_index }, { "https://example.com", 0, 4 })
end)

t.test("anthropic: signatures, redacted blocks, sources, the sequence that ended it", function()
  reads("anthropic", [[{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}]],
    { { kind = "signature", text = "EqQB", dialect = "anthropic" } })
  reads("anthropic", [[{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ErUB"}}]],
    { { kind = "redacted", data = "ErUB", dialect = "anthropic" } })
  reads("anthropic", [[{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":"","signature":"EqQB"}}]],
    { { kind = "signature", text = "EqQB", dialect = "anthropic" } })
  reads("anthropic", [[{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":
    {"type":"web_search_result_location","url":"https://example.com","title":"Example","encrypted_index":"x"}}}]],
    { { kind = "annotation", url = "https://example.com", title = "Example" } })
  reads("anthropic", [[{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"END"},"usage":{"output_tokens":1}}]],
    { { kind = "stop_sequence", text = "END" } })
  reads("anthropic", [[{"type":"content_block_delta","index":2,"delta":{"type":"compaction_delta"}}]], {})
  reads("anthropic", [[{"type":"new","delta":5,"content_block":[]}]], {})
end)

t.test("gemini: counters that are known with the end are told with it, and not again", function()
  local stream, s = world.dialect("gemini").stream, { id = "01", model = "m", seq = 0 }
  local usage = { input = 5, output = 9 }
  stream.start(s)
  local last = stream.finish(s, { choice = 0, reason = "stop", usage = usage })
  t.ok(last:find('"finishReason":"STOP"', 1, true) and last:find('"totalTokenCount":14', 1, true), last)
  t.eq(stream.done(s, usage), "")
end)
