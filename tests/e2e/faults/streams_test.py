"""Streams that break after the client has content, × what the workflow does about it × {the next target works, fails too}.

    error    the client has what came, then a typed error, and never an end that looks like one
    hold     nothing came, so nothing broke: the next target answers from the start
    resume   the next target's answer goes on where the first broke off; one that says something else ends in the error
"""

from wall import *

ROLE = good_events()[0]
HEAD, REST = ["The har", "bour was "], ["quiet ", "that night."]
WHOLE = "".join(HEAD + REST)
PAR = "".join(HEAD)
BEGUN = [ROLE, *[chunk({"content": piece}) for piece in HEAD]]
WORKS = [stream(*good_events(*HEAD, *REST))]
RECUT = [stream(*good_events(*[WHOLE[i:i + 5] for i in range(0, len(WHOLE), 5)]))]
OTHER = [stream(*good_events("The port ", "was loud."))]


def error(code=None, type="server_error", message="boom"):
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


@dataclass
class Break:
    name: str
    class_: tuple
    script: object
    target: str = ""
    calls_more: bool = True  # a next target is tried where the workflow allows it


def broken(name, class_, *more, then="end", **options):
    return Break(name, (class_,) if isinstance(class_, str) else class_, stream(*BEGUN, *more, then=then), **options)


def framing(sock, request):
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in BEGUN:
        data = b"data: %s\n\n" % json.dumps(event).encode()
        sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
    time.sleep(0.1)
    sock.sendall(b"zz\r\n")
    raise Closed


def slowly(sock, request):
    """Never silent, never finished."""
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in [*BEGUN, *[b": still here\n\n"] * 200]:
        data = event if isinstance(event, bytes) else b"data: %s\n\n" % json.dumps(event).encode()
        sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
        time.sleep(0.02)
    raise Closed


BREAKS = [
    broken("cut", "truncated_stream", then="cut"),
    broken("reset", "truncated_stream", then="reset"),
    broken("clean end without a finish", "truncated_stream"),
    broken("DONE without a finish", "truncated_stream", "[DONE]"),
    Break("framing that is none", ("truncated_stream",), framing),
    broken("an error", "server_error", error(), "[DONE]"),
    broken("an event named error", "server_error", b'event: error\ndata: {"message":"boom","code":"server_error"}\n\n'),
    broken("an overload", "overloaded", error("server_is_overloaded", "service_unavailable_error")),
    broken("a rate limit", "rate_limited", error("rate_limit_exceeded", "requests")),
    broken("an error that says 429 as a number", "rate_limited", {"error": {"message": "slow", "code": 429}}),
    broken("an error of Groq in the last chunk", "server_error", {**chunk(), "choices": [], "x_groq": {"error": "over capacity"}}, "[DONE]"),
    broken("finish reason error", "server_error", chunk({}, "error"), "[DONE]"),
    broken("finish reason of a machine that is full", "overloaded", chunk({}, "insufficient_system_resource"), "[DONE]"),
    broken("silence", "timeout_idle", then="stall", target="timeouts_ms = { idle = 300 },"),
    Break("never silent, never finished", ("timeout_total",), slowly, target="timeouts_ms = { total = 600 },"),
    broken("one event without an end", ("truncated_stream", "invalid_json", "server_error"), b"data: {" + b"x" * 1200000, then="cut"),
]


def judge_error(self, scenario, outcome, text=PAR):
    """A truncated answer never looks finished."""
    self.assertIsNone(outcome.finish)
    self.assertIsInstance(outcome.error, openai.APIError)
    self.assertEqual(outcome.code, outcome.trace["class"])
    self.assertEqual(outcome.text, text)
    self.assertFalse(outcome.trace["clean"])
    self.assertEqual(outcome.trace["status"], 200)


def scenarios(rescue, works, second, name, breaks=BREAKS):
    return [Scenario(f"{rescue} - {row.name} - {name}", {"a": [row.script], "b": second or [row.script]}, True,
                     f'rescue = "{rescue}", deadline_ms = 8000,', {"a": row.target, "b": "" if second else row.target}, row=(row, works))
            for row in breaks]


class Streams(WallTest):
    def first(self, scenario, outcome):
        row, works = scenario.row
        attempts = outcome.attempts
        self.assertIn(attempts[0]["class"], row.class_)
        self.assertEqual(attempts[0]["reason"], "first")
        self.assertEqual(len(outcome.calls), len(attempts) + outcome.redialed)
        return row, works, attempts


@build
class Error(Streams, unittest.TestCase):
    @classmethod
    def rows(cls):
        return [*scenarios("error", True, WORKS, "the next works"), *scenarios("error", False, None, "the next fails too")]

    def judge(self, scenario, outcome):
        row, works, attempts = self.first(scenario, outcome)
        judge_error(self, scenario, outcome)
        self.assertIn(outcome.code, row.class_)
        self.assertEqual((outcome.order, attempts[0]["action"]), ("a", "fail"))


@build
class Hold(Streams, unittest.TestCase):
    @classmethod
    def rows(cls):
        return [*scenarios("hold", True, OTHER, "the next works"), *scenarios("hold", False, None, "the next fails too")]

    def judge(self, scenario, outcome):
        row, works, attempts = self.first(scenario, outcome)
        self.assertRegex(outcome.order, "^a+b+$" if works else "^a+b[ab]*$")
        if works:
            self.assertIsNone(outcome.error)
            self.assertEqual((outcome.text, outcome.finish), ("The port was loud.", "stop"))
            self.assertEqual([a["action"] for a in attempts][-2:], ["fallback", "accept"])
        else:  # nothing was sent, so the status can still say it
            self.assertIsInstance(outcome.error, openai.APIStatusError)
            self.assertGreaterEqual(outcome.status, 429)
            self.assertIn(outcome.code, row.class_)
            self.assertEqual((outcome.text, outcome.finish), ("", None))


@build
class Resume(Streams, unittest.TestCase):
    @classmethod
    def rows(cls):
        return [*scenarios("resume", "same", WORKS, "the next says the same"), *scenarios("resume", "same", RECUT, "the next says the same in other pieces"),
                *scenarios("resume", "other", OTHER, "the next says something else"), *scenarios("resume", "broken", None, "the next fails too")]

    def judge(self, scenario, outcome):
        row, how, attempts = self.first(scenario, outcome)
        self.assertGreaterEqual(len(attempts), 2)
        self.assertEqual((outcome.order[:2], attempts[1]["reason"]), ("ab", "rescue"))
        if how == "same":
            self.assertIsNone(outcome.error)
            self.assertEqual((outcome.text, outcome.finish), (WHOLE, "stop"))
            self.assertEqual(attempts[0]["action"], "fallback")
            self.assertEqual((attempts[1]["class"], attempts[1]["action"]), ("none", "accept"))
            self.assertEqual(attempts[1]["resumed_bytes"], len(PAR))
        else:  # never two texts in one
            judge_error(self, scenario, outcome)


# ---- what only some models can do, and tool calls

PREFILL = "prefill = true,"
LOOK = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}


def arguments(text, **more):
    return chunk({"tool_calls": [{"index": 0, "function": {"arguments": text}, **more}]})


CALLED = [ROLE, chunk({"tool_calls": [LOOK]}), arguments('{"where": '), arguments('"har')]
CALL_END = [chunk({}, "tool_calls"), {**chunk(), "choices": [], "usage": USAGE}, "[DONE]"]
SAME_CALL = [stream(ROLE, chunk({"tool_calls": [{**LOOK, "id": "call_2"}]}), arguments('{"wh'), arguments('ere": "harbour"}'), *CALL_END)]
OTHER_CALL = [stream(ROLE, chunk({"tool_calls": [{**LOOK, "id": "call_2"}]}), arguments('{"where": "port"}'), *CALL_END)]
OTHER_TOOL = [stream(ROLE, chunk({"tool_calls": [{**LOOK, "function": {"name": "sink", "arguments": ""}}]}), arguments('{"where": "harbour"}'), *CALL_END)]
REASONED = [ROLE, chunk({"reasoning_content": "Hm. "}), chunk({"reasoning_content": "A harbour."})]


@build
class Continued(Streams, unittest.TestCase):
    @classmethod
    def rows(cls):
        cut = [stream(*BEGUN, then="cut")]
        on = [stream(*good_events(*REST))]
        call_cut = [stream(*CALLED, then="cut")]

        def row(name, sides, how, targets=None, rescue="resume", **more):
            return Scenario(name, sides, True, f'rescue = "{rescue}", deadline_ms = 8000,', targets or {}, row=how, **more)
        return [
            row("a model that can goes on from the text", {"a": cut, "b": [OTHER[0], on[0]]}, "prefilled", {"b": PREFILL}),
            row("the text is matched before a model is made to go on", {"a": cut, "b": WORKS}, "matched", {"b": PREFILL}),
            row("a third target, where the second says something else", {"a": cut, "b": OTHER, "c": WORKS}, "whole or error"),
            row("the second breaks further on and the third goes on from there",
                {"a": cut, "b": [stream(*BEGUN, chunk({"content": REST[0]}), then="cut")], "c": WORKS}, "further"),
            row("the second breaks before it has caught up and the third goes on",
                {"a": cut, "b": [stream(*BEGUN[:2], then="cut")], "c": WORKS}, "third"),
            row("the second refuses and the third goes on", {"a": cut, "b": [error_answer(500)], "c": WORKS}, "third"),
            row("the second ends before it has caught up", {"a": cut, "b": [stream(*good_events("The har"))]}, "error"),
            row("a tool call that is completed identically", {"a": call_cut, "b": SAME_CALL}, "called"),
            row("a tool call with other arguments", {"a": call_cut, "b": OTHER_CALL}, "half a call"),
            row("another tool", {"a": call_cut, "b": OTHER_TOOL}, "half a call"),
            row("a tool call is not continued by a text", {"a": call_cut, "b": OTHER}, "half a call", {"b": PREFILL}),
            row("a tool call that broke, without a rescue", {"a": call_cut, "b": SAME_CALL}, "half a call, alone", rescue="error"),
            row("a tool call that broke, held", {"a": call_cut, "b": SAME_CALL}, "called", rescue="hold"),
            row("tool arguments that are cut at a finish", {"a": [stream(*CALLED, *CALL_END)], "b": SAME_CALL}, "half a call, alone", rescue="error"),
            row("tool arguments that are cut at a finish, held", {"a": [stream(*CALLED, *CALL_END)], "b": SAME_CALL}, "called", rescue="hold"),
            row("reasoning that comes again is matched too", {"a": [stream(*REASONED, *BEGUN[1:], then="cut")],
                "b": [stream(*REASONED, *[chunk({"content": piece}) for piece in HEAD + REST], chunk({}, "stop"), "[DONE]")]}, "reasoned"),
        ]

    def judge(self, scenario, outcome):
        how, attempts = scenario.row, outcome.attempts
        if how in ("prefilled", "matched", "reasoned", "third", "further"):
            self.assertIsNone(outcome.error)
            self.assertEqual((outcome.text, outcome.finish), (WHOLE, "stop"))
            self.assertEqual(outcome.order, {"prefilled": "abb", "matched": "ab", "reasoned": "ab"}.get(how, "abc"))
            self.assertEqual([a["reason"] for a in attempts[1:]], ["rescue"] * (len(attempts) - 1))
            self.assertEqual((attempts[-1]["class"], attempts[-1]["action"]), ("none", "accept"))
            more = {"further": REST[0], "reasoned": "Hm. A harbour."}.get(how, "")
            self.assertEqual(attempts[-1]["resumed_bytes"], len(PAR) + len(more))
        if how == "prefilled":  # the text so far is the conversation's last word
            self.assertEqual(outcome.calls[-1].request.json["messages"], [*MESSAGES, {"role": "assistant", "content": PAR}])
        if how == "whole or error" and not outcome.error:
            self.assertEqual((outcome.text, outcome.finish), (WHOLE, "stop"))
        elif how in ("error", "whole or error"):
            judge_error(self, scenario, outcome)
        if how == "called":
            self.assertIsNone(outcome.error)
            self.assertEqual((outcome.tools, outcome.finish), ({0: ["look", '{"where": "harbour"}']}, "tool_calls"))
        if how.startswith("half a call"):  # arguments that were begun are never completed by others
            self.assertIsNotNone(outcome.error)
            self.assertIsNone(outcome.finish)
            self.assertEqual(outcome.tools, {0: ["look", '{"where": "har']})
        if how == "half a call, alone":
            self.assertEqual(outcome.order, "a")


class Seam(unittest.TestCase):
    def test_the_seam_is_marked_in_the_stream_and_in_the_timeline(self):
        with Upstream(stream(*BEGUN, then="cut")) as a, Upstream(*WORKS) as b, Gateway(project(a, b, workflow='rescue = "resume"')) as gw:
            answer = gw.chat(stream=True)

            self.assertEqual((answer.text, answer.clean, answer.events[-1]), (WHOLE, True, "[DONE]"))
            before, seam, after = re.split(r"(?m)^(:.*resumed.*)\n", answer.body.decode())
            self.assertIn("bour was ", before)
            self.assertIn("quiet ", after)
            self.assertNotIn("[DONE]", before)
            ids = {json.loads(event)["id"] for event in answer.events[:-1]}
            self.assertEqual(len(ids), 1, "one answer has one id")
            self.assertRegex(json.dumps(gw.trace(answer)["notes"]), "resum|rescue")

    def test_a_stream_that_broke_ends_without_done_and_without_the_last_chunk(self):
        for rescue, second in (("error", WORKS), ("resume", OTHER)):
            with Upstream(stream(*BEGUN, then="cut")) as a, Upstream(*second) as b, Gateway(project(a, b, workflow=f'rescue = "{rescue}"')) as gw:
                answer = gw.chat(stream=True)

                self.assertEqual((answer.status, answer.text, answer.clean), (200, PAR, False))
                self.assertNotIn("[DONE]", answer.events)
                error = json.loads(answer.events[-1])["error"]
                self.assertEqual((error["code"], bool(error["message"]), "type" in error), (gw.trace(answer)["class"], True, True))

    def test_what_is_held_is_bounded(self):
        """More than can be held is let go, and then a break is told."""
        flood = [chunk({"content": "x" * 60000})] * 200
        with Upstream(stream(ROLE, *flood, then="cut")) as a, Upstream(*WORKS) as b, Gateway(project(a, b, workflow='rescue = "hold"')) as gw:
            answer = gw.chat(stream=True)

            self.assertFalse(answer.clean)
            self.assertNotIn("[DONE]", answer.events)
            self.assertEqual((set(answer.text), b.count), ({"x"}, 0))


if __name__ == "__main__":
    main()
