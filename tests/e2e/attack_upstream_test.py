"""Hostile upstreams: whatever a provider sends, the gateway stands, tells the client the truth and forgets nothing."""

import time

from moongate import *

GUARD = 'plugins = { { as = "guard", stream = { mode = "buffer" }, on_response = function(self, res) end } },'


def chunked(*events):
    """Events as bytes, with pauses so that they come in many reads."""

    def script(sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            data = event if isinstance(event, bytes) else b"data: %s\n\n" % (
                event if isinstance(event, str) else json.dumps(event)).encode()
            sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            time.sleep(0.0005)
        sock.sendall(b"0\r\n\r\n")

    return script


class Floods(unittest.TestCase):
    def test_a_megabyte_of_comments_before_any_content_is_a_failure_and_the_next_target_answers(self):
        flood = chunked(*[b": %s\n\n" % (b"x" * 8000)] * 200, *good_events("late"))
        with Upstream(flood) as bad, Upstream(chunked(*good_events("hello"))) as good, Gateway(project(bad, good)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.clean, answer.text), (200, True, "hello"))

    def test_a_megabyte_of_roles_before_any_content_is_a_failure(self):
        flood = chunked(*[chunk({"role": "assistant", "pad": "x" * 10000})] * 200, *good_events("late"))
        with Upstream(flood) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (502, "server_error"))

    def test_a_long_stream_is_held_back_whole_for_a_plugin_that_asks_for_it(self):
        words = ["w%d " % i for i in range(9000)]
        with Upstream(stream(*good_events(*words))) as up, Gateway(project(up, extra=GUARD)) as gw:
            answer = gw.chat(stream=True)
            self.assertGreater(len(answer.body), 1 << 20)
            self.assertEqual((answer.status, answer.clean, answer.text), (200, True, "".join(words)))

    def test_a_stream_beyond_what_can_be_held_back_is_refused_and_the_next_request_is_served(self):
        huge = chunked(*[chunk({"content": "x", "pad": "y" * 60000})] * 160, *good_events("end"))
        with Upstream(huge, json_answer("hi")) as up, Gateway(project(up, extra=GUARD)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (502, "answer_too_large"))
            self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "hi")


PROVIDER = 'return {{ providers = {{ p = {{ adapter = "openai", base_url = "{}", api_key = "{}" }} }}, workflows = {{ chat = {{ targets = {{ "p/m" }} }} }} }}'
ONE_WORKER = 'return { listen = "127.0.0.1:0", admin = "127.0.0.1:0", workers = 1, data_dir = "data" }'


class Poison(unittest.TestCase):
    def test_no_connection_is_shared_by_two_projects(self):
        seen = []

        def answer(sock, request):
            seen.append((sock.getpeername(), request.headers["authorization"]))
            json_answer("hi")(sock, request)

        with Upstream(answer) as up:
            projects = {"main": PROVIDER.format(up.url, "key-of-main"), "other": PROVIDER.format(up.url, "key-of-other")}
            with Gateway(projects, gateway=ONE_WORKER) as gw:
                for name in ("main", "other", "main", "other"):
                    gw.client(name).chat.completions.create(model="chat", messages=[])
        self.assertEqual(len(set(seen)), 2, seen)
        self.assertEqual(len({peer for peer, _ in seen}), 2)

    def test_an_answer_nobody_asked_for_ends_the_connection(self):
        def poisoned(sock, request):
            json_answer("right")(sock, request)
            time.sleep(0.02)
            json_answer("WRONG")(sock, request)

        with Upstream(poisoned) as up, Gateway(project(up), gateway=ONE_WORKER) as gw:
            for _ in range(5):
                self.assertIn(b"right", gw.chat().body)
                up.closed.get(timeout=PATIENCE_S)


class Guards(unittest.TestCase):
    GUARD = ('plugins = { { as = "g", stream = { mode = "filter", hold = 4 }, fail = { on_chunk = "%s" }, '
             'on_chunk = function(self, c) return (c.text:gsub("SECRET", "******")) end } },')
    UNSEEN = ({"choices": [{"index": i, "delta": {"content": "SECRET"}} for i in range(20)]},
              {"choices": [{"index": 0, "delta": {"content": [{"type": "text", "text": "SECRET"}]}}]},
              {"choices": [{"index": 0, "delta": {"content": {"text": "SECRET"}}}]})

    def test_text_that_a_guard_cannot_see_ends_the_stream(self):
        with Upstream() as up, Gateway(project(up, extra=self.GUARD % "closed")) as gw:
            for event in self.UNSEEN:
                up.answer(stream(chunk({"content": "fine"}), event, *good_events("end")))
                answer = gw.chat(stream=True)
                self.assertEqual((answer.clean, b"SECRET" in answer.body), (False, False))
                self.assertIn(b"stopped_by_plugin", answer.body)

    def test_text_that_a_transform_cannot_see_passes(self):
        with Upstream(stream(self.UNSEEN[1], *good_events("end"))) as up, \
                Gateway(project(up, extra=self.GUARD % "open")) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.clean), (200, True))


class Secrets(unittest.TestCase):
    def test_a_provider_that_repeats_its_key_does_not_tell_it_to_the_client_or_the_record(self):
        for status in (400, 401, 500):
            echo = error_answer(status, message="Incorrect API key provided: secret-0-with-a-tail. " + "x" * 183 + " secret-0-with-a-tail")
            with Upstream(echo) as up:
                text = project(up, workflow="max_attempts = 1").replace("secret-0", "secret-0-with-a-tail")
                with Gateway(text) as gw:
                    answer = gw.chat()
                    self.assertGreaterEqual(answer.status, 400)
                    told = answer.body.decode() + json.dumps(gw.trace(answer)) + "\n".join(gw.lines)
                    self.assertNotIn("secret-0", told)
                    self.assertIn("****", told)


class Answers(unittest.TestCase):
    def test_an_upstream_that_begins_to_answer_early_still_gets_the_whole_request(self):
        listener = socket.create_server(("127.0.0.1", 0))
        size, got = 6000000, []

        def serve():
            with listener.accept()[0] as sock:
                got.append(len(sock.recv(1000)))
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
                while sum(got) < size:
                    got.append(len(sock.recv(1 << 20)))
                for event in good_events("hello"):
                    sock.sendall(b"data: %s\n\n" % (event if isinstance(event, str) else json.dumps(event)).encode())

        threading.Thread(target=serve, daemon=True).start()
        with listener, Gateway(project(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")) as gw:
            answer = gw.chat(stream=True, user="x" * size)
            self.assertEqual((answer.status, answer.clean, answer.text), (200, True, "hello"))

    def test_nonsense_in_usage_is_estimated_and_not_billed(self):
        for bad in (2**64 - 1, -5, "12", 1e300):
            body = {**completion("hello"), "usage": {"prompt_tokens": bad, "completion_tokens": 3, "total_tokens": 3}}
            with Upstream(respond(200, body)) as up, Gateway(project(up)) as gw:
                usage = gw.trace(gw.chat())["attempts"][0]["usage"]
                self.assertFalse(usage["reported"], usage)
                self.assertLess(usage["input_tokens"], 1000)

    def test_no_time_is_spent_waiting_for_a_retry_that_the_budget_forbids(self):
        slow = "max_attempts = 1, route = function(req, candidates) return { attempts = { { target = candidates[1].id, tries = 3, backoff = { base_ms = 5000, jitter = 0 } } } } end"
        with Upstream(error_answer(503)) as up, Gateway(project(up, workflow=slow)) as gw:
            begun = time.monotonic()
            self.assertEqual(gw.chat().status, 503)
            self.assertLess(time.monotonic() - begun, 4)

    def test_a_huge_error_is_cut_and_not_punched(self):
        with Upstream(error_answer(400, message="e" * 3000000)) as up, Gateway(project(up)) as gw:
            answer = gw.chat()
            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "invalid_request"))

    def test_headers_that_any_provider_of_the_route_configures_are_not_the_clients(self):
        with Upstream(error_answer(503)) as bad, Upstream(json_answer("hi")) as good:
            text = project(bad, good).replace('api_key = "secret-1"', 'api_key = "secret-1", headers = { ["x-account"] = "ours" }')
            with Gateway(text) as gw:
                self.assertEqual(gw.chat(headers={"x-account": "theirs", "x-other": "kept"}).status, 200)
                raw = good.next_request().raw_headers
                self.assertEqual([v for k, v in raw if k == "x-account"], ["ours"])
                self.assertIn(("x-other", "kept"), raw)

    def test_a_header_that_a_patch_sets_replaces_the_clients(self):
        patch = 'on_attempt = function(req, att) return { headers = { ["x-tenant"] = "right" } } end,'
        with Upstream(json_answer("hi")) as up, Gateway(project(up, extra=patch)) as gw:
            self.assertEqual(gw.chat(headers={"x-tenant": "wrong", "x-other": "kept"}).status, 200)
            raw = up.next_request().raw_headers
            self.assertEqual([v for k, v in raw if k == "x-tenant"], ["right"])
            self.assertIn(("x-other", "kept"), raw)


if __name__ == "__main__":
    main()
