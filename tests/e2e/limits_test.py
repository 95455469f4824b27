"""Limits and budgets, as the official SDK sees them: headers, errors, streams, aborts, restarts, two projects."""

import json
import re
import threading
import time
import unittest

import openai

from moongate import *

HI = [{"role": "user", "content": "hi"}]


def limited(*upstreams, limits, workflow="", price=None):
    """A project with limits; `price`: US dollars for a million tokens, in and out."""
    providers = "".join(f'p{i} = {{ base_url = "{up.url}", api_key = "k", breaker = false }},' for i, up in enumerate(upstreams))
    cost = f", price_usd = {{ input = {price[0]}, output = {price[1]} }}" if price else ""
    targets = "".join(f'{{ target = "p{i}/m{i}"{cost} }},' for i in range(len(upstreams)))
    return (f"return {{ providers = {{ {providers} }}, workflows = {{ chat = {{ targets = {{ {targets} }}, {workflow} }}, "
            f"plain = {{ targets = {{ {targets} }} }} }}, limits = {{ {limits} }} }}")


def raw(client, **more):
    return client.chat.completions.with_raw_response.create(**{"model": "chat", "messages": HI, **more})


def refused(test, client, **more):
    with test.assertRaises(openai.RateLimitError) as caught:
        client.chat.completions.create(**{"model": "chat", "messages": HI, **more})
    return caught.exception


class Requests(unittest.TestCase):
    def test_headers_count_down_and_the_error_names_the_limit_and_when_it_frees_up(self):
        with Upstream() as up, Gateway(limited(up, limits="requests_per_minute = 6, burst = 2")) as gw:
            client = gw.client()
            first = raw(client).headers
            self.assertEqual(first["x-ratelimit-limit-requests"], "6")
            self.assertEqual(first["x-ratelimit-remaining-requests"], "1")
            self.assertRegex(first["x-ratelimit-reset-requests"], r"^(10s|9\.\d+s)$")
            self.assertEqual(raw(client).headers["x-ratelimit-remaining-requests"], "0")
            error = refused(self, client)
            self.assertEqual((error.status_code, error.code, error.type), (429, "rate_limit_exceeded", "rate_limit_error"))
            self.assertEqual(error.param, "limits.requests_per_minute")
            self.assertRegex(str(error), r"project 'main': 6 requests per minute .*Try again in \d+\.\d+ s")
            self.assertLessEqual(int(error.response.headers["retry-after"]), 10)
            self.assertGreater(int(error.response.headers["retry-after-ms"]), 8000)
            self.assertEqual(error.response.headers["x-ratelimit-remaining-requests"], "0")
            self.assertEqual(up.count, 2)
            self.assertEqual(gw.trace(error.response.headers["x-request-id"])["status"], 429)

    def test_the_sdk_waits_as_told_and_then_succeeds(self):
        with Upstream() as up, Gateway(limited(up, limits="requests_per_minute = 120, burst = 1")) as gw:
            client = gw.client(max_retries=2)
            began = time.monotonic()
            for _ in range(3):
                client.chat.completions.create(model="chat", messages=HI)
            self.assertGreater(time.monotonic() - began, 0.9)      # two waits of half a second each
            self.assertEqual(up.count, 3)

    def test_each_key_and_each_user_has_its_own_count_and_none_learns_of_another(self):
        limits = "per_key = { requests_per_minute = 1, burst = 1 }"
        with Upstream() as up, Gateway(limited(up, limits=limits)) as gw:
            other = gw.create_key("main")
            gw.client().chat.completions.create(model="chat", messages=HI)
            self.assertEqual(refused(self, gw.client()).param, "limits.per_key.requests_per_minute")
            gw.client(api_key=other).chat.completions.create(model="chat", messages=HI)
        limits = "per_metadata = { user = { requests_per_minute = 1, burst = 1 } }"
        with Upstream() as up, Gateway(limited(up, limits=limits)) as gw:
            for user in ("ann", "bob-secret"):
                gw.client().chat.completions.create(model="chat", messages=HI, metadata={"user": user})
            error = refused(self, gw.client(), metadata={"user": "ann"})
            self.assertEqual(error.param, "limits.per_metadata.user.requests_per_minute")
            self.assertIn("metadata 'user' = 'ann'", str(error))
            self.assertNotIn("bob", str(error.response.headers) + str(error))
            # whoever sends none cannot get around it either
            gw.client().chat.completions.create(model="chat", messages=HI)
            self.assertIn("without metadata 'user'", str(refused(self, gw.client())))
            self.assertIn("ann", str(refused(self, gw.client(), extra_headers={"x-moongate-metadata": '{"user": "\\u0061nn"}'})))

    def test_a_rotated_key_and_its_successor_count_together(self):
        limits = "per_key = { requests_per_minute = 2, burst = 2 }"
        with Upstream() as up, Gateway(limited(up, limits=limits)) as gw:
            keys = json.loads(gw.cli("key", "list", "--json"))["keys"]
            new = json.loads(gw.cli("key", "rotate", keys[0]["id"], "--overlap", "1h", "--json"))
            raw(gw.client())
            self.assertEqual(raw(gw.client(api_key=new["key"])).headers["x-ratelimit-remaining-requests"], "0")
            refused(self, gw.client())
            error = refused(self, gw.client(api_key=new["key"]))
            self.assertIn(new["id"], str(error))
            self.assertNotIn(keys[0]["id"], str(error))

    def test_a_workflow_has_limits_of_its_own(self):
        with Upstream() as up, Gateway(limited(up, limits="requests_per_minute = 600",
                                               workflow="limits = { requests_per_minute = 1 }")) as gw:
            gw.client().chat.completions.create(model="chat", messages=HI)
            error = refused(self, gw.client())
            self.assertEqual(error.param, "workflows.chat.limits.requests_per_minute")
            self.assertIn("workflow 'chat'", str(error))
            gw.client().chat.completions.create(model="plain", messages=HI)

    def test_a_metadata_value_that_is_too_long_is_refused_for_what_it_is(self):
        with Upstream() as up, Gateway(limited(up, limits="per_metadata = { user = { concurrency = 1 } }")) as gw:
            with self.assertRaisesRegex(openai.BadRequestError, "'user' has a limit.*at most 128 bytes"):
                gw.client().chat.completions.create(model="chat", messages=HI, extra_headers={
                    "x-moongate-metadata": json.dumps({"user": "x" * 129})})

    def test_the_providers_own_figures_are_not_mixed_with_ours(self):
        theirs = {"x-ratelimit-limit-requests": "5000", "x-ratelimit-remaining-tokens": "7", "x-ratelimit-limit-images": "1"}
        with Upstream(respond(200, completion("hi"), theirs)) as up:
            with Gateway(limited(up, limits="requests_per_minute = 60")) as gw:
                headers = raw(gw.client()).headers
                self.assertEqual(headers.get_list("x-ratelimit-limit-requests"), ["60"])
                self.assertNotIn("x-ratelimit-remaining-tokens", headers)
                self.assertNotIn("x-ratelimit-limit-images", headers)
            with Gateway(project(up)) as gw:           # without limits they pass as they came
                self.assertEqual(raw(gw.client()).headers["x-ratelimit-limit-requests"], "5000")

    def test_a_reload_that_changes_a_limit_forgets_nothing(self):
        with Upstream() as up, Gateway(limited(up, limits="requests_per_minute = 2, burst = 2")) as gw:
            for _ in range(2):
                raw(gw.client())
            refused(self, gw.client())
            seen = len(gw.lines)
            gw.write("projects/main.lua", limited(up, limits="requests_per_minute = 3, burst = 3"))
            gw.wait_line(r"generation", after=seen)
            deadline = time.monotonic() + PATIENCE_S
            while refused_now(gw) and time.monotonic() < deadline:
                pass
            refused(self, gw.client())                 # one more came, not three


def refused_now(gw):
    try:
        gw.client().chat.completions.create(model="chat", messages=HI)
        return False
    except openai.RateLimitError:
        return True


class Tokens(unittest.TestCase):
    def test_an_attempt_reserves_what_it_may_need_and_gives_back_what_it_did_not(self):
        with Upstream() as up, Gateway(limited(up, limits="tokens_per_minute = 1000")) as gw:
            headers = raw(gw.client(), max_tokens=500).headers       # 12 of them used, see completion()
            self.assertEqual(headers["x-ratelimit-limit-tokens"], "1000")
            self.assertTrue(400 < int(headers["x-ratelimit-remaining-tokens"]) <= 1000, headers)
            headers = raw(gw.client(), max_tokens=500).headers
            error = refused(self, gw.client(), max_tokens=2000)
            self.assertEqual(error.param, "limits.tokens_per_minute")
            self.assertRegex(str(error), r"1000 tokens per minute, and this request may need 20\d\d.*more than the limit ever")
            self.assertEqual(error.response.headers["x-should-retry"], "false")
            raw(gw.client(), max_tokens=900)           # there is room: the first two gave theirs back
            self.assertEqual(up.count, 3)

    def test_what_an_answer_may_have_is_reserved_whatever_dialect_says_it(self):
        say = {"messages": HI}
        rows = [("/v1/chat/completions", lambda n: {"model": "chat", **say, "max_tokens": n}),
                ("/v1/chat/completions", lambda n: {"model": "chat", **say, "max_completion_tokens": n}),
                ("/v1/chat/completions", lambda n: {"model": "chat", **say, "max_tokens": 10, "n": n // 10}),
                ("/v1/completions", lambda n: {"model": "chat", "prompt": "hi", "max_tokens": n}),
                ("/v1/messages", lambda n: {"model": "chat", **say, "max_tokens": n}),
                ("/v1/responses", lambda n: {"model": "chat", "input": "hi", "max_output_tokens": n}),
                ("/v1beta/models/chat:generateContent", lambda n: {"contents": [{"role": "user", "parts": [{"text": "hi"}]}],
                                                                   "generationConfig": {"maxOutputTokens": n}})]
        with Upstream() as up, Gateway(limited(up, limits="tokens_per_minute = 100000")) as gw:
            for path, body in rows:
                answer = gw.request("POST", path, body(200000))
                self.assertEqual((answer.status, up.count), (429, 0), (path, answer.body))
                self.assertIn(b"more than the limit ever allows", answer.body)
        # what the operator sets for a target goes before what the client asks for
        with Upstream() as up, Gateway(limited(up, limits="tokens_per_minute = 1000").replace(
                '{ target = "p0/m0"', '{ target = "p0/m0", params = { max_tokens = 5000 }')) as gw:
            self.assertEqual(refused(self, gw.client(), max_tokens=1).param, "limits.tokens_per_minute")

    def test_streams_settle_by_what_was_reported(self):
        with Upstream(stream(*good_events("a", "b"))) as up, Gateway(limited(up, limits="tokens_per_minute = 1000")) as gw:
            for _ in range(5):                         # each reserves 900 and uses 12
                list(gw.client().chat.completions.create(model="chat", stream=True, messages=HI, max_tokens=900))
            self.assertEqual(up.count, 5)

    def test_an_aborted_stream_gives_back_what_it_did_not_use(self):
        with Upstream(stream(*good_events("a")[:2], then="stall")) as up, \
                Gateway(limited(up, limits="tokens_per_minute = 1000, concurrency = 1")) as gw:
            for _ in range(4):
                answer = gw.client().chat.completions.create(model="chat", stream=True, messages=HI, max_tokens=600)
                next(iter(answer))
                self.assertIn(refused(self, gw.client(), max_tokens=10).param, ("limits.concurrency", "limits.tokens_per_minute"))
                answer.close()
                self.assertTrue(up.closed.get(timeout=PATIENCE_S))
                wait_until(lambda: "x" if in_flight(gw) == 0 else None)

    def test_failed_and_hedged_attempts_settle_too(self):
        with Upstream(error_answer(500)) as bad, Upstream() as good, \
                Gateway(limited(bad, good, limits="tokens_per_minute = 1000")) as gw:
            for _ in range(4):
                raw(gw.client(), max_tokens=900)
            self.assertEqual(good.count, 4)
        slow = threading.Event()
        with Upstream(stream(*good_events("late"), then="stall", before=lambda s, r: slow.wait(5))) as first, \
                Upstream(stream(*good_events("quick"))) as second, \
                Gateway(limited(first, second, limits="tokens_per_minute = 2000",
                                workflow="hedge = 50, retry_budget = { burst = 100 }")) as gw:
            for _ in range(4):
                list(gw.client().chat.completions.create(model="chat", stream=True, messages=HI, max_tokens=900))
            slow.set()
            self.assertEqual(second.count, 4)

    def test_a_fallback_counts_at_its_own_target_and_a_refusal_is_told_only_when_nobody_was_called(self):
        with Upstream(error_answer(500)) as bad, Upstream() as good, \
                Gateway(limited(bad, good, limits="tokens_per_minute = 1000")) as gw:
            refused(self, gw.client(), max_tokens=1001)
            self.assertEqual((bad.count, good.count), (0, 0))


class Concurrency(unittest.TestCase):
    def test_no_more_are_in_flight_and_who_leaves_makes_room(self):
        gate = threading.Event()
        with Upstream(stream(*good_events("a")[:2], gate, *good_events("a")[2:])) as up, \
                Gateway(limited(up, limits="concurrency = 2")) as gw:
            running = [gw.client().chat.completions.create(model="chat", stream=True, messages=HI) for _ in range(2)]
            error = refused(self, gw.client())
            self.assertEqual((error.code, error.param), ("concurrency_limit_exceeded", "limits.concurrency"))
            self.assertEqual(error.response.headers["retry-after"], "1")
            running[0].close()
            third = wait_until(lambda: attempt(gw))
            gate.set()
            list(running[1])
            list(third)
            wait_until(lambda: "x" if in_flight(gw) == 0 else None)
            for _ in range(2):
                list(gw.client().chat.completions.create(model="chat", stream=True, messages=HI))


def attempt(gw):
    try:
        return gw.client().chat.completions.create(model="chat", stream=True, messages=HI)
    except openai.RateLimitError:
        return None


def wait_until(what):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def metrics(gw):
    import urllib.request

    line = gw.wait_line(r"admin.*address=|listening.*admin|admin")
    port = re.search(r"127\.0\.0\.1:(\d+)", line).group(1)
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).read().decode()


def in_flight(gw):
    """Exchanges in flight, by the metrics of the admin plane."""
    return int(float(re.search(r"^moongate_requests_in_flight\S* (\S+)$", metrics(gw), re.M).group(1)))


class Budgets(unittest.TestCase):
    # 9 tokens in and 3 out at a million dollars each million: one call is $12.
    DEAR = (1000000, 1000000)

    def test_money_stops_hard_with_a_period_and_no_sdk_retries_in_vain(self):
        with Upstream() as up, Gateway(limited(up, limits='budget = { per = "day", usd = 200 }', price=self.DEAR)) as gw:
            client = gw.client(max_retries=3)
            made = 0
            with self.assertRaises(openai.RateLimitError) as caught:
                while made < 50:
                    client.chat.completions.create(model="chat", messages=HI, max_tokens=3)
                    made += 1
            error = caught.exception
            self.assertEqual((error.code, error.param), ("insufficient_quota", "limits.budget"))
            self.assertRegex(str(error), r"\$200\.00 per day.*renewed at \d{4}-\d\d-\d\dT00:00:00Z")
            self.assertEqual(error.response.headers["x-should-retry"], "false")
            self.assertGreater(int(error.response.headers["retry-after"]), 0)
            self.assertEqual(up.count, made)
            self.assertGreaterEqual(made * 12, 200 - 60)       # an attempt reserves its estimate, which is below 60
            self.assertLessEqual(made * 12, 200)
            soft = gw.wait_line(r"budget\.soft")
            self.assertRegex(soft, r"project=main scope=project .*per=day .*budget_usd=200\.000000")
            gw.wait_line(r"budget\.exhausted")
            self.assertEqual(sum("budget.soft" in line for line in gw.lines), 1)
            self.assertEqual(sum("budget.exhausted" in line for line in gw.lines), 1)

    def test_a_target_without_a_price_cannot_stand_under_a_budget(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            seen = len(gw.lines)
            gw.write("projects/main.lua", limited(up, limits="budget = { usd = 5 }"))
            line = gw.wait_line(r"nobody knows its price", after=seen)
            self.assertIn("p0/m0", line)
            raw(gw.client())                           # the generation before goes on

    def test_what_one_request_may_cost_goes_by_the_catalogue_and_what_nobody_knows_the_price_of_is_not_called(self):
        def flow(up, *models):
            targets = ", ".join(f'"openai/{model}"' for model in models)
            return (f'return {{ providers = {{ openai = {{ base_url = "{up.url}", api_key = "k" }} }}, '
                    f"workflows = {{ chat = {{ targets = {{ {targets} }}, max_cost_usd = 0.01 }} }} }}")
        with Upstream() as up, Gateway(flow(up, "*", "gpt-6-luna")) as gw:
            answer = gw.chat(max_tokens=10)            # of the model "chat" there is no price
            self.assertEqual((answer.status, up.requests.get(timeout=PATIENCE_S).json["model"]), (200, "gpt-6-luna"))
            self.assertIn("nobody knows its price, and max_cost_usd holds", json.dumps(gw.trace(answer)))
            self.assertGreaterEqual(gw.chat(max_tokens=1000000).status, 400)
            self.assertEqual(up.count, 1)
            seen = len(gw.lines)
            gw.write("projects/main.lua", flow(up, "nobody-knows-this"))
            line = gw.wait_line(r"generation\.refused", after=seen)
            self.assertIn("max_cost_usd counts what openai/nobody-knows-this costs, and nobody knows its price", line)

    def test_a_target_whose_price_is_gone_is_no_rate_limit_and_the_log_says_what_to_do(self):
        with Upstream() as up, Gateway(limited(up, limits="budget = { usd = 5 }", price=(1, 1))) as gw:
            gw.write("projects/main.lua", limited(up, limits="budget = { usd = 5 }").replace('"p0/m0"', '"p0/*"'))
            gw.wait_line(r"generation\.swapped.*number=2")
            client = gw.client(max_retries=3)
            with self.assertRaises(openai.InternalServerError) as caught:
                client.chat.completions.create(model="chat", messages=HI)
            self.assertEqual((caught.exception.status_code, caught.exception.code), (500, "target_unpriced"))
            self.assertEqual(caught.exception.response.headers["x-should-retry"], "false")
            gw.wait_line(r"budget\.unpriced project=main target=p0/\*; .*price_usd")
            self.assertEqual(up.count, 0)

    def test_a_users_name_forges_no_field_of_the_log(self):
        forged = 'a" per=month budget_usd=9 x="'
        limits = 'per_metadata = { user = { budget = { per = "day", usd = 300, soft = 0.01 } } }'
        with Upstream() as up, Gateway(limited(up, limits=limits, price=self.DEAR)) as gw:
            raw(gw.client(), max_tokens=3, metadata={"user": forged})
            line = gw.wait_line(r"budget\.soft")
            self.assertRegex(line, r' per=day spent_usd=\d+\.\d+ budget_usd=300\.000000 value="a\\" per=month budget_usd=9 x=\\""$')

    def test_each_user_has_a_budget(self):
        with Upstream() as up, Gateway(limited(up, limits='per_metadata = { user = { budget = { usd = 60 } } }', price=self.DEAR)) as gw:
            spend = lambda user: raw(gw.client(), max_tokens=3, metadata={"user": user})
            spend("ann")
            with self.assertRaises(openai.RateLimitError):
                for _ in range(6):
                    spend("ann")
            spend("bob")


class Restart(unittest.TestCase):
    DEAR = Budgets.DEAR

    def spend_all(self, gw, **more):
        made = 0
        with self.assertRaises(openai.RateLimitError):
            while made < 50:
                raw(gw.client(), max_tokens=3, **more)
                made += 1
        return made

    def test_budgets_are_what_they_were_after_a_restart_and_after_a_kill(self):
        limits = 'budget = { per = "month", usd = 150 }, per_metadata = { user = { budget = { { per = "day", usd = 100 }, { per = "week", usd = 1000 } } } }'
        for number in (signal.SIGTERM, signal.SIGKILL):
            with Upstream() as up, Gateway(limited(up, limits=limits, price=self.DEAR)) as gw:
                made = self.spend_all(gw, metadata={"user": "ann"})
                self.assertGreater(made, 0)
                gw.stop(number)
                keys, gw.lines = gw.keys, []
                gw.start()
                gw.keys = keys
                error = refused(self, gw.client(), max_tokens=3, metadata={"user": "ann"})
                self.assertEqual(error.param, "limits.per_metadata.user.budget")
                raw(gw.client(), max_tokens=3, metadata={"user": "bob"})   # bob has not spent it, and the month has some left


    def test_killed_in_the_middle_of_it_a_budget_is_what_the_events_add_up_to(self):
        """Three times: load of answers, streams and failures, kill -9, start. What is used is what events say, to the micro-dollar,
        those included that the kill cut off."""
        money = 'budget = { per = "month", usd = 1000000 }'
        kinds = [json_answer("x"), error_answer(500)]

        def answer(sock, request):
            time.sleep(0.02)           # so that the kill finds some on their way
            (stream(*good_events("a", "b")) if request.json.get("stream") else kinds[len(request.body) % 2])(sock, request)

        with Upstream(answer) as up, Gateway(limited(up, limits=f"{money}, per_key = {{ {money} }}", workflow=f"limits = {{ {money} }}",
                                                     price=self.DEAR)) as gw:
            for _ in range(3):
                self.kill_under_load(gw, up)
                rows = [row for row in json.loads(gw.cli("limits", "--json"))["limits"] if row["name"] != "test" or row["used"]]
                events = [json.loads(line) for line in gw.cli("usage", "events").splitlines()]
                spent = sum(event["cost_picousd"] or 0 for event in events) // 1000000
                self.assertGreater(spent, 0)
                self.assertEqual({row["limit"]: row["used"] for row in rows},
                                 {"limits.budget": spent, "workflows.chat.limits.budget": spent, "limits.per_key.budget": spent})
                self.assertFalse([row for row in rows if row.get("reserved")])
            self.assertTrue([event for event in events if event["interrupted"]], "no kill cut anything off")

    def kill_under_load(self, gw, up):
        stop, keys, enough = threading.Event(), gw.keys, up.count + 60

        def load(number):
            client, words = gw.client(timeout=5), number
            while not stop.is_set():
                words += 1
                try:
                    list(client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x" * (words % 7)}],
                                                        stream=words % 3 == 0))
                except (openai.OpenAIError, OSError):
                    pass

        threads = [threading.Thread(target=load, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: up.count >= enough)
        gw.stop(signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join()
        gw.lines = []
        gw.start()
        gw.keys = keys


class Seen(unittest.TestCase):
    """What operators see of limits: the command, the API, the metrics."""

    LIMITS = ('requests_per_minute = 6, burst = 2, per_metadata = { user = { concurrency = 3, '
              'budget = { per = "day", usd = 20, soft = 0.5 } } }')

    def spend(self, gw):
        """Two calls for ann, $12 each; the third is refused."""
        for _ in range(2):
            raw(gw.client(), max_tokens=3, metadata={"user": "ann"})
        return refused(self, gw.client(), max_tokens=3, metadata={"user": "ann"})

    def test_every_limit_is_listed_with_what_is_left_when_it_frees_up_and_what_it_refused(self):
        with Upstream() as up, Gateway(limited(up, limits=self.LIMITS.replace("20,", "200,"), price=Budgets.DEAR)) as gw:
            self.assertEqual(self.spend(gw).param, "limits.requests_per_minute")
            answer = json.loads(gw.cli("limits", "--json"))
            self.assertEqual(answer["left_out"], 0)
            rows = {row["limit"]: row for row in answer["limits"]}
            self.assertEqual(sorted(rows), ["limits.per_metadata.user.budget", "limits.per_metadata.user.concurrency",
                                            "limits.requests_per_minute"])
            requests, budget = rows["limits.requests_per_minute"], rows["limits.per_metadata.user.budget"]
            self.assertEqual((requests["max"], requests["room"], requests["used"], requests["left"], requests["refused"]), (6, 2, 2, 0, 1))
            now = time.time() * 1e6
            self.assertTrue(now < requests["free_us"] < now + 10e6 < requests["full_us"] < now + 21e6)
            self.assertEqual((budget["value"], budget["unit"], budget["used"], budget["left"], budget["soft"]),
                             ("ann", "microusd", 24000000, 176000000, 100000000))
            text = gw.cli("limits")
            self.assertRegex(text, r"(?m)^limits\.requests_per_minute +- +6/min +2 +0 +\d.*s +1$")
            self.assertRegex(text, r"(?m)^limits\.per_metadata\.user\.budget +ann +\$200/day +\$24\.00 +\$176\.00 +- +0$")
            self.assertIn("no such project", gw.cli("limits", "--project", "nix", check=False).stderr)

    def test_metrics_count_refusals_by_limit_and_thresholds_and_name_no_user(self):
        limits = self.LIMITS.replace("burst = 2", "burst = 6").replace("usd = 20", "usd = 40")
        with Upstream() as up, Gateway(limited(up, limits=limits, price=Budgets.DEAR)) as gw:
            with self.assertRaises(openai.RateLimitError) as caught:
                for made in range(6):
                    raw(gw.client(), max_tokens=3, metadata={"user": "anneliese"})
            self.assertEqual(caught.exception.code, "insufficient_quota")
            text = metrics(gw)
            whose = 'project="main",workflow="",scope="metadata",field="user"'
            self.assertIn(f'moongate_limit_refused_total{{{whose},limit="budget_day"}} 1\n', text)
            self.assertIn(f'moongate_limit_used_share{{{whose},limit="budget_day"}} {made * 12 / 40:.15g}\n', text)
            for threshold in ("soft", "stop"):
                self.assertIn(f'moongate_budget_thresholds_total{{{whose},period="day",threshold="{threshold}"}} 1\n', text)
            self.assertFalse("anneliese" in text)

    def test_a_viewer_of_one_project_sees_its_limits_and_nothing_of_others(self):
        with Upstream() as up, Gateway({name: limited(up, limits="concurrency = 3") for name in ("main", "other")}) as gw:
            token = json.loads(gw.cli("admin", "create", "vera", "--role", "viewer", "--project", "main", "--json"))["token"]
            port = re.search(r"127\.0\.0\.1:(\d+)", gw.wait_line(r"admin.*address=")).group(1)
            ask = lambda query="": http_get(f"http://127.0.0.1:{port}/admin/v1/limits{query}", token)
            for query in ("", "?project=main", "?limit=10"):
                status, body = ask(query)
                self.assertEqual((status, {row["project"] for row in body["limits"]}), (200, {"main"}))
            self.assertEqual(ask("?project=other")[0], 404)
            for bad in ("?project=", "?limit=0", "?limit=10001", "?x=1", "?limit=a"):
                self.assertEqual(ask(bad)[0], 400, bad)
            self.assertEqual(http_get(f"http://127.0.0.1:{port}/admin/v1/limits", "wrong")[0], 401)

    def test_thousands_of_users_do_not_make_a_page_of_thousands(self):
        with Upstream() as up, Gateway(limited(up, limits="per_metadata = { user = { requests_per_minute = 1 } }")) as gw:
            for i in range(250):
                raw(gw.client(), metadata={"user": f"u{i}"})
            answer = json.loads(gw.cli("limits", "--json"))
            self.assertEqual((len(answer["limits"]), answer["left_out"]), (200, 50))
            self.assertEqual(len(json.loads(gw.cli("limits", "--json", "--all"))["limits"]), 250)


def http_get(url, token):
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers={"authorization": f"Bearer {token}"}), timeout=PATIENCE_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


class Recorded(unittest.TestCase):
    """Requests that were refused are in the log of requests with the reason; nothing was called, so usage has no event."""

    def test_who_is_refused_by_a_limit_or_a_switch_is_in_the_log_and_costs_nothing(self):
        limits = "requests_per_minute = 2, burst = 2"
        with Upstream() as up, Gateway(limited(up, limits=limits)) as gw:
            key = json.loads(gw.cli("key", "list", "--json"))["keys"][0]["id"]
            raw(gw.client())
            seen = [("200", None)]
            for what, enable in ((["project", "disable", "main"], ["project", "enable", "main"]),
                                 (["key", "disable", key], ["key", "enable", key]),
                                 (["workflow", "disable", "chat", "--project", "main"], ["workflow", "enable", "chat", "--project", "main"])):
                gw.cli(*what)
                with self.assertRaises(openai.APIStatusError) as caught:
                    raw(gw.client())
                seen.append((str(caught.exception.status_code), caught.exception.code))
                gw.cli(*enable)
            raw(gw.client())
            error = refused(self, gw.client())
            seen += [("200", None), ("429", error.code)]
            self.assertEqual([code for _, code in seen], [None, "project_disabled", "key_disabled", "workflow_disabled", None, "rate_limit_exceeded"])
            rows = [json.loads(line) for line in gw.cli("logs", "--json").splitlines()]
            told = [(str(row["status"]), gw.trace(row["id"])["error_code"]) for row in rows]
            self.assertEqual(sorted(told, key=str), sorted(seen, key=str))
            self.assertEqual({gw.trace(row["id"])["key_id"] for row in rows}, {key})
            self.assertEqual(up.count, 2)
            self.assertEqual(len(gw.cli("usage", "events").splitlines()), 2)


class Fairness(unittest.TestCase):
    def ask(self, gw, project, text):
        """A request whose answer is read later; the socket."""
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]}).encode()
        sock = gw.connect()
        sock.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys[project]}\r\n"
                     f"content-length: {len(body)}\r\n\r\n".encode() + body)
        return sock

    def test_a_noisy_project_cannot_starve_another(self):
        """One worker that runs two at a time. Eight of one project wait; the other's is served next."""
        permits = threading.Semaphore(0)

        def when_allowed(sock, request):
            permits.acquire(timeout=PATIENCE_S)
            json_answer("hi")(sock, request)

        def served(up):
            return up.next_request().json["messages"][0]["content"]

        with Upstream(when_allowed) as up, Gateway({"noisy": project(up), "quiet": project(up)},
                                                   gateway="workers = 1, overload = { in_flight = 2, queue = 8, queue_ms = 20000 }") as gw:
            noisy = [self.ask(gw, "noisy", f"noisy {i}") for i in range(2)]
            self.assertEqual({served(up), served(up)}, {"noisy 0", "noisy 1"})
            noisy += [self.ask(gw, "noisy", f"noisy {i}") for i in range(2, 14)]
            shed = wait_until(lambda: self.refused_of(noisy))
            self.assertEqual(len(shed), 4, "the queue is bounded, and only they pay for it")
            for answer in shed:
                self.assertEqual((answer.status, answer.json["error"]["code"], answer.headers["retry-after"]), (503, "overloaded", "1"))
            quiet = self.ask(gw, "quiet", "quiet")
            wait_until(lambda: len(self.refused_of(noisy, 5)) == 5)     # the queue was full: a noisy one made room
            permits.release()
            self.assertEqual(served(up), "quiet")
            permits.release(40)
            self.assertEqual(read_response(quiet.makefile("rb")).status, 200)
            for sock in [*noisy, quiet]:
                sock.close()

    def refused_of(self, socks, at_least=4):
        """The answers so far, once there are so many."""
        import select

        self.answers = getattr(self, "answers", {})
        for sock in select.select([sock for sock in socks if sock not in self.answers], [], [], 0)[0]:
            self.answers[sock] = read_response(sock.makefile("rb"))
        return list(self.answers.values()) if len(self.answers) >= at_least else []

    def test_a_rush_waits_for_room_in_the_journal_instead_of_being_turned_away(self):
        """in_flight allows twelve thousand; the smallest journal has room for less than two hundred at once."""
        gate = threading.Event()

        def when_open(sock, request):
            gate.wait(PATIENCE_S)
            json_answer("hi")(sock, request)

        with Upstream(when_open) as up, Gateway(project(up), gateway="workers = 1, journal = { bytes = 1048576 }, "
                                                "overload = { queue_ms = 60000 }") as gw:
            rush = [self.ask(gw, "main", f"{i}") for i in range(300)]
            wait_until(lambda: up.count >= 100)
            time.sleep(0.3)
            self.assertLess(up.count, 200)
            gate.set()
            self.assertEqual([read_response(sock.makefile("rb")).status for sock in rush], [200] * 300)
            text = metrics(gw)
            self.assertIn('moongate_journal_refused_total{worker="0"} 0', text)
            self.assertIn('moongate_shed_requests_total{worker="0"} 0', text)
            for sock in rush:
                sock.close()

    def test_who_waits_too_long_is_told_and_who_leaves_the_queue_is_forgotten(self):
        gate = threading.Event()
        with Upstream(stream(*good_events("a")[:2], gate, *good_events("a")[2:])) as up, \
                Gateway(project(up), gateway="workers = 1, overload = { in_flight = 1, queue = 4, queue_ms = 300 }") as gw:
            running = gw.client().chat.completions.create(model="chat", stream=True, messages=HI)
            next(iter(running))
            with self.assertRaises(openai.InternalServerError) as caught:
                gw.client().chat.completions.create(model="chat", messages=HI)
            self.assertEqual(caught.exception.code, "overloaded")
            with self.assertRaises(openai.APITimeoutError):
                gw.client(timeout=0.1).chat.completions.create(model="chat", messages=HI)
            gate.set()
            list(running)
            up.answer(json_answer("fine"))
            gw.client().chat.completions.create(model="chat", messages=HI)


if __name__ == "__main__":
    main()
