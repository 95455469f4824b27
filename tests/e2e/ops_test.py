"""Running it: stopping, systemd, sockets, many connections, browsers, keys, the smaller surfaces, and what the commands say."""

import contextlib
import sys
import time
import unittest

from moongate import *


def post(gw, body, *headers):
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {gw.keys['main']}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def said(answer):
    return answer.json["choices"][0]["message"]["content"]


def ended(sock):
    """The peer closed it, at once or by a reset."""
    with contextlib.suppress(ConnectionError):
        return sock.recv(1) == b""
    return True


class Stopping(unittest.TestCase):
    def test_idle_connections_are_closed_and_new_ones_refused(self):
        gate = threading.Event()
        events = good_events("one ", "two")
        with Upstream(stream(*events[:2], gate, *events[2:])) as up, Gateway(project(up)) as gw, gw.connect() as idle, gw.connect() as busy:
            busy.sendall(post(gw, b'{"model":"chat","stream":true,"messages":[]}'))
            up.next_request()
            gw.process.send_signal(signal.SIGTERM)
            self.assertTrue(ended(idle))
            with self.assertRaises(OSError), gw.connect() as late:
                if ended(late):
                    raise ConnectionError
            gate.set()
            answer = read_response(busy.makefile("rb"))
            self.assertEqual((answer.text, answer.clean), ("one two", True))
            self.assertEqual(gw.stop(), 0)

    def test_what_clients_had_begun_to_send_is_answered(self):
        body = b'{"model":"chat","messages":[]}'
        with Upstream(json_answer("first"), json_answer("second")) as up, Gateway(project(up)) as gw, gw.connect() as begun, gw.connect() as fresh:
            begun.sendall(post(gw, body)[:-5])
            fresh.sendall(b"\r\n")
            gw.process.send_signal(signal.SIGTERM)
            fresh.sendall(post(gw, body))
            answer = read_response(fresh.makefile("rb"))
            self.assertEqual((said(answer), answer.headers["connection"]), ("first", "close"))

            begun.sendall(body[-5:])
            answer = read_response(begun.makefile("rb"))
            self.assertEqual((said(answer), answer.headers["connection"]), ("second", "close"))
            self.assertEqual(gw.process.wait(PATIENCE_S), 0)

    def test_pipelined_answers_wait_for_a_client_that_does_not_read(self):
        texts = [f"{i} " + "x" * 900_000 for i in range(8)]
        with Upstream(*map(json_answer, texts)) as up, Gateway(project(up)) as gw, socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(PATIENCE_S)
            sock.connect(("127.0.0.1", gw.port))
            sock.sendall(post(gw, b'{"model":"chat","messages":[]}') * len(texts))
            for _ in range(3):
                up.next_request()
            file = sock.makefile("rb")
            self.assertEqual([said(read_response(file)) for _ in texts], texts)

    def test_the_drain_has_a_deadline_and_says_what_it_cut(self):
        with Upstream(stream(*good_events("par")[:2], then="stall")) as up, Gateway(project(up), "drain_ms = 300,") as gw, gw.connect() as sock:
            sock.sendall(post(gw, b'{"model":"chat","stream":true,"messages":[]}'))
            up.next_request()
            gw.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            answer = read_response(sock.makefile("rb"))

            self.assertEqual((answer.text, answer.clean), ("par", False))
            gw.wait_line(r"stopped cut_off=1")
            self.assertLess(time.monotonic() - began, 3)
            self.assertEqual(gw.process.wait(PATIENCE_S), 0)
            row, = [json.loads(line) for line in gw.cli("logs", "--json").splitlines()]
            self.assertFalse(row["clean"])

    def test_a_second_signal_ends_it_at_once(self):
        with Upstream(stream(*good_events("par")[:2], then="stall")) as up, Gateway(project(up)) as gw, gw.connect() as sock:
            sock.sendall(post(gw, b'{"model":"chat","stream":true,"messages":[]}'))
            up.next_request()
            gw.process.send_signal(signal.SIGINT)
            gw.wait_line(r"drain.begun in_flight=1")
            gw.process.send_signal(signal.SIGINT)
            began = time.monotonic()
            gw.process.wait(PATIENCE_S)
            self.assertLess(time.monotonic() - began, 3)


class Systemd(unittest.TestCase):
    def test_it_takes_the_socket_it_is_given_and_tells_when_it_is_ready(self):
        with tempfile.TemporaryDirectory(prefix="moongate-test-") as folder, Upstream(json_answer("ok")) as up, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, socket.create_server(("127.0.0.1", 0)) as listener:
            notify.settimeout(PATIENCE_S)
            notify.bind(f"{folder}/notify")
            port = listener.getsockname()[1]
            gw = Gateway(project(up), env={"NOTIFY_SOCKET": f"{folder}/notify", "LISTEN_FDS": "1"})
            gw.prefix = [sys.executable, "-c", "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
                         "os.execv(sys.argv[2], sys.argv[2:])", str(listener.fileno())]
            gw.pass_fds = (listener.fileno(),)
            with gw:
                self.assertEqual(gw.port, port)
                self.assertIn("READY=1", self.state(notify, "READY=1"))
                self.assertEqual(gw.chat().status, 200)
                gw.process.send_signal(signal.SIGTERM)
                self.assertIn("STOPPING=1", self.state(notify, "STOPPING=1"))

    def state(self, notify, word):
        said = ""
        while word not in said:
            said += notify.recv(4096).decode() + "\n"
        return said


class Listening(unittest.TestCase):
    def test_a_unix_socket_and_a_port_serve_the_same(self):
        with tempfile.TemporaryDirectory(prefix="moongate-test-") as folder, Upstream(json_answer("ok")) as up, \
                Gateway(project(up), f'listen = {{ "127.0.0.1:0", "unix:{folder}/gate.sock" }},') as gw:
            self.assertEqual(gw.chat().status, 200)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE_S)
                sock.connect(f"{folder}/gate.sock")
                sock.sendall(post(gw, b'{"model":"chat","messages":[]}'))
                self.assertEqual(read_response(sock.makefile("rb")).status, 200)

    def test_a_port_that_is_taken_is_said_so(self):
        with Upstream() as up, socket.create_server(("127.0.0.1", 0)) as taken:
            gw = Gateway(project(up), f'listen = "127.0.0.1:{taken.getsockname()[1]}",')
            self.addCleanup(gw.folder.cleanup)
            done = subprocess.run([BIN, "serve", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S, env=clean_env())
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"port {taken.getsockname()[1]}: another program listens there")

    def test_a_second_gateway_on_the_same_data_is_refused(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            done = subprocess.run([BIN, "serve", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S, env=clean_env())
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout + done.stderr, r"data")


class Many(unittest.TestCase):
    def test_a_thousand_idle_connections_cost_little_and_hold_nobody_up(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw, contextlib.ExitStack() as stack:
            self.assertEqual(gw.chat().status, 200)
            before = private_kib(gw.process.pid)
            idle = [stack.enter_context(gw.connect()) for _ in range(1000)]
            for sock in idle[::100]:  # those that speak are served
                sock.sendall(post(gw, b'{"model":"chat","messages":[]}'))
                self.assertEqual(read_response(sock.makefile("rb")).status, 200)
            grown = private_kib(gw.process.pid) - before
            self.assertLess(grown, 24 * 1024 * SANITIZED)
            self.assertEqual(gw.chat().status, 200)

    def test_connections_beyond_the_limit_are_turned_away(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up), "workers = 1, limits = { connections = 8 },") as gw, contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(gw.connect())
            extra = stack.enter_context(gw.connect())
            extra.sendall(post(gw, b'{"model":"chat","messages":[]}'))
            with contextlib.suppress(ConnectionError):
                self.assertEqual(read_response(extra.makefile("rb")).status, 503)


SANITIZED = 4 if "asan" in BIN or "tsan" in BIN else 1


def private_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1))


class Browsers(unittest.TestCase):
    ASK = {"origin": "https://app.example", "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}

    def test_without_configuration_no_browser_may_call(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            answer = gw.request("OPTIONS", "/v1/chat/completions", headers=self.ASK, key=False)
            self.assertNotIn("access-control-allow-origin", answer.headers)
            self.assertNotIn("access-control-allow-origin", gw.chat(headers={"origin": "https://app.example"}).headers)

    def test_named_origins_may(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up), 'cors = { origins = { "https://app.example" } },') as gw:
            asked = gw.request("OPTIONS", "/v1/chat/completions", headers=self.ASK, key=False)
            self.assertIn(asked.status, (200, 204))
            self.assertEqual(asked.headers["access-control-allow-origin"], "https://app.example")
            self.assertIn("POST", asked.headers["access-control-allow-methods"])
            self.assertIn("authorization", asked.headers["access-control-allow-headers"].lower())
            answer = gw.chat(headers={"origin": "https://app.example"})
            self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example")
            self.assertNotIn("origin", up.next_request().headers)

            other = gw.request("OPTIONS", "/v1/chat/completions", headers={**self.ASK, "origin": "https://evil.example"}, key=False)
            self.assertNotIn("access-control-allow-origin", other.headers)
            refused = gw.request("POST", "/v1/chat/completions", {"model": "chat"}, {"origin": "https://app.example"}, key=False)
            self.assertEqual((refused.status, refused.headers["access-control-allow-origin"]), (401, "https://app.example"))


class Surfaces(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(json_answer("ok")).__enter__()
        cls.gw = Gateway(project(cls.up)).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__()

    def test_completions_whole_and_streamed(self):
        def event(text, finish=None):
            return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}
        self.up.answer(respond(200, {**event("once", "stop"), "usage": USAGE}))
        answer = self.gw.request("POST", "/v1/completions", {"model": "chat", "prompt": "tell"})
        self.assertEqual((answer.status, answer.json["choices"][0]["text"]), (200, "once"))
        self.assertEqual(self.up.next_request().path, "/v1/completions")
        self.assertEqual(self.gw.trace(answer)["attempts"][0]["usage"]["output_tokens"], 3)

        self.up.answer(stream(event("on"), event("ce"), event("", "stop"), "[DONE]"))
        answer = self.gw.request("POST", "/v1/completions", {"model": "chat", "prompt": "tell", "stream": True})
        self.assertEqual("".join(json.loads(e)["choices"][0]["text"] for e in answer.events[:-1]), "once")
        self.assertTrue(answer.clean)

    def test_embeddings(self):
        self.up.answer(respond(200, {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -1e-7]}],
                                     "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
        answer = self.gw.request("POST", "/v1/embeddings", {"model": "chat", "input": "a"})
        self.assertEqual((answer.status, answer.json["data"][0]["embedding"]), (200, [0.25, -1e-7]))
        self.assertEqual(self.gw.trace(answer)["attempts"][0]["usage"]["input_tokens"], 2)

    def test_models_are_the_workflows(self):
        listed = self.gw.request("GET", "/v1/models")
        self.assertEqual(listed.json["object"], "list")
        self.assertIn("chat", [model["id"] for model in listed.json["data"]])
        self.assertEqual(self.gw.request("GET", "/v1/models/chat").json["id"], "chat")
        self.assertEqual(self.gw.request("GET", "/v1/models/none").json["error"]["code"], "model_not_found")

    def test_the_answer_says_who_gave_it(self):
        self.up.answer(json_answer("ok"))
        headers = self.gw.chat().headers
        self.assertRegex(headers["x-request-id"], r"^req_\w{26}$")
        self.assertEqual((headers["x-moongate-provider"], headers["x-moongate-model"], headers["x-moongate-attempts"], headers["x-moongate-generation"]),
                         ("p0", "model-0", "1", "1"))
        self.assertTrue(headers["x-moongate-overhead-us"].isdigit())

    def test_the_deadline_of_a_client_is_obeyed_and_nonsense_refused(self):
        self.up.answer(hang)
        self.assertEqual(self.gw.chat(headers={"x-moongate-deadline-ms": "200"}).status, 504)
        self.assertEqual(self.gw.chat(headers={"x-moongate-deadline-ms": "soon"}).status, 400)


class Keys(unittest.TestCase):
    def use(self, gw, key):
        return gw.request("GET", "/v1/models", headers={"authorization": f"Bearer {key}"}, key=False).status

    def test_keys_made_without_a_gateway_work_in_one(self):
        with Upstream() as up:
            gw = Gateway(project(up))
            made = json.loads(gw.cli("key", "create", "--project", "main", "--name", "offline", "--json"))
            gone = json.loads(gw.cli("key", "create", "--project", "main", "--json"))
            gw.cli("key", "revoke", gone["id"])
            with gw:
                self.assertEqual((self.use(gw, made["key"]), self.use(gw, gone["key"])), (200, 401))
                self.assertIn("offline", gw.cli("key", "list"))
                self.assertNotIn(made["key"], gw.cli("key", "list") + gw.cli("key", "list", "--json"))

    def test_a_rotated_key_lives_for_its_overlap(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            old = json.loads(gw.cli("key", "create", "--project", "main", "--json"))
            new = json.loads(gw.cli("key", "rotate", old["id"], "--overlap", "1h", "--json"))
            self.assertEqual((self.use(gw, old["key"]), self.use(gw, new["key"])), (200, 200))
            last = json.loads(gw.cli("key", "rotate", new["id"], "--json"))
            self.assertEqual((self.use(gw, new["key"]), self.use(gw, last["key"])), (401, 200))

    def test_an_expired_key_is_refused(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            made = json.loads(gw.cli("key", "create", "--project", "main", "--expires", "1s", "--json"))
            deadline = time.monotonic() + PATIENCE_S
            while self.use(gw, made["key"]) == 200:
                self.assertLess(time.monotonic(), deadline)
            self.assertEqual(self.use(gw, made["key"]), 401)

    def test_a_key_of_one_project_opens_no_other(self):
        with Upstream(json_answer("a")) as a, Upstream(json_answer("b")) as b, Gateway({"main": project(a), "other": project(b)}) as gw:
            for name, text in (("main", "a"), ("other", "b")):
                answer = gw.chat(headers={"authorization": f"Bearer {gw.keys[name]}"})
                self.assertEqual(answer.json["choices"][0]["message"]["content"], text)
            mixed = gw.keys["other"].replace("mg-other", "mg-main")
            self.assertEqual(self.use(gw, mixed), 401)

    def test_the_store_keeps_no_key(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            gw.chat()
            gw.stop()
            secret = gw.keys["main"].rsplit("-", 1)[-1].encode()
            for folder, _, names in os.walk(os.path.join(gw.path, "data")):
                for name in names:
                    path = os.path.join(folder, name)
                    if os.path.isfile(path):
                        with open(path, "rb") as file:
                            self.assertNotIn(secret, file.read(), path)


class Checking(unittest.TestCase):
    def check(self, main, gateway="return {}"):
        with tempfile.TemporaryDirectory(prefix="moongate-test-") as folder:
            os.mkdir(f"{folder}/projects")
            for name, text in (("gateway.lua", gateway), ("projects/main.lua", main)):
                with open(f"{folder}/{name}", "w") as out:
                    out.write(text)
            done = subprocess.run([BIN, "check", folder], capture_output=True, text=True, timeout=PATIENCE_S, env=clean_env())
            return done.returncode, done.stdout + done.stderr

    def test_good_files_pass(self):
        code, said = self.check(project("http://127.0.0.1:1/v1"))
        self.assertEqual(code, 0, said)

    def test_every_mistake_has_its_line_its_path_and_a_hint(self):
        code, said = self.check("return {\n  providers = {\n    a = { base_url = 7 },\n  },\n  workflows = { chat = { targts = 'a/b' } },\n}")
        self.assertEqual(code, 1)
        self.assertRegex(said, r'main\.lua:3: providers\.a\.base_url: expected .*, found 7')
        self.assertRegex(said, r'main\.lua:5: workflows\.chat\.targts: .*did you mean "targets"')

    def test_targets_name_providers_that_are_there(self):
        code, said = self.check('return { providers = { a = {} }, workflows = { chat = "b/x" } }')
        self.assertEqual(code, 1)
        self.assertIn('workflows.chat: there is no provider "b"', said)

    def test_the_gateways_file_is_checked_too(self):
        code, said = self.check(project("http://127.0.0.1:1/v1"), "return { workers = 0 }")
        self.assertEqual(code, 1)
        self.assertRegex(said, r"gateway\.lua:1: workers")

    def test_a_missing_variable_is_named(self):
        code, said = self.check('return { providers = { a = { api_key = env "MOONGATE_TEST_NO_SUCH_KEY" } }, workflows = { chat = "a/x" } }')
        self.assertEqual(code, 1)
        self.assertIn("MOONGATE_TEST_NO_SUCH_KEY", said)


class Commands(unittest.TestCase):
    def test_logs_and_trace_tell_what_happened_in_words(self):
        with Upstream(error_answer(503, "server_is_overloaded", message="come back later")) as bad, Upstream(stream(*good_events("fine"))) as good, \
                Gateway(project(bad, good)) as gw:
            answer = gw.chat(stream=True, headers={"x-moongate-session": "s-1"})
            id = answer.headers["x-request-id"]
            gw.trace(id)

            line = next(line for line in gw.cli("logs").splitlines() if id in line)
            self.assertRegex(line, r"\d\d:\d\d:\d\d 200 req_\w+ +2 .*main/chat → p1/model-1")
            text = gw.cli("trace", id)
            self.assertRegex(text, r"1 p0/model-0 .*503 overloaded")
            self.assertRegex(text, r"2 p1/model-1 .*200 ok")
            self.assertIn("come back later", text)
            self.assertIn("first token", text)
            self.assertNotIn("\033[", text)

    def test_follow_prints_a_line_as_a_request_ends(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw, \
                subprocess.Popen([BIN, "logs", "-f", "--data", f"{gw.path}/data", "--status", "200"], stdout=subprocess.PIPE, text=True) as follower:
            try:
                id = gw.chat().headers["x-request-id"]
                while id not in (line := follower.stdout.readline()):
                    self.assertTrue(line, "it ended")
            finally:
                follower.terminate()

    def test_sums_by_a_field_are_the_same_from_the_gateway_and_from_its_store(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            for team in ("blue", "blue", "red"):
                gw.trace(gw.chat(headers={"x-moongate-metadata": json.dumps({"team": team})}).headers["x-request-id"])
            query = ("logs", "--by", "metadata.team", "--query", "metadata.team=!green&max_latency=1m")
            groups = json.loads(gw.cli(*query, "--json"))["groups"]
            self.assertEqual([(group["value"], group["count"]) for group in groups], [("blue", 2), ("red", 1)])
            table = gw.cli(*query)
            self.assertRegex(table, r"(?m)^metadata\.team +REQUESTS +ERRORS")
            self.assertRegex(table, r"(?m)^blue +2 +0\.00%")
            self.assertEqual(len(gw.cli("logs", "--user", "nobody")), 0)
            gw.stop()
            self.assertEqual(gw.cli(*query), table)
            done = gw.cli("logs", "--by", "colour", check=False)
            self.assertEqual((done.returncode, "is not project, workflow" in done.stderr), (2, True))

    def test_what_is_not_there_is_said(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            done = gw.cli("trace", "req_00000000000000000000000000", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no such request", done.stderr)
            self.assertEqual(gw.cli("logs"), gw.cli("logs", "--status", "5xx"))


if __name__ == "__main__":
    main()
