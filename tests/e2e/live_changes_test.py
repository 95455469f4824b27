"""Everything that operators change while traffic flows, at once and over and over: limits, keys, switches, members, projects.
Nothing gets lost or stuck. With the thread sanitizer (./dev tsan) it also shows that nothing races."""

import json
import re
import threading
import time
import unittest
import urllib.request

from moongate import *

ROUNDS = 6


def project_of(up, number):
    """Each generation has other limits, so that rows and rules come and go; all of them let the load pass."""
    extra = ["per_metadata = { user = { concurrency = 50 } }, budget = { usd = 1000000 }",
             'per_key = { tokens_per_minute = 100000000, budget = { per = "week", usd = 1000000 } }', "concurrency = 500"][number % 3]
    return (f'return {{ providers = {{ p = {{ base_url = "{up.url}", api_key = "k", breaker = false }} }}, '
            f'workflows = {{ chat = {{ targets = {{ {{ target = "p/m", price_usd = {{ input = 1, output = 1 }} }} }}, '
            f'limits = {{ requests_per_minute = 1000000, burst = 100000 }} }} }}, limits = {{ {extra} }} }}')


class LiveChanges(unittest.TestCase):
    def ask_on(self, gw, key, number):
        """A client on one connection; what it was answered, by status and code."""
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}], "metadata": {"user": f"u{number}"}}).encode()
        request = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n").encode() + body
        sock = gw.connect()
        file = sock.makefile("rb")
        while not self.stop.is_set():
            try:
                sock.sendall(request)
                answer = read_response(file)
                what = (answer.status, answer.json["error"]["code"] if answer.status != 200 else None)
            except (ConnectionError, OSError):         # a refusal from the head ends the connection
                what = None
            with self.lock:
                self.answers[what] = self.answers.get(what, 0) + 1
            if what is None or what[0] != 200:
                sock.close()
                sock = gw.connect()
                file = sock.makefile("rb")
        sock.close()

    def change(self, gw, up, number):
        made = json.loads(gw.cli("key", "create", "--project", "main", "--limit", "requests_per_minute=1000000", "--json"))
        gw.write("projects/main.lua", project_of(up, number))
        gw.cli("admin", "create", f"member{number}", "--role", "viewer", "--project", "main")
        for kind, name in (("workflow", "chat"), ("provider", "p"), ("project", "main"), ("key", made["id"])):
            gw.cli(kind, "disable", *([name, "--project", "main"] if kind in ("workflow", "provider") else [name]))
            gw.cli("limits", "--json")
            gw.cli(kind, "enable", *([name, "--project", "main"] if kind in ("workflow", "provider") else [name]))
        gw.cli("key", "rotate", made["id"], "--overlap", "1h")
        self.metrics(gw)
        gw.cli("admin", "remove", f"member{number}")

    def metrics(self, gw):
        port = re.search(r"127\.0\.0\.1:(\d+)", gw.wait_line(r"admin.*address=")).group(1)
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).read().decode()

    def test_nothing_is_lost_or_stuck_while_everything_changes(self):
        self.stop, self.lock, self.answers = threading.Event(), threading.Lock(), {}
        with Upstream() as up, Gateway({"main": project_of(up, 0), "other": project_of(up, 2)}) as gw:
            clients = [threading.Thread(target=self.ask_on, args=(gw, gw.keys[name], i))
                       for i, name in enumerate(["main", "main", "main", "other"])]
            for client in clients:
                client.start()
            for number in range(1, ROUNDS + 1):
                self.change(gw, up, number)
            self.stop.set()
            for client in clients:
                client.join()
            allowed = {(200, None), None, (403, "project_disabled"), (503, "workflow_disabled"),
                       (503, "no_target_available")}
            self.assertEqual({what: count for what, count in self.answers.items() if what not in allowed}, {})
            self.assertGreater(self.answers[200, None], 100)
            self.assertIn((403, "project_disabled"), self.answers)
            self.assertIn((503, "workflow_disabled"), self.answers)
            for row in json.loads(gw.cli("limits", "--json"))["limits"]:
                self.assertFalse(row["kind"] == "concurrency" and row["used"], row)
                self.assertFalse(row.get("reserved"), row)
            asked = sum(self.answers.values()) - self.answers.get(None, 0)
            settled = sum(int(count) for count in re.findall(r"^moongate_requests_total\{.*\} (\d+)$", self.metrics(gw), re.M))
            self.assertGreaterEqual(settled, asked)        # those that the connection's end hid from us are there, too


if __name__ == "__main__":
    main()
