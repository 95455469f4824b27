"""A key that is revoked, or changed, while what it is used for is under way."""

import json
import unittest

from moongate import Gateway, Upstream, main, project, read_response

CHAT = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hello"}]}).encode()


class UnderWay(unittest.TestCase):
    def begin(self, gw, key):
        """A request whose head was taken and whose body is still on its way."""
        sock = gw.connect()
        self.addCleanup(sock.close)
        head = (f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
                f"content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {len(CHAT)}\r\n\r\n")
        sock.sendall(head.encode())
        self.assertIn(b"100 Continue", sock.recv(64))
        return sock

    def end(self, sock):
        sock.sendall(CHAT)
        with sock.makefile("rb") as file:
            return read_response(file)

    def key(self, gw, *args):
        return json.loads(gw.cli("key", "create", "--project", "main", *args, "--json"))

    def test_no_request_of_a_revoked_key_is_served_whose_body_came_later(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            key = self.key(gw)
            early = self.begin(gw, key["key"])
            other = self.begin(gw, gw.keys["main"])

            gw.cli("key", "revoke", key["id"])

            refused = self.end(early)
            self.assertEqual((refused.status, refused.json["error"]["code"]), (401, "invalid_api_key"))
            self.assertEqual(up.count, 0)
            self.assertEqual(self.end(other).status, 200)

    def test_what_a_key_may_ask_for_is_what_it_may_when_the_body_is_there(self):
        with Upstream() as up, Gateway(project(up)) as gw:
            key = self.key(gw)
            early = self.begin(gw, key["key"])

            gw.cli("key", "update", key["id"], "--workflows", "another")

            refused = self.end(early)
            self.assertEqual((refused.status, refused.json["error"]["code"]), (403, "model_not_allowed"))
            self.assertEqual(up.count, 0)


if __name__ == "__main__":
    main()
