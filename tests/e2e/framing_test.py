"""Adapters whose key stands in the address, and whose streams are lines of JSON."""

import json
import unittest

from moongate import Gateway, Upstream, chunk, error_answer, json_answer, main

ADAPTER = """return {
  name = "lines", extends = "openai_chat", base_url = "https://lines.example/v1", framing = "ndjson",
  auth = { { kind = "query", query = "key" }, { kind = "bearer" } },
  operations = { chat = { path = "/talk", stream_path = "/talk?alt=lines" } },
  done = false,
}
"""


def project(up, more=""):
    return (f'return {{ providers = {{ far = {{ adapter = "lines", base_url = "{up.url}", api_key = "k & secret-in-address", breaker = false, {more} }} }}, '
            'workflows = { chat = { targets = { "far/m" }, max_attempts = 1 } } }')


def lines(*documents, pieces=None, then=b"\n", kind="application/x-ndjson"):
    def script(sock, request):
        wire = b"\n".join(json.dumps(each).encode() if isinstance(each, dict) else each for each in documents) + then
        sock.sendall(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for at in range(0, len(wire), pieces or len(wire)):
            piece = wire[at:at + (pieces or len(wire))]
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")

    return script


GOOD = (chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"))


class Framing(unittest.TestCase):
    def gateway(self, up, more=""):
        return Gateway(project(up, more), gateway='adapters_dir = "mine"', files={"mine/lines.lua": ADAPTER})

    def test_a_key_in_the_address_is_encoded_and_stays_out_of_sight(self):
        with Upstream(json_answer("hi"), error_answer(401, message="no such key: k%20%26%20secret-in-address")) as up, self.gateway(up) as gateway:
            self.assertEqual(gateway.chat().json["choices"][0]["message"]["content"], "hi")
            sent = up.next_request()
            self.assertEqual(sent.path, "/v1/talk?key=k%20%26%20secret-in-address")
            self.assertNotIn("authorization", sent.headers)
            refused = gateway.chat()
            self.assertNotIn(b"secret-in-address", refused.body)
            self.assertNotIn("secret-in-address", json.dumps(gateway.trace(refused)))

    def test_lines_are_events_like_others_at_every_cut(self):
        for pieces in (None, 1, 13):
            for then in (b"\n", b"", b"\r\n\n"):
                with Upstream(lines(*GOOD, pieces=pieces, then=then)) as up, self.gateway(up) as gateway:
                    answer = gateway.chat(stream=True)
                    self.assertEqual(answer.headers["content-type"], "text/event-stream")
                    self.assertEqual(answer.text, "Hello")
                    self.assertTrue(up.next_request().path.endswith("/talk?alt=lines&key=k%20%26%20secret-in-address"))
                    self.assertEqual(gateway.trace(answer)["attempts"][0]["class"], "none")

    def test_an_error_on_a_line_is_an_error(self):
        with Upstream(lines({"error": {"message": "boom", "type": "server_error"}})) as up, self.gateway(up) as gateway:
            answer = gateway.chat(stream=True)
            self.assertEqual(answer.status, 502, answer.body)

    def test_lines_that_stop_short_are_no_answer(self):
        with Upstream(lines(*GOOD[:2])) as up, self.gateway(up) as gateway:
            self.assertEqual(gateway.trace(gateway.chat(stream=True))["attempts"][0]["class"], "truncated_stream")

    def test_another_kind_is_the_configurations_to_choose(self):
        with Upstream(json_answer("hi")) as up, self.gateway(up, 'auth = "bearer"') as gateway:
            self.assertEqual(gateway.chat().status, 200)
            sent = up.next_request()
            self.assertEqual((sent.path, sent.headers["authorization"]), ("/v1/talk", "Bearer k & secret-in-address"))
            gateway.write("projects/main.lua", project(up, 'auth = "sigv4"'))
            gateway.wait_line(r"providers.far: its adapter has no authentication of that kind")


if __name__ == "__main__":
    main()
