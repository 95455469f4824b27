"""What a newcomer sees: `moongate demo`, its folder, and an edit that the next request obeys."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

from moongate import BIN, PATIENCE_S, main


# Tests run side by side: the admin plane of each demo takes a port of its own.
ANY_PORT = {**os.environ, "MOONGATE_ADMIN": "127.0.0.1:0"}
README = os.path.join(os.environ.get("MOONGATE_SOURCE_DIR", "."), "README.md")


def chat(port, key, **more):
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hello"}], **more}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body,
                                     {"authorization": f"Bearer {key}", "content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.headers, json.load(answer)


class Demo(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="moongate-test-")
        self.addCleanup(self.folder.cleanup)
        self.process = None
        self.addCleanup(lambda: self.process and self.process.poll() is None and self.process.kill())

    def once(self):
        done = subprocess.run([BIN, "demo", "--once", "--port", "0"], cwd=self.folder.name, env=ANY_PORT, capture_output=True, text=True,
                              timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def start(self):
        """The demo after its tour, still serving: its port and key."""
        self.process = subprocess.Popen([BIN, "demo", "--port", "0"], cwd=self.folder.name, env=ANY_PORT, stdout=subprocess.PIPE,
                                        text=True)
        seen = ""
        for line in self.process.stdout:
            seen += line
            if "goes on serving" in line:
                break
        return int(re.search(r"gateway +http://127\.0\.0\.1:(\d+)/v1", seen)[1]), re.search(r"Bearer (mg-demo-\w+)", seen)[1]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.stdout.read()
        self.assertEqual(self.process.wait(PATIENCE_S), 0)
        self.process.stdout.close()

    def status(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(self.path("data/control.sock"))
            sock.sendall(b"GET /admin/v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return json.loads(sock.makefile("rb").read().split(b"\r\n\r\n", 1)[1])

    def path(self, name):
        return os.path.join(self.folder.name, "moongate-demo", name)

    def test_the_tour_shows_a_stream_a_failover_and_why(self):
        text = self.once()
        self.assertRegex(text, r"ok: answered by primary/moon-large after 1 attempt,")
        self.assertRegex(text, r"failed over: answered by backup/moon-small after 2 attempts,")
        self.assertRegex(text, r"\n1 primary/moon-large .*503 overloaded")
        self.assertRegex(text, r"\n2 backup/moon-small .*200 ok")
        self.assertRegex(text, r"curl http://127\.0\.0\.1:\d+/v1/chat/completions")
        self.assertIn("from openai import OpenAI", text)
        self.assertNotIn("\033[", text)

    def test_it_leaves_nothing_but_its_folder_and_keeps_what_was_edited(self):
        self.once()
        self.assertEqual(os.listdir(self.folder.name), ["moongate-demo"])
        with open(self.path("projects/policies/route.lua"), "a") as file:
            file.write("-- mine\n")
        text = self.once()
        with open(self.path("projects/policies/route.lua")) as file:
            self.assertTrue(file.read().endswith("-- mine\n"))
        self.assertIn("as you left them", text)

    def edit_policy(self, text, port, key, generation):
        """Saves it and asks until the generation is the one that is wanted."""
        with open(self.path("projects/policies/route.lua"), "w") as file:
            file.write(text)
        deadline = time.monotonic() + PATIENCE_S
        headers, _ = chat(port, key)
        while headers["x-moongate-generation"] != generation and time.monotonic() < deadline:
            headers, _ = chat(port, key)
        self.assertEqual(headers["x-moongate-generation"], generation)

    def test_the_next_request_after_an_edit_obeys(self):
        port, key = self.start()
        with open(self.path("projects/policies/route.lua")) as file:
            policy = file.read()
        self.edit_policy(policy.replace('PREFER = "primary"', 'PREFER = "backup"'), port, key, "2")
        for _ in range(3):
            headers, _ = chat(port, key)
            self.assertEqual((headers["x-moongate-provider"], headers["x-moongate-attempts"]), ("backup", "1"))

        # The policy of the README does what the README says.
        with open(README) as file:
            self.edit_policy(re.search(r"```lua[^\n]*\n(.*?)```", file.read(), re.DOTALL)[1], port, key, "3")
        headers, _ = chat(port, key, metadata={"tier": "cheap"})
        self.assertEqual((headers["x-moongate-provider"], headers["x-moongate-attempts"]), ("backup", "1"))
        seen = {chat(port, key)[0]["x-moongate-attempts"] for _ in range(2)}
        self.assertEqual(seen, {"1", "2"})  # the primary first, which fails every second time
        self.stop()

    def test_a_broken_edit_keeps_the_old_version_serving(self):
        port, key = self.start()
        with open(self.path("projects/demo.lua"), "a") as file:
            file.write("oops(")
        status = self.status()
        while "error" not in status["projects"][0]:
            status = self.status()
        self.assertIn("demo.lua", status["projects"][0]["error"])
        headers, _ = chat(port, key)
        self.assertEqual(headers["x-moongate-generation"], "1")
        done = subprocess.run([BIN, "check", self.path("")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("demo.lua", done.stdout + done.stderr)
        self.stop()


if __name__ == "__main__":
    main()
