"""Nothing that was sent to a provider goes unrecorded: killed gateways, clients that leave, a full journal, a busy store."""

import glob
import sqlite3
import time
import unittest

from moongate import *


def rows(gw, *filters):
    return [json.loads(line) for line in gw.cli("logs", "--json", "-n", "1000", *filters).splitlines()]


def settled(gw, count):
    """The rows, as soon as there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while len(found := rows(gw)) < count and time.monotonic() < deadline:
        pass
    return found


def kill(gw):
    gw.process.kill()
    gw.process.wait(PATIENCE_S)
    gw.reader.join()
    gw.process.stderr.close()
    gw.lines = []


class Killed(unittest.TestCase):
    CLIENTS = 6

    def test_every_call_a_provider_saw_is_recorded_once(self):
        good = stream(*good_events("a", "b", "c"))
        scripts = [good, error_answer(503), good, good, json_answer("whole"), error_answer(500), stream(*good_events("cut")[:2], then="cut")]
        seen = []
        lock = threading.Lock()

        def any_of_them(sock, request):
            with lock:
                seen.append(request)
                script = scripts[len(seen) % len(scripts)]
            script(sock, request)

        with Upstream(any_of_them) as up, Gateway(project(up, up)) as gw:
            for _ in range(3):
                threads = [threading.Thread(target=self.ask_on, args=(gw,), daemon=True) for _ in range(self.CLIENTS)]
                enough = len(seen) + 80
                for thread in threads:
                    thread.start()
                deadline = time.monotonic() + PATIENCE_S
                while len(seen) < enough and time.monotonic() < deadline:
                    time.sleep(0.005)
                kill(gw)
                for thread in threads:
                    thread.join(PATIENCE_S)
                gw.start()
            recorded = rows(gw)

            ids = [row["id"] for row in recorded]
            self.assertEqual(len(ids), len(set(ids)))
            attempts = sum(row["attempts"] for row in recorded)
            # A call is recorded before its first byte leaves, so up to one a client and kill may never have arrived.
            self.assertGreaterEqual(attempts, len(seen))
            self.assertLessEqual(attempts, len(seen) + 3 * self.CLIENTS)
            cut = [row for row in recorded if row["interrupted"]]
            self.assertLessEqual(len(cut), 3 * self.CLIENTS)
            self.assertFalse(any(row["clean"] for row in cut))

    def ask_on(self, gw):
        try:
            while True:
                gw.chat(stream=True)
        except (OSError, ValueError, IndexError):
            pass


class Leaving(unittest.TestCase):
    def test_a_client_that_leaves_ends_the_call_and_what_was_used_is_recorded(self):
        words = ["moon "] * 50
        with Upstream(stream(*good_events(*words)[:51], then="stall")) as up, Gateway(project(up)) as gw:
            with gw.connect() as sock:
                body = json.dumps({"model": "chat", "stream": True, "messages": [{"role": "user", "content": "x" * 400}]}).encode()
                sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                             % (gw.keys["main"].encode(), len(body), body))
                seen = b""
                while seen.count(b"moon") < 50:
                    seen += sock.recv(65536)
                began = time.monotonic()
            up.closed.get(timeout=PATIENCE_S)
            self.assertLess(time.monotonic() - began, 1)

            row, = settled(gw, 1)
            self.assertEqual((row["status"], row["class"], row["clean"], row["estimated"]), (499, "cancelled", False, True))
            self.assertGreater(row["input_tokens"], 50)
            self.assertGreater(row["output_tokens"], 25)

    def test_a_client_that_leaves_before_the_answer_ends_the_call(self):
        with Upstream(hang) as up, Gateway(project(up)) as gw:
            for stream_too in (b"true", b"false"):
                with gw.connect() as sock:
                    body = b'{"model":"chat","stream":%s,"messages":[]}' % stream_too
                    sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                                 % (gw.keys["main"].encode(), len(body), body))
                    up.next_request()
                up.closed.get(timeout=PATIENCE_S)
            self.assertEqual([row["class"] for row in settled(gw, 2)], ["cancelled", "cancelled"])

    def test_every_attempt_has_its_own_usage(self):
        begun = stream(*good_events("half ", "of it")[:2], then="cut")
        with Upstream(stream(good_events()[0], then="cut")) as first, Upstream(begun) as second, Gateway(project(first, second)) as gw:
            answer = gw.chat(stream=True)
            usage = [attempt["usage"] for attempt in gw.trace(answer)["attempts"]]
            self.assertEqual([u["reported"] for u in usage], [False, False])
            self.assertGreater(usage[1]["output_tokens"], 0)


class Full(unittest.TestCase):
    def test_without_room_in_the_journal_nothing_is_sent_and_with_room_again_all_is_there(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up), "workers = 1, journal = { bytes = 1048576 },") as gw:
            self.assertEqual(gw.chat().status, 200)
            path, = glob.glob(f"{gw.path}/data/*.db")
            busy = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_S)
            self.addCleanup(busy.close)
            busy.execute("BEGIN IMMEDIATE")  # a backup, say: the recorder cannot write
            served = []
            for _ in range(900):
                before = up.count
                answer = gw.chat(metadata={"note": "x" * 1900})
                if answer.status != 200:
                    break
                served.append(answer.headers["x-request-id"])
            self.assertEqual((answer.status, answer.json["error"]["code"]), (503, "journal_full"))
            self.assertIn("retry-after", answer.headers)
            self.assertEqual(up.count, before)
            self.assertGreater(len(served), 20)

            busy.execute("ROLLBACK")
            deadline = time.monotonic() + PATIENCE_S
            while gw.chat().status != 200:
                self.assertLess(time.monotonic(), deadline)
            ids = [row["id"] for row in settled(gw, len(served) + 1)]
            self.assertEqual(set(served) - set(ids), set())
            self.assertEqual(len(ids), len(set(ids)))

    def test_a_gateway_killed_while_the_store_is_busy_loses_nothing(self):
        with Upstream(json_answer("ok")) as up, Gateway(project(up), "workers = 1,") as gw:
            gw.chat()
            path, = glob.glob(f"{gw.path}/data/*.db")
            busy = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE_S)
            self.addCleanup(busy.close)
            busy.execute("BEGIN IMMEDIATE")
            served = [gw.chat().headers["x-request-id"] for _ in range(30)]
            kill(gw)
            busy.execute("ROLLBACK")
            gw.start()
            self.assertEqual(set(served) - {row["id"] for row in rows(gw)}, set())


if __name__ == "__main__":
    main()
