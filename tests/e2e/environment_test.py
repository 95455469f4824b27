"""`moongate serve` without a configuration: the environment is enough, and says what is missing when it is not."""

import json
import os
import re
import subprocess
import tempfile
import unittest
import urllib.request

from moongate import BIN, PATIENCE_S, Upstream, json_answer, main


class Environment(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="moongate-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.env = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
        self.env.update(MOONGATE_DATA=os.path.join(self.folder, "data"), MOONGATE_ADMIN="127.0.0.1:0")

    def serve(self, until, **env):
        """Starts it; what it printed up to the line that matches."""
        self.process = subprocess.Popen([BIN, "serve", "--port", "0"], cwd=self.folder, env={**self.env, **env}, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda process=self.process: process.poll() is None and process.kill())
        seen = ""
        for line in self.process.stdout:
            seen += line
            if re.search(until, line):
                return seen
        raise AssertionError(f"no line matches {until!r}:\n{seen}")

    def stop(self):
        self.process.terminate()
        self.process.stdout.read()
        self.process.stdout.close()
        self.assertEqual(self.process.wait(PATIENCE_S), 0)

    def test_a_provider_key_is_all_it_takes(self):
        with Upstream(json_answer("from upstream")) as up:
            seen = self.serve("point an OpenAI SDK", OPENAI_API_KEY="sk-upstream", OPENAI_BASE_URL=up.url)
            port = re.search(r"serving +127\.0\.0\.1:(\d+)", seen)[1]
            key = re.search(r"Bearer (mg-default-\w+)", seen)[1]

            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]}).encode(),
                {"authorization": f"Bearer {key}", "content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                self.assertEqual(json.load(answer)["choices"][0]["message"]["content"], "from upstream")
            sent = up.next_request()
            self.assertEqual(sent.headers["authorization"], "Bearer sk-upstream")
            self.assertEqual(sent.json["model"], "gpt-5-mini")
            self.stop()

            # The key was shown once; a second start does not make another.
            seen = self.serve("its key was shown", OPENAI_API_KEY="sk-upstream", OPENAI_BASE_URL=up.url)
            self.assertNotIn("mg-default-", seen)
            self.stop()

    def test_without_a_provider_key_it_says_what_to_do(self):
        done = subprocess.run([BIN, "serve", "--port", "0"], cwd=self.folder, env=self.env, capture_output=True, text=True,
                              timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 1)
        self.assertIn("OPENAI_API_KEY", done.stderr)
        self.assertIn("moongate demo", done.stderr)


if __name__ == "__main__":
    main()
