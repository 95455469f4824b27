"""Failover under attack: providers that lie, clients in a hurry, policies that ask for too much.

    what                                                   who must not notice
    a client with a deadline of a millisecond              the breaker of the target
    a request in the background on a dead connection       the provider, which must not run it twice
    an answer too long to be held                          `accept` and `expect`, which see all or nothing
    a stream that said all and does not end in time        the client, who has all of it
    a guard that stops what a hedge had held back          everybody else: the gateway goes on
    two calls that together cost too much                  the budget of money
    a client that sends an idempotency key of its own      other clients, and the provider
    headers with nonsense in them                          everybody
"""

import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

from moongate import (Gateway, Upstream, chunk, close, completion, error_answer, good_events, hang, json_answer, main,
                      project, respond, stream, unittest)

BREAKER = "breaker = { consecutive = 3, min_calls = 100 }"


class Hurry(unittest.TestCase):
    def test_a_clients_tiny_deadline_says_nothing_about_the_provider(self):
        for streamed in (False, True):
            with self.subTest(streamed=streamed), Upstream(hang) as up, Gateway(project(up, provider=BREAKER)) as gw:
                for _ in range(8):
                    self.assertEqual(gw.chat(stream=streamed, headers={"x-moongate-deadline-ms": "20"}).status, 504)
                up.answer(stream(*good_events("here")) if streamed else json_answer("here"))
                self.assertEqual(gw.chat(stream=streamed).status, 200, gw.cli("targets"))

    def test_a_target_that_hangs_until_the_workflows_deadline_is_left_alone_all_the_same(self):
        rules = "breaker = { consecutive = 2, min_calls = 100, slow_min_ms = 1 }"
        with Upstream(hang) as a, Upstream(json_answer("here")) as b, \
                Gateway(project(a, b, provider=rules, workflow="deadline_ms = 300")) as gw:
            self.assertEqual([gw.chat().status for _ in range(5)], [504, 504, 504, 504, 200])


class Deadlines(unittest.TestCase):
    def test_answers_come_by_the_deadline_and_the_excess_is_told(self):
        excess = []
        with Upstream(hang, close, error_answer(500), stream(chunk({"content": "begun"}), then="stall"), hang) as up, \
                Gateway(project(up, up.url, up.url, workflow="hedge = 50")) as gw:
            for i in range(20):
                began = time.monotonic()
                gw.chat(stream=i % 2 == 0, headers={"x-moongate-deadline-ms": "150"})
                excess.append(1000 * (time.monotonic() - began) - 150)
        print(f"\n    at most {max(excess):.1f} ms after the deadline, half of them {statistics.median(excess):.1f} ms")
        self.assertLess(max(excess), 1000)


class Money(unittest.TestCase):
    def test_a_hedge_is_not_begun_that_would_cost_more_than_the_first_leaves(self):
        """Either of the two is within the budget, both together are not."""
        target = '{{ "p{0}/m", price_usd = {{ input = 0, output = 10 }} }}'
        def late(sock, request):
            time.sleep(0.4)
            json_answer("late")(sock, request)
        with Upstream(late) as a, Upstream(json_answer("hedged")) as b:
            providers = "".join(f'p{i} = {{ base_url = "{up.url}", api_key = "s" }},' for i, up in enumerate((a, b)))
            with Gateway(f"""return {{ providers = {{ {providers} }}, workflows = {{ chat = {{ hedge = 50, max_cost_usd = 0.015,
                    targets = {{ {target.format(0)}, {target.format(1)} }} }} }} }}""") as gw:
                answer = gw.chat(max_tokens=1000)
                self.assertEqual((answer.json["choices"][0]["message"]["content"], b.count), ("late", 0))


class Repeats(unittest.TestCase):
    def test_the_idempotency_key_is_ours_alone(self):
        keep = 'breaker = false, idempotency_header = "idempotency-key"'
        with Upstream() as up, Gateway(project(up, provider=keep)) as gw:
            answer = gw.chat(headers={"idempotency-key": "mine"})
            sent = [value for name, value in up.next_request().raw_headers if name.lower() == "idempotency-key"]
            self.assertEqual(sent, [answer.headers["x-request-id"]])

    def test_a_request_without_a_session_is_repeated_with_its_key_and_others_take_others(self):
        keys = "".join(f'{{ name = "k{i}", key = "s{i}" }},' for i in range(8))
        with Upstream() as up, Gateway(f"""return {{ providers = {{ p = {{ base_url = "{up.url}", api_keys = {{ {keys} }} }} }},
                workflows = {{ chat = "p/m" }} }}""") as gw:
            used = []
            for _ in range(8):
                up.answer(error_answer(500), json_answer("x"))
                self.assertEqual(gw.chat().status, 200)
                used.append([up.next_request().headers["authorization"] for _ in range(2)])
            self.assertEqual([len(set(keys)) for keys in used], [1] * 8)
            self.assertGreater(len({keys[0] for keys in used}), 1)


class Finished(unittest.TestCase):
    def test_a_stream_that_said_all_is_complete_though_the_deadline_comes_before_its_end(self):
        with Upstream(stream(*good_events("all"), then="stall")) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True, headers={"x-moongate-deadline-ms": "300"})
            self.assertEqual((answer.clean, answer.text, answer.events[-1]), (True, "all", "[DONE]"))
            self.assertEqual(gw.trace(answer)["attempts"][0]["class"], "none")


class Background(unittest.TestCase):
    def test_a_request_in_the_background_is_not_sent_again_on_another_connection(self):
        with Upstream(json_answer("one"), close, json_answer("two")) as up, Gateway(project(up), gateway="workers = 1") as gw:
            self.assertEqual(gw.chat().status, 200)
            answer = gw.chat(background=True)
            self.assertEqual(up.count, 2, "it was sent twice")
            self.assertEqual(answer.status, 502)


class Guarded(unittest.TestCase):
    def test_a_guard_may_stop_what_a_hedge_held_back_before_accept_sees_it(self):
        blank = {**chunk(), "choices": [{"index": i, "delta": {"content": " "}, "finish_reason": "length"} for i in range(2)]}
        flow = "hedge = 30, accept = function(res) return false, 'no' end"
        guard = '''on_chunk = function(c) return c:stop { code = "house_rule", message = "no" } end, stream = { hold = 8 }'''
        with Upstream(hang) as a, Upstream(stream(blank, "[DONE]")) as b, Gateway(project(a, b, workflow=flow, extra=guard)) as gw:
            self.assertEqual(gw.chat(stream=True, headers={"x-moongate-deadline-ms": "3000"}).status, 403)


class Long(unittest.TestCase):
    LONG = "x" * 1_500_000

    def test_an_answer_too_long_to_be_held_is_not_passed_unseen_by_accept(self):
        flow = "accept = function(res) return false, 'no' end"
        with Upstream(json_answer(self.LONG)) as a, Upstream(json_answer("short")) as b, Gateway(project(a, b, workflow=flow)) as gw:
            answer = gw.chat()
            self.assertNotEqual(answer.status, 200)

    def test_an_answer_too_long_to_be_held_is_not_passed_unseen_by_expect(self):
        flow = "expect = { json_schema = { type = 'object' } }"
        with Upstream(json_answer(self.LONG)) as a, Upstream(json_answer('{"a": 1}')) as b, \
                Gateway(project(a, b, workflow=flow)) as gw:
            self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], '{"a": 1}')


class Nonsense(unittest.TestCase):
    def test_headers_with_nonsense_hurt_nobody(self):
        values = ["1e99", "-1", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 40, "12h" * 200, "\u00e9"]
        names = ["retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
                 "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "x-should-retry"]
        for status in (429, 200):
            for value in values:
                bad = respond(status, completion("ok") if status == 200 else {"error": {"message": "no"}},
                              {name: value for name in names}, "X")
                with self.subTest(status=status, value=value[:40]), Upstream(bad) as a, Upstream(json_answer("fine")) as b, \
                        Gateway(project(a, b, provider="")) as gw:
                    for _ in range(2):
                        answer = gw.chat(headers={"x-moongate-deadline-ms": "3000"})
                        self.assertEqual(answer.status, 200, answer.body)
                    self.assertLessEqual(a.count, 2)


if __name__ == "__main__":
    main()
