"""HTTP/1.1 at the edge: framing, limits, slow clients, what is forwarded and what never is."""

import time
import unittest

from moongate import *

SMALL = "limits = { body_bytes = 20000, header_bytes = 4096, header_ms = 400, body_ms = 400, idle_ms = 400 },"


def post(gw, body=b'{"model":"chat","messages":[]}', *headers, length=None, path="/v1/chat/completions"):
    lines = [f"POST {path} HTTP/1.1", "host: x", f"authorization: Bearer {gw.keys['main']}",
             *([f"content-length: {len(body) if length is None else length}"] if length != "" else []), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def say(gw, data):
    """Sends it and reads one answer."""
    with gw.connect() as sock:
        sock.sendall(data)
        return read_response(sock.makefile("rb"))


class Framing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(json_answer("ok")).__enter__()
        cls.gw = Gateway(project(cls.up), SMALL).__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__()

    def test_requests_that_two_parsers_could_read_differently_are_refused(self):
        good = post(self.gw)
        rows = {
            "both framings": post(self.gw, b"0\r\n\r\n", "transfer-encoding: chunked", length=5),
            "two lengths": post(self.gw, b"{}", "content-length: 3"),
            "bare LF": good.replace(b"\r\n", b"\n"),
            "bare CR": good.replace(b"host: x\r\n", b"host: x\rx-a: b\r\n"),
            "folded line": good.replace(b"host: x\r\n", b"host: x\r\nx-a: b\r\n c\r\n"),
            "blank before colon": good.replace(b"host: x", b"host : x"),
            "no host": good.replace(b"host: x\r\n", b""),
            "two hosts": good.replace(b"host: x\r\n", b"host: x\r\nhost: y\r\n"),
            "odd coding": post(self.gw, b"0\r\n\r\n", "transfer-encoding: gzip, chunked", length=""),
            "nul": good.replace(b"host: x", b"host: x\0"),
        }
        before = self.up.count
        for name, data in rows.items():
            with self.subTest(name):
                answer = say(self.gw, data)
                self.assertEqual(answer.status, 400)
                self.assertEqual(answer.json["error"]["code"], "malformed_request")
                self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(self.up.count, before)

    def test_pipelined_requests_are_answered_in_order(self):
        with self.gw.connect() as sock:
            sock.sendall(post(self.gw) + b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n\r\n"
                         % self.gw.keys["main"].encode() + post(self.gw))
            file = sock.makefile("rb")
            kinds = [read_response(file).json["object"] for _ in range(3)]

        self.assertEqual(kinds, ["chat.completion", "list", "chat.completion"])

    def test_a_chunked_body_with_trailers_is_read(self):
        body = b'{"model":"chat","messages":[]}'
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in cut(body, 7)) + b"0\r\nx-trailer: 1\r\n\r\n"

        self.assertEqual(say(self.gw, post(self.gw, chunked, "transfer-encoding: chunked", length="")).status, 200)

    def test_expect_continue_is_answered_before_the_body(self):
        body = b'{"model":"chat","messages":[]}'
        with self.gw.connect() as sock:
            sock.sendall(post(self.gw, b"", "expect: 100-continue", length=len(body)))
            file = sock.makefile("rb")
            self.assertEqual(file.readline(), b"HTTP/1.1 100 Continue\r\n")
            file.readline()
            sock.sendall(body)
            self.assertEqual(read_response(file).status, 200)

    def test_head_has_no_body(self):
        answer = self.gw.request("HEAD", "/v1/models")

        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertGreater(int(answer.headers["content-length"]), 0)

    def test_too_large_is_said_so(self):
        declared = say(self.gw, post(self.gw, b"", length=20001))
        grown = say(self.gw, post(self.gw, b"5000\r\n" + b"x" * 0x5000 + b"\r\n0\r\n\r\n", "transfer-encoding: chunked", length=""))
        header = say(self.gw, post(self.gw, b"{}", "x-long: " + "y" * 5000))

        self.assertEqual((declared.status, declared.json["error"]["code"]), (413, "body_too_large"))
        self.assertEqual(grown.status, 413)
        self.assertEqual((header.status, header.json["error"]["code"]), (431, "headers_too_large"))

    def test_slow_and_idle_clients_do_not_stay(self):
        with self.gw.connect() as slow_head, self.gw.connect() as slow_body, self.gw.connect() as idle:
            slow_head.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost")
            slow_body.sendall(post(self.gw, b"{", length=100))
            self.assertEqual(read_response(slow_head.makefile("rb")).status, 408)
            self.assertEqual(read_response(slow_body.makefile("rb")).status, 408)
            self.assertEqual(idle.recv(1), b"")

    def test_a_drip_of_header_bytes_does_not_keep_a_connection(self):
        with self.gw.connect() as sock:
            began = time.monotonic()
            try:
                for byte in b"GET /v1/models HTTP/1.1\r\nx-a: " + b"b" * 1000:
                    sock.sendall(bytes([byte]))
                    sock.settimeout(0.02)
                    try:
                        if not sock.recv(1):
                            break
                        break
                    except TimeoutError:
                        pass
            except ConnectionError:
                pass
            self.assertLess(time.monotonic() - began, 10)

    def test_unknown_paths_and_methods(self):
        self.assertEqual(self.gw.request("GET", "/nope").json["error"]["code"], "unknown_path")
        self.assertEqual(self.gw.request("GET", "/v1/chat/completions").status, 405)

    def test_json_errors_name_the_byte(self):
        for body, at in ((b'{"model":"chat",}', 16), (b'{"model":"chat","model":"x"}', 16), (b"\xff", 0), (b"", 0),
                         (b'{"model":"chat","messages":[{"role":"a","role":"b"}]}', 40)):
            with self.subTest(body):
                answer = say(self.gw, post(self.gw, body))
                self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "invalid_json"))
                self.assertIn(f"at byte {at}:", answer.json["error"]["message"])


class Forwarding(unittest.TestCase):
    def test_what_goes_upstream(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            body = b'{ "model" : "chat", "messages":[] , "unknown_field": {"a": 1.50, "big": 123456789012345678901} }'
            answer = gw.request("POST", "/v1/chat/completions", body, {
                "cookie": "session=1", "origin": "https://app", "x-moongate-session": "s", "forwarded": "for=1", "x-forwarded-for": "1",
                "connection": "x-hop", "x-hop": "1", "x-stainless-lang": "python", "openai-beta": "b", "traceparent": "00-1"})

            self.assertEqual(answer.status, 200)
            sent = up.next_request()
            self.assertEqual(sent.body, body.replace(b'"chat"', b'"model-0"'))
            for name in ("cookie", "origin", "x-moongate-session", "forwarded", "x-forwarded-for", "x-hop"):
                self.assertNotIn(name, sent.headers)
            self.assertEqual((sent.headers["x-stainless-lang"], sent.headers["openai-beta"], sent.headers["traceparent"]), ("python", "b", "00-1"))
            self.assertEqual(sent.headers["host"], f"127.0.0.1:{up.port}")
            self.assertEqual(sum(1 for name, _ in sent.raw_headers if name.lower() == "authorization"), 1)

    def test_metadata_that_cannot_be_recorded_is_refused(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            for text in ("[1]", "{", "tier=pro", '{"a":"%s"}' % ("x" * 2048)):
                answer = gw.chat(headers={"x-moongate-metadata": text})
                self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "invalid_metadata"))
            answer = gw.chat(headers={"x-moongate-metadata": '{"tier":"pro"}'})

            self.assertEqual(gw.trace(answer)["metadata"], {"tier": "pro"})

    def test_what_comes_back(self):
        headers = {"x-ratelimit-remaining-requests": "7", "set-cookie": "a=b", "x-request-id": "req_theirs", "server": "cloudflare",
                   "content-type": "application/json"}
        with Upstream(respond(200, completion("ok"), headers)) as up, Gateway(project(up)) as gw:
            answer = gw.chat()

            self.assertEqual(answer.headers["x-ratelimit-remaining-requests"], "7")
            self.assertEqual(answer.headers["x-moongate-upstream-request-id"], "req_theirs")
            self.assertTrue(answer.headers["x-request-id"].startswith("req_"))
            self.assertEqual((answer.headers["x-moongate-provider"], answer.headers["x-moongate-model"]), ("p0", "model-0"))
            for name in ("set-cookie", "server", "access-control-allow-origin"):
                self.assertNotIn(name, answer.headers)

    def test_keys_are_refused_alike_and_never_echoed(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            for headers in ({}, {"authorization": "Bearer sk-very-secret"}, {"authorization": "Basic x"}, {"x-api-key": "sk-very-secret"}):
                answer = gw.request("POST", "/v1/chat/completions", {"model": "chat"}, headers, key=False)
                self.assertEqual(answer.status, 401)
                self.assertNotIn(b"sk-very", answer.body)
            self.assertNotIn("sk-very", "\n".join(gw.lines))
            self.assertEqual(up.count, 0)

    def test_a_revoked_key_is_refused_when_the_command_returns(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up)) as gw:
            made = json.loads(gw.cli("key", "create", "--project", "main", "--json"))
            use = {"authorization": f"Bearer {made['key']}"}
            self.assertEqual(gw.request("GET", "/v1/models", headers=use, key=False).status, 200)
            gw.cli("key", "revoke", made["id"])

            self.assertEqual(gw.request("GET", "/v1/models", headers=use, key=False).status, 401)

    def test_a_slow_reader_slows_the_upstream(self):
        word = "x" * 60000
        total = 600
        sent = [0]

        def flood(sock, request):
            stream(good_events()[0])  # the shape of the head
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(total):
                data = b"data: %s\n\n" % json.dumps(chunk({"content": word})).encode()
                sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
                sent[0] += 1
            data = b"".join(b"data: %s\n\n" % json.dumps(e).encode() for e in (chunk({}, "stop"),)) + b"data: [DONE]\n\n"
            sock.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

        with Upstream(flood) as up, Gateway(project(up)) as gw, gw.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.sendall(post(gw, b'{"model":"chat","stream":true,"messages":[]}'))
            previous, quiet = -1, 0
            while quiet < 5:  # the upstream's writer stops making progress long before the end
                time.sleep(0.1)
                quiet = quiet + 1 if sent[0] == previous and sent[0] else 0
                previous = sent[0]
            self.assertLess(sent[0], total)
            answer = read_response(sock.makefile("rb"))
            self.assertTrue(answer.clean)
            self.assertEqual(len(answer.text), total * len(word))


if __name__ == "__main__":
    main()
