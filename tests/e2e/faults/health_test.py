"""Leaving a failing target alone, and coming back: breakers, caps, queues, retry budgets, and what survives a reload.

What is counted is what the provider saw. Timers are short, and every bound has a wide margin for a busy machine.
"""

from wall import *

FAIL = error_answer(500, type="server_error")
FINE = json_answer("fine")
BREAKER = "breaker = { consecutive = 3, open_ms = 700, max_open_ms = 1400, ramp_ms = 600, probe_ms = 1000 },"


class Provider:
    """A script whose health is switched, and which counts who is there at the same time."""

    def __init__(self, text="fine", pause_s=0):
        self.script, self.pause_s, self.lock = json_answer(text), pause_s, threading.Lock()
        self.running = self.peak = 0

    def __call__(self, sock, request):
        with self.lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
            script, pause_s = self.script, self.pause_s
        try:
            time.sleep(pause_s)
        finally:
            with self.lock:
                self.running -= 1
        script(sock, request)


def fallback(name, workflow="", a=BREAKER, b="", **more):
    """Two targets: A's health is the test's, B is fine."""
    first = Provider()
    return Scenario(name, {"a": [first], "b": [json_answer("next")]}, workflow=workflow if "deadline_ms" in workflow else "deadline_ms = 8000," + workflow,
                    providers={"a": 'api_key = "sk-a",' + a, "b": 'api_key = "sk-b",' + b}, row=first, **more)


def alone(name, workflow="", a=BREAKER, **more):
    first = Provider()
    return Scenario(name, {"a": [first]}, workflow="deadline_ms = 8000," + workflow, providers={"a": 'api_key = "sk-a",' + a}, row=first, **more)


SCENARIOS = [
    fallback("opens"),
    fallback("probes"),
    fallback("probe fails"),
    fallback("probe never ends", "deadline_ms = 2500,", a="breaker = { consecutive = 3, open_ms = 500, ramp_ms = 0, probe_ms = 800 },"),
    fallback("ramps", a="breaker = { consecutive = 3, open_ms = 400, ramp_ms = 3000 },"),
    fallback("share", a="breaker = { consecutive = 1000, min_calls = 10, failure_share = 0.5, open_ms = 60000 },"),
    fallback("client faults"),
    fallback("off", a="breaker = false,"),
    fallback("slow", a="breaker = { consecutive = 3, open_ms = 60000, slow_factor = 3, slow_min_ms = 100 },"),
    fallback("by model", targets={"a": 'region = "x",'}),
    fallback("survives", a="breaker = { consecutive = 3, open_ms = 60000 },"),
    fallback("by hand", a="breaker = { consecutive = 3, open_ms = 60000 },"),
    alone("alone"),
    alone("budget", a="breaker = false,", workflow="retry_budget = { share = 0.2, burst = 5 },"),
    fallback("cap", a="concurrency = { max = 2, queue = 16, queue_ms = 5000 },"),
    fallback("queue too slow", a="concurrency = { max = 2, queue = 16, queue_ms = 150 },"),
    fallback("queue too short", a="concurrency = { max = 2, queue = 0 },"),
    fallback("stand-in capped", a="breaker = false,", b="concurrency = { max = 2, queue = 16, queue_ms = 5000 },"),
    alone("alone and full", a="concurrency = { max = 1, queue = 1, queue_ms = 200 },"),
    alone("alone and capped", a="breaker = false, concurrency = { max = 2, queue = 16, queue_ms = 5000 },"),
]
NAMED = {scenario.name: scenario for scenario in SCENARIOS}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.wall = shared()

    def world(self, name):
        scenario = NAMED[name]
        return scenario, scenario.row

    def ask(self, scenario, times=1, text=None):
        """Requests one after the other; the calls that the providers saw."""
        for _ in range(times):
            outcome = self.wall.ask(scenario)
            if text:
                self.assertEqual((outcome.error, outcome.text), (None, text))
        return self.wall.sides.take(f"s{scenario.at}")

    def open(self, scenario, provider):
        """Three failures in a row: A is left alone, and no client notices."""
        provider.script = FAIL
        calls = self.ask(scenario, 3, "next")
        self.assertEqual(count(calls, "a"), 3)
        return time.monotonic()

    def wait(self, since, seconds):
        time.sleep(max(0, since + seconds - time.monotonic()))


def count(calls, side):
    return sum(call.side == side for call in calls)


_wall = None


def shared():
    global _wall
    if not _wall:
        _wall = Wall(SCENARIOS).__enter__()
    return _wall


def tearDownModule():
    if _wall:
        _wall.__exit__(None, None, None)


class Breakers(Base):
    def test_a_target_that_fails_again_and_again_is_left_alone_by_all_workers(self):
        scenario, provider = self.world("opens")
        opened = self.open(scenario, provider)
        outcomes, calls = self.wall.together(8, scenario)
        calls += self.ask(scenario, 4, "next")
        if time.monotonic() - opened < 0.6:
            self.assertEqual((count(calls, "a"), count(calls, "b")), (0, 12))
        self.assertEqual({outcome.text for outcome in outcomes}, {"next"})

    def test_one_probe_at_a_time_finds_out_whether_it_is_well(self):
        scenario, provider = self.world("probes")
        opened = self.open(scenario, provider)
        provider.script, provider.pause_s = FINE, 0.3
        self.wait(opened, 0.9)
        outcomes, calls = self.wall.together(8, scenario)
        self.assertEqual(count(calls, "a"), 1, "one probe, and nobody else waits for it")
        self.assertEqual({outcome.error for outcome in outcomes}, {None})
        provider.pause_s = 0
        time.sleep(1)  # the ramp
        self.assertEqual(count(self.ask(scenario, 10, "fine"), "a"), 10)

    def test_a_probe_that_fails_makes_the_pause_longer(self):
        scenario, provider = self.world("probe fails")
        opened = self.open(scenario, provider)
        self.wait(opened, 0.9)
        self.assertEqual(count(self.ask(scenario, 5, "next"), "a"), 1)
        probed = time.monotonic()
        self.wait(probed, 0.9)  # longer than the first pause, shorter than the second
        self.assertEqual(count(self.ask(scenario, 5, "next"), "a"), 0)
        self.wait(probed, 1.8)
        self.assertEqual(count(self.ask(scenario, 5, "next"), "a"), 1)

    def test_a_probe_that_never_ends_is_replaced(self):
        scenario, provider = self.world("probe never ends")
        opened = self.open(scenario, provider)
        provider.script = hang
        self.wait(opened, 0.7)
        with ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(self.wall.ask, scenario)
            time.sleep(1.1)
            provider.script = FINE
            self.assertEqual(count(self.ask(scenario, 1), "a"), 2, "the probe that hangs, and its successor")
            stuck.result()

    def test_traffic_comes_back_little_by_little(self):
        scenario, provider = self.world("ramps")
        opened = self.open(scenario, provider)
        provider.script = FINE
        self.wait(opened, 0.6)
        self.ask(scenario, 1, "fine")  # the probe
        early = count(self.ask(scenario, 40), "a")
        self.wait(opened, 0.6 + 3.5)
        late = count(self.ask(scenario, 20), "a")
        self.assertLess(early, 30)
        self.assertEqual(late, 20)

    def test_a_share_of_failures_opens_it_too(self):
        scenario, provider = self.world("share")
        for turn in range(20):
            provider.script = FAIL if turn % 7 else FINE
            self.ask(scenario)
        provider.script = FINE
        self.assertEqual(count(self.ask(scenario, 5, "next"), "a"), 0)

    def test_mistakes_of_clients_and_limits_of_keys_open_nothing(self):
        scenario, provider = self.world("client faults")
        for script in (error_answer(400, "invalid_value"), error_answer(400, "content_policy_violation"), error_answer(422), error_answer(413),
                       json_answer(None, refusal="no"), error_answer(400, "context_length_exceeded")):
            provider.script = script
            self.assertEqual(count(self.ask(scenario, 5), "a"), 5)
        provider.script = FINE
        self.assertEqual(count(self.ask(scenario, 5, "fine"), "a"), 5)

    def test_a_breaker_that_is_off_never_opens(self):
        scenario, provider = self.world("off")
        provider.script = FAIL
        self.assertEqual(count(self.ask(scenario, 12, "next"), "a"), 12)

    def test_a_target_that_has_become_slow_is_left_too(self):
        scenario, provider = self.world("slow")
        provider.script = FAIL
        self.ask(scenario, 2, "next")  # its peer is known
        provider.script = FINE
        self.ask(scenario, 20, "fine")
        provider.pause_s = 0.5
        self.ask(scenario, 8)
        self.assertEqual(count(self.ask(scenario, 4, "next"), "a"), 0)
        provider.pause_s = 0

    def test_a_timeline_says_which_target_was_left_out_and_why(self):
        scenario, provider = self.world("by model")
        self.open(scenario, provider)
        outcome = self.wall.play(scenario)
        self.assertEqual(outcome.text, "next")
        if not outcome.of("a"):
            self.assertRegex(json.dumps(outcome.trace["notes"]), f"s{scenario.at}-a.*(breaker|open)")

    def test_a_single_target_is_not_hammered_and_the_client_is_told_when_to_come_back(self):
        scenario, provider = self.world("alone")
        provider.script = FAIL
        first = [self.wall.ask(scenario) for _ in range(3)]
        before = len(self.wall.sides.take(f"s{scenario.at}"))
        began = time.monotonic()
        later = [self.wall.ask(scenario) for _ in range(20)]
        calls = self.wall.sides.take(f"s{scenario.at}")
        self.assertEqual({outcome.status >= 500 for outcome in first + later}, {True})
        self.assertLessEqual(before, 9)
        self.assertLessEqual(len(calls), 3 + 2 * (time.monotonic() - began), "at most a probe a second, or so")
        self.assertGreaterEqual(int(later[-1].headers.get("retry-after", 0)), 1)
        provider.script = FINE
        deadline = time.monotonic() + 6
        while self.wall.ask(scenario).error and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertIsNone(self.wall.ask(scenario).error, "and it comes back by itself")

    def test_what_is_known_of_a_target_survives_a_reload(self):
        scenario, provider = self.world("survives")
        self.open(scenario, provider)
        gateway, name = self.wall.gateway, self.wall.project_of[scenario.at]
        seen = len(gateway.lines)
        gateway.write(f"projects/{name}.lua", gateway.projects[name] + "\n-- edited\n")
        gateway.wait_line(rf"(?i)(reload|generation|load).*{name}|{name}.*(reload|generation|load)", after=seen)
        self.assertEqual(count(self.ask(scenario, 5, "next"), "a"), 0)

    def test_a_breaker_is_closed_by_hand(self):
        scenario, provider = self.world("by hand")
        self.open(scenario, provider)
        provider.script = FINE
        self.assertEqual(count(self.ask(scenario, 2, "next"), "a"), 0)
        listed = json.loads(self.wall.gateway.cli("targets", "--json"))
        self.assertIn("open", json.dumps([row for row in (listed["targets"] if isinstance(listed, dict) else listed) if f"s{scenario.at}-a" in json.dumps(row)]))
        self.wall.gateway.cli("targets", "reset", f"s{scenario.at}-a/m", "--project", self.wall.project_of[scenario.at])
        self.assertEqual(count(self.ask(scenario, 3, "fine"), "a"), 3)


class RetryBudgets(Base):
    def test_an_outage_multiplies_traffic_by_no_more_than_a_fifth(self):
        scenario, provider = self.world("budget")
        provider.script = FAIL
        calls = []
        for _ in range(4):
            outcomes, seen = self.wall.together(25, scenario)
            calls += seen
            self.assertEqual({outcome.status for outcome in outcomes}, {502})
        self.assertGreaterEqual(len(calls), 100)
        self.assertLessEqual(len(calls), 1.2 * 100 + 5 + 3)  # burst, and what trickles in meanwhile
        self.assertGreater(len(calls), 105, "what the budget pays is used")


class Caps(Base):
    def test_no_more_run_at_a_target_than_its_cap(self):
        scenario, provider = self.world("cap")
        provider.pause_s = 0.15
        outcomes, calls = self.wall.together(8, scenario)
        self.assertEqual({outcome.text for outcome in outcomes}, {"fine"})
        self.assertEqual((count(calls, "a"), count(calls, "b")), (8, 0))
        self.assertLessEqual(provider.peak, 2)
        traces = [self.wall.trace(outcome.headers["x-request-id"]) for outcome in outcomes]
        self.assertGreater(max(trace["attempts"][0]["waited_us"] for trace in traces), 200000)

    def test_who_waits_too_long_goes_to_the_next_target(self):
        scenario, provider = self.world("queue too slow")
        provider.pause_s = 1
        outcomes, calls = self.wall.together(8, scenario)
        self.assertEqual(sorted(outcome.text for outcome in outcomes), ["fine"] * 2 + ["next"] * 6)
        self.assertLessEqual(provider.peak, 2)
        waited = [outcome.took_s for outcome in outcomes if outcome.text == "next"]
        self.assertGreater(min(waited), 0.1)
        self.assertLess(max(waited), 0.9)

    def test_without_a_queue_nobody_waits(self):
        scenario, provider = self.world("queue too short")
        provider.pause_s = 1
        outcomes, calls = self.wall.together(8, scenario)
        self.assertEqual(sorted(outcome.text for outcome in outcomes), ["fine"] * 2 + ["next"] * 6)
        self.assertLess(max(outcome.took_s for outcome in outcomes if outcome.text == "next"), 0.8)

    def test_a_stand_in_is_not_drowned(self):
        scenario, provider = self.world("stand-in capped")
        provider.script = FAIL
        second = Provider("next", 0.1)
        self.wall.sides.scripted[f"s{scenario.at}-b"] = [second]
        outcomes, calls = self.wall.together(8, scenario)
        self.assertEqual({outcome.text for outcome in outcomes}, {"next"})
        self.assertLessEqual(second.peak, 2)

    def test_a_single_target_that_is_full_says_so(self):
        scenario, provider = self.world("alone and full")
        provider.pause_s = 1
        outcomes, calls = self.wall.together(4, scenario)
        self.assertLessEqual(provider.peak, 1)
        refused = [outcome for outcome in outcomes if outcome.error]
        self.assertEqual((len(outcomes) - len(refused), len(calls)), (1, 1))
        for outcome in refused:
            self.assertIn(outcome.status, (429, 503))
            self.assertGreaterEqual(int(outcome.headers.get("retry-after", 0)), 1)

    def test_a_place_is_given_back_whatever_becomes_of_an_attempt(self):
        scenario, provider = self.world("alone and capped")
        for script in (FAIL, close, json_answer(""), error_answer(400)):
            provider.script = script
            self.wall.together(4, scenario)
        provider.script = FINE
        outcomes, _ = self.wall.together(6, scenario)
        self.assertEqual({outcome.text for outcome in outcomes}, {"fine"})
        self.assertLessEqual(provider.peak, 2)


class Accounts(unittest.TestCase):
    """An account of two projects: they share breakers and caps; others do not."""

    ACCOUNTS = 'accounts = { shared = { api_key = "sk-shared", projects = { one = 1, two = 1 } } },'

    def lua(self, a, b, account, more=""):
        key = 'account = "shared"' if account else 'api_key = "sk-own"'
        return (f'return {{ providers = {{ a = {{ base_url = "{a.url}", {key}, {more} }}, b = {{ base_url = "{b.url}" }} }}, '
                f'workflows = {{ chat = {{ "a/m", "b/m" }} }} }}')

    def ask(self, client):
        return client.chat.completions.create(model="chat", messages=MESSAGES).choices[0].message.content

    def test_what_one_project_learns_of_a_shared_account_the_other_knows(self):
        breaker = "breaker = { consecutive = 3, open_ms = 60000 },"
        with Upstream(FAIL) as a, Upstream(json_answer("next")) as b:
            projects = {"one": self.lua(a, b, True, breaker), "two": self.lua(a, b, True, breaker), "three": self.lua(a, b, False, breaker)}
            with Gateway(projects, self.ACCOUNTS) as gateway:
                one, two, three = (gateway.client(name) for name in projects)
                for _ in range(3):
                    self.assertEqual(self.ask(one), "next")
                self.assertEqual(a.count, 3)
                self.assertEqual(self.ask(two), "next")
                self.assertEqual(a.count, 3, "the other project of the account leaves it alone too")
                self.assertEqual(self.ask(three), "next")
                self.assertEqual(a.count, 4, "a stranger finds out for itself")

    def test_each_project_keeps_its_share_of_a_full_cap(self):
        cap = "concurrency = { max = 4, queue = 64, queue_ms = 5000 },"
        provider = Provider("fine", 0.1)
        with Upstream(provider) as a, Upstream(json_answer("next")) as b:
            projects = {"one": self.lua(a, b, True, cap), "two": self.lua(a, b, True, cap)}
            with Gateway(projects, self.ACCOUNTS) as gateway, ThreadPoolExecutor(32) as pool:
                one, two = (gateway.client(name) for name in projects)
                flood = [pool.submit(self.ask, one) for _ in range(24)]
                time.sleep(0.15)
                began = time.monotonic()
                self.assertEqual(self.ask(two), "fine")
                waited = time.monotonic() - began
                for future in flood:
                    self.assertEqual(future.result(), "fine")
                self.assertLess(waited, 0.45, "who comes second is not behind the whole queue of the first")
                self.assertLessEqual(provider.peak, 4)


class ZEnd(Base):
    def test_at_the_end_the_gateway_is_healthy_and_its_memory_flat(self):
        off = NAMED["off"]
        off.row.script = FAIL
        capped = NAMED["alone and capped"]
        capped.row.script, capped.row.pause_s = FINE, 0
        self.wall.healthy(self, capped, [off, NAMED["survives"], capped])


if __name__ == "__main__":
    main()
