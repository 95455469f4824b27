"""The answer when every target failed: the last good one to the same request, a function's, a text; each marked as what it is."""

import time
import unittest

from moongate import *

DOWN = error_answer(503, "server_is_overloaded")
TEXT = 'offline = { text = "We are having trouble." }, deadline_ms = 3000, max_attempts = 1'


class Text(unittest.TestCase):
    def test_a_client_that_knows_nothing_of_it_reads_a_good_answer_and_one_that_does_can_tell(self):
        with Upstream(DOWN) as up, Gateway(project(up, workflow=TEXT)) as gw:
            client = gw.client()
            raw = client.chat.completions.with_raw_response.create(model="chat", messages=[{"role": "user", "content": "hi"}])
            answer = raw.parse()
            self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), ("We are having trouble.", "stop"))
            self.assertEqual(raw.headers["x-moongate-offline"], "text")
            self.assertEqual(answer.model_extra["moongate"], {"offline": "text"})

            chunks = list(client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}], stream=True))
            self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), "We are having trouble.")
            self.assertEqual(chunks[0].model_extra["moongate"], {"offline": "text"})
            self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")

            legacy = client.completions.create(model="chat", prompt="hi")
            self.assertEqual((legacy.choices[0].text, legacy.model_extra["moongate"]), ("We are having trouble.", {"offline": "text"}))

    def test_the_timeline_says_what_was_answered_and_why(self):
        with Upstream(DOWN) as up, Gateway(project(up, workflow=TEXT)) as gw:
            answer = gw.chat()

            trace = gw.trace(answer)
            self.assertEqual((answer.status, trace["status"], trace["attempts"][0]["class"]), (200, 200, "overloaded"))
            self.assertIn("answered by the workflow's text", json.dumps(trace))

    def test_whose_request_is_at_fault_learns_what_is_wrong(self):
        with Upstream(error_answer(400, "invalid_value")) as up, Gateway(project(up, workflow=TEXT)) as gw:
            answer = gw.chat()

            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "invalid_value"))
            self.assertNotIn("x-moongate-offline", answer.headers)

    def test_a_text_is_no_vector(self):
        with Upstream(DOWN) as up, Gateway(project(up, workflow=TEXT)) as gw:
            answer = gw.request("POST", "/v1/embeddings", {"model": "chat", "input": "hi"})

            self.assertEqual(answer.status, 503)

    def test_a_stream_that_broke_after_its_beginning_is_not_answered_twice(self):
        with Upstream(stream(*good_events("par")[:2], then="cut")) as up, Gateway(project(up, workflow=TEXT)) as gw:
            answer = gw.chat(stream=True)

            self.assertEqual((answer.text, answer.clean), ("par", False))


class Function(unittest.TestCase):
    def test_a_function_sees_the_failure_and_the_text_is_its_stand_in(self):
        answer = """offline = {
          answer = function(req, failure)
            if failure.class == "overloaded" then return "Busy: " .. failure.code .. ", " .. failure.attempts end
          end,
          text = "Down." }, deadline_ms = 3000, max_attempts = 1"""
        with Upstream(DOWN, DOWN, error_answer(500)) as up, Gateway(project(up, workflow=answer)) as gw:
            for streamed in (False, True):
                busy = gw.chat(stream=streamed)
                self.assertIn("Busy: overloaded, 1", busy.body.decode())
                self.assertEqual(busy.headers["x-moongate-offline"], "function")
            down = gw.chat()
            self.assertEqual((down.json["choices"][0]["message"]["content"], down.headers["x-moongate-offline"]), ("Down.", "text"))


class LastGood(unittest.TestCase):
    KEEPS = "offline = { last_good_ms = 60000 }, deadline_ms = 3000, max_attempts = 1"

    def test_the_same_request_gets_its_last_good_answer_and_others_the_error(self):
        with Upstream(json_answer("fine"), json_answer("better"), DOWN) as up, Gateway(project(up, workflow=self.KEEPS)) as gw:
            self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "fine")
            good = gw.chat()
            self.assertNotIn("x-moongate-offline", good.headers)
            kept = gw.chat()

            self.assertEqual((kept.status, kept.headers["x-moongate-offline"]), (200, "last_good"))
            mark = kept.json.pop("moongate")
            self.assertEqual(mark["offline"], "last_good")
            self.assertLess(mark["age_ms"], 60000)
            self.assertEqual({k: v for k, v in kept.json.items() if k != "moongate"}, good.json)
            self.assertEqual(kept.headers["content-type"], "application/json")
            self.assertIn("the last good answer", json.dumps(gw.trace(kept)))
            self.assertEqual(gw.chat(temperature=0.5).status, 503)
            self.assertEqual(gw.chat(stream=True).status, 503)

    def test_a_stream_is_kept_as_the_client_had_it(self):
        with Upstream(stream(*good_events("fi", "ne")), DOWN) as up, Gateway(project(up, workflow=self.KEEPS)) as gw:
            good, kept = gw.chat(stream=True), gw.chat(stream=True)

            self.assertEqual((kept.status, kept.text, kept.clean), (200, "fine", True))
            self.assertEqual(kept.events[1:], good.events[1:])
            self.assertEqual(json.loads(kept.events[0])["moongate"]["offline"], "last_good")
            self.assertEqual(kept.headers["content-type"], "text/event-stream")

    def test_broken_streams_and_errors_are_not_kept(self):
        bad = stream(*good_events("par")[:2], then="cut")
        with Upstream(bad, DOWN) as up, Gateway(project(up, workflow=self.KEEPS)) as gw:
            self.assertFalse(gw.chat(stream=True).clean)
            self.assertEqual(gw.chat(stream=True).status, 503)

    def test_no_project_reads_what_another_was_answered(self):
        with Upstream(json_answer("mine"), DOWN) as up:
            lua = project(up, workflow=self.KEEPS)
            with Gateway({"main": lua, "other": lua}) as gw:
                body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
                client = {name: gw.client(name, max_retries=0) for name in ("main", "other")}
                self.assertEqual(client["main"].chat.completions.create(**body).choices[0].message.content, "mine")
                with self.assertRaises(Exception):
                    client["other"].chat.completions.create(**body)
                self.assertEqual(client["main"].chat.completions.create(**body).choices[0].message.content, "mine")

    def test_an_old_answer_is_no_good_one(self):
        flow = "offline = { last_good_ms = 300 }, deadline_ms = 3000, max_attempts = 1"
        with Upstream(json_answer("fine"), DOWN) as up, Gateway(project(up, workflow=flow)) as gw:
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(gw.chat().headers["x-moongate-offline"], "last_good")
            time.sleep(0.4)
            self.assertEqual(gw.chat().status, 503)

    def test_large_answers_are_passed_on_and_not_kept(self):
        words = ["x" * 9000] * 40
        for script, streamed in ((json_answer("".join(words)), False), (stream(*good_events(*words)), True)):
            with self.subTest(streamed=streamed), Upstream(script, DOWN) as up, Gateway(project(up, workflow=self.KEEPS)) as gw:
                self.assertEqual(gw.chat(stream=streamed).status, 200)
                self.assertEqual(gw.chat(stream=streamed).status, 503)


if __name__ == "__main__":
    main()
