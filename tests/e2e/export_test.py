"""Usage events reach files and webhooks: each at least once, in order, whatever the sink does, and no request waits for it."""

import base64
import hashlib
import hmac
import json
import os
import stat
import threading
import time
import unittest
import urllib.request

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


def state(gw, name="billing"):
    return next(row for row in json.loads(gw.cli("exports", "--json"))["exports"] if row["name"] == name)


def wait_state(gw, good, name="billing"):
    deadline = time.monotonic() + PATIENCE_S
    while not good(row := state(gw, name)):
        if time.monotonic() > deadline:
            raise AssertionError(row)
        time.sleep(0.05)
    return row


NO_CONTENT = respond(204, b"", {"content-length": "0"})


class Signature(unittest.TestCase):
    def signed(self, key, request):
        """By the text of Standard Webhooks, not by our code."""
        text = f'{request.headers["webhook-id"]}.{request.headers["webhook-timestamp"]}.'.encode() + request.body
        return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()

    def test_a_batch_is_signed_with_its_id_and_the_time_of_the_try(self):
        key = b"\x00binary key of thirty-two bytes!!"
        for text, raw in (("a text of sixteen", b"a text of sixteen"), ("whsec_" + base64.b64encode(key).decode(), key)):
            with Upstream() as up, Upstream(respond(500, b"", {"content-length": "0"}, "No"), NO_CONTENT) as sink, Gateway(
                    project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage", signing_key = env "SIGN" }} }},', env={"SIGN": text}) as gw:
                gw.chat()
                first, second = sink.next_request(), sink.next_request()
                for request in (first, second):
                    self.assertEqual(request.headers["webhook-signature"], self.signed(raw, request))
                    self.assertLess(abs(int(request.headers["webhook-timestamp"]) - time.time()), 30)
                self.assertEqual(first.headers["webhook-id"], second.headers["webhook-id"])
                self.assertGreaterEqual(int(second.headers["webhook-timestamp"]), int(first.headers["webhook-timestamp"]))
                self.assertNotIn(text, "\n".join(gw.lines) + gw.cli("exports", "--json"))

    def test_nothing_is_signed_without_a_key_and_a_bad_one_is_refused(self):
        with Upstream() as up, Upstream(NO_CONTENT) as sink, Gateway(
                project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage" }} }},') as gw:
            gw.chat()
            self.assertFalse([name for name in sink.next_request().headers if name.startswith("webhook-")])
        for bad in ("short", "whsec_!!!", "whsec_c2hvcnQ=", "x" * 257):
            gw = Gateway(project("http://127.0.0.1:1"), gateway=f'exports = {{ billing = {{ webhook = "http://127.0.0.1:1/", signing_key = "{bad}" }} }},')
            done = subprocess.run([BIN, "serve", "-c", gw.path], capture_output=True, text=True, timeout=PATIENCE_S)
            self.assertNotEqual(done.returncode, 0, bad)
            self.assertIn("exports.billing: signing_key", done.stderr, bad)
            self.assertNotIn(bad, done.stderr)
            gw.folder.cleanup()


class State(unittest.TestCase):
    def test_how_an_export_is_stands_in_the_cli_the_admin_api_and_the_metrics(self):
        with Upstream() as up, Upstream(respond(503, b"", {"content-length": "0"}, "Busy")) as sink, Gateway(
                project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage" }}, archive = "usage.ndjson" }},') as gw:
            self.assertEqual({row["name"]: row["waiting"] for row in json.loads(gw.cli("exports", "--json"))["exports"]}, {"archive": 0, "billing": 0})
            for _ in range(3):
                gw.chat()
            failing = wait_state(gw, lambda row: row["failures"] > 0 and row["waiting"] == 3)
            self.assertIn("status 503", failing["error"])
            self.assertEqual((failing["events"], failing["running"], failing["taken_us"]), (0, True, 0))
            self.assertGreater(failing["failing_since_us"], failing["waiting_since_us"])
            self.assertEqual(failing["to"], sink.url.removesuffix("/v1"))
            archive = wait_state(gw, lambda row: row["events"] == 3, "archive")
            self.assertEqual((archive["waiting"], archive["failures"], archive["error"]), (0, 0, None))
            self.assertTrue(archive["to"].endswith("/usage.ndjson"))
            self.assertRegex(gw.cli("exports"), r"billing\s+http://127.0.0.1:\d+\s+failing\s+3 ")
            port = gw.wait_line(r" admin address=\S+").rsplit(":", 1)[1]
            metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).read().decode()
            self.assertIn('moongate_export_failing{sink="billing"} 1', metrics)
            self.assertIn('moongate_export_events_total{sink="archive"} 3', metrics)
            self.assertRegex(metrics, r'moongate_export_lag_seconds\{sink="billing"\} [0-9.]*[1-9]')

            sink.answer(NO_CONTENT)
            well = wait_state(gw, lambda row: row["events"] == 3)
            self.assertEqual((well["failed_in_row"], well["error"], well["waiting"], well["waiting_since_us"]), (0, None, 0, 0))
            gw.wait_line("export.recovered sink=billing")
            sink.answer(hang)
            gw.chat()
            gw.stop()
            stopped = state(gw)
            self.assertEqual((stopped["running"], stopped["waiting"]), (False, 1))

    def test_a_redirect_is_told_in_words_for_operators(self):
        with Upstream() as up, Upstream(respond(302, b"", {"content-length": "0", "location": "http://127.0.0.1:9/"}, "Found")) as sink, Gateway(
                project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage" }} }},') as gw:
            gw.chat()
            row = wait_state(gw, lambda row: row["failures"] > 0)
            self.assertIn("redirect to elsewhere, which is not followed", row["error"])


class Slow(unittest.TestCase):
    def test_a_sink_that_takes_forever_slows_no_request_no_other_sink_and_loses_nothing(self):
        release = threading.Event()

        def slow(sock, request):
            release.wait(PATIENCE_S)
            NO_CONTENT(sock, request)
        with Upstream() as up, Upstream(slow) as sink, Gateway(
                project(up), gateway=f'exports = {{ billing = {{ webhook = "{sink.url}/usage" }}, archive = "usage.ndjson" }},') as gw:
            gw.chat()
            sink.next_request()
            took = []
            for _ in range(100):
                began = time.monotonic()
                self.assertEqual(gw.chat().status, 200)
                took.append(time.monotonic() - began)
            self.assertLess(sorted(took)[50], 0.1)
            wait_for(lambda: lines(os.path.join(gw.path, "usage.ndjson")), 101)
            self.assertGreater(wait_state(gw, lambda row: row["waiting"] == 101)["waiting_since_us"], 0)
            release.set()
            wait_state(gw, lambda row: row["events"] == 101)

    def test_a_pipe_that_nobody_reads_neither_takes_events_nor_holds_the_stop(self):
        with Upstream() as up, Gateway(project(up), gateway='exports = { billing = "pipe" },') as gw:
            gw.stop()
            os.mkfifo(os.path.join(gw.path, "pipe"))
            gw.lines.clear()
            gw.start()
            gw.chat()
            wait_state(gw, lambda row: row["failures"] > 0)
            began = time.monotonic()
            gw.stop()
            self.assertLess(time.monotonic() - began, 10)
            self.assertTrue(stat.S_ISFIFO(os.stat(os.path.join(gw.path, "pipe")).st_mode))


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
