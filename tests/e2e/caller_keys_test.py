"""Keys that a client brings for a provider: only where the project lets it, for that request alone, and nowhere afterwards."""

import openai

from moongate import *
from vault_test import memory_holds, files_that_hold, unique

HEADER = "x-moongate-key-p0"


def ask(gw, key=None, **more):
    return gw.chat(headers={HEADER: key} if key else {}, **more)


def sent(up):
    return up.next_request().headers.get("authorization")


class Allowed(unittest.TestCase):
    def test_the_provider_gets_the_clients_key_for_that_request_and_the_projects_for_all_others(self):
        with Upstream() as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            self.assertEqual([ask(gw).status, ask(gw, "sk-mine").status, ask(gw).status], [200, 200, 200])
            self.assertEqual([sent(up) for _ in range(3)], ["Bearer secret-0", "Bearer sk-mine", "Bearer secret-0"])

    def test_the_header_itself_never_goes_upstream_and_no_hook_can_read_it(self):
        hook = f"""on_request = function(req) moongate.log.info("seen", {{ key = req.headers["{HEADER}"] or "nothing" }}) end"""
        with Upstream() as up, Gateway(project(up, provider='caller_keys = "accept"', extra=hook)) as gw:
            self.assertEqual(ask(gw, "sk-mine").status, 200)
            request = up.next_request()
            self.assertFalse([name for name in request.headers if name.startswith("x-moongate")])
            self.assertNotIn("sk-mine", gw.wait_line("seen"))

    def test_the_official_sdk_brings_one_with_an_extra_header_streaming_too(self):
        with Upstream(stream(*good_events("a", "b"))) as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            client = gw.client(default_headers={HEADER: "sk-sdk"})
            events = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}], stream=True)
            self.assertEqual("".join(event.choices[0].delta.content or "" for event in events if event.choices), "ab")
            self.assertEqual(sent(up), "Bearer sk-sdk")

    def test_each_provider_of_a_plan_gets_its_own_and_falls_back_with_the_projects(self):
        with Upstream(error_answer(500)) as a, Upstream() as b:
            with Gateway(project(a, b, provider='breaker = false, caller_keys = "accept"')) as gw:
                self.assertEqual(gw.chat(headers={HEADER: "sk-a", "x-moongate-key-p1": "sk-b"}).status, 200)
                self.assertEqual((sent(a), sent(b)), ("Bearer sk-a", "Bearer sk-b"))
                self.assertEqual(ask(gw, "sk-a").status, 200)
                self.assertEqual((sent(a), sent(b)), ("Bearer sk-a", "Bearer secret-1"))

    def test_it_is_metered_like_any_other_and_reports_can_tell_it_apart(self):
        with Upstream() as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            answer = ask(gw, "sk-mine")
            ask(gw)
            self.assertEqual(gw.trace(answer)["attempts"][0]["credential"], "@caller")
            report = json.loads(gw.cli("usage", "--by", "credential", "--json"))
            rows = {row["credential"]: row for row in report["rows"]}
            self.assertEqual({name: (row["attempts"], row["input_tokens"]) for name, row in rows.items()},
                             {"@caller": (1, 9), "api_key": (1, 9)})


class Refused(unittest.TestCase):
    def code(self, answer):
        return answer.status, answer.json["error"]["code"]

    def test_a_project_that_does_not_say_so_takes_none_and_calls_nobody(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            words = []
            for name in "p0", "nobody":
                answer = gw.chat(headers={f"x-moongate-key-{name}": "sk-mine"})
                self.assertEqual(self.code(answer), (403, "caller_key_not_allowed"))
                words.append(answer.json["error"]["message"].replace(name, "X"))
            self.assertEqual(words[0], words[1], "whether there is such a provider is not told")
            self.assertEqual(up.count, 0)

    def test_what_is_no_key_is_refused(self):
        with Upstream() as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            for headers in ({HEADER: ""}, {HEADER: "sk mine"}, {HEADER: "k" * 4097}, {HEADER: "sk-a", HEADER.upper(): "sk-b"}, {"x-moongate-key-": "sk-a"},
                            {f"x-moongate-key-p{i}": "sk-a" for i in range(9)}):
                self.assertEqual(self.code(gw.chat(headers=headers)), (400, "invalid_caller_key"), headers)
            self.assertEqual(up.count, 0)

    def test_a_key_that_is_no_key_of_this_gateway_is_told_that_first(self):
        with Upstream() as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            answer = gw.request("POST", "/v1/chat/completions", {"model": "chat"}, {"authorization": "Bearer mg-no", HEADER: ""}, key=False)
            self.assertEqual(self.code(answer), (401, "invalid_api_key"))

    def test_where_one_is_required_none_is_called_without_it(self):
        with Upstream() as up, Gateway(project(up, provider='caller_keys = "require"')) as gw:
            answer = ask(gw)
            self.assertEqual(self.code(answer), (401, "caller_key_missing"))
            self.assertIn(HEADER, answer.json["error"]["message"])
            self.assertEqual(up.count, 0)
            self.assertEqual(ask(gw, "sk-mine").status, 200)
            self.assertEqual(sent(up), "Bearer sk-mine")

    def test_a_plan_skips_the_targets_for_which_a_required_one_is_missing(self):
        with Upstream() as a, Upstream() as b:
            text = project(a, b, provider='caller_keys = "require"').replace(
                'p1 = { adapter', 'p1 = { caller_keys = "refuse", adapter').replace(
                'api_key = "secret-1", caller_keys = "require"', 'api_key = "secret-1"')
            with Gateway(text) as gw:
                self.assertEqual(ask(gw).status, 200)
                self.assertEqual((a.count, b.count), (0, 1))


class Isolated(unittest.TestCase):
    def test_a_rejected_key_is_its_clients_to_mend_and_the_projects_key_stays_good(self):
        def script(sock, request):
            bad = request.headers["authorization"] != "Bearer secret-0"
            (error_answer(401, "invalid_api_key", message="Incorrect API key provided.") if bad else json_answer("hi"))(sock, request)

        with Upstream(script) as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            for _ in range(8):
                answer = ask(gw, "sk-wrong")
                self.assertEqual((answer.status, answer.json["error"]["code"]), (401, "invalid_api_key"))
            with self.assertRaises(openai.AuthenticationError):
                gw.client(default_headers={HEADER: "sk-wrong"}).chat.completions.create(model="chat", messages=[])
            self.assertEqual(up.count, 9, "nothing is benched, and nothing of the project's is tried in its place")
            self.assertEqual(ask(gw).status, 200)
            row = json.loads(gw.cli("targets", "--json"))["targets"][0]
            self.assertEqual((row["state"], row["credentials"][0]["state"]), ("closed", "closed"))

    def test_limits_and_quotas_of_a_clients_key_are_told_to_it_and_held_against_nobody(self):
        def script(sock, request):
            who = request.headers["authorization"]
            (error_answer(429, "rate_limit_exceeded", headers={"retry-after": "30", "x-ratelimit-remaining-requests": "0",
                                                               "x-ratelimit-reset-requests": "30s"})
             if who == "Bearer sk-poor" else json_answer("hi"))(sock, request)

        with Upstream(script) as up, Gateway(project(up, provider='caller_keys = "accept"', workflow="max_attempts = 1")) as gw:
            poor = ask(gw, "sk-poor")
            self.assertEqual((poor.status, poor.headers["retry-after"]), (429, "30"))
            self.assertEqual([ask(gw, "sk-rich").status, ask(gw).status], [200, 200])

    def test_a_key_whose_calls_fail_opens_no_breaker_of_the_project_nor_of_most_others(self):
        def script(sock, request):
            (error_answer(500) if request.headers["authorization"] == "Bearer sk-bad" else json_answer("hi"))(sock, request)

        with Upstream(script) as up, Gateway(project(up, provider='caller_keys = "accept"', workflow="max_attempts = 1")) as gw:
            statuses = [ask(gw, "sk-bad").status for _ in range(40)]
            self.assertEqual(set(statuses) - {500, 502, 503}, set())
            self.assertLess(up.count, 40, "its own breaker is open")
            self.assertEqual([ask(gw).status for _ in range(5)], [200] * 5)
            good = [ask(gw, f"sk-good-{i}").status for i in range(32)].count(200)
            self.assertGreater(good, 24, "a bucket holds about one in 32")
            gw.cli("targets", "reset", "p0/model-0")
            count = up.count
            ask(gw, "sk-bad")
            self.assertEqual(up.count, count + 1, "a reset by hand closes their breakers too")

    def test_a_benched_key_of_the_project_stops_no_client_that_has_its_own(self):
        def script(sock, request):
            bad = request.headers["authorization"] == "Bearer secret-0"
            (error_answer(401, "invalid_api_key") if bad else json_answer("hi"))(sock, request)

        with Upstream(script) as up, Gateway(project(up, provider='caller_keys = "accept"')) as gw:
            self.assertEqual([ask(gw).status, ask(gw).status], [502, 502])
            self.assertEqual(up.count, 1)
            self.assertEqual(ask(gw, "sk-mine").status, 200)


class Canary(unittest.TestCase):
    def test_it_is_nowhere_once_the_exchange_has_ended(self):
        for tls in False, True:
            key = unique("caller")
            with self.subTest(tls=tls), Upstream() as up, tempfile.TemporaryDirectory() as folder:
                context, gateway = None, ""
                if tls:
                    cert, private = certificate(folder)
                    context = ssl.create_default_context(cafile=cert)
                    gateway = f'listen = {{ {{ address = "127.0.0.1:0", cert = "{cert}", key = "{private}" }} }}'
                with Gateway(project(up, provider='caller_keys = "accept"'), gateway=gateway, tls=context) as gw:
                    up.answer(json_answer(f"your key is {key}"))
                    answers = [ask(gw, key)]
                    self.assertEqual(sent(up), f"Bearer {key}")
                    up.answer(stream(*good_events("x", f"your key is {key}", "y"), pieces=7))
                    answers.append(ask(gw, key, stream=True))
                    up.answer(error_answer(401, "invalid_api_key", message=f"Incorrect API key provided: {key}"))
                    answers.append(ask(gw, key))
                    answers.append(gw.chat(headers={"x-moongate-key-nobody": key}))
                    self.assertEqual([answer.status for answer in answers], [200, 200, 401, 403])
                    for answer in answers[:3]:
                        gw.trace(answer)
                        self.assertNotIn(key.encode(), answer.body)
                        self.assertIn(b"****", answer.body)
                    self.assertEqual(memory_holds(gw.process.pid, key.encode()), [])
                    self.assertEqual(files_that_hold(gw.path, key.encode()), [])
                    self.assertNotIn(key, "\n".join(gw.lines))


if __name__ == "__main__":
    main()
