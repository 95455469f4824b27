"""What one account keeps is asked of nobody else."""

import unittest

from moongate import *

BODIES = {
    "/v1/messages": [{"container": "container_1", "messages": [{"role": "user", "content": "x"}]},
                     {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]}]}],
    "/v1/chat/completions": [{"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}],
    "/v1/responses": [{"store": False, "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}],
    "/v1beta/models/chat:generateContent": [{"cachedContent": "cachedContents/1", "contents": [{"role": "user", "parts": [{"text": "x"}]}]}],
}
ADAPTERS = {"/v1/messages": "anthropic", "/v1/chat/completions": "openai_chat", "/v1/responses": "openai_responses"}


def project_of(adapter, a, b):
    providers = "".join(f'{name} = {{ adapter = "{adapter}", base_url = "{up.url}", api_keys = {{ "k1", "k2" }}, breaker = false }}, ' for name, up in (("a", a), ("b", b)))
    return f'return {{ providers = {{ {providers} }}, workflows = {{ chat = {{ targets = {{ "a/m", "b/m" }} }} }} }}'


class Pinned(unittest.TestCase):
    def test_a_reference_stays_with_the_first_account(self):
        for path, bodies in BODIES.items():
            for refers in bodies:
                plain = {"messages": [{"role": "user", "content": "x"}]} if "messages" in refers else {"store": False, "input": "x"} if "input" in refers else \
                    {"contents": refers["contents"]}
                with self.subTest(path=path, refers=refers), Upstream(*[error_answer(429, "rate")] * 8) as a, Upstream(*[error_answer(500, "no")] * 8) as b, \
                        Gateway(project_of(ADAPTERS.get(path, "gemini"), a, b)) as gw:
                    pinned = gw.request("POST", path, {"model": "chat", "max_tokens": 9, **refers} if "v1beta" not in path else refers)
                    asked = (a.count, b.count)
                    keys = {attempt.get("credential") for attempt in gw.trace(pinned)["attempts"]}
                    gw.request("POST", path, {"model": "chat", "max_tokens": 9, **plain} if "v1beta" not in path else plain)
                    self.assertGreater(asked[0], 0)
                    self.assertEqual(asked[1], 0)
                    self.assertEqual(len(keys), 1)
                    self.assertGreater(b.count, 0, "without a reference anybody is asked")


if __name__ == "__main__":
    main()
