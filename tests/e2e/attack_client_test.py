"""Hostile clients and hostile plugins: bytes, cuts and storms from one side, nonsense from the other."""

import random
import time

from moongate import *


def request_bytes(gw, body=None, headers="", project="main"):
    body = json.dumps(body or {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}).encode()
    return (f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys[project]}\r\n"
            f"content-length: {len(body)}\r\n{headers}\r\n").encode() + body


def send(gw, data):
    """Everything the gateway says to these bytes until it closes or is silent for a moment."""
    said = b""
    with gw.connect() as sock:
        sock.settimeout(0.5)
        try:
            sock.sendall(data)
            while (bytes_ := sock.recv(65536)):
                said += bytes_
        except (TimeoutError, ConnectionError):
            pass
    return said


def metrics(gw):
    port = int(re.search(r":(\d+)$", next(line for line in gw.lines if " admin address=" in line)).group(1))
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        return sock.makefile("rb").read().decode().splitlines()


def series(gw):
    return sorted(re.findall(r'^moongate_requests_total.*workflow="([^"]*)"', "\n".join(metrics(gw)), re.M))


def metric(gw, name):
    return sum(float(line.split()[-1]) for line in metrics(gw) if re.match(name + r"[{ ]", line))


class Gone(unittest.TestCase):
    def assertQuiet(self, gw):
        deadline = time.monotonic() + PATIENCE_S
        while metric(gw, "moongate_requests_in_flight") or metric(gw, "moongate_journal_reserved_bytes"):
            self.assertLess(time.monotonic(), deadline, "requests or reservations are left")
            time.sleep(0.02)

    def test_a_client_that_leaves_at_any_byte_leaves_nothing_behind(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            data = request_bytes(gw)
            for cut in range(len(data) + 1):
                with gw.connect() as sock:
                    sock.sendall(data[:cut])
                    if cut % 2:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.assertQuiet(gw)
            self.assertEqual(gw.chat().status, 200)

    def test_a_client_that_leaves_a_stream_or_a_waiting_hook_leaves_nothing_behind(self):
        waiting = 'plugins = { { as = "w", on_request = function(self, req) moongate.time.sleep(1500) end } },'
        for extra in ("", waiting):
            with Upstream(stream(*good_events(*["word "] * 50))) as up, Gateway(project(up, extra=extra)) as gw:
                for size in range(0, 2000, 100):
                    with gw.connect() as sock:
                        sock.sendall(request_bytes(gw, {"model": "chat", "stream": True, "messages": []}))
                        if not extra:
                            sock.recv(size or 1)
                self.assertQuiet(gw)

    def test_any_bytes_are_answered_or_refused(self):
        random.seed(1)
        with Upstream() as up, Gateway(project(up)) as gw:
            good = request_bytes(gw, headers="connection: close\r\n")
            for _ in range(400):
                data = bytearray(good)
                for _ in range(random.choice((1, 2, 8))):
                    at = random.randrange(len(data))
                    data[at:at + random.randrange(3)] = random.choice((b"\r\n", b"\0", b"\xff", b":", b"{", b" ", random.randbytes(4)))
                with gw.connect() as sock:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    said = sock.makefile("rb").read()
                self.assertTrue(said == b"" or said.startswith(b"HTTP/1.1 "), said)
            self.assertQuiet(gw)


class Storms(unittest.TestCase):
    def test_a_thousand_pipelined_requests_are_answered_in_order(self):
        with Upstream(lambda sock, request: json_answer(request.json["messages"][0]["content"])(sock, request)) as up, \
                Gateway(project(up)) as gw, gw.connect() as sock:
            data = b"".join(request_bytes(gw, {"model": "chat", "messages": [{"role": "user", "content": str(i)}]}) for i in range(1000))
            threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
            file = sock.makefile("rb")
            for i in range(1000):
                self.assertEqual(read_response(file).json["choices"][0]["message"]["content"], str(i))

    def test_a_hundred_thousand_messages_are_refused_at_once(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            answer = gw.request("POST", "/v1/chat/completions", {"model": "chat", "messages": [{"role": "user", "content": "x"}] * 100000})
            self.assertEqual((answer.status, answer.json["error"]["code"]), (400, "too_many_messages"))


class Injection(unittest.TestCase):
    def test_models_that_only_clients_name_make_one_series(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            for i in range(20):
                self.assertEqual(gw.chat(f"p0/made-up-{i}").status, 200)
            self.assertEqual(gw.chat().status, 200)
            deadline = time.monotonic() + PATIENCE_S
            while metric(gw, "moongate_requests_total") < 21:  # counted once it is settled, after its last byte went out
                self.assertLess(time.monotonic(), deadline, "a request was not counted")
                time.sleep(0.01)
            self.assertEqual(metric(gw, "moongate_requests_total"), 21)
            self.assertEqual(series(gw), ['chat', 'p0/*'])

    def test_a_model_name_adds_no_header_and_hides_none(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            self.assertEqual(gw.chat("p0/x\0y").status, 404)
            for name in ("p0/x\r\nx-evil: 1", "p0/\u007f\n", 'p0/"},{"'):
                answer = gw.chat(name)
                self.assertEqual((answer.status, answer.headers.get("content-type")), (200, "application/json"))
                self.assertNotIn("x-evil", answer.headers)
                self.assertEqual(up.next_request().json["model"], name.split("/", 1)[1])

    def test_no_status_without_a_body_carries_one(self):
        for status in (204, 304):
            hook = 'plugins = { { as = "e", on_request = function(self, req) return req:respond { body = { a = 1 }, status = %d } end } },' % status
            with Upstream() as up, Gateway(project(up, extra=hook)) as gw:
                said = send(gw, request_bytes(gw) * 2)
                self.assertEqual(said.count(b"HTTP/1.1 %d" % status), 2)
                self.assertNotIn(b"content-length", said)
                self.assertTrue(said.endswith(b"\r\n\r\n"), said)

    def test_a_huge_denial_is_cut_to_size(self):
        hook = 'plugins = { { as = "e", on_request = function(self, req) return req:deny { code = ("c"):rep(100000), message = ("m"):rep(100000) } end } },'
        with Upstream() as up, Gateway(project(up, extra=hook)) as gw:
            error = gw.chat().json["error"]
            self.assertEqual((len(error["code"]), len(error["message"])), (128, 4096))


if __name__ == "__main__":
    main()
