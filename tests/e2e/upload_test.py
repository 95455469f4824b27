"""A form with files on its way through: never held, slowed down by whoever is slow, ended early by whoever ends it, and never at two
providers in halves."""

import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
import unittest

import openai

from moongate import *
from vendors import openai_media

FILE_BYTES = 300 << 20
BOUNDARY = b"b0undary"


def project(*upstreams, extra="", workflow="", provider="breaker = false"):
    providers = "".join(f'p{i} = {{ adapter = "openai", base_url = "{up.url}", api_key = "sk-{i}", {provider} }},' for i, up in enumerate(upstreams))
    targets = "".join(f'"p{i}/model-{i}",' for i in range(len(upstreams)))
    return f"return {{ providers = {{ {providers} }}, workflows = {{ hears = {{ targets = {{ {targets} }}, {workflow} }} }}, {extra} }}"


def field(name, value):
    return b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value.encode())


def file_head(name="file", filename="a.wav"):
    return b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: audio/wav\r\n\r\n' % (name.encode(), filename.encode())


END = b"\r\n--" + BOUNDARY + b"--\r\n"


def form(size, model="hears", before=True, end=END):
    sound = os.urandom(1 << 16) * (size >> 16) + b"x" * (size & 0xffff)
    named = field("model", model) if model else b""
    return (named if before else b"") + file_head() + sound + (b"" if before else b"\r\n" + named.removesuffix(b"\r\n")) + end


def post(gw, body, path="/v1/audio/transcriptions", **headers):
    return gw.request("POST", path, body, {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}", **headers})


def head(gw, path="/v1/audio/transcriptions", **headers):
    lines = {"host": "x", "authorization": f"Bearer {gw.keys['main']}", "content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}", **headers}
    return (f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


class Sink(Upstream):
    """Takes a body as it comes, and only when told: `go` lets it read. Keeps a digest and counts."""

    def __init__(self, stop_after=None, reply=None, reads=True):
        super().__init__()
        self.stop_after, self.reply = stop_after, reply
        self.go = threading.Event()
        if reads:
            self.go.set()
        self.taken, self.digest, self.head = 0, hashlib.sha256(), b""
        self.over = threading.Event()
        self.began = threading.Event()

    def _serve(self, sock):
        with sock:
            try:
                self.read(sock)
            except OSError:
                pass
            finally:
                self.over.set()
                self.closed.put(True)

    def read(self, sock):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return
            data += piece
        self.head, _, data = data.partition(b"\r\n\r\n")
        self.began.set()
        length = int(re.search(rb"content-length: (\d+)", self.head)[1])
        while True:
            self.taken += len(data)
            self.digest.update(data)
            if self.taken == length or (self.stop_after is not None and self.taken >= self.stop_after):
                break
            self.go.wait(PATIENCE_S)
            data = sock.recv(1 << 20)
            if not data:
                return
        status, body = self.reply or (200, b'{"text":"Hello."}')
        sock.sendall(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body))


# A sanitizer keeps what was freed for a while; not so much of it that it looks like a body that is held.
LITTLE_KEPT = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=4:thread_local_quarantine_size_kb=64"}


def memory_kib(gw, what="VmHWM"):
    with open(f"/proc/{gw.process.pid}/status") as status:
        return int(re.search(rf"{what}:\s+(\d+)", status.read())[1])


class Large(unittest.TestCase):
    def test_an_upload_of_300_mb_passes_in_order_and_is_never_held(self):
        class Body:
            def __init__(self):
                self.left, self.piece = FILE_BYTES, os.urandom(1 << 20)

            def read(self, size=-1):
                size = min(self.left, len(self.piece) if size < 0 else min(size, len(self.piece)))
                self.left -= size
                return self.piece[:size]

        with Sink() as up, Gateway(project(up), env=LITTLE_KEPT) as gw:
            gw.request("GET", "/v1/models")
            before = memory_kib(gw)
            source, digest, sent = Body(), hashlib.sha256(), 0
            start = field("model", "hears") + file_head()
            changed = field("model", "model-0") + file_head()
            digest.update(changed)
            with gw.connect() as sock:
                sock.sendall(head(gw, **{"content-length": str(len(start) + FILE_BYTES + len(END))}) + start)
                while (piece := source.read()):
                    sock.sendall(piece)
                    digest.update(piece)
                sock.sendall(END)
                digest.update(END)
                got = read_response(sock.makefile("rb"))
            self.assertEqual((got.status, got.json), (200, {"text": "Hello."}))
            self.assertEqual(up.taken, len(changed) + FILE_BYTES + len(END))
            self.assertEqual(up.digest.hexdigest(), digest.hexdigest())
            self.assertLess(memory_kib(gw) - before, 24 << 10, "the gateway grew by more than 24 MiB")
            trace = gw.trace(got)
            self.assertEqual((trace["bytes_in"], trace["attempts"][0]["bytes_sent"]), (len(start) + FILE_BYTES + len(END), up.taken))

    def test_the_sdk_uploads_a_file_that_is_larger_than_any_json(self):
        body = os.urandom(1 << 20) * 40
        with Upstream(openai_media.answer) as up, Gateway(project(up)) as gw:
            made = gw.client().files.create(file=("big.bin", body), purpose="user_data")
            self.assertEqual(made.id, "file-abc")
            self.assertEqual(hashlib.sha256(openai_media.check(up.next_request())[1]["file"][0]).digest(), hashlib.sha256(body).digest())

    def test_a_client_that_does_not_know_the_length_is_sent_on_in_chunks(self):
        body = form(5 << 20)
        pieces = [body[at:at + 100_000] for at in range(0, len(body), 100_000)]
        with Upstream(openai_media.answer) as up, Gateway(project(up)) as gw, gw.connect() as sock:
            sock.sendall(head(gw, **{"transfer-encoding": "chunked"}))
            for piece in pieces:
                sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            sock.sendall(b"0\r\n\r\n")
            self.assertEqual(read_response(sock.makefile("rb")).json["text"], "Hello.")
            request = up.next_request()
            self.assertEqual((request.headers["transfer-encoding"], openai_media.check(request)[1]["model"]), ("chunked", ["model-0"]))

    def test_two_uploads_on_one_connection(self):
        body = form(3 << 20)
        with Upstream(openai_media.answer) as up, Gateway(project(up)) as gw, gw.connect() as sock:
            file = sock.makefile("rb")
            for _ in range(2):
                sock.sendall(head(gw, **{"content-length": str(len(body))}) + body)
                got = read_response(file)
                self.assertEqual(got.status, 200, got.body)


class Slow(unittest.TestCase):
    def test_a_provider_that_does_not_read_stops_the_client(self):
        with Sink(reads=False) as up, Gateway(project(up)) as gw, gw.connect() as sock:
            body = form(64 << 20)
            sock.settimeout(1)
            sock.sendall(head(gw, **{"content-length": str(len(body))}))
            sent = 0
            with self.assertRaises(TimeoutError):  # nobody takes it
                while sent < len(body):
                    sent += sock.send(body[sent:sent + (1 << 16)])
            self.assertLess(sent, 32 << 20)
            self.assertLess(memory_kib(gw, "VmRSS"), 200 << 10)
            up.go.set()
            sock.settimeout(PATIENCE_S)
            sock.sendall(body[sent:])
            self.assertEqual(read_response(sock.makefile("rb")).status, 200)

    def test_a_client_that_stops_in_the_middle_is_told_and_the_provider_is_not_to_blame(self):
        with Sink() as up, Gateway(project(up), "limits = { body_ms = 300 }") as gw, gw.connect() as sock:
            body = form(8 << 20)
            sock.sendall(head(gw, **{"content-length": str(len(body))}) + body[:4 << 20])
            got = read_response(sock.makefile("rb"))
            self.assertEqual((got.status, got.json["error"]["code"]), (408, "request_timeout"))
            self.assertTrue(up.over.wait(PATIENCE_S))
            self.assertEqual(gw.trace(got)["attempts"][0]["class"], "invalid_request")

    def test_a_client_that_trickles_is_waited_for(self):
        with Sink() as up, Gateway(project(up, workflow="timeouts_ms = { idle = 300 }"), "limits = { body_ms = 5000 }") as gw, gw.connect() as sock:
            body = form(2 << 20)
            sock.sendall(head(gw, **{"content-length": str(len(body))}) + body[:-1000])
            self.assertTrue(up.began.wait(PATIENCE_S))
            time.sleep(1)  # longer than the provider may be silent
            sock.sendall(body[-1000:])
            self.assertEqual(read_response(sock.makefile("rb")).status, 200)


class Ended(unittest.TestCase):
    def test_a_client_that_leaves_ends_it_at_the_provider(self):
        with Sink() as up, Gateway(project(up)) as gw:
            body = form(8 << 20)
            sock = gw.connect()
            sock.sendall(head(gw, **{"content-length": str(len(body))}) + body[:4 << 20])
            self.assertTrue(up.began.wait(PATIENCE_S))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
            self.assertTrue(up.over.wait(PATIENCE_S))
            self.assertLess(up.taken, len(body))
            self.assertEqual(gw.request("GET", "/v1/models").status, 200)

    def test_a_provider_that_answers_early_is_heard(self):
        refusal = json.dumps({"error": {"message": "no such language", "type": "invalid_request_error", "param": "language", "code": None}}).encode()
        with Sink(stop_after=1 << 20, reply=(400, refusal)) as up, Gateway(project(up)) as gw:
            got = post(gw, form(40 << 20))
            self.assertEqual((got.status, got.body, got.headers["connection"]), (400, refusal, "close"))
            with self.assertRaisesRegex(openai.BadRequestError, "no such language"):
                gw.client().audio.transcriptions.create(model="hears", file=("a.wav", b"x" * (20 << 20)))

    def test_a_provider_that_hangs_up_is_told_as_such_and_nobody_else_gets_half_of_it(self):
        with Sink(stop_after=1 << 20, reply=(200, b"")) as first, Upstream(openai_media.answer) as second:
            first.read = lambda sock, read=first.read: (sock.recv(1 << 20), sock.recv(1 << 20), sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)))
            with Gateway(project(first, second)) as gw:
                got = post(gw, form(40 << 20))
                self.assertEqual((got.status, second.count), (502, 0))
                trace = gw.trace(got)
                self.assertIn("part of the upload was sent", json.dumps(trace["notes"]))

    def test_what_was_not_begun_goes_to_the_next(self):
        with Upstream(openai_media.answer) as second:
            with socket.create_server(("127.0.0.1", 0)) as closed:
                url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
            dead = type("Dead", (), {"url": url})
            with Gateway(project(dead, second)) as gw:
                got = post(gw, form(20 << 20))
                self.assertEqual((got.status, got.headers["x-moongate-attempts"]), (200, "2"))

    def test_a_form_that_fits_into_what_is_held_goes_to_the_next_whatever_happens(self):
        with Upstream(error_answer(500)) as first, Upstream(openai_media.answer) as second, Gateway(project(first, second)) as gw:
            got = post(gw, form(500_000))
            self.assertEqual((got.status, got.headers["x-moongate-provider"]), (200, "p1"))
            self.assertEqual(openai_media.check(first.next_request())[1]["file"], openai_media.check(second.next_request())[1]["file"])


class Refused(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.up = Upstream(openai_media.answer)
        cls.up.__enter__()
        cls.gw = Gateway(project(cls.up), "limits = { upload_bytes = 20971520 }")
        cls.gw.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gw.__exit__(None, None, None)
        cls.up.__exit__(None, None, None)

    def refused(self, status, code, body, **headers):
        got = post(self.gw, body, **headers)
        self.assertEqual((got.status, got.json["error"]["code"]), (status, code), got.body)
        return got.json["error"]["message"]

    def test_a_model_behind_the_file_is_refused_early_unless_all_of_it_is_held(self):
        self.assertIn("send it before the file", self.refused(400, "missing_model", form(8 << 20, before=False)))
        self.assertEqual(post(self.gw, form(100_000, before=False)).status, 200)
        self.refused(400, "missing_model", form(1000, model=None))

    def test_a_second_model_never_arrives_whole(self):
        twice = form(4 << 20, end=b"\r\n" + field("model", "dear").removesuffix(b"\r\n") + END)
        self.assertIn("twice", self.refused(400, "invalid_form", twice))
        self.assertIn("twice", self.refused(400, "invalid_form", form(1000, end=b"\r\n" + field("model", "dear").removesuffix(b"\r\n") + END)))

    def test_a_form_that_does_not_end_and_one_that_goes_on(self):
        for size in (1000, 4 << 20):
            self.assertIn("ends before", self.refused(400, "invalid_form", form(size, end=b"")))
            self.assertIn("behind the end", self.refused(400, "invalid_form", form(size) + b"more"))

    def test_too_large_a_form_is_refused_at_its_head_or_when_it_grows(self):
        self.refused(413, "body_too_large", form(24 << 20))
        with self.gw.connect() as sock:
            sock.sendall(head(self.gw, **{"transfer-encoding": "chunked"}))
            body = form(24 << 20)
            for at in range(0, len(body), 1 << 20):
                sock.sendall(b"%x\r\n%s\r\n" % (len(body[at:at + (1 << 20)]), body[at:at + (1 << 20)]))
            got = read_response(sock.makefile("rb"))
            self.assertEqual((got.status, got.json["error"]["code"]), (413, "body_too_large"))

    def test_what_is_no_form_and_who_has_no_key(self):
        self.assertIn("multipart/form-data", self.refused(400, "form_expected", b"{}", **{"content-type": "application/json"}))
        self.refused(400, "invalid_form", form(1000), **{"content-type": "multipart/form-data; boundary=a; boundary=b"})
        self.refused(401, "invalid_api_key", form(1000), authorization="Bearer wrong")
        self.refused(404, "model_not_found", form(3 << 20, model="nobody"))


class Files(unittest.TestCase):
    def test_a_provider_is_named_when_there_are_several_and_its_first_key_is_asked(self):
        with Upstream(openai_media.answer) as one, Upstream(openai_media.answer) as two:
            text = project(one, two).replace('api_key = "sk-1"', 'api_keys = { "sk-first", "sk-second", "sk-third" }')
            with Gateway(text) as gw:
                with self.assertRaisesRegex(openai.BadRequestError, "p0, p1.*x-moongate-provider"):
                    gw.client().files.list()
                with self.assertRaisesRegex(openai.BadRequestError, "no provider of this project"):
                    gw.client(default_headers={"x-moongate-provider": "p9"}).files.list()
                for _ in range(4):
                    self.assertEqual(gw.client(default_headers={"x-moongate-provider": "p1"}).files.retrieve("file-x").id, "file-x")
                    self.assertEqual(two.next_request().headers["authorization"], "Bearer sk-first")
                self.assertEqual(one.count, 0)

    def test_an_id_is_one_segment_and_a_key_without_the_files_has_none(self):
        with Upstream(openai_media.answer) as up, Gateway(project(up)) as gw:
            for id in ("a/b", "..", "%2e%2e", "a%2Fb", "a%00b", ""):
                self.assertIn(gw.request("GET", f"/v1/files/{id}").status, (404, 200 if not id else 404), id)
            self.assertEqual(gw.request("GET", "/v1/files/a%20b%3Fx").status, 200)
            up.next_request() if up.count > 1 else None
            key = json.loads(gw.cli("key", "create", "--project", "main", "--name", "chats", "--workflows", "hears", "--json"))["key"]
            got = gw.request("GET", "/v1/files", headers={"authorization": f"Bearer {key}"}, key=False)
            self.assertEqual((got.status, got.json["error"]["code"]), (403, "model_not_allowed"))


if __name__ == "__main__":
    main()
