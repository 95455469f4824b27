"""Edits go live while traffic flows: one project at a time, nothing lost, a broken edit changes nothing."""

import re
import threading
import time
import unittest

from moongate import *


class Reload(unittest.TestCase):
    def test_the_next_request_obeys_an_edit(self):
        with Upstream(json_answer("a")) as a, Upstream(json_answer("b")) as b, Gateway(project(a)) as gw:
            self.assertEqual(gw.chat().headers["x-moongate-generation"], "1")
            seen = len(gw.lines)
            gw.write("projects/main.lua", project(b))
            gw.wait_line(r"generation.swapped project=main number=2", seen)
            answer = gw.chat()

            self.assertEqual((answer.headers["x-moongate-generation"], answer.json["choices"][0]["message"]["content"]), ("2", "b"))

    def test_a_broken_edit_keeps_the_old_one_and_is_visible(self):
        with Upstream(json_answer("a")) as a, Gateway(project(a)) as gw:
            seen = len(gw.lines)
            gw.write("projects/main.lua", "return {\n  providrs = {},\n}")
            line = gw.wait_line(r"generation.refused project=main", seen)

            self.assertIn("main.lua:2", line)
            self.assertIn("providers", line)
            self.assertEqual(gw.chat().headers["x-moongate-generation"], "1")

    def test_other_projects_keep_their_generation(self):
        with Upstream(json_answer("a")) as a, Gateway({"main": project(a), "other": project(a)}) as gw:
            seen = len(gw.lines)
            gw.write("projects/other.lua", project(a, workflow="max_attempts = 1"))
            gw.wait_line(r"generation.swapped project=other number=2", seen)

            self.assertEqual(gw.chat().headers["x-moongate-generation"], "1")

    def test_projects_appear_and_disappear(self):
        with Upstream(json_answer("a")) as a, Gateway(project(a)) as gw:
            seen = len(gw.lines)
            gw.write("projects/late.lua", project(a))
            gw.wait_line(r"generation.swapped project=late number=1", seen)
            use = {"authorization": f"Bearer {gw.create_key('late')}"}
            self.assertEqual(gw.request("GET", "/v1/models", headers=use, key=False).status, 200)
            os.remove(os.path.join(gw.path, "projects/late.lua"))
            gw.wait_line(r"generation.removed project=late|project.removed project=late", seen)

            self.assertEqual(gw.request("GET", "/v1/models", headers=use, key=False).status, 403)

    def test_a_stream_in_flight_finishes_on_its_generation(self):
        gate = threading.Event()
        events = good_events("one ", "two")
        with Upstream(stream(*events[:2], gate, *events[2:])) as a, Upstream(json_answer("b")) as b, Gateway(project(a)) as gw:
            with gw.connect() as sock:
                body = b'{"model":"chat","stream":true,"messages":[]}'
                sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                             % (gw.keys["main"].encode(), len(body), body))
                a.next_request()
                seen = len(gw.lines)
                gw.write("projects/main.lua", project(b))
                gw.wait_line(r"generation.swapped project=main number=2", seen)
                gate.set()
                answer = read_response(sock.makefile("rb"))

            self.assertEqual((answer.text, answer.clean, answer.headers["x-moongate-generation"]), ("one two", True, "1"))

    def test_sigterm_lets_a_stream_finish(self):
        gate = threading.Event()
        events = good_events("one ", "two")
        with Upstream(stream(*events[:2], gate, *events[2:])) as a, Gateway(project(a)) as gw:
            with gw.connect() as sock:
                body = b'{"model":"chat","stream":true,"messages":[]}'
                sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                             % (gw.keys["main"].encode(), len(body), body))
                a.next_request()
                gw.process.send_signal(signal.SIGTERM)
                gw.wait_line(r"drain.begun in_flight=1")
                gate.set()
                answer = read_response(sock.makefile("rb"))

            self.assertEqual((answer.text, answer.clean), ("one two", True))
            self.assertEqual(gw.stop(), 0)

    def test_sigterm_during_a_reload_ends_the_process(self):
        hook = "on_request = function(ctx, req) end,"  # a state per worker makes the build long enough to be met
        with Upstream(json_answer("a")) as a:
            for delay_s in (0, 0.01, 0.02, 0.03, 0.05, 0.1):
                with Gateway(project(a, extra=hook)) as gw:
                    gw.process.send_signal(signal.SIGHUP)
                    time.sleep(delay_s)
                    self.assertEqual(gw.stop(), 0)


class Soak(unittest.TestCase):
    def test_a_thousand_reloads_under_load_fail_no_request_and_keep_memory_flat(self):
        reloads = int(os.environ.get("MOONGATE_TEST_RELOADS", "1000"))
        texts = ["route = function(req, candidates) return { attempts = { { target = candidates[1].id } } } end,",
                 "classify = function(att) return nil end,"]
        with Upstream(json_answer("a")) as a, Gateway(project(a, extra=texts[0])) as gw:
            sizes = []
            with Load(gw, threads=2) as load:
                for n in range(reloads):
                    gw.write("projects/main.lua", project(a, extra=f"{texts[n % 2]} --[[ {n} ]]"))
                    gw.process.send_signal(signal.SIGHUP)
                    load.wait_generation(n + 2)
                    if n % max(reloads // 20, 1) == 0:
                        sizes.append(private_kib(gw.process.pid))

            self.assertEqual(load.failed[:3], [])
            self.assertGreaterEqual(load.served, reloads)
            early, late = sizes[len(sizes) // 4], sizes[-1]
            if reloads >= 1000:  # fewer are still warming up, and the thread sanitizer's shadow grows with every page touched
                self.assertLess(late, early * 1.25 + 4096, f"private KiB over time: {sizes}")


class Load:
    """Clients that ask until the block ends; knows the newest generation that answered, and keeps every failure."""

    def __init__(self, gw, threads):
        self.gw, self.served, self.failed, self.newest, self.ended = gw, 0, [], 0, False
        self.seen = threading.Condition()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self):
        body = b'{"model":"chat","messages":[]}'
        request = (b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
                   % (self.gw.keys["main"].encode(), len(body), body))
        try:
            with self.gw.connect() as sock, sock.makefile("rb") as file:
                while not self.ended:
                    sock.sendall(request)
                    self._count(read_response(file))
        except OSError as error:
            self.failed.append(repr(error))

    def _count(self, answer):
        with self.seen:
            self.served += 1
            if answer.status != 200 or not answer.clean:
                self.failed.append((answer.status, answer.body))
            self.newest = max(self.newest, int(answer.headers.get("x-moongate-generation", 0)))
            self.seen.notify_all()

    def wait_generation(self, number):
        with self.seen:
            if not self.seen.wait_for(lambda: self.newest >= number or self.failed, PATIENCE_S):
                raise AssertionError(f"generation {number} never answered")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *ignored):
        self.ended = True
        for thread in self.threads:
            thread.join(PATIENCE_S)


def private_kib(pid):
    """Without what is mapped from files: the journal grows into its file, and back."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"RssAnon:\s+(\d+)", status.read()).group(1))


if __name__ == "__main__":
    main()
