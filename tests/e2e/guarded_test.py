"""A guard that stops a translated stream at its very last words: the client is told, and the gateway goes on."""

import unittest

import dialects_test
from moongate import Gateway, Upstream, chunk, main, stream

GUARD = 'on_chunk = function(c) if c.final then return c:stop { code = "house_rule", message = "no" } end end, stream = { hold = 200 },'


class Guarded(unittest.TestCase):
    def test_what_is_stopped_when_the_provider_has_ended_is_an_error_and_nothing_else_suffers(self):
        for finish in ("stop", "content_filter"):
            with self.subTest(finish=finish):
                words = [chunk({"reasoning_content": "x enou"}), chunk({"reasoning_content": "gh"}), chunk({}, finish)]   # no [DONE]
                with Upstream(stream(*words), stream(*words)) as up:
                    project = dialects_test.project(up, "openai_chat").replace("return {", "return { " + GUARD, 1)
                    with Gateway({"main": project}, gateway="workers = 1") as gw:
                        for _ in range(2):
                            answer = dialects_test.send(gw, "anthropic", True)
                            self.assertIn(b'{"type":"error","error":', answer.body)
                            self.assertNotIn(b"message_stop", answer.body)


if __name__ == "__main__":
    main()
