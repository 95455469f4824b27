"""What a project can set, by example: hedges, keys, deadlines, budgets, windows, filters, offline answers, what an answer must be.

All scenarios live in one gateway, each as a workflow with providers of its own.
"""

from wall import *

FINE = [json_answer("fine")]
FINE_STREAM = [stream(*good_events("fi", "ne"))]
FAIL = [error_answer(500, type="server_error")]


def later(seconds, script):
    def slow(sock, request):
        time.sleep(seconds)
        script(sock, request)
    return slow


def later_stream(seconds, *words):
    """The role at once, content after a pause; a reader that leaves is noticed while it waits."""
    def script(sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        events = good_events(*words)
        send(sock, events[0])
        sock.settimeout(seconds)
        try:
            if not sock.recv(1):
                raise Closed
        except TimeoutError:
            pass
        sock.settimeout(None)
        for event in events[1:]:
            send(sock, event)
        sock.sendall(b"0\r\n\r\n")
    return script


def later_whole(seconds, script):
    """A whole answer after a pause; a reader that leaves is noticed while it waits."""
    def slow(sock, request):
        sock.settimeout(seconds)
        try:
            if not sock.recv(1):
                raise Closed
        except TimeoutError:
            pass
        sock.settimeout(None)
        script(sock, request)
    return slow


def send(sock, event):
    data = b"data: %s\n\n" % (event if isinstance(event, str) else json.dumps(event)).encode()
    sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))


def by_key(scripts, otherwise=FINE[0]):
    """What a provider says depends on who asks."""
    def script(sock, request):
        scripts.get(request.headers.get("authorization", "").removeprefix("Bearer "), otherwise)(sock, request)
    return script


def if_body(test, yes, no):
    def script(sock, request):
        (yes if test(request.json) else no)(sock, request)
    return script


def keys(*names):
    return "api_keys = { " + "".join(f'"{name}", ' for name in names) + "},"


def unsupported(name, instead=None):
    words = f"Unsupported parameter: '{name}' is not supported with this model." + (f" Use '{instead}' instead." if instead else "")
    return respond(400, {"error": {"message": words, "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}})


LIMITED = error_answer(429, "rate_limit_exceeded", "requests", headers={"retry-after": "30"})
QUOTA = error_answer(429, "insufficient_quota", "insufficient_quota")
DEAD = error_answer(401, "invalid_api_key")
FORBIDDEN = error_answer(403, "model_not_allowed")
LAST_ONE = respond(200, completion("fine"), {"x-ratelimit-limit-requests": "100", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "60s"})
TOO_LONG = error_answer(400, "context_length_exceeded", message="This model's maximum context length is 8000 tokens.")
FILTERED = error_answer(400, "content_policy_violation", message="Your request was rejected by our safety system.")
REFUSED = json_answer(None, refusal="I will not.")
REFUSED_STREAM = stream(good_events()[0], chunk({"refusal": "I will "}), chunk({"refusal": "not."}), chunk({}, "stop"), "[DONE]")
HEDGE = "hedge = { after_ms = 150 },"


def scenario(name, a, b=None, c=None, workflow="", stream=False, **more):
    sides = {side: scripts for side, scripts in zip("abc", (a, b, c)) if scripts}
    return Scenario(name, sides, stream, workflow if "deadline_ms" in workflow else "deadline_ms = 8000," + workflow, **more)


SCENARIOS = [
    # hedges
    scenario("hedge slow stream", [later_stream(3, "slow")], FINE_STREAM, workflow=HEDGE, stream=True),
    scenario("hedge slow whole", [later_whole(3, json_answer("slow"))], FINE, workflow=HEDGE),
    scenario("hedge loses", [later_stream(0.4, "first")], [later_stream(3, "second")], workflow=HEDGE, stream=True),
    scenario("hedge not needed", FINE_STREAM, [later_stream(0, "second")], workflow="hedge = 1500,", stream=True),
    scenario("hedge fails too", [later_stream(0.5, "first")], FAIL, workflow=HEDGE, stream=True),
    scenario("hedge wins over a failure", [later_whole(0.4, FAIL[0])], [later_stream(0.6, "second")], workflow=HEDGE, stream=True),
    scenario("hedge once", [later_stream(1, "first")], [later_stream(1.2, "second")], FINE_STREAM, workflow=HEDGE, stream=True),
    scenario("hedge twice", [later_stream(2, "first")], [later_stream(2, "second")], FINE_STREAM, workflow="hedge = { after_ms = 150, max = 2 },", stream=True),
    scenario("hedge without budget", [later_stream(0.5, "first")], [later_stream(0.2, "second")],
             workflow=HEDGE + "retry_budget = { share = 0, burst = 1 },", stream=True),
    scenario("hedge by attempts", [later_stream(0.5, "first")], FINE_STREAM, workflow=HEDGE + "max_attempts = 1,", stream=True),
    scenario("hedge p95", FINE_STREAM, [stream(*good_events("second"))], workflow='hedge = "p95",', stream=True),
    # timers that learn
    scenario("learns first tokens", FINE_STREAM, [stream(*good_events("second"))], stream=True,
             workflow="adaptive_first_token = { factor = 2, min_ms = 300 }, timeouts_ms = { first_token = 6000 },"),
    scenario("learns whole answers", FINE, [json_answer("second")], workflow="slow_factor = 3,"),
    # what is repeated
    scenario("idempotent", FAIL, FINE, providers={side: f'api_key = "sk-{side}", idempotency_header = "idempotency-key",' for side in "ab"}),
    scenario("stored", [close], FINE, body={"store": True}),
    scenario("in the background", [close], FINE, body={"extra_body": {"background": True}}),
    scenario("in the background, refused", [error_answer(503, "server_is_overloaded")], FINE, body={"extra_body": {"background": True}}),
    # keys
    scenario("dead key", [by_key({"sk-dead": DEAD})], FAIL, providers={"a": keys("sk-dead", "sk-good")}),
    scenario("poor key", [by_key({"sk-poor": QUOTA})], FAIL, providers={"a": keys("sk-poor", "sk-good")}),
    scenario("limited key", [by_key({"sk-busy": LIMITED})], FAIL, providers={"a": keys("sk-busy", "sk-good")}),
    scenario("last request of a key", [by_key({"sk-last": LAST_ONE})], FAIL, providers={"a": keys("sk-last", "sk-good")}),
    scenario("forbidden key", [by_key({"sk-small": FORBIDDEN})], FAIL, providers={"a": keys("sk-small", "sk-good")}),
    scenario("no key left", [by_key({"sk-dead": DEAD, "sk-poor": QUOTA})], FINE, providers={"a": keys("sk-dead", "sk-poor")}),
    scenario("dead keys alone", [by_key({"sk-dead": DEAD, "sk-poor": QUOTA})], providers={"a": keys("sk-dead", "sk-poor")}),
    scenario("many keys", [by_key({f"sk-{i}": DEAD for i in range(5)})], FAIL, providers={"a": keys(*[f"sk-{i}" for i in range(6)])}, workflow="max_attempts = 8,"),
    # waiting that is of no use
    scenario("told to wait too long", [LIMITED, json_answer("late")], workflow="deadline_ms = 3000,"),
    scenario("told to wait, next works", [LIMITED], FINE, workflow="deadline_ms = 3000,"),
    scenario("told to wait a little", [error_answer(503, "server_is_overloaded", "service_unavailable_error", headers={"retry-after": "2"}), json_answer("fine")]),
    scenario("told not to come back", [error_answer(500, headers={"x-should-retry": "false"}), json_answer("again")]),
    # deadlines and budgets
    scenario("deadline silent", [hang], [hang], [hang]),
    scenario("deadline failing", [later(0.25, FAIL[0])], [later(0.25, FAIL[0])], [later(0.25, FAIL[0])], workflow="max_attempts = 16,"),
    scenario("deadline streaming", [stream(*good_events("a")[:2], then="stall")], stream=True),
    scenario("deadline trickle", [stream(good_events()[0], *[b": on\n\n"] * 3, then="stall")], [hang], stream=True),
    scenario("deadline of the workflow", [hang], workflow="deadline_ms = 500,"),
    scenario("deadline too late for another", [later(0.6, FAIL[0])], [later(5, json_answer("late"))]),
    scenario("attempts", FAIL, FAIL, FAIL, workflow="max_attempts = 2,"),
    scenario("attempts alone", FAIL, workflow="max_attempts = 2,"),
    scenario("one attempt", FAIL, FINE, workflow="max_attempts = 1,"),
    # windows
    scenario("larger window", [TOO_LONG], FAIL, FINE, targets={"a": "context_window = 8000,", "b": "context_window = 4000,", "c": "context_window = 200000,"}),
    scenario("no larger window", [TOO_LONG], FINE, targets={"a": "context_window = 8000,", "b": "context_window = 8000,"}),
    scenario("larger window fails", [TOO_LONG], FAIL, FINE, targets={"a": "context_window = 8000,", "b": "context_window = 9000,", "c": "context_window = 4000,"}),
    # filters
    scenario("filter", [FILTERED], FINE),
    scenario("filter around", [FILTERED], FINE, workflow='route_around = "content_filter",'),
    scenario("filter around all", [FILTERED], [FILTERED], workflow='route_around = "content_filter",'),
    scenario("filtered answer", [json_answer("fi", finish="content_filter")], FINE),
    scenario("filtered answer around", [json_answer("fi", finish="content_filter")], FINE, workflow='route_around = { "content_filter" },'),
    scenario("refusal", [REFUSED], FINE),
    scenario("refusal around", [REFUSED], FINE, workflow='route_around = "refusal",'),
    scenario("refusal around streamed", [REFUSED_STREAM], FINE_STREAM, workflow='route_around = "refusal",', stream=True),
    scenario("refusal around all", [REFUSED], [REFUSED], workflow='route_around = "refusal",'),
    # offline
    scenario("offline text", FAIL, FAIL, workflow='max_attempts = 2, offline = "We are closed.",'),
    scenario("offline text streamed", FAIL, FAIL, workflow='max_attempts = 2, offline = "We are closed.",', stream=True),
    scenario("offline not for mistakes", [error_answer(400, "invalid_value")], workflow='max_attempts = 2, offline = "We are closed.",'),
    scenario("offline function", FAIL, workflow='max_attempts = 2, offline = { answer = function(req, failure) return "Sorry: " .. failure.class end },'),
    scenario("offline function that has none", FAIL, workflow='max_attempts = 2, offline = { answer = function(req, failure) return nil end, text = "We are closed." },'),
    scenario("offline function that breaks", FAIL, workflow='max_attempts = 2, offline = { answer = function(req, failure) error("oops") end, text = "We are closed." },'),
    scenario("last good", [json_answer("fresh"), FAIL[0]], workflow='max_attempts = 2, offline = { last_good_ms = 60000 },'),
    # what an answer must be
    scenario("accept", [json_answer("no")], [json_answer("yes")],
             workflow='accept = function(res) if res:text() ~= "yes" then return false, "not yes" end return true end,'),
    scenario("accept streamed", [stream(*good_events("n", "o"))], [stream(*good_events("y", "es"))],
             workflow='accept = function(res) return res:text() == "yes" end,', stream=True),
    scenario("accept nothing", [json_answer("no")], [json_answer("no")], workflow="accept = function(res) return false end,"),
    scenario("accept that breaks", [json_answer("no")], FINE, workflow='accept = function(res) error("oops") end,'),
    scenario("schema", [json_answer('{"age":3}')], [json_answer('{"name":"Ada"}')],
             workflow='expect = { json_schema = { type = "object", required = { "name" }, properties = { name = { type = "string" } } } },'),
    scenario("schema of no JSON", [json_answer("Ada")], [json_answer('{"name":"Ada"}')], workflow='expect = { json_schema = { type = "object", required = { "name" } } },'),
    scenario("schema streamed", [stream(*good_events('{"age"', ":3}"))], [stream(*good_events('{"name"', ':"Ada"}'))],
             workflow='expect = { json_schema = { type = "object", required = { "name" } } },', stream=True),
    scenario("schema of the request", [json_answer('{"age":3}')], [json_answer('{"name":"Ada"}')], workflow='expect = { json_schema = "request" },',
             body={"response_format": {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": {
                 "type": "object", "required": ["name"], "additionalProperties": False, "properties": {"name": {"type": "string"}}}}}}),
    # repairs
    scenario("repair max_tokens", [if_body(lambda body: "max_tokens" in body, unsupported("max_tokens", "max_completion_tokens"), json_answer("fine"))], FAIL,
             body={"max_tokens": 7}),
    scenario("repair max_completion_tokens", [if_body(lambda body: "max_completion_tokens" in body, unsupported("max_completion_tokens", "max_tokens"), json_answer("fine"))],
             FAIL, body={"max_completion_tokens": 7}),
    scenario("repair temperature", [if_body(lambda body: "temperature" in body, error_answer(
        400, "unsupported_value", message="Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported."),
        json_answer("fine"))], FAIL, body={"temperature": 0.2}),
    scenario("repair stream_options", [if_body(lambda body: "stream_options" in body, unsupported("stream_options"), FINE_STREAM[0])], [later_stream(0, "no")], stream=True),
    scenario("repair in vain", [unsupported("max_tokens", "max_completion_tokens")], FINE, body={"max_tokens": 7}),
    # money
    scenario("too dear", FAIL, FINE, workflow="max_cost_usd = 0.0002,", body={"max_tokens": 100},
             targets={"a": "price_usd = { input = 1, output = 1 },", "b": "price_usd = { input = 1000, output = 1000 },"}),
    scenario("not too dear", FAIL, FINE, workflow="max_cost_usd = 1,", body={"max_tokens": 100},
             targets={"a": "price_usd = { input = 1, output = 1 },", "b": "price_usd = { input = 2, output = 2 },"}),
    # the client
    scenario("client leaves", [hang], FINE),
    scenario("client leaves a stream", [stream(*good_events("a")[:2], then="stall")], FINE_STREAM, workflow='rescue = "resume",', stream=True),
    scenario("zz good", FINE),
]
NAMED = {scenario.name: scenario for scenario in SCENARIOS}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.wall = shared()

    def play(self, name, **more):
        return self.wall.play(NAMED[name], **more)

    def answered(self, outcome, text, order):
        self.assertIsNone(outcome.error, told(outcome))
        self.assertEqual((outcome.text, outcome.order.replace("a", "", outcome.redialed if order[:1] == "a" else 0) or order),
                         (text, order), told(outcome))
        self.assertEqual((outcome.attempts[-1]["class"] if outcome.attempts[-1]["reason"] != "hedge" else "none", outcome.trace["class"]),
                         ("none", "none"), told(outcome))

    def failed(self, outcome, status, code, order=None):
        self.assertIsNotNone(outcome.error, told(outcome))
        self.assertEqual((outcome.status, outcome.code), (status, code), told(outcome))
        if order is not None:
            self.assertEqual(outcome.order, order, told(outcome))


_wall = None


def shared():
    global _wall
    if not _wall:
        _wall = Wall(SCENARIOS).__enter__()
    return _wall


def tearDownModule():
    if _wall:
        _wall.__exit__(None, None, None)


def by_target(outcome):
    return {attempt["target"].split("-")[1][0]: attempt for attempt in outcome.attempts}


class Hedges(Base):
    def lost(self, outcome, side, within_s=1.0):
        """The loser's connection was closed promptly, and it is in the books as what it was."""
        deadline = time.monotonic() + PATIENCE_S
        call = outcome.of(side)[0]
        while not call.left and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertTrue(call.left, told(outcome))
        self.assertLess(call.left - min(c.at for c in outcome.calls), 0.15 + within_s, told(outcome))
        self.assertEqual(by_target(outcome)[side]["class"], "cancelled", told(outcome))

    def test_the_second_target_answers_when_the_first_is_slow(self):
        for name in ("hedge slow stream", "hedge slow whole"):
            with self.subTest(name):
                outcome = self.play(name)
                self.answered(outcome, "fine", "ab")
                self.assertGreaterEqual(outcome.of("b")[0].at - outcome.of("a")[0].at, 0.12)
                self.assertLess(outcome.took_s, 2)
                self.assertEqual({side: a["reason"] for side, a in by_target(outcome).items()}, {"a": "first", "b": "hedge"})
                self.assertEqual(by_target(outcome)["b"]["action"], "accept")
                self.lost(outcome, "a")
                self.assertIn("usage", by_target(outcome)["a"])

    def test_a_hedge_that_is_slower_is_stopped(self):
        outcome = self.play("hedge loses")
        self.answered(outcome, "first", "ab")
        self.lost(outcome, "b")

    def test_nothing_is_hedged_that_is_quick(self):
        self.answered(self.play("hedge not needed"), "fine", "a")

    def test_a_hedge_that_fails_leaves_the_first_alone(self):
        outcome = self.play("hedge fails too")
        self.assertEqual((outcome.text, outcome.error, outcome.trace["class"]), ("first", None, "none"), told(outcome))
        self.assertRegex(outcome.order, "^ab+$")

    def test_a_first_that_fails_leaves_the_hedge_alone(self):
        outcome = self.play("hedge wins over a failure")
        self.assertEqual((outcome.text, outcome.error, outcome.trace["class"]), ("second", None, "none"), told(outcome))
        self.assertEqual(len(outcome.of("b")), 1, told(outcome))

    def test_no_more_hedges_than_the_workflow_allows(self):
        outcome = self.play("hedge once")
        self.answered(outcome, "first", "ab")
        outcome = self.play("hedge twice")
        self.answered(outcome, "fine", "abc")
        self.assertEqual([a["reason"] for a in sorted(outcome.attempts, key=lambda a: a["number"])], ["first", "hedge", "hedge"])
        self.lost(outcome, "a")
        self.lost(outcome, "b")

    def test_hedges_are_paid_from_the_retry_budget(self):
        outcome = self.play("hedge without budget")
        self.assertEqual(outcome.order, "ab", told(outcome))
        outcome = self.play("hedge without budget")
        self.answered(outcome, "first", "a")

    def test_a_hedge_is_an_attempt_of_the_budget(self):
        self.answered(self.play("hedge by attempts"), "first", "a")


    def test_a_hedge_waits_as_long_as_most_calls_take(self):
        scenario = NAMED["hedge p95"]
        for _ in range(30):
            self.assertIn(self.wall.ask(scenario).text, ("fine", "second"))  # one call in twenty is hedged
        self.wall.sides.take(f"s{scenario.at}")
        self.wall.sides.scripted[f"s{scenario.at}-a"] = [later_stream(3, "slow")]
        outcome = self.play("hedge p95")
        self.assertEqual((outcome.text, outcome.order), ("second", "ab"), told(outcome))
        self.assertLess(outcome.took_s, 1.5)


class Learning(Base):
    """After some calls the gateway knows how fast a target is, and no longer waits for the fixed timer."""

    def learns(self, name, slow, class_):
        scenario = NAMED[name]
        for _ in range(30):
            self.assertEqual(self.wall.ask(scenario).text, "fine")
        self.wall.sides.take(f"s{scenario.at}")
        self.wall.sides.scripted[f"s{scenario.at}-a"] = [slow]
        outcome = self.play(name)
        self.answered(outcome, "second", "ab")
        self.assertEqual(outcome.attempts[0]["class"], class_, told(outcome))
        self.assertLess(outcome.took_s, 3, told(outcome))

    def test_the_first_token_timer_follows_what_is_usual(self):
        self.learns("learns first tokens", later_stream(5, "slow"), "timeout_ttft")

    def test_an_answer_that_takes_much_longer_than_usual_is_given_up(self):
        self.learns("learns whole answers", later_whole(6, json_answer("slow")), "timeout_total")


class Repeating(Base):
    def test_each_attempt_carries_the_same_request_and_the_same_key(self):
        first, second = self.play("idempotent"), self.play("idempotent")
        keys = [[call.request.headers["idempotency-key"] for call in outcome.calls] for outcome in (first, second)]
        self.assertEqual([len(set(of_one)) for of_one in keys], [1, 1])
        self.assertNotEqual(keys[0], keys[1])
        bodies = [call.request.body for call in first.calls]
        self.assertEqual(len(set(bodies)), 1)

    def test_what_may_run_twice_is_not_repeated(self):
        self.answered(self.play("stored"), "fine", "ab")
        self.answered(self.play("in the background, refused"), "fine", "ab")
        outcome = self.play("in the background")
        self.assertIsNotNone(outcome.error)
        self.assertEqual(outcome.of("b"), [], told(outcome))


class Keys(Base):
    def used(self, outcome):
        return [call.key for call in sorted(outcome.calls, key=lambda call: call.at)]

    def test_a_key_that_fails_is_benched_and_the_others_are_used(self):
        """The first request meets the failure and is answered all the same; the next go to the good key at once."""
        for name, bad, class_ in (("dead key", "sk-dead", "auth"), ("poor key", "sk-poor", "quota_billing"),
                                  ("limited key", "sk-busy", "rate_limited"), ("forbidden key", "sk-small", "permission")):
            with self.subTest(name):
                met, after = None, 0
                for _ in range(64):  # which key is first is the gateway's choice, drawn anew for each conversation
                    if after == 4:
                        break
                    after += met is not None
                    outcome = self.play(name)
                    self.assertEqual((outcome.error, outcome.text), (None, "fine"), told(outcome))
                    self.assertEqual(outcome.of("b"), [])
                    if met:
                        self.assertEqual(self.used(outcome), ["sk-good"], told(outcome))
                    elif bad in self.used(outcome):
                        met = outcome
                        self.assertEqual(self.used(outcome), [bad, "sk-good"])
                        self.assertEqual([(a["class"], a["action"]) for a in outcome.attempts], [(class_, "next_key"), ("none", "accept")], told(outcome))
                        self.assertEqual([a["credential"] for a in outcome.attempts], ["key1", "key2"])
                        self.assertLess(outcome.took_s, 1, "another key does not wait")
                self.assertTrue(met, "the preferred key was never used")

    def test_a_key_is_left_before_its_limit_is_met(self):
        seen = [key for _ in range(6) for key in self.used(self.play("last request of a key"))]
        self.assertLessEqual(seen.count("sk-last"), 1)
        self.assertEqual(len(seen), 6)

    def test_the_next_target_answers_when_no_key_is_left(self):
        outcome = self.play("no key left")
        self.answered(outcome, "fine", "aab")
        self.assertEqual(set(self.used(outcome)[:2]), {"sk-dead", "sk-poor"})
        outcome = self.play("no key left")
        self.answered(outcome, "fine", "b")

    def test_without_a_key_the_client_is_told_and_the_provider_is_left_alone(self):
        first = self.play("dead keys alone")
        self.assertIn(first.code, ("auth", "quota_billing"), told(first))
        outcome = self.play("dead keys alone")
        self.assertEqual(outcome.calls, [])
        self.assertGreaterEqual(outcome.status, 429)
        self.assertRegex(outcome.error.message, "(?i)key|bench|quota|auth", "the words say why nobody was asked")
        self.assertNotEqual(outcome.trace["class"], "none")

    def test_every_key_is_tried_while_attempts_are_left(self):
        outcome = self.play("many keys")
        self.assertEqual((outcome.error, outcome.text), (None, "fine"), told(outcome))
        self.assertEqual((len(set(self.used(outcome))), self.used(outcome)[-1]), (len(outcome.calls), "sk-5"), told(outcome))

    def test_no_secret_is_in_a_timeline(self):
        self.assertNotIn("sk-", json.dumps(self.play("many keys").trace))


class Waiting(Base):
    def test_a_wait_beyond_the_deadline_is_not_begun(self):
        outcome = self.play("told to wait too long")
        self.failed(outcome, 429, "rate_limited", "a")
        self.assertLess(outcome.took_s, 1.5)
        self.assertIn(int(outcome.headers["retry-after"]), range(25, 31))
        outcome = self.play("told to wait, next works")
        self.answered(outcome, "fine", "ab")
        self.assertLess(outcome.took_s, 1.5)

    def test_a_provider_is_asked_again_when_it_said(self):
        outcome = self.play("told to wait a little")
        self.answered(outcome, "fine", "aa")
        self.assertGreaterEqual(outcome.gaps("a")[0], 1.9)
        self.assertGreater(outcome.attempts[1]["waited_us"], 1900000)

    def test_a_provider_that_says_not_to_come_back_is_believed(self):
        self.failed(self.play("told not to come back"), 502, "server_error", "a")


class Budgets(Base):
    def test_the_deadline_covers_everything(self):
        for name in ("deadline silent", "deadline failing", "deadline trickle"):
            with self.subTest(name):
                outcome = self.play(name, extra_headers={"x-moongate-deadline-ms": "700"})
                self.assertIsNotNone(outcome.error)
                self.assertGreaterEqual(outcome.status, 500)
                self.assertLess(outcome.took_s, 0.7 + 0.5, told(outcome))
                self.assertEqual({len(outcome.of(side)) for side in "abc"} - {0, 1, 2}, set())

    def test_the_deadline_ends_a_stream_as_an_error(self):
        outcome = self.play("deadline streaming", extra_headers={"x-moongate-deadline-ms": "600"})
        self.assertEqual((outcome.text, outcome.finish, outcome.code), ("a", None, "timeout_total"), told(outcome))
        self.assertLess(outcome.took_s, 0.6 + 0.5)

    def test_a_workflow_has_a_deadline_of_its_own(self):
        outcome = self.play("deadline of the workflow")
        self.failed(outcome, 504, "timeout_total")
        self.assertLess(outcome.took_s, 0.5 + 0.5)

    def test_a_client_cannot_ask_for_more_than_the_project_allows(self):
        with Upstream(hang) as up, Gateway(project(up, workflow="deadline_ms = 300", extra="max_deadline_ms = 600")) as gw:
            began = time.monotonic()
            answer = gw.chat(headers={"x-moongate-deadline-ms": "60000"})
            self.assertEqual(answer.status, 504)
            self.assertLess(time.monotonic() - began, 0.6 + 0.5)

    def test_what_is_left_after_a_failure_is_the_next_ones_time(self):
        outcome = self.play("deadline too late for another", extra_headers={"x-moongate-deadline-ms": "1000"})
        self.assertIsNotNone(outcome.error)
        self.assertLess(outcome.took_s, 1 + 0.5)

    def test_attempts_are_counted_over_all_targets(self):
        self.failed(self.play("attempts"), 502, "server_error", "ab")
        self.failed(self.play("attempts alone"), 502, "server_error", "aa")
        self.failed(self.play("one attempt"), 502, "server_error", "a")

    def test_the_error_sums_up_what_was_tried(self):
        outcome = self.play("attempts")
        for attempt in outcome.attempts:
            self.assertIn(attempt["target"], json.dumps(outcome.error.body))
        self.assertEqual(outcome.headers["x-moongate-attempts"], "2")

    def test_an_attempt_that_costs_more_than_is_left_is_not_begun(self):
        outcome = self.play("too dear")
        self.assertEqual((outcome.status >= 400, outcome.of("b")), (True, []), told(outcome))
        self.answered(self.play("not too dear"), "fine", "ab")


class Windows(Base):
    def test_a_request_that_is_too_long_goes_to_a_larger_window_only(self):
        outcome = self.play("larger window")
        self.answered(outcome, "fine", "ac")
        self.assertEqual((outcome.attempts[0]["class"], outcome.attempts[0]["action"]), ("context_length", "fallback"))

    def test_without_a_larger_window_the_client_is_told_in_the_providers_words(self):
        outcome = self.play("no larger window")
        self.failed(outcome, 400, "context_length_exceeded", "a")
        self.assertIn("8000 tokens", outcome.error.message)

    def test_the_cause_is_told_and_not_what_came_of_it(self):
        outcome = self.play("larger window fails")
        self.assertNotIn("c", outcome.order)
        self.assertEqual(outcome.code, "context_length_exceeded", told(outcome))


class Filters(Base):
    def test_what_a_filter_rejects_is_not_routed_around(self):
        self.failed(self.play("filter"), 400, "content_policy_violation", "a")
        for name in ("filtered answer", "refusal"):
            outcome = self.play(name)
            self.assertEqual((outcome.error, outcome.order), (None, "a"), told(outcome))

    def test_unless_the_project_says_so(self):
        for name in ("filter around", "filtered answer around", "refusal around", "refusal around streamed"):
            with self.subTest(name):
                outcome = self.play(name)
                self.answered(outcome, "fine", "ab")
                self.assertEqual((outcome.refusal, outcome.attempts[0]["action"]), ("", "fallback"))

    def test_when_all_decline_the_client_reads_so(self):
        self.failed(self.play("filter around all"), 400, "content_policy_violation", "ab")
        outcome = self.play("refusal around all")
        self.assertEqual(outcome.order, "ab")
        self.assertTrue(outcome.refusal == "I will not." or outcome.code in ("refusal", "content_filter"), told(outcome))


class Offline(Base):
    def offline(self, name, text):
        outcome = self.play(name)
        self.assertEqual((outcome.error, outcome.text, outcome.finish), (None, text, "stop"), told(outcome))
        self.assertIn("x-moongate-offline", outcome.headers)
        self.assertIn("offline", json.dumps(outcome.trace), "the timeline says where it came from")
        self.assertNotIn("none", [attempt["class"] for attempt in outcome.attempts])
        return outcome

    def test_a_text_is_the_answer_when_nothing_answers(self):
        self.offline("offline text", "We are closed.")
        self.offline("offline text streamed", "We are closed.")
        self.offline("offline function", "Sorry: server_error")
        self.offline("offline function that has none", "We are closed.")
        self.offline("offline function that breaks", "We are closed.")

    def test_the_body_says_so_too(self):
        wall, scenario = self.wall, NAMED["offline text"]
        response = wall.gateway.request("POST", "/v1/chat/completions", {"model": f"w{scenario.at}", "messages": MESSAGES},
                                        {"authorization": f"Bearer {wall.gateway.keys[wall.project_of[scenario.at]]}"}, key=False)
        self.assertEqual(response.status, 200)
        self.assertRegex(response.body.decode(), r"offline")

    def test_a_clients_mistake_is_still_told(self):
        self.failed(self.play("offline not for mistakes"), 400, "invalid_value", "a")

    def test_the_last_good_answer_to_the_same_request(self):
        self.answered(self.play("last good"), "fresh", "a")
        outcome = self.offline("last good", "fresh")
        self.assertGreater(len(outcome.calls), 0)
        outcome = self.play("last good", messages=[{"role": "user", "content": "something else"}])
        self.assertIsNotNone(outcome.error, "another request has another answer")


class Answers(Base):
    def test_an_answer_must_be_accepted(self):
        for name in ("accept", "accept streamed"):
            with self.subTest(name):
                outcome = self.play(name)
                self.assertEqual((outcome.error, outcome.text), (None, "yes"), told(outcome))
                self.assertRegex(outcome.order, "^a{1,2}b$")
                self.assertEqual(outcome.attempts[0]["class"], "schema_mismatch")
        self.assertIn("not yes", json.dumps(self.play("accept").trace))

    def test_when_no_answer_is_accepted_the_client_is_told(self):
        outcome = self.play("accept nothing")
        self.failed(outcome, 502, "schema_mismatch")
        self.assertRegex(outcome.order, "^a{1,2}b{1,2}$")

    def test_a_predicate_that_breaks_hides_no_answer_and_is_noted(self):
        outcome = self.play("accept that breaks")
        self.assertIn("oops", json.dumps(outcome.trace["notes"]), told(outcome))

    def test_an_answer_must_satisfy_the_schema(self):
        for name in ("schema", "schema of no JSON", "schema streamed", "schema of the request"):
            with self.subTest(name):
                outcome = self.play(name)
                self.assertEqual((outcome.error, outcome.text), (None, '{"name":"Ada"}'), told(outcome))
                self.assertRegex(outcome.order, "^a{1,2}b$")
                self.assertEqual(outcome.attempts[0]["class"], "schema_mismatch")


class Repairs(Base):
    def repaired(self, name, gone, come=None):
        outcome = self.play(name)
        self.answered(outcome, "fine", "aa")
        before, after = [call.request.json for call in outcome.of("a")]
        self.assertIn(gone, before)
        self.assertNotIn(gone, after)
        if come:
            self.assertEqual(after[come], before[gone])
        self.assertEqual([a["class"] for a in outcome.attempts], ["invalid_request", "none"])
        self.assertEqual(outcome.attempts[1]["reason"], "retry")
        self.assertLess(outcome.took_s, 1, "what is repaired is not waited for")
        again = self.play(name)
        self.answered(again, "fine", "a")

    def test_a_parameter_with_another_name_is_renamed_once_and_for_all(self):
        self.repaired("repair max_tokens", "max_tokens", "max_completion_tokens")
        self.repaired("repair max_completion_tokens", "max_completion_tokens", "max_tokens")

    def test_a_parameter_that_is_not_known_is_left_out(self):
        self.repaired("repair temperature", "temperature")
        self.repaired("repair stream_options", "stream_options")

    def test_a_repair_is_tried_once(self):
        outcome = self.play("repair in vain")
        self.failed(outcome, 400, "unsupported_parameter", "aa")


class Leaving(Base):
    def leave(self, name, read):
        scenario = NAMED[name]
        gateway = self.wall.gateway
        body = json.dumps({"model": f"w{scenario.at}", "messages": MESSAGES, "stream": scenario.stream}).encode()
        with gateway.connect() as sock:
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                         % (gateway.keys[self.wall.project_of[scenario.at]].encode(), len(body), body))
            deadline = time.monotonic() + PATIENCE_S
            while not self.wall.sides.calls[f"s{scenario.at}-a"] and time.monotonic() < deadline:
                time.sleep(0.01)
            if read:
                data = b""
                while b'"a"' not in data:
                    data += sock.recv(4096)
        left = time.monotonic()
        call = self.wall.sides.calls[f"s{scenario.at}-a"][0]
        while not call.left and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertLess(call.left - left, 1)
        time.sleep(0.3)
        calls = self.wall.sides.take(f"s{scenario.at}")
        self.assertEqual([call.side for call in calls], ["a"], "nobody is asked for one who left")

    def test_the_upstream_is_left_with_the_client(self):
        self.leave("client leaves", False)
        self.leave("client leaves a stream", True)


class ZEnd(Base):
    def test_at_the_end_the_gateway_is_healthy_and_its_memory_flat(self):
        self.wall.healthy(self, NAMED["zz good"], [NAMED[name] for name in ("filter", "larger window", "dead key", "accept", "refusal around", "hedge not needed")])


if __name__ == "__main__":
    main()
