"""The admin plane of a running gateway: health, readiness while it drains, metrics, and the API with its token."""

import json
import re
import signal
import socket
import unittest

from moongate import PATIENCE_S, Gateway, main

PROJECT = """return {
  providers = { sim = { kind = "simulated", models = { moon = { ttft_ms = 0, tokens_per_s = 100000 } } } },
  workflows = { chat = "sim/moon", hang = "sim/fault:hang" },
}"""
ADMIN = 'log = { level = "info" }, admin = { address = "127.0.0.1:0", token = env "TEST_TOKEN" }'


class Admin(unittest.TestCase):
    def gateway(self, gateway=ADMIN):
        text = f'return {{ listen = "127.0.0.1:0", workers = 2, data_dir = "data", {gateway} }}'
        return Gateway(PROJECT, gateway=text, env={"TEST_TOKEN": "s3cret"})

    def ask(self, gw, method, path, body=None, token="s3cret"):
        """Status and body of one call over TCP."""
        return gw.ask_admin(method, path, body, token)

    def test_health_and_metrics_answer_everybody_and_the_api_who_has_the_token(self):
        with self.gateway() as gw:
            gw.chat()
            self.assertEqual(self.ask(gw, "GET", "/healthz", token=None), (200, "ok\n"))
            self.assertEqual(self.ask(gw, "GET", "/readyz", token=None), (200, "ready\n"))
            self.assertIn('project="main"', self.ask(gw, "GET", "/metrics", token=None)[1])
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token=None)[0], 401)
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/status", token="other")[0], 401)
            status, text = self.ask(gw, "GET", "/admin/v1/status")
            self.assertEqual((status, json.loads(text)["projects"][0]["name"]), (200, "main"))

    def test_it_is_not_ready_while_it_drains(self):
        with self.gateway() as gw:
            with gw.connect() as client:
                client.sendall(self.request(gw, "hang"))
                while json.loads(self.ask(gw, "GET", "/admin/v1/status")[1])["in_flight"] == 0:
                    pass
                gw.process.send_signal(signal.SIGTERM)
                gw.wait_line(r" drain\.begun ")
                self.assertEqual(self.ask(gw, "GET", "/readyz", token=None)[0], 503)
                self.assertEqual(self.ask(gw, "GET", "/healthz", token=None)[0], 200)
                gw.stop()  # asked again, it does not wait any longer

    def request(self, gw, model):
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]})
        return (f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gw.keys['main']}\r\n"
                f"content-length: {len(body)}\r\n\r\n{body}").encode()

    def test_keys_are_made_used_rotated_and_revoked(self):
        with self.gateway() as gw:
            status, text = self.ask(gw, "POST", "/admin/v1/keys", {"project": "main", "name": "over the API"})
            made = json.loads(text)
            self.assertEqual((status, made["name"]), (201, "over the API"))
            gw.keys["main"] = made["key"]
            self.assertEqual(gw.chat().status, 200)

            status, text = self.ask(gw, "POST", f"/admin/v1/keys/{made['id']}/rotate", {"overlap_s": 600})
            self.assertEqual(gw.chat().status, 200)  # the old one, within its overlap
            gw.keys["main"] = json.loads(text)["key"]
            self.assertEqual(gw.chat().status, 200)
            self.assertEqual(self.ask(gw, "DELETE", f"/admin/v1/keys/{json.loads(text)['id']}")[0], 200)
            self.assertEqual(gw.chat().status, 401)

            self.assertEqual(self.ask(gw, "DELETE", "/admin/v1/keys/key_nobody")[0], 404)
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/keys", {"project": "nobody"})[0], 404)
            self.assertNotIn(made["key"], self.ask(gw, "GET", "/admin/v1/keys")[1])

    def test_requests_are_found_by_filters_and_shown_by_id(self):
        with self.gateway() as gw:
            good, bad = gw.chat(), gw.chat("no-such-model")
            gw.trace(bad)  # an answer of ours may be read before it is recorded
            found = json.loads(self.ask(gw, "GET", "/admin/v1/requests?status=error")[1])["requests"]
            self.assertEqual([row["id"] for row in found], [bad.headers["x-request-id"]])
            shown = json.loads(self.ask(gw, "GET", f"/admin/v1/requests/{good.headers['x-request-id']}")[1])
            self.assertEqual(shown["attempts"][0]["target"], "sim/moon")
            self.assertEqual(self.ask(gw, "GET", "/admin/v1/requests?nonsense=1")[0], 400)

    def test_a_reload_is_asked_for_and_its_failure_is_shown(self):
        with self.gateway() as gw:
            gw.write("projects/main.lua", PROJECT + " oops")
            self.assertEqual(self.ask(gw, "POST", "/admin/v1/reload")[0], 202)
            gw.wait_line(r" generation\.refused ")
            row = json.loads(self.ask(gw, "GET", "/admin/v1/status")[1])["projects"][0]
            self.assertEqual(row["generation"], 1)
            self.assertIn("main.lua", row["error"])
            self.assertEqual(gw.chat().status, 200)

    def test_switched_off_it_leaves_the_socket(self):
        with self.gateway("admin = false") as gw:
            self.assertEqual(json.loads(gw.cli("key", "list", "--json"))["keys"][0]["project"], "main")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(gw.path + "/data/control.sock")
                sock.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                self.assertTrue(sock.makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n"))


if __name__ == "__main__":
    main()
