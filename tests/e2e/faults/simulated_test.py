"""The simulator's own faults, phases and limits through the gateway: `kind = "simulated"`, and `moongate sim` from outside."""

from wall import *

PROJECT = """return {
  providers = {
    sim = {
      kind = "simulated", api_keys = { "sk-dead", "sk-poor", "sk-good" },
      models = {
        keyed = { ttft_ms = 0, tokens_per_s = 100000, faults = { { "auth", every = 1, key = "sk-dead" }, { "quota_billing", every = 1, key = "sk-poor" } } },
        limited = { ttft_ms = 0, tokens_per_s = 100000, phases = { { requests = 2, window_ms = 60000 } } },
        ["bad-*"] = { ttft_ms = 0, tokens_per_s = 100000, phases = { { for_calls = 2, fault = "status", value = 503 }, { for_calls = 1, fault = "html_502" } } },
        beat = { ttft_ms = 0, tokens_per_s = 100000, loop = true, phases = { { for_calls = 1, fault = "server_error" }, { for_calls = 1 } } },
      },
    },
    good = { kind = "simulated", models = { moon = { ttft_ms = 0, tokens_per_s = 100000 } } },
  },
  workflows = {
    keyed = { "sim/keyed", "good/moon" },
    limited = { "sim/limited", "good/moon" },
    bad = { "sim/bad-one", "good/moon" },
    beat = { "sim/beat", "good/moon" },
  },
}"""


class Simulated(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = Gateway(PROJECT)
        cls.gateway.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gateway.__exit__(None, None, None)

    def attempts(self, workflow):
        answer = self.gateway.chat(workflow)
        self.assertEqual(answer.status, 200)
        return self.gateway.trace(answer)["attempts"]

    def test_keys_that_are_refused_are_left_for_the_one_that_is_not(self):
        seen = [attempt for _ in range(6) for attempt in self.attempts("keyed")]
        self.assertEqual({attempt["provider"] for attempt in seen}, {"sim"})
        classes = [(attempt["credential"], attempt["class"]) for attempt in seen]
        self.assertLessEqual(classes.count(("key1", "auth")), 1)
        self.assertLessEqual(classes.count(("key2", "quota_billing")), 1)
        self.assertEqual(classes.count(("key3", "none")), 6)

    def test_a_limit_of_each_key_is_used_up_and_then_the_next_target_answers(self):
        """Three keys with two requests each; what the headers say is believed, so no 429 is provoked."""
        seen = [self.attempts("limited") for _ in range(8)]
        by = [attempts[-1]["provider"] for attempts in seen]
        self.assertEqual((by.count("sim") >= 4, by[-2:]), (True, ["good", "good"]))
        self.assertNotIn("rate_limited", [attempt["class"] for attempts in seen for attempt in attempts])

    def test_phases_pass_with_their_calls(self):
        seen = [self.attempts("bad") for _ in range(4)]
        self.assertEqual([attempts[0]["class"] for attempts in seen], ["overloaded", "overloaded", "server_error", "none"])

    def test_phases_come_again(self):
        self.assertEqual([self.attempts("beat")[0]["class"] for _ in range(4)], ["server_error", "none"] * 2)


class Outside(unittest.TestCase):
    """What `./dev bench outage` does: one simulator for several providers, told over HTTP how to be."""

    def test_a_phase_that_is_posted_is_felt_and_ends_when_it_is_dropped(self):
        with subprocess.Popen([BIN, "sim", "--port", "0"], stdout=subprocess.PIPE, text=True, env=clean_env()) as process:
            try:
                url = process.stdout.readline().split()[-1]
                port = int(url.split(":")[2].split("/")[0])

                def tell(method, body=None):
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
                    connection.request(method, "/_sim/phase", json.dumps(body) if body else None)
                    response = connection.getresponse()
                    data = response.read()
                    connection.close()
                    return response.status, data

                with Gateway(f'return {{ providers = {{ sim = {{ base_url = "{url}" }} }}, workflows = {{ chat = {{ "sim/a", "sim/b" }} }} }}') as gateway:
                    self.assertEqual(tell("POST", {"model": "a", "error_share": 1, "status": 500})[0], 204)
                    answer = gateway.chat()
                    self.assertEqual([(a["class"], a["target"]) for a in gateway.trace(answer)["attempts"]], [("server_error", "sim/a"), ("none", "sim/b")])
                    self.assertEqual(json.loads(tell("GET")[1])[0]["failed"], 1)
                    self.assertEqual(tell("POST", {"model": "a", "ttft_ms": 300})[0], 204)
                    began = time.monotonic()
                    self.assertEqual(gateway.chat().status, 200)
                    self.assertGreaterEqual(time.monotonic() - began, 0.3)
                    self.assertEqual(tell("POST", {"model": "a", "nonsense": 1})[0], 400)
                    self.assertEqual(tell("DELETE")[0], 204)
                    self.assertEqual(gateway.trace(gateway.chat())["attempts"][0]["class"], "none")
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
