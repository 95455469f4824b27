"""Usage events reach files and webhooks: each at least once, in order, whatever the sink does, and no request waits for it."""

import json
import os
import time
import unittest

from moongate import *


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file]


def wait_for(what, count):
    deadline = time.monotonic() + PATIENCE_S
    while len(got := what()) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(got)} of {count}")
        time.sleep(0.02)
    return got


class Exports(unittest.TestCase):
    def test_a_file_gets_a_line_for_each_attempt_also_what_settles_while_it_stops(self):
        with Upstream(error_answer(500), json_answer("fine")) as first, Upstream() as second, Gateway(
                project(first, second), gateway='exports = { archive = "usage.ndjson" },') as gw:
            for _ in range(5):
                self.assertEqual(gw.chat().status, 200)
            path = os.path.join(gw.path, "usage.ndjson")
            wait_for(lambda: lines(path), 1)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            gw.stop()
            got = lines(path)
            self.assertEqual(len(got), first.count + second.count)
            self.assertEqual(got, [json.loads(line) for line in gw.cli("usage", "events").splitlines()])

    def test_a_webhook_that_fails_gets_the_same_batch_again_and_requests_do_not_wait(self):
        with Upstream() as up, Upstream(respond(503, b"later", reason="Busy"), hang, respond(204, b"", {"content-length": "0"})) as sink:
            with Gateway(project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage", token = "tok-1" }} }},') as gw:
                self.assertEqual(gw.chat(metadata={"team": "a"}).status, 200)
                first = sink.next_request()
                self.assertEqual((first.method, first.path), ("POST", "/v1/usage"))
                self.assertEqual(first.headers["authorization"], "Bearer tok-1")
                self.assertEqual(first.headers["content-type"], "application/x-ndjson")
                second = sink.next_request()                      # after a pause; this one gets no answer at all
                self.assertEqual(second.headers["idempotency-key"], first.headers["idempotency-key"])
                self.assertEqual(second.body, first.body)
                for _ in range(20):
                    began = time.monotonic()
                    self.assertEqual(gw.chat().status, 200)
                    self.assertLess(time.monotonic() - began, 5)
                gw.stop()                                         # does not wait for it either

    def test_what_a_dead_webhook_did_not_take_comes_after_a_restart(self):
        with Upstream() as up, Upstream(respond(500, b"", {"content-length": "0"}, "No")) as sink, Gateway(
                project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage", batch = 3 }} }},') as gw:
            for _ in range(7):
                gw.chat()
            sink.next_request()
            gw.stop()
            while not sink.requests.empty():
                sink.requests.get()
            sink.answer(respond(200, b"{}"))
            keys = gw.keys
            gw.lines.clear()
            gw.start()
            self.assertEqual(set(keys), set(gw.keys))
            seen = []
            while len(seen) < 7:
                seen += [json.loads(line)["id"] for line in sink.next_request().body.splitlines()]
            self.assertEqual(seen, [json.loads(line)["id"] for line in gw.cli("usage", "events").splitlines()])

    def test_metadata_with_line_breaks_stays_on_its_line(self):
        with Upstream() as up, Gateway(project(up), gateway='exports = { archive = { file = "usage.ndjson" } },') as gw:
            gw.request("POST", "/v1/chat/completions", b'{"model":"chat","messages":[{"role":"user","content":"x"}],"metadata":{\n "a":\r\n"b\\n" }}')
            got = wait_for(lambda: lines(os.path.join(gw.path, "usage.ndjson")), 1)
            self.assertEqual(got[0]["metadata"], {"a": "b\n"})

    def test_a_sink_is_a_file_or_a_webhook(self):
        for sink in ("{}", '{ file = "a", webhook = "http://127.0.0.1:1/" }', '{ webhook = "nowhere" }'):
            gw = Gateway(project("http://127.0.0.1:1"), gateway=f"exports = {{ billing = {sink} }},")
            done = subprocess.run([BIN, "check", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertNotEqual(done.returncode, 0, sink)
            self.assertIn("exports.billing", done.stdout + done.stderr, sink)
            gw.folder.cleanup()


if __name__ == "__main__":
    main()
