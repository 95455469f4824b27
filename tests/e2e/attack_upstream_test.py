"""Hostile upstreams: whatever a provider sends, the gateway stands, tells the client the truth and forgets nothing."""

import time

from moongate import *

GUARD = 'plugins = { { as = "guard", stream = { mode = "buffer" }, on_response = function(self, res) end } },'


def chunked(*events):
    """Events as bytes, with pauses so that they come in many reads."""

    def script(sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            data = event if isinstance(event, bytes) else b"data: %s\n\n" % (
                event if isinstance(event, str) else json.dumps(event)).encode()
            sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            time.sleep(0.0005)
        sock.sendall(b"0\r\n\r\n")

    return script


class Floods(unittest.TestCase):
    def test_a_megabyte_of_comments_before_any_content_is_a_failure_and_the_next_target_answers(self):
        flood = chunked(*[b": %s\n\n" % (b"x" * 8000)] * 200, *good_events("late"))
        with Upstream(flood) as bad, Upstream(chunked(*good_events("hello"))) as good, Gateway(project(bad, good)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.clean, answer.text), (200, True, "hello"))

    def test_a_megabyte_of_roles_before_any_content_is_a_failure(self):
        flood = chunked(*[chunk({"role": "assistant", "pad": "x" * 10000})] * 200, *good_events("late"))
        with Upstream(flood) as up, Gateway(project(up)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (502, "server_error"))

    def test_a_long_stream_is_held_back_whole_for_a_plugin_that_asks_for_it(self):
        words = ["w%d " % i for i in range(9000)]
        with Upstream(stream(*good_events(*words))) as up, Gateway(project(up, extra=GUARD)) as gw:
            answer = gw.chat(stream=True)
            self.assertGreater(len(answer.body), 1 << 20)
            self.assertEqual((answer.status, answer.clean, answer.text), (200, True, "".join(words)))

    def test_a_stream_beyond_what_can_be_held_back_is_refused_and_the_next_request_is_served(self):
        huge = chunked(*[chunk({"content": "x", "pad": "y" * 60000})] * 160, *good_events("end"))
        with Upstream(huge, json_answer("hi")) as up, Gateway(project(up, extra=GUARD)) as gw:
            answer = gw.chat(stream=True)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (502, "answer_too_large"))
            self.assertEqual(gw.chat().json["choices"][0]["message"]["content"], "hi")


if __name__ == "__main__":
    main()
