"""Every fault of the simulator, through the real gateway: the client gets the next target's answer, and the timeline names
the failure as core/sim/faults.h does."""

import os
import re
import unittest

from moongate import Gateway, main

PAGE = os.path.join(os.environ.get("MOONGATE_SOURCE_DIR", "."), "docs/reference/faults.md")
ROW = re.compile(r"^\| `(\w+)` \| .* \| (\d+) \| (\w+) \|$", re.MULTILINE)

# The request is too large for what this account may ask in a minute; another one may have a larger limit.
ELSEWHERE = {"too_large_for_tpm"}

# Other numbers than the defaults, so that timers fire and the rest is quick.
VALUES = {"slow_headers": 3000, "slow_ttft": 3000, "trickle": 400}

# Classes after which the client is told, because every other target would say the same.
CLIENT = {"invalid_request", "context_length", "payload_too_large", "content_filter", "state_lost"}

# Complete answers whose meaning somebody else has to judge (a plugin, the client): they are passed on.
MEANING = {"schema_mismatch": "none", "empty_body": "empty_response"}

# Said in a whole answer, after a 200: passed on as they are.
ANSWERS = {"refusal", "finish_content_filter"}

# Faults that are seen otherwise in a stream: chunked framing has no length to fall short of, and what is not labelled
# as events is not read as events.
IN_STREAMS = {**MEANING, "short_body": "none"}

# Without a stream nothing but `total` waits for content, half a body is no JSON, and what only events can get wrong does not happen.
IN_BODIES = {**MEANING, "hang": "timeout_total", "headers_only": "timeout_total", "stall": "timeout_total",
             "slow_headers": "timeout_total", "endless_whitespace": "timeout_total", "endless_comments": "timeout_total",
             "cut_clean": "invalid_json", "error_first": "server_error", "slow_ttft": "none", "done_without_finish": "none",
             "huge_event": "none", "json_for_stream": "none"}

# Faults that act after the first pieces of content.
AFTER_CONTENT = {"bad_tool_arguments", "stall", "cut", "cut_clean", "reset", "error_mid", "error_event", "done_without_finish", "finish_error"}


def faults():
    with open(PAGE) as page:
        return ROW.findall(page.read())


def model(name):
    return f"fault:{name}:{VALUES[name]}" if name in VALUES else f"fault:{name}"


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        workflows = "".join(f'["{kind}-{name}"] = {{ "{kind}/{model(name)}", "good/moon" }}, '
                            for name, _, _ in faults() for kind in ("whole", "streamed"))
        cls.gateway = Gateway(
            f"""return {{
              providers = {{
                whole = {{ kind = "simulated", breaker = false }},
                streamed = {{ kind = "simulated", breaker = false }},
                good = {{ kind = "simulated", models = {{ moon = {{ ttft_ms = 0, tokens_per_s = 100000 }} }} }},
              }},
              workflows = {{ {workflows} }},
              timeouts_ms = {{ first_token = 600, idle = 600, total = 1500 }},
            }}""")
        cls.gateway.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.gateway.__exit__(None, None, None)

    def check(self, stream, expected):
        for name, _, class_ in faults():
            class_ = expected.get(name, class_)
            with self.subTest(fault=name, stream=stream):
                answer = self.gateway.chat(f"{'streamed' if stream else 'whole'}-{name}", stream=stream)
                attempts = self.gateway.trace(answer)["attempts"]
                self.assertEqual(attempts[0]["class"], class_)
                if name in ANSWERS:
                    self.assertEqual((answer.status, answer.clean, len(attempts)), (200, True, 1))
                elif class_ in CLIENT and name not in ELSEWHERE:
                    self.assertGreaterEqual(answer.status, 400)
                    self.assertEqual(len(attempts), 1)
                elif class_ in ("none", "refusal"):
                    self.assertEqual((answer.status, len(attempts)), (200, 1))
                else:
                    self.after_failure(name, stream, answer, attempts)

    def after_failure(self, name, stream, answer, attempts):
        """Answered by the other target, unless content had reached the client: then it ends as an error."""
        if stream and name in AFTER_CONTENT:
            self.assertEqual(len(attempts), 1)
            self.assertNotIn("[DONE]", answer.events)
            self.assertTrue(any('"error"' in event for event in answer.events), answer.events[-2:])
            return
        self.assertEqual((answer.status, attempts[-1]["class"], attempts[-1]["provider"]), (200, "none", "good"))
        self.assertTrue(answer.clean)

    def test_streams(self):
        self.check(True, IN_STREAMS)

    def test_whole_answers(self):
        self.check(False, IN_BODIES)


if __name__ == "__main__":
    main()
