"""What looks like a failure and is none: the first target's answer reaches the client, and the next is never asked."""

from wall import *

ROLE = good_events()[0]
A, B, END, USED = chunk({"content": "fi"}), chunk({"content": "ne"}), chunk({}, "stop"), {**chunk(), "choices": [], "usage": USAGE}


@dataclass
class Odd:
    name: str
    script: object
    stream: bool
    text: str = "fine"
    finish: str = "stop"
    class_: str = "none"
    refusal: str = ""
    tools: dict = field(default_factory=dict)
    workflow: str = ""
    body: dict = field(default_factory=dict)
    note: str = None  # words of the timeline
    usage: tuple = (9, 3)  # as the provider reported it; None: it did not
    at_most_s: float = 5


def events(name, *sent, then="end", pieces=None, **more):
    return Odd(name, stream(*sent, then=then, pieces=pieces), True, **more)


def whole(name, answer, headers=None, **more):
    return Odd(name, respond(200, answer, headers), False, **more)


def headed(head, *parts, pause_s=0):
    """Bytes as they are, with pauses; the connection closes after them."""
    def script(sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n")
        for part in parts:
            sock.sendall(part)
            time.sleep(pause_s)
        raise Closed
    return script


def sse(*sent):
    return b"".join(b"data: %s\n\n" % (event if isinstance(event, str) else json.dumps(event)).encode() for event in sent)


def dripping(data, kind, size=7, pause_s=0.002):
    parts = [data[i:i + size] for i in range(0, len(data), size)]
    return headed(b"content-type: %s\r\ncontent-length: %d" % (kind, len(data)), *parts, pause_s=pause_s)


WHOLE = json.dumps(completion("fine")).encode()
STREAM = sse(ROLE, A, B, END, USED, "[DONE]")
NO_USAGE = {key: value for key, value in completion("fine").items() if key != "usage"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"where": "harbour"}'}}

ODDITIES = [
    # the end of a stream
    events("no DONE", ROLE, A, B, END, USED),
    events("no DONE and no end", ROLE, A, B, END, USED, then="stall", at_most_s=4),
    events("no DONE and a cut after the finish", ROLE, A, B, END, USED, then="cut"),
    events("DONE twice", ROLE, A, B, END, USED, "[DONE]", "[DONE]"),
    events("DONE and then a cut", ROLE, A, B, END, USED, "[DONE]", then="cut"),
    events("DONE and no end", ROLE, A, B, END, USED, "[DONE]", then="stall", at_most_s=4),
    events("noise after DONE", ROLE, A, B, END, USED, "[DONE]", b": bye\n\n", b"data: {oops\n\n"),
    events("finish and content in one event", ROLE, A, chunk({"content": "ne"}, "stop"), "[DONE]", usage=None),
    # events
    events("a malformed event is skipped and noted", ROLE, A, b"data: {oops\n\n", B, END, USED, "[DONE]", note="malformed"),
    events("usage with choices", ROLE, A, B, {**chunk({}, "stop"), "usage": USAGE}, "[DONE]",
           body={"stream_options": {"include_usage": True}}),
    events("usage in each event", *[{**event, "usage": USAGE} for event in (ROLE, A, B, END)], "[DONE]"),
    events("no usage", ROLE, A, B, END, "[DONE]", usage=None),
    events("comments between events", b": ping\n\n", ROLE, b": ping\n\n", A, b": OPENROUTER PROCESSING\n\n", B, END, USED, "[DONE]"),
    events("an event without choices first, as Azure sends it", {**chunk(), "choices": [], "prompt_filter_results": []}, ROLE, A, B, END, USED, "[DONE]"),
    events("the role again and again", *[{**event, "choices": [{**event["choices"][0], "delta": {"role": "assistant", **event["choices"][0]["delta"]}}]}
                                         for event in (ROLE, A, B, END)], USED, "[DONE]"),
    events("null for content", chunk({"role": "assistant", "content": None}), A, chunk({"content": None}), B, END, USED, "[DONE]"),
    events("names, ids and retry lines", *[b"event: completion.chunk\nid: 7\nretry: 100\n" + sse(event) for event in (ROLE, A, B, END, USED)], "[DONE]"),
    events("lines that end in CR LF", STREAM.replace(b"\n", b"\r\n")),
    events("no blank after data", STREAM.replace(b"data: ", b"data:")),
    events("a byte order mark", b"\xef\xbb\xbf" + STREAM),
    events("an event in two data lines", b"data: " + json.dumps(ROLE).encode().replace(b', "object"', b',\ndata: "object"') + b"\n\n", A, B, END, USED, "[DONE]"),
    events("one byte at a time", ROLE, A, B, END, USED, "[DONE]", pieces=1),
    events("an error of the filter beside the text is a warning", ROLE,
           {**A, "choices": [{**A["choices"][0], "content_filter_results": {"error": {"code": "content_filter_error", "message": "down"}}}]}, B, END, USED, "[DONE]"),
    Odd("a stream that trickles", dripping(STREAM, b"text/event-stream"), True),
    Odd("a stream until the connection closes", headed(b"content-type: text/event-stream\r\nconnection: close", STREAM), True),
    Odd("a stream labelled as text", headed(b"content-type: text/plain\r\nconnection: close", STREAM), True),
    Odd("a stream without a label", headed(b"connection: close", STREAM), True),
    Odd("a pause shorter than idle", headed(b"content-type: text/event-stream\r\nconnection: close", *[sse(e) for e in (ROLE, A, B, END, USED, "[DONE]")], pause_s=0.15),
        True, workflow="timeouts_ms = { idle = 1500, first_token = 3000 },"),
    # what was said
    events("reasoning, then content", ROLE, chunk({"reasoning_content": "hm"}), A, B, END, USED, "[DONE]"),
    events("a refusal, streamed", ROLE, chunk({"refusal": "I will "}), chunk({"refusal": "not."}), END, USED, "[DONE]", text="", refusal="I will not.", class_="refusal"),
    events("the token limit, streamed", ROLE, A, B, chunk({}, "length"), USED, "[DONE]", finish="length"),
    events("the filter stopped it, streamed", ROLE, A, chunk({}, "content_filter"), USED, "[DONE]", text="fi", finish="content_filter", class_="content_filter"),
    events("a tool call and no text, streamed", ROLE, chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "look", "arguments": ""}}]}),
           chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"where": "harbour"}'}}]}), chunk({}, "tool_calls"), USED, "[DONE]",
           text="", finish="tool_calls", tools={0: ["look", '{"where": "harbour"}']}),
    events("a tool call without arguments, streamed", ROLE, chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "look", "arguments": ""}}]}),
           chunk({}, "tool_calls"), USED, "[DONE]", text="", finish="tool_calls", tools={0: ["look", ""]}),
    events("the token limit within a tool call, streamed", ROLE, chunk({"tool_calls": [{"index": 0, **CALL, "function": {"name": "look", "arguments": '{"wh'}}]}),
           chunk({}, "length"), USED, "[DONE]", text="", finish="length", tools={0: ["look", '{"wh']}),
    whole("a refusal", completion(None, refusal="I will not."), text="", refusal="I will not.", class_="refusal"),
    whole("the token limit", completion("fine", finish="length"), finish="length"),
    whole("the token limit before a word", completion("", finish="length"), text="", finish="length"),
    whole("the filter stopped it", completion("fi", finish="content_filter"), text="fi", finish="content_filter", class_="content_filter"),
    whole("a tool call and no text", completion(None, finish="tool_calls", tool_calls=[CALL]), text="", finish="tool_calls", tools={0: ["look", '{"where": "harbour"}']}),
    whole("no usage in an answer", NO_USAGE, usage=None),
    whole("an error that is null", {**completion("fine"), "error": None}),
    # framing
    whole("an answer labelled as text", completion("fine"), {"content-type": "text/plain"}),
    whole("an answer without a label", completion("fine"), {"content-type": None}),
    whole("blanks before an answer", b"\n\n   \n" + WHOLE + b"\n\n"),
    whole("words about errors in an answer", completion("fine"), {"x-should-retry": "true", "retry-after": "60"}),
    Odd("an answer that trickles", dripping(WHOLE, b"application/json"), False),
    Odd("an answer until the connection closes", headed(b"content-type: application/json\r\nconnection: close", WHOLE), False),
    Odd("an answer after 102 and 103", lambda sock, request: (
        sock.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"), respond(200, WHOLE)(sock, request)), False),
    Odd("201 instead of 200", respond(201, WHOLE), False),
]


@build
class Oddities(WallTest, unittest.TestCase):
    @classmethod
    def rows(cls):
        return [Scenario(odd.name, {"a": [odd.script], "b": [(stream(*good_events("the next")) if odd.stream else json_answer("the next"))]}, odd.stream, "deadline_ms = 8000, " + odd.workflow,
                         body=odd.body, row=odd) for odd in ODDITIES]

    def judge(self, scenario, outcome):
        odd = scenario.row
        self.assertIsNone(outcome.error)
        self.assertEqual((outcome.text, outcome.refusal, outcome.finish), (odd.text, odd.refusal, odd.finish))
        self.assertEqual(outcome.tools, odd.tools)
        self.assertEqual(outcome.order.replace("a", "", outcome.redialed), "a")
        self.assertEqual([(a["class"], a["action"], a["reason"]) for a in outcome.attempts], [(odd.class_, "accept", "first")])
        self.assertLess(outcome.took_s, odd.at_most_s)
        usage = outcome.attempts[0]["usage"]
        self.assertEqual(usage["reported"], odd.usage is not None)
        if odd.usage:
            self.assertEqual((usage["input_tokens"], usage["output_tokens"]), odd.usage)
        if odd.note:
            self.assertIn(odd.note, json.dumps(outcome.trace["notes"]))


if __name__ == "__main__":
    main()
