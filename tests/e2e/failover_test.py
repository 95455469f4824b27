"""What happens when a provider fails: every way the wire reference names, seen from the client and in the timeline."""

import contextlib
import json
import threading
import time
import unittest

from moongate import *

OK = stream(*good_events("fine"))
HTML = respond(502, b"<html><body>Bad gateway</body></html>", {"content-type": "text/html"}, "Bad Gateway")


def never():
    return threading.Event()


# name, script of the first provider, class in the timeline
BEFORE_CONTENT = [
    ("overloaded", error_answer(503, "server_is_overloaded"), "overloaded"),
    ("server error", error_answer(500), "server_error"),
    ("rate limited", error_answer(429, "rate_limit_exceeded", "requests", headers={"retry-after": "30"}), "rate_limited"),
    ("quota", error_answer(429, "insufficient_quota", "insufficient_quota"), "quota_billing"),
    ("bad upstream key", error_answer(401, "invalid_api_key"), "auth"),
    ("no such model", error_answer(404, "model_not_found"), "model_not_found"),
    ("html", HTML, "server_error"),
    ("closed before an answer", close, "network"),
    ("reset before an answer", reset, "network"),
    ("html with 200", respond(200, b"<html></html>", {"content-type": "text/html"}), "server_error"),
    ("error with 200", respond(200, {"error": {"message": "x", "type": "server_error", "code": None, "param": None}}), "server_error"),
    ("error as first event", stream({"error": {"message": "busy", "type": "overloaded_error", "code": "server_is_overloaded"}}, "[DONE]"), "overloaded"),
    ("named error event", stream(b'event: error\ndata: {"message":"x","code":"server_error"}\n\n'), "server_error"),
    ("only a role chunk", stream(good_events()[0], then="cut"), "truncated_stream"),
    ("empty answer", stream(good_events()[0], chunk({}, "stop"), "[DONE]"), "empty_response"),
    ("done without finish", stream(good_events()[0], "[DONE]"), "truncated_stream"),
    ("nothing but comments", stream(*[b": keep-alive\n\n"] * 3), "truncated_stream"),
    ("slow first token", stream(good_events()[0], then="stall"), "timeout_ttft"),
]


class BeforeContent(unittest.TestCase):
    def test_the_next_target_answers_and_the_timeline_says_why(self):
        rows = [(name, expected, Upstream(script)) for name, script, expected in BEFORE_CONTENT]  # each its own provider
        with contextlib.ExitStack() as stack:
            good = stack.enter_context(Upstream(OK))
            bad = [stack.enter_context(up) for _, _, up in rows]
            flows = "".join(f'w{i} = {{ targets = {{ "p{i}/model-{i}", "p{len(bad)}/model" }} }},' for i in range(len(bad)))
            text = project(*bad, good, extra="timeouts_ms = { first_token = 300 }")
            gw = stack.enter_context(Gateway(text.replace("workflows = {", "workflows = { " + flows, 1)))
            for i, (name, expected, _) in enumerate(rows):
                with self.subTest(name):
                    answer = gw.chat(f"w{i}", stream=True)

                    self.assertEqual((answer.status, answer.text, answer.clean), (200, "fine", True))
                    self.assertEqual(answer.events[-1], "[DONE]")
                    attempts = gw.trace(answer)["attempts"]
                    self.assertEqual(attempts[0]["class"], expected)
                    if attempts[0]["status"] >= 400:
                        self.assertEqual(attempts[0]["usage"]["input_tokens"], 0, "an error status is not billed")
                    self.assertEqual(attempts[-1]["class"], "none")
                    self.assertEqual(attempts[-1]["target"], f"p{len(bad)}/model")

    def test_an_answer_that_is_not_streamed_is_held_and_failed_over(self):
        rows = [
            ("empty", json_answer(""), "empty_response"),
            ("not json", respond(200, b'{"choices": [', {}), "invalid_json"),
            ("short body", respond(200, b'{"choices"', {"content-length": "500"}), None),
            ("error inside 200", respond(200, {"error": {"message": "x", "type": "t", "code": "overloaded"}}), None),
        ]
        with Upstream() as bad, Upstream(json_answer("fine")) as good, Gateway(project(bad, good)) as gw:
            for name, script, expected in rows:
                with self.subTest(name):
                    def cut_short(sock, request, script=script, name=name):
                        script(sock, request)
                        if name == "short body":
                            raise Closed
                    bad.answer(cut_short)
                    answer = gw.chat()

                    self.assertEqual(answer.status, 200)
                    self.assertEqual(answer.json["choices"][0]["message"]["content"], "fine")
                    if expected:
                        self.assertEqual(gw.trace(answer)["attempts"][0]["class"], expected)

    def test_nothing_listens_at_the_first_target(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with Upstream(OK) as good, Gateway(project(f"http://127.0.0.1:{port}/v1", good)) as gw:
            answer = gw.chat(stream=True)

            self.assertEqual(answer.text, "fine")
            self.assertEqual(gw.trace(answer)["attempts"][0]["class"], "network")

    def test_every_attempt_is_built_from_the_same_request(self):
        with Upstream(error_answer(500)) as bad, Upstream(json_answer("fine")) as good, Gateway(project(bad, good)) as gw:
            answer = gw.chat(seed=9007199254740993, temperature=0.10)

            sent = [bad.next_request().body, good.next_request().body]
            self.assertEqual(sent[0].replace(b"model-0", b"model-1"), sent[1])
            self.assertIn(b'"seed": 9007199254740993', sent[0])
            self.assertRegex(gw.trace(answer)["body_hash"], "^[0-9a-f]+$")


class Penalties(unittest.TestCase):
    def test_why_a_taxonomy_leaves_a_target_alone_stands_in_the_timeline(self):
        rule = """classify = function(att)
          return { action = "fallback", penalise = { scope = "target", for_ms = 60000, reason = "house rule 7" } }
        end"""
        with Upstream(error_answer(500)) as bad, Upstream(json_answer("fine")) as good, \
                Gateway(project(bad, good, workflow=rule, provider="")) as gw:
            notes = json.dumps(gw.trace(gw.chat())["notes"])
            self.assertIn("p0/model-0 is left alone for 60000 ms: house rule 7", notes)

            gw.chat()
            self.assertEqual((bad.count, good.count), (1, 2))


class Labels(unittest.TestCase):
    def test_a_stream_that_its_server_calls_text_is_labelled_as_what_it_is(self):
        body = "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in good_events("fine")).encode()
        with Upstream(respond(200, body, {"content-type": "text/plain"})) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True)

            self.assertEqual((answer.text, answer.headers["content-type"]), ("fine", "text/event-stream"))


class AfterContent(unittest.TestCase):
    def test_a_broken_stream_never_looks_complete(self):
        begin = good_events("par")[:2]
        rows = [
            ("cut", stream(*begin, then="cut"), "truncated_stream"),
            ("reset", stream(*begin, then="reset"), "truncated_stream"),
            ("clean end without finish", stream(*begin), "truncated_stream"),
            ("done without finish", stream(*begin, "[DONE]"), "truncated_stream"),
            ("error event", stream(*begin, {"error": {"message": "boom", "type": "server_error", "code": None}}, "[DONE]"), "server_error"),
            ("stall", stream(*begin, then="stall"), "timeout_idle"),
        ]
        with Upstream() as bad, Upstream(OK) as unused, \
                Gateway(project(bad, unused, workflow="timeouts_ms = { idle = 300 }")) as gw:
            for name, script, expected in rows:
                with self.subTest(name):
                    bad.answer(script)
                    answer = gw.chat(stream=True)

                    self.assertEqual(answer.status, 200)
                    self.assertEqual(answer.text, "par")
                    self.assertFalse(answer.clean)
                    self.assertNotIn("[DONE]", answer.events)
                    self.assertEqual(json.loads(answer.events[-1])["error"]["code"], expected)
                    self.assertEqual(unused.count, 0)
                    trace = gw.trace(answer)
                    self.assertEqual(trace["attempts"][-1]["class"], expected)
                    self.assertEqual(trace["class"], expected)  # what `moongate logs --class` looks for
                    self.assertFalse(trace["clean"])

    def test_one_malformed_event_is_skipped_and_noted(self):
        events = good_events("a", "b")
        with Upstream(stream(*events[:2], b"data: {oops\n\n", *events[2:])) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True)

            self.assertEqual((answer.text, answer.clean), ("ab", True))
            self.assertIn("malformed", json.dumps(gw.trace(answer)))

    def test_a_stream_without_done_is_complete(self):
        with Upstream(stream(*good_events("a")[:-1])) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True)

            self.assertEqual((answer.text, answer.clean), ("a", True))

    def test_any_cut_of_the_stream_gives_the_same_answer(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            for size in (1, 2, 3, 7, 50):
                up.answer(stream(*good_events("Grüße ", "🌙", "!"), pieces=size))
                answer = gw.chat(stream=True)
                self.assertEqual((answer.text, answer.clean), ("Grüße 🌙!", True))


class Limits(unittest.TestCase):
    def test_the_deadline_covers_the_whole_chain(self):
        with Upstream(hang) as a, Upstream(hang) as b, Gateway(project(a, b, workflow="deadline_ms = 20000")) as gw:
            began = time.monotonic()
            answer = gw.chat(headers={"x-moongate-deadline-ms": "400"})

            self.assertEqual(answer.status, 504)
            self.assertLess(time.monotonic() - began, 10)

    def test_one_requests_deadline_is_not_anothers(self):
        def slow(sock, request):
            time.sleep(0.5)
            json_answer("slow")(sock, request)

        with Upstream(json_answer("quick")) as up, Gateway(project(up)) as gw:
            self.assertEqual(gw.chat(headers={"x-moongate-deadline-ms": "300"}).status, 200)
            up.answer(slow)
            self.assertEqual(gw.chat().status, 200)

    def test_the_attempt_budget_ends_it(self):
        ups = [Upstream(error_answer(500)) for _ in range(3)]
        with ups[0], ups[1], ups[2], Gateway(project(*ups, workflow="max_attempts = 2")) as gw:
            answer = gw.chat()

            self.assertEqual(answer.status, 502)
            self.assertEqual(sum(up.count for up in ups), 2)

    def test_a_clients_own_mistake_is_told_in_the_providers_words_and_not_repeated(self):
        with Upstream(error_answer(400, "invalid_value", message="temperature too hot")) as a, Upstream() as b, \
                Gateway(project(a, b)) as gw:
            answer = gw.chat()

            self.assertEqual((answer.status, answer.json["error"]["message"]), (400, "temperature too hot"))
            self.assertEqual(b.count, 0)

    def test_a_dead_pooled_connection_is_no_attempt(self):
        def once_then_close(sock, request):
            json_answer("one")(sock, request)
            raise Closed

        with Upstream(once_then_close, json_answer("two")) as up, Gateway(project(up, workflow="max_attempts = 1"), 'workers = 1,') as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "two")


class Large(unittest.TestCase):
    def test_an_answer_larger_than_what_is_held_passes_and_its_usage_is_found(self):
        answer = {"object": "list", "model": "e", "usage": {"prompt_tokens": 777, "total_tokens": 777},
                  "data": [{"object": "embedding", "index": i, "embedding": [0.123456789] * 1536} for i in range(100)]}
        answer["usage"] = answer.pop("usage")  # it stands last, as providers send it
        with Upstream(respond(200, answer)) as up, Gateway(project(up)) as gw:
            result = gw.request("POST", "/v1/embeddings", {"model": "chat", "input": "x"})

            self.assertEqual(result.json, answer)
            self.assertGreater(len(result.body), 1 << 20)
            usage = gw.trace(result)["attempts"][0]["usage"]
            self.assertEqual((usage["input_tokens"], usage["reported"]), (777, True))


if __name__ == "__main__":
    main()
