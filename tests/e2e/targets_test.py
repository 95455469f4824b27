"""What an operator sees and does while a provider is down: `moongate targets`, its API and metrics, traces and logs."""

import re
import subprocess
import unittest

from moongate import *

BREAKER = "breaker = { consecutive = 3, open_ms = 600000, max_open_ms = 600000 }"
KEYS = 'api_keys = { { name = "main", key = "sk-main" }, { name = "spare", key = "sk-spare" } }'


def targets(gw, *more):
    return {row["target"]: row for row in json.loads(gw.cli("targets", "--json", *more))["targets"]}


def metrics(gw):
    port = int(re.search(r" admin address=\S+:(\d+)", gw.wait_line(r" admin address=")).group(1))
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return read_response(sock.makefile("rb")).body.decode()


def counted(gw, line):
    """Whether the line is among the metrics: what has been recorded is counted a moment later."""
    deadline = time.monotonic() + PATIENCE_S
    while line not in (text := metrics(gw)):
        if time.monotonic() > deadline:
            raise AssertionError(f"{line!r} is not in {text}")
    return True


def until_open(gw, target="p0/model-0"):
    """Asks until the target is left alone; the ids of the requests."""
    ids = []
    while targets(gw)[target]["state"] != "open":
        answer = gw.chat()
        assert answer.status == 200, answer.body
        ids.append(answer.headers["x-request-id"])
        assert len(ids) < 20, targets(gw)
    return ids


class Down(unittest.TestCase):
    def setUp(self):
        self.bad = self.enterContext(Upstream(close))
        self.good = self.enterContext(Upstream(json_answer("fine")))
        self.text = project(self.bad, self.good, provider=BREAKER)
        self.gw = self.enterContext(Gateway(self.text))

    def test_a_healthy_gateway_has_nothing_to_say(self):
        rows = targets(self.gw)

        self.assertEqual({name: row["state"] for name, row in rows.items()}, {"p0/model-0": "closed", "p1/model-1": "closed"})
        self.assertEqual([c["name"] for c in rows["p0/model-0"]["credentials"]], ["api_key"])
        self.assertNotIn("api_key", self.gw.cli("targets"))

    def test_an_open_breaker_is_shown_until_a_reset_closes_it(self):
        gw = self.gw
        failed = until_open(gw)

        ill = targets(gw)["p0/model-0"]
        breaker = ill["credentials"][0]["breaker"]
        self.assertEqual((breaker["state"], breaker["opened"]), ("open", 1))
        self.assertIn("3 failures in a row", ill["why"])
        self.assertGreater(ill["until_us"] / 1e6, time.time() + 300)
        self.assertEqual(targets(gw)["p1/model-1"]["state"], "closed")
        words = gw.cli("targets")
        self.assertRegex(words, r"p0/model-0 +open ")
        self.assertRegex(words, r"open for \d+m\d\ds more: 3 failures in a row: network, opened 1 time")

        text = metrics(gw)
        labels = 'project="main",target="p0/model-0"'
        self.assertIn(f"moongate_target_usable{{{labels}}} 0\n", text)
        self.assertIn(f'moongate_breaker_state{{{labels},credential="api_key"}} 3\n', text)
        self.assertIn(f'moongate_breaker_opened_total{{{labels},credential="api_key"}} 1\n', text)
        self.assertIn('moongate_target_usable{project="main",target="p1/model-1"} 1\n', text)

        # The next request goes round it and says so.
        calls = self.bad.count
        answer = gw.chat()
        self.assertEqual((answer.status, self.bad.count), (200, calls))
        trace = gw.trace(answer)
        self.assertEqual([a["target"] for a in trace["attempts"]], ["p1/model-1"])
        self.assertRegex(json.dumps(trace["notes"]), r"p0/model-0: breaker open .*3 failures in a row")
        waterfall = gw.cli("trace", trace["id"])
        self.assertLess(waterfall.index("breaker open"), waterfall.index("1 p1/model-1"))
        fell_over = gw.cli("logs", "--fell-over")
        self.assertIn(failed[0], fell_over)

        self.assertIn("is let back in", gw.cli("targets", "reset", "p0/model-0"))
        self.assertEqual(targets(gw)["p0/model-0"]["state"], "closed")
        gw.wait_line(r" target\.reset .*subject=p0/model-0")
        gw.chat()
        self.assertGreater(self.bad.count, calls)

    def test_the_state_survives_a_reload_of_the_project(self):
        gw = self.gw
        until_open(gw)
        calls, line = self.bad.count, len(gw.lines)

        gw.write("projects/main.lua", self.text.replace("allow_direct = true", "allow_direct = false"))
        gw.wait_line(r" generation\.swapped project=main number=2", after=line)

        self.assertEqual(targets(gw)["p0/model-0"]["state"], "open")
        self.assertEqual((gw.chat().status, self.bad.count), (200, calls))

    def test_wrong_names_are_told_what_there_is(self):
        for words, code, sentence in ((["reset", "p7/x"], 1, "no project has a target p7/x"),
                                      (["reset", "p0", "--project", "nobody"], 1, "there is no project nobody"),
                                      (["reset", "p0", "--credential", "x"], 1, "p0 has no credential x"),
                                      (["--project", "nobody"], 1, "there is no such project"),
                                      (["close"], 2, "reset TARGET")):
            done = self.gw.cli("targets", *words, check=False)
            self.assertEqual(done.returncode, code)
            self.assertIn(sentence, done.stderr)


class Keys(unittest.TestCase):
    def test_a_dead_key_is_benched_and_shown_and_the_other_one_is_used(self):
        def by_key(sock, request):
            dead = request.headers["authorization"] == "Bearer sk-main"
            (error_answer(401, "invalid_api_key") if dead else respond(200, completion("fine"), {
                "x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "60s"}))(sock, request)

        with Upstream(by_key) as up, Gateway(project(up, provider=KEYS).replace('api_key = "secret-0", ', "")) as gw:
            answers = [gw.chat()]
            while targets(gw)["p0/model-0"]["credentials"][0]["state"] == "closed" and len(answers) < 50:
                answers.append(gw.chat())  # which key comes first is left to chance
            answers.append(gw.chat())
            self.assertEqual({answer.status for answer in answers}, {200})

            keys = {key["name"]: key for key in targets(gw)["p0/model-0"]["credentials"]}
            self.assertEqual((keys["main"]["state"], keys["main"]["why"]), ("benched", "auth"))
            self.assertEqual(keys["main"]["benches"][0]["scope"], "key")
            self.assertEqual(keys["spare"]["state"], "closed")
            self.assertEqual([(limit["of"], limit["left"]) for limit in keys["spare"]["limits"]], [("requests", 12)])
            self.assertEqual(targets(gw)["p0/model-0"]["state"], "closed", "one key is enough")
            words = gw.cli("targets")
            self.assertRegex(words, r"main +benched (for \S+( s)? more|until somebody resets it): auth")
            self.assertRegex(words, r"spare +12 requests left, back in ")
            self.assertIn('credential="main",reason="auth"} 1', metrics(gw))

            used = [[a["credential"] for a in gw.trace(answer)["attempts"]] for answer in answers]
            self.assertEqual(used[-2:], [["main", "spare"], ["spare"]])
            waterfall = gw.cli("trace", answers[-2].headers["x-request-id"])
            self.assertRegex(waterfall, r"1 p0/model-0 .*401 auth\n.*credential main")
            self.assertRegex(waterfall, r"(→|->) next key\n")

            gw.cli("targets", "reset", "p0", "--credential", "main")
            self.assertEqual(targets(gw)["p0/model-0"]["credentials"][0]["state"], "closed")


class Hedges(unittest.TestCase):
    def test_a_hedge_that_wins_is_drawn_beside_the_one_that_lost(self):
        with Upstream(hang) as slow, Upstream(json_answer("fine")) as quick, \
                Gateway(project(slow, quick, workflow="hedge = { after_ms = 100 }")) as gw:
            answer = gw.chat()
            self.assertEqual(answer.json["choices"][0]["message"]["content"], "fine")

            first, second = gw.trace(answer)["attempts"]
            self.assertEqual((first["class"], second["class"], second["reason"]), ("cancelled", "none", "hedge"))
            self.assertGreaterEqual(second["start_us"], first["start_us"] + 90_000)
            waterfall = gw.cli("trace", answer.headers["x-request-id"])
            self.assertRegex(waterfall, r"1 p0/model-0 .* lost, cancelled\n")
            self.assertRegex(waterfall, r"hedge: no first token of p0/model-0 yet\W+beside 1")
            self.assertIn(answer.headers["x-request-id"], gw.cli("logs", "--hedged"))
            self.assertTrue(counted(gw, 'moongate_hedges_total{project="main",provider="p1",outcome="won"} 1\n'))


class Nothing(unittest.TestCase):
    def test_an_offline_answer_is_found_and_says_what_led_to_it(self):
        with Upstream(error_answer(500)) as one, Upstream(error_answer(401, "invalid_api_key")) as two, \
                Gateway(project(one, two, workflow='offline = { text = "come back later" }')) as gw:
            answer = gw.chat()
            self.assertEqual(answer.json["choices"][0]["message"]["content"], "come back later")

            self.assertTrue(gw.trace(answer)["offline"])
            words = gw.cli("trace", answer.headers["x-request-id"])
            self.assertIn("200 offline answer", words)
            self.assertLess(words.index("401 auth"), words.index("exhausted"))
            self.assertLess(words.index("exhausted"), words.index("  offline "))
            self.assertRegex(gw.cli("logs", "--offline"), answer.headers["x-request-id"] + ".* offline\n")
            self.assertTrue(counted(gw, 'moongate_offline_answers_total{project="main",workflow="chat"} 1\n'))


class Nobody(unittest.TestCase):
    def test_without_a_gateway_it_says_that_one_must_run(self):
        done = subprocess.run([BIN, "targets", "--data", "/nonexistent"], capture_output=True, text=True)

        self.assertEqual(done.returncode, 1)
        self.assertIn("no gateway runs in /nonexistent", done.stderr)


if __name__ == "__main__":
    main()
