"""Every folder of examples/ does what its comment says."""

import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request

from moongate import BIN, PATIENCE_S, main

EXAMPLES = os.path.join(os.environ.get("MOONGATE_SOURCE_DIR", "."), "examples")


def copy(name, folder):
    """An example in a folder of its own, with the certificate that its comment tells to make."""
    path = shutil.copytree(os.path.join(EXAMPLES, name), os.path.join(folder, name),
                           ignore=shutil.ignore_patterns("data", "*.pem"))
    if name == "tls":
        subprocess.run([BIN, "cert", "localhost", "--dir", path], check=True, capture_output=True)
    return path


class Example:
    """A copy of an example, served on free ports, with a key for its project."""

    def __init__(self, name, metadata=None, tls=False):
        self.name, self.metadata, self.tls = name, metadata, tls

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="moongate-test-")
        self.path = copy(self.name, self.folder.name)
        metadata = ["--metadata", json.dumps(self.metadata)] if self.metadata else []
        self.key = subprocess.run([BIN, "key", "create", "-c", self.path, "--project", self.name, *metadata],
                                  check=True, capture_output=True, text=True).stdout.strip()
        self.process = subprocess.Popen([BIN, "serve", "-c", self.path, "--port", "0", "--admin-port", "0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if "serving" in line:
                self.port = int(re.search(r":(\d+)", line)[1])
            if "project" in line:
                break
        return self

    def __exit__(self, *ignored):
        self.process.terminate()
        self.process.stdout.read()
        self.process.stdout.close()
        code = self.process.wait(PATIENCE_S)
        self.folder.cleanup()
        assert code == 0, f"the gateway ended with {code}"

    def chat(self, **more):
        body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], **more}
        request = urllib.request.Request(
            f"http{'s' if self.tls else ''}://localhost:{self.port}/v1/chat/completions", json.dumps(body).encode(),
            {"authorization": f"Bearer {self.key}", "content-type": "application/json"})
        context = ssl.create_default_context(cafile=os.path.join(self.path, "cert.pem")) if self.tls else None
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S, context=context) as answer:
                return answer.status, answer.headers, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, json.load(error)


class Examples(unittest.TestCase):
    def test_every_example_passes_the_check(self):
        for name in sorted(os.listdir(EXAMPLES)):
            with self.subTest(name), tempfile.TemporaryDirectory(prefix="moongate-test-") as folder:
                done = subprocess.run([BIN, "check", copy(name, folder)], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_hello_answers(self):
        with Example("hello") as example:
            status, headers, answer = example.chat()
            self.assertEqual((status, headers["x-moongate-provider"]), (200, "sim"))
            self.assertTrue(answer["choices"][0]["message"]["content"])

    def test_failover_hides_a_provider_that_hangs(self):
        with Example("failover") as example:
            status, headers, answer = example.chat(stream=False)
            self.assertEqual((status, headers["x-moongate-provider"], headers["x-moongate-attempts"]), (200, "second", "2"))

    def test_policy_sends_who_pays_to_the_large_model(self):
        with Example("policy") as example:
            _, headers, _ = example.chat(metadata={"tier": "pro"})
            self.assertEqual(headers["x-moongate-model"], "moon-large")
            _, headers, _ = example.chat()
            self.assertEqual(headers["x-moongate-model"], "moon-small")
        with Example("policy", metadata={"tier": "pro"}) as example:
            _, headers, _ = example.chat()
            self.assertEqual(headers["x-moongate-model"], "moon-large")

    def test_taxonomy_takes_418_for_an_overload(self):
        with Example("taxonomy") as example:
            status, headers, _ = example.chat()
            self.assertEqual((status, headers["x-moongate-provider"], headers["x-moongate-attempts"]), (200, "plain", "2"))

    def test_plugin_refuses_who_names_no_team_and_serves_who_does(self):
        with Example("plugin") as example:
            status, _, answer = example.chat()
            self.assertEqual((status, answer["error"]["code"]), (403, "no_team"))
            status, headers, _ = example.chat(metadata={"team": "a"})
            self.assertEqual(status, 200)
            trace = subprocess.run([BIN, "trace", "-c", example.path, headers["x-request-id"], "--json"], check=True,
                                   capture_output=True, text=True).stdout
            self.assertIn("house-rules: messages[1] inserted", trace)

    def test_invoice_bills_each_customer_by_its_own_rates(self):
        with Example("invoice") as example:
            owed = {"acme": 0, "globex": 0, "initech": 0}                             # in microdollars
            for customer in ("acme", "acme", "globex", "initech"):
                status, _, answer = example.chat(metadata={"customer": customer})
                self.assertEqual(status, 200)
                sent, got = answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]
                owed[customer] += {"acme": (sent * 1 + got * 4) * 1.10, "globex": 0, "initech": sent * 2 + got * 6}[customer]
            bill = subprocess.run([BIN, "usage", "bill", "--plugin", "invoicing", "--project", "invoice", "-c", example.path],
                                  check=True, capture_output=True, text=True).stdout.splitlines()
            for line, (customer, calls) in zip(bill, (("acme", 2), ("globex", 1), ("initech", 1)), strict=True):
                self.assertRegex(line, rf"^{customer} +{calls} calls .* = \$ {owed[customer] / 1e6:.12f}")

    def test_tls_serves_with_a_certificate_of_its_own(self):
        with Example("tls", tls=True) as example:
            status, _, _ = example.chat()
            self.assertEqual(status, 200)


if __name__ == "__main__":
    main()
