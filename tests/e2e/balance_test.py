"""How the default policy chooses among targets, each `balance` against providers that count; whose accounts a project may use."""

import threading
import time
import unittest

from moongate import *


def after(seconds, script):
    def late(sock, request):
        time.sleep(seconds)
        script(sock, request)
    return late


def shop(*upstreams, targets=None, workflow=""):
    """A project with a provider for each upstream; `targets` says more about each."""
    providers = "".join(f'p{i} = {{ base_url = "{up.url}", api_key = "k", breaker = false }},' for i, up in enumerate(upstreams))
    more = targets or [""] * len(upstreams)
    arms = "".join(f'{{ "p{i}/m", {text} }},' for i, text in enumerate(more))
    return f"return {{ providers = {{ {providers} }}, workflows = {{ chat = {{ targets = {{ {arms} }}, {workflow} }} }} }}"


def ask(gw, times, **options):
    for _ in range(times):
        answer = gw.chat(**options)
        assert answer.status == 200, answer.body


class Balance(unittest.TestCase):
    def setUp(self):
        self.one = self.enterContext(Upstream(json_answer("one")))
        self.two = self.enterContext(Upstream(json_answer("two")))

    def start(self, **settings):
        return self.enterContext(Gateway(shop(self.one, self.two, **settings), gateway="workers = 1"))

    def counts(self):
        return self.one.count, self.two.count

    def test_in_order_unless_somebody_gave_weights(self):
        ask(self.start(), 5)

        self.assertEqual(self.counts(), (5, 0))

    def test_weighted_draws_even_when_all_weights_are_alike(self):
        ask(self.start(workflow='balance = "weighted"'), 60)

        self.assertGreater(min(self.counts()), 10)

    def test_order_goes_by_the_list_whatever_the_weights(self):
        ask(self.start(targets=["weight = 1", "weight = 1000"], workflow='balance = "order"'), 5)

        self.assertEqual(self.counts(), (5, 0))

    def test_the_faster_of_two_gets_nearly_everything(self):
        self.one.answer(after(0.15, json_answer("one")))
        gw = self.start(workflow='balance = "p2c"')
        ask(gw, 40)

        self.assertLess(self.one.count, 12)
        self.assertGreater(self.two.count, 28)

    def test_the_least_busy_is_taken_while_others_wait(self):
        free = threading.Event()
        self.one.answer(lambda sock, request: (free.wait(PATIENCE_S), json_answer("one")(sock, request)))
        gw = self.start(workflow='balance = "least_inflight"')
        waiting = threading.Thread(target=gw.chat)
        waiting.start()
        self.one.next_request()
        ask(gw, 6)
        free.set()
        waiting.join()

        self.assertEqual(self.counts(), (1, 6))

    def test_a_session_stays_where_its_cache_is_and_others_go_elsewhere(self):
        gw = self.start(workflow='balance = "sticky"')
        homes = set()
        for session in range(12):
            before = self.counts()
            ask(gw, 4, headers={"x-moongate-session": f"s-{session}"})
            grown = tuple(now - then for now, then in zip(self.counts(), before))
            self.assertIn(grown, {(4, 0), (0, 4)})
            homes.add(grown)

        self.assertEqual(len(homes), 2)

    def test_a_session_moves_only_while_its_home_fails(self):
        gw = self.start(workflow='balance = "sticky"')
        ask(gw, 1, headers={"x-moongate-session": "mine"})
        home, other = (self.one, self.two) if self.one.count else (self.two, self.one)
        home.answer(error_answer(404, "model_not_found"), json_answer("back"))
        ask(gw, 1, headers={"x-moongate-session": "mine"})

        self.assertEqual((home.count, other.count), (2, 1))

    def test_the_cheapest_is_taken(self):
        gw = self.start(targets=["price_usd = { input = 3, output = 9 }", "price_usd = { input = 1, output = 3 }"], workflow='balance = "cheapest"')
        ask(gw, 5)

        self.assertEqual(self.counts(), (0, 5))

    def test_unless_it_is_too_slow(self):
        self.two.answer(after(0.3, json_answer("two")))
        gw = self.start(targets=["price_usd = { input = 3, output = 9 }", "price_usd = { input = 1, output = 3 }"],
                        workflow='balance = "cheapest", latency_bound_ms = 150')
        ask(gw, 25)

        self.assertLess(self.two.count, 6)

    def test_whatever_the_balance_a_failure_goes_to_the_other(self):
        for balance in ("order", "weighted", "least_inflight", "p2c", "sticky", "cheapest"):
            with self.subTest(balance):
                one, two = self.enterContext(Upstream(error_answer(500))), self.enterContext(Upstream(json_answer("two")))
                text = shop(one, two, targets=["price_usd = { input = 1 }", "price_usd = { input = 2 }"], workflow=f'balance = "{balance}"')
                with Gateway(text, gateway="workers = 1") as gw:
                    ask(gw, 6, headers={"x-moongate-session": "s"})
                    self.assertEqual(two.count, 6)


class Accounts(unittest.TestCase):
    def test_an_account_is_only_for_the_projects_it_was_granted_to(self):
        text = ('return {\n  providers = {\n    shared = {\n      kind = "simulated",\n      account = "openai" } },\n'
                '  allow_direct = true }')
        accounts = 'accounts = { openai = { api_key = "theirs", projects = { "main" } } }'
        fine = 'return { providers = { sim = { kind = "simulated" } }, allow_direct = true }'
        with Gateway({"main": fine}, gateway=accounts) as gw:
            gw.write("projects/thief.lua", text)
            gw.wait_line(r"thief.lua:5.*does not grant the account")
            checked = subprocess.run([BIN, "check", gw.path], capture_output=True, text=True, env=clean_env())

            self.assertNotEqual(checked.returncode, 0)
            self.assertRegex(checked.stderr, r'thief\.lua:5: providers\.shared\.account: gateway\.lua does not grant the account "openai" to this project')


if __name__ == "__main__":
    main()
